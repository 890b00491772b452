package meta

import (
	"bytes"
	"maps"
	"slices"
	"syscall"

	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/internal/inode"
)

// Apply checks the steps and does them at once, as one record: for an operation all of whose steps are on this shard.
// Errors as Prepare; on an error nothing has changed. A request that is remembered is done.
func (s *Shard) Apply(r ReqID, ops []inode.TxOp) error {
	if _, done := s.Done(r); done {
		return nil
	}
	if err := s.BeginApply(r, ops); err != nil {
		return err
	}
	return s.Settle()
}

// BeginApply is Apply for a request that is not remembered, up to where the answer is certain. The caller may answer, and must call Settle before
// anything else of the shard, as with BeginCreate.
func (s *Shard) BeginApply(r ReqID, ops []inode.TxOp) error {
	if err := s.checkOps(0, ops); err != nil {
		return err
	}
	rec := s.start(recApply)
	rec.ops, rec.req = s.keep(ops), r
	if s.observer != nil {
		s.warn(ops) // before it is decided what goes: see Observer.InodeOpen
	}
	rec.drops = s.dropsAfter(rec.drops, ops, true)
	err := s.record(rec)
	if err != nil && s.observer != nil {
		s.tellInodes(ops, nil)
	}
	return err
}

// keep copies steps to where they last until Settle.
func (s *Shard) keep(ops []inode.TxOp) []inode.TxOp {
	s.ops, s.name = append(s.ops[:0], ops...), s.name[:0]
	for i := range ops {
		s.name = append(s.name, ops[i].Name...)
	}
	at := 0
	for i := range s.ops {
		length := len(s.ops[i].Name)
		s.ops[i].Name = s.name[at:][:length:length]
		at += length
	}
	return s.ops
}

// Prepare checks the steps, logs them and holds what they touch until Commit or Abort. Preparing the same again is fine.
//
//	fserr.ErrBusy       another operation holds something of it: ask again
//	fserr.ErrStaleView  an entry or inode is not what the step expects: look again
//	ENOENT              the directory to add to is removed; the inode to link has no names any more
//	ENOTDIR, EISDIR, EPERM  the inode is of a kind that the step is not for
//	ENOTEMPTY           the directory to remove has entries here
//	EMLINK              too many names
//	EBUSY               the root directory
//	EINVAL, ENAMETOOLONG  steps that make no sense here
func (s *Shard) Prepare(tx uint64, ops []inode.TxOp) error {
	if tx == 0 {
		return syscall.EINVAL
	}
	if have, prepared := s.prepared[tx]; prepared {
		if slices.EqualFunc(have, ops, sameOp) {
			return nil
		}
		return syscall.EINVAL
	}
	if err := s.checkOps(tx, ops); err != nil {
		return err
	}
	rec := s.start(recPrepare)
	rec.tx, rec.ops = tx, ops
	return s.commit(rec)
}

func sameOp(a, b inode.TxOp) bool {
	return a.Kind == b.Kind && a.Parent == b.Parent && a.Ino == b.Ino && a.Target == b.Target && a.Entry == b.Entry &&
		bytes.Equal(a.Name, b.Name)
}

// Commit does what was prepared. An unknown operation is one that was finished and forgotten: nil.
func (s *Shard) Commit(tx uint64) error { return s.finish(recCommit, tx) }

// Abort lets go of what was prepared. Unknown: nil.
func (s *Shard) Abort(tx uint64) error { return s.finish(recAbort, tx) }

func (s *Shard) finish(kind recordKind, tx uint64) error {
	ops, prepared := s.prepared[tx]
	if !prepared {
		return nil
	}
	rec := s.start(kind)
	rec.tx = tx
	rec.drops = s.dropsAfter(rec.drops, ops, kind == recCommit)
	return s.commit(rec)
}

// Prepared lists, in numeric order, the operations that hold something here. The coordinator of tx is shard tx>>48.
func (s *Shard) Prepared() []uint64 { return slices.Sorted(maps.Keys(s.prepared)) }

// checkOps checks all steps of an operation (0: one that is not held) against the state and against each other.
func (s *Shard) checkOps(tx uint64, ops []inode.TxOp) error {
	if len(ops) == 0 || len(ops) > maxOps {
		return syscall.EINVAL
	}
	for i := range ops {
		op, err := &ops[i], error(nil)
		switch op.Kind {
		case inode.TxAddEntry, inode.TxRemoveEntry, inode.TxReplaceEntry:
			err = s.checkEntryOp(tx, op, ops[:i])
		case inode.TxLinkInode, inode.TxUnlinkInode, inode.TxTouchInode, inode.TxMoveDir:
			err = s.checkInodeOp(tx, op, ops[:i])
		case inode.TxRemoveDir:
			err = s.checkRemoveDir(tx, op, ops[:i])
		case inode.TxRenameLock:
			if s.o.Shard != 0 {
				err = syscall.EINVAL
			} else if s.holds.rename != 0 && s.holds.rename != tx {
				err = fserr.ErrBusy
			}
		default:
			err = syscall.EINVAL
		}
		if err != nil {
			return err
		}
	}
	return checkAdds(ops)
}

// checkAdds refuses operations that add to a directory that they remove.
func checkAdds(ops []inode.TxOp) error {
	for i := range ops {
		if ops[i].Kind != inode.TxRemoveDir {
			continue
		}
		for j := range ops {
			if ops[j].Kind == inode.TxAddEntry && ops[j].Parent == ops[i].Ino {
				return syscall.EINVAL
			}
		}
	}
	return nil
}

// checkEntryOp checks a step on an entry. A name may occur once in an operation.
func (s *Shard) checkEntryOp(tx uint64, op *inode.TxOp, before []inode.TxOp) error {
	if err := checkName(op.Name); err != nil {
		return err
	}
	for i := range before {
		b := &before[i]
		if b.Kind <= inode.TxReplaceEntry && b.Parent == op.Parent && bytes.Equal(b.Name, op.Name) {
			return syscall.EINVAL
		}
	}
	if op.Ino == 0 || op.Kind != inode.TxRemoveEntry && !op.Entry.Valid() {
		return syscall.EINVAL
	}
	if s.holds.entryHeld(op.Parent, op.Name, tx) {
		return fserr.ErrBusy
	}
	e := s.dirs[op.Parent].find(op.Name)
	switch op.Kind {
	case inode.TxAddEntry:
		if err := s.checkAdd(op.Parent, tx); err != nil {
			return err
		}
		if e != nil {
			return fserr.ErrStaleView
		}
	case inode.TxRemoveEntry:
		if e == nil || e.ino != op.Ino {
			return fserr.ErrStaleView
		}
	case inode.TxReplaceEntry:
		if e == nil || e.ino != op.Target {
			return fserr.ErrStaleView
		}
	}
	return nil
}

// checkInodeOp checks a step on an inode of this shard.
func (s *Shard) checkInodeOp(tx uint64, op *inode.TxOp, before []inode.TxOp) error {
	if op.Ino.Shard() != s.o.Shard {
		return syscall.EINVAL
	}
	n := s.nodes.get(op.Ino)
	if n != nil && s.heldByOther(n, tx) {
		return fserr.ErrBusy
	}
	links := int64(0)
	if n != nil {
		links = int64(n.nlink)
	}
	for i := range before {
		if before[i].Ino == op.Ino {
			links += linkChange(before[i].Kind)
		}
	}
	switch op.Kind {
	case inode.TxLinkInode:
		return checkLink(n, links)
	case inode.TxUnlinkInode:
		if links <= 0 {
			return fserr.ErrStaleView
		}
		if n.kind == inode.Dir {
			return syscall.EISDIR
		}
	case inode.TxTouchInode:
		if n == nil {
			return fserr.ErrStaleView
		}
	case inode.TxMoveDir:
		return checkMove(n, op)
	}
	return nil
}

func checkLink(n *node, links int64) error {
	switch {
	case links <= 0:
		return syscall.ENOENT
	case n.kind == inode.Dir:
		return syscall.EPERM
	case links >= maxLinks:
		return syscall.EMLINK
	}
	return nil
}

func checkMove(n *node, op *inode.TxOp) error {
	switch {
	case n == nil || n.nlink == 0:
		return fserr.ErrStaleView
	case n.kind != inode.Dir:
		return syscall.ENOTDIR
	case n.ino == inode.Root:
		return syscall.EBUSY
	case op.Parent == 0 || op.Parent == op.Ino:
		return syscall.EINVAL
	}
	return nil
}

// checkRemoveDir checks the step that every shard takes when a directory goes.
func (s *Shard) checkRemoveDir(tx uint64, op *inode.TxOp, before []inode.TxOp) error {
	switch {
	case op.Ino == inode.Root:
		return syscall.EBUSY
	case op.Ino == 0:
		return syscall.EINVAL
	}
	for i := range before {
		if before[i].Kind == inode.TxRemoveDir && before[i].Ino == op.Ino {
			return syscall.EINVAL
		}
	}
	if by, held := s.holds.removals[op.Ino]; held && by != tx {
		return fserr.ErrBusy
	}
	if op.Ino.Shard() == s.o.Shard {
		n := s.nodes.get(op.Ino)
		switch {
		case n == nil:
			return fserr.ErrStaleView
		case s.heldByOther(n, tx):
			return fserr.ErrBusy
		case n.kind != inode.Dir:
			return syscall.ENOTDIR
		case n.nlink == 0:
			return fserr.ErrStaleView
		}
	} else if s.removed.has(op.Ino) {
		return fserr.ErrStaleView
	}
	if s.holds.othersIn(op.Ino, tx) {
		return fserr.ErrBusy
	}
	if f := s.dirs[op.Ino]; f != nil && f.live > 0 {
		return syscall.ENOTEMPTY
	}
	return nil
}

// heldByOther reports whether something but operation tx holds an inode.
func (s *Shard) heldByOther(n *node, tx uint64) bool {
	return n.held&heldByTruncation != 0 || n.held&heldByTx != 0 && s.holds.inodes[n.ino] != tx
}

// linkChange is what a step does to the number of names of the inode that it names.
func linkChange(kind inode.TxOpKind) int64 {
	switch kind {
	case inode.TxLinkInode:
		return 1
	case inode.TxUnlinkInode:
		return -1
	}
	return 0
}

// dropsAfter appends to drops the inodes that nothing will keep once the steps are done, or not done and let go.
func (s *Shard) dropsAfter(drops []inode.Ino, ops []inode.TxOp, commit bool) []inode.Ino {
	for i := range ops {
		if ops[i].Kind <= inode.TxReplaceEntry || ops[i].Kind == inode.TxRenameLock {
			continue
		}
		n := s.nodes.get(ops[i].Ino)
		if n == nil || !s.unwanted(n) || slices.Contains(drops, n.ino) {
			continue
		}
		links := int64(n.nlink)
		for j := range ops {
			if !commit || ops[j].Ino != n.ino {
				continue
			}
			links += linkChange(ops[j].Kind)
			if ops[j].Kind == inode.TxRemoveDir {
				links = 0
			}
		}
		if links == 0 {
			drops = append(drops, n.ino)
		}
	}
	return drops
}
