package main

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/spf13/cobra/doc"
)

var update = flag.Bool("update", false, "write the manual pages anew")

// TestGeneratedPages: go test ./cmd/... -run Generated -update writes them. They carry no date, which would change with every run.
func TestGeneratedPages(t *testing.T) {
	dir := t.TempDir()
	c := command()
	c.DisableAutoGenTag = true
	epoch := time.Unix(0, 0).UTC()
	if err := doc.GenManTree(c, &doc.GenManHeader{Section: "1", Source: "BenchFS", Manual: "BenchFS Manual", Date: &epoch}, dir); err != nil {
		t.Fatal(err)
	}
	const kept = "../../docs/man"
	made, err := filepath.Glob(dir + "/*.1")
	if err != nil || len(made) == 0 {
		t.Fatalf("no pages: %v", err)
	}
	for _, path := range made {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(kept, filepath.Base(path))
		if *update {
			if err := os.WriteFile(name, text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(name); err != nil || string(got) != string(text) {
			t.Errorf("%s is not what the command says of itself: make docs (%v)", name, err)
		}
	}
}
