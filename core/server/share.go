package server

import (
	"math"
	"syscall"
	"time"

	"github.com/pkg/errors"

	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/internal/inode"
	"github.com/benchfs/benchfs/meta"
	"github.com/benchfs/benchfs/rpc"
	"github.com/benchfs/benchfs/store"
)

// Clients on the shard's own machine that read and write chunks in place: ARCHITECTURE.md, "On one machine". The shard tells them places (ReadChunkReply,
// WrittenReply); whether a place still holds they see on the board (shm), without asking. New bytes are written between
// BeginWrite, which finds room for them, and EndWrite, which makes them count.

// begunWrite is a write whose bytes a client is putting in place.
type begunWrite struct {
	write   store.Write
	bare    bool
	expires time.Time // whoever began it has given up by then
}

// maxBegun bounds the writes that clients have begun and not ended: each pins room.
const maxBegun = 1 << 14

// place is what a client that wants it is told of a chunk's place.
func (s *Shard) place(ino inode.Ino, chunk uint64, gen uint32, wanted bool) rpc.Place {
	if !wanted || s.shared == nil {
		return rpc.Place{}
	}
	return onWire(s.shared.PlaceOf(uint64(ino), chunk, gen))
}

func onWire(p store.Place, ok bool) rpc.Place {
	if !ok {
		return rpc.Place{}
	}
	return rpc.Place{Held: true, Slot: p.Slot, Serial: p.Serial, Segment: p.Segment, Offset: p.Offset, Bytes: p.Bytes}
}

// checkWrite is what a write of any kind must satisfy.
func checkWrite(m *rpc.WriteChunk) error {
	switch {
	case m.ChunkBits < layout.MinChunkBits || m.ChunkBits > layout.MaxChunkBits:
		return &rpc.InvalidHeader{Reason: "chunk size out of range"}
	case uint64(m.Offset)+uint64(m.Length) > 1<<m.ChunkBits:
		return &rpc.InvalidHeader{Reason: "range beyond the chunk"}
	case m.Length == 0:
		return &rpc.InvalidHeader{Reason: "write of nothing"}
	case m.End > math.MaxInt64:
		return errors.WithStack(syscall.EFBIG)
	}
	return nil
}

func (s *Shard) beginWrite(r *rpc.Request) error {
	var m rpc.WriteChunk
	if err := m.Decode(r.Body); err != nil {
		return err
	}
	if err := checkWrite(&m); err != nil {
		return err
	}
	if s.shared == nil {
		return errors.WithStack(syscall.EOPNOTSUPP)
	}
	id := reqID(r)
	if id.Op == 0 {
		return &rpc.InvalidHeader{Reason: "a write that is begun needs an operation number"}
	}
	b, known := s.begun[id]
	if !known {
		if len(s.begun) >= maxBegun {
			return errors.WithStack(syscall.EAGAIN)
		}
		var err error
		if b.write, b.bare, err = s.shared.BeginBare(uint64(m.Ino), m.Chunk, m.Offset, m.Length, m.Gen, m.ChunkBits); err != nil {
			return err
		}
	}
	place := onWire(s.shared.PlaceOfWrite(b.write))
	if !place.Held {
		delete(s.begun, id)
		s.shared.Abort(b.write)
		return errors.WithStack(syscall.EAGAIN)
	}
	now := time.Now()
	b.expires = now.Add(2 * patience(r))
	s.roomGiven(b.bare, now)
	s.begun[id] = b
	answer := rpc.BeginWriteReply{Place: place, Bare: b.bare}
	s.body = answer.AppendTo(s.body[:0])
	s.ok(r, s.body)
	return nil
}

func (s *Shard) endWrite(r *rpc.Request) error {
	var m rpc.EndWrite
	if err := m.Decode(r.Body); err != nil {
		return err
	}
	id := meta.ReqID{Client: r.Header.Client, Op: m.Ref}
	b, known := s.begun[id]
	if !known {
		return errors.WithStack(syscall.EIDRM)
	}
	if !m.Commit {
		delete(s.begun, id)
		s.shared.Abort(b.write)
		return s.wrote(r, rpc.Place{}, 0, 0, 0)
	}
	answer := rpc.WrittenReply{}
	if m.End > 0 { // first whether the file may grow: it may have to wait for that, and then all of this runs again
		if err := s.here(m.Ino); err != nil {
			return err
		}
		if s.grows(m.Ino, m.End) && s.atEnd(r, m.Ino) {
			return nil
		}
		if err := s.o.Meta.CheckExtend(m.Ino, m.End, m.Gen); err != nil {
			return err
		}
	}
	delete(s.begun, id)
	if err := s.shared.Commit(b.write); err != nil {
		return err
	}
	if m.End > 0 { // nobody sees the new size before the bytes count
		if err := s.extendHere(r, &answer, m.Ino, m.End, m.Gen); err != nil {
			return err
		}
	}
	s.body = answer.AppendTo(s.body[:0])
	s.ok(r, s.body)
	return nil
}

// wrote answers a write whose bytes count now, and makes the file longer if that was asked for.
func (s *Shard) wrote(r *rpc.Request, place rpc.Place, ino inode.Ino, end uint64, gen uint32) error {
	answer := rpc.WrittenReply{Place: place}
	if end > 0 {
		if err := s.extendHere(r, &answer, ino, end, gen); err != nil {
			return err
		}
	}
	s.body = answer.AppendTo(s.body[:0])
	s.ok(r, s.body)
	return nil
}

// extendHere is Extend as the last part of a write. fserr.ErrBusy while an append has the end of the file.
func (s *Shard) extendHere(r *rpc.Request, answer *rpc.WrittenReply, ino inode.Ino, end uint64, gen uint32) error {
	if err := s.here(ino); err != nil {
		return err
	}
	if s.grows(ino, end) && s.endTaken(r, ino) {
		return fserr.ErrBusy
	}
	attr, err := s.o.Meta.Extend(ino, end, gen)
	if err != nil {
		return err
	}
	answer.HasAttr, answer.Attr = true, attr
	return nil
}

// abortWrites forgets begun writes, of clients that are gone or have given up. One may be alive after all: if it has not begun to copy, it finds its
// place void; if it is copying, it has announced that, and nobody else gets the room before it has ended (shm).
func (s *Shard) abortWrites(which func(id meta.ReqID, b begunWrite) bool) {
	for id, b := range s.begun {
		if which(id, b) {
			delete(s.begun, id)
			s.shared.Abort(b.write)
		}
	}
}
