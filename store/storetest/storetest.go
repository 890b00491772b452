// Package storetest holds the cases that every store must pass, and a model to compare a store with.
package storetest

import (
	"bytes"
	"errors"
	"syscall"
	"testing"

	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/store"
)

// Open makes an empty store with room for so many bytes; the test closes it.
type Open func(t testing.TB, capacityBytes int64) store.Store

const (
	chunkBits  = 16
	chunkBytes = 1 << chunkBits
	roomy      = 64 << 20
)

// Run runs all cases.
func Run(t *testing.T, open Open) {
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			s := open(t, roomy)
			test(t, s)
			if err := s.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
	t.Run("full", func(t *testing.T) { testFull(t, open) })
	t.Run("allocations", func(t *testing.T) { testAllocations(t, open) })
	t.Run("model", func(t *testing.T) { testModel(t, open) })
}

var cases = map[string]func(t *testing.T, s store.Store){
	"reads what was written":      testReadBack,
	"absent is empty":             testAbsent,
	"gaps are zeros":              testGaps,
	"uncommitted is not seen":     testUncommitted,
	"abort in a fresh extent":     testAbortFresh,
	"out of order commits":        testOutOfOrder,
	"dirty write in a gap":        testDirtyInGap,
	"commit after the chunk grew": testCommitAfterGrowth,
	"truncate":                    testTruncate,
	"truncate across a write":     testTruncateAcrossWrite,
	"truncate across a view":      testTruncateAcrossView,
	"late truncate":               testLateTruncate,
	"generations":                 testGenerations,
	"purge":                       testPurge,
	"purge while pinned":          testPurgePinned,
	"reserve":                     testReserve,
	"small files are small":       testSmall,
	"reuse does not leak":         testReuse,
	"ended references":            testEndedReferences,
	"bad arguments":               testBadArguments,
	"close while pinned":          testClosePinned,
	"sync":                        testSync,
}

// Fill writes n bytes of the value b, and fails the test if that fails.
func Fill(t testing.TB, s store.Store, ino, chunk uint64, off uint32, n int, gen uint32, b byte) {
	t.Helper()
	if err := Put(s, ino, chunk, off, bytes.Repeat([]byte{b}, n), gen); err != nil {
		t.Fatalf("write %d bytes at %d of chunk %d: %v", n, off, chunk, err)
	}
}

// Put writes data into a 64 KiB chunk.
func Put(s store.Store, ino, chunk uint64, off uint32, data []byte, gen uint32) error {
	w, err := s.Begin(ino, chunk, off, uint32(len(data)), gen, chunkBits)
	if err != nil {
		return err
	}
	copy(w.Data, data)
	return s.Commit(w)
}

// Get reads what is present of a whole chunk.
func Get(t testing.TB, s store.Store, ino, chunk uint64, gen uint32) []byte {
	t.Helper()
	v, err := s.View(ino, chunk, 0, 1<<26, gen)
	if err != nil {
		t.Fatalf("view of %d/%d: %v", ino, chunk, err)
	}
	defer s.Release(v)
	return bytes.Clone(v.Data)
}

func begin(t testing.TB, s store.Store, ino, chunk uint64, off, n, gen uint32) store.Write {
	t.Helper()
	w, err := s.Begin(ino, chunk, off, n, gen, chunkBits)
	if err != nil {
		t.Fatal(err)
	}
	if len(w.Data) != int(n) {
		t.Fatalf("room of %d bytes, asked for %d", len(w.Data), n)
	}
	return w
}

func fill(w store.Write, b byte) {
	for i := range w.Data {
		w.Data[i] = b
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantRuns compares with runs of equal bytes, given as count, value, count, value, …
func wantRuns(t testing.TB, got []byte, want ...any) {
	t.Helper()
	var expected []byte
	for i := 0; i < len(want); i += 2 {
		expected = append(expected, bytes.Repeat([]byte{byte(want[i+1].(int))}, want[i].(int))...)
	}
	if bytes.Equal(got, expected) {
		return
	}
	for i := range min(len(got), len(expected)) {
		if got[i] != expected[i] {
			t.Fatalf("byte %d is %#x, want %#x (%d bytes, want %d)", i, got[i], expected[i], len(got), len(expected))
		}
	}
	t.Fatalf("%d bytes, want %d", len(got), len(expected))
}

func testReadBack(t *testing.T, s store.Store) {
	Fill(t, s, 1, 0, 0, 100, 0, 1)
	Fill(t, s, 1, 7, 0, chunkBytes, 0, 2)
	Fill(t, s, 1, 0, 50, 100, 0, 3)
	Fill(t, s, 2, 1<<40, 0, 5, 9, 4)
	wantRuns(t, Get(t, s, 1, 0, 0), 50, 1, 100, 3)
	wantRuns(t, Get(t, s, 1, 7, 0), chunkBytes, 2)
	wantRuns(t, Get(t, s, 2, 1<<40, 9), 5, 4)
	v, err := s.View(1, 0, 40, 20, 0)
	must(t, err)
	wantRuns(t, v.Data, 10, 1, 10, 3)
	s.Release(v)
	if u := s.Usage(); u.Files != 2 || u.Chunks != 3 || u.CapacityBytes != roomy {
		t.Errorf("usage %+v", u)
	}
}

func testAbsent(t *testing.T, s store.Store) {
	for _, c := range []struct{ ino, chunk uint64 }{{1, 0}, {2, 0}, {1, 1}} {
		v, err := s.View(c.ino, c.chunk, 0, 10, 0)
		if err != nil || len(v.Data) != 0 {
			t.Errorf("view of %v: %d bytes, %v", c, len(v.Data), err)
		}
		s.Release(v)
		if c.ino == 1 && c.chunk == 0 {
			Fill(t, s, 2, 3, 0, 10, 0, 1)
			Fill(t, s, 1, 0, 0, 10, 0, 1)
		}
	}
	v, err := s.View(1, 0, 10, 1, 0)
	if err != nil || len(v.Data) != 0 {
		t.Errorf("view at the end of what is present: %d bytes, %v", len(v.Data), err)
	}
}

func testGaps(t *testing.T, s store.Store) {
	Fill(t, s, 9, 0, 0, chunkBytes, 0, 0xee) // soils an extent that is reused below
	must(t, s.Purge(9))
	Fill(t, s, 1, 0, 1000, 10, 0, 1)
	wantRuns(t, Get(t, s, 1, 0, 0), 1000, 0, 10, 1)
	Fill(t, s, 1, 0, 30_000, 10, 0, 2)
	wantRuns(t, Get(t, s, 1, 0, 0), 1000, 0, 10, 1, 30_000-1010, 0, 10, 2)
}

func testUncommitted(t *testing.T, s store.Store) {
	w := begin(t, s, 1, 0, 0, 10, 0)
	fill(w, 1)
	wantRuns(t, Get(t, s, 1, 0, 0))
	s.Abort(w)
	if u := s.Usage(); u.UsedBytes != 0 || u.Chunks != 0 || u.Files != 0 {
		t.Errorf("after an abort of the first write: %+v", u)
	}
	Fill(t, s, 1, 0, 0, 10, 0, 2)
	w = begin(t, s, 1, 0, 10, 40_000, 0)
	fill(w, 3)
	s.Abort(w)
	wantRuns(t, Get(t, s, 1, 0, 0), 10, 2)
	if u := s.Usage(); u.UsedBytes != 4096 {
		t.Errorf("an abort left %d bytes in use", u.UsedBytes)
	}
	Fill(t, s, 1, 0, 1000, 1, 0, 4)
	wantRuns(t, Get(t, s, 1, 0, 0), 10, 2, 990, 0, 1, 4)
}

// What an aborted Write left in room that was zeros before is not zeros any more.
func testAbortFresh(t *testing.T, s store.Store) {
	must(t, s.Reserve(1, 0, chunkBytes, 0, chunkBits))
	w := begin(t, s, 1, 0, 100, 100, 0)
	fill(w, 0xee)
	s.Abort(w)
	Fill(t, s, 1, 0, 300, 10, 0, 1)
	wantRuns(t, Get(t, s, 1, 0, 0), 300, 0, 10, 1)
}

func testOutOfOrder(t *testing.T, s store.Store) {
	a, b, c := begin(t, s, 1, 0, 0, 100, 0), begin(t, s, 1, 0, 100, 100, 0), begin(t, s, 1, 0, 300, 100, 0)
	fill(a, 1)
	fill(b, 2)
	fill(c, 3)
	must(t, s.Commit(c))
	got := Get(t, s, 1, 0, 0)
	wantRuns(t, got[200:], 100, 0, 100, 3)
	must(t, s.Commit(a))
	must(t, s.Commit(b))
	wantRuns(t, Get(t, s, 1, 0, 0), 100, 1, 100, 2, 100, 0, 100, 3)
}

// A Write that stands in the gap of another's Commit must neither be wiped by it nor show what its room held before.
func testDirtyInGap(t *testing.T, s store.Store) {
	Fill(t, s, 9, 0, 0, chunkBytes, 0, 0xee)
	must(t, s.Purge(9))
	a := begin(t, s, 1, 0, 0, 1000, 0) // alone, and in a soiled extent: not zeroed
	b := begin(t, s, 1, 0, 2000, 1000, 0)
	fill(store.Write{Data: a.Data[:500]}, 1)
	fill(b, 2)
	must(t, s.Commit(b))
	for i, got := range Get(t, s, 1, 0, 0)[:2000] {
		if got != 0 && got != 1 {
			t.Fatalf("byte %d is %#x: what the extent held before", i, got)
		}
	}
	fill(a, 1)
	must(t, s.Commit(a))
	wantRuns(t, Get(t, s, 1, 0, 0), 1000, 1, 1000, 0, 1000, 2)
}

func testCommitAfterGrowth(t *testing.T, s store.Store) {
	Fill(t, s, 1, 0, 0, 4000, 0, 1)
	w := begin(t, s, 1, 0, 100, 100, 0)
	Fill(t, s, 1, 0, 4000, 50_000, 0, 2)
	fill(w, 3)
	must(t, s.Commit(w))
	wantRuns(t, Get(t, s, 1, 0, 0), 100, 1, 100, 3, 3800, 1, 50_000, 2)
}

func testTruncate(t *testing.T, s store.Store) {
	for chunk := range uint64(4) {
		Fill(t, s, 1, chunk, 0, chunkBytes, 0, 1)
	}
	must(t, s.Truncate(1, 1, chunkBytes+5000, chunkBits))
	wantRuns(t, Get(t, s, 1, 0, 1), chunkBytes, 1)
	wantRuns(t, Get(t, s, 1, 1, 1), 5000, 1)
	wantRuns(t, Get(t, s, 1, 2, 1))
	if u := s.Usage(); u.UsedBytes != chunkBytes+8192 || u.Chunks != 2 {
		t.Errorf("after the truncate: %+v", u)
	}
	Fill(t, s, 1, 1, 6000, 10, 1, 2) // what was cut must not come back
	wantRuns(t, Get(t, s, 1, 1, 1), 5000, 1, 1000, 0, 10, 2)
	must(t, s.Truncate(1, 2, chunkBytes, chunkBits))
	wantRuns(t, Get(t, s, 1, 1, 2))
	must(t, s.Truncate(1, 3, 0, chunkBits))
	if u := s.Usage(); u.UsedBytes != 0 {
		t.Errorf("after the truncate to nothing: %+v", u)
	}
}

func testTruncateAcrossWrite(t *testing.T, s store.Store) {
	Fill(t, s, 1, 0, 0, 1000, 0, 1)
	w := begin(t, s, 1, 0, 500, 1000, 0)
	whole := begin(t, s, 1, 1, 0, 1000, 0)
	must(t, s.Truncate(1, 1, 700, chunkBits))
	fill(w, 2)
	fill(whole, 2)
	for _, w := range []store.Write{w, whole} {
		if err := s.Commit(w); !errors.Is(err, fserr.ErrStaleGeneration) {
			t.Errorf("commit across a truncate: %v", err)
		}
	}
	got := Get(t, s, 1, 0, 1)
	if len(got) != 700 {
		t.Fatalf("%d bytes are present", len(got))
	}
	Fill(t, s, 1, 0, 2000, 10, 1, 3)
	wantRuns(t, Get(t, s, 1, 0, 1)[700:], 1300, 0, 10, 3)
	wantRuns(t, Get(t, s, 1, 1, 1))
}

func testTruncateAcrossView(t *testing.T, s store.Store) {
	Fill(t, s, 1, 0, 0, chunkBytes, 0, 1)
	v, err := s.View(1, 0, 0, chunkBytes, 0)
	must(t, err)
	must(t, s.Truncate(1, 1, 10, chunkBits))
	for ino := uint64(2); ino < 20; ino++ {
		Fill(t, s, ino, 0, 0, chunkBytes, 0, 2)
	}
	wantRuns(t, v.Data, chunkBytes, 1)
	s.Release(v)
	wantRuns(t, Get(t, s, 1, 0, 1), 10, 1)
}

func testLateTruncate(t *testing.T, s store.Store) {
	Fill(t, s, 1, 0, 0, 1000, 0, 1)
	must(t, s.Truncate(1, 2, 500, chunkBits))
	Fill(t, s, 1, 0, 0, 1000, 2, 2)
	must(t, s.Truncate(1, 1, 0, chunkBits))
	must(t, s.Truncate(1, 2, 500, chunkBits)) // the network delivered it twice
	wantRuns(t, Get(t, s, 1, 0, 2), 1000, 2)
}

func testGenerations(t *testing.T, s store.Store) {
	stale := func(gen uint32) {
		t.Helper()
		_, viewErr := s.View(1, 0, 0, 10, gen)
		_, beginErr := s.Begin(1, 0, 0, 10, gen, chunkBits)
		for _, err := range []error{viewErr, beginErr, s.Reserve(1, 0, 10, gen, chunkBits)} {
			if !errors.Is(err, fserr.ErrStaleGeneration) {
				t.Errorf("generation %d: %v", gen, err)
			}
		}
	}
	Fill(t, s, 1, 0, 0, 10, 5, 1) // first contact sets it
	stale(4)
	stale(6)
	wantRuns(t, Get(t, s, 1, 0, 5), 10, 1)
	must(t, s.Truncate(1, 6, 10, chunkBits))
	stale(5)
	must(t, s.Purge(1))
	must(t, s.Truncate(1, 3, 0, chunkBits)) // told of a file that is not known here
	stale(2)
	Fill(t, s, 1, 0, 0, 10, 3, 1)
}

func testPurge(t *testing.T, s store.Store) {
	for ino := uint64(1); ino <= 50; ino++ {
		for chunk := range ino % 4 {
			Fill(t, s, ino, chunk*1000, 0, int(ino)*997, 0, 1)
		}
	}
	for ino := uint64(1); ino <= 60; ino++ {
		must(t, s.Purge(ino))
	}
	if u := s.Usage(); u.UsedBytes != 0 || u.Files != 0 || u.Chunks != 0 {
		t.Errorf("after the purge of everything: %+v", u)
	}
}

func testPurgePinned(t *testing.T, s store.Store) {
	Fill(t, s, 1, 0, 0, chunkBytes, 0, 1)
	v, err := s.View(1, 0, 0, chunkBytes, 0)
	must(t, err)
	w := begin(t, s, 1, 1, 0, 100, 0)
	must(t, s.Purge(1))
	for ino := uint64(2); ino < 20; ino++ {
		Fill(t, s, ino, 0, 0, chunkBytes, 0, 2)
	}
	wantRuns(t, v.Data, chunkBytes, 1)
	fill(w, 3)
	Fill(t, s, 1, 1, 0, 50, 0, 4) // born again
	if err := s.Commit(w); !errors.Is(err, fserr.ErrStaleGeneration) {
		t.Errorf("commit after a purge: %v", err)
	}
	s.Release(v)
	wantRuns(t, Get(t, s, 1, 1, 0), 50, 4)
	for ino := uint64(1); ino < 20; ino++ {
		must(t, s.Purge(ino))
	}
	if u := s.Usage(); u.UsedBytes != 0 {
		t.Errorf("after the last pin went: %+v", u)
	}
}

func testReserve(t *testing.T, s store.Store) {
	must(t, s.Reserve(1, 0, chunkBytes, 0, chunkBits))
	if u := s.Usage(); u.UsedBytes != chunkBytes {
		t.Errorf("reserved %d bytes", u.UsedBytes)
	}
	wantRuns(t, Get(t, s, 1, 0, 0))
	w := begin(t, s, 1, 0, 0, 10, 0)
	s.Abort(w)
	Fill(t, s, 1, 0, 10, 10, 0, 1)
	wantRuns(t, Get(t, s, 1, 0, 0), 10, 0, 10, 1)
	if u := s.Usage(); u.UsedBytes != chunkBytes {
		t.Errorf("%d bytes are still reserved", u.UsedBytes)
	}
}

func testSmall(t *testing.T, s store.Store) {
	for ino := uint64(1); ino <= 100; ino++ {
		Fill(t, s, ino, 0, 0, 1, 0, 1)
	}
	if u := s.Usage(); u.UsedBytes != 100*4096 {
		t.Errorf("100 files of one byte take %d bytes", u.UsedBytes)
	}
}

func testReuse(t *testing.T, s store.Store) {
	for round := range 8 {
		for ino := uint64(1); ino <= roomy/chunkBytes; ino++ {
			Fill(t, s, ino, 0, 0, chunkBytes, uint32(round), 0xee)
			must(t, s.Purge(ino))
		}
	}
	for ino := uint64(1); ino <= 100; ino++ {
		Fill(t, s, ino, 0, uint32(ino)*100, 1, 0, 1)
		wantRuns(t, Get(t, s, ino, 0, 0), int(ino)*100, 0, 1, 1)
	}
}

func testEndedReferences(t *testing.T, s store.Store) {
	Fill(t, s, 1, 0, 0, 10, 0, 1)
	v, err := s.View(1, 0, 0, 10, 0)
	must(t, err)
	s.Release(v)
	s.Release(v)
	s.Release(store.View{})
	other, err := s.View(1, 0, 0, 10, 0) // reuses the slot
	must(t, err)
	s.Release(v)
	must(t, s.Purge(1))
	Fill(t, s, 2, 0, 0, 10, 0, 2)
	wantRuns(t, other.Data, 10, 1)
	s.Release(other)
	w := begin(t, s, 2, 0, 0, 10, 0)
	must(t, s.Commit(w))
	s.Abort(w)
	for _, w := range []store.Write{w, {}} {
		if err := s.Commit(w); fserr.Errno(err) != syscall.EINVAL {
			t.Errorf("commit of a write that has ended: %v", err)
		}
	}
}

func testBadArguments(t *testing.T, s store.Store) {
	for _, c := range []struct {
		off, n uint32
		bits   uint8
	}{{0, 0, chunkBits}, {0, chunkBytes + 1, chunkBits}, {1, chunkBytes, chunkBits}, {1 << 31, 1 << 31, chunkBits}, {0, 1, 0}, {0, 1, 40}, {0xffffffff, 2, chunkBits}} {
		if _, err := s.Begin(1, 0, c.off, c.n, 0, c.bits); fserr.Errno(err) != syscall.EINVAL {
			t.Errorf("begin %+v: %v", c, err)
		}
		if c.off != 0 {
			continue
		}
		if err := s.Reserve(1, 0, c.n, 0, c.bits); fserr.Errno(err) != syscall.EINVAL {
			t.Errorf("reserve %+v: %v", c, err)
		}
	}
	if err := s.Truncate(1, 1, 0, 200); fserr.Errno(err) != syscall.EINVAL {
		t.Errorf("truncate: %v", err)
	}
	if u := s.Usage(); u.Files != 0 || u.UsedBytes != 0 {
		t.Errorf("refused calls left %+v", u)
	}
	v, err := s.View(1, 0, 0xffffffff, 0xffffffff, 0)
	if err != nil || len(v.Data) != 0 {
		t.Errorf("view: %v", err)
	}
}

func testClosePinned(t *testing.T, s store.Store) {
	Fill(t, s, 1, 0, 0, 10, 0, 1)
	v, err := s.View(1, 0, 0, 10, 0)
	must(t, err)
	if err := s.Close(); fserr.Errno(err) != syscall.EBUSY {
		t.Errorf("close with a view outstanding: %v", err)
	}
	wantRuns(t, v.Data, 10, 1)
	s.Release(v)
	must(t, s.Close())
	if _, err := s.View(1, 0, 0, 10, 0); fserr.Errno(err) != syscall.EBADF {
		t.Errorf("view of a closed store: %v", err)
	}
	if _, err := s.Begin(1, 0, 0, 10, 0, chunkBits); fserr.Errno(err) != syscall.EBADF {
		t.Errorf("begin in a closed store: %v", err)
	}
}

func testSync(t *testing.T, s store.Store) {
	done := make(chan error, 100)
	for i := range uint64(50) {
		Fill(t, s, i%5+1, i, 0, 5000, 0, 1)
		one, all := s.Sync(i%5+1), s.Sync(0)
		go func() { done <- errors.Join(one(), all()) }()
		if i%9 == 8 {
			must(t, s.Purge(i%5+1))
		}
	}
	for range 50 {
		must(t, <-done)
	}
	must(t, s.Sync(12345)())
}

// testFull fills a store to the last extent: ENOSPC changes nothing, and what is freed can be used again.
func testFull(t *testing.T, open Open) {
	const capacity = 1 << 20
	s := open(t, capacity)
	ino := uint64(1)
	var err error
	for ; err == nil; ino++ {
		err = Put(s, ino, 0, 0, bytes.Repeat([]byte{byte(ino)}, 20_000), 0)
	}
	if fserr.Errno(err) != syscall.ENOSPC {
		t.Fatal(err)
	}
	last := ino - 2
	before := s.Usage()
	if err := Put(s, 1, 0, 20_000, make([]byte, 30_000), 0); fserr.Errno(err) != syscall.ENOSPC {
		t.Fatalf("growing in a full store: %v", err)
	}
	if err := s.Reserve(last+5, 0, chunkBytes, 0, chunkBits); fserr.Errno(err) != syscall.ENOSPC {
		t.Fatalf("reserving in a full store: %v", err)
	}
	if s.Usage() != before {
		t.Errorf("refused writes changed the usage from %+v to %+v", before, s.Usage())
	}
	for i := uint64(1); i <= last; i++ {
		wantRuns(t, Get(t, s, i, 0, 0), 20_000, int(byte(i)))
	}
	Fill(t, s, 1, 0, 0, 20_000, 0, 0x55) // overwriting needs no space
	must(t, s.Purge(2))
	Fill(t, s, last+1, 0, 0, 20_000, 0, 0x66)
	for i := uint64(1); i <= last+1; i++ {
		must(t, s.Purge(i))
	}
	for i := range uint64(capacity / chunkBytes) { // everything has grown together again
		Fill(t, s, 1000+i, 0, 0, chunkBytes, 0, 1)
	}
	must(t, s.Close())
}

func testAllocations(t *testing.T, open Open) {
	s := open(t, roomy)
	Fill(t, s, 1, 0, 0, 4096, 0, 1)
	allocs := testing.AllocsPerRun(1000, func() {
		v, err := s.View(1, 0, 0, 4096, 0)
		if err != nil {
			t.Error(err)
		}
		s.Release(v)
		w, err := s.Begin(1, 0, 0, 4096, 0, chunkBits)
		if err == nil {
			err = s.Commit(w)
		}
		if err != nil {
			t.Error(err)
		}
		w, err = s.Begin(1, 0, 0, 4096, 0, chunkBits)
		if err != nil {
			t.Error(err)
		}
		s.Abort(w)
	})
	if allocs != 0 {
		t.Errorf("%v allocations per view, write and abort", allocs)
	}
	must(t, s.Close())
}
