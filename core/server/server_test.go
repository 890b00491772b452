package server_test

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/internal/inode"
	"github.com/benchfs/benchfs/rpc"
)

func TestCreateLookupRemove(t *testing.T) {
	c := newCluster(t, 3)
	k := c.asker(1)
	for i := range 50 {
		name := fmt.Sprintf("f%d", i)
		made := must[rpc.EntryReply](t)(k.create(rpc.MsgCreateFile, inode.Root, name))
		if !made.Created || !made.HasAttr || made.Attr.Nlink != 1 {
			t.Fatalf("create answered %+v", made)
		}
		if _, err := k.create(rpc.MsgCreateFile, inode.Root, name); !errors.Is(err, syscall.EEXIST) {
			t.Fatalf("second exclusive create: %v", err)
		}
		seen := must[rpc.EntryReply](t)(k.lookup(inode.Root, name))
		if seen.Ino != made.Ino {
			t.Fatalf("lookup gives %v, create gave %v", seen.Ino, made.Ino)
		}
		if err := k.remove(rpc.MsgDelete, inode.Root, name, made.Ino); err != nil {
			t.Fatal(err)
		}
		if _, err := k.lookup(inode.Root, name); !errors.Is(err, syscall.ENOENT) {
			t.Fatalf("after removal: %v", err)
		}
	}
}

func TestRepeatedRequestRunsOnce(t *testing.T) {
	c := newCluster(t, 2)
	k := c.asker(1)
	name := "once"
	shard := k.shardOf(inode.Root, name)
	m := rpc.Create{Parent: inode.Root, Name: []byte(name), Mode: 0o644, Exclusive: true}
	op := k.nextOp()
	var first, again rpc.EntryReply
	if err := k.ask(shard, rpc.MsgCreateFile, op, &m, nil, &first); err != nil {
		t.Fatal(err)
	}
	if err := k.ask(shard, rpc.MsgCreateFile, op, &m, nil, &again); err != nil {
		t.Fatalf("the same operation again: %v", err)
	}
	if first.Ino != again.Ino || !again.Created {
		t.Fatalf("first %+v, again %+v", first, again)
	}
	c.kill(int(shard))
	c.start(int(shard))
	if err := k.ask(shard, rpc.MsgCreateFile, op, &m, nil, &again); err != nil || first.Ino != again.Ino {
		t.Fatalf("the same operation after a restart: %v, %+v", err, again)
	}
	ap := rpc.Append{Ino: first.Ino, Length: 10}
	op = k.nextOp()
	for range 3 {
		var reply rpc.AppendReply
		if err := k.ask(shard, rpc.MsgAppend, op, &ap, []byte("0123456789"), &reply); err != nil {
			t.Fatal(err)
		}
		if reply.Offset != 0 || !reply.Written || reply.Attr.Size != 10 {
			t.Fatalf("append answered %+v", reply)
		}
	}
}

// TestRenameAcrossShards moves entries over every combination of old shard, new shard and inode's shard.
func TestRenameAcrossShards(t *testing.T) {
	const shards = 3
	c := newCluster(t, shards)
	k := c.asker(1)
	for from := range uint32(shards) {
		for to := range uint32(shards) {
			oldName := k.nameOn(from, inode.Root, fmt.Sprintf("old-%d-%d-", from, to))
			newName := k.nameOn(to, inode.Root, fmt.Sprintf("new-%d-%d-", from, to))
			moved := must[rpc.EntryReply](t)(k.create(rpc.MsgCreateFile, inode.Root, oldName))
			target := must[rpc.EntryReply](t)(k.create(rpc.MsgCreateFile, inode.Root, newName))
			err := k.rename(&rpc.Rename{
				OldParent: inode.Root, OldName: []byte(oldName), NewParent: inode.Root, NewName: []byte(newName),
				Ino: moved.Ino, Kind: inode.File, Target: target.Ino, TargetKind: inode.File,
			})
			if err != nil {
				t.Fatalf("%d → %d: %v", from, to, err)
			}
			if _, err := k.lookup(inode.Root, oldName); !errors.Is(err, syscall.ENOENT) {
				t.Errorf("%d → %d: old name: %v", from, to, err)
			}
			if e := must[rpc.EntryReply](t)(k.lookup(inode.Root, newName)); e.Ino != moved.Ino {
				t.Errorf("%d → %d: new name stands for %v", from, to, e.Ino)
			}
			if _, err := k.attr(target.Ino); err == nil {
				t.Errorf("%d → %d: the replaced inode is still there", from, to)
			}
			if err := k.remove(rpc.MsgDelete, inode.Root, newName, moved.Ino); err != nil {
				t.Errorf("%d → %d: removal after the rename: %v", from, to, err)
			}
		}
	}
}

func TestStaleViewIsRefused(t *testing.T) {
	c := newCluster(t, 3)
	k := c.asker(1)
	made := must[rpc.EntryReply](t)(k.create(rpc.MsgCreateFile, inode.Root, "a"))
	if err := k.remove(rpc.MsgDelete, inode.Root, "a", made.Ino+1); !errors.Is(err, fserr.ErrStaleView) {
		t.Fatalf("removal of another inode: %v", err)
	}
	err := k.rename(&rpc.Rename{
		OldParent: inode.Root, OldName: []byte("a"), NewParent: inode.Root, NewName: []byte("b"),
		Ino: made.Ino + 1, Kind: inode.File,
	})
	if !errors.Is(err, fserr.ErrStaleView) {
		t.Fatalf("rename of another inode: %v", err)
	}
	if e := must[rpc.EntryReply](t)(k.lookup(inode.Root, "a")); e.Ino != made.Ino {
		t.Fatal("a refused operation changed the name")
	}
}

func TestRemoveDirectoryNeedsAllShards(t *testing.T) {
	c := newCluster(t, 4)
	k := c.asker(1)
	dir := must[rpc.EntryReply](t)(k.create(rpc.MsgCreateDir, inode.Root, "d"))
	for shard := range uint32(4) {
		name := k.nameOn(shard, dir.Ino, "x")
		file := must[rpc.EntryReply](t)(k.create(rpc.MsgCreateFile, dir.Ino, name))
		if err := k.remove(rpc.MsgRemoveDir, inode.Root, "d", dir.Ino); !errors.Is(err, syscall.ENOTEMPTY) {
			t.Fatalf("entry on shard %d: %v", shard, err)
		}
		if err := k.remove(rpc.MsgDelete, dir.Ino, name, file.Ino); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.remove(rpc.MsgRemoveDir, inode.Root, "d", dir.Ino); err != nil {
		t.Fatal(err)
	}
	for shard := range uint32(4) {
		if _, err := k.create(rpc.MsgCreateFile, dir.Ino, k.nameOn(shard, dir.Ino, "y")); !errors.Is(err, syscall.ENOENT) {
			t.Fatalf("create in a removed directory on shard %d: %v", shard, err)
		}
	}
}

// TestDirectoryCycle moves two directories into each other at once: one succeeds, one is refused.
func TestDirectoryCycle(t *testing.T) {
	c := newCluster(t, 3)
	for round := range 20 {
		k := c.asker(uint64(100 + round))
		an, bn := fmt.Sprintf("a%d", round), fmt.Sprintf("b%d", round)
		a := must[rpc.EntryReply](t)(k.create(rpc.MsgCreateDir, inode.Root, an))
		b := must[rpc.EntryReply](t)(k.create(rpc.MsgCreateDir, inode.Root, bn))
		moves := []*rpc.Rename{
			{OldParent: inode.Root, OldName: []byte(an), NewParent: b.Ino, NewName: []byte("in"), Ino: a.Ino, Kind: inode.Dir},
			{OldParent: inode.Root, OldName: []byte(bn), NewParent: a.Ino, NewName: []byte("in"), Ino: b.Ino, Kind: inode.Dir},
		}
		ops := []uint64{k.nextOp(), k.nextOp()}
		errs := make([]error, len(moves))
		var wg sync.WaitGroup
		for i, m := range moves {
			wg.Add(1)
			go func() {
				defer wg.Done()
				shard := k.shardOf(m.NewParent, "in")
				errs[i] = k.ask(shard, rpc.MsgRename, ops[i], m, nil, nil)
			}()
		}
		wg.Wait()
		if (errs[0] == nil) == (errs[1] == nil) {
			t.Fatalf("round %d: %v and %v", round, errs[0], errs[1])
		}
		for _, err := range errs {
			if err != nil && !errors.Is(err, syscall.EINVAL) {
				t.Fatalf("round %d: %v", round, err)
			}
		}
	}
}

func (k *asker) write(ino inode.Ino, shard uint32, chunk uint64, off uint32, gen uint32, data []byte) error {
	m := rpc.WriteChunk{Ino: ino, Chunk: chunk, Offset: off, Length: uint32(len(data)), Gen: gen, ChunkBits: 16}
	return k.ask(shard, rpc.MsgWriteChunk, 0, &m, data, nil)
}

func (k *asker) read(ino inode.Ino, shard uint32, chunk uint64, off, n, gen uint32) ([]byte, error) {
	m := rpc.ReadChunk{Ino: ino, Chunk: chunk, Offset: off, Length: n, Gen: gen}
	call := k.pool.Transport().NewCall()
	defer k.pool.Transport().FreeCall(call)
	call.Reset()
	call.To = k.c.peer(int(shard))
	call.Header.Type = rpc.MsgReadChunk
	call.Body = m.AppendTo(call.Body[:0])
	call.In = make([]byte, n)
	k.pool.Exchange(t0(), time.Now().Add(5*time.Second), []*rpc.Call{call})
	if call.Err != nil {
		return nil, call.Err
	}
	var reply rpc.ReadChunkReply
	if err := reply.Decode(call.Answer); err != nil {
		return nil, err
	}
	if int(reply.Present) != call.Received {
		return nil, fmt.Errorf("present %d, received %d", reply.Present, call.Received)
	}
	return call.In[:call.Received], nil
}

// TestTruncateFencesOldWrites is the promise that nothing written before a truncate lands after it, on any owner.
func TestTruncateFencesOldWrites(t *testing.T) {
	const shards = 3
	c := newCluster(t, shards)
	k := c.asker(1)
	file := must[rpc.EntryReply](t)(k.create(rpc.MsgCreateFile, inode.Root, "f"))
	first := file.Ino.Shard()
	owner := func(chunk uint64) uint32 { return uint32((uint64(first) + chunk) % shards) }
	data := bytes.Repeat([]byte{7}, 1000)
	for chunk := range uint64(shards) {
		if err := k.write(file.Ino, owner(chunk), chunk, 0, 0, data); err != nil {
			t.Fatal(err)
		}
	}
	var attr rpc.AttrReply
	end := rpc.Extend{Ino: file.Ino, End: 2<<16 + 1000}
	if err := k.ask(first, rpc.MsgExtend, 0, &end, nil, &attr); err != nil {
		t.Fatal(err)
	}
	cut := rpc.Truncate{Ino: file.Ino, Size: 500}
	if err := k.ask(first, rpc.MsgTruncate, k.nextOp(), &cut, nil, &attr); err != nil {
		t.Fatal(err)
	}
	if attr.Attr.Size != 500 || attr.Attr.TruncGen != 1 {
		t.Fatalf("after the truncate: %+v", attr.Attr)
	}
	for chunk := range uint64(shards) {
		if err := k.write(file.Ino, owner(chunk), chunk, 0, 0, data); !errors.Is(err, fserr.ErrStaleGeneration) {
			t.Errorf("chunk %d: a write of before the truncate: %v", chunk, err)
		}
		got := must[[]byte](t)(k.read(file.Ino, owner(chunk), chunk, 0, 1000, 1))
		want := 0
		if chunk == 0 {
			want = 500
		}
		if len(got) != want || !bytes.Equal(got, data[:want]) {
			t.Errorf("chunk %d: %d bytes present, want %d", chunk, len(got), want)
		}
	}
	end.End = 900
	if err := k.ask(first, rpc.MsgExtend, 0, &end, nil, &attr); !errors.Is(err, fserr.ErrStaleGeneration) {
		t.Errorf("an extension of before the truncate: %v", err)
	}
}

// TestTruncateWaitsForOwner: with an owner away, the truncate reports it in time, holds the file, and is finished when the owner is back.
func TestTruncateWaitsForOwner(t *testing.T) {
	c := newCluster(t, 2)
	k := c.asker(1)
	file := must[rpc.EntryReply](t)(k.create(rpc.MsgCreateFile, inode.Root, "f"))
	first := file.Ino.Shard()
	other := int(1 - first)
	var attr rpc.AttrReply
	end := rpc.Extend{Ino: file.Ino, End: 100}
	if err := k.ask(first, rpc.MsgExtend, 0, &end, nil, &attr); err != nil {
		t.Fatal(err)
	}
	c.kill(other)
	cut := rpc.Truncate{Ino: file.Ino, Size: 10}
	op := k.nextOp()
	if err := k.askWithin(500*time.Millisecond, first, rpc.MsgTruncate, op, &cut, nil, &attr); err == nil {
		t.Fatal("a truncate succeeded without one of its owners")
	}
	c.start(other)
	if err := k.askWithin(15*time.Second, first, rpc.MsgTruncate, op, &cut, nil, &attr); err != nil {
		t.Fatalf("the same truncate with the owner back: %v", err)
	}
	if attr.Attr.Size != 10 || attr.Attr.TruncGen != 1 {
		t.Fatalf("truncated twice or not at all: %+v", attr.Attr)
	}
}

func TestUnlinkedFileLivesWhileOpen(t *testing.T) {
	c := newCluster(t, 2)
	k := c.asker(1)
	file := must[rpc.EntryReply](t)(k.create(rpc.MsgCreateFile, inode.Root, "f"))
	shard := file.Ino.Shard()
	open := rpc.OpenHandle{Ino: file.Ino, Handle: 1}
	var attr rpc.AttrReply
	if err := k.ask(shard, rpc.MsgOpen, 0, &open, nil, &attr); err != nil {
		t.Fatal(err)
	}
	if err := k.write(file.Ino, shard, 0, 0, 0, []byte("still here")); err != nil {
		t.Fatal(err)
	}
	if err := k.ask(shard, rpc.MsgExtend, 0, &rpc.Extend{Ino: file.Ino, End: 10}, nil, &attr); err != nil {
		t.Fatal(err)
	}
	if err := k.remove(rpc.MsgDelete, inode.Root, "f", file.Ino); err != nil {
		t.Fatal(err)
	}
	if a := must[inode.Attr](t)(k.attr(file.Ino)); a.Nlink != 0 || a.Size != 10 {
		t.Fatalf("open without a name: %+v", a)
	}
	if got := must[[]byte](t)(k.read(file.Ino, shard, 0, 0, 10, 0)); string(got) != "still here" {
		t.Fatalf("read %q", got)
	}
	if err := k.ask(shard, rpc.MsgRelease, 0, &rpc.ReleaseHandles{Handles: []rpc.ReleaseHandle{{Ino: file.Ino, Handle: 1}}}, nil, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := k.attr(file.Ino); err == nil {
		t.Fatal("the inode outlived its last handle")
	}
	eventually(t, "the chunks are dropped", func() bool {
		var usage rpc.StatStoreReply
		return k.ask(shard, rpc.MsgStatStore, 0, nil, nil, &usage) == nil && usage.Chunks == 0
	})
}

// TestSweep: chunks that the inode's shard was never told of, because their writer died before it could, go when the inode is gone, and only then.
func TestSweep(t *testing.T) {
	c := newCluster(t, 2)
	k := c.asker(1)
	used := func(shard uint32) (chunks uint64) {
		var usage rpc.StatStoreReply
		if err := k.ask(shard, rpc.MsgStatStore, 0, nil, nil, &usage); err != nil {
			t.Fatal(err)
		}
		return usage.Chunks
	}
	kept := must[rpc.EntryReply](t)(k.create(rpc.MsgCreateFile, inode.Root, "kept"))
	doomed := must[rpc.EntryReply](t)(k.create(rpc.MsgCreateFile, inode.Root, "doomed"))
	for shard := range uint32(2) {
		for _, ino := range []inode.Ino{kept.Ino, doomed.Ino} {
			if err := k.write(ino, shard, 0, 0, 0, []byte("not told")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := k.remove(rpc.MsgDelete, inode.Root, "doomed", doomed.Ino); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the chunks of the file that is gone are dropped", func() bool {
		c.tickAt(time.Now().Add(2 * time.Hour)) // the grace time is over
		return used(0) == 1 && used(1) == 1
	})
	c.tick()
	if used(0) != 1 || used(1) != 1 {
		t.Error("chunks of a file that is there were dropped")
	}
}

func TestHandshakeRefusals(t *testing.T) {
	c := newCluster(t, 1)
	for _, wrong := range []struct {
		name   string
		change func(o *rpc.PoolOptions)
	}{
		{"secret", func(o *rpc.PoolOptions) { o.Identity.Secret = "guessed" }},
		{"epoch", func(o *rpc.PoolOptions) { o.Identity.Epoch = 2 }},
	} {
		t.Run(wrong.name, func(t *testing.T) {
			o := rpc.PoolOptions{
				Identity: rpc.Identity{Client: 9, Secret: testSecret, Epoch: 1},
				Resolve:  c.resolve, ConnectTimeout: time.Second,
				Policy: rpc.Policy{Attempts: 2, Overall: time.Second, BackoffBase: time.Millisecond},
			}
			wrong.change(&o)
			k := &asker{c: c, pool: rpc.NewPool(c.network.Transport(), o)}
			if _, err := k.attr(inode.Root); err == nil {
				t.Fatal("admitted")
			}
		})
	}
}

func TestGarbageIsAnswered(t *testing.T) {
	c := newCluster(t, 1)
	k := c.asker(1)
	var status *rpc.HandlerError
	if err := k.ask(0, rpc.MsgMax+7, 0, nil, nil, nil); !errors.As(err, &status) || status.Status != rpc.StatusUnknown {
		t.Errorf("unknown type: %v", err)
	}
	if err := k.ask(0, rpc.MsgLookup, 0, nil, nil, nil); !errors.As(err, &status) || status.Status != rpc.StatusInvalid {
		t.Errorf("empty body: %v", err)
	}
	tooFar := rpc.WriteChunk{Ino: 5, Offset: 1 << 16, Length: 1, ChunkBits: 16}
	if err := k.ask(0, rpc.MsgWriteChunk, 0, &tooFar, []byte{1}, nil); !errors.As(err, &status) || status.Status != rpc.StatusInvalid {
		t.Errorf("write beyond the chunk: %v", err)
	}
	if _, err := k.attr(inode.Root); err != nil {
		t.Errorf("the shard does not go on: %v", err)
	}
}
