package meta

import (
	"math"
	"syscall"
	"testing"

	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/internal/inode"
)

func TestAppend(t *testing.T) {
	s := newShard(t)
	f := create(t, s, inode.Root, "f", inode.File)
	for i, r := range []ReqID{{1, 1}, {2, 1}, {1, 2}} {
		offset, a, err := s.AppendOffset(f, 10)
		if err != nil || offset != uint64(10*i) || a.Size != offset {
			t.Fatalf("append %d at %d: %+v, %v", i, offset, a, err)
		}
		if a, err = s.Append(r, f, offset, offset+10, 0); err != nil || a.Size != offset+10 {
			t.Fatalf("append %d: %+v, %v", i, a, err)
		}
	}
	for _, shard := range []*Shard{s, restart(t, s)} {
		a, err := shard.Append(ReqID{2, 1}, f, 30, 40, 0)
		done, ok := shard.Done(ReqID{2, 1})
		if err != nil || a.Size != 30 || !ok || done.Offset != 10 {
			t.Fatalf("repeated append: %+v, %+v, %v", a, done, err)
		}
	}
	for _, length := range []uint64{math.MaxInt64, math.MaxUint64} {
		_, _, err := s.AppendOffset(f, length)
		want(t, err, syscall.EFBIG)
	}
	_, err := s.Append(ReqID{1, 3}, f, 30, 40, 1)
	want(t, err, fserr.ErrStaleGeneration)
}

// A reservation changes no attribute; its end makes the file grow, and only then; it survives restarts and checkpoints.
func TestReservation(t *testing.T) {
	s := newShard(t)
	f := create(t, s, inode.Root, "f", inode.File)
	before := attr(t, s, f)
	r := ReqID{1, 1}
	for _, shard := range []*Shard{s, restart(t, s)} {
		a, seen, err := shard.Reserve(r, f, 100)
		if err != nil || a != (Reservation{r, 0, 100}) || seen != before || attr(t, shard, f) != before {
			t.Fatalf("%+v, %+v, %v", a, seen, err)
		}
	}
	want(t, s.Checkpoint(), nil)
	s = restart(t, s)
	if a, ok := s.Reservation(f); !ok || a != (Reservation{r, 0, 100}) || attr(t, s, f) != before {
		t.Fatalf("after a checkpoint: %+v, %v", a, ok)
	}
	if _, done := s.Done(r); done {
		t.Fatal("a reservation is no append yet")
	}
	a, err := s.Append(r, f, 0, 100, 0)
	if _, reserved := s.Reservation(f); err != nil || a.Size != 100 || reserved {
		t.Fatalf("%+v, %v, reserved %v", a, err, reserved)
	}
	if done, ok := s.Done(r); !ok || done.Offset != 0 {
		t.Fatalf("result %+v, %v", done, ok)
	}
	_, _, err = s.Reserve(ReqID{}, f, 1)
	want(t, err, syscall.EINVAL)
	_, _, err = s.Reserve(ReqID{1, 9}, f, math.MaxInt64)
	want(t, err, syscall.EFBIG)
}

// Whoever comes after a reservation that was given up gets a range behind it; its owner may still fill its own. A cut forgets it.
func TestReservationGivenUp(t *testing.T) {
	s := newShard(t)
	f := create(t, s, inode.Root, "f", inode.File)
	first, second := ReqID{1, 1}, ReqID{2, 1}
	_, _, err := s.Reserve(first, f, 100)
	want(t, err, nil)
	a, _, err := s.Reserve(second, f, 10)
	if err != nil || a != (Reservation{second, 100, 110}) {
		t.Fatalf("%+v, %v", a, err)
	}
	for _, shard := range []*Shard{s, restart(t, s)} { // it finds its own again
		if own, _, err := shard.Reserve(first, f, 100); err != nil || own != (Reservation{first, 0, 100}) {
			t.Fatalf("%+v, %v", own, err)
		}
	}
	want(t, s.Checkpoint(), nil)
	s = restart(t, s)
	attrs, err := s.Append(first, f, 0, 100, 0)
	if still, ok := s.Reservation(f); err != nil || attrs.Size != 100 || !ok || still != a {
		t.Fatalf("the first one's late end: %+v, %+v, %v", attrs, still, err)
	}
	if attrs, err = s.Append(second, f, 100, 110, 0); err != nil || attrs.Size != 110 {
		t.Fatalf("%+v, %v", attrs, err)
	}
	// One that was passed by is not the current one.
	for i, r := range []ReqID{{1, 2}, {1, 3}} {
		if a, _, err = s.Reserve(r, f, 100); err != nil || a.Offset != uint64(110+100*i) {
			t.Fatalf("%+v, %v", a, err)
		}
	}
	_, err = s.Append(ReqID{1, 3}, f, 210, 310, 0)
	want(t, err, nil)
	if a, ok := s.Reservation(f); ok {
		t.Fatalf("current: %+v", a)
	}
	if _, ok := s.ReservationOf(ReqID{1, 2}, f); !ok {
		t.Fatal("forgotten")
	}
	truncate(t, s, f, 5)
	if offset, _, err := s.AppendOffset(f, 1); err != nil || offset != 5 {
		t.Fatalf("after a cut: %d, %v", offset, err)
	}
	_, err = s.Append(ReqID{1, 2}, f, 110, 210, 0)
	want(t, err, fserr.ErrStaleGeneration)
	sameState(t, "restart", restart(t, s), s)
}

// Owners may have chunks of a reservation that was never ended: they are purged with the file.
func TestReservationIsPurged(t *testing.T) {
	s := newShard(t)
	f := create(t, s, inode.Root, "f", inode.File)
	_, _, err := s.Reserve(ReqID{1, 1}, f, 1000)
	want(t, err, nil)
	unlink(t, s, inode.Root, "f")
	if p := s.Purges(); len(p) != 1 || p[0].Largest != 1000 {
		t.Fatalf("purges %+v", p)
	}
	if _, reserved := s.Reservation(f); reserved {
		t.Fatal("the reservation has outlived the file")
	}
}

// Appends that are given up again and again do not pile up.
func TestReservationsAreBounded(t *testing.T) {
	s := newShard(t)
	f := create(t, s, inode.Root, "f", inode.File)
	for op := range uint64(3 * maxReservations) {
		_, _, err := s.Reserve(ReqID{1, op + 1}, f, 1)
		want(t, err, nil)
	}
	if n := len(s.reserved[f]); n != maxReservations {
		t.Fatalf("%d reservations", n)
	}
	if offset, _, err := s.AppendOffset(f, 1); err != nil || offset != 3*maxReservations {
		t.Fatalf("%d, %v", offset, err)
	}
	sameState(t, "restart", restart(t, s), s)
}
