package client

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/internal/chain"
	"github.com/benchfs/benchfs/internal/inode"
	"github.com/benchfs/benchfs/rpc"
)

// table holds the open files of a Client and what they share: one openInode for all files on the same inode.
type table struct {
	mu    sync.Mutex
	open  map[inode.Ino]*openInode
	files chain.List[File]
}

// openInode is what this process knows of an inode that it has open.
type openInode struct {
	ino  inode.Ino
	kind inode.Kind
	refs int // open files; guarded by table.mu

	// mtime is the time of the last overwrite that the inode's shard has not been told of: nanoseconds, 0 = none. Writes inside the
	// known size do not contact that shard; fsync, close and this process's own stat do.
	mtime atomic.Int64
	// opened is the version that the newest open saw: what the data cache may serve.
	opened atomic.Uint64

	// locked: this process may have locks of its own on ranges of the file, which go when it closes any handle of it.
	locked atomic.Bool

	mu sync.Mutex
	k  known

	bounds bounds // what of k the reads and writes without messages need
	grants grants // places of chunks on this machine
}

// known is what a read or write needs to know of a file. It may be old; see the package comment for why that is safe.
type known struct {
	gen     uint32 // truncate generation that all the rest belongs to
	version uint64 // of the newest attributes seen
	mtime   int64  // in those
	size    uint64 // the file is at least this long as long as gen holds
	layout  layout.Layout
	// runs are the placement runs (strategy Local) as of runsVersion. The slice is never changed, only replaced.
	runs        []layout.Run
	runsVersion uint32
	runsLost    bool // runs must be asked for whatever their version
}

// owner is the shard that holds a chunk; false for a Local chunk that no known run covers.
func (k *known) owner(ino inode.Ino, chunk uint64) (uint32, bool) {
	return layout.ChunkNode(k.layout, uint64(ino), chunk, k.runs)
}

// snapshot is a copy of what is known now.
func (in *openInode) snapshot() known {
	in.mu.Lock()
	k := in.k
	in.mu.Unlock()
	return k
}

// learn takes in attributes that the inode's shard has sent. Answers may come out of order.
func (in *openInode) learn(a *inode.Attr) {
	in.mu.Lock()
	defer in.mu.Unlock()
	k := &in.k
	newer := int32(a.TruncGen - k.gen)
	switch {
	case newer < 0:
		return
	case newer > 0:
		k.gen, k.size = a.TruncGen, a.Size
		k.runs, k.runsVersion, k.runsLost = nil, 0, true
	default:
		k.size = max(k.size, a.Size)
	}
	if a.Version >= k.version {
		k.version = a.Version
		k.layout, k.mtime = a.Layout, a.Mtime
	}
	in.bounds.follow(k)
}

// learnRuns takes in placement runs that were asked for when gen and version were the inode's.
func (in *openInode) learnRuns(gen, version uint32, runs []layout.Run) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.k.gen == gen && (in.k.runsLost || int32(version-in.k.runsVersion) >= 0) {
		in.k.runs, in.k.runsVersion, in.k.runsLost = runs, version, false
	}
}

// addRuns adds runs that are known to hold in generation gen.
func (in *openInode) addRuns(gen uint32, runs []layout.Run) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.k.gen != gen {
		return
	}
	merged := append([]layout.Run(nil), in.k.runs...)
	for _, run := range runs {
		merged = layout.InsertRun(merged, run)
	}
	in.k.runs = merged
}

// overwritten remembers that the file was changed at the given time without its shard being told.
func (in *openInode) overwritten(at int64) {
	for {
		old := in.mtime.Load()
		if at <= old || in.mtime.CompareAndSwap(old, at) {
			return
		}
	}
}

// takeMtime returns the time of the last overwrite that has not been told, and 0 from then on. It is later than the last time known,
// whatever this host's clock says: a version of the file in which data differs must differ.
func (in *openInode) takeMtime() int64 {
	mtime := in.mtime.Swap(0)
	if mtime == 0 {
		return 0
	}
	return max(mtime, in.snapshot().mtime+1)
}

// refresh finds out how things are now, and for the placement runs if they have changed.
func (o *op) refresh(in *openInode) (inode.Attr, error) {
	attr, err := o.attrOfInode(in.ino)
	if err != nil {
		return attr, err
	}
	in.learn(&attr)
	return attr, o.refreshRuns(in, &attr)
}

// refreshRuns asks for the placement runs if those known are not of attr's version. attr is older than the answer: the
// runs may be newer than their recorded version, never older.
func (o *op) refreshRuns(in *openInode, attr *inode.Attr) error {
	if attr.Kind != inode.File || attr.Layout.Strategy != layout.Local {
		return nil
	}
	k := in.snapshot()
	if !k.runsLost && k.runsVersion == attr.RunsVersion {
		return nil
	}
	memory, err := o.payload()
	if err != nil {
		return err
	}
	o.reset()
	m := rpc.InodeRequest{Ino: in.ino}
	call := o.call(rpc.MsgGetRuns, in.ino.Shard())
	call.Body = m.AppendTo(call.Body)
	call.In = memory
	if o.exchange(); call.Err != nil {
		return o.gone(call)
	}
	runs, err := o.runsOf(call, memory)
	if err != nil {
		return err
	}
	in.learnRuns(attr.TruncGen, attr.RunsVersion, runs)
	return nil
}

// runsOf reads the runs that a call has received into memory.
func (o *op) runsOf(call *rpc.Call, memory []byte) ([]layout.Run, error) {
	runs, err := rpc.DecodeRuns(memory[:call.Received])
	if err != nil || layout.ValidateRuns(runs, o.c.shards()) != nil {
		return nil, o.broken(call, "placement runs make no sense")
	}
	return runs, nil
}

// attach registers an open file and gives it what its inode shares. attr is fresh.
func (t *table) attach(f *File, attr *inode.Attr) {
	t.mu.Lock()
	in := t.open[attr.Ino]
	if in == nil {
		in = &openInode{ino: attr.Ino, kind: attr.Kind}
		in.k.gen, in.k.runsLost = attr.TruncGen, attr.RunsVersion != 0
		t.open[attr.Ino] = in
	}
	in.opened.Store(max(in.opened.Load(), attr.Version))
	in.refs++
	f.in = in
	t.files.Add(&f.listed, f)
	t.mu.Unlock()
	in.learn(attr)
}

func (t *table) detach(f *File) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.files.Remove(&f.listed)
	if f.in.refs--; f.in.refs == 0 {
		delete(t.open, f.in.ino)
	}
}

// find returns what is known of an inode, or nil if it is not open here.
func (t *table) find(ino inode.Ino) *openInode {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.open[ino]
}

// maybeDir is false for an inode that is known not to be a directory.
func (t *table) maybeDir(ino inode.Ino) bool {
	in := t.find(ino)
	return in == nil || in.kind == inode.Dir
}

// has reports whether the file is still open.
func (t *table) has(f *File) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return f.listed.In()
}

func (t *table) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.files.Len()
}

// list is the open files now.
func (t *table) list() []*File {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.AppendSeq(make([]*File, 0, t.files.Len()), t.files.All())
}

// inodesOpen is the open inodes now.
func (t *table) inodesOpen() []*openInode {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]*openInode, 0, len(t.open))
	for _, in := range t.open {
		list = append(list, in)
	}
	return list
}
