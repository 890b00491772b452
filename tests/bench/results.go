package main

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/benchfs/benchfs/config"
)

// document is what a run leaves as JSON: everything that the tables and pictures are made from, and on what it was measured.
type document struct {
	Time        string            `json:"time"` // UTC, RFC 3339
	Build       build             `json:"build"`
	Machine     machine           `json:"machine"`
	Rounds      int               `json:"rounds"`
	Only        string            `json:"only,omitempty"`
	Config      map[string]string `json:"config"` // of BenchFS, by stage, where it differs from the defaults
	Defaults    string            `json:"defaults"`
	Notes       []string          `json:"notes,omitempty"`
	Failed      map[string]string `json:"failed,omitempty"`
	Series      []*series         `json:"series"`
	Comparisons []compared        `json:"comparisons"`
}

type build struct {
	ID     string `json:"id"`     // what the daemons call themselves
	Commit string `json:"commit"` // git describe
	Go     string `json:"go"`
	CC     string `json:"cc"`
	UCX    string `json:"ucx"`
}

type machine struct {
	Kernel   string `json:"kernel"`
	CPU      string `json:"cpu"`
	Cores    int    `json:"cores"`
	MemoryMB int    `json:"memory_mib"`
	// Processes that ran or wanted to, averaged over the last minute: how busy the machine is with other things, before the run.
	Load float64 `json:"load"`
}

// compared is an evaluated bar in JSON.
type compared struct {
	Row     string  `json:"row"`
	Limit   string  `json:"limit,omitempty"`
	Ratio   float64 `json:"ratio"`
	Want    string  `json:"want"`
	Bar     float64 `json:"bar"`
	Verdict verdict `json:"verdict"`
}

// said is the first line of what a program prints; "" if it cannot be run.
func said(ctx context.Context, args ...string) string {
	out, err := exec.CommandContext(ctx, args[0], args[1:]...).Output()
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return line
}

// field is the value of the first line "key: value" of a file.
func field(path, key string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for _, line := range strings.Split(string(text), "\n") {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == key {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func thisBuild(ctx context.Context, id, cc string) build {
	return build{
		ID:     id,
		Commit: said(ctx, "git", "describe", "--always", "--dirty", "--tags"),
		Go:     runtime.Version(),
		CC:     said(ctx, cc, "--version"),
		UCX:    said(ctx, "pkg-config", "--modversion", "ucx"),
	}
}

func thisMachine() machine {
	m := machine{CPU: field("/proc/cpuinfo", "model name"), Cores: runtime.NumCPU()}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		m.MemoryMB = int(uint64(info.Totalram) * uint64(info.Unit) >> 20)
		m.Load = float64(info.Loads[0]) / (1 << 16)
	}
	return m
}

func (r *runner) document(ctx context.Context, now time.Time) *document {
	d := &document{
		Time: now.UTC().Format(time.RFC3339), Build: thisBuild(ctx, r.buildID, r.o.cc), Machine: r.machine, Rounds: r.o.rounds, Only: r.o.only,
		Config: map[string]string{}, Notes: append(append([]string{}, r.box.notes...), r.remarks...), Failed: r.failed, Series: r.m.sorted(r.rank),
	}
	if c, err := config.Load(config.Sources{}); err == nil {
		d.Defaults = c.TOML()
	}
	for _, c := range r.cases {
		var settings []string
		for key, value := range c.stage.settings {
			if hasKey(key) {
				settings = append(settings, key+"="+value)
			}
		}
		d.Config[c.stage.name] = strings.Join(settings, " ")
	}
	for _, c := range bars {
		if e, ok := c.evaluate(r.m); ok {
			d.Comparisons = append(d.Comparisons, compared{c.row, c.limit, e.ratio, c.want.String(), c.bar, e.verdict})
		}
	}
	return d
}

// save writes the document and the report's pictures; it returns their paths.
func (r *runner) save(ctx context.Context, now time.Time) ([]string, error) {
	stamp := now.UTC().Format("20060102T150405Z")
	pictures := filepath.Join(r.o.results, stamp)
	if err := os.MkdirAll(pictures, 0o755); err != nil {
		return nil, err
	}
	d := r.document(ctx, now)
	text, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return nil, err
	}
	path := filepath.Join(r.o.results, stamp+".json")
	if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
		return nil, err
	}
	files, err := drawAll(r.m, d, pictures)
	if err != nil {
		return nil, err
	}
	if r.o.docs != "" {
		if err := copyInto(r.o.docs, files); err != nil {
			return nil, err
		}
	}
	return append([]string{path}, files...), nil
}

func copyInto(dir string, files []string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(file)), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
