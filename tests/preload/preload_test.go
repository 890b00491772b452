// Package preload_test runs unmodified programs through the interposer, on two daemons, and compares what they do with what they do on the
// local disk: exit status, what they print, and the tree that they leave.
package preload_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/benchfs/benchfs/internal/cluster"
	"github.com/benchfs/benchfs/tests/agent"
	"github.com/benchfs/benchfs/tests/posix"
)

// A program is a case: a script of bash with these variables: D, its directory, on the local disk or in BenchFS; T, an empty directory on
// the local disk; DATA, a file there of 1 MiB of noise; C, a directory with sources (testdata). It starts outside of D and stops with the
// first command that fails; on the local disk it must succeed, since a case that fails everywhere says nothing.
type program struct {
	name   string
	script string
}

var programs = [][]program{coreutils, archives, shells, languages, builds, databases, trees, tools, stores}

const (
	prefix = "/benchfs"
	// One case, on a machine that is busy with other things.
	patience = 2 * time.Minute
)

func TestMain(m *testing.M) {
	status := m.Run()
	agent.CleanUp()
	os.Exit(status)
}

// slots holds as many cases as run at a time: starting programs takes a processor.
var slots = make(chan struct{}, 2)

func TestPrograms(t *testing.T) {
	library := filepath.Join(cluster.Root(), "lib", "libbenchfs_preload.so")
	if _, err := os.Stat(library); err != nil {
		t.Fatalf("no interposer to test: make build: %v", err)
	}
	data := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(data, noise(1<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	c := cluster.Start(t, cluster.Options{Nodes: 2})
	here := &side{name: "local disk", fs: posix.NewLocal(""), root: t.TempDir()}
	there := &side{name: "BenchFS", fs: agent.MustStart(t, c.Env()), root: prefix, cut: prefix, env: []string{"LD_PRELOAD=" + library}}
	for k, v := range c.Env() {
		there.env = append(there.env, k+"="+v)
	}
	t.Run("cases", func(t *testing.T) { // returns when all are done, before the daemons end
		for _, group := range programs {
			for _, p := range group {
				t.Run(p.name, func(t *testing.T) {
					t.Parallel()
					slots <- struct{}{}
					defer func() { <-slots }()
					compare(t, p, data, here, there)
				})
			}
		}
	})
}

// noise is the same each time.
func noise(n int) []byte {
	p := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(p)
	return p
}

// A side is where a script runs.
type side struct {
	name string
	mu   sync.Mutex // of fs
	fs   posix.FS
	root string   // where the cases' directories lie, for programs
	cut  string   // what of it fs does not know
	env  []string // further variables
}

// An outcome is what is compared, and what explains it.
type outcome struct {
	status       int
	stdout, tree string
	stderr, log  string
}

func compare(t *testing.T, p program, data string, sides ...*side) {
	outcomes := make([]outcome, len(sides))
	for i, s := range sides {
		o, err := s.run(t, p, data)
		if err != nil {
			t.Fatalf("on %s: %v\nstdout:\n%s\nstderr:\n%s\nlog of the interposer:\n%s", s.name, err, o.stdout, o.stderr, o.log)
		}
		outcomes[i] = o
	}
	want, got := outcomes[0], outcomes[1]
	if want.status != 0 {
		t.Fatalf("the case is wrong, it fails on the local disk with status %d:\n%s\n%s", want.status, want.stdout, want.stderr)
	}
	var report strings.Builder
	if got.status != 0 {
		fmt.Fprintf(&report, "exit status %d instead of 0\n", got.status)
	}
	difference(&report, "stdout", want.stdout, got.stdout)
	difference(&report, "tree", want.tree, got.tree)
	if report.Len() > 0 {
		t.Errorf("BenchFS is not as the local disk:\n%sstderr:\n%s\nlog of the interposer:\n%s", report.String(), indent(got.stderr), indent(got.log))
	}
}

// run runs a case in a new directory.
func (s *side) run(t *testing.T, p program, data string) (outcome, error) {
	dir, scratch := filepath.Join(s.root, p.name), t.TempDir()
	s.mu.Lock()
	err := s.fs.Mkdir(strings.TrimPrefix(dir, s.cut), 0o755)
	s.mu.Unlock()
	if err != nil {
		return outcome{}, fmt.Errorf("mkdir %s: %w", dir, err)
	}
	outside, log := filepath.Join(scratch, "T"), filepath.Join(scratch, "log")
	if err := os.Mkdir(outside, 0o755); err != nil {
		return outcome{}, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", "set -eu; umask 022\n"+p.script, p.name)
	cmd.Dir = outside
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + scratch, "LC_ALL=C", "TZ=UTC", "TMPDIR=" + outside, "PYTHONDONTWRITEBYTECODE=1",
		"D=" + dir, "T=" + outside, "DATA=" + data, "C=" + filepath.Join(cluster.Root(), "tests", "preload", "testdata"), "BENCHFS_PRELOAD_LOG=" + log}, s.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second // a program that was left behind holds the output open
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	begin := time.Now()
	err = cmd.Run()
	t.Logf("%s: %d ms", s.name, time.Since(begin).Milliseconds())
	told, _ := os.ReadFile(log)
	same := strings.NewReplacer(dir, "$D", outside, "$T")
	o := outcome{status: cmd.ProcessState.ExitCode(), stdout: same.Replace(stdout.String()), stderr: stderr.String(), log: string(told)}
	if ctx.Err() != nil {
		return o, fmt.Errorf("not done after %v", patience)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return o, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	lines, err := walk(s.fs, strings.TrimPrefix(dir, s.cut), ".", same)
	o.tree = strings.Join(lines, "\n")
	return o, err
}

// difference reports the lines that only one of two texts has, each list in its order.
func difference(report *strings.Builder, what, want, got string) {
	if want == got {
		return
	}
	missing, extra := without(want, got), without(got, want)
	fmt.Fprintf(report, "%s:\n", what)
	for _, line := range missing {
		fmt.Fprintf(report, "  local disk: %s\n", line)
	}
	for _, line := range extra {
		fmt.Fprintf(report, "  BenchFS:    %s\n", line)
	}
	if len(missing) == 0 && len(extra) == 0 {
		fmt.Fprintf(report, "  the same lines in another order; local disk:\n%s\n  BenchFS:\n%s\n", indent(want), indent(got))
	}
}

// without are the lines of a that b lacks, counted.
func without(a, b string) []string {
	count := map[string]int{}
	for _, line := range strings.Split(b, "\n") {
		count[line]++
	}
	var only []string
	for _, line := range strings.Split(a, "\n") {
		if count[line]--; count[line] < 0 {
			only = append(only, line)
		}
	}
	const most = 40
	if len(only) > most {
		only = append(only[:most:most], fmt.Sprintf("… and %d lines more", len(only)-most))
	}
	return only
}

func indent(text string) string {
	const most = 8000
	if len(text) > most {
		text = "…" + text[len(text)-most:]
	}
	return "  " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n  ")
}

// names are the entries of a directory, sorted.
func names(fs posix.FS, path string) ([]string, error) {
	dir, err := fs.Opendir(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = fs.Closedir(dir) }()
	var all []string
	for {
		entries, err := fs.Readdir(dir, 100)
		if err != nil {
			return nil, err
		}
		if len(entries) == 0 {
			sort.Strings(all)
			return all, nil
		}
		for _, e := range entries {
			if e.Name != "." && e.Name != ".." {
				all = append(all, e.Name)
			}
		}
	}
}
