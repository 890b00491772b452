package rpc

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"
)

var errLost = &ConnectionError{Remote: "node 1 shard 2", Reason: "lost"}

func TestRetry(t *testing.T) {
	quick := Policy{Attempts: 4, BackoffBase: time.Microsecond, BackoffMax: time.Millisecond}
	for name, c := range map[string]struct {
		policy Policy
		fail   int // the first so many attempts fail
		err    error
		calls  int
	}{
		"at once":            {quick, 0, nil, 1},
		"third time":         {quick, 2, nil, 3},
		"never":              {quick, 100, errLost, 4},
		"no attempts":        {Policy{}, 100, errLost, 1},
		"one attempt":        {Policy{Attempts: 1}, 100, errLost, 1},
		"negative attempts":  {Policy{Attempts: -3}, 100, errLost, 1},
		"cannot be mended":   {quick, 100, syscall.ENOENT, 1},
		"handshake refused":  {quick, 100, &ConnectionError{Refused: true}, 1},
		"wrapped":            {quick, 1, nil, 2},
		"overall time is up": {Policy{Attempts: 100, BackoffBase: time.Hour, Overall: time.Second}, 100, errLost, 1},
	} {
		calls := 0
		err := Retry(context.Background(), c.policy, nil, func(attempt int, deadline time.Time) error {
			calls++
			if attempt != calls || deadline.IsZero() {
				t.Errorf("%s: attempt %d, deadline %v in call %d", name, attempt, deadline, calls)
			}
			if calls > c.fail {
				return nil
			}
			if c.err == nil {
				return fmt.Errorf("wrapped: %w", errLost)
			}
			return c.err
		})
		if !errors.Is(err, c.err) || calls != c.calls {
			t.Errorf("%s: %v after %d calls", name, err, calls)
		}
	}
}

func TestRetryDeadlines(t *testing.T) {
	begin := time.Now()
	ctx := WithDeadline(context.Background(), begin.Add(time.Minute))
	policy := Policy{PerAttempt: time.Second, Overall: time.Hour}
	err := Retry(ctx, policy, nil, func(_ int, deadline time.Time) error {
		if d := deadline.Sub(begin); d < 900*time.Millisecond || d > 10*time.Second {
			t.Errorf("deadline after %v", d)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	policy = Policy{PerAttempt: time.Hour}
	_ = Retry(ctx, policy, nil, func(_ int, deadline time.Time) error {
		if !deadline.Equal(begin.Add(time.Minute)) {
			t.Errorf("deadline %v beyond the context's", deadline)
		}
		return nil
	})
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Retry(cancelled, Policy{}, nil, func(int, time.Time) error { t.Error("ran"); return nil }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestRetryOwnJudgement(t *testing.T) {
	calls := 0
	err := Retry(context.Background(), Policy{Attempts: 3}, func(err error) bool { return errors.Is(err, syscall.EAGAIN) }, func(int, time.Time) error {
		calls++
		return syscall.EAGAIN
	})
	if calls != 3 || !errors.Is(err, syscall.EAGAIN) {
		t.Errorf("%v after %d calls", err, calls)
	}
}

func TestBackoffGrowsAndIsBounded(t *testing.T) {
	p := Policy{BackoffBase: 10 * time.Millisecond, BackoffMax: 100 * time.Millisecond}
	for n, want := range map[int]time.Duration{1: 10, 2: 20, 3: 40, 4: 80, 5: 100, 50: 100, 1 << 30: 100} {
		if got := p.backoff(n); got != want*time.Millisecond {
			t.Errorf("after attempt %d: %v", n, got)
		}
	}
	p.Jitter = 0.5
	seen := make(map[time.Duration]bool)
	for range 100 {
		d := p.backoff(3)
		if d < 20*time.Millisecond || d > 40*time.Millisecond {
			t.Fatalf("with jitter: %v", d)
		}
		seen[d] = true
	}
	if len(seen) < 50 {
		t.Errorf("%d different waits of 100", len(seen))
	}
	if d := (&Policy{}).backoff(10); d != 0 {
		t.Errorf("no base: %v", d)
	}
	if d := (&Policy{BackoffBase: time.Hour}).backoff(10); d != defaultBackoffMax {
		t.Errorf("no maximum: %v", d)
	}
}

func TestMendable(t *testing.T) {
	for _, err := range []error{errLost, &Timeout{}, statusErrors[StatusBusy], statusErrors[StatusNoSession], fmt.Errorf("x: %w", errLost)} {
		if !Mendable(err) {
			t.Errorf("%v cannot be mended", err)
		}
	}
	for _, err := range []error{
		nil, syscall.EIO, &TransportError{}, &InvalidHeader{}, statusErrors[StatusRefused], statusErrors[StatusStaleEpoch],
		statusErrors[StatusStaleView], statusErrors[StatusStaleGen], &HandlerError{Status: StatusErrno, Code: syscall.EAGAIN},
		&ConnectionError{Refused: true}, context.Canceled, errors.New("?"),
	} {
		if Mendable(err) {
			t.Errorf("%v can be mended", err)
		}
	}
}

func TestWithDeadline(t *testing.T) {
	soon, later := time.Now().Add(30*time.Millisecond), time.Now().Add(time.Hour)
	ctx := WithDeadline(WithDeadline(context.Background(), soon), later)
	if d, ok := ctx.Deadline(); !ok || !d.Equal(soon) || ctx.Err() != nil {
		t.Errorf("%v, %v, %v", d, ok, ctx.Err())
	}
	if err := SleepUntil(ctx, soon); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if time.Now().Before(soon) || !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		t.Errorf("after the deadline: %v", ctx.Err())
	}
}
