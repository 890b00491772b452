package client

import (
	"slices"

	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/internal/inode"
	"github.com/benchfs/benchfs/rpc"
)

// The layout strategy "local": a chunk lives where it was first written. The writer stores the data first and then publishes the
// place (a run) at the inode's shard; who publishes first owns the chunk, and the others write again, to the owner.

// place gives the pieces of the window that have no owner one on this node.
func (o *op) place(in *openInode, k *known) error {
	if !o.homeless() {
		return nil
	}
	if o.pieces[0].pos < k.size || k.runsLost {
		// Below the known size somebody may have placed it already: ask before writing for nothing.
		attr, err := o.refresh(in)
		if err != nil {
			return err
		}
		fresh := in.snapshot()
		if attr.TruncGen != k.gen || fresh.gen != k.gen || fresh.layout != k.layout {
			return fserr.ErrStaleGeneration
		}
		*k = fresh
		for i := range o.pieces {
			p := &o.pieces[i]
			p.shard, p.placed = k.owner(in.ino, p.chunk)
		}
	}
	for i := range o.pieces {
		if p := &o.pieces[i]; !p.placed {
			p.shard = o.c.homeShard(in.ino, p.chunk)
		}
	}
	return nil
}

// homeless reports whether a piece of the window has no known owner. That is so with the strategy Local only.
func (o *op) homeless() bool {
	for i := range o.pieces {
		if !o.pieces[i].placed {
			return true
		}
	}
	return false
}

// homeShard is where a new chunk of a Local file is written first: one of this node's shards, by inode and chunk; without
// a node of our own, the shards of the cluster in turn.
func (c *Client) homeShard(ino inode.Ino, chunk uint64) uint32 {
	cluster := c.cluster.Load()
	spread := layout.Layout{Strategy: layout.RoundRobin, First: ino.Shard(), Shards: cluster.Shards()}
	node, own := layout.Node{}, false
	if c.o.Node >= 0 {
		node, own = cluster.Node(uint32(c.o.Node))
	}
	if own {
		spread = layout.Layout{Strategy: layout.Hash, Shards: node.Shards}
	}
	shard, _ := layout.ChunkNode(spread, uint64(ino), chunk, nil)
	return node.FirstShard + shard
}

// publish tells the inode's shard where the window's chunks without an owner have been written, and writes those again that somebody else has
// placed meanwhile.
func (o *op) publish(in *openInode, k *known) error {
	if err := o.claim(in, k); err != nil {
		return err
	}
	return o.writeToWinners(in, k)
}

// claim asks the inode's shard for the ownership of the window's chunks that have none, and takes in who got it.
func (o *op) claim(in *openInode, k *known) error {
	var added []layout.Run
	for i := range o.pieces {
		p := &o.pieces[i]
		switch n := len(added); {
		case p.placed:
		case n > 0 && added[n-1].Shard == p.shard && p.chunk < added[n-1].First+added[n-1].Count:
		case n > 0 && added[n-1].Shard == p.shard && p.chunk == added[n-1].First+added[n-1].Count:
			added[n-1].Count++
		default:
			added = append(added, layout.Run{First: p.chunk, Count: 1, Shard: p.shard})
		}
	}
	if len(added) == 0 {
		return nil
	}
	winners, err := o.addRuns(in, k, added)
	if err != nil {
		return err
	}
	in.addRuns(k.gen, winners)
	for _, run := range winners {
		k.runs = layout.InsertRun(slices.Clone(k.runs), run)
	}
	return nil
}

// addRuns publishes runs, and returns those that hold now.
func (o *op) addRuns(in *openInode, k *known, added []layout.Run) ([]layout.Run, error) {
	memory, err := o.payload()
	if err != nil {
		return nil, err
	}
	share := len(memory) / len(added)
	o.reset()
	for i, run := range added {
		m := rpc.AddRun{Ino: in.ino, Gen: k.gen, Run: run}
		call := o.call(rpc.MsgAddRun, in.ino.Shard())
		call.Body = m.AppendTo(call.Body)
		call.In = memory[i*share : (i+1)*share]
	}
	o.exchange()
	if err := o.staleOrFailed(); err != nil {
		return nil, err
	}
	var winners []layout.Run
	for _, call := range o.calls[:len(added)] {
		runs, err := o.runsOf(call, call.In)
		if err != nil {
			return nil, err
		}
		winners = append(winners, runs...)
	}
	return winners, nil
}

// writeToWinners writes the pieces again whose chunk turned out to be somebody else's.
func (o *op) writeToWinners(in *openInode, k *known) error {
	o.reset()
	for i := range o.pieces {
		p := &o.pieces[i]
		if p.placed {
			continue
		}
		owner, ok := k.owner(in.ino, p.chunk)
		if !ok {
			return o.broken(&rpc.Call{To: o.c.peer(in.ino.Shard())}, "a published placement is not there")
		}
		if owner != p.shard {
			p.shard = owner
			o.sendPiece(k, p)
		}
	}
	if o.used == 0 {
		return nil
	}
	o.exchange()
	return o.staleOrFailed()
}
