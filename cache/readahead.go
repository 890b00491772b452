package cache

import "sync"

// The window of a reader that reads on where it stopped grows from first to the limit by doubling.
const firstWindow = 128 << 10

// Sequence watches the reads of one open file and tells how much more than asked is worth fetching. The zero value is ready.
type Sequence struct {
	mu     sync.Mutex // guards what is below
	next   uint64     // where the last read ended
	ahead  uint64     // up to where was fetched already, as far as Next has told
	window uint64
	run    int // reads in sequence so far
}

// Next is told of a read of [off, off+n) and returns how many bytes beyond it to fetch with it: 0 for a reader that jumps, and while
// what was fetched ahead lasts. limit bounds it.
func (s *Sequence) Next(off, n, limit uint64) (ahead uint64) {
	if s == nil {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	end := off + n
	if off != s.next || end < off {
		s.next, s.ahead, s.window, s.run = end, end, 0, 0
		if off != 0 { // a read from the start is the first of a sequence, more often than not
			return 0
		}
	}
	s.next = end
	if s.run++; s.run < 2 || end <= s.ahead {
		return 0
	}
	s.window = min(max(firstWindow, s.window*2), limit)
	s.ahead = end + s.window
	return s.window
}
