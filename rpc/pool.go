package rpc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Identity is who the client process is, as Hello tells it.
type Identity struct {
	Client   uint64 // random, drawn once a process
	PID      uint32
	PIDStart uint64 // clock ticks since boot, from /proc/PID/stat
	UID      uint32
	HostID   string
	Secret   string
	Build    string
	Epoch    uint32 // of the cluster map; 0 = not known yet
}

// Resolver tells where a peer is to be found. With refresh == false it answers from what is known, and fast: Pool.Get asks it each
// time. refresh: what was known did not work, look again. It returns by ctx's deadline (see WithDeadline).
type Resolver func(ctx context.Context, peer PeerID, refresh bool) (Target, error)

// PoolOptions configure a Pool.
type PoolOptions struct {
	Identity       Identity
	Resolve        Resolver
	ConnectTimeout time.Duration // for one dial, handshake and self-test included; 0: DefaultConnectTimeout
	Policy         Policy
	SelfTest       bool // move a small and a large payload both ways before a connection to another machine is used
	// OnConnect runs after the handshake, before anybody else can use the connection, e.g. to open handles again at a
	// new incarnation. It must use c.Run, not Pool.Exchange to the same peer (which waits for OnConnect). An error fails the dial.
	OnConnect func(ctx context.Context, c *Conn) error
}

// Limits of the pool's own doings.
const (
	DefaultConnectTimeout = 5 * time.Second
	// suspectAfter is how many calls in a row may time out on a link that looks healthy before the resolver is asked whether the peer is
	// still the same. Over shared memory that is how a restarted daemon is noticed.
	suspectAfter = 1
	drainTime    = 2 * time.Second // Close waits that long for calls in flight
	byeTime      = 500 * time.Millisecond
	dialFanout   = 16 // dials in parallel for one call
)

// Pool keeps one connection a peer, over one Transport (ConnectionPool; a client worker has one each). All its methods may be called
// from any thread.
//
//	get_or_connect     Get: one dial for a thousand callers, and nobody holds a lock while dialling
//	get                Peek
//	disconnect         Close
//	clear              CloseAll
//	connection_count   Len
//	connected_nodes    Nodes
//	execute_with_retry Exchange, and Retry for work that is not a Call
//
// A connection is keyed by node, shard and incarnation: one whose link is dead, or whose incarnation is not the resolver's, is not handed out.
//
// Lock order: Pool.mu before slot.mu; neither is held while the transport, the resolver or OnConnect runs.
type Pool struct {
	t Transport
	o PoolOptions

	dialled, reused, dropped, failed, retries, timeouts atomic.Uint64

	// table finds a slot by its shard without a lock; what it does not have, slots has. Entries are never taken out.
	table [256]atomic.Pointer[leaf]
	mu    sync.Mutex
	slots map[PeerID]*slot // guarded by mu
}

type leaf [256]atomic.Pointer[slot]

// slot is what the pool knows of one peer.
type slot struct {
	peer PeerID
	conn atomic.Pointer[Conn] // the connection that is handed out; written under mu

	mu         sync.Mutex
	flight     *flight   // the dial under way, or nil
	generation uint64    // grows with each Close: a dial begun before it is not kept
	failures   int       // dials that failed in a row
	notBefore  time.Time // no dial earlier than this
	lastErr    error     // of the last failed dial
	refresh    bool      // what the resolver said last did not work
}

// flight is a dial that others wait for. The fields are set before done is closed.
type flight struct {
	done     chan struct{}
	conn     *Conn
	err      error
	same     bool // conn is the one that was there: it was under suspicion and has been confirmed
	cutShort bool // the dial ended by its caller's own deadline, which says nothing about the peer
}

// NewPool makes a pool over t. The transport stays the caller's to close, after CloseAll.
func NewPool(t Transport, o PoolOptions) *Pool {
	if o.ConnectTimeout <= 0 {
		o.ConnectTimeout = DefaultConnectTimeout
	}
	return &Pool{t: t, o: o, slots: make(map[PeerID]*slot)}
}

// Transport is what the pool runs over.
func (p *Pool) Transport() Transport { return p.t }

// find is the slot of a peer, or nil if nobody has asked for it yet.
func (p *Pool) find(peer PeerID) *slot {
	if peer.Shard < 1<<16 {
		if l := p.table[peer.Shard>>8].Load(); l != nil {
			if s := l[peer.Shard&255].Load(); s != nil && s.peer == peer {
				return s
			}
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.slots[peer]
}

// slot is find, and makes the slot if need be.
func (p *Pool) slot(peer PeerID) *slot {
	if s := p.find(peer); s != nil {
		return s
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.slots[peer]
	if s == nil {
		s = &slot{peer: peer}
		p.slots[peer] = s
	}
	if peer.Shard < 1<<16 {
		l := p.table[peer.Shard>>8].Load()
		if l == nil {
			l = new(leaf)
			p.table[peer.Shard>>8].Store(l)
		}
		l[peer.Shard&255].Store(s) // a shard that moved to another node: the newer one has the short way
	}
	return s
}

// Peek returns the connection that stands, or nil. It does not connect.
func (p *Pool) Peek(peer PeerID) *Conn {
	if s := p.find(peer); s != nil {
		if c := s.conn.Load(); c != nil && c.good() {
			return c
		}
	}
	return nil
}

// Get returns a connection to peer, the one that stands or a new one. It returns by ctx's deadline. Of callers that come while a
// dial is under way each waits for it, by its own deadline. After a failed dial the next one waits for a
// back-off that the retry policy sets; callers that come before have the last error at once.
// Errors: *ConnectionError, *Timeout, or one that wraps a *HandlerError (e.g. StatusStaleEpoch); each names the peer.
func (p *Pool) Get(ctx context.Context, peer PeerID) (*Conn, error) {
	s := p.slot(peer)
	if c := s.conn.Load(); c != nil && c.good() {
		target, err := p.o.Resolve(ctx, peer, false)
		if err != nil || target.Incarnation == 0 || target.Incarnation == c.Incarnation {
			p.reused.Add(1)
			return c, nil
		}
		p.Drop(c)
	}
	return p.connect(ctx, s)
}

// Drop retires a connection that proved dead. Its calls in flight fail. To drop twice is harmless.
func (p *Pool) Drop(c *Conn) {
	if c.state.Swap(connRetired) == connRetired {
		return
	}
	s := p.slot(c.Peer)
	s.mu.Lock()
	if s.conn.CompareAndSwap(c, nil) {
		s.refresh = true
	}
	s.mu.Unlock()
	p.dropped.Add(1)
	_ = c.Link.Close() // the link is given up: what closing it says no longer matters
}

// Close ends the connection to peer: no new call gets it, those in flight have drainTime to finish and fail then, the server is told
// Bye. The error says how many calls were cut. Without a connection it does nothing. A later Get dials again.
func (p *Pool) Close(peer PeerID) error {
	s := p.find(peer)
	if s == nil {
		return nil
	}
	return p.closeConns(p.detach(s, nil))
}

// CloseAll closes all connections as Close does, together. The pool stays usable.
func (p *Pool) CloseAll() error {
	var conns []*Conn
	for _, s := range p.allSlots() {
		conns = p.detach(s, conns)
	}
	return p.closeConns(conns)
}

// detach takes the slot's connection away from new callers and appends it to conns. A dial under way will not be kept.
func (p *Pool) detach(s *slot, conns []*Conn) []*Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.generation++
	s.failures, s.notBefore, s.lastErr = 0, time.Time{}, nil
	c := s.conn.Swap(nil)
	if c != nil && c.state.Swap(connRetired) != connRetired {
		conns = append(conns, c)
	}
	return conns
}

// closeConns drains, says Bye and closes connections that nobody new can get.
func (p *Pool) closeConns(conns []*Conn) error {
	const step = 200 * time.Microsecond
	until := time.Now().Add(drainTime)
	idle := func() bool {
		return !slices.ContainsFunc(conns, func(c *Conn) bool { return c.inflight.Load() > 0 })
	}
	for !idle() && time.Now().Before(until) {
		_ = SleepUntil(context.Background(), time.Now().Add(step))
	}
	p.bye(conns)
	var errs []error
	for _, c := range conns {
		if n := c.inflight.Load(); n > 0 {
			errs = append(errs, &ConnectionError{Remote: c.name(), Reason: fmt.Sprintf("closed with %d calls in flight", n)})
		}
		if err := c.Link.Close(); err != nil {
			errs = append(errs, fmt.Errorf("closing the link to %s: %w", c.name(), err))
		}
	}
	return errors.Join(errs...)
}

// bye tells the servers that the sessions end. Who does not answer soon is left: it notices by itself.
func (p *Pool) bye(conns []*Conn) {
	const batch = 64
	for group := range slices.Chunk(conns, batch) {
		calls := make([]*Call, 0, len(group))
		for _, c := range group {
			if !c.Link.Alive() {
				continue
			}
			call := p.t.NewCall()
			call.Reset()
			call.To, call.Header.Type = c.Peer, MsgBye
			c.Prepare(call)
			calls = append(calls, call)
		}
		if len(calls) > 0 {
			p.t.Run(time.Now().Add(byeTime), calls)
		}
		for _, call := range calls {
			p.t.FreeCall(call)
		}
	}
}

// allSlots is a copy of the list of slots.
func (p *Pool) allSlots() []*slot {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]*slot, 0, len(p.slots))
	for _, s := range p.slots {
		all = append(all, s)
	}
	return all
}

// Len is the number of connections that stand.
func (p *Pool) Len() int {
	n := 0
	for _, s := range p.allSlots() {
		if c := s.conn.Load(); c != nil && c.good() {
			n++
		}
	}
	return n
}

// Nodes are the ids of the nodes with at least one connection that stands, in ascending order.
func (p *Pool) Nodes() []uint32 {
	var nodes []uint32
	for _, s := range p.allSlots() {
		if c := s.conn.Load(); c != nil && c.good() {
			nodes = append(nodes, s.peer.Node)
		}
	}
	slices.Sort(nodes)
	return slices.Compact(nodes)
}
