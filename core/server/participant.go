package server

import (
	"context"
	"time"

	"github.com/benchfs/benchfs/internal/inode"
	"github.com/benchfs/benchfs/rpc"
)

// The participant's half of operations over several shards, and what a restarted shard does about unfinished ones.

func (s *Shard) prepare(r *rpc.Request) error {
	var m rpc.Prepare
	if err := m.Decode(r.Body); err != nil {
		return err
	}
	payload, ready, err := s.payload(r, pageBytes)
	if err != nil || !ready {
		return err
	}
	steps, err := rpc.DecodeTxOps(payload)
	if err != nil {
		return err
	}
	if len(steps) != int(m.Count) {
		return &rpc.InvalidHeader{Reason: "number of steps does not match"}
	}
	if err := s.o.Meta.Prepare(m.Tx, steps); err != nil {
		return err
	}
	s.ok(r, nil)
	return nil
}

func (s *Shard) commit(r *rpc.Request) error {
	var m rpc.TxRequest
	if err := m.Decode(r.Body); err != nil {
		return err
	}
	if err := s.o.Meta.Commit(m.Tx); err != nil {
		return err
	}
	s.ok(r, nil)
	s.released()
	s.purge()
	return nil
}

func (s *Shard) abort(r *rpc.Request) error {
	var m rpc.TxRequest
	if err := m.Decode(r.Body); err != nil {
		return err
	}
	if err := s.o.Meta.Abort(m.Tx); err != nil {
		return err
	}
	s.ok(r, nil)
	s.released()
	return nil
}

func (s *Shard) txStatus(r *rpc.Request) error {
	var m rpc.TxRequest
	if err := m.Decode(r.Body); err != nil {
		return err
	}
	answer := rpc.TxStatusReply{State: s.o.Meta.TxState(m.Tx)}
	s.body = answer.AppendTo(s.body[:0])
	s.ok(r, s.body)
	return nil
}

// recover takes up, after a restart, what the log says is unfinished: coordinated operations without a decision are aborted,
// decided ones are told again, truncates go on, purges go on. On the shard's thread.
func (s *Shard) recover() {
	for _, tx := range s.o.Meta.Unfinished() {
		others := make([]uint32, 0, len(tx.Participants))
		for _, shard := range tx.Participants {
			if shard != s.o.Peer.Shard {
				others = append(others, shard)
			}
		}
		if tx.State == inode.TxPending {
			if err := s.o.Meta.TxDecide(tx.ID, false); err != nil {
				s.log.Error("unfinished operation cannot be aborted", "tx", tx.ID, "error", err)
				continue
			}
		}
		if tx.State != inode.TxCommitted {
			if err := s.o.Meta.TxForget(tx.ID); err != nil {
				s.log.Error("aborted operation cannot be forgotten", "tx", tx.ID, "error", err)
			}
			continue
		}
		s.finishLater(tx.ID, others)
	}
	for _, t := range s.o.Meta.Truncations() {
		s.startTruncate(nil, t)
	}
	s.purge()
	s.resolvePrepared()
}

// retryPause is the time between attempts of background work that another shard does not answer.
const retryPause = 500 * time.Millisecond

// attemptTime bounds one such attempt.
const attemptTime = 5 * time.Second

// untilDone repeats an attempt until it succeeds or the shard stops.
func (s *Shard) untilDone(attempt func(ctx context.Context) bool) bool {
	for {
		ctx, cancel := context.WithTimeout(s.background, attemptTime)
		done := attempt(ctx)
		cancel()
		if done {
			return true
		}
		select {
		case <-s.background.Done():
			return false
		case <-time.After(retryPause):
		}
	}
}

// finishLater tells the participants of a committed operation until all have acknowledged, then forgets it.
func (s *Shard) finishLater(tx uint64, others []uint32) {
	s.spawn(func() {
		if !s.untilDone(func(ctx context.Context) bool { return s.tell(ctx, tx, others, true) }) {
			return
		}
		s.onShard(func() {
			if err := s.o.Meta.TxForget(tx); err != nil {
				s.log.Error("operation cannot be forgotten", "tx", tx, "error", err)
			}
		})
	})
}

// resolvePrepared asks the coordinators of operations that are held here what became of them. A coordinator that
// is at work answers "pending"; one that was restarted, or whose message was lost, ends the wait.
func (s *Shard) resolvePrepared() {
	if s.solving {
		return
	}
	var foreign []uint64
	for _, tx := range s.o.Meta.Prepared() {
		if inode.Ino(tx).Shard() != s.o.Peer.Shard {
			foreign = append(foreign, tx)
		}
	}
	if len(foreign) == 0 {
		return
	}
	s.solving = s.spawn(func() {
		for _, tx := range foreign {
			s.resolve(tx)
		}
		s.onShard(func() { s.solving = false })
	})
}

func (s *Shard) resolve(tx uint64) {
	ctx, cancel := context.WithTimeout(s.background, attemptTime)
	defer cancel()
	m := rpc.TxRequest{Tx: tx}
	call := s.o.Peers.Transport().NewCall()
	defer s.o.Peers.Transport().FreeCall(call)
	call.Reset()
	call.To = s.peerOf(inode.Ino(tx).Shard())
	call.Header.Type = rpc.MsgTxStatus
	call.Body = m.AppendTo(call.Body[:0])
	s.o.Peers.Exchange(ctx, deadlineOf(ctx), []*rpc.Call{call})
	var answer rpc.TxStatusReply
	if call.Err != nil || answer.Decode(call.Answer) != nil {
		return
	}
	s.onShard(func() {
		var err error
		switch answer.State {
		case inode.TxCommitted:
			err = s.o.Meta.Commit(tx)
		case inode.TxAborted:
			err = s.o.Meta.Abort(tx)
		case inode.TxPending:
			return
		}
		if err != nil {
			s.log.Error("operation held here cannot be ended", "tx", tx, "error", err)
		}
		s.released()
		s.purge()
	})
}
