package cache

import (
	"sync"

	"github.com/benchfs/benchfs/internal/memcopy"
)

// chunkShard is one independent part of a ChunkCache: all blocks of a chunk are in one.
type chunkShard struct {
	mu       sync.Mutex // guards everything here
	settled  sync.Cond  // a flight has ended
	memory   []byte
	size     int // of a block
	blocks   []block
	index    map[blockKey]int32
	free     []int32
	newest   int32 // LRU list of the blocks that are ready; −1 ends
	oldest   int32
	flying   int    // flights in progress
	launches uint64 // flights ever
	spare    []*flight
	closed   bool
	stats    ChunkStats
}

type blockKey struct {
	Key
	number uint32
}

// States of a block.
const (
	blockFree   = iota
	blockFlying // being fetched: in the index, not in the LRU list
	blockOrphan // being fetched, but out of the index: to be dropped when the fetch ends
	blockReady
)

// block is one piece of memory and what is in it.
type block struct {
	key        blockKey
	version    uint64
	stamp      Stamp
	lo, hi     uint32 // the bytes [lo, hi) of the block are good
	end        bool   // the chunk ends at hi
	launch     uint64 // number of the flight that fetches it, or did
	state      uint8
	next, prev int32 // next is older
}

// flight is one fetch into consecutive blocks.
type flight struct {
	off    uint32 // in the chunk
	bytes  int
	stamp  Stamp
	count  int
	bufs   [maxRun][]byte
	blocks [maxRun]int32
}

// reader is how far a Read has come.
type reader struct {
	k       Key
	version uint64
	stamp   Stamp
	off     uint32
	dst     []byte
	ahead   uint32
	waited  bool // for another's fetch, at the present place
	direct  bool // go past the cache
	ended   bool // the chunk has no more
}

func (r *reader) advance(n int) {
	r.off += uint32(n)
	r.dst = r.dst[n:]
	r.waited = false
}

func (s *chunkShard) init(memory []byte, size int) {
	s.settled.L = &s.mu
	s.memory, s.size = memory, size
	s.blocks = make([]block, len(memory)/size)
	s.index = make(map[blockKey]int32, len(s.blocks))
	s.newest, s.oldest = -1, -1
	for i := len(s.blocks) - 1; i >= 0; i-- {
		s.free = append(s.free, int32(i))
	}
}

func (s *chunkShard) bytes(i int32) []byte {
	return s.memory[int(i)*s.size : (int(i)+1)*s.size : (int(i)+1)*s.size]
}

// lookup serves the reader from memory as far as it goes. Then it returns a flight that the caller must run, or nil: the reader is
// done, must go direct, or must look again under a new stamp because it has waited.
func (s *chunkShard) lookup(r *reader, size uint32) *flight {
	s.mu.Lock()
	defer s.mu.Unlock()
	whole := false
	for len(r.dst) > 0 && !r.ended {
		if s.closed {
			r.direct = true
			return nil
		}
		i, ok := s.index[blockKey{r.k, r.off / size}]
		if !ok {
			break
		}
		b := &s.blocks[i]
		if b.version != r.version || b.stamp != r.stamp {
			s.stats.Stale++
			s.drop(i)
			break
		}
		if b.state == blockFlying {
			if r.direct = r.waited; r.direct { // waiting for one fetch is in the bargain, for a chain of them is not
				return nil
			}
			s.await(b)
			r.waited = true
			return nil
		}
		at := r.off % size
		if at < b.lo || at >= b.hi && !b.end {
			whole = true // the second miss in this block
			s.drop(i)
			break
		}
		s.serve(r, i, at)
	}
	if len(r.dst) == 0 || r.ended {
		return nil
	}
	s.stats.Misses++
	f := s.launch(r, size, whole)
	r.direct = f == nil
	return f
}

// await returns when the fetch into a block has ended, or is nobody's concern any more.
func (s *chunkShard) await(b *block) {
	s.stats.Waits++
	launch := b.launch
	for b.state == blockFlying && b.launch == launch {
		s.settled.Wait()
	}
}

// serve copies from a ready block.
func (s *chunkShard) serve(r *reader, i int32, at uint32) {
	b := &s.blocks[i]
	n := 0
	if at < b.hi {
		n = memcopy.Out(r.dst, s.bytes(i)[at:b.hi])
	}
	s.unlink(i)
	s.linkNewest(i)
	s.stats.Hits++
	s.stats.BytesHit += uint64(n)
	r.advance(n)
	r.ended = b.end && at+uint32(n) >= b.hi && len(r.dst) > 0
}

// launch claims blocks for what the reader misses from here on, and for what it wants ahead; nil if all memory is being fetched into.
func (s *chunkShard) launch(r *reader, size uint32, whole bool) *flight {
	start := r.off &^ (pageBytes - 1)
	if whole {
		start = r.off &^ (size - 1)
	}
	stop := uint64(r.off) + uint64(len(r.dst)) + uint64(r.ahead)
	align := uint64(pageBytes)
	if whole || r.ahead > 0 {
		align = uint64(size)
	}
	stop = (stop + align - 1) &^ (align - 1)
	f := s.newFlight()
	f.off, f.stamp = start, r.stamp
	s.launches++
	for at := uint64(start); at < stop && f.count < maxRun; {
		key := blockKey{r.k, uint32(at / uint64(size))}
		if _, known := s.index[key]; known {
			break
		}
		i, ok := s.take()
		if !ok {
			break
		}
		lo := uint32(at % uint64(size))
		hi := uint32(min(uint64(size), stop-at+uint64(lo)))
		s.blocks[i] = block{key: key, version: r.version, stamp: r.stamp, lo: lo, hi: hi, state: blockFlying, launch: s.launches}
		s.index[key] = i
		f.blocks[f.count], f.bufs[f.count] = i, s.bytes(i)[lo:hi]
		f.count++
		f.bytes += int(hi - lo)
		at += uint64(hi - lo)
	}
	if f.count == 0 {
		s.spare = append(s.spare, f)
		return nil
	}
	s.flying++
	return f
}

// settle ends a flight that brought n bytes: the reader gets its part, and the blocks become ready if keep, else free.
func (s *chunkShard) settle(f *flight, r *reader, n int, keep bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.BytesFetched += uint64(n)
	skip := int(r.off - f.off)
	short := n < f.bytes
	left := n
	for j := range f.count {
		i := f.blocks[j]
		got := min(left, len(f.bufs[j]))
		left -= got
		if skip < got {
			r.advance(memcopy.Out(r.dst, f.bufs[j][skip:got]))
		}
		skip = max(skip-len(f.bufs[j]), 0)
		s.land(i, got, keep)
	}
	r.ended = keepEnded(r, f, n, short)
	*f = flight{}
	s.spare = append(s.spare, f)
	s.flying--
	s.settled.Broadcast()
}

// keepEnded reports whether the reader has met the end of the chunk: the fetch was short, and all it brought is delivered.
func keepEnded(r *reader, f *flight, n int, short bool) bool {
	return short && len(r.dst) > 0 && uint64(r.off) >= uint64(f.off)+uint64(n)
}

// land makes a fetched block ready with its first got bytes, or frees it. An end of the chunk is remembered only with bytes before it.
func (s *chunkShard) land(i int32, got int, keep bool) {
	b := &s.blocks[i]
	if b.state == blockOrphan || !keep || got == 0 {
		if b.state == blockFlying {
			delete(s.index, b.key)
		}
		b.state = blockFree
		s.free = append(s.free, i)
		return
	}
	b.end = b.lo+uint32(got) < b.hi
	b.hi = b.lo + uint32(got)
	b.state = blockReady
	s.linkNewest(i)
}

// drop takes a block out of the index; one that is being fetched keeps its memory until the fetch has ended.
func (s *chunkShard) drop(i int32) {
	b := &s.blocks[i]
	delete(s.index, b.key)
	if b.state == blockFlying {
		b.state = blockOrphan
		return
	}
	s.unlink(i)
	b.state = blockFree
	s.free = append(s.free, i)
}

// take finds memory: unused, or the least recently used.
func (s *chunkShard) take() (int32, bool) {
	if len(s.free) == 0 {
		if s.oldest < 0 {
			return 0, false
		}
		s.stats.Evicted++
		s.drop(s.oldest)
	}
	i := s.free[len(s.free)-1]
	s.free = s.free[:len(s.free)-1]
	return i, true
}

func (s *chunkShard) newFlight() *flight {
	if n := len(s.spare); n > 0 {
		f := s.spare[n-1]
		s.spare = s.spare[:n-1]
		return f
	}
	return &flight{}
}

func (s *chunkShard) linkNewest(i int32) {
	b := &s.blocks[i]
	b.next, b.prev = s.newest, -1
	if s.newest >= 0 {
		s.blocks[s.newest].prev = i
	} else {
		s.oldest = i
	}
	s.newest = i
}

func (s *chunkShard) unlink(i int32) {
	b := &s.blocks[i]
	if b.prev >= 0 {
		s.blocks[b.prev].next = b.next
	} else {
		s.newest = b.next
	}
	if b.next >= 0 {
		s.blocks[b.next].prev = b.prev
	} else {
		s.oldest = b.prev
	}
}

// close drops everything once nothing is being fetched.
func (s *chunkShard) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for s.flying > 0 {
		s.settled.Wait()
	}
	clear(s.index)
	s.blocks, s.free, s.memory = nil, nil, nil
}
