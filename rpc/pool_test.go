package rpc_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/rpc"
	"github.com/benchfs/benchfs/rpc/inproc"
	"github.com/benchfs/benchfs/rpc/internal/rpctest"
)

// Trap 10: get_or_connect looked up, waited, then inserted: N callers made N connections.
func TestGetDialsOnceForAThousandCallers(t *testing.T) {
	g := newRig(t, rpc.PoolOptions{})
	g.faults.dial = func(rpc.PeerID) inproc.Fault { return inproc.Fault{Action: inproc.Delay, Delay: 50 * time.Millisecond} }
	const callers = 1000
	conns := make([]*rpc.Conn, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			c, err := g.pool.Get(within(10*time.Second), peer)
			if err != nil {
				t.Error(err)
			}
			conns[i] = c
		})
	}
	wg.Wait()
	for _, c := range conns {
		if c == nil || c != conns[0] {
			t.Fatal("different connections")
		}
	}
	stats := g.pool.Stats()
	if g.faults.dials.Load() != 1 || g.servers[peer].Served[rpc.MsgHello].Load() != 1 || stats.Dialled != 1 || g.pool.Len() != 1 {
		t.Errorf("%d dials, %d handshakes, %+v", g.faults.dials.Load(), g.servers[peer].Served[rpc.MsgHello].Load(), stats)
	}
}

func TestWaitersKeepTheirOwnDeadlines(t *testing.T) {
	g := newRig(t, rpc.PoolOptions{ConnectTimeout: 10 * time.Second})
	release := make(chan struct{})
	started := make(chan struct{})
	g.faults.dial = func(rpc.PeerID) inproc.Fault { close(started); <-release; return inproc.Fault{} }
	first := make(chan error, 1)
	go func() {
		_, err := g.pool.Get(within(10*time.Second), peer)
		first <- err
	}()
	<-started
	begin := time.Now()
	_, err := g.pool.Get(within(30*time.Millisecond), peer)
	var timeout *rpc.Timeout
	if !errors.As(err, &timeout) || time.Since(begin) > 5*time.Second {
		t.Errorf("second caller: %v after %v", err, time.Since(begin))
	}
	mustName(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := g.pool.Get(ctx, peer); fserr.Errno(err) != syscall.ECANCELED {
		t.Errorf("cancelled caller: %v", err)
	}
	close(release)
	if err := <-first; err != nil {
		t.Errorf("first caller: %v", err)
	}
}

// A dialler in a hurry must not decide for those who have time.
func TestDialCutShortIsTakenOver(t *testing.T) {
	g := newRig(t, rpc.PoolOptions{ConnectTimeout: 10 * time.Second})
	started := make(chan struct{}, 2)
	var dials atomic.Int64
	g.faults.dial = func(rpc.PeerID) inproc.Fault {
		started <- struct{}{}
		if dials.Add(1) == 1 {
			return inproc.Fault{Action: inproc.Drop}
		}
		return inproc.Fault{}
	}
	hurried := make(chan error, 1)
	go func() {
		_, err := g.pool.Get(within(50*time.Millisecond), peer)
		hurried <- err
	}()
	<-started
	if c, err := g.pool.Get(within(10*time.Second), peer); err != nil || c == nil {
		t.Errorf("patient caller: %v", err)
	}
	if err := <-hurried; fserr.Errno(err) != syscall.ETIMEDOUT {
		t.Errorf("hurried caller: %v", err)
	}
}

// Trap 10: no connect timeout.
func TestDialDeadline(t *testing.T) {
	for name, o := range map[string]rpc.PoolOptions{
		"connect timeout":   {ConnectTimeout: 40 * time.Millisecond},
		"caller's deadline": {ConnectTimeout: 10 * time.Second},
	} {
		g := newRig(t, o)
		g.faults.dial = func(rpc.PeerID) inproc.Fault { return inproc.Fault{Action: inproc.Drop} }
		patience := 10 * time.Second
		if name == "caller's deadline" {
			patience = 40 * time.Millisecond
		}
		begin := time.Now()
		_, err := g.pool.Get(within(patience), peer)
		if took := time.Since(begin); took > 5*time.Second || fserr.Errno(err) != syscall.ETIMEDOUT {
			t.Errorf("%s: %v after %v", name, err, took)
		}
		mustName(t, err)
	}
}

func TestHandshakeDeadline(t *testing.T) {
	g := newRig(t, rpc.PoolOptions{ConnectTimeout: 40 * time.Millisecond})
	g.faults.request = func(rpc.PeerID, *rpc.Header) inproc.Fault { return inproc.Fault{Action: inproc.Drop} }
	_, err := g.pool.Get(within(10*time.Second), peer)
	if fserr.Errno(err) != syscall.ETIMEDOUT {
		t.Errorf("%v", err)
	}
	mustName(t, err)
	eventually(t, "nothing is left of the dial", func() bool { return g.pool.Len() == 0 })
}

func TestBackoffAfterFailedDials(t *testing.T) {
	g := newRig(t, rpc.PoolOptions{Policy: rpc.Policy{BackoffBase: 150 * time.Millisecond, BackoffMax: 150 * time.Millisecond}})
	var healthy atomic.Bool
	g.faults.dial = func(rpc.PeerID) inproc.Fault {
		if healthy.Load() {
			return inproc.Fault{}
		}
		return inproc.Fault{Action: inproc.Fail, Err: &rpc.ConnectionError{Remote: "node 3 shard 12", Reason: "down"}}
	}
	begin := time.Now()
	for range 50 {
		_, err := g.pool.Get(within(10*time.Second), peer)
		if fserr.Errno(err) != syscall.EHOSTUNREACH {
			t.Fatalf("%v", err)
		}
	}
	if took := time.Since(begin); took < 100*time.Millisecond && g.faults.dials.Load() != 1 {
		t.Errorf("%d dials within the back-off", g.faults.dials.Load())
	}
	if g.pool.Stats().Failed == 0 {
		t.Error("failed dials are not counted")
	}
	healthy.Store(true)
	eventually(t, "connected after the back-off", func() bool {
		_, err := g.pool.Get(within(10*time.Second), peer)
		return err == nil
	})
}

// Trap 11: a restarted node at the same address was the old endpoint.
func TestStaleIncarnationIsNotHandedOut(t *testing.T) {
	g := newRig(t, rpc.PoolOptions{})
	old, err := g.pool.Get(within(10*time.Second), peer)
	if err != nil {
		t.Fatal(err)
	}
	g.servers[peer].Reply.Incarnation = 2 // the link stays alive: nothing but the resolver tells
	g.mu.Lock()
	g.known[peer] = 2
	g.mu.Unlock()
	c, err := g.pool.Get(within(10*time.Second), peer)
	if err != nil || c == old || c.Incarnation != 2 {
		t.Fatalf("%+v, %v", c, err)
	}
	if g.pool.Stats().Dropped != 1 || g.pool.Len() != 1 {
		t.Errorf("%+v", g.pool.Stats())
	}
}

// What the resolver knows may be out of date: the refusal makes it look again within the same dial.
func TestRestartSeenByTheHandshake(t *testing.T) {
	for name, refuse := range map[string]bool{"the server refuses": true, "the reply tells": false} {
		g := newRig(t, rpc.PoolOptions{Policy: rpc.Policy{Attempts: 3}})
		s := g.start(peer, 5)
		s.Handle = func(r *rpc.Request) bool {
			var m rpc.Hello
			if !refuse || r.Header.Type != rpc.MsgHello || m.Decode(r.Body) == nil && m.Incarnation == 5 {
				return false
			}
			r.Reply(rpc.StatusRefused, 0, nil, nil)
			return true
		}
		g.mustEcho(peer)
		if c := g.pool.Peek(peer); c == nil || c.Incarnation != 5 {
			t.Errorf("%s: %+v", name, c)
		}
	}
}

// Trap 11: one node under two addresses was two connections. The key is node and shard, whatever the resolver answers.
func TestOneConnectionAPeer(t *testing.T) {
	g := newRig(t, rpc.PoolOptions{})
	for range 10 {
		g.mustEcho(peer)
		if _, err := g.pool.Get(within(10*time.Second), peer); err != nil {
			t.Fatal(err)
		}
	}
	if g.pool.Len() != 1 || g.faults.dials.Load() != 1 {
		t.Errorf("%d connections, %d dials", g.pool.Len(), g.faults.dials.Load())
	}
}

// Trap 10: a dead client was returned for ever.
func TestDeadConnectionIsNotReturned(t *testing.T) {
	g := newRig(t, rpc.PoolOptions{})
	g.mustEcho(peer)
	dead := g.pool.Peek(peer)
	g.net.Detach(peer)
	if g.pool.Peek(peer) != nil || g.pool.Len() != 0 || len(g.pool.Nodes()) != 0 {
		t.Error("a dead connection is handed out or counted")
	}
	if _, err := g.pool.Get(within(10*time.Second), peer); fserr.Errno(err) != syscall.EHOSTUNREACH {
		t.Errorf("%v", err)
	}
	g.start(peer, 2)
	eventually(t, "reconnected", func() bool { c, err := g.pool.Get(within(10*time.Second), peer); return err == nil && c != dead })
}

func TestNodesLenAndStats(t *testing.T) {
	peers := []rpc.PeerID{{Node: 10, Shard: 4}, {Node: 2, Shard: 1}, {Node: 2, Shard: 0}, {Node: 70_000, Shard: 70_000}}
	g := newRig(t, rpc.PoolOptions{Identity: rpc.Identity{Client: 1}}, peers...)
	if failed := g.pool.Warm(within(10*time.Second), append(peers, rpc.PeerID{Node: 99})); len(failed) != 1 || failed[rpc.PeerID{Node: 99}] == nil {
		t.Errorf("warm: %v", failed)
	}
	if !slices.Equal(g.pool.Nodes(), []uint32{2, 10, 70_000}) || g.pool.Len() != 4 {
		t.Errorf("nodes %v, %d connections", g.pool.Nodes(), g.pool.Len())
	}
	for _, p := range peers {
		g.mustEcho(p)
	}
	stats := g.pool.Stats()
	if stats.Dialled != 4 || stats.Reused != 4 || stats.Failed != 1 || stats.InFlight != 0 || len(stats.Peers) != 4 {
		t.Errorf("%+v", stats)
	}
	text, err := json.Marshal(stats)
	if err != nil || !strings.Contains(string(text), `"peers":[{"node":2,"shard":0,"incarnation":1,"transport":"inproc","remote":"node 2 shard 0"`) {
		t.Errorf("%s, %v", text, err)
	}
	if err := g.pool.CloseAll(); err != nil || g.pool.Len() != 0 {
		t.Errorf("%v, %d left", err, g.pool.Len())
	}
	for _, p := range peers {
		if g.servers[p].Served[rpc.MsgBye].Load() != 1 {
			t.Errorf("%v heard no bye", p)
		}
	}
	g.mustEcho(peers[0])
}

func TestCloseDrains(t *testing.T) {
	g := newRig(t, rpc.PoolOptions{})
	parked := make(chan *rpc.Request, 1)
	s := rpctest.New(peer, 1)
	s.Handle = func(r *rpc.Request) bool {
		if r.Header.Type != rpc.MsgEcho {
			return false
		}
		parked <- r
		return true
	}
	loop := g.net.Attach(peer, s)
	call := g.call(peer, "x")
	finished := make(chan struct{})
	go func() {
		g.pool.Exchange(context.Background(), time.Now().Add(20*time.Second), []*rpc.Call{call})
		close(finished)
	}()
	r := <-parked
	if g.pool.Stats().InFlight != 1 {
		t.Errorf("%+v", g.pool.Stats())
	}
	closed := make(chan error, 1)
	go func() { closed <- g.pool.Close(peer) }()
	eventually(t, "the connection is closing", func() bool { return g.pool.Peek(peer) == nil })
	select {
	case err := <-closed:
		t.Fatalf("closed with a call in flight: %v", err)
	default:
	}
	loop.Submit(func() { r.Reply(rpc.StatusOK, 0, nil, nil) })
	if err := <-closed; err != nil {
		t.Error(err)
	}
	<-finished
	if call.Err != nil {
		t.Error(call.Err)
	}
	if s.Served[rpc.MsgBye].Load() != 1 {
		t.Error("no bye")
	}
}

func TestCloseFailsWhatDoesNotDrain(t *testing.T) {
	g := newRig(t, rpc.PoolOptions{})
	g.mustEcho(peer)
	var lost atomic.Bool
	g.faults.request = func(_ rpc.PeerID, h *rpc.Header) inproc.Fault {
		if h.Type == rpc.MsgEcho {
			lost.Store(true)
			return inproc.Fault{Action: inproc.Drop}
		}
		return inproc.Fault{}
	}
	call := g.call(peer, "x")
	finished := make(chan struct{})
	go func() {
		g.pool.Exchange(context.Background(), time.Now().Add(time.Minute), []*rpc.Call{call})
		close(finished)
	}()
	eventually(t, "a call in flight", func() bool { return lost.Load() && g.pool.Stats().InFlight == 1 })
	begin := time.Now()
	err := g.pool.CloseAll()
	if took := time.Since(begin); err == nil || took < time.Second || took > 10*time.Second {
		t.Errorf("%v after %v", err, took)
	}
	mustName(t, err)
	<-finished
	if fserr.Errno(call.Err) != syscall.EHOSTUNREACH {
		t.Errorf("the call: %v", call.Err)
	}
}

// A dial that was under way when the pool was closed must not put a connection into it.
func TestCloseDuringDial(t *testing.T) {
	g := newRig(t, rpc.PoolOptions{})
	started, release := make(chan struct{}), make(chan struct{})
	g.faults.dial = func(rpc.PeerID) inproc.Fault { close(started); <-release; return inproc.Fault{} }
	got := make(chan error, 1)
	go func() {
		_, err := g.pool.Get(within(10*time.Second), peer)
		got <- err
	}()
	<-started
	if err := g.pool.CloseAll(); err != nil {
		t.Error(err)
	}
	close(release)
	if err := <-got; err == nil || g.pool.Len() != 0 {
		t.Errorf("%v, %d connections", err, g.pool.Len())
	}
	if g.servers[peer].GoneSeen.Load() != 1 {
		t.Error("the server was not told")
	}
}

func TestWarmReachesTheLivingBesideTheDead(t *testing.T) {
	var peers []rpc.PeerID
	for i := range uint32(20) {
		peers = append(peers, rpc.PeerID{Node: i, Shard: i})
	}
	g := newRig(t, rpc.PoolOptions{ConnectTimeout: 100 * time.Millisecond}, peers...)
	g.faults.dial = func(p rpc.PeerID) inproc.Fault {
		if p.Node%2 == 0 {
			return inproc.Fault{Action: inproc.Drop}
		}
		return inproc.Fault{}
	}
	begin := time.Now()
	failed := g.pool.Warm(within(20*time.Second), peers)
	if len(failed) != 10 || g.pool.Len() != 10 {
		t.Errorf("%d failed, %d connected", len(failed), g.pool.Len())
	}
	if took := time.Since(begin); took > 900*time.Millisecond {
		t.Errorf("ten dead peers cost %v: one after the other", took)
	}
	for p, err := range failed {
		if !strings.Contains(err.Error(), fmt.Sprintf("node %d shard", p.Node)) {
			t.Errorf("%v: %v", p, err)
		}
	}
}
