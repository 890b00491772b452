package client

import (
	"github.com/benchfs/benchfs/rpc"
)

// Appending. The inode's shard says where an append begins. One that goes into one chunk of that shard, as far as this process can tell,
// takes its bytes along: that is all then, in one message. Otherwise the answer is a range that nobody else gets and nobody sees, this
// process writes there as Pwrite does, and ends the append. While it has the range other appends to the file wait.

// appendCarry: an append of so many bytes may take them along. More are moved sooner by whoever has a range, because the shard copies
// what comes along.
const appendCarry = 64 << 10

// appendRange writes want bytes at the end of the file, and returns how many from the beginning are in place, and where they begin.
func (o *op) appendRange(in *openInode, bufs [][]byte, want uint64) (n, pos uint64, err error) {
	for {
		reply, ref, err := o.beginAppend(in, bufs, want)
		switch {
		case err != nil:
			return 0, 0, o.fileGone(err)
		case reply.Written:
			return want, reply.Offset, nil
		}
		k := in.snapshot()
		if k.gen != reply.Attr.TruncGen {
			continue // cut, and another thread has seen it: the range is void
		}
		n, err := o.writeOnce(in, &k, bufs, reply.Offset, want, ref)
		// A file that was cut meanwhile took the range with it: others may have it. The bytes go to the new end.
		if err == nil || !o.again(&err) {
			return n, reply.Offset, o.fileGone(err)
		}
		if _, err := o.refresh(in); err != nil {
			return 0, 0, o.fileGone(err)
		}
	}
}

// beginAppend sends the append's first message. ref names the append from then on.
func (o *op) beginAppend(in *openInode, bufs [][]byte, want uint64) (reply rpc.AppendReply, ref uint64, err error) {
	data, err := o.carried(in, bufs, want)
	if err != nil {
		return reply, 0, err
	}
	o.reset()
	m := rpc.Append{Ino: in.ino, Length: want}
	call := o.call(rpc.MsgAppend, in.ino.Shard())
	call.Body = m.AppendTo(call.Body)
	call.Out = data
	once(call)
	ref = call.Header.Op
	if o.exchange(); call.Err != nil {
		return reply, 0, o.gone(call)
	}
	if err := reply.Decode(call.Answer); err != nil || reply.Offset > maxSize-want || reply.Written && data == nil {
		return reply, 0, o.broken(call, "answer to an append makes no sense")
	}
	if reason := checkAttr(&reply.Attr, in.ino, o.c.shards()); reason != "" {
		return reply, 0, o.broken(call, reason)
	}
	in.learn(&reply.Attr)
	if reply.Written {
		o.c.counts.byMessage.Add(want)
	}
	return reply, ref, nil
}

// carried is what an append takes along: its bytes in one piece, or nothing.
func (o *op) carried(in *openInode, bufs [][]byte, want uint64) ([]byte, error) {
	if want > appendCarry {
		return nil, nil
	}
	k := in.snapshot()
	end := k.size
	if a, ok := o.c.attrNow(in.ino); ok && a.TruncGen == k.gen {
		end = max(end, a.Size)
	}
	at := end & (1<<k.layout.ChunkBits - 1)
	if owner, placed := k.owner(in.ino, end>>k.layout.ChunkBits); !placed || owner != in.ino.Shard() || at+want > 1<<k.layout.ChunkBits {
		return nil, nil
	}
	first := 0
	for len(bufs[first]) == 0 {
		first++
	}
	if uint64(len(bufs[first])) >= want {
		return bufs[first][:want], nil
	}
	memory, err := o.payload()
	if err != nil {
		return nil, err
	}
	data := memory[:0]
	for _, b := range bufs[first:] {
		data = append(data, b[:min(uint64(len(b)), want-uint64(len(data)))]...)
	}
	return data, nil
}
