package meta

import (
	"slices"
	"syscall"

	"github.com/benchfs/benchfs/internal/inode"
)

// Appends. The size covers appended bytes only once they can be read. So an append whose bytes the caller of this package stores itself
// asks for the offset (AppendOffset), stores them, and then lets the file grow (Append). Any other append first reserves a range at the
// end of the file (Reserve), which changes no attribute, and lets the file grow when its owner has written the bytes.
//
// Reservations of a file lie one behind the other: a later one begins where the last ends, so that no two appends of a generation are
// ever given the same range, and a repeated request finds its own again. The last one is the current one as long as it reaches beyond the
// size. Whether another may be made then is for the caller to decide: what the owner of the current one has not written is a hole from
// the moment that a later one ends. Reservations are logged, because their owners go on writing over a restart.

// Reservation is the range [Offset, End) of a file that the append Req writes.
type Reservation struct {
	Req         ReqID
	Offset, End uint64
}

// maxReservations bounds those of a file. The oldest are forgotten: of appends that were given up long ago.
const maxReservations = 64

// Reservation returns a file's current reservation, if it has one.
func (s *Shard) Reservation(ino inode.Ino) (Reservation, bool) {
	list := s.reserved[ino]
	if len(list) == 0 || list[len(list)-1].End <= s.nodes.get(ino).size {
		return Reservation{}, false
	}
	return list[len(list)-1], true
}

// ReservationOf returns the reservation of append r, which may not be the current one any more.
func (s *Shard) ReservationOf(r ReqID, ino inode.Ino) (Reservation, bool) {
	for _, a := range s.reserved[ino] {
		if a.Req == r {
			return a, true
		}
	}
	return Reservation{}, false
}

// reserve notes a reservation, behind those that there are.
func (s *Shard) reserve(ino inode.Ino, a Reservation) {
	list := append(s.reserved[ino], a)
	if len(list) > maxReservations {
		list = slices.Delete(list, 0, len(list)-maxReservations)
	}
	s.reserved[ino] = list
}

// unreserve forgets the reservation of append r, if there is one.
func (s *Shard) unreserve(ino inode.Ino, r ReqID) {
	list, reserved := s.reserved[ino]
	if !reserved {
		return
	}
	list = slices.DeleteFunc(list, func(a Reservation) bool { return a.Req == r })
	if len(list) == 0 {
		delete(s.reserved, ino)
		return
	}
	s.reserved[ino] = list
}

// AppendOffset is where an append of length bytes begins: the end of the file, or of its last reservation. The attributes are those before it.
// EFBIG, ESTALE, EISDIR, EINVAL, fserr.ErrBusy.
func (s *Shard) AppendOffset(ino inode.Ino, length uint64) (offset uint64, a inode.Attr, err error) {
	n, err := s.findFile(ino)
	if err != nil {
		return 0, inode.Attr{}, err
	}
	offset = n.size
	if list := s.reserved[ino]; len(list) > 0 {
		offset = max(offset, list[len(list)-1].End)
	}
	if length > maxSize || offset > maxSize-length {
		return 0, inode.Attr{}, syscall.EFBIG
	}
	return offset, n.attr(), nil
}

// Reserve makes the length bytes from AppendOffset on the range of append r, whose Op must not be 0. A repeated request gets its range again.
// EFBIG, ESTALE, EISDIR, EINVAL, fserr.ErrBusy.
func (s *Shard) Reserve(r ReqID, ino inode.Ino, length uint64) (Reservation, inode.Attr, error) {
	offset, a, err := s.AppendOffset(ino, length)
	switch {
	case err != nil:
		return Reservation{}, inode.Attr{}, err
	case r.Op == 0 || length == 0:
		return Reservation{}, inode.Attr{}, syscall.EINVAL
	}
	if own, ok := s.ReservationOf(r, ino); ok {
		return own, a, nil
	}
	rec := s.start(recReserve)
	rec.ino, rec.size = ino, offset+length
	rec.req, rec.res = r, Result{Ino: ino, Offset: offset}
	if err := s.commit(rec); err != nil {
		return Reservation{}, inode.Attr{}, err
	}
	return Reservation{Req: r, Offset: offset, End: offset + length}, a, nil
}

// Append ends the append r, whose bytes in [offset, end) can be read: the file becomes at least end bytes long, r's reservation ends, and the offset
// is remembered as r's result. A request that is remembered changes nothing. fserr.ErrStaleGeneration if gen is not the file's.
// EFBIG, ESTALE, EISDIR, EINVAL, fserr.ErrBusy.
func (s *Shard) Append(r ReqID, ino inode.Ino, offset, end uint64, gen uint32) (inode.Attr, error) {
	if _, done := s.Done(r); done {
		return s.Attr(ino)
	}
	n, err := s.extensible(ino, end, gen)
	if err != nil {
		return inode.Attr{}, err
	}
	rec := s.start(recAppend)
	rec.ino, rec.size = ino, end-min(end, n.size)
	rec.req, rec.res = r, Result{Ino: ino, Offset: offset}
	if err := s.commit(rec); err != nil {
		return inode.Attr{}, err
	}
	return n.attr(), nil
}
