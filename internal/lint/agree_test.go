package lint_test

import (
	"bytes"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestVersionScriptIsTheHeader: the library exports what the header declares. (That it really does is a test of the built object, in tests/c.)
func TestVersionScriptIsTheHeader(t *testing.T) {
	declared := map[string]bool{}
	for _, match := range regexp.MustCompile(`(?m)^BENCHFS_API [^;(]*?\b(benchfs_\w+)\(`).FindAllStringSubmatch(read(t, "include/benchfs.h"), -1) {
		declared[match[1]] = true
	}
	exported := map[string]bool{}
	script := regexp.MustCompile(`(?s)/\*.*?\*/`).ReplaceAllString(read(t, "capi/libbenchfs.map"), "")
	script, _, _ = strings.Cut(script, "local:")
	for _, match := range regexp.MustCompile(`(?m)\b(benchfs_\w+)\s*;`).FindAllStringSubmatch(script, -1) {
		exported[match[1]] = true
	}
	if len(declared) == 0 {
		t.Fatal("no declarations found in the header")
	}
	if a, b := slices.Sorted(maps.Keys(declared)), slices.Sorted(maps.Keys(exported)); !slices.Equal(a, b) {
		for _, name := range a {
			if !exported[name] {
				t.Errorf("%s is in the header and not in capi/libbenchfs.map", name)
			}
		}
		for _, name := range b {
			if !declared[name] {
				t.Errorf("%s is in capi/libbenchfs.map and not in the header", name)
			}
		}
	}
}

// TestVersionsAgree: the Makefile names the library's files, capi/shim.h says what benchfs_version answers, the version script and the header
// which interface it is.
func TestVersionsAgree(t *testing.T) {
	find := func(path, pattern string) string {
		match := regexp.MustCompile(pattern).FindStringSubmatch(read(t, path))
		if match == nil {
			t.Fatalf("%s: no %s", path, pattern)
		}
		return match[1]
	}
	version := find("Makefile", `(?m)^VERSION := (\S+)$`)
	if told := find("capi/shim.h", `(?m)^#define BFS_VERSION "([^"]+)"$`); told != version {
		t.Errorf("the Makefile says version %s, capi/shim.h %s", version, told)
	}
	soname := find("Makefile", `(?m)^SOVERSION := (\S+)$`)
	if node := find("capi/libbenchfs.map", `(?m)^BENCHFS_(\d+)`); node != soname {
		t.Errorf("the soname has version %s, the version script %s", soname, node)
	}
	major, minor := find("include/benchfs.h", `(?m)^#define BENCHFS_API_MAJOR (\d+)$`), find("include/benchfs.h", `(?m)^#define BENCHFS_API_MINOR (\d+)$`)
	if major != soname || !strings.HasPrefix(version, major+"."+minor+".") {
		t.Errorf("version %s, soname %s, header %s.%s", version, soname, major, minor)
	}
}

// TestFuzzTargetsAreListed: a target that scripts/fuzz-targets.txt does not name is never fuzzed.
func TestFuzzTargetsAreListed(t *testing.T) {
	var found, listed []string
	for _, f := range goFiles(t) {
		for _, match := range regexp.MustCompile(`(?m)^func (Fuzz\w+)\(`).FindAllStringSubmatch(read(t, f.path), -1) {
			found = append(found, "./"+f.room+" "+match[1])
		}
	}
	for _, line := range strings.Split(read(t, "scripts/fuzz-targets.txt"), "\n") {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		words := strings.Fields(line)
		if len(words) != 3 || !regexp.MustCompile(`^[1-9][0-9]*x$`).MatchString(words[2]) {
			t.Errorf("scripts/fuzz-targets.txt: %q is not package, target and a number of runs", line)
			continue
		}
		listed = append(listed, words[0]+" "+words[1])
	}
	slices.Sort(found)
	slices.Sort(listed)
	if !slices.Equal(found, listed) {
		t.Errorf("scripts/fuzz-targets.txt lists\n  %s\nthe sources have\n  %s", strings.Join(listed, "\n  "), strings.Join(found, "\n  "))
	}
}

// TestMocksAreGenerated runs each mockgen directive into another place and compares.
func TestMocksAreGenerated(t *testing.T) {
	if testing.Short() {
		t.Skip("builds mockgen")
	}
	directive := regexp.MustCompile(`(?m)^//go:generate go (tool mockgen .*)$`)
	destination := regexp.MustCompile(`-destination=(\S+)`)
	seen := 0
	for _, f := range goFiles(t) {
		for _, match := range directive.FindAllStringSubmatch(read(t, f.path), -1) {
			seen++
			into := destination.FindStringSubmatch(match[1])
			if into == nil {
				t.Errorf("%s: mockgen without -destination", f.path)
				continue
			}
			fresh := filepath.Join(t.TempDir(), "mock.go")
			cmd := exec.Command("go", strings.Fields(strings.Replace(match[1], into[0], "-destination="+fresh, 1))...)
			cmd.Dir = filepath.Join(root, f.room)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", f.path, err, out)
				continue
			}
			got, err := os.ReadFile(fresh)
			if err != nil {
				t.Fatal(err)
			}
			want := []byte(read(t, f.room+"/"+into[1]))
			if !bytes.Equal(got, want) {
				t.Errorf("%s/%s is not what mockgen makes: go generate ./%s", f.room, into[1], f.room)
			}
		}
	}
	if seen == 0 {
		t.Error("no mockgen directive found: are the mocks generated?")
	}
}

// TestDependenciesHaveReasons: each module that go.mod asks for directly stands in docs/dependencies.md.
func TestDependenciesHaveReasons(t *testing.T) {
	doc := read(t, "docs/dependencies.md")
	used := map[string]bool{}
	for _, f := range goFiles(t) {
		for _, imported := range f.imports {
			if strings.Contains(strings.Split(imported, "/")[0], ".") && !strings.HasPrefix(imported, module) {
				used[imported] = true
			}
		}
	}
	for _, line := range strings.Split(read(t, "go.mod"), "\n") {
		fields := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		if len(fields) < 2 || !strings.HasPrefix(fields[1], "v") {
			continue
		}
		for imported := range used {
			if (imported == fields[0] || strings.HasPrefix(imported, fields[0]+"/")) && !strings.Contains(doc, "`"+fields[0]+"`") {
				t.Errorf("%s is used (%s) and docs/dependencies.md does not say why", fields[0], imported)
			}
		}
	}
}
