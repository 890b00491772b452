// Package processes tests what processes do to open files under the interposer: fork, exec, descriptors that are inherited, passed on and
// closed. src/ is an ordinary program; it runs on a local disk first, which is the oracle, and then on two daemons.
package processes

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/benchfs/benchfs/internal/cluster"
)

// build compiles the program.
func build(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "process")
	cmd := exec.Command("gcc", "-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread", filepath.Join("src", "process.c"), filepath.Join("src", "calls.c"), filepath.Join("src", "signals.c"), "-o", program, "-ldl")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

func preloadLibrary(t *testing.T) string {
	t.Helper()
	path := filepath.Join(cluster.Root(), "lib", "libbenchfs_preload.so")
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v: make build", err)
	}
	return path
}

// run runs a command with an environment; what it printed, and its error.
func run(t *testing.T, env map[string]string, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "LC_ALL=C"}
	for k, v := range env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	return out.String(), err
}

func TestProcesses(t *testing.T) {
	program := build(t)
	list, err := run(t, nil, program, "--list")
	if err != nil {
		t.Fatal(err)
	}
	c := cluster.Start(t, cluster.Options{Nodes: 2, Shards: 1, Settings: map[string]string{"layout.chunk_size": "64KiB"}})
	preloaded := c.Env()
	preloaded["LD_PRELOAD"] = preloadLibrary(t)
	log := filepath.Join(t.TempDir(), "log")
	preloaded["BENCHFS_PRELOAD_LOG"] = log
	scenarios := strings.Fields(list)
	if len(scenarios) < 20 {
		t.Fatalf("%q", scenarios)
	}
	for _, scenario := range scenarios {
		t.Run(scenario, func(t *testing.T) {
			if out, err := run(t, nil, program, scenario, filepath.Join(t.TempDir(), "d")); err != nil {
				t.Fatalf("on a local disk, which is the oracle: %v\n%s", err, out)
			}
			if out, err := run(t, preloaded, program, scenario, "/benchfs/"+scenario); err != nil {
				text, _ := os.ReadFile(log)
				t.Fatalf("%v\n%s%s", err, out, text)
			}
			_ = os.Truncate(log, 0)
		})
	}
}

// TestUnhandled: calls by number that nobody serves are told to the log, and counted in the report.
func TestUnhandled(t *testing.T) {
	program := build(t)
	c := cluster.Start(t, cluster.Options{Nodes: 1, Shards: 1})
	env := c.Env()
	log := filepath.Join(t.TempDir(), "log")
	env["LD_PRELOAD"], env["BENCHFS_PRELOAD_LOG"], env["BENCHFS_PRELOAD_REPORT"] = preloadLibrary(t), log, "1"
	if out, err := run(t, env, program, "unhandled", "/benchfs/unhandled"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		fmt.Sprintf("syscall %d refused: openat2 with rules", unix.SYS_OPENAT2), fmt.Sprintf("syscall %d refused: a call on a descriptor", unix.SYS_SETNS),
		fmt.Sprintf("  syscall %-12d %10d unhandled\n", unix.SYS_OPENAT2, 2), fmt.Sprintf("  syscall %-12d %10d unhandled\n", unix.SYS_SETNS, 1),
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("there is no %q in\n%s", want, text)
		}
	}
}

// TestNothingElse: what is not under the prefix is as it was, and the prefix hides what is there.
func TestNothingElse(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Nodes: 1, Shards: 1})
	env := c.Env()
	env["LD_PRELOAD"] = preloadLibrary(t)
	dir := t.TempDir()
	env["BENCHFS_PREFIX"] = filepath.Join(dir, "p")
	if err := os.MkdirAll(filepath.Join(dir, "p", "hidden"), 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := run(t, env, "sh", "-c", "cd "+dir+" && echo x > f && ls p && echo y > p/g && ls p pp 2>/dev/null; cat p/g f")
	if err != nil || out != "p:\ng\ny\nx\n" {
		t.Errorf("%q, %v", out, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "p", "g")); err == nil {
		t.Error("it is in the real directory")
	}
	// Programs to be left alone see the real directory.
	env["BENCHFS_BYPASS"] = "cat:ls"
	if out, err := run(t, env, "ls", filepath.Join(dir, "p")); err != nil || out != "hidden\n" {
		t.Errorf("%q, %v", out, err)
	}
	if out, err := run(t, env, "sh", "-c", "test -e "+dir+"/p/g && ls "+dir+"/p"); err != nil || out != "hidden\n" {
		t.Errorf("a program in the list, started by one that is not: %q, %v", out, err)
	}
}

// TestDepth: fourteen generations, each of which forks without exec and uses files.
func TestDepth(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Nodes: 1, Shards: 1})
	env := c.Env()
	env["LD_PRELOAD"], env["GLIBC_TUNABLES"] = preloadLibrary(t), "glibc.rtld.nns=16"
	const script = `set -e
d() { echo $1 >/benchfs/d$1; if [ $1 -lt 14 ]; then ( d $(($1 + 1)) ); fi; cat /benchfs/d$1 >/dev/null; }
d 1; ls /benchfs | wc -l`
	if out, err := run(t, env, "bash", "-c", script); err != nil || out != "14\n" {
		t.Errorf("%q, %v", out, err)
	}
}

// TestFailures: no daemon, a wrong secret, a daemon that is lost: an errno, a line in the log, and never a file of that name.
func TestFailures(t *testing.T) {
	library := preloadLibrary(t)
	prefix := filepath.Join(t.TempDir(), "p")
	if err := os.Mkdir(prefix, 0o755); err != nil {
		t.Fatal(err)
	}
	c := cluster.Start(t, cluster.Options{Nodes: 1, Shards: 1, Settings: map[string]string{"rpc.call_timeout": "2s", "cluster.join_timeout": "2s"}})
	try := func(t *testing.T, name string, change map[string]string, want string) {
		t.Helper()
		env := c.Env()
		env["LD_PRELOAD"], env["BENCHFS_PREFIX"], env["BENCHFS_PRELOAD_LOG"] = library, prefix, "stderr"
		for k, v := range change {
			env[k] = v
		}
		began := time.Now()
		out, err := run(t, env, "sh", "-c", "echo x > "+prefix+"/f")
		if err == nil || !strings.Contains(out, want) {
			t.Errorf("%s: %v after %v\n%s", name, err, time.Since(began), out)
		}
		if _, err := os.Stat(filepath.Join(prefix, "f")); err == nil {
			t.Errorf("%s: the file is in the real directory", name)
		}
	}
	try(t, "no configuration", map[string]string{"BENCHFS_CLUSTER_REGISTRY_DIR": ""}, "cannot join the file system")
	try(t, "another registry", map[string]string{"BENCHFS_CLUSTER_REGISTRY_DIR": t.TempDir(), "BENCHFS_CLUSTER_JOIN_TIMEOUT": "1s"}, "cannot join the file system")
	listen := regexp.MustCompile(`listen=(\S+)`).FindStringSubmatch(c.Log(0))
	if listen == nil {
		t.Fatalf("the daemon does not say where it listens: %s", c.Log(0))
	}
	try(t, "a wrong secret", map[string]string{"BENCHFS_CLUSTER_REGISTRY_DIR": "", "BENCHFS_CLUSTER_NODES": listen[1], "BENCHFS_CLUSTER_SECRET": "another"}, "refused")
	try(t, "no library", map[string]string{"BENCHFS_LIBRARY": "/nonexistent/libbenchfs.so"}, "cannot load /nonexistent/libbenchfs.so")
	// A daemon that is lost while a file is open.
	dir := t.TempDir()
	type result struct {
		out string
		err error
	}
	done := make(chan result, 1)
	go func() {
		env := c.Env()
		env["LD_PRELOAD"], env["BENCHFS_PREFIX"] = library, prefix
		out, err := run(t, env, "sh", "-c", "exec 3>"+prefix+"/open; echo x >&3; : >"+dir+"/ready; while [ ! -e "+dir+"/gone ]; do sleep 0.05; done; echo y >&3")
		done <- result{out, err}
	}()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(dir, "ready")); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the program has not opened its file")
		}
	}
	c.Kill(0)
	if err := os.WriteFile(filepath.Join(dir, "gone"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if r := <-done; r.err == nil || !strings.Contains(r.out, "echo: I/O error") {
		t.Errorf("written to a lost daemon: %q, %v", r.out, r.err)
	}
	try(t, "a lost daemon", nil, "f: ")
}
