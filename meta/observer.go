package meta

import "github.com/benchfs/benchfs/internal/inode"

// Observer is told of what happens to names, and to inodes that were asked for with Watch, before anybody is answered who could know of it. Its methods
// are called on the shard's thread and must not change the shard.
type Observer interface {
	// InodeChanged: these are the attributes now.
	InodeChanged(a *inode.Attr)
	// InodeVoid: the inode is gone, or an operation holds it whose outcome others may know before this shard does. It is not watched any more.
	InodeVoid(ino inode.Ino)
	// NameChanged: the name does not stand for what it stood for any more, or an operation holds it that may end so.
	NameChanged(parent inode.Ino, name []byte)
}

// Observe sets the observer; once, before the first Watch.
func (s *Shard) Observe(o Observer) { s.observer = o }

// Watch has the Observer told of a file or directory from now on, and returns its attributes (of a directory: those of the inode alone, see Attr).
// false: it cannot be watched now.
func (s *Shard) Watch(ino inode.Ino) (inode.Attr, bool) {
	n, err := s.find(ino)
	if err != nil || s.observer == nil || n.kind == inode.Symlink {
		return inode.Attr{}, false
	}
	n.watched = true
	return n.attr(), true
}

// Unwatch ends that, without a call of InodeVoid.
func (s *Shard) Unwatch(ino inode.Ino) {
	if n := s.nodes[ino]; n != nil {
		n.watched = false
	}
}

// observe tells what a record has done.
func (s *Shard) observe(r *record) {
	switch r.kind {
	case recSetAttr, recMtimeMax, recExtend, recAppend, recTruncate, recTruncateBegin, recTruncateEnd, recAddRun:
		s.tell(s.nodes[r.ino])
	case recApply, recPrepare:
		for i := range r.ops {
			switch op := &r.ops[i]; op.Kind {
			case inode.TxAddEntry:
			case inode.TxRemoveEntry, inode.TxReplaceEntry:
				s.observer.NameChanged(op.Parent, op.Name)
			default:
				s.tell(s.nodes[op.Ino])
			}
		}
	}
}

func (s *Shard) tell(n *node) {
	switch {
	case n == nil || !n.watched:
	case n.held != 0:
		n.watched = false
		s.observer.InodeVoid(n.ino)
	default:
		a := n.attr()
		s.observer.InodeChanged(&a)
	}
}
