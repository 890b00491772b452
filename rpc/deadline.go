package rpc

import (
	"context"
	"syscall"
	"time"

	"github.com/benchfs/benchfs/rpc/internal/alarm"
)

// deadlineContext is a context with a deadline that no timer watches.
type deadlineContext struct {
	context.Context
	deadline time.Time
}

// WithDeadline gives ctx a deadline, if it has not an earlier one. Unlike context.WithDeadline it sets no timer (a timer would start
// Go's network poller in the host's process): Deadline and Err tell the truth, but Done is the parent's and is not
// closed at the deadline. Whatever takes such a context looks at Deadline when it waits.
func WithDeadline(ctx context.Context, deadline time.Time) context.Context {
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		return ctx
	}
	return deadlineContext{Context: ctx, deadline: deadline}
}

// Deadline implements context.Context.
func (c deadlineContext) Deadline() (time.Time, bool) { return c.deadline, true }

// Err implements context.Context.
func (c deadlineContext) Err() error {
	if err := c.Context.Err(); err != nil {
		return err
	}
	if !time.Now().Before(c.deadline) {
		return context.DeadlineExceeded
	}
	return nil
}

// started is any moment, for Now.
var started = time.Now()

// Now is time.Now for comparisons, at half the price: it does not ask for the time of day.
func Now() time.Time { return started.Add(time.Since(started)) }

// SleepUntil waits until t, or returns ctx.Err() as soon as ctx ends, without a Go timer. Where ctx can only end by its deadline, the thread sleeps
// meanwhile.
func SleepUntil(ctx context.Context, t time.Time) error {
	wake := t
	if d, ok := ctx.Deadline(); ok {
		wake = earlier(t, d)
	}
	if ctx.Done() == nil {
		for left := time.Until(wake); left > 0; left = time.Until(wake) {
			ts := syscall.NsecToTimespec(int64(left))
			_ = syscall.Nanosleep(&ts, nil) // EINTR and an early end are both mended by the loop
		}
		return ctx.Err()
	}
	if ctx.Err() == nil && time.Now().Before(wake) {
		a := alarm.New()
		a.Set(wake)
		defer a.Stop()
		select {
		case <-a.C:
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}

// earlier is the earlier of two deadlines, of which a zero one is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
