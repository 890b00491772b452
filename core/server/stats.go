package server

import (
	"github.com/benchfs/benchfs/rpc"
	"github.com/benchfs/benchfs/store"
)

// Stats is what a shard has done since it started, and what it holds now.
type Stats struct {
	Shard         uint32            `json:"shard"`
	Requests      map[string]uint64 `json:"requests"` // by message type
	UnknownTypes  uint64            `json:"unknown_types"`
	Refused       uint64            `json:"handshakes_refused"`
	Sessions      int               `json:"sessions"`
	Clients       int               `json:"clients"`
	Parked        int               `json:"parked_requests"`
	Locks         int               `json:"locks"` // ranges and files
	LockWaiters   int               `json:"lock_waiters"`
	Inodes        uint64            `json:"inodes"`
	CapacityBytes uint64            `json:"capacity_bytes"`
	UsedBytes     uint64            `json:"used_bytes"`
	Chunks        uint64            `json:"chunks"`
	Moved         Moved             `json:"moved"`

	Device  *store.DeviceStats `json:"device,omitempty"`   // of a store that takes its time
	Thirsty int                `json:"waiting_for_memory"` // requests that wait for its buffers
}

// Moved counts what chunk messages have moved, by the number of copies that this side has made of it.
type Moved struct {
	SentBytes     uint64 `json:"sent_bytes"`     // read: given to the transport where they lie in the store
	FetchedBytes  uint64 `json:"fetched_bytes"`  // written: put by the transport where they belong in the store
	BufferedBytes uint64 `json:"buffered_bytes"` // written: copied into the store from where they came along with the message
}

// Stats may be called from any goroutine but the shard's own; false when the shard has stopped.
func (s *Shard) Stats() (Stats, bool) {
	var out Stats
	ok := s.onShard(func() {
		usage := s.o.Store.Usage()
		out = Stats{
			Shard:         s.o.Peer.Shard,
			Requests:      map[string]uint64{},
			UnknownTypes:  s.unknown,
			Refused:       s.refused,
			Sessions:      len(s.sessions),
			Clients:       len(s.clients),
			Parked:        len(s.parked) + s.waitingAtEnds(),
			Locks:         s.locks.pieces,
			LockWaiters:   s.locks.waiting,
			Inodes:        s.o.Meta.Usage().Inodes,
			CapacityBytes: usage.CapacityBytes,
			UsedBytes:     usage.UsedBytes,
			Chunks:        usage.Chunks,
			Moved:         s.moved,
			Thirsty:       len(s.waiting.requests),
		}
		if s.device != nil {
			stats := s.device.Stats()
			out.Device = &stats
		}
		for kind, n := range s.counts {
			if n > 0 {
				out.Requests[rpc.MsgType(kind).String()] = n
			}
		}
	})
	return out, ok
}
