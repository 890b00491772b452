package meta

import (
	"bufio"
	"encoding/binary"
	"io"

	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/internal/inode"
)

// A snapshot is a sequence of items: u8 tag, u32 length, payload. It begins with a tagHeader, which carries the version of
// the format, and ends with a tagEnd, which carries the number of items before it. Between them the order matters only
// where a tag says so.
const snapshotVersion = 1

// itemTag says what an item is. Append, never renumber.
type itemTag uint8

const (
	tagHeader   itemTag = 1 + iota
	tagInode            //
	tagDir              // a fragment; its entries follow, in order
	tagEntry            // of the fragment before it
	tagRemoved          // a word of the tombstones
	tagResult           // remembered results: clients from the longest idle one on, each in the order they will be forgotten
	tagPrepared         // after all inodes
	tagCoord            //
	tagTruncate         // after all inodes
	tagPurge            // in the order they were queued
	tagEnd
	tagReserved // after all inodes; those of a file in the order they were made
)

// maxItem bounds an item: what a corrupt length may cost.
const maxItem = 64 << 20

// item is what the payload of any item carries: the union over all tags.
type item struct {
	version        uint8
	shard, shards  uint32
	nextSeq        uint64
	entrySeq       uint64
	txReserved     uint64
	count          uint64
	node           node
	parent         inode.Ino
	runs           []layout.Run
	ino            inode.Ino
	kind           inode.Kind
	mtime          int64
	size           uint64
	gen            uint32
	seq, key, bits uint64
	name           []byte
	req            ReqID
	res            Result
	tx             uint64
	state          inode.TxState
	ops            []inode.TxOp
	participants   []uint32
	layout         layout.Layout
}

// code reads or writes the payload of an item.
func (it *item) code(tag itemTag, c *coder) {
	switch tag {
	case tagHeader:
		code8(c, &it.version)
		code32(c, &it.shard)
		code32(c, &it.shards)
		code64(c, &it.nextSeq)
		code64(c, &it.entrySeq)
		code64(c, &it.txReserved)
	case tagInode:
		it.codeInode(c)
	case tagDir:
		code64(c, &it.ino)
		code64(c, &it.mtime)
	case tagEntry:
		code64(c, &it.seq)
		code64(c, &it.ino)
		code8(c, &it.kind)
		c.bytes(&it.name)
	case tagRemoved:
		code64(c, &it.key)
		code64(c, &it.bits)
	case tagResult:
		c.request(&it.req, &it.res)
	case tagPrepared:
		code64(c, &it.tx)
		c.ops(&it.ops)
	case tagCoord:
		code64(c, &it.tx)
		code8(c, &it.state)
		c.request(&it.req, &it.res)
		c.list(&it.participants)
	case tagTruncate, tagReserved:
		code64(c, &it.ino)
		code64(c, &it.size)
		c.request(&it.req, &it.res)
	case tagPurge:
		code64(c, &it.ino)
		c.layout(&it.layout)
		code64(c, &it.size)
		code32(c, &it.gen)
		c.runs(&it.runs)
	case tagEnd:
		code64(c, &it.count)
	default:
		c.fail("unknown item")
	}
}

func (it *item) codeInode(c *coder) {
	n := &it.node
	code64(c, &n.ino)
	code8(c, &n.kind)
	code16(c, &n.mode)
	code32(c, &n.nlink)
	code32(c, &n.uid)
	code32(c, &n.gid)
	code64(c, &n.size)
	code64(c, &n.largest)
	code64(c, &n.atime)
	code64(c, &n.mtime)
	code64(c, &n.ctime)
	code64(c, &n.btime)
	code64(c, &n.version)
	code32(c, &n.truncGen)
	code32(c, &n.runsVersion)
	l := n.layout()
	c.layout(&l)
	n.setLayout(l)
	code64(c, &it.parent)
	c.bytes(&it.name)
	c.runs(&it.runs)
}

// snapshotWriter frames items.
type snapshotWriter struct {
	w     *bufio.Writer
	buf   []byte
	count uint64
}

func (w *snapshotWriter) put(tag itemTag, it *item) error {
	c := coder{b: append(w.buf[:0], byte(tag), 0, 0, 0, 0)}
	it.code(tag, &c)
	w.buf = c.b
	binary.LittleEndian.PutUint32(w.buf[1:], uint32(len(w.buf)-5))
	w.count++
	_, err := w.w.Write(w.buf)
	return err
}

// writeSnapshot writes the whole logged state.
func (s *Shard) writeSnapshot(out io.Writer) error {
	w := &snapshotWriter{w: bufio.NewWriterSize(out, 1<<18)}
	err := w.put(tagHeader, &item{
		version: snapshotVersion, shard: s.o.Shard, shards: s.o.Shards,
		nextSeq: s.nextSeq, entrySeq: s.entrySeq, txReserved: s.txReserved,
	})
	if err != nil {
		return err
	}
	for _, part := range []func(*snapshotWriter) error{
		s.writeInodes, s.writeDirs, s.writeDedup, s.writeOperations, s.writePurges,
	} {
		if err := part(w); err != nil {
			return err
		}
	}
	if err := w.put(tagEnd, &item{count: w.count}); err != nil {
		return err
	}
	return w.w.Flush()
}

func (s *Shard) writeInodes(w *snapshotWriter) error {
	it := &item{}
	return s.nodes.each(func(n *node) error {
		more := s.more[n.ino]
		*it = item{node: *n, parent: n.parent, name: []byte(more.target), runs: more.runs}
		return w.put(tagInode, it)
	})
}

func (s *Shard) writeDirs(w *snapshotWriter) error {
	it := &item{}
	for ino, f := range s.dirs {
		*it = item{ino: ino, mtime: f.mtime}
		if err := w.put(tagDir, it); err != nil {
			return err
		}
		for i := range f.total {
			e := f.at(i)
			if e.kind == 0 {
				continue
			}
			*it = item{seq: e.seq, ino: e.ino, kind: e.kind, name: f.nameOf(e)}
			if err := w.put(tagEntry, it); err != nil {
				return err
			}
		}
	}
	for key, bits := range s.removed {
		*it = item{key: key, bits: bits}
		if err := w.put(tagRemoved, it); err != nil {
			return err
		}
	}
	return nil
}

func (s *Shard) writeDedup(w *snapshotWriter) error {
	return s.dedup.each(func(r ReqID, res Result) error {
		return w.put(tagResult, &item{req: r, res: res})
	})
}

func (s *Shard) writeOperations(w *snapshotWriter) error {
	for tx, ops := range s.prepared {
		if err := w.put(tagPrepared, &item{tx: tx, ops: ops}); err != nil {
			return err
		}
	}
	for _, t := range s.coord {
		if err := w.put(tagCoord, &item{tx: t.ID, state: t.State, req: t.Req, participants: t.Participants}); err != nil {
			return err
		}
	}
	for _, t := range s.truncs {
		if err := w.put(tagTruncate, &item{ino: t.Ino, size: t.Size, req: t.Req}); err != nil {
			return err
		}
	}
	for ino, list := range s.reserved {
		for _, a := range list {
			if err := w.put(tagReserved, &item{ino: ino, size: a.End, req: a.Req, res: Result{Ino: ino, Offset: a.Offset}}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Shard) writePurges(w *snapshotWriter) error {
	for _, p := range s.Purges() {
		if err := w.put(tagPurge, &item{ino: p.Ino, layout: p.Layout, size: p.Largest, gen: p.Gen, runs: p.Runs}); err != nil {
			return err
		}
	}
	return nil
}
