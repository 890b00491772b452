package meta

import (
	"bytes"
	"slices"
	"syscall"

	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/internal/inode"
)

// apply makes the change that a record describes, live and at replay. It looks at nothing but the record and the logged
// state. An error means that the record does not fit the state: impossible for a change that was checked, an EIO for a log that is
// damaged in a way its checksums did not see.
func (s *Shard) apply(r *record) error {
	if s.nextSeq == 0 && r.kind != recInit {
		return r.errInconsistent("before the first record")
	}
	var ended []inode.TxOp
	if len(s.prepared) > 0 {
		ended = s.prepared[r.tx] // if r ends it
	}
	if err := s.change(r); err != nil {
		return err
	}
	if s.observer != nil {
		s.observe(r, ended)
	}
	for _, ino := range r.drops {
		if err := s.applyDrop(r, ino); err != nil {
			return err
		}
	}
	if r.req.Op != 0 && r.kind != recTruncateBegin && r.kind != recTxBegin && r.kind != recReserve {
		s.dedup.remember(r.req, r.res)
	}
	return nil
}

func (s *Shard) change(r *record) error {
	switch r.kind {
	case recInit:
		return s.applyInit(r)
	case recCreate:
		return s.applyCreate(r)
	case recSetAttr, recMtimeMax, recExtend, recAppend, recTruncate, recTruncateBegin, recTruncateEnd, recAddRun, recReserve:
		return s.applyInode(r)
	case recDrop:
		return nil
	case recPurgeDone:
		s.purges.remove(r.ino)
		return nil
	case recApply:
		return s.applyOps(r, r.ops)
	case recPrepare:
		return s.applyPrepare(r)
	case recCommit:
		return s.applyFinish(r, true)
	case recAbort:
		return s.applyFinish(r, false)
	case recTxReserve:
		s.txReserved = max(s.txReserved, r.size)
		return nil
	case recTxBegin:
		s.txReserved = max(s.txReserved, inode.Ino(r.tx).Seq())
		s.coord[r.tx] = &Tx{ID: r.tx, Participants: slices.Clone(r.participants), State: inode.TxPending, Req: r.req}
		return nil
	case recTxDecide:
		return s.applyDecide(r)
	case recTxForget:
		delete(s.coord, r.tx)
		return nil
	}
	return r.errInconsistent("unknown kind")
}

func (s *Shard) applyInit(r *record) error {
	if s.nextSeq != 0 {
		return r.errInconsistent("a second first record")
	}
	if err := s.checkOwner(r.shard, r.shards); err != nil {
		return err
	}
	s.nextSeq = 1
	if s.o.Shard != 0 {
		return nil
	}
	s.nodes.add(node{
		ino: inode.Root, kind: inode.Dir, mode: uint16(r.mode & modeBits), uid: r.uid, gid: r.gid, nlink: 2, version: 1,
		atime: r.now, mtime: r.now, ctime: r.now, btime: r.now, parent: inode.Root,
	})
	s.nextSeq = inode.Root.Seq() + 1
	return nil
}

// checkOwner refuses a log of another shard, or of a cluster of another size: names would be looked for elsewhere.
func (s *Shard) checkOwner(shard, shards uint32) error {
	if shard == s.o.Shard && shards == s.o.Shards {
		return nil
	}
	return fserr.New("open metadata", s.o.Dir, syscall.EINVAL,
		corrupt("it belongs to shard %d of %d, this is shard %d of %d", shard, shards, s.o.Shard, s.o.Shards))
}

func (s *Shard) applyCreate(r *record) error {
	if r.ino.Shard() != s.o.Shard || r.ino.Seq() < s.nextSeq || !r.entry.Valid() || checkName(r.name) != nil {
		return r.errInconsistent("create of an inode that cannot be")
	}
	if s.dirs[r.parent].find(r.name) != nil {
		return r.errInconsistent("create of a name that exists")
	}
	if r.entry == inode.Symlink {
		s.more[r.ino] = nodeMore{target: string(r.target)}
	}
	s.nodes.add(newNode(r))
	s.nextSeq = r.ino.Seq() + 1
	s.addEntry(r.parent, r.name, r.ino, r.entry, r.now)
	return nil
}

// newNode is what a recCreate makes.
func newNode(r *record) node {
	n := node{
		ino: r.ino, kind: r.entry, mode: uint16(r.mode), uid: r.uid, gid: r.gid, nlink: 1, version: 1,
		atime: r.now, mtime: r.now, ctime: r.now, btime: r.now,
	}
	n.setLayout(r.layout)
	switch r.entry {
	case inode.Dir:
		n.nlink = 2
		n.parent = r.parent
	case inode.Symlink:
		n.size = uint64(len(r.target))
	}
	return n
}

// applyInode makes the changes that touch one inode and no entry.
func (s *Shard) applyInode(r *record) error {
	n := s.nodes.get(r.ino)
	if n == nil {
		return r.errInconsistent("unknown inode")
	}
	switch r.kind {
	case recSetAttr:
		n.set(r)
	case recMtimeMax:
		n.mtime, n.ctime = max(n.mtime, r.mtime), max(n.ctime, r.mtime)
		n.version++
	case recExtend:
		n.resize(max(n.size, r.size), r.now)
	case recAppend:
		n.resize(n.size+r.size, r.now)
		s.unreserve(r.ino, r.req)
	case recReserve:
		if r.req.Op == 0 || r.res.Offset > r.size {
			return r.errInconsistent("reservation of nobody or of nothing")
		}
		n.largest = max(n.largest, r.size)
		s.reserve(r.ino, Reservation{Req: r.req, Offset: r.res.Offset, End: r.size})
	case recTruncate:
		n.resize(r.size, r.now)
	case recTruncateBegin:
		n.held |= heldByTruncation
		s.truncs[r.ino] = Truncation{Ino: r.ino, Gen: n.truncGen + 1, Size: r.size, ChunkBits: n.chunkBits, Req: r.req}
	case recTruncateEnd:
		t, cutting := s.truncs[r.ino]
		if !cutting {
			return r.errInconsistent("end of no truncate")
		}
		delete(s.truncs, r.ino)
		s.cut(n, t.Size, r.now)
	case recAddRun:
		s.setRuns(n, layout.InsertRun(s.runs(n), r.run))
		n.version++
	}
	return nil
}

// set does a SetAttr.
func (n *node) set(r *record) {
	if r.mask&(inode.SetUID|inode.SetGID) != 0 && n.kind == inode.File {
		n.mode &^= setUIDBit
		if n.mode&groupExec != 0 {
			n.mode &^= setGIDBit
		}
	}
	if r.mask&inode.SetMode != 0 {
		n.mode = uint16(r.mode)
	}
	if r.mask&inode.SetUID != 0 {
		n.uid = r.uid
	}
	if r.mask&inode.SetGID != 0 {
		n.gid = r.gid
	}
	if r.mask&inode.SetLayout != 0 {
		n.setLayout(r.layout)
	}
	n.setTimes(r)
	n.version++
}

func (n *node) setTimes(r *record) {
	if r.mask&inode.SetAtime != 0 {
		n.atime = r.atime
	}
	if r.mask&inode.SetAtimeNow != 0 {
		n.atime = r.now
	}
	if r.mask&inode.SetMtime != 0 {
		n.mtime = r.mtime
	}
	if r.mask&inode.SetMtimeNow != 0 {
		n.mtime = r.now
	}
	if r.mask != inode.SetMtimeMax {
		n.ctime = r.now
	}
	if r.mask&inode.SetMtimeMax != 0 {
		n.mtime, n.ctime = max(n.mtime, r.mtime), max(n.ctime, r.mtime)
	}
}

// applyDrop takes an inode out of memory and queues the purge of its chunks.
func (s *Shard) applyDrop(r *record, ino inode.Ino) error {
	n := s.nodes.get(ino)
	if n == nil || n.nlink != 0 || n.held != 0 {
		return r.errInconsistent("drop of an inode in use")
	}
	if s.observer != nil {
		s.observer.InodeVoid(ino)
	}
	if n.hasChunks() {
		s.purges.add(Purge{Ino: ino, Layout: n.layout(), Largest: n.largest, Gen: n.truncGen, Runs: s.runs(n)})
	}
	delete(s.orphans, ino)
	delete(s.more, ino)
	delete(s.reserved, ino)
	s.nodes.remove(ino)
	return nil
}

func (s *Shard) applyPrepare(r *record) error {
	if _, prepared := s.prepared[r.tx]; prepared || r.tx == 0 {
		return r.errInconsistent("prepared twice")
	}
	ops := slices.Clone(r.ops)
	for i := range ops {
		ops[i].Name = bytes.Clone(ops[i].Name)
	}
	s.prepared[r.tx] = ops
	s.take(r.tx, ops)
	return nil
}

// applyFinish ends what tx holds here, if anything.
func (s *Shard) applyFinish(r *record, commit bool) error {
	ops, prepared := s.prepared[r.tx]
	if !prepared {
		return nil
	}
	delete(s.prepared, r.tx)
	s.release(ops)
	if !commit {
		return nil
	}
	return s.applyOps(r, ops)
}

func (s *Shard) applyDecide(r *record) error {
	t := s.coord[r.tx]
	if t == nil || t.State != inode.TxPending {
		return r.errInconsistent("decision on an operation that is not pending")
	}
	if r.decision == inode.TxCommitted {
		t.State = inode.TxCommitted
	} else {
		delete(s.coord, r.tx)
	}
	return s.applyFinish(r, r.decision == inode.TxCommitted)
}

func (s *Shard) applyOps(r *record, ops []inode.TxOp) error {
	for i := range ops {
		op, ok := &ops[i], false
		switch op.Kind {
		case inode.TxAddEntry, inode.TxRemoveEntry, inode.TxReplaceEntry:
			ok = s.applyEntryOp(op, r.now)
		case inode.TxRemoveDir:
			ok = s.applyRemoveDir(op, r.now)
		case inode.TxRenameLock:
			ok = true
		default:
			ok = s.applyInodeOp(op, r.now)
		}
		if !ok {
			return r.errInconsistent("step that does not fit")
		}
	}
	return nil
}

func (s *Shard) applyEntryOp(op *inode.TxOp, now int64) bool {
	f := s.dirs[op.Parent]
	e := f.find(op.Name)
	switch op.Kind {
	case inode.TxAddEntry:
		if e != nil || checkName(op.Name) != nil || !op.Entry.Valid() {
			return false
		}
		s.addEntry(op.Parent, op.Name, op.Ino, op.Entry, now)
		return true
	case inode.TxRemoveEntry:
		if e == nil || e.ino != op.Ino {
			return false
		}
		f.remove(e)
		s.entries--
	case inode.TxReplaceEntry:
		if e == nil || e.ino != op.Target || !op.Entry.Valid() {
			return false
		}
		f.replace(e, op.Ino, op.Entry)
	}
	f.mtime = now
	return true
}

func (s *Shard) applyInodeOp(op *inode.TxOp, now int64) bool {
	n := s.nodes.get(op.Ino)
	if n == nil {
		return false
	}
	switch op.Kind {
	case inode.TxLinkInode:
		if n.nlink == 0 {
			return false
		}
		n.nlink++
	case inode.TxUnlinkInode:
		if n.nlink == 0 {
			return false
		}
		if n.nlink--; n.nlink == 0 {
			s.orphans[n.ino] = struct{}{}
		}
	case inode.TxTouchInode:
	case inode.TxMoveDir:
		if n.kind != inode.Dir {
			return false
		}
		n.parent = op.Parent
	default:
		return false
	}
	n.ctime = now
	n.version++
	return true
}

func (s *Shard) applyRemoveDir(op *inode.TxOp, now int64) bool {
	if f := s.dirs[op.Ino]; f != nil {
		if f.live > 0 {
			return false
		}
		delete(s.dirs, op.Ino)
	}
	if op.Ino.Shard() != s.o.Shard {
		s.removed.add(op.Ino)
		return true
	}
	n := s.nodes.get(op.Ino)
	if n == nil || n.kind != inode.Dir {
		return false
	}
	n.nlink = 0
	n.ctime = now
	n.version++
	s.orphans[n.ino] = struct{}{}
	return true
}
