package client

import (
	"strings"
	"sync"

	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/internal/inode"
	"github.com/benchfs/benchfs/internal/shm"
	"github.com/benchfs/benchfs/rpc"
)

// Names that were looked up or made, remembered. Only those are whose shard is on this machine: its memory tells, by the version of the name, whether
// one still stands for the same. The version is looked at before the shard is asked, so that a change in between shows.
//
// A path below remembered directories takes no more messages than its last component, and stat of a remembered file none.

const (
	// maxKnown bounds what is remembered, in all.
	maxKnown = 64 << 10
	// parts are locked each for itself.
	knownParts = 64
)

type nameKey struct {
	parent inode.Ino
	name   string
}

// version is that of a name at some moment.
type version struct {
	reach  *reach // of the shard that has the name; nil: it is elsewhere
	bucket uint32
	value  uint64
}

// knownName is what a name stands for.
type knownName struct {
	ino  inode.Ino
	kind inode.Kind
	v    version
}

// lookups is the memory of a Client.
type lookups [knownParts]struct {
	mu    sync.RWMutex
	names map[nameKey]knownName
	_     [32]byte
}

// versionOf looks at the version of a name.
func versionOf(r *reach, parent inode.Ino, name string) (v version) {
	if r == nil {
		return v
	}
	bucket := layout.EntryShard(uint64(parent), bytesOf(name), shm.NameBuckets)
	value, ok := r.view.NameVersion(bucket)
	if !ok {
		return v
	}
	return version{r, bucket, value}
}

// find tells what a name stands for, if that is known and still so, and its attributes if those are in reach.
func (l *lookups) find(c *Client, parent inode.Ino, name string) (reply rpc.EntryReply, ok bool) {
	if c.shortcut == nil {
		return reply, false
	}
	part := &l[layout.EntryShard(uint64(parent), bytesOf(name), knownParts)]
	key := nameKey{parent, name}
	part.mu.RLock()
	k, known := part.names[key]
	part.mu.RUnlock()
	if !known {
		return reply, false
	}
	value, valid := k.v.reach.view.NameVersion(k.v.bucket)
	if !valid || value != k.v.value {
		part.mu.Lock()
		delete(part.names, key)
		part.mu.Unlock()
		return reply, false
	}
	reply.Ino, reply.Kind = k.ino, k.kind
	reply.Attr, reply.HasAttr = c.attrNow(k.ino)
	return reply, true
}

// learn remembers what a name stands for since v. name is the caller's memory.
func (l *lookups) learn(v version, parent inode.Ino, name string, ino inode.Ino, kind inode.Kind) {
	if v.reach == nil {
		return
	}
	part := &l[layout.EntryShard(uint64(parent), bytesOf(name), knownParts)]
	part.mu.Lock()
	defer part.mu.Unlock()
	if len(part.names) >= maxKnown/knownParts { // some must go: any
		left := maxKnown / knownParts / 8
		for key := range part.names {
			delete(part.names, key)
			if left--; left == 0 {
				break
			}
		}
	}
	if part.names == nil {
		part.names = map[nameKey]knownName{}
	}
	part.names[nameKey{parent, strings.Clone(name)}] = knownName{ino, kind, v}
}
