package server

import (
	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/internal/inode"
	"github.com/benchfs/benchfs/meta"
)

// What clients on the shard's own machine read from shared memory (internal/shm, records): the attributes of inodes, by number, and versions of names.
// Both follow the shard in Observer calls, which come before anybody is answered. While an operation over several shards, or a cut, holds
// an inode, its record is void, and the version of a name that is held has advanced: the outcome may be known elsewhere before it is here, and who
// asks by message waits for it.

// records is what a Board has beside store.Board.
type records interface {
	PutRecord(number uint64, words *[inode.AttrWords]uint64)
	ShowsRecord(number, first uint64) bool
	VoidRecord(number, first uint64)
	AdvanceName(hash uint64)
}

// watcher is the shard's meta.Observer.
type watcher struct{ board records }

func newWatcher(m *meta.Shard, board any) *watcher {
	b, ok := board.(records)
	if !ok {
		return nil
	}
	w := &watcher{b}
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
	words := a.Words()
	w.board.PutRecord(a.Ino.Seq(), &words)
}

// InodeVoid implements meta.Observer.
func (w *watcher) InodeVoid(ino inode.Ino) { w.board.VoidRecord(ino.Seq(), uint64(ino)) }

// NameChanged implements meta.Observer.
func (w *watcher) NameChanged(parent inode.Ino, name []byte) {
	w.board.AdvanceName(uint64(layout.EntryKey(uint64(parent), name)))
}
