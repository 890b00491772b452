package client_test

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/benchfs/benchfs/core/client"
	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/rpc"
	"github.com/benchfs/benchfs/rpc/inproc"
)

// slowData delays the messages that carry data, so that whatever overtakes them is seen.
type slowData struct{}

func (slowData) Dial(rpc.PeerID) inproc.Fault { return inproc.Fault{} }

func (slowData) Request(_ rpc.PeerID, h *rpc.Header) inproc.Fault {
	if h.Type == rpc.MsgWriteChunk {
		return inproc.Fault{Action: inproc.Delay, Delay: 20 * time.Millisecond}
	}
	return inproc.Fault{}
}

func (slowData) Reply(rpc.PeerID, *rpc.Header) inproc.Fault { return inproc.Fault{} }

// A file never seems longer than what can be read of it, however late the data comes.
func TestSizeFollowsData(t *testing.T) {
	everywhere(t, func(t *testing.T, c *cluster) {
		for how, flags := range map[string]int{"pwrite": 0, "append": syscall.O_APPEND} {
			a, b := c.client(nil), c.client(nil)
			w := open(t, a, how, syscall.O_CREAT|syscall.O_WRONLY|flags)
			r := open(t, b, how, syscall.O_RDONLY)
			c.network.SetFaults(slowData{})
			done := make(chan error, 1)
			total := 0
			go func() {
				var err error
				for at, n := range []int{100, 2*chunk + 5, 3 * chunk} {
					if err == nil {
						_, err = w.Pwritev(ctx, [][]byte{pattern(1, n/2), pattern(1, n-n/2)}, []int64{0, 100, 2*chunk + 105}[at])
					}
				}
				done <- err
			}()
			for seen, ended := 0, false; !ended; {
				select {
				case err := <-done:
					ok(t, how, err)
					ended = true
				default:
				}
				attr, err := r.Stat(ctx)
				ok(t, "fstat", err)
				if got := readAt(t, r, int(attr.Size)-seen, int64(seen)); len(got) != int(attr.Size)-seen || bytes.IndexByte(got, 0) >= 0 {
					t.Fatalf("%s: of %d bytes %d can be read, the first zero is at %d", how, attr.Size, seen+len(got), seen+bytes.IndexByte(got, 0))
				}
				seen = int(attr.Size)
				total = seen
			}
			c.network.SetFaults(nil)
			if total != 5*chunk+105 {
				t.Errorf("%s: %d bytes in the end", how, total)
			}
			ok(t, "close", w.Close(ctx))
			ok(t, "close", r.Close(ctx))
		}
	})
}

// requests counts messages by type.
type requests struct {
	mu sync.Mutex
	of map[rpc.MsgType]int
}

func (q *requests) Dial(rpc.PeerID) inproc.Fault               { return inproc.Fault{} }
func (q *requests) Reply(rpc.PeerID, *rpc.Header) inproc.Fault { return inproc.Fault{} }
func (q *requests) Request(_ rpc.PeerID, h *rpc.Header) inproc.Fault {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.of[h.Type]++
	return inproc.Fault{}
}

// What it costs to let a file grow: one message where data and inode are together.
func TestMessagesOfGrowth(t *testing.T) {
	c := newCluster(t, 2, layout.RoundRobin, false)
	a := c.client(nil)
	f := open(t, a, "f", syscall.O_CREAT|syscall.O_WRONLY) // chunk 0 is where the inode is
	l := open(t, a, "l", syscall.O_CREAT|syscall.O_WRONLY|syscall.O_APPEND)
	put(t, a, "warm", make([]byte, 2*chunk)) // connects to both
	for _, test := range []struct {
		what string
		do   func() error
		want map[rpc.MsgType]int
	}{
		{"pwrite", func() error { _, err := f.Pwrite(ctx, make([]byte, 100), 0); return err }, map[rpc.MsgType]int{rpc.MsgWriteChunk: 1}},
		{"pwrite elsewhere", func() error { _, err := f.Pwrite(ctx, make([]byte, 100), chunk); return err },
			map[rpc.MsgType]int{rpc.MsgWriteChunk: 1, rpc.MsgExtend: 1}},
		{"append", func() error { _, err := l.Write(ctx, make([]byte, 100)); return err }, map[rpc.MsgType]int{rpc.MsgAppend: 1}},
		{"append of a vector", func() error { _, err := l.Writev(ctx, [][]byte{{}, {1}, {}, {2, 3}}); return err }, map[rpc.MsgType]int{rpc.MsgAppend: 1}},
		{"append to both", func() error { _, err := l.Write(ctx, make([]byte, chunk)); return err },
			map[rpc.MsgType]int{rpc.MsgAppend: 1, rpc.MsgWriteChunk: 2, rpc.MsgEndAppend: 1}},
	} {
		q := &requests{of: map[rpc.MsgType]int{}}
		c.network.SetFaults(q)
		err := test.do()
		c.network.SetFaults(nil)
		if ok(t, test.what, err); !maps.Equal(q.of, test.want) {
			t.Errorf("%s: messages %v, want %v", test.what, q.of, test.want)
		}
	}
	if got := get(t, a, "l"); len(got) != chunk+103 || !bytes.Equal(got[100:103], []byte{1, 2, 3}) {
		t.Errorf("%d bytes appended", len(got))
	}
	ok(t, "close", f.Close(ctx))
	ok(t, "close", l.Close(ctx))
}

// unreliable loses, delays and doubles some messages about data and sizes.
type unreliable struct {
	mu  sync.Mutex
	rnd *rand.Rand
}

func (u *unreliable) Dial(rpc.PeerID) inproc.Fault { return inproc.Fault{} }

func (u *unreliable) Request(_ rpc.PeerID, h *rpc.Header) inproc.Fault { return u.fate(h, true) }

func (u *unreliable) Reply(_ rpc.PeerID, h *rpc.Header) inproc.Fault { return u.fate(h, false) }

func (u *unreliable) fate(h *rpc.Header, request bool) inproc.Fault {
	switch h.Type {
	case rpc.MsgAppend, rpc.MsgEndAppend, rpc.MsgExtend, rpc.MsgWriteChunk:
	default:
		return inproc.Fault{}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	switch n := u.rnd.IntN(40); {
	case n == 0:
		return inproc.Fault{Action: inproc.Drop}
	case n < 3:
		return inproc.Fault{Action: inproc.Delay, Delay: time.Duration(u.rnd.IntN(60)) * time.Millisecond}
	case n < 6 && request:
		return inproc.Fault{Action: inproc.Duplicate}
	}
	return inproc.Fault{}
}

// Whatever happens to messages, each record is appended once, whole, and nothing lies between records.
func TestAppendExactlyOnce(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	const writers, records = 4, 25
	record := func(w, i int) []byte {
		return fmt.Appendf(nil, "<%d:%02d:%s>\n", w, i, bytes.Repeat([]byte("x"), []int{50, 3000, chunk + 300}[(w+i)%3]))
	}
	everywhere(t, func(t *testing.T, c *cluster) {
		c.attempt = 40 * time.Millisecond
		put(t, c.client(nil), "log", nil)
		c.network.SetFaults(&unreliable{rnd: rand.New(rand.NewPCG(seed, 1))})
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
					if n, err := f.Write(ctx, record(w, i)); err != nil || n != len(record(w, i)) {
						t.Errorf("record %d of %d: %d bytes, %v", i, w, n, err)
					}
				}
				if err := f.Close(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		c.network.SetFaults(nil)
		var next [writers]int
		for line := range bytes.Lines(get(t, c.client(nil), "log")) {
			var w, i int
			_, err := fmt.Sscanf(string(line[:min(len(line), 8)]), "<%d:%d:", &w, &i)
			if err != nil || w >= writers || !bytes.Equal(line, record(w, i)) || next[w] != i {
				t.Fatalf("torn, lost, doubled or reordered record, or a hole: %d bytes, %.20q", len(line), line)
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

// full is a shard that has no room for one chunk.
type full struct {
	rpc.Service
	chunk uint64
}

func (s *full) Serve(r *rpc.Request) {
	var m rpc.WriteChunk
	if r.Header.Type == rpc.MsgWriteChunk && m.Decode(r.Body) == nil && m.Chunk == s.chunk {
		r.Reply(rpc.StatusErrno, uint32(syscall.ENOSPC), nil, nil)
		return
	}
	s.Service.Serve(r)
}

// A write that fails in the middle counts what is in place from its beginning, and the file ends there; the next append goes on there.
func TestGrowthThatFailsInTheMiddle(t *testing.T) {
	const lost = 1 // a chunk that is not where the inode is
	c := newCluster(t, 2, layout.RoundRobin, false)
	for i, s := range c.shards {
		c.network.Detach(c.peer(i))
		s.server.Start(c.network.Attach(c.peer(i), &full{s.server, lost}))
	}
	a := c.client(nil)
	data := pattern(7, 6*chunk)
	for what, flags := range map[string]int{"pwrite": 0, "append": syscall.O_APPEND} {
		f := open(t, a, what, syscall.O_CREAT|syscall.O_RDWR|flags)
		if n, err := f.Pwrite(ctx, data, 0); err != nil || n != lost*chunk {
			t.Fatalf("%s: %d, %v", what, n, err)
		}
		if n := stat(t, c.client(nil), what).Size; n != lost*chunk {
			t.Fatalf("%s: size %d", what, n)
		}
		if got := readAt(t, f, len(data), 0); !bytes.Equal(got, data[:lost*chunk]) {
			t.Fatalf("%s: %d bytes, first difference at %d", what, len(got), differ(got, data))
		}
		n, err := f.Pwrite(ctx, data[:10], lost*chunk)
		check(t, what+" into what is full", err, syscall.ENOSPC)
		if size := stat(t, c.client(nil), what).Size; n > 0 || size != lost*chunk {
			t.Fatalf("%s: %d bytes written, size %d", what, n, size)
		}
		ok(t, "close", f.Close(ctx))
	}
}

// An append whose data does not arrive fails by its deadline, shows nothing, and holds nobody up for longer than its lease; what follows it does
// not get its range, into which the data may still come.
func TestAppendThatIsNotAnswered(t *testing.T) {
	c := newCluster(t, 2, layout.RoundRobin, false)
	a, b := c.client(func(o *client.Options) { o.CallTimeout = 500 * time.Millisecond }), c.client(nil)
	f := open(t, a, "f", syscall.O_CREAT|syscall.O_WRONLY|syscall.O_APPEND)
	g := open(t, b, "f", syscall.O_WRONLY|syscall.O_APPEND)
	c.network.SetFaults(lostData{})
	n, err := f.Write(ctx, pattern(1, 2*chunk))
	check(t, "append", err, syscall.ETIMEDOUT)
	c.network.SetFaults(nil)
	if size := stat(t, b, "f").Size; n > 0 || size != 0 {
		t.Fatalf("%d bytes written, size %d", n, size)
	}
	if _, err := g.Write(ctx, []byte("next")); err != nil {
		t.Fatal(err)
	}
	if got := get(t, b, "f"); len(got) != 2*chunk+4 || string(got[2*chunk:]) != "next" {
		t.Fatalf("%d bytes", len(got))
	}
	ok(t, "close", f.Close(ctx))
	ok(t, "close", g.Close(ctx))
}

// lostData loses data that is on its way to shard 1.
type lostData struct{}

func (lostData) Dial(rpc.PeerID) inproc.Fault { return inproc.Fault{} }

func (lostData) Request(p rpc.PeerID, h *rpc.Header) inproc.Fault {
	if h.Type == rpc.MsgWriteChunk && p.Shard == 1 {
		return inproc.Fault{Action: inproc.Drop}
	}
	return inproc.Fault{}
}

func (lostData) Reply(rpc.PeerID, *rpc.Header) inproc.Fault { return inproc.Fault{} }
