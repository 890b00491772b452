package shm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/benchfs/benchfs/internal/loop"
	"github.com/benchfs/benchfs/rpc"
	"github.com/benchfs/benchfs/shm"
)

// echo is a service that sends payloads back: of a ReadChunk as many bytes as its body says, else what came.
type echo struct {
	mu     sync.Mutex
	memory []byte
	gone   []uint64       // clients
	silent []*rpc.Request // MsgLock: not answered before a MsgBye
	hold   chan struct{}  // not nil: MsgDescribe waits for it, on the shard's thread
}

func (e *echo) Serve(r *rpc.Request) {
	switch r.Header.Type {
	case rpc.MsgHello:
		reply := rpc.HelloReply{Session: r.Peer.Session(), Incarnation: 7, MaxBulk: 64 << 20, Shards: 1, ChunkBits: 22}
		r.Reply(rpc.StatusOK, 0, reply.AppendTo(nil), nil)
	case rpc.MsgLock:
		e.mu.Lock()
		e.silent = append(e.silent, r)
		e.mu.Unlock()
	case rpc.MsgBye:
		for _, late := range e.silent {
			late.Reply(rpc.StatusOK, 0, []byte("late"), []byte("too late"))
		}
		e.silent = nil
		r.Reply(rpc.StatusOK, 0, nil, nil)
	case rpc.MsgDescribe:
		<-e.hold
		r.Reply(rpc.StatusOK, 0, nil, nil)
	case rpc.MsgReadChunk:
		var m rpc.ReadChunk
		if err := m.Decode(r.Body); err != nil {
			r.Reply(rpc.StatusInvalid, 0, nil, nil)
			return
		}
		r.Reply(rpc.StatusOK, 0, nil, e.memory[m.Offset:m.Offset+m.Length])
	default:
		memory := make([]byte, r.Header.BulkLen)
		if done, err := r.Recv(memory); !done || err != nil {
			r.Reply(rpc.StatusInvalid, 0, nil, nil)
			return
		}
		r.Reply(rpc.StatusOK, 0, r.Body, memory)
	}
}

func (e *echo) Received(*rpc.Request, error) {}
func (e *echo) Replied(*rpc.Request, error)  {}
func (e *echo) Gone(p rpc.Peer) {
	e.mu.Lock()
	e.gone = append(e.gone, p.Client())
	e.mu.Unlock()
}

// shard is a running shard behind a door.
type shard struct {
	echo   *echo
	target rpc.Target
	stop   func()
}

const shardNumber = 3

func startShard(t testing.TB, dir string) *shard {
	t.Helper()
	s := &shard{echo: &echo{memory: bytes.Repeat([]byte("0123456789abcdef"), 1<<20)}}
	l, err := loop.New()
	if err != nil {
		t.Fatal(err)
	}
	server, err := shm.NewServer(s.echo, l.Wake())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "door")
	host, err := shm.NewHost(shm.HostOptions{
		Path: path, Incarnation: 7, UID: uint32(os.Getuid()), Shards: []shm.Shard{{Number: shardNumber, Server: server, Loop: l}},
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { l.Run(s.echo, server); close(done) }()
	s.target = rpc.Target{Peer: rpc.PeerID{Shard: shardNumber}, Incarnation: 7, SameHost: true, Door: path}
	s.stop = sync.OnceFunc(func() {
		host.Close()
		l.Stop()
		<-done
		server.Close()
		_ = l.Close()
	})
	t.Cleanup(s.stop)
	return s
}

// client is a transport with a session at a shard.
type client struct {
	t       testing.TB
	tr      *shm.Transport
	link    rpc.Link
	session uint32
}

func dial(t testing.TB, s *shard) *client {
	t.Helper()
	c := &client{t: t, tr: shm.NewTransport()}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var err error
	if c.link, err = c.tr.Dial(ctx, s.target); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.tr.Close() })
	hello := c.call(rpc.MsgHello, nil, nil, nil)
	c.tr.Run(time.Now().Add(10*time.Second), []*rpc.Call{hello})
	var reply rpc.HelloReply
	if err := errors.Join(hello.Err, reply.Decode(hello.Answer)); err != nil {
		t.Fatal(err)
	}
	c.session = reply.Session
	return c
}

const clientID = 42

func (c *client) call(kind rpc.MsgType, body, out, in []byte) *rpc.Call {
	call := c.tr.NewCall()
	call.Reset()
	call.Link, call.Header.Type = c.link, kind
	call.Header.Client, call.Header.Session = clientID, c.session
	call.Body = append(call.Body, body...)
	call.Out, call.In = out, in
	return call
}

func (c *client) memory(n int) []byte {
	b, err := c.tr.Alloc(n)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { c.tr.Free(b) })
	return b
}

func soon() time.Time { return time.Now().Add(20 * time.Second) }

func TestCallsOfAllSizes(t *testing.T) {
	c := dial(t, startShard(t, t.TempDir()))
	for _, n := range []int{0, 1, 63, 64, 4096, 100_000, 1 << 20, 5<<20 + 3} {
		var calls []*rpc.Call
		for i := range 70 {
			out, in := []byte(nil), []byte(nil)
			if n > 0 {
				out, in = c.memory(n), c.memory(n)
				copy(out, fmt.Sprintf("%d of %d", i, n))
				out[n-1] = byte(i)
			}
			calls = append(calls, c.call(rpc.MsgEcho, []byte(fmt.Sprint(i)), out, in))
			if n > 1<<20 && i == 4 {
				break
			}
		}
		for range 3 {
			c.tr.Run(soon(), calls)
			for i, call := range calls {
				if call.Err != nil || call.Received != n || string(call.Answer) != fmt.Sprint(i) || !bytes.Equal(call.In, call.Out) {
					t.Fatalf("%d bytes, call %d: %v, %d bytes, answer %q", n, i, call.Err, call.Received, call.Answer)
				}
				clear(call.In)
			}
		}
	}
}

func TestManyThreadsOneLink(t *testing.T) {
	c := dial(t, startShard(t, t.TempDir()))
	var wg sync.WaitGroup
	for i := range 16 {
		out, in := c.memory(20_000), c.memory(20_000)
		wg.Go(func() {
			for j := range 300 {
				out[0], out[19_999] = byte(i), byte(j)
				call := c.call(rpc.MsgEcho, nil, out, in)
				c.tr.Run(soon(), []*rpc.Call{call})
				if call.Err != nil || !bytes.Equal(in, out) {
					t.Errorf("%v", call.Err)
				}
				c.tr.FreeCall(call)
			}
		})
	}
	wg.Wait()
}

func BenchmarkEmptyCall(b *testing.B) { benchmark(b, 0) }
func BenchmarkRead4KiB(b *testing.B)  { benchmark(b, 4096) }
func BenchmarkRead1MiB(b *testing.B)  { benchmark(b, 1<<20) }

func benchmark(b *testing.B, bytes int) {
	c := dial(b, startShard(b, b.TempDir()))
	var in []byte
	if bytes > 0 {
		in = c.memory(bytes)
	}
	calls := []*rpc.Call{c.call(rpc.MsgReadChunk, nil, nil, in)}
	m := rpc.ReadChunk{Length: uint32(bytes)}
	b.SetBytes(int64(bytes))
	b.ReportAllocs()
	for b.Loop() {
		m.Offset = (m.Offset + 7919*4096) % (15 << 20)
		calls[0].Body = m.AppendTo(calls[0].Body[:0])
		c.tr.Run(soon(), calls)
		if calls[0].Err != nil {
			b.Fatal(calls[0].Err)
		}
	}
}

// A buffer that grows between two calls is the one that both sides use for the next.
func TestBufferThatGrows(t *testing.T) {
	s := startShard(t, t.TempDir())
	largest := 1 << 20
	out, in := dial(t, s).memory(largest), dial(t, s).memory(largest)
	for i := range out {
		out[i] = byte(i>>12) ^ byte(i)
	}
	for range 300 {
		c := dial(t, s) // with a lane that has no buffer yet
		for n := 100 << 10; n <= largest; n *= 3 {
			call := c.call(rpc.MsgEcho, nil, out[:n], in[:n])
			c.tr.Run(soon(), []*rpc.Call{call})
			if call.Err != nil || !bytes.Equal(in[:n], out[:n]) {
				t.Fatalf("%d bytes: %v, or they differ", n, call.Err)
			}
			clear(in[:n])
		}
		_ = c.tr.Close()
	}
}
