package extent

// slab is a table of T with stable addresses and a free list: what it grew to once it reuses without allocating.
// Index 0 is never given out, so that 0 can mean "none".
type slab[T any] struct {
	pages [][]T
	free  []uint32
	next  uint32 // first index that was never given out
	live  int
}

const (
	slabBits = 10
	slabPage = 1 << slabBits
)

// take returns an unused entry, zeroed.
func (s *slab[T]) take() (uint32, *T) {
	s.live++
	if n := len(s.free); n > 0 {
		i := s.free[n-1]
		s.free = s.free[:n-1]
		entry := s.at(i)
		var zero T
		*entry = zero
		return i, entry
	}
	if s.next == 0 {
		s.next = 1
	}
	i := s.next
	if int(i>>slabBits) == len(s.pages) {
		s.pages = append(s.pages, make([]T, slabPage))
	}
	s.next++
	return i, s.at(i)
}

func (s *slab[T]) at(i uint32) *T { return &s.pages[i>>slabBits][i&(slabPage-1)] }

func (s *slab[T]) give(i uint32) {
	s.live--
	s.free = append(s.free, i)
}

// slots is a slab whose entries are named by index and generation, for references that callers hold: one that was given back
// is recognised, also after its entry has been reused.
type slots[T any] struct {
	slab        slab[T]
	generations []uint32 // of index i; odd while it is taken
}

func (s *slots[T]) take() (ref uint64, entry *T) {
	i, entry := s.slab.take()
	for len(s.generations) <= int(i) {
		s.generations = append(s.generations, 0)
	}
	s.generations[i]++
	return uint64(s.generations[i])<<32 | uint64(i), entry
}

// get is the entry of a reference, or nil if that was given back or never existed.
func (s *slots[T]) get(ref uint64) *T {
	i := uint32(ref)
	if i == 0 || int(i) >= len(s.generations) || s.generations[i] != uint32(ref>>32) {
		return nil
	}
	return s.slab.at(i)
}

// give ends a reference that get accepts.
func (s *slots[T]) give(ref uint64) {
	s.generations[uint32(ref)]++
	s.slab.give(uint32(ref))
}
