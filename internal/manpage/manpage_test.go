package manpage_test

import (
	"os"
	"testing"

	"github.com/benchfs/benchfs/internal/apidoc"
	"github.com/benchfs/benchfs/internal/manpage"
)

func TestGeneratedPagesAreFresh(t *testing.T) {
	text, err := os.ReadFile("../../include/benchfs.h")
	if err != nil {
		t.Fatal(err)
	}
	h, err := apidoc.Parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"benchfs.3": manpage.Header(h), "benchfs.toml.5": manpage.Config()} {
		if got, err := os.ReadFile("../../docs/man/" + name); err != nil || string(got) != want {
			t.Errorf("docs/man/%s is not what it is made from: make docs (%v)", name, err)
		}
	}
}
