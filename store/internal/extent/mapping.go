package extent

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/benchfs/benchfs/fserr"
)

// Mapping is memory outside the Go heap, aligned to huge pages.
type Mapping struct {
	Bytes    []byte
	base     unsafe.Pointer // of the whole reservation
	reserved uintptr
}

// MapSegment maps bytes of the file fd from its beginning, shared; or, with fd −1, anonymous private memory that takes no space until it
// is written. hugePages advises the kernel to use them where it can.
func MapSegment(fd int, bytes int64, hugePages bool) (*Mapping, error) {
	reserved := uintptr(bytes) + stepBytes
	base, err := unix.MmapPtr(-1, 0, nil, reserved, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		return nil, mapError(err)
	}
	aligned := unsafe.Add(base, -uintptr(base)&(stepBytes-1))
	flags := unix.MAP_FIXED | unix.MAP_SHARED
	if fd < 0 {
		flags = unix.MAP_FIXED | unix.MAP_PRIVATE | unix.MAP_ANON | unix.MAP_NORESERVE
	}
	if _, err = unix.MmapPtr(fd, 0, aligned, uintptr(bytes), unix.PROT_READ|unix.PROT_WRITE, flags); err != nil {
		_ = unix.MunmapPtr(base, reserved)
		return nil, mapError(err)
	}
	m := &Mapping{Bytes: unsafe.Slice((*byte)(aligned), bytes), base: base, reserved: reserved}
	if hugePages {
		_ = unix.Madvise(m.Bytes, unix.MADV_HUGEPAGE) // advice: a kernel without huge pages refuses, and nothing depends on it
	}
	return m, nil
}

// Unmap gives the memory back.
func (m *Mapping) Unmap() error {
	m.Bytes = nil
	return mapError(unix.MunmapPtr(m.base, m.reserved))
}

// Touch makes the page tables of a range that is backed by space, so that the first stores to it take no page faults. Best effort: where
// the kernel does not know how (before 5.14), the faults come later.
func Touch(memory []byte) error {
	for {
		if err := unix.Madvise(memory, unix.MADV_POPULATE_WRITE); err != unix.EINTR && err != unix.EAGAIN {
			return err
		}
	}
}

func mapError(err error) error {
	if err == nil {
		return nil
	}
	code, _ := err.(syscall.Errno)
	return fserr.New("map", "store segment", code, nil)
}
