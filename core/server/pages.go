package server

import (
	"sync"

	"golang.org/x/sys/unix"
)

// pageBytes is the size of one payload buffer: what a directory page, a list of runs or a symbolic link may take at most.
const pageBytes = 256 << 10

// maxPayload is the largest payload that a client may send or ask for in one message: the largest chunk.
const maxPayload = 64 << 20

// pagePool keeps payload buffers outside the Go heap: a network device may register them. Shared by the shards of a process.
type pagePool struct {
	mu   sync.Mutex
	free [][]byte // each of pageBytes
}

var pages pagePool

func (p *pagePool) get() ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		page := p.free[n-1]
		p.free = p.free[:n-1]
		return page, nil
	}
	return unix.Mmap(-1, 0, pageBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
}

func (p *pagePool) put(page []byte) {
	p.mu.Lock()
	p.free = append(p.free, page[:pageBytes])
	p.mu.Unlock()
}
