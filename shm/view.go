package shm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/benchfs/benchfs/fserr"
)

// View is a client process's side of a board. Its methods may be called from several threads.
type View struct {
	board, cells, records, pins []byte

	expected    atomic.Uint64 // incarnation; or revoked
	incarnation *uint64
	epoch       *uint64
	pid, start  uint64

	mu    sync.Mutex
	mine  atomic.Pointer[[]*cell] // cells of this process; grows under mu
	taken uint64                  // cells looked at for free ones so far

	myPins   *pinTable // nil: there was none left
	pinTable int       // its number
}

// firstCells is how many cells a process takes at once.
const firstCells = 4

// Attach opens the board of the shard whose files are in dir. The incarnation tells whether it is the right one: in another mount
// namespace the same path may lead elsewhere. pid and start name this process as in /proc/PID/stat.
func Attach(dir string, incarnation uint64, pid uint32, start uint64) (*View, error) {
	board, err := mapFile(filepath.Join(dir, boardName), boardBytes, false, false)
	if err != nil {
		return nil, err
	}
	cells, err := mapFile(filepath.Join(dir, cellsName), maxCells*cellBytes, true, false)
	if err != nil {
		_ = unix.Munmap(board)
		return nil, err
	}
	records, err := mapFile(filepath.Join(dir, recordsName), recordsBytes, false, false)
	if err != nil {
		return nil, errors.Join(err, unix.Munmap(board), unix.Munmap(cells))
	}
	v := &View{
		board: board, cells: cells, records: records, incarnation: word(board, atIncarnation), epoch: word(board, atEpoch),
		pid: uint64(pid), start: start,
	}
	v.expected.Store(incarnation)
	v.mine.Store(&[]*cell{})
	switch {
	case binary.NativeEndian.Uint64(board) != boardMagic || !v.Valid():
		err = fserr.New("attach", dir, syscall.ESTALE, errors.New("the board is of another daemon"))
	case !v.grow(firstCells):
		err = fserr.New("attach", dir, syscall.EAGAIN, fmt.Errorf("all %d cells are taken", maxCells))
	default:
		err = v.takePins(dir)
	}
	if err != nil {
		return nil, errors.Join(err, v.Close())
	}
	return v, nil
}

// Valid reports whether the daemon that the view was made for is in charge. When it is not, no place holds.
func (v *View) Valid() bool { return atomic.LoadUint64(v.incarnation) == v.expected.Load() }

// Revoke makes everything void for this process: it has heard otherwise that another daemon is in charge, perhaps with other files.
func (v *View) Revoke() { v.expected.Store(revoked) }

// revoked is no incarnation: those are random, and 0 is what a board shows that was closed.
const revoked = 1<<64 - 1

// Use is one use of places in progress; it must be ended with Leave.
type Use struct{ c *cell }

// Enter announces a use: until Leave, the memory of places that are looked up now stays theirs. ok is false when there are more
// threads at work than cells.
func (v *View) Enter() (u Use, ok bool) {
	epoch := atomic.LoadUint64(v.epoch)
	for {
		mine := *v.mine.Load()
		// The address of a local variable tells threads apart well enough for them to find different cells at once.
		var here byte
		at := int(uintptr(unsafe.Pointer(&here)) >> 13 % uintptr(len(mine)))
		for range mine {
			c := mine[at]
			if atomic.LoadUint64(&c.epoch) == 0 && atomic.CompareAndSwapUint64(&c.epoch, 0, epoch) {
				return Use{c}, true
			}
			if at++; at == len(mine) {
				at = 0
			}
		}
		if !v.growFrom(len(mine)) {
			return Use{}, false
		}
	}
}

// Leave ends a use. It orders all that was copied before what is looked at next.
func (u Use) Leave() { atomic.SwapUint64(&u.c.epoch, 0) }

// Present tells how many bytes the chunk of a slot has, or false if what was told about the slot does not hold any more.
func (v *View) Present(slot, serial uint32) (present uint32, ok bool) {
	if slot >= maxSlots {
		return 0, false
	}
	w := atomic.LoadUint64(word(v.board, headerBytes+8*uintptr(slot)))
	return uint32(w), uint32(w>>32) == serial && v.Valid()
}

// growFrom takes more cells, unless somebody else has done so since there were n of them.
func (v *View) growFrom(n int) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(*v.mine.Load()) != n {
		return true
	}
	return v.growLocked(max(n, 1))
}

func (v *View) grow(n int) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.growLocked(n)
}

// growLocked takes up to n more cells; false: there was none.
func (v *View) growLocked(n int) bool {
	mine := append([]*cell(nil), *v.mine.Load()...)
	before := len(mine)
	for ; v.taken < maxCells && len(mine) < before+n; v.taken++ {
		c := cellAt(v.cells, v.taken)
		if c.owner.claim(v.pid, v.start) {
			mine = append(mine, c)
		}
	}
	v.mine.Store(&mine)
	return len(mine) > before
}

// Close gives the cells and the pins back and unmaps. No use may be in progress.
func (v *View) Close() error {
	for _, c := range *v.mine.Load() {
		atomic.StoreUint64(&c.epoch, 0)
		c.owner.leave()
	}
	return errors.Join(unix.Munmap(v.board), unix.Munmap(v.cells), unix.Munmap(v.records), v.dropPins())
}
