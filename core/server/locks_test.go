package server_test

import (
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/benchfs/benchfs/internal/inode"
	"github.com/benchfs/benchfs/rpc"
)

// want is a lock on a whole file.
func want(op rpc.LockOp, ino inode.Ino, owner uint64) rpc.Lock {
	return rpc.Lock{Op: op, Kind: rpc.LockFile, Type: rpc.LockWrite, Ino: ino, Owner: owner, End: rpc.MaxLockEnd}
}

func (k *asker) lock(m rpc.Lock) (rpc.LockReply, error) {
	var reply rpc.LockReply
	err := k.ask(m.Ino.Shard(), rpc.MsgLock, 0, &m, nil, &reply)
	return reply, err
}

// outcome wants an answer.
func (k *asker) outcome(what string, m rpc.Lock, want rpc.LockOutcome) rpc.LockReply {
	k.c.t.Helper()
	reply, err := k.lock(m)
	if err != nil || reply.Outcome != want {
		k.c.t.Fatalf("%s: outcome %d, %v; want %d", what, reply.Outcome, err, want)
	}
	return reply
}

// TestHolderMustCome: a client that is named as a holder and has never been here holds the lock for the time that a client has to come back.
func TestHolderMustCome(t *testing.T) {
	c := newCluster(t, 1)
	a, b := c.asker(1), c.asker(2)
	ino := must[rpc.EntryReply](t)(a.create(rpc.MsgCreateFile, inode.Root, "f")).Ino
	m := want(rpc.LockTry, ino, 10)
	m.Holder = 99
	a.outcome("lock", m, rpc.LockDone)
	a.outcome("leave", want(rpc.LockLeave, ino, 10), rpc.LockDone)
	b.outcome("the other holds it", want(rpc.LockTry, ino, 11), rpc.LockInTheWay)
	c.tick()
	b.outcome("it has time", want(rpc.LockTry, ino, 11), rpc.LockInTheWay)
	c.tickAt(time.Now().Add(2 * time.Hour)) // the grace time is one hour
	b.outcome("it has not come", want(rpc.LockTry, ino, 11), rpc.LockDone)

	m = want(rpc.LockTry, ino, 11)
	m.Holder = 98
	b.outcome("lock", m, rpc.LockDone)
	if _, err := c.asker(98).attr(ino); err != nil { // it comes
		t.Fatal(err)
	}
	b.outcome("leave", want(rpc.LockLeave, ino, 11), rpc.LockDone)
	c.tickAt(time.Now().Add(2 * time.Hour))
	a.outcome("it is there", want(rpc.LockTry, ino, 10), rpc.LockInTheWay)
}

// TestByeGivesUpLocks: the end of a session in order is at once the end of what it holds, and of its waits.
func TestByeGivesUpLocks(t *testing.T) {
	c := newCluster(t, 1)
	a, b, d := c.asker(1), c.asker(2), c.asker(3)
	ino := must[rpc.EntryReply](t)(a.create(rpc.MsgCreateFile, inode.Root, "f")).Ino
	a.outcome("lock", want(rpc.LockTry, ino, 0), rpc.LockDone)
	waiting := make(chan error, 1)
	go func() {
		m := want(rpc.LockWait, ino, 7)
		m.Ticket = 1
		reply, err := d.lock(m)
		for err == nil && reply.Outcome == rpc.LockWaiting {
			m.Turn = reply.Turn
			reply, err = d.lock(m)
		}
		waiting <- err
	}()
	eventually(t, "somebody waits", func() bool {
		stats, _ := c.shards[0].shard.Stats()
		return stats.LockWaiters == 1
	})
	if err := a.pool.CloseAll(); err != nil {
		t.Fatal(err)
	}
	if err := <-waiting; err != nil {
		t.Fatal(err)
	}
	b.outcome("another's", want(rpc.LockTest, ino, 0), rpc.LockInTheWay)
	if err := d.pool.CloseAll(); err != nil {
		t.Fatal(err)
	}
	b.outcome("nobody's", want(rpc.LockTest, ino, 0), rpc.LockDone)
	if stats, _ := c.shards[0].shard.Stats(); stats.Locks != 0 || stats.LockWaiters != 0 {
		t.Errorf("%d locks and %d waiters are left", stats.Locks, stats.LockWaiters)
	}
}

// TestLostSessionKeepsLocks: a client that lost its connection finds its locks when it comes back in time, and is told when it does not.
func TestLostSessionKeepsLocks(t *testing.T) {
	c := newCluster(t, 1)
	a, b := c.asker(1), c.asker(2)
	ino := must[rpc.EntryReply](t)(a.create(rpc.MsgCreateFile, inode.Root, "f")).Ino
	lease := a.outcome("lock", want(rpc.LockTry, ino, 0), rpc.LockDone).Lease
	if err := a.pool.Peek(c.peer(0)).Link.Close(); err != nil {
		t.Fatal(err)
	}
	c.tick()
	b.outcome("it may come back", want(rpc.LockTry, ino, 0), rpc.LockInTheWay)
	m := want(rpc.LockTry, ino, 0)
	m.Lease = lease
	a.outcome("it comes back", m, rpc.LockDone)
	if err := a.pool.Peek(c.peer(0)).Link.Close(); err != nil {
		t.Fatal(err)
	}
	c.tickAt(time.Now().Add(2 * time.Hour))
	b.outcome("it was away for too long", want(rpc.LockTry, ino, 0), rpc.LockDone)
	if _, err := a.lock(m); !errors.Is(err, syscall.ENOLCK) {
		t.Errorf("its next lock: %v", err)
	}
	m.Lease = 0
	a.outcome("it believes to have nothing", m, rpc.LockInTheWay)
}

// TestLostWaiter: nothing is given to a client whose connection is lost; it will ask again if it comes back.
func TestLostWaiter(t *testing.T) {
	c := newCluster(t, 1)
	a, d := c.asker(1), c.asker(2)
	ino := must[rpc.EntryReply](t)(a.create(rpc.MsgCreateFile, inode.Root, "f")).Ino
	a.outcome("lock", want(rpc.LockTry, ino, 1), rpc.LockDone)
	if _, err := d.attr(ino); err != nil {
		t.Fatal(err)
	}
	conn := d.pool.Peek(c.peer(0))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		call := d.pool.Transport().NewCall()
		call.Reset()
		call.Header.Type = rpc.MsgLock
		m := want(rpc.LockWait, ino, 2)
		m.Ticket = 1
		call.Body = m.AppendTo(call.Body[:0])
		conn.Run(time.Now().Add(10*time.Second), []*rpc.Call{call}) // one attempt
		d.pool.Transport().FreeCall(call)
	}()
	eventually(t, "it waits", func() bool {
		stats, _ := c.shards[0].shard.Stats()
		return stats.LockWaiters == 1
	})
	if err := conn.Link.Close(); err != nil {
		t.Fatal(err)
	}
	unlock := want(rpc.LockTry, ino, 1)
	unlock.Type = rpc.LockNone
	a.outcome("unlock", unlock, rpc.LockDone)
	a.outcome("nobody has it", want(rpc.LockTest, ino, 1), rpc.LockDone)
	<-ended
}

// TestWaitIsAnswered: a wait is answered within the time of its attempt, keeps its turn, can be cancelled, and comes only once.
func TestWaitIsAnswered(t *testing.T) {
	c := newCluster(t, 1)
	a, b := c.asker(1), c.asker(2)
	ino := must[rpc.EntryReply](t)(a.create(rpc.MsgCreateFile, inode.Root, "f")).Ino
	a.outcome("lock", want(rpc.LockTry, ino, 1), rpc.LockDone)
	m := want(rpc.LockWait, ino, 2)
	m.Ticket = 5
	var reply rpc.LockReply
	begun := time.Now()
	if err := b.askWithin(600*time.Millisecond, 0, rpc.MsgLock, 0, &m, nil, &reply); err != nil || reply.Outcome != rpc.LockWaiting || reply.Turn == 0 {
		t.Fatalf("%+v, %v after %v", reply, err, time.Since(begun))
	}
	m.Turn = reply.Turn
	results := make(chan error, 2)
	wait := func(m rpc.Lock) {
		_, err := b.lock(m)
		results <- err
	}
	waiters := func(n int) {
		t.Helper()
		eventually(t, "the waiters", func() bool {
			stats, _ := c.shards[0].shard.Stats()
			return stats.LockWaiters == n
		})
	}
	go wait(m)
	waiters(1)
	go wait(m) // the same once more: the first is sent back
	if err := <-results; err != nil {
		t.Fatal(err)
	}
	waiters(1)
	cancel := want(rpc.LockCancel, ino, 2)
	cancel.Ticket = 5
	a.outcome("another client's cancel", cancel, rpc.LockDone)
	waiters(1)
	b.outcome("cancel", cancel, rpc.LockDone)
	if err := <-results; !errors.Is(err, syscall.EINTR) {
		t.Errorf("the cancelled wait: %v", err)
	}
	waiters(0)
	a.outcome("unlock", func() rpc.Lock { m := want(rpc.LockTry, ino, 1); m.Type = rpc.LockNone; return m }(), rpc.LockDone)
	if stats, _ := c.shards[0].shard.Stats(); stats.Locks != 0 {
		t.Errorf("%d locks are left", stats.Locks)
	}
}

// TestLockOfNothing: an inode that is gone, or lives elsewhere, has no locks.
func TestLockOfNothing(t *testing.T) {
	c := newCluster(t, 2)
	a := c.asker(1)
	ino := must[rpc.EntryReply](t)(a.create(rpc.MsgCreateFile, inode.Root, a.nameOn(0, inode.Root, "f"))).Ino
	if _, err := a.lock(want(rpc.LockTry, ino+1000, 1)); !errors.Is(err, syscall.ESTALE) {
		t.Errorf("an inode that is not there: %v", err)
	}
	var invalid *rpc.HandlerError
	m := want(rpc.LockTry, ino, 1)
	if err := a.ask(1, rpc.MsgLock, 0, &m, nil, nil); !errors.As(err, &invalid) || invalid.Status != rpc.StatusInvalid {
		t.Errorf("at another shard: %v", err)
	}
}
