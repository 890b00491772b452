package meta

import "github.com/benchfs/benchfs/internal/inode"

// holds is what prepared operations have under them. It follows from the prepared operations and is not logged.
type holds struct {
	entries  map[entryKey]uint64 // → operation
	inDir    map[inode.Ino]int   // how many of entries are in a directory
	inodes   map[inode.Ino]uint64
	removals map[inode.Ino]uint64 // directories, also of other shards
	rename   uint64               // the one directory rename of the file system; 0 = none
}

type entryKey struct {
	parent inode.Ino
	name   string
}

func newHolds() holds {
	return holds{
		entries:  map[entryKey]uint64{},
		inDir:    map[inode.Ino]int{},
		inodes:   map[inode.Ino]uint64{},
		removals: map[inode.Ino]uint64{},
	}
}

// entryHeld reports whether an operation other than tx holds a name.
func (h *holds) entryHeld(parent inode.Ino, name []byte, tx uint64) bool {
	if len(h.entries) == 0 {
		return false
	}
	by, held := h.entries[entryKey{parent, string(name)}]
	return held && by != tx
}

// othersIn reports whether operations other than tx hold names in a directory.
func (h *holds) othersIn(dir inode.Ino, tx uint64) bool {
	others := h.inDir[dir]
	if others == 0 {
		return false
	}
	for key, by := range h.entries {
		if key.parent == dir && by == tx {
			others--
		}
	}
	return others > 0
}

// take holds what the steps of tx touch. Nobody else may hold any of it.
func (s *Shard) take(tx uint64, ops []inode.TxOp) {
	h := &s.holds
	for i := range ops {
		op := &ops[i]
		switch op.Kind {
		case inode.TxAddEntry, inode.TxRemoveEntry, inode.TxReplaceEntry:
			key := entryKey{op.Parent, string(op.Name)}
			if _, held := h.entries[key]; !held {
				h.entries[key] = tx
				h.inDir[op.Parent]++
			}
		case inode.TxRenameLock:
			h.rename = tx
		case inode.TxRemoveDir:
			h.removals[op.Ino] = tx
			s.takeInode(tx, op.Ino)
		default:
			s.takeInode(tx, op.Ino)
		}
	}
}

func (s *Shard) takeInode(tx uint64, ino inode.Ino) {
	if n := s.nodes.get(ino); n != nil {
		n.held |= heldByTx
		s.holds.inodes[ino] = tx
	}
}

// release is the inverse of take.
func (s *Shard) release(ops []inode.TxOp) {
	h := &s.holds
	for i := range ops {
		op := &ops[i]
		switch op.Kind {
		case inode.TxAddEntry, inode.TxRemoveEntry, inode.TxReplaceEntry:
			key := entryKey{op.Parent, string(op.Name)}
			if _, held := h.entries[key]; held {
				delete(h.entries, key)
				if h.inDir[op.Parent]--; h.inDir[op.Parent] == 0 {
					delete(h.inDir, op.Parent)
				}
			}
		case inode.TxRenameLock:
			h.rename = 0
		default:
			delete(h.removals, op.Ino)
			if n := s.nodes.get(op.Ino); n != nil {
				n.held &^= heldByTx
			}
			delete(h.inodes, op.Ino)
		}
	}
}
