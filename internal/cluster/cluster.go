// Package cluster starts daemons for tests: real processes of bin/benchfsd over real UCX, in directories of their own, which can be
// killed and started again.
package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/benchfs/benchfs/internal/registry"
	"github.com/benchfs/benchfs/store/uring"
)

// Options of a cluster. Zero values: one node, one shard.
type Options struct {
	Nodes    int
	Shards   int               // of each node
	Settings map[string]string // configuration keys and values, for daemons and clients
}

// Cluster is a set of daemons. Its methods may be called from several goroutines for different nodes.
type Cluster struct {
	t       testing.TB
	o       Options
	dir     string
	daemons []*daemon
}

type daemon struct {
	mu  sync.Mutex
	cmd *exec.Cmd
	log *lockedBuffer
}

// Root is the repository's root directory.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(filepath.Dir(filepath.Dir(file)))
}

// URing is the setting for daemons whose chunks are on a disk, past the page cache. The test is skipped where there is no io_uring. Where the
// temporary directory is in memory, they work with it all the same, through the page cache.
func URing(t testing.TB) map[string]string {
	t.Helper()
	if err := uring.Available(); err != nil {
		t.Skip(err)
	}
	return map[string]string{"store.backend": "uring"}
}

// Start starts the daemons, waits until they serve, and ends them with the test, whose failure shows their logs.
func Start(t testing.TB, o Options) *Cluster {
	t.Helper()
	o.Nodes, o.Shards = max(o.Nodes, 1), max(o.Shards, 1)
	c := &Cluster{t: t, o: o, dir: t.TempDir(), daemons: make([]*daemon, o.Nodes)}
	if err := os.Mkdir(c.Registry(), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.stop)
	for i := range c.daemons {
		c.daemons[i] = &daemon{log: &lockedBuffer{}}
		if err := c.Launch(i); err != nil {
			t.Fatal(err)
		}
	}
	c.WaitReady()
	return c
}

// Registry is the registry directory.
func (c *Cluster) Registry() string { return filepath.Join(c.dir, "registry") }

// DataDir is the data directory of a node.
func (c *Cluster) DataDir(node int) string {
	return filepath.Join(c.dir, "node-"+strconv.Itoa(node))
}

// Settings are the configuration keys of a client.
func (c *Cluster) Settings() map[string]string {
	all := map[string]string{"cluster.registry_dir": c.Registry(), "cluster.expected_nodes": strconv.Itoa(c.o.Nodes)}
	for k, v := range c.o.Settings {
		all[k] = v
	}
	return all
}

// Env is the same as environment variables.
func (c *Cluster) Env() map[string]string {
	env := map[string]string{}
	for k, v := range c.Settings() {
		env["BENCHFS_"+strings.ToUpper(strings.ReplaceAll(k, ".", "_"))] = v
	}
	return env
}

// Command is a daemon's command line, with further settings.
func (c *Cluster) Command(node int, extra map[string]string) *exec.Cmd {
	args := []string{
		"--node-id", strconv.Itoa(node), "--data-dir", c.DataDir(node), "--shards", strconv.Itoa(c.o.Shards),
		"--set", "store.capacity=512MiB", "--set", "daemon.listen=127.0.0.1:0",
	}
	for _, settings := range []map[string]string{c.Settings(), extra} {
		for k, v := range settings {
			args = append(args, "--set", k+"="+v)
		}
	}
	cmd := exec.Command(filepath.Join(Root(), "bin", "benchfsd"), args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// Launch starts a node's daemon without waiting for it.
func (c *Cluster) Launch(node int) error {
	d := c.daemons[node]
	d.mu.Lock()
	defer d.mu.Unlock()
	cmd := c.Command(node, nil)
	cmd.Stdout, cmd.Stderr = d.log, d.log
	if err := cmd.Start(); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			err = fmt.Errorf("no daemon to test: run `make build` first: %w", err)
		}
		return err
	}
	d.cmd = cmd
	return nil
}

// WaitReady waits until all nodes serve.
func (c *Cluster) WaitReady() {
	c.t.Helper()
	if _, err := registry.Wait(c.Registry(), c.o.Nodes, time.Now().Add(30*time.Second)); err != nil {
		c.t.Fatal(err)
	}
}

// Kill ends a node's daemon by SIGKILL and waits for its end.
func (c *Cluster) Kill(node int) {
	d := c.daemons[node]
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cmd == nil {
		return
	}
	_ = d.cmd.Process.Kill()
	_ = d.cmd.Wait()
	d.cmd = nil
}

// Stop ends a node's daemon by SIGTERM and returns how it ended.
func (c *Cluster) Stop(node int) error {
	d := c.daemons[node]
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cmd == nil {
		return nil
	}
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	err := d.cmd.Wait()
	d.cmd = nil
	return err
}

// PID is the process id of a node's daemon; 0 when it does not run.
func (c *Cluster) PID(node int) int {
	d := c.daemons[node]
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cmd == nil {
		return 0
	}
	return d.cmd.Process.Pid
}

// Log is what a node's daemons have said so far.
func (c *Cluster) Log(node int) string { return c.daemons[node].log.String() }

func (c *Cluster) stop() {
	for i := range c.daemons {
		if c.daemons[i] == nil {
			continue
		}
		if err := c.Stop(i); err != nil {
			c.t.Errorf("daemon of node %d ended with %v", i, err)
		}
		if c.t.Failed() {
			c.t.Logf("log of node %d:\n%s", i, c.Log(i))
		}
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
