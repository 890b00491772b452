// Package inproc is the transport without a network: clients and shards in one process. The embedded mode runs on it, and so do
// the tests of everything above a transport.
//
// A shard's service runs under the shard's lock on the goroutine of the caller: a call that is answered at once costs
// no switch and no memory. A service that answers later (a parked request, a function given to Submit) wakes the
// caller, who waits on a channel; its deadline is watched by package alarm, not by a Go timer. Payloads are copied once, from the
// sender's memory to the receiver's. Faults can be injected at every step (see Faults).
//
// Locks, in order: Network.mu, Transport.mu, shard.mu (under which the service runs), shard.qmu. A service may submit to any shard and
// reply to any of its own requests; what it must not do is Run a call itself, on the goroutine that it was called on.
//
// What does not belong here: anything that knows what a message means, except that Hello makes a session.
package inproc

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/benchfs/benchfs/rpc"
)

// ids numbers all attempts of the process.
var ids atomic.Uint64

// Network is a set of shards that transports can reach.
type Network struct {
	faults   atomic.Pointer[faultsBox]
	eager    atomic.Int64
	late     atomic.Bool
	sessions atomic.Uint32 // last session given; one sequence for all shards, so that no old session passes for a new one
	unknown  atomic.Uint64

	mu     sync.RWMutex
	shards map[rpc.PeerID]*shard // guarded by mu
}

type faultsBox struct{ f Faults }

// NewNetwork returns a network without shards.
func NewNetwork() *Network { return &Network{shards: make(map[rpc.PeerID]*shard)} }

// Attach puts a service on the network under the name peer; whoever had that name is detached. The service may be called before Attach
// returns. The Loop ends with Detach.
func (n *Network) Attach(peer rpc.PeerID, svc rpc.Service) rpc.Loop {
	return n.AttachFunc(peer, func(rpc.Loop) rpc.Service { return svc })
}

// AttachFunc is Attach for a service that needs its loop to be made.
func (n *Network) AttachFunc(peer rpc.PeerID, makeService func(rpc.Loop) rpc.Service) rpc.Loop {
	s := &shard{net: n, peer: peer, name: peer.String(), sessions: make(map[uint32]*session)}
	s.svc = makeService(s)
	s.watch()
	n.mu.Lock()
	old := n.shards[peer]
	n.shards[peer] = s
	n.mu.Unlock()
	if old != nil {
		old.die()
	}
	return s
}

// Every has a shard call tick on its thread about once in each interval in which there are calls, at the end of one of them. There is no timer: nothing
// is due for clients that call nothing.
func (n *Network) Every(peer rpc.PeerID, interval time.Duration, tick func(now time.Time)) {
	s := n.find(peer)
	if s == nil {
		return
	}
	s.mu.Lock()
	s.tick, s.interval, s.nextTick = tick, interval, rpc.Now().Add(interval)
	s.mu.Unlock()
}

// Detach takes a shard off the network as if its process had been killed: its service hears nothing, functions submitted and not yet
// run are lost, calls in flight fail with *rpc.ConnectionError. When it returns, the service is not running and will not be called
// any more.
func (n *Network) Detach(peer rpc.PeerID) {
	n.mu.Lock()
	s := n.shards[peer]
	delete(n.shards, peer)
	n.mu.Unlock()
	if s != nil {
		s.die()
	}
}

func (n *Network) find(peer rpc.PeerID) *shard {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.shards[peer]
}

// Transport makes a client's end. It needs no Close if nobody waits on it.
func (n *Network) Transport() rpc.Transport { return &Transport{net: n} }

// SetFaults has f decide about every message from now on; nil ends it.
func (n *Network) SetFaults(f Faults) {
	if f == nil {
		n.faults.Store(nil)
		return
	}
	n.faults.Store(&faultsBox{f})
}

// SetEager has payloads of up to so many bytes arrive with their request (Request.Payload), as small ones do over a real network, at the
// price of a second copy. Default 0: all of them wait at the sender for Recv.
func (n *Network) SetEager(bytes int) { n.eager.Store(int64(bytes)) }

// SetLate has every payload move later than asked for: Recv and Reply with a payload return done == false, and Received and
// Replied follow from the loop, as over a real network.
func (n *Network) SetLate(late bool) { n.late.Store(late) }

// Unknown counts the frames whose session was not known where they arrived.
func (n *Network) Unknown() uint64 { return n.unknown.Load() }

func gone(name string) error {
	return &rpc.ConnectionError{Remote: name, Reason: "no such peer on this network (any more)"}
}

func badCall(reason string, args ...any) error {
	return &rpc.InvalidHeader{Reason: fmt.Sprintf(reason, args...)}
}
