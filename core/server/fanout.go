package server

import (
	"context"
	"maps"
	"slices"
	"syscall"
	"time"

	"github.com/pkg/errors"

	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/internal/inode"
	"github.com/benchfs/benchfs/meta"
	"github.com/benchfs/benchfs/rpc"
)

// truncate changes the size. Growing, and what changes nothing, is done at once. Shrinking begins with a log record that holds the inode,
// then every owner drops what is beyond and takes the new generation, and only then the new size is published: nobody ever carries
// a generation that an owner does not know, and no owner keeps bytes that could come back when the file grows again.
func (s *Shard) truncate(r *rpc.Request) error {
	var m rpc.Truncate
	if err := m.Decode(r.Body); err != nil {
		return err
	}
	if err := s.here(m.Ino); err != nil {
		return err
	}
	if m.Size > maxSize {
		return errors.WithStack(syscall.EFBIG)
	}
	if _, ok := s.o.Meta.Done(reqID(r)); ok {
		a, err := s.o.Meta.Attr(m.Ino)
		return s.attr(r, a, err)
	}
	if s.atEnd(r, m.Ino) {
		return nil
	}
	t, fanout, err := s.o.Meta.TruncateBegin(reqID(r), m.Ino, m.Size)
	if err != nil {
		return err
	}
	if !fanout {
		a, err := s.o.Meta.Attr(m.Ino)
		return s.attr(r, a, err)
	}
	if s.shards == 1 && s.o.Store.Truncate(uint64(t.Ino), t.Gen, t.Size, t.ChunkBits) == nil {
		a, err := s.o.Meta.TruncateEnd(t.Ino)
		if err == nil {
			s.released()
		}
		return s.attr(r, a, err)
	}
	s.startTruncate(r, t)
	return nil
}

// startTruncate has the owners cut the file, in a goroutine that does not give up while the shard runs. r (may be nil after a
// restart) is answered when they have, or when its deadline has passed: the truncate goes on then, and the file waits for it.
func (s *Shard) startTruncate(r *rpc.Request, t meta.Truncation) {
	if _, under := s.tasks[t.Ino]; under {
		return
	}
	s.tasks[t.Ino] = struct{}{}
	if t.Req.Op != 0 {
		s.running[t.Req] = struct{}{}
	}
	until := time.Time{}
	if r != nil {
		until = time.Now().Add(patience(r))
	}
	started := s.spawn(func() { s.cut(r, until, t) })
	if !started && r != nil {
		s.fail(r, errors.WithStack(syscall.ESHUTDOWN))
	}
}

func (s *Shard) cut(r *rpc.Request, until time.Time, t meta.Truncation) {
	m := rpc.TruncateChunks{Ino: t.Ino, Gen: t.Gen, Size: t.Size, ChunkBits: t.ChunkBits}
	body := m.AppendTo(nil)
	others := make([]uint32, 0, s.shards-1)
	for shard := range s.shards {
		if shard != s.o.Peer.Shard {
			others = append(others, shard)
		}
	}
	done := s.untilDone(func(ctx context.Context) bool {
		err := s.toAll(ctx, others, rpc.MsgTruncateChunks, body)
		if err == nil {
			err = errors.WithStack(syscall.ESHUTDOWN)
			s.onShard(func() { err = s.o.Store.Truncate(uint64(t.Ino), t.Gen, t.Size, t.ChunkBits) })
		}
		if err != nil && r != nil && time.Now().After(until) {
			late := r
			r = nil
			s.onShard(func() { s.fail(late, errors.WithMessage(err, "truncate goes on in the background")) })
		}
		return err == nil
	})
	s.onShard(func() {
		delete(s.tasks, t.Ino)
		delete(s.running, t.Req)
		var a inode.Attr
		err := errors.WithStack(syscall.ESHUTDOWN)
		if done {
			a, err = s.o.Meta.TruncateEnd(t.Ino)
		}
		if r != nil {
			if err = s.attr(r, a, err); err != nil {
				s.fail(r, err)
			}
		}
		s.released()
	})
}

// purgeBatch is how many removed files are looked at in one go.
const purgeBatch = 256

// purge has the owners drop the chunks of inodes that are gone. Those that only this shard can own go at once; for
// the others a goroutine tells the other owners, a batch at a time.
func (s *Shard) purge() {
	if s.purging {
		return
	}
	for {
		queue := s.o.Meta.NextPurges(purgeBatch)
		if len(queue) == 0 {
			return
		}
		var rest []purgeJob
		for _, p := range queue {
			if owners := s.ownersOf(p); len(owners) == 1 && owners[0] == s.o.Peer.Shard {
				if !s.purged(p.Ino, s.o.Store.Purge(uint64(p.Ino))) {
					return
				}
			} else {
				rest = append(rest, purgeJob{ino: p.Ino, owners: owners})
			}
		}
		if len(rest) == 0 {
			continue
		}
		s.purging = s.spawn(func() { s.purgeAll(rest) })
		return
	}
}

// purgeJob is one removed file and whom to tell.
type purgeJob struct {
	ino    inode.Ino
	owners []uint32
}

// purgeAll runs beside the shard until the jobs are done or the shard stops.
func (s *Shard) purgeAll(jobs []purgeJob) {
	ok := true
	for _, job := range jobs {
		ok = s.purgeEverywhere(job) && ok
	}
	s.onShard(func() {
		s.purging = false
		if ok {
			s.purge()
		}
	})
}

// ownersOf lists the shards that may keep something of a removed file. For a file that was ever cut that is every one: they keep its
// generation. With the strategy local too: writers that lost the race for a chunk left theirs.
func (s *Shard) ownersOf(p meta.Purge) []uint32 {
	seen := map[uint32]struct{}{p.Ino.Shard(): {}}
	if p.Gen != 0 || p.Layout.Strategy == layout.Local {
		for shard := range s.shards {
			seen[shard] = struct{}{}
		}
	}
	chunks := (p.Largest + p.Layout.ChunkBytes() - 1) >> p.Layout.ChunkBits
	for chunk := uint64(0); chunk < chunks && len(seen) < int(s.shards); chunk++ {
		if shard, ok := layout.ChunkNode(p.Layout, uint64(p.Ino), chunk, nil); ok {
			seen[shard] = struct{}{}
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// purged notes that a removed file's chunks are gone, everywhere; false when they are not: they stay queued for the next tick.
func (s *Shard) purged(ino inode.Ino, err error) bool {
	if err == nil {
		err = s.o.Meta.PurgeDone(ino)
	}
	if err != nil {
		s.log.Error("chunks of a removed file cannot be dropped", "inode", ino, "error", err)
	}
	return err == nil
}

// purgeEverywhere drops one inode's chunks on all its owners; false when that failed or the shard stops before.
func (s *Shard) purgeEverywhere(job purgeJob) bool {
	m := rpc.PurgeChunks{Ino: job.ino}
	body := m.AppendTo(nil)
	var others []uint32
	own := false
	for _, shard := range job.owners {
		if shard == s.o.Peer.Shard {
			own = true
		} else {
			others = append(others, shard)
		}
	}
	if !s.untilDone(func(ctx context.Context) bool { return s.toAll(ctx, others, rpc.MsgPurgeChunks, body) == nil }) {
		return false
	}
	done := false
	s.onShard(func() {
		var err error
		if own {
			err = s.o.Store.Purge(uint64(job.ino))
		}
		done = s.purged(job.ino, err)
	})
	return done
}
