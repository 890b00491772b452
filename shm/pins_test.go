package shm_test

import (
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/benchfs/benchfs/shm"
	"github.com/benchfs/benchfs/shm/shmtest"
)

// Pins are counted by client and bounded.
func TestPins(t *testing.T) {
	dir := t.TempDir()
	b := board(t, dir)
	v, other := shmtest.Attach(t, b, incarnation, 1), shmtest.Attach(t, b, incarnation, 2)
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
	last, ok := v.Pin(2)
	if !ok || len(pins) < 4 {
		t.Errorf("%d pins in a line, and the next has room: %v", len(pins), ok)
	}
	b.Leave(1)
	b.Reap()
	if !b.Pinned(1) {
		t.Error("a client that has left pins a fact still, and its area is gone")
	}
	for _, pin := range append(pins, last) {
		pin.Drop()
	}
	b.Reap()
	if b.Pinned(1) || b.Pinned(2) {
		t.Error("pinned by nobody")
	}
}

// Who pins and then looks, and who voids and then looks for pins: one of the two sees the other.
func TestPinOrVoid(t *testing.T) {
	dir := t.TempDir()
	b := board(t, dir)
	const fact, rounds = 9, 30_000
	words := [shm.RecordWords]uint64{fact}
	v := shmtest.Attach(t, b, incarnation, 1)
	var round, answered atomic.Uint64
	var open shm.Pin // of the round that was answered
	await := func(n *atomic.Uint64, value uint64) {
		for tries := 0; n.Load() != value; tries++ {
			if tries%1000 == 999 { // there may be one core only
				runtime.Gosched()
			}
		}
	}
	dawdle := func(rng *rand.Rand) {
		for n := rng.IntN(100); n > 0; n-- {
			_ = round.Load()
		}
	}
	go func() {
		rng := rand.New(rand.NewPCG(1, 1))
		for i := uint64(1); i <= rounds; i++ {
			await(&round, i)
			dawdle(rng)
			pin, _ := v.Pin(fact)
			var got [shm.RecordWords]uint64
			if !v.Record(fact, &got) || got[0] != fact {
				pin.Drop()
				pin = shm.Pin{}
			}
			open = pin
			answered.Store(i)
		}
	}()
	rng, held, missed := rand.New(rand.NewPCG(2, 2)), 0, 0
	for i := uint64(1); i <= rounds; i++ {
		b.PutRecord(fact, &words)
		round.Store(i)
		dawdle(rng)
		b.VoidRecord(fact, fact)
		pinned := b.Pinned(fact)
		await(&answered, i)
		if open.Held() {
			held++
			if !pinned {
				missed++
			}
			open.Drop()
		}
	}
	t.Logf("%d of %d pins counted", held, rounds)
	if missed > 0 {
		t.Errorf("%d pins that count were not seen", missed)
	}
}
