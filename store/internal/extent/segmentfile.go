package extent

import (
	"errors"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/benchfs/benchfs/fserr"
)

// OpenSegment opens the segment file of so many bytes, making it, sparse, if there is none. existed: it may hold bytes of an earlier
// run; one of another size is an EIO. flags are open(2)'s, besides those that every such file is opened with.
func OpenSegment(path string, bytes int64, flags int) (fd int, existed bool, err error) {
	fail := func(err error) (int, bool, error) { return -1, false, fserr.New("open", path, fserr.Errno(err), err) }
	err = RetryEINTR(func() (err error) {
		fd, err = syscall.Open(path, syscall.O_RDWR|syscall.O_CREAT|syscall.O_CLOEXEC|flags, 0o600)
		return err
	})
	if err != nil {
		return fail(err)
	}
	var stat syscall.Stat_t
	if err = syscall.Fstat(fd, &stat); err == nil && stat.Size != bytes {
		if stat.Size != 0 {
			err = &sizeError{have: stat.Size, want: bytes}
		} else {
			err = create(path, fd, bytes)
		}
	}
	if err != nil {
		return fail(errors.Join(err, syscall.Close(fd)))
	}
	return fd, stat.Size != 0, nil
}

// create gives a new file its size, and its name in the directory durability.
func create(path string, fd int, bytes int64) error {
	if err := RetryEINTR(func() error { return syscall.Ftruncate(fd, bytes) }); err != nil {
		return err
	}
	dir, err := syscall.Open(filepath.Dir(path), syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(dir)
	err = RetryEINTR(func() error { return syscall.Fsync(dir) })
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

// Allocate backs a range of a file with space. File systems without fallocate get their own bytes written back.
func Allocate(fd int, off, n int64) error {
	err := RetryEINTR(func() error { return syscall.Fallocate(fd, 0, off, n) })
	if err != syscall.EOPNOTSUPP && err != syscall.ENOSYS {
		return err
	}
	buffer := make([]byte, 64<<10)
	for end := off + n; off < end; {
		got, err := syscall.Pread(fd, buffer[:min(int64(len(buffer)), end-off)], off)
		if err == nil && got > 0 {
			got, err = syscall.Pwrite(fd, buffer[:got], off)
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

// Room is a capacity that a directory can hold: what the segment files with that prefix occupy already, and nine tenths of what is free.
func Room(dir, prefix string) (int64, error) {
	var fs syscall.Statfs_t
	if err := RetryEINTR(func() error { return syscall.Statfs(dir, &fs) }); err != nil {
		return 0, fserr.New("statfs", dir, fserr.Errno(err), err)
	}
	bytes := int64(fs.Bavail) * fs.Bsize / 10 * 9
	for i := 0; ; i++ {
		var stat syscall.Stat_t
		if syscall.Stat(prefix+strconv.Itoa(i), &stat) != nil {
			return bytes, nil
		}
		bytes += stat.Blocks * 512
	}
}

// RetryEINTR repeats a system call that a signal interrupted.
func RetryEINTR(call func() error) error {
	for {
		if err := call(); err != syscall.EINTR {
			return err
		}
	}
}
