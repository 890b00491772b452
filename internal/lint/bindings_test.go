package lint_test

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/benchfs/benchfs/internal/apidoc"
)

func header(t *testing.T) *apidoc.Header {
	t.Helper()
	h, err := apidoc.Parse(read(t, "include/benchfs.h"))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// sameNames compares two lists of functions.
func sameNames(t *testing.T, what string, got, want []string) {
	t.Helper()
	for _, name := range got {
		if !slices.Contains(want, name) {
			t.Errorf("%s has %s, which is not in include/benchfs.h", what, name)
		}
	}
	for _, name := range want {
		if !slices.Contains(got, name) {
			t.Errorf("%s is in include/benchfs.h and not in %s", name, what)
		}
	}
}

// names are the first groups of all matches.
func names(pattern, text string) []string {
	var list []string
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		list = append(list, m[1])
	}
	return list
}

// parameters of a prototype of the header, by name.
func parameters(prototype string) []string {
	open := strings.IndexByte(prototype, '(')
	list := strings.Join(strings.Fields(prototype[open+1:strings.LastIndexByte(prototype, ')')]), " ")
	if list == "void" {
		return nil
	}
	var names []string
	for _, p := range strings.Split(list, ",") {
		names = append(names, regexp.MustCompile(`(\w+)(?:\[\d*\])?$`).FindStringSubmatch(p)[1])
	}
	return names
}

// TestFortranModuleIsTheHeader: each function of the header is bound, with its parameters in their order, is called by a procedure that does
// not only pass on what is bound, and is public.
func TestFortranModuleIsTheHeader(t *testing.T) {
	module, bound := read(t, "fortran/benchfs.f90"), read(t, "fortran/c.inc")
	var all []string
	for _, f := range header(t).Functions() {
		all = append(all, f.Name)
	}
	sameNames(t, "fortran/c.inc", names(`bind\(c, name='(\w+)'\)`, bound), header(t).Exported())

	var public []string
	for _, list := range names(`(?m)^  public :: (.*)$`, module) {
		public = append(public, strings.Split(list, ", ")...)
	}
	sameNames(t, "the public list of fortran/benchfs.f90", public, all)

	files, err := filepath.Glob(filepath.Join(root, "fortran/*.inc"))
	if err != nil {
		t.Fatal(err)
	}
	procedures := ""
	for _, path := range files {
		if name := "fortran/" + filepath.Base(path); name != "fortran/c.inc" {
			procedures += read(t, name)
		}
	}
	for _, f := range header(t).Functions() {
		if !f.Exported {
			continue
		}
		short := strings.TrimPrefix(f.Name, "benchfs_")
		declared := regexp.MustCompile(`function c_` + short + `\(([^)]*)\)`).FindStringSubmatch(bound)
		if declared == nil {
			continue // said above
		}
		want, got := strings.Join(parameters(f.Prototype), ", "), declared[1]
		if got != want {
			t.Errorf("fortran/c.inc: c_%s(%s), in the header it is (%s)", short, got, want)
		}
		if !strings.Contains(procedures, "c_"+short+"(") {
			t.Errorf("fortran: no procedure calls c_%s", short)
		}
		if !regexp.MustCompile(`(?m)^  (subroutine|function|interface) ` + f.Name + `\b`).MatchString(procedures) {
			t.Errorf("fortran: no procedure or interface %s", f.Name)
		}
	}
}

// TestPythonModuleIsTheHeader: each function of the library is declared, with as many arguments as it has.
func TestPythonModuleIsTheHeader(t *testing.T) {
	module := read(t, "python/benchfs.py")
	sameNames(t, "python/benchfs.py", names(`(?m)^    "(\w+)": \(`, module), header(t).Exported())
	declared := map[string]int{}
	for _, m := range regexp.MustCompile(`(?m)^    "(\w+)": \(\w+, \[(.*)\]\),$`).FindAllStringSubmatch(module, -1) {
		if m[2] == "" {
			declared[m[1]] = 0
		} else {
			declared[m[1]] = strings.Count(m[2], ",") + 1
		}
	}
	for _, f := range header(t).Functions() {
		if n, ok := declared[f.Name]; ok && n != len(parameters(f.Prototype)) {
			t.Errorf("python/benchfs.py: %s has %d arguments, in the header %v", f.Name, n, parameters(f.Prototype))
		}
	}
}

// TestCppHeaderCoversTheHeader: benchfs.hpp makes use of each function, or docs/cpp.md says that it is called as in C.
func TestCppHeaderCoversTheHeader(t *testing.T) {
	_, rest, found := strings.Cut(read(t, "docs/cpp.md"), "\n- **The rest** ")
	if !found {
		t.Fatal("docs/cpp.md does not say which functions are called as in C")
	}
	rest, _, _ = strings.Cut(rest, "\n\n")
	asInC := names("`(benchfs_\\w+)`", rest)
	used := names(`\b(benchfs_\w+)(?:\(|>)`, read(t, "include/benchfs.hpp"))
	var all []string
	for _, f := range header(t).Functions() {
		all = append(all, f.Name)
		switch inCpp, inDocument := slices.Contains(used, f.Name), slices.Contains(asInC, f.Name); {
		case f.Name == "benchfs_init_version": // behind benchfs_init
		case inCpp && inDocument:
			t.Errorf("docs/cpp.md: %s has a form in include/benchfs.hpp", f.Name)
		case !inCpp && !inDocument:
			t.Errorf("%s has no form in include/benchfs.hpp, and docs/cpp.md does not say so", f.Name)
		}
	}
	for _, name := range asInC {
		if !slices.Contains(all, name) {
			t.Errorf("docs/cpp.md: there is no %s", name)
		}
	}
}

// TestFortranArraysAreGenerated: the procedures for the types are what the script writes.
func TestFortranArraysAreGenerated(t *testing.T) {
	for argument, path := range map[string]string{"generic": "fortran/arrays_generic.inc", "procedures": "fortran/arrays.inc"} {
		out, err := exec.Command(filepath.Join(root, "fortran/arrays.sh"), argument).Output()
		if err != nil {
			t.Fatal(err)
		}
		if string(out) != read(t, path) {
			t.Errorf("%s is not what fortran/arrays.sh %s writes: make docs", path, argument)
		}
	}
}

// TestFortranLinesAreStandard: longer lines are cut off by compilers that take the standard at its word.
func TestFortranLinesAreStandard(t *testing.T) {
	seen := 0
	walk(t, func(path string) {
		if ext := filepath.Ext(path); ext != ".f90" && ext != ".inc" {
			return
		}
		seen++
		for i, line := range strings.Split(read(t, path), "\n") {
			if len(line) > 132 {
				t.Errorf("%s:%d has %d characters", path, i+1, len(line))
			}
		}
	})
	if seen < 8 {
		t.Errorf("only %d files of Fortran found", seen)
	}
}
