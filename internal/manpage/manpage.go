// Package manpage makes manual pages of what the documents are made of: benchfs.toml(5) of config's keys, benchfs(3) of the header. Those of the
// commands come from their own descriptions (cmd/*/man_test.go).
package manpage

//go:generate go run ./gen ../../include/benchfs.h ../../docs/man

import (
	"fmt"
	"strings"

	"github.com/benchfs/benchfs/config"
	"github.com/benchfs/benchfs/internal/apidoc"
)

// text escapes what roff would take for its own. A line that begins with a dot or a quote would be a request.
func text(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "~", `\(ti`, "^", `\(ha`, "`", "").Replace(s)
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " ")
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + lines[i]
		}
	}
	return strings.Join(lines, "\n")
}

// block is text whose lines stay as they are.
func block(b *strings.Builder, s string) {
	fmt.Fprintf(b, ".nf\n%s\n.fi\n", text(strings.Trim(s, "\n")))
}

// paragraphs is prose; what is indented keeps its lines.
func paragraphs(b *strings.Builder, s string) {
	for _, p := range strings.Split(strings.Trim(s, "\n"), "\n\n") {
		b.WriteString(".PP\n")
		if strings.Contains("\n"+p, "\n  ") {
			block(b, p)
			continue
		}
		fmt.Fprintf(b, "%s\n", text(p))
	}
}

// Config is benchfs.toml(5).
func Config() string {
	var b strings.Builder
	b.WriteString(".\\\" Made from config/keys.go: edit that, then make docs.\n.TH BENCHFS.TOML 5 \"\" BenchFS \"BenchFS Manual\"\n" +
		".SH NAME\nbenchfs.toml \\- configuration of BenchFS\n.SH DESCRIPTION\n")
	b.WriteString(text("One file for daemons and clients, in TOML. Every key is optional. A value is resolved from, later ones winning: its default, the file "+
		"(--config, or the environment variable BENCHFS_CONFIG), the environment, arguments of the command.\n"+
		"An unknown key is an error that names file and line.") + "\n")
	b.WriteString(".PP\nA duration is written \\(dq250ms\\(dq, \\(dq30s\\(dq, \\(dq2m\\(dq; a size is a number of bytes, or has a unit: \\(dq64MiB\\(dq.\n")
	section := ""
	for _, key := range config.Keys() {
		if key.Section() != section {
			section = key.Section()
			fmt.Fprintf(&b, ".SH [%s]\n", strings.ToUpper(section))
		}
		fmt.Fprintf(&b, ".TP\n.B %s\n%s\n.br\n%s", text(key.Short()), text(key.Doc), text("Type: "+string(key.Type)))
		if len(key.OneOf) > 0 {
			b.WriteString(text(", one of " + strings.Join(key.OneOf, ", ")))
		}
		if key.Default != "" {
			b.WriteString(text(". Default: " + key.Default))
		}
		fmt.Fprintf(&b, "%s\n", text(". Environment: "+key.Env()+"."))
	}
	b.WriteString(".SH SEE ALSO\n.BR benchfs (1),\n.BR benchfs (3),\n.BR benchfsd (8)\n")
	return b.String()
}

// Header is benchfs(3).
func Header(h *apidoc.Header) string {
	var b strings.Builder
	b.WriteString(".\\\" Made from include/benchfs.h: edit that, then make docs.\n.TH BENCHFS 3 \"\" BenchFS \"BenchFS Manual\"\n" +
		".SH NAME\nbenchfs \\- ad hoc parallel file system, C interface\n.SH SYNOPSIS\n.nf\n#include <benchfs.h>\n\nLink with \\-lbenchfs.\n.fi\n.SH DESCRIPTION\n")
	paragraphs(&b, h.Essay)
	for _, s := range h.Sections {
		fmt.Fprintf(&b, ".SH %s\n", strings.ToUpper(text(s.Title)))
		for _, item := range s.Items {
			switch item := item.(type) {
			case apidoc.Declaration:
				b.WriteString(".PP\n")
				block(&b, item.Text)
			case apidoc.Function:
				fmt.Fprintf(&b, ".SS %s\n", item.Name)
				block(&b, item.Prototype)
				paragraphs(&b, item.Doc)
				for i, label := range apidoc.Labels {
					fmt.Fprintf(&b, ".TP\n.I %s\n%s\n", label, text(item.Lines[i]))
				}
			}
		}
	}
	b.WriteString(".SH SEE ALSO\n.BR benchfs (1),\n.BR benchfs.toml (5),\n.BR benchfsd (8)\n")
	return b.String()
}
