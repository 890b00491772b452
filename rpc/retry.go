package rpc

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// DefaultOverall is the time that a call has when neither its caller nor the policy sets a limit: every call ends.
const DefaultOverall = 60 * time.Second

// Policy says how often and how long a call is tried (execute_with_retry: max_retries, timeout).
type Policy struct {
	Attempts    int           // at most; 0 and 1 both mean one attempt
	PerAttempt  time.Duration // one attempt's time, without connecting; 0: all that is left
	Overall     time.Duration // for all attempts and the waiting between them; 0: DefaultOverall, unless the caller sets a deadline
	BackoffBase time.Duration // wait before the second attempt; doubles with each further one
	BackoffMax  time.Duration // upper bound of that wait; 0: one second
	Jitter      float64       // 0 … 1: the part of the wait that is drawn at random, so that clients do not come back in step
}

// defaultBackoffMax replaces a BackoffMax of 0.
const defaultBackoffMax = time.Second

// attempts is how many there are at least and at most.
func (p *Policy) attempts() int { return max(p.Attempts, 1) }

// overall is the deadline of the whole: the earliest of the caller's, the context's and the policy's. Never zero.
func (p *Policy) overall(ctx context.Context, deadline, now time.Time) time.Time {
	if d, ok := ctx.Deadline(); ok {
		deadline = earlier(deadline, d)
	}
	switch {
	case p.Overall > 0:
		deadline = earlier(deadline, now.Add(p.Overall))
	case deadline.IsZero():
		deadline = now.Add(DefaultOverall)
	}
	return deadline
}

// attemptEnd is the deadline of an attempt that begins now.
func (p *Policy) attemptEnd(now, overall time.Time) time.Time {
	if p.PerAttempt > 0 {
		return earlier(overall, now.Add(p.PerAttempt))
	}
	return overall
}

// backoff is the wait after attempt number n (from 1).
func (p *Policy) backoff(n int) time.Duration {
	limit := p.BackoffMax
	if limit <= 0 {
		limit = defaultBackoffMax
	}
	wait := min(p.BackoffBase, limit)
	for ; n > 1 && wait < limit; n-- {
		wait = min(2*wait, limit)
	}
	if jitter := min(p.Jitter, 1); jitter > 0 && wait > 0 {
		wait -= time.Duration(jitter * rand.Float64() * float64(wait))
	}
	return wait
}

// Mendable reports whether another attempt may succeed where err failed: the connection was lost or could not be made, the
// attempt timed out, the server does not know the session (any more), or what was asked for is held by an operation in progress.
// A refused handshake, an errno, a frame that does not parse: those come back the same.
func Mendable(err error) bool {
	var timeout *Timeout
	var connection *ConnectionError
	var handler *HandlerError
	switch {
	case errors.As(err, &timeout):
		return true
	case errors.As(err, &connection):
		return !connection.Refused
	case errors.As(err, &handler):
		return handler.Status == StatusNoSession || handler.Status == StatusBusy
	}
	return false
}

// Retry runs f until it succeeds, fails with an error that mendable (nil: Mendable) says no to, or attempts or time are used up;
// then its last error is returned. It is Pool.Exchange's policy for work that is not a Call. f is told the attempt's number, from 1,
// and its deadline, which it must keep, and is never begun after the overall deadline; before f returns nothing else of the operation runs.
// Attempts of 0 still tries once.
func Retry(ctx context.Context, policy Policy, mendable func(error) bool, f func(attempt int, deadline time.Time) error) error {
	if mendable == nil {
		mendable = Mendable
	}
	overall := policy.overall(ctx, time.Time{}, time.Now())
	var err error
	for attempt := 1; ; attempt++ {
		if ended := ctx.Err(); ended != nil {
			if err == nil {
				err = ended
			}
			return err
		}
		if err = f(attempt, policy.attemptEnd(time.Now(), overall)); err == nil || !mendable(err) || attempt >= policy.attempts() {
			return err
		}
		next := time.Now().Add(policy.backoff(attempt))
		if !next.Before(overall) || SleepUntil(ctx, next) != nil {
			return err
		}
	}
}
