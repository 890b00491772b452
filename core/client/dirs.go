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

// Directories on the way to a file, remembered: what a name stands for, and the attributes of the directory. Only such are remembered whose shard
// is on this machine, because its shared memory tells at each use whether both are still so. A path below them takes no more messages
// than its last component.

// maxDirs bounds what is remembered.
const maxDirs = 16 << 10

type dirKey struct {
	parent inode.Ino
	name   string
}

// knownDir is what a name stands for. It never changes.
type knownDir struct {
	ino     inode.Ino
	reach   *reach
	bucket  uint32
	version uint64
	record  record
}

// dirs is the memory of a Client.
type dirs struct {
	byName  sync.Map // dirKey → *knownDir
	records sync.Map // inode.Ino → *record, of directories
	count   atomic.Int64
}

// find tells what a name stands for, if that is known and still so.
func (d *dirs) find(parent inode.Ino, name string) (reply rpc.EntryReply, ok bool) {
	value, known := d.byName.Load(dirKey{parent, name})
	if !known {
		return reply, false
	}
	e := value.(*knownDir)
	version, valid := e.reach.view.NameVersion(e.bucket)
	if valid && version == e.version {
		if reply.Attr, ok = e.record.dir(e.ino); ok {
			reply.Ino, reply.Kind, reply.HasAttr = e.ino, inode.Dir, true
			return reply, true
		}
	}
	d.forget(dirKey{parent, name})
	return reply, false
}

// dir reads the attributes of a directory that is there.
func (r *record) dir(ino inode.Ino) (a inode.Attr, ok bool) {
	var words [inode.AttrWords]uint64
	if !r.reach.view.Record(r.number, r.serial, &words) {
		return a, false
	}
	a.SetWords(&words)
	return a, a.Ino == ino && a.Kind == inode.Dir && a.Nlink != 0
}

// learn remembers the answer to a lookup. name is the caller's memory.
func (d *dirs) learn(reach *reach, parent inode.Ino, name string, reply *rpc.EntryReply) {
	if reach == nil || !reply.Record.Held || reply.Kind != inode.Dir {
		return
	}
	d.makeRoom()
	e := &knownDir{
		ino: reply.Ino, reach: reach, version: reply.NameVersion, bucket: layout.EntryShard(uint64(parent), bytesOf(name), shm.NameBuckets),
		record: record{reach: reach, number: reply.Record.Number, serial: reply.Record.Serial},
	}
	if _, known := d.byName.Swap(dirKey{parent, strings.Clone(name)}, e); !known {
		d.count.Add(1)
	}
}

func (d *dirs) forget(key dirKey) {
	if _, known := d.byName.LoadAndDelete(key); known {
		d.count.Add(-1)
	}
}

// makeRoom forgets some when there are too many.
func (d *dirs) makeRoom() {
	if d.count.Load() < maxDirs {
		return
	}
	left := maxDirs / 8
	for _, m := range []*sync.Map{&d.byName, &d.records} {
		m.Range(func(key, _ any) bool {
			if _, known := m.LoadAndDelete(key); known {
				d.count.Add(-1)
				left--
			}
			return left > 0
		})
	}
}

// attr reads the attributes of a directory that is known by number.
func (d *dirs) attr(ino inode.Ino) (a inode.Attr, ok bool) {
	value, known := d.records.Load(ino)
	if !known {
		return a, false
	}
	if a, ok = value.(*record).dir(ino); !ok {
		if _, known = d.records.LoadAndDelete(ino); known {
			d.count.Add(-1)
		}
	}
	return a, ok
}

// learnAttr remembers where the attributes of a directory are.
func (d *dirs) learnAttr(reach *reach, ino inode.Ino, r *rpc.Record) {
	if reach == nil || !r.Held {
		return
	}
	d.makeRoom()
	if _, known := d.records.Swap(ino, &record{reach: reach, number: r.Number, serial: r.Serial}); !known {
		d.count.Add(1)
	}
}

// dirAttr is the attributes of a directory's inode.
func (o *op) dirAttr(ino inode.Ino) (inode.Attr, error) {
	if a, ok := o.c.dirs.attr(ino); ok {
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
		o.c.dirs.learnAttr(reach, ino, &reply.Record)
	}
	return reply.Attr, nil
}
