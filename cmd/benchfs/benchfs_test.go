package main_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/benchfs/benchfs/store/uring"
)

// bin is where TestMain has built the programs.
var bin string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "benchfs-test-")
		if err != nil {
			fmt.Println(err)
			return 1
		}
		defer func() { _ = os.RemoveAll(dir) }()
		bin = dir
		build := exec.Command("go", "build", "-o", dir+"/", "../benchfs", "../benchfsd")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Printf("%v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// tool is a benchfs command whose private directories are under a directory of the test.
func tool(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(filepath.Join(bin, "benchfs"), args...)
	runtime := filepath.Join(t.TempDir(), "run")
	if err := os.Mkdir(runtime, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+runtime, "PATH="+bin+":"+os.Getenv("PATH"))
	return cmd
}

// output runs a command that must end with the given status, and returns what it wrote.
func output(t *testing.T, cmd *exec.Cmd, status int) (stdout, stderr string) {
	t.Helper()
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if code := cmd.ProcessState.ExitCode(); code != status {
		t.Errorf("%v: exit status %d instead of %d\n%s%s", cmd.Args[1:], code, status, out.String(), errOut.String())
	}
	return out.String(), errOut.String()
}

// eventually polls until what holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

type nodeStatus struct {
	Node       int      `json:"node"`
	State      string   `json:"state"`
	PID        int      `json:"pid"`
	Shards     int      `json:"shards"`
	Transports []string `json:"transports"`
}

type status struct {
	Mode     string       `json:"mode"`
	Registry string       `json:"registry"`
	Nodes    []nodeStatus `json:"nodes"`
	Problem  string       `json:"problem"`
	Usage    struct {
		CapacityBytes uint64 `json:"capacity_bytes"`
	} `json:"usage"`
}

// running is a `benchfs run` whose command waits for the end of its input.
type running struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stderr bytes.Buffer
	status
	made []string // directories that must be gone afterwards
}

func startRun(t *testing.T, flags ...string) *running {
	t.Helper()
	r := &running{t: t, cmd: tool(t, append(append([]string{"run", "-n", "2"}, flags...), "--", "sh", "-c", "benchfs status --json; exec cat")...)}
	r.cmd.Stderr = &r.stderr
	var err error
	if r.stdin, err = r.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.cmd.Process.Kill(); _ = r.stdin.Close() })
	if err := json.NewDecoder(out).Decode(&r.status); err != nil {
		_ = r.stdin.Close()
		_ = r.cmd.Wait()
		t.Fatalf("status: %v\n%s", err, r.stderr.String())
	}
	r.made = []string{filepath.Dir(r.Registry)}
	for _, n := range r.Nodes {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", n.PID))
		if err != nil {
			t.Fatal(err)
		}
		args := strings.Split(string(text), "\x00")
		r.made = append(r.made, args[slices.Index(args, "--data-dir")+1])
	}
	return r
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// daemonsGone waits for the end of all daemons.
func (r *running) daemonsGone() {
	r.t.Helper()
	for _, n := range r.Nodes {
		eventually(r.t, fmt.Sprintf("daemon of node %d ends", n.Node), func() bool { return !runs(n.PID) })
	}
}

// runs tells whether a process runs: one that is dead and not yet collected does not.
func runs(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	return !strings.HasPrefix(rest, "Z")
}

func (r *running) wait() int {
	r.t.Helper()
	_ = r.stdin.Close()
	_ = r.cmd.Wait()
	return r.cmd.ProcessState.ExitCode()
}

func (r *running) nothingLeft() {
	r.t.Helper()
	r.daemonsGone()
	for _, path := range r.made {
		if exists(path) {
			r.t.Errorf("%s is left behind", path)
		}
	}
}

func TestRunGivesACommandItsDaemons(t *testing.T) {
	r := startRun(t)
	if r.Mode != "distributed" || len(r.Nodes) != 2 || r.Problem != "" || r.Usage.CapacityBytes == 0 {
		t.Errorf("status: %+v", r.status)
	}
	for _, n := range r.Nodes {
		if n.State != "alive" || n.Shards < 1 || len(n.Transports) == 0 || strings.Contains(strings.Join(n.Transports, " "), "tcp") {
			t.Errorf("node %d: %+v; on one machine shared memory is expected", n.Node, n)
		}
	}
	for _, path := range r.made {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
	if code := r.wait(); code != 0 {
		t.Errorf("exit status %d\n%s", code, r.stderr.String())
	}
	r.nothingLeft()
}

// TestRunOnDisk: daemons that keep their data on a disk get a directory that may be on one.
func TestRunOnDisk(t *testing.T) {
	if err := uring.Available(); err != nil {
		t.Skip(err)
	}
	r := startRun(t, "--set", "store.backend=uring")
	if r.Problem != "" || len(r.Nodes) != 2 || r.Usage.CapacityBytes == 0 {
		t.Errorf("status: %+v", r.status)
	}
	var disk syscall.Statfs_t
	roomy := syscall.Statfs("/var/tmp", &disk) == nil && int64(disk.Bavail)*disk.Bsize > 2<<30
	for _, path := range r.made[1:] {
		if roomy && strings.HasPrefix(path, "/dev/shm/") {
			t.Errorf("%s is in memory", path)
		}
	}
	if code := r.wait(); code != 0 {
		t.Errorf("exit status %d\n%s", code, r.stderr.String())
	}
	r.nothingLeft()
}

func TestRunReturnsTheStatusOfItsCommand(t *testing.T) {
	for command, want := range map[string]int{"exit 0": 0, "exit 7": 7, "kill -KILL $$": 137, "kill -TERM $$": 143} {
		output(t, tool(t, "run", "--", "sh", "-c", command), want)
	}
	_, stderr := output(t, tool(t, "run", "--", "no-such-program"), 127)
	if !strings.Contains(stderr, "no-such-program") {
		t.Errorf("stderr: %q", stderr)
	}
}

func TestRunCleansUpWhenInterrupted(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		r := startRun(t)
		if err := r.cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		_ = r.cmd.Wait() // the input stays open: the signal must have reached the command
		if code := r.cmd.ProcessState.ExitCode(); code != 128+int(signal) {
			t.Errorf("%v: exit status %d\n%s", signal, code, r.stderr.String())
		}
		r.nothingLeft()
	}
}

// TestRunKilled: nobody can clean up after kill -9, but the daemons go, and the next run removes what they left.
func TestRunKilled(t *testing.T) {
	r := startRun(t)
	if err := r.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	r.wait()
	r.daemonsGone()
	// A process that is dead to the eye may hold its files for a moment.
	eventually(t, "the next run removes what was left", func() bool {
		next := tool(t, "run", "--", "true")
		next.Env = r.cmd.Env // the same runtime directory
		output(t, next, 0)
		return !slices.ContainsFunc(r.made, exists)
	})
}

func TestRunTellsOfADeadDaemon(t *testing.T) {
	r := startRun(t)
	if err := syscall.Kill(r.Nodes[1].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	check := tool(t, "status", "--json", "--registry", r.Registry, "--expected-nodes", "2")
	eventually(t, "status sees the dead daemon", func() bool {
		var s status
		out, _ := exec.Command(check.Path, check.Args[1:]...).Output()
		return json.Unmarshal(out, &s) == nil && len(s.Nodes) == 2 && s.Nodes[1].State == "dead" && s.Nodes[0].State == "alive"
	})
	if code := r.wait(); code != 1 {
		t.Errorf("exit status %d", code)
	}
	if n := strings.Count(r.stderr.String(), "daemon of node 1 (pid"); n != 1 {
		t.Errorf("told %d times:\n%s", n, r.stderr.String())
	}
	r.nothingLeft()
}

func TestRunShowsWhyADaemonDoesNotStart(t *testing.T) {
	cmd := tool(t, "run", "-n", "2", "--listen", "203.0.113.1:0", "--", "true")
	_, stderr := output(t, cmd, 1)
	if !strings.Contains(stderr, "did not start") || !strings.Contains(stderr, "203.0.113.1") {
		t.Errorf("stderr: %s", stderr)
	}
	output(t, tool(t, "run", "-n", "0", "--", "true"), 2)
	output(t, tool(t, "run", "--set", "rpc.attempts=none", "--", "true"), 1)
	output(t, tool(t, "run", "--set", "store.capcity=1", "--", "true"), 2)
	output(t, tool(t, "run"), 2)
}

// makeTree makes a tree with all that a copy must keep.
func makeTree(t *testing.T) string {
	t.Helper()
	top := filepath.Join(t.TempDir(), "tree")
	big := bytes.Repeat([]byte("0123456789abcdef"), 600_000) // more than two chunks, no multiple of one
	err := errors.Join(
		os.MkdirAll(filepath.Join(top, "a/b/c"), 0o755),
		os.WriteFile(filepath.Join(top, "a/big"), big, 0o640),
		os.WriteFile(filepath.Join(top, "a/b/empty"), nil, 0o600),
		os.WriteFile(filepath.Join(top, "a/b/with space\nand line"), []byte("x"), 0o755),
		os.Symlink("../big", filepath.Join(top, "a/b/link")),
		os.Symlink("/nowhere", filepath.Join(top, "dangling")),
		os.Chtimes(filepath.Join(top, "a/big"), time.Unix(1, 2), time.Unix(1_000_000_000, 123_456_789)),
		os.Chmod(filepath.Join(top, "a/b/c"), 0o510),
		os.Chtimes(filepath.Join(top, "a"), time.Unix(1, 2), time.Unix(1_100_000_000, 1)),
	)
	if err != nil {
		t.Fatal(err)
	}
	return top
}

// listing is a tree in words: all that must be equal.
func listing(t *testing.T, top string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.Walk(top, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		relative, _ := filepath.Rel(top, path)
		fmt.Fprintf(&b, "%q %v %d", relative, info.Mode(), info.ModTime().UnixNano())
		switch {
		case info.Mode().IsRegular():
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %d %x", len(text), text[:min(len(text), 16)])
		case info.Mode()&os.ModeSymlink != 0:
			target, _ := os.Readlink(path)
			fmt.Fprintf(&b, " -> %s", target)
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestFilesInAndOut: what was put is listed, found, got back the same, also by later daemons on the same data.
func TestFilesInAndOut(t *testing.T) {
	tree, data, out := makeTree(t), filepath.Join(t.TempDir(), "data"), t.TempDir()
	script := `set -e
fails() { if "$@"; then echo "did not fail: $*" >&2; exit 1; fi; }
benchfs put -r "$1" /tree
benchfs mkdir /box
benchfs put -r "$1" /box             # into it: /box/tree
benchfs ls --json -R /tree /box >"$2/ls.json"
benchfs stat --json /tree/a/big >"$2/stat.json"
benchfs locate --json /tree/a/big >"$2/locate.json"
benchfs df --json >"$2/df.json"
benchfs cat /tree/a/big | cmp - "$1/a/big"
benchfs ls -l /tree
benchfs mkdir -p /x/y/z
benchfs rm -r /box /x
fails benchfs rm /tree
fails benchfs put "$1" /single
fails benchfs cat /nothing 2>"$2/err"
`
	stdout, stderr := output(t, tool(t, "run", "-n", "2", "--data-dir", data, "--set", "store.capacity=256MiB", "--", "sh", "-c", script, "sh", tree, out), 0)
	if !strings.Contains(stdout, "dangling -> /nowhere") {
		t.Errorf("ls -l:\n%s%s", stdout, stderr)
	}
	if text, _ := os.ReadFile(out + "/err"); !strings.Contains(string(text), "/nothing") || !strings.Contains(string(text), "no such file") {
		t.Errorf("error of cat: %s", text)
	}
	checkJSON(t, out)
	output(t, tool(t, "run", "-n", "2", "--data-dir", data, "--set", "store.capacity=256MiB", "--", "benchfs", "get", "-r", "/tree", out+"/copy"), 0)
	if want, got := listing(t, tree), listing(t, out+"/copy"); got != want {
		t.Errorf("got back:\n%s\nput:\n%s", got, want)
	}
	if !exists(data + "/node-1") {
		t.Error("the user's data directory is gone")
	}
}

func checkJSON(t *testing.T, dir string) {
	t.Helper()
	var entries []struct {
		Path, Type, Mode, Target string
		Size                     int64
	}
	decode(t, dir+"/ls.json", &entries)
	found := 0
	for _, e := range entries {
		if e.Path == "/tree/a/b/link" && e.Type == "symlink" && e.Target == "../big" || e.Path == "/box/tree/a/big" && e.Size == 9_600_000 && e.Mode == "0640" {
			found++
		}
	}
	if found != 2 || len(entries) != 17 {
		t.Errorf("ls --json has %d entries: %+v", len(entries), entries)
	}
	decode(t, dir+"/stat.json", &entries)
	if len(entries) != 1 || entries[0].Size != 9_600_000 {
		t.Errorf("stat --json: %+v", entries)
	}
	var extents []struct{ Offset, Length, Node int64 }
	decode(t, dir+"/locate.json", &extents)
	covered, nodes := int64(0), map[int64]bool{}
	for _, e := range extents {
		if e.Offset != covered {
			t.Errorf("locate: %+v", extents)
		}
		covered, nodes[e.Node] = e.Offset+e.Length, true
	}
	if covered != 9_600_000 || len(nodes) != 2 {
		t.Errorf("locate covers %d bytes on %d nodes", covered, len(nodes))
	}
	var df struct {
		Capacity uint64 `json:"capacity_bytes"`
		Used     uint64 `json:"used_bytes"`
	}
	decode(t, dir+"/df.json", &df)
	if df.Capacity != 512<<20 || df.Used < 2*9_600_000 {
		t.Errorf("df: %+v", df)
	}
}

func decode(t *testing.T, path string, v any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, v)
	}
	if err != nil {
		t.Errorf("%s: %v\n%s", path, err, text)
	}
}

func TestUpAndDown(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "registry")
	stdout, _ := output(t, tool(t, "up", "-n", "2", "--registry", dir), 0)
	defer func() { _ = tool(t, "down", "--registry", dir).Run() }()
	if !strings.Contains(stdout, "export BENCHFS_CLUSTER_REGISTRY_DIR='"+dir+"'\n") || !strings.Contains(stdout, "export BENCHFS_CLUSTER_EXPECTED_NODES='2'\n") {
		t.Errorf("environment:\n%s", stdout)
	}
	_, stderr := output(t, tool(t, "up", "-n", "2", "--registry", dir), 1)
	if !strings.Contains(stderr, "benchfs down") {
		t.Errorf("a second up: %s", stderr)
	}
	out, _ := output(t, tool(t, "status", "--json", "--registry", dir, "--expected-nodes", "2"), 0)
	var s status
	if err := json.Unmarshal([]byte(out), &s); err != nil || len(s.Nodes) != 2 {
		t.Fatalf("%v\n%s", err, out)
	}
	output(t, tool(t, "down", "--registry", dir), 0)
	for _, n := range s.Nodes {
		eventually(t, "a daemon ends", func() bool { return !runs(n.PID) })
	}
	if exists(dir) {
		t.Error("the registry is left behind")
	}
	output(t, tool(t, "down", "--registry", dir), 1)
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{{"nonsense"}, {"ls", "--nonsense"}, {"put", "x"}, {"ls", "/"}, {"status", "--set", "x"}, {"up"}, {"down"}} {
		if _, stderr := output(t, tool(t, args...), 2); !strings.Contains(stderr, "benchfs:") {
			t.Errorf("%v: %q", args, stderr)
		}
	}
	if out, _ := output(t, tool(t, "--help"), 0); !strings.Contains(out, "run") {
		t.Errorf("help: %s", out)
	}
}
