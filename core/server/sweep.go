package server

import (
	"context"
	"syscall"
	"time"

	"github.com/pkg/errors"

	"github.com/benchfs/benchfs/internal/inode"
	"github.com/benchfs/benchfs/rpc"
)

// A client that dies in the middle of a write leaves chunks of which the inode's shard was never told. While the inode lives they are as
// harmless as the rest of an unfinished write; when it goes, nobody purges them, because nobody knows of them. So after a client was lost, and
// after a restart, a shard compares what its store keeps with the inodes: its own at once, those of other shards by asking, beside
// the shard. A chunk whose inode is gone goes too; for those whose inode goes later, the comparison is repeated now and then.
// Inode numbers are never used twice, so that "gone" stays true.

type sweeper struct {
	wanted  bool // a client was lost since the last sweep began
	running bool
	again   time.Time // of the next sweep without a new loss; zero: nobody was ever lost
}

// sweepEvery is the time between two sweeps without a new loss.
const sweepEvery = 10 * time.Minute

// sweepBatch is how many inodes other shards are asked for at a time.
const sweepBatch = 64

// sweep starts a comparison if one is wanted and none is running.
func (s *Shard) sweep(now time.Time) {
	due := s.sweeper.wanted || !s.sweeper.again.IsZero() && now.After(s.sweeper.again)
	if !due || s.sweeper.running || s.purging {
		return
	}
	s.sweeper.wanted, s.sweeper.again = false, now.Add(sweepEvery)
	var elsewhere []inode.Ino
	for _, number := range s.o.Store.Inodes() {
		ino := inode.Ino(number)
		if ino.Shard() != s.o.Peer.Shard {
			elsewhere = append(elsewhere, ino)
		} else if !s.o.Meta.Exists(ino) {
			s.dropChunks(ino)
		}
	}
	if len(elsewhere) > 0 {
		s.sweeper.running = s.spawn(func() { s.sweepElsewhere(elsewhere) })
	}
}

// dropChunks drops what the store keeps of an inode that is gone. If it cannot, the next sweep can.
func (s *Shard) dropChunks(ino inode.Ino) {
	s.log.Info("chunks of a lost client's unfinished write are dropped: their file is gone", "inode", ino)
	if err := s.o.Store.Purge(uint64(ino)); err != nil {
		s.log.Error("chunks of a removed file cannot be dropped", "inode", ino, "error", err)
		s.sweeper.wanted = true
	}
}

// sweepElsewhere asks the inodes' own shards, beside this one.
func (s *Shard) sweepElsewhere(inodes []inode.Ino) {
	complete := true
	for len(inodes) > 0 && s.background.Err() == nil {
		batch := inodes[:min(len(inodes), sweepBatch)]
		inodes = inodes[len(batch):]
		gone, all := s.askGone(batch)
		complete = complete && all
		s.onShard(func() {
			for _, ino := range gone {
				s.dropChunks(ino)
			}
		})
	}
	s.onShard(func() {
		s.sweeper.running = false
		s.sweeper.wanted = s.sweeper.wanted || !complete
	})
}

// askGone finds those whose shard does not know them any more. all is false if a shard has not answered.
func (s *Shard) askGone(inodes []inode.Ino) (gone []inode.Ino, all bool) {
	ctx, cancel := context.WithTimeout(s.background, attemptTime)
	defer cancel()
	transport := s.o.Peers.Transport()
	calls := make([]*rpc.Call, len(inodes))
	for i, ino := range inodes {
		calls[i] = transport.NewCall()
		calls[i].Reset()
		calls[i].To = s.peerOf(ino.Shard())
		calls[i].Header.Type = rpc.MsgGetAttr
		m := rpc.InodeRequest{Ino: ino}
		calls[i].Body = m.AppendTo(calls[i].Body[:0])
	}
	s.o.Peers.Exchange(ctx, deadlineOf(ctx), calls)
	all = true
	for i, call := range calls {
		var answer *rpc.HandlerError
		switch {
		case call.Err == nil:
		case errors.As(call.Err, &answer) && answer.Status == rpc.StatusErrno && answer.Code == syscall.ESTALE:
			gone = append(gone, inodes[i])
		default:
			all = false
		}
		transport.FreeCall(call)
	}
	return gone, all
}
