package rpc

import (
	"context"
	"sync"
	"time"
)

// Exchange runs the calls, each at its peer To, to their end on the caller's thread: all in parallel, those that fail with what a
// retry can mend again after a back-off, until each is done or the policy's attempts, the deadline (zero: none of the caller's own),
// ctx's, or the policy's overall time are used up. Then Err of each call tells: nil is StatusOK.
//
// Each attempt is a new request with an id of its own, so that a late reply of an earlier one completes nothing; before an attempt
// begins, the transport has let go of the memory of the one before (Transport.Run). Every call may be repeated: what must not
// run twice carries Header.Op. While connections stand, Exchange allocates nothing and starts no goroutine.
func (p *Pool) Exchange(ctx context.Context, deadline time.Time, calls []*Call) {
	if len(calls) == 0 {
		return
	}
	now := Now()
	overall := p.o.Policy.overall(ctx, deadline, now)
	if !now.Before(overall) || ctx.Err() != nil {
		for _, c := range calls {
			c.Err = nil
		}
		expire(ctx, calls)
		return
	}
	tried := 0
	if p.acquireAll(calls) {
		p.t.Run(p.o.Policy.attemptEnd(now, overall), calls)
		if p.settleAll(calls) == 0 {
			return
		}
		tried = 1
	}
	p.mend(ctx, overall, calls, tried)
}

// acquire takes the standing connection for a call, counts the call in flight on it, and addresses the call; false: there is none.
func (p *Pool) acquire(c *Call) bool {
	s := p.find(c.To)
	if s == nil {
		return false
	}
	conn := s.conn.Load()
	if conn == nil || !conn.Link.Alive() {
		return false
	}
	conn.inflight.Add(1)
	if conn.state.Load() != connGood { // looked at after counting: Close looks the other way round
		conn.inflight.Add(-1)
		return false
	}
	conn.Prepare(c)
	c.conn = conn
	return true
}

// acquireAll acquires for all calls or for none.
func (p *Pool) acquireAll(calls []*Call) bool {
	for i, c := range calls {
		if p.acquire(c) {
			continue
		}
		for _, done := range calls[:i] {
			done.conn.inflight.Add(-1)
			done.conn = nil
		}
		return false
	}
	p.reused.Add(uint64(len(calls)))
	return true
}

// settleAll draws the conclusions from calls that were run, and returns how many of them another attempt may mend.
func (p *Pool) settleAll(calls []*Call) int {
	mendable := 0
	for _, c := range calls {
		conn := c.conn
		c.conn = nil
		conn.inflight.Add(-1)
		if c.Err == nil {
			if conn.timeouts.Load() != 0 {
				conn.timeouts.Store(0)
			}
			continue
		}
		p.settle(c, conn)
		if again(c.Err) {
			mendable++
		}
	}
	return mendable
}

// settle looks at a failed call: what it says about the connection, and whether its error names the peer.
func (p *Pool) settle(c *Call, conn *Conn) {
	switch err := c.Err.(type) {
	case *Timeout:
		p.timeouts.Add(1)
		// The link may be healthy and the server slow: a late reply is told from others by its id.
		if conn.timeouts.Add(1) >= suspectAfter {
			conn.state.CompareAndSwap(connGood, connSuspect)
		}
	case *HandlerError:
		conn.timeouts.Store(0)
		if err.Status == StatusNoSession {
			c.Err = &ConnectionError{Remote: conn.name(), Reason: "the server does not know the session any more"}
			p.Drop(conn)
		}
	case *ConnectionError:
		p.Drop(conn)
	case *TransportError:
		if !conn.Link.Alive() {
			c.Err = &ConnectionError{Remote: conn.name(), Reason: err.Reason}
			p.Drop(conn)
		}
	}
}

// again is Mendable for the errors of a Call, without the cost of errors.As for an everyday ENOENT.
func again(err error) bool {
	if handler, ok := err.(*HandlerError); ok {
		return handler.Status == StatusBusy || handler.Status == StatusNoSession
	}
	return err != nil && Mendable(err)
}

// mend goes on after tried attempts: connect what is not connected, repeat what another attempt may mend.
func (p *Pool) mend(ctx context.Context, overall time.Time, calls []*Call, tried int) {
	ctx = WithDeadline(ctx, overall)
	todo := make([]*Call, 0, len(calls))
	for _, c := range calls {
		if tried == 0 || again(c.Err) {
			todo = append(todo, c)
		}
	}
	ready := make([]*Call, 0, len(todo))
	for ; len(todo) > 0; tried++ {
		if tried > 0 {
			if tried >= p.o.Policy.attempts() {
				return
			}
			next := p.nextAttempt(todo, tried)
			if !next.Before(overall) || SleepUntil(ctx, next) != nil {
				expire(ctx, todo)
				return
			}
			p.retries.Add(uint64(len(todo)))
		}
		ready = p.connectAll(ctx, todo, ready[:0])
		if len(ready) > 0 {
			p.t.Run(p.o.Policy.attemptEnd(time.Now(), overall), ready)
			p.settleAll(ready)
		}
		left := todo[:0]
		for _, c := range todo {
			if again(c.Err) {
				left = append(left, c)
			}
		}
		todo = left
	}
}

// nextAttempt is when attempt number tried+1 begins: after the back-off, and not while a peer's own back-off still forbids the dial,
// which would use the attempt up for nothing.
func (p *Pool) nextAttempt(todo []*Call, tried int) time.Time {
	next := time.Now().Add(p.o.Policy.backoff(tried))
	for _, c := range todo {
		if at := p.resumeAt(c.To); at.After(next) {
			next = at
		}
	}
	return next
}

// expire ends calls for which no time is left, or that nobody waits for any more. Why they failed so far stays their error, but
// "held by another operation" is, by now, a timeout.
func expire(ctx context.Context, calls []*Call) {
	cancelled := ctx.Err()
	if cancelled == context.DeadlineExceeded {
		cancelled = nil
	}
	for _, c := range calls {
		handler, held := c.Err.(*HandlerError)
		switch {
		case cancelled != nil:
			c.Err = cancelled
		case c.Err == nil || held && handler.Status == StatusBusy:
			c.Err = &Timeout{Remote: c.To.String()}
		}
	}
}

// connectAll acquires connections for the calls, dialling in parallel what is missing. It appends the calls that have one to ready; the
// others have Err set.
func (p *Pool) connectAll(ctx context.Context, calls, ready []*Call) []*Call {
	missing := make(map[PeerID]error)
	for _, c := range calls {
		if _, known := missing[c.To]; !known && p.Peek(c.To) == nil {
			missing[c.To] = nil
		}
	}
	p.dialMissing(ctx, missing)
	for _, c := range calls {
		err := missing[c.To]
		switch {
		case err != nil:
			c.Err = err
		case p.acquire(c):
			ready = append(ready, c)
		default:
			c.Err = &ConnectionError{Remote: c.To.String(), Reason: "connection lost as soon as it was made"}
		}
	}
	return ready
}

// dialMissing connects to the peers and notes the errors in the map. The first one is dialled on the caller's thread; the others, if
// there are any, beside it, so that one dead node costs its time once.
func (p *Pool) dialMissing(ctx context.Context, peers map[PeerID]error) {
	if len(peers) == 0 {
		return
	}
	var mu sync.Mutex // guards peers while the goroutines run
	var wg sync.WaitGroup
	queue := make(chan PeerID, len(peers))
	for peer := range peers {
		queue <- peer
	}
	close(queue)
	dial := func() {
		for peer := range queue {
			_, err := p.connect(ctx, p.slot(peer))
			mu.Lock()
			peers[peer] = err
			mu.Unlock()
		}
	}
	for range min(len(peers), dialFanout) - 1 {
		wg.Go(dial)
	}
	dial()
	wg.Wait()
}

// Warm connects to all peers, dialFanout at a time, so that the first operation need not. It returns the error of each peer that failed.
func (p *Pool) Warm(ctx context.Context, peers []PeerID) map[PeerID]error {
	all := make(map[PeerID]error, len(peers))
	for _, peer := range peers {
		all[peer] = nil
	}
	p.dialMissing(ctx, all)
	for peer, err := range all {
		if err == nil {
			delete(all, peer)
		}
	}
	return all
}
