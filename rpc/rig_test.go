package rpc_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/benchfs/benchfs/rpc"
	"github.com/benchfs/benchfs/rpc/inproc"
	"github.com/benchfs/benchfs/rpc/internal/rpctest"
)

// faults is a script: nil functions pass everything.
type faults struct {
	dial           func(rpc.PeerID) inproc.Fault
	request, reply func(rpc.PeerID, *rpc.Header) inproc.Fault
	dials          atomic.Int64
}

func (f *faults) Dial(p rpc.PeerID) inproc.Fault {
	f.dials.Add(1)
	if f.dial == nil {
		return inproc.Fault{}
	}
	return f.dial(p)
}

func (f *faults) Request(p rpc.PeerID, h *rpc.Header) inproc.Fault {
	if f.request == nil {
		return inproc.Fault{}
	}
	return f.request(p, h)
}

func (f *faults) Reply(p rpc.PeerID, h *rpc.Header) inproc.Fault {
	if f.reply == nil {
		return inproc.Fault{}
	}
	return f.reply(p, h)
}

// rig is a network with one server at each of its peers, and a pool.
type rig struct {
	t       *testing.T
	net     *inproc.Network
	faults  *faults
	servers map[rpc.PeerID]*rpctest.Server
	pool    *rpc.Pool

	mu        sync.Mutex
	known     map[rpc.PeerID]uint64 // what the resolver tells without refresh
	refreshes int
}

var peer = rpc.PeerID{Node: 3, Shard: 12}

func newRig(t *testing.T, o rpc.PoolOptions, peers ...rpc.PeerID) *rig {
	t.Helper()
	g := &rig{
		t: t, net: inproc.NewNetwork(), faults: &faults{},
		servers: make(map[rpc.PeerID]*rpctest.Server), known: make(map[rpc.PeerID]uint64),
	}
	if len(peers) == 0 {
		peers = []rpc.PeerID{peer}
	}
	for _, p := range peers {
		g.start(p, 1)
		g.known[p] = 1
	}
	g.net.SetFaults(g.faults)
	o.Resolve = g.resolve
	if o.Identity.Client == 0 {
		o.Identity = rpc.Identity{Client: 77, PID: 1, HostID: "host", Secret: "secret", Build: "b", Epoch: 1}
	}
	g.pool = rpc.NewPool(g.net.Transport(), o)
	return g
}

// start puts a new incarnation of the server at p on the network; the resolver does not know of it before it is asked to refresh.
func (g *rig) start(p rpc.PeerID, incarnation uint64) *rpctest.Server {
	s := rpctest.New(p, incarnation)
	g.mu.Lock()
	g.servers[p] = s
	g.mu.Unlock()
	g.net.Attach(p, s)
	return s
}

func (g *rig) resolve(_ context.Context, p rpc.PeerID, refresh bool) (rpc.Target, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if refresh {
		g.refreshes++
		if s := g.servers[p]; s != nil {
			g.known[p] = s.Reply.Incarnation
		}
	}
	incarnation, ok := g.known[p]
	if !ok {
		return rpc.Target{}, errors.New("not in the registry")
	}
	return rpc.Target{Peer: p, Incarnation: incarnation}, nil
}

func within(d time.Duration) context.Context {
	return rpc.WithDeadline(context.Background(), time.Now().Add(d))
}

// call makes an echo of text to p.
func (g *rig) call(p rpc.PeerID, text string) *rpc.Call {
	c := g.pool.Transport().NewCall()
	c.Reset()
	c.To, c.Header.Type = p, rpc.MsgEcho
	c.Body = append(c.Body[:0], text...)
	return c
}

func (g *rig) mustEcho(p rpc.PeerID) {
	g.t.Helper()
	c := g.call(p, "hello")
	g.pool.Exchange(context.Background(), time.Now().Add(10*time.Second), []*rpc.Call{c})
	if c.Err != nil || string(c.Answer) != "hello" {
		g.t.Fatalf("echo: %q, %v", c.Answer, c.Err)
	}
}

// eventually polls until ok, or fails the test.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

func mustName(t *testing.T, err error) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), "node 3 shard 12") {
		t.Errorf("error does not name the peer: %v", err)
	}
}
