package meta

import (
	"syscall"

	"github.com/benchfs/benchfs/internal/inode"
)

// Appends. The size covers appended bytes only once they can be read. So an append whose bytes the caller of this package stores itself
// asks for the offset (AppendOffset), stores them, and then lets the file grow (Append). Any other append first reserves a range at the end of the
// file (Reserve), which changes no attribute, and lets the file grow when its owner has written the bytes.
//
// A file has one reservation at a time. A later Reserve replaces an earlier one and begins where that ends, so that no two appends of a
// generation are ever given the same range. Who may replace whose reservation, and when, the caller decides. What the earlier owner has not written then
// is a hole. Reservations are logged, because their owners go on writing over a restart.

// Reservation is the range [Offset, End) of a file that the append Req writes.
type Reservation struct {
	Req         ReqID
	Offset, End uint64
}

// Reservation returns a file's reservation, if it has one.
func (s *Shard) Reservation(ino inode.Ino) (Reservation, bool) {
	a, ok := s.reserved[ino]
	return a, ok
}

// AppendOffset is where an append of length bytes begins: the end of the file, or of its reservation. The attributes are those before it.
// EFBIG, ESTALE, EISDIR, EINVAL, fserr.ErrBusy.
func (s *Shard) AppendOffset(ino inode.Ino, length uint64) (offset uint64, a inode.Attr, err error) {
	n, err := s.findFile(ino)
	if err != nil {
		return 0, inode.Attr{}, err
	}
	offset = max(n.size, s.reserved[ino].End)
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
	case s.reserved[ino].Req == r:
		return s.reserved[ino], a, nil
	}
	rec := s.start(recReserve)
	rec.ino, rec.size = ino, offset+length
	rec.req, rec.res = r, Result{Ino: ino, Offset: offset}
	if err := s.commit(rec); err != nil {
		return Reservation{}, inode.Attr{}, err
	}
	return s.reserved[ino], a, nil
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
