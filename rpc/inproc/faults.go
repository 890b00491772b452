package inproc

import (
	"context"
	"time"

	"github.com/benchfs/benchfs/rpc"
)

// Action is what happens to a message.
type Action int

// The actions.
const (
	Pass      Action = iota
	Drop             // it does not arrive; the caller learns nothing and waits for its deadline
	Delay            // it arrives after Fault.Delay, whether or not the caller still waits: a late request is served all the same
	Duplicate        // a request (not Hello) is served twice, the second answer is lost; a duplicate reply has no effect
	Fail             // the call fails with Fault.Err at once; a reply has been made by then, and is lost
)

// Fault is the fate of one message.
type Fault struct {
	Action Action
	Delay  time.Duration
	Err    error
}

// Faults decides about messages, for tests. It is asked from many goroutines, under shards' locks: it must be quick, and call
// nothing of this package.
type Faults interface {
	// Dial: Drop leaves the dialler waiting until its deadline, Duplicate has no meaning.
	Dial(peer rpc.PeerID) Fault
	Request(peer rpc.PeerID, h *rpc.Header) Fault
	Reply(peer rpc.PeerID, h *rpc.Header) Fault
}

func (n *Network) dialFault(peer rpc.PeerID) Fault {
	if box := n.faults.Load(); box != nil {
		return box.f.Dial(peer)
	}
	return Fault{}
}

func (n *Network) requestFault(peer rpc.PeerID, h *rpc.Header) Fault {
	if box := n.faults.Load(); box != nil {
		return box.f.Request(peer, h)
	}
	return Fault{}
}

func (n *Network) replyFault(peer rpc.PeerID, h *rpc.Header) Fault {
	if box := n.faults.Load(); box != nil {
		return box.f.Reply(peer, h)
	}
	return Fault{}
}

// after runs f under the shard's lock when d has passed, unless the shard is dead by then.
func (s *shard) after(d time.Duration, f func()) {
	at := time.Now().Add(d)
	go func() {
		_ = rpc.SleepUntil(context.Background(), at) // Background never ends
		s.Submit(f)
	}()
}
