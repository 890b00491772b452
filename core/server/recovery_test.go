package server_test

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/benchfs/benchfs/internal/inode"
	"github.com/benchfs/benchfs/rpc"
)

func t0() context.Context { return context.Background() }

// prepareBy plays a coordinator: it has a shard hold steps under a transaction of another shard.
func (k *asker) prepareBy(shard uint32, tx uint64, steps []inode.TxOp) error {
	m := rpc.Prepare{Tx: tx, Count: uint32(len(steps))}
	return k.ask(shard, rpc.MsgPrepare, 0, &m, rpc.AppendTxOps(nil, steps), nil)
}

// TestPreparedWithoutCoordinator: a shard that holds something for a coordinator that knows nothing of it (any more) lets go.
func TestPreparedWithoutCoordinator(t *testing.T) {
	c := newCluster(t, 2)
	k := c.asker(1)
	name := k.nameOn(1, inode.Root, "held")
	made := must[rpc.EntryReply](t)(k.create(rpc.MsgCreateFile, inode.Root, name))
	tx := uint64(inode.Make(0, 1<<40))
	steps := []inode.TxOp{{Kind: inode.TxRemoveEntry, Parent: inode.Root, Name: []byte(name), Ino: made.Ino}}
	if err := k.prepareBy(1, tx, steps); err != nil {
		t.Fatal(err)
	}
	c.kill(1)
	c.start(1)
	// start asks the coordinator at once; the name answers again when shard 0 has said that it knows of nothing.
	e, err := k.lookup(inode.Root, name)
	if err != nil || e.Ino != made.Ino {
		t.Fatalf("after the abort: %v, %v", e.Ino, err)
	}
}

// TestHeldNameWaits: a request to a held name is answered after the decision, not before and not with an error.
func TestHeldNameWaits(t *testing.T) {
	c := newCluster(t, 2)
	k := c.asker(1)
	name := k.nameOn(1, inode.Root, "held")
	made := must[rpc.EntryReply](t)(k.create(rpc.MsgCreateFile, inode.Root, name))
	tx := uint64(inode.Make(0, 1<<40))
	steps := []inode.TxOp{{Kind: inode.TxRemoveEntry, Parent: inode.Root, Name: []byte(name), Ino: made.Ino}}
	if err := k.prepareBy(1, tx, steps); err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	go func() {
		_, err := c.asker(2).lookup(inode.Root, name)
		answered <- err
	}()
	select {
	case err := <-answered:
		t.Fatalf("answered while held: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	if err := k.ask(1, rpc.MsgCommit, 0, &rpc.TxRequest{Tx: tx}, nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := <-answered; !errors.Is(err, syscall.ENOENT) {
		t.Fatalf("after the commit: %v", err)
	}
}

// TestCoordinatorRestart kills the coordinator of a rename at a time when a participant is away: after both are back, the
// rename has happened wholly or not at all, and the same request, repeated, makes it happen once.
func TestCoordinatorRestart(t *testing.T) {
	c := newCluster(t, 3)
	k := c.asker(1)
	oldName, newName := k.nameOn(1, inode.Root, "old"), k.nameOn(2, inode.Root, "new")
	made := must[rpc.EntryReply](t)(k.create(rpc.MsgCreateFile, inode.Root, oldName))
	m := rpc.Rename{
		OldParent: inode.Root, OldName: []byte(oldName), NewParent: inode.Root, NewName: []byte(newName),
		Ino: made.Ino, Kind: inode.File,
	}
	c.kill(1)
	op := k.nextOp()
	if err := k.askWithin(300*time.Millisecond, 2, rpc.MsgRename, op, &m, nil, nil); err == nil {
		t.Fatal("a rename succeeded without one of its shards")
	}
	c.kill(2)
	c.start(1)
	c.start(2)
	if err := k.askWithin(15*time.Second, 2, rpc.MsgRename, op, &m, nil, nil); err != nil {
		t.Fatalf("the same rename with all shards back: %v", err)
	}
	if _, err := k.lookup(inode.Root, oldName); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("old name: %v", err)
	}
	if e, err := k.lookup(inode.Root, newName); err != nil || e.Ino != made.Ino {
		t.Errorf("new name: %v, %v", e.Ino, err)
	}
	if a, err := k.attr(made.Ino); err != nil || a.Nlink != 1 {
		t.Errorf("inode: %+v, %v", a, err)
	}
}

// TestVanishedClient: the handles of a client that is gone are released, and its unlinked files with them.
func TestVanishedClient(t *testing.T) {
	c := newCluster(t, 1)
	gone, k := c.asker(77), c.asker(1)
	file := must[rpc.EntryReply](t)(k.create(rpc.MsgCreateFile, inode.Root, "f"))
	var attr rpc.AttrReply
	if err := gone.ask(0, rpc.MsgOpen, 0, &rpc.OpenHandle{Ino: file.Ino, Handle: 5}, nil, &attr); err != nil {
		t.Fatal(err)
	}
	if err := k.remove(rpc.MsgDelete, inode.Root, "f", file.Ino); err != nil {
		t.Fatal(err)
	}
	if err := gone.ask(0, rpc.MsgBye, 0, nil, nil, nil); err != nil {
		t.Fatal(err)
	}
	c.tick()
	if _, err := k.attr(file.Ino); err == nil {
		t.Fatal("the unlinked file outlived its last client")
	}
}
