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
