package client

import (
	"math"
	"syscall"

	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/rpc"
)

const (
	// maxPiece is the most that one chunk message moves: bytes. Larger chunks are moved in several pieces.
	maxPiece = 4 << 20
	// maxTransfer is the most that one read or write call moves, as in Linux: larger requests are cut off there.
	maxTransfer = 0x7ffff000
	// maxSize is the largest file: what an off_t can say.
	maxSize = math.MaxInt64
	// maxVectors is the most buffers of a vectored call (IOV_MAX).
	maxVectors = 1024
)

// piece is the part of a read or write that one message moves: inside one chunk, one buffer, and maxPiece.
type piece struct {
	chunk  uint64
	off    uint32 // inside the chunk
	placed bool   // shard is the chunk's owner; false: nobody is known to own it (strategy Local)
	shard  uint32
	pos    uint64    // first byte in the file
	buf    []byte    // the caller's memory
	call   *rpc.Call // nil: nobody to ask

	in     *openInode
	reach  *reach // the owner's memory, if this process reaches into it
	done   bool   // moved: without a message, or, of a write, by one that was acknowledged
	absent bool   // done, and the owner did not have all of it
	ref    uint64 // of a write that was begun at the owner; 0: none
	filled bool   // its bytes are in place
}

// failed reports whether the message that moved the piece, if there was one, has failed.
func (p *piece) failed() bool { return p.call != nil && p.call.Err != nil }

// cursor cuts a range of a file that lies in a vector of buffers into pieces, in ascending order.
type cursor struct {
	chunks layout.Splitter
	cur    layout.Piece // what is left of the chunk piece in hand
	bufs   [][]byte
	at     int    // bytes of bufs[0] that are dealt with
	pos    uint64 // in the file
}

// newCursor cuts [pos, pos+n) of a file; its first byte is byte skip of the concatenated bufs.
func newCursor(bufs [][]byte, skip, pos, n uint64, chunkBits uint8) cursor {
	c := cursor{chunks: layout.NewSplitter(pos, n, chunkBits), bufs: bufs, pos: pos}
	for len(c.bufs) > 0 && skip >= uint64(len(c.bufs[0])) {
		skip -= uint64(len(c.bufs[0]))
		c.bufs = c.bufs[1:]
	}
	c.at = int(skip)
	return c
}

// next returns the next piece; false when there is none.
func (c *cursor) next() (p piece, ok bool) {
	if c.cur.Length == 0 {
		if c.cur, ok = c.chunks.Next(); !ok {
			return p, false
		}
	}
	for len(c.bufs) > 0 && c.at == len(c.bufs[0]) {
		c.bufs, c.at = c.bufs[1:], 0
	}
	if len(c.bufs) == 0 {
		return p, false
	}
	n := min(int(c.cur.Length), len(c.bufs[0])-c.at, maxPiece)
	p = piece{chunk: c.cur.Chunk, off: c.cur.Offset, pos: c.pos, buf: c.bufs[0][c.at : c.at+n : c.at+n]}
	c.cur.Offset += uint32(n)
	c.cur.Length -= uint32(n)
	c.pos += uint64(n)
	c.at += n
	return p, true
}

// window fills o.pieces with the next pieces, as many as may be in flight, and says who owns each. false: none is left.
func (o *op) window(in *openInode, k *known, c *cursor) bool {
	o.pieces = o.pieces[:0]
	for len(o.pieces) < o.c.o.MaxParallel {
		p, ok := c.next()
		if !ok {
			break
		}
		p.in = in
		p.shard, p.placed = k.owner(in.ino, p.chunk)
		o.pieces = append(o.pieces, p)
	}
	return len(o.pieces) > 0
}

// vector checks the buffers of a call and returns their bytes in all, at most maxTransfer.
func vector(bufs [][]byte) (total uint64, err error) {
	if len(bufs) > maxVectors {
		return 0, syscall.EINVAL
	}
	for _, b := range bufs {
		total += uint64(len(b))
	}
	if total > maxSize {
		return 0, syscall.EINVAL
	}
	return min(total, maxTransfer), nil
}
