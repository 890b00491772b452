package server

import (
	"time"

	"github.com/benchfs/benchfs/rpc"
	"github.com/benchfs/benchfs/store"
)

// A store that takes its time (store.Device): requests are started there, the shard goes on, and what has ended is answered in Poll, which
// the transport's loop calls. Requests that find all the store's buffers in use wait in a queue, in order.

var _ rpc.Poller = (*Shard)(nil)

// thirst is the requests that wait for buffers.
type thirst struct {
	requests []parkedRequest
	trying   *rpc.Request // the first of them, while it is being served
	inVain   bool         // and has found no buffers again
}

// add puts a request at the end; one that was first and has found no buffers stays where it is.
func (q *thirst) add(r *rpc.Request) {
	if q.trying == r {
		q.inVain = true
		return
	}
	q.requests = append(q.requests, parkedRequest{r: r, expires: time.Now().Add(patience(r))})
}

// queued makes a request wait if others do.
func (s *Shard) queued(r *rpc.Request) bool {
	if s.waiting.trying == r || len(s.waiting.requests) == 0 {
		return false
	}
	s.waiting.add(r)
	return true
}

// serveWaiting serves those that wait for buffers, as far as there are any. started: one was.
func (s *Shard) serveWaiting() (started bool) {
	q := &s.waiting
	for len(q.requests) > 0 {
		r := q.requests[0].r
		q.trying, q.inVain = r, false
		s.dispatch(r)
		q.trying = nil
		if q.inVain {
			break
		}
		n := copy(q.requests, q.requests[1:])
		q.requests[n] = parkedRequest{}
		q.requests = q.requests[:n]
		started = true
	}
	return started
}

// EventFD implements rpc.Poller.
func (s *Shard) EventFD() int {
	if s.device == nil {
		return -1
	}
	return s.device.EventFD()
}

// Poll implements rpc.Poller.
func (s *Shard) Poll() (busy bool) {
	if s.device == nil {
		return false
	}
	for {
		busy = s.device.Poll()
		for {
			e, ok := s.device.Next()
			if !ok {
				break
			}
			s.ended(e)
		}
		if !s.serveWaiting() {
			return busy
		}
	}
}

// ended answers a request whose operation has ended.
func (s *Shard) ended(e store.Ending) {
	r := e.Tag.(*rpc.Request)
	if r.Header.Type == rpc.MsgWriteChunk {
		s.committed(r, e.Err)
		return
	}
	if e.Err != nil {
		s.fail(r, e.Err)
		return
	}
	if r.Header.Type != rpc.MsgReadChunk {
		s.ok(r, nil)
		return
	}
	var m rpc.ReadChunk
	if err := m.Decode(r.Body); err != nil { // it was good before
		s.o.Store.Release(e.View)
		s.fail(r, err)
		return
	}
	s.sendView(r, &m, e.View)
}

func (s *Shard) readFromDevice(r *rpc.Request, m *rpc.ReadChunk) error {
	if s.queued(r) {
		return nil
	}
	view, done, err := s.device.StartView(uint64(m.Ino), m.Chunk, m.Offset, m.Length, m.Gen, r)
	if err == nil && done {
		s.sendView(r, m, view)
	}
	return err
}

func (s *Shard) commitToDevice(r *rpc.Request, w store.Write) {
	if done, err := s.device.StartCommit(w, r); done {
		s.committed(r, err)
	}
}

func (s *Shard) reserveOnDevice(r *rpc.Request, m *rpc.ReserveChunk) error {
	done, err := s.device.StartReserve(uint64(m.Ino), m.Chunk, m.Length, m.Gen, m.ChunkBits, r)
	if err == nil && done {
		s.ok(r, nil)
	}
	return err
}
