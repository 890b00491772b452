package server

import (
	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/internal/inode"
	"github.com/benchfs/benchfs/meta"
	"github.com/benchfs/benchfs/rpc"
	"github.com/benchfs/benchfs/store"
)

// What clients on the shard's own machine read from shared memory (shm, records): the attributes of inodes, by number, and versions of names.
// Both follow the shard in Observer calls, which come before anybody is answered. While an operation over several shards, or a cut, holds
// an inode, its record is void, and the version of a name that is held has advanced: the outcome may be known elsewhere before it is here, and who
// asks by message waits for it.

// Board is what a shard shares with the processes of its machine: shm.Board.
type Board interface {
	store.Board

	Leave(client uint64)
	Reap()

	PutRecord(number uint64, words *[recordWords]uint64)
	ShowsRecord(number, first uint64) bool
	VoidRecord(number, first uint64)
	AdvanceName(hash uint64)
	Pinned(number uint64) bool
}

// recordWords is the length of a record: attributes, and the place of the only chunk of a small file, so that it can be opened and read without
// a message.
const recordWords = inode.AttrWords + rpc.PlaceWords

// watcher is the shard's meta.Observer.
type watcher struct {
	board Board
	place func(ino inode.Ino, gen uint32) rpc.Place // of a file's first chunk
}

func newWatcher(m *meta.Shard, board Board, place func(ino inode.Ino, gen uint32) rpc.Place) *watcher {
	w := &watcher{board, place}
	m.Observe(w)
	return w
}

// show makes sure that attributes which were asked for by message need not be asked for again: the record may have been another's.
func (w *watcher) show(a *inode.Attr) {
	if w != nil && !w.board.ShowsRecord(a.Ino.Seq(), uint64(a.Ino)) {
		w.InodeChanged(a)
	}
}

// InodeChanged implements meta.Observer.
func (w *watcher) InodeChanged(a *inode.Attr) {
	var words [recordWords]uint64
	attr := a.Words()
	copy(words[:], attr[:])
	if a.Kind == inode.File && a.Size > 0 && a.Size <= 1<<a.Layout.ChunkBits {
		place := w.place(a.Ino, a.TruncGen)
		at := place.Words()
		copy(words[inode.AttrWords:], at[:])
	}
	w.board.PutRecord(a.Ino.Seq(), &words)
}

// InodeOpen implements meta.Observer: processes of this machine open files without a message, see shm, pins.
func (w *watcher) InodeOpen(ino inode.Ino) bool { return w.board.Pinned(uint64(ino)) }

// InodeVoid implements meta.Observer.
func (w *watcher) InodeVoid(ino inode.Ino) { w.board.VoidRecord(ino.Seq(), uint64(ino)) }

// NameChanged implements meta.Observer.
func (w *watcher) NameChanged(parent inode.Ino, name []byte) {
	w.board.AdvanceName(uint64(layout.EntryKey(uint64(parent), name)))
}
