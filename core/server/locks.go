package server

import (
	"slices"
	"syscall"
	"time"

	"github.com/pkg/errors"

	"github.com/benchfs/benchfs/internal/inode"
	"github.com/benchfs/benchfs/internal/rangelock"
	"github.com/benchfs/benchfs/rpc"
)

// Advisory locks of the inodes of this shard, in its memory only: after a restart there are none, and who had one learns it from its lease
// (Shard.leaseOf), which is another then. What belongs to whom and who is in whose way is internal/rangelock; here it is added who holds a
// lock (clients, which end), and who waits (waiters.go).

// maxLocks bounds the pieces that a shard keeps, and maxLockWaiters those who wait: a defect of a program must not eat a node.
const (
	maxLocks       = 1 << 20
	maxLockWaiters = 1 << 16
)

// locks is what a shard knows of them.
type locks struct {
	files    map[lockedFile]*lockList
	holders  map[holding]map[uint64]struct{} // by whom what an owner has is held; no empty sets
	byClient map[uint64]map[holding]struct{} // the same, the other way round
	waiters  map[rangelock.Owner]int         // how many wait, by owner
	waiting  int                             // how many wait
	pieces   int                             // of all files
	turn     uint64                          // last one given
	leases   uint64                          // given so far
	watched  bool                            // watchLocks runs
}

// lockedFile is one space of locks.
type lockedFile struct {
	ino  inode.Ino
	kind rpc.LockKind
}

// lockList is who has what in it, and who waits, by turn.
type lockList struct {
	list  rangelock.List
	queue []*lockWaiter
}

// holding is what an owner has of a file.
type holding struct {
	file  lockedFile
	owner rangelock.Owner
}

func newLocks() locks {
	return locks{
		files:    map[lockedFile]*lockList{},
		holders:  map[holding]map[uint64]struct{}{},
		byClient: map[uint64]map[holding]struct{}{},
		waiters:  map[rangelock.Owner]int{},
	}
}

// at is the list of a file, made if need be. tidy must follow.
func (l *locks) at(f lockedFile) *lockList {
	list := l.files[f]
	if list == nil {
		list = &lockList{}
		l.files[f] = list
	}
	return list
}

// tidy forgets the list of a file if nothing is in it.
func (l *locks) tidy(f lockedFile) {
	if list := l.files[f]; list != nil && list.list.Len() == 0 && len(list.queue) == 0 {
		delete(l.files, f)
	}
}

// hold adds a client to those who hold what an owner has.
func (l *locks) hold(h holding, client uint64) {
	if l.holders[h] == nil {
		l.holders[h] = map[uint64]struct{}{}
	}
	l.holders[h][client] = struct{}{}
	if l.byClient[client] == nil {
		l.byClient[client] = map[holding]struct{}{}
	}
	l.byClient[client][h] = struct{}{}
}

// unhold takes a client away, and reports whether it was the last.
func (l *locks) unhold(h holding, client uint64) (last bool) {
	if _, there := l.holders[h][client]; !there {
		return false
	}
	delete(l.holders[h], client)
	delete(l.byClient[client], h)
	if len(l.byClient[client]) == 0 {
		delete(l.byClient, client)
	}
	if len(l.holders[h]) > 0 {
		return false
	}
	delete(l.holders, h)
	return true
}

// change runs fn, which changes what an owner has, and follows up: nobody holds what is not there.
func (l *locks) change(h holding, fn func(list *rangelock.List)) {
	list := &l.at(h.file).list
	l.pieces -= list.Len()
	fn(list)
	l.pieces += list.Len()
	if list.Has(h.owner) {
		return
	}
	for client := range l.holders[h] {
		l.unhold(h, client)
	}
}

// lockOwner is who m is about, for a client.
func lockOwner(m *rpc.Lock, client uint64) rangelock.Owner {
	if m.Owner == 0 {
		return rangelock.Owner{Client: client}
	}
	return rangelock.Owner{ID: m.Owner}
}

// lock answers MsgLock.
func (s *Shard) lock(r *rpc.Request) error {
	var m rpc.Lock
	if err := m.Decode(r.Body); err != nil {
		return err
	}
	client := r.Header.Client
	h := holding{lockedFile{m.Ino, m.Kind}, lockOwner(&m, client)}
	switch m.Op {
	case rpc.LockLeave:
		s.leaveLocks(&m, client, h)
		return s.lockDone(r, h)
	case rpc.LockCancel:
		s.cancelLock(client, m.Ticket)
		return s.lockDone(r, h)
	}
	if err := s.here(m.Ino); err != nil {
		return err
	}
	if !s.o.Meta.Exists(m.Ino) {
		return errors.WithStack(syscall.ESTALE)
	}
	if m.Lease != 0 && m.Lease != s.leaseOf(client) {
		return errors.Wrap(syscall.ENOLCK, "the locks were lost: the daemon or the session has begun anew")
	}
	if m.Op != rpc.LockTest && m.Type == rpc.LockNone {
		s.locks.change(h, func(list *rangelock.List) { list.Clear(h.owner, m.Start, m.End) })
		s.wakeLocks(h.file)
		return s.lockDone(r, h)
	}
	return s.getLock(r, &m, h)
}

// getLock is about a lock that somebody wants.
func (s *Shard) getLock(r *rpc.Request, m *rpc.Lock, h holding) error {
	want := rangelock.Lock{Start: m.Start, End: m.End, Write: m.Type == rpc.LockWrite, PID: m.PID}
	by, what, found := s.locks.at(h.file).list.Conflict(h.owner, want)
	for found && s.loseHolders(holding{h.file, by}) {
		by, what, found = s.locks.at(h.file).list.Conflict(h.owner, want)
	}
	switch {
	case m.Op == rpc.LockTest && !found:
		return s.lockDone(r, h)
	case m.Op == rpc.LockTest:
		return s.lockInTheWay(r, h, by, what)
	case s.locks.pieces >= maxLocks:
		s.locks.tidy(h.file)
		return errors.Wrap(syscall.ENOMEM, "too many locks on this shard")
	case !found:
		s.grantLock(h, want, r.Header.Client, m.Holder)
		s.wakeLocks(h.file)
		return s.lockDone(r, h)
	}
	if m.Op == rpc.LockWait && m.Kind == rpc.LockRange && s.deadlock(h, want) {
		s.locks.tidy(h.file)
		return errors.WithStack(syscall.EDEADLK)
	}
	if m.Kind == rpc.LockFile && s.locks.at(h.file).list.Has(h.owner) {
		// As flock(2) says: what it had is given up first. Two readers who both want to write would wait for each other for ever.
		s.locks.change(h, func(list *rangelock.List) { list.Clear(h.owner, 0, rangelock.End) })
		s.wakeLocks(h.file)
	}
	if m.Op == rpc.LockTry {
		return s.lockInTheWay(r, h, by, what)
	}
	return s.waitForLock(r, m, h, want)
}

// grantLock gives an owner what it wants; client, and holder if it is not 0, hold it.
func (s *Shard) grantLock(h holding, want rangelock.Lock, client, holder uint64) {
	s.locks.change(h, func(list *rangelock.List) { list.Set(h.owner, want) })
	s.locks.hold(h, client)
	if holder == 0 {
		return
	}
	if s.clients[holder] == nil {
		// It is given the time that a client has to come back; who never does holds nothing in the end.
		s.clients[holder] = s.newClient()
		s.clients[holder].since = time.Now()
	}
	s.locks.hold(h, holder)
}

// lockReply is what all answers have in common.
func (s *Shard) lockReply(r *rpc.Request, h holding, outcome rpc.LockOutcome) rpc.LockReply {
	s.locks.turn++
	list := s.locks.files[h.file]
	return rpc.LockReply{
		Outcome: outcome, Held: list != nil && list.list.Has(h.owner), Lease: s.leaseOf(r.Header.Client), Turn: s.locks.turn, Type: rpc.LockNone,
	}
}

func (s *Shard) sendLockReply(r *rpc.Request, h holding, answer *rpc.LockReply) {
	s.locks.tidy(h.file)
	s.body = answer.AppendTo(s.body[:0])
	s.ok(r, s.body)
}

func (s *Shard) lockDone(r *rpc.Request, h holding) error {
	answer := s.lockReply(r, h, rpc.LockDone)
	s.sendLockReply(r, h, &answer)
	return nil
}

func (s *Shard) lockInTheWay(r *rpc.Request, h holding, by rangelock.Owner, what rangelock.Lock) error {
	answer := s.lockReply(r, h, rpc.LockInTheWay)
	answer.Type = rpc.LockRead
	if what.Write {
		answer.Type = rpc.LockWrite
	}
	answer.Start, answer.End, answer.Owner, answer.PID = what.Start, what.End, by.ID, what.PID
	s.sendLockReply(r, h, &answer)
	return nil
}

// leaveLocks is LockLeave.
func (s *Shard) leaveLocks(m *rpc.Lock, client uint64, h holding) {
	if m.Ino == 0 {
		s.dropLocks(client)
		return
	}
	s.leave(h, client)
	if m.Holder != 0 {
		s.leave(h, m.Holder)
	}
}

// leave takes a client away from those who hold what an owner has; with the last one it is gone.
func (s *Shard) leave(h holding, client uint64) {
	if !s.locks.unhold(h, client) {
		return
	}
	s.locks.change(h, func(list *rangelock.List) { list.Clear(h.owner, 0, rangelock.End) })
	s.wakeLocks(h.file)
	s.locks.tidy(h.file)
}

// dropLocks is for a client that has ended: it holds nothing and waits for nothing any more.
func (s *Shard) dropLocks(client uint64) {
	s.endWaits(func(w *lockWaiter) bool { return w.r.Header.Client == client })
	held := make([]holding, 0, len(s.locks.byClient[client]))
	for h := range s.locks.byClient[client] {
		held = append(held, h)
	}
	for _, h := range held {
		s.leave(h, client)
	}
}

// loseHolders looks at those who hold what an owner has, as far as their processes can be looked at, and reports whether one was lost. So a lock
// of a process that was killed is in nobody's way until the next Tick.
func (s *Shard) loseHolders(h holding) bool {
	var lost []uint64
	for client := range s.locks.holders[h] {
		if state := s.clients[client]; state != nil && state.ended() {
			lost = append(lost, client)
		}
	}
	for _, client := range lost {
		s.lose(client)
	}
	return len(lost) > 0
}

// leaseOf is under which lease a client's locks are given here.
func (s *Shard) leaseOf(client uint64) uint64 {
	if state := s.clients[client]; state != nil {
		return state.lease
	}
	return 0
}

// newLease is one that no client of this shard has ever had, in this life of the daemon or in another.
func (s *Shard) newLease() uint64 {
	s.locks.leases++
	return max(s.o.Incarnation<<20+s.locks.leases, 1)
}

// deadlock reports whether h.owner would wait for itself if it waited for want: whether those who are in the way wait, over any number of
// others, for what it has. Only owners that are processes count: one with a name of its own may belong to several threads or processes, of which
// one can go on while another waits.
func (s *Shard) deadlock(h holding, want rangelock.Lock) bool {
	if h.owner.ID != 0 {
		return false
	}
	seen := map[rangelock.Owner]struct{}{}
	todo := s.locks.at(h.file).list.InTheWay(h.owner, want, nil)
	for len(todo) > 0 {
		o := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if o == h.owner {
			return true
		}
		if _, done := seen[o]; done || o.ID != 0 || s.locks.waiters[o] == 0 {
			continue
		}
		seen[o] = struct{}{}
		for f, l := range s.locks.files {
			if f.kind != rpc.LockRange {
				continue
			}
			for _, w := range l.queue {
				if w.h.owner == o {
					todo = l.list.InTheWay(o, w.want, todo)
				}
			}
		}
	}
	return false
}

// byTurn orders those who wait.
func byTurn(a, b *lockWaiter) int {
	if a.turn < b.turn {
		return -1
	}
	return 1
}

// enqueue puts w in its place.
func (l *locks) enqueue(w *lockWaiter) {
	list := l.at(w.h.file)
	at, _ := slices.BinarySearchFunc(list.queue, w, byTurn)
	list.queue = slices.Insert(list.queue, at, w)
	l.waiters[w.h.owner]++
	l.waiting++
}

// dequeue takes w out.
func (l *locks) dequeue(w *lockWaiter) {
	list := l.at(w.h.file)
	if at := slices.Index(list.queue, w); at >= 0 {
		list.queue = slices.Delete(list.queue, at, at+1)
		if l.waiters[w.h.owner]--; l.waiters[w.h.owner] == 0 {
			delete(l.waiters, w.h.owner)
		}
		l.waiting--
	}
}
