package meta

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"

	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/internal/inode"
)

// snapshotReader takes items apart again.
type snapshotReader struct {
	r   *bufio.Reader
	buf bytes.Buffer
	dir *fragment // that the entries belong to
}

// next reads one item. What it returns aliases buf and is good until the next call.
func (r *snapshotReader) next(it *item) (itemTag, error) {
	var head [5]byte
	if _, err := io.ReadFull(r.r, head[:]); err != nil {
		return 0, corrupt("snapshot ends early: %w", err)
	}
	tag, length := itemTag(head[0]), int64(binary.LittleEndian.Uint32(head[1:]))
	if length > maxItem {
		return 0, corrupt("item of %d bytes in the snapshot", length)
	}
	r.buf.Reset()
	if _, err := io.CopyN(&r.buf, r.r, length); err != nil {
		return 0, corrupt("snapshot ends early: %w", err)
	}
	*it = item{}
	c := coder{b: r.buf.Bytes(), reading: true}
	it.code(tag, &c)
	if c.bad != "" || len(c.b) != 0 {
		return 0, corrupt("item %d in the snapshot is malformed", tag)
	}
	return tag, nil
}

// readSnapshot fills an empty shard. Like replay it trusts nothing: what does not fit together is an EIO, never a panic.
func (s *Shard) readSnapshot(in io.Reader) error {
	r := &snapshotReader{r: bufio.NewReaderSize(in, 1<<18)}
	it := &item{}
	tag, err := r.next(it)
	switch {
	case err != nil:
		return err
	case tag != tagHeader || it.version != snapshotVersion:
		return corrupt("snapshot of an unknown version")
	case it.nextSeq == 0:
		return corrupt("snapshot of nothing")
	}
	if err := s.checkOwner(it.shard, it.shards); err != nil {
		return err
	}
	s.nextSeq, s.entrySeq, s.txReserved = it.nextSeq, it.entrySeq, it.txReserved
	for count := uint64(1); ; count++ {
		if tag, err = r.next(it); err != nil {
			return err
		}
		if tag == tagEnd {
			if it.count != count {
				return corrupt("snapshot of %d items has %d", it.count, count)
			}
			return nil
		}
		if !s.restore(r, tag, it) {
			return corrupt("item %d of the snapshot (kind %d) does not fit the others", count, tag)
		}
	}
}

// restore puts one item into the state. It reports whether it fits.
func (s *Shard) restore(r *snapshotReader, tag itemTag, it *item) bool {
	switch tag {
	case tagInode:
		return s.restoreInode(it)
	case tagDir:
		if s.dirs[it.ino] != nil {
			return false
		}
		r.dir = s.fragmentOf(it.ino)
		r.dir.mtime = it.mtime
	case tagEntry:
		return s.restoreEntry(r.dir, it)
	case tagRemoved:
		s.removed[it.key] = it.bits
	case tagResult:
		s.dedup.remember(it.req, it.res)
	case tagPrepared:
		if _, twice := s.prepared[it.tx]; twice || it.tx == 0 {
			return false
		}
		for i := range it.ops {
			it.ops[i].Name = bytes.Clone(it.ops[i].Name)
		}
		s.prepared[it.tx] = it.ops
		s.take(it.tx, it.ops)
	case tagCoord:
		s.coord[it.tx] = &Tx{ID: it.tx, State: it.state, Req: it.req, Participants: it.participants}
	case tagTruncate:
		n := s.nodes.get(it.ino)
		if n == nil || n.kind != inode.File {
			return false
		}
		n.held |= heldByTruncation
		s.truncs[it.ino] = Truncation{Ino: it.ino, Gen: n.truncGen + 1, Size: it.size, ChunkBits: n.chunkBits, Req: it.req}
	case tagReserved:
		n := s.nodes.get(it.ino)
		if n == nil || n.kind != inode.File || it.req.Op == 0 || it.res.Offset > it.size {
			return false
		}
		s.reserve(it.ino, Reservation{Req: it.req, Offset: it.res.Offset, End: it.size})
	case tagPurge:
		s.purges.add(Purge{Ino: it.ino, Layout: it.layout, Largest: it.size, Gen: it.gen, Runs: it.runs})
	default:
		return false
	}
	return true
}

func (s *Shard) restoreInode(it *item) bool {
	n := it.node
	if s.nodes.get(n.ino) != nil || n.ino.Shard() != s.o.Shard || n.ino.Seq() >= s.nextSeq || !n.kind.Valid() {
		return false
	}
	if layout.ValidateRuns(it.runs, s.o.Shards) != nil {
		return false
	}
	switch {
	case n.kind == inode.Dir:
		n.parent = it.parent
	case n.kind == inode.Symlink:
		s.more[n.ino] = nodeMore{target: string(it.name)}
	case len(it.runs) > 0:
		s.more[n.ino] = nodeMore{runs: it.runs}
	}
	s.nodes.add(n)
	if n.nlink == 0 {
		s.orphans[n.ino] = struct{}{}
	}
	return true
}

func (s *Shard) restoreEntry(f *fragment, it *item) bool {
	if f == nil || it.seq > s.entrySeq || !it.kind.Valid() || checkName(it.name) != nil || f.find(it.name) != nil {
		return false
	}
	if f.total > 0 && f.at(f.total-1).seq >= it.seq {
		return false
	}
	f.add(it.seq, it.name, it.ino, it.kind)
	s.entries++
	return true
}
