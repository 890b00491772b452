package rpc_test

import (
	"context"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/rpc"
	"github.com/benchfs/benchfs/rpc/internal/rpctest"
)

func TestHandshakeValidation(t *testing.T) {
	for name, change := range map[string]func(*rpctest.Server){
		"wrong peer":     func(s *rpctest.Server) { s.Reply.Peer.Shard++ },
		"no incarnation": func(s *rpctest.Server) { s.Reply.Incarnation = 0 },
		"incarnation":    func(s *rpctest.Server) { s.Reply.Incarnation = 9; s.Reply.Build = []byte("stale") },
		"epoch":          func(s *rpctest.Server) { s.Reply.Epoch = 2 },
		"max bulk":       func(s *rpctest.Server) { s.Reply.MaxBulk = 1000 },
		"shards":         func(s *rpctest.Server) { s.Reply.Shards = peer.Shard },
		"chunk bits":     func(s *rpctest.Server) { s.Reply.ChunkBits = 40 },
		"refused":        func(s *rpctest.Server) { s.Status = rpc.StatusRefused },
		"stale epoch":    func(s *rpctest.Server) { s.Status = rpc.StatusStaleEpoch },
		"garbage": func(s *rpctest.Server) {
			s.Handle = func(r *rpc.Request) bool { r.Reply(rpc.StatusOK, 0, []byte("?"), nil); return true }
		},
		"no session": func(s *rpctest.Server) {
			s.Handle = func(r *rpc.Request) bool { r.Reply(rpc.StatusOK, 0, s.Reply.AppendTo(nil), nil); return true }
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, rpc.PoolOptions{Policy: rpc.Policy{BackoffBase: time.Hour, BackoffMax: time.Hour}})
			change(g.servers[peer])
			if name == "incarnation" { // the resolver cannot know better
				g.mu.Lock()
				delete(g.servers, peer)
				g.mu.Unlock()
			}
			c, err := g.pool.Get(within(10*time.Second), peer)
			if err == nil || c != nil || g.pool.Len() != 0 {
				t.Fatalf("accepted: %+v", c)
			}
			mustName(t, err)
			want := map[string]syscall.Errno{
				"epoch": syscall.ESTALE, "stale epoch": syscall.ESTALE, "incarnation": syscall.EHOSTUNREACH,
				"garbage": syscall.EPROTO, "chunk bits": syscall.EPROTO,
			}[name]
			if want == 0 {
				want = syscall.ECONNREFUSED
			}
			if fserr.Errno(err) != want || rpc.Mendable(err) != (name == "incarnation") {
				t.Errorf("errno %v (want %v), mendable %v: %v", fserr.Errno(err), want, rpc.Mendable(err), err)
			}
			if name == "refused" && !strings.Contains(err.Error(), "because the test says so") {
				t.Errorf("the server's reason is lost: %v", err)
			}
		})
	}
}

// A client that does not know the map yet may talk to whoever answers.
func TestHandshakeWithoutMap(t *testing.T) {
	g := newRig(t, rpc.PoolOptions{Identity: rpc.Identity{Client: 5}})
	g.servers[peer].Reply.Peer, g.servers[peer].Reply.Epoch = rpc.PeerID{Node: 9}, 99
	if _, err := g.pool.Get(within(10*time.Second), peer); err != nil {
		t.Error(err)
	}
}

func TestSelfTest(t *testing.T) {
	g := newRig(t, rpc.PoolOptions{SelfTest: true, ConnectTimeout: 200 * time.Millisecond})
	c, err := g.pool.Get(within(10*time.Second), peer)
	if err != nil || g.servers[peer].Served[rpc.MsgEcho].Load() != 2 || c.Transport != "inproc" {
		t.Fatalf("%+v, %v, %d echoes", c, err, g.servers[peer].Served[rpc.MsgEcho].Load())
	}
	for name, spoil := range map[string]func(b []byte) []byte{
		"a byte changed": func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
		"a byte missing": func(b []byte) []byte { return b[:len(b)-1] },
	} {
		for _, size := range []uint64{64, 256 << 10} {
			g := newRig(t, rpc.PoolOptions{SelfTest: true})
			g.servers[peer].Handle = func(r *rpc.Request) bool {
				if r.Header.Type != rpc.MsgEcho || r.Header.BulkLen != size {
					return false
				}
				b := make([]byte, size)
				if _, err := r.Recv(b); err != nil {
					t.Error(err)
				}
				r.Reply(rpc.StatusOK, 0, nil, spoil(b))
				return true
			}
			_, err := g.pool.Get(within(10*time.Second), peer)
			if fserr.Errno(err) != syscall.EIO || !strings.Contains(err.Error(), "self-test") || g.pool.Len() != 0 {
				t.Errorf("%s of %d: %v", name, size, err)
			}
			mustName(t, err)
		}
	}
}

func TestOnConnect(t *testing.T) {
	var g *rig
	ran, fail := 0, false
	g = newRig(t, rpc.PoolOptions{
		Policy: rpc.Policy{BackoffBase: time.Nanosecond},
		OnConnect: func(ctx context.Context, c *rpc.Conn) error {
			ran++
			if g.pool.Peek(peer) != nil {
				t.Error("others can use the connection already")
			}
			call := g.call(peer, "from the hook")
			deadline, _ := ctx.Deadline()
			c.Run(deadline, []*rpc.Call{call})
			if call.Err != nil || string(call.Answer) != "from the hook" {
				t.Errorf("call in the hook: %v", call.Err)
			}
			if fail {
				return syscall.ENOMEM
			}
			return nil
		},
	})
	g.mustEcho(peer)
	if ran != 1 {
		t.Errorf("ran %d times", ran)
	}
	if err := g.pool.Close(peer); err != nil {
		t.Error(err)
	}
	fail = true
	if _, err := g.pool.Get(within(10*time.Second), peer); err == nil || g.pool.Len() != 0 {
		t.Errorf("a failed hook: %v", err)
	}
}
