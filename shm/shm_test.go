package shm_test

import (
	"bytes"

	"os"

	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/benchfs/benchfs/internal/invariant"

	"github.com/benchfs/benchfs/shm"
	"github.com/benchfs/benchfs/shm/shmtest"
)

func init() { invariant.Enabled = true }

const incarnation = 77

func board(t *testing.T, dir string) *shm.Board {
	t.Helper()
	b, err := shm.Create(dir, incarnation)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// memory is a board with one client of this process, and segment files.
type memory struct {
	*shm.Board
	view     *shm.View
	area     shmtest.Area
	segments *shm.Segments
	dir      string // of the segment files
}

const segmentBytes = 2 << 20

func shared(t *testing.T, huge bool) *memory {
	t.Helper()
	dir := t.TempDir()
	b := board(t, dir)
	m := &memory{Board: b, view: shmtest.Attach(t, b, incarnation, 1), area: shmtest.Open(t, shmtest.AreaOf(t, b, 1))}
	m.segments, m.dir = segments(t, segmentBytes, true, huge, shm.NewBudget(600<<10))
	return m
}

// take gives the pages at an offset of a segment a slot.
func (m *memory) take(t *testing.T, segment uint32, offset uint64, capacity, present uint32) (slot uint32, p shm.Place) {
	t.Helper()
	slot, sequence, ok := m.Take(present)
	if !ok {
		t.Fatal("no slot")
	}
	p, err := m.segments.PlaceAt(slot, sequence, segment, offset, capacity)
	if err != nil {
		t.Fatal(err)
	}
	return slot, p
}

// announced are the pages that a board finds announced.
func announced(b *shm.Board) (pages []uint32) {
	b.Announced(func(page uint32, order uint8) {
		for i := range uint32(1) << order {
			pages = append(pages, page+i)
		}
	})
	return pages
}

func TestAPlaceHoldsUntilItIsDropped(t *testing.T) {
	m := shared(t, false)
	slot, p := m.take(t, 1, 65536, 8192, 100)
	data := bytes.Repeat([]byte("x"), 8192)
	got := make([]byte, 8192)
	if !m.view.Fill(&p, data, 0, false) || m.view.Overwrite(&p, data[:101], 0) || !m.view.Overwrite(&p, data[:50], 50) {
		t.Error("room can be filled, bytes that are present overwritten, and no others")
	}
	if n, ok := m.view.Read(&p, got, 10); !ok || n != 90 || !bytes.Equal(got[:n], data[:n]) {
		t.Errorf("read %d, %v", n, ok)
	}
	if n, ok := m.view.Read(&p, got, 100); !ok || n != 0 {
		t.Errorf("read %d, %v where nothing is present", n, ok)
	}
	if n, ok := m.view.Read(&p, got, 9000); !ok || n != 0 {
		t.Errorf("read %d, %v beyond the place", n, ok)
	}
	if m.view.Fill(&p, data, 1, false) || m.view.Overwrite(&p, data, 1) || m.view.Overwrite(&p, data, 9000) {
		t.Error("wrote beyond the place")
	}
	m.Set(slot, 4096)
	if n, ok := m.view.Read(&p, got, 10); !ok || n != 4086 {
		t.Errorf("read %d, %v after Set", n, ok)
	}
	m.Drop(slot)
	if n, ok := m.view.Read(&p, got, 0); ok || n != 0 || m.view.Overwrite(&p, data[:10], 0) || m.view.Fill(&p, data[:10], 0, true) {
		t.Error("used after Drop")
	}
	if len(announced(m.Board)) != 0 {
		t.Errorf("%v are announced, and nobody is at work", announced(m.Board))
	}
	for _, wrong := range []struct {
		offset uint64
		bytes  uint32
	}{{4096, 8192}, {0, 4095}, {0, 12288}, {segmentBytes, 4096}, {0, 0}} {
		if _, err := m.segments.PlaceAt(slot, 1, 0, wrong.offset, wrong.bytes); err == nil {
			t.Errorf("a place at %d of %d bytes", wrong.offset, wrong.bytes)
		}
	}
	far, err := m.segments.PlaceAt(1<<30, 1, 0, 0, 4096)
	if _, ok := m.view.Read(&far, got, 0); ok || err != nil {
		t.Error("a slot that does not exist", err)
	}
}

// Slots come again in turn, and never with a sequence number that they had before.
func TestSlotsComeAgain(t *testing.T) {
	b := board(t, t.TempDir())
	slot, sequence, _ := b.Take(1)
	b.Drop(slot)
	for {
		again, other, ok := b.Take(7)
		if !ok || again == slot && int32(other-sequence) <= 0 {
			t.Fatalf("slot %d, sequence %d after %d, %v", again, other, sequence, ok)
		}
		if again == slot {
			break
		}
	}
	if _, _, ok := b.Take(7); ok {
		t.Error("more slots than there are")
	}
}

func TestANewIncarnationVoidsEverything(t *testing.T) {
	m := shared(t, false)
	_, p := m.take(t, 0, 0, 4096, 10)
	use := m.area.Announce(t, shmtest.Run(7, 4)) // a thread that is stopped
	dir := filepath.Dir(filepath.Dir(shmtest.AreaOf(t, m.Board, 1)))
	next, err := shm.Create(dir, incarnation+1) // which does not wait for it
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	if _, ok := m.view.Read(&p, make([]byte, 10), 0); ok || m.view.Valid() {
		t.Error("the old daemon's word still holds")
	}
	files, err := next.Files(shmtest.AreaOf(t, next, 1))
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	if _, err := shm.Attach(files, incarnation); err == nil {
		t.Error("attached to another incarnation")
	}
	if got := announced(next); len(got) != 4 || got[0] != 7 {
		t.Errorf("the new one finds pages %v announced, want 7 to 10", got)
	}
	use.Leave()
	if len(announced(next)) != 0 {
		t.Error("announced after Leave")
	}
}

// More threads than announcements are at work: those that find none are told, the others are not disturbed.
func TestAnnouncementsRunOut(t *testing.T) {
	m := shared(t, false)
	_, p := m.take(t, 0, 4096, 4096, 10)
	var uses []shmtest.Use
	for range 128 {
		uses = append(uses, m.area.Announce(t, shmtest.Run(3, 1)))
	}
	if _, ok := m.view.Read(&p, make([]byte, 10), 0); ok {
		t.Error("used a place without an announcement")
	}
	uses[77].Leave()
	if n, ok := m.view.Read(&p, make([]byte, 10), 0); !ok || n != 10 {
		t.Errorf("read %d, %v with a free announcement", n, ok)
	}
	if n := len(announced(m.Board)); n != 127 {
		t.Errorf("%d are announced, want 127", n)
	}
}

// TestNobodyUsesReusedMemory: a shard recycles pages while threads of a client read and write them. What a thread reads through a place that holds is of
// one life of the pages, and what it writes into one of them does not show in the next. The sequence: Drop, look at the announcements, reuse.
func TestNobodyUsesReusedMemory(t *testing.T) {
	m := shared(t, true) // all through the mapping
	const pages, rounds = 6, 4000
	type life struct {
		place shm.Place
		slot  uint32
		page  uint32
		value byte
	}
	raw, err := os.OpenFile(filepath.Join(m.dir, "s.0"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	fill := func(page uint32, value byte) {
		if _, err := raw.WriteAt(bytes.Repeat([]byte{value}, 4096), int64(page)*4096); err != nil {
			t.Error(err)
		}
	}
	var current atomic.Pointer[life]
	var stop atomic.Bool
	var good, void atomic.Uint64
	var wg sync.WaitGroup
	for thread := range 4 {
		wg.Go(func() {
			buf := make([]byte, 4096)
			for !stop.Load() {
				l := current.Load()
				if l == nil {
					continue
				}
				if thread%2 == 0 { // a writer writes what is there
					if m.view.Overwrite(&l.place, bytes.Repeat([]byte{l.value}, 4096), 0) {
						good.Add(1)
					}
					continue
				}
				if _, ok := m.view.Read(&l.place, buf, 0); !ok {
					void.Add(1)
				} else if !bytes.Equal(buf, bytes.Repeat([]byte{l.value}, 4096)) {
					t.Errorf("read %d and %d, want %d", buf[0], buf[4095], l.value)
					return
				} else {
					good.Add(1)
				}
			}
		})
	}
	free, quarantine := []uint32{}, []uint32{}
	for page := range uint32(pages) {
		free = append(free, page)
	}
	var last *life
	for round := 1; round < rounds && !t.Failed(); {
		if len(free) == 0 {
			busy := map[uint32]bool{}
			for _, page := range announced(m.Board) {
				busy[page] = true
			}
			held := quarantine[:0]
			for _, page := range quarantine {
				if busy[page] {
					held = append(held, page)
					continue
				}
				free = append(free, page)
			}
			quarantine = held
			continue
		}
		page := free[0]
		free = free[1:]
		next := &life{page: page, value: byte(round)}
		fill(page, next.value)
		next.slot, next.place = m.take(t, 0, uint64(page)*4096, 4096, 4096)
		current.Store(next)
		if last != nil {
			m.Drop(last.slot)
			quarantine = append(quarantine, last.page)
		}
		last = next
		round++
	}
	stop.Store(true)
	wg.Wait()
	t.Logf("%d uses counted, %d reads were void", good.Load(), void.Load())
}
