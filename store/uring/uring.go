// Package uring keeps chunks in segment files on a block device's file system and moves them with io_uring(7), past the page
// cache. What was committed survives the death of the process; what was synced survives power loss.
//
// In the directory of a store named N:
//
//	chunks.*          the log of the index, see internal/wal
//	N.segment.<i>     the bytes; of one size, backed by space as they come into use
//
// The index, the allocator and recovery are store/internal/extent's, and so are the rules about what may be in flight on a chunk at the
// same time (extent.Device). This package moves bytes:
//
//   - files.go: the segment files, opened with O_DIRECT where the file system takes it.
//   - ring.go: the queues shared with the kernel.
//   - moves.go: reads and writes in flight; what the ring has no room for waits its turn.
//   - transfer.go: what becomes of a View, a Write, a Reserve.
//   - lane.go: copying a chunk to a larger extent, and making gaps zeros.
//
// # Memory
//
// Transfers go through buffers outside the Go heap, of whole blocks, from a pool of fixed size: the network receives into them
// and sends from them, the device reads and writes them. When the pool is empty, a View or Write is refused with
// store.ErrNoBuffers and its owner tries again later. A Write at odd ends reads the blocks there into scratch pages, a second pool, whose holders
// wait for the device only; so does the one helper of lane.go. Hence nothing that holds memory ever waits for memory.
//
// # Waiting
//
// The owner's thread never blocks here, unless it asks to (View, Commit, Reserve, Close). [Store.Poll] enters the kernel once for all that was
// started since the last time, and looks for completions by reading memory. The ring's own descriptor is the one to sleep on: it is readable as
// long as there are completions.
//
// # Why not liburing
//
// The ring is driven by two system calls from Go. liburing through cgo does the same work in the same time (no-ops, one at a time:
// 0.42–0.52 µs here, 0.48–0.65 µs there; 16 at a time: 0.11–0.14 µs each, both; 4 KiB reads at depth 1 and 16: 46 µs and 18 µs each, both), and would
// make every process that loads the library need a shared object that most of them never use.
package uring

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/internal/wal"
	"github.com/benchfs/benchfs/store"
	"github.com/benchfs/benchfs/store/internal/extent"
)

// Options configure a store.
type Options struct {
	Dir  string // exists; one store a directory
	Name string // begins the names of segment files
	// CapacityBytes bounds what chunks take; 0 = what the store has already and nine tenths of what is free in Dir now.
	CapacityBytes int64
	SegmentBytes  int64 // of each file: a power of two ≥ 64 MiB; 0 = 256 MiB. A directory in use keeps the size it has
	// BufferBytes bounds the memory for transfers: a multiple of 4 KiB, at least the longest View or Write; 0 = MinBufferBytes.
	BufferBytes int64
	Recover     wal.Recover // what to do about a damaged log

	setup    setupRing // tests'; nil = the system's
	depth    int       // tests'; 0 = ringDepth
	buffered bool      // tests': as on a file system without O_DIRECT
}

// MinBufferBytes is memory enough for every View and Write: the largest chunk.
const MinBufferBytes = 64 << 20

const (
	defaultSegmentBytes = 256 << 20
	minLogBytes         = 1 << 20
	// ringDepth is how many reads and writes are in flight at most. Devices gain little beyond.
	ringDepth = 128
	// scratchPairs is how many Writes may be reading the blocks at their ends at the same time.
	scratchPairs = 64
)

// aheadBytes of space are allocated beyond what is in use.
const aheadBytes = 64 << 20

// Store implements store.Device, and has Checkpoint, LogBytes, TouchAhead and Dropped besides.
type Store struct {
	index extent.Device
	files *segmentFiles
	ring  *ring

	memory  []*extent.Mapping
	buffers *extent.Buffers
	scratch [][]byte // free pairs of blocks
	thirsty queue    // Writes that wait for a pair
	lane    lane

	moves   []move   // in flight, by tag
	idle    []uint32 // unused entries of moves
	backlog []move   // not yet in the ring; from first on
	first   int

	views    []*transfer // by index of the extent.Device's reference
	writes   []*transfer
	free     *transfer
	ended    queue
	inFlight int   // transfers started and not ended
	failed   error // of the ring; see breakDown
	stats    store.DeviceStats

	meddle func([]completion) // tests'
}

var _ store.Device = (*Store)(nil)

// Open opens the store in a directory, making an empty one if there is none. EBUSY if it is open already, here or elsewhere; an
// [*Unavailable] if the system has no io_uring for this process.
func Open(o Options) (*Store, error) {
	if o.Name == "" || strings.ContainsRune(o.Name, filepath.Separator) {
		return nil, fserr.New("open store", o.Dir, syscall.EINVAL, fmt.Errorf("bad store name %q", o.Name))
	}
	s := &Store{files: &segmentFiles{prefix: filepath.Join(o.Dir, o.Name+".segment.")}}
	if err := s.openRing(&o); err != nil {
		return nil, errors.Join(err, s.freeMemory())
	}
	direct, err := canDirect(s.files.prefix)
	if err != nil {
		return nil, errors.Join(err, s.freeMemory())
	}
	s.files.direct = direct && !o.buffered
	if err := s.openIndex(&o); err != nil {
		return nil, errors.Join(err, s.freeMemory())
	}
	return s, nil
}

func (s *Store) openRing(o *Options) (err error) {
	setup, depth := sysSetup, ringDepth
	if o.setup != nil {
		setup = o.setup
	}
	if o.depth != 0 {
		depth = o.depth
	}
	if s.ring, err = openRing(depth, setup); err != nil {
		return err
	}
	s.moves = make([]move, s.ring.depth)
	for i := range s.moves {
		s.idle = append(s.idle, uint32(i))
	}
	if o.BufferBytes == 0 {
		o.BufferBytes = MinBufferBytes
	}
	if o.BufferBytes < extent.BlockBytes || o.BufferBytes%extent.BlockBytes != 0 {
		return fserr.New("open store", o.Dir, syscall.EINVAL, fmt.Errorf("%d bytes are no buffers", o.BufferBytes))
	}
	memory, err := s.allocate(o.BufferBytes)
	if err != nil {
		return err
	}
	s.buffers = extent.NewBuffers(memory)
	const pair = 2 * extent.BlockBytes
	if memory, err = s.allocate(scratchPairs*pair + laneBytes + zeroBytes); err != nil {
		return err
	}
	for range scratchPairs {
		s.scratch = append(s.scratch, memory[:pair:pair])
		memory = memory[pair:]
	}
	s.lane = lane{bounce: memory[:laneBytes:laneBytes], zeros: memory[laneBytes:]}
	return nil
}

func (s *Store) allocate(bytes int64) ([]byte, error) {
	m, err := extent.MapSegment(-1, bytes, true)
	if err != nil {
		return nil, err
	}
	s.memory = append(s.memory, m)
	return m.Bytes, nil
}

func (s *Store) openIndex(o *Options) error {
	log, err := wal.Open(o.Dir, wal.Options{Name: "chunks", SegmentBytes: minLogBytes, Recover: o.Recover})
	if err != nil {
		return err
	}
	if o.SegmentBytes == 0 {
		o.SegmentBytes = defaultSegmentBytes
	}
	if o.CapacityBytes == 0 {
		if o.CapacityBytes, err = extent.Room(o.Dir, s.files.prefix); err != nil {
			return errors.Join(err, log.Close())
		}
	}
	s.index, err = extent.NewDevice(extent.Config{
		Backing: s.files, Name: o.Name, CapacityBytes: o.CapacityBytes, SegmentBytes: o.SegmentBytes, Log: log,
		AheadBytes: aheadBytes,
	})
	return err
}

func (s *Store) freeMemory() error {
	var err error
	if s.ring != nil {
		err = s.ring.close()
	}
	for _, m := range s.memory {
		err = errors.Join(err, m.Unmap())
	}
	s.ring, s.memory = nil, nil
	return err
}

// Truncate implements store.Store.
func (s *Store) Truncate(ino uint64, gen uint32, size uint64, chunkBits uint8) error {
	return s.index.Truncate(ino, gen, size, chunkBits)
}

// Purge implements store.Store.
func (s *Store) Purge(ino uint64) error { return s.index.Purge(ino) }

// Sync implements store.Store.
func (s *Store) Sync(ino uint64) func() error { return s.index.Sync(ino) }

// Usage implements store.Store.
func (s *Store) Usage() store.Usage { return s.index.Usage() }

// Inodes implements store.Store.
func (s *Store) Inodes() []uint64 { return s.index.Inodes() }

// Direct tells whether transfers go past the page cache.
func (s *Store) Direct() bool { return s.files.direct }

// Stats implements store.Device.
func (s *Store) Stats() store.DeviceStats {
	stats := s.stats
	stats.Direct = s.files.direct
	stats.Syncs = s.files.syncs.Load()
	stats.Errors += s.files.failures.Load()
	stats.InFlight = uint64(s.inFlight)
	stats.BufferBytes, stats.BuffersUsed = s.buffers.Bytes(), s.buffers.Used()
	return stats
}

// Checkpoint replaces the log by a snapshot of the index. The snapshot is durable at once; so is, before it, what it tells of.
func (s *Store) Checkpoint() error {
	if err := s.files.SyncAll(); err != nil {
		return err
	}
	return s.index.Checkpoint()
}

// LogBytes is what the log holds since the last checkpoint.
func (s *Store) LogBytes() int64 { return s.index.LogBytes() }

// TouchAhead prepares a little space for chunks to come; for the owner's idle moments.
func (s *Store) TouchAhead() (more bool) { return s.index.TouchAhead() }

// PlanAhead has nothing to give: space on a disk needs no touching.
func (s *Store) PlanAhead() (work func() error, done func(error)) { return nil, nil }

// Filled: see extent.Store.
func (s *Store) Filled() int { return s.index.Filled() }

// Dropped tells what the replay of the log cut off.
func (s *Store) Dropped() []wal.Dropped { return s.index.Dropped() }

// Close implements store.Store. It waits for what is in flight; what has ended and was not fetched with Next is released.
func (s *Store) Close() error {
	if s.ring == nil {
		return nil
	}
	for s.inFlight > 0 {
		s.wait()
	}
	for e, ok := s.Next(); ok; e, ok = s.Next() {
		s.Release(e.View)
	}
	if s.failed != nil {
		return s.failed
	}
	if err := s.index.Close(); err != nil && fserr.Errno(err) == syscall.EBUSY {
		return err
	} else {
		return errors.Join(err, s.freeMemory())
	}
}
