package inproc

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/benchfs/benchfs/internal/chain"
	"github.com/benchfs/benchfs/rpc"
)

// shard is one attached service. It implements rpc.Loop.
type shard struct {
	net  *Network
	peer rpc.PeerID
	name string
	svc  rpc.Service
	dead atomic.Bool // written under mu

	// mu is the shard's thread: who holds it is the shard. It is given up with unlock.
	mu       sync.Mutex
	watcher  *watcher            // guarded by mu; nil: the service waits for calls only
	sessions map[uint32]*session // guarded by mu
	calls    chain.List[call]    // guarded by mu: the calls in flight here, whether or not the service has them
	free     []*request          // guarded by mu

	tick     func(now time.Time) // guarded by mu; nil: nothing is due by the clock
	interval time.Duration       // guarded by mu: of ticks
	nextTick time.Time           // guarded by mu

	queued atomic.Bool // the queue may have something in it
	qmu    sync.Mutex
	queue  []func() // guarded by qmu
	spare  []func() // guarded by mu: memory for the queue
	runner bool     // guarded by qmu: a goroutine will see to the queue
	ended  bool     // guarded by qmu
}

// session implements rpc.Peer.
type session struct {
	at     *shard
	id     uint32
	client uint64
	info   rpc.LinkInfo
}

// Client implements rpc.Peer.
func (p *session) Client() uint64 { return p.client }

// Session implements rpc.Peer.
func (p *session) Session() uint32 { return p.id }

// Info implements rpc.Peer.
func (p *session) Info() rpc.LinkInfo { return p.info }

// Close implements rpc.Peer; it is called on the shard's thread.
func (p *session) Close() {
	if p.at.sessions[p.id] == p {
		delete(p.at.sessions, p.id)
	}
}

// Submit implements rpc.Loop. fn runs on a goroutine of the shard's, or on that of a caller who is just about to leave the shard; never
// on the submitter's own, who may hold locks that fn wants.
func (s *shard) Submit(fn func()) bool {
	s.qmu.Lock()
	defer s.qmu.Unlock()
	if s.ended {
		return false
	}
	s.queue = append(s.queue, fn)
	s.queued.Store(true)
	if !s.runner {
		s.runner = true
		go s.run()
	}
	return true
}

// Flush implements rpc.Loop. Who asked is the one who serves, or gets the answer as it is given.
func (s *shard) Flush() {}

// run empties the queue, giving up the lock after each round.
func (s *shard) run() {
	for {
		s.mu.Lock()
		s.unlock()
		s.qmu.Lock()
		if len(s.queue) == 0 {
			s.runner = false
			s.qmu.Unlock()
			return
		}
		s.qmu.Unlock()
	}
}

// unlock runs what has been submitted up to now, has the service look for its own events, and gives up the shard.
func (s *shard) unlock() {
	if s.queued.Load() {
		s.drain()
	}
	if s.watcher != nil && !s.dead.Load() {
		s.watcher.poller.Poll()
	}
	if s.tick != nil && !s.dead.Load() {
		s.tickIfDue()
	}
	s.mu.Unlock()
}

func (s *shard) tickIfDue() {
	if now := rpc.Now(); !now.Before(s.nextTick) {
		s.nextTick = now.Add(s.interval)
		s.tick(now)
	}
}

func (s *shard) drain() {
	s.qmu.Lock()
	round := s.queue
	s.queue = s.spare[:0]
	s.spare = nil
	s.queued.Store(false)
	s.qmu.Unlock()
	for i, fn := range round {
		round[i] = nil
		if !s.dead.Load() {
			fn()
		}
	}
	s.spare = round
}

// die is the end of a shard by Detach.
func (s *shard) die() {
	if w := s.end(); w != nil {
		w.end()
	}
}

// end is what there is to do on the shard's thread.
func (s *shard) end() *watcher {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dead.Store(true)
	s.qmu.Lock()
	s.ended, s.queue = true, nil
	s.queued.Store(false)
	s.qmu.Unlock()
	for c := range s.calls.All() {
		s.finish(c, gone(s.name))
	}
	clear(s.sessions)
	return s.watcher
}

// take receives a call. The caller's goroutine becomes the shard until the service is done with it.
func (s *shard) take(c *call, l *link, w *waiter) {
	s.mu.Lock()
	defer s.unlock()
	c.link, c.w, c.req = l, w, nil
	s.calls.Add(&c.listed, c)
	if s.dead.Load() || l.closed.Load() {
		s.finish(c, gone(s.name))
		return
	}
	fault := s.net.requestFault(s.peer, &c.Header)
	switch fault.Action {
	case Drop:
		return
	case Fail:
		s.finish(c, fault.Err)
		return
	}
	r := s.request(c, l, fault.Action == Delay || fault.Action == Duplicate)
	if fault.Action == Delay {
		s.after(fault.Delay, func() { s.serve(r) })
		return
	}
	var twin *request
	if fault.Action == Duplicate && c.Header.Type != rpc.MsgHello {
		twin = s.twin(r)
	}
	s.serve(r)
	if twin != nil {
		s.serve(twin)
	}
}

// request makes the server's side of a call. Its payload stays with the caller unless it is small enough to come along, or own asks for it.
func (s *shard) request(c *call, l *link, own bool) *request {
	r := s.newRequest()
	r.Header = c.Header
	r.Body = append(r.body[:0], c.Body...)
	r.link, r.call = l, c
	c.req = r
	if n := int64(len(c.Out)); n > 0 && (own || n <= s.net.eager.Load()) {
		r.payload = append(r.payload[:0], c.Out...)
		r.Payload = r.payload
	}
	return r
}

func (s *shard) newRequest() *request {
	if n := len(s.free); n > 0 {
		r := s.free[n-1]
		s.free = s.free[:n-1]
		r.done = false
		return r
	}
	r := &request{at: s}
	r.Impl = r
	return r
}

// twin is the same request once more, with nobody to answer to.
func (s *shard) twin(r *request) *request {
	t := s.newRequest()
	t.Header = r.Header
	t.Body = append(t.body[:0], r.Body...)
	t.link = r.link
	if r.Payload != nil {
		t.payload = slices.Clone(r.Payload)
		t.Payload = t.payload
	}
	return t
}

// serve hands a request to the service, or answers it itself when its session is not known here.
func (s *shard) serve(r *request) {
	if r.Header.Type == rpc.MsgHello {
		r.Peer = s.open(r)
	} else {
		p := s.sessions[r.Header.Session]
		if p == nil || p.client != r.Header.Client {
			s.net.unknown.Add(1)
			s.answer(r, rpc.StatusNoSession, 0, nil, nil)
			s.recycle(r)
			return
		}
		r.Peer = p
	}
	s.svc.Serve(&r.Request)
}

// open gives a session to the client of a Hello. A link has one session: an older one is gone.
func (s *shard) open(r *request) *session {
	p := &session{
		at:     s,
		id:     s.net.sessions.Add(1),
		client: r.Header.Client,
		info:   rpc.LinkInfo{Transport: "inproc", Remote: "a client in this process"},
	}
	if r.link.closed.Load() {
		return p // its frames will find no session
	}
	if old := r.link.session; old != nil && s.sessions[old.id] == old {
		delete(s.sessions, old.id)
		s.svc.Gone(old)
	}
	r.link.session = p
	s.sessions[p.id] = p
	return p
}

// finish ends a call that is pending here; c belongs to its caller again afterwards. The request that the service may still hold
// has nobody to answer to from now on.
func (s *shard) finish(c *call, err error) {
	if c.req != nil {
		c.req.call = nil
		c.req = nil
	}
	s.calls.Remove(&c.listed)
	c.link = nil
	c.Err = err
	w := c.w
	c.w = nil
	w.finish()
}
