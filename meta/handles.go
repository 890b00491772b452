package meta

import (
	"slices"

	"github.com/benchfs/benchfs/internal/inode"
)

// handles is who has what open. Nothing of it is logged, nor is node.opens, which counts them.
type handles struct {
	byClient map[uint64]map[openHandle]struct{}
}

// openHandle is one client's handle. Handle numbers are the client's; they are told apart by inode too.
type openHandle struct {
	ino    inode.Ino
	handle uint64
}

func newHandles() handles {
	return handles{byClient: map[uint64]map[openHandle]struct{}{}}
}

// add reports whether the handle is new.
func (h *handles) add(client uint64, o openHandle) bool {
	open := h.byClient[client]
	if open == nil {
		open = map[openHandle]struct{}{}
		h.byClient[client] = open
	}
	before := len(open)
	open[o] = struct{}{}
	return len(open) > before
}

// remove reports whether the handle was there.
func (h *handles) remove(client uint64, o openHandle) bool {
	open := h.byClient[client]
	before := len(open)
	delete(open, o)
	return len(open) < before
}

// OpenHandle registers a handle: while there is one, the inode outlives its names. Repeating it is harmless.
// ESTALE if the inode is gone, fserr.ErrBusy if it is held.
func (s *Shard) OpenHandle(client uint64, ino inode.Ino, handle uint64) (inode.Attr, error) {
	n, err := s.find(ino)
	if err != nil {
		return inode.Attr{}, err
	}
	if s.handles.add(client, openHandle{ino, handle}) {
		n.opens++
	}
	return n.attr(), nil
}

// ReleaseHandle drops a handle, or tells that a file was closed that had none (Observer.InodeOpen); the last one takes an
// inode without names with it. mtime ≠ 0 is the time of the last overwrite through it, see inode.SetMtimeMax. It never waits: what
// it does commutes with all that can hold an inode.
// Repeating it, and releasing what is not there, is harmless. When the log refuses, the handle stays.
func (s *Shard) ReleaseHandle(client uint64, ino inode.Ino, handle uint64, mtime int64) error {
	n := s.nodes.get(ino)
	if n == nil {
		return nil
	}
	if mtime > n.mtime {
		r := s.start(recMtimeMax)
		r.ino, r.mtime = ino, mtime
		if err := s.commit(r); err != nil {
			return err
		}
	}
	known := s.handles.remove(client, openHandle{ino, handle})
	if known {
		n.opens--
	}
	if !s.disposable(n) {
		return nil
	}
	r := s.start(recDrop)
	r.drops = append(r.drops, ino)
	if err := s.commit(r); err != nil {
		if known {
			s.handles.add(client, openHandle{ino, handle})
			n.opens++
		}
		return err
	}
	return nil
}

// DropClient ends all handles of a client: its session is gone. If the log refuses to take the loss of its unlinked
// files, they stay until SweepOrphans.
func (s *Shard) DropClient(client uint64) {
	var gone []inode.Ino
	for o := range s.handles.byClient[client] {
		n := s.nodes.get(o.ino)
		if n.opens--; s.disposable(n) {
			gone = append(gone, o.ino)
		}
	}
	delete(s.handles.byClient, client)
	s.drop(gone)
}

// SweepOrphans ends the grace time after a restart: inodes that have neither names nor handles go, now, and from now on as
// soon as that is so. It returns how many went. It may be called again at any time.
func (s *Shard) SweepOrphans() int {
	s.waiting = false
	return s.DropOrphans()
}

// DropOrphans takes the inodes that nothing keeps any more, and returns how many there were: those that were open without a handle may be
// among them.
func (s *Shard) DropOrphans() int {
	if len(s.orphans) == 0 {
		return 0
	}
	var gone []inode.Ino
	for ino := range s.orphans {
		if s.disposable(s.nodes.get(ino)) {
			gone = append(gone, ino)
		}
	}
	return s.drop(gone)
}

// disposable reports whether nothing keeps an inode: no name, no handle, no operation in progress, no client that may come back.
func (s *Shard) disposable(n *node) bool {
	return n.nlink == 0 && n.held == 0 && s.unwanted(n)
}

// unwanted is disposable but for the links and holds.
func (s *Shard) unwanted(n *node) bool {
	return !s.waiting && n.opens == 0 && (s.observer == nil || !s.observer.InodeOpen(n.ino))
}

// maxDrops bounds one record.
const maxDrops = 4096

// drop logs that inodes leave, and returns how many did.
func (s *Shard) drop(gone []inode.Ino) int {
	slices.Sort(gone)
	done := 0
	for batch := range slices.Chunk(gone, maxDrops) {
		r := s.start(recDrop)
		r.drops = append(r.drops, batch...)
		if s.commit(r) != nil {
			break
		}
		done += len(batch)
	}
	return done
}
