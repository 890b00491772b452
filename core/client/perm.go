package client

import (
	"slices"
	"syscall"

	"github.com/benchfs/benchfs/internal/inode"
	"github.com/benchfs/benchfs/rpc"
)

// Permission bits asked for, as in access(2).
const (
	mayExec  = 1
	mayWrite = 2
	mayRead  = 4
)

// Mode bits beside the nine permissions.
const (
	modeSetUID  = 0o4000
	modeSetGID  = 0o2000
	modeSticky  = 0o1000
	modeAll     = 0o7777
	modeAnyExec = 0o111
)

// cred is who asks. The file system is private to a job: the client checks, for the sake of programs that rely on it.
type cred struct {
	uid, gid uint32
	groups   []uint32
}

func (c *Client) cred() cred { return cred{uid: c.o.UID, gid: c.o.GID, groups: c.o.Groups} }

func (c cred) root() bool { return c.uid == 0 }

func (c cred) inGroup(gid uint32) bool { return c.gid == gid || slices.Contains(c.groups, gid) }

// allows checks the mode bits as path_resolution(7) says: owner, else group, else others. Root may do all, but execute only
// what somebody may execute.
func (c cred) allows(a *inode.Attr, want uint32) bool {
	if c.root() {
		return want&mayExec == 0 || a.Kind == inode.Dir || a.Mode&modeAnyExec != 0
	}
	bits := a.Mode
	switch {
	case c.uid == a.UID:
		bits >>= 6
	case c.inGroup(a.GID):
		bits >>= 3
	}
	return bits&want == want
}

// owns reports whether the caller may change mode and times.
func (c cred) owns(a *inode.Attr) bool { return c.root() || c.uid == a.UID }

// sticky reports whether the sticky bit of a directory keeps the caller from removing or renaming an entry that is not theirs.
func (c cred) sticky(dir, victim *inode.Attr) bool {
	return dir.Mode&modeSticky != 0 && !c.root() && c.uid != victim.UID && c.uid != dir.UID
}

// maySearch checks that names in dir may be looked up.
func (w *walk) maySearch() error {
	return w.mayAll(mayExec)
}

// mayChange checks that entries may be added to and removed from dir.
func (w *walk) mayChange() error {
	return w.mayAll(mayWrite | mayExec)
}

func (w *walk) mayAll(want uint32) error {
	cred := w.o.c.cred()
	if cred.root() {
		return nil // directories are open to root: no need to ask for the mode
	}
	attr, err := w.dirAttr()
	if err != nil {
		return err
	}
	if !cred.allows(attr, want) {
		return syscall.EACCES
	}
	return nil
}

// mayRemove checks that the entry, whose inode is e's, may be removed from dir or be given another meaning.
func (w *walk) mayRemove(e *rpc.EntryReply) error {
	if err := w.mayChange(); err != nil {
		return err
	}
	cred := w.o.c.cred()
	if cred.root() || w.dir.attr.Mode&modeSticky == 0 {
		return nil
	}
	attr, err := w.o.entryAttr(e)
	if err != nil {
		return err
	}
	if cred.sticky(&w.dir.attr, &attr) {
		return syscall.EPERM
	}
	return nil
}

// mayRemoveBlindly reports whether the last component may be removed whatever it is, as long as it is no directory: nothing of its inode matters.
func (w *walk) mayRemoveBlindly() bool {
	if w.slash || w.mayChange() != nil { // in the ordinary way, which finds the right error
		return false
	}
	return w.o.c.cred().root() || w.dir.attr.Mode&modeSticky == 0
}

// newOwner is the owner of a new inode in dir, and its mode: a directory with the set-group-id bit hands on its group, and to
// directories the bit.
func (w *walk) newOwner(kind inode.Kind, mode uint32) (uid, gid, newMode uint32, err error) {
	dir, err := w.dirAttr()
	if err != nil {
		return 0, 0, 0, err
	}
	cred := w.o.c.cred()
	uid, gid, newMode = cred.uid, cred.gid, mode&modeAll
	if kind != inode.Symlink {
		newMode &^= w.o.c.umask.Load()
	}
	if dir.Mode&modeSetGID == 0 {
		return uid, gid, newMode, nil
	}
	gid = dir.GID
	switch {
	case kind == inode.Dir:
		newMode |= modeSetGID
	case newMode&(modeSetGID|0o010) == modeSetGID|0o010 && !cred.root() && !cred.inGroup(gid):
		newMode &^= modeSetGID
	}
	return uid, gid, newMode, nil
}
