package config

import (
	"fmt"
	"strings"
)

// TOML writes the resolved configuration, each key with a comment that says where its value came from. Load reads it
// back. A secret is left out.
func (c *Config) TOML() string {
	var b strings.Builder
	section := ""
	for i := range keys {
		k := &keys[i]
		if k.Section() != section {
			if section != "" {
				b.WriteByte('\n')
			}
			section = k.Section()
			fmt.Fprintf(&b, "[%s]\n", section)
		}
		if k.Secret {
			state := "not set"
			if *k.field(c).(*string) != "" {
				state = "set, not shown"
			}
			fmt.Fprintf(&b, "# %s: %s (%s)\n", k.Short(), state, c.origin[k.Name])
			continue
		}
		fmt.Fprintf(&b, "%s = %s # %s\n", k.Short(), k.format(c), strings.ReplaceAll(c.origin[k.Name], "\n", " "))
	}
	return b.String()
}

// Origin says where the value of a key came from: "default", "file:line", "environment NAME", "argument".
func (c *Config) Origin(name string) string { return c.origin[name] }

// defaults is a configuration of nothing but defaults, as they are written, not resolved.
func defaults() *Config {
	l := loader{c: &Config{origin: map[string]string{}}}
	for _, k := range keys {
		l.set(k, k.Default, "default", 0)
	}
	return l.c
}

// Example is the text of benchfs.toml.example: every key, commented out, with its default and description.
func Example() string {
	c := defaults()
	var b strings.Builder
	b.WriteString("# Configuration of BenchFS: every key with its default. Generated from config/keys.go (make docs).\n" +
		"# Later sources win: this file, environment variables (BENCHFS_SECTION_KEY), arguments.\n" +
		"# Unknown keys and bad values are refused. docs/configuration.md says the same at length.\n")
	for _, s := range sectionDocs {
		fmt.Fprintf(&b, "\n%s[%s]\n", wrap("# ", s.doc, 120), s.name)
		for i := range keys {
			k := &keys[i]
			if k.Section() == s.name {
				fmt.Fprintf(&b, "\n%s#%s = %s\n", wrap("# ", k.Doc, 120), k.Short(), k.format(c))
			}
		}
	}
	return b.String()
}

// Manual is the text of docs/configuration.md.
func Manual() string {
	c := defaults()
	var b strings.Builder
	b.WriteString(manualHead)
	for _, s := range sectionDocs {
		fmt.Fprintf(&b, "\n## [%s]\n\n%s\n\n| key | type | default | |\n|---|---|---|---|\n", s.name, s.doc)
		for i := range keys {
			k := &keys[i]
			if k.Section() == s.name {
				fmt.Fprintf(&b, "| `%s` | %s | `%s` | %s |\n", k.Name, k.Type, k.format(c), strings.ReplaceAll(k.Doc, "|", `\|`))
			}
		}
	}
	return b.String()
}

const manualHead = `# Configuration

Generated from ` + "`config/keys.go`" + ` by ` + "`make docs`" + `; a test compares them.

A configuration is resolved from, later ones winning:

1. the defaults below;
2. a TOML file: ` + "`--config FILE`" + `, the ` + "`config_file`" + ` option of ` + "`benchfs_init`" + `, or the environment variable ` + "`BENCHFS_CONFIG`" + `;
3. environment variables: key ` + "`cluster.node_id`" + ` is ` + "`BENCHFS_CLUSTER_NODE_ID`" + `; a list is separated by commas;
4. arguments: ` + "`--set cluster.node_id=3`" + ` of benchfsd and benchfs, and the flags that stand for a key (` + "`benchfsd --help`" + ` names the key of each).

An unknown key, a bad value or a file that cannot be read is refused with file, line and key. ` + "`benchfsd --print-config`" + ` shows the result
and where each value came from. [benchfs.toml.example](../benchfs.toml.example) is a file to copy.

Sizes are written ` + "`65536`, `64KiB`, `4MiB`, `1.5GiB`" + `; durations ` + "`250ms`, `30s`, `2m`" + `; octal numbers as text, ` + "`\"022\"`" + `.

Embedded or distributed: ` + "`cluster.mode`" + ` decides, and nothing else. With ` + "`auto`" + ` the file system is distributed exactly if ` + "`cluster.registry_dir`" + ` or
` + "`cluster.nodes`" + ` is set. Daemons that are missing are an error, never a reason to use a local store.
`

// wrap breaks a text into lines of at most width characters, each with the prefix.
func wrap(prefix, text string, width int) string {
	var b strings.Builder
	line := prefix
	for _, word := range strings.Fields(text) {
		if len(line)+len(word) > width && line != prefix {
			b.WriteString(strings.TrimRight(line, " ") + "\n")
			line = prefix
		}
		line += word + " "
	}
	b.WriteString(strings.TrimRight(line, " ") + "\n")
	return b.String()
}
