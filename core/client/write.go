package client

import (
	"context"
	"syscall"
	"time"

	"github.com/pkg/errors"
	"golang.org/x/sys/unix"

	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/internal/inode"
	"github.com/benchfs/benchfs/rpc"
)

// Writing. The pieces go to the owners of their chunks. When all of them have acknowledged, and the write ends beyond the known size, the
// new end goes to the inode's shard: whoever sees the size can read the bytes. Only a write of one piece whose chunk is on the inode's
// shard sends the end along with it, since that shard stores the bytes first. Each message carries the known generation. If anybody has
// another one (the file was cut meanwhile), the whole range is written again: pieces that arrived before the cut may have gone with it.
//
// A write that fails in the middle tells how much of its beginning is in place, and the file ends there if it was shorter. What is
// missing behind that reads as what was there, or lies beyond the end.

// Pwrite writes p at off (with O_APPEND: at the end, as Linux does). Fewer bytes than len(p), and no error, mean
// that the rest failed.
func (f *File) Pwrite(ctx context.Context, p []byte, off int64) (int, error) {
	if f.directWrite(p, off) {
		return len(p), nil
	}
	o := f.c.begin(ctx, opWrite)
	o.one[0] = p
	n, _, err := o.pwritev(f, o.one[:], off)
	return n, o.end(f.name, err)
}

// Pwritev is Pwrite out of several buffers.
func (f *File) Pwritev(ctx context.Context, bufs [][]byte, off int64) (int, error) {
	o := f.c.begin(ctx, opWrite)
	n, _, err := o.pwritev(f, bufs, off)
	return n, o.end(f.name, err)
}

// Write writes at the position, or with O_APPEND at the end, and sets the position to where it ended.
func (f *File) Write(ctx context.Context, p []byte) (int, error) {
	if f.directWriteNext(p) {
		return len(p), nil
	}
	o := f.c.begin(ctx, opWrite)
	o.one[0] = p
	n, err := o.writev(f, o.one[:])
	return n, o.end(f.name, err)
}

// Writev is Write out of several buffers.
func (f *File) Writev(ctx context.Context, bufs [][]byte) (int, error) {
	o := f.c.begin(ctx, opWrite)
	n, err := o.writev(f, bufs)
	return n, o.end(f.name, err)
}

// directWriteNext is directWrite at the position.
func (f *File) directWriteNext(p []byte) bool {
	f.posMu.Lock()
	defer f.posMu.Unlock()
	if !f.directWrite(p, f.pos) {
		return false
	}
	f.pos += int64(len(p))
	return true
}

func (o *op) writev(f *File, bufs [][]byte) (int, error) {
	f.posMu.Lock()
	defer f.posMu.Unlock()
	n, pos, err := o.pwritev(f, bufs, f.pos)
	if n > 0 {
		f.pos = int64(pos) + int64(n)
	}
	return n, err
}

// pwritev writes and returns how many bytes, and where they begin.
func (o *op) pwritev(f *File, bufs [][]byte, off int64) (int, uint64, error) {
	if err := f.writable(); err != nil {
		return 0, 0, err
	}
	want, err := vector(bufs)
	switch {
	case err != nil:
		return 0, 0, err
	case off < 0:
		return 0, 0, syscall.EINVAL
	case want == 0:
		return 0, uint64(off), nil
	}
	var n, pos uint64
	if f.Flags()&unix.O_APPEND != 0 {
		n, pos, err = o.appendRange(f.in, bufs, want)
	} else {
		pos = uint64(off)
		if pos >= maxSize {
			return 0, 0, syscall.EFBIG
		}
		n, err = o.writeRange(f.in, bufs, pos, min(want, maxSize-pos))
	}
	if o.c.cache != nil {
		o.c.cache.wrote(f.in, pos, n, err)
	}
	o.c.counts.bytesWritten.Add(n)
	if n > 0 {
		err = nil // a part that is in place counts more than why the rest is not
	}
	if err == nil && f.Flags()&unix.O_DSYNC != 0 { // O_SYNC includes that bit
		if err = o.sync(f.in, f.Flags()&unix.O_SYNC != unix.O_SYNC); err != nil {
			n = 0 // not on the medium: not written
		}
	}
	return int(n), pos, err
}

// writeRange writes the first want bytes of bufs at pos and returns how many from the beginning are in place.
func (o *op) writeRange(in *openInode, bufs [][]byte, pos, want uint64) (uint64, error) {
	for {
		k := in.snapshot()
		n, err := o.writeOnce(in, &k, bufs, pos, want, 0)
		if err == nil || !o.again(&err) {
			return n, o.fileGone(err)
		}
		if _, err := o.refresh(in); err != nil {
			return 0, o.fileGone(err)
		}
	}
}

// writeOnce is one attempt under the generation k.gen; fserr.ErrStaleGeneration voids it. After another error, n bytes
// from the beginning are in place. ref names the append that has the range; 0: it is no append.
func (o *op) writeOnce(in *openInode, k *known, bufs [][]byte, pos, want, ref uint64) (n uint64, err error) {
	c := newCursor(bufs, 0, pos, want, k.layout.ChunkBits)
	told := false
	for o.window(in, k, &c) {
		g := growth{end: c.pos, offset: pos, ref: ref, state: rpc.AppendGoesOn}
		if c.pos == pos+want {
			g.state = rpc.AppendEnded
		}
		start := o.pieces[0].pos
		done, err := uint64(0), o.place(in, k)
		if err == nil {
			grows := g.needed(k)
			told = told || grows
			done, err = o.writeWindow(in, k, g)
		}
		if err != nil {
			return o.writeFailed(in, k, g, start, done, err)
		}
	}
	if c.pos != pos+want {
		return c.pos - pos, syscall.EFAULT
	}
	if !told {
		in.overwritten(time.Now().UnixNano())
	}
	return want, nil
}

// growth is what the inode's shard is told when bytes can be read.
type growth struct {
	end    uint64 // the file is at least so long
	ref    uint64 // of the append; 0: it is none
	offset uint64 // …where that began
	state  rpc.AppendState
}

// needed reports whether there is anything to tell.
func (g *growth) needed(k *known) bool { return g.ref != 0 || g.end > k.size }

// writeWindow writes o.pieces and then lets the file grow, if it is to. Where chunks get their place by this write, they get it in
// between, so that nobody sees the bytes as a hole. done is the length of the part in place after an error; the file has not grown then.
func (o *op) writeWindow(in *openInode, k *known, g growth) (done uint64, err error) {
	homeless := o.homeless()
	along := uint64(0)
	if g.ref == 0 && !homeless && g.needed(k) {
		along = g.end
	}
	grown, err := o.movePieces(in, k, along)
	if err == nil && homeless {
		err = o.publish(in, k)
	}
	if err != nil {
		return o.inPlace(), err
	}
	if grown || !g.needed(k) {
		return 0, nil
	}
	done = g.end - o.pieces[0].pos
	return done, o.grow(in, k, g)
}

// grow lets the file grow.
func (o *op) grow(in *openInode, k *known, g growth) error {
	settled := o.settled()
	o.reset()
	var call *rpc.Call
	if g.ref == 0 {
		call = o.sendEnd(in, k, g.end)
	} else {
		if g.state == rpc.AppendEnded && !settled {
			g.state = rpc.AppendBroken
		}
		m := rpc.EndAppend{Ino: in.ino, Ref: g.ref, Offset: g.offset, End: g.end, Gen: k.gen, State: g.state}
		call = o.call(rpc.MsgEndAppend, in.ino.Shard())
		call.Body = m.AppendTo(call.Body)
	}
	o.exchange()
	if err := o.staleOrFailed(); err != nil {
		return err
	}
	return o.takeEnd(in, k, call)
}

// writeFailed ends an attempt after err, with done bytes of the window that begins at start in place: the file grows as far as that, an
// append gives up the rest of its range. It returns how many bytes of the write are there from its beginning.
func (o *op) writeFailed(in *openInode, k *known, g growth, start, done uint64, err error) (uint64, error) {
	blame, blamed := o.blame, o.blamed
	stale := errors.Is(err, fserr.ErrStaleGeneration)
	if stale {
		done = 0
	}
	g.end, g.state = start+done, rpc.AppendEnded
	if g.ref != 0 || done > 0 && g.end > k.size {
		if o.grow(in, k, g) != nil {
			g.end = max(start, min(g.end, k.size))
		}
	}
	o.blame, o.blamed = blame, blamed
	if stale {
		return 0, err
	}
	return g.end - g.offset, err
}

// settled reports whether each message that moved a piece was answered, so that none of them can take effect any more.
func (o *op) settled() bool {
	for i := range o.pieces {
		if p := &o.pieces[i]; p.failed() {
			if _, answered := p.call.Err.(*rpc.HandlerError); !answered {
				return false
			}
		}
	}
	return true
}

// movePieces brings the pieces into place: without a message where bytes are overwritten on this machine, in two where they are new there,
// by message elsewhere. With end ≠ 0 the file's new end goes along if there is only one message, and it goes to the inode's shard: grown.
func (o *op) movePieces(in *openInode, k *known, end uint64) (grown bool, err error) {
	o.attach()
	for i := range o.pieces {
		if p := &o.pieces[i]; p.inside(k) {
			o.overwriteNear(p, k.gen)
		}
	}
	if o.c.shortcut != nil {
		if err := o.beginNear(k); err != nil {
			return false, err
		}
	}
	o.reset()
	for i := range o.pieces {
		p := &o.pieces[i]
		switch {
		case p.done:
		case p.filled:
			p.call = o.endRef(p, true)
		default:
			o.sendPiece(k, p)
		}
	}
	extend := o.addEnd(in, k, end)
	if o.used == 0 {
		return false, nil
	}
	o.exchange()
	if o.refsLost() { // once more, all by message: what is in place already is written again
		o.reset()
		for i := range o.pieces {
			if p := &o.pieces[i]; !p.done {
				p.filled, p.ref = false, 0
				o.sendPiece(k, p)
			}
		}
		extend = o.addEnd(in, k, end)
		o.exchange()
	}
	if err := o.staleOrFailed(); err != nil {
		return false, err
	}
	for i := range o.pieces {
		p := &o.pieces[i]
		o.takeWritten(p, k.gen)
		p.done, p.call = true, nil
	}
	if extend == nil {
		return false, nil
	}
	return true, o.takeEnd(in, k, extend)
}

// addEnd adds the new end to the message that moves the data, if there is only one and it goes to the inode's shard, and returns that message.
func (o *op) addEnd(in *openInode, k *known, end uint64) *rpc.Call {
	if end == 0 || o.used != 1 {
		return nil
	}
	for i := range o.pieces {
		p := &o.pieces[i]
		if p.call == nil || p.shard != in.ino.Shard() {
			continue
		}
		p.call.Body = p.call.Body[:0]
		if p.filled {
			m := rpc.EndWrite{Ref: p.ref, Commit: true, Ino: in.ino, End: end, Gen: k.gen}
			p.call.Body = m.AppendTo(p.call.Body)
		} else {
			m := p.message(k)
			m.End = end
			p.call.Body = m.AppendTo(p.call.Body)
		}
		return p.call
	}
	return nil
}

// sendEnd adds the message that makes the file at least end bytes long.
func (o *op) sendEnd(in *openInode, k *known, end uint64) *rpc.Call {
	m := rpc.Extend{Ino: in.ino, End: end, Gen: k.gen}
	call := o.call(rpc.MsgExtend, in.ino.Shard())
	call.Body = m.AppendTo(call.Body)
	return call
}

// takeEnd reads its answer.
func (o *op) takeEnd(in *openInode, k *known, call *rpc.Call) error {
	attr, err := o.endAttr(call, in.ino)
	if err != nil {
		return err
	}
	in.learn(&attr)
	if attr.Layout != k.layout { // set while the file was empty: nobody looks where this went
		return fserr.ErrStaleGeneration
	}
	k.size = max(k.size, attr.Size)
	return nil
}

// endAttr is the attributes in the answer to a message that published the end.
func (o *op) endAttr(call *rpc.Call, ino inode.Ino) (inode.Attr, error) {
	if call.Header.Type == rpc.MsgExtend || call.Header.Type == rpc.MsgEndAppend {
		return o.attrOf(call, ino)
	}
	var reply rpc.WrittenReply
	if err := reply.Decode(call.Answer); err != nil || !reply.HasAttr {
		return inode.Attr{}, o.broken(call, "answer to a write does not parse")
	}
	if reason := checkAttr(&reply.Attr, ino, o.c.shards()); reason != "" {
		return inode.Attr{}, o.broken(call, reason)
	}
	return reply.Attr, nil
}

// refsLost reports whether a shard does not know a begun write any more: it was restarted, or took this client for dead.
func (o *op) refsLost() bool {
	for i := range o.pieces {
		if p := &o.pieces[i]; p.filled && p.failed() && declined(p.call) {
			return true
		}
	}
	return false
}

// takeWritten learns from a piece's answer where its chunk is.
func (o *op) takeWritten(p *piece, gen uint32) {
	if p.call == nil || p.reach == nil || p.call.Header.Type != rpc.MsgWriteChunk {
		return
	}
	var reply rpc.WrittenReply
	if reply.Decode(p.call.Answer) == nil {
		p.in.learnPlace(p.reach, p.chunk, &reply.Place, gen)
	}
}

// message is what writes the piece.
func (p *piece) message(k *known) rpc.WriteChunk {
	return rpc.WriteChunk{
		Ino: p.in.ino, Chunk: p.chunk, Offset: p.off, Length: uint32(len(p.buf)), Gen: k.gen, ChunkBits: k.layout.ChunkBits,
		Share: p.reach != nil && (p.inside(k) || p.grant(k.gen) == nil),
	}
}

// inside reports whether the piece overwrites what the file is known to have. What goes behind the end overwrites nothing, and whether
// the place of its chunk holds does not matter to it: a look would only fetch the word that the shard is about to change.
func (p *piece) inside(k *known) bool { return p.pos+uint64(len(p.buf)) <= k.size }

// sendPiece adds the message that writes a piece.
func (o *op) sendPiece(k *known, p *piece) {
	m := p.message(k)
	p.call = o.call(rpc.MsgWriteChunk, p.shard)
	p.call.Body = m.AppendTo(p.call.Body)
	p.call.Out = p.buf
	o.c.counts.byMessage.Add(uint64(len(p.buf)))
}

// inPlace is how many bytes from the window's beginning have been written, after an exchange with errors. A chunk that had no owner counts only
// after its owner was published: not at all.
func (o *op) inPlace() uint64 {
	start := o.pieces[0].pos
	end := start
	for i := range o.pieces {
		p := &o.pieces[i]
		if !p.placed || p.failed() || !p.done && p.call == nil {
			break
		}
		end = p.pos + uint64(len(p.buf))
	}
	return end - start
}
