package shm_test

import (
	"sync"
	"testing"

	"github.com/benchfs/benchfs/shm"
	"github.com/benchfs/benchfs/shm/shmtest"
)

// TestRecords: what a reader believes was never half written, and nothing is believed that is void or another daemon's.
func TestRecords(t *testing.T) {
	dir := t.TempDir()
	b := board(t, dir)
	v := shmtest.Attach(t, b, incarnation, 1)
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
