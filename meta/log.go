package meta

import "io"

// journal is what the shard needs of a log. *wal.Log is the one that keeps its promise; the tests have one that can be cut
// at any record.
type journal interface {
	// Replay hands over the last snapshot and the records after it. Once, before Append.
	Replay(snapshot func(r io.Reader) error, record func(rec []byte) error) error
	// Append makes one record (the concatenation of parts) survive the death of this process.
	Append(parts ...[]byte) error
	// Bytes is the length of the log since the last snapshot.
	Bytes() int64
	// Checkpoint replaces the log by the snapshot that write produces.
	Checkpoint(write func(w io.Writer) error) error
	// Sync returns a function that makes what has been appended survive power loss; it may run on any goroutine.
	Sync() func() error
	Close() error
}

// commit makes a checked change: log first, then memory. When the log refuses (ENOSPC, EIO) nothing has changed.
func (s *Shard) commit(r *record) error {
	if err := s.record(r); err != nil {
		return err
	}
	return s.apply(r)
}

// record is the first half of commit.
func (s *Shard) record(r *record) error {
	if r.req.Op == 0 {
		r.req, r.res = ReqID{}, Result{} // not remembered, hence not encoded: live and replayed state must not differ
	}
	if s.log != nil {
		s.scratch = r.appendTo(s.scratch[:0])
		s.parts[0] = s.scratch
		return s.log.Append(s.parts[:]...)
	}
	return nil
}

// replay brings the state to where the log ends. It reports whether there was anything.
func (s *Shard) replay() (found bool, err error) {
	err = s.log.Replay(
		func(r io.Reader) error {
			found = true
			return s.readSnapshot(r)
		},
		func(raw []byte) error {
			found = true
			rec := &record{}
			if err := rec.decode(raw); err != nil {
				return err
			}
			return s.apply(rec)
		})
	return found, err
}

// Checkpoint writes the whole state as a snapshot and starts an empty log. It runs on the shard's thread, which
// serves nobody meanwhile: about half a second for a million files (BenchmarkCheckpoint).
func (s *Shard) Checkpoint() error {
	if s.log == nil {
		return nil
	}
	return s.log.Checkpoint(s.writeSnapshot)
}

// LogBytes is how much would be replayed after a crash: bytes since the last checkpoint. 0 in memory-only mode.
func (s *Shard) LogBytes() int64 {
	if s.log == nil {
		return 0
	}
	return s.log.Bytes()
}

// Sync returns a function that makes every change so far survive power loss, where the medium can. It may run on any
// goroutine, beside other methods. In memory-only mode there is nothing to do.
func (s *Shard) Sync() func() error {
	if s.log == nil {
		return func() error { return nil }
	}
	return s.log.Sync()
}

// Close ends the shard. What was acknowledged is in the log already.
func (s *Shard) Close() error {
	if s.log == nil {
		return nil
	}
	return s.log.Close()
}
