package server

import (
	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/internal/inode"
	"github.com/benchfs/benchfs/meta"
	"github.com/benchfs/benchfs/rpc"
)

// Attributes that clients on the shard's own machine read from shared memory (internal/shm, records): sizes and versions of the files that they
// have open, what they look up again and again, and whether names still stand for it. A record follows its inode in Observer calls, which come before anybody is answered. It is dropped while an
// operation over several shards, or a cut, holds the inode: the outcome may be known elsewhere before it is here, and who asks
// by message then waits.

// records is what a Board has beside store.Board.
type records interface {
	TakeRecord(words *[inode.AttrWords]uint64) (record, serial uint32, ok bool)
	PutRecord(record uint32, words *[inode.AttrWords]uint64)
	RecordSerial(record uint32) uint32
	DropRecord(record uint32)
	AdvanceName(bucket uint32)
	NameVersion(bucket uint32) uint64
}

// watcher is the shard's meta.Observer.
type watcher struct {
	meta   *meta.Shard
	board  records
	number map[inode.Ino]uint32 // of the record
}

func newWatcher(m *meta.Shard, board any) *watcher {
	b, ok := board.(records)
	if !ok {
		return nil
	}
	w := &watcher{meta: m, board: b, number: map[inode.Ino]uint32{}}
	m.Observe(w)
	return w
}

// record is where a client finds the attributes from now on.
func (w *watcher) record(ino inode.Ino) rpc.Record {
	if w == nil {
		return rpc.Record{}
	}
	if number, shared := w.number[ino]; shared {
		return rpc.Record{Held: true, Number: number, Serial: w.board.RecordSerial(number)}
	}
	a, ok := w.meta.Watch(ino)
	if !ok {
		return rpc.Record{}
	}
	words := a.Words()
	number, serial, ok := w.board.TakeRecord(&words)
	if !ok {
		for other := range w.number { // any: whoever needs it asks again
			w.meta.Unwatch(other)
			w.InodeVoid(other)
			break
		}
		if number, serial, ok = w.board.TakeRecord(&words); !ok {
			w.meta.Unwatch(ino)
			return rpc.Record{}
		}
	}
	w.number[ino] = number
	return rpc.Record{Held: true, Number: number, Serial: serial}
}

// InodeChanged implements meta.Observer.
func (w *watcher) InodeChanged(a *inode.Attr) {
	if number, shared := w.number[a.Ino]; shared {
		words := a.Words()
		w.board.PutRecord(number, &words)
	}
}

// InodeVoid implements meta.Observer.
func (w *watcher) InodeVoid(ino inode.Ino) {
	if number, shared := w.number[ino]; shared {
		delete(w.number, ino)
		w.board.DropRecord(number)
	}
}

// nameBuckets is shm.NameBuckets: names share versions.
const nameBuckets = 4096

func bucketOf(parent inode.Ino, name []byte) uint32 {
	return layout.EntryShard(uint64(parent), name, nameBuckets)
}

// NameChanged implements meta.Observer.
func (w *watcher) NameChanged(parent inode.Ino, name []byte) {
	w.board.AdvanceName(bucketOf(parent, name))
}

// name completes the answer about a name that stands for an inode that is here.
func (w *watcher) name(answer *rpc.EntryReply, parent inode.Ino, name []byte) {
	if w == nil {
		return
	}
	answer.NameVersion = w.board.NameVersion(bucketOf(parent, name)) // this thread changes it
	answer.Record = w.record(answer.Ino)
}
