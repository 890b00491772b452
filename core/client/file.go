package client

import (
	"context"
	"io"
	"math"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/pkg/errors"
	"golang.org/x/sys/unix"

	"github.com/benchfs/benchfs/cache"
	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/internal/chain"
	"github.com/benchfs/benchfs/internal/inode"
	"github.com/benchfs/benchfs/rpc"
	"github.com/benchfs/benchfs/shm"
)

// File is an open file description: what dup(2) shares. It must not be used after the last Close.
type File struct {
	c      *Client
	in     *openInode
	name   string
	handle uint64       // registered at the inode's shard, if told
	told   atomic.Bool  // …and else it is open by pin
	pin    shm.Pin      // set once
	flags  atomic.Int64 // as given to Open; SetFlags changes some
	refs   atomic.Int32

	listed chain.Link[File] // in table.files; guarded by table.mu

	sequence cache.Sequence // of reads, for reading ahead; used with a cache only
	tally    tally          // of what took no message

	// posMu is held during a sequential call, also while it waits: two Reads of one description get different bytes.
	posMu sync.Mutex
	pos   int64
}

// Ino is the file's identity.
func (f *File) Ino() inode.Ino { return f.in.ino }

// Kind is File or Dir.
func (f *File) Kind() inode.Kind { return f.in.kind }

// Name is the path that the file was opened by.
func (f *File) Name() string { return f.name }

// Flags are those that the file was opened with.
func (f *File) Flags() int { return int(f.flags.Load()) }

// SetFlags changes what fcntl(F_SETFL) can change: O_APPEND, O_NONBLOCK, O_DIRECT, O_NOATIME, O_ASYNC.
func (f *File) SetFlags(flags int) {
	const changeable = unix.O_APPEND | unix.O_NONBLOCK | unix.O_DIRECT | unix.O_NOATIME | unix.O_ASYNC
	for {
		old := f.flags.Load()
		if f.flags.CompareAndSwap(old, old&^changeable|int64(flags)&changeable) {
			return
		}
	}
}

// Retain adds a reference (dup). Each needs its own Close.
func (f *File) Retain() { f.refs.Add(1) }

// Close drops a reference; the last one releases the file. Whatever it returns, the reference is gone. So are the locks that the
// process itself has on ranges of the file, whichever of its handles they were taken through, as POSIX wants it.
func (f *File) Close(ctx context.Context) error {
	var err error
	if f.in.locked.Load() {
		err = f.unlockAll(ctx)
	}
	if dropErr := f.drop(ctx); dropErr != nil {
		return dropErr
	}
	return err
}

// drop is Close for a reference that the application knows nothing of.
func (f *File) drop(ctx context.Context) error {
	if f.refs.Add(-1) != 0 {
		return nil
	}
	f.c.inodes.detach(f) // before the release: see ReopenHandles
	f.c.counts.add(&f.tally)
	mtime := f.in.takeMtime()
	if mtime == 0 {
		f.c.counts.ops[opClose].Add(1)
		if f.told.Load() {
			f.pin.Drop() // before the shard looks
			f.c.releaseSoon(ctx, f.in.ino, f.handle)
		} else {
			f.c.unpin(ctx, f.pin, f.in.ino, f.handle)
		}
		return nil
	}
	f.pin.Drop()
	o := f.c.begin(ctx, opClose)
	return o.end(f.name, o.releaseHandle(f.in.ino, f.handle, mtime))
}

func (f *File) readable() error {
	if f.Flags()&unix.O_ACCMODE == unix.O_WRONLY {
		return syscall.EBADF
	}
	if f.in.kind == inode.Dir {
		return syscall.EISDIR
	}
	return nil
}

func (f *File) writable() error {
	if f.Flags()&unix.O_ACCMODE == unix.O_RDONLY {
		return syscall.EBADF
	}
	return nil
}

// Seek sets the position, as lseek(2): whence is io.SeekStart, SeekCurrent, SeekEnd, or SEEK_DATA (3) and SEEK_HOLE (4), for which the
// whole file counts as data. ENXIO: no data (or hole) at or after offset.
func (f *File) Seek(ctx context.Context, offset int64, whence int) (int64, error) {
	o := f.c.begin(ctx, opSeek)
	f.posMu.Lock()
	pos, err := f.target(o, offset, whence)
	if err == nil {
		f.pos = pos
	}
	f.posMu.Unlock()
	if err = o.end(f.name, err); err != nil {
		return -1, err
	}
	return pos, nil
}

// target is where a seek leads.
func (f *File) target(o *op, offset int64, whence int) (int64, error) {
	base := int64(0)
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		base = f.pos
	case io.SeekEnd, unix.SEEK_DATA, unix.SEEK_HOLE:
		attr, err := o.refresh(f.in)
		if err != nil {
			return 0, err
		}
		base = int64(min(attr.Size, math.MaxInt64))
	default:
		return 0, errors.Wrapf(syscall.EINVAL, "whence %d", whence)
	}
	if whence == unix.SEEK_DATA || whence == unix.SEEK_HOLE {
		if offset < 0 || offset >= base {
			return 0, syscall.ENXIO
		}
		if whence == unix.SEEK_HOLE {
			return base, nil
		}
		return offset, nil
	}
	if offset > math.MaxInt64-base {
		return 0, syscall.EOVERFLOW
	}
	if base+offset < 0 {
		return 0, syscall.EINVAL
	}
	return base + offset, nil
}

// Sync makes what has been written to the file survive power loss, where the medium can: fsync, or fdatasync with dataOnly.
func (f *File) Sync(ctx context.Context, dataOnly bool) error {
	o := f.c.begin(ctx, opSync)
	return o.end(f.name, o.sync(f.in, dataOnly))
}

func (o *op) sync(in *openInode, dataOnly bool) error {
	if !dataOnly {
		if err := o.tellMtime(in); err != nil {
			return err
		}
	}
	attr, err := o.refresh(in)
	if err != nil {
		return err
	}
	k := in.snapshot()
	shards := o.c.allShards() // of a directory: its entries are everywhere
	if attr.Kind == inode.File {
		shards = owners(&attr, &k, o.c.shards())
	}
	m := rpc.SyncChunks{Ino: in.ino}
	return o.fanOut(shards, func(shard uint32) {
		call := o.call(rpc.MsgSyncChunks, shard)
		call.Body = m.AppendTo(call.Body)
	}, nil)
}

// tellMtime sends the time of overwrites that the inode's shard does not know yet.
func (o *op) tellMtime(in *openInode) error {
	mtime := in.takeMtime()
	if mtime == 0 {
		return nil
	}
	attr, err := o.setAttr(rpc.SetAttr{Ino: in.ino, Mask: inode.SetMtimeMax, Mtime: mtime})
	if err != nil {
		in.overwritten(mtime)
		return err
	}
	in.learn(&attr)
	return nil
}

// owners are the shards that may hold something of a file: its inode's, and those of its chunks.
func owners(a *inode.Attr, k *known, shards uint32) []uint32 {
	list := []uint32{a.Ino.Shard()}
	if a.Size == 0 {
		return list
	}
	seen := map[uint32]bool{a.Ino.Shard(): true}
	add := func(shard uint32) {
		if !seen[shard] {
			seen[shard] = true
			list = append(list, shard)
		}
	}
	if a.Layout.Strategy == layout.Local {
		for _, run := range k.runs {
			add(run.Shard)
		}
		return list
	}
	chunks := layout.Pieces(0, a.Size, a.Layout.ChunkBits)
	if chunks >= 8*uint64(shards) { // hardly a shard without one
		for shard := range shards {
			add(shard)
		}
		return list
	}
	for chunk := range chunks {
		if shard, ok := k.owner(a.Ino, chunk); ok {
			add(shard)
		}
	}
	return list
}

// fanOut sends one message to each shard, at most MaxParallel at a time. prepare adds exactly one call; done (may be nil)
// sees each answered call. The first error ends it.
func (o *op) fanOut(shards []uint32, prepare func(shard uint32), done func(call *rpc.Call, shard uint32) error) error {
	for len(shards) > 0 {
		batch := shards[:min(len(shards), o.c.o.MaxParallel)]
		shards = shards[len(batch):]
		o.reset()
		for _, shard := range batch {
			prepare(shard)
		}
		if err := o.run(); err != nil {
			return err
		}
		if done == nil {
			continue
		}
		for i, shard := range batch {
			if err := done(o.calls[i], shard); err != nil {
				return err
			}
		}
	}
	return nil
}

// allShards is the list of all of them.
func (c *Client) allShards() []uint32 {
	list := make([]uint32, c.shards())
	for i := range list {
		list[i] = uint32(i)
	}
	return list
}

// Truncate sets the file's size, as ftruncate(2).
func (f *File) Truncate(ctx context.Context, size int64) error {
	o := f.c.begin(ctx, opTruncate)
	return o.end(f.name, o.truncateFile(f, size))
}

func (o *op) truncateFile(f *File, size int64) error {
	switch {
	case size < 0:
		return syscall.EINVAL
	case f.in.kind != inode.File, f.writable() != nil:
		return syscall.EINVAL
	}
	_, err := o.truncateTo(f.in.ino, uint64(size))
	return err
}

// truncateTo sets the size of a file and returns its attributes after it.
func (o *op) truncateTo(ino inode.Ino, size uint64) (inode.Attr, error) {
	o.reset()
	m := rpc.Truncate{Ino: ino, Size: size}
	call := o.call(rpc.MsgTruncate, ino.Shard())
	call.Body = m.AppendTo(call.Body)
	once(call)
	o.exchange()
	attr, err := o.attrOf(call, ino)
	if err != nil {
		return attr, err
	}
	if in := o.c.inodes.find(ino); in != nil {
		in.learn(&attr)
	}
	if o.c.cache != nil {
		o.c.cache.changed(ino)
	}
	return attr, nil
}
