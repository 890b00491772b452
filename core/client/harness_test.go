package client_test

import (
	"context"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/benchfs/benchfs/core/client"
	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/core/server"
	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/meta"
	"github.com/benchfs/benchfs/rpc"
	"github.com/benchfs/benchfs/rpc/inproc"
	"github.com/benchfs/benchfs/store"
	"github.com/benchfs/benchfs/store/memory"
)

// cluster is a file system in this process: nodes of one shard each. Its shards can be killed and started again.
type cluster struct {
	t       testing.TB
	dir     string // "" = the names are kept in memory
	network *inproc.Network
	m       *layout.Map
	layout  layout.Layout
	shards  []*shard
	attempt time.Duration // of the clients' calls
}

type shard struct {
	mu          sync.Mutex // guards incarnation
	incarnation uint64
	server      *server.Shard
	loop        rpc.Loop
	ticking     chan struct{} // closed to end its clock
	ticked      chan struct{} // closed when that has ended
	meta        *meta.Shard
	store       store.Store
}

const (
	secret    = "for these tests"
	chunkBits = layout.MinChunkBits
	chunk     = 1 << chunkBits
)

var lastClient atomic.Uint64

var ctx = context.Background()

func newCluster(t testing.TB, shards int, strategy layout.Strategy, durable bool) *cluster {
	t.Helper()
	c := &cluster{t: t, network: inproc.NewNetwork(), m: &layout.Map{Epoch: 7}, attempt: 300 * time.Millisecond}
	c.layout = layout.Layout{Strategy: strategy, ChunkBits: chunkBits, Shards: uint32(shards), Epoch: 7}
	if durable {
		c.dir = t.TempDir()
	}
	for i := range uint32(shards) {
		c.m.Nodes = append(c.m.Nodes, layout.Node{ID: i, Name: "node_" + strconv.Itoa(int(i)), FirstShard: i, Shards: 1})
	}
	for i := range shards {
		mem, err := memory.New(memory.Options{CapacityBytes: 256 << 20})
		if err != nil {
			t.Fatal(err)
		}
		c.shards = append(c.shards, &shard{store: mem})
		c.start(i)
	}
	t.Cleanup(func() {
		for i, s := range c.shards {
			if s.server != nil {
				c.kill(i)
			}
			if err := s.store.Close(); err != nil {
				t.Errorf("store of shard %d: %v", i, err)
			}
		}
	})
	return c
}

func (c *cluster) peer(i int) rpc.PeerID { return rpc.PeerID{Node: uint32(i), Shard: uint32(i)} }

func (c *cluster) resolve(_ context.Context, peer rpc.PeerID, _ bool) (rpc.Target, error) {
	s := c.shards[peer.Shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	return rpc.Target{Peer: peer, Incarnation: s.incarnation, SameHost: true}, nil
}

func (c *cluster) start(i int) {
	c.t.Helper()
	dir := ""
	if c.dir != "" {
		dir = filepath.Join(c.dir, strconv.Itoa(i))
		if err := syscall.Mkdir(dir, 0o700); err != nil && err != syscall.EEXIST {
			c.t.Fatal(err)
		}
	}
	m, err := meta.Open(meta.Options{WaitForClients: true, Shard: uint32(i), Shards: uint32(len(c.m.Nodes)), Dir: dir, RootMode: 0o755, Layout: c.layout})
	if err != nil {
		c.t.Fatal(err)
	}
	s := c.shards[i]
	s.mu.Lock()
	s.incarnation++
	s.mu.Unlock()
	s.meta = m
	s.server = server.New(server.Options{
		Peer: c.peer(i), Map: c.m, Incarnation: s.incarnation, Secret: secret, UID: uint32(syscall.Getuid()),
		ChunkBits: chunkBits, Meta: m, Store: s.store, Peers: c.pool(1<<40+uint64(i), nil), Grace: time.Hour,
	})
	s.loop = c.network.Attach(c.peer(i), s.server)
	s.server.Start(s.loop)
	s.ticking, s.ticked = make(chan struct{}), make(chan struct{})
	go tick(s.server, s.loop, s.ticking, s.ticked)
}

// tick does what a daemon's clock does, fifty times as fast.
func tick(s *server.Shard, loop rpc.Loop, stop, done chan struct{}) {
	defer close(done)
	clock := time.NewTicker(20 * time.Millisecond)
	defer clock.Stop()
	for {
		select {
		case <-stop:
			return
		case now := <-clock.C:
			loop.Submit(func() { s.Tick(now) })
		}
	}
}

// kill ends a shard as far as others can tell.
func (c *cluster) kill(i int) {
	s := c.shards[i]
	close(s.ticking)
	<-s.ticked
	s.server.Stop() // its loop must still run then
	c.network.Detach(c.peer(i))
	if err := s.meta.Close(); err != nil {
		c.t.Errorf("names of shard %d: %v", i, err)
	}
	s.server = nil
}

func (c *cluster) pool(id uint64, onConnect func(context.Context, *rpc.Conn) error) *rpc.Pool {
	return rpc.NewPool(c.network.Transport(), rpc.PoolOptions{
		Identity:       rpc.Identity{Client: id, UID: uint32(syscall.Getuid()), Secret: secret, Epoch: c.m.Epoch},
		Resolve:        c.resolve,
		ConnectTimeout: time.Second,
		Policy:         rpc.Policy{Attempts: 1000, PerAttempt: c.attempt, BackoffBase: time.Millisecond, BackoffMax: 10 * time.Millisecond},
		OnConnect:      onConnect,
	})
}

// client makes a client with two workers; change may set more options.
func (c *cluster) client(change func(*client.Options)) *client.Client {
	c.t.Helper()
	id := lastClient.Add(1)
	var made atomic.Pointer[client.Client]
	onConnect := func(ctx context.Context, conn *rpc.Conn) error {
		if cl := made.Load(); cl != nil {
			return cl.ReopenHandles(ctx, conn)
		}
		return nil
	}
	o := client.Options{
		Pools: []*rpc.Pool{c.pool(id, onConnect), c.pool(id, onConnect)}, Map: c.m, Node: -1, Distributed: true,
		Umask: 0o022, CallTimeout: 20 * time.Second, ClientID: id,
	}
	if change != nil {
		change(&o)
	}
	cl, err := client.New(o)
	if err != nil {
		c.t.Fatal(err)
	}
	made.Store(cl)
	c.t.Cleanup(func() {
		for _, p := range o.Pools {
			_ = p.CloseAll() // the shards may be gone by now
		}
	})
	return cl
}

// user is a client that is not root.
func (c *cluster) user(uid, gid uint32, groups ...uint32) *client.Client {
	return c.client(func(o *client.Options) { o.UID, o.GID, o.Groups = uid, gid, groups })
}

// check fails the test unless err has the errno (0: is nil).
func check(t testing.TB, what string, err error, want syscall.Errno) {
	t.Helper()
	if got := fserr.Errno(err); got != want {
		t.Fatalf("%s: %v (%d), want %v", what, err, int(got), want)
	}
}

func ok(t testing.TB, what string, err error) {
	t.Helper()
	check(t, what, err, 0)
}

func open(t testing.TB, c *client.Client, path string, flags int) *client.File {
	t.Helper()
	f, err := c.Open(ctx, 0, path, flags, 0o666)
	ok(t, "open "+path, err)
	return f
}

func create(t testing.TB, c *client.Client, path string) {
	t.Helper()
	f := open(t, c, path, syscall.O_CREAT|syscall.O_EXCL|syscall.O_WRONLY)
	ok(t, "close", f.Close(ctx))
}

func put(t testing.TB, c *client.Client, path string, data []byte) {
	t.Helper()
	f := open(t, c, path, syscall.O_CREAT|syscall.O_WRONLY|syscall.O_TRUNC)
	writeAt(t, f, data, 0)
	ok(t, "close", f.Close(ctx))
}

func get(t testing.TB, c *client.Client, path string) []byte {
	t.Helper()
	f := open(t, c, path, syscall.O_RDONLY)
	defer func() { ok(t, "close", f.Close(ctx)) }()
	attr, err := f.Stat(ctx)
	ok(t, "fstat", err)
	return readAt(t, f, int(attr.Size)+100, 0)
}

func writeAt(t testing.TB, f *client.File, data []byte, off int64) {
	t.Helper()
	n, err := f.Pwrite(ctx, data, off)
	ok(t, "write", err)
	if n != len(data) {
		t.Fatalf("wrote %d of %d", n, len(data))
	}
}

func readAt(t testing.TB, f *client.File, n int, off int64) []byte {
	t.Helper()
	p := make([]byte, n)
	for i := range p {
		p[i] = 0xEE // a byte that nobody filled must not look like a hole
	}
	got, err := f.Pread(ctx, p, off)
	ok(t, "read", err)
	return p[:got]
}

func stat(t testing.TB, c *client.Client, path string) (a struct {
	Ino, Size uint64
	Mode      uint32
	Nlink     uint32
	UID, GID  uint32
	Mtime     int64
}) {
	t.Helper()
	attr, err := c.Stat(ctx, 0, path, false)
	ok(t, "stat "+path, err)
	a.Ino, a.Size, a.Mode, a.Nlink, a.UID, a.GID, a.Mtime = uint64(attr.Ino), attr.Size, attr.Mode, attr.Nlink, attr.UID, attr.GID, attr.Mtime
	return a
}

// pattern is n bytes that differ from place to place and from seed to seed.
func pattern(seed byte, n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i)*7 + byte(i>>8)*13 + seed | 1
	}
	return p
}
