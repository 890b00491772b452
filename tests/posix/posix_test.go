package posix_test

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/benchfs/benchfs/config"
	"github.com/benchfs/benchfs/core/client"
	"github.com/benchfs/benchfs/internal/cluster"
	"github.com/benchfs/benchfs/internal/compose"
	"github.com/benchfs/benchfs/tests/agent"
	"github.com/benchfs/benchfs/tests/posix"
)

func TestMain(m *testing.M) {
	flag.Parse()
	syscall.Umask(0o022) // what the cases about umask expect; the agents inherit it
	status := m.Run()
	agent.CleanUp()
	os.Exit(status)
}

func TestNumberOfCases(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range posix.All() {
		if seen[c.Name] {
			t.Errorf("two cases are called %s", c.Name)
		}
		seen[c.Name] = true
	}
	if len(seen) < 150 {
		t.Errorf("%d cases", len(seen))
	}
	t.Logf("%d cases", len(seen))
}

func TestLocalDisk(t *testing.T) { posix.Suite(t, posix.NewLocal(t.TempDir()), "") }

func core(t *testing.T, settings map[string]string) *client.Client {
	t.Helper()
	cfg, err := config.Load(config.Sources{Overrides: settings})
	if err != nil {
		t.Fatal(err)
	}
	me := compose.Process{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid()), Umask: 0o022}
	c, end, err := compose.Open(context.Background(), cfg, me)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if open, err := c.Close(context.Background()); err != nil || open != 0 {
			t.Errorf("%d files were open at the end; %v", open, err)
		}
		if err := end.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func TestEmbedded(t *testing.T) {
	for name, settings := range map[string]map[string]string{
		"memory": {},
		"disk":   {"store.data_dir": filepath.Join(t.TempDir(), "data"), "layout.chunk_size": "64KiB"},
	} {
		t.Run(name, func(t *testing.T) { posix.Suite(t, posix.NewCore(core(t, settings)), "") })
	}
	t.Run("uring", func(t *testing.T) {
		settings := cluster.URing(t)
		settings["store.data_dir"], settings["layout.chunk_size"] = filepath.Join(t.TempDir(), "data"), "64KiB"
		posix.Suite(t, posix.NewCore(core(t, settings)), "")
	})
}

func TestInproc(t *testing.T) {
	for _, strategy := range []string{"round_robin", "hash", "local"} {
		t.Run(strategy, func(t *testing.T) {
			cfg, err := config.Load(config.Sources{Overrides: map[string]string{
				"layout.strategy": strategy, "layout.chunk_size": "64KiB", "store.capacity": "256MiB",
			}})
			if err != nil {
				t.Fatal(err)
			}
			me := compose.Process{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid()), Umask: 0o022}
			c, end, err := compose.InProcess(cfg, me, 3)
			if err != nil {
				t.Fatal(err)
			}
			posix.Suite(t, posix.NewCore(c), "")
			if open, err := c.Close(context.Background()); err != nil || open != 0 {
				t.Errorf("%d files were open at the end; %v", open, err)
			}
			if err := end.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestUCX runs the cases in a C program over real UCX: 1, 2 and 3 daemons, each layout strategy on two.
func TestUCX(t *testing.T) {
	for _, shape := range []struct {
		nodes, shards int
		strategy      string
	}{{1, 1, "round_robin"}, {2, 1, "round_robin"}, {2, 2, "hash"}, {2, 1, "local"}, {3, 1, "round_robin"}} {
		t.Run(fmt.Sprintf("%d-%s", shape.nodes, shape.strategy), func(t *testing.T) {
			c := cluster.Start(t, cluster.Options{
				Nodes: shape.nodes, Shards: shape.shards,
				Settings: map[string]string{"layout.strategy": shape.strategy, "layout.chunk_size": "64KiB"},
			})
			posix.Suite(t, agent.MustStart(t, c.Env()), "")
		})
	}
}

// TestUCXWays: the other ways in which a process can move its data, on two daemons.
func TestUCXWays(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Nodes: 2, Shards: 1, Settings: map[string]string{"layout.chunk_size": "64KiB"}})
	for name, way := range map[string]map[string]string{
		"messages":    {"BENCHFS_DATA_SHORTCUT": "off"},
		"read":        {"BENCHFS_DATA_SHORTCUT": "read"},
		"nonblocking": {"AGENT_TRANSFERS": "nonblocking"},
	} {
		t.Run(name, func(t *testing.T) {
			env := maps.Clone(c.Env())
			maps.Copy(env, way)
			a := agent.MustStart(t, env)
			if err := a.Mkdir("/"+name, 0o755); err != nil {
				t.Fatal(err)
			}
			posix.Suite(t, a, "/"+name)
		})
	}
}

// TestUCXURing: the same on daemons whose chunks are on a disk.
func TestUCXURing(t *testing.T) {
	settings := cluster.URing(t)
	settings["layout.chunk_size"] = "64KiB"
	c := cluster.Start(t, cluster.Options{Nodes: 2, Shards: 1, Settings: settings})
	posix.Suite(t, agent.MustStart(t, c.Env()), "")
}

func TestEmbeddedAgent(t *testing.T) {
	posix.Suite(t, agent.MustStart(t, map[string]string{"BENCHFS_LAYOUT_CHUNK_SIZE": strconv.Itoa(64 << 10)}), "")
}

// TestPreload: a program that knows nothing of BenchFS, with the interposer before libc.
func TestPreload(t *testing.T) {
	for _, nodes := range []int{1, 2} {
		t.Run(strconv.Itoa(nodes), func(t *testing.T) {
			c := cluster.Start(t, cluster.Options{Nodes: nodes, Shards: 1, Settings: map[string]string{"layout.chunk_size": "64KiB"}})
			posix.Suite(t, agent.MustStartPreloaded(t, c.Env()), "")
		})
	}
}
