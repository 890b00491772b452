package rpc

import (
	"context"
	"syscall"
	"time"
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

// sleepSlice bounds how late a sleeper notices that its context was cancelled.
const sleepSlice = 5 * time.Millisecond

// SleepUntil waits until t in nanosleep(2), not in a Go timer, and blocks the thread meanwhile. It returns ctx.Err() early if ctx ends.
func SleepUntil(ctx context.Context, t time.Time) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		left := time.Until(t)
		if left <= 0 {
			return nil
		}
		if ctx.Done() != nil {
			left = min(left, sleepSlice)
		}
		ts := syscall.NsecToTimespec(int64(left))
		_ = syscall.Nanosleep(&ts, nil) // EINTR and an early end are both mended by the loop
	}
}

// earlier is the earlier of two deadlines, of which a zero one is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
