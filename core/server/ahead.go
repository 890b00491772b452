package server

import (
	"syscall"
	"time"

	"github.com/benchfs/benchfs/rpc"
)

// Space for chunks is prepared before it is needed: a page of memory that the system has to find and to clear while a client waits costs more
// than the copy. Where the store can, that is done beside the shard, and while nobody writes: two who fill memory at the same time are in
// each other's way. During a burst the reserve is filled up only when little of it is left, and not at all when it is gone: the clients make
// their pages themselves then (bare room), faster than they can be prepared.

// touchAheader is a store that can prepare space before it is asked for.
type touchAheader interface {
	// TouchAhead prepares a little on the shard's thread.
	TouchAhead() (more bool)
	// PlanAhead prepares a little beside it: see extent.Store.
	PlanAhead() (work func() error, done func(error))
	// Filled is how many quarters of what is to be prepared are there; 4 if no more can be had now, or more is under way.
	Filled() int
}

// burstPause without new data ends a burst.
const burstPause = 20 * time.Millisecond

// mayPrepare reports whether it is a good moment.
func (s *Shard) mayPrepare() bool {
	if time.Since(s.takenAt) >= burstPause {
		return true
	}
	return s.ahead.Filled() == 0 && time.Since(s.bareAt) >= burstPause
}

// touchAhead prepares space, if there is any to be prepared.
func (s *Shard) touchAhead() {
	if !s.mayPrepare() {
		return
	}
	work, done := s.ahead.PlanAhead()
	if work == nil {
		if s.ahead.Filled() == 0 {
			s.ahead.TouchAhead()
		}
		return
	}
	if !s.spawn(func() { s.prepareSpace(work, done) }) {
		done(syscall.ESHUTDOWN)
	}
}

// prepareSpace runs beside the shard until there is enough, or the moment is over.
func (s *Shard) prepareSpace(work func() error, done func(error)) {
	for work != nil {
		err := work()
		if !s.onShard(func() {
			done(err)
			work = nil
			if err == nil && s.background.Err() == nil && s.mayPrepare() {
				work, done = s.ahead.PlanAhead()
			}
		}) {
			return
		}
	}
}

// spaceTaken is called where chunks take space.
func (s *Shard) spaceTaken() {
	if s.ahead == nil {
		return
	}
	s.takenAt = time.Now()
	switch filled := s.ahead.Filled(); {
	case filled == 0:
		s.touchAhead()
	case filled < 3 && !s.awaitsPause:
		s.awaitsPause = s.spawn(s.awaitPause)
	}
}

// awaitPause has space prepared as soon as the burst is over.
func (s *Shard) awaitPause() {
	for over := false; !over; {
		if rpc.SleepUntil(s.background, time.Now().Add(burstPause)) != nil || !s.onShard(func() {
			if over = time.Since(s.takenAt) >= burstPause; over {
				s.awaitsPause = false
				s.touchAhead()
			}
		}) {
			return
		}
	}
}
