package preload

import (
	"bytes"
	"debug/elf"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/preload.md anew")

// exported are the functions that an object offers to others.
func exported(t *testing.T, path string) []string {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Fatalf("%v: make build", err)
	}
	defer f.Close()
	symbols, err := f.DynamicSymbols()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range symbols {
		const gnuIndirect = 10
		kind := elf.ST_TYPE(s.Info)
		if s.Section == elf.SHN_UNDEF || kind != elf.STT_FUNC && kind != gnuIndirect || s.Version == "GLIBC_PRIVATE" {
			continue
		}
		names = append(names, s.Name)
	}
	sort.Strings(names)
	return slices.Compact(names)
}

// TestObject: what the interposer exports is what the list says that it serves or refuses.
func TestObject(t *testing.T) {
	list, err := Functions()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{}
	for _, f := range list {
		if f.Class != Passes {
			want[f.Name] = true
		}
	}
	for _, name := range exported(t, filepath.Join("..", "lib", Library)) {
		if !want[name] {
			t.Errorf("%s is exported, and functions.txt does not list it as done or refused", name)
		}
		delete(want, name)
	}
	for name := range want {
		t.Errorf("functions.txt lists %s, which is not exported", name)
	}
}

// TestGlibc: every function of the system's libc has a class, so that a new one shows up here.
func TestGlibc(t *testing.T) {
	libc := findLibc(t)
	byName, err := ByName()
	if err != nil {
		t.Fatal(err)
	}
	others := map[string]bool{}
	for _, name := range Unrelated() {
		if others[name] {
			t.Errorf("unrelated.txt has %s twice", name)
		}
		if _, ok := byName[name]; ok {
			t.Errorf("%s is in both lists", name)
		}
		others[name] = true
	}
	for _, name := range exported(t, libc) {
		if _, ok := byName[name]; !ok && !others[name] {
			t.Errorf("%s of %s is unclassified: does it take a path or a descriptor? Put it into functions.txt or unrelated.txt", name, libc)
		}
	}
}

// findLibc is the libc that this process would be run with.
func findLibc(t *testing.T) string {
	t.Helper()
	for _, pattern := range []string{"/lib/*-linux-gnu/libc.so.6", "/lib64/libc.so.6", "/usr/lib/libc.so.6", "/lib/libc.so.6"} {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			return found[0]
		}
	}
	t.Fatal("there is no libc.so.6")
	return ""
}

// TestRefusals: a refusal names its errno.
func TestRefusals(t *testing.T) {
	list, err := Functions()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		if errno, _, ok := strings.Cut(f.Note, ":"); f.Class == Refused && (!ok || !strings.HasPrefix(errno, "E") || strings.ToUpper(errno) != errno) {
			t.Errorf("%s is refused without an errno: %q", f.Name, f.Note)
		}
	}
	if !slices.IsSortedFunc(list, func(a, b Function) int {
		return strings.Compare(strings.ToLower(strings.Trim(a.Name, "_"))+" "+a.Name, strings.ToLower(strings.Trim(b.Name, "_"))+" "+b.Name)
	}) {
		t.Error("functions.txt is not sorted")
	}
}

// TestGenerated: docs/preload.md has the lists as they are.
func TestGenerated(t *testing.T) {
	path := filepath.Join("..", "docs", "preload.md")
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	made, err := document(string(have))
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(path, []byte(made), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(have, []byte(made)) {
		t.Errorf("%s is not what functions.txt and limits.md say: make docs", path)
	}
}

// document puts the lists into the text between its markers.
func document(text string) (string, error) {
	list, err := Functions()
	if err != nil {
		return "", err
	}
	var table strings.Builder
	for _, c := range []struct {
		class Class
		title string
	}{{Done, "Served"}, {Refused, "Refused, with an errno"}, {Passes, "Passed on to libc and the kernel"}} {
		fmt.Fprintf(&table, "\n### %s\n\n", c.title)
		byNote := map[string][]string{}
		var notes []string
		for _, f := range list {
			if f.Class != c.class {
				continue
			}
			if byNote[f.Note] == nil {
				notes = append(notes, f.Note)
			}
			byNote[f.Note] = append(byNote[f.Note], "`"+f.Name+"`")
		}
		sort.Strings(notes)
		for _, note := range notes {
			names := strings.Join(byNote[note], " ")
			if note == "" {
				fmt.Fprintf(&table, "- %s\n", names)
			} else {
				fmt.Fprintf(&table, "- %s: %s\n", names, note)
			}
		}
	}
	for name, content := range map[string]string{"limits": limits, "functions": table.String()} {
		begin, end := "<!-- begin "+name+" -->\n", "<!-- end "+name+" -->\n"
		i, j := strings.Index(text, begin), strings.Index(text, end)
		if i < 0 || j < i {
			return "", fmt.Errorf("docs/preload.md has no place for %s", name)
		}
		text = text[:i+len(begin)] + content + text[j:]
	}
	return text, nil
}
