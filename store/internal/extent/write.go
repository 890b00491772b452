package extent

import (
	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/internal/invariant"
	"github.com/benchfs/benchfs/store"
)

// write is a Write in progress.
type write struct {
	chunk      uint32 // 0 once the chunk is gone
	extent     uint32 // where its Data is; the chunk may have moved since
	off, n     uint32
	gen        uint32
	next, prev uint32 // in the chunk's list
	dirty      bool   // part of its range beyond present was not zeroed first; a Device's: it has touched the medium
	bare       bool   // its bytes go to the file, see BeginBare

	// Of a Device's only; see there.
	state     transferState
	chunkBits uint8
	fresh     bool   // target is zeros
	need      uint32 // bytes that the extent must have
	target    uint32 // extent that the chunk is being copied to
}

// overlaps reports whether the range has a byte in [from, to).
func (w *write) overlaps(from, to uint32) bool { return w.off < to && w.off+w.n > from }

// admit checks the arguments of Begin and Reserve, and that the log has room to spare.
func (s *Store) admit(off, n uint32, chunkBits uint8) error {
	if s.closed {
		return errClosed
	}
	if n == 0 || chunkBits < minChunkBits || chunkBits > blockBits || uint64(off)+uint64(n) > 1<<chunkBits {
		return errRange
	}
	if s.log == nil {
		return nil
	}
	return s.log.Ensure(logSlackBytes)
}

// Begin implements store.Store.
func (s *Store) Begin(ino, number uint64, off, n uint32, gen uint32, chunkBits uint8) (store.Write, error) {
	w, _, err := s.begin(ino, number, off, n, gen, chunkBits, false)
	return w, err
}

// BeginBare implements store.Shareable.
func (s *Store) BeginBare(ino, number uint64, off, n uint32, gen uint32, chunkBits uint8) (w store.Write, bare bool, err error) {
	return s.begin(ino, number, off, n, gen, chunkBits, true)
}

func (s *Store) begin(ino, number uint64, off, n uint32, gen uint32, chunkBits uint8, mayBeBare bool) (_ store.Write, bare bool, err error) {
	if err := s.admit(off, n, chunkBits); err != nil {
		return store.Write{}, false, err
	}
	ci, err := s.room(ino, number, off+n, gen, chunkBits)
	if err != nil {
		return store.Write{}, false, err
	}
	c := s.chunks.at(ci)
	e := s.extents.at(c.extent)
	zeroed := max(c.clean, c.present)
	clears := off+n > zeroed && c.writes != 0 && !s.overlapped(c, off, off+n)
	bare = mayBeBare && !clears && s.space.bare(e.page, off, off+n)
	if !bare {
		if err := s.space.writable(e.page, off, off+n); err != nil {
			s.giveBack(ci)
			return store.Write{}, false, err
		}
	}
	data := s.space.memory(e.page, e.order)[off : off+n : off+n]
	if clears {
		clear(data[max(off, zeroed)-off:])
	}
	e.pins++
	ref, w := s.writes.take()
	*w = write{
		chunk: ci, extent: c.extent, off: off, n: n, gen: gen, dirty: off+n > zeroed && !clears, bare: bare, next: c.writes,
	}
	if c.writes != 0 {
		s.writes.slab.at(c.writes).prev = uint32(ref)
	}
	c.writes = uint32(ref)
	return store.NewWrite(data, ref), bare, nil
}

// overlapped reports whether a Write in progress on the chunk's extent has a byte in [from, to).
func (s *Store) overlapped(c *chunk, from, to uint32) bool {
	for at := c.writes; at != 0; {
		w := s.writes.slab.at(at)
		if w.extent == c.extent && w.overlaps(from, to) {
			return true
		}
		at = w.next
	}
	return false
}

// room finds or makes the chunk, with an extent of at least need bytes.
func (s *Store) room(ino, number uint64, need, gen uint32, chunkBits uint8) (ci uint32, err error) {
	ci, err = s.chunkFor(ino, number, need, gen)
	if err == nil && need > s.extents.at(s.chunks.at(ci).extent).bytes() {
		err = s.enlarge(s.chunks.at(ci), need, chunkBits)
	}
	return ci, err
}

// chunkFor finds the chunk, or makes it with an extent of at least need bytes.
func (s *Store) chunkFor(ino, number uint64, need, gen uint32) (ci uint32, err error) {
	fi, known := s.index[ino]
	if known {
		f := s.files.at(fi)
		if f.gen != gen {
			return 0, fserr.ErrStaleGeneration
		}
		if ci = f.find(s, number); ci != 0 {
			return ci, nil
		}
	}
	ei, fresh, err := s.newExtent(orderFor(uint64(need)))
	if err != nil {
		return 0, err
	}
	if !known {
		fi = s.addFile(ino, gen)
	}
	ci, c := s.addChunk(fi, number)
	c.extent = ei
	if fresh {
		c.clean = s.extents.at(ei).bytes()
	}
	return ci, nil
}

// wanted is the order that a chunk gets when it needs so many bytes: what it must have, and generously.
func (s *Store) wanted(c *chunk, need uint32, chunkBits uint8) (least, want uint8) {
	least = orderFor(uint64(need))
	return least, max(least, min(s.extents.at(c.extent).order+growthOrders, chunkBits-pageBits))
}

// enlarge gives a chunk an extent of at least need bytes: generously, or just enough when space is short.
func (s *Store) enlarge(c *chunk, need uint32, chunkBits uint8) error {
	least, want := s.wanted(c, need, chunkBits)
	err := s.enlargeTo(c, want)
	if err != nil && least < want {
		err = s.enlargeTo(c, least)
	}
	return err
}

// growInPlace makes a chunk's extent larger where it is; done is false when its neighbours are taken.
func (s *Store) growInPlace(c *chunk, order uint8) (done bool, err error) {
	e := s.extents.at(c.extent)
	old := e.order
	if !s.space.grow(e.page, old, order) {
		return false, nil
	}
	if c.kept {
		if err := s.logChunk(c, e.page, order, c.present); err != nil {
			s.freeUpper(e, order, old)
			return false, err
		}
	}
	e.order = order
	return true, nil
}

func (s *Store) enlargeTo(c *chunk, order uint8) error {
	if done, err := s.growInPlace(c, order); done || err != nil {
		return err
	}
	e := s.extents.at(c.extent)
	ei, fresh, err := s.newExtent(order)
	if err != nil {
		return err
	}
	n := s.extents.at(ei)
	if err := s.space.writable(n.page, 0, c.present); err != nil {
		s.letGo(ei)
		return err
	}
	s.unshare(c)
	copy(s.space.memory(n.page, n.order), s.space.memory(e.page, e.order)[:c.present])
	if c.kept {
		if err := s.logChunk(c, n.page, n.order, c.present); err != nil {
			s.letGo(ei)
			return err
		}
	}
	s.moveTo(c, ei, fresh)
	return nil
}

// moveTo makes ei the chunk's extent. Nothing is known of what follows the present bytes unless the extent is fresh.
// The chunk has no slot.
func (s *Store) moveTo(c *chunk, ei uint32, fresh bool) {
	invariant.Check(c.slot == 0, "a chunk moves while slot %d names its extent", c.slot)
	s.letGo(c.extent)
	c.extent, c.clean = ei, 0
	if fresh {
		c.clean = s.extents.at(ei).bytes()
	}
}

// Commit implements store.Store.
func (s *Store) Commit(committed store.Write) error {
	w := s.writes.get(committed.Ref())
	if w == nil {
		return errSpent
	}
	err := error(fserr.ErrStaleGeneration)
	if !s.stale(w) {
		err = s.publish(w)
	}
	s.end(committed.Ref(), w, err != nil)
	return err
}

// Abort implements store.Store. It does nothing to a Write that has ended.
func (s *Store) Abort(aborted store.Write) {
	w := s.writes.get(aborted.Ref())
	if w == nil {
		return
	}
	if w.chunk != 0 { // who was told its place may come to fill it later
		s.unshare(s.chunks.at(w.chunk))
	}
	s.end(aborted.Ref(), w, true)
}

// stale reports whether the file was truncated or purged since the Write began.
func (s *Store) stale(w *write) bool {
	return w.chunk == 0 || s.files.at(s.chunks.at(w.chunk).file).gen != w.gen
}

// publish makes a Write's bytes present: data and gap first, then the record, then the length.
func (s *Store) publish(w *write) error {
	c := s.chunks.at(w.chunk)
	target, fresh, moved := c.extent, false, s.blocked(c, w)
	if moved {
		var err error
		if target, fresh, err = s.newExtent(s.extents.at(c.extent).order); err != nil {
			return err
		}
	}
	e := s.extents.at(target)
	if err := s.makeWritable(c, w, e, moved); err != nil {
		if moved {
			s.letGo(target)
		}
		return err
	}
	memory := s.space.memory(e.page, e.order)
	if moved {
		s.unshare(c)
		from := s.extents.at(c.extent)
		copy(memory, s.space.memory(from.page, from.order)[:c.present])
	}
	end := w.off + w.n
	if target != w.extent {
		from := s.extents.at(w.extent)
		copy(memory[w.off:end], s.space.memory(from.page, from.order)[w.off:end])
	}
	if !fresh {
		zeroed := c.present
		if !moved {
			zeroed = max(c.present, c.clean)
		}
		s.zeroGap(c, w, target, memory, zeroed)
	}
	present := max(c.present, end)
	if moved || !c.kept || present != c.present {
		if err := s.logChunk(c, e.page, e.order, present); err != nil {
			if moved {
				s.letGo(target)
			}
			return err
		}
	}
	if moved {
		s.moveTo(c, target, fresh)
	}
	c.present = present
	s.showPresent(c)
	s.keep(c)
	return nil
}

// makeWritable sees to it that all bytes that will be present of a chunk in an extent have pages, once w is published.
func (s *Store) makeWritable(c *chunk, w *write, e *extent, moved bool) error {
	end := w.off + w.n
	switch {
	case moved:
		return s.space.writable(e.page, 0, max(c.present, end))
	case c.extent != w.extent:
		return s.space.writable(e.page, min(c.present, w.off), end)
	case w.bare: // who commits it has written it
		s.space.wrote(e.page, w.off, end)
	}
	return s.space.writable(e.page, c.present, w.off)
}

// blocked reports whether another Write in progress stands in the gap before w with bytes that may be anything.
func (s *Store) blocked(c *chunk, w *write) bool {
	if w.off <= c.present {
		return false
	}
	for at := c.writes; at != 0; {
		v := s.writes.slab.at(at)
		if v != w && v.extent == c.extent && (v.dirty || s.stale(v)) && v.overlaps(c.present, w.off) {
			return true
		}
		at = v.next
	}
	return false
}

// zeroGap clears [from, w.off) of the target extent, but for the ranges of other Writes in progress there: those were zeroed
// when they began.
func (s *Store) zeroGap(c *chunk, w *write, target uint32, memory []byte, from uint32) {
	for from < w.off {
		start, stop := w.off, w.off
		for at := c.writes; at != 0; {
			v := s.writes.slab.at(at)
			if v != w && v.extent == target && v.overlaps(from, start) {
				start, stop = max(v.off, from), v.off+v.n
			}
			at = v.next
		}
		clear(memory[from:start])
		from = stop
	}
}

// end takes a Write out of the books.
func (s *Store) end(ref uint64, w *write, failed bool) {
	ci, ei := w.chunk, w.extent
	if ci != 0 {
		c := s.chunks.at(ci)
		if w.prev != 0 {
			s.writes.slab.at(w.prev).next = w.next
		} else {
			c.writes = w.next
		}
		if w.next != 0 {
			s.writes.slab.at(w.next).prev = w.prev
		}
		if failed { // its bytes may be there already
			c.clean = min(c.clean, w.off)
		}
	}
	s.writes.give(ref)
	s.unpin(ei)
	if failed && ci != 0 {
		s.giveBack(ci)
	}
}

// giveBack frees what a chunk has beyond its present and reserved bytes, if nobody is using it.
func (s *Store) giveBack(ci uint32) {
	c := s.chunks.at(ci)
	if c.writes != 0 {
		return
	}
	if !c.kept {
		fi := c.file
		s.removeChunk(ci)
		if f := s.files.at(fi); !f.kept && f.one == 0 && f.many == nil {
			s.removeFile(fi)
		}
		return
	}
	s.fit(c, max(c.floor, orderFor(uint64(c.present))))
}

// fit shrinks a chunk's extent to an order where it is. What is pinned stays as it is.
func (s *Store) fit(c *chunk, order uint8) {
	e := s.extents.at(c.extent)
	if e.pins != 0 || e.order <= order || s.logChunk(c, e.page, order, c.present) != nil {
		return
	}
	s.unshare(c)
	s.freeUpper(e, e.order, order)
	e.order = order
	c.clean = min(c.clean, e.bytes())
}
