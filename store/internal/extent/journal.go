package extent

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/internal/wal"
)

// A record, little-endian. Each says what is so from then on, not what was asked for, so that replaying needs no allocator.
//
//	 0  u8  kind
//	 1  u8  order of the extent (geometry: log2 of the segment size)
//	 2  u8  chunk bits (truncate)
//	 3  u8  zero
//	 4  u32 generation
//	 8  u64 inode
//	16  u64 chunk number; truncate: new size; geometry: length of the store's name, which follows the record
//	24  u32 first page of the extent
//	28  u32 present bytes; truncate: 0 if no chunk is cut in two
const recordBytes = 32

const (
	recordGeometry = 1 // first in every log and snapshot that has anything
	recordFile     = 2 // the file exists, with this generation (snapshots)
	recordChunk    = 3
	recordTruncate = 4
	recordPurge    = 5

	maxNameBytes = 255
)

type record struct {
	kind      uint8
	order     uint8
	chunkBits uint8
	gen       uint32
	ino       uint64
	number    uint64
	page      uint32
	present   uint32
}

func (r *record) put(b []byte) {
	_ = b[recordBytes-1]
	le := binary.LittleEndian
	b[0], b[1], b[2], b[3] = r.kind, r.order, r.chunkBits, 0
	le.PutUint32(b[4:], r.gen)
	le.PutUint64(b[8:], r.ino)
	le.PutUint64(b[16:], r.number)
	le.PutUint32(b[24:], r.page)
	le.PutUint32(b[28:], r.present)
}

func parseRecord(b []byte) record {
	_ = b[recordBytes-1]
	le := binary.LittleEndian
	return record{
		kind: b[0], order: b[1], chunkBits: b[2], gen: le.Uint32(b[4:]), ino: le.Uint64(b[8:]),
		number: le.Uint64(b[16:]), page: le.Uint32(b[24:]), present: le.Uint32(b[28:]),
	}
}

// append logs a record; without a log it does nothing.
func (s *Store) append(r *record) error {
	if s.log == nil {
		return nil
	}
	r.put(s.record[:])
	return s.log.Append(s.record[:])
}

// logChunk logs where a chunk is about to be and how much of it is present.
func (s *Store) logChunk(c *chunk, page uint32, order uint8, present uint32) error {
	if s.log == nil {
		return nil
	}
	f := s.files.at(c.file)
	return s.append(&record{
		kind: recordChunk, order: order, gen: f.gen, ino: f.ino, number: c.number, page: page, present: present,
	})
}

// LogBytes is what the log holds since the last checkpoint.
func (s *Store) LogBytes() int64 {
	if s.log == nil {
		return 0
	}
	return s.log.Bytes()
}

// Checkpoint replaces the log by a snapshot of the index. Without a log it does nothing.
func (s *Store) Checkpoint() error {
	if s.closed {
		return errClosed
	}
	if s.log == nil {
		return nil
	}
	if err := s.log.Checkpoint(s.snapshot); err != nil {
		return err
	}
	s.syncs++
	s.syncDone(s.syncs)
	s.reuseSynced()
	return nil
}

// snapshot writes what the log has been told; what only Writes in progress hold is not part of it.
func (s *Store) snapshot(w io.Writer) error {
	if _, err := w.Write(s.geometry()); err != nil {
		return err
	}
	var b [recordBytes]byte
	for ino, fi := range s.index {
		f := s.files.at(fi)
		if !f.kept {
			continue
		}
		r := record{kind: recordFile, ino: ino, gen: f.gen}
		r.put(b[:])
		_, err := w.Write(b[:])
		f.each(func(ci uint32) {
			c := s.chunks.at(ci)
			if !c.kept || err != nil {
				return
			}
			e := s.extents.at(c.extent)
			r := record{kind: recordChunk, order: e.order, gen: f.gen, ino: ino, number: c.number, page: e.page, present: c.present}
			r.put(b[:])
			_, err = w.Write(b[:])
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) geometry() []byte {
	b := make([]byte, recordBytes, recordBytes+len(s.name))
	r := record{kind: recordGeometry, order: s.space.segmentBits + pageBits, number: uint64(len(s.name))}
	r.put(b)
	return append(b, s.name...)
}

// replay rebuilds the index. The log's segment size wins over the configured one; an empty log gets that.
func (s *Store) replay() error {
	if s.name == "" || len(s.name) > maxNameBytes {
		return fserr.New("open store", s.name, syscall.EINVAL, errors.New("a store needs a name of at most 255 bytes"))
	}
	known := false
	check := func(r record, name []byte) error {
		if string(name) != s.name {
			return fserr.New("open store", s.name, syscall.EINVAL, fmt.Errorf("the directory belongs to %q", name))
		}
		if r.order < blockBits || r.order > 40 {
			return errors.New("segment size out of range")
		}
		known = true
		s.space.segmentBits = r.order - pageBits
		return nil
	}
	err := s.log.Replay(func(r io.Reader) error { return s.readSnapshot(r, check) }, func(rec []byte) error {
		if len(rec) < recordBytes {
			return errors.New("record is too short")
		}
		r := parseRecord(rec)
		if r.kind == recordGeometry {
			return check(r, rec[recordBytes:])
		}
		if !known {
			return errors.New("no geometry record")
		}
		return s.apply(&r)
	})
	if err != nil || known {
		return err
	}
	return s.log.Append(s.geometry())
}

func (s *Store) readSnapshot(r io.Reader, geometry func(r record, name []byte) error) error {
	b := make([]byte, recordBytes+maxNameBytes)
	if _, err := io.ReadFull(r, b[:recordBytes]); err != nil {
		return err
	}
	first := parseRecord(b)
	if first.kind != recordGeometry || first.number > maxNameBytes {
		return errors.New("snapshot without geometry")
	}
	name := b[recordBytes : recordBytes+first.number]
	if _, err := io.ReadFull(r, name); err != nil {
		return err
	}
	if err := geometry(first, name); err != nil {
		return err
	}
	for {
		_, err := io.ReadFull(r, b[:recordBytes])
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		next := parseRecord(b)
		if err := s.apply(&next); err != nil {
			return err
		}
	}
}

// apply does to the index what a record says. Extents get their pages from the allocator at the end of the replay.
func (s *Store) apply(r *record) error {
	fi, known := s.index[r.ino]
	if r.kind == recordPurge {
		if known {
			s.replayDrop(fi, func(*chunk) bool { return true })
			s.removeFile(fi)
		}
		return nil
	}
	if !known {
		fi = s.addFile(r.ino, r.gen)
	}
	f := s.files.at(fi)
	f.gen, f.kept = r.gen, true
	switch r.kind {
	case recordFile:
		return nil
	case recordChunk:
		return s.replayChunk(fi, r, r.number)
	case recordTruncate:
		if r.chunkBits < minChunkBits || r.chunkBits > blockBits {
			return errors.New("chunk size out of range")
		}
		last := r.number >> r.chunkBits
		s.replayDrop(fi, func(c *chunk) bool { return c.number > last || c.number == last && r.present == 0 })
		if r.present == 0 {
			return nil
		}
		return s.replayChunk(fi, r, last)
	}
	return fmt.Errorf("unknown record kind %d", r.kind)
}

func (s *Store) replayChunk(fi uint32, r *record, number uint64) error {
	if r.order > maxOrder || uint64(r.present) > 1<<(r.order+pageBits) || r.page&(1<<r.order-1) != 0 {
		return errors.New("extent out of range")
	}
	ci := s.files.at(fi).find(s, number)
	if ci == 0 {
		ci, _ = s.addChunk(fi, number)
	}
	c := s.chunks.at(ci)
	if c.extent == 0 {
		c.extent, _ = s.extents.take()
	}
	*s.extents.at(c.extent) = extent{page: r.page, order: r.order, synced: true}
	c.present, c.floor, c.kept = r.present, r.order, true
	return nil
}

// replayDrop removes chunks whose extents the allocator does not know yet.
func (s *Store) replayDrop(fi uint32, drop func(c *chunk) bool) {
	s.files.at(fi).each(func(ci uint32) {
		c := s.chunks.at(ci)
		if !drop(c) {
			return
		}
		ei := c.extent
		s.extents.at(ei).pins = 1 // keeps removeChunk from freeing pages that were never taken
		s.removeChunk(ci)
		s.extents.give(ei)
	})
}

// claimReplayed takes the pages of all chunks from the allocator and maps their segments.
func (s *Store) claimReplayed() error {
	for ino, fi := range s.index {
		var err error
		s.files.at(fi).each(func(ci uint32) {
			if err == nil {
				err = s.claim(ino, s.chunks.at(ci))
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) claim(ino uint64, c *chunk) error {
	e := s.extents.at(c.extent)
	damage := func(reason string) error {
		return &wal.Corrupt{File: s.name, Offset: int64(e.page) << pageBits, Reason: fmt.Sprintf("inode %d chunk %d: %s", ino, c.number, reason)}
	}
	if !s.space.buddy.takeAt(e.page, e.order) {
		return damage("its extent belongs to another chunk too")
	}
	if _, err := s.space.segment(e.page); err != nil {
		return err
	}
	if !s.space.old[e.page>>s.space.segmentBits] {
		return damage("its segment file is missing")
	}
	return nil
}
