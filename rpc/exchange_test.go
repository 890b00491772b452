package rpc_test

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/golang/mock/gomock"

	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/rpc"
	"github.com/benchfs/benchfs/rpc/inproc"
	"github.com/benchfs/benchfs/rpc/internal/rpctest"
	"github.com/benchfs/benchfs/rpc/mockrpc"
)

// quick is a policy of several attempts close together.
func quick(attempts int) rpc.Policy {
	return rpc.Policy{Attempts: attempts, PerAttempt: 40 * time.Millisecond, Overall: 20 * time.Second, BackoffBase: time.Millisecond, BackoffMax: 4 * time.Millisecond, Jitter: 0.5}
}

func (g *rig) exchange(calls ...*rpc.Call) {
	g.pool.Exchange(context.Background(), time.Time{}, calls)
}

func TestExchangeSeveralPeers(t *testing.T) {
	a, b, dead := rpc.PeerID{Node: 1, Shard: 1}, rpc.PeerID{Node: 2, Shard: 2}, peer
	g := newRig(t, rpc.PoolOptions{Policy: quick(2)}, a, b, dead)
	g.net.Detach(dead)
	calls := []*rpc.Call{g.call(a, "a"), g.call(dead, "dead"), g.call(b, "b"), g.call(a, "a again")}
	g.exchange(calls...)
	for _, c := range calls {
		if c.To == dead {
			if fserr.Errno(c.Err) != syscall.EHOSTUNREACH {
				t.Errorf("dead peer: %v", c.Err)
			}
			mustName(t, c.Err)
		} else if c.Err != nil || !bytes.Equal(c.Answer, c.Body) {
			t.Errorf("%v: %q, %v", c.To, c.Answer, c.Err)
		}
	}
	if got := g.pool.Stats().InFlight; got != 0 {
		t.Errorf("%d calls are still counted", got)
	}
	if n := g.servers[a].Served[rpc.MsgEcho].Load(); n != 2 {
		t.Errorf("calls that succeeded were repeated: %d", n)
	}
}

// Trap 12: repeating what a retry cannot mend.
func TestOnlyMendableErrorsAreRepeated(t *testing.T) {
	for name, c := range map[string]struct {
		status rpc.Status
		errno  uint32
		served int64
		want   syscall.Errno
	}{
		"errno":       {rpc.StatusErrno, uint32(syscall.ENOENT), 1, syscall.ENOENT},
		"big errno":   {rpc.StatusErrno, 4000, 1, 4000},
		"errno 0":     {rpc.StatusErrno, 0, 1, syscall.EPROTO},
		"EAGAIN":      {rpc.StatusErrno, uint32(syscall.EAGAIN), 1, syscall.EAGAIN},
		"invalid":     {rpc.StatusInvalid, 0, 1, syscall.EPROTO},
		"unknown":     {rpc.StatusUnknown, 0, 1, syscall.EPROTO},
		"stale epoch": {rpc.StatusStaleEpoch, 0, 1, syscall.ESTALE},
		"stale view":  {rpc.StatusStaleView, 0, 1, syscall.EAGAIN},
		"stale gen":   {rpc.StatusStaleGen, 0, 1, syscall.EAGAIN},
		"nonsense":    {999, 0, 1, syscall.EPROTO},
		"busy":        {rpc.StatusBusy, 0, 4, syscall.EAGAIN},
	} {
		g := newRig(t, rpc.PoolOptions{Policy: quick(4)})
		g.servers[peer].Handle = func(r *rpc.Request) bool {
			if r.Header.Type != rpc.MsgEcho {
				return false
			}
			r.Reply(c.status, c.errno, nil, nil)
			return true
		}
		call := g.call(peer, "x")
		g.exchange(call)
		if n := g.servers[peer].Served[rpc.MsgEcho].Load(); fserr.Errno(call.Err) != c.want || n != c.served {
			t.Errorf("%s: %v (errno %d), served %d times", name, call.Err, fserr.Errno(call.Err), n)
		}
	}
}

// Trap 13: one integer held both status and errno: −2 was "transport error" and ENOENT.
func TestStatusIsNoErrno(t *testing.T) {
	for status := rpc.StatusInvalid; status <= rpc.StatusRefused; status++ {
		err := rpc.ReplyError(&rpc.Header{Status: status, Errno: uint32(syscall.ENOENT)})
		if errors.Is(err, syscall.ENOENT) || fserr.Errno(err) == syscall.ENOENT || fserr.Errno(err) == syscall.Errno(status) {
			t.Errorf("%v passes for an errno: %v", status, err)
		}
	}
	if err := rpc.ReplyError(&rpc.Header{Errno: uint32(syscall.ENOENT)}); err != nil {
		t.Errorf("status ok: %v", err)
	}
	for errno := syscall.Errno(1); errno < 140; errno++ {
		err := rpc.ReplyError(&rpc.Header{Status: rpc.StatusErrno, Errno: uint32(errno)})
		if !errors.Is(err, errno) || fserr.Errno(err) != errno {
			t.Errorf("errno %d: %v", errno, err)
		}
	}
}

// Trap 12: max_retries = 0 gave up without trying.
func TestNoAttemptsIsOneAttempt(t *testing.T) {
	for attempts := range 2 {
		g := newRig(t, rpc.PoolOptions{Policy: rpc.Policy{Attempts: attempts}})
		g.mustEcho(peer)
		var requests atomic.Int64
		g.faults.request = func(_ rpc.PeerID, h *rpc.Header) inproc.Fault {
			requests.Add(1)
			return inproc.Fault{Action: inproc.Fail, Err: &rpc.ConnectionError{Remote: "node 3 shard 12", Reason: "lost"}}
		}
		call := g.call(peer, "x")
		g.exchange(call)
		if call.Err == nil || requests.Load() != 1 {
			t.Errorf("%d attempts: %v after %d requests", attempts, call.Err, requests.Load())
		}
		if g.pool.Peek(peer) != nil || g.pool.Stats().Dropped != 1 {
			t.Error("a lost connection is handed out again")
		}
	}
}

func TestRetryAfterTimeout(t *testing.T) {
	g := newRig(t, rpc.PoolOptions{Policy: quick(5)})
	g.mustEcho(peer)
	conn := g.pool.Peek(peer)
	var mu sync.Mutex
	ids, ops := map[uint64]bool{}, map[uint64]bool{}
	g.faults.request = func(_ rpc.PeerID, h *rpc.Header) inproc.Fault {
		mu.Lock()
		defer mu.Unlock()
		ids[h.ID], ops[h.Op] = true, true
		if h.TimeoutMS == 0 || h.TimeoutMS > 40 {
			t.Errorf("timeout of %d ms in the header", h.TimeoutMS)
		}
		if len(ids) < 4 {
			return inproc.Fault{Action: inproc.Drop}
		}
		return inproc.Fault{}
	}
	call := g.call(peer, "x")
	call.Header.Op = 99
	g.exchange(call)
	stats := g.pool.Stats()
	if call.Err != nil || len(ids) != 4 || len(ops) != 1 || !ops[99] || stats.Retries != 3 || stats.Timeouts != 3 {
		t.Errorf("%v; ids %v, ops %v, %+v", call.Err, ids, ops, stats)
	}
	if g.refreshes == 0 {
		t.Error("the resolver was not asked although call after call timed out")
	}
	if g.pool.Peek(peer) != conn || stats.Dialled != 1 {
		t.Error("a slow server of the same incarnation lost its connection")
	}
}

// A server that is slow now and then is looked up again each time, and keeps its connection.
func TestScatteredTimeouts(t *testing.T) {
	g := newRig(t, rpc.PoolOptions{Policy: quick(2)})
	g.mustEcho(peer)
	var sent atomic.Int64
	g.faults.request = func(rpc.PeerID, *rpc.Header) inproc.Fault {
		if sent.Add(1)%2 == 1 {
			return inproc.Fault{Action: inproc.Drop}
		}
		return inproc.Fault{}
	}
	for range 4 {
		g.mustEcho(peer)
	}
	if stats := g.pool.Stats(); g.refreshes != 4 || stats.Timeouts != 4 || stats.Dialled != 1 {
		t.Errorf("the resolver was asked %d times, %+v", g.refreshes, stats)
	}
}

// A daemon restarted behind a link that looks healthy (shared memory): a timeout makes the pool look, find the new
// incarnation, and go on.
func TestSilentRestart(t *testing.T) {
	g := newRig(t, rpc.PoolOptions{Policy: quick(6)})
	g.mustEcho(peer)
	old := g.pool.Peek(peer)
	g.servers[peer].Reply.Incarnation = 2
	g.faults.request = func(_ rpc.PeerID, h *rpc.Header) inproc.Fault {
		if h.Session == old.Session {
			return inproc.Fault{Action: inproc.Drop}
		}
		return inproc.Fault{}
	}
	call := g.call(peer, "x")
	g.exchange(call)
	if c := g.pool.Peek(peer); call.Err != nil || c == nil || c == old || c.Incarnation != 2 || g.pool.Stats().Timeouts != 1 {
		t.Errorf("%v, %+v, %+v", call.Err, c, g.pool.Stats())
	}
}

func TestReconnectAfterRestart(t *testing.T) {
	g := newRig(t, rpc.PoolOptions{Policy: quick(4)})
	g.mustEcho(peer)
	old := g.pool.Peek(peer)
	g.start(peer, 2) // the link finds the new one, which does not know the session
	g.mustEcho(peer)
	if c := g.pool.Peek(peer); c == old || c.Incarnation != 2 || g.net.Unknown() != 1 {
		t.Errorf("%+v, %d frames of unknown sessions", c, g.net.Unknown())
	}
	g.net.Detach(peer)
	go func() {
		time.Sleep(20 * time.Millisecond)
		g.start(peer, 3)
	}()
	call := g.call(peer, "x")
	err := rpc.Retry(within(10*time.Second), quick(1000), nil, func(int, time.Time) error {
		g.exchange(call)
		return call.Err
	})
	if err != nil || g.pool.Peek(peer).Incarnation != 3 {
		t.Errorf("%v", err)
	}
}

// The waiting inside Exchange covers a peer's own back-off: an attempt is not used up by a dial that is not allowed yet.
func TestExchangeWaitsForTheDialBackoff(t *testing.T) {
	policy := rpc.Policy{Attempts: 2, Overall: 20 * time.Second, BackoffBase: 10 * time.Millisecond, BackoffMax: 200 * time.Millisecond}
	g := newRig(t, rpc.PoolOptions{Policy: policy})
	const failing = 5 // the pool's back-off is 160 ms then, that of the call's first attempt 10 ms
	var dials atomic.Int64
	g.faults.dial = func(rpc.PeerID) inproc.Fault {
		if dials.Add(1) <= failing {
			return inproc.Fault{Action: inproc.Fail, Err: &rpc.ConnectionError{Remote: "node 3 shard 12", Reason: "down"}}
		}
		return inproc.Fault{}
	}
	eventually(t, "several dials have failed", func() bool {
		if _, err := g.pool.Get(within(10*time.Second), peer); err == nil {
			t.Fatal("connected")
		}
		return dials.Load() == failing
	})
	g.mustEcho(peer)
}

func TestOverallDeadline(t *testing.T) {
	for name, policy := range map[string]rpc.Policy{
		"caller's": {Attempts: 1000, PerAttempt: 20 * time.Millisecond, BackoffBase: time.Millisecond},
		"policy's": {Attempts: 1000, PerAttempt: 20 * time.Millisecond, BackoffBase: time.Millisecond, Overall: 150 * time.Millisecond},
		"busy":     {Attempts: 1000, BackoffBase: time.Millisecond, BackoffMax: 2 * time.Millisecond, Overall: 150 * time.Millisecond},
	} {
		g := newRig(t, rpc.PoolOptions{Policy: policy})
		g.mustEcho(peer)
		if name == "busy" {
			loop := g.net.Attach(peer, g.servers[peer])
			loop.Submit(func() {
				g.servers[peer].Handle = func(r *rpc.Request) bool {
					if r.Header.Type != rpc.MsgEcho {
						return false
					}
					r.Reply(rpc.StatusBusy, 0, nil, nil)
					return true
				}
			})
		} else {
			g.faults.reply = func(rpc.PeerID, *rpc.Header) inproc.Fault { return inproc.Fault{Action: inproc.Drop} }
		}
		call := g.call(peer, "x")
		begin := time.Now()
		deadline := time.Time{}
		if name == "caller's" {
			deadline = begin.Add(150 * time.Millisecond)
		}
		g.pool.Exchange(context.Background(), deadline, []*rpc.Call{call})
		if took := time.Since(begin); fserr.Errno(call.Err) != syscall.ETIMEDOUT || took < 100*time.Millisecond || took > 5*time.Second {
			t.Errorf("%s: %v after %v", name, call.Err, took)
		}
		mustName(t, call.Err)
	}
}

func TestExchangeWithoutTime(t *testing.T) {
	g := newRig(t, rpc.PoolOptions{})
	call := g.call(peer, "x")
	g.pool.Exchange(context.Background(), time.Now().Add(-time.Second), []*rpc.Call{call})
	if fserr.Errno(call.Err) != syscall.ETIMEDOUT || g.faults.dials.Load() != 0 {
		t.Errorf("%v", call.Err)
	}
	mustName(t, call.Err)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	g.pool.Exchange(ctx, time.Time{}, []*rpc.Call{call})
	if fserr.Errno(call.Err) != syscall.ECANCELED {
		t.Errorf("%v", call.Err)
	}
	g.pool.Exchange(ctx, time.Time{}, nil)
}

func TestCancelDuringBackoff(t *testing.T) {
	policy := rpc.Policy{Attempts: 100, BackoffBase: time.Minute, BackoffMax: time.Minute, Overall: time.Hour}
	g := newRig(t, rpc.PoolOptions{Policy: policy})
	g.net.Detach(peer)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		eventually(t, "a failed dial", func() bool { return g.pool.Stats().Failed > 0 })
		cancel()
	}()
	call := g.call(peer, "x")
	begin := time.Now()
	g.pool.Exchange(ctx, time.Time{}, []*rpc.Call{call})
	if fserr.Errno(call.Err) != syscall.ECANCELED || time.Since(begin) > 10*time.Second {
		t.Errorf("%v after %v", call.Err, time.Since(begin))
	}
}

// Trap 12: buffers were reused while the first attempt could still write into them. And a late reply completes nothing younger.
func TestLateReplyWritesNowhere(t *testing.T) {
	g := newRig(t, rpc.PoolOptions{Policy: rpc.Policy{Attempts: 1}})
	g.mustEcho(peer)
	var late atomic.Bool
	late.Store(true)
	g.faults.reply = func(rpc.PeerID, *rpc.Header) inproc.Fault {
		if late.Load() {
			return inproc.Fault{Action: inproc.Delay, Delay: 60 * time.Millisecond}
		}
		return inproc.Fault{}
	}
	call := g.call(peer, "x")
	call.Out, call.In = bytes.Repeat([]byte("o"), 4096), make([]byte, 4096)
	in := call.In
	g.pool.Exchange(context.Background(), time.Now().Add(20*time.Millisecond), []*rpc.Call{call})
	if fserr.Errno(call.Err) != syscall.ETIMEDOUT {
		t.Fatal(call.Err)
	}
	late.Store(false)
	call.Out = bytes.Repeat([]byte("n"), 4096)
	call.In = make([]byte, 4096)
	for end := time.Now().Add(120 * time.Millisecond); time.Now().Before(end); {
		g.exchange(call)
		if call.Err != nil || !bytes.Equal(call.In, call.Out) {
			t.Fatalf("the younger call: %v, %q", call.Err, call.In[:8])
		}
	}
	if !bytes.Equal(in, make([]byte, 4096)) {
		t.Error("the late reply was written into memory that had been given back")
	}
}

func TestTransportErrors(t *testing.T) {
	for name, alive := range map[string]bool{"link alive": true, "link dead": false} {
		ctrl := gomock.NewController(t)
		tr, link := mockrpc.NewMockTransport(ctrl), mockrpc.NewMockLink(ctrl)
		up := atomic.Bool{}
		up.Store(true)
		link.EXPECT().Info().Return(rpc.LinkInfo{Transport: "mock", Remote: "node 3 shard 12"}).AnyTimes()
		link.EXPECT().Alive().DoAndReturn(up.Load).AnyTimes()
		link.EXPECT().Close().Return(nil).AnyTimes()
		tr.EXPECT().NewCall().DoAndReturn(func() *rpc.Call { return &rpc.Call{} }).AnyTimes()
		tr.EXPECT().FreeCall(gomock.Any()).AnyTimes()
		tr.EXPECT().Dial(gomock.Any(), gomock.Any()).Return(link, nil)
		runs := 0
		tr.EXPECT().Run(gomock.Any(), gomock.Any()).AnyTimes().Do(func(_ time.Time, calls []*rpc.Call) {
			if c := calls[0]; c.Header.Type == rpc.MsgHello {
				reply := rpctest.New(peer, 1).Reply
				reply.Session = 1
				c.Answer = reply.AppendTo(nil)
				return
			}
			runs++
			up.Store(alive)
			calls[0].Err = &rpc.TransportError{Remote: "node 3 shard 12", Reason: "it broke"}
		})
		pool := rpc.NewPool(tr, rpc.PoolOptions{
			Identity: rpc.Identity{Client: 1, Epoch: 1},
			Resolve: func(context.Context, rpc.PeerID, bool) (rpc.Target, error) {
				return rpc.Target{Peer: peer}, nil
			},
		})
		call := &rpc.Call{To: peer, Header: rpc.Header{Type: rpc.MsgEcho}}
		pool.Exchange(within(5*time.Second), time.Time{}, []*rpc.Call{call})
		want := map[bool]syscall.Errno{true: syscall.EIO, false: syscall.EHOSTUNREACH}[alive]
		if fserr.Errno(call.Err) != want || runs != 1 || (pool.Peek(peer) != nil) != alive {
			t.Errorf("%s: %v (errno %v), %d runs", name, call.Err, fserr.Errno(call.Err), runs)
		}
		mustName(t, call.Err)
	}
}

func TestExchangeAllocatesNothing(t *testing.T) {
	peers := []rpc.PeerID{peer, {Node: 3, Shard: 13}}
	g := newRig(t, rpc.PoolOptions{Policy: quick(3)}, peers...)
	g.net.SetFaults(nil)
	for _, p := range peers {
		g.servers[p].Handle = func(r *rpc.Request) bool {
			if r.Header.Type != rpc.MsgReadChunk {
				return false
			}
			var m rpc.ReadChunk
			if m.Decode(r.Body) != nil {
				return false
			}
			body := (&rpc.ReadChunkReply{Present: m.Length}).AppendTo(r.Body[:0])
			r.Reply(rpc.StatusOK, 0, body, page[:m.Length])
			return true
		}
	}
	in := make([]byte, 2*len(page))
	calls := []*rpc.Call{g.call(peers[0], ""), g.call(peers[1], "")}
	read := func() {
		for i, c := range calls {
			m := rpc.ReadChunk{Ino: 1, Length: uint32(len(page))}
			c.Header.Type = rpc.MsgReadChunk
			c.Body, c.In = m.AppendTo(c.Body[:0]), in[i*len(page):(i+1)*len(page)]
		}
		g.pool.Exchange(context.Background(), time.Now().Add(10*time.Second), calls)
		for _, c := range calls {
			if c.Err != nil || c.Received != len(page) {
				t.Fatalf("%v, %d bytes", c.Err, c.Received)
			}
		}
	}
	read()
	if allocs := testing.AllocsPerRun(200, read); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

var page = make([]byte, 4096)

func BenchmarkExchange(b *testing.B) {
	net := inproc.NewNetwork()
	net.Attach(peer, rpctest.New(peer, 1))
	pool := rpc.NewPool(net.Transport(), rpc.PoolOptions{
		Identity: rpc.Identity{Client: 1, Epoch: 1},
		Resolve:  func(context.Context, rpc.PeerID, bool) (rpc.Target, error) { return rpc.Target{Peer: peer}, nil },
	})
	call := pool.Transport().NewCall()
	call.To, call.Header.Type = peer, rpc.MsgEcho
	calls := []*rpc.Call{call}
	b.ReportAllocs()
	for b.Loop() {
		pool.Exchange(context.Background(), time.Time{}, calls)
		if call.Err != nil {
			b.Fatal(call.Err)
		}
	}
}
