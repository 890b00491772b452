package client

import (
	"context"

	"github.com/benchfs/benchfs/internal/inode"
	"github.com/benchfs/benchfs/rpc"
	"github.com/benchfs/benchfs/shm"
)

// Attributes of inodes whose shard is on this machine are read from its memory, where it shows those of the newest inodes and of those that were
// asked for lately: the end of a file, its size and version take no message then. A record shows what the shard would answer now.

// attrNow reads the attributes of an inode. false: they must be asked for.
func (c *Client) attrNow(ino inode.Ino) (a inode.Attr, ok bool) {
	r := c.shortcut.reachable(ino.Shard())
	if r == nil {
		return a, false
	}
	a, _, ok = r.record(ino)
	return a, ok
}

// record reads the record of an inode: its attributes, and the place of its first chunk if it is the only one.
func (r *reach) record(ino inode.Ino) (a inode.Attr, place rpc.Place, ok bool) {
	var words [shm.RecordWords]uint64
	if !r.view.Record(ino.Seq(), &words) || words[0] != uint64(ino) {
		return a, place, false
	}
	a.SetWords((*[inode.AttrWords]uint64)(words[:]))
	place.SetWords([rpc.PlaceWords]uint64(words[inode.AttrWords:]))
	return a, place, true
}

// openDirectly opens a file that reply has found without a message: its inode is pinned, which keeps it as a handle does, and the record that
// is looked at afterwards tells that it was still there. What the record shows is the answer.
func (o *op) openDirectly(reply *rpc.EntryReply) bool {
	r := o.c.shortcut.reachable(reply.Ino.Shard())
	if r == nil || !r.view.Shows(reply.Ino.Seq(), uint64(reply.Ino)) {
		return false
	}
	pin, ok := r.view.Pin(uint64(reply.Ino))
	if !ok {
		return false
	}
	a, place, ok := r.record(reply.Ino)
	if !ok || a.Nlink == 0 { // nobody relies on it, but the shard may have met it
		pin.Drop()
		o.c.releaseSoon(o.ctx, reply.Ino, 0)
		return false
	}
	reply.Attr, reply.HasAttr, reply.Opened, reply.Place = a, true, true, place
	o.pin, o.near = pin, r
	return true
}

// unpin ends an open that took no message. The shard must be told if it may have met the pin, and kept the inode.
func (c *Client) unpin(ctx context.Context, pin shm.Pin, ino inode.Ino, handle uint64) {
	pin.Drop()
	if a, ok := c.attrNow(ino); !ok || a.Nlink == 0 {
		c.releaseSoon(ctx, ino, handle)
	}
}

// attrOfInode is the attributes of an inode, from memory or by message.
func (o *op) attrOfInode(ino inode.Ino) (inode.Attr, error) {
	if a, ok := o.c.attrNow(ino); ok {
		return a, nil
	}
	return o.getAttr(ino)
}

// directStat is Stat without a message.
func (f *File) directStat() (a inode.Attr, ok bool) {
	if f.in.kind != inode.File || f.in.mtime.Load() != 0 { // it is to be told first
		return a, false
	}
	if a, ok = f.c.attrNow(f.in.ino); ok {
		f.in.learn(&a)
		f.tally.stats.Add(1)
	}
	return a, ok
}

// Stat returns the attributes of the open file.
func (f *File) Stat(ctx context.Context) (inode.Attr, error) {
	if a, ok := f.directStat(); ok {
		return a, nil
	}
	o := f.c.begin(ctx, opStat)
	attr, err := o.stat(&rpc.EntryReply{Ino: f.in.ino, Kind: f.in.kind})
	return attr, o.end(f.name, o.fileGone(err))
}
