package meta

import (
	"slices"

	"github.com/benchfs/benchfs/internal/inode"
)

// Observer is told of what happens to inodes and names, before anybody is answered who could know of it. Its methods are called on the shard's thread
// and must not change the shard.
type Observer interface {
	// InodeChanged: these are the attributes now. A directory's are those of the inode alone, see Attr.
	InodeChanged(a *inode.Attr)
	// InodeVoid: the inode is gone, or an operation holds it whose outcome others may know before this shard does.
	InodeVoid(ino inode.Ino)
	// NameChanged: the name does not stand for what it stood for any more, or an operation holds it that may end so.
	NameChanged(parent inode.Ino, name []byte)
	// InodeOpen reports whether somebody has the inode open without a handle. It is asked when the inode is void, or was shown without a name:
	// nobody opens it any more then.
	InodeOpen(ino inode.Ino) bool
}

// Observe sets the observer; once, before the first change that it is to see.
func (s *Shard) Observe(o Observer) { s.observer = o }

// observe tells what a record has done. ended are the steps of the operation that it has ended, if any.
func (s *Shard) observe(r *record, ended []inode.TxOp) {
	switch r.kind {
	case recCreate, recSetAttr, recMtimeMax, recExtend, recAppend, recTruncate, recTruncateBegin, recTruncateEnd, recAddRun:
		s.tell(s.nodes.get(r.ino))
	case recApply:
		s.tellInodes(r.ops, r.drops)
	case recPrepare:
		s.tellAll(r.ops)
	case recCommit, recAbort, recTxDecide:
		s.tellAll(ended)
	}
}

// warn tells, of a change that is about to be made, what must not be believed any more by those who are answered before it is made.
func (s *Shard) warn(ops []inode.TxOp) {
	for i := range ops {
		switch op := &ops[i]; {
		case op.Kind == inode.TxRemoveEntry, op.Kind == inode.TxReplaceEntry:
			s.observer.NameChanged(op.Parent, op.Name)
		case touchesInode(op):
			s.observer.InodeVoid(op.Ino)
		}
	}
}

// tellInodes tells of the inodes that steps touch, but for some.
func (s *Shard) tellInodes(ops []inode.TxOp, but []inode.Ino) {
	for i := range ops {
		if op := &ops[i]; touchesInode(op) && !slices.Contains(but, op.Ino) {
			s.tell(s.nodes.get(op.Ino))
		}
	}
}

// touchesInode reports whether a step changes an inode.
func touchesInode(op *inode.TxOp) bool {
	switch op.Kind {
	case inode.TxAddEntry, inode.TxRemoveEntry, inode.TxReplaceEntry, inode.TxRenameLock:
		return false
	}
	return true
}

func (s *Shard) tellAll(ops []inode.TxOp) {
	for i := range ops {
		switch op := &ops[i]; op.Kind {
		case inode.TxAddEntry:
		case inode.TxRemoveEntry, inode.TxReplaceEntry:
			s.observer.NameChanged(op.Parent, op.Name)
		default:
			s.tell(s.nodes.get(op.Ino))
		}
	}
}

func (s *Shard) tell(n *node) {
	switch {
	case n == nil:
	case n.held != 0:
		s.observer.InodeVoid(n.ino)
	default:
		a := n.attr()
		s.observer.InodeChanged(&a)
	}
}
