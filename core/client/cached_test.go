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
	m := newModel(t, []*client.Client{c.client(func(o *client.Options) { cached(o); o.ChunkCacheBytes = 2 << 20 })})
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
