package server

import (
	"testing"
	"time"
)

// reserve is a touchAheader whose reserve is what the test says.
type reserve struct{ low, filled bool }

func (r *reserve) Low() bool                              { return r.low }
func (r *reserve) TouchAhead() bool                       { return false }
func (r *reserve) PlanAhead() (func() error, func(error)) { r.filled = true; return nil, nil }

// Space is prepared while nobody writes; in a burst only when little is left, and not when it is gone.
func TestWhenSpaceIsPrepared(t *testing.T) {
	for _, c := range []struct {
		name                  string
		sinceWrite, sinceBare time.Duration
		low, want             bool
	}{
		{"quiet", time.Second, time.Hour, false, true},
		{"quiet after a burst that used everything up", time.Second, time.Second, true, true},
		{"burst", 0, time.Hour, false, false},
		{"burst, little is left", 0, time.Hour, true, true},
		{"burst, nothing is left", 0, 0, true, false},
	} {
		r := &reserve{low: c.low}
		s := &Shard{ahead: r, takenAt: time.Now().Add(-c.sinceWrite), bareAt: time.Now().Add(-c.sinceBare)}
		if s.touchAhead(); r.filled != c.want {
			t.Errorf("%s: prepared %v, want %v", c.name, r.filled, c.want)
		}
	}
}
