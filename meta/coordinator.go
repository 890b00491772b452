package meta

import (
	"cmp"
	"fmt"
	"slices"
	"syscall"

	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/internal/inode"
)

// Tx is an operation over several shards that this shard coordinates.
type Tx struct {
	ID           uint64
	Participants []uint32 // shards that have been, or may have been, asked to prepare; read only
	State        inode.TxState
	Req          ReqID // whose request it is
}

// txReserve is how many numbers of operations one record sets aside.
const txReserve = 1 << 12

// NewTx returns the number of a new operation: this shard<<48 | a number never used before, also over restarts.
func (s *Shard) NewTx() uint64 {
	s.txNext++
	if s.txNext > s.txReserved {
		r := s.start(recTxReserve)
		r.size = s.txNext + txReserve - 1
		// If the log refuses, the operation ends in TxBegin, which needs the log too; and TxBegin marks the number as used.
		_ = s.commit(r)
	}
	return uint64(s.o.Shard)<<inode.SeqBits | s.txNext
}

// TxBegin logs that operation tx begins for request r: before any participant is asked to prepare. Beginning it again
// while it is pending is fine; EINVAL for a number of another shard or an operation that is decided.
func (s *Shard) TxBegin(tx uint64, r ReqID, participants []uint32) error {
	if r.Op == 0 {
		r = ReqID{}
	}
	if t := s.coord[tx]; t != nil {
		if t.State == inode.TxPending && t.Req == r {
			return nil
		}
		return s.txError("begin", tx, "the number is in use")
	}
	if inode.Ino(tx).Shard() != s.o.Shard || inode.Ino(tx).Seq() == 0 {
		return s.txError("begin", tx, "not a number of this shard")
	}
	rec := s.start(recTxBegin)
	rec.tx, rec.req, rec.participants = tx, r, participants
	return s.commit(rec)
}

// TxDecide logs the outcome, and does or lets go what is prepared here under tx. A commit makes the request done, and is
// known until TxForget; an abort is forgotten at once, because what nobody knows is aborted. Repeating it is fine.
// EINVAL for a commit of an unknown operation and an abort of a committed one.
func (s *Shard) TxDecide(tx uint64, commit bool) error {
	t := s.coord[tx]
	switch {
	case t == nil && commit:
		return s.txError("commit", tx, "not begun, or aborted")
	case t == nil:
		return s.Abort(tx)
	case t.State == inode.TxCommitted && !commit:
		return s.txError("abort", tx, "already committed")
	case t.State == inode.TxCommitted:
		return nil
	}
	rec := s.start(recTxDecide)
	rec.tx, rec.decision = tx, inode.TxAborted
	if commit {
		rec.decision = inode.TxCommitted
		rec.req = t.Req
	}
	rec.drops = s.dropsAfter(rec.drops, s.prepared[tx], commit)
	return s.commit(rec)
}

// TxForget ends a committed operation: every participant has acknowledged. Unknown: nil. EINVAL while it is pending.
func (s *Shard) TxForget(tx uint64) error {
	t := s.coord[tx]
	switch {
	case t == nil:
		return nil
	case t.State != inode.TxCommitted:
		return s.txError("forget", tx, "not decided")
	}
	rec := s.start(recTxForget)
	rec.tx = tx
	return s.commit(rec)
}

// TxState tells what became of an operation. Unknown = aborted.
func (s *Shard) TxState(tx uint64) inode.TxState {
	if t := s.coord[tx]; t != nil {
		return t.State
	}
	return inode.TxAborted
}

// Unfinished lists the operations coordinated here that are not forgotten, by number. After a restart those that are
// pending must be aborted, and the commits of the others sent again.
func (s *Shard) Unfinished() []Tx {
	list := make([]Tx, 0, len(s.coord))
	for _, t := range s.coord {
		list = append(list, *t)
	}
	slices.SortFunc(list, func(a, b Tx) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

func (s *Shard) txError(op string, tx uint64, why string) error {
	return fserr.New(op+" operation", "", syscall.EINVAL, fmt.Errorf("%#x: %s", tx, why))
}
