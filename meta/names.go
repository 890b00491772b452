package meta

import (
	"bytes"
	"syscall"

	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/internal/inode"
)

// maxName is the longest name: bytes.
const maxName = 255

// checkName admits any bytes but '/' and NUL, and neither "." nor "..".
func checkName(name []byte) error {
	switch {
	case len(name) > maxName:
		return syscall.ENAMETOOLONG
	case len(name) == 0, string(name) == ".", string(name) == "..",
		bytes.IndexByte(name, '/') >= 0, bytes.IndexByte(name, 0) >= 0:
		return syscall.EINVAL
	}
	return nil
}

// checkDir tells whether a directory can hold entries, as far as this shard knows: ENOENT if it is removed, ENOTDIR if it is
// something else. A directory of another shard is taken to exist until its removal was told here.
func (s *Shard) checkDir(dir inode.Ino) error {
	if dir.Shard() != s.o.Shard {
		if dir == 0 || s.removed.has(dir) {
			return syscall.ENOENT
		}
		return nil
	}
	n := s.nodes.get(dir)
	switch {
	case n == nil, n.kind == inode.Dir && n.nlink == 0:
		return syscall.ENOENT
	case n.kind != inode.Dir:
		return syscall.ENOTDIR
	}
	return nil
}

// checkAdd is checkDir for an operation (0: none) that adds an entry: fserr.ErrBusy while another removes the directory.
func (s *Shard) checkAdd(dir inode.Ino, tx uint64) error {
	if by, held := s.holds.removals[dir]; held && by != tx {
		return fserr.ErrBusy
	}
	return s.checkDir(dir)
}

// Lookup finds what a name stands for. ENOENT, ENOTDIR; EINVAL or ENAMETOOLONG for what cannot be a name; fserr.ErrBusy while
// an operation holds the name.
func (s *Shard) Lookup(parent inode.Ino, name []byte) (Entry, error) {
	if err := checkName(name); err != nil {
		return Entry{}, err
	}
	if s.holds.entryHeld(parent, name, 0) {
		return Entry{}, fserr.ErrBusy
	}
	if e := s.dirs[parent].find(name); e != nil {
		return Entry{Ino: e.ino, Kind: e.kind}, nil
	}
	if err := s.checkDir(parent); err != nil {
		return Entry{}, err
	}
	return Entry{}, syscall.ENOENT
}

// CreateArgs describe a new inode and its name.
type CreateArgs struct {
	Parent inode.Ino
	Name   []byte
	Kind   inode.Kind
	Mode   uint32 // after the umask
	UID    uint32
	GID    uint32
	Target []byte // symbolic link: what it points to
	// Layout: files: where the chunks go, if Strategy is set (what the directory hands down is resolved by the caller);
	// directories: what new files inherit. Which shards it spreads over is this shard's business.
	Layout    layout.Layout
	Exclusive bool // EEXIST if the name is there; directories and links are always exclusive
}

// Create makes an inode on this shard and its entry, in one step. An existing entry is EEXIST if a.Exclusive or a.Kind is not
// File, else it is the answer (whatever its kind) with created false. A request that is remembered gets its first answer.
// ENOENT if the parent is removed, ENOTDIR, EINVAL, ENAMETOOLONG, ENOSPC from the log; fserr.ErrBusy while the name is
// held or the parent is being removed.
func (s *Shard) Create(r ReqID, a CreateArgs) (e Entry, created bool, err error) {
	if res, done := s.Done(r); done {
		return Entry{Ino: res.Ino, Kind: a.Kind}, true, nil
	}
	e, attr, err := s.BeginCreate(r, a)
	if err != nil || attr.Ino == 0 {
		return e, false, err
	}
	return e, true, s.Settle()
}

// BeginCreate is Create for a request that is not remembered, up to where the answer is certain: the log has the new inode, memory has not. The
// caller may answer, and must call Settle before anything else of the shard. attr is that of the new inode; with Ino 0 there is none, and nothing
// to settle.
func (s *Shard) BeginCreate(r ReqID, a CreateArgs) (e Entry, attr inode.Attr, err error) {
	if err := checkName(a.Name); err != nil {
		return Entry{}, attr, err
	}
	if s.holds.entryHeld(a.Parent, a.Name, 0) {
		return Entry{}, attr, fserr.ErrBusy
	}
	if old := s.dirs[a.Parent].find(a.Name); old != nil {
		if a.Exclusive || a.Kind != inode.File {
			return Entry{}, attr, syscall.EEXIST
		}
		return Entry{Ino: old.ino, Kind: old.kind}, attr, nil
	}
	if err := s.checkAdd(a.Parent, 0); err != nil {
		return Entry{}, attr, err
	}
	if err := s.completeCreate(&a); err != nil {
		return Entry{}, attr, err
	}
	s.name, s.target = append(s.name[:0], a.Name...), append(s.target[:0], a.Target...) // the request may be over before Settle
	rec := s.start(recCreate)
	rec.parent, rec.name, rec.entry = a.Parent, s.name, a.Kind
	rec.mode, rec.uid, rec.gid = a.Mode, a.UID, a.GID
	rec.target, rec.layout = s.target, a.Layout
	rec.ino = inode.Make(s.o.Shard, s.nextSeq)
	rec.req, rec.res = r, Result{Ino: rec.ino}
	if err := s.record(rec); err != nil {
		return Entry{}, attr, err
	}
	n := newNode(rec)
	return Entry{Ino: n.ino, Kind: n.kind}, n.attr(), nil
}

// Settle makes the change in memory that has begun. An error is a bug: the log has what cannot be.
func (s *Shard) Settle() error { return s.apply(&s.rec) }

// completeCreate checks what depends on the kind and fills in the layout.
func (s *Shard) completeCreate(a *CreateArgs) (err error) {
	a.Mode &= modeBits
	if a.Kind != inode.Symlink && len(a.Target) > 0 {
		return syscall.EINVAL
	}
	switch a.Kind {
	case inode.File:
		a.Layout, err = s.fileLayout(a.Layout)
		return err
	case inode.Dir:
		a.Layout, err = s.dirLayout(a.Layout)
		return err
	case inode.Symlink:
		a.Layout = layout.Layout{}
		switch {
		case len(a.Target) == 0:
			return syscall.ENOENT
		case len(a.Target) > maxTarget:
			return syscall.ENAMETOOLONG
		case bytes.IndexByte(a.Target, 0) >= 0:
			return syscall.EINVAL
		}
		return nil
	}
	return syscall.EINVAL
}

// ReadDir emits this shard's entries of a directory after cookie (0: from the start), in the order they were made, until emit
// returns false; that entry counts as not emitted. An entry that is there throughout a listing is shown
// once, whatever comes and goes meanwhile. eof: there are no more. A removed directory is empty. fserr.ErrBusy while an operation
// removes the directory. emit must not change the shard.
func (s *Shard) ReadDir(dir inode.Ino, cookie uint64, emit func(e DirEntry) bool) (eof bool, err error) {
	if _, held := s.holds.removals[dir]; held {
		return false, fserr.ErrBusy
	}
	if n := s.nodes.get(dir); n != nil && n.kind != inode.Dir {
		return false, syscall.ENOTDIR
	}
	f := s.dirs[dir]
	if f == nil {
		return true, nil
	}
	for i := f.after(cookie); i < f.total; i++ {
		e := f.at(i)
		if e.kind == 0 {
			continue
		}
		if !emit(DirEntry{Cookie: e.seq, Ino: e.ino, Kind: e.kind, Name: f.nameOf(e)}) {
			return false, nil
		}
	}
	return true, nil
}

// DirInfo tells this shard's part of a directory. One that is not known here (any more) is empty.
func (s *Shard) DirInfo(dir inode.Ino) (DirInfo, error) {
	if n := s.nodes.get(dir); n != nil && n.kind != inode.Dir {
		return DirInfo{}, syscall.ENOTDIR
	}
	f := s.dirs[dir]
	if f == nil {
		return DirInfo{}, nil
	}
	return DirInfo{Entries: uint64(f.live), Subdirs: uint64(f.subdirs), Mtime: f.mtime}, nil
}
