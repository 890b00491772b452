package client

import (
	"context"
	"io"
	"syscall"

	"github.com/pkg/errors"

	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/internal/inode"
	"github.com/benchfs/benchfs/rpc"
)

// Reading. The owners of the chunks are asked at once, with the generation that is known. What the answers mean:
//
//   - Bytes that an owner has are the file's.
//   - Bytes that an owner does not have, below a size that was known before it was asked, are a hole if the generation is still the same
//     after the answer: nothing that was written there in this generation can have gone. They are zeros then, and only then.
//   - Where the range goes beyond the known size, the inode's shard is asked along with the owners. Its answer is the end of the file
//     for this read; what it adds to the known size is read in a second pass.
//   - A different generation, from an owner (StatusStaleGen) or from the inode's shard, voids the whole attempt.
//
// So a read inside the known size costs one round trip, and so does one that meets the end of the file. Any error of any piece
// is the error of the read: a short count means the end of the file and nothing else.

// Pread reads len(p) bytes at off. Fewer, and no error, mean the end of the file.
func (f *File) Pread(ctx context.Context, p []byte, off int64) (int, error) {
	if n, ok := f.directRead(p, off); ok {
		return n, nil
	}
	o := f.c.begin(ctx, opRead)
	o.one[0] = p
	n, err := o.preadv(f, o.one[:], off)
	return n, o.end(f.name, err)
}

// Preadv is Pread into several buffers, filled one after the other.
func (f *File) Preadv(ctx context.Context, bufs [][]byte, off int64) (int, error) {
	o := f.c.begin(ctx, opRead)
	n, err := o.preadv(f, bufs, off)
	return n, o.end(f.name, err)
}

// Read reads at the position and advances it.
func (f *File) Read(ctx context.Context, p []byte) (int, error) {
	if n, ok := f.directReadNext(p); ok {
		return n, nil
	}
	o := f.c.begin(ctx, opRead)
	o.one[0] = p
	n, err := o.readv(f, o.one[:])
	return n, o.end(f.name, err)
}

// Readv is Read into several buffers.
func (f *File) Readv(ctx context.Context, bufs [][]byte) (int, error) {
	o := f.c.begin(ctx, opRead)
	n, err := o.readv(f, bufs)
	return n, o.end(f.name, err)
}

// directReadNext is directRead at the position.
func (f *File) directReadNext(p []byte) (n int, ok bool) {
	f.posMu.Lock()
	defer f.posMu.Unlock()
	n, ok = f.directRead(p, f.pos)
	f.pos += int64(n)
	return n, ok
}

func (o *op) readv(f *File, bufs [][]byte) (int, error) {
	f.posMu.Lock()
	defer f.posMu.Unlock()
	n, err := o.preadv(f, bufs, f.pos)
	f.pos += int64(n)
	return n, err
}

func (o *op) preadv(f *File, bufs [][]byte, off int64) (int, error) {
	if err := f.readable(); err != nil {
		return 0, err
	}
	want, err := vector(bufs)
	switch {
	case err != nil:
		return 0, err
	case off < 0:
		return 0, syscall.EINVAL
	case want == 0:
		return 0, nil
	}
	pos := uint64(off)
	want = min(want, maxSize-pos)
	var n uint64
	if o.c.cache != nil {
		n, err = o.c.cache.read(o, f, bufs, pos, want)
	} else {
		n, err = o.readRange(f.in, bufs, pos, want)
	}
	o.c.counts.bytesRead.Add(n)
	return int(n), err
}

// readRange reads [pos, pos+want) into bufs and returns how much of it the file has.
func (o *op) readRange(in *openInode, bufs [][]byte, pos, want uint64) (uint64, error) {
	for {
		k := in.snapshot()
		n, err := o.readOnce(in, &k, bufs, pos, want)
		if err == nil {
			return n, nil
		}
		if !o.again(&err) {
			return 0, o.fileGone(err)
		}
		if _, err := o.refresh(in); err != nil {
			return 0, o.fileGone(err)
		}
	}
}

// fileGone gives a vanished inode that is open the errno of a stale handle: there is no name to look up again.
func (o *op) fileGone(err error) error {
	if errors.Is(err, errVanished) {
		return errors.Wrap(syscall.ESTALE, "the server has lost the open file")
	}
	return err
}

// readOnce is one attempt under the generation k.gen. fserr.ErrStaleGeneration voids it.
func (o *op) readOnce(in *openInode, k *known, bufs [][]byte, pos, want uint64) (uint64, error) {
	end := pos + want
	beyond := end > k.size
	first := min(end, max(k.size, pos)) // end of the first pass
	var attr inode.Attr
	holes, err := o.pass(in, k, bufs, pos, pos, first, beyond, &attr)
	if err != nil {
		return 0, err
	}
	if beyond {
		if err := o.same(in, k, &attr); err != nil {
			return 0, err
		}
		end = max(min(end, attr.Size), pos)
		if first > end { // cannot be within a generation
			return 0, errors.Wrap(syscall.EIO, "the file's size went back within a generation")
		}
		if end > first {
			k.size = attr.Size
			more, err := o.pass(in, k, bufs, pos, first, end, false, nil)
			if err != nil {
				return 0, err
			}
			holes = holes || more
		}
	}
	if holes {
		if attr, err = o.refresh(in); err != nil {
			return 0, err
		}
		if err := o.same(in, k, &attr); err != nil {
			return 0, err
		}
	}
	return end - pos, nil
}

// same checks that the attributes, asked for after k was taken, are of the same generation, layout and placement.
func (o *op) same(in *openInode, k *known, a *inode.Attr) error {
	in.learn(a)
	switch {
	case a.TruncGen != k.gen, a.Layout != k.layout:
		return fserr.ErrStaleGeneration
	case a.Layout.Strategy == layout.Local && a.RunsVersion != k.runsVersion:
		if err := o.refreshRuns(in, a); err != nil {
			return err
		}
		return fserr.ErrStaleGeneration
	}
	return nil
}

// pass reads [from, to) of a file, of which bufs begin at pos, window by window. What the owners do not have becomes zeros, and
// holes tells that there is some: the caller must have it confirmed. With withAttr the inode's attributes are
// asked for along with the last window.
func (o *op) pass(in *openInode, k *known, bufs [][]byte, pos, from, to uint64, withAttr bool, attr *inode.Attr) (holes bool, err error) {
	c := newCursor(bufs, from-pos, from, to-from, k.layout.ChunkBits)
	for {
		some := o.window(in, k, &c)
		last := c.pos == to
		if !some && !(last && withAttr) {
			if !last {
				return holes, io.ErrShortBuffer // bufs hold less than the caller said
			}
			return holes, nil
		}
		o.attach()
		o.reset()
		for i := range o.pieces {
			if p := &o.pieces[i]; !o.readNear(p, k.gen) {
				o.askPiece(in, k, p, len(p.buf) >= placeFirst)
			}
		}
		var ask *rpc.Call
		if last && withAttr {
			ask = o.call(rpc.MsgGetAttr, in.ino.Shard())
			m := rpc.InodeRequest{Ino: in.ino}
			ask.Body = m.AppendTo(ask.Body)
		}
		if o.used > 0 {
			o.exchange()
		}
		if err := o.staleOrFailed(); err != nil {
			return holes, err
		}
		if ask != nil {
			if *attr, err = o.attrOf(ask, in.ino); err != nil {
				return holes, err
			}
		}
		for i := range o.pieces {
			if err := o.takePiece(&o.pieces[i], k.gen); err != nil {
				return holes, err
			}
		}
		if err := o.askForRest(in, k); err != nil {
			return holes, err
		}
		for i := range o.pieces {
			holes = holes || o.pieces[i].absent
		}
		if last {
			return holes, nil
		}
	}
}

// askPiece adds the message that reads a piece; with placeOnly, where it can be read without one, the message that asks for that place.
func (o *op) askPiece(in *openInode, k *known, p *piece, placeOnly bool) {
	if !p.placed {
		return
	}
	m := rpc.ReadChunk{
		Ino: in.ino, Chunk: p.chunk, Offset: p.off, Length: uint32(len(p.buf)), Gen: k.gen, Share: p.reach != nil,
	}
	p.call = o.call(rpc.MsgReadChunk, p.shard)
	if placeOnly && p.reach != nil {
		m.Length = 0
	} else {
		p.call.In = p.buf
		o.c.counts.byMessage.Add(uint64(len(p.buf)))
	}
	p.call.Body = m.AppendTo(p.call.Body)
}

// takePiece reads a piece's answer. What the owner does not have becomes zeros for now, and the piece absent. A piece of which only the place
// was asked for is read there; if that does not work, it is not done afterwards.
func (o *op) takePiece(p *piece, gen uint32) error {
	switch {
	case p.done:
		return nil
	case p.call == nil:
		clear(p.buf)
		p.done, p.absent = true, true
		return nil
	}
	var reply rpc.ReadChunkReply
	if err := reply.Decode(p.call.Answer); err != nil {
		return o.broken(p.call, "answer to a read does not parse")
	}
	placed := p.in.learnPlace(p.reach, p.chunk, &reply.Place, gen)
	if p.call.In == nil {
		if placed {
			o.readNear(p, gen)
		}
		return nil
	}
	if int(reply.Present) != p.call.Received || p.call.Received > len(p.buf) {
		return o.broken(p.call, "a read's payload is not as long as its answer says")
	}
	clear(p.buf[reply.Present:])
	p.done, p.absent = true, int(reply.Present) < len(p.buf)
	return nil
}

// askForRest reads by message what could not be read in place: a chunk that does not exist yet, or has just moved.
func (o *op) askForRest(in *openInode, k *known) error {
	rest := false
	for i := range o.pieces {
		rest = rest || !o.pieces[i].done
	}
	if !rest {
		return nil
	}
	o.reset()
	for i := range o.pieces {
		if p := &o.pieces[i]; !p.done {
			o.askPiece(in, k, p, false)
		}
	}
	o.exchange()
	if err := o.staleOrFailed(); err != nil {
		return err
	}
	for i := range o.pieces {
		if err := o.takePiece(&o.pieces[i], k.gen); err != nil {
			return err
		}
	}
	return nil
}

// staleOrFailed is the outcome of an exchange of chunk messages: fserr.ErrStaleGeneration if anybody says so (the attempt
// is void then whatever else went wrong), else the first error.
func (o *op) staleOrFailed() error {
	var failed *rpc.Call
	for _, call := range o.calls[:o.used] {
		if call.Err == nil {
			continue
		}
		if errors.Is(call.Err, fserr.ErrStaleGeneration) {
			return fserr.ErrStaleGeneration
		}
		if failed == nil {
			failed = call
		}
	}
	if failed != nil {
		return o.gone(failed)
	}
	return nil
}
