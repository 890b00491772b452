package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"github.com/BurntSushi/toml"
)

// Error is one defect of a configuration.
type Error struct {
	Source string // file name, "environment", "argument", …
	Line   int    // in the file; 0 = not known
	Key    string // "section.key", or the variable; "" when the defect is not of one key
	Reason string
	code   error
}

func (e *Error) Error() string {
	text := e.Source
	if e.Line > 0 {
		text += fmt.Sprintf(":%d", e.Line)
	}
	if e.Key != "" {
		text += ": " + e.Key
	}
	return text + ": " + e.Reason
}

// Unwrap gives the system's error where there is one.
func (e *Error) Unwrap() error { return e.code }

// Errno is that of the system call that failed, or EINVAL.
func (e *Error) Errno() syscall.Errno {
	var code syscall.Errno
	if errors.As(e.code, &code) {
		return code
	}
	return syscall.EINVAL
}

// loader collects values and defects.
type loader struct {
	c    *Config
	errs []error
}

func (l *loader) fail(err error) {
	if err != nil {
		l.errs = append(l.errs, err)
	}
}

// set gives a key a value from a source.
func (l *loader) set(k Key, text, source string, line int) {
	if err := k.parse(l.c, text); err != nil {
		l.fail(&Error{Source: source, Line: line, Key: k.Name, Reason: err.Error()})
		return
	}
	if line > 0 {
		source = fmt.Sprintf("%s:%d", source, line)
	}
	l.c.origin[k.Name] = source
}

// toml takes the keys of a file or text.
func (l *loader) toml(source, text string) {
	var sections map[string]any
	if _, err := toml.Decode(text, &sections); err != nil {
		e := &Error{Source: source, Reason: err.Error()}
		var parse toml.ParseError
		if errors.As(err, &parse) {
			e.Line, e.Key, e.Reason = parse.Position.Line, parse.LastKey, parse.Message
		}
		l.fail(e)
		return
	}
	for _, section := range sorted(sections) {
		table, ok := sections[section].(map[string]any)
		if !isSection(section) || !ok {
			l.fail(&Error{Source: source, Line: lineOf(text, section, ""), Key: section, Reason: unknown(section)})
			continue
		}
		for _, short := range sorted(table) {
			name := section + "." + short
			line := lineOf(text, section, short)
			k, ok := findKey(name)
			if !ok {
				l.fail(&Error{Source: source, Line: line, Key: name, Reason: unknown(name)})
				continue
			}
			value, err := k.fromTOML(table[short])
			if err != nil {
				l.fail(&Error{Source: source, Line: line, Key: name, Reason: err.Error()})
				continue
			}
			l.set(*k, value, source, line)
		}
	}
}

// environment takes the variables that begin like ours. One that names a section but no key is a mistake that would go unseen.
func (l *loader) environment(env map[string]string) {
	byVariable := map[string]*Key{}
	for i := range keys {
		byVariable[keys[i].Env()] = &keys[i]
	}
	for _, variable := range sorted(env) {
		if k, ok := byVariable[variable]; ok {
			l.set(*k, env[variable], "environment "+variable, 0)
			continue
		}
		rest, ours := strings.CutPrefix(variable, "BENCHFS_")
		section, _, long := strings.Cut(rest, "_")
		if ours && long && isSection(strings.ToLower(section)) {
			l.fail(&Error{Source: "environment", Key: variable, Reason: "no such key" + suggest(strings.ToLower(section+"."+rest[len(section)+1:]))})
		}
	}
}

func (l *loader) overrides(values map[string]string) {
	for _, name := range sorted(values) {
		k, ok := findKey(name)
		if !ok {
			l.fail(&Error{Source: "argument", Key: name, Reason: unknown(name)})
			continue
		}
		l.set(*k, values[name], "argument", 0)
	}
}

// secretIn tells whether the secret was taken from this file.
func (l *loader) secretIn(file string) bool {
	return l.c.Cluster.Secret != "" && strings.HasPrefix(l.c.origin["cluster.secret"], file+":")
}

func unknown(name string) string {
	if !strings.Contains(name, ".") {
		return "no such section; keys stand in sections, e.g. [cluster]"
	}
	return "no such key" + suggest(name)
}

// suggest names the key that is closest to a misspelt one, if one is close.
func suggest(name string) string {
	best, distance := "", 4
	for i := range keys {
		if d := editDistance(name, keys[i].Name); d < distance {
			best, distance = keys[i].Name, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %s?", best)
}

// editDistance is that of Levenshtein.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(diagonal+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// lineOf finds the line of a key (or, with key "", of a section or top-level key) in a TOML text; 0 if it is written in a way that
// this does not see, e.g. in an inline table. The text has parsed: only the usual forms need to be told apart.
func lineOf(text, section, key string) int {
	current := ""
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") && !strings.Contains(line, "=") {
			current = plain(strings.Trim(before(line, "#"), "[] \t"))
			if key == "" && (current == section || strings.HasPrefix(current, section+".")) {
				return i + 1
			}
			continue
		}
		if strings.HasPrefix(line, "#") || !strings.Contains(line, "=") {
			continue
		}
		name := plain(before(line, "="))
		if current != "" {
			name = current + "." + name
		}
		if key == "" && name == section || key != "" && (name == section+"."+key || strings.HasPrefix(name, section+"."+key+".")) {
			return i + 1
		}
	}
	return 0
}

// plain takes quotes and spaces out of a key.
func plain(key string) string {
	return strings.NewReplacer(`"`, "", "'", "", " ", "", "\t", "").Replace(key)
}

func before(s, separator string) string {
	head, _, _ := strings.Cut(s, separator)
	return head
}

func sorted[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
