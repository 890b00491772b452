// Package shm is what a shard shares with the processes of its machine, so that they can move file data themselves: see
// ARCHITECTURE.md, "On one machine". It knows memory, not files: which bytes a place stands for is the store's and the client's business.
//
// # The board
//
// A file that the shard writes and clients map read-only. Each chunk that a client may touch has a slot on it, one 64-bit word: a serial
// number above, the bytes present in the chunk below. A client that was told (slot, serial) may use the chunk's place as long as
// the word shows that serial. When the chunk moves, is cut or goes away, the shard first changes the serial (Drop) and only then does what it has
// to do. So a client's copy counts exactly if the word shows the same serial before and after it; otherwise the client asks the shard.
// This is the reader's side of a sequence lock, used for writes as well: a write whose word has changed meanwhile is
// repeated, and until then it has not returned.
//
// # Reclaiming
//
// A place that was dropped may still be in the hands of a client that looked at the word just before. Clients therefore announce each use in
// a cell of a second file: the board's epoch at the time of entering, 0 when outside. Whoever drops a place advances the epoch, and the
// place's memory is not used for anything else before every cell is 0 or shows that epoch or a later one (Quiet), or belongs to a process that has
// ended. This is epoch-based reclamation (K. Fraser, Practical lock-freedom, 2004, section 5.2.3). No message is needed to hand out or
// take back a place, and a dead client holds nothing.
//
// # Restart
//
// The board carries the incarnation of the daemon that serves it. A new one changes it first, then waits until the clients of the old one are
// outside (AwaitQuiet): none of them touches memory that the new one gives away.
package shm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/benchfs/benchfs/fserr"
)

// Sizes and places in the files. Numbers in them are in the machine's byte order: they never leave it.
const (
	boardName  = "board"
	cellsName  = "cells"
	boardMagic = 0x31647261_6f424642 // "BFBoard1"

	headerBytes   = 4096
	atIncarnation = 64
	atEpoch       = 128

	// maxSlots bounds the chunks of a shard that have a place on the board at one time.
	maxSlots   = 1 << 18
	boardBytes = headerBytes + 8*maxSlots

	// maxCells bounds the threads, of all processes together, that use places of a shard at one time.
	maxCells  = 8192
	cellBytes = 64
)

// cell is one thread's announcement, in the second file.
type cell struct {
	epoch uint64 // at which its owner entered; 0: outside
	owner owner
	_     [cellBytes - 24]byte
}

// Board is the shard's side. All methods are for the shard's thread, but Quiet, which may be called from anywhere.
type Board struct {
	board, cells, records, pins []byte

	incarnation *uint64
	epoch       *uint64
	free        []uint32
	next        uint32 // first slot that was never given out
	// Runs tells whether a process still exists; it is set once, for tests.
	runs func(pid uint32, start uint64) bool
}

// Create makes the board of a shard in dir, or takes over the one that is there: from then on places handed out by an earlier
// incarnation are void. AwaitQuiet must follow before memory is reused. runs tells whether a process exists.
func Create(dir string, incarnation uint64, runs func(pid uint32, start uint64) bool) (*Board, error) {
	board, err := mapFile(filepath.Join(dir, boardName), boardBytes, true, true)
	if err != nil {
		return nil, err
	}
	cells, err := mapFile(filepath.Join(dir, cellsName), maxCells*cellBytes, true, true)
	if err != nil {
		_ = unix.Munmap(board)
		return nil, err
	}
	records, err := mapFile(filepath.Join(dir, recordsName), recordsBytes, true, true)
	if err != nil {
		return nil, errors.Join(err, unix.Munmap(board), unix.Munmap(cells))
	}
	pins, err := mapFile(filepath.Join(dir, pinsName), pinsBytes, true, true)
	if err != nil {
		return nil, errors.Join(err, unix.Munmap(board), unix.Munmap(cells), unix.Munmap(records))
	}
	b := &Board{board: board, cells: cells, records: records, pins: pins, incarnation: word(board, atIncarnation), epoch: word(board, atEpoch), runs: runs}
	binary.NativeEndian.PutUint64(board, boardMagic)
	atomic.StoreUint64(b.incarnation, incarnation)
	atomic.AddUint64(b.epoch, 1)
	return b, nil
}

// AwaitQuiet waits until nobody uses a place that an earlier incarnation gave out. It polls: the uses are copies of some megabytes
// at most, so that there is something to wait for only while a client is stopped in the middle of one; waiting (may be nil) is
// then called with its pid about every ten seconds.
func (b *Board) AwaitQuiet(waiting func(pid uint32)) {
	epoch := atomic.LoadUint64(b.epoch)
	for polls := 0; ; polls++ {
		pid, busy := b.busy(epoch)
		if !busy {
			return
		}
		if polls%10_000 == 1000 && waiting != nil {
			waiting(pid)
		}
		_ = syscall.Nanosleep(&syscall.Timespec{Nsec: 1e6}, nil) // a signal only makes it look earlier
	}
}

// Take gives a chunk a slot. ok is false when there is none left.
func (b *Board) Take(present uint32) (slot, serial uint32, ok bool) {
	switch {
	case b.next < maxSlots: // a serial number comes again after 2^31 uses of its slot: slots are used in turn
		slot = b.next
		b.next++
	case len(b.free) > 0:
		slot = b.free[0]
		b.free = b.free[1:]
	default:
		return 0, 0, false
	}
	w := b.slot(slot)
	serial = uint32(atomic.LoadUint64(w)>>32) + 1
	atomic.StoreUint64(w, uint64(serial)<<32|uint64(present))
	return slot, serial, true
}

// Set changes the bytes present, after they are in place.
func (b *Board) Set(slot, present uint32) {
	w := b.slot(slot)
	atomic.StoreUint64(w, atomic.LoadUint64(w)&^0xffffffff|uint64(present))
}

// Serial is what a client of the slot must be told.
func (b *Board) Serial(slot uint32) uint32 { return uint32(atomic.LoadUint64(b.slot(slot)) >> 32) }

// Drop makes all that was told about the slot void, before anything happens to the place that it stood for. The slot is free then.
func (b *Board) Drop(slot uint32) {
	atomic.AddUint64(b.slot(slot), 1<<32) // a locked instruction: later loads and stores of this thread do not pass it
	b.free = append(b.free, slot)
}

// Retire returns the epoch for Quiet: that of a place whose slot was dropped before the call.
func (b *Board) Retire() uint64 { return atomic.AddUint64(b.epoch, 1) }

// Quiet reports whether nobody uses a place any more that was retired with this epoch.
func (b *Board) Quiet(epoch uint64) bool {
	_, busy := b.busy(epoch)
	return !busy
}

// busy finds a process that entered before epoch and is still inside. Cells of processes that have ended are cleared on the way.
func (b *Board) busy(epoch uint64) (pid uint32, busy bool) {
	for i := range uint64(maxCells) {
		c := cellAt(b.cells, i)
		for {
			holder := c.owner.holder()
			if holder == 0 {
				return 0, false
			}
			entered := atomic.LoadUint64(&c.epoch)
			if entered == 0 || entered >= epoch || c.reap(holder, b.runs) {
				break
			}
			if holder != abandoned && holder == c.owner.holder() {
				return uint32(holder), true
			} // else somebody else has just taken the cell
		}
	}
	return 0, false
}

// reap clears a cell whose holder has ended.
func (c *cell) reap(holder uint64, runs func(pid uint32, start uint64) bool) bool {
	if !c.owner.seize(holder, runs) {
		return false
	}
	atomic.StoreUint64(&c.epoch, 0)
	c.owner.leave()
	return true
}

// Reap frees the cells and pins of processes that have ended; from time to time.
func (b *Board) Reap() {
	b.reapPins()
	for i := range uint64(maxCells) {
		c := cellAt(b.cells, i)
		holder := c.owner.holder()
		if holder == 0 {
			return
		}
		c.reap(holder, b.runs)
	}
}

// Close makes all places void for good, and unmaps.
func (b *Board) Close() error {
	atomic.StoreUint64(b.incarnation, 0)
	return errors.Join(unix.Munmap(b.board), unix.Munmap(b.cells), unix.Munmap(b.records), unix.Munmap(b.pins))
}

func (b *Board) slot(slot uint32) *uint64 { return word(b.board, headerBytes+8*uintptr(slot)) }

func word(memory []byte, at uintptr) *uint64 { return (*uint64)(unsafe.Pointer(&memory[at])) }

func cellAt(cells []byte, i uint64) *cell { return (*cell)(unsafe.Pointer(&cells[i*cellBytes])) }

// mapFile maps a file of that many bytes; with create, one that is not there or has another size is made.
func mapFile(path string, bytes int64, write, create bool) ([]byte, error) {
	flags, prot := unix.O_RDONLY, unix.PROT_READ
	if write {
		flags, prot = unix.O_RDWR, unix.PROT_READ|unix.PROT_WRITE
	}
	if create {
		flags |= unix.O_CREAT
	}
	fd, err := openFile(path, flags)
	if err != nil {
		return nil, fserr.New("open", path, fserr.Errno(err), err)
	}
	defer unix.Close(fd)
	var stat unix.Stat_t
	if err = unix.Fstat(fd, &stat); err == nil && stat.Size != bytes {
		if !create {
			return nil, fserr.New("map", path, syscall.EIO, fmt.Errorf("has %d bytes instead of %d", stat.Size, bytes))
		}
		err = unix.Ftruncate(fd, bytes)
	}
	if err == nil && create {
		err = allocate(fd, bytes, stat.Size != bytes)
	}
	var memory []byte
	if err == nil {
		memory, err = unix.Mmap(fd, 0, int(bytes), prot, unix.MAP_SHARED)
	}
	if err != nil {
		return nil, fserr.New("map", path, fserr.Errno(err), err)
	}
	return memory, nil
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
