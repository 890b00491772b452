package extent

import "syscall"

const noSpace = syscall.ENOSPC

// newExtent takes 1 << order pages. fresh: they are zeros.
func (s *Store) newExtent(order uint8) (ei uint32, fresh bool, err error) {
	page, fresh, err := s.takeRun(order)
	if err != nil {
		return 0, false, err
	}
	ei, e := s.extents.take()
	*e = extent{page: page, order: order, born: s.syncs}
	return ei, fresh, nil
}

// letGo ends a chunk's claim on an extent. Pins keep it.
func (s *Store) letGo(ei uint32) {
	e := s.extents.at(ei)
	e.doomed = true
	if e.pins == 0 {
		s.freeExtent(ei, e)
	}
}

// unpin ends a pin; 0 is the extent of a Transfer that has pinned none so far.
func (s *Store) unpin(ei uint32) {
	if ei == 0 {
		return
	}
	e := s.extents.at(ei)
	if e.pins--; e.pins == 0 && e.doomed {
		s.freeExtent(ei, e)
	}
}

func (s *Store) freeExtent(ei uint32, e *extent) {
	s.letGoRun(e, e.page, e.order)
	s.extents.give(ei)
}

// freeUpper frees all but the lower 1 << to pages of an extent that now has 1 << order.
func (s *Store) freeUpper(e *extent, order, to uint8) {
	for order > to {
		upper := s.space.buddy.halve(e.page, order)
		order--
		s.letGoRun(e, upper, order)
	}
}

// letGoRun frees pages of an extent, or keeps them as long as another process may be using them. If they had a slot, it was dropped.
func (s *Store) letGoRun(e *extent, page uint32, order uint8) {
	s.checkUnnamed(page, order)
	if e.shared {
		s.quarantine.add(page, order, s.isSynced(e))
		return
	}
	s.freeRun(page, order, s.isSynced(e))
}

// freeRun gives pages back that no process can be using: at once, or, if they held synced bytes, when the log that says so is synced.
func (s *Store) freeRun(page uint32, order uint8, synced bool) {
	s.checkUntouched(page, order)
	if !synced {
		s.space.buddy.give(page, order)
		return
	}
	s.reuseSynced()
	s.waiting = append(s.waiting, waitingRun{page: page, order: order, since: s.syncs})
	s.waitingPages += 1 << order
}

// isSynced reports whether power loss could bring the extent back as it is now.
func (s *Store) isSynced(e *extent) bool {
	return s.log != nil && (e.synced || e.born < s.allSynced)
}

// reuseSynced frees the runs whose wait is over. They wait in the order of since.
func (s *Store) reuseSynced() (freed bool) {
	done := s.syncsDone.Load()
	n := 0
	for n < len(s.waiting) && s.waiting[n].since < done {
		run := s.waiting[n]
		s.waitingPages -= 1 << run.order
		s.space.buddy.give(run.page, run.order)
		n++
	}
	s.waiting = s.waiting[:copy(s.waiting, s.waiting[n:])]
	return n > 0
}

// reclaim frees all waiting runs, syncing the log if need be: the way out when space is short.
func (s *Store) reclaim() bool {
	if len(s.waiting) == 0 {
		return false
	}
	if s.waiting[len(s.waiting)-1].since >= s.syncsDone.Load() {
		s.syncs++
		began := s.syncs
		if s.log.Sync()() != nil {
			return false
		}
		s.syncDone(began)
	}
	return s.reuseSynced()
}

// syncDone notes that everything logged before sync number n began is durable. It runs on any goroutine.
func (s *Store) syncDone(n uint32) {
	for {
		done := s.syncsDone.Load()
		if n <= done || s.syncsDone.CompareAndSwap(done, n) {
			return
		}
	}
}

// syncRange is a run of pages to be synced.
type syncRange struct{ page, pages uint32 }

// maxSyncRanges: with more of them, syncing everything is cheaper.
const maxSyncRanges = 256

// Sync implements store.Store. Without a log there is nothing to survive in, and nothing is done.
func (s *Store) Sync(ino uint64) func() error {
	if s.closed {
		return func() error { return errClosed }
	}
	if s.log == nil {
		return func() error { return nil }
	}
	s.syncs++
	number, log := s.syncs, s.log.Sync()
	ranges, all := s.toSync(ino)
	backing, segmentBits := s.space.backing, s.space.segmentBits
	return func() error {
		if all {
			if err := backing.SyncAll(); err != nil {
				return err
			}
		}
		for _, r := range ranges {
			segment, first := int(r.page>>segmentBits), int64(r.page&(1<<segmentBits-1))
			if err := backing.Sync(segment, first<<pageBits, int64(r.pages)<<pageBits); err != nil {
				return err
			}
		}
		if err := log(); err != nil {
			return err
		}
		s.syncDone(number)
		return nil
	}
}

// toSync collects where a file's bytes are, and marks them as synced from now on.
func (s *Store) toSync(ino uint64) (ranges []syncRange, all bool) {
	if ino == 0 {
		s.allSynced = s.syncs
		return nil, true
	}
	fi, known := s.index[ino]
	if !known {
		return nil, false
	}
	s.files.at(fi).each(func(ci uint32) {
		c := s.chunks.at(ci)
		e := s.extents.at(c.extent)
		e.synced = true
		if c.present > 0 {
			ranges = append(ranges, syncRange{e.page, (c.present + pageBytes - 1) >> pageBits})
		}
	})
	if len(ranges) > maxSyncRanges {
		return nil, true
	}
	return ranges, false
}
