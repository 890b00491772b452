package shm

// #include "place.h"
import "C"

import (
	"errors"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/internal/procfs"
)

// The areas of a shard's clients, each a file that is named by the client's number. The shard makes them and reads them; it writes to one only
// before the client sees it. What it reads was written by another process: it believes nothing of it.

const (
	areasName = "clients"
	areaBytes = C.sizeof_struct_bfs_area
)

// areas are those of one shard, for its thread.
type areas struct {
	dir  string
	list []*area
}

// area is one client's.
type area struct {
	client uint64
	memory []byte
	owner  *procfs.Process // nil: it could not be watched so far
	left   bool            // the client has said good-bye
	own    bool            // it is this process's: no file, and it lives as long as the board
}

func (a *area) words() *C.struct_bfs_area { return (*C.struct_bfs_area)(unsafe.Pointer(&a.memory[0])) }

// process is whom the file says that it belongs to.
func (a *area) process() (pid uint32, start uint64) {
	w := a.words()
	return uint32(atomic.LoadUint64((*uint64)(&w.pid))), atomic.LoadUint64((*uint64)(&w.start))
}

func (l *areas) path(client uint64) string {
	return filepath.Join(l.dir, strconv.FormatUint(client, 16))
}

// open takes over the areas that an earlier daemon has left [R2].
func (l *areas) open(dir string) error {
	l.dir = dir
	if err := unix.Mkdir(dir, 0o700); err != nil && err != unix.EEXIST {
		return fserr.New("mkdir", dir, fserr.Errno(err), err)
	}
	names, err := namesIn(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		client, err := strconv.ParseUint(name, 16, 64)
		if err != nil {
			continue // not one of ours
		}
		memory, err := makeFile(l.path(client), areaBytes)
		if err != nil {
			return err
		}
		l.list = append(l.list, &area{client: client, memory: memory})
	}
	l.reap()
	return nil
}

// namesIn lists a directory by plain system calls: this code also runs in an application (embedded mode).
func namesIn(dir string) (names []string, err error) {
	fd, err := openFile(dir, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, fserr.New("open", dir, fserr.Errno(err), err)
	}
	defer unix.Close(fd)
	buf := make([]byte, 8192)
	for {
		n, err := unix.Getdents(fd, buf)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return nil, fserr.New("readdir", dir, fserr.Errno(err), err)
		case n == 0:
			return names, nil
		default:
			_, _, names = unix.ParseDirent(buf[:n], -1, names)
		}
	}
}

// find is the area of a client, or nil.
func (l *areas) find(client uint64) *area {
	for _, a := range l.list {
		if a.client == client {
			return a
		}
	}
	return nil
}

// make gives a client an area, or finds the one that it has.
func (l *areas) make(client uint64, pid uint32, start uint64) error {
	if a := l.find(client); a != nil {
		if has, since := a.process(); has == pid && since == start && !a.dead() {
			a.left = false
			return nil
		}
		l.reap()
		if l.find(client) != nil {
			return fserr.New("make area", l.path(client), syscall.EBUSY, errors.New("another process has it"))
		}
	}
	owner, err := procfs.Watch(pid, start)
	if err != nil {
		return err
	}
	memory, err := makeFile(l.path(client), areaBytes)
	if err != nil {
		owner.Unwatch()
		return err
	}
	a := &area{client: client, memory: memory, owner: owner}
	atomic.StoreUint64((*uint64)(&a.words().start), start)
	atomic.StoreUint64((*uint64)(&a.words().pid), uint64(pid))
	l.list = append(l.list, a)
	return nil
}

// reap removes the areas of processes that are dead, and of clients that have left and hold nothing any more.
func (l *areas) reap() {
	kept := l.list[:0]
	for _, a := range l.list {
		if a.own || !a.dead() && !(a.left && a.empty()) {
			kept = append(kept, a)
			continue
		}
		_ = unix.Unlink(l.path(a.client))
		a.close()
	}
	clear(l.list[len(kept):])
	l.list = kept
}

// dead reports whether the area's process is.
func (a *area) dead() bool {
	if a.owner == nil {
		pid, start := a.process()
		if pid == 0 { // its maker died before it was complete
			return true
		}
		var err error
		if a.owner, err = procfs.Watch(pid, start); err != nil {
			return errors.Is(err, syscall.ESRCH)
		}
	}
	return a.owner.Dead()
}

// used is how many announcements are to be looked at.
func (a *area) used() int {
	return int(min(atomic.LoadUint64((*uint64)(&a.words().used)), C.BFS_ANNOUNCEMENTS))
}

// announcement is the run of pages that the client has announced there. ok is false when it has announced none.
func (a *area) announcement(i int) (page uint32, order uint8, ok bool) {
	run := atomic.LoadUint64((*uint64)(&a.words().announced[i].run))
	return uint32(run>>8 - 1), uint8(run), run != 0
}

// pinned reports whether the client holds on to a fact.
func (a *area) pinned(fact uint64) bool {
	line := &a.words().pin[fact%C.BFS_PIN_LINES]
	for i := range line {
		if atomic.LoadUint64((*uint64)(&line[i])) == fact {
			return true
		}
	}
	return false
}

// empty reports whether nothing is announced or pinned.
func (a *area) empty() bool {
	for i := range a.used() {
		if _, _, announced := a.announcement(i); announced {
			return false
		}
	}
	for line := range uint64(C.BFS_PIN_LINES) {
		for i := range a.words().pin[line] {
			if atomic.LoadUint64((*uint64)(&a.words().pin[line][i])) != 0 {
				return false
			}
		}
	}
	return true
}

func (a *area) close() error {
	if a.owner != nil {
		a.owner.Unwatch()
	}
	return unix.Munmap(a.memory)
}

func (l *areas) close() error {
	var err error
	for _, a := range l.list {
		err = errors.Join(err, a.close())
	}
	l.list = nil
	return err
}

// Area is the path of a client's area at this shard, made if there is none. Its process is named as in /proc/PID/stat. ESRCH: the process
// cannot be seen from here.
func (b *Board) Area(client uint64, pid uint32, start uint64) (path string, err error) {
	return b.areas.path(client), b.areas.make(client, pid, start)
}

// Leave tells that a client will use its area no more. It goes once nothing is announced or pinned in it.
func (b *Board) Leave(client uint64) {
	if a := b.areas.find(client); a != nil {
		a.left = true
		b.areas.reap()
	}
}

// Reap removes the areas that nobody needs any more; from time to time.
func (b *Board) Reap() { b.areas.reap() }

// Announced calls do for each run of pages that some client has announced [S2]: the pages of a place that was dropped before the call and that no
// such run overlaps are nobody's any more. looked is how many words it has looked at.
func (b *Board) Announced(do func(page uint32, order uint8)) (looked int) {
	for _, a := range b.areas.list {
		used := a.used()
		looked += used
		for i := range used {
			if page, order, ok := a.announcement(i); ok {
				do(page, order)
			}
		}
	}
	return looked
}

// Pinned reports whether a process holds on to a fact [N2]. The fact's record must be void, or show that it is not to be pinned any more [N1].
func (b *Board) Pinned(fact uint64) bool {
	for _, a := range b.areas.list {
		if a.pinned(fact) {
			return true
		}
	}
	return false
}
