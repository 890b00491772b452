// Package python_test runs the tests of python/benchfs.py, with the distribution's interpreter and numpy. It needs `make build`.
package python_test

import (
	"testing"

	"github.com/benchfs/benchfs/tests/bindings"
)

func TestModule(t *testing.T) {
	python := bindings.Tool(t, "PYTHON", "/usr/bin/python3")
	bindings.Everywhere(t, func(t *testing.T, run func(args ...string) string) {
		out := run("env", "PYTHONPATH=python", "PYTHONDONTWRITEBYTECODE=1", "PYTHONWARNINGS=error", python, "tests/python/src/test_benchfs.py", t.TempDir())
		t.Log(out)
	})
}

func TestTheDocumentsExample(t *testing.T) {
	python := bindings.Tool(t, "PYTHON", "/usr/bin/python3")
	example := bindings.Example(t, "docs/python.md", "python", "example.py")
	bindings.Everywhere(t, func(t *testing.T, run func(args ...string) string) {
		want := "True\n800 500.0\n[80, 80, 80, 80]\n8000 ['array.npy', 'raw']\n2 /nothing\n"
		if got := run("env", "PYTHONPATH=python", "PYTHONDONTWRITEBYTECODE=1", python, example); got != want {
			t.Errorf("it prints %q, want %q", got, want)
		}
	})
}
