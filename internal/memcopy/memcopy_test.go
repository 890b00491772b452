package memcopy

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

// Whatever the lengths and places, exactly the bytes that are to be copied are.
func TestCopies(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	const size = 3 << 20
	src, want := make([]byte, size), make([]byte, size)
	for i := range src {
		src[i] = byte(r.Uint32())
	}
	for i := range 150 {
		lengths := []int{0, 1, stringIn - 1, stringIn, stringOut - 1, stringOut, around - 1, around, around + 1, 1 + r.IntN(size/2), 1 + r.IntN(100)}
		n := lengths[i%len(lengths)]
		from, to := r.IntN(size-n), r.IntN(size-n)
		if i%3 == 0 {
			to = min(from&^4095+r.IntN(100), size-n) // as in TestAliases
		}
		data, more := src[from:from+n], r.IntN(3)*100
		for way, f := range map[string]func(dst, data []byte) int{"in": In, "out": Out} {
			got := make([]byte, size)
			clear(want)
			copy(want[to:], data)
			took := f(got[to:min(size, to+n+more)], data) // there may be more room than data, and the other way round
			if took != n || !bytes.Equal(got, want) {
				t.Fatalf("%s: %d bytes from %d to %d: %d copied, or others", way, n, from, to, took)
			}
			if n > 10 && (f(got[to:to+n-10], data) != n-10 || !bytes.Equal(got, want)) {
				t.Fatalf("%s: %d bytes into less room", way, n)
			}
		}
	}
}

func TestAliases(t *testing.T) {
	memory := make([]byte, 4*4096)
	for _, test := range []struct {
		dst, src int
		want     bool
	}{
		{0, 8192, false}, {1, 8192, true}, {63, 8192, true}, {64, 8192, false}, {4095, 8192, false}, {8192 + 20, 10, true}, {8192 + 10, 20, false},
	} {
		if got := aliases(memory[test.dst:], memory[test.src:]); got != test.want {
			t.Errorf("to %d from %d: %v", test.dst, test.src, got)
		}
	}
}

// The data is 64 MiB, the buffer what is moved.
func BenchmarkCopy(b *testing.B) {
	data := make([]byte, 64<<20)
	for i := range data {
		data[i] = byte(i)
	}
	for _, n := range []int{4 << 10, 16 << 10, 47008, 512 << 10, 1 << 20, 4 << 20} {
		buffer := make([]byte, n)
		for _, way := range []struct {
			name string
			f    func(data []byte)
		}{
			{"out", func(data []byte) { Out(buffer, data) }},
			{"out-go", func(data []byte) { copy(buffer, data) }},
			{"in", func(data []byte) { In(data, buffer) }},
			{"in-go", func(data []byte) { copy(data, buffer) }},
		} {
			b.Run(fmt.Sprintf("%s/%d", way.name, n), func(b *testing.B) {
				b.SetBytes(int64(n))
				for i := range b.N {
					at := i * n % (len(data) - n)
					way.f(data[at : at+n])
				}
			})
		}
	}
}
