package server

import (
	"testing"
	"time"
)

// reserve is a touchAheader of which so many quarters are filled.
type reserve int

func (r reserve) Filled() int                            { return int(r) }
func (r reserve) TouchAhead() bool                       { return false }
func (r reserve) PlanAhead() (func() error, func(error)) { return nil, nil }

// Space is prepared unless clients fill room themselves; then only when little is left, and not when it is gone.
func TestWhenSpaceIsPrepared(t *testing.T) {
	for _, c := range []struct {
		name                 string
		sinceRoom, sinceBare time.Duration
		quarters             int
		want                 bool
	}{
		{"nobody fills room", time.Second, time.Hour, 2, true},
		{"nobody does any more, after everything was used up", time.Second, time.Second, 0, true},
		{"burst", 0, time.Hour, 2, false},
		{"burst, little is left", 0, time.Hour, 0, true},
		{"burst, nothing is left", 0, 0, 0, false},
	} {
		s := &Shard{ahead: reserve(c.quarters), roomAt: time.Now().Add(-c.sinceRoom), bareAt: time.Now().Add(-c.sinceBare)}
		if got := s.mayPrepare(); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
