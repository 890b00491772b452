package arena_test

import (
	"os"
	"testing"

	"github.com/benchfs/benchfs/store"
)

// benchDir is on tmpfs where there is one: the medium that counts for latency.
func benchDir(b *testing.B) string {
	dir, err := os.MkdirTemp("/dev/shm", "benchfs-bench-")
	if err != nil {
		return b.TempDir()
	}
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func benchStore(b *testing.B) store.Store {
	s := open(b, benchDir(b), 256<<20)
	b.Cleanup(func() { mustClose(b, s) })
	b.ReportAllocs()
	return s
}

func BenchmarkView4K(b *testing.B) {
	s := benchStore(b)
	w, _ := s.Begin(1, 0, 0, 1<<20, 0, 22)
	if err := s.Commit(w); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		v, err := s.View(1, 0, 4096, 4096, 0)
		if err != nil {
			b.Fatal(err)
		}
		s.Release(v)
	}
}

func BenchmarkOverwrite4K(b *testing.B) {
	s := benchStore(b)
	w, _ := s.Begin(1, 0, 0, 1<<20, 0, 22)
	if err := s.Commit(w); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		w, err := s.Begin(1, 0, 4096, 4096, 0, 22)
		if err == nil {
			err = s.Commit(w)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSmallFile makes and removes a file of 4 KiB, without its bytes.
func BenchmarkSmallFile(b *testing.B) {
	s := benchStore(b)
	for ino := uint64(1); b.Loop(); ino++ {
		w, err := s.Begin(ino, 0, 0, 4096, 0, 22)
		if err == nil {
			err = s.Commit(w)
		}
		if err == nil {
			err = s.Purge(ino)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAppend64K fills a chunk of 4 MiB in steps, with data, and removes it.
func BenchmarkAppend64K(b *testing.B) {
	s := benchStore(b)
	data := make([]byte, 64<<10)
	b.SetBytes(4 << 20)
	for b.Loop() {
		for off := uint32(0); off < 4<<20; off += 64 << 10 {
			w, err := s.Begin(1, 0, off, 64<<10, 0, 22)
			if err == nil {
				copy(w.Data, data)
				err = s.Commit(w)
			}
			if err != nil {
				b.Fatal(err)
			}
		}
		if err := s.Purge(1); err != nil {
			b.Fatal(err)
		}
	}
}
