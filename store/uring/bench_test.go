package uring_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/benchfs/benchfs/store"
	"github.com/benchfs/benchfs/store/storetest"
	"github.com/benchfs/benchfs/store/uring"
)

// BenchmarkNop is what it costs to go through the ring, per request, with so many at a time.
func BenchmarkNop(b *testing.B) {
	need(b)
	for _, depth := range []int{1, 16} {
		b.Run(fmt.Sprint(depth), func(b *testing.B) {
			if err := uring.Nops(b.N, depth); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkRead is a random read of 4 KiB, with so many in flight.
func BenchmarkRead(b *testing.B) {
	need(b)
	const chunks = 64
	s := open(b, b.TempDir(), 512<<20)
	defer s.Close()
	for chunk := range uint64(chunks) {
		w, err := s.Begin(1, chunk, 0, 1<<chunkBits, 0, chunkBits)
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Commit(w); err != nil {
			b.Fatal(err)
		}
	}
	for _, depth := range []int{1, 16} {
		b.Run(fmt.Sprint(depth), func(b *testing.B) {
			b.SetBytes(4096)
			b.ReportAllocs()
			started, ended := 0, 0
			for ended < b.N {
				for started < b.N && started-ended < depth {
					if _, done, err := s.StartView(1, rand.Uint64N(chunks), rand.Uint32N(1<<(chunkBits-12))<<12, 4096, 0, s); done || err != nil {
						b.Fatal(done, err)
					}
					started++
				}
				ended += reap(b, s)
			}
		})
	}
}

// reap waits for at least one end.
func reap(b *testing.B, s *uring.Store) (n int) {
	for {
		s.Poll()
		for e, ok := s.Next(); ok; e, ok = s.Next() {
			if e.Err != nil {
				b.Fatal(e.Err)
			}
			s.Release(e.View)
			n++
		}
		if n > 0 {
			return n
		}
		if !storetest.WaitDevice(store.Device(s)) {
			b.Fatal("nothing ends")
		}
	}
}
