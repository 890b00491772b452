package client

import (
	"context"

	"github.com/benchfs/benchfs/internal/inode"
	"github.com/benchfs/benchfs/rpc"
)

// Attributes of inodes whose shard is on this machine are read from its memory, where it shows those of the newest inodes and of those that were
// asked for lately: the end of a file, its size and version take no message then. A record shows what the shard would answer now.

// attrNow reads the attributes of an inode. false: they must be asked for.
func (c *Client) attrNow(ino inode.Ino) (a inode.Attr, ok bool) {
	r := c.shortcut.reachable(ino.Shard())
	if r == nil {
		return a, false
	}
	var words [inode.AttrWords]uint64
	if !r.view.Record(ino.Seq(), &words) || words[0] != uint64(ino) {
		return a, false
	}
	a.SetWords(&words)
	return a, true
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
