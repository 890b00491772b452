// Package fortran_test runs programs in Fortran on the module benchfs (fortran/). It needs `make build`.
package fortran_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/benchfs/benchfs/tests/bindings"
)

// strict: the standard that the module keeps to. That arrays are copied is not checked: sections are, on purpose.
var strict = []string{"-std=f2018", "-pedantic", "-Wall", "-Wextra", "-Wimplicit-interface", "-Werror", "-O1", "-g", "-fcheck=bounds,mem,pointer,recursion"}

var module struct {
	once sync.Once
	dir  string
}

func TestMain(m *testing.M) {
	status := m.Run()
	if module.dir != "" {
		_ = os.RemoveAll(module.dir)
	}
	os.Exit(status)
}

// compiled is a directory with the module and check.f90, compiled once.
func compiled(t *testing.T) string {
	t.Helper()
	module.once.Do(func() {
		dir, err := os.MkdirTemp("", "benchfs-fortran-")
		if err != nil {
			t.Fatal(err)
		}
		module.dir = dir
		for _, source := range []string{"fortran/benchfs.f90", "tests/fortran/src/check.f90"} {
			bindings.Run(t, nil, bindings.Tool(t, "FC", "gfortran"), append([]string{"-J" + dir, "-c", source, "-o", filepath.Join(dir, filepath.Base(source)+".o")}, strict...)...)
		}
	})
	return module.dir
}

// program compiles a program against the module.
func program(t *testing.T, source string) string {
	t.Helper()
	dir := compiled(t)
	out := filepath.Join(t.TempDir(), "program")
	args := append([]string{"-I" + dir, "-o", out}, strict...)
	args = append(args, source, dir+"/benchfs.f90.o", dir+"/check.f90.o")
	bindings.Run(t, nil, bindings.Tool(t, "FC", "gfortran"), append(args, bindings.Link(t)...)...)
	return out
}

func TestCalls(t *testing.T) {
	calls := program(t, "tests/fortran/src/calls.f90")
	bindings.Everywhere(t, func(t *testing.T, run func(args ...string) string) {
		if out := run(calls); out != "" {
			t.Errorf("it prints %q", out)
		}
	})
}

func TestArrays(t *testing.T) {
	arrays := program(t, "tests/fortran/src/arrays.f90")
	bindings.Everywhere(t, func(t *testing.T, run func(args ...string) string) {
		if out := run(arrays); out != "" {
			t.Errorf("it prints %q", out)
		}
	})
}

func TestShortWritesGoOn(t *testing.T) {
	bindings.Run(t, []string{bindings.ShortWrites(t)}, program(t, "tests/fortran/src/arrays.f90"))
}

func TestMoreThanOneCallMoves(t *testing.T) {
	bindings.Run(t, nil, program(t, "tests/fortran/src/big.f90"))
}

func TestTheDocumentsExample(t *testing.T) {
	example := program(t, bindings.Example(t, "docs/fortran.md", "fortran", "example.f90"))
	bindings.Everywhere(t, func(t *testing.T, run func(args ...string) string) {
		if got := strings.Fields(run(example)); !slices.Equal(got, []string{"T", "20000", "no", "such", "file", "or", "directory"}) {
			t.Errorf("it prints %q", got)
		}
	})
}

func TestAnErrorWithoutStatEndsTheProgram(t *testing.T) {
	out, err := bindings.Try(t, nil, program(t, "tests/fortran/src/stops.f90"))
	if err == nil {
		t.Error("status 0")
	}
	for _, want := range []string{"benchfs_open: ", "/nothing/here", "no such file"} {
		if !strings.Contains(strings.ToLower(out), want) {
			t.Errorf("it does not say %q: %s", want, out)
		}
	}
}

// What is not an array of numbers, logicals or characters is refused by the compiler.
func TestOtherTypesDoNotCompile(t *testing.T) {
	source := filepath.Join(t.TempDir(), "derived.f90")
	text := `program derived
  use benchfs
  implicit none
  type(benchfs_timespec) :: array(3)
  call benchfs_write(0, array)
end program derived
`
	if err := os.WriteFile(source, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := bindings.Try(t, nil, bindings.Tool(t, "FC", "gfortran"), "-I"+compiled(t), "-o", filepath.Join(t.TempDir(), "derived.o"), "-c", source)
	if err == nil || !strings.Contains(out, "no specific subroutine") {
		t.Errorf("it compiles, or fails for another reason: %v\n%s", err, out)
	}
}

var (
	constant  = regexp.MustCompile(`\b(BENCHFS_\w+) = `)
	structure = regexp.MustCompile(`(?s)\n  type, bind\(c\)(, public)? :: (\w+)[^\n]*\n(.*?)\n  end type`)
	component = regexp.MustCompile(`\b([a-z]\w*)(?:\(\d+\))?(?: = [\w%]+)?(?:, |$)`)
)

// inC are the C names of the structures.
var inC = map[string]string{
	"benchfs_timespec": "struct timespec", "benchfs_stat_t": "struct stat", "benchfs_statvfs_t": "struct statvfs", "benchfs_iovec": "struct iovec",
	"benchfs_layout": "struct benchfs_layout", "benchfs_lock_t": "struct benchfs_lock", "benchfs_extent": "struct benchfs_extent", "c_dirent": "struct benchfs_dirent",
	"c_direntplus": "struct benchfs_direntplus", "c_options": "struct benchfs_options",
}

// ofModule are constants that C does not have.
var ofModule = map[string]bool{"BENCHFS_END": true, "BENCHFS_GAPS": true}

// The constants and the structures are those of the C headers: a program in C prints values, sizes and offsets, one in Fortran does, and they agree.
func TestConstantsAndStructures(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(bindings.Top(t), "fortran/benchfs.f90"))
	if err != nil {
		t.Fatal(err)
	}
	// Seen from inside the module: some structures are its own.
	inFortran := strings.Replace(string(text), "\ncontains\n", "\n  public :: c_dirent, c_direntplus, c_options\ncontains\n", 1)
	var c, f strings.Builder
	c.WriteString("#define _GNU_SOURCE\n#include <benchfs.h>\n#include <errno.h>\n#include <stdio.h>\n#include <unistd.h>\nint main(void)\n{\n")
	f.WriteString("program show\n  use benchfs\n  use, intrinsic :: iso_c_binding\n  implicit none\n")
	var prints strings.Builder
	header, err := os.ReadFile(filepath.Join(bindings.Top(t), "include/benchfs.h"))
	if err != nil {
		t.Fatal(err)
	}
	names := 0
	for _, m := range constant.FindAllStringSubmatch(string(text), -1) {
		name := m[1]
		if ofModule[name] {
			continue
		}
		names++
		if !regexp.MustCompile(`\b` + name + `\b`).Match(header) {
			name = strings.TrimPrefix(name, "BENCHFS_")
		}
		fmt.Fprintf(&c, "    printf(\"%s %%lld\\n\", (long long)(%s));\n", m[1], name)
		fmt.Fprintf(&prints, "  print '(a, i0)', '%s ', %s\n", m[1], m[1])
	}
	sizes := 0
	for _, m := range structure.FindAllStringSubmatch(string(text), -1) {
		name := m[2]
		cName, ok := inC[name]
		if !ok {
			t.Errorf("which structure of C is %s? Add it to inC", name)
			continue
		}
		sizes++
		fmt.Fprintf(&f, "  type(%s), target :: x_%s\n", name, name)
		fmt.Fprintf(&c, "    printf(\"%s %%zu\\n\", sizeof(%s));\n", name, cName)
		fmt.Fprintf(&prints, "  print '(a, i0)', '%s ', c_sizeof(x_%s)\n", name, name)
		for _, line := range strings.Split(m[3], "\n") {
			line, _, _ = strings.Cut(line, " ! ")
			_, list, _ := strings.Cut(line, " :: ")
			for _, field := range component.FindAllStringSubmatch(list, -1) {
				if strings.HasPrefix(field[1], "unused") {
					continue
				}
				fmt.Fprintf(&c, "    printf(\"%s%%%%%s %%zu\\n\", offsetof(%s, %s));\n", name, field[1], cName, field[1])
				fmt.Fprintf(&prints, "  print '(a, i0)', '%s%%%s ', at(c_loc(x_%s%%%s)) - at(c_loc(x_%s))\n", name, field[1], name, field[1], name)
			}
		}
	}
	if names < 80 || sizes != len(inC) {
		t.Errorf("%d constants, %d structures found", names, sizes)
	}
	c.WriteString("    return 0;\n}\n")
	f.WriteString(prints.String() + "contains\n  function at(p)\n    type(c_ptr), intent(in) :: p\n    integer(c_intptr_t) :: at\n    at = transfer(p, at)\n  end function\nend program show\n")

	dir := t.TempDir()
	for name, source := range map[string]string{"show.c": c.String(), "show.f90": f.String(), "benchfs.f90": inFortran} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(source), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	bindings.Run(t, nil, bindings.Tool(t, "CC", "gcc"), "-Iinclude", "-o", dir+"/c", dir+"/show.c")
	bindings.Run(t, nil, bindings.Tool(t, "FC", "gfortran"), append([]string{"-Ifortran", "-J" + dir, "-o", dir + "/f", dir + "/benchfs.f90", dir + "/show.f90"}, bindings.Link(t)...)...)
	want, got := bindings.Run(t, nil, dir+"/c"), bindings.Run(t, nil, dir+"/f")
	wants, gots := strings.Split(want, "\n"), strings.Split(got, "\n")
	if len(wants) != len(gots) {
		t.Fatalf("C prints\n%s\nFortran\n%s", want, got)
	}
	for i := range wants {
		if wants[i] != gots[i] {
			t.Errorf("C: %s, Fortran: %s", wants[i], gots[i])
		}
	}
}
