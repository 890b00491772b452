package client

import (
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pkg/errors"
	"golang.org/x/sys/unix"

	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/rpc"
)

// Reads and writes that need no message: all of the range is in chunks of this machine whose places are known and hold, and inside the
// known size. They are tried before anything else is set up; whatever is in their way, they leave to the ordinary way, having changed nothing
// that it would not write again.

// bounds is what such a read or write has to know of an inode. It follows openInode.k; readers take no lock.
type bounds struct {
	gen  atomic.Uint32
	size atomic.Uint64 // the file is at least this long as long as gen holds; 0 while gen changes
	bits atomic.Uint32 // of the chunk size
}

// follow takes over from k; the caller holds openInode.mu.
func (b *bounds) follow(k *known) {
	if b.gen.Load() != k.gen {
		b.size.Store(0)
		b.gen.Store(k.gen)
	}
	b.bits.Store(uint32(k.layout.ChunkBits))
	if b.size.Load() != k.size {
		b.size.Store(k.size)
	}
}

// covers reports whether the file is at least end bytes long, and returns the generation in which it is.
func (b *bounds) covers(end uint64) (gen uint32, ok bool) {
	gen = b.gen.Load()
	ok = end <= b.size.Load()
	return gen, ok && b.gen.Load() == gen
}

// tally counts what took no message, apart from the other counters because threads would contend for them.
type tally struct {
	reads, writes, bytesRead, bytesWritten, stats atomic.Uint64
	_                                             [88]byte
}

// directRead reads at off what the file has of p, or nothing.
func (f *File) directRead(p []byte, off int64) (n int, ok bool) {
	c := f.c
	if c.shortcut == nil || c.cache != nil || len(p) == 0 || len(p) > maxTransfer || off < 0 || f.readable() != nil {
		return 0, false
	}
	gen, ok := f.in.bounds.covers(uint64(off) + uint64(len(p)))
	if !ok {
		a, fresh := c.attrNow(f.in.ino)
		if !fresh {
			return 0, false
		}
		f.in.learn(&a)
		gen = a.TruncGen
		p = p[:min(uint64(len(p)), a.Size-min(a.Size, uint64(off)))]
	}
	bits := f.in.bounds.bits.Load() & 31
	for done := 0; done < len(p); {
		pos := uint64(off) + uint64(done)
		at := uint32(pos & (1<<bits - 1))
		n := min(len(p)-done, 1<<bits-int(at), maxPiece)
		g := f.in.grants.get(pos >> bits)
		if g == nil || g.gen != gen {
			return 0, false
		}
		if got, ok := g.read(p[done:done+n], at); !ok || got < n {
			return 0, false
		}
		done += n
	}
	t := &f.tally
	t.reads.Add(1)
	t.bytesRead.Add(uint64(len(p)))
	return len(p), true
}

// directWrite overwrites all of p at off; false: it may have overwritten some of it, or nothing.
func (f *File) directWrite(p []byte, off int64) bool {
	c := f.c
	const special = unix.O_APPEND | unix.O_DSYNC
	if c.shortcut == nil || !c.shortcut.write || c.cache != nil || len(p) == 0 || len(p) > maxTransfer || off < 0 ||
		f.writable() != nil || f.Flags()&special != 0 {
		return false
	}
	gen, ok := f.in.bounds.covers(uint64(off) + uint64(len(p)))
	if !ok {
		return false
	}
	began := time.Now()
	bits := f.in.bounds.bits.Load() & 31
	for done := 0; done < len(p); {
		pos := uint64(off) + uint64(done)
		at := uint32(pos & (1<<bits - 1))
		n := min(len(p)-done, 1<<bits-int(at), maxPiece)
		g := f.in.grants.get(pos >> bits)
		if g == nil || g.gen != gen || !g.overwrite(p[done:done+n], at) {
			return false
		}
		done += n
	}
	f.in.overwritten(began.UnixNano())
	t := &f.tally
	t.writes.Add(1)
	t.bytesWritten.Add(uint64(len(p)))
	return true
}

const (
	// placeFirst: a read of at least so many bytes of a chunk asks for the place before it moves them; smaller ones travel in the message
	// that brings the place along.
	placeFirst = 32 << 10
	// roomFirst: new bytes have room made for them, and are put there by this process, from so many on. Fewer go by message: that is one
	// message and not two, and the shard copies into pages that it has touched before. A single writer would be faster by message with
	// more as well (16 instead of 10 GB/s with 1 MiB), but all writers of a shard share its one core then.
	roomFirst = 128 << 10
)

// grant is the place of the piece's chunk in this machine's memory, as it was told in generation gen, or nil. It may not hold any more.
func (p *piece) grant(gen uint32) *grant {
	if p.reach == nil {
		return nil
	}
	g := p.in.grants.get(p.chunk)
	if g == nil || g.gen != gen || g.reach != p.reach {
		return nil
	}
	return g
}

// readNear copies a piece from this machine's memory, if its place is known and holds.
func (o *op) readNear(p *piece, gen uint32) bool {
	g := p.grant(gen)
	if g == nil {
		return false
	}
	n, ok := g.read(p.buf, p.off)
	if !ok {
		return false
	}
	p.done = true
	o.c.counts.inPlace.Add(uint64(n))
	p.absent = n < len(p.buf)
	clear(p.buf[n:])
	return true
}

// overwriteNear copies a piece over what this machine's memory has there, likewise.
func (o *op) overwriteNear(p *piece, gen uint32) bool {
	if !o.writesNear(p) {
		return false
	}
	g := p.grant(gen)
	if g == nil || !g.overwrite(p.buf, p.off) {
		return false
	}
	p.done = true
	o.c.counts.inPlace.Add(uint64(len(p.buf)))
	return true
}

func (o *op) writesNear(p *piece) bool { return p.reach != nil && o.c.shortcut.write }

// beginNear has room made for the larger pieces of new bytes on this machine, and puts them there. Those of which that worked have a
// reference; the others go by message. An error is the write's; whatever was begun is ended then.
func (o *op) beginNear(k *known) error {
	o.reset()
	for i := range o.pieces {
		p := &o.pieces[i]
		if p.done || !o.writesNear(p) || len(p.buf) < roomFirst {
			continue
		}
		m := rpc.WriteChunk{
			Ino: p.in.ino, Chunk: p.chunk, Offset: p.off, Length: uint32(len(p.buf)), Gen: k.gen, ChunkBits: k.layout.ChunkBits,
		}
		p.call = o.call(rpc.MsgBeginWrite, p.shard)
		once(p.call)
		p.call.Body = m.AppendTo(p.call.Body)
	}
	if o.used == 0 {
		return nil
	}
	o.exchange()
	var failed *rpc.Call
	stale := false
	for i := range o.pieces {
		p := &o.pieces[i]
		if p.call == nil {
			continue
		}
		switch {
		case p.call.Err == nil:
			o.takeRoom(p, k.gen)
		case errors.Is(p.call.Err, fserr.ErrStaleGeneration):
			stale = true
		case !declined(p.call) && failed == nil:
			failed = p.call
		}
		p.call = nil
	}
	var err error
	switch {
	case stale:
		err = fserr.ErrStaleGeneration
	case failed != nil:
		err = o.gone(failed)
	}
	blame, blamed := o.blame, o.blamed
	o.abortBegun(err != nil)
	o.blame, o.blamed = blame, blamed
	return err
}

// declined: the shard does not offer this way now, and takes the bytes by message.
func declined(call *rpc.Call) bool {
	answer, ok := call.Err.(*rpc.HandlerError)
	return ok && answer.Status == rpc.StatusErrno && (answer.Code == syscall.EAGAIN || answer.Code == syscall.EOPNOTSUPP || answer.Code == syscall.EIDRM)
}

// takeRoom fills the room that a BeginWrite has answered with.
func (o *op) takeRoom(p *piece, gen uint32) {
	var reply rpc.BeginWriteReply
	if reply.Decode(p.call.Answer) != nil {
		return
	}
	p.ref = p.call.Header.Op
	if p.in.learnPlace(p.reach, p.chunk, &reply.Place, gen) {
		if g := p.in.grants.get(p.chunk); g != nil {
			p.filled = g.place.Is(reply.Place.Slot, reply.Place.Serial, reply.Place.Bytes) && g.fill(p.buf, p.off, reply.Bare)
		}
	}
	if p.filled {
		o.c.counts.inPlace.Add(uint64(len(p.buf)))
	}
}

// abortBegun gives up the begun writes whose room could not be filled, or all of them. What cannot be given up goes with the session.
func (o *op) abortBegun(all bool) {
	o.reset()
	for i := range o.pieces {
		if p := &o.pieces[i]; p.ref != 0 && (all || !p.filled) {
			o.endRef(p, false)
			p.ref, p.filled = 0, false
		}
	}
	if o.used > 0 {
		o.exchange()
	}
}

// endRef adds the message that ends a begun write.
func (o *op) endRef(p *piece, commit bool) *rpc.Call {
	m := rpc.EndWrite{Ref: p.ref, Commit: commit}
	call := o.call(rpc.MsgEndWrite, p.shard)
	call.Body = m.AppendTo(call.Body)
	return call
}
