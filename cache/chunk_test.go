package cache

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/benchfs/benchfs/fserr"
)

// owner plays the server: chunks with contents, and a count of what it was asked for.
type owner struct {
	mu      sync.Mutex // guards data
	data    map[Key][]byte
	fetches atomic.Int64
	bytes   atomic.Int64
}

func newOwner() *owner { return &owner{data: make(map[Key][]byte)} }

func (o *owner) set(k Key, data []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.data[k] = bytes.Clone(data)
}

func (o *owner) fetch(k Key) Fetch {
	return func(off uint32, bufs [][]byte) (n int, err error) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.fetches.Add(1)
		left := o.data[k]
		left = left[min(int(off), len(left)):]
		for _, buf := range bufs {
			got := copy(buf, left)
			left = left[got:]
			n += got
		}
		o.bytes.Add(int64(n))
		return n, nil
	}
}

func newCache(t testing.TB, capacityBytes int64) *ChunkCache {
	t.Helper()
	c, err := NewChunkCache(ChunkOptions{CapacityBytes: capacityBytes})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func pattern(n int, seed byte) []byte {
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(i>>8)*31 + byte(i)*7 + seed
	}
	return data
}

// read wants these bytes and no error.
func read(t testing.TB, c *ChunkCache, k Key, version uint64, off uint32, n int, ahead uint32, f Fetch, want []byte) {
	t.Helper()
	dst := make([]byte, n)
	got, err := c.Read(k, version, off, dst, ahead, f)
	if err != nil || !bytes.Equal(dst[:got], want) {
		t.Fatalf("read of %d bytes at %d: %d bytes, %v; want %d bytes, or they differ", n, off, got, err, len(want))
	}
}

var key = Key{Ino: 1, Chunk: 2}

func TestSecondReadIsAHit(t *testing.T) {
	c, o := newCache(t, 8<<20), newOwner()
	data := pattern(1<<20, 1)
	o.set(key, data)
	for range 2 {
		read(t, c, key, 1, 1000, 300_000, 0, o.fetch(key), data[1000:301_000])
	}
	if n := o.fetches.Load(); n != 1 {
		t.Errorf("%d fetches", n)
	}
	if s := c.Stats(); s.BytesHit != 300_000 || s.Misses != 1 || s.Hits != 5 {
		t.Errorf("stats %+v", s)
	}
}

// Trap 5: a small read must not fetch a whole chunk; not even a block, before the block is touched again.
func TestSmallReadFetchesLittle(t *testing.T) {
	c, o := newCache(t, 8<<20), newOwner()
	data := pattern(4<<20, 1)
	o.set(key, data)
	read(t, c, key, 1, 70_000, 4096, 0, o.fetch(key), data[70_000:74_096])
	if n := o.bytes.Load(); n > 8192 {
		t.Errorf("4 KiB read fetched %d bytes", n)
	}
	read(t, c, key, 1, 100_000, 100, 0, o.fetch(key), data[100_000:100_100])
	read(t, c, key, 1, 65_536, 65_536, 0, o.fetch(key), data[65_536:131_072])
	if n := o.fetches.Load(); n != 2 {
		t.Errorf("%d fetches: the second touch should bring the whole block", n)
	}
}

// Trap 6: what was cached of a short last chunk says nothing about the chunk at another version.
func TestShortChunkIsGoodForItsVersionOnly(t *testing.T) {
	c, o := newCache(t, 8<<20), newOwner()
	short, long := pattern(10_000, 1), pattern(200_000, 2)
	o.set(key, short)
	for range 3 {
		read(t, c, key, 1, 0, 65_536, 0, o.fetch(key), short)
		read(t, c, key, 1, 9_990, 100, 0, o.fetch(key), short[9_990:])
		read(t, c, key, 1, 10_000, 100, 0, o.fetch(key), nil)
		read(t, c, key, 1, 20_000, 100, 0, o.fetch(key), nil)
	}
	if n := o.fetches.Load(); n != 1 {
		t.Errorf("%d fetches", n)
	}
	o.set(key, long)
	for range 2 {
		read(t, c, key, 2, 0, 65_536, 0, o.fetch(key), long[:65_536])
		read(t, c, key, 2, 9_990, 100, 0, o.fetch(key), long[9_990:10_090])
	}
	if n := o.fetches.Load(); n != 2 {
		t.Errorf("%d fetches", n)
	}
	if s := c.Stats(); s.Stale == 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestEndAtABlockBoundary(t *testing.T) {
	c, o := newCache(t, 8<<20), newOwner()
	data := pattern(2*65_536, 1)
	o.set(key, data)
	for range 2 {
		read(t, c, key, 1, 0, 4*65_536, 0, o.fetch(key), data)
		read(t, c, key, 1, 2*65_536, 10, 0, o.fetch(key), nil)
	}
}

// Trap 7: a fetch that began before an invalidation must not leave its bytes for reads that come after it.
func TestFetchBegunBeforeAnInvalidationIsNotKept(t *testing.T) {
	for name, invalidate := range map[string]func(c *ChunkCache){
		"file":  func(c *ChunkCache) { c.InvalidateFile(key.Ino) },
		"chunk": func(c *ChunkCache) { c.InvalidateChunk(key) },
		"all":   func(c *ChunkCache) { c.Clear() },
	} {
		t.Run(name, func(t *testing.T) {
			c, o := newCache(t, 8<<20), newOwner()
			before, after := pattern(1000, 1), pattern(1000, 2)
			o.set(key, before)
			slow := func(off uint32, bufs [][]byte) (int, error) {
				n, err := o.fetch(key)(off, bufs) // reads the old bytes; then the write is acknowledged:
				o.set(key, after)
				invalidate(c)
				read(t, c, key, 1, 0, 1000, 0, o.fetch(key), after) // begins after it, the old fetch still on its way
				return n, err
			}
			read(t, c, key, 1, 0, 1000, 0, slow, before)
			read(t, c, key, 1, 0, 1000, 0, o.fetch(key), after)
		})
	}
}

// A fetch that a reader at another version pushed out of the cache leaves nothing behind when it ends.
func TestFetchThatAnotherVersionOvertook(t *testing.T) {
	c, o := newCache(t, 1<<20), newOwner()
	first, second := pattern(1000, 1), pattern(1000, 2)
	o.set(key, first)
	slow := func(off uint32, bufs [][]byte) (int, error) {
		n, err := o.fetch(key)(off, bufs)
		o.set(key, second)
		read(t, c, key, 2, 0, 1000, 0, o.fetch(key), second)
		return n, err
	}
	read(t, c, key, 1, 0, 1000, 0, slow, first)
	if s := c.Stats(); s.BlocksInUse != 1 {
		t.Errorf("stats %+v", s)
	}
	read(t, c, key, 2, 0, 1000, 0, o.fetch(key), second)
	if n := o.fetches.Load(); n != 2 {
		t.Errorf("%d fetches", n)
	}
}

func TestCloseWaitsForFetches(t *testing.T) {
	c, o := newCache(t, 1<<20), newOwner()
	data := pattern(1000, 1)
	o.set(key, data)
	closed := make(chan error, 1)
	slow := func(off uint32, bufs [][]byte) (int, error) {
		go func() { closed <- c.Close() }()
		s := &c.shards[0]
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			s.mu.Lock()
			begun := s.closed
			s.mu.Unlock()
			if begun {
				break
			}
		}
		select {
		case err := <-closed:
			t.Errorf("closed under a fetch: %v", err)
			closed <- err
			return 0, syscall.EIO
		default:
		}
		return o.fetch(key)(off, bufs)
	}
	read(t, c, key, 1, 0, 1000, 0, slow, data)
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

func TestInvalidationDropsWhatIsCached(t *testing.T) {
	c, o := newCache(t, 8<<20), newOwner()
	other := Key{Ino: 1, Chunk: 3}
	o.set(key, pattern(1000, 1))
	o.set(other, pattern(1000, 2))
	readBoth := func(first, second byte) {
		t.Helper()
		read(t, c, key, 1, 0, 1000, 0, o.fetch(key), pattern(1000, first))
		read(t, c, other, 1, 0, 1000, 0, o.fetch(other), pattern(1000, second))
	}
	readBoth(1, 2)
	o.set(key, pattern(1000, 3))
	c.InvalidateChunk(key)
	readBoth(3, 2)
	if n := o.fetches.Load(); n != 3 {
		t.Errorf("%d fetches: one chunk was invalidated", n)
	}
	o.set(other, pattern(1000, 4))
	c.InvalidateFile(1)
	readBoth(3, 4)
}

func TestConcurrentMissesMakeOneFetch(t *testing.T) {
	c, o := newCache(t, 8<<20), newOwner()
	data := pattern(65_536, 1)
	o.set(key, data)
	const readers = 50
	slow := func(off uint32, bufs [][]byte) (int, error) {
		for deadline := time.Now().Add(10 * time.Second); c.Stats().Waits < readers-1 && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
		return o.fetch(key)(off, bufs)
	}
	var wg sync.WaitGroup
	for range readers {
		wg.Go(func() {
			dst := make([]byte, 65_536)
			if n, err := c.Read(key, 1, 0, dst, 0, slow); err != nil || !bytes.Equal(dst[:n], data) {
				t.Errorf("%d bytes, %v", n, err)
			}
		})
	}
	wg.Wait()
	if n := o.fetches.Load(); n != 1 {
		t.Errorf("%d fetches", n)
	}
}

// Readers that waited for a fetch that failed do not wait for each other: all fetch at the same time.
func TestFailedFetch(t *testing.T) {
	c, o := newCache(t, 8<<20), newOwner()
	data := pattern(1000, 1)
	o.set(key, data)
	const readers = 8
	var entered atomic.Int64
	failing := func(uint32, [][]byte) (int, error) {
		if entered.Add(1) == 1 {
			for deadline := time.Now().Add(10 * time.Second); c.Stats().Waits < readers-1 && time.Now().Before(deadline); {
				time.Sleep(time.Millisecond)
			}
			return 0, syscall.EIO
		}
		for deadline := time.Now().Add(10 * time.Second); entered.Load() < readers; {
			if time.Now().After(deadline) {
				return 0, syscall.ETIMEDOUT
			}
			time.Sleep(time.Millisecond)
		}
		return 0, syscall.EIO
	}
	var wg sync.WaitGroup
	for range readers {
		wg.Go(func() {
			if n, err := c.Read(key, 1, 0, make([]byte, 1000), 0, failing); n != 0 || !errors.Is(err, syscall.EIO) {
				t.Errorf("%d bytes, %v", n, err)
			}
		})
	}
	wg.Wait()
	read(t, c, key, 1, 0, 1000, 0, o.fetch(key), data)
	if s := c.Stats(); s.BlocksInUse != 1 {
		t.Errorf("stats %+v", s)
	}
}

func TestErrorAfterAHitTellsHowMuchIsGood(t *testing.T) {
	c, o := newCache(t, 8<<20), newOwner()
	data := pattern(200_000, 1)
	o.set(key, data)
	read(t, c, key, 1, 0, 65_536, 0, o.fetch(key), data[:65_536])
	dst := make([]byte, 100_000)
	n, err := c.Read(key, 1, 0, dst, 0, func(uint32, [][]byte) (int, error) { return 0, syscall.EHOSTUNREACH })
	if n != 65_536 || fserr.Errno(err) != syscall.EHOSTUNREACH || !bytes.Equal(dst[:n], data[:n]) {
		t.Errorf("%d bytes, %v", n, err)
	}
}

func TestFetchThatLiesOrPanics(t *testing.T) {
	c, o := newCache(t, 8<<20), newOwner()
	o.set(key, pattern(1000, 1))
	for _, n := range []int{-1, 1 << 20} {
		for _, c := range []*ChunkCache{c, nil} {
			if got, err := c.Read(key, 1, 0, make([]byte, 10), 0, func(uint32, [][]byte) (int, error) { return n, nil }); got != 0 || fserr.Errno(err) != syscall.EIO {
				t.Errorf("a fetch of %d bytes: %d, %v", n, got, err)
			}
		}
	}
	func() {
		defer func() { _ = recover() }()
		_, _ = c.Read(key, 1, 0, make([]byte, 10), 0, func(uint32, [][]byte) (int, error) { panic("fetch") })
	}()
	read(t, c, key, 1, 0, 1000, 0, o.fetch(key), pattern(1000, 1))
}

func TestReadAheadFetchesOnce(t *testing.T) {
	c, o := newCache(t, 8<<20), newOwner()
	data := pattern(1<<20, 1)
	o.set(key, data)
	read(t, c, key, 1, 0, 10_000, 500_000, o.fetch(key), data[:10_000])
	read(t, c, key, 1, 10_000, 490_000, 0, o.fetch(key), data[10_000:500_000])
	if n := o.fetches.Load(); n != 1 {
		t.Errorf("%d fetches", n)
	}
	// More ahead than one fetch takes, or than there is.
	read(t, c, key, 1, 500_000, 10_000, 60<<20, o.fetch(key), data[500_000:510_000])
	read(t, c, key, 1, 510_000, 1<<20, 0, o.fetch(key), data[510_000:])
}

func TestCapacityIsKeptAndTheOldestGoes(t *testing.T) {
	c, o := newCache(t, 1<<20), newOwner()
	data := pattern(65_536, 1)
	for chunk := range uint64(100) {
		k := Key{Ino: 1, Chunk: chunk}
		o.set(k, data)
		read(t, c, k, 1, 0, 65_536, 0, o.fetch(k), data)
		read(t, c, Key{Ino: 1}, 1, 0, 65_536, 0, o.fetch(Key{Ino: 1}), data) // kept by its use
	}
	if n := o.fetches.Load(); n != 100 {
		t.Errorf("%d fetches", n)
	}
	if s := c.Stats(); s.Blocks != 16 || s.BlocksInUse != 16 || s.Evicted != 84 {
		t.Errorf("stats %+v", s)
	}
}

func TestReadLargerThanTheCache(t *testing.T) {
	c, o := newCache(t, 1<<20), newOwner()
	data := pattern(10<<20, 1)
	o.set(key, data)
	for range 2 {
		read(t, c, key, 1, 3, len(data), 0, o.fetch(key), data[3:])
	}
}

func TestHitAllocatesNothing(t *testing.T) {
	c, o := newCache(t, 8<<20), newOwner()
	o.set(key, pattern(65_536, 1))
	f := o.fetch(key)
	dst := make([]byte, 4096)
	if allocs := testing.AllocsPerRun(1000, func() {
		if _, err := c.Read(key, 1, 8192, dst, 0, f); err != nil {
			t.Error(err)
		}
	}); allocs != 0 {
		t.Errorf("%v allocations per hit", allocs)
	}
	var off *ChunkCache
	quiet := func(uint32, [][]byte) (int, error) { return 0, nil }
	if allocs := testing.AllocsPerRun(1000, func() { _, _ = off.Read(key, 1, 0, dst, 0, quiet) }); allocs != 0 {
		t.Errorf("%v allocations per read without a cache", allocs)
	}
}

func TestNilCacheAndClosedCache(t *testing.T) {
	o := newOwner()
	data := pattern(1000, 1)
	o.set(key, data)
	var off *ChunkCache
	read(t, off, key, 1, 10, 100, 5, o.fetch(key), data[10:110])
	off.InvalidateFile(1)
	off.InvalidateChunk(key)
	off.Clear()
	if off.Stats() != (ChunkStats{}) || off.Close() != nil {
		t.Error("a nil cache has something")
	}
	c := newCache(t, 1<<20)
	read(t, c, key, 1, 0, 1000, 0, o.fetch(key), data)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	read(t, c, key, 1, 0, 1000, 0, o.fetch(key), data)
	if c.Stats().BlocksInUse != 0 {
		t.Error("a closed cache has something")
	}
}

func TestBadChunkOptions(t *testing.T) {
	for _, o := range []ChunkOptions{{}, {CapacityBytes: -1}, {CapacityBytes: 1 << 20, BlockBytes: 1000}, {CapacityBytes: 1 << 20, BlockBytes: 1 << 20}, {CapacityBytes: 1 << 20, BlockBytes: 512}} {
		if _, err := NewChunkCache(o); fserr.Errno(err) != syscall.EINVAL {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

// A random reader and writer, alone: every read sees the bytes as they are now, since every change is followed by an
// invalidation or comes with a new version.
func TestChunkModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	c, err := NewChunkCache(ChunkOptions{CapacityBytes: 1 << 20, BlockBytes: 16 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	o := newOwner()
	versions := make(map[uint64]uint64)
	for range 20_000 {
		k := Key{Ino: rnd.Uint64N(3), Chunk: rnd.Uint64N(4)}
		if rnd.IntN(20) == 0 {
			o.set(k, pattern(rnd.IntN(300_000), byte(rnd.Uint32())))
			switch rnd.IntN(3) {
			case 0:
				versions[k.Ino]++
			case 1:
				c.InvalidateChunk(k)
			case 2:
				c.InvalidateFile(k.Ino)
			}
			continue
		}
		off, n := rnd.Uint32N(300_000), 1+rnd.IntN(1<<rnd.IntN(18))
		want := o.data[k]
		want = want[min(int(off), len(want)):]
		ahead := uint32(0)
		if rnd.IntN(3) == 0 {
			ahead = rnd.Uint32N(200_000)
		}
		read(t, c, k, versions[k.Ino], off, n, ahead, o.fetch(k), want[:min(n, len(want))])
	}
	if s := c.Stats(); s.Hits == 0 || s.Evicted == 0 || s.Stale == 0 {
		t.Errorf("stats %+v: the test lacks its point", s)
	}
}

// Many readers beside a writer that counts up, and acknowledges and then invalidates each count: what a reader gets is never older than
// the last count that was invalidated for before the read began.
func TestReadersBesideAWriter(t *testing.T) {
	c, o := newCache(t, 1<<20), newOwner()
	stored := func(count uint32) []byte {
		data := make([]byte, 40_000)
		for i := 0; i < len(data); i += 4 {
			data[i], data[i+1], data[i+2], data[i+3] = byte(count), byte(count>>8), byte(count>>16), byte(count>>24)
		}
		return data
	}
	o.set(key, stored(0))
	var acknowledged atomic.Uint32
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(i), 7))
			dst := make([]byte, 4000)
			for {
				select {
				case <-stop:
					return
				default:
				}
				floor := acknowledged.Load()
				off := rnd.Uint32N(9000) * 4
				n, err := c.Read(key, 1, off, dst, 0, o.fetch(key))
				if err != nil || n < 4 {
					t.Errorf("%d bytes, %v", n, err)
					return
				}
				for at := 0; at+4 <= n; at += 4 {
					got := uint32(dst[at]) | uint32(dst[at+1])<<8 | uint32(dst[at+2])<<16 | uint32(dst[at+3])<<24
					if got < floor {
						t.Errorf("read %d after %d was acknowledged", got, floor)
						return
					}
				}
			}
		})
	}
	for count := uint32(1); count <= 3000; count++ {
		o.set(key, stored(count))
		if count%2 == 0 {
			c.InvalidateChunk(key)
		} else {
			c.InvalidateFile(key.Ino)
		}
		acknowledged.Store(count)
	}
	close(stop)
	wg.Wait()
}

func BenchmarkHit4K(b *testing.B) {
	c, o := newCache(b, 8<<20), newOwner()
	o.set(key, pattern(65_536, 1))
	f := o.fetch(key)
	dst := make([]byte, 4096)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Read(key, 1, 8192, dst, 0, f); err != nil {
			b.Fatal(err)
		}
	}
}
