package compose_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/benchfs/benchfs/config"
	"github.com/benchfs/benchfs/core/client"
	"github.com/benchfs/benchfs/internal/compose"
)

var me = compose.Process{UID: uint32(syscall.Getuid()), GID: uint32(syscall.Getgid()), Umask: 0o022}

func load(t testing.TB, daemon bool, settings map[string]string) *config.Config {
	t.Helper()
	cfg, err := config.Load(config.Sources{Overrides: settings, Daemon: daemon})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func open(t testing.TB, settings map[string]string) (*client.Client, io.Closer) {
	t.Helper()
	c, end, err := compose.Open(context.Background(), load(t, false, settings), me)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	return c, end
}

func shut(t testing.TB, c *client.Client, end io.Closer) {
	t.Helper()
	if _, err := c.Close(context.Background()); err != nil {
		t.Error(err)
	}
	if err := end.Close(); err != nil {
		t.Error(err)
	}
}

// roundTrip writes a file of several chunks and reads it back.
func roundTrip(t *testing.T, c *client.Client, path string, size int) {
	t.Helper()
	ctx := context.Background()
	memory, err := c.Alloc(2 * size)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Free(memory)
	want, got := memory[:size], memory[size:2*size]
	for i := range want {
		want[i] = byte(i * 7 >> 3)
	}
	f, err := c.Open(ctx, 0, path, syscall.O_CREAT|syscall.O_RDWR, 0o644)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	if n, err := f.Pwrite(ctx, want, 3); err != nil || n != size {
		t.Fatalf("wrote %d: %+v", n, err)
	}
	if n, err := f.Pread(ctx, got, 3); err != nil || n != size || !bytes.Equal(got, want) {
		t.Fatalf("read %d of %d: %+v", n, size, err)
	}
	if err := f.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestEmbeddedInMemory(t *testing.T) {
	c, end := open(t, nil)
	roundTrip(t, c, "/f", 9<<20)
	shut(t, c, end)
	c, end = open(t, nil)
	defer shut(t, c, end)
	if _, err := c.Stat(context.Background(), 0, "/f", true); !errors.Is(err, syscall.ENOENT) {
		t.Fatalf("a file system in memory outlived its process's session: %v", err)
	}
}

func TestEmbeddedOnDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "data")
	settings := map[string]string{"store.data_dir": dir}
	c, end := open(t, settings)
	roundTrip(t, c, "/f", 9<<20)
	if _, _, err := compose.Open(context.Background(), load(t, false, settings), me); !errors.Is(err, syscall.EBUSY) {
		t.Fatalf("a second opener of the data directory: %v", err)
	}
	shut(t, c, end)
	c, end = open(t, settings)
	defer shut(t, c, end)
	a, err := c.Stat(context.Background(), 0, "/f", true)
	if err != nil || a.Size != 9<<20+3 {
		t.Fatalf("after reopening: %+v, %v", a, err)
	}
}

// startDaemons runs n daemons in this process, over real UCX, and returns the settings of their clients. The
// cluster is to have expected nodes.
func startDaemons(t testing.TB, n, expected, shards int) map[string]string {
	t.Helper()
	registry := filepath.Join(t.TempDir(), "registry")
	if err := syscall.Mkdir(registry, 0o700); err != nil {
		t.Fatal(err)
	}
	common := map[string]string{"cluster.registry_dir": registry, "cluster.expected_nodes": strconv.Itoa(expected)}
	for i := range n {
		settings := map[string]string{
			"cluster.node_id": strconv.Itoa(i), "daemon.shards": strconv.Itoa(shards), "layout.chunk_size": "64KiB",
			"store.data_dir": filepath.Join(t.TempDir(), strconv.Itoa(i)), "store.capacity": "256MiB",
		}
		for k, v := range common {
			settings[k] = v
		}
		d, err := compose.StartDaemon(context.Background(), load(t, true, settings), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatalf("%+v", err)
		}
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			if err := d.Stop(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	return common
}

func TestDistributed(t *testing.T) {
	for _, shape := range []struct{ nodes, shards int }{{1, 1}, {2, 2}, {3, 1}} {
		t.Run(strconv.Itoa(shape.nodes)+"x"+strconv.Itoa(shape.shards), func(t *testing.T) {
			settings := startDaemons(t, shape.nodes, shape.nodes, shape.shards)
			c, end := open(t, settings)
			defer shut(t, c, end)
			for i, size := range []int{1, 4096, 70000, 1 << 20} {
				roundTrip(t, c, "/f"+strconv.Itoa(i), size)
			}
			ctx := context.Background()
			if err := c.Mkdir(ctx, 0, "/d", 0o755); err != nil {
				t.Fatal(err)
			}
			if err := c.Rename(ctx, 0, "/f1", 0, "/d/g"); err != nil {
				t.Fatal(err)
			}
			if err := c.Rmdir(ctx, 0, "/d"); !errors.Is(err, syscall.ENOTEMPTY) {
				t.Fatalf("rmdir of a directory with an entry: %v", err)
			}
			if err := c.Unlink(ctx, 0, "/d/g"); err != nil {
				t.Fatal(err)
			}
			if err := c.Rmdir(ctx, 0, "/d"); err != nil {
				t.Fatal(err)
			}
			if err := c.Truncate(ctx, 0, "/f3", 100); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestMissingNodesAreNamed(t *testing.T) {
	settings := startDaemons(t, 1, 3, 1)
	settings["cluster.join_timeout"] = "200ms"
	_, _, err := compose.Open(context.Background(), load(t, false, settings), me)
	if err == nil {
		t.Fatal("a client went on with a part of the cluster")
	}
	for _, missing := range []string{"1", "2"} {
		if !bytes.Contains([]byte(err.Error()), []byte(missing)) {
			t.Errorf("the error does not name node %s: %v", missing, err)
		}
	}
}
