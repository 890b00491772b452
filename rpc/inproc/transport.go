package inproc

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/benchfs/benchfs/internal/chain"
	"github.com/benchfs/benchfs/rpc"
	"github.com/benchfs/benchfs/rpc/internal/alarm"
)

// Transport is a client's end of a Network. It implements rpc.Transport.
type Transport struct {
	net *Network

	mu     sync.Mutex
	closed bool               // guarded by mu
	links  map[*link]struct{} // guarded by mu
	free   []*call            // guarded by mu
}

// call is this transport's part of an rpc.Call, which it contains.
type call struct {
	rpc.Call
	answer [rpc.MaxBody]byte
	waiter waiter // used if this call is the first of a Run

	// From being posted to its end a call belongs to a shard; these fields are guarded by that shard's mu.
	at     *shard
	w      *waiter
	link   *link
	req    *request         // what the service holds of it; nil: lost on the way
	listed chain.Link[call] // in shard.calls: it has no end yet
}

// waiter is what one Run waits on.
type waiter struct {
	left atomic.Int64 // calls without an end, plus one while Run is posting
	done chan struct{}
	late *alarm.Alarm // made when somebody has to wait for the first time
}

// finish takes one off. Whoever brings it to zero tells the other side, if it is not Run itself.
func (w *waiter) finish() {
	if w.left.Add(-1) == 0 {
		w.done <- struct{}{}
	}
}

// Name implements rpc.Transport.
func (t *Transport) Name() string { return "inproc" }

// Alloc implements rpc.Transport. No device is involved, so the Go heap will do.
func (t *Transport) Alloc(bytes int) ([]byte, error) { return make([]byte, bytes), nil }

// Free implements rpc.Transport.
func (t *Transport) Free([]byte) {}

// NewCall implements rpc.Transport.
func (t *Transport) NewCall() *rpc.Call {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := len(t.free); n > 0 {
		c := t.free[n-1]
		t.free = t.free[:n-1]
		return &c.Call
	}
	c := &call{}
	c.waiter.done = make(chan struct{}, 1)
	c.Body = make([]byte, 0, rpc.MaxBody)
	c.Impl = c
	return &c.Call
}

// FreeCall implements rpc.Transport.
func (t *Transport) FreeCall(c *rpc.Call) {
	own, ok := c.Impl.(*call)
	if !ok {
		return
	}
	c.Reset()
	t.mu.Lock()
	t.free = append(t.free, own)
	t.mu.Unlock()
}

// Dial implements rpc.Transport.
func (t *Transport) Dial(ctx context.Context, target rpc.Target) (rpc.Link, error) {
	switch f := t.net.dialFault(target.Peer); f.Action {
	case Drop:
		return nil, t.lost(ctx, target.Peer)
	case Delay:
		at := time.Now().Add(f.Delay)
		if deadline, ok := ctx.Deadline(); ok && deadline.Before(at) {
			return nil, t.lost(ctx, target.Peer)
		}
		if err := rpc.SleepUntil(ctx, at); err != nil {
			return nil, err
		}
	case Fail:
		return nil, f.Err
	}
	s := t.net.find(target.Peer)
	if s == nil {
		return nil, gone(target.Peer.String())
	}
	l := &link{t: t, peer: target.Peer, name: target.Peer.String()}
	l.to.Store(s)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, &rpc.ConnectionError{Remote: l.name, Reason: "the transport is closed"}
	}
	if t.links == nil {
		t.links = make(map[*link]struct{})
	}
	t.links[l] = struct{}{}
	return l, nil
}

// lost waits as a dialler does whose packets go nowhere. Without a deadline it gives up at once.
func (t *Transport) lost(ctx context.Context, peer rpc.PeerID) error {
	if deadline, ok := ctx.Deadline(); ok {
		if err := rpc.SleepUntil(ctx, deadline); err != nil && ctx.Err() == context.Canceled {
			return err
		}
	}
	return &rpc.Timeout{Remote: peer.String()}
}

// Close implements rpc.Transport.
func (t *Transport) Close() error {
	t.mu.Lock()
	t.closed = true
	links := t.links
	t.links = nil
	t.mu.Unlock()
	for l := range links {
		l.end()
	}
	return nil
}

// Run implements rpc.Transport.
func (t *Transport) Run(deadline time.Time, calls []*rpc.Call) {
	if len(calls) == 0 {
		return
	}
	timeout := uint32(0)
	if !deadline.IsZero() {
		left := time.Until(deadline)
		if left <= 0 {
			for _, c := range calls {
				c.Err = &rpc.Timeout{Remote: remote(c)}
			}
			return
		}
		timeout = uint32(min(int64(left+time.Millisecond-1)/int64(time.Millisecond), math.MaxUint32))
	}
	first, ok := calls[0].Impl.(*call)
	if !ok {
		first = &call{}
		first.waiter.done = make(chan struct{}, 1)
	}
	w := &first.waiter
	w.left.Store(int64(len(calls)) + 1)
	for _, c := range calls {
		t.post(c, w, timeout)
	}
	if w.left.Add(-1) == 0 {
		return
	}
	t.wait(w, deadline, calls)
}

// wait is for calls that were not answered at once.
func (t *Transport) wait(w *waiter, deadline time.Time, calls []*rpc.Call) {
	if w.late == nil {
		w.late = alarm.New()
	}
	w.late.Set(deadline)
	select {
	case <-w.done:
		w.late.Stop()
		return
	case <-w.late.C:
	}
	w.late.Stop()
	for _, c := range calls {
		if own, ok := c.Impl.(*call); ok {
			own.abandon()
		}
	}
	select {
	case <-w.done:
	default:
	}
}

// abandon ends a call whose time is up. After it nobody touches the call's memory. at is written by the goroutine of Run only.
func (c *call) abandon() {
	s := c.at
	if s == nil {
		return // it failed before it reached a shard
	}
	s.mu.Lock()
	defer s.unlock()
	if c.listed.In() {
		s.finish(c, &rpc.Timeout{Remote: s.name})
	}
}

// post sends one call on its way. Afterwards it has ended, or its shard has it.
func (t *Transport) post(c *rpc.Call, w *waiter, timeout uint32) {
	own, ok := c.Impl.(*call)
	if !ok {
		c.Err = badCall("a call of another transport")
		w.finish()
		return
	}
	own.at = nil
	l, ok := c.Link.(*link)
	if !ok || l.t != t || len(c.Body) > rpc.MaxBody {
		c.Err = badCall("no link of this transport, or a body of %d bytes", len(c.Body))
		w.finish()
		return
	}
	s := l.shard()
	if s == nil {
		c.Err = gone(l.name)
		w.finish()
		return
	}
	h := &c.Header
	h.Kind, h.ID, h.Status, h.Errno, h.Flags = rpc.KindRequest, ids.Add(1), rpc.StatusOK, 0, 0
	h.BodyLen, h.BulkLen, h.TimeoutMS = uint32(len(c.Body)), uint64(len(c.Out)), timeout
	own.at = s
	s.take(own, l, w)
}

func remote(c *rpc.Call) string {
	if c.Link != nil {
		return c.Link.Info().Remote
	}
	return c.To.String()
}

// link is a client's way to one shard. It implements rpc.Link.
type link struct {
	t      *Transport
	peer   rpc.PeerID
	name   string
	to     atomic.Pointer[shard]
	closed atomic.Bool

	session *session // guarded by mu of the shard that it is a session of
}

// shard is the shard that has the peer's name now; nil if there is none, or the link is closed.
func (l *link) shard() *shard {
	if l.closed.Load() {
		return nil
	}
	s := l.to.Load()
	if s.dead.Load() {
		if s = l.t.net.find(l.peer); s == nil {
			return nil
		}
		l.to.Store(s)
	}
	return s
}

// Info implements rpc.Link.
func (l *link) Info() rpc.LinkInfo { return rpc.LinkInfo{Transport: "inproc", Remote: l.name} }

// Alive implements rpc.Link.
func (l *link) Alive() bool { return l.shard() != nil }

// Close implements rpc.Link.
func (l *link) Close() error {
	l.t.mu.Lock()
	delete(l.t.links, l)
	l.t.mu.Unlock()
	l.end()
	return nil
}

// end closes the link at its shard: calls in flight fail, the service hears that the peer is gone.
func (l *link) end() {
	if l.closed.Swap(true) {
		return
	}
	s := l.to.Load()
	s.mu.Lock()
	defer s.unlock()
	if s.dead.Load() {
		return
	}
	for c := range s.calls.All() {
		if c.link == l {
			s.finish(c, &rpc.ConnectionError{Remote: l.name, Reason: "the link was closed"})
		}
	}
	if p := l.session; p != nil && s.sessions[p.id] == p {
		delete(s.sessions, p.id)
		s.svc.Gone(p)
	}
}
