// Package fault_test breaks a running system in the ways that jobs break it, and looks at what its users see.
package fault_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/benchfs/benchfs/internal/cluster"
	"github.com/benchfs/benchfs/internal/registry"
	"github.com/benchfs/benchfs/tests/agent"
	"github.com/benchfs/benchfs/tests/model"
	"github.com/benchfs/benchfs/tests/posix"
)

var seedFlag = flag.Uint64("seed", 0, "seed of the random operations; 0 draws one")

func TestMain(m *testing.M) {
	flag.Parse()
	syscall.Umask(0o022)
	status := m.Run()
	agent.CleanUp()
	os.Exit(status)
}

// env is a client's environment with some settings changed.
func env(c *cluster.Cluster, changes ...map[string]string) map[string]string {
	e := c.Env()
	for _, change := range changes {
		maps.Copy(e, change)
	}
	return e
}

// byMessage is a client that reaches into no daemon's memory.
var byMessage = map[string]string{"BENCHFS_DATA_SHORTCUT": "off"}

// patient is a client that outlasts a daemon's restart, and quickly notices one.
var patient = map[string]string{
	"BENCHFS_RPC_ATTEMPT_TIMEOUT": "500ms", "BENCHFS_RPC_ATTEMPTS": "1000", "BENCHFS_RPC_CALL_TIMEOUT": "60s", "BENCHFS_RPC_BACKOFF_MAX": "50ms",
}

// hasty is a client with short deadlines.
var hasty = map[string]string{
	"BENCHFS_RPC_ATTEMPT_TIMEOUT": "500ms", "BENCHFS_RPC_CALL_TIMEOUT": "2s", "BENCHFS_RPC_CONNECT_TIMEOUT": "1s",
}

// stores runs a test on daemons that keep their chunks in memory, and on a disk.
func stores(t *testing.T, run func(t *testing.T, settings map[string]string)) {
	t.Run("arena", func(t *testing.T) { run(t, map[string]string{}) })
	t.Run("uring", func(t *testing.T) { run(t, cluster.URing(t)) })
}

// TestKilledDaemons: daemons are killed and started again in the middle of random operations. Every operation has the
// outcome that it has on the local disk, and in the end everything acknowledged is there.
func TestKilledDaemons(t *testing.T) {
	stores(t, func(t *testing.T, settings map[string]string) {
		howLong := 15 * time.Second
		if len(settings) > 0 {
			howLong = 8 * time.Second
		}
		settings["layout.chunk_size"] = "64KiB"
		killDaemons(t, howLong, settings)
	})
}

func killDaemons(t *testing.T, howLong time.Duration, settings map[string]string) {
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("repeat with: go test ./tests/fault -run TestKilledDaemons -seed %d", seed)
	c := cluster.Start(t, cluster.Options{Nodes: 2, Shards: 2, Settings: settings})
	fronts := []posix.FS{agent.MustStart(t, env(c, patient)), agent.MustStart(t, env(c, patient))}
	d := model.New(t, seed, fronts, t.TempDir())
	stop := make(chan struct{})
	var killer sync.WaitGroup
	killer.Add(1)
	kills := 0
	go func() {
		defer killer.Done()
		rng := rand.New(rand.NewPCG(seed, 7))
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(300+rng.IntN(700)) * time.Millisecond):
			}
			node := rng.IntN(2)
			c.Kill(node)
			if err := c.Launch(node); err != nil {
				t.Error(err)
				return
			}
			kills++
		}
	}()
	for end := time.Now().Add(howLong); time.Now().Before(end); {
		d.Run(50)
	}
	close(stop)
	killer.Wait()
	c.WaitReady()
	d.Verify()
	t.Logf("%d operations, %d kills", d.Steps, kills)
}

// TestOrderlyRestart: what was written is there after SIGTERM and a new start, for the same client and for a new one.
func TestOrderlyRestart(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Nodes: 2})
	a := agent.MustStart(t, env(c, patient))
	put(t, a, "/f", []byte("kept"))
	for node := range 2 {
		if err := c.Stop(node); err != nil {
			t.Fatalf("node %d: %v", node, err)
		}
		if err := c.Launch(node); err != nil {
			t.Fatal(err)
		}
	}
	c.WaitReady()
	for _, who := range []*agent.Agent{a, agent.MustStart(t, c.Env())} {
		if got := get(t, who, "/f"); string(got) != "kept" {
			t.Errorf("read %q", got)
		}
	}
}

func put(t *testing.T, fs posix.FS, path string, content []byte) {
	t.Helper()
	fd, err := fs.Open(path, unix.O_CREAT|unix.O_RDWR|unix.O_TRUNC, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := fs.Pwrite(fd, content, 0); err != nil || n != len(content) {
		t.Fatalf("wrote %d of %d: %v", n, len(content), err)
	}
	if err := fs.Close(fd); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, fs posix.FS, path string) []byte {
	t.Helper()
	fd, err := fs.Open(path, unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	got, err := fs.Pread(fd, 1<<20, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := fs.Close(fd); err != nil {
		t.Fatal(err)
	}
	return got
}

// TestDaemonAway: calls that need a dead node end by their deadline with a true errno and the node's name; others go on.
func TestDaemonAway(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Nodes: 2})
	a := agent.MustStart(t, env(c, hasty))
	for i := range 20 {
		put(t, a, fmt.Sprintf("/f%d", i), []byte("content"))
	}
	c.Kill(1)
	served, refused := 0, 0
	for i := range 20 {
		begin := time.Now()
		_, err := a.Stat(fmt.Sprintf("/f%d", i))
		took := time.Since(begin)
		switch {
		case err == nil:
			served++
		case errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ETIMEDOUT):
			refused++
			if text := a.LastError(); !strings.Contains(text, "node 1") {
				t.Errorf("the error does not name the node: %s", text)
			}
		default:
			t.Errorf("f%d: %v", i, err)
		}
		if took > 4*time.Second {
			t.Errorf("f%d: the answer took %v, the deadline is 2 s", i, took)
		}
		if refused > 2 && served > 2 {
			break
		}
	}
	if served == 0 || refused == 0 {
		t.Errorf("%d names were served, %d refused: the test needs both", served, refused)
	}
	if err := c.Launch(1); err != nil {
		t.Fatal(err)
	}
	c.WaitReady()
	for i := range 20 {
		if got := get(t, a, fmt.Sprintf("/f%d", i)); string(got) != "content" {
			t.Errorf("f%d after the restart: %q", i, got)
		}
	}
}

// TestMissingNode: a client that does not see all nodes fails, and says which.
func TestMissingNode(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Nodes: 2})
	c.Kill(1)
	a, err := agent.Start(env(c, map[string]string{"BENCHFS_CLUSTER_JOIN_TIMEOUT": "500ms"}))
	if err != nil {
		t.Fatal(err)
	}
	err = a.Stop()
	if err == nil || !strings.Contains(err.Error(), "node 1") {
		t.Errorf("a client began with a part of the cluster, or did not say what is missing: %v", err)
	}
}

func TestWrongSecret(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Nodes: 1})
	path := filepath.Join(c.Registry(), "secret")
	right, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	wrong := bytes.Repeat([]byte("0"), len(bytes.TrimSpace(right)))
	if err := os.WriteFile(path, append(wrong, right[len(wrong):]...), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := agent.Start(env(c, hasty))
	if err != nil {
		t.Fatal(err)
	}
	_, callErr := a.Stat("/")
	stopErr := a.Stop()
	if callErr == nil {
		t.Error("a client with a wrong secret was served")
	}
	if !strings.Contains(fmt.Sprint(callErr, stopErr), "refused") {
		t.Errorf("the error does not say why: %v; %v", callErr, stopErr)
	}
}

func TestSecondDaemonOnOneDirectory(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Nodes: 1})
	other := filepath.Join(t.TempDir(), "registry")
	if err := os.Mkdir(other, 0o700); err != nil {
		t.Fatal(err)
	}
	out, err := c.Command(0, map[string]string{"cluster.registry_dir": other}).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "in use") && !strings.Contains(string(out), "busy") {
		t.Errorf("a second daemon on the same data directory: %v: %s", err, out)
	}
	put(t, agent.MustStart(t, c.Env()), "/f", []byte("x"))
}

// TestFullStore: ENOSPC is an answer, what was there stays as it was, and space comes back with an unlink.
func TestFullStore(t *testing.T) { stores(t, fillStore) }

func fillStore(t *testing.T, settings map[string]string) {
	settings["store.capacity"], settings["layout.chunk_size"] = "64MiB", "1MiB"
	c := cluster.Start(t, cluster.Options{Nodes: 1, Settings: settings})
	a := agent.MustStart(t, c.Env())
	precious := bytes.Repeat([]byte("precious "), 10_000)
	put(t, a, "/precious", precious)
	fd, err := a.Open("/big", unix.O_CREAT|unix.O_RDWR, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	block := bytes.Repeat([]byte{1}, 1<<20)
	written := int64(0)
	for ; written < 200<<20; written += 1 << 20 {
		var n int
		if n, err = a.Pwrite(fd, block, written); err != nil || n < len(block) {
			break
		}
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("after %d bytes: %v", written, err)
	}
	if got := get(t, a, "/precious"); !bytes.Equal(got, precious) {
		t.Error("a full store damaged another file")
	}
	if got, err := a.Pread(fd, 1<<20, 0); err != nil || !bytes.Equal(got, block) {
		t.Errorf("a full store damaged the file itself: %v", err)
	}
	if err := a.Close(fd); err != nil {
		t.Fatal(err)
	}
	if err := a.Unlink("/big"); err != nil {
		t.Fatal(err)
	}
	again := func() error {
		fd, err := a.Open("/again", unix.O_CREAT|unix.O_RDWR, 0o644)
		if err != nil {
			return err
		}
		defer func() { _ = a.Close(fd) }()
		for off := int64(0); off < written/2; off += 1 << 20 {
			if n, err := a.Pwrite(fd, block, off); err != nil || n < len(block) {
				return fmt.Errorf("wrote %d at %d: %w", n, off, err)
			}
		}
		return nil
	}
	end := time.Now().Add(10 * time.Second)
	for err = again(); err != nil && time.Now().Before(end); err = again() {
		time.Sleep(50 * time.Millisecond) // the pause of a poll: chunks go after the unlink
	}
	if err != nil {
		t.Errorf("space did not come back: %v", err)
	}
}

// TestGarbageAtListener: bytes of no protocol, half-open connections and floods of them do not disturb the daemon.
func TestGarbageAtListener(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Nodes: 1})
	records, err := registry.Read(c.Registry())
	if err != nil || len(records) != 1 {
		t.Fatalf("%d records, %v", len(records), err)
	}
	a := agent.MustStart(t, c.Env())
	put(t, a, "/f", []byte("content"))
	rng := rand.New(rand.NewPCG(1, 2))
	var held []net.Conn
	for i := range 60 {
		conn, err := net.DialTimeout("tcp", records[0].Listen, 2*time.Second)
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		garbage := make([]byte, []int{0, 1, 7, 64, 1500, 100_000}[i%6])
		for j := range garbage {
			garbage[j] = byte(rng.Uint32())
		}
		if i%5 == 0 {
			for j := range garbage {
				garbage[j] = 0xff // lengths without end
			}
		}
		_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = conn.Write(garbage) // the daemon may close while we write
		if i%2 == 0 {
			_ = conn.Close()
		} else {
			held = append(held, conn)
		}
		if i%10 == 9 {
			if got := get(t, a, "/f"); string(got) != "content" {
				t.Fatalf("read %q", got)
			}
		}
	}
	late := agent.MustStart(t, c.Env())
	if got := get(t, late, "/f"); string(got) != "content" {
		t.Errorf("a new client reads %q", got)
	}
	for _, conn := range held {
		_ = conn.Close()
	}
	if c.PID(0) == 0 || syscall.Kill(c.PID(0), 0) != nil {
		t.Error("the daemon is gone")
	}
}

// TestStaticList: a client that knows only socket addresses finds everything through them.
func TestStaticList(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Nodes: 2})
	put(t, agent.MustStart(t, c.Env()), "/f", []byte("content"))
	records, err := registry.Read(c.Registry())
	if err != nil {
		t.Fatal(err)
	}
	var addresses []string
	for _, r := range records {
		addresses = append(addresses, r.Listen)
	}
	secret, err := registry.Secret(c.Registry(), false)
	if err != nil {
		t.Fatal(err)
	}
	a := agent.MustStart(t, map[string]string{"BENCHFS_CLUSTER_NODES": strings.Join(addresses, ","), "BENCHFS_CLUSTER_SECRET": secret})
	if got := get(t, a, "/f"); string(got) != "content" {
		t.Errorf("read %q", got)
	}
}

// TestSharedMemoryBetweenProcesses: on one host UCX must have chosen shared memory, as its own report says.
func TestSharedMemoryBetweenProcesses(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Nodes: 2})
	a := agent.MustStart(t, c.Env())
	for i := range 10 {
		put(t, a, fmt.Sprintf("/f%d", i), []byte("x"))
	}
	text, err := a.Stats()
	if err != nil {
		t.Fatal(err)
	}
	var stats any
	if err := json.Unmarshal(text, &stats); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	transports := find(stats, "transport")
	if len(transports) == 0 {
		t.Fatalf("the statistics name no transport: %s", text)
	}
	for _, name := range transports {
		if strings.Contains(name, "tcp") || !strings.ContainsAny(name, "abcdefghijklmnopqrstuvwxyz") {
			t.Errorf("transport %q between processes of one host", name)
		}
	}
}

// find collects the strings under a key, anywhere in a JSON value.
func find(v any, key string) []string {
	var found []string
	switch v := v.(type) {
	case map[string]any:
		for k, below := range v {
			if s, ok := below.(string); ok && k == key {
				found = append(found, s)
			}
			found = append(found, find(below, key)...)
		}
	case []any:
		for _, below := range v {
			found = append(found, find(below, key)...)
		}
	}
	return found
}
