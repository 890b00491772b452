package client

import (
	"context"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pkg/errors"

	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/rpc"
)

// LockWait is a wait for a lock. It goes on beside its caller, who can thus sleep where signals reach them.
type LockWait struct {
	file      *File
	lock      Lock
	ticket    uint64 // names the wait at the shard
	ctx       context.Context
	cancel    context.CancelFunc
	cancelled atomic.Bool
	over      chan struct{} // closed when it is

	err   error
	cause any // of a panic
}

// StartLock gets a lock as Lock does; if something is in the way, it begins to wait. The result is nil when the lock was had at once. done runs
// when the wait is over, on another goroutine, before Wait returns.
func (f *File) StartLock(ctx context.Context, l Lock, done func()) (*LockWait, error) {
	err := f.Lock(ctx, l)
	if !errors.Is(err, syscall.EAGAIN) {
		return nil, err
	}
	f.wholeFile(&l)
	w := &LockWait{file: f, lock: l, ticket: lastOp.Add(1), over: make(chan struct{})}
	w.ctx, w.cancel = context.WithCancel(ctx)
	f.Retain()
	go w.run(done)
	return w, nil
}

func (w *LockWait) run(done func()) {
	defer close(w.over)
	defer done()
	defer func() {
		if w.cause = recover(); w.cause == nil {
			_ = w.file.drop(context.Background()) // nobody is there to be told
		}
		w.cancel()
	}()
	turn := uint64(0)
	for {
		reply, err := w.file.lockOnce(w.ctx, rpc.LockWait, &w.lock, w.ticket, turn)
		switch {
		case err == nil && reply.Outcome == rpc.LockDone:
			return
		case w.cancelled.Load():
			w.err = fserr.New(opLock.String(), w.file.name, syscall.EINTR, errors.New("the wait for a lock was interrupted"))
			return
		case err != nil:
			w.err = err
			return
		}
		turn = reply.Turn
	}
}

// Cancel ends the wait: it is over when Cancel returns, with EINTR, or as it had ended already.
func (w *LockWait) Cancel() {
	const most = 20 * time.Millisecond
	if w.isOver() {
		return
	}
	w.cancelled.Store(true)
	w.cancel()
	m := rpc.Lock{Op: rpc.LockCancel, Kind: w.lock.Kind, Type: LockNone, Ino: w.file.in.ino, Owner: w.lock.Owner, End: LockEnd, Ticket: w.ticket}
	// The message may come to the shard before the one that it is about.
	for pause := 100 * time.Microsecond; !w.isOver(); pause = min(2*pause, most) {
		o := w.file.c.prepare(rpc.WithDeadline(context.Background(), time.Now().Add(time.Second)), opLock)
		call := o.call(rpc.MsgLock, m.Ino.Shard())
		call.Body = m.AppendTo(call.Body)
		o.exchange()
		o.release()
		for end := time.Now().Add(pause); time.Now().Before(end) && !w.isOver(); {
			_ = rpc.SleepUntil(context.Background(), time.Now().Add(pause/8))
		}
	}
}

func (w *LockWait) isOver() bool {
	select {
	case <-w.over:
		return true
	default:
		return false
	}
}

// Wait waits for the lock, or the reason why there is none. A panic of the work is passed on.
func (w *LockWait) Wait() error {
	<-w.over
	if w.cause != nil {
		panic(w.cause)
	}
	return w.err
}
