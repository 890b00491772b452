package shm_test

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/benchfs/benchfs/internal/shm"
)

// Pins are counted by process, bounded, and gone with their process.
func TestPins(t *testing.T) {
	dir := t.TempDir()
	var dead atomic.Bool
	b := board(t, dir, func(uint32, uint64) bool { return !dead.Load() })
	v, other := attach(t, dir), attach(t, dir)
	if b.Pinned(7) {
		t.Fatal("pinned by nobody")
	}
	first, ok := v.Pin(7)
	second, ok2 := v.Pin(7)
	third, ok3 := other.Pin(7)
	if !ok || !ok2 || !ok3 || !b.Pinned(7) || b.Pinned(8) || b.Pinned(7+1<<20) {
		t.Fatal("three pins, and they show wrong")
	}
	first.Drop()
	third.Drop()
	if !b.Pinned(7) {
		t.Error("one of three is left, and does not show")
	}
	second.Drop()
	if b.Pinned(7) || first == (shm.Pin{}) || (shm.Pin{}).Held() {
		t.Error("all were dropped")
	}
	var pins []shm.Pin
	for fact := uint64(1); ; fact += 1 << 10 { // all in one line
		pin, ok := v.Pin(fact)
		if !ok {
			break
		}
		if pins = append(pins, pin); len(pins) > 100 {
			t.Fatal("there is no end of room")
		}
	}
	if _, ok := v.Pin(2); !ok || len(pins) < 4 {
		t.Errorf("%d pins in a line, and the next has room: %v", len(pins), ok)
	}
	dead.Store(true)
	b.Reap()
	if b.Pinned(1) || b.Pinned(2) {
		t.Error("pins of processes that have ended")
	}
}

// Who pins and then looks, and who voids and then looks for pins: one of the two sees the other.
func TestPinOrVoid(t *testing.T) {
	dir := t.TempDir()
	b := board(t, dir, everybodyRuns)
	const fact, rounds = 9, 20_000
	words := [shm.RecordWords]uint64{fact}
	views := []*shm.View{attach(t, dir), attach(t, dir)}
	for range rounds {
		b.PutRecord(fact, &words)
		var ready, done sync.WaitGroup
		var open [2]shm.Pin
		var begin atomic.Bool
		for i, v := range views {
			ready.Add(1)
			done.Add(1)
			go func() {
				defer done.Done()
				ready.Done()
				for !begin.Load() {
					runtime.Gosched()
				}
				pin, _ := v.Pin(fact)
				var got [shm.RecordWords]uint64
				if v.Record(fact, &got) && got[0] == fact {
					open[i] = pin
				} else {
					pin.Drop()
				}
			}()
		}
		ready.Wait()
		begin.Store(true)
		b.VoidRecord(fact, fact)
		pinned := b.Pinned(fact)
		done.Wait()
		for _, pin := range open {
			if pin.Held() && !pinned {
				t.Fatal("a pin that counts was not seen")
			}
			pin.Drop()
		}
	}
}
