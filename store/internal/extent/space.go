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
)

// BesideBacking is a Backing that can prepare beside its owner, and beside others who write to the range: not a byte changes.
type BesideBacking interface {
	Backing
	PrepareBeside(segment int, off, n int64) error
}

// space is the address range of all extents: pages of segments, some of them mapped and prepared.
type space struct {
	backing     Backing
	segmentBits uint8 // log2 of the pages of a segment
	segments    [][]byte
	old         []bool // segments with contents from an earlier run: nothing in them is known to be zeros
	buddy       buddy
	prepared    []uint64 // one bit a step
	steps       int      // bits set in prepared
	aheadBytes  int64    // how much is to be prepared beyond what is in use
	ahead       bool     // a step is being prepared beside the owner
	searched    int      // blocks when there was nothing left to prepare, or it could not be
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

// knowStep makes room for a step's bit.
func (s *space) knowStep(step uint32) {
	for int(step/64) >= len(s.prepared) {
		s.prepared = append(s.prepared, 0)
	}
}

func (s *space) prepare(step uint32) error {
	s.knowStep(step)
	bit := uint64(1) << (step % 64)
	if s.prepared[step/64]&bit != 0 {
		return nil
	}
	segment, off := s.stepPlace(step)
	if err := s.backing.Prepare(segment, off, stepBytes); err != nil {
		return err
	}
	s.prepared[step/64] |= bit
	s.steps++
	return nil
}

// reserve is how much is prepared and not in use: bytes.
func (s *space) reserve() int64 { return int64(s.steps)<<stepBits - int64(s.buddy.taken)<<pageBits }

// low reports whether the reserve should be filled up.
func (s *space) low() bool {
	return s.reserve() < s.aheadBytes*3/4 && !s.ahead && s.searched != len(s.buddy.blocks)+1
}

// nextStep finds the step, not prepared yet, that the allocator will reach next, and maps its segment.
func (s *space) nextStep() (step uint32, ok bool) {
	if s.reserve() >= s.aheadBytes {
		return 0, false
	}
	limit := uint32(min(uint64(len(s.buddy.blocks)+1)<<maxOrder+uint64(s.aheadBytes)>>pageBits, s.buddy.capacity) / stepPages)
	for step := uint32(0); step < limit; step++ {
		word := step / 64
		if int(word) < len(s.prepared) && s.prepared[word] == ^uint64(0) {
			step |= 63
			continue
		}
		if int(word) < len(s.prepared) && s.prepared[word]&(1<<(step%64)) != 0 {
			continue
		}
		if _, err := s.segment(step * stepPages); err == nil {
			return step, true
		}
		break
	}
	s.giveUpAhead()
	return 0, false
}

// giveUpAhead: nothing is prepared ahead until the allocator reaches further.
func (s *space) giveUpAhead() { s.searched = len(s.buddy.blocks) + 1 }

// touchAhead prepares the next step.
func (s *space) touchAhead() (more bool) {
	step, ok := s.nextStep()
	if ok && s.prepare(step) != nil {
		s.giveUpAhead()
		return false
	}
	return ok
}

// planAhead is touchAhead in two parts: work may run on any goroutine, done is the owner's. work is nil when there is nothing to do, or
// when the backing cannot.
func (s *space) planAhead() (work func() error, done func(error)) {
	backing, can := s.backing.(BesideBacking)
	if !can || s.ahead {
		return nil, nil
	}
	step, ok := s.nextStep()
	if !ok {
		return nil, nil
	}
	s.ahead = true
	s.knowStep(step)
	segment, off := s.stepPlace(step)
	return func() error { return backing.PrepareBeside(segment, off, stepBytes) }, func(err error) {
		s.ahead = false
		if err != nil {
			s.giveUpAhead()
		}
		if err == nil && s.prepared[step/64]&(1<<(step%64)) == 0 {
			s.prepared[step/64] |= 1 << (step % 64)
			s.steps++
		}
	}
}

// stepPlace is where a step lies.
func (s *space) stepPlace(step uint32) (segment int, off int64) {
	first := step * stepPages
	return int(first >> s.segmentBits), int64(first&(1<<s.segmentBits-1)) << pageBits
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
