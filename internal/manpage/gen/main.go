// Command gen writes docs/man/benchfs.3 and benchfs.toml.5: gen include/benchfs.h docs/man. go generate runs it.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/benchfs/benchfs/internal/apidoc"
	"github.com/benchfs/benchfs/internal/manpage"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: gen benchfs.h directory")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(header, dir string) error {
	text, err := os.ReadFile(header)
	if err != nil {
		return err
	}
	h, err := apidoc.Parse(string(text))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "benchfs.3"), []byte(manpage.Header(h)), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "benchfs.toml.5"), []byte(manpage.Config()), 0o644)
}
