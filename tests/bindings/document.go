package bindings

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Block is a block of code of a document.
type Block struct{ Heading, Language, Text string }

var blockOrHeading = regexp.MustCompile("(?ms)^#+ ([^\n]+)$|^```(\\w+)\n(.*?)^```$")

// Blocks are the blocks of code of a document (path from the top), each with the heading that it stands under.
func Blocks(t *testing.T, path string) []Block {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(Top(t), path))
	if err != nil {
		t.Fatal(err)
	}
	var blocks []Block
	heading := ""
	for _, m := range blockOrHeading.FindAllStringSubmatch(string(text), -1) {
		if m[1] != "" {
			heading = m[1]
		} else {
			blocks = append(blocks, Block{Heading: heading, Language: m[2], Text: m[3]})
		}
	}
	if len(blocks) == 0 {
		t.Fatalf("%s has no code", path)
	}
	return blocks
}

// Example writes the first block of a language in a document into a file and gives its name.
func Example(t *testing.T, path, language, name string) string {
	t.Helper()
	for _, b := range Blocks(t, path) {
		if b.Language == language {
			file := filepath.Join(t.TempDir(), name)
			if err := os.WriteFile(file, []byte(b.Text), 0o600); err != nil {
				t.Fatal(err)
			}
			return file
		}
	}
	t.Fatalf("%s has no %s", path, language)
	return ""
}

// Follow runs the commands of a document: each block of sh in a shell of its own, in the top directory. Where a block of text follows it, that
// is what the commands must print.
func Follow(t *testing.T, path string, variables []string) {
	blocks := Blocks(t, path)
	for i, b := range blocks {
		if b.Language != "sh" {
			continue
		}
		want, told := "", i+1 < len(blocks) && blocks[i+1].Language == "text"
		if told {
			want = blocks[i+1].Text
		}
		passed := t.Run(b.Heading, func(t *testing.T) {
			script := filepath.Join(t.TempDir(), "commands")
			if err := os.WriteFile(script, []byte(b.Text), 0o600); err != nil {
				t.Fatal(err)
			}
			noise := filepath.Join(t.TempDir(), "stderr")
			out, err := Try(t, variables, "bash", "-euc", `exec 2>"$2"; . "$1"`, "bash", script, noise)
			errors, _ := os.ReadFile(noise)
			if err != nil || told && out != want {
				t.Errorf("%v\n%s\nprints\n%s\nwant\n%s\nstandard error\n%s", err, strings.TrimSpace(b.Text), out, want, errors)
			}
		})
		if !passed && i == 0 {
			t.Fatalf("%s: nothing else can work", b.Heading)
		}
	}
}
