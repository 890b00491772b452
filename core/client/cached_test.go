package client_test

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/benchfs/benchfs/core/client"
	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/rpc"
)

func cached(o *client.Options) { o.CacheMode = "close-to-open" }

func hits(t *testing.T, c *client.Client) uint64 {
	t.Helper()
	text, err := json.Marshal(c.Stats())
	ok(t, "stats", err)
	var s struct {
		Cache struct {
			BytesHit uint64 `json:"bytes_hit"`
		}
	}
	ok(t, "stats", json.Unmarshal(text, &s))
	return s.Cache.BytesHit
}

// TestCloseToOpen: what others change shows at the next open, what the process itself changes at once.
func TestCloseToOpen(t *testing.T) {
	c := newCluster(t, 3, layout.RoundRobin, false)
	a, b := c.client(cached), c.client(nil)
	data := pattern(1, 3*chunk+500)
	put(t, b, "f", data)
	f := open(t, a, "f", syscall.O_RDWR)
	for range 3 {
		if got := readAt(t, f, len(data)+10, 0); !bytes.Equal(got, data) {
			t.Fatal("wrong data")
		}
	}
	if hits(t, a) < uint64(len(data)) {
		t.Fatalf("%d bytes from the cache", hits(t, a))
	}
	// Own writes, cuts, growth.
	writeAt(t, f, []byte("own write"), chunk-4)
	copy(data[chunk-4:], "own write")
	if got := readAt(t, f, len(data), 0); !bytes.Equal(got, data) {
		t.Fatal("an own write does not show")
	}
	writeAt(t, f, []byte("far"), 6*chunk)
	data = append(append(data, make([]byte, 6*chunk-len(data))...), "far"...)
	if got := readAt(t, f, len(data)+5, 0); !bytes.Equal(got, data) {
		t.Fatalf("after growth: %d of %d bytes, first difference at %d", len(got), len(data), differ(got, data))
	}
	ok(t, "truncate", f.Truncate(ctx, 100))
	ok(t, "truncate", f.Truncate(ctx, 2*chunk))
	data = append(data[:100:100], make([]byte, 2*chunk-100)...)
	if got := readAt(t, f, len(data)+5, 0); !bytes.Equal(got, data) {
		t.Fatalf("after truncate: first difference at %d", differ(got, data))
	}
	// Another client overwrites, in place, and closes.
	g := open(t, b, "f", syscall.O_RDWR)
	writeAt(t, g, []byte("theirs"), 50)
	ok(t, "close", g.Close(ctx))
	copy(data[50:], "theirs")
	f2 := open(t, a, "f", syscall.O_RDONLY)
	if got := readAt(t, f2, len(data), 0); !bytes.Equal(got, data) {
		t.Fatal("what another client wrote and closed does not show after open")
	}
	// Another cuts: at the latest after the next open nothing of what was there comes back.
	ok(t, "truncate", b.Truncate(ctx, 0, "f", 10))
	f3 := open(t, a, "f", syscall.O_RDONLY)
	if got := readAt(t, f3, len(data), 0); !bytes.Equal(got, data[:10]) {
		t.Fatalf("%d bytes after another client's cut", len(got))
	}
	for _, f := range []*client.File{f, f2, f3} {
		ok(t, "close", f.Close(ctx))
	}
	if _, err := client.New(client.Options{Map: c.m, CacheMode: "sometimes"}); err == nil || !strings.Contains(err.Error(), "pool") {
		t.Fatal(err)
	}
	_, err := a.Close(ctx)
	ok(t, "close", err)
}

// TestModelWithCache: one client alone must not notice its cache.
func TestModelWithCache(t *testing.T) {
	c := newCluster(t, 3, layout.RoundRobin, false)
	m := newModel(t, []*client.Client{c.client(func(o *client.Options) { cached(o); o.ChunkCacheBytes, o.EntryTimeout = 2<<20, time.Minute })})
	for range 3000 {
		m.step()
	}
	m.verify()
	m.closeAll()
}

// TestOpenToCloseTurns: two caching clients that take turns, each closing before the other opens, see each other's bytes.
func TestOpenToCloseTurns(t *testing.T) {
	c := newCluster(t, 2, layout.RoundRobin, false)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	clients := []*client.Client{c.client(cached), c.client(cached)}
	want := pattern(0, 4*chunk)
	put(t, clients[0], "f", want)
	for i := range 200 {
		f := open(t, clients[i%2], "f", syscall.O_RDWR)
		if got := readAt(t, f, len(want), 0); !bytes.Equal(got, want) {
			t.Fatalf("turn %d: first difference at %d", i, differ(got, want))
		}
		off, n := rnd.IntN(3*chunk), 1+rnd.IntN(chunk)
		p := pattern(byte(i), n)
		writeAt(t, f, p, int64(off))
		copy(want[off:], p)
		ok(t, "close", f.Close(ctx))
	}
}

// TestDirectoriesAreRemembered: with "close-to-open" a long path takes one message, what this process changes shows at once, what others
// change after the timeout at the latest, and a directory that is gone at once.
func TestDirectoriesAreRemembered(t *testing.T) {
	const timeout = 300 * time.Millisecond
	c := newCluster(t, 3, layout.RoundRobin, false)
	var pools []*rpc.Pool
	a := c.client(func(o *client.Options) { cached(o); o.EntryTimeout = timeout; pools = o.Pools })
	plain := c.client(cached) // no timeout: nothing is remembered
	b := c.client(nil)
	for _, d := range []string{"a", "a/b", "a/b/c", "a/b/c/d"} {
		ok(t, "mkdir", b.Mkdir(ctx, 0, d, 0o755))
	}
	put(t, b, "a/b/c/d/f", []byte("data"))
	messages := func() (n uint64) {
		for _, p := range pools {
			n += p.Stats().Reused
		}
		return n
	}
	stat := func(cl *client.Client, path string) error {
		_, err := cl.Stat(ctx, 0, path, true)
		return err
	}
	fewest := uint64(100)
	for range 20 { // the period may end between two of them
		before := messages()
		ok(t, "stat", stat(a, "a/b/c/d/f"))
		fewest = min(fewest, messages()-before)
	}
	if fewest > 2 { // the file's entry, and its inode where that is on another shard
		t.Errorf("a path of remembered directories takes %d messages", fewest)
	}

	// Own changes.
	ok(t, "rename", a.Rename(ctx, 0, "a/b/c", 0, "a/b/x"))
	check(t, "the old name", stat(a, "a/b/c/d/f"), syscall.ENOENT)
	ok(t, "the new name", stat(a, "a/b/x/d/f"))
	ok(t, "chmod", a.Chmod(ctx, 0, "a/b/x", 0o700, true))
	if attr, err := a.Stat(ctx, 0, "a/b/x/.", true); err != nil || attr.Mode&0o777 != 0o700 {
		t.Errorf("an own chmod does not show: %o, %v", attr.Mode, err)
	}
	ok(t, "a directory's parent", stat(a, "a/b/x/../x/d/f"))

	// Others' changes.
	ok(t, "stat", stat(a, "a/b/x/d/f"))
	ok(t, "rename by another", b.Rename(ctx, 0, "a/b/x", 0, "a/b/y"))
	check(t, "without a timeout", stat(plain, "a/b/x/d/f"), syscall.ENOENT)
	ok(t, "the other's name", stat(a, "a/b/y/d/f"))
	for end := time.Now().Add(10 * time.Second); stat(a, "a/b/x/d/f") == nil; time.Sleep(timeout / 20) {
		if time.Now().After(end) {
			t.Fatal("a renamed directory is remembered for ever")
		}
	}

	// A directory that another has removed and made again: the one that is remembered must not be taken for it.
	ok(t, "stat", stat(a, "a/b/y/d/f"))
	ok(t, "unlink", b.Unlink(ctx, 0, "a/b/y/d/f"))
	ok(t, "rmdir", b.Rmdir(ctx, 0, "a/b/y/d"))
	ok(t, "mkdir", b.Mkdir(ctx, 0, "a/b/y/d", 0o755))
	put(t, a, "a/b/y/d/g", []byte("new"))
	ok(t, "what was made in the new one", stat(b, "a/b/y/d/g"))
}
