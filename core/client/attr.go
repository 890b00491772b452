package client

import (
	"context"
	"syscall"

	"github.com/pkg/errors"

	"github.com/benchfs/benchfs/internal/inode"
	"github.com/benchfs/benchfs/rpc"
)

// Time is a time stamp to set, as in utimensat(2).
type Time struct {
	NS   int64 // since the Unix epoch, unless Now or Omit
	Now  bool  // the server's clock
	Omit bool  // leave as it is
}

// Keep as uid or gid of Chown leaves it as it is.
const Keep = ^uint32(0)

// Stat returns the attributes of a path; without follow, of a symbolic link at its end.
func (c *Client) Stat(ctx context.Context, at At, path string, follow bool) (inode.Attr, error) {
	o := c.begin(ctx, opStat)
	for {
		attr, err := o.statOnce(at, path, follow)
		if !o.again(&err) {
			return attr, o.end(path, err)
		}
	}
}

func (o *op) statOnce(at At, path string, follow bool) (inode.Attr, error) {
	e, err := o.resolvePath(at, path, follow)
	if err != nil {
		return inode.Attr{}, err
	}
	return o.stat(&e)
}

// stat completes attributes: with what this process has written and not told yet, and with what all shards know of a directory.
func (o *op) stat(e *rpc.EntryReply) (inode.Attr, error) {
	if e.Kind == inode.File {
		if in := o.c.inodes.find(e.Ino); in != nil && in.mtime.Load() != 0 {
			if err := o.tellMtime(in); err != nil {
				return inode.Attr{}, err
			}
			e.HasAttr = false
		}
	}
	attr, err := o.entryAttr(e)
	if err != nil {
		return attr, err
	}
	if attr.Kind == inode.Dir {
		err = o.fillDir(&attr)
	} else if in := o.c.inodes.find(attr.Ino); in != nil {
		in.learn(&attr)
	}
	return attr, err
}

// fillDir adds the parts of a directory that its entries' shards know: link count, size (the number of entries) and the time of
// the last change. A change of the inode itself (chmod, utimens) takes the earlier ones in: see setAttrOf.
func (o *op) fillDir(a *inode.Attr) error {
	var entries, subdirs uint64
	changed := int64(0)
	m := rpc.InodeRequest{Ino: a.Ino}
	err := o.fanOut(o.c.allShards(), func(shard uint32) {
		call := o.call(rpc.MsgDirInfo, shard)
		call.Body = m.AppendTo(call.Body)
	}, func(call *rpc.Call, _ uint32) error {
		var info rpc.DirInfoReply
		if err := info.Decode(call.Answer); err != nil || info.Subdirs > info.Entries {
			return o.broken(call, "a directory's summary makes no sense")
		}
		entries += info.Entries
		subdirs += info.Subdirs
		changed = max(changed, info.Mtime)
		return nil
	})
	if err != nil {
		return o.lookAgain(err)
	}
	a.Size = entries
	if a.Nlink != 0 { // 0: removed, and still open somewhere
		a.Nlink = uint32(min(2+subdirs, 1<<32-1))
	}
	if changed > a.Ctime {
		a.Mtime = max(a.Mtime, changed)
		a.Ctime = changed
	}
	return nil
}

// keepDirTimes writes the time of the last change of a directory's entries into its inode, before something changes the inode's own
// ctime: afterwards older changes of entries no longer count, so that a time set by utimens holds.
func (o *op) keepDirTimes(dir inode.Ino) error {
	attr, err := o.getAttr(dir)
	if err != nil {
		return err
	}
	before := attr.Mtime
	if err := o.fillDir(&attr); err != nil || attr.Mtime == before {
		return err
	}
	_, err = o.setAttr(rpc.SetAttr{Ino: dir, Mask: inode.SetMtimeMax, Mtime: attr.Mtime})
	return err
}

// setAttr sends a change of attributes.
func (o *op) setAttr(m rpc.SetAttr) (inode.Attr, error) {
	o.reset()
	call := o.call(rpc.MsgSetAttr, m.Ino.Shard())
	call.Body = m.AppendTo(call.Body)
	once(call)
	o.exchange()
	attr, err := o.attrOf(call, m.Ino)
	o.c.dirs.changed(m.Ino)
	return attr, err
}

// setAttrOf is setAttr for an inode whose attributes are a. A directory takes in the time of the last change of its entries.
func (o *op) setAttrOf(a *inode.Attr, m rpc.SetAttr) error {
	m.Ino = a.Ino
	if a.Kind == inode.Dir && m.Mask&(inode.SetMtime|inode.SetMtimeNow) == 0 {
		filled := *a
		if err := o.fillDir(&filled); err != nil {
			return err
		}
		if filled.Mtime > a.Mtime {
			m.Mask |= inode.SetMtimeMax
			m.Mtime = filled.Mtime
		}
	}
	attr, err := o.setAttr(m)
	if in := o.c.inodes.find(m.Ino); err == nil && in != nil {
		in.learn(&attr)
	}
	return err
}

// Access checks what the caller may do: amode is a mask of 4 (read), 2 (write), 1 (execute), or 0 (exists). EACCES if not all of it.
// effective is accepted for access(2)'s sake: a BenchFS client has one identity.
func (c *Client) Access(ctx context.Context, at At, path string, amode uint32, effective, follow bool) error {
	_ = effective
	o := c.begin(ctx, opAccess)
	if amode&^(mayRead|mayWrite|mayExec) != 0 {
		return o.end(path, syscall.EINVAL)
	}
	for {
		attr, err := o.resolveAttr(at, path, follow)
		if err == nil && amode != 0 && !c.cred().allows(&attr, amode) {
			err = syscall.EACCES
		}
		if !o.again(&err) {
			return o.end(path, err)
		}
	}
}

// Chmod sets the mode bits (07777).
func (c *Client) Chmod(ctx context.Context, at At, path string, mode uint32, follow bool) error {
	return c.change(ctx, opChmod, at, path, follow, func(o *op, a *inode.Attr) error { return o.chmod(a, mode) })
}

// Chmod sets the mode bits of the open file.
func (f *File) Chmod(ctx context.Context, mode uint32) error {
	return f.change(ctx, opChmod, func(o *op, a *inode.Attr) error { return o.chmod(a, mode) })
}

// change runs what changes attributes on what a path stands for.
func (c *Client) change(ctx context.Context, kind opKind, at At, path string, follow bool, fn func(o *op, a *inode.Attr) error) error {
	o := c.begin(ctx, kind)
	for {
		attr, err := o.resolveAttr(at, path, follow)
		if err == nil {
			err = fn(o, &attr)
		}
		if !o.again(&err) {
			return o.end(path, err)
		}
	}
}

func (f *File) change(ctx context.Context, kind opKind, fn func(o *op, a *inode.Attr) error) error {
	o := f.c.begin(ctx, kind)
	attr, err := o.getAttr(f.in.ino)
	if err == nil {
		err = fn(o, &attr)
	}
	return o.end(f.name, o.fileGone(err))
}

func (o *op) chmod(a *inode.Attr, mode uint32) error {
	cred := o.c.cred()
	switch {
	case a.Kind == inode.Symlink:
		return errors.Wrap(syscall.EOPNOTSUPP, "a symbolic link has no mode of its own")
	case !cred.owns(a):
		return syscall.EPERM
	}
	mode &= modeAll
	if !cred.root() && !cred.inGroup(a.GID) {
		mode &^= modeSetGID
	}
	return o.setAttrOf(a, rpc.SetAttr{Mask: inode.SetMode, Mode: mode})
}

// Chown sets owner and group; Keep leaves one as it is. Only root gives files away; an owner may choose among their groups.
func (c *Client) Chown(ctx context.Context, at At, path string, uid, gid uint32, follow bool) error {
	return c.change(ctx, opChown, at, path, follow, func(o *op, a *inode.Attr) error { return o.chown(a, uid, gid) })
}

// Chown sets owner and group of the open file.
func (f *File) Chown(ctx context.Context, uid, gid uint32) error {
	return f.change(ctx, opChown, func(o *op, a *inode.Attr) error { return o.chown(a, uid, gid) })
}

func (o *op) chown(a *inode.Attr, uid, gid uint32) error {
	cred := o.c.cred()
	m := rpc.SetAttr{UID: uid, GID: gid}
	if uid != Keep {
		if !cred.root() && (uid != a.UID || cred.uid != a.UID) {
			return syscall.EPERM
		}
		m.Mask |= inode.SetUID
	}
	if gid != Keep {
		if !cred.root() && (cred.uid != a.UID || gid != a.GID && !cred.inGroup(gid)) {
			return syscall.EPERM
		}
		m.Mask |= inode.SetGID
	}
	if m.Mask == 0 {
		return nil
	}
	return o.setAttrOf(a, m)
}

// Utimens sets the time stamps.
func (c *Client) Utimens(ctx context.Context, at At, path string, atime, mtime Time, follow bool) error {
	return c.change(ctx, opUtimens, at, path, follow, func(o *op, a *inode.Attr) error { return o.utimens(a, atime, mtime) })
}

// Utimens sets the time stamps of the open file.
func (f *File) Utimens(ctx context.Context, atime, mtime Time) error {
	return f.change(ctx, opUtimens, func(o *op, a *inode.Attr) error { return o.utimens(a, atime, mtime) })
}

func (o *op) utimens(a *inode.Attr, atime, mtime Time) error {
	if atime.Omit && mtime.Omit {
		return nil
	}
	cred := o.c.cred()
	if !cred.owns(a) {
		if !atime.Now || !mtime.Now {
			return syscall.EPERM
		}
		if !cred.allows(a, mayWrite) {
			return syscall.EACCES
		}
	}
	m := rpc.SetAttr{Atime: atime.NS, Mtime: mtime.NS}
	switch {
	case atime.Omit:
	case atime.Now:
		m.Mask |= inode.SetAtimeNow
	default:
		m.Mask |= inode.SetAtime
	}
	switch {
	case mtime.Omit:
	case mtime.Now:
		m.Mask |= inode.SetMtimeNow
	default:
		m.Mask |= inode.SetMtime
	}
	if in := o.c.inodes.find(a.Ino); in != nil && !mtime.Omit {
		in.mtime.Store(0) // the time that is set now is newer than any overwrite before
	}
	return o.setAttrOf(a, m)
}

// Truncate sets the size of the file at path.
func (c *Client) Truncate(ctx context.Context, at At, path string, size int64) error {
	o := c.begin(ctx, opTruncate)
	for {
		err := o.truncateOnce(at, path, size)
		if !o.again(&err) {
			return o.end(path, err)
		}
	}
}

func (o *op) truncateOnce(at At, path string, size int64) error {
	if size < 0 {
		return syscall.EINVAL
	}
	e, err := o.resolvePath(at, path, true)
	if err != nil {
		return err
	}
	if e.Kind == inode.Dir {
		return syscall.EISDIR
	}
	if cred := o.c.cred(); !cred.root() {
		attr, err := o.entryAttr(&e)
		if err != nil {
			return err
		}
		if !cred.allows(&attr, mayWrite) {
			return syscall.EACCES
		}
	}
	_, err = o.truncateTo(e.Ino, uint64(size))
	return err
}
