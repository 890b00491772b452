package arena

import (
	"errors"
	"path/filepath"
	"strconv"
	"sync"
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
}

type segment struct {
	path    string
	fd      int
	mapping *extent.Mapping
}

var _ extent.Backing = (*segmentFiles)(nil)

func (f *segmentFiles) path(i int) string { return f.prefix + strconv.Itoa(i) }

// Map implements extent.Backing. A new file is sparse; one that an earlier run left must have the right size.
func (f *segmentFiles) Map(i int, bytes int64) ([]byte, bool, error) {
	s := &segment{path: f.path(i)}
	existed, err := s.open(bytes)
	if err != nil {
		return nil, false, fserr.New("open", s.path, fserr.Errno(err), err)
	}
	s.mapping, err = extent.MapSegment(s.fd, bytes, f.hugePages)
	if err != nil {
		return nil, false, errors.Join(err, syscall.Close(s.fd))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.segments == nil {
		f.segments = make(map[int]*segment)
	}
	f.segments[i] = s
	return s.mapping.Bytes, existed, nil
}

func (s *segment) open(bytes int64) (existed bool, err error) {
	err = retryEINTR(func() (err error) {
		s.fd, err = syscall.Open(s.path, syscall.O_RDWR|syscall.O_CREAT|syscall.O_CLOEXEC, 0o600)
		return err
	})
	if err != nil {
		return false, err
	}
	var stat syscall.Stat_t
	if err = syscall.Fstat(s.fd, &stat); err == nil && stat.Size != bytes {
		if stat.Size != 0 {
			err = &sizeError{have: stat.Size, want: bytes}
		} else {
			err = s.create(bytes)
		}
	}
	if err != nil {
		return false, errors.Join(err, syscall.Close(s.fd))
	}
	return stat.Size != 0, nil
}

// create gives a new file its size, and its name in the directory durability.
func (s *segment) create(bytes int64) error {
	if err := retryEINTR(func() error { return syscall.Ftruncate(s.fd, bytes) }); err != nil {
		return err
	}
	dir, err := syscall.Open(filepath.Dir(s.path), syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(dir)
	err = retryEINTR(func() error { return syscall.Fsync(dir) })
	if err == syscall.EINVAL { // a file system whose directories need none
		err = nil
	}
	return err
}

// sizeError: a segment file that somebody cut or extended.
type sizeError struct{ have, want int64 }

func (e *sizeError) Error() string {
	return "segment file has " + strconv.FormatInt(e.have, 10) + " bytes instead of " + strconv.FormatInt(e.want, 10)
}

// Errno implements fserr.Carrier.
func (e *sizeError) Errno() syscall.Errno { return syscall.EIO }

// Prepare implements extent.Backing.
func (f *segmentFiles) Prepare(i int, off, n int64) error {
	s := f.segments[i] // only the owner changes the map, and that is who calls
	if err := s.allocate(off, n); err != nil {
		return fserr.New("allocate", s.path, fserr.Errno(err), err)
	}
	if f.populate {
		extent.Touch(s.mapping.Bytes[off : off+n])
	}
	return nil
}

// allocate backs a range with space. File systems without fallocate get their own bytes written back.
func (s *segment) allocate(off, n int64) error {
	err := retryEINTR(func() error { return syscall.Fallocate(s.fd, 0, off, n) })
	if err != syscall.EOPNOTSUPP && err != syscall.ENOSYS {
		return err
	}
	buffer := make([]byte, 64<<10)
	for end := off + n; off < end; {
		got, err := syscall.Pread(s.fd, buffer[:min(int64(len(buffer)), end-off)], off)
		if err == nil && got > 0 {
			got, err = syscall.Pwrite(s.fd, buffer[:got], off)
		}
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return err
		case got == 0:
			return syscall.EIO // shorter than it was made
		default:
			off += int64(got)
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
	err := retryEINTR(func() error { return unix.Msync(s.mapping.Bytes[off:off+n], unix.MS_SYNC) })
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
		if err := retryEINTR(func() error { return syscall.Fsync(s.fd) }); err != nil {
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

// room is a capacity that the directory can hold: what segments occupy already, and nine tenths of what is free.
func (f *segmentFiles) room(dir string) (int64, error) {
	var fs syscall.Statfs_t
	if err := retryEINTR(func() error { return syscall.Statfs(dir, &fs) }); err != nil {
		return 0, fserr.New("statfs", dir, fserr.Errno(err), err)
	}
	bytes := int64(fs.Bavail) * fs.Bsize / 10 * 9
	for i := 0; ; i++ {
		var stat syscall.Stat_t
		if syscall.Stat(f.path(i), &stat) != nil {
			return bytes, nil
		}
		bytes += stat.Blocks * 512
	}
}

func retryEINTR(call func() error) error {
	for {
		if err := call(); err != syscall.EINTR {
			return err
		}
	}
}
