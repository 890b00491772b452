package extent

import (
	"math"

	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/store"
)

// Device is a Store whose bytes only the medium has: it says what has to be moved where, and somebody else moves it and comes back. Of
// the methods that it shares with Store, View, Begin, Commit, Abort and Reserve are not for it: Pin and Enter stand in their place.
//
// Bytes move in blocks of [BlockBytes]. A Transfer is a write (or a reservation) on its way. It is entered, and, once its bytes are
// there, taken by the hand: Next says what to do for it, the device does that, and Prepared or Landed says what follows.
//
// # What may happen at the same time on a chunk
//
// Transfers that touch no common block are put at the same time. One that shares a block with another in flight, or has
// another before it that waits, waits: first come, first served. Two things want the chunk for themselves: moving it to a larger
// extent (Copy), and making a gap zeros that is not known to be (Zero). Both leave the chunk as sound as it was and are steps of their own.
//
// # When bytes are present
//
// A put begins where all that precedes it is present, known to be zeros, or being put by others. When it has landed and those others
// have not, it waits for them; if one of them has failed, it starts again, and its gap is made zeros. Blocks are written whole: what a
// block holds beyond the present bytes and the Transfer's own is zeros.
type Device struct{ *Store }

// BlockBytes is the unit of transfers: a page of the allocator.
const BlockBytes = pageBytes

// RoundDown is the beginning of the block with that byte.
func RoundDown(at uint32) uint32 { return at &^ (BlockBytes - 1) }

// RoundUp is the end of the blocks that hold so many bytes.
func RoundUp(at uint32) uint32 { return RoundDown(at + BlockBytes - 1) }

// Spot is a place on the device: of a chunk's first byte.
type Spot struct {
	Segment int
	Offset  int64
}

// Action is what a Step wants done.
type Action uint8

// The actions.
const (
	Wait  Action = iota // nothing now: Awake will name the Transfer when it is worth asking again
	Copy                // move bytes [0, End) of the chunk from From to To, with zeros up to the end of the last block; then Prepared
	Zero                // make the blocks of [Off, End) of the chunk zeros from Off on; then Prepared
	Put                 // write the Transfer's blocks, with what Present says around its bytes; then Landed
	Ended               // it has taken effect, and its reference is spent
)

// Step is what has to be done for a Transfer next.
type Step struct {
	Do       Action
	From, To Spot
	Off, End uint32
	Present  uint32 // bytes of the chunk that exist
}

type transferState uint8

const (
	entered   transferState = iota // its bytes are not there yet
	queued                         // to be looked at by Next
	preparing                      // has the chunk for itself: Copy or Zero
	putting                        // in flight
	landed                         // on the medium, behind others that are not
)

func (s *Store) spot(e *extent) Spot {
	return Spot{
		Segment: int(e.page >> s.space.segmentBits),
		Offset:  int64(e.page&(1<<s.space.segmentBits-1)) << pageBits,
	}
}

// Pin finds [off, off+n) of a chunk. got bytes of it are present, and stay where they are until Unpin. 0: none, and there is nothing to
// unpin.
func (d Device) Pin(ino, number uint64, off, n uint32, gen uint32) (at Spot, got uint32, ref uint64, err error) {
	e, end, ref, err := d.pin(ino, number, off, n, gen)
	if e == nil {
		return Spot{}, 0, 0, err
	}
	return d.spot(e), end - off, ref, nil
}

// Unpin ends a Pin; false when it had ended before.
func (d Device) Unpin(ref uint64) bool {
	known := d.views.get(ref) != nil
	d.Release(store.NewView(nil, ref))
	return known
}

// Enter begins a Transfer of [off, off+n). It must end: with Ended or an error of Next, Prepared or Landed, or with Withdraw.
func (d Device) Enter(ino, number uint64, off, n uint32, gen uint32, chunkBits uint8) (ref uint64, err error) {
	return d.enter(ino, number, write{off: off, n: n, need: off + n, gen: gen, chunkBits: chunkBits})
}

// EnterReserve begins one that makes room for [0, n).
func (d Device) EnterReserve(ino, number uint64, n uint32, gen uint32, chunkBits uint8) (ref uint64, err error) {
	return d.enter(ino, number, write{need: n, gen: gen, chunkBits: chunkBits})
}

func (d Device) enter(ino, number uint64, begun write) (ref uint64, err error) {
	if err := d.admit(begun.off, begun.need-begun.off, begun.chunkBits); err != nil {
		return 0, err
	}
	ci, err := d.chunkFor(ino, number, begun.need, begun.gen)
	if err != nil {
		return 0, err
	}
	c := d.chunks.at(ci)
	ref, w := d.writes.take()
	*w = begun
	w.chunk, w.next = ci, c.writes
	if c.writes != 0 {
		d.writes.slab.at(c.writes).prev = uint32(ref)
	}
	c.writes = uint32(ref)
	return ref, nil
}

// Entered reports whether a Transfer waits for its bytes.
func (d Device) Entered(ref uint64) bool {
	w := d.writes.get(ref)
	return w != nil && w.state == entered
}

// ErrSpent is the answer about a Transfer that has ended.
var ErrSpent error = errSpent

// Withdraw ends a Transfer before its first Next.
func (d Device) Withdraw(ref uint64) { d.leave(ref, d.writes.get(ref), true) }

// Awake is a Transfer that waited and should be given to Next again.
func (d Device) Awake() (ref uint64, ok bool) {
	for len(d.awake) > 0 {
		i := d.awake[0]
		d.Store.awake = d.awake[:copy(d.awake, d.awake[1:])]
		ref = uint64(d.writes.generations[i])<<32 | uint64(i)
		if w := d.writes.get(ref); w != nil && (w.state == queued || w.state == landed) {
			return ref, true
		}
	}
	return 0, false
}

// awaken has a Transfer that waits looked at again.
func (s *Store) awaken(i uint32, w *write) {
	if w.state == queued || w.state == landed {
		s.awake = append(s.awake, i)
	}
}

// awakenAll does so with all of a chunk, the oldest first.
func (s *Store) awakenAll(c *chunk) {
	last := c.writes
	for last != 0 && s.writes.slab.at(last).next != 0 {
		last = s.writes.slab.at(last).next
	}
	for at := last; at != 0; {
		w := s.writes.slab.at(at)
		s.awaken(at, w)
		at = w.prev
	}
}

// Next says what to do for a Transfer whose bytes are there. An error ends it.
func (d Device) Next(ref uint64) (Step, error) {
	w := d.writes.get(ref)
	if d.stale(w) {
		return d.fail(ref, w, fserr.ErrStaleGeneration)
	}
	c := d.chunks.at(w.chunk)
	if w.state == landed {
		if d.sound(c, w) {
			return d.settle(ref, w, c)
		}
		if busy, _ := d.others(c, uint32(ref), w); busy {
			return Step{}, nil
		}
		d.awakenAll(c)
	}
	w.state = queued
	busy, blocked := d.others(c, uint32(ref), w)
	if blocked {
		return Step{}, nil
	}
	if w.need > d.extents.at(c.extent).bytes() {
		if grown, err := d.growAny(c, w); err != nil {
			return d.fail(ref, w, err)
		} else if !grown {
			return d.move(ref, w, c, busy)
		}
	}
	d.follow(w, c)
	switch start := d.covered(c); {
	case w.n == 0:
		return d.settle(ref, w, c)
	case start >= RoundDown(w.off):
		w.state, w.dirty = putting, true
		d.awakenAll(c)
		return Step{Do: Put, To: d.spot(d.extents.at(c.extent)), Present: c.present}, nil
	case busy:
		return Step{}, nil
	default:
		w.state = preparing
		return Step{Do: Zero, To: d.spot(d.extents.at(c.extent)), Off: start, End: RoundDown(w.off), Present: c.present}, nil
	}
}

// others looks at the Transfers beside w: busy, some are in flight or landed; blocked, w has to wait for one of them.
func (d Device) others(c *chunk, self uint32, w *write) (busy, blocked bool) {
	older := false
	from, to := RoundDown(w.off), RoundUp(w.off+w.n)
	for at := c.writes; at != 0; {
		v := d.writes.slab.at(at)
		switch {
		case at == self:
			older = true
		case v.state == preparing:
			busy, blocked = true, true
		case v.state == putting:
			busy = true
			blocked = blocked || RoundDown(v.off) < to && RoundUp(v.off+v.n) > from
		case v.state == landed: // it looks after itself, and counts as busy unless w is in its place
			busy = busy || w.state != landed
			blocked = blocked || RoundDown(v.off) < to && RoundUp(v.off+v.n) > from
		case v.state == queued && older:
			blocked = true
		}
		at = v.next
	}
	return busy, blocked
}

// covered is how far a chunk's bytes are present, known to be zeros, or being put.
func (d Device) covered(c *chunk) uint32 {
	reach := max(c.present, c.clean)
	for at := c.writes; at != 0; {
		v := d.writes.slab.at(at)
		if (v.state == putting || v.state == landed) && !d.stale(v) {
			reach = max(reach, RoundUp(v.off+v.n))
		}
		at = v.next
	}
	return reach
}

// sound reports whether all bytes before a Transfer's blocks are present or zeros.
func (d Device) sound(c *chunk, w *write) bool { return max(c.present, c.clean) >= RoundDown(w.off) }

// follow pins the extent that the chunk has now.
func (d Device) follow(w *write, c *chunk) {
	if w.extent == c.extent {
		return
	}
	d.extents.at(c.extent).pins++
	d.unpin(w.extent)
	w.extent = c.extent
}

// growAny enlarges the extent where it is: generously, or just enough.
func (d Device) growAny(c *chunk, w *write) (grown bool, err error) {
	least, want := d.wanted(c, w.need, w.chunkBits)
	if grown, err = d.growInPlace(c, want); grown || err != nil || least == want {
		return grown, err
	}
	return d.growInPlace(c, least)
}

// move begins to copy the chunk to a larger extent, once nothing else goes on there.
func (d Device) move(ref uint64, w *write, c *chunk, busy bool) (Step, error) {
	if busy {
		return Step{}, nil
	}
	least, want := d.wanted(c, w.need, w.chunkBits)
	ei, fresh, err := d.newExtent(want)
	if err != nil && least < want {
		ei, fresh, err = d.newExtent(least)
	}
	if err != nil {
		return d.fail(ref, w, err)
	}
	d.follow(w, c)
	w.target, w.fresh = ei, fresh
	if c.present == 0 {
		return d.Prepared(ref, nil)
	}
	w.state = preparing
	return Step{Do: Copy, From: d.spot(d.extents.at(c.extent)), To: d.spot(d.extents.at(ei)), End: c.present}, nil
}

// Prepared tells that a Copy or Zero is done, or failed, and what to do next.
func (d Device) Prepared(ref uint64, failed error) (Step, error) {
	w := d.writes.get(ref)
	w.state = queued
	target := w.target
	w.target = 0
	if failed == nil && d.stale(w) {
		failed = fserr.ErrStaleGeneration
	}
	if failed == nil && target != 0 {
		c, e := d.chunks.at(w.chunk), d.extents.at(target)
		if c.kept {
			failed = d.logChunk(c, e.page, e.order, c.present)
		}
		if failed == nil {
			d.moveTo(c, target, w.fresh)
			c.clean = max(c.clean, RoundUp(c.present))
		}
	} else if failed == nil {
		c := d.chunks.at(w.chunk)
		c.clean = max(c.clean, RoundDown(w.off))
	}
	if failed != nil {
		if target != 0 {
			d.letGo(target)
		}
		return d.fail(ref, w, failed)
	}
	d.awakenAll(d.chunks.at(w.chunk)) // an older one may have come while this one had the chunk
	return d.Next(ref)
}

// Landed tells that a Put is done, or failed, and what to do next.
func (d Device) Landed(ref uint64, failed error) (Step, error) {
	w := d.writes.get(ref)
	if failed == nil && d.stale(w) {
		failed = fserr.ErrStaleGeneration
	}
	if failed != nil {
		return d.fail(ref, w, failed)
	}
	w.state = landed
	return d.Next(ref)
}

// settle makes a Transfer take effect.
func (d Device) settle(ref uint64, w *write, c *chunk) (Step, error) {
	end := w.off + w.n
	present := max(c.present, end)
	if !c.kept || present != c.present {
		e := d.extents.at(c.extent)
		if err := d.logChunk(c, e.page, e.order, present); err != nil {
			return d.fail(ref, w, err)
		}
	}
	d.keep(c)
	if w.n == 0 {
		c.floor = max(c.floor, orderFor(uint64(w.need)))
	} else if c.present = present; end == present {
		c.clean = max(c.clean, RoundUp(end))
	}
	d.leave(ref, w, false)
	return Step{Do: Ended}, nil
}

func (d Device) fail(ref uint64, w *write, err error) (Step, error) {
	d.leave(ref, w, true)
	return Step{}, err
}

// leave takes a Transfer out of the books, and has those look again that may have waited for it.
func (d Device) leave(ref uint64, w *write, failed bool) {
	taken := w.state != entered
	w.state = entered
	if taken && w.chunk != 0 {
		d.awakenAll(d.chunks.at(w.chunk))
	}
	if !w.dirty {
		w.off = math.MaxUint32 // it never touched the medium: what was zeros still is
	}
	d.end(ref, w, failed)
}

// NewDevice is New for a Device. The Backing's Map returns memory of no length.
func NewDevice(c Config) (Device, error) {
	s, err := New(c)
	return Device{s}, err
}
