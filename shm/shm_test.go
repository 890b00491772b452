package shm_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/benchfs/benchfs/shm"
)

const incarnation = 77

func everybodyRuns(uint32, uint64) bool { return true }

func board(t *testing.T, dir string, runs func(uint32, uint64) bool) *shm.Board {
	t.Helper()
	b, err := shm.Create(dir, incarnation, runs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func attach(t *testing.T, dir string) *shm.View {
	t.Helper()
	v, err := shm.Attach(dir, incarnation, uint32(os.Getpid()), 1)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestASlotHoldsUntilItIsDropped(t *testing.T) {
	dir := t.TempDir()
	b := board(t, dir, everybodyRuns)
	v := attach(t, dir)
	slot, serial, ok := b.Take(100)
	if !ok {
		t.Fatal("no slot")
	}
	if present, ok := v.Present(slot, serial); !ok || present != 100 {
		t.Errorf("present %d, %v", present, ok)
	}
	b.Set(slot, 4096)
	if present, ok := v.Present(slot, serial); !ok || present != 4096 || b.Serial(slot) != serial {
		t.Errorf("present %d, %v after Set", present, ok)
	}
	b.Drop(slot)
	if _, ok := v.Present(slot, serial); ok {
		t.Error("holds after Drop")
	}
	for { // the slot comes again once all others have had their turn
		again, other, ok := b.Take(7)
		if !ok || again == slot && other == serial {
			t.Fatalf("slot %d serial %d after slot %d serial %d, %v", again, other, slot, serial, ok)
		}
		if again == slot {
			break
		}
	}
	if _, _, ok := b.Take(7); ok {
		t.Error("more slots than there are")
	}
	if _, ok := v.Present(1<<30, 1); ok {
		t.Error("a slot that does not exist")
	}
	if err := v.Close(); err != nil {
		t.Error(err)
	}
}

func TestQuietWaitsForThoseInside(t *testing.T) {
	dir := t.TempDir()
	var dead atomic.Bool
	b := board(t, dir, func(uint32, uint64) bool { return !dead.Load() })
	v := attach(t, dir)
	use, ok := v.Enter()
	if !ok {
		t.Fatal("cannot enter")
	}
	epoch := b.Retire()
	if b.Quiet(epoch) {
		t.Error("quiet while somebody is inside")
	}
	later, _ := v.Enter() // enters after the retirement: does not matter to it
	use.Leave()
	if !b.Quiet(epoch) {
		t.Error("not quiet after Leave")
	}
	if b.Quiet(b.Retire()) {
		t.Error("quiet while the second is inside")
	}
	dead.Store(true)
	if !b.Quiet(b.Retire()) {
		t.Error("waits for a process that has ended")
	}
	later.Leave()
	b.Reap()
	dead.Store(false)
	w := attach(t, dir) // takes cells that were reaped
	if _, ok := w.Enter(); !ok {
		t.Error("no cell after Reap")
	}
}

// A process gives its cells back, and another one takes them, between the shard's looks at who has a cell and whether that one runs.
func TestCellsThatChangeHands(t *testing.T) {
	for name, look := range map[string]func(b *shm.Board, epoch uint64){
		"Quiet": func(b *shm.Board, epoch uint64) { b.Quiet(epoch) },
		"Reap":  func(b *shm.Board, _ uint64) { b.Reap() },
	} {
		for stays := range 4 {
			dir := t.TempDir()
			enter := func(pid uint32) (v *shm.View, uses []shm.Use) {
				v, err := shm.Attach(dir, incarnation, pid, 1)
				if err != nil {
					t.Fatal(err)
				}
				for range 4 { // all the cells that it has
					use, ok := v.Enter()
					if !ok {
						t.Fatal("cannot enter")
					}
					uses = append(uses, use)
				}
				return v, uses
			}
			change := func() {}
			b := board(t, dir, func(pid uint32, _ uint64) bool {
				if pid == 1 {
					change()
				}
				return pid != 1
			})
			first, uses := enter(1)
			var second *shm.View
			change = func() {
				change = func() {}
				for _, use := range uses {
					use.Leave()
				}
				if err := first.Close(); err != nil {
					t.Error(err)
				}
				second, uses = enter(2)
			}
			look(b, b.Retire())
			for i, use := range uses {
				if i != stays {
					use.Leave()
				}
			}
			if b.Quiet(b.Retire()) {
				t.Errorf("%s: thread %d of the second process is inside", name, stays)
			}
			uses[stays].Leave()
			if !b.Quiet(b.Retire()) {
				t.Errorf("%s: nobody is inside", name)
			}
			if err := second.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestANewIncarnationVoidsEverything(t *testing.T) {
	dir := t.TempDir()
	b := board(t, dir, everybodyRuns)
	v := attach(t, dir)
	slot, serial, _ := b.Take(10)
	use, _ := v.Enter()
	next, err := shm.Create(dir, incarnation+1, everybodyRuns)
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	if _, ok := v.Present(slot, serial); ok || v.Valid() {
		t.Error("the old daemon's word still holds")
	}
	if _, err := shm.Attach(dir, incarnation, 1, 1); err == nil {
		t.Error("attached to another incarnation")
	}
	done := make(chan struct{})
	go func() { next.AwaitQuiet(nil); close(done) }()
	select {
	case <-done:
		t.Error("did not wait for who is inside")
	default:
	}
	use.Leave()
	<-done
}

// TestNobodyReadsReusedMemory: a shard recycles places while clients read them. What a client has read counts only if the word holds before and
// after, and then it must be of one life of the place.
func TestNobodyReadsReusedMemory(t *testing.T) {
	dir := t.TempDir()
	b := board(t, dir, everybodyRuns)
	v := attach(t, dir)
	const places, placeBytes, rounds = 8, 256, 5_000
	memory := make([]atomic.Uint64, places*placeBytes/8)
	type place struct{ slot, serial, at uint32 }
	var current atomic.Pointer[place]
	fill := func(at uint32, value uint64) {
		for i := range uint32(placeBytes / 8) {
			memory[at+i].Store(value)
		}
	}
	free := []uint32{}
	for i := range uint32(places) {
		free = append(free, i*placeBytes/8)
	}
	var stop atomic.Bool
	var good, void atomic.Uint64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for !stop.Load() {
				p := current.Load()
				if p == nil {
					continue
				}
				use, ok := v.Enter()
				if !ok {
					t.Error("cannot enter")
					return
				}
				_, before := v.Present(p.slot, p.serial)
				first, same := memory[p.at].Load(), true
				for i := range uint32(placeBytes / 8) {
					same = same && memory[p.at+i].Load() == first
				}
				use.Leave()
				if !before {
					void.Add(1)
					continue
				}
				// Entered before it was dropped: nobody may have written to it since, whether the word still holds or not.
				if !same {
					t.Error("memory was reused under a reader")
					return
				}
				good.Add(1)
			}
		})
	}
	type retired struct {
		at    uint32
		epoch uint64
	}
	var limbo []retired
	var last *place
	for round := uint64(1); round < rounds && !t.Failed(); {
		for len(limbo) > 0 && b.Quiet(limbo[0].epoch) {
			free = append(free, limbo[0].at)
			limbo = limbo[1:]
		}
		if len(free) == 0 {
			continue
		}
		at := free[0]
		free = free[1:]
		fill(at, round)
		slot, serial, _ := b.Take(placeBytes)
		old := last
		last = &place{slot, serial, at}
		current.Store(last)
		if old != nil {
			b.Drop(old.slot)
			limbo = append(limbo, retired{old.at, b.Retire()})
		}
		round++
	}
	stop.Store(true)
	wg.Wait()
	t.Logf("%d reads counted, %d void", good.Load(), void.Load())
}

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
	s := shm.NewSegments(filepath.Join(dir, "s."), bytesOfEach, write, huge, budget)
	t.Cleanup(func() { _ = s.Close() })
	return s, dir
}

// TestMovesByBothWays: whether a block is cold or hot, what was written is read, here and by others.
func TestMovesByBothWays(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	const size = 2 << 20
	for _, huge := range []bool{false, true} {
		s, dir := segments(t, size, true, huge, shm.NewBudget(600<<10))
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
				if err := segment.Write(p, off); err != nil {
					t.Fatal(err)
				}
			} else if err := segment.Read(p, off); err != nil || !bytes.Equal(p, want[number][off:off+n]) {
				t.Fatalf("read %d at %d: %v, or it differs", n, off, err)
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
	segment, err := s.Get(0)
	if err != nil {
		t.Fatal(err)
	}
	if err := segment.Write([]byte("x"), 0); err == nil {
		t.Error("wrote to a segment that was opened for reading")
	}
}

// TestRecords: what a reader believes was never half written, and nothing is believed that is void or another daemon's.
func TestRecords(t *testing.T) {
	dir := t.TempDir()
	b := board(t, dir, func(uint32, uint64) bool { return true })
	v := attach(t, dir)
	const number, newer = 5, 5 + 1<<16
	words := func(fact, n uint64) (w [shm.RecordWords]uint64) {
		for i := range w {
			w[i] = n
		}
		w[0] = fact
		return w
	}
	var got [shm.RecordWords]uint64
	if v.Record(number, &got) && got[0] == number {
		t.Fatal("a record that was never put")
	}
	first := words(number, 0)
	b.PutRecord(number, &first)
	var readers sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		readers.Go(func() {
			for last := uint64(0); ; {
				var got [shm.RecordWords]uint64
				if v.Record(number, &got) {
					for _, w := range got[1:] {
						if w != got[1] || w < last {
							t.Errorf("torn or old: %v after %d", got, last)
							return
						}
					}
					last = got[1]
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for n := range uint64(5_000) {
		w := words(number, n)
		b.PutRecord(number, &w)
	}
	close(stop)
	readers.Wait()
	if !v.Record(number, &got) || got != words(number, 4_999) || !b.ShowsRecord(number, number) {
		t.Errorf("%v", got)
	}
	w := words(newer, 1)
	b.PutRecord(newer, &w) // in the same place
	if v.Record(number, &got) && got[0] == number || b.ShowsRecord(number, number) || !b.ShowsRecord(newer, newer) {
		t.Errorf("%v after another took the record", got)
	}
	b.VoidRecord(number, number)
	if !v.Record(newer, &got) || got[0] != newer {
		t.Error("a record was voided that is another's")
	}
	b.VoidRecord(newer, newer)
	if v.Record(newer, &got) && got[0] == newer {
		t.Error("believed after it was voided")
	}
	b.PutRecord(newer, &w)
	before, ok := v.NameVersion(7)
	b.AdvanceName(7)
	if after, _ := v.NameVersion(7); !ok || after == before {
		t.Errorf("version %d after %d", after, before)
	}
	v.Revoke()
	if v.Record(newer, &got) || v.Valid() {
		t.Error("believed after it was revoked")
	}
	if _, ok := v.NameVersion(7); ok {
		t.Error("a name's version after it was revoked")
	}
}
