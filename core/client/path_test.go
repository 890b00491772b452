package client

import (
	"slices"
	"strings"
	"syscall"
	"testing"
)

// components takes a path apart with cut.
func components(path string) (names []string, slash bool) {
	for {
		name, rest, after := cut(path)
		if name != "" {
			names = append(names, name)
		}
		if rest == "" {
			return names, after
		}
		path = rest
	}
}

func TestCut(t *testing.T) {
	for _, c := range []struct {
		path  string
		names []string
		slash bool
	}{
		{"a", []string{"a"}, false},
		{"/a", []string{"a"}, false},
		{"a/", []string{"a"}, true},
		{"//a///b//", []string{"a", "b"}, true},
		{"a/./../b", []string{"a", ".", "..", "b"}, false},
		{"/", nil, false},
		{"///", nil, false},
		{"...", []string{"..."}, false},
	} {
		names, slash := components(c.path)
		if !slices.Equal(names, c.names) || slash != c.slash {
			t.Errorf("%q: %q, slash %v; want %q, %v", c.path, names, slash, c.names, c.slash)
		}
	}
}

func TestCheckPath(t *testing.T) {
	for _, c := range []struct {
		path string
		want error
	}{
		{"", syscall.ENOENT},
		{strings.Repeat("a/", PathMax/2) + "a", nil},
		{strings.Repeat("a/", PathMax/2) + "aa", syscall.ENAMETOOLONG},
		{"a\x00b", syscall.EINVAL},
		{"/", nil},
	} {
		if err := checkPath(c.path); err != c.want {
			t.Errorf("%.20q (%d bytes): %v, want %v", c.path, len(c.path), err, c.want)
		}
	}
}

func TestSplice(t *testing.T) {
	for _, c := range []struct {
		target, rest string
		slash        bool
		want         string
	}{
		{"t", "", false, "t"},
		{"t", "", true, "t/"},
		{"t", "x/y", true, "t/x/y"},
		{"/t/", "x", true, "/t//x"},
	} {
		if got, err := splice(c.target, c.rest, c.slash); err != nil || got != c.want {
			t.Errorf("splice(%q, %q, %v) = %q, %v; want %q", c.target, c.rest, c.slash, got, err, c.want)
		}
	}
	if _, err := splice("", "x", true); err != syscall.ENOENT {
		t.Errorf("empty target: %v", err)
	}
}

// FuzzPath holds the path splitter against a plain model.
func FuzzPath(f *testing.F) {
	for _, seed := range []string{"", "/", "a", "/a//b/", "./..", "a/../../b", "\x00", "ä/ö/", strings.Repeat("x/", 100)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		if err := checkPath(path); err != nil {
			if path != "" && len(path) <= PathMax && !strings.Contains(path, "\x00") {
				t.Fatalf("%q refused: %v", path, err)
			}
			return
		}
		names, slash := components(path)
		want := strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
		if !slices.Equal(names, want) {
			t.Fatalf("%q: %q, want %q", path, names, want)
		}
		if len(want) > 0 && slash != strings.HasSuffix(path, "/") {
			t.Fatalf("%q: slash %v", path, slash)
		}
		for _, name := range names {
			kind := kindOfLast(name)
			if (kind == lastName) == (name == "." || name == "..") {
				t.Fatalf("%q is taken for kind %d", name, kind)
			}
		}
		again, _ := components(strings.Join(names, "/"))
		if !slices.Equal(again, names) {
			t.Fatalf("%q: joining and cutting again gives %q", path, again)
		}
	})
}
