package shm_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/benchfs/benchfs/shm"
)

func segments(t *testing.T, bytesOfEach int64, write, huge bool, budget *shm.Budget) (*shm.Segments, string) {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "benchfs-shm-test-")
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	for _, name := range []string{"s.0", "s.1"} {
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, bytesOfEach), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := shm.NewSegments(shm.OpenPaths(filepath.Join(dir, "s."), write), bytesOfEach, write, huge, budget)
	t.Cleanup(func() { _ = s.Close() })
	return s, dir
}

// TestMovesByBothWays: whether a block is cold or hot, what was written is read, here and by others.
func TestMovesByBothWays(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	const size = segmentBytes
	for _, huge := range []bool{false, true} {
		m := shared(t, huge)
		s, dir := m.segments, m.dir
		var places [2]shm.Place
		for i := range places {
			_, places[i] = m.take(t, uint32(i), 0, size, size)
		}
		want := [2][]byte{make([]byte, size), make([]byte, size)}
		for range 3000 {
			number := r.Uint32N(2)
			segment, err := s.Get(number)
			if err != nil {
				t.Fatal(err)
			}
			off := r.Uint64N(size - 1)
			n := 1 + r.Uint64N(min(size-off, 1<<r.UintN(22)))
			if !segment.Holds(off, int(n)) || segment.Holds(off, size) && off > 0 {
				t.Fatal("Holds is wrong")
			}
			p := make([]byte, n)
			if r.UintN(2) == 0 {
				for i := range p {
					p[i] = byte(r.Uint32())
				}
				copy(want[number][off:], p)
				if r.UintN(2) == 0 && !m.view.Overwrite(&places[number], p, uint32(off)) || !m.view.Fill(&places[number], p, uint32(off), r.UintN(8) == 0) {
					t.Fatalf("cannot write %d at %d", n, off)
				}
			} else if got, ok := m.view.Read(&places[number], p, uint32(off)); !ok || got != int(n) || !bytes.Equal(p, want[number][off:off+n]) {
				t.Fatalf("read %d of %d at %d, %v, or it differs", got, n, off, ok)
			}
		}
		for i, name := range []string{"s.0", "s.1"} {
			got, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil || !bytes.Equal(got, want[i]) {
				t.Errorf("%s differs (%v)", name, err)
			}
		}
	}
}

func TestSegmentsThatAreNotThere(t *testing.T) {
	s, dir := segments(t, 1<<20, false, false, shm.NewBudget(1<<20))
	if _, err := s.Get(7); err == nil {
		t.Error("opened a file that is not there")
	}
	if err := os.Truncate(filepath.Join(dir, "s.1"), 5); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(1); err == nil {
		t.Error("opened a file of another size")
	}
	m := shared(t, false)
	slot, sequence, _ := m.Take(4096)
	p, err := s.PlaceAt(slot, sequence, 0, 0, 4096)
	if err != nil {
		t.Fatal(err)
	}
	if m.view.Fill(&p, []byte("x"), 0, true) || m.view.Overwrite(&p, []byte("x"), 0) {
		t.Error("wrote to a segment that was opened for reading")
	}
}
