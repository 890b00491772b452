package extent

import (
	"errors"
	"syscall"
	"testing"

	"github.com/benchfs/benchfs/internal/invariant"
)

func init() { invariant.Enabled = true }

// fakeBoard is a store.Board without processes.
type fakeBoard struct{ sequence []uint32 }

func (b *fakeBoard) Take(uint32) (slot, sequence uint32, ok bool) {
	b.sequence = append(b.sequence, 1)
	return uint32(len(b.sequence) - 1), 1, true
}
func (b *fakeBoard) Serial(slot uint32) uint32                  { return b.sequence[slot] }
func (b *fakeBoard) Set(uint32, uint32)                         {}
func (b *fakeBoard) Drop(slot uint32)                           { b.sequence[slot]++ }
func (b *fakeBoard) Announced(func(uint32, uint8)) (looked int) { return 0 }

// scarceMemory is a Backing that runs out of space when it is told to.
type scarceMemory struct{ full bool }

func (m *scarceMemory) Map(_ int, bytes int64) ([]byte, bool, error) {
	return make([]byte, bytes), false, nil
}

func (m *scarceMemory) Prepare(int, int64, int64) error {
	if m.full {
		return syscall.ENOSPC
	}
	return nil
}
func (m *scarceMemory) Piecemeal() bool                   { return true }
func (m *scarceMemory) MapBeside(int, int64, int64) error { return nil }
func (m *scarceMemory) Sync(int, int64, int64) error      { return nil }
func (m *scarceMemory) SyncAll() error                    { return nil }
func (m *scarceMemory) Close() error                      { return nil }

// A write that finds no space leaves its chunk with as much room as its bytes need. Whoever was told of more room before is told that it is void.
func TestExtentThatShrinksAfterAFailureHasNoPlace(t *testing.T) {
	const kib, bits = 1 << 10, 20
	memory := &scarceMemory{}
	s, err := New(Config{Backing: memory, Name: "test", CapacityBytes: 64 << 20, SegmentBytes: MinSegmentBytes})
	if err != nil {
		t.Fatal(err)
	}
	board := &fakeBoard{}
	s.Share(board)
	put := func(off, n uint32) error {
		w, err := s.Begin(1, 0, off, n, 0, bits)
		if err != nil {
			return err
		}
		return s.Commit(w)
	}
	if err := errors.Join(put(0, 4*kib), put(4*kib, 4*kib)); err != nil { // it grows fourfold
		t.Fatal(err)
	}
	told, ok := s.PlaceOf(1, 0, 0)
	if !ok || told.Bytes <= 8*kib {
		t.Fatalf("%+v, %v: no place, or one without room to spare", told, ok)
	}
	memory.full = true
	if err := put(512*kib, 4*kib); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	now, ok := s.PlaceOf(1, 0, 0)
	if !ok || now.Bytes >= told.Bytes {
		t.Fatalf("%+v, %v: the chunk has not shrunk", now, ok)
	}
	if board.Serial(told.Slot) == told.Serial {
		t.Errorf("a place of %d bytes holds, and the chunk has %d", told.Bytes, now.Bytes)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
