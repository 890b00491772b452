package server

import (
	"slices"
	"time"

	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/internal/inode"
	"github.com/benchfs/benchfs/internal/memcopy"
	"github.com/benchfs/benchfs/meta"
	"github.com/benchfs/benchfs/rpc"
)

// Appends. One whose bytes come along with the message and go into one chunk of this shard is made at once: data, then size. Any other
// gets the range behind the end of the file (meta.Reservation), and its client writes there and ends it (MsgEndAppend). As long as it has
// the range, it has the end of the file: what else would move the end waits here, in the order of arrival.
//
// The range is its append's until that ends, or gives up, or its client is gone, or nothing was heard of it for longer than its client
// waits for an answer. In the last three cases late bytes may still arrive. So the range is not given to anybody else: who comes next
// begins behind it, and what was not written of it is a hole.

// fileEnd is the end of a file that an append has, or has had until it was given up. All of it is the shard's thread's.
type fileEnd struct {
	expires time.Time       // the append has the end until then
	waiting []parkedRequest // in order of arrival
	serving bool            // wakeEnd is at work on waiting
}

// atEnd makes a request wait that would move the end of a file which an append of somebody else has. The request is dispatched again when
// its turn comes.
func (s *Shard) atEnd(r *rpc.Request, ino inode.Ino) (waits bool) {
	e := s.ends[ino]
	if e != nil {
		s.wakeEnd(ino, e) // they were here first
	}
	if !s.endTaken(r, ino) {
		return false
	}
	e = s.ends[ino]
	e.waiting = append(e.waiting, parkedRequest{r: r, expires: time.Now().Add(patience(r))})
	return true
}

// endTaken reports whether an append of somebody else has the end of a file.
func (s *Shard) endTaken(r *rpc.Request, ino inode.Ino) bool {
	a, reserved := s.o.Meta.Reservation(ino)
	if !reserved || a.Req == reqID(r) {
		return false
	}
	e := s.ends[ino]
	if e == nil { // made in an earlier life of the shard: its client goes on with it
		e = &fileEnd{expires: leaseOf(r)}
		s.ends[ino] = e
	}
	return time.Now().Before(e.expires)
}

// grows reports whether a file is shorter than end, as far as this shard can tell.
func (s *Shard) grows(ino inode.Ino, end uint64) bool {
	a, err := s.o.Meta.Attr(ino)
	return err == nil && a.Size < end
}

// leaseOf is until when an append has the end of the file if nothing is heard of it after r.
func leaseOf(r *rpc.Request) time.Time { return time.Now().Add(2 * patience(r)) }

// wakeEnd serves those that wait for the end of a file, up to the first that gets it for longer.
func (s *Shard) wakeEnd(ino inode.Ino, e *fileEnd) {
	if e.serving {
		return
	}
	e.serving = true
	for len(e.waiting) > 0 && !s.endTaken(e.waiting[0].r, ino) {
		w := e.waiting[0]
		e.waiting = append(e.waiting[:0], e.waiting[1:]...)
		s.serveOrExpire(w)
	}
	e.serving = false
	if _, reserved := s.o.Meta.Reservation(ino); !reserved && len(e.waiting) == 0 {
		delete(s.ends, ino)
	}
}

// serveOrExpire dispatches a request that has waited, unless nobody waits for its answer any more: to append for nobody would leave a hole.
func (s *Shard) serveOrExpire(w parkedRequest) {
	if time.Now().Before(w.expires) {
		s.dispatch(w.r)
		return
	}
	s.release(w.r)
	w.r.Reply(rpc.StatusBusy, 0, nil, nil)
}

// waitingAtEnds is how many requests wait for the end of a file.
func (s *Shard) waitingAtEnds() (n int) {
	for _, e := range s.ends {
		n += len(e.waiting)
	}
	return n
}

// checkEnds is Tick for the ends of files: those that nothing was heard of go to who waits.
func (s *Shard) checkEnds(now time.Time) {
	for ino, e := range s.ends {
		if now.After(e.expires) {
			e.expires = time.Time{}
		}
		s.expire(&e.waiting, now)
		s.wakeEnd(ino, e)
	}
}

// dropAppends gives up the appends of a client that is gone, and forgets what it waits for.
func (s *Shard) dropAppends(client uint64) {
	for ino, e := range s.ends {
		e.waiting = slices.DeleteFunc(e.waiting, func(w parkedRequest) bool {
			gone := w.r.Header.Client == client
			if gone {
				s.release(w.r)
				w.r.Reply(rpc.StatusBusy, 0, nil, nil)
			}
			return gone
		})
		if a, reserved := s.o.Meta.Reservation(ino); reserved && a.Req.Client == client {
			e.expires = time.Time{}
		}
		s.wakeEnd(ino, e)
	}
}

func (s *Shard) appendData(r *rpc.Request) error {
	var m rpc.Append
	if err := m.Decode(r.Body); err != nil {
		return err
	}
	if err := s.here(m.Ino); err != nil {
		return err
	}
	id := reqID(r)
	switch n := r.Header.BulkLen; {
	case id.Op == 0:
		return &rpc.InvalidHeader{Reason: "an append needs an operation number"}
	case m.Length == 0, n != 0 && n != m.Length:
		return &rpc.InvalidHeader{Reason: "payload length does not match that of the append"}
	}
	if done, ok := s.o.Meta.Done(id); ok {
		a, err := s.o.Meta.Attr(m.Ino)
		return s.appended(r, rpc.AppendReply{Offset: done.Offset, Written: true, Attr: a}, err)
	}
	if _, again := s.o.Meta.ReservationOf(id, m.Ino); !again {
		payload, ready, err := s.payload(r, pageBytes)
		if err != nil || !ready || s.atEnd(r, m.Ino) {
			return err
		}
		if len(payload) > 0 {
			if answer, done, err := s.appendHere(id, m.Ino, payload); done || err != nil {
				return s.appended(r, answer, err)
			}
		}
	}
	a, attr, err := s.o.Meta.Reserve(id, m.Ino, m.Length)
	if err == nil {
		s.renewLease(r, id, m.Ino)
	}
	return s.appended(r, rpc.AppendReply{Offset: a.Offset, Attr: attr}, err)
}

// renewLease notes that something was heard, by r, of append id. It matters if that has the end of the file.
func (s *Shard) renewLease(r *rpc.Request, id meta.ReqID, ino inode.Ino) {
	if a, reserved := s.o.Meta.Reservation(ino); !reserved || a.Req != id {
		return
	}
	e := s.ends[ino]
	if e == nil {
		e = &fileEnd{}
		s.ends[ino] = e
	}
	e.expires = leaseOf(r)
}

// appended answers an Append.
func (s *Shard) appended(r *rpc.Request, answer rpc.AppendReply, err error) error {
	if err != nil {
		return err
	}
	s.body = answer.AppendTo(s.body[:0])
	s.ok(r, s.body)
	return nil
}

// appendHere makes an append in one step: the bytes, and when they can be read, the size. done is false, and nothing has happened, if they do not
// all go into one chunk of this shard, or the store takes its time.
func (s *Shard) appendHere(id meta.ReqID, ino inode.Ino, data []byte) (answer rpc.AppendReply, done bool, err error) {
	length := uint64(len(data))
	offset, a, err := s.o.Meta.AppendOffset(ino, length)
	if err != nil || s.device != nil {
		return answer, false, err
	}
	chunk, at := offset>>a.Layout.ChunkBits, uint32(offset&(1<<a.Layout.ChunkBits-1))
	if uint64(at)+length > 1<<a.Layout.ChunkBits || !s.ownsChunk(&a, chunk) {
		return answer, false, nil
	}
	w, err := s.o.Store.Begin(uint64(ino), chunk, at, uint32(length), a.TruncGen, a.Layout.ChunkBits)
	if err != nil {
		return answer, false, err
	}
	s.spaceTaken()
	s.moved.BufferedBytes += length
	memcopy.In(w.Data, data)
	if err := s.o.Store.Commit(w); err != nil {
		return answer, false, err
	}
	a, err = s.o.Meta.Append(id, ino, offset, offset+length, a.TruncGen)
	return rpc.AppendReply{Offset: offset, Written: true, Attr: a}, true, err
}

// ownsChunk reports whether a chunk of a file, whose inode is here, is here too.
func (s *Shard) ownsChunk(a *inode.Attr, chunk uint64) bool {
	var runs []layout.Run
	if a.Layout.Strategy == layout.Local {
		runs, _ = s.o.Meta.Runs(a.Ino)
	}
	shard, placed := layout.ChunkNode(a.Layout, uint64(a.Ino), chunk, runs)
	return placed && shard == s.o.Peer.Shard
}

// endAppend takes in how far an append is whose bytes its client writes.
func (s *Shard) endAppend(r *rpc.Request) error {
	var m rpc.EndAppend
	if err := m.Decode(r.Body); err != nil {
		return err
	}
	if err := s.here(m.Ino); err != nil {
		return err
	}
	id := meta.ReqID{Client: r.Header.Client, Op: m.Ref}
	a, err := s.moveEnd(id, &m)
	if err != nil {
		return err
	}
	s.renewLease(r, id, m.Ino)
	e := s.ends[m.Ino]
	if own, _ := s.o.Meta.Reservation(m.Ino); own.Req == id && m.State == rpc.AppendBroken {
		e.expires = time.Time{}
	}
	answer := rpc.AttrReply{Attr: a}
	s.body = answer.AppendTo(s.body[:0])
	s.ok(r, s.body)
	if e != nil {
		s.wakeEnd(m.Ino, e)
	}
	return nil
}

// moveEnd makes the file as long as an append has got.
func (s *Shard) moveEnd(id meta.ReqID, m *rpc.EndAppend) (inode.Attr, error) {
	if m.State == rpc.AppendEnded {
		return s.o.Meta.Append(id, m.Ino, m.Offset, m.End, m.Gen)
	}
	a, err := s.o.Meta.Attr(m.Ino)
	switch {
	case err != nil:
		return a, err
	case a.TruncGen != m.Gen:
		return a, fserr.ErrStaleGeneration
	case m.End <= a.Size:
		return a, nil
	}
	return s.o.Meta.Extend(m.Ino, m.End, m.Gen)
}
