package lint_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const module = "github.com/benchfs/benchfs"

// root is the top of the repository, seen from this package.
const root = "../.."

// goFile is a parsed source file.
type goFile struct {
	path    string // from the top, with slashes
	room    string // its directory
	test    bool
	lines   int
	imports map[string]string // name in the file → path
	ast     *ast.File
	set     *token.FileSet
}

// at is the place of a node, for messages.
func (f *goFile) at(n ast.Node) string {
	return f.path + ":" + strings.TrimPrefix(f.set.Position(n.Pos()).String(), f.set.Position(n.Pos()).Filename+":")
}

// goFiles parses every Go file of the repository.
func goFiles(t *testing.T) []*goFile {
	t.Helper()
	var files []*goFile
	walk(t, func(path string) {
		if strings.HasSuffix(path, ".go") {
			files = append(files, parse(t, path))
		}
	})
	if len(files) == 0 {
		t.Fatal("no Go files found")
	}
	return files
}

// walk calls f for every file that belongs to the sources, by its path from the top.
func walk(t *testing.T, f func(path string)) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && path != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "bin" || name == "lib" || name == "vendor") {
			return filepath.SkipDir
		}
		if !d.IsDir() {
			relative, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			f(filepath.ToSlash(relative))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func parse(t *testing.T, path string) *goFile {
	t.Helper()
	text := read(t, path)
	f := &goFile{
		path: path, room: filepath.ToSlash(filepath.Dir(path)), test: strings.HasSuffix(path, "_test.go"),
		lines: strings.Count(text, "\n"), imports: map[string]string{}, set: token.NewFileSet(),
	}
	var err error
	if f.ast, err = parser.ParseFile(f.set, path, text, parser.SkipObjectResolution|parser.ParseComments); err != nil {
		t.Fatal(err)
	}
	for _, spec := range f.ast.Imports {
		imported := strings.Trim(spec.Path.Value, `"`)
		name := imported[strings.LastIndexByte(imported, '/')+1:]
		if spec.Name != nil {
			name = spec.Name.Name
		}
		f.imports[name] = imported
	}
	return f
}

// in tells whether a directory is one of the rooms or below it.
func in(dir string, rooms ...string) bool {
	for _, room := range rooms {
		if dir == room || strings.HasPrefix(dir, room+"/") {
			return true
		}
	}
	return false
}

// selectors calls use for each use of a selector pkg.Name, with the import path of pkg.
func (f *goFile) selectors(use func(n ast.Node, pkg, name string)) {
	ast.Inspect(f.ast, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok {
				if pkg, ok := f.imports[x.Name]; ok {
					use(s, pkg, s.Sel.Name)
				}
			}
		}
		return true
	})
}
