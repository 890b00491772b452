package uring

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/benchfs/benchfs/internal/procfs"
)

// What io_uring(7) shares with the kernel, as <linux/io_uring.h> has it.
type (
	sqOffsets struct {
		head, tail, ringMask, ringEntries, flags, dropped, array, _ uint32
		_                                                           uint64
	}
	cqOffsets struct {
		head, tail, ringMask, ringEntries, overflow, cqes, flags, _ uint32
		_                                                           uint64
	}
	ringParams struct {
		sqEntries, cqEntries, flags, sqThreadCPU, sqThreadIdle, features, wqFD uint32
		_                                                                      [3]uint32
		sq                                                                     sqOffsets
		cq                                                                     cqOffsets
	}
	sqe struct {
		opcode, flags uint8
		ioprio        uint16
		fd            int32
		off           uint64
		addr          uint64
		len           uint32
		opFlags       uint32
		userData      uint64
		bufIndex      uint16
		personality   uint16
		_             int32
		_             [2]uint64
	}
	cqe struct {
		userData uint64
		res      int32
		flags    uint32
	}
)

const (
	opRead  = 22
	opWrite = 23

	setupClamp        = 1 << 4 // IORING_SETUP_CLAMP
	featureSingleMmap = 1 << 0
	featureNoDrop     = 1 << 1
	featureRWCurPos   = 1 << 3 // not used; it came with the opcodes that are (Linux 5.6)
	enterGetEvents    = 1 << 0

	submitPatience = 20 * time.Millisecond

	offsetRings = 0
	offsetSQEs  = 0x10000000
)

// setupRing makes a ring; the tests put others in its place.
type setupRing func(entries uint32, p *ringParams) (fd int, err error)

func sysSetup(entries uint32, p *ringParams) (int, error) {
	fd, _, errno := syscall.Syscall(unix.SYS_IO_URING_SETUP, uintptr(entries), uintptr(unsafe.Pointer(p)), 0)
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

// ring is a submission and a completion queue. One thread at a time uses it, not always the same.
type ring struct {
	fd       int
	rings    []byte
	sqeBytes []byte

	sqHead, sqTail, cqHead, cqTail *uint32 // shared with the kernel
	sqMask, cqMask                 uint32
	sqes                           []sqe
	cqes                           []cqe

	waiting uint32 // entries that the kernel has not been told of
	depth   int    // how many may be in flight
	flight  int
}

// openRing makes a ring for at least depth requests in flight.
func openRing(depth int, setup setupRing) (*ring, error) {
	p := ringParams{flags: setupClamp}
	fd, err := setup(uint32(depth), &p)
	if err != nil {
		return nil, &Unavailable{Call: "io_uring_setup", Err: err}
	}
	r := &ring{fd: fd}
	if want := uint32(featureSingleMmap | featureNoDrop | featureRWCurPos); p.features&want != want {
		err = &Unavailable{Call: "io_uring_setup", Err: errTooOld}
		return nil, errors.Join(err, r.close())
	}
	if err := r.mapQueues(&p); err != nil {
		return nil, errors.Join(&Unavailable{Call: "mmap", Err: err}, r.close())
	}
	return r, nil
}

func (r *ring) mapQueues(p *ringParams) (err error) {
	bytes := max(p.sq.array+p.sqEntries*4, p.cq.cqes+p.cqEntries*uint32(unsafe.Sizeof(cqe{})))
	const access, flags = unix.PROT_READ | unix.PROT_WRITE, unix.MAP_SHARED | unix.MAP_POPULATE
	if r.rings, err = unix.Mmap(r.fd, offsetRings, int(bytes), access, flags); err != nil {
		return err
	}
	if r.sqeBytes, err = unix.Mmap(r.fd, offsetSQEs, int(p.sqEntries)*int(unsafe.Sizeof(sqe{})), access, flags); err != nil {
		return err
	}
	word := func(at uint32) *uint32 { return (*uint32)(unsafe.Pointer(&r.rings[at])) }
	r.sqHead, r.sqTail, r.sqMask = word(p.sq.head), word(p.sq.tail), *word(p.sq.ringMask)
	r.cqHead, r.cqTail, r.cqMask = word(p.cq.head), word(p.cq.tail), *word(p.cq.ringMask)
	r.sqes = unsafe.Slice((*sqe)(unsafe.Pointer(&r.sqeBytes[0])), p.sqEntries)
	r.cqes = unsafe.Slice((*cqe)(unsafe.Pointer(&r.rings[p.cq.cqes])), p.cqEntries)
	for i := range p.sqEntries { // entry i of the queue is always sqes[i]
		*word(p.sq.array + 4*i) = i
	}
	r.depth = int(min(p.sqEntries, p.cqEntries))
	return nil
}

// full reports whether as many requests are in flight as there may be.
func (r *ring) full() bool { return r.flight == r.depth }

// push puts a request into the queue, which must not be full; the kernel sees it with the next submit or wait. memory must be
// outside the Go heap and stay until the completion with that tag.
func (r *ring) push(opcode uint8, fd int, off int64, memory []byte, tag uint64) {
	tail := *r.sqTail // only this side writes it
	r.sqes[tail&r.sqMask] = sqe{
		opcode: opcode, fd: int32(fd), off: uint64(off), len: uint32(len(memory)),
		addr: uint64(uintptr(unsafe.Pointer(unsafe.SliceData(memory)))), userData: tag,
	}
	atomic.StoreUint32(r.sqTail, tail+1)
	r.waiting++
	r.flight++
}

// submit tells the kernel of what was pushed. When it is short of memory it takes some later: submit insists for a while, because
// nobody may come again before something else has ended.
func (r *ring) submit() error {
	for pause := time.Duration(0); r.waiting > 0 && pause < submitPatience; {
		before := r.waiting
		if err := r.enter(0, 0); err != nil {
			return err
		}
		if r.waiting == before {
			pause += time.Millisecond
			_ = unix.Nanosleep(&unix.Timespec{Nsec: int64(time.Millisecond)}, nil) // a shorter pause will do, too
		}
	}
	return nil
}

// wait submits, and blocks until there is a completion.
func (r *ring) wait() error {
	if r.ready() {
		return r.submit()
	}
	return r.enter(1, enterGetEvents)
}

func (r *ring) enter(least, flags uintptr) error {
	n, _, errno := syscall.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), uintptr(r.waiting), least, flags, 0, 0)
	switch errno {
	case 0:
		r.waiting -= uint32(n)
		return nil
	case syscall.EINTR, syscall.EAGAIN, syscall.EBUSY: // nothing was taken; short of memory, or of room for completions
		return nil
	}
	return errno
}

// ready reports whether pop has something. It reads memory, and makes no system call.
func (r *ring) ready() bool { return *r.cqHead != atomic.LoadUint32(r.cqTail) }

// pop takes one completion.
func (r *ring) pop() (tag uint64, result int32, ok bool) {
	if !r.ready() {
		return 0, 0, false
	}
	head := *r.cqHead // only this side writes it
	c := r.cqes[head&r.cqMask]
	atomic.StoreUint32(r.cqHead, head+1)
	r.flight--
	return c.userData, c.res, true
}

// close gives the queues back. Nothing may be in flight.
func (r *ring) close() error {
	var err error
	for _, memory := range [][]byte{r.rings, r.sqeBytes} {
		if memory != nil {
			err = errors.Join(err, unix.Munmap(memory))
		}
	}
	r.rings, r.sqeBytes = nil, nil
	return errors.Join(err, syscall.Close(r.fd))
}

var errTooOld = errors.New("the kernel is older than Linux 5.6")

// Available is nil where this process may use io_uring, and an [*Unavailable] where it may not.
func Available() error {
	r, err := openRing(1, sysSetup)
	if err != nil {
		return err
	}
	return r.close()
}

// Unavailable says that this machine does not let the process use io_uring.
type Unavailable struct {
	Call string
	Err  error
}

func (e *Unavailable) Error() string {
	reason := ""
	switch {
	case errors.Is(e.Err, syscall.ENOSYS):
		reason = " (no io_uring in this kernel, or a container's seccomp filter hides it)"
	case errors.Is(e.Err, syscall.EPERM):
		reason = " (forbidden by a container's seccomp filter)"
		if level, err := procfs.ReadFile("/proc/sys/kernel/io_uring_disabled"); err == nil && level != "0\n" {
			reason = " (forbidden by the sysctl kernel.io_uring_disabled = " + strings.TrimSpace(level) + ")"
		}
	case errors.Is(e.Err, syscall.ENOMEM):
		reason = " (more than the limit of locked memory, ulimit -l, on this kernel)"
	}
	return fmt.Sprintf("io_uring cannot be used here: %s: %v%s", e.Call, e.Err, reason)
}

// Unwrap implements errors.Unwrap.
func (e *Unavailable) Unwrap() error { return e.Err }

// Errno implements fserr.Carrier.
func (e *Unavailable) Errno() syscall.Errno { return syscall.EOPNOTSUPP }
