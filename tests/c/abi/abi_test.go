package abi

import (
	"bytes"
	"context"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/benchfs/benchfs/internal/apidoc"
)

const (
	top    = "../../.."
	header = top + "/include/benchfs.h"
	soname = "libbenchfs.so.0"
)

// built is where TestMain has put the library, or the reason why there is none.
var built struct {
	dir string
	err error
}

func TestMain(m *testing.M) {
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "benchfs-abi-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	built.dir = dir
	_, built.err = output(top+"/scripts/build-lib.sh", dir)
	return m.Run()
}

// library is the directory with libbenchfs.so.
func library(t *testing.T) string {
	t.Helper()
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.dir
}

// output runs a command; its error contains what it has printed.
func output(name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	var stdout, all bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &all
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s%s", strings.Join(cmd.Args, " "), err, stdout.String(), all.String())
	}
	return stdout.String(), nil
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := output(name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// program compiles the test program against a library and returns its path.
func program(t *testing.T, lib string, flags ...string) string {
	t.Helper()
	sources, err := filepath.Glob("../*.c")
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "abi")
	args := []string{"-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-g", "-I" + top + "/include", "-o", out}
	args = append(args, flags...)
	for _, s := range sources {
		if strings.Contains(read(t, s), `"harness.h"`) { // others are programs of their own
			args = append(args, s)
		}
	}
	run(t, "gcc", append(args, "-L"+lib, "-lbenchfs", "-lpthread", "-Wl,-rpath,"+lib)...)
	return out
}

// runAll runs each test of a program in a process of its own.
func runAll(t *testing.T, program string, environment ...string) {
	names := strings.Fields(run(t, program, "--list"))
	if len(names) < 40 {
		t.Fatalf("only %d tests: %v", len(names), names)
	}
	slices.Sort(names)
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, program, name)
			cmd.Env = append(os.Environ(), environment...)
			if out, err := cmd.CombinedOutput(); err != nil || len(out) != 0 { // the library prints nothing
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

func TestC(t *testing.T) {
	runAll(t, program(t, library(t)))
}

// The same under the address sanitizer, the Go side instrumented too.
func TestCWithAddressSanitizer(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the library once more")
	}
	lib := t.TempDir()
	run(t, top+"/scripts/build-lib.sh", lib, "-asan")
	runAll(t, program(t, lib, "-fsanitize=address", "-fno-omit-frame-pointer"), "ASAN_OPTIONS=detect_leaks=1")
}

func TestThePluginLoads(t *testing.T) {
	lib := library(t)
	plugin := filepath.Join(t.TempDir(), "plugin")
	run(t, "gcc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-I"+top+"/include", "-o", plugin, "../plugin.c", "-ldl")
	run(t, plugin, filepath.Join(lib, soname))
}

// The header alone, as a program that knows nothing else would include it.
func TestTheHeaderCompilesAlone(t *testing.T) {
	warnings := []string{"-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror", "-I" + top + "/include", "-c", "-o", "/dev/null"}
	use := `
int main(void);
int main(void)
{
    struct benchfs_options options = BENCHFS_OPTIONS_INIT;
    struct benchfs_layout layout = BENCHFS_LAYOUT_INIT;
    return benchfs_init(&options) + benchfs_get_layout("/", &layout) + (sizeof(struct benchfs_direntplus) == 0);
}
`
	for _, c := range []struct{ compiler, language, file, extra string }{
		{"gcc", "c11", "use.c", "-Wstrict-prototypes"},
		{"gcc", "gnu11", "use.c", "-Wmissing-prototypes"},
		{"gcc", "c17", "use.c", "-Wold-style-definition"},
		{"g++", "c++17", "use.cc", "-Wold-style-cast"},
		{"g++", "c++20", "use.cc", "-Woverloaded-virtual"},
	} {
		t.Run(c.language, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), c.file)
			for _, include := range []string{"#include <benchfs.h>\n", "#include <benchfs.h>\n#include <benchfs.h>\n" + use} {
				if !strings.Contains(include, "main") {
					include += "typedef int not_empty;\n"
				}
				if err := os.WriteFile(file, []byte(include), 0o600); err != nil {
					t.Fatal(err)
				}
				run(t, c.compiler, append(slices.Clone(warnings), "-std="+c.language, c.extra, file)...)
			}
		})
	}
}

func parseHeader(t *testing.T) *apidoc.Header {
	t.Helper()
	h, err := apidoc.Parse(read(t, header))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func sameNames(t *testing.T, what string, got, want []string) {
	t.Helper()
	slices.Sort(got)
	for _, name := range got {
		if !slices.Contains(want, name) {
			t.Errorf("%s: %s is not in the header", what, name)
		}
	}
	for _, name := range want {
		if !slices.Contains(got, name) {
			t.Errorf("%s: %s is missing", what, name)
		}
	}
}

// Header, version script and library have the same functions, and the library exports nothing else.
func TestExportedSymbols(t *testing.T) {
	want := parseHeader(t).Exported()
	var script []string
	for _, m := range regexp.MustCompile(`(?m)^\s+(\w+);`).FindAllStringSubmatch(read(t, top+"/capi/libbenchfs.map"), -1) {
		script = append(script, m[1])
	}
	sameNames(t, "version script", script, want)
	lib, err := elf.Open(filepath.Join(library(t), soname))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lib.Close() }()
	symbols, err := lib.DynamicSymbols()
	if err != nil {
		t.Fatal(err)
	}
	var exported []string
	for _, s := range symbols {
		if s.Section == elf.SHN_UNDEF || s.Name == "BENCHFS_0" { // what it needs; the name of the version
			continue
		}
		exported = append(exported, s.Name)
		if s.Version != "BENCHFS_0" {
			t.Errorf("%s has version %q", s.Name, s.Version)
		}
	}
	sameNames(t, "library", exported, want)
	if names, err := lib.DynString(elf.DT_SONAME); err != nil || !slices.Equal(names, []string{soname}) {
		t.Errorf("soname %v, %v", names, err)
	}
}

// Thread-local memory of the library is scarce: dlopen fails when there is too much.
func TestThreadLocalMemoryIsSmall(t *testing.T) {
	lib, err := elf.Open(filepath.Join(library(t), soname))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lib.Close() }()
	for _, p := range lib.Progs {
		if p.Type == elf.PT_TLS && p.Memsz > 512 {
			t.Errorf("%d bytes of thread-local memory", p.Memsz)
		}
	}
}

var errnoName = regexp.MustCompile(`\bE[A-Z0-9]{3,}\b`)

// docs/errors.md, benchfs_strerror and the header speak of the same errors.
func TestEveryErrorIsExplained(t *testing.T) {
	var rows []string
	for _, m := range regexp.MustCompile("(?m)^\\| `(E[A-Z0-9]+)` \\|").FindAllStringSubmatch(read(t, top+"/docs/errors.md"), -1) {
		rows = append(rows, m[1])
	}
	var texts []string
	for _, m := range regexp.MustCompile(`(?m)^\s+\{(E[A-Z0-9]+), "`).FindAllStringSubmatch(read(t, top+"/capi/strerror.c"), -1) {
		texts = append(texts, m[1])
	}
	slices.Sort(texts)
	sameNamesAs(t, "docs/errors.md", rows, "benchfs_strerror", texts)
	for _, f := range parseHeader(t).Functions() {
		for _, name := range errnoName.FindAllString(f.Lines[len(f.Lines)-1], -1) {
			if !slices.Contains(rows, name) {
				t.Errorf("%s returns %s, which docs/errors.md does not explain", f.Name, name)
			}
		}
	}
}

func sameNamesAs(t *testing.T, a string, inA []string, b string, inB []string) {
	t.Helper()
	for _, name := range inA {
		if !slices.Contains(inB, name) {
			t.Errorf("%s is in %s and not in %s", name, a, b)
		}
	}
	for _, name := range inB {
		if !slices.Contains(inA, name) {
			t.Errorf("%s is in %s and not in %s", name, b, a)
		}
	}
}
