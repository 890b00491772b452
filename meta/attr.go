package meta

import (
	"slices"
	"syscall"

	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/internal/inode"
)

// Attr returns the attributes of an inode. ESTALE if it is not here (any more), fserr.ErrBusy while an operation holds it.
// A directory's Nlink is 2, or 0 once it is removed; its Size, entries and last change are for the caller to gather with DirInfo.
func (s *Shard) Attr(ino inode.Ino) (inode.Attr, error) {
	n, err := s.find(ino)
	if err != nil {
		return inode.Attr{}, err
	}
	return n.attr(), nil
}

// Exists reports whether the inode is here.
func (s *Shard) Exists(ino inode.Ino) bool { return s.nodes.get(ino) != nil }

// Readlink returns the target of a symbolic link; EINVAL for anything else.
func (s *Shard) Readlink(ino inode.Ino) ([]byte, error) {
	n, err := s.find(ino)
	if err != nil {
		return nil, err
	}
	if n.kind != inode.Symlink {
		return nil, syscall.EINVAL
	}
	return []byte(s.more[ino].target), nil
}

// SetAttr changes what mask names, to what v says, and returns the attributes after it. Changing the owner of a file clears
// set-uid, and set-gid where the group may execute, unless the mode is set in the same call.
// A layout can be set on a directory, and on a file that never had a byte: else EBUSY. ESTALE, EINVAL, fserr.ErrBusy.
func (s *Shard) SetAttr(r ReqID, ino inode.Ino, mask inode.SetMask, v inode.Attr) (inode.Attr, error) {
	n, err := s.find(ino)
	if err != nil {
		return inode.Attr{}, err
	}
	if _, done := s.Done(r); done || mask == 0 {
		return n.attr(), nil
	}
	if mask == inode.SetMtimeMax && v.Mtime <= n.mtime {
		return n.attr(), nil
	}
	if mask&inode.SetLayout != 0 {
		if v.Layout, err = s.newLayout(n, v.Layout); err != nil {
			return inode.Attr{}, err
		}
	} else {
		v.Layout = layout.Layout{}
	}
	rec := s.start(recSetAttr)
	rec.ino, rec.mask = ino, mask
	rec.mode, rec.uid, rec.gid = v.Mode&modeBits, v.UID, v.GID
	rec.atime, rec.mtime, rec.layout = v.Atime, v.Mtime, v.Layout
	rec.req, rec.res = r, Result{Ino: ino}
	if err := s.commit(rec); err != nil {
		return inode.Attr{}, err
	}
	return n.attr(), nil
}

// newLayout checks and completes a layout that an existing inode is to get.
func (s *Shard) newLayout(n *node, l layout.Layout) (layout.Layout, error) {
	switch n.kind {
	case inode.Dir:
		return s.dirLayout(l)
	case inode.File:
		if n.hasChunks() || n.truncGen != 0 {
			return l, syscall.EBUSY
		}
		return s.fileLayout(l)
	}
	return l, syscall.EINVAL
}

// Extend makes a file at least end bytes long and stamps mtime. It follows each write that ends beyond the size that the writer knows, once the
// bytes can be read. fserr.ErrStaleGeneration if gen is not the file's: the write may have been cut off. EFBIG, ESTALE, EISDIR, EINVAL, fserr.ErrBusy.
func (s *Shard) Extend(ino inode.Ino, end uint64, gen uint32) (inode.Attr, error) {
	n, err := s.extensible(ino, end, gen)
	if err != nil {
		return inode.Attr{}, err
	}
	rec := s.start(recExtend)
	rec.ino, rec.size = ino, end
	if err := s.commit(rec); err != nil {
		return inode.Attr{}, err
	}
	return n.attr(), nil
}

// CheckExtend is the error that Extend would return now, but for those of the log.
func (s *Shard) CheckExtend(ino inode.Ino, end uint64, gen uint32) error {
	_, err := s.extensible(ino, end, gen)
	return err
}

// extensible returns the inode of a file that may be made end bytes long in generation gen.
func (s *Shard) extensible(ino inode.Ino, end uint64, gen uint32) (*node, error) {
	n, err := s.findFile(ino)
	switch {
	case err != nil:
		return nil, err
	case gen != n.truncGen:
		return nil, fserr.ErrStaleGeneration
	case end > maxSize:
		return nil, syscall.EFBIG
	}
	return n, nil
}

// Runs returns a copy of where the chunks of a Local file are.
func (s *Shard) Runs(ino inode.Ino) ([]layout.Run, error) {
	n, err := s.findFile(ino)
	if err != nil {
		return nil, err
	}
	return slices.Clone(s.runs(n)), nil
}

// AddRun publishes that the chunks of run are on run.Shard. Where somebody was first, theirs stays: the answer is a copy of the runs that
// now cover the asked chunks. fserr.ErrStaleGeneration if gen is not the file's; EINVAL for a run that is empty or names
// no shard, or a file of another strategy.
func (s *Shard) AddRun(ino inode.Ino, gen uint32, run layout.Run) ([]layout.Run, error) {
	n, err := s.findFile(ino)
	if err != nil {
		return nil, err
	}
	if gen != n.truncGen {
		return nil, fserr.ErrStaleGeneration
	}
	if err := s.checkRun(n, run); err != nil {
		return nil, err
	}
	if !covered(layout.CoveringRuns(s.runs(n), run.First, run.Count), run) {
		rec := s.start(recAddRun)
		rec.ino, rec.run = ino, run
		if err := s.commit(rec); err != nil {
			return nil, err
		}
	}
	return slices.Clone(layout.CoveringRuns(s.runs(n), run.First, run.Count)), nil
}

// checkRun admits chunks that a file of maximal size has, on a shard of the cluster.
func (s *Shard) checkRun(n *node, run layout.Run) error {
	chunks := (uint64(maxSize) >> n.chunkBits) + 1
	if n.strategy != layout.Local || run.Count == 0 || run.Count > chunks || run.First > chunks-run.Count || run.Shard >= s.o.Shards {
		return syscall.EINVAL
	}
	return nil
}

// covered reports whether runs, which all touch run, leave nothing of it free.
func covered(runs []layout.Run, run layout.Run) bool {
	next := run.First
	for _, have := range runs {
		if have.First > next {
			return false
		}
		next = have.First + have.Count
	}
	return next >= run.First+run.Count
}
