// Package examples_test runs the commands of examples/README.md, compares what they print, and compiles what the README shows. It needs `make build`.
package examples_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/benchfs/benchfs/tests/bindings"
)

func TestReadme(t *testing.T) {
	bindings.Tool(t, "", "mpicc")
	bindings.Tool(t, "", "gfortran")
	bindings.Tool(t, "", "g++")
	bindings.Follow(t, "examples/README.md", []string{
		// As root, on fewer cores than ranks, without the program that would start ranks on other machines.
		"OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1", "OMPI_MCA_rmaps_base_oversubscribe=1", "OMPI_MCA_plm=isolated",
		"PYTHONDONTWRITEBYTECODE=1",
	})
}

// The ten lines of C in the README of the whole.
func TestTenLinesOfC(t *testing.T) {
	program := filepath.Join(t.TempDir(), "hello")
	args := []string{"-Wall", "-Wextra", "-Werror", "-Iinclude", "-o", program, bindings.Example(t, "README.md", "c", "hello.c")}
	bindings.Run(t, nil, bindings.Tool(t, "CC", "gcc"), append(args, bindings.Link(t)...)...)
	bindings.Everywhere(t, func(t *testing.T, run func(args ...string) string) {
		if out := run(program); out != "hello\n" {
			t.Errorf("it prints %q", out)
		}
	})
}

// The programs of the demonstration are larger.
var demonstration = []string{"demo_common.c", "demo_common.h", "demo_store.c", "demo_verify.c"}

func TestExamplesAreShortAndListed(t *testing.T) {
	dir := filepath.Join(bindings.Top(t), "examples")
	readme, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		name := f.Name()
		if f.IsDir() || name == "README.md" || slices.Contains(demonstration, name) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if lines := strings.Count(string(text), "\n"); lines >= 100 {
			t.Errorf("%s has %d lines", name, lines)
		}
		if !strings.Contains(string(readme), "["+name+"]("+name+")") {
			t.Errorf("README.md does not list %s", name)
		}
	}
}
