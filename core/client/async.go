package client

import (
	"context"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/pkg/errors"

	"github.com/benchfs/benchfs/fserr"
)

// Reads and writes that the caller does not wait for. They are ordinary Preads and Pwrites, run by a few goroutines of their own, so that they go
// on while the application computes, whether it looks at them or not (strong progress, as MPI calls it). A short one whose bytes are in this
// process's reach is done at once instead: handing it over would cost more than the copy. Who waits for a request that nobody has begun yet runs
// it on the spot.

// atOnce is the longest request that is done where it is made, when that takes no message: bytes.
const atOnce = 64 << 10

// states of a Request.
const (
	requestQueued int32 = iota
	requestRunning
	requestDone
)

// Request is a read or write in progress.
type Request struct {
	c      *Client
	file   *File
	p      []byte
	off    int64
	write  bool
	state  atomic.Int32
	cancel context.CancelFunc // nil when it was done at once
	ctx    context.Context
	over   chan struct{} // closed when it is done; nil when it was done at once

	n     int
	err   error
	cause any // of a panic
}

// async runs the requests of a Client.
type async struct {
	mu      sync.Mutex
	wake    sync.Cond
	queue   []*Request // waiting, oldest first; some may have been taken by those who wait for them
	idle    int        // runners that wait for work
	runners int
	most    int
	ending  bool
	ended   sync.WaitGroup
}

// StartRead begins a Pread. p belongs to the request until it is over.
func (f *File) StartRead(p []byte, off int64) (*Request, error) {
	if len(p) <= atOnce {
		if n, ok := f.directRead(p, off); ok {
			return finished(n), nil
		}
	}
	return f.start(p, off, false)
}

// StartWrite begins a Pwrite, likewise.
func (f *File) StartWrite(p []byte, off int64) (*Request, error) {
	if len(p) <= atOnce && f.directWrite(p, off) {
		return finished(len(p)), nil
	}
	return f.start(p, off, true)
}

func finished(n int) *Request {
	r := &Request{n: n}
	r.state.Store(requestDone)
	return r
}

func (f *File) start(p []byte, off int64, write bool) (*Request, error) {
	r := &Request{c: f.c, file: f, p: p, off: off, write: write, over: make(chan struct{})}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	f.Retain() // closing the file's last handle does not end what is under way
	if f.c.async.add(r) {
		return r, nil
	}
	r.cancel()
	_ = f.drop(context.Background())
	return nil, fserr.New("start", f.name, syscall.ENOTCONN, errors.New("the file system is being closed"))
}

// Done reports whether the request is over, without waiting.
func (r *Request) Done() bool { return r.state.Load() == requestDone }

// Wait waits until the request is over and returns what Pread or Pwrite would have. It may be called again. A panic of the work is passed on.
func (r *Request) Wait() (int, error) {
	if !r.Done() {
		if r.state.CompareAndSwap(requestQueued, requestRunning) {
			r.run()
		} else {
			<-r.over
		}
	}
	if r.cause != nil {
		panic(r.cause)
	}
	return r.n, r.err
}

// Cancel gives up on the request: if it has not begun yet, it never will, and ends with ECANCELED; if it has, it ends as it does, earlier where it
// was waiting to be repeated. It must be waited for in either case: until then p is the request's.
func (r *Request) Cancel() {
	if r.cancel != nil {
		r.cancel()
	}
}

// run does the work, on the goroutine that has won the request.
func (r *Request) run() {
	defer func() {
		if r.cause = recover(); r.cause == nil {
			_ = r.file.drop(context.Background()) // nobody is there to be told
		}
		r.cancel()
		r.p = nil
		r.state.Store(requestDone)
		close(r.over)
	}()
	switch {
	case r.ctx.Err() != nil:
		r.err = fserr.New("request", r.file.name, syscall.ECANCELED, errors.New("cancelled before it began"))
	case r.write:
		r.n, r.err = r.file.Pwrite(r.ctx, r.p, r.off)
	default:
		r.n, r.err = r.file.Pread(r.ctx, r.p, r.off)
	}
}

// add queues a request; false: the Client is being closed.
func (a *async) add(r *Request) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ending {
		return false
	}
	a.queue = append(a.queue, r)
	switch {
	case a.idle > 0:
		a.wake.Signal()
	case a.runners < a.most:
		a.runners++
		a.ended.Add(1)
		go a.serve()
	}
	return true
}

// next takes the oldest request that nobody has begun; nil: no more will come.
func (a *async) next() *Request {
	a.mu.Lock()
	defer a.mu.Unlock()
	for {
		for len(a.queue) > 0 {
			r := a.queue[0]
			a.queue[0] = nil
			if a.queue = a.queue[1:]; len(a.queue) == 0 {
				a.queue = nil
			}
			if r.state.CompareAndSwap(requestQueued, requestRunning) {
				return r
			}
		}
		if a.ending {
			return nil
		}
		a.idle++
		a.wake.Wait()
		a.idle--
	}
}

func (a *async) serve() {
	defer a.ended.Done()
	for r := a.next(); r != nil; r = a.next() {
		r.run()
	}
}

// close cancels what has not begun, and waits for the rest.
func (a *async) close() {
	a.mu.Lock()
	a.ending = true
	for _, r := range a.queue {
		r.Cancel()
	}
	a.wake.Broadcast()
	a.mu.Unlock()
	a.ended.Wait()
}
