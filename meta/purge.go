package meta

import (
	"slices"

	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/internal/inode"
)

// Purge is an inode that is gone and whose chunks must go too. Its owners are those that the layout names for bytes
// [0, Largest), and those in Runs; telling all shards is always right.
//
// Only what was made known to the inode's shard is purged: a client that wrote or reserved chunks and died before its Extend leaves them
// behind, until the stores are compared with the inodes (core/server, sweep).
type Purge struct {
	Ino     inode.Ino
	Layout  layout.Layout
	Largest uint64       // bytes: the largest size that the file ever had
	Gen     uint32       // truncate generation: if not 0, every shard keeps a record of it
	Runs    []layout.Run // strategy Local; read only
}

// purgeQueue keeps purges in the order they were queued.
type purgeQueue struct {
	jobs  map[inode.Ino]Purge
	order []inode.Ino // may name jobs that are done
}

func newPurgeQueue() purgeQueue { return purgeQueue{jobs: map[inode.Ino]Purge{}} }

func (q *purgeQueue) add(p Purge) {
	if _, queued := q.jobs[p.Ino]; !queued {
		q.order = append(q.order, p.Ino)
	}
	q.jobs[p.Ino] = p
}

func (q *purgeQueue) remove(ino inode.Ino) {
	delete(q.jobs, ino)
	if len(q.jobs) == 0 {
		*q = newPurgeQueue()
		return
	}
	if done := len(q.order) - len(q.jobs); done > lazyDead && done > len(q.jobs) {
		q.order = slices.DeleteFunc(q.order, func(i inode.Ino) bool {
			_, queued := q.jobs[i]
			return !queued
		})
	}
}

// Purges lists the purges that have not been reported done, oldest first.
func (s *Shard) Purges() []Purge { return s.NextPurges(len(s.purges.jobs)) }

// NextPurges lists at most limit of them, oldest first: a shard that has to tell others about a million removed files takes
// a batch at a time.
func (s *Shard) NextPurges(limit int) []Purge {
	limit = min(limit, len(s.purges.jobs))
	if limit <= 0 {
		return nil
	}
	list := make([]Purge, 0, limit)
	for _, ino := range s.purges.order {
		if len(list) == limit {
			break
		}
		if p, queued := s.purges.jobs[ino]; queued {
			list = append(list, p)
		}
	}
	return list
}

// PurgeDone tells that every owner has acknowledged. Repeating it is harmless.
func (s *Shard) PurgeDone(ino inode.Ino) error {
	if _, queued := s.purges.jobs[ino]; !queued {
		return nil
	}
	r := s.start(recPurgeDone)
	r.ino = ino
	return s.commit(r)
}
