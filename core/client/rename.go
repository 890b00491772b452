package client

import (
	"context"
	"syscall"

	"github.com/pkg/errors"

	"github.com/benchfs/benchfs/internal/inode"
	"github.com/benchfs/benchfs/rpc"
)

// Rename gives what the old name stands for the new name, in one step: at every moment the new name stands for what it was or
// for what it becomes. An existing target is replaced: a file by a file, an empty directory by a directory. Two names of the same file: nothing happens.
func (c *Client) Rename(ctx context.Context, oldAt At, oldPath string, newAt At, newPath string) error {
	o := c.begin(ctx, opRename)
	for {
		err := o.renameOnce(oldAt, oldPath, newAt, newPath)
		if !o.again(&err) {
			return o.end(oldPath, err)
		}
	}
}

// renaming is one attempt: where the two names are and what they stand for.
type renaming struct {
	from, to walk
	old      rpc.EntryReply
	target   rpc.EntryReply // Ino 0: the new name is free
}

func (o *op) renameOnce(oldAt At, oldPath string, newAt At, newPath string) error {
	var r renaming
	if err := r.from.start(o, oldAt, oldPath); err != nil {
		return err
	}
	if err := r.to.start(o, newAt, newPath); err != nil {
		return err
	}
	if r.from.last != lastName || r.to.last != lastName {
		return syscall.EBUSY
	}
	var err error
	if r.old, err = r.from.find(); err != nil {
		return err
	}
	if r.target, err = r.to.find(); err != nil && !errors.Is(err, syscall.ENOENT) {
		return err
	} else if err != nil {
		r.target = rpc.EntryReply{}
	}
	if same, err := r.check(); err != nil || same {
		return err
	}
	if err := r.mayRename(); err != nil {
		return err
	}
	if r.old.Kind == inode.Dir {
		if err := o.keepDirTimes(r.old.Ino); err != nil {
			return err
		}
	}
	return r.send()
}

// check applies the rules of rename(2) that do not depend on who asks. same: both names stand for the same file.
func (r *renaming) check() (same bool, err error) {
	isDir := r.old.Kind == inode.Dir
	if !isDir && (r.from.slash || r.to.slash) {
		return false, syscall.ENOTDIR
	}
	if isDir && r.from.dir.ino != r.to.dir.ino {
		below, err := r.from.o.isBelow(r.to.dir.ino, r.old.Ino)
		if err != nil {
			return false, err
		}
		if below {
			return false, syscall.EINVAL
		}
	}
	switch {
	case r.target.Ino == 0:
		return false, nil
	case r.target.Ino == r.old.Ino:
		return true, nil
	case isDir && r.target.Kind != inode.Dir:
		return false, syscall.ENOTDIR
	case !isDir && r.target.Kind == inode.Dir:
		return false, r.ontoDirectory()
	}
	return false, nil
}

// ontoDirectory is the error for moving a file onto a directory: ENOTEMPTY, as in Linux, if the file lies in it, else EISDIR.
func (r *renaming) ontoDirectory() error {
	inside, err := r.from.o.isBelow(r.from.dir.ino, r.target.Ino)
	switch {
	case err != nil:
		return err
	case inside:
		return syscall.ENOTEMPTY
	}
	return syscall.EISDIR
}

// isBelow reports whether dir is moved or lies in its subtree. The server asks again under the lock of directory renames;
// this answers the usual case without one.
func (o *op) isBelow(dir, moved inode.Ino) (bool, error) {
	for {
		if dir == moved {
			return true, nil
		}
		if dir == inode.Root {
			return false, nil
		}
		attr, err := o.getAttr(dir)
		if err != nil {
			return false, err
		}
		if attr.Kind != inode.Dir || attr.Parent == 0 {
			return false, errVanished
		}
		dir = attr.Parent
	}
}

// mayRename checks the caller's rights.
func (r *renaming) mayRename() error {
	if err := r.from.mayRemove(&r.old); err != nil {
		return err
	}
	if err := r.to.mayChange(); err != nil {
		return err
	}
	if r.target.Ino != 0 {
		if err := r.to.mayRemove(&r.target); err != nil {
			return err
		}
	}
	o := r.from.o
	cred := o.c.cred()
	if cred.root() || r.old.Kind != inode.Dir || r.from.dir.ino == r.to.dir.ino {
		return nil
	}
	attr, err := o.entryAttr(&r.old) // its ".." changes: that is a write to it
	if err == nil && !cred.allows(&attr, mayWrite) {
		err = syscall.EACCES
	}
	return err
}

func (r *renaming) send() error {
	o := r.from.o
	o.reset()
	m := rpc.Rename{
		OldParent: r.from.dir.ino, OldName: bytesOf(r.from.name), NewParent: r.to.dir.ino, NewName: bytesOf(r.to.name),
		Ino: r.old.Ino, Kind: r.old.Kind, Target: r.target.Ino, TargetKind: r.target.Kind,
	}
	call := o.call(rpc.MsgRename, o.c.entryShard(r.to.dir.ino, r.to.name))
	call.Body = m.AppendTo(call.Body)
	once(call)
	err := o.lookAgain(o.run())
	o.c.dirs.renamed(r.from.dir.ino, r.from.name)
	o.c.dirs.renamed(r.to.dir.ino, r.to.name)
	o.c.dirs.changed(r.old.Ino) // its parent
	return err
}
