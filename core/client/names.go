package client

import (
	"context"
	"syscall"

	"github.com/pkg/errors"

	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/internal/inode"
	"github.com/benchfs/benchfs/rpc"
)

// Mkdir makes a directory. A slash after its name is fine.
func (c *Client) Mkdir(ctx context.Context, at At, path string, mode uint32) error {
	o := c.begin(ctx, opMkdir)
	for {
		err := o.makeOnce(rpc.MsgCreateDir, inode.Dir, at, path, mode&^(modeSetUID|modeSetGID), "")
		if !o.again(&err) {
			return o.end(path, err)
		}
	}
}

// Symlink makes a symbolic link to target, which need not exist: 1 to 4095 bytes. An absolute target starts at the root of
// this file system.
func (c *Client) Symlink(ctx context.Context, target string, at At, path string) error {
	o := c.begin(ctx, opSymlink)
	if err := checkPath(target); err != nil {
		return o.end(path, err)
	}
	for {
		err := o.makeOnce(rpc.MsgCreateSymlink, inode.Symlink, at, path, 0o777, target)
		if !o.again(&err) {
			return o.end(path, err)
		}
	}
}

// makeOnce makes a directory or a symbolic link.
func (o *op) makeOnce(t rpc.MsgType, kind inode.Kind, at At, path string, mode uint32, target string) error {
	var w walk
	if err := w.start(o, at, path); err != nil {
		return err
	}
	if w.last != lastName {
		return syscall.EEXIST
	}
	if kind != inode.Dir && w.slash {
		return o.existsOr(&w, syscall.ENOENT)
	}
	if err := w.mayChange(); errors.Is(err, syscall.EACCES) {
		return o.existsOr(&w, err)
	} else if err != nil {
		return err
	}
	_, err := w.create(t, kind, mode, true, 0, target)
	return err
}

// existsOr is EEXIST if the last component exists, which counts more than other reasons not to make it, else instead.
func (o *op) existsOr(w *walk, instead error) error {
	switch _, err := o.lookup(w.dir.ino, w.name, 0); {
	case err == nil:
		return syscall.EEXIST
	case errors.Is(err, syscall.ENOENT):
		return instead
	default:
		return err
	}
}

// Unlink removes a name that is no directory. The file goes with its last name and its last open handle, whoever has it open.
func (c *Client) Unlink(ctx context.Context, at At, path string) error {
	o := c.begin(ctx, opUnlink)
	for {
		err := o.unlinkOnce(at, path)
		if !o.again(&err) {
			return o.end(path, err)
		}
	}
}

func (o *op) unlinkOnce(at At, path string) error {
	var w walk
	if err := w.start(o, at, path); err != nil {
		return err
	}
	if w.last != lastName {
		return syscall.EISDIR
	}
	if w.mayRemoveBlindly() {
		return w.remove(rpc.MsgDelete, 0)
	}
	e, err := w.find()
	switch {
	case err != nil:
		return err
	case w.slash && e.Kind != inode.Dir:
		return syscall.ENOTDIR
	}
	if err := w.mayRemove(&e); err != nil {
		return err
	}
	if e.Kind == inode.Dir {
		return syscall.EISDIR
	}
	return w.remove(rpc.MsgDelete, e.Ino)
}

// Rmdir removes an empty directory.
func (c *Client) Rmdir(ctx context.Context, at At, path string) error {
	o := c.begin(ctx, opRmdir)
	for {
		err := o.rmdirOnce(at, path)
		if !o.again(&err) {
			return o.end(path, err)
		}
	}
}

func (o *op) rmdirOnce(at At, path string) error {
	var w walk
	if err := w.start(o, at, path); err != nil {
		return err
	}
	switch w.last {
	case lastDotDot:
		return syscall.ENOTEMPTY
	case lastDot:
		return syscall.EINVAL
	case lastRoot:
		return syscall.EBUSY
	}
	e, err := w.find()
	if err != nil {
		return err
	}
	if err := w.mayRemove(&e); err != nil {
		return err
	}
	if e.Kind != inode.Dir {
		return syscall.ENOTDIR
	}
	return w.remove(rpc.MsgRemoveDir, e.Ino)
}

// remove takes the last component away if it still stands for ino (0: whatever it stands for).
func (w *walk) remove(t rpc.MsgType, ino inode.Ino) error {
	o := w.o
	o.reset()
	m := rpc.Delete{Parent: w.dir.ino, Name: bytesOf(w.name), Ino: ino}
	call := o.call(t, o.c.entryShard(w.dir.ino, w.name))
	call.Body = m.AppendTo(call.Body)
	once(call)
	err := o.lookAgain(o.run())
	o.c.dirs.renamed(w.dir.ino, w.name)
	return err
}

// Link gives the file another name. With follow, a symbolic link at the old name is followed; without, it gets the new name
// itself. EPERM for directories.
func (c *Client) Link(ctx context.Context, oldAt At, oldPath string, newAt At, newPath string, follow bool) error {
	o := c.begin(ctx, opLink)
	for {
		err := o.linkOnce(oldAt, oldPath, newAt, newPath, follow)
		if !o.again(&err) {
			return o.end(newPath, err)
		}
	}
}

func (o *op) linkOnce(oldAt At, oldPath string, newAt At, newPath string, follow bool) error {
	old, err := o.resolvePath(oldAt, oldPath, follow)
	if err != nil {
		return err
	}
	var w walk
	if err := w.start(o, newAt, newPath); err != nil {
		return err
	}
	if w.last != lastName {
		return syscall.EEXIST
	}
	if w.slash {
		return o.existsOr(&w, syscall.ENOENT)
	}
	if err := w.mayChange(); errors.Is(err, syscall.EACCES) {
		return o.existsOr(&w, err)
	} else if err != nil {
		return err
	}
	if old.Kind == inode.Dir {
		return o.existsOr(&w, syscall.EPERM)
	}
	o.reset()
	m := rpc.LinkEntry{Ino: old.Ino, Kind: old.Kind, Parent: w.dir.ino, Name: bytesOf(w.name)}
	call := o.call(rpc.MsgLink, o.c.entryShard(w.dir.ino, w.name))
	call.Body = m.AppendTo(call.Body)
	once(call)
	err = o.lookAgain(o.run())
	if errors.Is(err, fserr.ErrStaleView) {
		return o.existsOr(&w, err)
	}
	if errors.Is(err, syscall.ENOENT) {
		// The file has lost its last name, or the directory is gone. If the old name stands for another file now, it is to have the new name.
		if now, lookErr := o.resolvePath(oldAt, oldPath, follow); lookErr == nil && now.Ino != old.Ino {
			return errVanished
		}
	}
	return err
}

// Readlink returns the target of a symbolic link; EINVAL for anything else.
func (c *Client) Readlink(ctx context.Context, at At, path string) (string, error) {
	o := c.begin(ctx, opReadlink)
	for {
		target, err := o.readlinkOnce(at, path)
		if !o.again(&err) {
			return target, o.end(path, err)
		}
	}
}

func (o *op) readlinkOnce(at At, path string) (string, error) {
	e, err := o.resolvePath(at, path, false)
	if err != nil {
		return "", err
	}
	if e.Kind != inode.Symlink {
		return "", syscall.EINVAL
	}
	return o.readlink(e.Ino)
}
