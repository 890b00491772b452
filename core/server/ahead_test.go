package server

import (
	"testing"
	"time"

	"github.com/benchfs/benchfs/rpc"
)

// reserve is a touchAheader of which so many quarters are filled.
type reserve int

func (r reserve) Filled() int                            { return int(r) }
func (r reserve) TouchAhead() bool                       { return false }
func (r reserve) PlanAhead() (func() error, func(error)) { return nil, nil }

// Space is prepared when there is little to do; else only when little is left, and not while clients help themselves.
func TestWhenSpaceIsPrepared(t *testing.T) {
	for _, c := range []struct {
		name      string
		sinceRoom time.Duration
		requests  uint64
		quarters  int
		want      bool
	}{
		{"little to do", time.Second, 1, 2, true},
		{"little to do, little is left", time.Second, 1, 0, true},
		{"busy", time.Second, 1000, 2, false},
		{"busy, little is left", time.Second, 1000, 0, true},
		{"clients fill room", 0, 1, 2, false},
		{"clients fill room, little is left", 0, 1, 0, false},
	} {
		s := &Shard{ahead: reserve(c.quarters), looked: 5000, roomAt: time.Now().Add(-c.sinceRoom)}
		s.counts[rpc.MsgReadChunk], s.counts[rpc.MsgLookup] = 5000, c.requests
		if got := s.mayPrepare(); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
