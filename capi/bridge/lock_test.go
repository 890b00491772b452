package bridge

import (
	"math"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/benchfs/benchfs/core/client"
	"github.com/benchfs/benchfs/fserr"
)

func TestLockRanges(t *testing.T) {
	for _, c := range []struct {
		start, length int64
		from, to      uint64
		want          syscall.Errno
	}{
		{0, 0, 0, client.LockEnd, 0},
		{7, 0, 7, client.LockEnd, 0},
		{7, 1, 7, 8, 0},
		{7, -7, 0, 7, 0},
		{7, -1, 6, 7, 0},
		{7, -8, 0, 0, syscall.EINVAL},
		{0, -1, 0, 0, syscall.EINVAL},
		{-1, 5, 0, 0, syscall.EINVAL},
		{-5, math.MaxInt64, 0, 0, syscall.EINVAL},
		{math.MinInt64, math.MinInt64, 0, 0, syscall.EINVAL},
		{0, math.MaxInt64, 0, math.MaxInt64, 0},
		{1, math.MaxInt64, 1, client.LockEnd, 0},
		{2, math.MaxInt64, 0, 0, syscall.EOVERFLOW},
		{math.MaxInt64, 0, math.MaxInt64, client.LockEnd, 0},
		{math.MaxInt64, 1, math.MaxInt64, client.LockEnd, 0},
		{math.MaxInt64, 2, 0, 0, syscall.EOVERFLOW},
		{math.MaxInt64, -math.MaxInt64, 0, math.MaxInt64, 0},
	} {
		k := Lock{Start: c.start, Length: c.length, Type: syscall.F_WRLCK}
		got, err := k.toLock()
		if fserr.Errno(err) != c.want || err == nil && (got.Start != c.from || got.End != c.to) {
			t.Errorf("%d+%d: %d to %d, %v; want %d to %d, %v", c.start, c.length, got.Start, got.End, err, c.from, c.to, c.want)
		}
		if err != nil {
			continue
		}
		var back Lock
		back.tell(&got)
		if again, err := back.toLock(); err != nil || again.Start != got.Start || again.End != got.End {
			t.Errorf("%d+%d is told as %d+%d", c.start, c.length, back.Start, back.Length)
		}
	}
}

// TestLockBeginAndEnd: what the C side does for a wait; and what the end of the session does to one.
func TestLockBeginAndEnd(t *testing.T) {
	f := newFixture(t)
	f.want(0, f.Init(Settings{}, true, false))
	fd := f.file("/f")
	first, second := Lock{Owner: 1, Type: syscall.F_WRLCK}, Lock{Owner: 2, Type: syscall.F_WRLCK}
	f.want(0, f.LockBegin(fd, &first, func() { t.Error("there is no wait to be over") }))
	var done atomic.Int32
	begin := func(l *Lock) int64 {
		t.Helper()
		id := f.LockBegin(fd, l, func() { done.Add(1) })
		if id <= 0 {
			t.Fatalf("the wait is %d: %s", id, f.last())
		}
		return id
	}
	id := begin(&second)
	f.want(0, f.Lock(fd, lockTry, &Lock{Owner: 1, Type: syscall.F_UNLCK}))
	f.want(0, f.LockEnd(id, false))
	f.fails(syscall.EINVAL, f.LockEnd(id, false)) // it is over
	f.fails(syscall.EINTR, f.LockEnd(begin(&first), true))
	id = begin(&first)
	f.want(1, f.Finalize()) // with a handle that was open
	if done.Load() != 3 {
		t.Errorf("%d of 3 waits are over", done.Load())
	}
	f.fails(syscall.EINTR, f.LockEnd(id, false))
	if f.SessionID() != 0 {
		t.Error("no session has a number")
	}
}
