package rpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/benchfs/benchfs/rpc/internal/alarm"
)

// connect returns the slot's connection, dialling if there is none that is good. Whoever comes first dials, the others wait for him.
func (p *Pool) connect(ctx context.Context, s *slot) (*Conn, error) {
	for {
		if ctx.Err() != nil {
			return nil, p.peerError(ctx, s.peer, ctx.Err())
		}
		s.mu.Lock()
		c := s.conn.Load()
		if c != nil && c.good() {
			s.mu.Unlock()
			p.reused.Add(1)
			return c, nil
		}
		if f := s.flight; f != nil {
			s.mu.Unlock()
			if err := waitFor(ctx, f.done); err != nil {
				return nil, p.peerError(ctx, s.peer, err)
			}
			if f.cutShort {
				continue
			}
			return f.conn, f.err
		}
		if err := s.lastErr; err != nil && time.Now().Before(s.notBefore) {
			s.mu.Unlock()
			return nil, err
		}
		f := &flight{done: make(chan struct{})}
		s.flight = f
		generation, refresh := s.generation, s.refresh
		s.mu.Unlock()
		p.fly(ctx, s, f, c, generation, refresh)
		return f.conn, f.err
	}
}

// fly carries out the dial f, and lands it whatever happens, a panic of the transport or the resolver included.
// old is a connection that is dead or under suspicion, or nil.
func (p *Pool) fly(ctx context.Context, s *slot, f *flight, old *Conn, generation uint64, refresh bool) {
	end := time.Now().Add(p.o.ConnectTimeout)
	own, bounded := ctx.Deadline()
	f.err = &ConnectionError{Remote: s.peer.String(), Reason: "dial given up"}
	defer func() {
		f.cutShort = f.err != nil && (ctx.Err() != nil || bounded && own.Before(end) && !time.Now().Before(own))
		p.land(s, f, generation)
	}()
	dctx := WithDeadline(ctx, end)
	if old == nil {
		f.conn, f.err = p.dial(dctx, s.peer, refresh)
		return
	}
	if old.state.Load() == connSuspect && old.Link.Alive() {
		target, err := p.o.Resolve(dctx, s.peer, true)
		if err != nil || old.leadsTo(target) {
			// The peer is the same, or nobody can tell: slow is not dead. The next timeout in a row asks again.
			old.timeouts.Store(suspectAfter - 1)
			old.state.CompareAndSwap(connSuspect, connGood)
			f.conn, f.same, f.err = old, true, nil
			return
		}
	}
	p.Drop(old)
	f.conn, f.err = p.dial(dctx, s.peer, true)
}

// land ends a flight: the connection is published, or the back-off begins, and those who wait go on.
func (p *Pool) land(s *slot, f *flight, generation uint64) {
	s.mu.Lock()
	s.flight = nil
	unwanted := f.conn != nil && !f.same && s.generation != generation
	switch {
	case unwanted:
		f.err = &ConnectionError{Remote: s.peer.String(), Reason: "closed while connecting"}
	case f.same:
	case f.conn != nil:
		s.conn.Store(f.conn)
		s.failures, s.notBefore, s.lastErr, s.refresh = 0, time.Time{}, nil, false
	case f.cutShort:
		s.refresh = true
	default:
		s.failures++
		s.notBefore = time.Now().Add(p.o.Policy.backoff(s.failures))
		s.lastErr, s.refresh = f.err, true
	}
	s.mu.Unlock()
	switch {
	case unwanted:
		_ = f.conn.Link.Close() // nobody has seen it
		f.conn = nil
	case f.conn == nil:
		p.failed.Add(1)
	case !f.same:
		p.dialled.Add(1)
	}
	close(f.done)
}

// resumeAt is when the next dial to the peer is allowed; zero: now.
func (p *Pool) resumeAt(peer PeerID) time.Time {
	s := p.find(peer)
	if s == nil {
		return time.Time{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.notBefore
}

// waitFor waits until done is closed, ctx ends or its deadline passes. No timer: see package alarm.
func waitFor(ctx context.Context, done <-chan struct{}) error {
	late := alarm.New()
	if deadline, ok := ctx.Deadline(); ok {
		late.Set(deadline)
		defer late.Stop()
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-late.C:
		return context.DeadlineExceeded
	}
}

// helloPatience is how long a peer may be silent to the first Hello before the resolver is asked whether it is still at that address;
// each further Hello gets twice as long.
const helloPatience = time.Second

// dial resolves the peer and makes a connection to it. If what was known about it is refused, it looks once more: the daemon
// may have been restarted since. If there is no answer, it looks again as well: a shard that has gone over to another worker cannot say so to
// those that it has not heard of.
func (p *Pool) dial(ctx context.Context, peer PeerID, refresh bool) (*Conn, error) {
	target, err := p.o.Resolve(ctx, peer, refresh)
	if err != nil {
		return nil, p.peerError(ctx, peer, err)
	}
	for patience := helloPatience; ; patience *= 2 {
		conn, answered, err := p.reach(ctx, peer, target, patience)
		if err == nil {
			return conn, nil
		}
		var refused *ConnectionError
		silent := !answered && errors.As(err, new(*Timeout)) && ctx.Err() == nil && timeLeft(ctx)
		if !silent && (refresh || !errors.As(err, &refused) || !refused.Refused) {
			return nil, err
		}
		again, resolveErr := p.o.Resolve(ctx, peer, true)
		if resolveErr != nil || !silent && again.Incarnation == target.Incarnation {
			return nil, err
		}
		target, refresh = again, true
	}
}

// timeLeft reports whether ctx's deadline has not passed yet; contexts of WithDeadline do not end by themselves.
func timeLeft(ctx context.Context) bool {
	end, bounded := ctx.Deadline()
	return !bounded || time.Now().Before(end)
}

// leadsTo reports whether the connection is one to the target, as far as the resolver can tell.
func (c *Conn) leadsTo(target Target) bool {
	return target.Incarnation == 0 || target.Incarnation == c.Incarnation && bytes.Equal(target.Worker, c.worker)
}

// reach makes a connection to a target: link, handshake, self-test, OnConnect. Nothing is left of it when one of them fails. The peer has
// patience to answer the Hello; answered tells whether it did, or was not even reached.
func (p *Pool) reach(ctx context.Context, peer PeerID, target Target, patience time.Duration) (conn *Conn, answered bool, err error) {
	link, err := p.t.Dial(ctx, target)
	if err != nil {
		return nil, true, p.peerError(ctx, peer, err)
	}
	c := &Conn{Peer: peer, Link: link, SameHost: target.SameHost, worker: target.Worker, pool: p}
	kept := false
	defer func() {
		if !kept {
			_ = link.Close() // the dial has failed already; this adds nothing to it
		}
	}()
	if err := p.handshake(WithDeadline(ctx, time.Now().Add(patience)), c, target); err != nil {
		return nil, false, p.peerError(ctx, peer, err)
	}
	if p.o.SelfTest && !target.SameHost {
		if err := p.selfTest(ctx, c); err != nil {
			return nil, true, p.peerError(ctx, peer, err)
		}
	}
	c.Transport = link.Info().Transport
	if p.o.OnConnect != nil {
		if err := p.o.OnConnect(ctx, c); err != nil {
			return nil, true, p.peerError(ctx, peer, err)
		}
	}
	kept = true
	return c, true, nil
}

// peerError makes an error of dialling one that names the peer and carries an errno.
func (p *Pool) peerError(ctx context.Context, peer PeerID, err error) error {
	var connection *ConnectionError
	var timeout *Timeout
	var transfer *TransportError
	var handler *HandlerError
	var invalid *InvalidHeader
	switch {
	case errors.As(err, &connection), errors.As(err, &timeout), errors.As(err, &transfer):
		return err
	case errors.As(err, &handler), errors.As(err, &invalid), errors.Is(err, context.Canceled):
		return fmt.Errorf("connection to %s: %w", peer, err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(ctx.Err(), context.DeadlineExceeded):
		return &Timeout{Remote: peer.String()}
	}
	return &ConnectionError{Remote: peer.String(), Reason: err.Error()}
}
