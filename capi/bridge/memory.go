package bridge

import (
	"sync"
	"syscall"
	"unsafe"

	"github.com/pkg/errors"
	"golang.org/x/sys/unix"

	"github.com/benchfs/benchfs/fserr"
)

// hugePage is what larger pieces of memory are aligned to, so that the system can give huge pages for them.
const hugePage = 2 << 20

// memoryTable is the memory that MemAlloc has handed out. It outlives sessions, so that the application can free it when it likes.
type memoryTable struct {
	mu     sync.Mutex
	pieces map[uintptr]*memoryPiece // by the address that the application knows
}

type memoryPiece struct {
	mapping []byte
	release func() error // nil once the session that it was registered with has ended
}

// MemAlloc allocates zeroed memory, registers it with the session's network, and puts its address at where.
func (l *Library) MemAlloc(bytes uint64, where *unsafe.Pointer) int64 {
	c, err := l.begin("mem_alloc")
	if err != nil {
		return l.fail(err)
	}
	defer c.end()
	const most = 1 << 46
	if bytes == 0 || bytes > most {
		return l.fail(fserr.New("mem_alloc", "", syscall.EINVAL, errors.Errorf("%d bytes", bytes)))
	}
	size := uint64(unix.Getpagesize())
	if bytes >= hugePage {
		size = hugePage
	}
	rounded := (bytes + size - 1) / size * size
	mapping, err := unix.Mmap(-1, 0, int(rounded+size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return l.fail(fserr.New("mem_alloc", "", fserr.Errno(err), err))
	}
	start := -uintptr(unsafe.Pointer(&mapping[0])) % uintptr(size)
	piece := mapping[start : uint64(start)+rounded]
	if size == hugePage {
		_ = unix.Madvise(piece, unix.MADV_HUGEPAGE) // a wish
	}
	if err := unix.Madvise(piece, unix.MADV_POPULATE_WRITE); err != nil && err != syscall.EINVAL { // EINVAL: a kernel before 5.14
		_ = unix.Munmap(mapping)
		return l.fail(fserr.New("mem_alloc", "", syscall.ENOMEM, err))
	}
	release, err := c.s.client.Register(piece)
	if err != nil {
		_ = unix.Munmap(mapping)
		return l.fail(err)
	}
	l.memory.mu.Lock()
	defer l.memory.mu.Unlock()
	if l.memory.pieces == nil {
		l.memory.pieces = map[uintptr]*memoryPiece{}
	}
	l.memory.pieces[uintptr(unsafe.Pointer(&piece[0]))] = &memoryPiece{mapping: mapping, release: release}
	*where = unsafe.Pointer(&piece[0])
	return 0
}

// MemFree frees what MemAlloc has returned. No session is needed.
func (l *Library) MemFree(p unsafe.Pointer) int64 {
	l.memory.mu.Lock()
	defer l.memory.mu.Unlock()
	piece := l.memory.pieces[uintptr(p)]
	if piece == nil {
		return l.fail(fserr.New("mem_free", "", syscall.EINVAL, errors.New("not an address that benchfs_mem_alloc has returned")))
	}
	delete(l.memory.pieces, uintptr(p))
	var err error
	if piece.release != nil {
		err = piece.release()
	}
	if unmapErr := unix.Munmap(piece.mapping); err == nil {
		err = unmapErr
	}
	return l.done(err)
}

// deregister ends all registrations; the memory stays the application's. The session's network is about to be closed.
func (t *memoryTable) deregister() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, piece := range t.pieces {
		if piece.release != nil {
			_ = piece.release()
			piece.release = nil
		}
	}
}
