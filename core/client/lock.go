package client

import (
	"context"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/pkg/errors"

	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/internal/inode"
	"github.com/benchfs/benchfs/rpc"
)

// Advisory locks live with the inode, in the memory of its shard. Here it is remembered what this process believes to have, for three reasons:
// closing a file gives up what the process has of it, with a message only if there is something; a shard that has lost the locks says so
// (ENOLCK) because it is told the lease that they were given under; and the end of the Client gives up the rest.

// LockKind tells two spaces of locks apart, which do not see each other.
type LockKind = rpc.LockKind

// LockType is what a lock allows others.
type LockType = rpc.LockType

// The kinds and types.
const (
	LockRange = rpc.LockRange // as fcntl(2)
	LockFile  = rpc.LockFile  // as flock(2); Start and End do not matter

	LockRead  = rpc.LockRead
	LockWrite = rpc.LockWrite
	LockNone  = rpc.LockNone
)

// LockEnd is one past the last byte that a lock can cover.
const LockEnd = rpc.MaxLockEnd

// Lock is an advisory lock: what is asked for, or what is in the way.
type Lock struct {
	Kind       LockKind
	Type       LockType
	Owner      uint64 // 0: this process. Locks of one owner never conflict
	Holder     uint64 // a session that holds the lock too; 0: none
	Start, End uint64 // [Start, End), End ≤ LockEnd
	PID        uint32 // told to whom the lock is in the way
}

// Session is this process's name among the holders of locks.
func (c *Client) Session() uint64 {
	c.locks.named.Store(true)
	return c.o.ClientID
}

// Lock gets, changes or (LockNone) gives up a lock at once: EAGAIN if another owner's is in the way. ENOLCK: the locks that the owner had here
// were lost meanwhile.
func (f *File) Lock(ctx context.Context, l Lock) error {
	if err := f.mayLock(&l); err != nil {
		return err
	}
	reply, err := f.lockOnce(ctx, rpc.LockTry, &l, 0, 0)
	if err == nil && reply.Outcome != rpc.LockDone {
		err = fserr.New(opLock.String(), f.name, syscall.EAGAIN, errors.Errorf("process %d has it", int32(reply.PID)))
	}
	return err
}

// TestLock says what would be in the way of a lock; Type LockNone: nothing.
func (f *File) TestLock(ctx context.Context, l Lock) (Lock, error) {
	if l.Type == LockNone {
		return l, fserr.New(opLock.String(), f.name, syscall.EINVAL, errors.New("the test of an unlock"))
	}
	f.wholeFile(&l)
	reply, err := f.lockOnce(ctx, rpc.LockTest, &l, 0, 0)
	if err != nil {
		return l, err
	}
	if reply.Outcome == rpc.LockDone {
		l.Type = LockNone
		return l, nil
	}
	return Lock{Kind: l.Kind, Type: reply.Type, Owner: reply.Owner, Start: reply.Start, End: reply.End, PID: reply.PID}, nil
}

// LeaveLock says that this process, and l.Holder if that is not 0, no longer holds what l.Owner has of the file. It is given up when nobody else
// holds it.
func (f *File) LeaveLock(ctx context.Context, l Lock) error {
	l.Start, l.End, l.Type = 0, LockEnd, LockNone
	_, err := f.lockOnce(ctx, rpc.LockLeave, &l, 0, 0)
	return err
}

// wholeFile makes the range of a LockFile what it is.
func (f *File) wholeFile(l *Lock) {
	if l.Kind == LockFile {
		l.Start, l.End = 0, LockEnd
	}
}

// mayLock completes and checks what is asked for.
func (f *File) mayLock(l *Lock) error {
	f.wholeFile(l)
	if l.Owner == 0 && l.Holder != 0 {
		return fserr.New(opLock.String(), f.name, syscall.EINVAL, errors.New("a lock of the process itself has no other holder"))
	}
	if l.Kind != LockRange || l.Type == LockNone {
		return nil
	}
	if l.Type == LockRead && f.Flags()&syscall.O_ACCMODE == syscall.O_WRONLY || l.Type == LockWrite && f.writable() != nil {
		return fserr.New(opLock.String(), f.name, syscall.EBADF, errors.New("a lock that the file is not open for"))
	}
	return nil
}

// lockID is what one owner has of one file.
type lockID struct {
	ino   inode.Ino
	kind  LockKind
	owner uint64
}

// heldLock is what this process knows of it.
type heldLock struct {
	lease  uint64 // 0: it has nothing
	newest uint64 // Turn of the answer that said so…
	life   uint64 // …and its lease
	asking int    // messages under way
	unsure bool   // a message got no answer
}

type heldLocks struct {
	mu    sync.Mutex
	held  map[lockID]*heldLock
	named atomic.Bool // somebody may name this process as a holder
}

// begin is for a message about id; the result is the lease to go with it. in is id's inode.
func (h *heldLocks) begin(id lockID, in *openInode) (lease uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.held[id]
	if l == nil {
		l = &heldLock{}
		h.held[id] = l
	}
	l.asking++
	if id.kind == LockRange && id.owner == 0 {
		in.locked.Store(true) // a close that comes now must wait its turn behind this message
	}
	return l.lease
}

// end takes in the answer. lost: the locks are gone, by ENOLCK. reply is nil when there was none.
func (h *heldLocks) end(id lockID, in *openInode, reply *rpc.LockReply, lost bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.held[id]
	l.asking--
	switch {
	case lost:
		l.lease, l.unsure = 0, false
	case reply == nil:
		l.unsure = true
	case reply.Outcome == rpc.LockWaiting: // its Turn is another thing
	case reply.Turn > l.newest || reply.Lease != l.life:
		l.newest, l.life, l.unsure, l.lease = reply.Turn, reply.Lease, false, 0
		if reply.Held {
			l.lease = reply.Lease
		}
	}
	if l.lease != 0 || l.asking > 0 || l.unsure {
		return
	}
	delete(h.held, id)
	if id.kind == LockRange && id.owner == 0 {
		in.locked.Store(false)
	}
}

// lockOnce sends one message about a lock.
func (f *File) lockOnce(ctx context.Context, what rpc.LockOp, l *Lock, ticket, turn uint64) (rpc.LockReply, error) {
	c := f.c
	id := lockID{f.in.ino, l.Kind, l.Owner}
	lease := c.locks.begin(id, f.in)
	o := c.begin(ctx, opLock)
	m := rpc.Lock{
		Op: what, Kind: l.Kind, Type: l.Type, Ino: f.in.ino, Owner: l.Owner, Holder: l.Holder, Start: l.Start, End: l.End, PID: l.PID,
		Lease: lease, Ticket: ticket, Turn: turn,
	}
	call := o.call(rpc.MsgLock, f.in.ino.Shard())
	call.Body = m.AppendTo(call.Body)
	o.exchange()
	reply, err := o.lockReply(call)
	var answer *rpc.HandlerError
	switch {
	case err == nil:
		c.locks.end(id, f.in, &reply, false)
	case !errors.As(call.Err, &answer):
		c.locks.end(id, f.in, nil, false)
	default: // a refusal changes nothing
		unchanged := rpc.LockReply{Outcome: rpc.LockWaiting}
		c.locks.end(id, f.in, &unchanged, answer.Is(syscall.ENOLCK) || answer.Is(syscall.ESTALE))
	}
	return reply, o.end(f.name, o.fileGone(err))
}

func (o *op) lockReply(call *rpc.Call) (rpc.LockReply, error) {
	var reply rpc.LockReply
	if call.Err != nil {
		return reply, o.gone(call)
	}
	if err := reply.Decode(call.Answer); err != nil {
		return reply, o.broken(call, "an answer about a lock does not parse")
	}
	return reply, nil
}

// unlockAll gives up what this process itself has on ranges of the file.
func (f *File) unlockAll(ctx context.Context) error {
	_, err := f.lockOnce(ctx, rpc.LockTry, &Lock{Kind: LockRange, Type: LockNone, End: LockEnd}, 0, 0)
	if errors.Is(err, syscall.ENOLCK) || errors.Is(err, syscall.ESTALE) {
		return nil // there is nothing to give up
	}
	return err
}

// endLocks gives up what is left, at every shard that this process has spoken to: another process may have named it as a holder.
func (c *Client) endLocks(ctx context.Context) {
	c.locks.mu.Lock()
	anything := len(c.locks.held) > 0 || c.locks.named.Load()
	c.locks.mu.Unlock()
	if !anything {
		return
	}
	o := c.prepare(ctx, opLock)
	m := rpc.Lock{Op: rpc.LockLeave, Kind: LockRange, Type: LockNone, End: LockEnd}
	_ = o.fanOut(c.sessions.shards(), func(shard uint32) { // who cannot be told notices that the process ends
		call := o.call(rpc.MsgLock, shard)
		call.Body = m.AppendTo(call.Body)
	}, nil)
	o.release()
}
