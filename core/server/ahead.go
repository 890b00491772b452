package server

import "syscall"

// Space for chunks is prepared before it is needed: a page of memory that the system has to find and to clear while a client waits costs more
// than the copy. Where the store can, that is done beside the shard.

// touchAheader is a store that can prepare space before it is asked for.
type touchAheader interface {
	// TouchAhead prepares a little on the shard's thread.
	TouchAhead() (more bool)
	// PlanAhead prepares a little beside it: see extent.Store.
	PlanAhead() (work func() error, done func(error))
	// Low reports whether it is time.
	Low() bool
}

// touchAhead prepares space, if there is any to be prepared.
func (s *Shard) touchAhead() {
	work, done := s.ahead.PlanAhead()
	if work == nil {
		if s.ahead.Low() {
			s.ahead.TouchAhead()
		}
		return
	}
	if !s.spawn(func() { s.prepareSpace(work, done) }) {
		done(syscall.ESHUTDOWN)
	}
}

// prepareSpace runs beside the shard until there is enough.
func (s *Shard) prepareSpace(work func() error, done func(error)) {
	for work != nil {
		err := work()
		if !s.onShard(func() {
			done(err)
			work = nil
			if err == nil && s.background.Err() == nil {
				work, done = s.ahead.PlanAhead()
			}
		}) {
			return
		}
	}
}

// spaceTaken is called where chunks take space.
func (s *Shard) spaceTaken() {
	if s.ahead != nil && s.ahead.Low() {
		s.touchAhead()
	}
}
