package uring

import (
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/store/internal/extent"
)

// allocateBytes is how much of a segment is backed by space at once: file systems do it under the file's lock, waiting for what is in
// flight there.
const allocateBytes = 32 << 20

// The system's; the tests put others in their place.
var (
	fdatasync = syscall.Fdatasync
	fallocate = syscall.Fallocate
)

// segmentFiles implements extent.Backing with files that are read and written, not mapped.
type segmentFiles struct {
	prefix string
	direct bool // past the page cache; see canDirect

	syncs, failures atomic.Uint64

	mu       sync.RWMutex // guards what is below; syncing holds it for reading, so that Close waits
	segments map[int]*segment
	closed   bool
}

type segment struct {
	path      string
	fd        int // through the page cache: for allocating and syncing
	data      int // O_DIRECT, or fd where that is no use
	bytes     int64
	allocated []bool // the owner's, by allocateBytes

	written atomic.Uint64 // writes that have ended
	syncing sync.Mutex
	synced  uint64 // guarded by syncing: written when the last fdatasync began
	lost    error  // guarded by syncing: of an fdatasync. The next one may succeed without what this one has lost
}

var _ extent.Backing = (*segmentFiles)(nil)

// Map implements extent.Backing; the memory has no length.
func (f *segmentFiles) Map(i int, bytes int64) ([]byte, bool, error) {
	s := &segment{path: f.prefix + strconv.Itoa(i), bytes: bytes, allocated: make([]bool, (bytes+allocateBytes-1)/allocateBytes)}
	var existed bool
	var err error
	if s.fd, existed, err = extent.OpenSegment(s.path, bytes, 0); err != nil {
		return nil, false, err
	}
	if s.data = s.fd; f.direct {
		err = extent.RetryEINTR(func() (err error) {
			s.data, err = syscall.Open(s.path, syscall.O_RDWR|syscall.O_CLOEXEC|syscall.O_DIRECT, 0)
			return err
		})
	}
	if err == nil && existed {
		err = s.settle()
	}
	if err != nil {
		return nil, false, errors.Join(fserr.New("open", s.path, fserr.Errno(err), err), s.close())
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.segments == nil {
		f.segments = make(map[int]*segment)
	}
	f.segments[i] = s
	return []byte{}, existed, nil
}

// canDirect tells whether files of that prefix can be read and written past the page cache, in whole blocks. Some file systems refuse
// O_DIRECT; tmpfs takes it, and keeps everything in memory all the same; others want larger blocks than ours.
func canDirect(prefix string) (bool, error) {
	path := prefix + "probe"
	var fd int
	err := extent.RetryEINTR(func() (err error) {
		fd, err = syscall.Open(path, syscall.O_RDWR|syscall.O_CREAT|syscall.O_CLOEXEC|syscall.O_DIRECT, 0o600)
		return err
	})
	_ = syscall.Unlink(path) // there is one also where only O_DIRECT was refused
	if err == syscall.EINVAL {
		return false, nil
	}
	if err != nil {
		return false, fserr.New("open", path, fserr.Errno(err), err)
	}
	defer syscall.Close(fd)
	var fs syscall.Statfs_t
	if err := extent.RetryEINTR(func() error { return syscall.Fstatfs(fd, &fs) }); err != nil {
		return false, fserr.New("statfs", path, fserr.Errno(err), err)
	}
	if fs.Type == unix.TMPFS_MAGIC || fs.Type == unix.RAMFS_MAGIC {
		return false, nil
	}
	var x unix.Statx_t
	if unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_DIOALIGN, &x) == nil && x.Mask&unix.STATX_DIOALIGN != 0 {
		align := max(x.Dio_offset_align, x.Dio_mem_align)
		return align > 0 && align <= extent.BlockBytes, nil
	}
	return true, nil
}

// settle waits until no write of an earlier process is in flight any more: the last ones of one that was killed may be on
// their way to the medium when its successor starts, and must not arrive after what that writes. fallocate waits for them.
func (s *segment) settle() error {
	err := allocate(s.fd, 0, extent.BlockBytes)
	if err == syscall.EOPNOTSUPP || err == syscall.ENOSYS || err == syscall.ENOSPC {
		return nil
	}
	return err
}

func (s *segment) close() error {
	var err error
	if s.data > 0 && s.data != s.fd {
		err = syscall.Close(s.data)
	}
	return errors.Join(err, syscall.Close(s.fd))
}

// at is the descriptor for moving data of a segment. direct: memory, offsets and lengths are to be whole blocks.
func (f *segmentFiles) at(i int) (s *segment, direct bool) {
	s = f.segments[i] // only the owner changes the map, and that is who calls
	return s, s.data != s.fd
}

// Prepare implements extent.Backing. On a file system without fallocate, a full medium shows when a write reaches it: to write bytes back
// that are there already would undo what is in flight beside it.
func (f *segmentFiles) Prepare(i int, off, n int64) error {
	s := f.segments[i]
	step := off / allocateBytes
	if s.allocated[step] {
		return nil
	}
	whole := step * allocateBytes
	switch err := allocate(s.fd, whole, min(allocateBytes, s.bytes-whole)); err {
	case nil, syscall.EOPNOTSUPP, syscall.ENOSYS:
		s.allocated[step] = true
		return nil
	}
	if err := allocate(s.fd, off, n); err != nil {
		return fserr.New("allocate", s.path, fserr.Errno(err), err)
	}
	return nil
}

// allocate backs a range of a file with space.
func allocate(fd int, off, n int64) error {
	return extent.RetryEINTR(func() error { return fallocate(fd, 0, off, n) })
}

// Sync implements extent.Backing.
func (f *segmentFiles) Sync(i int, _, _ int64) error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	s := f.segments[i]
	if f.closed || s == nil {
		return nil // Close has synced it
	}
	return f.sync(s)
}

// SyncAll implements extent.Backing.
func (f *segmentFiles) SyncAll() error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	var failed error
	for _, s := range f.segments {
		failed = errors.Join(failed, f.sync(s))
	}
	return failed
}

// sync makes all writes that have ended survive power loss. Those that another sync has covered since cost nothing.
func (f *segmentFiles) sync(s *segment) error {
	upTo := s.written.Load()
	s.syncing.Lock()
	defer s.syncing.Unlock()
	if s.lost != nil || s.synced >= upTo {
		return s.lost
	}
	upTo = s.written.Load()
	f.syncs.Add(1)
	if err := extent.RetryEINTR(func() error { return fdatasync(s.fd) }); err != nil {
		f.failures.Add(1)
		s.lost = fserr.New("sync", s.path, fserr.Errno(err), err)
		return s.lost
	}
	s.synced = upTo
	return nil
}

// Close implements extent.Backing.
func (f *segmentFiles) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var failed error
	for _, s := range f.segments {
		failed = errors.Join(failed, s.close())
	}
	f.segments, f.closed = nil, true
	return failed
}
