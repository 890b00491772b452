package server

import (
	"testing"
	"time"
)

// reserve is a touchAheader whose reserve is what the test says.
type reserve struct {
	quarters int
	filled   bool
}

func (r *reserve) Filled() int                            { return r.quarters }
func (r *reserve) TouchAhead() bool                       { return false }
func (r *reserve) PlanAhead() (func() error, func(error)) { r.filled = true; return nil, nil }

// Space is prepared while nobody writes; in a burst only when little is left, and not when it is gone.
func TestWhenSpaceIsPrepared(t *testing.T) {
	for _, c := range []struct {
		name                  string
		sinceWrite, sinceBare time.Duration
		quarters              int
		want                  bool
	}{
		{"quiet", time.Second, time.Hour, 3, true},
		{"quiet after a burst that used everything up", time.Second, time.Second, 0, true},
		{"burst", 0, time.Hour, 1, false},
		{"burst, little is left", 0, time.Hour, 0, true},
		{"burst, nothing is left", 0, 0, 0, false},
	} {
		r := &reserve{quarters: c.quarters}
		s := &Shard{ahead: r, takenAt: time.Now().Add(-c.sinceWrite), bareAt: time.Now().Add(-c.sinceBare)}
		if s.touchAhead(); r.filled != c.want {
			t.Errorf("%s: prepared %v, want %v", c.name, r.filled, c.want)
		}
	}
}
