package uring

import (
	"math/rand/v2"
	"syscall"

	"github.com/benchfs/benchfs/store/internal/extent"
)

// SetDepth sets how many requests the ring has room for.
func SetDepth(o *Options, depth int) { o.depth = depth }

// Buffered has it work as on a file system without O_DIRECT.
func Buffered(o *Options) { o.buffered = true }

// Break has the kernel refuse everything from now on.
func (s *Store) Break() { s.ring.fd = -1 }

// SetFdatasync puts another function in the place of fdatasync(2), until the function that it returns is called.
func SetFdatasync(f func(fd int) error) (restore func()) {
	before := fdatasync
	fdatasync = f
	return func() { fdatasync = before }
}

// SetFallocate does so with fallocate(2).
func SetFallocate(f func(fd int, mode uint32, off, n int64) error) (restore func()) {
	before := fallocate
	fallocate = f
	return func() { fallocate = before }
}

// Refuse has Open meet a system without io_uring.
func Refuse(o *Options, err error) {
	o.setup = func(uint32, *ringParams) (int, error) { return -1, err }
}

// Meddle has completions come in any order, some of them short or in vain, and some failed while failing is set.
func (s *Store) Meddle(failing *bool) {
	s.meddle = func(batch []completion) {
		rand.Shuffle(len(batch), func(i, j int) { batch[i], batch[j] = batch[j], batch[i] })
		for i := range batch {
			c := &batch[i]
			switch rand.IntN(40) {
			case 0:
				c.result = -int32(syscall.EAGAIN)
			case 1:
				c.result = -int32(syscall.ECANCELED)
			case 2, 3, 4:
				c.result = int32(max(len(c.m.memory)/2, extent.BlockBytes))
			case 5:
				c.result = int32(max(len(c.m.memory)-1, extent.BlockBytes))
			case 6:
				if *failing {
					c.result = -int32(syscall.EIO)
				}
			}
			if c.m.opcode == opRead { // nothing came where the result says so
				for rest := c.m.memory[min(max(int(c.result), 0), len(c.m.memory)):]; len(rest) > 0; rest = rest[1:] {
					rest[0] = ^rest[0]
				}
			}
		}
	}
}

// Nops sends n requests that do nothing through a ring, depth at a time.
func Nops(n, depth int) error {
	r, err := openRing(depth, sysSetup)
	if err != nil {
		return err
	}
	for n > 0 {
		batch := min(n, depth)
		for i := range batch {
			r.push(0, -1, 0, nil, uint64(i))
		}
		for got := 0; got < batch; got++ {
			for _, _, ok := r.pop(); !ok; _, _, ok = r.pop() {
				if err := r.wait(); err != nil {
					return err
				}
			}
		}
		n -= batch
	}
	return r.close()
}
