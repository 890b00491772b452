package cache

import (
	"fmt"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/benchfs/benchfs/fserr"
)

// Fetch reads from the owner: the bytes of the chunk from off on into bufs, one after the other. n is how many there are; less
// than fits says that nothing is beyond, at the version that the caller of Read named.
type Fetch func(off uint32, bufs [][]byte) (n int, err error)

// ChunkOptions configure a ChunkCache.
type ChunkOptions struct {
	CapacityBytes int64  // memory for data; at least 1 MiB
	BlockBytes    uint32 // what is kept and dropped as one: a power of two, 4 KiB … 64 KiB; 0 = 64 KiB
}

// Limits.
const (
	defaultBlockBytes = 64 << 10
	pageBytes         = 4 << 10
	minCapacityBytes  = 1 << 20
	maxChunkShards    = 16
	minShardBlocks    = 64
	// maxRun bounds the blocks of one fetch.
	maxRun = 64
)

// ChunkCache keeps ranges of chunks in memory outside the Go heap, in blocks, the least recently used dropped first.
//
// A block holds one range of bytes, and whether the chunk ends there. The first miss in a block fetches the pages that were asked
// for, not the block: a reader that jumps should not pay for what it does not read. A second miss, or a reader in sequence, fetches the rest.
type ChunkCache struct {
	block  uint32
	memory []byte
	files  epochs
	chunks epochs
	shards []chunkShard
}

// ChunkStats counts since the cache was made.
type ChunkStats struct {
	Hits         uint64 `json:"hits"`          // blocks looked up and found
	Misses       uint64 `json:"misses"`        // blocks looked up and not found
	Stale        uint64 `json:"stale"`         // of those, found at another version or after an invalidation
	Waits        uint64 `json:"waits"`         // reads that waited for another's fetch
	BytesHit     uint64 `json:"bytes_hit"`     // delivered from memory
	BytesFetched uint64 `json:"bytes_fetched"` // that fetches brought, asked for or ahead
	Evicted      uint64 `json:"evicted"`       // blocks dropped for want of room
	BlocksInUse  uint64 `json:"blocks_in_use"`
	Blocks       uint64 `json:"blocks"`
}

// NewChunkCache makes an empty cache. Its memory is taken from the system as it is used.
func NewChunkCache(o ChunkOptions) (*ChunkCache, error) {
	if o.BlockBytes == 0 {
		o.BlockBytes = defaultBlockBytes
	}
	if o.BlockBytes < pageBytes || o.BlockBytes > defaultBlockBytes || o.BlockBytes&(o.BlockBytes-1) != 0 || o.CapacityBytes < minCapacityBytes {
		return nil, fserr.New("chunk cache", "", syscall.EINVAL, fmt.Errorf("capacity %d in blocks of %d bytes", o.CapacityBytes, o.BlockBytes))
	}
	blocks := int(o.CapacityBytes / int64(o.BlockBytes))
	memory, err := unix.Mmap(-1, 0, blocks*int(o.BlockBytes), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fserr.New("chunk cache", "", fserr.Errno(err), err)
	}
	c := &ChunkCache{block: o.BlockBytes, memory: memory}
	c.shards = make([]chunkShard, min(max(blocks/minShardBlocks, 1), maxChunkShards))
	for i := range c.shards {
		from, to := blocks*i/len(c.shards), blocks*(i+1)/len(c.shards)
		c.shards[i].init(memory[from*int(o.BlockBytes):to*int(o.BlockBytes)], int(o.BlockBytes))
	}
	return c, nil
}

// Read fills dst with the bytes of a chunk from off on: from memory what was read at this version, the rest by fetch, which it calls
// without a lock, as often as it must. ahead: how many bytes beyond dst, up to the chunk's end at most, may be fetched along
// the way (see Sequence). n < len(dst): the chunk has no more. After an error, n bytes are good.
//
// Concurrent misses of one block make one fetch, and the others wait; but nobody waits for a second one: if the first has failed, one fetches
// again and the others go past the cache.
func (c *ChunkCache) Read(k Key, version uint64, off uint32, dst []byte, ahead uint32, fetch Fetch) (n int, err error) {
	if c == nil {
		return fetchDirect(off, dst, fetch)
	}
	hash := hashKey(k)
	s := &c.shards[hash%uint64(len(c.shards))]
	r := reader{k: k, version: version, off: off, dst: dst, ahead: ahead}
	for len(r.dst) > 0 && !r.ended {
		r.stamp = c.stamp(k, hash)
		f := s.lookup(&r, c.block)
		if r.direct {
			got, err := fetchDirect(r.off, r.dst, fetch)
			return int(r.off-off) + got, err
		}
		if f == nil {
			continue
		}
		if err := c.run(s, f, &r, hash, fetch); err != nil {
			return int(r.off - off), err
		}
	}
	return int(r.off - off), nil
}

func (c *ChunkCache) stamp(k Key, hash uint64) Stamp {
	return Stamp{entry: c.chunks.of(hash), group: c.files.of(hashIno(k.Ino))}
}

// run does the fetch of a flight and hands its bytes to the reader, whatever becomes of them in the cache.
func (c *ChunkCache) run(s *chunkShard, f *flight, r *reader, hash uint64, fetch Fetch) (err error) {
	n := 0
	settled := false
	defer func() {
		if !settled { // fetch has panicked: nobody must wait for it for ever
			s.settle(f, r, 0, false)
		}
	}()
	n, err = fetch(f.off, f.bufs[:f.count])
	if n > f.bytes || n < 0 {
		n, err = 0, fserr.New("fetch", "", syscall.EIO, fmt.Errorf("%d bytes for a request of %d", n, f.bytes))
	}
	settled = true
	current := c.stamp(r.k, hash) == f.stamp
	if err != nil {
		s.settle(f, r, 0, false)
		return err
	}
	s.settle(f, r, n, current)
	return nil
}

// fetchDirect goes past the cache.
func fetchDirect(off uint32, dst []byte, fetch Fetch) (int, error) {
	bufs := directBufs.Get().(*[1][]byte)
	bufs[0] = dst
	n, err := fetch(off, bufs[:])
	bufs[0] = nil
	directBufs.Put(bufs)
	if n > len(dst) || n < 0 {
		return 0, fserr.New("fetch", "", syscall.EIO, fmt.Errorf("%d bytes for a request of %d", n, len(dst)))
	}
	return n, err
}

var directBufs = sync.Pool{New: func() any { return new([1][]byte) }}

// InvalidateFile makes all that is cached of a file, or being fetched, worthless for reads that begin from now on. Call it when a change is
// acknowledged, not before.
func (c *ChunkCache) InvalidateFile(ino uint64) {
	if c != nil {
		c.files.advance(hashIno(ino))
	}
}

// InvalidateChunk does the same for one chunk.
func (c *ChunkCache) InvalidateChunk(k Key) {
	if c != nil {
		c.chunks.advance(hashKey(k))
	}
}

// Clear does the same for everything.
func (c *ChunkCache) Clear() {
	if c != nil {
		c.files.advanceAll()
	}
}

// Stats sums up all shards.
func (c *ChunkCache) Stats() ChunkStats {
	var sum ChunkStats
	if c == nil {
		return sum
	}
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		sum.Hits += s.stats.Hits
		sum.Misses += s.stats.Misses
		sum.Stale += s.stats.Stale
		sum.Waits += s.stats.Waits
		sum.BytesHit += s.stats.BytesHit
		sum.BytesFetched += s.stats.BytesFetched
		sum.Evicted += s.stats.Evicted
		sum.BlocksInUse += uint64(len(s.blocks) - len(s.free))
		sum.Blocks += uint64(len(s.blocks))
		s.mu.Unlock()
	}
	return sum
}

// Close waits for fetches in progress and gives the memory back. Reads that come later go past the cache.
func (c *ChunkCache) Close() error {
	if c == nil {
		return nil
	}
	for i := range c.shards {
		c.shards[i].close()
	}
	memory := c.memory
	if c.memory = nil; memory == nil {
		return nil
	}
	if err := unix.Munmap(memory); err != nil {
		return fserr.New("chunk cache", "", fserr.Errno(err), err)
	}
	return nil
}
