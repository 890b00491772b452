package server

import (
	"syscall"
	"time"

	"github.com/benchfs/benchfs/rpc"
)

// Space for chunks is prepared before it is needed: a page of memory that the system has to find and to clear while a client waits costs more
// than the copy. Where the store can, that is done beside the shard. It helps a shard that copies what came by message. It is in the way of clients
// that fill room themselves: two who fill memory at a time slow each other down. While those are at work, the reserve is filled up only when
// little of it is left, and not when it is gone: they make their pages themselves then (bare room), faster than they can be prepared.

// touchAheader is a store that can prepare space before it is asked for.
type touchAheader interface {
	// TouchAhead prepares a little on the shard's thread.
	TouchAhead() (more bool)
	// PlanAhead prepares a little beside it: see extent.Store.
	PlanAhead() (work func() error, done func(error))
	// Filled is how many quarters of what is to be prepared are there; 4 if no more can be had now, or more is under way.
	Filled() int
}

// burstPause without a client that asks for room ends a burst of them.
const burstPause = 20 * time.Millisecond

// mayPrepare reports whether it is a good moment.
func (s *Shard) mayPrepare() bool {
	if time.Since(s.roomAt) >= burstPause {
		return true
	}
	return s.ahead.Filled() == 0 && time.Since(s.bareAt) >= burstPause
}

// touchAhead prepares space, if there is any to be prepared.
func (s *Shard) touchAhead() {
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
			switch {
			case err != nil || s.background.Err() != nil:
			case s.mayPrepare():
				work, done = s.ahead.PlanAhead()
			default:
				s.prepareLater()
			}
		}) {
			return
		}
	}
}

// spaceTaken is called where chunks take space: for bytes that came by message, or as room for a client to fill.
func (s *Shard) spaceTaken() {
	if s.ahead == nil || s.ahead.Filled() >= 3 {
		return
	}
	if s.mayPrepare() {
		s.touchAhead()
	} else {
		s.prepareLater()
	}
}

// roomGiven is spaceTaken for room. bare: it was not prepared.
func (s *Shard) roomGiven(bare bool, now time.Time) {
	s.roomAt = now
	if bare {
		s.bareAt = now
		s.prepareLater() // its pages are to be had by the shard, too
	}
	s.spaceTaken()
}

// prepareLater has space prepared as soon as the burst is over.
func (s *Shard) prepareLater() {
	if !s.awaitsPause {
		s.awaitsPause = s.spawn(s.awaitPause)
	}
}

func (s *Shard) awaitPause() {
	for over := false; !over; {
		if rpc.SleepUntil(s.background, time.Now().Add(burstPause)) != nil || !s.onShard(func() {
			if over = time.Since(s.roomAt) >= burstPause; over {
				s.awaitsPause = false
				s.touchAhead()
			}
		}) {
			return
		}
	}
}
