package rpc

import (
	"fmt"
	"sync/atomic"
	"time"
)

// Conn is a connection: a link over which the handshake has succeeded. Many calls can be in flight on it at once.
// The exported fields do not change. It belongs to its Pool.
type Conn struct {
	Peer        PeerID
	Link        Link
	Session     uint32
	Incarnation uint64 // of the daemon at the other end
	Epoch       uint32 // of the daemon's cluster map
	Shards      uint32 // in the whole cluster, as the daemon says
	MaxBulk     uint64 // largest payload of one message: bytes
	ChunkBits   uint8  // the daemon's default chunk size
	SameHost    bool
	Transport   string // what the link runs over, read after the handshake (and the self-test) have gone through it
	Build       string // of the daemon

	worker   []byte // of the target that it was dialled by
	pool     *Pool
	state    atomic.Int32 // connGood, connSuspect, connRetired
	inflight atomic.Int64 // calls of Exchange and Run
	timeouts atomic.Int32 // calls in a row that timed out
}

const (
	connGood    int32 = iota
	connSuspect       // too many timeouts: not handed out until the resolver confirms the incarnation
	connRetired       // for good
)

// Pool is the pool that the connection belongs to; its Transport makes the calls for Run.
func (c *Conn) Pool() *Pool { return c.pool }

// good reports whether the connection may be handed out.
func (c *Conn) good() bool { return c.state.Load() == connGood && c.Link.Alive() }

// name is the peer in messages.
func (c *Conn) name() string {
	if remote := c.Link.Info().Remote; remote != "" {
		return remote
	}
	return c.Peer.String()
}

// String names the peer in messages: "node 3 shard 12".
func (p PeerID) String() string { return fmt.Sprintf("node %d shard %d", p.Node, p.Shard) }

// Prepare addresses a call to this connection: link, session, client and epoch. The result fields are cleared.
func (c *Conn) Prepare(call *Call) {
	call.Link = c.Link
	call.Header.Session = c.Session
	call.Header.Client = c.pool.o.Identity.Client
	call.Header.Epoch = c.pool.o.Identity.Epoch
	call.Err, call.Reply, call.Answer, call.Received = nil, Header{}, nil, 0
}

// Run prepares the calls and runs them on this connection until each has its answer or the deadline has passed: one attempt,
// no retry, whatever the calls' To says. It is what OnConnect uses.
func (c *Conn) Run(deadline time.Time, calls []*Call) {
	c.inflight.Add(int64(len(calls)))
	for _, call := range calls {
		c.Prepare(call)
	}
	c.pool.t.Run(deadline, calls)
	c.inflight.Add(-int64(len(calls)))
}
