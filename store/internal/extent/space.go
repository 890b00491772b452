package extent

import (
	"slices"
	"sync/atomic"
	"syscall"
)

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

// Preparing goes in steps of a huge page, and in grains where space is prepared as it is needed.
const (
	stepBits   = 21
	stepBytes  = 1 << stepBits
	stepPages  = 1 << (stepBits - pageBits)
	grainBits  = 16
	grainPages = 1 << (grainBits - pageBits)
	stepGrains = 1 << (stepBits - grainBits)
)

// BesideBacking is a Backing that can prepare beside its owner, and beside others who write to the range: not a byte changes.
type BesideBacking interface {
	Backing
	PrepareBeside(segment int, off, n int64) error
}

// PiecemealBacking is a Backing that may say, of mapped segments, that their pages are best made when somebody writes to the file: to find and clear
// them first would only be more work.
type PiecemealBacking interface {
	Backing
	Piecemeal() bool
	// MapBeside is PrepareBeside for pages that exist: the mapping gets to know them.
	MapBeside(segment int, off, n int64) error
}

// space is the address range of all extents: pages of segments, some of them mapped and prepared.
type space struct {
	backing     Backing
	segmentBits uint8 // log2 of the pages of a segment
	segments    [][]byte
	shown       atomic.Pointer[[][]byte] // what segments was when one was mapped last: for other threads
	old         []bool                   // segments with contents from an earlier run: nothing in them is known to be zeros
	buddy       buddy
	prepared    grains
	made        grains // have pages: prepared, or written to the file
	known       grains // made, or given out to be made by who writes there
	knownGrains int    // in known
	firstStep   uint32 // all steps before it are known
	bareGrains  int    // made and not prepared
	bareStep    uint32 // where such grains were looked for last
	aheadBytes  int64  // how much is to be prepared beyond what is in use
	ahead       bool   // a step is being prepared beside the owner
	searched    int    // blocks when there was nothing left to prepare, or it could not be
}

// grains is a set of grains by number.
type grains []uint64

func (g grains) has(i uint32) bool { return int(i/64) < len(g) && g[i/64]&(1<<(i%64)) != 0 }

func (g grains) hasAll(first, last uint32) bool {
	for i := first; i <= last; i++ {
		if !g.has(i) {
			return false
		}
	}
	return true
}

// hasStep reports whether all grains of a step are there.
func (g grains) hasStep(step uint32) bool {
	i := step * stepGrains
	return int(i/64) < len(g) && uint32(g[i/64]>>(i%64)) == 1<<stepGrains-1
}

// add reports whether the grain is new.
func (g *grains) add(i uint32) bool {
	for int(i/64) >= len(*g) {
		*g = append(*g, 0)
	}
	word, bit := &(*g)[i/64], uint64(1)<<(i%64)
	if *word&bit != 0 {
		return false
	}
	*word |= bit
	return true
}

// take finds 1 << order pages. fresh: they are zeros. Who writes there says so first (writable).
func (s *space) take(order uint8) (page uint32, fresh bool, err error) {
	page, ok := s.buddy.take(order)
	if !ok {
		return 0, false, syscall.ENOSPC
	}
	if err := s.claim(page, order); err != nil {
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
	if s.claim(page, to) != nil {
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

// claim maps what a run needs, and prepares it unless that is better left to who writes there.
func (s *space) claim(page uint32, order uint8) error {
	if _, err := s.segment(page); err != nil {
		return err
	}
	pages := uint32(1) << order
	if s.piecemeal() {
		for i := page / grainPages; i <= (page+pages-1)/grainPages; i++ {
			s.know(i)
		}
		return nil
	}
	last := (page + pages - 1) / stepPages
	for step := page / stepPages; step <= last; step++ {
		if err := s.prepare(step); err != nil {
			return err
		}
	}
	return nil
}

func (s *space) piecemeal() bool {
	b, can := s.backing.(PiecemealBacking)
	return can && b.Piecemeal()
}

// bare reports whether bytes [from, to) of a run are better written to the file than to its mapping: not all of their pages exist.
func (s *space) bare(page, from, to uint32) bool {
	first, last := grainsOf(page, from, to)
	return !s.made.hasAll(first, last) && s.piecemeal()
}

// grainsOf are the grains of bytes [from, to) of a run; to > from.
func grainsOf(page, from, to uint32) (first, last uint32) {
	return (page + from>>pageBits) / grainPages, (page + (to-1)>>pageBits) / grainPages
}

// wrote notes that all of bytes [from, to) of a run have pages: they were written to the file. The mapping has not seen them.
func (s *space) wrote(page, from, to uint32) {
	const grainBytes = 1 << grainBits
	from, to = page<<pageBits&(grainBytes-1)+from, page<<pageBits&(grainBytes-1)+to // as of the run's first grain
	for at := (from + grainBytes - 1) &^ (grainBytes - 1); at+grainBytes <= to; at += grainBytes {
		if s.made.add(page/grainPages + at>>grainBits) {
			s.bareGrains++
		}
	}
}

// writable makes sure that stores to bytes [from, to) of a run find pages, without a fault for each.
func (s *space) writable(page, from, to uint32) error {
	if to <= from {
		return nil
	}
	first, last := grainsOf(page, from, to)
	for i := first; i <= last; i++ {
		end := i
		for end <= last && !s.prepared.has(end) {
			end++
		}
		if end == i {
			continue
		}
		segment, off := s.pagePlace(i * grainPages)
		if err := s.backing.Prepare(segment, off, int64(end-i)<<grainBits); err != nil {
			return err
		}
		for ; i < end; i++ {
			s.grainPrepared(i)
		}
	}
	return nil
}

func (s *space) know(grain uint32) {
	if s.known.add(grain) {
		s.knownGrains++
	}
}

func (s *space) prepare(step uint32) error {
	if s.prepared.hasStep(step) {
		return nil
	}
	segment, off := s.pagePlace(step * stepPages)
	if err := s.backing.Prepare(segment, off, stepBytes); err != nil {
		return err
	}
	s.stepPrepared(step)
	return nil
}

func (s *space) stepPrepared(step uint32) {
	for i := step * stepGrains; i < (step+1)*stepGrains; i++ {
		s.grainPrepared(i)
	}
}

func (s *space) grainPrepared(i uint32) {
	if s.prepared.add(i) && !s.made.add(i) {
		s.bareGrains--
	}
	s.know(i)
}

// reserve is how much is prepared and not in use: bytes.
func (s *space) reserve() int64 {
	return int64(s.knownGrains)<<grainBits - int64(s.buddy.taken)<<pageBits
}

// filled is how many quarters of the reserve are there, 4 if no more can be had now or more is under way.
func (s *space) filled() int {
	if s.aheadBytes == 0 || s.ahead || s.searched == len(s.buddy.blocks)+1 {
		return 4
	}
	return int(max(0, min(s.reserve()*4/s.aheadBytes, 4)))
}

// nextStep finds the step, not prepared yet, that the allocator will reach next, and maps its segment.
func (s *space) nextStep() (step uint32, ok bool) {
	if s.reserve() >= s.aheadBytes {
		return 0, false
	}
	limit := uint32(min(uint64(len(s.buddy.blocks)+1)<<maxOrder+uint64(s.aheadBytes)>>pageBits, s.buddy.capacity) / stepPages)
	for s.firstStep < limit && s.known.hasStep(s.firstStep) {
		s.firstStep++
	}
	if s.firstStep < limit {
		if _, err := s.segment(s.firstStep * stepPages); err == nil {
			return s.firstStep, true
		}
	}
	s.giveUpAhead()
	return 0, false
}

// nextBareStep finds a step with pages that others have made.
func (s *space) nextBareStep() (step uint32, ok bool) {
	steps := uint32(len(s.made)) * 64 / stepGrains
	for n := uint32(0); s.bareGrains > 0 && n < steps; n++ {
		if s.bareStep++; s.bareStep >= steps {
			s.bareStep = 0
		}
		for i := s.bareStep * stepGrains; i < (s.bareStep+1)*stepGrains; i++ {
			if s.made.has(i) && !s.prepared.has(i) {
				return s.bareStep, true
			}
		}
	}
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
	prepare := backing.PrepareBeside
	step, ok := s.nextStep()
	if !ok {
		if step, ok = s.nextBareStep(); ok { // which none has but a backing that is made piecemeal
			prepare = s.backing.(PiecemealBacking).MapBeside
		}
	}
	if !ok {
		return nil, nil
	}
	s.ahead = true
	segment, off := s.pagePlace(step * stepPages)
	return func() error { return prepare(segment, off, stepBytes) }, func(err error) {
		s.ahead = false
		if err != nil {
			s.giveUpAhead()
		}
		if err == nil {
			s.stepPrepared(step)
		}
	}
}

// pagePlace is where a page lies.
func (s *space) pagePlace(page uint32) (segment int, off int64) {
	return int(page >> s.segmentBits), int64(page&(1<<s.segmentBits-1)) << pageBits
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
	shown := slices.Clone(s.segments)
	s.shown.Store(&shown)
	return memory, nil
}

// memory is a run's bytes.
func (s *space) memory(page uint32, order uint8) []byte {
	segment := s.segments[page>>s.segmentBits]
	start := int64(page&(1<<s.segmentBits-1)) << pageBits
	end := start + 1<<(order+pageBits)
	return segment[start:end:end]
}
