// Command gen writes docs/api.md: gen include/benchfs.h docs/api.md. go generate runs it.
package main

import (
	"fmt"
	"os"

	"github.com/benchfs/benchfs/internal/apidoc"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: gen benchfs.h api.md")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(header, page string) error {
	text, err := os.ReadFile(header)
	if err != nil {
		return err
	}
	h, err := apidoc.Parse(string(text))
	if err != nil {
		return err
	}
	return os.WriteFile(page, []byte(h.Markdown()), 0o644)
}
