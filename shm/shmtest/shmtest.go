// Package shmtest plays clients of a shard's shared memory for tests: one of this process, and threads that are stopped in the middle of a use.
package shmtest

// #include "../place.h"
import "C"

import (
	"os"
	"sync/atomic"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/benchfs/benchfs/internal/procfs"
	"github.com/benchfs/benchfs/shm"
)

// AreaOf gives this process an area at a shard, under a client's number, and returns its path.
func AreaOf(t testing.TB, board *shm.Board, client uint64) string {
	t.Helper()
	pid := uint32(os.Getpid())
	path, err := board.Area(client, pid, procfs.StartTime(pid))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Attach makes this process a client of the board; the test's end closes the View.
func Attach(t testing.TB, board *shm.Board, incarnation, client uint64) *shm.View {
	t.Helper()
	files, err := board.Files(AreaOf(t, board, client))
	if err != nil {
		t.Fatal(err)
	}
	view, err := shm.Attach(files, incarnation)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := view.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := files.Close(); err != nil {
		t.Fatal(err)
	}
	return view
}

// Area is a client's area, seen and written from outside.
type Area struct{ c *C.struct_bfs_area }

// Open maps an area until the end of the test.
func Open(t testing.TB, path string) Area {
	t.Helper()
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(path, err)
	}
	memory, err := unix.Mmap(fd, 0, C.sizeof_struct_bfs_area, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	_ = unix.Close(fd)
	if err != nil {
		t.Fatal(path, err)
	}
	t.Cleanup(func() { _ = unix.Munmap(memory) })
	return Area{(*C.struct_bfs_area)(unsafe.Pointer(&memory[0]))}
}

// Use is an announcement: step U1 of a thread that does not go on until Leave.
type Use struct{ word *uint64 }

// Announce announces a run of pages, by the words of that.
func (a Area) Announce(t testing.TB, run uint64) Use {
	t.Helper()
	used := (*uint64)(&a.c.used)
	for i := range C.BFS_ANNOUNCEMENTS {
		word := (*uint64)(&a.c.announced[i].run)
		if !atomic.CompareAndSwapUint64(word, 0, run) {
			continue
		}
		for now := atomic.LoadUint64(used); now <= uint64(i); now = atomic.LoadUint64(used) {
			atomic.CompareAndSwapUint64(used, now, uint64(i)+1)
		}
		return Use{word}
	}
	t.Fatal("all announcements are in use")
	return Use{}
}

// AnnouncePlace announces the pages of a place: bytes from an offset of a segment on, all segments being of one size.
func (a Area) AnnouncePlace(t testing.TB, segment uint32, offset uint64, bytes uint32, segmentBytes int64) Use {
	t.Helper()
	const page = 4096
	return a.Announce(t, Run(uint32(uint64(segment)*uint64(segmentBytes/page)+offset/page), bytes/page))
}

// Run is the word that announces a run of pages, a power of two of them.
func Run(page, pages uint32) uint64 {
	order := uint8(0)
	for 1<<order < pages {
		order++
	}
	return uint64(C.bfs_run(C.uint32_t(page), C.uint8_t(order)))
}

// Leave is step U4.
func (u Use) Leave() { atomic.SwapUint64(u.word, 0) }

// PID is the process that the area belongs to.
func (a Area) PID() int { return int(atomic.LoadUint64((*uint64)(&a.c.pid))) }

// Busy reports whether anything is announced.
func (a Area) Busy() bool {
	for i := range min(atomic.LoadUint64((*uint64)(&a.c.used)), C.BFS_ANNOUNCEMENTS) {
		if atomic.LoadUint64((*uint64)(&a.c.announced[i].run)) != 0 {
			return true
		}
	}
	return false
}
