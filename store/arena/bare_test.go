package arena_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/benchfs/benchfs/shm"
	"github.com/benchfs/benchfs/store"
	"github.com/benchfs/benchfs/store/arena"
)

// bareStore is a store on tmpfs with next to nothing prepared, and the segments as a client has them.
func bareStore(t *testing.T, dir string, capacityBytes int64) *reached {
	t.Helper()
	o := options(dir, capacityBytes)
	o.HugePages, o.AheadBytes = false, 1
	s, err := arena.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return reach(t, s, dir, func(b *shm.Board) store.Board { return b })
}

func tmpfsDir(t *testing.T) string {
	t.Helper()
	var fs unix.Statfs_t
	if unix.Statfs("/dev/shm", &fs) != nil || fs.Type != unix.TMPFS_MAGIC {
		t.Skip("no tmpfs at /dev/shm")
	}
	dir, err := os.MkdirTemp("/dev/shm", "benchfs-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// putOutside writes to the room of a begun write as a client does.
func (r *reached) putOutside(w store.Write, bare bool, off uint32, data []byte) error {
	place, ok := r.s.PlaceOfWrite(w)
	if !ok {
		return errors.New("a write without a place")
	}
	at := r.at(place)
	if !r.view.Fill(&at, data, off, bare) {
		return syscall.ENOSPC
	}
	return nil
}

// Room without pages is filled through the file, in any order, beside writes by message, ended well or not: what is read is what was written, and gaps
// are zeros.
func TestBareRoom(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 2))
	r := bareStore(t, tmpfsDir(t), 256<<20)
	s := r.s
	const chunkBits, chunks = 20, 60
	want := make([][]byte, chunks)
	bares := 0
	for range 1500 {
		i := rng.IntN(chunks)
		off := uint32(rng.IntN(1<<chunkBits - 1))
		n := 1 + uint32(rng.IntN(min(200_000, 1<<chunkBits-int(off))))
		data := bytes.Repeat([]byte{byte(1 + rng.IntN(255))}, int(n))
		abort := rng.IntN(8) == 0
		switch rng.IntN(3) {
		case 0:
			w, err := s.Begin(1, uint64(i), off, n, 0, chunkBits)
			if err != nil {
				t.Fatal(err)
			}
			if abort {
				s.Abort(w)
				continue
			}
			copy(w.Data, data)
			if err := s.Commit(w); err != nil {
				t.Fatal(err)
			}
		default:
			w, bare, err := s.BeginBare(1, uint64(i), off, n, 0, chunkBits)
			if err != nil {
				t.Fatal(err)
			}
			if abort && int(off) >= len(want[i]) { // an overwrite has changed its range, whatever becomes of it
				if rng.IntN(2) == 0 {
					if err := r.putOutside(w, bare, off, data); err != nil {
						t.Fatal(err)
					}
				}
				s.Abort(w)
				continue
			}
			if bare {
				bares++
			}
			if err := r.putOutside(w, bare, off, data); err != nil {
				t.Fatal(err)
			}
			if err := s.Commit(w); err != nil {
				t.Fatal(err)
			}
		}
		if end := int(off + n); end > len(want[i]) {
			want[i] = append(want[i], make([]byte, end-len(want[i]))...)
		}
		copy(want[i][off:], data)
	}
	if bares < 50 {
		t.Errorf("only %d writes were bare", bares)
	}
	for i, bytesOf := range want {
		v, err := s.View(1, uint64(i), 0, 1<<chunkBits, 0)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(v.Data, bytesOf) {
			t.Errorf("chunk %d: %d bytes, want %d, or other ones", i, len(v.Data), len(bytesOf))
		}
		s.Release(v)
	}
}

// When the medium is full, the file says so, and the store goes on: nobody stores to pages that do not exist.
func TestBareRoomOnAFullMedium(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=24m"); err != nil {
		t.Skip("mounting a tmpfs: ", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	r := bareStore(t, dir, 60<<20)
	s := r.s
	data := bytes.Repeat([]byte{7}, 1<<20)
	full := 0
	for i := range uint64(56) {
		w, bare, err := s.BeginBare(1, i, 0, 1<<20, 0, 20)
		if err == nil {
			if err = r.putOutside(w, bare, 0, data); err == nil {
				err = s.Commit(w)
			} else {
				s.Abort(w)
			}
		}
		if err == nil && full == 0 {
			continue
		}
		full++
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("write %d: %v", i, err)
		}
		if _, err := s.Begin(2, i, 0, 1<<20, 0, 20); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("by message: %v", err)
		}
	}
	if full < 20 {
		t.Fatalf("%d writes found no space", full)
	}
	for i := range uint64(56 - full) {
		v, err := s.View(1, i, 0, 1<<20, 0)
		if err != nil || !bytes.Equal(v.Data, data) {
			t.Fatal(fmt.Sprint("chunk ", i, " in ", filepath.Base(dir)), err)
		}
		s.Release(v)
	}
	if err := s.Purge(1); err != nil {
		t.Fatal(err)
	}
}
