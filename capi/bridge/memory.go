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
	mu       sync.Mutex
	mappings map[uintptr][]byte // by the address that the application knows
}

// MemAlloc allocates zeroed memory and puts its address at where: pages that are there, huge ones where the system has them, and that keep their address, so
// that a network device gets to know them once.
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
	l.memory.mu.Lock()
	defer l.memory.mu.Unlock()
	if l.memory.mappings == nil {
		l.memory.mappings = map[uintptr][]byte{}
	}
	l.memory.mappings[uintptr(unsafe.Pointer(&piece[0]))] = mapping
	*where = unsafe.Pointer(&piece[0])
	return 0
}

// MemFree frees what MemAlloc has returned. No session is needed.
func (l *Library) MemFree(p unsafe.Pointer) int64 {
	l.memory.mu.Lock()
	defer l.memory.mu.Unlock()
	mapping := l.memory.mappings[uintptr(p)]
	if mapping == nil {
		return l.fail(fserr.New("mem_free", "", syscall.EINVAL, errors.New("not an address that benchfs_mem_alloc has returned")))
	}
	delete(l.memory.mappings, uintptr(p))
	return l.done(unix.Munmap(mapping))
}
