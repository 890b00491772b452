package client

import (
	"context"

	"github.com/benchfs/benchfs/internal/inode"
	"github.com/benchfs/benchfs/rpc"
)

// Attributes of open files whose shard is on this machine are read from its memory once it has told where: the end of a file, its size and
// version take no message then. A record shows what the shard would answer now; one that does not hold any more is asked for again.

// record is where the attributes of an inode are. It never changes.
type record struct {
	reach          *reach
	number, serial uint32
}

// now reads the attributes. false: they must be asked for.
func (in *openInode) now() (a inode.Attr, ok bool) {
	r := in.record.Load()
	if r == nil {
		return a, false
	}
	var words [inode.AttrWords]uint64
	if !r.reach.view.Record(r.number, r.serial, &words) {
		in.record.CompareAndSwap(r, nil)
		return a, false
	}
	a.SetWords(&words)
	return a, a.Ino == in.ino
}

// askNow adds the message that asks for the attributes, and for their record if the shard is in reach.
func (o *op) askNow(in *openInode, reach *reach) *rpc.Call {
	m := rpc.GetAttr{Ino: in.ino, Share: reach != nil && in.kind == inode.File}
	call := o.call(rpc.MsgGetAttr, in.ino.Shard())
	call.Body = m.AppendTo(call.Body)
	return call
}

// takeNow reads its answer.
func (o *op) takeNow(in *openInode, reach *reach, call *rpc.Call) (inode.Attr, error) {
	reply, err := o.attrReply(call, in.ino)
	if err != nil {
		return inode.Attr{}, err
	}
	if reply.Record.Held && reach != nil {
		in.record.Store(&record{reach: reach, number: reply.Record.Number, serial: reply.Record.Serial})
	}
	return reply.Attr, nil
}

// directStat is Stat without a message.
func (f *File) directStat() (a inode.Attr, ok bool) {
	if f.in.mtime.Load() != 0 { // to be told first
		return a, false
	}
	if a, ok = f.in.now(); ok {
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
	attr, err := o.statOpen(f.in)
	return attr, o.end(f.name, o.fileGone(err))
}

// statOpen is stat for what is open.
func (o *op) statOpen(in *openInode) (inode.Attr, error) {
	if in.kind != inode.File {
		return o.stat(&rpc.EntryReply{Ino: in.ino, Kind: in.kind})
	}
	if err := o.tellMtime(in); err != nil {
		return inode.Attr{}, err
	}
	return o.refresh(in)
}
