package extent

// Truncate implements store.Store.
//
// The generation that is known already is ignored like an older one: what it cut is cut, and bytes written since must not be lost
// to a message that the network delivered twice.
func (s *Store) Truncate(ino uint64, gen uint32, size uint64, chunkBits uint8) error {
	if s.closed {
		return errClosed
	}
	if chunkBits < minChunkBits || chunkBits > blockBits {
		return errRange
	}
	fi, known := s.index[ino]
	if known && gen <= s.files.at(fi).gen || !known && gen == 0 {
		return nil
	}
	last, cut := size>>chunkBits, uint32(size&(1<<chunkBits-1))
	var edge *chunk // the chunk that the cut goes through, if any of it stays
	if known && cut > 0 {
		if ci := s.files.at(fi).find(s, last); ci != 0 && s.chunks.at(ci).present > 0 && s.chunks.at(ci).kept {
			edge = s.chunks.at(ci)
		}
	}
	order, err := s.logTruncate(ino, gen, size, chunkBits, edge, cut)
	if err != nil {
		return err
	}
	if !known {
		fi = s.addFile(ino, gen)
	}
	f := s.files.at(fi)
	f.gen, f.kept = gen, true
	f.each(func(ci uint32) {
		c := s.chunks.at(ci)
		s.unshare(c) // places are of one generation
		if c.number >= last && c != edge {
			s.removeChunk(ci)
		}
	})
	if edge != nil {
		s.cutChunk(edge, cut, order)
	}
	return nil
}

// logTruncate writes the record, with what becomes of the edge: order is what its extent shrinks to.
func (s *Store) logTruncate(ino uint64, gen uint32, size uint64, chunkBits uint8, edge *chunk, cut uint32) (order uint8, err error) {
	r := record{kind: recordTruncate, ino: ino, gen: gen, number: size, chunkBits: chunkBits}
	if edge != nil {
		e := s.extents.at(edge.extent)
		order = e.order
		r.present = min(edge.present, cut)
		if e.pins == 0 {
			order = orderFor(uint64(r.present))
		}
		r.page, r.order = e.page, order
	}
	return order, s.append(&r)
}

// cutChunk leaves at most cut bytes in a chunk, and 1 << order pages.
func (s *Store) cutChunk(c *chunk, cut uint32, order uint8) {
	e := s.extents.at(c.extent)
	c.present = min(c.present, cut)
	c.clean = min(c.clean, c.present)
	c.floor = 0
	if order < e.order {
		s.freeUpper(e, e.order, order)
		e.order = order
	}
}

// Purge implements store.Store.
func (s *Store) Purge(ino uint64) error {
	if s.closed {
		return errClosed
	}
	fi, known := s.index[ino]
	if !known {
		return nil
	}
	if s.files.at(fi).kept {
		if err := s.append(&record{kind: recordPurge, ino: ino}); err != nil {
			return err
		}
	}
	s.removeFile(fi)
	return nil
}
