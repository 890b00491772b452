package server

import (
	"syscall"

	"github.com/pkg/errors"

	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/internal/memcopy"
	"github.com/benchfs/benchfs/rpc"
	"github.com/benchfs/benchfs/store"
)

// echo sends the payload back: the self-test of a new connection.
func (s *Shard) echo(r *rpc.Request) error {
	payload, ready, err := s.payload(r, pageBytes)
	if err != nil || !ready {
		return err
	}
	o, _ := r.Op.(*op)
	if o == nil {
		o = s.newOp(r, opPage)
		if o.page, err = pages.get(); err != nil {
			return err
		}
		copy(o.page, payload)
	}
	o.kind = opPage
	s.replyPage(r, nil, o.page[:len(payload)])
	return nil
}

// payload returns the request's payload once it has arrived; ready == false: it is on its way, and the handler runs again.
func (s *Shard) payload(r *rpc.Request, limit int) (payload []byte, ready bool, err error) {
	n := r.Header.BulkLen
	if o, _ := r.Op.(*op); o != nil && o.kind == opPayload {
		return o.page[:n], true, nil
	}
	switch {
	case n > uint64(limit) || n > pageBytes:
		return nil, false, &rpc.InvalidHeader{Reason: "payload too large for its type"}
	case n == 0:
		return nil, true, nil
	case r.Payload != nil:
		return r.Payload, true, nil
	}
	o := s.newOp(r, opPayload)
	if o.page, err = pages.get(); err != nil {
		return nil, false, err
	}
	ready, err = r.Recv(o.page)
	return o.page[:n], ready, err
}

// replyPage answers with a payload that lies in the page of the request's op.
func (s *Shard) replyPage(r *rpc.Request, body, payload []byte) {
	o := r.Op.(*op)
	if r.Reply(rpc.StatusOK, 0, body, payload) {
		s.freeOp(o)
	}
}

// newPage gives the request a page to build its reply's payload in.
func (s *Shard) newPage(r *rpc.Request) (*op, error) {
	page, err := pages.get()
	if err != nil {
		return nil, errors.Wrap(err, "no memory for a reply")
	}
	o := s.newOp(r, opPage)
	o.page = page
	return o, nil
}

func (s *Shard) describe(r *rpc.Request) error {
	o, err := s.newPage(r)
	if err != nil {
		return err
	}
	s.replyPage(r, nil, append(o.page[:0], s.o.Describe()...))
	return nil
}

// readChunk answers with what is present, straight out of the store's memory.
func (s *Shard) readChunk(r *rpc.Request) error {
	var m rpc.ReadChunk
	if err := m.Decode(r.Body); err != nil {
		return err
	}
	if uint64(m.Offset)+uint64(m.Length) > 1<<layout.MaxChunkBits {
		return &rpc.InvalidHeader{Reason: "range beyond the largest chunk"}
	}
	if s.device != nil {
		return s.readFromDevice(r, &m)
	}
	view, err := s.o.Store.View(uint64(m.Ino), m.Chunk, m.Offset, m.Length, m.Gen)
	if err != nil {
		return err
	}
	s.sendView(r, &m, view)
	return nil
}

// sendView answers with what a View shows.
func (s *Shard) sendView(r *rpc.Request, m *rpc.ReadChunk, view store.View) {
	o := s.newOp(r, opRead)
	o.view = view
	s.moved.SentBytes += uint64(len(view.Data))
	answer := rpc.ReadChunkReply{Present: uint32(len(view.Data)), Place: s.place(m.Ino, m.Chunk, m.Gen, m.Share)}
	if answer.Place.Held && m.Chunk == 0 && s.watcher != nil && m.Ino.Shard() == s.o.Peer.Shard {
		if a, err := s.o.Meta.Attr(m.Ino); err == nil { // the place that it shows may have been an old one
			s.watcher.InodeChanged(&a)
		}
	}
	s.body = answer.AppendTo(s.body[:0])
	if r.Reply(rpc.StatusOK, 0, s.body, view.Data) {
		s.o.Store.Release(view)
		s.freeOp(o)
	}
}

// writeChunk takes the payload straight into the store's memory.
func (s *Shard) writeChunk(r *rpc.Request) error {
	var m rpc.WriteChunk
	if err := m.Decode(r.Body); err != nil {
		return err
	}
	if err := checkWrite(&m); err != nil {
		return err
	}
	if uint64(m.Length) != r.Header.BulkLen {
		return &rpc.InvalidHeader{Reason: "payload length does not match the range"}
	}
	if s.queued(r) {
		return nil
	}
	w, err := s.o.Store.Begin(uint64(m.Ino), m.Chunk, m.Offset, m.Length, m.Gen, m.ChunkBits)
	if err != nil {
		return err
	}
	s.spaceTaken()
	o := s.newOp(r, opWrite)
	o.write = w
	if r.Payload != nil {
		s.moved.BufferedBytes += uint64(len(r.Payload))
		memcopy.In(w.Data, r.Payload)
		s.written(r, o, nil)
		return nil
	}
	s.moved.FetchedBytes += uint64(len(w.Data))
	if done, err := r.Recv(w.Data); done || err != nil {
		s.written(r, o, err)
	}
	return nil
}

// written ends a write: the payload is in place, or will never be.
func (s *Shard) written(r *rpc.Request, o *op, err error) {
	w := o.write
	r.Op = nil
	s.freeOp(o)
	if err != nil {
		s.o.Store.Abort(w)
		s.fail(r, err)
		return
	}
	if s.device != nil {
		s.commitToDevice(r, w)
		return
	}
	s.committed(r, s.o.Store.Commit(w))
}

// committed goes on when the bytes are in the store, or will not be.
func (s *Shard) committed(r *rpc.Request, err error) {
	if err != nil {
		s.fail(r, err)
		return
	}
	s.finishWrite(r)
}

// finishWrite answers a WriteChunk whose bytes count now, after the rest of what it asks for.
func (s *Shard) finishWrite(r *rpc.Request) {
	var m rpc.WriteChunk
	err := m.Decode(r.Body)
	if err == nil {
		err = s.wrote(r, s.place(m.Ino, m.Chunk, m.Gen, m.Share), m.Ino, m.End, m.Gen)
	}
	switch {
	case errors.Is(err, fserr.ErrBusy): // not to be parked: the payload cannot be had again, the client repeats the whole
		s.release(r)
		r.Reply(rpc.StatusBusy, 0, nil, nil)
	case err != nil:
		s.fail(r, err)
	}
}

func (s *Shard) reserveChunk(r *rpc.Request) error {
	var m rpc.ReserveChunk
	if err := m.Decode(r.Body); err != nil {
		return err
	}
	if m.ChunkBits < layout.MinChunkBits || m.ChunkBits > layout.MaxChunkBits || uint64(m.Length) > 1<<m.ChunkBits {
		return &rpc.InvalidHeader{Reason: "length beyond the chunk"}
	}
	if s.device != nil {
		return s.reserveOnDevice(r, &m)
	}
	if err := s.o.Store.Reserve(uint64(m.Ino), m.Chunk, m.Length, m.Gen, m.ChunkBits); err != nil {
		return err
	}
	s.ok(r, nil)
	return nil
}

func (s *Shard) truncateChunks(r *rpc.Request) error {
	var m rpc.TruncateChunks
	if err := m.Decode(r.Body); err != nil {
		return err
	}
	if err := s.o.Store.Truncate(uint64(m.Ino), m.Gen, m.Size, m.ChunkBits); err != nil {
		return err
	}
	s.ok(r, nil)
	return nil
}

func (s *Shard) purgeChunks(r *rpc.Request) error {
	var m rpc.PurgeChunks
	if err := m.Decode(r.Body); err != nil {
		return err
	}
	if err := s.o.Store.Purge(uint64(m.Ino)); err != nil {
		return err
	}
	s.ok(r, nil)
	return nil
}

// syncChunks flushes beside the shard: a medium may take its time.
func (s *Shard) syncChunks(r *rpc.Request) error {
	var m rpc.SyncChunks
	if err := m.Decode(r.Body); err != nil {
		return err
	}
	flushData, flushMeta := s.o.Store.Sync(uint64(m.Ino)), s.o.Meta.Sync()
	if flushData == nil && flushMeta == nil {
		s.ok(r, nil)
		return nil
	}
	if !s.spawn(func() { s.flush(r, flushData, flushMeta) }) {
		return errors.WithStack(syscall.ESHUTDOWN)
	}
	return nil
}

func (s *Shard) flush(r *rpc.Request, steps ...func() error) {
	var err error
	for _, step := range steps {
		if step != nil && err == nil {
			err = step()
		}
	}
	s.onShard(func() {
		if err != nil {
			s.fail(r, err)
			return
		}
		s.ok(r, nil)
	})
}

func (s *Shard) statStore(r *rpc.Request) error {
	usage := s.o.Store.Usage()
	answer := rpc.StatStoreReply{
		CapacityBytes: usage.CapacityBytes,
		UsedBytes:     usage.UsedBytes,
		Chunks:        usage.Chunks,
		Inodes:        s.o.Meta.Usage().Inodes,
	}
	s.body = answer.AppendTo(s.body[:0])
	s.ok(r, s.body)
	return nil
}
