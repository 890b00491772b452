package extent

import "github.com/benchfs/benchfs/store"

// Chunks that other processes reach into (store.Shareable; shm/PROTOCOL.md, section 3). Three rules keep them right:
//
//   - The slot of a chunk is dropped before the chunk's bytes are copied elsewhere, before its extent is cut or given up, and when a Write that a
//     process may still be filling is aborted. A process that was writing meanwhile sees that, and writes again.
//   - Its slot's count of present bytes follows the chunk's, after the bytes are in place.
//   - Pages that were ever shared are reused only when no announcement overlaps them (quarantine.go).

// Share implements store.Shareable. What processes have announced already, at an earlier incarnation, they may be touching still [R3].
func (s *Store) Share(b store.Board) {
	s.board = b
	s.quarantine.board = b
	s.takeOver()
}

// SegmentBytes is the size of each segment.
func (s *Store) SegmentBytes() int64 { return 1 << (s.space.segmentBits + pageBits) }

// SegmentMemory implements store.Shareable.
func (s *Store) SegmentMemory(number uint32) []byte {
	shown := s.space.shown.Load()
	if shown == nil || int(number) >= len(*shown) {
		return nil
	}
	return (*shown)[number]
}

// PlaceOf implements store.Shareable.
func (s *Store) PlaceOf(ino, number uint64, gen uint32) (store.Place, bool) {
	at, known := s.index[ino]
	if !known || s.board == nil || s.closed {
		return store.Place{}, false
	}
	f := s.files.at(at)
	ci := f.find(s, number)
	if f.gen != gen || ci == 0 {
		return store.Place{}, false
	}
	return s.chunkPlace(ci)
}

// PlaceOfWrite implements store.Shareable.
func (s *Store) PlaceOfWrite(begun store.Write) (store.Place, bool) {
	w := s.writes.get(begun.Ref())
	if w == nil || s.board == nil || s.stale(w) {
		return store.Place{}, false
	}
	c := s.chunks.at(w.chunk)
	if c.extent != w.extent {
		return store.Place{}, false
	}
	return s.chunkPlace(w.chunk)
}

func (s *Store) chunkPlace(ci uint32) (store.Place, bool) {
	c := s.chunks.at(ci)
	e := s.extents.at(c.extent)
	p := store.Place{
		Segment: e.page >> s.space.segmentBits,
		Offset:  uint64(e.page&(1<<s.space.segmentBits-1)) << pageBits,
		Bytes:   e.bytes(),
	}
	if c.slot != 0 {
		p.Slot = c.slot - 1
		p.Serial = s.board.Serial(p.Slot)
		return p, true
	}
	var ok bool
	if p.Slot, p.Serial, ok = s.board.Take(c.present); !ok {
		s.recycleSlot()
		if p.Slot, p.Serial, ok = s.board.Take(c.present); !ok {
			return store.Place{}, false
		}
	}
	for int(p.Slot) >= len(s.slotChunks) {
		s.slotChunks = append(s.slotChunks, 0)
	}
	s.slotChunks[p.Slot] = ci
	c.slot, e.shared = p.Slot+1, true
	return p, true
}

// recycleSlot takes the slot of a chunk away, of each in turn: who still uses that asks again.
func (s *Store) recycleSlot() {
	for range s.slotChunks {
		s.hand = (s.hand + 1) % len(s.slotChunks)
		if ci := s.slotChunks[s.hand]; ci != 0 {
			s.unshare(s.chunks.at(ci))
			return
		}
	}
}

// unshare voids what other processes know of a chunk.
func (s *Store) unshare(c *chunk) {
	if c.slot != 0 {
		s.board.Drop(c.slot - 1)
		s.slotChunks[c.slot-1] = 0
		c.slot = 0
	}
}

// showPresent tells the other processes how long the chunk is.
func (s *Store) showPresent(c *chunk) {
	if c.slot != 0 {
		s.board.Set(c.slot-1, c.present)
	}
}
