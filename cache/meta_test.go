package cache

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
)

func TestEntries(t *testing.T) {
	m := NewMetaCache[int](1000)
	if _, ok := m.Entry(1, "a", 0); ok {
		t.Error("found in an empty cache")
	}
	d, none := Dentry{Ino: 7, Kind: 1, Version: 3}, Dentry{Negative: true, Version: 3}
	if !m.PutEntry(1, "a", d, m.EntryStamp(1, "a")) || !m.PutEntry(1, "b", none, m.EntryStamp(1, "b")) || !m.PutEntry(2, "a", none, m.EntryStamp(2, "a")) {
		t.Error("not remembered")
	}
	check := func(parent uint64, name string, want Dentry, there bool) {
		t.Helper()
		if got, ok := m.Entry(parent, name, 0); ok != there || ok && got != want {
			t.Errorf("%d/%s: %+v, %v", parent, name, got, ok)
		}
	}
	check(1, "a", d, true)
	check(1, "b", none, true)
	m.InvalidateEntry(1, "a")
	check(1, "a", d, false)
	check(1, "b", none, true)
	m.InvalidateDir(1)
	check(1, "b", none, false)
	check(2, "a", none, true)
	m.Clear()
	check(2, "a", none, false)
	if names, attrs := m.Len(); names != 0 || attrs != 0 {
		t.Errorf("%d names, %d attributes after a clear", names, attrs)
	}
}

func TestAttrs(t *testing.T) {
	m := NewMetaCache[string](1000)
	began := m.AttrStamp(1)
	if !m.PutAttr(1, "at five", 5, 0, began) {
		t.Error("not remembered")
	}
	if m.PutAttr(1, "at four", 4, 0, began) {
		t.Error("an answer that was overtaken replaced a newer one")
	}
	if a, version, ok := m.Attr(1, 0); !ok || a != "at five" || version != 5 {
		t.Errorf("%q, %d, %v", a, version, ok)
	}
	if !m.PutAttr(1, "at six", 6, 0, began) {
		t.Error("a newer one was refused")
	}
	m.InvalidateAttr(1)
	if _, _, ok := m.Attr(1, 0); ok {
		t.Error("found after the invalidation")
	}
	if !m.PutAttr(1, "at two", 2, 0, m.AttrStamp(1)) {
		t.Error("refused because of what was invalidated")
	}
}

func TestValidity(t *testing.T) {
	m := NewMetaCache[int](1000)
	m.PutAttr(1, 10, 1, 77, m.AttrStamp(1))
	m.PutEntry(1, "a", Dentry{Ino: 2, Validity: 77}, m.EntryStamp(1, "a"))
	if _, _, ok := m.Attr(1, 78); ok {
		t.Error("attributes of another validity")
	}
	if _, ok := m.Entry(1, "a", 78); ok {
		t.Error("entry of another validity")
	}
	if names, attrs := m.Len(); names+attrs != 0 {
		t.Errorf("%d names and %d attributes were not dropped", names, attrs)
	}
}

// Trap 7: what was asked for before an invalidation is not remembered after it.
func TestAnswerFromBeforeAnInvalidationIsRefused(t *testing.T) {
	for name, invalidate := range map[string]func(m *MetaCache[int]){
		"itself": func(m *MetaCache[int]) { m.InvalidateEntry(1, "a"); m.InvalidateAttr(1) },
		"group":  func(m *MetaCache[int]) { m.InvalidateDir(1); m.InvalidateAttr(1) },
		"all":    func(m *MetaCache[int]) { m.Clear() },
	} {
		m := NewMetaCache[int](1000)
		entry, attr := m.EntryStamp(1, "a"), m.AttrStamp(1)
		invalidate(m)
		if m.PutEntry(1, "a", Dentry{Ino: 2}, entry) || m.PutAttr(1, 5, 1, 0, attr) {
			t.Errorf("%s: an old answer was remembered", name)
		}
	}
}

func TestLimit(t *testing.T) {
	m := NewMetaCache[int](160)
	for i := range uint64(10_000) {
		name := fmt.Sprint(i)
		m.PutEntry(1, name, Dentry{Ino: i}, m.EntryStamp(1, name))
		m.PutAttr(i, int(i), 1, 0, m.AttrStamp(i))
		if d, ok := m.Entry(1, name, 0); !ok || d.Ino != i {
			t.Fatal("what was put last is gone")
		}
	}
	if names, attrs := m.Len(); names > 160 || attrs > 160 || names < 100 {
		t.Errorf("%d names, %d attributes", names, attrs)
	}
}

func TestNilMetaCache(t *testing.T) {
	var m *MetaCache[int]
	m.InvalidateEntry(1, "a")
	m.InvalidateDir(1)
	m.InvalidateAttr(1)
	m.Clear()
	_, entry := m.Entry(1, "a", 0)
	_, _, attr := m.Attr(1, 0)
	if entry || attr || m.PutEntry(1, "a", Dentry{}, m.EntryStamp(1, "a")) || m.PutAttr(1, 1, 1, 0, m.AttrStamp(1)) {
		t.Error("a nil cache has something")
	}
}

func TestMetaLookupAllocatesNothing(t *testing.T) {
	m := NewMetaCache[int](1000)
	m.PutEntry(1, "name", Dentry{Ino: 2}, m.EntryStamp(1, "name"))
	m.PutAttr(1, 5, 1, 0, m.AttrStamp(1))
	if allocs := testing.AllocsPerRun(1000, func() {
		m.Entry(1, "name", 0)
		m.Attr(1, 0)
	}); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

// Readers that refill beside a writer that changes, acknowledges and invalidates: a lookup never answers with less than was acknowledged
// before it began.
func TestMetaReadersBesideAWriter(t *testing.T) {
	m := NewMetaCache[uint64](1000)
	var current, acknowledged atomic.Uint64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				floor := acknowledged.Load()
				got, _, ok := m.Attr(1, 0)
				if !ok {
					began := m.AttrStamp(1)
					got = current.Load()
					m.PutAttr(1, got, got, 0, began)
				}
				d, ok := m.Entry(1, "a", 0)
				if !ok {
					began := m.EntryStamp(1, "a")
					d = Dentry{Ino: current.Load()}
					m.PutEntry(1, "a", d, began)
				}
				if got < floor || d.Ino < floor {
					t.Errorf("read %d and %d after %d was acknowledged", got, d.Ino, floor)
					return
				}
			}
		})
	}
	for count := uint64(1); count <= 20_000; count++ {
		current.Store(count)
		m.InvalidateAttr(1)
		m.InvalidateEntry(1, "a")
		acknowledged.Store(count)
	}
	close(stop)
	wg.Wait()
}

func TestMetaModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	m := NewMetaCache[uint64](64)
	truth, version := make(map[uint64]uint64), uint64(0)
	hits := 0
	for range 50_000 {
		ino := rnd.Uint64N(100)
		name := fmt.Sprint(ino)
		if rnd.IntN(10) == 0 {
			version++
			truth[ino] = version
			m.InvalidateAttr(ino)
			if rnd.IntN(2) == 0 {
				m.InvalidateEntry(9, name)
			} else {
				m.InvalidateDir(9)
			}
			continue
		}
		if got, _, ok := m.Attr(ino, 0); !ok {
			m.PutAttr(ino, truth[ino], truth[ino], 0, m.AttrStamp(ino))
		} else if hits++; got != truth[ino] {
			t.Fatalf("attributes of %d: %d, want %d", ino, got, truth[ino])
		}
		if got, ok := m.Entry(9, name, 0); !ok {
			m.PutEntry(9, name, Dentry{Ino: truth[ino]}, m.EntryStamp(9, name))
		} else if hits++; got.Ino != truth[ino] {
			t.Fatalf("entry %s: %d, want %d", name, got.Ino, truth[ino])
		}
	}
	if hits < 1000 {
		t.Errorf("%d hits: the test lacks its point", hits)
	}
}

func TestSequence(t *testing.T) {
	var s Sequence
	var ahead []uint64
	pos := uint64(0)
	for range 40 {
		ahead = append(ahead, s.Next(pos, 64<<10, 1<<20)>>10)
		pos += 64 << 10
	}
	want := []uint64{0, 128, 0, 0, 256, 0, 0, 0, 0, 512}
	if fmt.Sprint(ahead[:10]) != fmt.Sprint(want) {
		t.Errorf("windows %v, want %v", ahead[:10], want)
	}
	for _, window := range ahead {
		if window > 1024 {
			t.Errorf("window of %d KiB is beyond the limit", window)
		}
	}
	for range 20 { // a reader that jumps gets nothing
		pos = pos*7919%(1<<40) + 1
		if got := s.Next(pos, 4096, 1<<20); got != 0 {
			t.Errorf("%d bytes ahead for a jump", got)
		}
	}
	if s.Next(1<<64-10, 100, 1<<20) != 0 || s.Next(90, 10, 0) != 0 {
		t.Error("ahead at the end of all numbers, or beyond the limit")
	}
	var off *Sequence
	if off.Next(0, 1, 1) != 0 {
		t.Error("nil sequence")
	}
}
