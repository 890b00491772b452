package compose

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/pkg/errors"
	"go.uber.org/multierr"

	"github.com/benchfs/benchfs/config"
	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/core/server"
	"github.com/benchfs/benchfs/internal/registry"
	"github.com/benchfs/benchfs/rpc"
	"github.com/benchfs/benchfs/ucx"
)

// Daemon is a running daemon: the shards of one node.
type Daemon struct {
	cfg    *config.Config
	log    *slog.Logger
	ready  chan struct{}
	ends   closers
	shards []*server.Shard
	loops  []*ucx.ShardLoop
	peers  *rpc.Pool

	mu     sync.Mutex // guards what follows
	record registry.Record
	public *registry.Publication

	loopsEnded sync.WaitGroup
	stopOnce   sync.Once
	stopErr    error
	stopped    chan struct{}
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
	incarnation, err := randomID()
	if err != nil {
		return err
	}
	host := registry.HostID()
	d.record = registry.Record{
		Node: node, Epoch: epoch, HostID: host, FirstShard: node * perNode, PID: syscall.Getpid(), Incarnation: incarnation,
		Build: Build, Nodes: nodes, Workers: make([][]byte, perNode),
	}
	network, err := ucx.NewContext(ucxConfig(cfg))
	if err != nil {
		return err
	}
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
	if d.record.Listen, err = d.loops[0].Listen(cfg.Daemon.Listen); err != nil {
		return err
	}
	d.startTicks()
	return d.publish()
}

// connectPeers prepares the connections to the other shards; they are made on first use.
func (d *Daemon) connectPeers(network *ucx.Context, secret, host string) error {
	t, err := network.NewTransport()
	if err != nil {
		return err
	}
	d.ends.add(t.Close)
	id, err := identity(d.cfg, d.record.Epoch, secret, host)
	if err != nil {
		return err
	}
	dir := &directory{cfg: d.cfg, host: host, secret: secret}
	dir.ask = func(ctx context.Context) ([]registry.Record, error) {
		if d.cfg.Cluster.RegistryDir != "" {
			return registry.Read(d.cfg.Cluster.RegistryDir)
		}
		return dir.describeAll(ctx, network)
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

func (d *Daemon) startShard(network *ucx.Context, m *layout.Map, number uint32, secret, host string) error {
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
	if err := parts.openBoard(d.cfg, number, d.record.Incarnation, d.log); err != nil {
		return err
	}
	options := server.Options{
		Peer: rpc.PeerID{Node: d.record.Node, Shard: number}, Map: m, Incarnation: d.record.Incarnation,
		Secret: secret, HostID: host, UID: p.UID, ChunkBits: lay.ChunkBits,
		Meta: parts.meta, Store: parts.store, Peers: d.peers, Describe: d.describe,
		Grace: d.cfg.Session.Grace, Log: d.log, Build: Build,
	}
	parts.share(&options)
	shard := server.New(options)
	loop, err := network.NewShardLoop(shard, ucx.LoopOptions{Moved: func(address []byte) { d.moved(number, address) }})
	if err != nil {
		return err
	}
	d.ends.add(loop.Close)
	d.record.Workers[number-d.record.FirstShard] = loop.Address()
	d.shards, d.loops = append(d.shards, shard), append(d.loops, loop)
	d.loopsEnded.Add(1)
	go func() {
		defer d.loopsEnded.Done()
		loop.Run()
	}()
	shard.Start(loop)
	return nil
}

// moved publishes the new address of a shard.
func (d *Daemon) moved(number uint32, address []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.log.Warn("a client's death or standstill has blocked a shard's queue; another one is used from now on", "shard", number)
	d.record.Workers = slices.Clone(d.record.Workers) // others may be reading the list as it was
	d.record.Workers[number-d.record.FirstShard] = address
	if d.public == nil {
		return
	}
	if err := d.public.Update(d.record); err != nil {
		d.log.Error("the shard's new address could not be published", "shard", number, "error", err)
	}
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
				for i, shard := range d.shards {
					d.loops[i].Submit(func() { shard.Tick(time.Now()) })
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
	for i, loop := range d.loops { // where they are by now
		d.record.Workers[i] = loop.Address()
	}
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
		for _, shard := range d.shards {
			shard.Stop()
		}
		for _, loop := range d.loops {
			loop.Stop()
		}
		d.loopsEnded.Wait()
		for _, shard := range d.shards {
			shard.Abandon()
		}
		d.stopErr = multierr.Append(d.stopErr, d.ends.Close())
		close(d.stopped)
	})
}

// Stats is what the daemon tells about itself.
type Stats struct {
	Node        uint32          `json:"node"`
	Incarnation uint64          `json:"incarnation"`
	Build       string          `json:"build"`
	Shards      []server.Stats  `json:"shards"`
	Loops       []ucx.LoopStats `json:"loops"`
	Peers       rpc.PoolStats   `json:"peers"`
}

// Stats may be called from any goroutine.
func (d *Daemon) Stats() any {
	out := Stats{Node: d.record.Node, Incarnation: d.record.Incarnation, Build: Build, Peers: d.peers.Stats()}
	for i, shard := range d.shards {
		if s, ok := shard.Stats(); ok {
			out.Shards = append(out.Shards, s)
		}
		out.Loops = append(out.Loops, d.loops[i].Stats())
	}
	return out
}
