package inode

// TxOpKind is what one step of an operation over several shards does on one shard.
type TxOpKind uint8

// The steps. Each is checked and held at Prepare, and done at Commit.
const (
	TxAddEntry     TxOpKind = 1 + iota // Parent, Name → Ino, Kind. EEXIST/stale view if the name is there, ENOENT if Parent is removed
	TxRemoveEntry                      // Parent, Name must stand for Ino
	TxReplaceEntry                     // Parent, Name must stand for Target; then Ino, Kind
	TxLinkInode                        // Ino: nlink + 1, ctime. ENOENT if nlink is 0, EMLINK at the limit
	TxUnlinkInode                      // Ino: nlink − 1, ctime; at 0 the inode goes when its last handle goes
	TxTouchInode                       // Ino: ctime
	TxRemoveDir                        // directory Ino has no entries here (ENOTEMPTY), and none can be added from now on; on its own shard the inode goes
	TxMoveDir                          // directory Ino: parent becomes Parent
	TxRenameLock                       // shard 0: one directory rename at a time in the whole file system
)

// TxOp is one step.
type TxOp struct {
	Kind   TxOpKind
	Parent Ino
	Name   []byte
	Ino    Ino
	Target Ino
	Entry  Kind // kind of Ino, for entries
}

// TxState is what a coordinator knows.
type TxState uint8

// The states. A coordinator that does not know an operation has aborted it.
const (
	TxPending   TxState = 1
	TxCommitted TxState = 2
	TxAborted   TxState = 3
)
