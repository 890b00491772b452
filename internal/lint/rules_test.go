package lint_test

import (
	"go/ast"
	"slices"
	"strings"
	"testing"
)

// leaves may be imported by everybody.
var leaves = []string{
	"fserr", "core/layout", "internal/chain", "internal/inode", "internal/invariant", "internal/memcopy", "internal/procfs", "internal/random",
}

// mayImport says what a room may import of this module besides the leaves and itself. "*" is everything but the places where
// programs are made (capi, cmd, tests).
var mayImport = []struct {
	room string
	may  []string
}{
	{"fserr", nil},
	{"core/layout", nil},
	{"internal/chain", nil},
	{"internal/inode", nil},
	{"internal/invariant", nil},
	{"internal/procfs", nil},
	{"internal/rangelock", nil},
	{"config", nil},
	{"preload", nil},
	{"internal/handle", nil},
	{"internal/registry", nil},
	{"internal/wal", nil},
	{"internal/lint", nil},
	{"internal/apidoc", nil},
	{"internal/manpage", []string{"config", "internal/apidoc"}},
	{"cache", nil},
	{"store", []string{"internal/wal"}},
	{"meta", []string{"internal/wal"}},
	{"rpc", nil},
	{"ucx", []string{"rpc", "internal/loop"}},
	{"internal/memcopy", nil},
	{"shm", []string{"rpc", "internal/memcopy"}},
	{"internal/loop", []string{"rpc"}},
	{"internal/random", nil},
	{"core/client", []string{"rpc", "cache", "config", "shm"}},
	{"core/server", []string{"rpc", "meta", "store", "internal/wal", "internal/rangelock"}},
	{"internal/compose", []string{"*"}},
	{"internal/cluster", []string{"*"}},
	{"capi/bridge", []string{"core/client", "internal/handle", "internal/compose", "config"}},
	{"capi", []string{"shm", "capi/bridge", "core/client", "core/server", "ucx", "config", "internal/compose", "internal/handle"}},
	{"cmd", []string{"*"}},
	{"tests", []string{"*"}},
}

// pure are the rooms that may use the standard library only, and config's TOML reader.
var pure = map[string][]string{
	"core/layout":    nil,
	"internal/chain": nil,
	"internal/inode": nil,
	"fserr":          nil,
	"config":         {"github.com/BurntSushi/toml"},
}

// TestImports holds the rooms apart. Test files may import what they need.
func TestImports(t *testing.T) {
	for _, f := range goFiles(t) {
		if f.test {
			continue
		}
		rule := slices.IndexFunc(mayImport, func(r struct {
			room string
			may  []string
		}) bool {
			return in(f.room, r.room)
		})
		if f.room == "capi/bridge" {
			rule = slices.IndexFunc(mayImport, func(r struct {
				room string
				may  []string
			}) bool {
				return r.room == "capi/bridge"
			})
		}
		if rule < 0 {
			t.Errorf("%s: no rule says what %s may import; add one to mayImport", f.path, f.room)
			continue
		}
		r := mayImport[rule]
		for _, imported := range f.imports {
			target, ours := strings.CutPrefix(imported, module+"/")
			if !ours {
				if allowed, ok := pure[f.room]; ok && strings.Contains(imported, ".") && !slices.Contains(allowed, imported) {
					t.Errorf("%s imports %s: %s uses the standard library only", f.path, imported, f.room)
				}
				continue
			}
			program := in(target, "capi", "cmd", "tests")
			allowed := in(target, leaves...) || in(target, r.room) || in(target, r.may...) || slices.Contains(r.may, "*") && !program
			if !allowed {
				t.Errorf("%s: %s may not import %s", f.path, r.room, target)
			}
		}
	}
}

func TestOnlyTheBoundariesUseC(t *testing.T) {
	for _, f := range goFiles(t) {
		for _, imported := range f.imports {
			if imported == "C" && f.room != "capi" && !in(f.room, "ucx", "shm", "tests") {
				t.Errorf("%s: only capi, ucx and shm use C", f.path)
			}
			if imported == "unsafe" && in(f.room, "core/layout", "core/server", "meta", "config", "fserr") && !f.test {
				t.Errorf("%s: unsafe has no business in %s", f.path, f.room)
			}
		}
	}
}

// library tells whether a room is part of what a host process loads.
func library(room string) bool {
	return room != "." && !in(room, "cmd", "tests", "internal/lint", "internal/apidoc", "internal/manpage", "internal/cluster", "examples")
}

// TestLibraryLeavesItsHostAlone: no output, no exit, nothing of the process changed.
func TestLibraryLeavesItsHostAlone(t *testing.T) {
	forbidden := map[string][]string{
		"os":      {"Exit", "Stdout", "Stderr", "Stdin", "Setenv", "Unsetenv", "Clearenv", "Getenv", "LookupEnv", "Chdir"},
		"fmt":     {"Print", "Printf", "Println", "Scan", "Scanf", "Scanln"},
		"log":     {"Fatal", "Fatalf", "Fatalln", "Panic", "Panicf", "Panicln", "Print", "Printf", "Println"},
		"syscall": {"Exit", "Chdir", "Fchdir", "Umask", "Setenv", "Kill"},
		"runtime": {"GOMAXPROCS"},
	}
	for _, f := range goFiles(t) {
		if f.test || !library(f.room) {
			continue
		}
		f.selectors(func(n ast.Node, pkg, name string) {
			if pkg == "runtime" && f.path == "internal/compose/runtime.go" {
				return // the one place that may: it only adds processors, of a runtime that the host has no part in
			}
			if slices.Contains(forbidden[pkg], name) && (pkg != "syscall" || name != "Kill" || !in(f.room, "core/server", "internal/compose")) {
				t.Errorf("%s: %s.%s in the library", f.at(n), pkg, name)
			}
		})
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				if name, ok := call.Fun.(*ast.Ident); ok && (name.Name == "print" || name.Name == "println") {
					t.Errorf("%s: %s in the library", f.at(n), name.Name)
				}
			}
			return true
		})
		for _, imported := range f.imports {
			if imported == "os/signal" || imported == "os/exec" || imported == "flag" {
				t.Errorf("%s imports %s: the process is not ours", f.path, imported)
			}
		}
	}
}

// TestClientKeepsOutOfGosPoller: what runs in an application uses neither Go's files and sockets nor its timers. Both start Go's poller,
// whose descriptors die with a host that closes what it does not know, and the whole process with them.
func TestClientKeepsOutOfGosPoller(t *testing.T) {
	rooms := []string{"rpc", "core/client", "cache", "config", "fserr", "internal/registry", "internal/handle", "internal/procfs", "shm", "internal/wal", "ucx", "capi", "store", "meta", "internal/compose"}
	forbidden := map[string][]string{
		"os": {"Open", "Create", "OpenFile", "ReadFile", "WriteFile", "ReadDir", "NewFile", "Pipe", "CreateTemp", "DirFS", "OpenRoot"},
		// context.AfterFunc sets no timer.
		"time":    {"Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick"},
		"context": {"WithTimeout", "WithDeadline", "WithTimeoutCause", "WithDeadlineCause"},
	}
	for _, f := range goFiles(t) {
		if f.test || !in(f.room, rooms...) || in(f.room, "store/storetest", "store/faulty") || f.path == "internal/compose/daemon.go" {
			continue
		}
		f.selectors(func(n ast.Node, pkg, name string) {
			if slices.Contains(forbidden[pkg], name) {
				t.Errorf("%s: %s.%s starts Go's poller in the host process", f.at(n), pkg, name)
			}
		})
		for _, imported := range f.imports {
			if imported == "crypto/rand" || imported == "net" || strings.HasPrefix(imported, "net/") && imported != "net/netip" && imported != "net/url" {
				t.Errorf("%s imports %s: it starts Go's poller in the host process", f.path, imported)
			}
		}
	}
}

// TestOneTopicAFile: what is too long has more than one topic. The first limit is where to think about it, the second where it fails.
func TestOneTopicAFile(t *testing.T) {
	const think, fail, functionFail = 500, 900, 120
	for _, f := range goFiles(t) {
		generated := ast.IsGenerated(f.ast)
		switch {
		case generated || f.test:
		case f.lines > fail:
			t.Errorf("%s has %d lines: split it", f.path, f.lines)
		case f.lines > think:
			t.Logf("%s has %d lines", f.path, f.lines)
		}
		if generated || f.test {
			continue
		}
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok {
				if lines := f.set.Position(fn.End()).Line - f.set.Position(fn.Pos()).Line + 1; lines > functionFail {
					t.Errorf("%s: %s has %d lines", f.at(fn), fn.Name.Name, lines)
				} else if lines > 70 {
					t.Logf("%s: %s has %d lines", f.at(fn), fn.Name.Name, lines)
				}
			}
		}
	}
	walk(t, func(path string) {
		if strings.HasSuffix(path, ".c") {
			if lines := strings.Count(read(t, path), "\n"); lines > fail {
				t.Errorf("%s has %d lines: split it", path, lines)
			} else if lines > think {
				t.Logf("%s has %d lines", path, lines)
			}
		}
	})
}

// TestEveryPackageSaysWhatItIsFor: a newcomer reads package comments.
func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	said, all := map[string]bool{}, map[string]bool{}
	for _, f := range goFiles(t) {
		if f.test {
			continue
		}
		all[f.room] = true
		if f.ast.Doc != nil {
			said[f.room] = true
		}
	}
	for room := range all {
		if !said[room] {
			t.Errorf("package %s has no package comment", room)
		}
	}
}
