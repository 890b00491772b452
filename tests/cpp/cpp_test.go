// Package cpp_test compiles and runs programs on include/benchfs.hpp. It needs `make build`.
package cpp_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/benchfs/benchfs/tests/bindings"
)

var strict = []string{"-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Wold-style-cast", "-Wnon-virtual-dtor", "-Werror", "-Iinclude"}

func TestCalls(t *testing.T) {
	shortWrites := bindings.ShortWrites(t)
	for _, standard := range []string{"-std=c++17", "-std=c++20"} {
		t.Run(standard, func(t *testing.T) {
			program := filepath.Join(t.TempDir(), "calls")
			args := append([]string{standard, "-o", program, "tests/cpp/src/calls.cc", "tests/cpp/src/other.cc"}, strict...)
			bindings.Run(t, nil, bindings.Tool(t, "CXX", "g++"), append(args, bindings.Link(t)...)...)
			bindings.Run(t, []string{shortWrites}, program)
			bindings.Everywhere(t, func(t *testing.T, run func(args ...string) string) {
				if out := run(program); out != "" {
					t.Errorf("it prints %q", out)
				}
			})
		})
	}
}

func TestMoreThanOneCallMoves(t *testing.T) {
	program := filepath.Join(t.TempDir(), "big")
	args := append([]string{"-std=c++17", "-O1", "-o", program, "tests/cpp/src/big.cc"}, strict...)
	bindings.Run(t, nil, bindings.Tool(t, "CXX", "g++"), append(args, bindings.Link(t)...)...)
	bindings.Run(t, nil, program)
}

func TestTheDocumentsExample(t *testing.T) {
	program := filepath.Join(t.TempDir(), "example")
	args := append([]string{"-std=c++17", "-o", program, bindings.Example(t, "docs/cpp.md", "cpp", "example.cc")}, strict...)
	bindings.Run(t, nil, bindings.Tool(t, "CXX", "g++"), append(args, bindings.Link(t)...)...)
	if got, want := bindings.Run(t, nil, program), "8000 bytes, 1\n4000 bytes\nno such file or directory\nvalues\n"; !strings.EqualFold(got, want) {
		t.Errorf("it prints %q, want %q", got, want)
	}
}

// compiles says whether the body of a function does, and what the compiler says.
func compiles(t *testing.T, body string) (bool, string) {
	t.Helper()
	source := filepath.Join(t.TempDir(), "use.cc")
	text := "#include <benchfs.hpp>\n#include <string>\nvoid use();\nvoid use()\n{\n" + body + "\n}\n"
	if err := os.WriteFile(source, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := bindings.Try(t, nil, bindings.Tool(t, "CXX", "g++"), append([]string{"-std=c++17", "-fsyntax-only", source}, strict...)...)
	return err == nil, out
}

// What cannot work is refused by the compiler, for its own reason.
func TestMisuseDoesNotCompile(t *testing.T) {
	if ok, out := compiles(t, "std::vector<int> v(3); benchfs::file f; f.write(benchfs::bytes_of(v));"); !ok {
		t.Fatalf("what is right does not compile:\n%s", out)
	}
	for body, reason := range map[string]string{
		"benchfs::file a; benchfs::file b = a;":                                                       "deleted function",
		"benchfs::session a; benchfs::session b = a;":                                                 "deleted function",
		"std::vector<std::string> v; benchfs::file f; f.write(benchfs::bytes_of(v));":                 "trivially copyable",
		"const std::vector<int> v(3); benchfs::file f; f.read(benchfs::bytes_of(v));":                 "no matching function",
		"benchfs::file f(1); const benchfs::file &c = f; c.pwrite(benchfs::const_bytes(), off_t(0));": "discards qualifiers",
	} {
		if ok, out := compiles(t, body); ok || !strings.Contains(out, reason) {
			t.Errorf("%s: compiles, or fails for another reason than %q:\n%s", body, reason, out)
		}
	}
}
