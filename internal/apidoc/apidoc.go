// Package apidoc reads include/benchfs.h and makes docs/api.md of it. The header is written by hand; its tests, and those that compare it
// with the library's symbols, start here.
//
// It understands the header's own form, not C: sections "/* ==== Name ==== */", a block comment before each function, prototypes that
// begin with BENCHFS_API or "static inline" at the beginning of a line. What it does not understand is an error.
package apidoc

//go:generate go run ./gen ../../include/benchfs.h ../../docs/api.md

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/pkg/errors"
)

// Labels are the five lines that the comment of each function ends with, in this order.
var Labels = []string{"Owns", "Threads", "Blocks", "After fork", "Errors"}

// Function is one function of the header.
type Function struct {
	Name      string
	Prototype string
	Exported  bool     // false: inline, in the header only
	Doc       string   // without the five lines
	Lines     []string // the five lines, in the order of Labels
}

// Declaration is anything else: types and constants with their comment, as they stand in the header.
type Declaration struct{ Text string }

// Section is a part of the header under one title.
type Section struct {
	Title string
	Items []any // Function or Declaration, in the header's order
}

// Header is a header that has been read.
type Header struct {
	Essay    string // the comment at the top
	Sections []Section
}

// Functions are all functions, in the header's order.
func (h *Header) Functions() []Function {
	var list []Function
	for _, s := range h.Sections {
		for _, item := range s.Items {
			if f, ok := item.(Function); ok {
				list = append(list, f)
			}
		}
	}
	return list
}

// Exported are the names of the functions that the library must have, sorted.
func (h *Header) Exported() []string {
	var names []string
	for _, f := range h.Functions() {
		if f.Exported {
			names = append(names, f.Name)
		}
	}
	slices.Sort(names)
	return names
}

var (
	sectionLine = regexp.MustCompile(`^/\* ==== (.+) ==== \*/$`)
	nameOf      = regexp.MustCompile(`\b(benchfs_\w+)\(`)
)

// Parse reads a header.
func Parse(text string) (*Header, error) {
	lines := strings.Split(text, "\n")
	essay, rest, err := comment(lines)
	if err != nil {
		return nil, errors.Wrap(err, "the comment at the top")
	}
	h := &Header{Essay: essay}
	for len(rest) > 0 {
		line := rest[0]
		if m := sectionLine.FindStringSubmatch(line); m != nil {
			h.Sections = append(h.Sections, Section{Title: m[1]})
			rest = rest[1:]
			continue
		}
		if len(h.Sections) == 0 || line == "" {
			rest = rest[1:]
			continue
		}
		if strings.HasPrefix(line, "#ifdef __cplusplus") {
			break // the end of extern "C"
		}
		var item any
		if item, rest, err = next(rest); err != nil {
			return nil, err
		}
		s := &h.Sections[len(h.Sections)-1]
		s.Items = append(s.Items, item)
	}
	return h, nil
}

// next reads a function or a declaration with its comment.
func next(lines []string) (item any, rest []string, err error) {
	end := slices.Index(lines, "")
	if end < 0 {
		end = len(lines)
	}
	block, rest := lines[:end], lines[end:]
	doc, code := "", block
	if block[0] == "/*" {
		if doc, code, err = comment(block); err != nil {
			return nil, nil, err
		}
	}
	if len(code) == 0 {
		return nil, nil, errors.Errorf("a comment that belongs to nothing: %q", doc)
	}
	exported := strings.HasPrefix(code[0], "BENCHFS_API ")
	if !exported && !strings.HasPrefix(code[0], "static inline ") {
		return Declaration{strings.Join(block, "\n")}, rest, nil
	}
	f, err := function(doc, strings.Join(code, "\n"), exported)
	return f, rest, err
}

func function(doc, code string, exported bool) (Function, error) {
	prototype, _, ok := strings.Cut(code, ")\n{") // a body
	if ok {
		prototype += ");"
	}
	prototype = strings.TrimPrefix(prototype, "BENCHFS_API ")
	m := nameOf.FindStringSubmatch(prototype)
	if m == nil {
		return Function{}, errors.Errorf("no function in %q", prototype)
	}
	f := Function{Name: m[1], Prototype: prototype, Exported: exported}
	text, labelled, ok := strings.Cut(doc, "\n\n"+Labels[0]+":")
	if !ok {
		return Function{}, errors.Errorf("%s: no line %q", f.Name, Labels[0])
	}
	f.Doc = text
	labelled = Labels[0] + ":" + labelled
	for i, label := range Labels {
		body, found := strings.CutPrefix(labelled, label+":")
		if !found {
			return Function{}, errors.Errorf("%s: line %q is missing or out of order", f.Name, label)
		}
		labelled = ""
		if i+1 < len(Labels) {
			at := strings.Index(body, "\n"+Labels[i+1]+":")
			if at < 0 {
				return Function{}, errors.Errorf("%s: line %q is missing or out of order", f.Name, Labels[i+1])
			}
			body, labelled = body[:at], body[at+1:]
		}
		body = strings.Join(strings.Fields(body), " ")
		if body == "" || strings.Contains(body, "\n\n") {
			return Function{}, errors.Errorf("%s: line %q says nothing", f.Name, label)
		}
		f.Lines = append(f.Lines, body)
	}
	return f, nil
}

// comment reads a block comment at the beginning of lines.
func comment(lines []string) (text string, rest []string, err error) {
	end := slices.Index(lines, " */")
	if lines[0] != "/*" || end < 0 {
		return "", nil, errors.Errorf("no block comment at %q", lines[0])
	}
	var out []string
	for _, line := range lines[1:end] {
		body, ok := strings.CutPrefix(line, " *")
		if !ok {
			return "", nil, errors.Errorf("comment line %q does not begin with a star", line)
		}
		out = append(out, strings.TrimPrefix(body, " "))
	}
	return strings.Join(out, "\n"), lines[end+1:], nil
}

// Markdown is the manual page of the header.
func (h *Header) Markdown() string {
	var b strings.Builder
	b.WriteString("# The C interface\n\nMade from `include/benchfs.h` by `go generate ./internal/apidoc`. Edit the header.\n\n")
	for _, s := range h.Sections {
		fmt.Fprintf(&b, "- [%s](#%s)", s.Title, anchor(s.Title))
		separator := ": "
		for _, item := range s.Items {
			if f, ok := item.(Function); ok {
				fmt.Fprintf(&b, "%s[`%s`](#%s)", separator, strings.TrimPrefix(f.Name, "benchfs_"), f.Name)
				separator = ", "
			}
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "\n## Conventions\n\n```text\n%s\n```\n", h.Essay)
	for _, s := range h.Sections {
		fmt.Fprintf(&b, "\n## %s\n", s.Title)
		for _, item := range s.Items {
			switch item := item.(type) {
			case Declaration:
				fmt.Fprintf(&b, "\n```c\n%s\n```\n", item.Text)
			case Function:
				item.markdown(&b)
			}
		}
	}
	return b.String()
}

func (f *Function) markdown(b *strings.Builder) {
	fmt.Fprintf(b, "\n### %s\n\n```c\n%s\n```\n\n%s\n\n| | |\n|---|---|\n", f.Name, f.Prototype, escape(f.Doc))
	for i, label := range Labels {
		fmt.Fprintf(b, "| %s | %s |\n", label, strings.ReplaceAll(escape(f.Lines[i]), "|", `\|`))
	}
}

// escape keeps Markdown from taking characters of the header's prose for its own.
func escape(s string) string {
	return strings.NewReplacer("*", `\*`, "_", `\_`, "<", "&lt;", "[", `\[`).Replace(s)
}

// anchor is how a title is linked to.
func anchor(title string) string {
	return strings.ReplaceAll(strings.ToLower(title), " ", "-")
}
