package client

import (
	"strings"
	"sync"
	"sync/atomic"

	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/internal/inode"
	"github.com/benchfs/benchfs/internal/shm"
	"github.com/benchfs/benchfs/rpc"
)

// Names that were looked up, remembered: what they stand for, and where the attributes of that are. Only such are remembered whose shard is on this
// machine, because its shared memory tells at each use whether both are still so. A path below remembered directories takes no more messages than
// its last component, and looking at the same file again takes none.

// maxKnown bounds what is remembered.
const maxKnown = 64 << 10

type nameKey struct {
	parent inode.Ino
	name   string
}

// knownName is what a name stands for. It never changes.
type knownName struct {
	ino     inode.Ino
	kind    inode.Kind
	reach   *reach
	bucket  uint32
	version uint64
	record  record
}

// lookups is the memory of a Client.
type lookups struct {
	names   sync.Map // nameKey → *knownName
	records sync.Map // inode.Ino → *record, of directories that are known by number only
	count   atomic.Int64

	// seen has a bit for names that were looked up before: those of files are remembered from the second time on. Who looks at a million
	// files once does not pay for remembering them.
	seen  [seenBits / 64]atomic.Uint64
	fresh atomic.Int64 // bits set
}

const seenBits = 1 << 16

// again reports whether a name was seen before, and notes that it is seen.
func (l *lookups) again(parent inode.Ino, name string) bool {
	bit := layout.EntryShard(uint64(parent), bytesOf(name), seenBits)
	word, mask := &l.seen[bit/64], uint64(1)<<(bit%64)
	if word.Load()&mask != 0 {
		return true
	}
	word.Or(mask)
	if l.fresh.Add(1) > seenBits/2 { // too many share a bit by now
		l.fresh.Store(0)
		for i := range l.seen {
			l.seen[i].Store(0)
		}
	}
	return false
}

// find tells what a name stands for, if that is known and still so.
func (l *lookups) find(parent inode.Ino, name string) (reply rpc.EntryReply, ok bool) {
	value, known := l.names.Load(nameKey{parent, name})
	if !known {
		return reply, false
	}
	e := value.(*knownName)
	version, valid := e.reach.view.NameVersion(e.bucket)
	if valid && version == e.version {
		if reply.Attr, ok = e.record.attr(e.ino, e.kind); ok {
			reply.Ino, reply.Kind, reply.HasAttr = e.ino, e.kind, true
			return reply, true
		}
	}
	l.forget(nameKey{parent, name})
	return reply, false
}

// attr reads the attributes of something that is there.
func (r *record) attr(ino inode.Ino, kind inode.Kind) (a inode.Attr, ok bool) {
	var words [inode.AttrWords]uint64
	if !r.reach.view.Record(r.number, r.serial, &words) {
		return a, false
	}
	a.SetWords(&words)
	return a, a.Ino == ino && a.Kind == kind && a.Nlink != 0
}

// learn remembers the answer to a lookup. name is the caller's memory.
func (l *lookups) learn(reach *reach, parent inode.Ino, name string, reply *rpc.EntryReply) {
	if reach == nil || !reply.Record.Held {
		return
	}
	l.makeRoom()
	e := &knownName{
		ino: reply.Ino, kind: reply.Kind, reach: reach, version: reply.NameVersion,
		bucket: layout.EntryShard(uint64(parent), bytesOf(name), shm.NameBuckets),
		record: record{reach: reach, number: reply.Record.Number, serial: reply.Record.Serial},
	}
	if _, known := l.names.Swap(nameKey{parent, strings.Clone(name)}, e); !known {
		l.count.Add(1)
	}
}

func (l *lookups) forget(key nameKey) {
	if _, known := l.names.LoadAndDelete(key); known {
		l.count.Add(-1)
	}
}

// makeRoom forgets some when there are too many.
func (l *lookups) makeRoom() {
	if l.count.Load() < maxKnown {
		return
	}
	left := maxKnown / 8
	for _, m := range []*sync.Map{&l.names, &l.records} {
		m.Range(func(key, _ any) bool {
			if _, known := m.LoadAndDelete(key); known {
				l.count.Add(-1)
				left--
			}
			return left > 0
		})
	}
}

// dirAttr reads the attributes of a directory that is known by number.
func (l *lookups) dirAttr(ino inode.Ino) (a inode.Attr, ok bool) {
	value, known := l.records.Load(ino)
	if !known {
		return a, false
	}
	if a, ok = value.(*record).attr(ino, inode.Dir); !ok {
		if _, known = l.records.LoadAndDelete(ino); known {
			l.count.Add(-1)
		}
	}
	return a, ok
}

// learnDirAttr remembers where the attributes of a directory are.
func (l *lookups) learnDirAttr(reach *reach, ino inode.Ino, r *rpc.Record) {
	if reach == nil || !r.Held {
		return
	}
	l.makeRoom()
	if _, known := l.records.Swap(ino, &record{reach: reach, number: r.Number, serial: r.Serial}); !known {
		l.count.Add(1)
	}
}

// dirAttr is the attributes of a directory's inode.
func (o *op) dirAttr(ino inode.Ino) (inode.Attr, error) {
	if a, ok := o.c.lookups.dirAttr(ino); ok {
		return a, nil
	}
	reach := o.reachOf(ino.Shard())
	o.reset()
	m := rpc.GetAttr{Ino: ino, Share: reach != nil}
	call := o.call(rpc.MsgGetAttr, ino.Shard())
	call.Body = m.AppendTo(call.Body)
	o.exchange()
	reply, err := o.attrReply(call, ino)
	if err != nil {
		return inode.Attr{}, err
	}
	if reply.Attr.Kind == inode.Dir {
		o.c.lookups.learnDirAttr(reach, ino, &reply.Record)
	}
	return reply.Attr, nil
}
