package handle_test

import (
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/benchfs/benchfs/internal/handle"
)

const (
	file handle.Kind = 1
	dir  handle.Kind = 2
)

// thing counts its users and notes its release.
type thing struct {
	released atomic.Int32
	users    atomic.Int32
}

func newTable(limit int) *handle.Table[*thing] {
	return handle.New(limit, func(th *thing) error {
		if th.users.Load() != 0 {
			panic("released while in use")
		}
		th.released.Add(1)
		return nil
	})
}

func insert(t *testing.T, table *handle.Table[*thing], kind handle.Kind) (int32, *thing) {
	t.Helper()
	th := &thing{}
	h, err := table.Insert(kind, th)
	if err != nil || h < 0 {
		t.Fatalf("Insert = %d, %v", h, err)
	}
	return h, th
}

func TestPinFindsTheValueOfItsKind(t *testing.T) {
	table := newTable(0)
	h, th := insert(t, table, file)
	got, ok := table.Pin(h, file)
	if !ok || got != th {
		t.Fatalf("Pin = %p, %v, want %p", got, ok, th)
	}
	table.Unpin(h)
	if _, ok := table.Pin(h, dir); ok {
		t.Error("a file's handle was taken for a directory's")
	}
	if ok, _ := table.Remove(h, dir); ok {
		t.Error("a file's handle was removed as a directory's")
	}
}

func TestForeignHandlesAreRefused(t *testing.T) {
	table := newTable(0)
	h, _ := insert(t, table, file)
	for _, wild := range []int32{-1, -1 << 31, 0, 1, 3, 1023, h + 1, h + 1<<20, h ^ 1<<25, 1<<31 - 1} {
		if _, ok := table.Pin(wild, file); ok {
			t.Errorf("Pin(%#x) accepts what is no handle (%#x is)", wild, h)
		}
		if ok, _ := table.Remove(wild, file); ok {
			t.Errorf("Remove(%#x) accepts what is no handle", wild)
		}
	}
}

func TestClosedHandleIsStale(t *testing.T) {
	table := newTable(1) // one slot: the next handle uses it again
	h, th := insert(t, table, file)
	if ok, err := table.Remove(h, file); !ok || err != nil {
		t.Fatalf("Remove = %v, %v", ok, err)
	}
	if th.released.Load() != 1 {
		t.Error("the value was not released")
	}
	if ok, _ := table.Remove(h, file); ok {
		t.Error("removed twice")
	}
	again, _ := insert(t, table, file)
	if again == h {
		t.Error("the next handle is the same number")
	}
	if _, ok := table.Pin(h, file); ok {
		t.Error("a stale handle was accepted")
	}
}

func TestGenerationWraps(t *testing.T) {
	table := newTable(1)
	const generations = 1<<11 - 1
	first, _ := insert(t, table, file)
	h := first
	for i := range generations {
		if ok, _ := table.Remove(h, file); !ok {
			t.Fatalf("round %d: handle %#x is not valid", i, h)
		}
		next, _ := insert(t, table, file)
		if next < 1<<20 {
			t.Fatalf("round %d: handle %#x has generation 0", i, next)
		}
		if next == first && i != generations-1 {
			t.Fatalf("the first handle came back after %d rounds", i)
		}
		h = next
	}
	if h != first {
		t.Errorf("after a full round the handle is %#x, want %#x", h, first)
	}
}

func TestFreeSlotsWaitBeforeTheyAreUsedAgain(t *testing.T) {
	table := newTable(0)
	first, _ := insert(t, table, file)
	_, _ = table.Remove(first, file)
	for i := range 500 {
		h, _ := insert(t, table, file)
		if h&(1<<20-1) == first&(1<<20-1) {
			t.Fatalf("the slot was used again after %d opens", i)
		}
		_, _ = table.Remove(h, file)
	}
}

func TestRemoveWaitsForUsers(t *testing.T) {
	table := newTable(0)
	h, th := insert(t, table, file)
	table.Pin(h, file)
	table.Pin(h, file)
	if ok, _ := table.Remove(h, file); !ok {
		t.Fatal("not removed")
	}
	if _, ok := table.Pin(h, file); ok {
		t.Error("pinned after removal")
	}
	if table.Open() != 0 {
		t.Errorf("Open = %d, want 0", table.Open())
	}
	table.Unpin(h)
	if th.released.Load() != 0 {
		t.Fatal("released while in use")
	}
	table.Unpin(h)
	if th.released.Load() != 1 {
		t.Errorf("released %d times", th.released.Load())
	}
}

func TestFull(t *testing.T) {
	table := newTable(3)
	var handles []int32
	for range 3 {
		h, _ := insert(t, table, file)
		handles = append(handles, h)
	}
	if _, err := table.Insert(file, &thing{}); !errors.Is(err, handle.ErrFull) {
		t.Errorf("Insert into a full table: %v", err)
	}
	_, _ = table.Remove(handles[1], file)
	insert(t, table, file)
}

func TestManySegments(t *testing.T) {
	table := newTable(0)
	seen := map[int32]*thing{}
	for range 5000 {
		h, th := insert(t, table, file)
		if seen[h] != nil {
			t.Fatalf("handle %#x given out twice", h)
		}
		seen[h] = th
	}
	for h, th := range seen {
		if got, ok := table.Pin(h, file); !ok || got != th {
			t.Fatalf("handle %#x stands for something else", h)
		}
		table.Unpin(h)
	}
}

func TestDrain(t *testing.T) {
	failure := errors.New("release failed")
	released := 0
	table := handle.New(0, func(n int) error {
		released++
		if n == 2 {
			return failure
		}
		return nil
	})
	var handles []int32
	for n := range 5 {
		h, _ := table.Insert(handle.Kind(n%2+1), n)
		handles = append(handles, h)
	}
	table.Pin(handles[0], file)
	_, _ = table.Remove(handles[4], file)
	n, err := table.Drain()
	if n != 4 || !errors.Is(err, failure) {
		t.Errorf("Drain = %d, %v, want 4 and the error of the release", n, err)
	}
	if table.Open() != 0 || released != 4 {
		t.Errorf("%d open, %d released, want 0 and all but the one in use", table.Open(), released)
	}
	table.Unpin(handles[0])
	if released != 5 {
		t.Error("the value in use was not released by its user")
	}
}

// TestStress opens, uses and closes the same few handles from many goroutines: each value must be released exactly once, and never while in
// use (newTable panics then).
func TestStress(t *testing.T) {
	const workers, rounds, shared = 8, 20000, 4
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	table := newTable(0)
	var handles [shared]atomic.Int32
	var made sync.Map
	insertShared := func() int32 {
		th := &thing{}
		h, err := table.Insert(file, th)
		if err != nil {
			t.Error(err)
		}
		made.Store(th, true)
		return h
	}
	for i := range handles {
		handles[i].Store(insertShared())
	}
	var group sync.WaitGroup
	for w := range workers {
		rng := rand.New(rand.NewPCG(seed, uint64(w)))
		group.Go(func() {
			for range rounds {
				place := &handles[rng.IntN(shared)]
				h := place.Load()
				if rng.IntN(10) == 0 {
					if ok, _ := table.Remove(h, file); ok {
						place.Store(insertShared())
					}
					continue
				}
				th, ok := table.Pin(h, file)
				if !ok {
					continue
				}
				th.users.Add(1)
				if th.released.Load() != 0 {
					t.Error("a pinned value is released")
				}
				th.users.Add(-1)
				table.Unpin(h)
			}
		})
	}
	group.Wait()
	if n, err := table.Drain(); n != shared || err != nil {
		t.Errorf("Drain = %d, %v, want %d", n, err, shared)
	}
	made.Range(func(key, _ any) bool {
		if n := key.(*thing).released.Load(); n != 1 {
			t.Errorf("a value was released %d times", n)
		}
		return true
	})
}

func TestPinAllocatesNothing(t *testing.T) {
	table := newTable(0)
	h, _ := insert(t, table, file)
	if n := testing.AllocsPerRun(1000, func() {
		table.Pin(h, file)
		table.Unpin(h)
	}); n != 0 {
		t.Errorf("%v allocations a pin", n)
	}
}

func BenchmarkPin(b *testing.B) {
	table := newTable(0)
	h, _ := table.Insert(file, &thing{})
	b.ReportAllocs()
	for b.Loop() {
		table.Pin(h, file)
		table.Unpin(h)
	}
}
