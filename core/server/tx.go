package server

import (
	"context"
	"slices"
	"syscall"
	"time"

	"github.com/pkg/errors"

	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/internal/inode"
	"github.com/benchfs/benchfs/meta"
	"github.com/benchfs/benchfs/rpc"
)

// Operations over several shards.
//
// Such an operation is a list of steps (inode.TxOp) for each shard that it touches. The coordinator logs that it begins, has the
// shards prepare in numeric order (each checks its steps, logs and holds them), logs the decision, answers the client when the
// others have been told, and forgets the operation when all have acknowledged. This is two-phase commit with presumed
// abort (Mohan, Lindsay, Obermarck 1986): a coordinator that does not know an operation has aborted it.
//
// Deadlock: shards are visited in numeric order and a shard holds nothing while it waits, so two small operations cannot
// wait for each other. An operation over many shards (directory removal) prepares the first alone and the rest at
// once, waiting for none of them: on a conflict it aborts and tries again after a pause.

// plan is the steps of one operation by shard.
type plan struct {
	steps map[uint32][]inode.TxOp
	// check runs once shard 0 is prepared: the search for cycles of a directory rename.
	check func(ctx context.Context) error
}

func newPlan() *plan { return &plan{steps: map[uint32][]inode.TxOp{}} }

func (p *plan) add(shard uint32, op inode.TxOp) { p.steps[shard] = append(p.steps[shard], op) }

// shards are the participants in numeric order.
func (p *plan) shards() []uint32 {
	list := make([]uint32, 0, len(p.steps))
	for shard := range p.steps {
		list = append(list, shard)
	}
	slices.Sort(list)
	return list
}

// manyShards is the number of participants from which prepares go out at once.
const manyShards = 8

// conflictPatience bounds how long an operation over many shards waits for those that it prepares at once.
const conflictPatience = time.Second

func (s *Shard) deleteFile(r *rpc.Request) error {
	var m rpc.Delete
	if err := s.decodeDelete(r, &m); err != nil {
		return err
	}
	if m.Ino == 0 {
		if _, done := s.o.Meta.Done(reqID(r)); done {
			s.ok(r, nil)
			return nil
		}
		e, err := s.o.Meta.Lookup(m.Parent, m.Name)
		switch {
		case err != nil:
			return err
		case e.Kind == inode.Dir:
			return errors.WithStack(syscall.EISDIR)
		}
		m.Ino = e.Ino
	}
	remove := inode.TxOp{Kind: inode.TxRemoveEntry, Parent: m.Parent, Name: m.Name, Ino: m.Ino}
	unlink := inode.TxOp{Kind: inode.TxUnlinkInode, Ino: m.Ino}
	if m.Ino.Shard() == s.o.Peer.Shard {
		return s.runHere(r, []inode.TxOp{remove, unlink})
	}
	p := newPlan()
	p.add(s.o.Peer.Shard, remove)
	p.add(m.Ino.Shard(), unlink)
	return s.run(r, p)
}

// runHere executes steps on this shard and answers r: one log record. Memory is brought up to date while the answer is on its way.
func (s *Shard) runHere(r *rpc.Request, steps []inode.TxOp) error {
	id := reqID(r)
	if _, done := s.o.Meta.Done(id); done {
		s.ok(r, nil)
		return nil
	}
	if err := s.o.Meta.BeginApply(id, steps); err != nil {
		return err
	}
	s.okNow(r, nil)
	if err := s.o.Meta.Settle(); err != nil {
		s.log.Error("a change is in the log and not in memory", "error", err)
	}
	s.purge()
	return nil
}

func (s *Shard) removeDir(r *rpc.Request) error {
	var m rpc.Delete
	if err := s.decodeDelete(r, &m); err != nil {
		return err
	}
	p := newPlan()
	p.add(s.o.Peer.Shard, inode.TxOp{Kind: inode.TxRemoveEntry, Parent: m.Parent, Name: m.Name, Ino: m.Ino})
	s.removeOnAll(p, m.Ino)
	return s.run(r, p)
}

func (s *Shard) decodeDelete(r *rpc.Request, m *rpc.Delete) error {
	if err := m.Decode(r.Body); err != nil {
		return err
	}
	if m.Ino == inode.Root {
		return errors.WithStack(syscall.EBUSY)
	}
	if m.Ino.Shard() >= s.shards {
		return &rpc.InvalidHeader{Reason: "the inode names no shard"}
	}
	return s.owns(m.Parent, m.Name)
}

func (s *Shard) removeOnAll(p *plan, dir inode.Ino) {
	for shard := range s.shards {
		p.add(shard, inode.TxOp{Kind: inode.TxRemoveDir, Ino: dir})
	}
}

func (s *Shard) link(r *rpc.Request) error {
	var m rpc.LinkEntry
	if err := m.Decode(r.Body); err != nil {
		return err
	}
	if m.Kind == inode.Dir {
		return errors.WithStack(syscall.EPERM)
	}
	if m.Ino.Shard() >= s.shards {
		return &rpc.InvalidHeader{Reason: "the inode names no shard"}
	}
	if err := s.owns(m.Parent, m.Name); err != nil {
		return err
	}
	p := newPlan()
	p.add(m.Ino.Shard(), inode.TxOp{Kind: inode.TxLinkInode, Ino: m.Ino})
	p.add(s.o.Peer.Shard, inode.TxOp{Kind: inode.TxAddEntry, Parent: m.Parent, Name: m.Name, Ino: m.Ino, Entry: m.Kind})
	return s.run(r, p)
}

func (s *Shard) rename(r *rpc.Request) error {
	var m rpc.Rename
	if err := m.Decode(r.Body); err != nil {
		return err
	}
	if err := s.owns(m.NewParent, m.NewName); err != nil {
		return err
	}
	switch {
	case m.Ino == inode.Root || m.Target == inode.Root:
		return errors.WithStack(syscall.EBUSY)
	case m.Ino.Shard() >= s.shards || m.Target.Shard() >= s.shards || !m.Kind.Valid():
		return &rpc.InvalidHeader{Reason: "the inode names no shard"}
	case m.Target != 0 && m.Kind == inode.Dir && m.TargetKind != inode.Dir:
		return errors.WithStack(syscall.ENOTDIR)
	case m.Target != 0 && m.Kind != inode.Dir && m.TargetKind == inode.Dir:
		return errors.WithStack(syscall.EISDIR)
	case m.Kind == inode.Dir && m.NewParent == m.Ino:
		return errors.WithStack(syscall.EINVAL)
	}
	p := newPlan()
	from := layout.EntryShard(uint64(m.OldParent), m.OldName, s.shards)
	p.add(from, inode.TxOp{Kind: inode.TxRemoveEntry, Parent: m.OldParent, Name: m.OldName, Ino: m.Ino})
	if m.Target == 0 {
		p.add(s.o.Peer.Shard, inode.TxOp{Kind: inode.TxAddEntry, Parent: m.NewParent, Name: m.NewName, Ino: m.Ino, Entry: m.Kind})
	} else {
		p.add(s.o.Peer.Shard, inode.TxOp{Kind: inode.TxReplaceEntry, Parent: m.NewParent, Name: m.NewName, Ino: m.Ino, Entry: m.Kind, Target: m.Target})
		if m.TargetKind == inode.Dir {
			s.removeOnAll(p, m.Target)
		} else {
			p.add(m.Target.Shard(), inode.TxOp{Kind: inode.TxUnlinkInode, Ino: m.Target})
		}
	}
	if m.Kind == inode.Dir && m.OldParent != m.NewParent {
		p.add(0, inode.TxOp{Kind: inode.TxRenameLock})
		p.add(m.Ino.Shard(), inode.TxOp{Kind: inode.TxMoveDir, Ino: m.Ino, Parent: m.NewParent})
		moved, parent := m.Ino, m.NewParent
		p.check = func(ctx context.Context) error { return s.notBelow(ctx, parent, moved) }
	} else {
		p.add(m.Ino.Shard(), inode.TxOp{Kind: inode.TxTouchInode, Ino: m.Ino})
	}
	return s.run(r, p)
}

// run executes a plan and answers r. If this shard is not alone in it, a coordinator takes over.
func (s *Shard) run(r *rpc.Request, p *plan) error {
	participants := p.shards()
	if len(participants) == 1 && participants[0] == s.o.Peer.Shard && p.check == nil {
		return s.runHere(r, p.steps[s.o.Peer.Shard])
	}
	id := reqID(r)
	if _, ok := s.o.Meta.Done(id); ok {
		s.ok(r, nil)
		return nil
	}
	tx := s.o.Meta.NewTx()
	if err := s.o.Meta.TxBegin(tx, id, participants); err != nil {
		return err
	}
	c := &coordinator{s: s, tx: tx, plan: p, participants: participants, id: id, until: time.Now().Add(patience(r))}
	s.busyTx[tx] = struct{}{}
	if id.Op != 0 {
		s.running[id] = struct{}{}
	}
	if s.spawn(func() { c.run(r) }) {
		return nil
	}
	delete(s.busyTx, tx)
	delete(s.running, id)
	return errors.WithStack(syscall.ESHUTDOWN)
}

// coordinator drives one operation in a goroutine of its own.
type coordinator struct {
	s            *Shard
	tx           uint64
	id           meta.ReqID
	plan         *plan
	participants []uint32
	until        time.Time
}

func (c *coordinator) run(r *rpc.Request) {
	ctx, cancel := context.WithDeadline(c.s.background, c.until)
	defer cancel()
	err := c.prepare(ctx)
	decided := err == nil
	var logged error
	c.s.onShard(func() { logged = c.s.o.Meta.TxDecide(c.tx, decided) })
	if decided && logged != nil {
		// The decision is not in the log: it has not been made. Whoever has prepared learns that on asking.
		decided, err = false, logged
	}
	told := c.s.tell(ctx, c.tx, c.others(), decided)
	c.s.onShard(func() {
		if told || !decided {
			c.forget()
		}
		delete(c.s.busyTx, c.tx)
		delete(c.s.running, c.id)
		if err != nil {
			c.s.failBusy(r, err)
		} else {
			c.s.ok(r, nil)
		}
		c.s.released()
		c.s.purge()
	})
	if decided && !told {
		c.s.finishLater(c.tx, c.others())
	}
}

// failBusy answers an operation that found something held until its deadline: that is an answer, not a reason to park.
func (s *Shard) failBusy(r *rpc.Request, err error) {
	if errors.Is(err, fserr.ErrBusy) {
		s.release(r)
		r.Reply(rpc.StatusBusy, 0, nil, nil)
		return
	}
	s.fail(r, err)
}

func (c *coordinator) forget() {
	if err := c.s.o.Meta.TxForget(c.tx); err != nil {
		c.s.log.Error("operation cannot be forgotten", "tx", c.tx, "error", err)
	}
}

// others are the participants beside the coordinator's own shard.
func (c *coordinator) others() []uint32 {
	return slices.DeleteFunc(slices.Clone(c.participants), func(shard uint32) bool { return shard == c.s.o.Peer.Shard })
}

// prepare has every participant hold its steps. After an error some may hold theirs: the caller aborts.
func (c *coordinator) prepare(ctx context.Context) error {
	ordered := c.participants
	if len(ordered) > manyShards {
		ordered = ordered[:1]
	}
	for _, shard := range ordered {
		if err := c.prepareOne(ctx, shard); err != nil {
			return err
		}
		if shard == 0 && c.plan.check != nil {
			if err := c.plan.check(ctx); err != nil {
				return err
			}
		}
	}
	if rest := c.participants[len(ordered):]; len(rest) > 0 {
		return c.prepareMany(ctx, rest)
	}
	return nil
}

// prepareOne prepares one shard, waiting while another operation holds what it needs.
func (c *coordinator) prepareOne(ctx context.Context, shard uint32) error {
	if shard == c.s.o.Peer.Shard {
		return c.prepareHere(ctx)
	}
	pool := c.s.o.Peers
	call := pool.Transport().NewCall()
	defer pool.Transport().FreeCall(call)
	payload, err := c.fill(call, shard)
	if err != nil {
		return err
	}
	defer pool.Transport().Free(payload)
	pool.Exchange(ctx, c.until, []*rpc.Call{call})
	return call.Err
}

// prepareHere prepares the coordinator's own shard.
func (c *coordinator) prepareHere(ctx context.Context) error {
	for {
		var err error
		var changed chan struct{}
		ok := c.s.onShard(func() {
			if err = c.s.o.Meta.Prepare(c.tx, c.plan.steps[c.s.o.Peer.Shard]); errors.Is(err, fserr.ErrBusy) {
				changed = make(chan struct{})
				c.s.waiters = append(c.s.waiters, changed)
			}
		})
		switch {
		case !ok:
			return errors.WithStack(syscall.ESHUTDOWN)
		case changed == nil:
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fserr.ErrBusy
		}
	}
}

// prepareMany prepares the other shards of a large operation at once.
func (c *coordinator) prepareMany(ctx context.Context, shards []uint32) error {
	pool := c.s.o.Peers
	var calls []*rpc.Call
	var payloads [][]byte
	defer func() {
		for i, call := range calls {
			pool.Transport().FreeCall(call)
			pool.Transport().Free(payloads[i])
		}
	}()
	for _, shard := range shards {
		if shard == c.s.o.Peer.Shard {
			if err := c.prepareHere(ctx); err != nil {
				return err
			}
			continue
		}
		call := pool.Transport().NewCall()
		payload, err := c.fill(call, shard)
		if err != nil {
			pool.Transport().FreeCall(call)
			return err
		}
		calls, payloads = append(calls, call), append(payloads, payload)
	}
	until := time.Now().Add(conflictPatience)
	if c.until.Before(until) {
		until = c.until
	}
	pool.Exchange(ctx, until, calls)
	for _, call := range calls {
		var late *rpc.Timeout
		if errors.As(call.Err, &late) && time.Now().Before(c.until) {
			return fserr.ErrBusy
		}
		if call.Err != nil {
			return call.Err
		}
	}
	return nil
}

// fill makes the Prepare message for a shard.
func (c *coordinator) fill(call *rpc.Call, shard uint32) (payload []byte, err error) {
	steps := c.plan.steps[shard]
	encoded := rpc.AppendTxOps(nil, steps)
	if payload, err = c.s.o.Peers.Transport().Alloc(len(encoded)); err != nil {
		return nil, err
	}
	copy(payload, encoded)
	call.Reset()
	call.To = c.s.peerOf(shard)
	call.Header.Type = rpc.MsgPrepare
	m := rpc.Prepare{Tx: c.tx, Count: uint32(len(steps))}
	call.Body = m.AppendTo(call.Body[:0])
	call.Out = payload[:len(encoded)]
	return payload, nil
}

// notBelow refuses (EINVAL) to move a directory into its own subtree: it walks from dir up to the root.
// It runs under the rename lock, so that no other move changes the way.
func (s *Shard) notBelow(ctx context.Context, dir, moved inode.Ino) error {
	for dir != inode.Root {
		if dir == moved {
			return errors.WithStack(syscall.EINVAL)
		}
		a, err := s.attrOf(ctx, dir)
		if err != nil {
			return err
		}
		if a.Kind != inode.Dir || a.Parent == 0 {
			return errors.WithStack(syscall.ENOENT)
		}
		dir = a.Parent
	}
	return nil
}

// attrOf fetches attributes from whichever shard has them; for coordinators.
func (s *Shard) attrOf(ctx context.Context, ino inode.Ino) (inode.Attr, error) {
	if ino.Shard() == s.o.Peer.Shard {
		var a inode.Attr
		err := errors.WithStack(syscall.ESHUTDOWN)
		s.onShard(func() { a, err = s.o.Meta.Attr(ino) })
		return a, err
	}
	m := rpc.InodeRequest{Ino: ino}
	call := s.o.Peers.Transport().NewCall()
	defer s.o.Peers.Transport().FreeCall(call)
	call.Reset()
	call.To = s.peerOf(ino.Shard())
	call.Header.Type = rpc.MsgGetAttr
	call.Body = m.AppendTo(call.Body[:0])
	s.o.Peers.Exchange(ctx, deadlineOf(ctx), []*rpc.Call{call})
	if call.Err != nil {
		return inode.Attr{}, call.Err
	}
	var answer rpc.AttrReply
	err := answer.Decode(call.Answer)
	return answer.Attr, err
}

func deadlineOf(ctx context.Context) time.Time {
	if deadline, ok := ctx.Deadline(); ok {
		return deadline
	}
	return time.Now().Add(defaultPatience)
}

func (s *Shard) peerOf(shard uint32) rpc.PeerID {
	return rpc.PeerID{Node: s.o.Map.PeerOf(shard), Shard: shard}
}

// tell sends the decision to the participants; true when all have acknowledged it.
func (s *Shard) tell(ctx context.Context, tx uint64, shards []uint32, commit bool) bool {
	kind := rpc.MsgAbort
	if commit {
		kind = rpc.MsgCommit
	}
	m := rpc.TxRequest{Tx: tx}
	return s.toAll(ctx, shards, kind, m.AppendTo(nil)) == nil
}

// toAll sends one message to several other shards and returns the first error.
func (s *Shard) toAll(ctx context.Context, shards []uint32, kind rpc.MsgType, body []byte) error {
	if len(shards) == 0 {
		return nil
	}
	transport := s.o.Peers.Transport()
	calls := make([]*rpc.Call, len(shards))
	for i, shard := range shards {
		calls[i] = transport.NewCall()
		calls[i].Reset()
		calls[i].To = s.peerOf(shard)
		calls[i].Header.Type = kind
		calls[i].Body = append(calls[i].Body[:0], body...)
	}
	s.o.Peers.Exchange(ctx, deadlineOf(ctx), calls)
	var err error
	for _, call := range calls {
		if err == nil {
			err = call.Err
		}
		transport.FreeCall(call)
	}
	return err
}
