package extent

import (
	"cmp"
	"slices"
	"syscall"
	"time"

	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/internal/invariant"
	"github.com/benchfs/benchfs/store"
)

// quarantine holds runs of pages that other processes were told of and that no chunk has any more, each until no announcement overlaps it. Their
// slots were dropped before the runs came here, so that no process begins to use them; one that began before has announced that (hazard
// pointers: shm/PROTOCOL.md, 3.2).
//
// Announcements are read for many runs at a time: once as many runs have come as there were words to look at the last time, or many pages, or when space is
// short. What is held after that stays until the next time.
type quarantine struct {
	board      store.Board // nil: nothing is shared, and nothing comes here
	runs       []quarantinedRun
	pages      uint64      // of runs
	fresh      int         // of runs: came since announcements were read last
	freshPages uint64      // theirs
	looked     int         // words that Announced looked at the last time
	ranges     []pageRange // scratch: what is announced, in order, without overlaps
}

type quarantinedRun struct {
	page   uint32
	order  uint8
	synced bool // as in freeRun
	since  time.Time
}

// pageRange is the pages [from, to).
type pageRange struct{ from, to uint32 }

const (
	// manyPages that have come are reason enough to read announcements: to write to pages that were written to before is cheaper.
	manyPages = 256
	// copyTime is how long a process that is not stopped takes for a use of a place, with room to spare.
	copyTime = 5 * time.Millisecond
)

func (q *quarantine) add(page uint32, order uint8, synced bool) {
	q.runs = append(q.runs, quarantinedRun{page: page, order: order, synced: synced, since: time.Now()})
	q.pages += 1 << order
	q.freshPages += 1 << order
	q.fresh++
}

// due reports whether it is worth while to read announcements.
func (q *quarantine) due() bool {
	return q.fresh > 0 && (q.fresh >= q.looked || q.freshPages >= manyPages)
}

// read takes in what is announced now.
func (q *quarantine) read() {
	q.ranges = q.ranges[:0]
	q.looked = q.board.Announced(func(page uint32, order uint8) {
		if order <= maxOrder && page&(1<<order-1) == 0 && page < maxCapacityBytes>>pageBits { // else nobody was told of such a place
			q.ranges = append(q.ranges, pageRange{page, page + 1<<order})
		}
	})
	slices.SortFunc(q.ranges, func(a, b pageRange) int { return cmp.Compare(a.from, b.from) })
	n := 0
	for _, r := range q.ranges {
		if n > 0 && r.from <= q.ranges[n-1].to {
			q.ranges[n-1].to = max(q.ranges[n-1].to, r.to)
		} else {
			q.ranges[n] = r
			n++
		}
	}
	q.ranges = q.ranges[:n]
}

// named reports whether an announcement that was read overlaps a run.
func (q *quarantine) named(page uint32, order uint8) bool {
	i, _ := slices.BinarySearchFunc(q.ranges, page, func(r pageRange, page uint32) int {
		if r.to <= page {
			return -1
		}
		return 1
	})
	return i < len(q.ranges) && q.ranges[i].from < page+1<<order
}

// release frees the runs that nobody touches any more. It reports whether there were any.
func (s *Store) release() (freed bool) {
	q := &s.quarantine
	if len(q.runs) == 0 {
		return false
	}
	q.read()
	kept := q.runs[:0]
	for _, run := range q.runs {
		if q.named(run.page, run.order) {
			kept = append(kept, run)
			continue
		}
		freed = true
		q.pages -= 1 << run.order
		s.freeRun(run.page, run.order, run.synced)
	}
	q.runs, q.fresh, q.freshPages = kept, 0, 0
	return freed
}

// awaitRelease is release for when space is short: it gives processes that are in the middle of a copy the time to end it. A stopped one costs that once.
func (s *Store) awaitRelease() (freed bool) {
	for {
		if s.release() {
			return true
		}
		young := slices.ContainsFunc(s.quarantine.runs, func(r quarantinedRun) bool { return time.Since(r.since) < copyTime })
		if !young {
			return false
		}
		_ = syscall.Nanosleep(&syscall.Timespec{Nsec: 50_000}, nil) // a signal only makes it look earlier
	}
}

// takeRun takes pages; when there are none, after everything that waits has been given back.
func (s *Store) takeRun(order uint8) (page uint32, fresh bool, err error) {
	if s.quarantine.due() {
		s.release()
	}
	page, fresh, err = s.space.take(order)
	for isFull(err) && (s.release() || s.reclaim() || s.awaitRelease()) {
		page, fresh, err = s.space.take(order)
	}
	return page, fresh, err
}

func isFull(err error) bool { return err != nil && fserr.Errno(err) == noSpace }

// takeOver keeps what processes have announced before this Store was there: pages that are free go into quarantine, those of a chunk will when
// they are given up.
func (s *Store) takeOver() {
	q := &s.quarantine
	q.read()
	if len(q.ranges) == 0 {
		return
	}
	for _, fi := range s.index {
		s.files.at(fi).each(func(ci uint32) {
			if e := s.extents.at(s.chunks.at(ci).extent); q.named(e.page, e.order) {
				e.shared = true
			}
		})
	}
	blocks := uint32(max(uint64(len(s.space.buddy.blocks)), (s.space.buddy.capacity+blockPages-1)>>maxOrder))
	for _, r := range q.ranges {
		for page := r.from; page < r.to && page>>maxOrder < blocks; {
			order := s.space.buddy.takeFree(page, r.to)
			if order < 0 {
				page++ // taken, by a chunk
				continue
			}
			q.add(page, uint8(order), false)
			page += 1 << order
		}
	}
}

// checkUnnamed asserts that no slot stands for pages that are let go.
func (s *Store) checkUnnamed(page uint32, order uint8) {
	if !invariant.Enabled {
		return
	}
	for slot, ci := range s.slotChunks {
		if ci == 0 {
			continue
		}
		e := s.extents.at(s.chunks.at(ci).extent)
		invariant.Check(page+1<<order <= e.page || e.page+1<<e.order <= page, "pages %d+%d are let go while slot %d names them", page, 1<<order, slot)
	}
}

// checkUntouched asserts that no process touches pages that are about to be reused. One that has not looked at its slot yet may have announced them
// all the same, but not for long.
func (s *Store) checkUntouched(page uint32, order uint8) {
	if !invariant.Enabled || s.board == nil {
		return
	}
	q := &quarantine{board: s.board}
	for end := time.Now().Add(time.Second); ; syscall.Nanosleep(&syscall.Timespec{Nsec: 1e6}, nil) {
		if q.read(); !q.named(page, order) {
			return
		}
		invariant.Check(time.Now().Before(end), "pages %d+%d are freed while a process announces them", page, 1<<order)
	}
}
