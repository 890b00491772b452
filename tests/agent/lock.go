package agent

import (
	"encoding/binary"
	"syscall"
)

// Operations and kinds of locks, as in benchfs.h.
const (
	LockTry   = 1
	LockWait  = 2
	LockTest  = 3
	LockLeave = 4

	LockRange = 0
	LockFile  = 1
)

// Lock is struct benchfs_lock.
type Lock struct {
	Kind, Type    int
	Owner, Holder uint64
	Start, Length int64
	PID           int // told only
}

// Lock is benchfs_lock; the result is the structure as it is then.
func (a *Agent) Lock(fd, op int, l Lock) (Lock, error) {
	_, p, err := a.request(callLock).num(
		int64(fd), int64(op), int64(l.Kind), int64(l.Type), int64(l.Owner), int64(l.Holder), l.Start, l.Length).call()
	if len(p) == 40 {
		v := func(i int) int64 { return int64(binary.LittleEndian.Uint64(p[8*i:])) }
		l.Type, l.Owner, l.Start, l.Length, l.PID = int(v(0)), uint64(v(1)), v(2), v(3), int(v(4))
	}
	return l, err
}

// Session is benchfs_session.
func (a *Agent) Session() (uint64, error) {
	_, p, err := a.request(callSession).call()
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(p), nil
}

// HandleAlarm has the agent handle SIGALRM, with SA_RESTART or without. The result is how often it came before.
func (a *Agent) HandleAlarm(restart bool) (int64, error) {
	flag := int64(0)
	if restart {
		flag = 1
	}
	n, _, err := a.request(callHandleAlarm).num(flag).call()
	return n, err
}

// Alarm sends it SIGALRM.
func (a *Agent) Alarm() error { return syscall.Kill(a.PID(), syscall.SIGALRM) }
