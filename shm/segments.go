package shm

import "C"

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/benchfs/benchfs/fserr"
)

// Moving bytes in and out of a segment file. A copy through a mapping is the fastest way there is, but for the first touch of each page, which
// costs the process a page fault; one system call on the file costs more than the copy and less than the faults. So data that passes
// once goes by system calls, and what proves hot is mapped (docs/performance.md has the figures). With huge pages a first
// touch costs nothing worth mentioning, and everything is mapped.
const (
	blockBits  = 16 // the unit in which heat is counted
	blockBytes = 1 << blockBits
	// hotBytes moved in or out of a block make it hot: it was read or written twice. A small access counts as hotLeast bytes, because
	// there a system call is the larger part.
	hotBytes = 2 * blockBytes
	hotLeast = 16 << 10
	hugeBits = 21
)

// Segments are the segments of one shard, in a client process. Files are opened and mapped as they are needed, and stay so.
type Segments struct {
	bytes  int64                                   // of each
	open   func(number uint32) (fd int, err error) // nil: they are memory of this process
	memory func(number uint32) []byte              // that memory
	write  bool                                    // may be written
	huge   bool                                    // the mapping is made of huge pages
	budget *Budget

	mu   sync.Mutex
	list atomic.Pointer[[]*Segment] // by number; nil where not open. Replaced under mu
}

// NewSegments describes segment files, which open opens; nothing is opened yet. budget may be shared by several.
func NewSegments(open func(number uint32) (fd int, err error), bytes int64, write, huge bool, budget *Budget) *Segments {
	s := &Segments{open: open, bytes: bytes, write: write, huge: huge, budget: budget}
	s.list.Store(&[]*Segment{})
	return s
}

// OwnSegments are segments in the memory of this process.
func OwnSegments(memory func(number uint32) []byte, bytes int64) *Segments {
	s := &Segments{memory: memory, bytes: bytes, write: true, huge: true}
	s.list.Store(&[]*Segment{})
	return s
}

// OpenPaths opens segment files by their paths: number n is prefix + decimal n.
func OpenPaths(prefix string, write bool) func(number uint32) (fd int, err error) {
	flags := unix.O_RDONLY
	if write {
		flags = unix.O_RDWR
	}
	return func(number uint32) (int, error) {
		return openFile(prefix+strconv.FormatUint(uint64(number), 10), flags)
	}
}

// Segment is one of them.
type Segment struct {
	fd     int // −1: it is memory of this process
	memory []byte
	base   unsafe.Pointer
	length uintptr
	huge   bool
	heat   []atomic.Uint32 // bytes moved so far, by block, up to hotBytes
	budget *Budget
}

// Descriptors that stay open in somebody else's process: a host may want them out of its way, and know which they are. Both are set before
// the first use of this package, or never.
var (
	// KeepDescriptor takes a descriptor and returns the one to use in its place.
	KeepDescriptor = func(fd int) int { return fd }
	// CloseDescriptor closes what KeepDescriptor has returned.
	CloseDescriptor = unix.Close
)

// Get opens a segment, or finds it.
func (s *Segments) Get(number uint32) (*Segment, error) {
	if list := *s.list.Load(); int(number) < len(list) && list[number] != nil {
		return list[number], nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	list := append([]*Segment(nil), *s.list.Load()...)
	if number > 1<<20 {
		return nil, fserr.New("open", "segment", syscall.EIO, fmt.Errorf("segment number %d", number))
	}
	for int(number) >= len(list) {
		list = append(list, nil)
	}
	if list[number] == nil {
		segment, err := s.find(number)
		if err != nil {
			return nil, err
		}
		list[number] = segment
		s.list.Store(&list)
	}
	return list[number], nil
}

func (s *Segments) find(number uint32) (*Segment, error) {
	if s.open == nil {
		memory := s.memory(number)
		if int64(len(memory)) != s.bytes {
			return nil, fserr.New("open", "segment", syscall.EIO, fmt.Errorf("segment %d is not there", number))
		}
		return &Segment{fd: -1, memory: memory, huge: true}, nil
	}
	fd, err := s.open(number)
	if err != nil {
		return nil, fserr.New("open", "segment", fserr.Errno(err), err)
	}
	segment, err := s.mapFile(fd)
	if err != nil {
		_ = unix.Close(fd)
		return nil, fserr.New("map", "segment", fserr.Errno(err), err)
	}
	segment.fd = KeepDescriptor(fd)
	return segment, nil
}

func (s *Segments) mapFile(fd int) (*Segment, error) {
	prot := unix.PROT_READ
	if s.write {
		prot |= unix.PROT_WRITE
	}
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil || stat.Size != s.bytes {
		return nil, fserr.New("open", "", syscall.EIO, fmt.Errorf("it has %d bytes instead of %d (%v)", stat.Size, s.bytes, err))
	}
	// One huge page more than is needed, so that the mapping can begin at a multiple of a huge page.
	length := uintptr(s.bytes) + 1<<hugeBits
	base, err := unix.MmapPtr(-1, 0, nil, length, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		return nil, err
	}
	aligned := unsafe.Add(base, -uintptr(base)&(1<<hugeBits-1))
	if _, err = unix.MmapPtr(fd, 0, aligned, uintptr(s.bytes), prot, unix.MAP_FIXED|unix.MAP_SHARED); err != nil {
		_ = unix.MunmapPtr(base, length)
		return nil, err
	}
	memory := unsafe.Slice((*byte)(aligned), s.bytes)
	if s.huge {
		_ = unix.Madvise(memory, unix.MADV_HUGEPAGE) // advice: nothing depends on it
	}
	return &Segment{
		memory: memory, base: base, length: length, huge: s.huge,
		heat: make([]atomic.Uint32, (s.bytes+blockBytes-1)>>blockBits), budget: s.budget,
	}, nil
}

// own reports whether the segment is memory of this process, which no system call is needed for.
func (s *Segment) own() bool { return s.fd < 0 }

// Close unmaps and closes. No move may be in progress.
func (s *Segments) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	for _, segment := range *s.list.Load() {
		if segment != nil && !segment.own() {
			s.budget.forget(segment)
			err = errors.Join(err, unix.MunmapPtr(segment.base, segment.length), CloseDescriptor(segment.fd))
		}
	}
	s.list.Store(&[]*Segment{})
	return err
}

// Holds reports whether a range is inside the segment.
func (s *Segment) Holds(off uint64, n int) bool {
	return off <= uint64(len(s.memory)) && uint64(n) <= uint64(len(s.memory))-off
}

// way is how n bytes at off are to be moved: through the mapping of the segment, or, when that is nil, by its file.
func (s *Segment) way(off uint64, n int, write bool) (mapping unsafe.Pointer, fd C.int) {
	if n > 0 && s.mapped(off, n, write) {
		return unsafe.Pointer(&s.memory[0]), -1
	}
	return nil, C.int(s.fd)
}

// mapped decides the way of a move, and counts it.
func (s *Segment) mapped(off uint64, n int, write bool) bool {
	if s.huge {
		return true
	}
	first, last := off>>blockBits, (off+uint64(n)-1)>>blockBits
	hot := true
	for b := first; b <= last; b++ {
		if s.heat[b].Load() < hotBytes {
			hot = false
			break
		}
	}
	return hot || s.warm(first, last, off, n, write)
}

// warm counts a move on blocks not all of which are hot. true: they are now, and their pages are in place.
func (s *Segment) warm(first, last, off uint64, n int, write bool) bool {
	hot, fresh := true, uint64(0)
	for b := first; b <= last; b++ {
		from, to := max(off, b<<blockBits), min(off+uint64(n), (b+1)<<blockBits)
		before := s.heat[b].Load()
		if before >= hotBytes {
			continue
		}
		after := min(before+max(uint32(to-from), hotLeast), hotBytes)
		s.heat[b].Store(after)
		if after < hotBytes {
			hot = false
		} else {
			fresh++
		}
	}
	if fresh > 0 {
		s.budget.mapped(s, int64(fresh)<<blockBits)
	}
	if hot {
		s.populate(first<<blockBits, min((last+1)<<blockBits, uint64(len(s.memory))), write)
	}
	return hot
}

// populate makes the page tables of a range at once, instead of by a fault a page. Best effort (Linux 5.14): without it the faults come.
func (s *Segment) populate(from, to uint64, write bool) {
	advice := unix.MADV_POPULATE_READ
	if write {
		advice = unix.MADV_POPULATE_WRITE
	}
	for {
		if err := unix.Madvise(s.memory[from:to], advice); err != unix.EINTR && err != unix.EAGAIN {
			return
		}
	}
}

// Budget bounds what a process keeps mapped of small pages: page tables, and resident memory as the system counts it.
type Budget struct {
	limit int64 // bytes

	mu    sync.Mutex
	used  int64
	order []*Segment // with mapped blocks, the one that began longest ago first
	bytes map[*Segment]int64
}

// NewBudget allows so many bytes of mapped pages; at least one block.
func NewBudget(limit int64) *Budget {
	return &Budget{limit: max(limit, blockBytes), bytes: map[*Segment]int64{}}
}

// mapped notes that a segment has so many bytes more mapped, and lets go of other segments' pages, or its own, beyond the limit.
func (b *Budget) mapped(s *Segment, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bytes[s] == 0 {
		b.order = append(b.order, s)
	}
	b.bytes[s] += n
	b.used += n
	for b.used > b.limit && b.order[0] != s {
		b.drop(b.order[0])
	}
}

// drop lets go of a segment's pages. Who is copying there faults them in again.
func (b *Budget) drop(s *Segment) {
	for i := range s.heat {
		s.heat[i].Store(0)
	}
	_ = unix.Madvise(s.memory, unix.MADV_DONTNEED)
	b.forgetLocked(s)
}

func (b *Budget) forget(s *Segment) {
	b.mu.Lock()
	b.forgetLocked(s)
	b.mu.Unlock()
}

func (b *Budget) forgetLocked(s *Segment) {
	if b.bytes[s] == 0 {
		return
	}
	b.used -= b.bytes[s]
	delete(b.bytes, s)
	for i, other := range b.order {
		if other == s {
			b.order = append(b.order[:i], b.order[i+1:]...)
			return
		}
	}
}
