package meta

import (
	"math"
	"syscall"

	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/internal/inode"
)

// Limits.
const (
	maxLinks  = 65000         // names of one inode
	maxSize   = math.MaxInt64 // bytes of one file: what off_t can say
	maxTarget = 4095          // bytes of a symbolic link's target: PATH_MAX without the NUL
	modeBits  = 0o7777
	setUIDBit = 0o4000
	setGIDBit = 0o2000
	groupExec = 0o010
)

// node is an inode in memory: 112 bytes without a pointer, see inodes. What only few inodes have is in Shard.more.
type node struct {
	ino         inode.Ino
	size        uint64
	largest     uint64 // largest size ever: up to where owners may have chunks
	atime       int64
	mtime       int64
	ctime       int64
	btime       int64
	version     uint64
	parent      inode.Ino // of a directory
	nlink       uint32
	opens       uint32 // handles, over all clients; not logged
	uid         uint32
	gid         uint32
	truncGen    uint32
	runsVersion uint32
	first       uint32
	shards      uint32
	epoch       uint32
	mode        uint16
	kind        inode.Kind
	held        heldBits
	strategy    layout.Strategy
	chunkBits   uint8
}

// nodeMore is what only some kinds have.
type nodeMore struct {
	target string       // symbolic links
	runs   []layout.Run // files with strategy Local; sorted, never overlapping
}

// heldBits say why a node answers with ErrBusy.
type heldBits uint8

const (
	heldByTx         heldBits = 1 << iota // holds.inodes says by which
	heldByTruncation                      // Shard.truncs
)

func (n *node) layout() layout.Layout {
	return layout.Layout{Strategy: n.strategy, ChunkBits: n.chunkBits, First: n.first, Shards: n.shards, Epoch: n.epoch}
}

func (n *node) setLayout(l layout.Layout) {
	n.strategy, n.chunkBits, n.first, n.shards, n.epoch = l.Strategy, l.ChunkBits, l.First, l.Shards, l.Epoch
}

func (n *node) attr() inode.Attr {
	a := inode.Attr{
		Ino: n.ino, Kind: n.kind, Mode: uint32(n.mode), Nlink: n.nlink, UID: n.uid, GID: n.gid, Size: n.size,
		Atime: n.atime, Mtime: n.mtime, Ctime: n.ctime, Btime: n.btime,
		Version: n.version, TruncGen: n.truncGen, RunsVersion: n.runsVersion, Layout: n.layout(), Parent: n.parent,
	}
	return a
}

// runs are where the chunks of a Local file are.
func (s *Shard) runs(n *node) []layout.Run {
	if n.strategy != layout.Local {
		return nil
	}
	return s.more[n.ino].runs
}

func (s *Shard) setRuns(n *node, runs []layout.Run) {
	s.more[n.ino] = nodeMore{runs: runs}
	n.runsVersion++
}

// resize sets the size and stamps the change.
func (n *node) resize(size uint64, now int64) {
	n.size = size
	n.largest = max(n.largest, size)
	n.mtime, n.ctime = now, now
	n.version++
}

// hasChunks reports whether some owner may hold data of the inode. Only sizes and runs that were made known here count: a client
// that died between writing its first chunk and telling the size leaves chunks that nobody knows of.
func (n *node) hasChunks() bool {
	return n.kind == inode.File && (n.largest > 0 || n.runsVersion > 0)
}

// find returns an inode that is here and not held. ESTALE if there is none, fserr.ErrBusy if it is held.
func (s *Shard) find(ino inode.Ino) (*node, error) {
	n := s.nodes.get(ino)
	if n == nil {
		return nil, syscall.ESTALE
	}
	if n.held != 0 {
		return nil, fserr.ErrBusy
	}
	return n, nil
}

// findFile is find for what only regular files have: EISDIR for a directory, EINVAL for a symbolic link.
func (s *Shard) findFile(ino inode.Ino) (*node, error) {
	n, err := s.find(ino)
	if err != nil {
		return nil, err
	}
	switch n.kind {
	case inode.File:
		return n, nil
	case inode.Dir:
		return nil, syscall.EISDIR
	}
	return nil, syscall.EINVAL
}

// fileLayout completes the layout of a new file of this shard: what the caller leaves open is the default.
func (s *Shard) fileLayout(l layout.Layout) (layout.Layout, error) {
	if l.Epoch == 0 {
		l.Epoch = s.o.Layout.Epoch
	}
	if l.Strategy == layout.None {
		l.Strategy = s.o.Layout.Strategy
	}
	if l.ChunkBits == 0 {
		l.ChunkBits = s.o.Layout.ChunkBits
	}
	l.First, l.Shards = s.o.Shard, s.o.Shards
	return l, l.Validate()
}

// dirLayout checks what new files of a directory are to inherit. None (nothing set) is fine.
func (s *Shard) dirLayout(l layout.Layout) (layout.Layout, error) {
	if l.Strategy == layout.None {
		return layout.Layout{}, nil
	}
	return s.fileLayout(l)
}
