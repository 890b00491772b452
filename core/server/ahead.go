package server

import (
	"syscall"
	"time"

	"github.com/benchfs/benchfs/rpc"
)

// Space for chunks is prepared before it is needed: a page of memory that the system has to find and to clear while a client waits costs more
// than the copy. Where the store can, that is done beside the shard, when the shard has little to do: on a node without idle cores it takes a core from the
// shard, or from the client that waits for it, whatever that is busy with. While there is much to do, space is prepared only when little of it is left. Not
// even then while clients fill room themselves: two who fill memory at a time slow each other down, and clients make their pages (bare room) faster
// than they can be prepared.

// touchAheader is a store that can prepare space before it is asked for.
type touchAheader interface {
	// TouchAhead prepares a little on the shard's thread.
	TouchAhead() (more bool)
	// PlanAhead prepares a little beside it: see extent.Store.
	PlanAhead() (work func() error, done func(error))
	// Filled is how many quarters of what is to be prepared are there; 4 if no more can be had now, or more is under way.
	Filled() int
}

const (
	// burstPause without a client that asks for room ends a burst of them. After so long it is looked again how busy the shard is.
	burstPause = 20 * time.Millisecond
	// fewRequests between two looks, one to twenty milliseconds apart, are little to do.
	fewRequests = 4
)

// mayPrepare looks whether it is a good moment: clients do not fill room, and there was little to do since the last look, or little is left.
func (s *Shard) mayPrepare() bool {
	var served uint64
	for _, n := range s.counts {
		served += n
	}
	few := served-s.looked <= fewRequests
	s.looked = served
	return (few || s.ahead.Filled() == 0) && !s.fillingRoom()
}

// fillingRoom reports whether clients fill room themselves.
func (s *Shard) fillingRoom() bool { return time.Since(s.roomAt) < burstPause }

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
	if s.ahead == nil {
		return
	}
	switch filled := s.ahead.Filled(); {
	case filled == 0 && !s.fillingRoom():
		s.touchAhead()
	case filled < 3:
		s.prepareLater()
	}
}

// roomGiven is spaceTaken for room. bare: it was not prepared.
func (s *Shard) roomGiven(bare bool, now time.Time) {
	s.roomAt = now
	if bare {
		s.prepareLater() // its pages are to be had by the shard, too
	}
	s.spaceTaken()
}

// prepareLater has space prepared as soon as there is little to do.
func (s *Shard) prepareLater() {
	if !s.awaitsPause {
		s.awaitsPause = s.spawn(s.awaitPause)
	}
}

func (s *Shard) awaitPause() {
	for over := false; !over; {
		if rpc.SleepUntil(s.background, time.Now().Add(burstPause)) != nil || !s.onShard(func() {
			if over = s.mayPrepare(); over {
				s.awaitsPause = false
				s.touchAhead()
			}
		}) {
			return
		}
	}
}
