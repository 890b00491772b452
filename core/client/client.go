// Package client is what an application does with BenchFS: paths, open files, reading and writing, directory streams.
//
// A [Client] turns each call into messages to shards (rpc/messages.go is the protocol) and runs them to their end on the
// caller's thread with rpc.Pool.Exchange: no goroutine hop, and on the read and write path no allocation.
//
// # Where things are
//
//   - op.go: one call in progress: its deadline, its worker, its messages. Every public method begins and ends one.
//   - path.go, walk.go, perm.go: from a path to a directory entry and what the caller may do with it.
//   - open.go, file.go, inodes.go: open files, and what is known of their inodes.
//   - plan.go, read.go, write.go, local.go: byte ranges to chunk pieces to messages, and what their answers mean.
//   - reach.go, direct.go: data of shards on this machine, moved without them.
//   - names.go, rename.go, attr.go, dir.go: the rest of the name space.
//   - lock.go, lockwait.go: advisory locks.
//   - space.go: statfs, allocation, layouts, locate. stats.go: counters. reopen.go: a shard that came back. cached.go, dircache.go: Options.CacheMode.
//
// # Threads and locks
//
// All methods may be called from several threads. No lock is held while a message is under way, with one exception: a file's
// position (File.posMu) is held for the whole of a Read, Write or Seek, as POSIX wants sequential calls to be atomic
// in their offset. Below it, in this order: table.mu, openInode.mu; and, held with nothing else, lane.mu, heldLocks.mu and Dir.mu.
//
// # What is kept of other processes' state
//
// Nothing whose staleness another process could see: attributes and entries are asked for each time. Of an open file the
// truncate generation, the size, the layout and the placement runs are remembered. All of them are safe when old: within one
// generation a size only grows and a run never changes, and an owner refuses a request with an older generation.
package client

import (
	"context"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pkg/errors"

	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/internal/inode"
	"github.com/benchfs/benchfs/rpc"
	"github.com/benchfs/benchfs/shm"
)

// Defaults of Options.
const (
	DefaultCallTimeout = 30 * time.Second
	DefaultMaxParallel = 64
)

// At is the directory that a relative path starts from; 0 means the root.
type At = inode.Ino

// Options says what a Client works with. Pools and Map are required.
type Options struct {
	Pools       []*rpc.Pool // one a client worker; Close ends their connections, the transports stay the caller's
	Map         *layout.Map
	Node        int  // id of the node that this process runs on, for the layout strategy "local"; −1: none
	Distributed bool // what Client.Distributed answers
	UID, GID    uint32
	Groups      []uint32 // supplementary groups
	Umask       uint32
	CallTimeout time.Duration // the longest that one call takes; 0: DefaultCallTimeout
	MaxParallel int           // messages in flight per call; 0: DefaultMaxParallel
	// CacheMode: "off" (or "") keeps no file data. "close-to-open" keeps what was read and checks it against the file's
	// version at open only: until it opens the file again, a process may not see what others write.
	CacheMode       string
	ChunkCacheBytes int64
	// EntryTimeout is for how long "close-to-open" keeps the directories on the way to a file, which others may rename or remove
	// meanwhile; 0: not at all.
	EntryTimeout time.Duration
	ClientID     uint64 // the Identity.Client of the pools
	// Shortcut says which data of this machine's shards this process moves itself: one of the Shortcut modes; "" is off. It needs HostID and Memory.
	Shortcut string
	// Memory gives access to the memory of a shard of this machine, by ctx's deadline; the Client closes it. nil: there is none.
	Memory func(ctx context.Context, shard uint32) (*shm.Memory, error)
	HostID string
	Layout layout.Layout // of this client's new files whose directory says nothing; Strategy None, ChunkBits 0: the server's default of it
	// Prefix is the absolute path under which programs see the root, without a slash at its end; "": none. It decides what absolute
	// symbolic links mean: under it they start at the root, elsewhere they lead out of the file system (EREMOTE). Without a Prefix all
	// start at the root.
	Prefix string
	// Refresh gives the cluster map that holds now. It is asked when a server refuses ours, so that later calls know better;
	// the call that was refused fails. May be nil.
	Refresh func(ctx context.Context) (*layout.Map, error)
}

// Client is one process's view of a file system. Make it with New, end it with Close.
type Client struct {
	o        Options
	cluster  atomic.Pointer[layout.Map]
	lanes    []*lane
	turn     atomic.Uint32 // which lane takes the next call when all are busy
	umask    atomic.Uint32
	inodes   table
	counts   counters
	cache    *dataCache // nil when CacheMode is off
	dirs     *dirCache  // likewise
	shortcut *shortcut  // nil when Shortcut is off
	lookups  lookups
	async    async
	releases releases
	locks    heldLocks
	closed   atomic.Bool

	sessions sessions // reopen.go
}

// lane is one client worker: a pool of connections, and what its calls reuse.
type lane struct {
	pool      *rpc.Pool
	transport rpc.Transport
	inUse     atomic.Int32 // calls of the application in progress

	mu      sync.Mutex
	free    *op
	scratch [][]byte // payload memory of metadata calls, scratchBytes each
}

// The numbers of operations and handles come from these, so that no two Clients of a process ever use one twice:
// a server remembers them by (client, number), and several Clients may share the pools' identity one after the other.
var (
	lastOp     atomic.Uint64
	lastHandle atomic.Uint64
)

// New makes a Client. It sends nothing: a server that is not there is noticed by the first call. EINVAL for options that make no
// sense; a client without pools is refused and never becomes a local one.
func New(o Options) (*Client, error) {
	switch {
	case len(o.Pools) == 0:
		return nil, fserr.New("init", "", syscall.EINVAL, errors.New("no connection pool"))
	case o.Map == nil:
		return nil, fserr.New("init", "", syscall.EINVAL, errors.New("no cluster map"))
	case o.MaxParallel < 0 || o.CallTimeout < 0:
		return nil, fserr.New("init", "", syscall.EINVAL, errors.New("negative limit"))
	}
	if err := o.Map.Validate(); err != nil {
		return nil, fserr.New("init", "", syscall.EINVAL, err)
	}
	if o.CallTimeout == 0 {
		o.CallTimeout = DefaultCallTimeout
	}
	if o.MaxParallel == 0 {
		o.MaxParallel = DefaultMaxParallel
	}
	c := &Client{o: o}
	c.async.most = max(2, len(o.Pools))
	c.async.wake.L = &c.async.mu
	c.cluster.Store(o.Map)
	c.umask.Store(o.Umask & 0o777)
	c.inodes.open = map[inode.Ino]*openInode{}
	c.releases.open, c.releases.close = context.WithCancel(context.Background())
	c.locks.held = map[lockID]*heldLock{}
	c.sessions.connected = map[connKey]struct{}{}
	c.sessions.incarnation = map[uint32]uint64{}
	for _, p := range o.Pools {
		c.lanes = append(c.lanes, &lane{pool: p, transport: p.Transport()})
	}
	switch o.Shortcut {
	case "", ShortcutOff, ShortcutRead, ShortcutReadWrite:
		c.shortcut = newShortcut(&c.o)
	default:
		return nil, fserr.New("init", "", syscall.EINVAL, errors.Errorf("unknown shortcut mode %q", o.Shortcut))
	}
	switch o.CacheMode {
	case "", "off":
	case "close-to-open":
		cache, err := newDataCache(o.ChunkCacheBytes)
		if err != nil {
			return nil, err
		}
		c.cache = cache
		c.dirs = newDirCache(o.EntryTimeout)
	default:
		return nil, fserr.New("init", "", syscall.EINVAL, errors.Errorf("unknown cache mode %q", o.CacheMode))
	}
	return c, nil
}

// Distributed tells whether the file system is served by daemons, as configured.
func (c *Client) Distributed() bool { return c.o.Distributed }

// OpenFiles is the number of open files and directory streams.
func (c *Client) OpenFiles() int { return c.inodes.count() }

// SetUmask changes the file mode creation mask and returns the one before.
func (c *Client) SetUmask(mask uint32) (old uint32) { return c.umask.Swap(mask & 0o777) }

// Map is the cluster map in use.
func (c *Client) Map() *layout.Map { return c.cluster.Load() }

// Alloc returns memory that may be passed to reads and writes whatever the transport: Go callers must not pass the Go heap where
// the transport hands it to a device. It must be given back with Free.
func (c *Client) Alloc(n int) ([]byte, error) {
	if n < 0 {
		return nil, fserr.New("alloc", "", syscall.EINVAL, nil)
	}
	memory, err := c.lanes[0].transport.Alloc(n)
	if err != nil {
		return nil, fserr.New("alloc", "", fserr.Errno(err), err)
	}
	return memory, nil
}

// Free gives back what Alloc returned.
func (c *Client) Free(memory []byte) { c.lanes[0].transport.Free(memory) }

// Close closes the files that are still open and reports how many there were. The pools stay open. No other call may be
// in progress.
func (c *Client) Close(ctx context.Context) (stillOpen int, err error) {
	if c.closed.Swap(true) {
		return 0, nil
	}
	c.async.close()
	for _, f := range c.inodes.list() {
		f.refs.Store(1)
		stillOpen++
		if closeErr := f.Close(ctx); closeErr != nil && err == nil {
			err = closeErr
		}
	}
	c.endReleases(ctx)
	c.endLocks(ctx)
	if c.cache != nil {
		if closeErr := c.cache.close(); closeErr != nil && err == nil {
			err = closeErr
		}
	}
	if c.shortcut != nil {
		if closeErr := c.shortcut.close(); closeErr != nil && err == nil {
			err = closeErr
		}
	}
	for _, l := range c.lanes {
		l.drain()
	}
	for _, p := range c.o.Pools { // the shards are told Bye, and forget the client
		if closeErr := p.CloseAll(); closeErr != nil && err == nil {
			err = closeErr
		}
	}
	return stillOpen, err
}

// shards is the number of shards in the cluster.
func (c *Client) shards() uint32 { return c.cluster.Load().Shards() }

// peer is where a shard is to be asked.
func (c *Client) peer(shard uint32) rpc.PeerID {
	return rpc.PeerID{Node: c.cluster.Load().PeerOf(shard), Shard: shard}
}

// entryShard is the shard that holds the entry (dir, name).
func (c *Client) entryShard(dir inode.Ino, name string) uint32 {
	return layout.EntryShard(uint64(dir), bytesOf(name), c.shards())
}

// take chooses the worker for one call: the first that is idle, or each in turn when all are busy. A single thread stays
// with the first one, T threads spread over T workers.
func (c *Client) take() *lane {
	for _, l := range c.lanes {
		if l.inUse.Load() == 0 && l.inUse.CompareAndSwap(0, 1) {
			return l
		}
	}
	l := c.lanes[c.turn.Add(1)%uint32(len(c.lanes))]
	l.inUse.Add(1)
	return l
}
