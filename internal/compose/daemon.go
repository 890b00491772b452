package compose

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/pkg/errors"
	"go.uber.org/multierr"

	"github.com/benchfs/benchfs/config"
	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/core/server"
	"github.com/benchfs/benchfs/internal/loop"
	"github.com/benchfs/benchfs/internal/random"
	"github.com/benchfs/benchfs/internal/registry"
	"github.com/benchfs/benchfs/rpc"
	"github.com/benchfs/benchfs/shm"
	"github.com/benchfs/benchfs/ucx"
)

// Daemon is a running daemon: the shards of one node.
type Daemon struct {
	cfg    *config.Config
	log    *slog.Logger
	ready  chan struct{}
	ends   closers
	shards []*runningShard
	host   *shm.Host
	peers  *rpc.Pool

	mu     sync.Mutex // guards what follows
	record registry.Record
	public *registry.Publication

	loopsEnded sync.WaitGroup
	stopOnce   sync.Once
	stopErr    error
	stopped    chan struct{}
}

// runningShard is a shard with what drives it.
type runningShard struct {
	*server.Shard
	number uint32
	parts  shardParts
	loop   *loop.Loop
	near   *shm.Server
	far    *ucx.Server
	runs   bool // the loop does, or did
}

// StartDaemon starts the shards of this node and publishes it. It returns when the node is ready to serve; the other nodes of the
// cluster need not be there yet.
func StartDaemon(ctx context.Context, cfg *config.Config, log *slog.Logger) (*Daemon, error) {
	d := &Daemon{cfg: cfg, log: log, ready: make(chan struct{}), stopped: make(chan struct{})}
	if err := d.start(ctx); err != nil {
		return nil, multierr.Append(err, d.Stop(ctx))
	}
	close(d.ready)
	return d, nil
}

// Ready is closed once the node is published.
func (d *Daemon) Ready() <-chan struct{} { return d.ready }

// Record is what the node has published of itself.
func (d *Daemon) Record() registry.Record {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.record
}

func (d *Daemon) start(ctx context.Context) error {
	cfg := d.cfg
	nodes, perNode := uint32(cfg.Cluster.ExpectedNodes), uint32(cfg.ShardsPerNode())
	node := uint32(cfg.Cluster.NodeID)
	if node >= nodes {
		return errors.Wrapf(syscall.EINVAL, "cluster.node_id is %d, and cluster.expected_nodes is %d: ids count from 0", node, nodes)
	}
	epoch := uint32(cfg.Cluster.Epoch)
	m := &layout.Map{Epoch: epoch}
	for i := range nodes {
		m.Nodes = append(m.Nodes, layout.Node{ID: i, Name: fmt.Sprintf("node_%d", i), FirstShard: i * perNode, Shards: perNode})
	}
	if err := claimDataDir(cfg, m, node); err != nil {
		return err
	}
	secret := cfg.Cluster.Secret
	if cfg.Cluster.RegistryDir != "" {
		var err error
		if secret, err = registry.Secret(cfg.Cluster.RegistryDir, true); err != nil {
			return err
		}
	}
	incarnation, err := random.ID()
	if err != nil {
		return err
	}
	host := hostID(cfg)
	d.record = registry.Record{
		Node: node, Epoch: epoch, HostID: host, FirstShard: node * perNode, PID: syscall.Getpid(), Incarnation: incarnation,
		Build: Build, Nodes: nodes, Workers: make([][]byte, perNode),
	}
	network := newNetwork(cfg)
	d.ends.add(network.Close)
	if err := d.connectPeers(network, secret, host); err != nil {
		return err
	}
	atLeast(runtime.NumCPU() + int(perNode))
	collectSeldom(daemonGrowth)
	for i := range perNode {
		if err := d.startShard(network, m, node*perNode+i, secret, host); err != nil {
			return err
		}
	}
	if d.record.Listen, err = d.shards[0].far.Listen(cfg.Daemon.Listen); err != nil {
		return err
	}
	for _, s := range d.shards {
		d.run(s)
	}
	if err := d.openDoor(); err != nil {
		return err
	}
	d.startTicks()
	return d.publish()
}

// connectPeers prepares the connections to the other shards; they are made on first use.
func (d *Daemon) connectPeers(network *network, secret, host string) error {
	t := network.transport()
	id, err := identity(d.cfg, d.record.Epoch, secret, host)
	if err != nil {
		return err
	}
	dir := &directory{cfg: d.cfg, host: host, secret: secret}
	dir.ask = func(ctx context.Context) ([]registry.Record, error) {
		if d.cfg.Cluster.RegistryDir != "" {
			return registry.Read(d.cfg.Cluster.RegistryDir)
		}
		return dir.describeAll(ctx, t)
	}
	resolve := func(ctx context.Context, peer rpc.PeerID, refresh bool) (rpc.Target, error) {
		dir.mu.Lock()
		known := len(dir.records) == int(d.record.Nodes)
		dir.mu.Unlock()
		return dir.resolve(ctx, peer, refresh || !known)
	}
	d.peers = rpc.NewPool(t, rpc.PoolOptions{
		Identity: id, Resolve: resolve, ConnectTimeout: d.cfg.RPC.ConnectTimeout, Policy: policy(d.cfg), SelfTest: false,
	})
	d.ends.add(d.peers.CloseAll)
	return nil
}

func (d *Daemon) startShard(network *network, m *layout.Map, number uint32, secret, host string) error {
	p := Process{UID: uint32(syscall.Getuid()), GID: uint32(syscall.Getgid())}
	lay, err := fileLayout(d.cfg, m.Shards(), m.Epoch)
	if err != nil {
		return err
	}
	lay.First = number
	parts, err := openShard(d.cfg, number, m.Shards(), lay, p, d.log)
	if err != nil {
		return err
	}
	d.ends.add(func() error { return parts.close() })
	if err := parts.openBoard(d.cfg, number, d.record.Incarnation); err != nil {
		return err
	}
	options := server.Options{
		Peer: rpc.PeerID{Node: d.record.Node, Shard: number}, Map: m, Incarnation: d.record.Incarnation,
		Secret: secret, HostID: host, UID: p.UID, ChunkBits: lay.ChunkBits,
		Meta: parts.meta, Store: parts.store, Peers: d.peers, Describe: d.describe,
		Grace: d.cfg.Session.Grace, Log: d.log, Build: Build,
	}
	parts.share(&options)
	shard := &runningShard{Shard: server.New(options), number: number, parts: parts}
	if shard.loop, err = loop.New(); err != nil {
		return err
	}
	d.ends.add(shard.loop.Close)
	if shard.near, err = shm.NewServer(shard, shard.loop.Wake()); err != nil {
		return errors.Wrapf(err, "shared memory of shard %d", number)
	}
	d.ends.add(func() error { shard.near.Close(); return nil })
	far, err := network.context()
	if err != nil {
		return err
	}
	if shard.far, err = far.NewServer(shard); err != nil {
		return err
	}
	d.ends.add(shard.far.Close)
	d.record.Workers[number-d.record.FirstShard] = shard.far.Address()
	d.shards = append(d.shards, shard)
	return nil
}

// drainAtMost bounds how long a stopping shard waits for its last answers to leave.
const drainAtMost = time.Second

// run starts the thread of a shard.
func (d *Daemon) run(s *runningShard) {
	s.runs = true
	d.loopsEnded.Add(1)
	go func() {
		defer d.loopsEnded.Done()
		s.loop.Run(s, s.near, s.far)
		s.far.Drain(drainAtMost)
	}()
	s.Start(s.loop)
}

// openDoor lets the processes of this machine in.
func (d *Daemon) openDoor() error {
	path, err := d.doorPath()
	if err != nil {
		return err
	}
	o := shm.HostOptions{Path: path, Incarnation: d.record.Incarnation, UID: uint32(syscall.Getuid())}
	for _, s := range d.shards {
		shard := shm.Shard{Number: s.number, Server: s.near, Loop: s.loop}
		s.parts.lend(&shard)
		o.Shards = append(o.Shards, shard)
	}
	if d.host, err = shm.NewHost(o); err != nil {
		return err
	}
	d.record.Door = path
	return nil
}

// doorPath is where the door is: with the node's data, else in the registry, else in a directory of its own.
func (d *Daemon) doorPath() (string, error) {
	switch {
	case d.cfg.Store.DataDir != "":
		return filepath.Abs(filepath.Join(d.cfg.Store.DataDir, "door"))
	case d.cfg.Cluster.RegistryDir != "":
		return filepath.Abs(filepath.Join(d.cfg.Cluster.RegistryDir, fmt.Sprintf("node-%d.door", d.record.Node)))
	}
	dir, err := os.MkdirTemp("", "benchfs-")
	if err != nil {
		return "", errors.WithStack(err)
	}
	d.ends.add(func() error { return os.RemoveAll(dir) })
	return filepath.Join(dir, "door"), nil
}

func (d *Daemon) describe() []byte {
	text, err := json.Marshal(d.Record())
	if err != nil {
		return nil
	}
	return text
}

// startTicks has the shards look at the clock. One wake-up per interval and shard is all that an idle daemon does.
func (d *Daemon) startTicks() {
	ticker := time.NewTicker(d.cfg.Session.CheckInterval)
	end := make(chan struct{})
	go func() {
		for {
			select {
			case <-end:
				return
			case <-ticker.C:
				for _, s := range d.shards {
					s.loop.Submit(func() { s.Tick(time.Now()) })
				}
			}
		}
	}()
	d.ends.add(func() error { ticker.Stop(); close(end); return nil })
}

func (d *Daemon) publish() error {
	if d.cfg.Cluster.RegistryDir == "" {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var err error
	d.public, err = registry.Publish(d.cfg.Cluster.RegistryDir, d.record)
	return err
}

// Wait returns when the daemon has stopped, with Stop's error.
func (d *Daemon) Wait() error {
	<-d.stopped
	return d.stopErr
}

// Stop withdraws the node, ends the shards and closes the stores. It returns when that is done, or at ctx's deadline; the
// process may end then: the logs and segments are as good as after Stop.
func (d *Daemon) Stop(ctx context.Context) error {
	go d.stop()
	select {
	case <-d.stopped:
		return d.stopErr
	case <-ctx.Done():
		return errors.Wrap(ctx.Err(), "daemon is slow to stop")
	}
}

func (d *Daemon) stop() {
	d.stopOnce.Do(func() {
		d.mu.Lock()
		public := d.public
		d.public = nil
		d.mu.Unlock()
		if public != nil {
			d.stopErr = public.Withdraw()
		}
		for _, s := range d.shards {
			if s.runs {
				s.Shard.Stop()
			}
		}
		if d.host != nil {
			d.host.Close()
		}
		for _, s := range d.shards {
			s.loop.Stop()
		}
		d.loopsEnded.Wait()
		for _, s := range d.shards {
			s.Abandon()
		}
		d.stopErr = multierr.Append(d.stopErr, d.ends.Close())
		close(d.stopped)
	})
}

// Stats is what the daemon tells about itself.
type Stats struct {
	Node        uint32         `json:"node"`
	Incarnation uint64         `json:"incarnation"`
	Build       string         `json:"build"`
	Shards      []server.Stats `json:"shards"`
	Loops       []LoopStats    `json:"loops"`
	Peers       rpc.PoolStats  `json:"peers"`
}

// LoopStats are the counters of one shard's thread and its transports.
type LoopStats struct {
	Sleeps uint64          `json:"sleeps"`
	Near   shm.ServerStats `json:"near"` // processes of this machine
	Far    ucx.ServerStats `json:"far"`  // others
}

// Stats may be called from any goroutine.
func (d *Daemon) Stats() any {
	out := Stats{Node: d.record.Node, Incarnation: d.record.Incarnation, Build: Build, Peers: d.peers.Stats()}
	for _, shard := range d.shards {
		if s, ok := shard.Shard.Stats(); ok {
			out.Shards = append(out.Shards, s)
		}
		stats := LoopStats{Sleeps: shard.loop.Sleeps(), Far: shard.far.Stats()}
		done := make(chan struct{})
		if shard.loop.Submit(func() { stats.Near = shard.near.Stats(); close(done) }) {
			<-done
		}
		out.Loops = append(out.Loops, stats)
	}
	return out
}
