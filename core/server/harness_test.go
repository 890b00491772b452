package server_test

import (
	"context"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/core/server"
	"github.com/benchfs/benchfs/internal/inode"
	"github.com/benchfs/benchfs/meta"
	"github.com/benchfs/benchfs/rpc"
	"github.com/benchfs/benchfs/rpc/inproc"
	"github.com/benchfs/benchfs/shm"
	"github.com/benchfs/benchfs/store"
	"github.com/benchfs/benchfs/store/arena"
	"github.com/benchfs/benchfs/store/memory"
)

// cluster is a set of shards in this process, each a node of its own, with logs on disk so that they can be restarted.
type cluster struct {
	t       *testing.T
	dir     string
	network *inproc.Network
	m       *layout.Map
	shards  []*shardUnderTest
	ops     uint64
}

type shardUnderTest struct {
	shard       *server.Shard
	loop        rpc.Loop
	meta        *meta.Shard
	store       store.Store
	incarnation uint64
	board       *shm.Board // nil: clients do not reach in
	witness     *witness   // nil: nobody looks at what the board shows
}

const testSecret = "only for this test"

func newCluster(t *testing.T, shards int) *cluster {
	t.Helper()
	c := &cluster{t: t, dir: t.TempDir(), network: inproc.NewNetwork(), m: &layout.Map{Epoch: 1}}
	for i := range uint32(shards) {
		c.m.Nodes = append(c.m.Nodes, layout.Node{ID: i, FirstShard: i, Shards: 1})
	}
	c.shards = make([]*shardUnderTest, shards)
	for i := range c.shards {
		mem, err := memory.New(memory.Options{CapacityBytes: 64 << 20})
		if err != nil {
			t.Fatal(err)
		}
		c.shards[i] = &shardUnderTest{store: mem}
		c.start(i)
	}
	c.endWithTest()
	return c
}

// newSharedCluster is one shard whose store clients reach into.
func newSharedCluster(t *testing.T) *cluster {
	t.Helper()
	return newWatchedCluster(t, nil)
}

// newWatchedCluster is one with a witness, if that is not nil.
func newWatchedCluster(t *testing.T, w *witness) *cluster {
	t.Helper()
	c := &cluster{t: t, dir: t.TempDir(), network: inproc.NewNetwork(), m: &layout.Map{Epoch: 1}}
	c.m.Nodes = []layout.Node{{Shards: 1}}
	dir := t.TempDir()
	chunks, err := arena.Open(arena.Options{Dir: dir, Name: "test", CapacityBytes: 64 << 20, SegmentBytes: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	u := &shardUnderTest{store: chunks}
	if u.board, err = shm.Create(dir, 1); err != nil {
		t.Fatal(err)
	}
	if w != nil {
		w.Board, w.c, u.witness = u.board, c, w
	}
	c.shards = []*shardUnderTest{u}
	c.start(0)
	c.endWithTest()
	return c
}

func (c *cluster) endWithTest() {
	t := c.t
	t.Cleanup(func() {
		for i := range c.shards {
			if c.shards[i].shard != nil {
				c.kill(i)
			}
			if err := c.shards[i].store.Close(); err != nil {
				t.Errorf("store of shard %d: %v", i, err)
			}
			if b := c.shards[i].board; b != nil {
				if err := b.Close(); err != nil {
					t.Errorf("board of shard %d: %v", i, err)
				}
			}
		}
	})
}

func (c *cluster) peer(i int) rpc.PeerID { return rpc.PeerID{Node: uint32(i), Shard: uint32(i)} }

func (c *cluster) resolve(_ context.Context, peer rpc.PeerID, _ bool) (rpc.Target, error) {
	return rpc.Target{Peer: peer, SameHost: true}, nil
}

func (c *cluster) pool(client uint64) *rpc.Pool {
	return rpc.NewPool(c.network.Transport(), rpc.PoolOptions{
		Identity:       rpc.Identity{Client: client, UID: uint32(syscall.Getuid()), Secret: testSecret, Epoch: 1},
		Resolve:        c.resolve,
		ConnectTimeout: 5 * time.Second,
		Policy:         rpc.Policy{Attempts: 100, PerAttempt: 2 * time.Second, Overall: 20 * time.Second, BackoffBase: time.Millisecond, BackoffMax: 20 * time.Millisecond},
	})
}

// start opens the shard's log and attaches it to the network. The chunks stay in memory over a restart.
func (c *cluster) start(i int) {
	c.t.Helper()
	dir := filepath.Join(c.dir, strconv.Itoa(i))
	if err := syscall.Mkdir(dir, 0o700); err != nil && err != syscall.EEXIST {
		c.t.Fatal(err)
	}
	m, err := meta.Open(meta.Options{
		Shard: uint32(i), Shards: uint32(len(c.m.Nodes)), Dir: dir, RootMode: 0o755,
		Now:    func() int64 { return time.Now().UnixNano() },
		Layout: layout.Layout{Strategy: layout.RoundRobin, ChunkBits: layout.MinChunkBits, Shards: uint32(len(c.m.Nodes)), Epoch: 1},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	u := c.shards[i]
	u.incarnation++
	u.meta = m
	o := server.Options{
		Peer: c.peer(i), Map: c.m, Incarnation: u.incarnation, Secret: testSecret, UID: uint32(syscall.Getuid()),
		ChunkBits: layout.MinChunkBits, Meta: m, Store: u.store, Peers: c.pool(1000 + uint64(i)),
		Grace: time.Hour,
	}
	if u.board != nil {
		o.Board = u.board
		if u.witness != nil {
			o.Board = u.witness
		}
	}
	u.shard = server.New(o)
	u.loop = c.network.Attach(c.peer(i), u.shard)
	u.shard.Start(u.loop)
}

// kill ends a shard as far as the others can tell: its log is closed where it is.
func (c *cluster) kill(i int) {
	u := c.shards[i]
	u.shard.Stop() // before its loop ends: coordinators finish through it
	c.network.Detach(c.peer(i))
	if err := u.meta.Close(); err != nil {
		c.t.Errorf("names of shard %d: %v", i, err)
	}
	u.shard = nil
}

// tick runs every shard's Tick now.
func (c *cluster) tick() { c.tickAt(time.Now()) }

func (c *cluster) tickAt(now time.Time) {
	for _, u := range c.shards {
		if u.shard == nil {
			continue
		}
		done := make(chan struct{})
		u.loop.Submit(func() { u.shard.Tick(now); close(done) })
		<-done
	}
}

// eventually polls a condition until a deadline.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if holds() {
			return
		}
	}
	t.Fatalf("did not come about: %s", what)
}

// asker is a client that speaks messages.
type asker struct {
	c    *cluster
	pool *rpc.Pool
}

func (c *cluster) asker(client uint64) *asker { return &asker{c: c, pool: c.pool(client)} }

type message interface{ AppendTo(b []byte) []byte }

type answer interface{ Decode(b []byte) error }

// ask sends one message and decodes the reply into a (may be nil).
func (k *asker) ask(shard uint32, kind rpc.MsgType, op uint64, m message, out []byte, a answer) error {
	return k.askWithin(5*time.Second, shard, kind, op, m, out, a)
}

func (k *asker) askWithin(d time.Duration, shard uint32, kind rpc.MsgType, op uint64, m message, out []byte, a answer) error {
	call := k.pool.Transport().NewCall()
	defer k.pool.Transport().FreeCall(call)
	call.Reset()
	call.To = k.c.peer(int(shard))
	call.Header.Type, call.Header.Op = kind, op
	call.Out = out
	if m != nil {
		call.Body = m.AppendTo(call.Body[:0])
	}
	k.pool.Exchange(context.Background(), time.Now().Add(d), []*rpc.Call{call})
	if call.Err != nil {
		return call.Err
	}
	if a != nil {
		return a.Decode(call.Answer)
	}
	return nil
}

func (k *asker) nextOp() uint64 { k.c.ops++; return k.c.ops }

func (k *asker) shardOf(parent inode.Ino, name string) uint32 {
	return layout.EntryShard(uint64(parent), []byte(name), uint32(len(k.c.shards)))
}

func (k *asker) create(kind rpc.MsgType, parent inode.Ino, name string) (rpc.EntryReply, error) {
	var reply rpc.EntryReply
	m := rpc.Create{Parent: parent, Name: []byte(name), Mode: 0o755, Exclusive: true}
	err := k.ask(k.shardOf(parent, name), kind, k.nextOp(), &m, nil, &reply)
	return reply, err
}

func (k *asker) lookup(parent inode.Ino, name string) (rpc.EntryReply, error) {
	var reply rpc.EntryReply
	m := rpc.Lookup{Parent: parent, Name: []byte(name)}
	err := k.ask(k.shardOf(parent, name), rpc.MsgLookup, 0, &m, nil, &reply)
	return reply, err
}

func (k *asker) attr(ino inode.Ino) (inode.Attr, error) {
	var reply rpc.AttrReply
	m := rpc.InodeRequest{Ino: ino}
	err := k.ask(ino.Shard(), rpc.MsgGetAttr, 0, &m, nil, &reply)
	return reply.Attr, err
}

func (k *asker) remove(kind rpc.MsgType, parent inode.Ino, name string, ino inode.Ino) error {
	m := rpc.Delete{Parent: parent, Name: []byte(name), Ino: ino}
	return k.ask(k.shardOf(parent, name), kind, k.nextOp(), &m, nil, nil)
}

func (k *asker) rename(m *rpc.Rename) error {
	return k.ask(k.shardOf(m.NewParent, string(m.NewName)), rpc.MsgRename, k.nextOp(), m, nil, nil)
}

// nameOn finds a name whose entry in parent lives on the wanted shard.
func (k *asker) nameOn(shard uint32, parent inode.Ino, prefix string) string {
	for i := 0; ; i++ {
		if name := prefix + strconv.Itoa(i); k.shardOf(parent, name) == shard {
			return name
		}
	}
}

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatalf("%+v", err)
		}
		return v
	}
}
