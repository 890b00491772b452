package apidoc_test

import (
	"os"
	"strings"
	"testing"

	"github.com/benchfs/benchfs/internal/apidoc"
)

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestThePageIsMadeFromTheHeader(t *testing.T) {
	h, err := apidoc.Parse(read(t, "../../include/benchfs.h"))
	if err != nil {
		t.Fatal(err)
	}
	if h.Markdown() != read(t, "../../docs/api.md") {
		t.Error("docs/api.md is out of date: run go generate ./internal/apidoc")
	}
}

// Every function that the header declares must have been seen, or its five lines were not checked.
func TestEveryFunctionIsDescribed(t *testing.T) {
	text := read(t, "../../include/benchfs.h")
	h, err := apidoc.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	declared := strings.Count(text, "\nBENCHFS_API ") + strings.Count(text, "\nstatic inline ")
	if n := len(h.Functions()); n != declared || n < 70 {
		t.Errorf("%d functions described, %d declared", n, declared)
	}
	for _, f := range h.Functions() {
		if f.Doc == "" || len(f.Lines) != len(apidoc.Labels) {
			t.Errorf("%s is not described", f.Name)
		}
		if !strings.HasPrefix(f.Lines[3], "-ECHILD.") && f.Lines[3] != "works." {
			t.Errorf("%s after fork: %q", f.Name, f.Lines[3])
		}
	}
}

const small = `/*
 * top
 */
/* ==== Part ==== */

/*
 * Does it.
 *
 * Owns:       nothing.
 * Threads:    any.
 * Blocks:     no.
 * After fork: works.
 * Errors:     none, and
 *             none.
 */
BENCHFS_API int benchfs_it(int a,
                           int b);

struct s {
    int x;
};
`

func TestParse(t *testing.T) {
	h, err := apidoc.Parse(small)
	if err != nil {
		t.Fatal(err)
	}
	functions := h.Functions()
	if h.Essay != "top" || len(h.Sections) != 1 || len(h.Sections[0].Items) != 2 || len(functions) != 1 {
		t.Fatalf("read %+v", h)
	}
	f := functions[0]
	if f.Name != "benchfs_it" || !f.Exported || f.Doc != "Does it." || f.Lines[4] != "none, and none." {
		t.Errorf("read %+v", f)
	}
}

func TestMissingLinesAreRefused(t *testing.T) {
	for _, label := range apidoc.Labels {
		broken := strings.Replace(small, " * "+label+":", " * Note:", 1)
		if _, err := apidoc.Parse(broken); err == nil {
			t.Errorf("a function without %q was accepted", label)
		}
	}
	swapped := strings.NewReplacer("Owns:   ", "Threads:", "Threads:", "Owns:   ").Replace(small)
	if _, err := apidoc.Parse(swapped); err == nil {
		t.Error("lines out of order were accepted")
	}
}
