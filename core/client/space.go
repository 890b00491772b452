package client

import (
	"context"
	"math"
	"syscall"

	"github.com/pkg/errors"
	"golang.org/x/sys/unix"

	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/internal/inode"
	"github.com/benchfs/benchfs/rpc"
)

// Statfs is the state of the whole file system.
type Statfs struct {
	CapacityBytes uint64
	UsedBytes     uint64
	FreeBytes     uint64
	Inodes        uint64 // in use; there is no limit but memory
	BlockSize     uint32 // bytes, for programs that count in blocks
	NameMax       uint32
}

// blockSize is what Statfs says: extents are multiples of it.
const blockSize = 4096

// Statfs adds up what all shards have.
func (c *Client) Statfs(ctx context.Context) (Statfs, error) {
	o := c.begin(ctx, opStatfs)
	s := Statfs{BlockSize: blockSize, NameMax: NameMax}
	_ = o.tellAllReleases() // or a file that this process has just closed and removed would still count
	err := o.fanOut(c.allShards(), func(shard uint32) {
		o.call(rpc.MsgStatStore, shard)
	}, func(call *rpc.Call, _ uint32) error {
		var part rpc.StatStoreReply
		if err := part.Decode(call.Answer); err != nil {
			return o.broken(call, "usage does not parse")
		}
		s.CapacityBytes += part.CapacityBytes
		s.UsedBytes += part.UsedBytes
		s.FreeBytes += part.CapacityBytes - min(part.UsedBytes, part.CapacityBytes)
		s.Inodes += part.Inodes
		return nil
	})
	return s, o.end("", err)
}

// SyncAll makes everything that was acknowledged before survive power loss, where the media can.
func (c *Client) SyncAll(ctx context.Context) error {
	o := c.begin(ctx, opSync)
	for _, in := range c.inodes.inodesOpen() {
		if err := o.tellMtime(in); err != nil {
			return o.end("", err)
		}
	}
	m := rpc.SyncChunks{}
	return o.end("", o.fanOut(c.allShards(), func(shard uint32) {
		call := o.call(rpc.MsgSyncChunks, shard)
		call.Body = m.AppendTo(call.Body)
	}, nil))
}

// Allocate makes sure that later writes to [off, off+n) do not fail for want of space. mode is 0 (the file grows to off+n if it is
// shorter) or FALLOC_FL_KEEP_SIZE; other modes are EOPNOTSUPP.
func (f *File) Allocate(ctx context.Context, mode uint32, off, n int64) error {
	o := f.c.begin(ctx, opAllocate)
	return o.end(f.name, o.fileGone(o.allocate(f, mode, off, n)))
}

func (o *op) allocate(f *File, mode uint32, off, n int64) error {
	switch {
	case off < 0 || n <= 0:
		return syscall.EINVAL
	case mode&^unix.FALLOC_FL_KEEP_SIZE != 0:
		return errors.Wrapf(syscall.EOPNOTSUPP, "allocation mode %#x", mode)
	case f.writable() != nil:
		return syscall.EBADF
	case off > math.MaxInt64-n:
		return syscall.EFBIG
	}
	for {
		k := f.in.snapshot()
		err := o.allocateOnce(f.in, &k, uint64(off), uint64(n), mode&unix.FALLOC_FL_KEEP_SIZE == 0)
		if !o.again(&err) {
			return err
		}
		if _, err := o.refresh(f.in); err != nil {
			return err
		}
	}
}

func (o *op) allocateOnce(in *openInode, k *known, off, n uint64, grow bool) error {
	s := layout.NewSplitter(off, n, k.layout.ChunkBits)
	for {
		o.pieces = o.pieces[:0]
		lengths := make([]uint32, 0, o.c.o.MaxParallel)
		for len(o.pieces) < o.c.o.MaxParallel {
			part, ok := s.Next()
			if !ok {
				break
			}
			p := piece{chunk: part.Chunk, pos: off + part.Start}
			p.shard, p.placed = k.owner(in.ino, p.chunk)
			o.pieces = append(o.pieces, p)
			lengths = append(lengths, part.Offset+part.Length)
		}
		if len(o.pieces) == 0 {
			break
		}
		if err := o.reserveWindow(in, k, lengths); err != nil {
			return err
		}
	}
	if !grow {
		return nil
	}
	o.reset()
	call := o.sendEnd(in, k, off+n)
	o.exchange()
	if err := o.staleOrFailed(); err != nil {
		return err
	}
	return o.takeEnd(in, k, call)
}

// reserveWindow reserves the first lengths[i] bytes of the chunk of each piece.
func (o *op) reserveWindow(in *openInode, k *known, lengths []uint32) error {
	if err := o.place(in, k); err != nil {
		return err
	}
	o.reset()
	for i := range o.pieces {
		p := &o.pieces[i]
		m := rpc.ReserveChunk{Ino: in.ino, Chunk: p.chunk, Length: lengths[i], Gen: k.gen, ChunkBits: k.layout.ChunkBits}
		call := o.call(rpc.MsgReserveChunk, p.shard)
		call.Body = m.AppendTo(call.Body)
	}
	o.exchange()
	if err := o.staleOrFailed(); err != nil || k.layout.Strategy != layout.Local {
		return err
	}
	if err := o.claim(in, k); err != nil {
		return err
	}
	for i := range o.pieces {
		p := &o.pieces[i]
		if owner, ok := k.owner(in.ino, p.chunk); ok && owner != p.shard {
			return fserr.ErrStaleGeneration // somebody else has placed it: reserve there
		}
	}
	return nil
}

// Layout is how a file's chunks are placed, or what new files of a directory inherit (Strategy None: nothing set).
func (c *Client) Layout(ctx context.Context, at At, path string) (layout.Layout, error) {
	o := c.begin(ctx, opLayout)
	for {
		attr, err := o.resolveAttr(at, path, true)
		if !o.again(&err) {
			return attr.Layout, o.end(path, err)
		}
	}
}

// Layout is how the open file's chunks are placed.
func (f *File) Layout(ctx context.Context) (layout.Layout, error) {
	o := f.c.begin(ctx, opLayout)
	attr, err := o.refresh(f.in)
	return attr.Layout, o.end(f.name, o.fileGone(err))
}

// SetLayout sets strategy and chunk size of a directory's future files, or of a file that never had a byte (EBUSY otherwise). On a
// directory Strategy None takes the setting away; a ChunkBits of 0 is the server's default.
func (c *Client) SetLayout(ctx context.Context, at At, path string, l layout.Layout) error {
	return c.change(ctx, opLayout, at, path, true, func(o *op, a *inode.Attr) error { return o.setLayout(a, l) })
}

// SetLayout sets the layout of the open file or directory.
func (f *File) SetLayout(ctx context.Context, l layout.Layout) error {
	return f.change(ctx, opLayout, func(o *op, a *inode.Attr) error { return o.setLayout(a, l) })
}

func (o *op) setLayout(a *inode.Attr, l layout.Layout) error {
	cred := o.c.cred()
	switch {
	case !cred.owns(a):
		return syscall.EPERM
	case a.Kind == inode.Symlink:
		return syscall.EINVAL
	case l.Strategy != layout.None && !l.Strategy.Known(), l.Strategy == layout.None && a.Kind == inode.File:
		return errors.Wrapf(syscall.EINVAL, "layout strategy %d", l.Strategy)
	case l.ChunkBits != 0 && (l.ChunkBits < layout.MinChunkBits || l.ChunkBits > layout.MaxChunkBits):
		return errors.Wrapf(syscall.EINVAL, "chunk size 2^%d", l.ChunkBits)
	}
	cluster := o.c.cluster.Load()
	l.First, l.Shards, l.Epoch = a.Ino.Shard(), cluster.Shards(), cluster.Epoch
	if l.Strategy == layout.None {
		l = layout.Layout{}
	}
	return o.setAttrOf(a, rpc.SetAttr{Mask: inode.SetLayout, Layout: l})
}

// Extent is a range of a file that one shard holds.
type Extent struct {
	Offset, Length int64 // bytes
	Shard, Node    uint32
}

// maxExtents is the most that one Locate returns.
const maxExtents = 1 << 16

// Locate tells which shards hold the bytes [off, off+n), in ascending order, neighbours on one shard merged. What is beyond the end of
// the file is left out, and so are chunks of a Local file that were never written. After maxExtents (65536) extents the
// list ends; ask again from the end of the last one.
func (f *File) Locate(ctx context.Context, off, n int64) ([]Extent, error) {
	o := f.c.begin(ctx, opLayout)
	list, err := o.locate(f.in, off, n)
	return list, o.end(f.name, o.fileGone(err))
}

func (o *op) locate(in *openInode, off, n int64) ([]Extent, error) {
	if off < 0 || n < 0 {
		return nil, syscall.EINVAL
	}
	if in.kind != inode.File {
		return nil, syscall.EISDIR
	}
	attr, err := o.refresh(in)
	if err != nil {
		return nil, err
	}
	k := in.snapshot()
	end := min(uint64(off)+uint64(n), attr.Size)
	if uint64(off) >= end {
		return nil, nil
	}
	var list []Extent
	add := func(from, to uint64, shard uint32) bool {
		if last := len(list) - 1; last >= 0 && list[last].Shard == shard && uint64(list[last].Offset+list[last].Length) == from {
			list[last].Length += int64(to - from)
			return true
		}
		if len(list) == maxExtents {
			return false
		}
		list = append(list, Extent{Offset: int64(from), Length: int64(to - from), Shard: shard, Node: o.c.cluster.Load().PeerOf(shard)})
		return true
	}
	if k.layout.Strategy == layout.Local {
		first, last := uint64(off)>>k.layout.ChunkBits, (end-1)>>k.layout.ChunkBits
		for _, run := range layout.CoveringRuns(k.runs, first, last-first+1) {
			from := max(run.First<<k.layout.ChunkBits, uint64(off))
			to := end
			if last >= run.First+run.Count {
				to = (run.First + run.Count) << k.layout.ChunkBits
			}
			if !add(from, to, run.Shard) {
				break
			}
		}
		return list, nil
	}
	layout.Split(uint64(off), end-uint64(off), k.layout.ChunkBits, func(p layout.Piece) bool {
		shard, _ := k.owner(in.ino, p.Chunk)
		from := uint64(off) + p.Start
		return add(from, from+uint64(p.Length), shard)
	})
	return list, nil
}
