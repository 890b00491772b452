package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/benchfs/benchfs/core/client"
	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/internal/inode"
	"github.com/benchfs/benchfs/rpc"
	"github.com/benchfs/benchfs/rpc/inproc"
)

// Each test here springs one of the traps that the first description of this system walked into.

// failing makes all messages of one type end badly.
type failing struct {
	kind  rpc.MsgType
	fault inproc.Fault
}

func (f failing) Dial(rpc.PeerID) inproc.Fault { return inproc.Fault{} }
func (f failing) Request(_ rpc.PeerID, h *rpc.Header) inproc.Fault {
	if h.Type == f.kind {
		return f.fault
	}
	return inproc.Fault{}
}
func (f failing) Reply(rpc.PeerID, *rpc.Header) inproc.Fault { return inproc.Fault{} }

// A remote read that fails is an error: never zeros, never a short count. Nor is one errno taken for another kind of failure.
func TestTrapFailedReadIsNoHole(t *testing.T) {
	c := newCluster(t, 3, layout.RoundRobin, false)
	a, hasty := c.client(nil), c.client(func(o *client.Options) { o.CallTimeout = 250 * time.Millisecond })
	data := pattern(1, 4*chunk)
	put(t, a, "f", data)
	f, short := open(t, a, "f", syscall.O_RDWR), open(t, hasty, "f", syscall.O_RDWR)
	for what, way := range map[string]struct {
		fault inproc.Fault
		want  syscall.Errno
	}{
		"errno in the reply":   {inproc.Fault{Action: inproc.Fail, Err: &rpc.HandlerError{Status: rpc.StatusErrno, Code: syscall.EIO}}, syscall.EIO},
		"ENOENT in the reply":  {inproc.Fault{Action: inproc.Fail, Err: &rpc.HandlerError{Status: rpc.StatusErrno, Code: syscall.ENOENT}}, syscall.ENOENT},
		"unknown type":         {inproc.Fault{Action: inproc.Fail, Err: &rpc.HandlerError{Status: rpc.StatusUnknown}}, syscall.EPROTO},
		"stale epoch":          {inproc.Fault{Action: inproc.Fail, Err: &rpc.HandlerError{Status: rpc.StatusStaleEpoch}}, syscall.ESTALE},
		"transport":            {inproc.Fault{Action: inproc.Fail, Err: &rpc.TransportError{Reason: "-2"}}, syscall.EIO},
		"connection":           {inproc.Fault{Action: inproc.Fail, Err: &rpc.ConnectionError{Reason: "gone"}}, syscall.EHOSTUNREACH},
		"refused":              {inproc.Fault{Action: inproc.Fail, Err: &rpc.ConnectionError{Refused: true}}, syscall.ECONNREFUSED},
		"garbage":              {inproc.Fault{Action: inproc.Fail, Err: &rpc.InvalidHeader{Reason: "x"}}, syscall.EPROTO},
		"silence":              {inproc.Fault{Action: inproc.Drop}, syscall.ETIMEDOUT},
		"always stale":         {inproc.Fault{Action: inproc.Fail, Err: &rpc.HandlerError{Status: rpc.StatusStaleGen}}, syscall.ETIMEDOUT},
		"always held by other": {inproc.Fault{Action: inproc.Fail, Err: &rpc.HandlerError{Status: rpc.StatusBusy}}, syscall.ETIMEDOUT},
	} {
		c.network.SetFaults(failing{rpc.MsgReadChunk, way.fault})
		for _, r := range []struct{ off, n int }{{0, 100}, {chunk - 10, 20}, {3*chunk + 5, 10 * chunk}} {
			reader := f
			if way.want == syscall.ETIMEDOUT {
				reader = short // which gives up soon; who has more time hears the reason
			}
			n, err := reader.Pread(ctx, make([]byte, r.n), int64(r.off))
			if n != 0 {
				t.Errorf("%s: read of %d at %d counts %d bytes", what, r.n, r.off, n)
			}
			check(t, what, err, way.want)
		}
	}
	c.network.SetFaults(nil)
	if got := readAt(t, f, len(data), 0); !bytes.Equal(got, data) {
		t.Fatal("wrong data afterwards")
	}
	// The size cannot be had: the end of the file is not made up.
	c.network.SetFaults(failing{rpc.MsgGetAttr, inproc.Fault{Action: inproc.Fail, Err: &rpc.HandlerError{Status: rpc.StatusErrno, Code: syscall.EIO}}})
	if n, err := f.Pread(ctx, make([]byte, 100), 4*chunk-50); n != 0 || fserr.Errno(err) != syscall.EIO {
		t.Errorf("read over the end without a size: %d, %v", n, err)
	}
	c.network.SetFaults(nil)
	ok(t, "close", f.Close(ctx))
	ok(t, "close", short.Close(ctx))
}

// A node that cannot be located, or whose address makes no sense, is an error too.
func TestTrapUnresolvableNode(t *testing.T) {
	c := newCluster(t, 2, layout.RoundRobin, false)
	put(t, c.client(nil), "f", pattern(1, 4*chunk))
	for _, cause := range []error{&rpc.ConnectionError{Reason: "node is not in the registry"}, errors.New("address node_3 does not parse")} {
		pool := rpc.NewPool(c.network.Transport(), rpc.PoolOptions{
			Identity: rpc.Identity{Client: 1 << 41, Secret: secret, Epoch: c.m.Epoch, UID: uint32(syscall.Getuid())},
			Resolve: func(ctx context.Context, peer rpc.PeerID, refresh bool) (rpc.Target, error) {
				if peer.Shard == 1 {
					return rpc.Target{}, cause
				}
				return c.resolve(ctx, peer, refresh)
			},
		})
		cl, err := client.New(client.Options{Pools: []*rpc.Pool{pool}, Map: c.m, Node: -1, CallTimeout: 300 * time.Millisecond})
		ok(t, "new", err)
		f, err := cl.Open(ctx, 0, "f", syscall.O_RDONLY, 0)
		if err == nil {
			var n int
			if n, err = f.Pread(ctx, make([]byte, 4*chunk), 0); n != 0 {
				t.Errorf("%d bytes read from a node that is nowhere", n)
			}
		}
		if err == nil || errors.Is(err, syscall.ENOENT) {
			t.Errorf("%v: %v", cause, err)
		}
		ok(t, "close pool", pool.CloseAll())
	}
}

// What lies about on a shard that does not own the chunk is nobody's business.
func TestTrapStaleLocalChunk(t *testing.T) {
	c := newCluster(t, 3, layout.RoundRobin, false)
	a := c.client(func(o *client.Options) { o.Node = 0 })
	f := open(t, a, "f", syscall.O_CREAT|syscall.O_RDWR)
	for _, s := range c.shards {
		for i := range uint64(3) {
			stale := make(chan error, 1)
			s.loop.Submit(func() {
				w, err := s.store.Begin(uint64(f.Ino()), i, 0, chunk, 0, chunkBits)
				if err == nil {
					copy(w.Data, bytes.Repeat([]byte("old"), chunk))
					err = s.store.Commit(w)
				}
				stale <- err
			})
			ok(t, "plant", <-stale)
		}
	}
	data := pattern(5, 3*chunk)
	writeAt(t, f, data, 0)
	if got := readAt(t, f, len(data), 0); !bytes.Equal(got, data) {
		t.Fatalf("first difference at %d", differ(got, data))
	}
	ok(t, "close", f.Close(ctx))
}

// A write far out costs what it writes, not what lies before it.
func TestTrapFarChunk(t *testing.T) {
	for _, s := range []layout.Strategy{layout.RoundRobin, layout.Hash, layout.Local} {
		c := newCluster(t, 3, s, false)
		a := c.client(nil)
		f := open(t, a, "f", syscall.O_CREAT|syscall.O_RDWR)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		const far = int64(1e9) * chunk
		writeAt(t, f, []byte("far"), far)
		if got := readAt(t, f, 2*chunk+3, far-2*chunk); len(got) != 2*chunk+3 || !bytes.Equal(got[:2*chunk], make([]byte, 2*chunk)) || string(got[2*chunk:]) != "far" {
			t.Fatalf("%d bytes read", len(got))
		}
		ok(t, "fsync", f.Sync(ctx, false))
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > 4<<20 {
			t.Errorf("%v: %d bytes allocated", s, used)
		}
		last := int64(1<<63 - 1 - 10)
		writeAt(t, f, []byte("the end..."), last)
		if got := readAt(t, f, 100, last-3); string(got) != "\x00\x00\x00the end..." {
			t.Fatalf("%q", got)
		}
		if n, err := f.Pwrite(ctx, make([]byte, 20), last); n != 10 || err != nil {
			t.Fatalf("write over the largest offset: %d, %v", n, err)
		}
		ok(t, "close", f.Close(ctx))
	}
}

// meter counts the payload bytes of answers.
type meter struct{ bytes atomic.Uint64 }

func (m *meter) Dial(rpc.PeerID) inproc.Fault                 { return inproc.Fault{} }
func (m *meter) Request(rpc.PeerID, *rpc.Header) inproc.Fault { return inproc.Fault{} }
func (m *meter) Reply(_ rpc.PeerID, h *rpc.Header) inproc.Fault {
	m.bytes.Add(h.BulkLen)
	return inproc.Fault{}
}

// A small read moves a small part, with and without a cache.
func TestTrapSmallReadMovesLittle(t *testing.T) {
	c := newCluster(t, 2, layout.RoundRobin, false)
	for _, change := range []func(*client.Options){nil, cached} {
		a := c.client(change)
		put(t, a, "f", pattern(1, 20*chunk))
		f := open(t, a, "f", syscall.O_RDONLY)
		var m meter
		c.network.SetFaults(&m)
		readAt(t, f, 4096, 7*chunk+4096)
		c.network.SetFaults(nil)
		if n := m.bytes.Load(); n < 4096 || n > 8192 {
			t.Errorf("a read of 4096 bytes moved %d", n)
		}
		ok(t, "close", f.Close(ctx))
	}
}

// A short last chunk that was cached does not hide what the file has grown by.
func TestTrapCachedEnd(t *testing.T) {
	c := newCluster(t, 2, layout.RoundRobin, false)
	a, b := c.client(cached), c.client(nil)
	put(t, b, "f", []byte("short"))
	if got := get(t, a, "f"); string(got) != "short" {
		t.Fatalf("%q", got)
	}
	f := open(t, b, "f", syscall.O_WRONLY|syscall.O_APPEND)
	if _, err := f.Write(ctx, []byte(" no more")); err != nil {
		t.Fatal(err)
	}
	ok(t, "close", f.Close(ctx))
	if got := get(t, a, "f"); string(got) != "short no more" {
		t.Fatalf("%q", got)
	}
}

// A reader that refills the cache while a write is under way does not keep the old bytes alive.
func TestTrapInvalidationOrder(t *testing.T) {
	c := newCluster(t, 2, layout.RoundRobin, false)
	a := c.client(cached)
	put(t, a, "f", make([]byte, 2*chunk))
	f := open(t, a, "f", syscall.O_RDWR)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			p := make([]byte, 8192)
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := f.Pread(ctx, p, chunk-4096); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 2000 {
		p := []byte(fmt.Sprintf("%016d", i))
		if _, err := f.Pwrite(ctx, p, chunk-8); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 16)
		if _, err := f.Pread(ctx, got, chunk-8); err != nil || !bytes.Equal(got, p) {
			t.Fatalf("wrote %s, read back %s, %v", p, got, err)
		}
	}
	close(stop)
	wg.Wait()
	ok(t, "close", f.Close(ctx))
}

// liar is a shard that answers one type of message wrongly.
type liar struct {
	rpc.Service
	kind   rpc.MsgType
	answer func(r *rpc.Request) (body, bulk []byte)
	lying  atomic.Bool
}

func (l *liar) Serve(r *rpc.Request) {
	if r.Header.Type != l.kind || !l.lying.Load() {
		l.Service.Serve(r)
		return
	}
	body, bulk := l.answer(r)
	r.Reply(rpc.StatusOK, 0, body, bulk)
}

// An answer that contradicts itself is an error: the count of bytes that it names is compared with those that came, and a listing
// must lead on.
func TestTrapAnswersAreChecked(t *testing.T) {
	readReply := func(present uint32, bulk int) func(*rpc.Request) ([]byte, []byte) {
		return func(*rpc.Request) ([]byte, []byte) {
			m := rpc.ReadChunkReply{Present: present}
			return m.AppendTo(nil), make([]byte, bulk)
		}
	}
	listing := func(m rpc.ReadDirReply, entries ...rpc.DirEntry) func(*rpc.Request) ([]byte, []byte) {
		return func(*rpc.Request) ([]byte, []byte) {
			var bulk []byte
			for _, e := range entries {
				bulk = e.AppendTo(bulk)
			}
			return m.AppendTo(nil), bulk
		}
	}
	file := inode.Make(0, 77)
	for what, lie := range map[string]struct {
		kind   rpc.MsgType
		answer func(*rpc.Request) ([]byte, []byte)
	}{
		"read: says all, sends half":     {rpc.MsgReadChunk, readReply(1000, 500)},
		"read: says none, sends all":     {rpc.MsgReadChunk, readReply(0, 1000)},
		"read: says and sends too much":  {rpc.MsgReadChunk, readReply(2000, 2000)},
		"read: no body":                  {rpc.MsgReadChunk, func(*rpc.Request) ([]byte, []byte) { return nil, make([]byte, 1000) }},
		"listing: nothing, not the end":  {rpc.MsgReadDir, listing(rpc.ReadDirReply{})},
		"listing: zeros":                 {rpc.MsgReadDir, func(*rpc.Request) ([]byte, []byte) { return make([]byte, 13), make([]byte, 4096) }},
		"listing: fewer than it says":    {rpc.MsgReadDir, listing(rpc.ReadDirReply{Count: 3, Next: 9, EOF: true})},
		"listing: goes back":             {rpc.MsgReadDir, listing(rpc.ReadDirReply{Count: 2, Next: 9, EOF: true}, rpc.DirEntry{Cookie: 5, Ino: file, Kind: inode.File, Name: []byte("a")}, rpc.DirEntry{Cookie: 4, Ino: file, Kind: inode.File, Name: []byte("b")})},
		"listing: entry without a place": {rpc.MsgReadDir, listing(rpc.ReadDirReply{Count: 1, Next: 0}, rpc.DirEntry{Ino: file, Kind: inode.File, Name: []byte("a")})},
		"listing: nameless":              {rpc.MsgReadDir, listing(rpc.ReadDirReply{Count: 1, Next: 1, EOF: true}, rpc.DirEntry{Cookie: 1, Ino: file, Kind: inode.File})},
		"lookup: nothing":                {rpc.MsgLookup, func(*rpc.Request) ([]byte, []byte) { m := rpc.EntryReply{}; return m.AppendTo(nil), nil }},
		"attributes of another inode": {rpc.MsgGetAttr, func(*rpc.Request) ([]byte, []byte) {
			m := rpc.AttrReply{Attr: inode.Attr{Ino: file, Kind: inode.File}}
			return m.AppendTo(nil), nil
		}},
	} {
		t.Run(what, func(t *testing.T) {
			c := newCluster(t, 1, layout.RoundRobin, false)
			l := &liar{Service: c.shards[0].server, kind: lie.kind, answer: lie.answer}
			c.network.Detach(c.peer(0))
			c.shards[0].server.Start(c.network.Attach(c.peer(0), l))
			a := c.client(func(o *client.Options) { o.CallTimeout = time.Second })
			put(t, a, "f", pattern(1, 1000))
			f := open(t, a, "f", syscall.O_RDWR)
			l.lying.Store(true)
			n, readErr := f.Pread(ctx, make([]byte, 1000), 0)
			_, statErr := a.Stat(ctx, 0, "f", true)
			d, listErr := a.OpenDir(ctx, 0, "/")
			for listErr == nil {
				_, listErr = d.Next(ctx)
			}
			_, fstatErr := f.Stat(ctx)
			l.lying.Store(false)
			for kind, err := range map[rpc.MsgType]error{rpc.MsgReadChunk: readErr, rpc.MsgLookup: statErr, rpc.MsgReadDir: listErr, rpc.MsgGetAttr: fstatErr} {
				if kind == lie.kind && (err == nil || err == io.EOF) {
					t.Errorf("believed: %v", err)
				}
			}
			if lie.kind == rpc.MsgReadChunk && n != 0 {
				t.Errorf("%d bytes counted", n)
			}
		})
	}
}

// Many clients that let a file grow at the same time do not take each other's size back.
func TestTrapLostUpdateOfSize(t *testing.T) {
	everywhere(t, func(t *testing.T, c *cluster) {
		put(t, c.client(nil), "f", nil)
		seed := uint64(time.Now().UnixNano())
		t.Logf("seed %d", seed)
		var wg sync.WaitGroup
		var largest atomic.Int64
		for w := range 4 {
			a := c.client(nil)
			wg.Go(func() {
				rnd := rand.New(rand.NewPCG(seed, uint64(w)))
				for range 50 {
					f, err := a.Open(ctx, 0, "f", syscall.O_RDWR, 0)
					if err != nil {
						t.Error(err)
						return
					}
					end := rnd.Int64N(40 * chunk)
					if _, err := f.Pwrite(ctx, []byte{1}, end); err != nil {
						t.Error(err)
					}
					for old := largest.Load(); old < end+1 && !largest.CompareAndSwap(old, end+1); old = largest.Load() {
					}
					if err := f.Close(ctx); err != nil {
						t.Error(err)
					}
					if attr, err := a.Stat(ctx, 0, "f", true); err != nil || attr.Size < uint64(end)+1 {
						t.Errorf("size %d after a write that ended at %d, %v", attr.Size, end+1, err)
					}
				}
			})
		}
		wg.Wait()
		if n := stat(t, c.client(nil), "f").Size; n != uint64(largest.Load()) {
			t.Errorf("size %d, want %d", n, largest.Load())
		}
	})
}
