package meta

import (
	"cmp"
	"maps"
	"slices"
	"syscall"

	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/internal/inode"
)

// Truncation is a cut in progress: every owner must drop what is beyond Size before the new size is published. Until then
// the inode is held, also over a restart.
type Truncation struct {
	Ino       inode.Ino
	Gen       uint32 // the generation that requests must carry after it
	Size      uint64 // bytes
	ChunkBits uint8
	Req       ReqID
}

// TruncateBegin sets the size of a file. Up, or to what it is: done at once (fanout false; the generation stays). Down: the intent is
// logged and the inode held until TruncateEnd; the request counts as done then. A request that is remembered is done.
// EFBIG, ESTALE, EISDIR, EINVAL, fserr.ErrBusy.
func (s *Shard) TruncateBegin(r ReqID, ino inode.Ino, size uint64) (t Truncation, fanout bool, err error) {
	n, err := s.findFile(ino)
	if err != nil {
		return Truncation{}, false, err
	}
	t = Truncation{Ino: ino, Gen: n.truncGen, Size: size, ChunkBits: n.chunkBits, Req: r}
	if _, done := s.Done(r); done {
		return t, false, nil
	}
	if size > maxSize {
		return Truncation{}, false, syscall.EFBIG
	}
	kind := recTruncate
	if size < n.size {
		kind, fanout = recTruncateBegin, true
		t.Gen++
	}
	rec := s.start(kind)
	rec.ino, rec.size = ino, size
	rec.req, rec.res = r, Result{Ino: ino}
	if err := s.commit(rec); err != nil {
		return Truncation{}, false, err
	}
	return t, fanout, nil
}

// TruncateEnd publishes size, generation and time of a cut that every owner has made, and returns the attributes after it.
// Without a cut in progress it changes nothing.
func (s *Shard) TruncateEnd(ino inode.Ino) (inode.Attr, error) {
	t, cutting := s.truncs[ino]
	if !cutting {
		return s.Attr(ino)
	}
	n := s.nodes.get(ino)
	rec := s.start(recTruncateEnd)
	rec.ino = ino
	rec.req, rec.res = t.Req, Result{Ino: ino}
	if n.nlink == 0 && s.unwanted(n) {
		rec.drops = append(rec.drops, ino)
	}
	if err := s.commit(rec); err != nil {
		return inode.Attr{}, err
	}
	return n.attr(), nil
}

// Truncations lists the cuts in progress by inode number, e.g. for their owners to be told again after a restart.
func (s *Shard) Truncations() []Truncation {
	return slices.SortedFunc(maps.Values(s.truncs), func(a, b Truncation) int { return cmp.Compare(a.Ino, b.Ino) })
}

// cut does what TruncateEnd logged: the tail is gone, a new generation begins.
func (s *Shard) cut(n *node, size uint64, now int64) {
	n.held &^= heldByTruncation
	n.truncGen++
	delete(s.reserved, n.ino)
	n.resize(size, now)
	chunks := size >> n.chunkBits
	if size&(1<<n.chunkBits-1) != 0 {
		chunks++
	}
	runs := s.runs(n)
	if len(runs) == 0 || runs[len(runs)-1].First+runs[len(runs)-1].Count <= chunks {
		return
	}
	s.setRuns(n, layout.CutRuns(runs, chunks))
}
