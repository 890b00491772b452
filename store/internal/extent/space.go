package extent

import "syscall"

// Backing is the memory that extents are in: segments of equal size, mapped as they are needed. Methods are called by the store's
// owner, but for Sync and SyncAll, which run on any goroutine beside the others.
type Backing interface {
	// Map makes a segment of so many bytes (they come in any order, each once, all of one size) readable and writable. The memory
	// is zeros where it was never written. existed: it may hold bytes of an earlier run. It stays where it is until Close.
	Map(segment int, bytes int64) (memory []byte, existed bool, err error)
	// Prepare makes sure that stores to [off, off+n) of a mapped segment find space, and touches it ahead. ENOSPC if there is none.
	Prepare(segment int, off, n int64) error
	// Sync makes [off, off+n) of a mapped segment survive power loss; SyncAll all of them.
	Sync(segment int, off, n int64) error
	SyncAll() error
	// Close unmaps; it waits for Sync and SyncAll.
	Close() error
}

// Preparing goes in steps of a huge page.
const (
	stepBits  = 21
	stepBytes = 1 << stepBits
	stepPages = 1 << (stepBits - pageBits)
	// touchAheadBytes bounds what TouchAhead prepares beyond what is in use.
	touchAheadBytes = 64 << 20
)

// space is the address range of all extents: pages of segments, some of them mapped and prepared.
type space struct {
	backing     Backing
	segmentBits uint8 // log2 of the pages of a segment
	segments    [][]byte
	old         []bool // segments with contents from an earlier run: nothing in them is known to be zeros
	buddy       buddy
	prepared    []uint64 // one bit a step
	steps       int      // bits set in prepared
}

// take finds 1 << order pages that can be written without a fault. fresh: they are zeros.
func (s *space) take(order uint8) (page uint32, fresh bool, err error) {
	page, ok := s.buddy.take(order)
	if !ok {
		return 0, false, syscall.ENOSPC
	}
	if err := s.ready(page, order); err != nil {
		s.buddy.give(page, order)
		return 0, false, err
	}
	return page, s.buddy.markUsed(page, order) && !s.old[page>>s.segmentBits], nil
}

// grow extends a run where it is. false: not possible, nothing changed.
func (s *space) grow(page uint32, order, to uint8) bool {
	if !s.buddy.grow(page, order, to) {
		return false
	}
	if s.ready(page, to) != nil {
		for to > order {
			upper := s.buddy.halve(page, to)
			to--
			s.buddy.give(upper, to)
		}
		return false
	}
	s.buddy.markUsed(page, to)
	return true
}

// ready maps and prepares what a run needs.
func (s *space) ready(page uint32, order uint8) error {
	if _, err := s.segment(page); err != nil {
		return err
	}
	last := (page + 1<<order - 1) / stepPages
	for step := page / stepPages; step <= last; step++ {
		if err := s.prepare(step); err != nil {
			return err
		}
	}
	return nil
}

func (s *space) prepare(step uint32) error {
	for int(step/64) >= len(s.prepared) {
		s.prepared = append(s.prepared, 0)
	}
	bit := uint64(1) << (step % 64)
	if s.prepared[step/64]&bit != 0 {
		return nil
	}
	first := step * stepPages
	err := s.backing.Prepare(int(first>>s.segmentBits), int64(first&(1<<s.segmentBits-1))<<pageBits, stepBytes)
	if err != nil {
		return err
	}
	s.prepared[step/64] |= bit
	s.steps++
	return nil
}

// touchAhead prepares one step that the allocator will reach next, if the reserve of prepared space is small.
func (s *space) touchAhead() (more bool) {
	reserve := int64(s.steps)<<stepBits - int64(s.buddy.taken)<<pageBits
	if reserve >= touchAheadBytes {
		return false
	}
	limit := uint32(min(uint64(len(s.buddy.blocks)+1)<<maxOrder, s.buddy.capacity) / stepPages)
	for step := uint32(0); step < limit; step++ {
		word := step / 64
		if int(word) < len(s.prepared) && s.prepared[word] == ^uint64(0) {
			step |= 63
			continue
		}
		if int(word) < len(s.prepared) && s.prepared[word]&(1<<(step%64)) != 0 {
			continue
		}
		if _, err := s.segment(step * stepPages); err != nil {
			return false
		}
		return s.prepare(step) == nil
	}
	return false
}

// segment is the memory of the segment that a page is in, mapped if it was not.
func (s *space) segment(page uint32) ([]byte, error) {
	i := int(page >> s.segmentBits)
	for len(s.segments) <= i {
		s.segments, s.old = append(s.segments, nil), append(s.old, false)
	}
	if s.segments[i] != nil {
		return s.segments[i], nil
	}
	memory, existed, err := s.backing.Map(i, 1<<(s.segmentBits+pageBits))
	if err != nil {
		return nil, err
	}
	s.segments[i], s.old[i] = memory, existed
	return memory, nil
}

// memory is a run's bytes.
func (s *space) memory(page uint32, order uint8) []byte {
	segment := s.segments[page>>s.segmentBits]
	start := int64(page&(1<<s.segmentBits-1)) << pageBits
	end := start + 1<<(order+pageBits)
	return segment[start:end:end]
}
