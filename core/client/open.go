package client

import (
	"context"
	"fmt"
	"syscall"

	"github.com/pkg/errors"
	"golang.org/x/sys/unix"

	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/internal/inode"
	"github.com/benchfs/benchfs/rpc"
	"github.com/benchfs/benchfs/shm"
)

// Flags of open(2). Those in harmless are accepted and change nothing here: O_DIRECT because data is moved once anyway, O_NOATIME
// because reads never touch atime, the others because they are about descriptors or about files that BenchFS does not have.
const (
	flagsHandled = unix.O_ACCMODE | unix.O_CREAT | unix.O_EXCL | unix.O_TRUNC | unix.O_APPEND | unix.O_DIRECTORY | unix.O_NOFOLLOW |
		unix.O_SYNC | unix.O_DSYNC
	flagsHarmless = unix.O_CLOEXEC | oLargeFile | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_DIRECT | unix.O_NOATIME | unix.O_ASYNC
	// oLargeFile is what the kernel calls O_LARGEFILE on x86-64; libc defines it as 0 there and passes it from 32-bit code.
	oLargeFile = 0o100000
	// tmpFileBit is the part of O_TMPFILE that is not O_DIRECTORY.
	tmpFileBit = unix.O_TMPFILE &^ unix.O_DIRECTORY
)

// checkFlags refuses what open cannot do.
func checkFlags(flags int) error {
	switch {
	case flags&tmpFileBit != 0:
		return errors.Wrap(syscall.EOPNOTSUPP, "O_TMPFILE")
	case flags&^(flagsHandled|flagsHarmless) != 0:
		return errors.Wrapf(syscall.EINVAL, "unknown open flags %#o", flags&^(flagsHandled|flagsHarmless))
	case flags&unix.O_ACCMODE == unix.O_ACCMODE:
		return errors.Wrap(syscall.EINVAL, "neither reading nor writing")
	case flags&unix.O_CREAT != 0 && flags&unix.O_DIRECTORY != 0:
		return errors.Wrap(syscall.EINVAL, "O_CREAT with O_DIRECTORY")
	}
	return nil
}

// access is the permission that opening an existing file with the flags needs.
func access(flags int) uint32 {
	var want uint32
	switch flags & unix.O_ACCMODE {
	case unix.O_RDONLY:
		want = mayRead
	case unix.O_WRONLY:
		want = mayWrite
	case unix.O_RDWR:
		want = mayRead | mayWrite
	}
	if flags&unix.O_TRUNC != 0 {
		want |= mayWrite
	}
	return want
}

// Open opens a file or directory; flags are those of open(2) (syscall.O_*), mode is used when a file is made. at is where a
// relative path starts. The File must be closed.
func (c *Client) Open(ctx context.Context, at At, path string, flags int, mode uint32) (*File, error) {
	o := c.begin(ctx, opOpen)
	f, err := o.open(at, path, flags, mode)
	return f, o.end(path, err)
}

// OpenInode opens an inode by its number, whether it still has a name or not. flags are those of Open without those that make, cut or
// select by kind. Permissions are not looked at: whoever has the number of an open file has been allowed to open it once, as with
// descriptors that a child inherits. ESTALE when the inode is gone.
func (c *Client) OpenInode(ctx context.Context, ino inode.Ino, flags int) (*File, error) {
	o := c.begin(ctx, opOpen)
	f, err := o.openInode(ino, flags)
	return f, o.end(fmt.Sprintf("inode %d", ino), err)
}

func (o *op) openInode(ino inode.Ino, flags int) (*File, error) {
	if err := checkFlags(flags); err != nil {
		return nil, err
	}
	switch {
	case flags&(unix.O_CREAT|unix.O_EXCL|unix.O_TRUNC) != 0:
		return nil, errors.Wrap(syscall.EINVAL, "O_CREAT, O_EXCL or O_TRUNC")
	case ino == 0 || ino.Shard() >= o.c.shards():
		return nil, syscall.ESTALE
	}
	f := &File{c: o.c, name: fmt.Sprintf("inode %d", ino), handle: lastHandle.Add(1)}
	f.flags.Store(int64(flags))
	f.refs.Store(1)
	attr, err := o.openHandle(ino, f.handle)
	switch {
	case errors.Is(err, errVanished):
		return nil, syscall.ESTALE
	case err != nil:
		return nil, err
	}
	switch {
	case attr.Kind == inode.Dir && access(flags)&mayWrite != 0:
		err = syscall.EISDIR
	case attr.Kind == inode.Symlink:
		err = syscall.ELOOP
	case attr.Kind != inode.Dir && flags&unix.O_DIRECTORY != 0:
		err = syscall.ENOTDIR
	}
	if err != nil {
		o.forget(f, ino)
		return nil, err
	}
	f.told.Store(true)
	o.c.inodes.attach(f, &attr)
	return f, nil
}

func (o *op) open(at At, path string, flags int, mode uint32) (*File, error) {
	if err := checkFlags(flags); err != nil {
		return nil, err
	}
	f := &File{c: o.c, name: path, handle: lastHandle.Add(1)}
	f.flags.Store(int64(flags))
	f.refs.Store(1)
	for {
		found, err := o.openOnce(f, at, path, mode)
		if !o.again(&err) {
			if err != nil {
				return nil, err
			}
			if o.pin.Held() {
				f.pin = o.pin
				o.c.counts.direct.Add(1)
			} else {
				f.told.Store(true)
			}
			o.c.inodes.attach(f, &found.attr)
			f.in.learnPlace(found.reach, 0, &found.place, found.gen)
			return f, nil
		}
	}
}

// found is a file that was opened.
type found struct {
	attr  inode.Attr
	place rpc.Place // of its first chunk, if that was told, in generation gen
	gen   uint32
	reach *reach
}

// openOnce looks up or makes the file and registers f's handle.
func (o *op) openOnce(f *File, at At, path string, mode uint32) (found, error) {
	var w walk
	if err := w.start(o, at, path); err != nil {
		return found{}, err
	}
	flags := f.Flags()
	for {
		e, err := w.openLast(f, flags, mode)
		if err != nil {
			return found{}, err
		}
		if e.Kind == inode.Symlink {
			switch {
			case flags&unix.O_NOFOLLOW != 0 && !w.slash && flags&unix.O_DIRECTORY != 0:
				return found{}, syscall.ENOTDIR
			case flags&unix.O_NOFOLLOW != 0 && !w.slash:
				return found{}, syscall.ELOOP
			}
			if err := w.follow(e.Ino); err != nil {
				return found{}, err
			}
			continue
		}
		attr, err := o.openEntry(f, &w, &e)
		if err != nil && e.Opened {
			o.forget(f, e.Ino)
		}
		return found{attr: attr, place: e.Place, gen: e.Attr.TruncGen, reach: o.near}, err
	}
}

// openLast looks up the last component, or makes it when the flags say so.
func (w *walk) openLast(f *File, flags int, mode uint32) (rpc.EntryReply, error) {
	if flags&unix.O_CREAT == 0 {
		if w.last != lastName {
			return w.find()
		}
		handle := f.handle
		if w.slash || flags&unix.O_DIRECTORY != 0 {
			handle = 0 // a file will be refused
		}
		return w.o.lookup(w.dir.ino, w.name, handle)
	}
	switch {
	case w.last != lastName && flags&unix.O_EXCL != 0:
		return rpc.EntryReply{}, syscall.EEXIST
	case w.last != lastName, w.slash:
		return rpc.EntryReply{}, syscall.EISDIR
	}
	if err := w.mayChange(); errors.Is(err, syscall.EACCES) {
		// What exists may be opened without the right to make it.
		e, lookupErr := w.o.lookup(w.dir.ino, w.name, f.handle)
		switch {
		case errors.Is(lookupErr, syscall.ENOENT):
			return e, err
		case lookupErr == nil && flags&unix.O_EXCL != 0:
			if e.Opened {
				w.o.forget(f, e.Ino)
			}
			return e, syscall.EEXIST
		}
		return e, lookupErr
	} else if err != nil {
		return rpc.EntryReply{}, err
	}
	return w.create(rpc.MsgCreateFile, inode.File, mode, flags&unix.O_EXCL != 0, f.handle, "")
}

// openEntry checks that the entry may be opened as the flags say, and opens what is not open yet.
func (o *op) openEntry(f *File, w *walk, e *rpc.EntryReply) (inode.Attr, error) {
	flags := f.Flags()
	want := access(flags)
	switch {
	case e.Kind == inode.Dir && (want&mayWrite != 0 || flags&unix.O_CREAT != 0):
		return inode.Attr{}, syscall.EISDIR
	case e.Kind != inode.Dir && (w.slash || flags&unix.O_DIRECTORY != 0):
		return inode.Attr{}, syscall.ENOTDIR
	}
	cred := o.c.cred()
	if !e.Created && !cred.root() {
		attr, err := o.entryAttr(e)
		if err != nil {
			return attr, err
		}
		if !cred.allows(&attr, want) {
			return attr, syscall.EACCES
		}
	}
	attr := e.Attr
	if !e.Opened {
		var err error
		if attr, err = o.openHandle(e.Ino, f.handle); err != nil {
			return attr, err
		}
		e.Opened = true
	}
	if flags&unix.O_TRUNC != 0 && !e.Created {
		return o.truncateTo(e.Ino, 0)
	}
	return attr, nil
}

// openHandle registers a handle on an inode.
func (o *op) openHandle(ino inode.Ino, handle uint64) (inode.Attr, error) {
	o.reset()
	m := rpc.OpenHandle{Ino: ino, Handle: handle}
	call := o.call(rpc.MsgOpen, ino.Shard())
	call.Body = m.AppendTo(call.Body)
	o.exchange()
	return o.attrOf(call, ino)
}

// forget drops a handle of an open that failed after all. When this fails too, the handle goes with the client's session.
func (o *op) forget(f *File, ino inode.Ino) {
	if o.pin.Held() {
		o.c.unpin(o.ctx, o.pin, ino, f.handle)
		o.pin = shm.Pin{}
		return
	}
	blame, blamed := o.blame, o.blamed
	_ = o.releaseHandle(ino, f.handle, 0)
	o.blame, o.blamed = blame, blamed
	f.handle = lastHandle.Add(1)
}

func (o *op) releaseHandle(ino inode.Ino, handle uint64, mtime int64) error {
	o.reset()
	m := rpc.ReleaseHandles{Handles: []rpc.ReleaseHandle{{Ino: ino, Handle: handle, Mtime: mtime}}}
	call := o.call(rpc.MsgRelease, ino.Shard())
	call.Body = m.AppendTo(call.Body)
	return o.run()
}

// create makes the last component: an entry and its inode, in one message. For a File that exists already (and !exclusive) the answer is what
// the name stands for. target is a symbolic link's.
func (w *walk) create(t rpc.MsgType, kind inode.Kind, mode uint32, exclusive bool, handle uint64, target string) (rpc.EntryReply, error) {
	o := w.o
	uid, gid, mode, err := w.newOwner(kind, mode)
	if err != nil {
		return rpc.EntryReply{}, err
	}
	m := rpc.Create{
		Parent: w.dir.ino, Name: bytesOf(w.name), Mode: mode, UID: uid, GID: gid,
		Exclusive: exclusive, Open: handle != 0, Handle: handle, Layout: w.newLayout(kind),
	}
	var payload []byte
	if target != "" {
		if payload, err = o.payload(); err != nil {
			return rpc.EntryReply{}, err
		}
		payload = payload[:copy(payload, target)]
	}
	n := nameIn(w.dir.ino, w.name)
	shard := n.key.Shard(o.c.shards())
	v := versionOf(o.c.shortcut.reachable(shard), &n)
	o.reset()
	call := o.call(t, shard)
	call.Body = m.AppendTo(call.Body)
	call.Out = payload
	once(call)
	if err := o.run(); err != nil {
		return rpc.EntryReply{}, o.lookAgain(err)
	}
	reply, err := o.entryOf(call)
	if err == nil {
		o.c.lookups.learn(v, &n, reply.Ino, reply.Kind)
	}
	return reply, err
}

// newLayout is what a new inode in dir inherits. What this client asks for counts for files only: a directory would hand it on to those of others.
func (w *walk) newLayout(kind inode.Kind) layout.Layout {
	l := w.dir.attr.Layout
	if l.Strategy == layout.None && kind == inode.File {
		l = w.o.c.o.Layout
	}
	return l
}
