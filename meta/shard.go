// Package meta holds one shard's part of the name space: its inodes, its directory entries, and the log that brings both
// back after a crash.
//
// # State machine
//
// Everything is in memory. A change is made in three steps: check (methods of [Shard]), log (one record, see record.go),
// apply (apply.go). Replay feeds the same records to the same apply, so that the state after a restart is the state
// before it. Nothing that apply decides may come from outside the record and the state: the time, the outcome of
// "does anybody have it open?" and the layout of a new file are in the record.
//
// Open handles are not logged: a client that is still there opens them again after a restart, and inodes without names wait
// for it until [Shard.SweepOrphans].
//
// # Operations over several shards
//
// [Shard.Prepare] checks steps and holds what they touch; whoever meets a held name or inode gets fserr.ErrBusy and asks again
// after [Shard.Commit] or [Shard.Abort]. Operations that a coordinator does not know have been aborted. See tx.go, coordinator.go.
//
// # Threads
//
// A Shard has one owner, its shard's thread, and no locks. Only the function that [Shard.Sync] returns may run elsewhere.
//
// What does not belong here: messages and sessions (core/server), chunks (store), paths and permissions (core/client).
package meta

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/internal/inode"
	"github.com/benchfs/benchfs/internal/wal"
)

// ReqID names an operation of a client over all attempts of a retry. Op 0: not remembered.
type ReqID struct{ Client, Op uint64 }

// Result is what a remembered request answered: the inode it made or changed, and the offset that an append got.
type Result struct {
	Ino    inode.Ino
	Offset uint64
}

// Entry is what a name stands for.
type Entry struct {
	Ino  inode.Ino
	Kind inode.Kind
}

// DirEntry is an entry as a listing shows it. Name is good until the shard's next change, and not to be changed.
type DirEntry struct {
	Cookie uint64 // ReadDir with it goes on right after this entry; unique on this shard, never reused
	Ino    inode.Ino
	Kind   inode.Kind
	Name   []byte
}

// DirInfo is this shard's part of a directory.
type DirInfo struct {
	Entries uint64
	Subdirs uint64 // those of the entries that are directories
	Mtime   int64  // nanoseconds, of the last entry added or removed here; 0 = never
}

// Usage counts what the shard holds. Inodes without names that are still open count.
type Usage struct {
	Inodes  uint64
	Entries uint64
}

// Options say which shard this is and how it starts.
type Options struct {
	Shard, Shards uint32 // this one, and how many the cluster map has; fixed for the life of Dir
	// Dir is where the log lives; it must exist. "" = memory only: nothing survives Close.
	Dir     string
	Recover wal.Recover
	// Now is the clock: nanoseconds since the Unix epoch. nil = the system's.
	Now func() int64
	// UID, GID and RootMode (default 0755) make the root directory, at the very first start of shard 0.
	UID, GID, RootMode uint32
	// Layout is that of new files for which neither the caller nor the directory has one. Strategy and ChunkBits count,
	// Epoch is kept; zero = round robin with the default chunk size.
	Layout layout.Layout
	// DedupPerClient is how many results are remembered for each client. 0 = 1024.
	DedupPerClient int
	// WaitForClients: after a restart, and until SweepOrphans, an inode that has lost its last name stays even if no
	// handle is known, because clients that had it open may not have come back yet. Without it only inodes that
	// had lost their names before the restart wait, and the release of a handle ends their wait.
	WaitForClients bool
}

const (
	defaultDedup    = 1024
	defaultRootMode = 0o755
	logName         = "meta"
)

// Shard is one shard's name space. See the package comment for threads.
type Shard struct {
	o        Options
	log      journal  // nil in memory-only mode
	observer Observer // may be nil

	// What the log brings back.
	nextSeq    uint64 // of the next inode: 1 …
	entrySeq   uint64 // cookie of the newest entry
	txReserved uint64 // numbers of operations up to here may have been used
	nodes      inodes
	more       map[inode.Ino]nodeMore // of the few that have it
	dirs       map[inode.Ino]*fragment
	entries    uint64                 // in all fragments
	removed    tombstones             // directories of other shards that are gone
	orphans    map[inode.Ino]struct{} // inodes without names
	truncs     map[inode.Ino]Truncation
	reserved   map[inode.Ino][]Reservation // see append.go
	purges     purgeQueue
	dedup      dedup
	prepared   map[uint64][]inode.TxOp
	coord      map[uint64]*Tx
	holds      holds // follows from prepared

	// What does not survive.
	txNext  uint64 // newest number handed out by NewTx
	handles handles
	waiting bool // see Options.WaitForClients

	scratch []byte    // the record being logged
	parts   [1][]byte // argument of journal.Append, here so that the call allocates nothing
	rec     record    // the record of the current change, likewise
	name    []byte    // in it, if the change is a new name
	target  []byte    // likewise
	ops     []inode.TxOp
}

// Open brings up the shard from its log, or makes a new one: on shard 0 with the root directory.
// Errors: EINVAL for options that make no sense or a Dir that belongs to another shard or cluster size; *wal.Corrupt; EBUSY if
// another process has it open.
func Open(o Options) (*Shard, error) {
	if o.Dir == "" {
		return open(o, nil)
	}
	log, err := wal.Open(o.Dir, wal.Options{Name: logName, Recover: o.Recover})
	if err != nil {
		return nil, err
	}
	s, err := open(o, log)
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	return s, nil
}

func open(o Options, log journal) (*Shard, error) {
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	s := &Shard{o: o, log: log}
	s.reset()
	found := false
	if log != nil {
		if found, err = s.replay(); err != nil {
			return nil, err
		}
	}
	s.txNext = s.txReserved
	s.waiting = found && o.WaitForClients
	if s.nextSeq != 0 {
		return s, nil
	}
	if found {
		return nil, fserr.New("open metadata", o.Dir, syscall.EIO, errors.New("the log does not begin at the beginning"))
	}
	r := s.start(recInit)
	r.shard, r.shards, r.mode, r.uid, r.gid = o.Shard, o.Shards, o.RootMode, o.UID, o.GID
	if err := s.commit(r); err != nil {
		return nil, err
	}
	return s, nil
}

// complete checks the options and fills in the defaults.
func (o Options) complete() (Options, error) {
	if o.Shards == 0 || o.Shards > inode.MaxShards || o.Shard >= o.Shards {
		return o, fserr.New("open metadata", o.Dir, syscall.EINVAL, fmt.Errorf("shard %d of %d", o.Shard, o.Shards))
	}
	if o.Now == nil {
		o.Now = func() int64 { return time.Now().UnixNano() }
	}
	if o.RootMode == 0 {
		o.RootMode = defaultRootMode
	}
	if o.DedupPerClient <= 0 {
		o.DedupPerClient = defaultDedup
	}
	if o.Layout.Strategy == layout.None {
		o.Layout.Strategy = layout.RoundRobin
	}
	if o.Layout.ChunkBits == 0 {
		o.Layout.ChunkBits = layout.DefaultChunkBits
	}
	o.Layout.First, o.Layout.Shards = o.Shard, o.Shards
	return o, o.Layout.Validate()
}

// reset makes the state empty: before there was a first record.
func (s *Shard) reset() {
	s.nodes = newInodes()
	s.more = map[inode.Ino]nodeMore{}
	s.dirs = map[inode.Ino]*fragment{}
	s.removed = tombstones{}
	s.orphans = map[inode.Ino]struct{}{}
	s.truncs = map[inode.Ino]Truncation{}
	s.reserved = map[inode.Ino][]Reservation{}
	s.prepared = map[uint64][]inode.TxOp{}
	s.coord = map[uint64]*Tx{}
	s.purges = newPurgeQueue()
	s.dedup = newDedup(s.o.DedupPerClient, maxClients)
	s.holds = newHolds()
	s.handles = newHandles()
}

// start begins the record of a change. There is one at a time: the record lives in the Shard.
func (s *Shard) start(kind recordKind) *record {
	s.rec = record{kind: kind, now: s.o.Now(), drops: s.rec.drops[:0]}
	return &s.rec
}

// Usage counts what is held.
func (s *Shard) Usage() Usage {
	return Usage{Inodes: uint64(s.nodes.len()), Entries: s.entries}
}

// Done tells how a request ended whose effect is already in the log. A request that is not remembered (any more), or
// has Op 0, is not done.
func (s *Shard) Done(r ReqID) (Result, bool) {
	if r.Op == 0 {
		return Result{}, false
	}
	return s.dedup.find(r)
}
