package arena

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

// segmentFiles implements extent.Backing with files that are mapped whole.
type segmentFiles struct {
	prefix    string
	populate  bool
	hugePages bool

	mu       sync.RWMutex // guards what is below; syncing holds it for reading, so that Close waits
	segments map[int]*segment
	closed   bool

	pages  atomic.Int32 // see huge
	onDisk bool         // the owner's: segments are not on tmpfs
}

type segment struct {
	path    string
	fd      int
	mapping *extent.Mapping
	tmpfs   bool
}

var _ extent.Backing = (*segmentFiles)(nil)

func (f *segmentFiles) path(i int) string { return f.prefix + strconv.Itoa(i) }

// Map implements extent.Backing. A new file is sparse; one that an earlier run left must have the right size.
func (f *segmentFiles) Map(i int, bytes int64) ([]byte, bool, error) {
	s := &segment{path: f.path(i)}
	var existed bool
	var err error
	if s.fd, existed, err = extent.OpenSegment(s.path, bytes, 0); err != nil {
		return nil, false, err
	}
	var fs unix.Statfs_t
	s.tmpfs = extent.RetryEINTR(func() error { return unix.Fstatfs(s.fd, &fs) }) == nil && fs.Type == unix.TMPFS_MAGIC
	s.mapping, err = extent.MapSegment(s.fd, bytes, f.hugePages)
	if err != nil {
		return nil, false, errors.Join(err, syscall.Close(s.fd))
	}
	f.onDisk = f.onDisk || !s.tmpfs
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.segments == nil {
		f.segments = make(map[int]*segment)
	}
	f.segments[i] = s
	return s.mapping.Bytes, existed, nil
}

// Prepare implements extent.Backing.
func (f *segmentFiles) Prepare(i int, off, n int64) error {
	s := f.segments[i] // only the owner changes the map, and that is who calls
	if f.touch(s, off, n) {
		return nil
	}
	if err := extent.Allocate(s.fd, off, n); err != nil {
		return fserr.New("allocate", s.path, fserr.Errno(err), err)
	}
	if !s.tmpfs && f.populate {
		_ = extent.Touch(s.mapping.Bytes[off : off+n]) // what could go wrong is a disk that cannot be read
	}
	return nil
}

// touch makes the pages of a range of a tmpfs file by touching them: unlike fallocate that gives huge pages where the mapping asks for
// them, and does not keep writers of the file waiting. false: it is to be allocated, which also tells why that does not work.
func (f *segmentFiles) touch(s *segment, off, n int64) bool {
	return s.tmpfs && f.populate && extent.Touch(s.mapping.Bytes[off:off+n]) == nil
}

var _ extent.PiecemealBacking = (*segmentFiles)(nil)

// Piecemeal implements extent.PiecemealBacking: on tmpfs with small pages a page is found, and filled without being cleared first, in one go when it
// is written to. Disks want their blocks allocated in larger pieces; huge pages are given to mappings only. It is asked
// for every chunk, so that what is not known yet (see huge) is not looked for.
func (f *segmentFiles) Piecemeal() bool {
	return !f.onDisk && f.pages.Load() == smallPages
}

// MapBeside implements extent.PiecemealBacking.
func (f *segmentFiles) MapBeside(i int, off, n int64) error {
	return f.beside(i, func(s *segment) error { return extent.Touch(s.mapping.Bytes[off : off+n]) })
}

// beside does something with a segment beside the owner, who does not close it meanwhile.
func (f *segmentFiles) beside(i int, do func(s *segment) error) error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	s := f.segments[i]
	if s == nil {
		return syscall.EBADF // closed
	}
	return do(s)
}

var _ extent.BesideBacking = (*segmentFiles)(nil)

// PrepareBeside implements extent.BesideBacking, where the kernel can do it without writing.
func (f *segmentFiles) PrepareBeside(i int, off, n int64) error {
	err := f.beside(i, func(s *segment) error { return f.makePages(s, off, n) })
	if err == nil {
		f.huge() // now that it takes little time to tell
	}
	return err
}

func (f *segmentFiles) makePages(s *segment, off, n int64) error {
	if f.touch(s, off, n) {
		return activate(s.fd, off, n)
	}
	if err := extent.RetryEINTR(func() error { return syscall.Fallocate(s.fd, 0, off, n) }); err != nil {
		return err
	}
	if !s.tmpfs && f.populate {
		return extent.Touch(s.mapping.Bytes[off : off+n])
	}
	return nil
}

// activate reads a range of a tmpfs file twice. The first read marks the pages as referenced, the second moves them to the list of active ones: work
// under a lock (mm/swap.c, folio_mark_accessed) that would otherwise fall to the first who writes there. New files are written a quarter faster.
func activate(fd int, off, n int64) error {
	buffer := make([]byte, 256<<10)
	for range 2 {
		for at := off; at < off+n; {
			got, err := unix.Pread(fd, buffer[:min(int64(len(buffer)), off+n-at)], at)
			if err == unix.EINTR {
				continue
			}
			if err != nil || got == 0 {
				return err
			}
			at += int64(got)
		}
	}
	return nil
}

// Sync implements extent.Backing.
func (f *segmentFiles) Sync(i int, off, n int64) error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	s := f.segments[i]
	if f.closed || s == nil {
		return nil // Close has synced it
	}
	err := extent.RetryEINTR(func() error { return unix.Msync(s.mapping.Bytes[off:off+n], unix.MS_SYNC) })
	if err != nil {
		return fserr.New("sync", s.path, fserr.Errno(err), err)
	}
	return nil
}

// SyncAll implements extent.Backing.
func (f *segmentFiles) SyncAll() error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	var failed error
	for _, s := range f.segments {
		if err := extent.RetryEINTR(func() error { return syscall.Fsync(s.fd) }); err != nil {
			failed = errors.Join(failed, fserr.New("sync", s.path, fserr.Errno(err), err))
		}
	}
	return failed
}

// Close implements extent.Backing.
func (f *segmentFiles) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var failed error
	for _, s := range f.segments {
		failed = errors.Join(failed, s.mapping.Unmap(), syscall.Close(s.fd))
	}
	f.segments, f.closed = nil, true
	return failed
}
