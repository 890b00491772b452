package meta

import (
	"hash/maphash"
	"sort"

	"github.com/benchfs/benchfs/internal/inode"
)

// fragment is this shard's part of a directory: the entries whose names hash here. It stays when the last entry goes (for
// its mtime) and leaves with the directory. Like inodes, it has no pointers but to its pages.
type fragment struct {
	// pages hold the entries as they were made, cookies ascending. Removed ones stay as dead entries until compact. All pages but
	// the last have entriesPerPage.
	pages [][]entry
	names names
	// index finds the newest of the entries whose names have a hash, by position; nil while the fragment is small enough to look through.
	index   map[uint64]uint32
	total   int // entries, dead ones too
	live    int
	subdirs int // live entries of kind Dir
	mtime   int64
}

// entry is a name. A dead one has kind 0.
type entry struct {
	seq  uint64
	ino  inode.Ino
	name uint64 // place in names << 8 | length
	same uint32 // 1 + the position of the next older entry whose name has the same hash; 0: there is none
	kind inode.Kind
}

const (
	entriesPerPage = 1024
	smallFragment  = 8  // entries that are looked through instead of indexed
	lazyDead       = 16 // dead entries that are not worth compacting
)

var nameSeed = maphash.MakeSeed()

// nameHash is a variable for a test that makes names collide.
var nameHash = func(name []byte) uint64 { return maphash.Bytes(nameSeed, name) }

func (f *fragment) at(i int) *entry { return &f.pages[i/entriesPerPage][i%entriesPerPage] }

// nameOf is good until the next change of the fragment, and not to be changed.
func (f *fragment) nameOf(e *entry) []byte { return f.names.get(e.name>>8, int(e.name&0xff)) }

// find returns a live entry, or nil. It is good until the next change of the fragment.
func (f *fragment) find(name []byte) *entry {
	if f == nil {
		return nil
	}
	if f.index == nil {
		for i := range f.total {
			if e := f.at(i); e.kind != 0 && string(f.nameOf(e)) == string(name) {
				return e
			}
		}
		return nil
	}
	at, ok := f.index[nameHash(name)]
	if !ok {
		return nil
	}
	for {
		e := f.at(int(at))
		if string(f.nameOf(e)) == string(name) {
			return e
		}
		if e.same == 0 {
			return nil
		}
		at = e.same - 1
	}
}

// add appends an entry; the name must not be there, seq must be larger than all before.
func (f *fragment) add(seq uint64, name []byte, ino inode.Ino, kind inode.Kind) {
	f.put(entry{seq: seq, ino: ino, name: f.names.add(name)<<8 | uint64(len(name)), kind: kind})
	f.live++
	if kind == inode.Dir {
		f.subdirs++
	}
	switch {
	case f.index != nil:
		f.enter(name, f.total-1)
	case f.live > smallFragment:
		f.reindex()
	}
}

// put appends to the pages.
func (f *fragment) put(e entry) {
	last := len(f.pages) - 1
	if last < 0 || len(f.pages[last]) == entriesPerPage {
		var page []entry
		if last >= 0 {
			page = make([]entry, 0, entriesPerPage)
		}
		f.pages = append(f.pages, page)
		last++
	}
	f.pages[last] = append(f.pages[last], e)
	f.total++
}

// enter puts the entry at a position into the index.
func (f *fragment) enter(name []byte, position int) {
	hash, e := nameHash(name), f.at(position)
	e.same = 0
	if older, ok := f.index[hash]; ok {
		e.same = older + 1
	}
	f.index[hash] = uint32(position)
}

// leave takes an entry out of the index.
func (f *fragment) leave(gone *entry) {
	hash := nameHash(f.nameOf(gone))
	at := f.index[hash]
	switch e := f.at(int(at)); {
	case e != gone:
		for f.at(int(e.same-1)) != gone {
			e = f.at(int(e.same - 1))
		}
		e.same = gone.same
	case gone.same != 0:
		f.index[hash] = gone.same - 1
	default:
		delete(f.index, hash)
	}
}

func (f *fragment) remove(e *entry) {
	if e.kind == inode.Dir {
		f.subdirs--
	}
	if f.index != nil {
		f.leave(e)
	}
	e.kind = 0
	f.live--
	if dead := f.total - f.live; dead > lazyDead && dead > f.live {
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
	old := *f
	f.pages, f.names, f.total = nil, names{}, 0
	for i := range old.total {
		e := *old.at(i)
		if e.kind == 0 {
			continue
		}
		name := old.nameOf(&e)
		e.name, e.same = f.names.add(name)<<8|uint64(len(name)), 0
		f.put(e)
	}
	f.index = nil
	if f.live > smallFragment {
		f.reindex()
	}
}

func (f *fragment) reindex() {
	f.index = make(map[uint64]uint32, f.live)
	for i := range f.total {
		if e := f.at(i); e.kind != 0 {
			f.enter(f.nameOf(e), i)
		}
	}
}

// after returns the position of the first entry (live or dead) whose cookie is larger.
func (f *fragment) after(cookie uint64) int {
	return sort.Search(f.total, func(i int) bool { return f.at(i).seq > cookie })
}

// names is memory for names, in pages of namePageBytes of which the first one grows. None is taken out alone.
type names struct{ pages [][]byte }

const namePageBytes = 1 << 16

// add stores a name, at most maxName bytes, and returns its place.
func (n *names) add(name []byte) (place uint64) {
	last := len(n.pages) - 1
	if last < 0 || len(n.pages[last])+len(name) > namePageBytes {
		var page []byte
		if last >= 0 {
			page = make([]byte, 0, namePageBytes)
		}
		n.pages = append(n.pages, page)
		last++
	}
	place = uint64(last)*namePageBytes + uint64(len(n.pages[last]))
	n.pages[last] = append(n.pages[last], name...)
	return place
}

func (n *names) get(place uint64, length int) []byte {
	at := place % namePageBytes
	return n.pages[place/namePageBytes][at:][:length:length]
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
	f.add(s.entrySeq, name, ino, kind)
	f.mtime = now
	s.entries++
}

// tombstones is the set of removed directories of other shards, 64 neighbouring numbers a word.
type tombstones map[uint64]uint64

func (t tombstones) has(ino inode.Ino) bool { return t[uint64(ino)>>6]&(1<<(ino&63)) != 0 }
func (t tombstones) add(ino inode.Ino)      { t[uint64(ino)>>6] |= 1 << (ino & 63) }
