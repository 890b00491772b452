package cache

import "sync"

// Dentry is what a name stands for, or that it stands for nothing.
type Dentry struct {
	Ino      uint64
	Kind     uint8
	Negative bool   // there is no such name; Ino and Kind are 0
	Version  uint64 // of the directory, or what the caller compares entries by
	Validity uint64 // see MetaCache
}

// MetaCache holds directory entries and attributes (of type A) by inode.
//
// Each entry carries a validity: a number of the caller's (of the lease, the open, or the connection that it was read under). A lookup names the
// one that holds now; an entry with another is dropped. A caller without such a notion uses 0 throughout.
type MetaCache[A any] struct {
	shards  []metaShard[A]
	entries epochs // of (parent, name)
	dirs    epochs // of directories, for all their entries
	attrs   epochs
}

const metaShards = 16

type metaShard[A any] struct {
	mu      sync.Mutex // guards the maps
	limit   int        // of each map
	entries map[nameKey]stampedEntry
	attrs   map[uint64]stampedAttr[A]
}

type nameKey struct {
	parent uint64
	name   string
}

type stampedEntry struct {
	Dentry
	stamp Stamp
}

type stampedAttr[A any] struct {
	attr     A
	version  uint64
	validity uint64
	epoch    uint64
}

// NewMetaCache makes a cache for so many names and as many attributes. When it is full, any other entry makes room.
func NewMetaCache[A any](limit int) *MetaCache[A] {
	m := &MetaCache[A]{shards: make([]metaShard[A], metaShards)}
	for i := range m.shards {
		m.shards[i].limit = max(limit/metaShards, 1)
		m.shards[i].entries = make(map[nameKey]stampedEntry)
		m.shards[i].attrs = make(map[uint64]stampedAttr[A])
	}
	return m
}

func (m *MetaCache[A]) shard(hash uint64) *metaShard[A] { return &m.shards[hash%metaShards] }

func (m *MetaCache[A]) stamp(parent, hash uint64) Stamp {
	return Stamp{entry: m.entries.of(hash), group: m.dirs.of(hashIno(parent))}
}

// EntryStamp is to be taken before a name is looked up at its owner.
func (m *MetaCache[A]) EntryStamp(parent uint64, name string) Stamp {
	if m == nil {
		return Stamp{}
	}
	return m.stamp(parent, hashName(parent, name))
}

// Entry is what is known of a name.
func (m *MetaCache[A]) Entry(parent uint64, name string, validity uint64) (Dentry, bool) {
	if m == nil {
		return Dentry{}, false
	}
	hash := hashName(parent, name)
	now := m.stamp(parent, hash)
	s, key := m.shard(hash), nameKey{parent, name}
	s.mu.Lock()
	defer s.mu.Unlock()
	found, ok := s.entries[key]
	if ok && (found.stamp != now || found.Validity != validity) {
		delete(s.entries, key)
		ok = false
	}
	if !ok {
		return Dentry{}, false
	}
	return found.Dentry, true
}

// PutEntry remembers what a lookup that began at the stamp brought. false: the name was invalidated since, or something newer is known.
func (m *MetaCache[A]) PutEntry(parent uint64, name string, d Dentry, began Stamp) bool {
	if m == nil {
		return false
	}
	hash := hashName(parent, name)
	s, key := m.shard(hash), nameKey{parent, name}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := m.stamp(parent, hash)
	if began != now {
		return false
	}
	old, ok := s.entries[key]
	if ok && old.stamp == now && old.Validity == d.Validity && old.Version > d.Version {
		return false
	}
	if !ok {
		makeRoom(s.entries, s.limit)
	}
	s.entries[key] = stampedEntry{d, began}
	return true
}

// InvalidateEntry forgets a name; call it when a change of it has been acknowledged.
func (m *MetaCache[A]) InvalidateEntry(parent uint64, name string) {
	if m != nil {
		m.entries.advance(hashName(parent, name))
	}
}

// InvalidateDir forgets all names in a directory.
func (m *MetaCache[A]) InvalidateDir(parent uint64) {
	if m != nil {
		m.dirs.advance(hashIno(parent))
	}
}

// AttrStamp is to be taken before attributes are asked for at their owner.
func (m *MetaCache[A]) AttrStamp(ino uint64) Stamp {
	if m == nil {
		return Stamp{}
	}
	return Stamp{entry: m.attrs.of(hashIno(ino))}
}

// Attr is what is known of an inode, and at which version.
func (m *MetaCache[A]) Attr(ino, validity uint64) (attr A, version uint64, ok bool) {
	if m == nil {
		return attr, 0, false
	}
	hash := hashIno(ino)
	now := m.attrs.of(hash)
	s := m.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	found, ok := s.attrs[ino]
	if ok && (found.epoch != now || found.validity != validity) {
		delete(s.attrs, ino)
		ok = false
	}
	if !ok {
		return attr, 0, false
	}
	return found.attr, found.version, true
}

// PutAttr remembers attributes that a request begun at the stamp brought. false: the inode was invalidated since, or a newer version is
// known: answers may overtake each other.
func (m *MetaCache[A]) PutAttr(ino uint64, attr A, version, validity uint64, began Stamp) bool {
	if m == nil {
		return false
	}
	hash := hashIno(ino)
	s := m.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := m.attrs.of(hash)
	if began.entry != now {
		return false
	}
	old, ok := s.attrs[ino]
	if ok && old.epoch == now && old.validity == validity && old.version > version {
		return false
	}
	if !ok {
		makeRoom(s.attrs, s.limit)
	}
	s.attrs[ino] = stampedAttr[A]{attr, version, validity, now}
	return true
}

// InvalidateAttr forgets an inode's attributes; call it when a change of them has been acknowledged.
func (m *MetaCache[A]) InvalidateAttr(ino uint64) {
	if m != nil {
		m.attrs.advance(hashIno(ino))
	}
}

// Clear forgets everything, also what is being fetched now.
func (m *MetaCache[A]) Clear() {
	if m == nil {
		return
	}
	m.entries.advanceAll()
	m.dirs.advanceAll()
	m.attrs.advanceAll()
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		clear(s.entries)
		clear(s.attrs)
		s.mu.Unlock()
	}
}

// Len is how many names and attributes are held, good or not.
func (m *MetaCache[A]) Len() (names, attrs int) {
	if m == nil {
		return 0, 0
	}
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		names += len(s.entries)
		attrs += len(s.attrs)
		s.mu.Unlock()
	}
	return names, attrs
}

// makeRoom drops entries, whichever come first, until one more fits.
func makeRoom[K comparable, V any](m map[K]V, limit int) {
	for k := range m {
		if len(m) < limit {
			return
		}
		delete(m, k)
	}
}
