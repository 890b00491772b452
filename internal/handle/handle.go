// Package handle is the table behind the handles of the C interface: small non-negative numbers that stand for Go objects.
//
// A handle is an index (20 bits) and a generation (11 bits, never 0). The generation of a slot grows each time it is freed, so a
// handle that was closed is not taken for its slot's next user, and small numbers such as kernel descriptors or an uninitialised 0 are
// never handles. A free slot waits behind at least minFree others before it is used again: a stale handle can only be mistaken after
// more than a million later opens, when the generation has come round.
//
// An object is pinned while it is used. [Table.Remove] makes its handle invalid at once; the object itself is released by whoever is last, the
// remover or the last user. Pinning takes no lock and allocates nothing: it is on the path of every read and write.
package handle

import (
	"errors"
	"sync"
	"sync/atomic"
)

// Kind tells apart what handles of one table stand for. 1 to 3.
type Kind uint8

// MaxHandles is how many handles a table can have open at once.
const MaxHandles = 1 << indexBits

// ErrFull: as many handles are open as the table takes.
var ErrFull = errors.New("too many open handles")

const (
	indexBits   = 20
	genBits     = 11
	maxGen      = 1<<genBits - 1
	segmentBits = 10
	segmentSize = 1 << segmentBits
	segments    = 1 << (indexBits - segmentBits)

	// minFree free slots are kept before one is used again.
	minFree = 512
)

// The state of a slot is one word, so that a pin is one compare-and-swap:
// bits 0–31 pins, bit 32 open, bits 33–34 kind, from bit 40 generation.
const (
	pinMask   = 1<<32 - 1
	openBit   = 1 << 32
	kindShift = 33
	genShift  = 40
)

// slot is padded to a cache line (for a T of three words): threads that use different handles do not share one.
type slot[T any] struct {
	state atomic.Uint64
	next  int32 // free list; guarded by Table.mu
	value T     // written while the slot is neither open nor pinned
	_     [64 - 8 - 8 - 24]byte
}

// Table maps handles to values. Make it with New. All methods may be called from several threads.
type Table[T any] struct {
	release func(T) error
	limit   int32

	segment [segments]atomic.Pointer[[segmentSize]slot[T]]
	open    atomic.Int64 // valid handles

	mu         sync.Mutex
	fresh      int32 // slots from here on were never used
	head, tail int32 // free list, first in first out; −1: empty
	free       int32 // its length
}

// New makes a table of at most limit handles (0: MaxHandles). release is called once for each value: after Remove or Drain,
// when nobody uses it any more. T should be small: it is copied by each Pin.
func New[T any](limit int, release func(T) error) *Table[T] {
	if limit <= 0 || limit > MaxHandles {
		limit = MaxHandles
	}
	return &Table[T]{release: release, limit: int32(limit), head: -1, tail: -1}
}

// Insert gives a value a handle. ErrFull leaves the value with the caller.
func (t *Table[T]) Insert(kind Kind, value T) (int32, error) {
	index, ok := t.take()
	if !ok {
		return 0, ErrFull
	}
	s := t.at(index)
	s.value = value
	gen := max(s.state.Load()>>genShift, 1)
	t.open.Add(1)
	s.state.Store(gen<<genShift | uint64(kind)<<kindShift | openBit)
	return int32(gen)<<indexBits | index, nil
}

// Pin returns the value of a valid handle of this kind and keeps it from being released until Unpin.
func (t *Table[T]) Pin(h int32, kind Kind) (T, bool) {
	s := t.slot(h)
	if s == nil {
		var none T
		return none, false
	}
	want := validState(h, kind)
	for {
		state := s.state.Load()
		if state&^pinMask != want {
			var none T
			return none, false
		}
		if s.state.CompareAndSwap(state, state+1) {
			return s.value, true
		}
	}
}

// Unpin takes back one successful Pin of h. If the handle was removed meanwhile and this was its last user, the value is released;
// the error of that is lost, as the closer has its answer already.
func (t *Table[T]) Unpin(h int32) {
	s := t.slot(h)
	if state := s.state.Add(^uint64(0)); state&(pinMask|openBit) == 0 {
		_ = t.recycle(h, s)
	}
}

// Remove makes a handle invalid. If nobody uses the value it is released now, and err is what release said; otherwise
// the last user does it. ok is false if there was no such handle.
func (t *Table[T]) Remove(h int32, kind Kind) (ok bool, err error) {
	s := t.slot(h)
	if s == nil {
		return false, nil
	}
	want := validState(h, kind)
	for {
		state := s.state.Load()
		if state&^pinMask != want {
			return false, nil
		}
		if s.state.CompareAndSwap(state, state&^openBit) {
			t.open.Add(-1)
			if state&pinMask == 0 {
				err = t.recycle(h, s)
			}
			return true, err
		}
	}
}

// Drain removes all handles and returns how many there were, and the first error of a release. No Insert may be in progress.
func (t *Table[T]) Drain() (n int, err error) {
	t.mu.Lock()
	used := t.fresh
	t.mu.Unlock()
	for index := range used {
		state := t.at(index).state.Load()
		if state&openBit == 0 {
			continue
		}
		h := int32(state>>genShift)<<indexBits | index
		removed, releaseErr := t.Remove(h, Kind(state>>kindShift&3))
		if removed {
			n++
		}
		if err == nil {
			err = releaseErr
		}
	}
	return n, err
}

// Open is the number of valid handles.
func (t *Table[T]) Open() int { return int(t.open.Load()) }

// validState is the state of the slot while h is valid, without the pins.
func validState(h int32, kind Kind) uint64 {
	return uint64(h>>indexBits)<<genShift | uint64(kind)<<kindShift | openBit
}

// slot finds the slot of a handle; nil if there never was such a handle.
func (t *Table[T]) slot(h int32) *slot[T] {
	if h < 0 || h>>indexBits == 0 {
		return nil
	}
	index := h & (1<<indexBits - 1)
	seg := t.segment[index>>segmentBits].Load()
	if seg == nil {
		return nil
	}
	return &seg[index&(segmentSize-1)]
}

// at is the slot of an index that has been taken before.
func (t *Table[T]) at(index int32) *slot[T] {
	return &t.segment[index>>segmentBits].Load()[index&(segmentSize-1)]
}

// recycle releases the value of a slot that is neither open nor pinned, and frees the slot under its next generation.
func (t *Table[T]) recycle(h int32, s *slot[T]) error {
	err := t.release(s.value)
	var none T
	s.value = none
	gen := uint64(h>>indexBits) + 1
	if gen > maxGen {
		gen = 1
	}
	s.state.Store(gen << genShift)
	t.put(h & (1<<indexBits - 1))
	return err
}

// take gets a slot: a fresh one while few are free, else the one that has been free the longest.
func (t *Table[T]) take() (index int32, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fresh < t.limit && t.free < minFree {
		index = t.fresh
		if seg := &t.segment[index>>segmentBits]; seg.Load() == nil {
			seg.Store(new([segmentSize]slot[T]))
		}
		t.fresh++
		return index, true
	}
	if t.free == 0 {
		return 0, false
	}
	index = t.head
	t.head = t.at(index).next
	t.free--
	if t.free == 0 {
		t.tail = -1
	}
	return index, true
}

// put frees a slot.
func (t *Table[T]) put(index int32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.at(index).next = -1
	if t.free == 0 {
		t.head = index
	} else {
		t.at(t.tail).next = index
	}
	t.tail = index
	t.free++
}
