// Package extent is the chunk store behind store/memory and store/arena: an index of chunks, an allocator of extents, pins,
// and, given a log, recovery. What the extents are made of is a [Backing]'s business.
//
// # How bytes become visible
//
// A chunk is one extent, of which the first present bytes exist. Begin makes room, the caller fills it, Commit publishes: it zeroes
// the gap, appends a record with the chunk's extent and present length to the log, and only then counts the bytes as present. Whatever an
// extent held before is therefore never seen: present rules it out, also after a crash at any point.
//
// # Writes in progress
//
// Several Writes may be in progress on a chunk, filled by a network card at any moment. They stand in a list at the chunk.
//   - Growth moves a chunk to another extent while a Write still fills the old one: that stays pinned, and its Commit copies.
//   - A Commit whose gap contains the range of another Write must not zero under it, and must not publish what that range holds unless it
//     is known to be zeros or that Write's own bytes. So a Write that begins while others are in progress gets its range zeroed first; if a
//     Write without that (dirty) is in the gap, the chunk moves to a new extent, and the dirty one is left behind on the old.
//   - Truncate and Purge make all Writes in progress stale: their Commit fails.
//
// # Power loss
//
// An extent that belonged to synced bytes and is let go (growth, truncate, purge) is not reused before the record that let it go is
// synced too: otherwise power loss could bring back the old index over somebody else's bytes.
package extent

import (
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"sync/atomic"
	"syscall"

	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/internal/wal"
	"github.com/benchfs/benchfs/store"
)

// Config is what a Store is built from.
type Config struct {
	Backing       Backing
	Name          string   // of the store, kept in the log: a directory is not mistaken for another shard's
	CapacityBytes int64    // rounded down to pages
	SegmentBytes  int64    // of each segment that Backing maps: a power of two ≥ MinSegmentBytes. A log that knows another size wins
	Log           *wal.Log // nil: nothing outlives the process
	AheadBytes    int64    // space to be prepared beyond what is in use
}

// Limits.
const (
	MinSegmentBytes = 1 << blockBits
	// maxCapacityBytes is what page numbers reach.
	maxCapacityBytes = 1 << (32 + pageBits - 1)
	minChunkBits     = pageBits
	// growthOrders: a chunk that outgrows its extent gets one four times as large, so that a chunk written by appending copies a
	// third of its bytes in all.
	growthOrders = 2
	// logSlackBytes stay free in the log for removals on a full medium.
	logSlackBytes = 64 << 10
)

var (
	errClosed = fserr.New("store", "", syscall.EBADF, errors.New("store is closed"))
	errRange  = fserr.New("store", "", syscall.EINVAL, errors.New("range is empty or beyond the chunk"))
	errSpent  = fserr.New("store", "", syscall.EINVAL, errors.New("write was committed or aborted before"))
)

// file is what is known of an inode.
type file struct {
	ino  uint64
	gen  uint32
	kept bool              // the log knows it
	one  uint32            // its chunk, while many is nil and there is one
	many map[uint64]uint32 // chunk number → chunk, from the second chunk on
}

// chunk is one chunk's place.
type chunk struct {
	number  uint64
	file    uint32
	extent  uint32
	present uint32 // bytes that exist
	clean   uint32 // bytes in [present, clean) of the extent are zeros, but for those under Writes in progress
	writes  uint32 // list of Writes in progress
	slot    uint32 // on the board, + 1; 0: none
	floor   uint8  // order that Reserve asked for
	kept    bool   // the log knows it (without a log: it was committed or reserved)
}

// extent is a run of pages, shared by a chunk and the pins on it.
type extent struct {
	page   uint32
	pins   uint32 // Views and Writes
	born   uint32 // Store.syncs when it was made
	order  uint8
	doomed bool // no chunk's any more: free it with the last pin
	synced bool // a Sync of its file has covered it
	shared bool // other processes were told of it
}

func (e *extent) bytes() uint32 { return 1 << (e.order + pageBits) }

// Store implements store.Store. See there for threads; exceptions are said at the methods.
type Store struct {
	name    string
	space   space
	log     *wal.Log // nil: nothing outlives the process
	index   map[uint64]uint32
	files   slab[file]
	chunks  slab[chunk]
	extents slab[extent]
	views   slots[uint32] // the pinned extent
	writes  slots[write]
	closed  bool

	// Extents that wait for a sync of the log: see "Power loss". A run may be reused once a sync is done that began after
	// it was let go.
	waiting      []waitingRun
	waitingPages uint64
	syncs        uint32        // Syncs begun
	allSynced    uint32        // extents born before this Sync were covered by one of everything
	syncsDone    atomic.Uint32 // the latest of those that have ended well

	// What other processes are told of: see share.go.
	board      store.Board // nil: nothing is shared
	slotChunks []uint32    // by slot of the board: the chunk that has it; 0: none
	hand       int         // of recycleSlot
	quarantine quarantine

	awake  []uint32          // a Device's: Transfers to look at again, by index
	record [recordBytes]byte // scratch
}

type waitingRun struct {
	page  uint32
	since uint32
	order uint8
}

var _ store.Store = (*Store)(nil)

// Inodes implements store.Store.
func (s *Store) Inodes() []uint64 { return slices.Collect(maps.Keys(s.index)) }

// New makes a store; with a log, from what that says. The Store owns log and backing from then on, also if New fails.
func New(c Config) (*Store, error) {
	s := &Store{name: c.Name, log: c.Log, index: make(map[uint64]uint32)}
	s.space.backing = c.Backing
	s.space.aheadBytes = c.AheadBytes
	s.space.buddy.capacity = uint64(min(c.CapacityBytes, maxCapacityBytes)) >> pageBits
	s.space.segmentBits = uint8(bits.Len64(uint64(c.SegmentBytes)) - 1 - pageBits)
	err := checkSizes(c)
	if err == nil && s.log != nil {
		err = s.replay()
	}
	if err == nil {
		err = s.claimReplayed()
	}
	if err != nil {
		return nil, errors.Join(err, s.closeParts())
	}
	return s, nil
}

func checkSizes(c Config) error {
	if c.SegmentBytes < MinSegmentBytes || c.SegmentBytes&(c.SegmentBytes-1) != 0 {
		return fserr.New("open store", c.Name, syscall.EINVAL, fmt.Errorf("segment size %d is not a power of two of at least %d", c.SegmentBytes, MinSegmentBytes))
	}
	if c.CapacityBytes < pageBytes {
		return fserr.New("open store", c.Name, syscall.EINVAL, fmt.Errorf("capacity of %d bytes", c.CapacityBytes))
	}
	return nil
}

// View implements store.Store.
func (s *Store) View(ino, number uint64, off, n uint32, gen uint32) (store.View, error) {
	e, end, ref, err := s.pin(ino, number, off, n, gen)
	if e == nil {
		return store.View{}, err
	}
	return store.NewView(s.space.memory(e.page, e.order)[off:end:end], ref), nil
}

// pin keeps a chunk's extent as it is until Release of a View with that ref. end is where what is present of [off, off+n) ends; nil:
// nothing of it is.
func (s *Store) pin(ino, number uint64, off, n uint32, gen uint32) (e *extent, end uint32, ref uint64, err error) {
	if s.closed {
		return nil, 0, 0, errClosed
	}
	at, known := s.index[ino]
	if !known {
		return nil, 0, 0, nil
	}
	f := s.files.at(at)
	if f.gen != gen {
		return nil, 0, 0, fserr.ErrStaleGeneration
	}
	ci := f.find(s, number)
	if ci == 0 || n == 0 {
		return nil, 0, 0, nil
	}
	c := s.chunks.at(ci)
	if off >= c.present {
		return nil, 0, 0, nil
	}
	end = uint32(min(uint64(off)+uint64(n), uint64(c.present)))
	e = s.extents.at(c.extent)
	e.pins++
	ref, slot := s.views.take()
	*slot = c.extent
	return e, end, ref, nil
}

// Release implements store.Store. A View without bytes, or one that was released before, is nothing.
func (s *Store) Release(v store.View) {
	slot := s.views.get(v.Ref())
	if slot == nil {
		return
	}
	pinned := *slot
	s.views.give(v.Ref())
	s.unpin(pinned)
}

// Reserve implements store.Store.
func (s *Store) Reserve(ino, number uint64, n uint32, gen uint32, chunkBits uint8) error {
	if err := s.admit(0, n, chunkBits); err != nil {
		return err
	}
	ci, err := s.room(ino, number, n, gen, chunkBits)
	if err != nil {
		return err
	}
	c := s.chunks.at(ci)
	e := s.extents.at(c.extent)
	if err := s.space.writable(e.page, 0, n); err != nil {
		s.giveBack(ci)
		return err
	}
	if !c.kept {
		if err := s.logChunk(c, e.page, e.order, c.present); err != nil {
			s.giveBack(ci)
			return err
		}
		s.keep(c)
	}
	c.floor = max(c.floor, orderFor(uint64(n)))
	return nil
}

// Usage implements store.Store.
func (s *Store) Usage() store.Usage {
	s.release() // what is left in quarantine is in use, by other processes
	return store.Usage{
		CapacityBytes: s.space.buddy.capacity << pageBits,
		UsedBytes:     (s.space.buddy.taken - s.waitingPages) << pageBits,
		Chunks:        uint64(s.chunks.live),
		Files:         uint64(len(s.index)),
	}
}

// TouchAhead prepares a little space (2 MiB) for chunks to come; for the owner's idle moments. It reports whether to call again.
func (s *Store) TouchAhead() (more bool) {
	if s.closed {
		return false
	}
	s.release()
	return s.space.touchAhead()
}

// PlanAhead is TouchAhead for an owner who has no idle moments: work prepares 2 MiB on any goroutine beside the owner, done, the owner's, ends
// it. nil: there is nothing to do, something is under way, or this store can only TouchAhead.
func (s *Store) PlanAhead() (work func() error, done func(error)) {
	if s.closed {
		return nil, nil
	}
	s.release()
	return s.space.planAhead()
}

// Filled is how many quarters are there of the space that is to be prepared ahead; 4 if no more can be had now, or more is under way.
func (s *Store) Filled() int { return s.space.filled() }

// Dropped tells what the replay of the log cut off.
func (s *Store) Dropped() []wal.Dropped {
	if s.log == nil {
		return nil
	}
	return s.log.Dropped()
}

// Close implements store.Store. With a View or Write outstanding it is EBUSY and nothing happens.
func (s *Store) Close() error {
	if s.closed {
		return nil
	}
	if n := s.views.slab.live + s.writes.slab.live; n > 0 {
		return fserr.New("close store", s.name, syscall.EBUSY, fmt.Errorf("%d views and writes outstanding", n))
	}
	s.closed = true
	var err error
	if s.log != nil {
		err = s.space.backing.SyncAll()
	}
	return errors.Join(err, s.closeParts())
}

// closeParts lets go of log and backing. The backing goes first: the log holds the lock on both.
func (s *Store) closeParts() error {
	err := s.space.backing.Close()
	if s.log != nil {
		err = errors.Join(err, s.log.Close())
	}
	return err
}

// find is the chunk of that number, or 0.
func (f *file) find(s *Store, number uint64) uint32 {
	if f.many != nil {
		return f.many[number]
	}
	if f.one != 0 && s.chunks.at(f.one).number == number {
		return f.one
	}
	return 0
}

// each calls do for every chunk of the file; do may remove that chunk.
func (f *file) each(do func(ci uint32)) {
	if f.many == nil {
		if f.one != 0 {
			do(f.one)
		}
		return
	}
	for _, ci := range f.many {
		do(ci)
	}
}

// addChunk gives a file a chunk without an extent.
func (s *Store) addChunk(fi uint32, number uint64) (uint32, *chunk) {
	ci, c := s.chunks.take()
	*c = chunk{number: number, file: fi}
	f := s.files.at(fi)
	switch {
	case f.many != nil:
		f.many[number] = ci
	case f.one == 0:
		f.one = ci
	default:
		f.many = map[uint64]uint32{s.chunks.at(f.one).number: f.one, number: ci}
		f.one = 0
	}
	return ci, c
}

// removeChunk forgets a chunk; Writes in progress on it become stale.
func (s *Store) removeChunk(ci uint32) {
	c := s.chunks.at(ci)
	s.unshare(c)
	for at := c.writes; at != 0; {
		w := s.writes.slab.at(at)
		s.awaken(at, w)
		at = w.next
		w.chunk, w.next, w.prev = 0, 0, 0
	}
	f := s.files.at(c.file)
	if f.many == nil {
		f.one = 0
	} else if delete(f.many, c.number); len(f.many) == 0 {
		f.many = nil
	}
	s.letGo(c.extent)
	s.chunks.give(ci)
}

func (s *Store) addFile(ino uint64, gen uint32) uint32 {
	fi, f := s.files.take()
	*f = file{ino: ino, gen: gen}
	s.index[ino] = fi
	return fi
}

func (s *Store) removeFile(fi uint32) {
	f := s.files.at(fi)
	f.each(s.removeChunk)
	delete(s.index, f.ino)
	s.files.give(fi)
}

// keep notes that the log knows the chunk and its file.
func (s *Store) keep(c *chunk) {
	c.kept = true
	s.files.at(c.file).kept = true
}
