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
	Inodes        uint64            `json:"inodes"`
	CapacityBytes uint64            `json:"capacity_bytes"`
	UsedBytes     uint64            `json:"used_bytes"`
	Chunks        uint64            `json:"chunks"`

	Device  *store.DeviceStats `json:"device,omitempty"`   // of a store that takes its time
	Thirsty int                `json:"waiting_for_memory"` // requests that wait for its buffers
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
			Parked:        len(s.parked),
			Inodes:        s.o.Meta.Usage().Inodes,
			CapacityBytes: usage.CapacityBytes,
			UsedBytes:     usage.UsedBytes,
			Chunks:        usage.Chunks,
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
