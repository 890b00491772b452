package rpc

import (
	"cmp"
	"slices"
)

// PoolStats tells what a pool has done and what it has. Counters count from the pool's start.
type PoolStats struct {
	Dialled  uint64     `json:"dialled"`   // connections made
	Reused   uint64     `json:"reused"`    // calls, and Gets, that found their connection standing
	Dropped  uint64     `json:"dropped"`   // connections retired because they proved dead
	Failed   uint64     `json:"failed"`    // dials that failed
	InFlight int64      `json:"in_flight"` // calls right now
	Retries  uint64     `json:"retries"`   // attempts after the first, of all calls
	Timeouts uint64     `json:"timeouts"`  // attempts without an answer by their deadline
	Peers    []PeerStat `json:"peers"`     // connections that stand, by node and shard
}

// PeerStat is one connection in PoolStats.
type PeerStat struct {
	Node        uint32 `json:"node"`
	Shard       uint32 `json:"shard"`
	Incarnation uint64 `json:"incarnation"`
	Transport   string `json:"transport"` // in use, as the transport reports it
	Remote      string `json:"remote"`
	SameHost    bool   `json:"same_host"`
	InFlight    int64  `json:"in_flight"`
}

// Stats is a snapshot; the parts are read one after the other.
func (p *Pool) Stats() PoolStats {
	out := PoolStats{
		Dialled:  p.dialled.Load(),
		Reused:   p.reused.Load(),
		Dropped:  p.dropped.Load(),
		Failed:   p.failed.Load(),
		Retries:  p.retries.Load(),
		Timeouts: p.timeouts.Load(),
		Peers:    []PeerStat{},
	}
	for _, s := range p.allSlots() {
		c := s.conn.Load()
		if c == nil || !c.good() {
			continue
		}
		n := c.inflight.Load()
		out.InFlight += n
		out.Peers = append(out.Peers, PeerStat{
			Node: c.Peer.Node, Shard: c.Peer.Shard, Incarnation: c.Incarnation,
			Transport: c.Transport, Remote: c.name(), SameHost: c.SameHost, InFlight: n,
		})
	}
	slices.SortFunc(out.Peers, func(a, b PeerStat) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Shard, b.Shard))
	})
	return out
}
