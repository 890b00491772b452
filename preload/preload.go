// Package preload knows which functions of libc the interposer (src/) covers: the list in functions.txt, from which the interposer is built,
// and which the documentation and `benchfs check-app` are made from.
package preload

import (
	_ "embed"
	"fmt"
	"sort"
	"strings"
)

// Library is the interposer's file name.
const Library = "libbenchfs_preload.so"

// Class says what becomes of calls that concern files of BenchFS.
type Class string

// The classes of functions.txt.
const (
	Done    Class = "done"    // as for a file of the kernel
	Refused Class = "refused" // fails, with the errno that the note begins with
	Passes  Class = "passes"  // goes to libc and the kernel, which know nothing of BenchFS
)

// Function is one function of libc that takes a path or a descriptor.
type Function struct {
	Name  string
	Class Class
	Note  string
}

//go:embed functions.txt
var functions string

//go:embed unrelated.txt
var unrelated string

//go:embed limits.md
var limits string

// Limits lists what cannot work, and why: Markdown.
func Limits() string { return limits }

// Functions are those of functions.txt, in its order.
func Functions() ([]Function, error) {
	var list []Function
	for i, line := range strings.Split(functions, "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, rest, _ := strings.Cut(line, " ")
		class, note, _ := strings.Cut(rest, " ")
		switch Class(class) {
		case Done, Refused, Passes:
		default:
			return nil, fmt.Errorf("functions.txt:%d: %q is no class", i+1, class)
		}
		list = append(list, Function{Name: name, Class: Class(class), Note: note})
	}
	return list, nil
}

// ByName are the functions by their names.
func ByName() (map[string]Function, error) {
	list, err := Functions()
	if err != nil {
		return nil, err
	}
	byName := make(map[string]Function, len(list))
	for _, f := range list {
		byName[f.Name] = f
	}
	return byName, nil
}

// Unrelated are the functions of libc that take neither a path nor a descriptor, sorted.
func Unrelated() []string {
	var names []string
	for _, line := range strings.Split(unrelated, "\n") {
		if line != "" && !strings.HasPrefix(line, "#") {
			names = append(names, line)
		}
	}
	sort.Strings(names)
	return names
}
