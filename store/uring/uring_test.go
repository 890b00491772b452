package uring_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/store"
	"github.com/benchfs/benchfs/store/storetest"
	"github.com/benchfs/benchfs/store/uring"
)

func options(dir string, capacityBytes int64) uring.Options {
	return uring.Options{Dir: dir, Name: "node0-shard0", CapacityBytes: capacityBytes, SegmentBytes: 64 << 20}
}

// need skips a test on machines without io_uring.
func need(t testing.TB) {
	t.Helper()
	if err := uring.Available(); err != nil {
		t.Skip(err)
	}
}

func open(t testing.TB, dir string, capacityBytes int64) *uring.Store {
	t.Helper()
	s, err := uring.Open(options(dir, capacityBytes))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) {
	need(t)
	storetest.Run(t, func(t testing.TB, capacityBytes int64) store.Store { return open(t, t.TempDir(), capacityBytes) })
}

// Few requests at a time, few buffers, and much in flight.
func TestManyInFlight(t *testing.T) {
	need(t)
	for name, change := range map[string]func(o *uring.Options){
		"roomy":    func(*uring.Options) {},
		"buffered": uring.Buffered,
		"narrow":   func(o *uring.Options) { o.BufferBytes = 512 << 10; uring.SetDepth(o, 4) },
	} {
		t.Run(name, func(t *testing.T) {
			var failing bool
			storetest.RunDevice(t, func(t testing.TB, capacityBytes int64) store.Store {
				o := options(t.TempDir(), capacityBytes)
				change(&o)
				s, err := uring.Open(o)
				if err != nil {
					t.Fatal(err)
				}
				s.Meddle(&failing)
				return s
			}, &failing)
		})
	}
}

// TestRefused: where io_uring cannot be had, Open says why.
func TestRefused(t *testing.T) {
	for errno, want := range map[syscall.Errno]string{
		syscall.ENOSYS: "no io_uring in this kernel", syscall.EPERM: "forbidden by", syscall.ENOMEM: "ulimit -l",
	} {
		o := options(t.TempDir(), 1<<20)
		uring.Refuse(&o, errno)
		_, err := uring.Open(o)
		var refused *uring.Unavailable
		if !errors.As(err, &refused) || !errors.Is(err, errno) || !strings.Contains(err.Error(), want) || fserr.Errno(err) != syscall.EOPNOTSUPP {
			t.Errorf("%v: %v", errno, err)
		}
	}
}

// write puts n bytes of value b at the beginning of a chunk.
func write(t testing.TB, s *uring.Store, ino uint64, n uint32, b byte) {
	t.Helper()
	w, err := s.Begin(ino, 0, 0, n, 0, chunkBits)
	if err != nil {
		t.Fatal(err)
	}
	for i := range w.Data {
		w.Data[i] = b
	}
	if err := s.Commit(w); err != nil {
		t.Fatal(err)
	}
}

const chunkBits = 22

// TestNotInMemory: what a file system keeps in memory all the same is not called direct.
func TestNotInMemory(t *testing.T) {
	need(t)
	const dir = "/dev/shm"
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil || fs.Type != 0x01021994 {
		t.Skip("no tmpfs at " + dir)
	}
	own, err := os.MkdirTemp(dir, "benchfs-test-")
	if err != nil {
		t.Skip(err)
	}
	defer os.RemoveAll(own)
	s := open(t, own, 1<<20)
	write(t, s, 1, 5000, 7)
	if s.Direct() || s.Stats().Direct {
		t.Error("tmpfs passes for a disk")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(filepath.Join(own, "*probe*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestSync: a sync reaches the medium once for all that was written before, not at all when nothing was, and an error of it stays.
func TestSync(t *testing.T) {
	need(t)
	calls, answer := 0, error(nil)
	defer uring.SetFdatasync(func(fd int) error {
		calls++
		if answer != nil {
			return answer
		}
		return syscall.Fdatasync(fd)
	})()
	s := open(t, t.TempDir(), 16<<20)
	defer s.Close()
	for ino := range uint64(4) {
		write(t, s, ino+1, 10_000, 1)
	}
	sync := func(want int, wantErr error) {
		t.Helper()
		for ino := range uint64(4) {
			if err := s.Sync(ino + 1)(); !errors.Is(err, wantErr) {
				t.Errorf("sync: %v", err)
			}
		}
		if calls != want || s.Stats().Syncs != uint64(want) {
			t.Errorf("%d calls of fdatasync, %d counted, want %d", calls, s.Stats().Syncs, want)
		}
	}
	sync(1, nil)
	sync(1, nil)
	write(t, s, 1, 10_000, 2)
	sync(2, nil)
	write(t, s, 1, 10_000, 3)
	if err := s.Checkpoint(); err != nil { // makes the index durable, and the bytes before it
		t.Fatal(err)
	}
	sync(3, nil)
	write(t, s, 1, 10_000, 4)
	answer = syscall.EIO
	sync(4, syscall.EIO)
	answer = nil
	sync(4, syscall.EIO) // what the failed one lost does not come back
	if n := s.Stats().Errors; n != 1 {
		t.Errorf("%d errors counted", n)
	}
}

// TestBrokenRing: when the kernel takes no requests any more, everything ends with an error.
func TestBrokenRing(t *testing.T) {
	need(t)
	s := open(t, t.TempDir(), 16<<20)
	write(t, s, 1, 100_000, 1)
	w, err := s.Begin(2, 0, 0, 5000, 0, chunkBits)
	if err != nil {
		t.Fatal(err)
	}
	begun, err := s.Begin(3, 0, 0, 5000, 0, chunkBits)
	if err != nil {
		t.Fatal(err)
	}
	s.Break()
	if done, err := s.StartCommit(w, "write"); done || err != nil {
		t.Fatal(done, err)
	}
	if _, done, err := s.StartView(1, 0, 0, 100_000, 0, "view"); done || err != nil {
		t.Fatal(done, err)
	}
	if s.Poll() {
		t.Error("a broken ring is busy")
	}
	for range 2 {
		e, ok := s.Next()
		if !ok || fserr.Errno(e.Err) != syscall.EIO {
			t.Errorf("ended: %v, %v", ok, e)
		}
	}
	if err := s.Commit(begun); fserr.Errno(err) != syscall.EIO {
		t.Errorf("commit: %v", err)
	}
	if _, err := s.View(1, 0, 0, 1, 0); fserr.Errno(err) != syscall.EIO {
		t.Errorf("view: %v", err)
	}
	if _, err := s.Begin(1, 0, 0, 1, 0, chunkBits); fserr.Errno(err) != syscall.EIO {
		t.Errorf("begin: %v", err)
	}
	if err := s.Close(); fserr.Errno(err) != syscall.EIO {
		t.Errorf("close: %v", err)
	}
}

// TestBounded: no more memory than was agreed, however much is asked for, and room again when something has ended.
func TestBounded(t *testing.T) {
	need(t)
	o := options(t.TempDir(), 256<<20)
	o.BufferBytes = 4 << 20
	s, err := uring.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	const n = 1 << 20
	for round := range 3 {
		var writes []store.Write
		for ino := uint64(1); ; ino++ {
			w, err := s.Begin(ino, uint64(round), 0, n, 0, chunkBits)
			if errors.Is(err, store.ErrNoBuffers) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			writes = append(writes, w)
		}
		if stats := s.Stats(); len(writes) != 4 || stats.BuffersUsed != stats.BufferBytes || stats.BufferBytes != 4<<20 {
			t.Fatalf("%d writes at once, %+v", len(writes), stats)
		}
		for i, w := range writes {
			if i%2 == 0 {
				s.Abort(w)
			} else if err := s.Commit(w); err != nil {
				t.Fatal(err)
			}
		}
		if used := s.Stats().BuffersUsed; used != 0 {
			t.Fatalf("%d bytes of buffers are in use by nobody", used)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestFullMedium: a medium without space is an answer before anything is overwritten; one that cannot tell beforehand is used all the same.
func TestFullMedium(t *testing.T) {
	need(t)
	answer := error(nil)
	defer uring.SetFallocate(func(int, uint32, int64, int64) error { return answer })()
	s := open(t, t.TempDir(), 256<<20)
	write(t, s, 1, 100_000, 1)
	answer = syscall.ENOSPC
	var err error
	for chunk := uint64(0); err == nil && chunk < 64; chunk++ {
		var w store.Write
		if w, err = s.Begin(2, chunk, 0, 1<<chunkBits, 0, chunkBits); err == nil {
			err = s.Commit(w)
		}
	}
	if fserr.Errno(err) != syscall.ENOSPC {
		t.Errorf("a full medium: %v", err)
	}
	write(t, s, 1, 100_000, 2) // in place
	answer = syscall.EOPNOTSUPP
	for chunk := range uint64(20) {
		w, err := s.Begin(3, chunk, 0, 1<<chunkBits, 0, chunkBits)
		if err == nil {
			err = s.Commit(w)
		}
		if err != nil {
			t.Fatalf("a medium that cannot tell: %v", err)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
