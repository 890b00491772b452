package client

import (
	"sync/atomic"
	"time"

	"github.com/benchfs/benchfs/cache"
	"github.com/benchfs/benchfs/internal/inode"
	"github.com/benchfs/benchfs/rpc"
)

// dirCache remembers the directories on the way to a file (Options.CacheMode "close-to-open"), so that a long path to another machine takes one
// message and not one for each component. What another process does to such a directory (rename, removal, mode) may go unnoticed
// for Options.EntryTimeout; what this process does shows at once. The last component of a path is always asked for, and when a call that used this
// memory fails as a wrong directory would make it fail, it is made again without: no error is due to what was remembered.
//
// All methods work on nil: a client without such a memory.
type dirCache struct {
	meta    *cache.MetaCache[inode.Attr]
	timeout time.Duration
	start   time.Time
	changes atomic.Uint64 // of attributes, by this process
}

// maxDirs bounds how many directories are remembered.
const maxDirs = 16 << 10

func newDirCache(timeout time.Duration) *dirCache {
	if timeout <= 0 {
		return nil
	}
	return &dirCache{meta: cache.NewMetaCache[inode.Attr](maxDirs), timeout: timeout, start: time.Now()}
}

// validity is the number of the period that it is now: what was learned in another one is forgotten, hence at most timeout old.
func (d *dirCache) validity() uint64 { return 1 + uint64(time.Since(d.start)/d.timeout) }

// dirStamps is when a look-up began.
type dirStamps struct {
	entry             cache.Stamp
	validity, changes uint64
}

func (d *dirCache) begin(parent inode.Ino, name string) (s dirStamps) {
	if d == nil {
		return s
	}
	return dirStamps{entry: d.meta.EntryStamp(uint64(parent), name), validity: d.validity(), changes: d.changes.Load()}
}

// find tells which directory a name stands for, if it is known to be one.
func (d *dirCache) find(parent inode.Ino, name string) (dir dirRef, ok bool) {
	if d == nil {
		return dir, false
	}
	now := d.validity()
	e, ok := d.meta.Entry(uint64(parent), name, now)
	if !ok {
		return dir, false
	}
	dir.ino = inode.Ino(e.Ino)
	dir.attr, _, dir.full = d.meta.Attr(e.Ino, now)
	return dir, true
}

// learn remembers what a look-up that began at s brought, if that is a directory. Its attributes count only if this process has changed none
// meanwhile: whose they would be was not known at s.
func (d *dirCache) learn(s dirStamps, parent inode.Ino, name string, e *rpc.EntryReply) {
	if d == nil || e.Kind != inode.Dir {
		return
	}
	ino := uint64(e.Ino)
	d.meta.PutEntry(uint64(parent), name, cache.Dentry{Ino: ino, Kind: uint8(e.Kind), Validity: s.validity}, s.entry)
	if stamp := d.meta.AttrStamp(ino); e.HasAttr && d.changes.Load() == s.changes {
		d.meta.PutAttr(ino, e.Attr, 0, s.validity, stamp)
	}
}

// renamed is called when a change of a name has ended, well or not.
func (d *dirCache) renamed(parent inode.Ino, name string) {
	if d != nil {
		d.meta.InvalidateEntry(uint64(parent), name)
	}
}

// changed is called when a change of an inode's attributes has ended, well or not.
func (d *dirCache) changed(ino inode.Ino) {
	if d != nil {
		d.changes.Add(1)
		d.meta.InvalidateAttr(uint64(ino))
	}
}
