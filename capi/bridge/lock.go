package bridge

import (
	"math"
	"sync"
	"syscall"

	"github.com/pkg/errors"

	"github.com/benchfs/benchfs/core/client"
	"github.com/benchfs/benchfs/fserr"
)

// Lock is the C interface's view of an advisory lock, with C's values.
type Lock struct {
	Owner, Holder uint64
	Start, Length int64 // bytes; Length 0: to the end of all files
	Type          int32 // F_RDLCK, F_WRLCK, F_UNLCK
	Kind          int32
	PID           int32
}

// Kinds of locks: BENCHFS_LOCK_RANGE, BENCHFS_LOCK_FILE.
const (
	lockKindRange = 0
	lockKindFile  = 1
)

// Operations on locks: BENCHFS_LOCK_TRY, BENCHFS_LOCK_TEST and BENCHFS_LOCK_LEAVE. (BENCHFS_LOCK_WAIT is LockBegin and LockEnd.)
const (
	lockTry   = 1
	lockTest  = 3
	lockLeave = 4
)

var lockTypes = map[int32]client.LockType{syscall.F_RDLCK: client.LockRead, syscall.F_WRLCK: client.LockWrite, syscall.F_UNLCK: client.LockNone}

// toLock is what is asked for.
func (k *Lock) toLock() (client.Lock, error) {
	out := client.Lock{Type: lockTypes[k.Type], Owner: k.Owner, Holder: k.Holder, PID: uint32(k.PID)}
	switch {
	case out.Type == 0:
		return out, errors.Wrapf(syscall.EINVAL, "type %d", k.Type)
	case k.Kind == lockKindFile:
		out.Kind = client.LockFile
		return out, nil
	case k.Kind != lockKindRange:
		return out, errors.Wrapf(syscall.EINVAL, "kind %d", k.Kind)
	}
	out.Kind = client.LockRange
	start, end := k.Start, k.Start
	switch {
	case k.Length < 0:
		start += k.Length // of two numbers with different signs: no overflow, if k.Start is what it must be
	case k.Length > 0 && k.Length-1 > math.MaxInt64-k.Start && k.Start >= 0:
		return out, errors.Wrap(syscall.EOVERFLOW, "the range ends beyond the largest offset")
	}
	if k.Start < 0 || start < 0 {
		return out, errors.Wrap(syscall.EINVAL, "the range begins before the file")
	}
	out.Start = uint64(start)
	switch {
	case k.Length == 0:
		out.End = client.LockEnd
	case k.Length > 0:
		out.End = uint64(start) + uint64(k.Length)
	default:
		out.End = uint64(end)
	}
	return out, nil
}

// tell makes what is in the way C's.
func (k *Lock) tell(l *client.Lock) {
	if l.Type == client.LockNone {
		k.Type = syscall.F_UNLCK
		return
	}
	k.Type = syscall.F_RDLCK
	if l.Type == client.LockWrite {
		k.Type = syscall.F_WRLCK
	}
	k.Owner, k.Holder, k.PID = l.Owner, 0, int32(l.PID)
	k.Start, k.Length = int64(l.Start), 0
	if l.End != client.LockEnd {
		k.Length = int64(l.End - l.Start)
	}
}

// Lock does what needs no wait. lock is filled in by lockTest.
func (l *Library) Lock(fd int32, op int32, lock *Lock) int64 {
	return l.on("lock", fd, func(f *client.File) error {
		want, err := lock.toLock()
		if err != nil {
			return fserr.New("lock", f.Name(), fserr.Errno(err), err)
		}
		switch op {
		case lockTry:
			return f.Lock(background, want)
		case lockLeave:
			return f.LeaveLock(background, want)
		case lockTest:
			in, err := f.TestLock(background, want)
			if err == nil {
				lock.tell(&in)
			}
			return err
		}
		return fserr.New("lock", f.Name(), syscall.EINVAL, errors.Errorf("operation %d", op))
	})
}

// lockWaits are the waits for locks that are under way.
type lockWaits struct {
	mu   sync.Mutex
	last int64
	list map[int64]lockWait
}

type lockWait struct {
	session *session
	wait    *client.LockWait
}

// LockBegin gets a lock, and begins to wait if something is in the way: then the result is above 0, and LockEnd must follow. done runs on another
// thread when the wait is over, and not after LockEnd.
func (l *Library) LockBegin(fd int32, lock *Lock, done func()) int64 {
	c, err := l.begin("lock")
	if err != nil {
		return l.fail(err)
	}
	defer c.end()
	f, err := c.file(fd)
	if err != nil {
		return l.fail(err)
	}
	want, err := lock.toLock()
	if err != nil {
		return l.fail(fserr.New("lock", f.Name(), fserr.Errno(err), err))
	}
	s := c.s
	s.objects.Add(1)
	w, err := f.StartLock(background, want, func() { s.objects.Add(-1); done() })
	if w == nil {
		s.objects.Add(-1)
		return l.done(err)
	}
	l.waits.mu.Lock()
	defer l.waits.mu.Unlock()
	l.waits.last++
	if l.waits.list == nil {
		l.waits.list = map[int64]lockWait{}
	}
	l.waits.list[l.waits.last] = lockWait{s, w}
	return l.waits.last
}

// LockEnd waits until a wait is over; with cancel, it ends it. EINTR: by that, or by the end of the session.
func (l *Library) LockEnd(id int64, cancel bool) int64 {
	l.waits.mu.Lock()
	w, ok := l.waits.list[id]
	delete(l.waits.list, id)
	l.waits.mu.Unlock()
	if !ok {
		return l.fail(fserr.New("lock", "", syscall.EINVAL, errors.Errorf("wait %d", id)))
	}
	if cancel {
		w.wait.Cancel()
	}
	return l.done(w.wait.Wait())
}

// cancel ends all waits of a session.
func (t *lockWaits) cancel(s *session) {
	t.mu.Lock()
	var waits []*client.LockWait
	for _, w := range t.list {
		if w.session == s {
			waits = append(waits, w.wait)
		}
	}
	t.mu.Unlock()
	for _, w := range waits {
		w.Cancel()
	}
}

// SessionID is this process's name among the holders of locks; 0: no session.
func (l *Library) SessionID() uint64 {
	s, err := l.session("session")
	if err != nil {
		l.fail(err)
		return 0
	}
	return s.client.Session()
}
