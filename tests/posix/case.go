package posix

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
)

// Case is one conformance case. It runs in a fresh directory of its own.
type Case struct {
	Name string
	Run  func(t *T)
}

// T is a case's view of its front: the calls, with paths below its own directory, and checks that end the case.
type T struct {
	*testing.T
	FS
	dir string
}

// Suite runs all cases on a front. Paths that they use begin with prefix, a directory of the front.
func Suite(t *testing.T, fs FS, prefix string) {
	for i, c := range All() {
		t.Run(c.Name, func(t *testing.T) {
			dir := fmt.Sprintf("%s/case-%d", prefix, i)
			if err := fs.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			c.Run(&T{T: t, FS: fs, dir: dir})
		})
	}
}

// All lists the cases.
func All() []Case {
	var all []Case
	for _, group := range [][]Case{openCases, ioCases, sizeCases, nameCases, renameCases, linkCases, dirCases, attrCases, pathCases, atCases} {
		all = append(all, group...)
	}
	return all
}

// p is a path in the case's directory.
func (t *T) p(name string) string { return t.dir + "/" + name }

// ok wants success.
func (t *T) ok(err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("failed: %v", err)
	}
}

// fails wants one of the errnos (several where POSIX leaves a choice).
func (t *T) fails(err error, want ...syscall.Errno) {
	t.Helper()
	for _, e := range want {
		if errors.Is(err, e) {
			return
		}
	}
	t.Fatalf("got %v, want %v", err, want)
}

func (t *T) equal(what string, got, want any) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: %v, want %v", what, got, want)
	}
}

// open opens for the length of the case.
func (t *T) open(name string, flags int) int {
	t.Helper()
	fd, err := t.Open(t.p(name), flags, 0o644)
	t.ok(err)
	t.Cleanup(func() { _ = t.Close(fd) })
	return fd
}

const rwCreate = syscall.O_CREAT | syscall.O_RDWR

// file makes a file with a content.
func (t *T) file(name, content string) {
	t.Helper()
	fd, err := t.Open(t.p(name), rwCreate|syscall.O_TRUNC, 0o644)
	t.ok(err)
	t.write(fd, content)
	t.ok(t.Close(fd))
}

func (t *T) mkdir(names ...string) {
	t.Helper()
	for _, name := range names {
		t.ok(t.Mkdir(t.p(name), 0o755))
	}
}

func (t *T) write(fd int, content string) {
	t.Helper()
	if content == "" {
		return
	}
	n, err := t.Write(fd, []byte(content))
	t.ok(err)
	t.equal("bytes written", n, len(content))
}

func (t *T) pwrite(fd int, content string, off int64) {
	t.Helper()
	n, err := t.Pwrite(fd, []byte(content), off)
	t.ok(err)
	t.equal("bytes written", n, len(content))
}

// reads wants n bytes at off to be content.
func (t *T) reads(fd int, off int64, n int, content string) {
	t.Helper()
	got, err := t.Pread(fd, n, off)
	t.ok(err)
	t.same(got, []byte(content))
}

func (t *T) same(got, want []byte) {
	t.Helper()
	if bytes.Equal(got, want) {
		return
	}
	at := 0
	for at < min(len(got), len(want)) && got[at] == want[at] {
		at++
	}
	t.Fatalf("%d bytes, want %d; they differ at %d", len(got), len(want), at)
}

// holds wants a file to have a content.
func (t *T) holds(name, content string) {
	t.Helper()
	fd, err := t.Open(t.p(name), syscall.O_RDONLY, 0)
	t.ok(err)
	t.reads(fd, 0, len(content)+10, content)
	t.ok(t.Close(fd))
}

func (t *T) stat(name string) Stat {
	t.Helper()
	s, err := t.Stat(t.p(name))
	t.ok(err)
	return s
}

func (t *T) lstat(name string) Stat {
	t.Helper()
	s, err := t.Lstat(t.p(name))
	t.ok(err)
	return s
}

// absent wants a name not to be there.
func (t *T) absent(name string) {
	t.Helper()
	_, err := t.Lstat(t.p(name))
	t.fails(err, syscall.ENOENT)
}

// list is the names in a directory but "." and "..".
func (t *T) list(name string) map[string]uint64 {
	t.Helper()
	d, err := t.Opendir(t.p(name))
	t.ok(err)
	defer func() { t.ok(t.Closedir(d)) }()
	names := map[string]uint64{}
	for {
		page, err := t.Readdir(d, 7)
		t.ok(err)
		if len(page) == 0 {
			return names
		}
		for _, e := range page {
			if _, twice := names[e.Name]; twice {
				t.Fatalf("%q is listed twice", e.Name)
			}
			if e.Name != "." && e.Name != ".." {
				names[e.Name] = e.Ino
			}
		}
	}
}

// contains wants a directory to have exactly these names.
func (t *T) contains(name string, want ...string) {
	t.Helper()
	got := t.list(name)
	if len(got) != len(want) {
		t.Fatalf("%d entries, want %d: %v", len(got), len(want), got)
	}
	for _, w := range want {
		if _, ok := got[w]; !ok {
			t.Fatalf("%q is missing", w)
		}
	}
}

func zeros(n int) string { return strings.Repeat("\x00", n) }

// pattern is n bytes that tell where they are.
func pattern(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*31>>4) ^ byte(i>>11)
	}
	return string(b)
}
