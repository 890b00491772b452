package meta

import (
	"sort"

	"github.com/benchfs/benchfs/internal/inode"
)

// fragment is this shard's part of a directory: the entries whose names hash here. It stays when the last entry goes (for
// its mtime) and leaves with the directory.
type fragment struct {
	// order holds the entries as they were made, cookies ascending. Removed ones stay as dead entries until compact.
	order []*entry
	// index finds a name; nil while the fragment is small enough to look through.
	index   map[string]*entry
	live    int
	subdirs int // live entries of kind Dir
	mtime   int64
	peak    int // most live entries since index was made: Go maps do not shrink by themselves
}

// entry is a name. A dead one has kind 0 and no name.
type entry struct {
	seq  uint64
	ino  inode.Ino
	name string
	kind inode.Kind
}

const (
	smallFragment = 8  // entries that are looked through instead of indexed
	lazyDead      = 16 // dead entries that are not worth compacting
)

func (f *fragment) find(name []byte) *entry {
	if f == nil {
		return nil
	}
	if f.index != nil {
		return f.index[string(name)]
	}
	for _, e := range f.order {
		if e.kind != 0 && e.name == string(name) {
			return e
		}
	}
	return nil
}

// add appends an entry; the name must not be there, seq must be larger than all before.
func (f *fragment) add(seq uint64, name string, ino inode.Ino, kind inode.Kind) {
	e := &entry{seq: seq, ino: ino, name: name, kind: kind}
	f.order = append(f.order, e)
	f.live++
	f.peak = max(f.peak, f.live)
	if kind == inode.Dir {
		f.subdirs++
	}
	if f.index != nil {
		f.index[e.name] = e
	} else if f.live > smallFragment {
		f.reindex()
	}
}

func (f *fragment) remove(e *entry) {
	if e.kind == inode.Dir {
		f.subdirs--
	}
	if f.index != nil {
		delete(f.index, e.name)
	}
	e.kind, e.name = 0, ""
	f.live--
	if dead := len(f.order) - f.live; dead > lazyDead && dead > f.live {
		f.compact()
	}
}

// replace lets an entry stand for another inode. It keeps its place, so that a listing in progress sees the name once.
func (f *fragment) replace(e *entry, ino inode.Ino, kind inode.Kind) {
	if e.kind == inode.Dir {
		f.subdirs--
	}
	if kind == inode.Dir {
		f.subdirs++
	}
	e.ino, e.kind = ino, kind
}

// compact drops the dead entries, and memory that is no longer needed.
func (f *fragment) compact() {
	kept := f.order[:0]
	shrink := cap(f.order) > 4*f.live
	if shrink {
		kept = make([]*entry, 0, f.live+f.live/4)
	}
	for _, e := range f.order {
		if e.kind != 0 {
			kept = append(kept, e)
		}
	}
	if !shrink {
		clear(f.order[len(kept):])
	}
	f.order = kept
	switch {
	case f.live <= smallFragment:
		f.index, f.peak = nil, f.live
	case f.index != nil && f.peak > 4*f.live:
		f.reindex()
	}
}

func (f *fragment) reindex() {
	f.index = make(map[string]*entry, f.live)
	f.peak = f.live
	for _, e := range f.order {
		if e.kind != 0 {
			f.index[e.name] = e
		}
	}
}

// after returns the position of the first entry (live or dead) whose cookie is larger.
func (f *fragment) after(cookie uint64) int {
	return sort.Search(len(f.order), func(i int) bool { return f.order[i].seq > cookie })
}

// fragmentOf returns the fragment of a directory, making it if needed.
func (s *Shard) fragmentOf(dir inode.Ino) *fragment {
	f := s.dirs[dir]
	if f == nil {
		f = &fragment{}
		s.dirs[dir] = f
	}
	return f
}

// addEntry makes an entry under the next cookie.
func (s *Shard) addEntry(dir inode.Ino, name []byte, ino inode.Ino, kind inode.Kind, now int64) {
	f := s.fragmentOf(dir)
	s.entrySeq++
	f.add(s.entrySeq, string(name), ino, kind)
	f.mtime = now
	s.entries++
}

// tombstones is the set of removed directories of other shards, 64 neighbouring numbers a word.
type tombstones map[uint64]uint64

func (t tombstones) has(ino inode.Ino) bool { return t[uint64(ino)>>6]&(1<<(ino&63)) != 0 }
func (t tombstones) add(ino inode.Ino)      { t[uint64(ino)>>6] |= 1 << (ino & 63) }
