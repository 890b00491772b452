package shm

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/benchfs/benchfs/fserr"
)

// makeFile makes a file of that many bytes, or takes over the one that is there, and maps it for writing.
func makeFile(path string, bytes int64) ([]byte, error) {
	fd, err := openFile(path, unix.O_RDWR|unix.O_CREAT)
	if err != nil {
		return nil, fserr.New("open", path, fserr.Errno(err), err)
	}
	defer unix.Close(fd)
	var stat unix.Stat_t
	if err = unix.Fstat(fd, &stat); err == nil && stat.Size != bytes {
		err = unix.Ftruncate(fd, bytes)
	}
	if err == nil {
		err = allocate(fd, bytes, stat.Size != bytes)
	}
	var memory []byte
	if err == nil {
		memory, err = mapWhole(fd, bytes, true)
	}
	if err != nil {
		return nil, fserr.New("map", path, fserr.Errno(err), err)
	}
	return memory, nil
}

// mapWhole maps a file that must have that many bytes.
func mapWhole(fd int, bytes int64, write bool) ([]byte, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return nil, err
	}
	if stat.Size != bytes {
		return nil, fserr.New("map", "", syscall.EIO, fmt.Errorf("a file of %d bytes instead of %d", stat.Size, bytes))
	}
	prot := unix.PROT_READ
	if write {
		prot |= unix.PROT_WRITE
	}
	return unix.Mmap(fd, 0, int(bytes), prot, unix.MAP_SHARED)
}

// allocate backs a file with space: a store to a page for which there is none would be a SIGBUS.
func allocate(fd int, bytes int64, empty bool) error {
	for {
		err := unix.Fallocate(fd, 0, 0, bytes)
		switch err {
		case unix.EINTR:
			continue
		case unix.EOPNOTSUPP, unix.ENOSYS:
			if !empty { // it was filled when it was made, and clients of an earlier daemon may be using it
				return nil
			}
			return fill(fd, bytes)
		}
		return err
	}
}

// fill writes zeros, where a file system cannot allocate otherwise.
func fill(fd int, bytes int64) error {
	zeros := make([]byte, 64<<10)
	for off := int64(0); off < bytes; {
		n, err := unix.Pwrite(fd, zeros[:min(int64(len(zeros)), bytes-off)], off)
		if err != nil && err != unix.EINTR {
			return err
		}
		off += int64(max(n, 0))
	}
	return nil
}

func openFile(path string, flags int) (fd int, err error) {
	for {
		if fd, err = unix.Open(path, flags|unix.O_CLOEXEC, 0o600); err != unix.EINTR {
			return fd, err
		}
	}
}
