package server

import (
	"context"
	"syscall"
	"time"

	"github.com/pkg/errors"

	"github.com/benchfs/benchfs/internal/rangelock"
	"github.com/benchfs/benchfs/rpc"
)

// lockWaiter is a LockWait that is held back.
type lockWaiter struct {
	r       *rpc.Request
	h       holding
	want    rangelock.Lock
	holder  uint64
	ticket  uint64
	turn    uint64
	expires time.Time
}

const (
	// lockPatience is how long one is held back at most, before it is to be sent again. A sender that is gone is noticed by its silence then.
	lockPatience = time.Second
	// lockLook is the time between two looks at those who wait, and at those whom they wait for.
	lockLook = 50 * time.Millisecond
)

// waitForLock holds a request back until its turn has come.
func (s *Shard) waitForLock(r *rpc.Request, m *rpc.Lock, h holding, want rangelock.Lock) error {
	s.endWaits(func(w *lockWaiter) bool { // an earlier attempt, of which nobody awaits the answer, or a message that came twice
		return w.ticket == m.Ticket && w.r.Header.Client == r.Header.Client
	})
	if s.locks.waiting >= maxLockWaiters {
		return errors.Wrap(syscall.ENOMEM, "too many wait for locks on this shard")
	}
	w := &lockWaiter{r: r, h: h, want: want, holder: m.Holder, ticket: m.Ticket, turn: m.Turn}
	if w.turn == 0 {
		s.locks.turn++
		w.turn = s.locks.turn
	}
	// Half of what the sender's attempt has: the answer must be there before it is over.
	w.expires = time.Now().Add(min(lockPatience, patience(r)/2))
	s.locks.enqueue(w)
	if !s.locks.watched {
		s.locks.watched = s.spawn(s.watchLocks)
	}
	return nil
}

// wakeLocks serves those whose wait for something of a file is over.
func (s *Shard) wakeLocks(f lockedFile) {
	for again := true; again; {
		again = false
		l := s.locks.files[f]
		if l == nil {
			return
		}
		for _, w := range l.queue {
			if _, _, found := l.list.Conflict(w.h.owner, w.want); found {
				continue
			}
			s.locks.dequeue(w)
			s.grantLock(w.h, w.want, w.r.Header.Client, w.holder)
			_ = s.lockDone(w.r, w.h)
			again = true // it may have given something up for it, and the queue is another
			break
		}
	}
}

// endWaits answers those who wait and of whom which is true; what they wait for is to be asked for again.
func (s *Shard) endWaits(which func(w *lockWaiter) bool) {
	for _, w := range s.findWaits(which) {
		s.locks.dequeue(w)
		answer := s.lockReply(w.r, w.h, rpc.LockWaiting)
		answer.Turn = w.turn
		s.sendLockReply(w.r, w.h, &answer)
	}
}

func (s *Shard) findWaits(which func(w *lockWaiter) bool) []*lockWaiter {
	if s.locks.waiting == 0 {
		return nil
	}
	var found []*lockWaiter
	for _, l := range s.locks.files {
		for _, w := range l.queue {
			if which(w) {
				found = append(found, w)
			}
		}
	}
	return found
}

// cancelLock is LockCancel.
func (s *Shard) cancelLock(client, ticket uint64) {
	for _, w := range s.findWaits(func(w *lockWaiter) bool { return w.ticket == ticket && w.r.Header.Client == client }) {
		s.locks.dequeue(w)
		s.locks.tidy(w.h.file)
		s.fail(w.r, errors.WithStack(syscall.EINTR))
	}
}

// watchLocks runs beside the shard while somebody waits.
func (s *Shard) watchLocks() {
	for more := true; more; {
		_ = rpc.SleepUntil(context.Background(), time.Now().Add(lockLook)) // never an error: nobody cancels it
		if s.background.Err() != nil || !s.onShard(func() { more = s.lookAtLocks(time.Now()) }) {
			return
		}
	}
}

// lookAtLocks sends those back who have waited long enough, and finds out whether the others wait for the dead. It reports whether somebody
// still waits.
func (s *Shard) lookAtLocks(now time.Time) bool {
	var blocked []holding
	for f, l := range s.locks.files {
		if len(l.queue) == 0 {
			continue
		}
		if by, _, found := l.list.Conflict(l.queue[0].h.owner, l.queue[0].want); found {
			blocked = append(blocked, holding{f, by})
		}
	}
	for _, h := range blocked {
		s.loseHolders(h)
	}
	s.endWaits(func(w *lockWaiter) bool { return !now.Before(w.expires) })
	s.locks.watched = s.locks.waiting > 0
	return s.locks.watched
}
