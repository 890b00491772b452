package rpc

import (
	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/internal/inode"
)

// MsgType says what a frame asks for. The numbers are part of the wire protocol: append, never renumber.
type MsgType uint16

// Requests. The comment gives: body → body of the reply; payloads where there are any.
const (
	MsgHello    MsgType = 1 + iota // Hello, payload: reply address → HelloReply
	MsgBye                         // – → –. The session ends, its handles are released
	MsgEcho                        // –, payload → –, the same payload. The self-test at connect
	MsgDescribe                    // – → –, payload: the node's registry record (JSON)

	MsgReadChunk      // ReadChunk → ReadChunkReply, payload: the bytes that are present
	MsgWriteChunk     // WriteChunk, payload → WrittenReply
	MsgReserveChunk   // ReserveChunk → –
	MsgTruncateChunks // TruncateChunks → –
	MsgPurgeChunks    // PurgeChunks → –
	MsgSyncChunks     // SyncChunks → –
	MsgStatStore      // – → StatStoreReply

	MsgLookup        // Lookup → EntryReply
	MsgCreateFile    // Create → EntryReply
	MsgCreateDir     // Create → EntryReply
	MsgCreateSymlink // Create, payload: target → EntryReply
	MsgDelete        // Delete → –
	MsgRemoveDir     // Delete → –
	MsgRename        // Rename → –
	MsgLink          // LinkEntry → –
	MsgReadlink      // InodeRequest → –, payload: target
	MsgGetAttr       // InodeRequest → AttrReply
	MsgSetAttr       // SetAttr → AttrReply
	MsgExtend        // Extend → AttrReply
	MsgAppend        // Append, payload or none → AppendReply
	MsgTruncate      // Truncate → AttrReply
	MsgGetRuns       // InodeRequest → –, payload: runs
	MsgAddRun        // AddRun → –, payload: the runs that now cover the asked range
	MsgOpen          // OpenHandle → AttrReply
	MsgRelease       // ReleaseHandles → –
	MsgReadDir       // ReadDir → ReadDirReply, payload: entries
	MsgDirInfo       // InodeRequest → DirInfoReply

	MsgPrepare  // Prepare, payload: TxOps → –
	MsgCommit   // TxRequest → –
	MsgAbort    // TxRequest → –
	MsgTxStatus // TxRequest → TxStatusReply

	MsgBeginWrite // WriteChunk, without its payload → BeginWriteReply
	MsgEndWrite   // EndWrite → WrittenReply

	MsgLock // Lock → LockReply

	MsgEndAppend // EndAppend → AttrReply

	MsgMax // one past the last
)

// Hello opens a session. Header.Client names the client, Header.Session is 0.
type Hello struct {
	Epoch       uint32 // of the client's cluster map; 0 = not known yet (only Describe is allowed then)
	Incarnation uint64 // of the daemon that is expected; 0 = any
	Peer        PeerID // who the client believes to be talking to
	PID         uint32
	PIDStart    uint64 // start time of the process in clock ticks since boot, from /proc/PID/stat: tells a reused pid
	UID         uint32
	HostID      []byte // ≤ 64 bytes
	Secret      []byte // the job's secret, ≤ 64 bytes
	Build       []byte // ≤ 64 bytes, for logs
}

// HelloReply accepts a session.
type HelloReply struct {
	Session     uint32
	Epoch       uint32
	Incarnation uint64
	Peer        PeerID
	Shards      uint32 // in the whole cluster
	MaxBulk     uint64 // largest payload of one message: bytes
	ChunkBits   uint8  // default chunk size of new files
	Build       []byte
}

// ReadChunk asks for [Offset, Offset+Length) of one chunk. Absent bytes (never written, or cut off) are only ever at the
// end of the answer: Present tells how many bytes the owner has from Offset on, and all of them are in the payload.
// A hole in the middle of what the owner has is zeros that the owner confirms.
//
// With Length 0 it asks for the chunk's place only.
type ReadChunk struct {
	Ino    inode.Ino
	Chunk  uint64
	Offset uint32
	Length uint32
	Gen    uint32 // inode.Attr.TruncGen
	Share  bool   // tell the chunk's place: the client is attached
}

// ReadChunkReply precedes the payload.
type ReadChunkReply struct {
	Present uint32
	Place   Place
}

// Place is where a chunk's bytes are in the shard's segment files: store.Place, for attached clients. Held: there is one, and the rest is on the
// wire.
type Place struct {
	Held    bool
	Slot    uint32
	Serial  uint32
	Segment uint32
	Offset  uint64
	Bytes   uint32
}

// WriteChunk stores the payload at Offset of one chunk. Length == payload length.
type WriteChunk struct {
	Ino       inode.Ino
	Chunk     uint64
	Offset    uint32
	Length    uint32
	Gen       uint32
	ChunkBits uint8  // chunk size of the file: Offset+Length ≤ 1 << ChunkBits
	Share     bool   // as in ReadChunk
	End       uint64 // ≠ 0: do what Extend does, once the bytes can be read; for an inode of the same shard
}

// WrittenReply answers a write. HasAttr: the attributes after the extension that was asked for.
type WrittenReply struct {
	Place   Place
	HasAttr bool
	Attr    inode.Attr
}

// BeginWriteReply says where an attached client puts the bytes of a write. The request carries an operation number (Header.Op), which is the
// write's name from then on; repeating the request finds the same write. Its room is kept until EndWrite names it, its time is over, or the
// client is gone.
type BeginWriteReply struct {
	Place Place
	Bare  bool // there are no pages yet: the bytes go to the segment file by pwrite, not through a mapping
}

// EndWrite ends what BeginWrite began: the bytes are in place and count from now on, or (Commit false) never will. EIDRM if the shard does not
// know the write (any more): the bytes do not count. End and Gen as in WriteChunk: the bytes count before the file grows.
type EndWrite struct {
	Ref    uint64 // Header.Op of the BeginWrite
	Commit bool
	Ino    inode.Ino
	End    uint64
	Gen    uint32
}

// ReserveChunk makes sure that later writes to [0, Length) of the chunk do not fail for want of space.
type ReserveChunk struct {
	Ino       inode.Ino
	Chunk     uint64
	Length    uint32
	Gen       uint32
	ChunkBits uint8
}

// TruncateChunks drops every byte of the file at or beyond Size from this owner and makes Gen the generation
// that requests must carry from now on. Repeating it is harmless; an older Gen than the owner's is ignored.
type TruncateChunks struct {
	Ino       inode.Ino
	Gen       uint32
	Size      uint64
	ChunkBits uint8
}

// PurgeChunks drops all chunks of an inode that no longer exists.
type PurgeChunks struct{ Ino inode.Ino }

// SyncChunks makes the file's chunks at this owner (Ino 0: all, and the log) survive power loss, where the medium can.
type SyncChunks struct{ Ino inode.Ino }

// StatStoreReply is one shard's part of statfs.
type StatStoreReply struct {
	CapacityBytes uint64
	UsedBytes     uint64
	Chunks        uint64
	Inodes        uint64
}

// Lookup finds an entry. With Open, and if the inode is on the same shard and no directory or symlink, handle Handle of the
// client is opened in the same step (EntryReply.Opened).
type Lookup struct {
	Parent inode.Ino
	Name   []byte
	Open   bool
	Handle uint64
	Share  bool // tell an attached client where the first chunk of a file that is opened is, if it is here and not empty
}

// Create makes an entry and its inode on the entry's shard. Exclusive: EEXIST if the name is there; otherwise (files only)
// an existing entry is the answer, with Created false.
type Create struct {
	Parent    inode.Ino
	Name      []byte
	Mode      uint32
	UID       uint32
	GID       uint32
	Exclusive bool
	Open      bool
	Handle    uint64
	Layout    layout.Layout // Strategy None: the server's default
}

// EntryReply tells what a name stands for. HasAttr is false when the inode lives on another shard (ask it with GetAttr).
type EntryReply struct {
	Ino     inode.Ino
	Kind    inode.Kind
	Created bool
	Opened  bool
	HasAttr bool
	Attr    inode.Attr
	Place   Place // of chunk 0: see Lookup.Share
}

// Delete removes the entry if it still stands for Ino (StatusStaleView if not; MsgDelete, Ino 0: whatever it stands for). Sent to the
// shard that holds the entry. MsgDelete: files and symlinks (EISDIR for a directory); MsgRemoveDir: directories.
type Delete struct {
	Parent inode.Ino
	Name   []byte
	Ino    inode.Ino
}

// Rename is sent to the shard that will hold the new entry. Ino and Target are what the client saw at the old and the
// new name (Target 0: nothing); StatusStaleView if that has changed.
type Rename struct {
	OldParent  inode.Ino
	OldName    []byte
	NewParent  inode.Ino
	NewName    []byte
	Ino        inode.Ino
	Kind       inode.Kind
	Target     inode.Ino
	TargetKind inode.Kind
}

// LinkEntry is sent to the shard that will hold the new entry.
type LinkEntry struct {
	Ino    inode.Ino
	Kind   inode.Kind // of Ino
	Parent inode.Ino
	Name   []byte
}

// InodeRequest names an inode.
type InodeRequest struct{ Ino inode.Ino }

// AttrReply carries the attributes after the operation.
type AttrReply struct{ Attr inode.Attr }

// SetAttr changes the fields that Mask names, to those of Attr.
type SetAttr struct {
	Ino   inode.Ino
	Mask  inode.SetMask
	Mode  uint32
	UID   uint32
	GID   uint32
	Atime int64
	Mtime int64
	// Layout: directories (what new files inherit), and files of size 0 that were never written.
	Layout layout.Layout
}

// Extend makes the file at least End bytes long and stamps mtime. It follows each write beyond the known size: it is sent when the owners of all
// chunks below End have acknowledged their bytes, never beside them. An Extend beyond the size waits while an append has the end of the file.
// StatusStaleGen if Gen is not the inode's.
type Extend struct {
	Ino inode.Ino
	End uint64
	Gen uint32
}

// Append puts Length bytes at the end of the file. Header.Op names the append in all that follows.
//
// With a payload, which is the bytes, the shard stores them and lets the file grow in one step, if it owns the chunk that they all go
// into: the answer says Written. Otherwise nobody sees anything yet: [Offset, Offset+Length) is the append's alone, the size stays, and
// the client writes the bytes to their owners and sends EndAppend. Until then other appends, truncates and extensions of the file wait;
// in turn, and for as long as an append may take (twice Header.TimeoutMS since its last message), not for a client that is gone. Who
// comes after an append that was given up like that begins behind its range. A range is never given twice within a generation.
type Append struct {
	Ino    inode.Ino
	Length uint64 // ≥ 1
}

// AppendReply tells where the append begins, and the attributes: with Written those after it, otherwise those before it.
type AppendReply struct {
	Offset  uint64
	Written bool
	Attr    inode.Attr
}

// AppendState is how far an append is.
type AppendState uint8

// The values of AppendState.
const (
	AppendGoesOn AppendState = 1 + iota // more of it follows
	AppendEnded                         // the rest of its range, if any, was not written and never will be: others may have it
	AppendBroken                        // the rest may or may not be written, now or later: nobody may have it
)

// EndAppend tells that the bytes of an append below End can be read: the file becomes at least End bytes long. Repeating it is harmless.
// StatusStaleGen if Gen is not the inode's: the append is void.
type EndAppend struct {
	Ino    inode.Ino
	Ref    uint64 // Header.Op of the Append
	Offset uint64 // where it began
	End    uint64 // ≥ Offset
	Gen    uint32
	State  AppendState
}

// Truncate sets the size, up or down. The answer comes when every owner has dropped what is beyond it.
type Truncate struct {
	Ino  inode.Ino
	Size uint64
}

// AddRun publishes, after the data, that chunks [First, First+Count) of a Local file are on Shard. Where somebody else was
// first, theirs stays: the reply's payload says who owns what, and the writer writes again to the owner.
type AddRun struct {
	Ino inode.Ino
	Gen uint32
	Run layout.Run
}

// OpenHandle registers handle Handle of the client on the inode: while there is one, the inode and its chunks outlive its
// names. Repeating it is harmless.
type OpenHandle struct {
	Ino    inode.Ino
	Handle uint64
}

// ReleaseHandles drops handles of inodes of one shard: 1 to MaxReleases.
type ReleaseHandles struct{ Handles []ReleaseHandle }

// MaxReleases is how many handles one message drops at most.
const MaxReleases = 32

// ReleaseHandle is one of them. Mtime ≠ 0: the time of the last overwrite through it (inode.SetMtimeMax).
type ReleaseHandle struct {
	Ino    inode.Ino
	Handle uint64
	Mtime  int64
}

// ReadDir asks one shard for its entries of a directory, in creation order, after Cookie (0: from the start).
type ReadDir struct {
	Dir    inode.Ino
	Cookie uint64
	Max    uint32 // bytes of payload at most
}

// ReadDirReply precedes the payload: Count times DirEntry.
type ReadDirReply struct {
	Count uint32
	Next  uint64 // cookie for the next page
	EOF   bool
}

// DirEntry is one entry in a ReadDir payload. HasAttr as in EntryReply.
type DirEntry struct {
	Cookie  uint64 // resumes right after this entry
	Ino     inode.Ino
	Kind    inode.Kind
	HasAttr bool
	Attr    inode.Attr
	Name    []byte
}

// DirInfoReply is one shard's part of a directory.
type DirInfoReply struct {
	Entries uint64
	Subdirs uint64
	Mtime   int64 // of the last entry added or removed here; 0 = never
}

// Prepare asks a shard to check, log and hold the steps in the payload.
type Prepare struct {
	Tx    uint64 // upper 16 bits: coordinating shard
	Count uint32 // steps in the payload
}

// TxRequest names an operation over several shards.
type TxRequest struct{ Tx uint64 }

// TxStatusReply answers MsgTxStatus.
type TxStatusReply struct{ State inode.TxState }

// LockOp is what a Lock asks for.
type LockOp uint8

// The values of LockOp.
const (
	LockTry    LockOp = 1 + iota // get or give up the range, now or not at all
	LockWait                     // get it, after a wait if need be
	LockTest                     // say who would be in the way
	LockLeave                    // the client (and Holder, if not 0) no longer holds what Owner has; without Ino: what any owner has
	LockCancel                   // end the client's LockWait with the same Ticket: it is answered with EINTR
)

// LockKind tells two spaces of locks apart, which do not see each other.
type LockKind uint8

// The values of LockKind.
const (
	LockRange LockKind = 1 + iota // as fcntl(2)
	LockFile                      // as flock(2): the range is the whole file
)

// LockType is what there is to get.
type LockType uint8

// The values of LockType.
const (
	LockRead LockType = 1 + iota
	LockWrite
	LockNone // in a LockTry: give up
)

// MaxLockEnd is one past the last byte that can be locked; a range up to it goes to the end of the file, however long that grows.
const MaxLockEnd uint64 = 1 << 63

// Lock is about the advisory locks of an inode. They belong to an owner and are held by clients: whoever took one, and the Holder that was
// named then. When all of these are gone, so is the lock. Nothing of it is logged: with the daemon the locks are gone.
//
// A LockWait that is not granted within a second or so, less where Header.TimeoutMS asks for it, is answered with LockWaiting: it has to be sent
// again, with Turn as the answer told it. A second LockWait of the client with the same Ticket replaces the first.
type Lock struct {
	Op     LockOp
	Kind   LockKind
	Type   LockType
	Ino    inode.Ino
	Owner  uint64 // 0: the client itself
	Holder uint64 // a client that holds the lock too; 0: none
	Start  uint64
	End    uint64 // Start < End ≤ MaxLockEnd
	PID    uint32 // told to whom the lock is in the way
	Lease  uint64 // that the client's locks here were given under; 0: it believes to have none. ENOLCK if they were lost since
	Ticket uint64 // names a LockWait within its client
	Turn   uint64 // of a LockWait, among others; 0: it comes last
}

// LockOutcome is how a Lock went.
type LockOutcome uint8

// The values of LockOutcome.
const (
	LockDone     LockOutcome = 1 + iota
	LockInTheWay             // what is described is in the way
	LockWaiting              // ask again
)

// LockReply answers a Lock.
type LockReply struct {
	Outcome LockOutcome
	Held    bool   // the owner has something of the file, as far as this kind of locks goes
	Lease   uint64 // of this client
	Turn    uint64 // LockWaiting: the place in the queue; else it grows with each answer of the shard
	// LockInTheWay: one that is.
	Type  LockType // LockNone: nothing is
	Start uint64
	End   uint64
	Owner uint64
	PID   uint32
}
