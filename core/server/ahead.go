package server

import (
	"context"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

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
	// Full reports whether all is prepared that can be.
	Full() bool
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

// AwaitSpace waits until the space that is to be prepared ahead is there, ctx ends, or it turns out that it cannot be had.
func (s *Shard) AwaitSpace(ctx context.Context) {
	for low := true; low && ctx.Err() == nil; {
		if !s.onShard(func() { low = s.ahead != nil && !s.ahead.Full() }) {
			return
		}
		if low {
			time.Sleep(time.Millisecond)
		}
	}
}

// prepareSpace runs beside the shard until there is enough, on a thread of the lowest priority: cores that nobody else wants are for it.
func (s *Shard) prepareSpace(work func() error, done func(error)) {
	runtime.LockOSThread() // and never let go: the thread ends with this goroutine
	_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), 19)
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
