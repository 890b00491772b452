package client_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/benchfs/benchfs/core/client"
	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/rpc"
	"github.com/benchfs/benchfs/rpc/inproc"
)

// everywhere runs a test with one shard and with several, and with each layout.
func everywhere(t *testing.T, test func(t *testing.T, c *cluster)) {
	for _, shards := range []int{1, 3, 5} {
		for _, s := range []layout.Strategy{layout.RoundRobin, layout.Hash, layout.Local} {
			t.Run(fmt.Sprintf("%d-%v", shards, s), func(t *testing.T) { test(t, newCluster(t, shards, s, false)) })
		}
	}
}

func TestWriteThenReadElsewhere(t *testing.T) {
	everywhere(t, func(t *testing.T, c *cluster) {
		a, b := c.client(nil), c.client(nil)
		data := pattern(3, 5*chunk+4321)
		put(t, a, "f", data)
		if got := get(t, b, "f"); !bytes.Equal(got, data) {
			t.Fatal("another client reads something else")
		}
		fa, fb := open(t, a, "f", syscall.O_RDWR), open(t, b, "f", syscall.O_RDWR)
		defer func() { _, _ = fa.Close(ctx), fb.Close(ctx) }()
		// Both have it open: what one writes the other sees, inside the size, beyond it, and after a cut.
		for i, off := range []int64{10, chunk - 5, 5*chunk + 4321, 12 * chunk, 7*chunk + 1} {
			part := pattern(byte(i+50), 2*chunk+i)
			writeAt(t, fa, part, off)
			if need := int(off) + len(part); need > len(data) {
				data = append(data, make([]byte, need-len(data))...)
			}
			copy(data[off:], part)
			if got := readAt(t, fb, len(data)+10, 0); !bytes.Equal(got, data) {
				t.Fatalf("after write %d: %d bytes read, %d expected, first difference at %d", i, len(got), len(data), differ(got, data))
			}
		}
		for i, size := range []int{3*chunk + 17, 9 * chunk, 100, 0, 2 * chunk} {
			ok(t, "truncate", fb.Truncate(ctx, int64(size)))
			if size < len(data) {
				data = data[:size:size]
			} else {
				data = append(data, make([]byte, size-len(data))...)
			}
			if got := readAt(t, fa, len(data)+10, 0); !bytes.Equal(got, data) {
				t.Fatalf("after truncate %d to %d: %d bytes read, first difference at %d", i, size, len(got), differ(got, data))
			}
			writeAt(t, fa, []byte{byte(i)}, int64(size)+chunk)
			data = append(append(data, make([]byte, chunk)...), byte(i))
			if got := readAt(t, fb, len(data)+10, 0); !bytes.Equal(got, data) {
				t.Fatalf("after write behind cut %d: first difference at %d", i, differ(got, data))
			}
		}
	})
}

func differ(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

func TestSequential(t *testing.T) {
	c := newCluster(t, 3, layout.RoundRobin, false)
	a := c.client(nil)
	f := open(t, a, "f", syscall.O_CREAT|syscall.O_RDWR)
	data := pattern(1, 3*chunk)
	for off := 0; off < len(data); off += 1000 {
		n, err := f.Write(ctx, data[off:min(off+1000, len(data))])
		ok(t, "write", err)
		if n == 0 {
			t.Fatal("nothing written")
		}
	}
	pos, err := f.Seek(ctx, 0, io.SeekCurrent)
	if ok(t, "seek", err); pos != int64(len(data)) {
		t.Fatalf("position %d", pos)
	}
	if pos, err = f.Seek(ctx, -int64(len(data)), io.SeekEnd); pos != 0 || err != nil {
		t.Fatalf("seek to the start from the end: %d, %v", pos, err)
	}
	var got []byte
	bufs := [][]byte{make([]byte, 100), nil, make([]byte, 70001), make([]byte, 1)}
	for {
		n, err := f.Readv(ctx, bufs)
		if ok(t, "readv", err); n == 0 {
			break
		}
		for _, b := range bufs {
			k := min(n, len(b))
			got = append(got, b[:k]...)
			n -= k
		}
	}
	if !bytes.Equal(got, data) {
		t.Fatalf("%d bytes read, first difference at %d", len(got), differ(got, data))
	}
	_, err = f.Seek(ctx, -1, io.SeekStart)
	check(t, "seek before the start", err, syscall.EINVAL)
	_, err = f.Seek(ctx, 0, 77)
	check(t, "seek with unknown whence", err, syscall.EINVAL)
	_, err = f.Seek(ctx, int64(len(data)), 3)
	check(t, "SEEK_DATA at the end", err, syscall.ENXIO)
	if pos, err = f.Seek(ctx, 5, 4); pos != int64(len(data)) || err != nil {
		t.Fatalf("SEEK_HOLE: %d, %v", pos, err)
	}
	ok(t, "close", f.Close(ctx))
}

func TestBadArguments(t *testing.T) {
	c := newCluster(t, 2, layout.RoundRobin, false)
	a := c.client(nil)
	f := open(t, a, "f", syscall.O_CREAT|syscall.O_RDWR)
	r := open(t, a, "f", syscall.O_RDONLY)
	w := open(t, a, "f", syscall.O_WRONLY)
	d := open(t, a, "/", syscall.O_RDONLY|syscall.O_DIRECTORY)
	p := make([]byte, 10)
	call := func(what string, want syscall.Errno, fn func() (int, error)) {
		t.Helper()
		_, err := fn()
		check(t, what, err, want)
	}
	call("read at −1", syscall.EINVAL, func() (int, error) { return f.Pread(ctx, p, -1) })
	call("write at −1", syscall.EINVAL, func() (int, error) { return f.Pwrite(ctx, p, -1) })
	call("write at 2⁶³−1", syscall.EFBIG, func() (int, error) { return f.Pwrite(ctx, p, math.MaxInt64) })
	call("write only", syscall.EBADF, func() (int, error) { return w.Pread(ctx, p, 0) })
	call("read only", syscall.EBADF, func() (int, error) { return r.Pwrite(ctx, p, 0) })
	call("read of a directory", syscall.EISDIR, func() (int, error) { return d.Pread(ctx, p, 0) })
	call("too many buffers", syscall.EINVAL, func() (int, error) { return f.Preadv(ctx, make([][]byte, 1025), 0) })
	call("no bytes", 0, func() (int, error) { return f.Pwrite(ctx, nil, 100) })
	if n := stat(t, a, "f").Size; n != 0 {
		t.Fatalf("size %d", n)
	}
	check(t, "truncate to −1", f.Truncate(ctx, -1), syscall.EINVAL)
	check(t, "truncate read only", r.Truncate(ctx, 1), syscall.EINVAL)
	check(t, "fallocate nothing", f.Allocate(ctx, 0, 0, 0), syscall.EINVAL)
	check(t, "fallocate too far", f.Allocate(ctx, 0, math.MaxInt64, 2), syscall.EFBIG)
	check(t, "punch a hole", f.Allocate(ctx, 3, 0, 1), syscall.EOPNOTSUPP)
	for _, f := range []*client.File{f, r, w, d} {
		ok(t, "close", f.Close(ctx))
	}
	if n := a.OpenFiles(); n != 0 {
		t.Fatalf("%d files open", n)
	}
}

func TestAppend(t *testing.T) {
	everywhere(t, func(t *testing.T, c *cluster) {
		const writers, records = 4, 60
		record := func(w, i int) []byte { return fmt.Appendf(nil, "<%d:%03d:%s>\n", w, i, strings.Repeat("x", 200*w+i)) }
		put(t, c.client(nil), "log", nil)
		var wg sync.WaitGroup
		for w := range writers {
			a := c.client(nil)
			wg.Go(func() {
				f, err := a.Open(ctx, 0, "log", syscall.O_WRONLY|syscall.O_APPEND, 0)
				if err != nil {
					t.Error(err)
					return
				}
				for i := range records {
					if _, err := f.Write(ctx, record(w, i)); err != nil {
						t.Error(err)
					}
				}
				if err := f.Close(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		var next [writers]int
		for line := range bytes.Lines(get(t, c.client(nil), "log")) {
			var w, i int
			if _, err := fmt.Sscanf(string(line), "<%d:%d:", &w, &i); err != nil || !bytes.Equal(line, record(w, i)) || next[w] != i {
				t.Fatalf("torn, lost or reordered record: %.40q", line)
			}
			next[w]++
		}
		for w, n := range next {
			if n != records {
				t.Errorf("writer %d: %d records", w, n)
			}
		}
	})
}

// What a client asks for its files: each half alone, behind what the directory says, and not handed on by directories that it makes.
func TestLayoutThatAClientAsksFor(t *testing.T) {
	c := newCluster(t, 2, layout.RoundRobin, false)
	ok(t, "mkdir", c.client(nil).Mkdir(ctx, 0, "says", 0o755))
	ok(t, "set layout", c.client(nil).SetLayout(ctx, 0, "says", layout.Layout{Strategy: layout.Hash, ChunkBits: 16}))
	for i, test := range []struct {
		asks layout.Layout
		dir  string
		want layout.Layout
	}{
		{layout.Layout{}, "", layout.Layout{Strategy: layout.RoundRobin, ChunkBits: chunkBits}},
		{layout.Layout{ChunkBits: 21}, "", layout.Layout{Strategy: layout.RoundRobin, ChunkBits: 21}},
		{layout.Layout{Strategy: layout.Local}, "", layout.Layout{Strategy: layout.Local, ChunkBits: chunkBits}},
		{layout.Layout{Strategy: layout.Hash, ChunkBits: 19}, "", layout.Layout{Strategy: layout.Hash, ChunkBits: 19}},
		{layout.Layout{Strategy: layout.Local, ChunkBits: 19}, "says/", layout.Layout{Strategy: layout.Hash, ChunkBits: 16}},
	} {
		a, name := c.client(func(o *client.Options) { o.Layout = test.asks }), fmt.Sprintf("%sf%d", test.dir, i)
		put(t, a, name, pattern(byte(i), 3<<20))
		l, err := c.client(nil).Layout(ctx, 0, name)
		if ok(t, "layout", err); l.Strategy != test.want.Strategy || l.ChunkBits != test.want.ChunkBits || l.Shards != 2 || l.Epoch != 7 {
			t.Errorf("%+v asked for in %q: %+v", test.asks, test.dir, l)
		}
		dir := fmt.Sprintf("%sd%d", test.dir, i)
		ok(t, "mkdir", a.Mkdir(ctx, 0, dir, 0o755))
		l, err = a.Layout(ctx, 0, dir)
		if ok(t, "layout", err); (l.Strategy != layout.None) != (test.dir != "") {
			t.Errorf("directory made by a client that asks for %+v: %+v", test.asks, l)
		}
	}
}

func TestLayouts(t *testing.T) {
	c := newCluster(t, 4, layout.RoundRobin, false)
	a := c.client(func(o *client.Options) { o.Node = 2 })
	b := c.client(nil)
	ok(t, "mkdir", a.Mkdir(ctx, 0, "local", 0o755))
	ok(t, "set layout", a.SetLayout(ctx, 0, "local", layout.Layout{Strategy: layout.Local, ChunkBits: 17}))
	ok(t, "mkdir", a.Mkdir(ctx, 0, "local/below", 0o755))
	data := pattern(9, 10<<17)
	put(t, a, "local/below/f", data)
	f := open(t, b, "local/below/f", syscall.O_RDWR)
	l, err := f.Layout(ctx)
	if ok(t, "layout", err); l.Strategy != layout.Local || l.ChunkBits != 17 {
		t.Fatalf("inherited %+v", l)
	}
	list, err := f.Locate(ctx, 0, math.MaxInt64)
	ok(t, "locate", err)
	if len(list) != 1 || list[0] != (client.Extent{Length: int64(len(data)), Shard: 2, Node: 2}) {
		t.Fatalf("written on node 2, found on %+v", list)
	}
	if got := readAt(t, f, len(data), 0); !bytes.Equal(got, data) {
		t.Fatal("wrong data")
	}
	check(t, "set layout of a file with data", f.SetLayout(ctx, layout.Layout{Strategy: layout.Hash}), syscall.EBUSY)
	check(t, "no layout", a.SetLayout(ctx, 0, "local", layout.Layout{Strategy: 9}), syscall.EINVAL)
	ok(t, "close", f.Close(ctx))
	// A layout that changes under an open file that is still empty is noticed by its writer and its reader.
	fa, fb := open(t, a, "g", syscall.O_CREAT|syscall.O_RDWR), open(t, b, "g", syscall.O_RDWR)
	ok(t, "set layout", c.client(nil).SetLayout(ctx, 0, "g", layout.Layout{Strategy: layout.Hash, ChunkBits: 16}))
	writeAt(t, fa, data, 0)
	if got := readAt(t, fb, len(data), 0); !bytes.Equal(got, data) {
		t.Fatal("data went where nobody looks")
	}
	extents, err := fb.Locate(ctx, 100, int64(len(data)))
	ok(t, "locate", err)
	pos, shards := int64(100), map[uint32]bool{}
	for _, e := range extents {
		if e.Offset != pos || e.Node != e.Shard {
			t.Fatalf("%+v at %d", e, pos)
		}
		pos += e.Length
		shards[e.Shard] = true
	}
	if pos != int64(len(data)) || len(shards) != 4 {
		t.Fatalf("extents end at %d of %d, on %d shards", pos, len(data), len(shards))
	}
	ok(t, "fallocate", fa.Allocate(ctx, 0, 0, 20<<17))
	if n := stat(t, b, "g").Size; n != 20<<17 {
		t.Fatalf("size after fallocate %d", n)
	}
	ok(t, "fallocate", fa.Allocate(ctx, 1, 0, 30<<17))
	if n := stat(t, b, "g").Size; n != 20<<17 {
		t.Fatalf("size after fallocate with KEEP_SIZE %d", n)
	}
	if got := readAt(t, fb, 1000, 15<<17); !bytes.Equal(got, make([]byte, 1000)) {
		t.Fatal("allocated space is not zeros")
	}
	ok(t, "fsync", fa.Sync(ctx, false))
	ok(t, "sync", a.SyncAll(ctx))
	ok(t, "close", fa.Close(ctx))
	ok(t, "close", fb.Close(ctx))
}

func TestLocalRace(t *testing.T) {
	c := newCluster(t, 4, layout.Local, false)
	put(t, c.client(nil), "f", nil)
	const record = 5000
	var wg sync.WaitGroup
	for w := range 4 {
		a := c.client(func(o *client.Options) { o.Node = w })
		wg.Go(func() {
			f, err := a.Open(ctx, 0, "f", syscall.O_RDWR, 0)
			if err != nil {
				t.Error(err)
				return
			}
			for i := range 60 {
				if _, err := f.Pwrite(ctx, pattern(byte(w), record), int64(4*i+w)*record); err != nil {
					t.Error(err)
				}
			}
			if err := f.Close(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	got := get(t, c.client(nil), "f")
	for i := range 240 {
		if !bytes.Equal(got[i*record:(i+1)*record], pattern(byte(i%4), record)) {
			t.Fatalf("record %d is wrong", i)
		}
	}
}

// heldBack delays the first message of one type until much later, and tells when it was seen.
type heldBack struct {
	kind rpc.MsgType
	once sync.Once
	seen chan struct{}
}

func (h *heldBack) Dial(rpc.PeerID) inproc.Fault { return inproc.Fault{} }
func (h *heldBack) Request(_ rpc.PeerID, header *rpc.Header) (fault inproc.Fault) {
	if header.Type == h.kind {
		h.once.Do(func() {
			fault = inproc.Fault{Action: inproc.Delay, Delay: 100 * time.Millisecond}
			close(h.seen)
		})
	}
	return fault
}
func (h *heldBack) Reply(rpc.PeerID, *rpc.Header) inproc.Fault { return inproc.Fault{} }

// TestLocalLoserWritesAgain: two writers place the same chunk; who is second writes to the first one's place.
func TestLocalLoserWritesAgain(t *testing.T) {
	c := newCluster(t, 3, layout.Local, false)
	slow, quick := c.client(func(o *client.Options) { o.Node = 0 }), c.client(func(o *client.Options) { o.Node = 1 })
	put(t, slow, "f", nil)
	fs, fq := open(t, slow, "f", syscall.O_RDWR), open(t, quick, "f", syscall.O_RDWR)
	back := &heldBack{kind: rpc.MsgAddRun, seen: make(chan struct{})}
	c.network.SetFaults(back)
	a, b := pattern(1, 1000), pattern(2, 1000)
	var wg sync.WaitGroup
	wg.Go(func() { writeAt(t, fs, a, 0) })
	<-back.seen
	writeAt(t, fq, b, 1000)
	wg.Wait()
	c.network.SetFaults(nil)
	for _, f := range []*client.File{fs, fq} {
		if got := readAt(t, f, 3000, 0); !bytes.Equal(got, append(bytes.Clone(a), b...)) {
			t.Errorf("%d bytes, first difference at %d", len(got), differ(got, append(bytes.Clone(a), b...)))
		}
		list, err := f.Locate(ctx, 0, 3000)
		if ok(t, "locate", err); len(list) != 1 || list[0].Node != 1 {
			t.Errorf("%+v", list)
		}
		ok(t, "close", f.Close(ctx))
	}
}

// TestReadBesideTruncate: a file without a zero in it is cut and written again and again; no reader ever sees a zero.
func TestReadBesideTruncate(t *testing.T) {
	everywhere(t, func(t *testing.T, c *cluster) {
		data := bytes.Repeat([]byte{0xAA}, 2*chunk+300)
		put(t, c.client(nil), "f", data)
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for range 2 {
			f := open(t, c.client(nil), "f", syscall.O_RDONLY)
			wg.Go(func() {
				p := make([]byte, len(data)+100)
				for done := false; !done; {
					select {
					case <-stop:
						done = true
					default:
					}
					n, err := f.Pread(ctx, p, 0)
					if err != nil {
						t.Error(err)
						return
					}
					if at := bytes.IndexByte(p[:n], 0); at >= 0 {
						t.Errorf("read %d bytes, byte %d is a zero that nobody wrote", n, at)
						return
					}
				}
				if err := f.Close(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		f := open(t, c.client(nil), "f", syscall.O_RDWR)
		for i := range 150 {
			ok(t, "truncate", f.Truncate(ctx, int64(i%3*chunk/2)))
			writeAt(t, f, data, 0)
		}
		close(stop)
		wg.Wait()
		ok(t, "close", f.Close(ctx))
	})
}

func TestCloseReportsOpenFiles(t *testing.T) {
	c := newCluster(t, 2, layout.RoundRobin, false)
	a := c.client(nil)
	f := open(t, a, "f", syscall.O_CREAT|syscall.O_RDWR)
	f.Retain()
	ok(t, "close", f.Close(ctx))
	writeAt(t, f, []byte("still open"), 0)
	n, err := a.Close(ctx)
	if ok(t, "close", err); n != 1 {
		t.Fatalf("%d open", n)
	}
	_, err = client.New(client.Options{Map: c.m, Distributed: true})
	check(t, "a distributed client without a pool", err, syscall.EINVAL)
}

func TestErrorsNameTheNode(t *testing.T) {
	c := newCluster(t, 3, layout.RoundRobin, false)
	a := c.client(func(o *client.Options) { o.CallTimeout = 300 * time.Millisecond })
	data := pattern(1, 6*chunk)
	put(t, a, "f", data)
	f := open(t, a, "f", syscall.O_RDWR)
	dead := 0
	for uint32(dead) == f.Ino().Shard() {
		dead++
	}
	c.kill(dead)
	began := time.Now()
	p := make([]byte, len(data))
	n, err := f.Pread(ctx, p, 0)
	if n != 0 || err == nil {
		t.Fatalf("read %d bytes of a file whose owner is dead, %v", n, err)
	}
	if code := fserr.Errno(err); code != syscall.EHOSTUNREACH && code != syscall.ETIMEDOUT {
		t.Fatalf("%v", err)
	}
	var e *fserr.Error
	if !errors.As(err, &e) || !strings.Contains(e.Node, fmt.Sprintf("node %d", dead)) || e.Op != "read" || e.Path != "f" {
		t.Fatalf("%+v", err)
	}
	if late := time.Since(began); late > 3*time.Second {
		t.Fatalf("took %v", late)
	}
	n, err = f.Pwrite(ctx, p, 0)
	first := uint32(n) >> chunkBits // the dead owner's first chunk
	if err != nil || n == 0 || n%chunk != 0 || (f.Ino().Shard()+first)%3 != uint32(dead) {
		t.Fatalf("a write whose third part fails: %d, %v", n, err)
	}
	d, err := a.OpenDir(ctx, 0, "/")
	if err == nil {
		for err == nil {
			_, err = d.Next(ctx)
		}
		if err == io.EOF {
			t.Fatal("a listing without one of the shards looks whole")
		}
	}
	c.start(dead)
}
