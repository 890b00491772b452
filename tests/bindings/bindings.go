// Package bindings is what the tests of the language bindings and of the examples share: they build programs against lib/libbenchfs.so and
// run them with a file system inside them, and on daemons. They need `make build`.
package bindings

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Top is the directory of the repository.
func Top(t *testing.T) string {
	t.Helper()
	top, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(top, "lib/libbenchfs.so")); err != nil {
		t.Fatalf("%v: make build", err)
	}
	return top
}

// Tool is a program that `make deps` installs: the one that the environment variable names, or the usual one.
func Tool(t *testing.T, variable, usual string) string {
	t.Helper()
	name := os.Getenv(variable)
	if name == "" {
		name = usual
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%v: make deps installs it", err)
	}
	return path
}

// Link are the arguments with which a program is linked to the library.
func Link(t *testing.T) []string {
	t.Helper()
	lib := filepath.Join(Top(t), "lib")
	return []string{"-L" + lib, "-lbenchfs", "-Wl,-rpath," + lib}
}

// environment is that of this process without BenchFS's own variables: the tests say what they want.
func environment(more []string) []string {
	var list []string
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "BENCHFS_") {
			list = append(list, entry)
		}
	}
	return append(list, more...)
}

// Try runs a command in the repository's top directory. variables (NAME=value) are added to its environment.
func Try(t *testing.T, variables []string, name string, args ...string) (output string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = Top(t), environment(variables)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	return out.String(), err
}

// Run is Try of what must succeed.
func Run(t *testing.T, variables []string, name string, args ...string) string {
	t.Helper()
	out, err := Try(t, variables, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

// ShortWrites is a variable for the environment of a program that makes its writes short (src/short_writes.c).
func ShortWrites(t *testing.T) string {
	t.Helper()
	shim := filepath.Join(t.TempDir(), "short_writes.so")
	Run(t, nil, Tool(t, "CC", "gcc"), "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-Iinclude", "-o", shim, "tests/bindings/src/short_writes.c", "-ldl")
	return "LD_PRELOAD=" + shim
}

// Everywhere runs a test embedded and on two daemons; run starts a command there and returns what it prints.
func Everywhere(t *testing.T, test func(t *testing.T, run func(args ...string) string)) {
	t.Run("embedded", func(t *testing.T) {
		test(t, func(args ...string) string {
			t.Helper()
			return Run(t, nil, args[0], args[1:]...)
		})
	})
	t.Run("daemons", func(t *testing.T) {
		test(t, func(args ...string) string {
			t.Helper()
			return Run(t, nil, filepath.Join(Top(t), "bin/benchfs"), append([]string{"run", "-n", "2", "--"}, args...)...)
		})
	})
}
