package compose

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"syscall"

	"github.com/pkg/errors"
	"go.uber.org/multierr"

	"github.com/benchfs/benchfs/config"
	"github.com/benchfs/benchfs/core/client"
	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/core/server"
	"github.com/benchfs/benchfs/internal/random"
	"github.com/benchfs/benchfs/rpc"
	"github.com/benchfs/benchfs/rpc/inproc"
	"github.com/benchfs/benchfs/shm"
)

// openEmbedded makes a file system inside this process: one shard, on the caller's own thread.
func openEmbedded(cfg *config.Config, p Process) (*client.Client, io.Closer, error) {
	return InProcess(cfg, p, 1)
}

// InProcess makes a file system of several nodes, one shard each, inside this process: the distributed system without a
// network. More than one node is in memory only.
func InProcess(cfg *config.Config, p Process, nodes int) (*client.Client, io.Closer, error) {
	if nodes > 1 && cfg.Store.DataDir != "" {
		return nil, nil, errors.Wrap(syscall.EINVAL, "several nodes in one process keep nothing on disk")
	}
	ends := &closers{}
	c, err := inProcess(cfg, p, uint32(nodes), ends)
	if err != nil {
		_ = ends.Close()
		return nil, nil, err
	}
	return c, ends, nil
}

func inProcess(cfg *config.Config, p Process, nodes uint32, ends *closers) (*client.Client, error) {
	const epoch = 1
	host := hostID(cfg)
	id, err := identity(cfg, epoch, "", host)
	if err != nil {
		return nil, err
	}
	incarnation, err := random.ID()
	if err != nil {
		return nil, err
	}
	m := &layout.Map{Epoch: epoch}
	for i := range nodes {
		m.Nodes = append(m.Nodes, layout.Node{ID: i, Name: fmt.Sprintf("embedded_%d", i), HostID: host, FirstShard: i, Shards: 1})
	}
	if err := claimDataDir(cfg, m, 0); err != nil {
		return nil, err
	}
	network := inproc.NewNetwork()
	resolve := func(_ context.Context, peer rpc.PeerID, _ bool) (rpc.Target, error) {
		return rpc.Target{Peer: peer, Incarnation: incarnation, HostID: host, SameHost: true}, nil
	}
	base := server.Options{Map: m, Incarnation: incarnation, HostID: host, UID: id.UID, Build: Build, Describe: func() []byte { return nil }}
	memories := make([]*shm.Memory, nodes)
	for i := range nodes {
		o := base
		o.Peer = rpc.PeerID{Node: i, Shard: i}
		peerID, err := identity(cfg, epoch, "", host)
		if err != nil {
			return nil, err
		}
		o.Peers = rpc.NewPool(network.Transport(), rpc.PoolOptions{Identity: peerID, Resolve: resolve, Policy: policy(cfg)})
		if memories[i], err = attachShard(cfg, p, network, o, id.Client, ends); err != nil {
			return nil, err
		}
	}
	lent := make([]atomic.Bool, nodes) // to the client, which closes it
	ends.add(func() error {
		var err error
		for i, m := range memories {
			if m != nil && !lent[i].Load() {
				err = multierr.Append(err, m.Close())
			}
		}
		return err
	})
	transports := make([]rpc.Transport, cfg.Client.Workers)
	for i := range transports {
		transports[i] = network.Transport()
	}
	return makeClient(cfg, p, &membership{
		id: id, cluster: m, transports: transports, resolve: resolve,
		memory: func(_ context.Context, shard uint32) (*shm.Memory, error) {
			if memories[shard] == nil {
				return nil, syscall.EOPNOTSUPP
			}
			lent[shard].Store(true)
			return memories[shard], nil
		},
	})
}

// attachShard opens a shard and puts it on the network of this process. memory is what the client may use of it in place, or nil.
func attachShard(cfg *config.Config, p Process, network *inproc.Network, o server.Options, client uint64, ends *closers) (memory *shm.Memory, err error) {
	lay, err := fileLayout(cfg, o.Map.Shards(), o.Map.Epoch)
	if err != nil {
		return nil, err
	}
	silent := slog.New(slog.DiscardHandler)
	parts, err := openShard(cfg, o.Peer.Shard, o.Map.Shards(), lay, p, silent)
	if err != nil {
		return nil, err
	}
	ends.add(func() error { return parts.close() })
	if memory, err = parts.openOwnMemory(cfg, o.Incarnation, client); err != nil {
		return nil, err
	}
	parts.share(&o)
	parts.meta.SweepOrphans() // whoever had them open was the process before this one: nobody comes back
	o.Meta, o.Store, o.ChunkBits = parts.meta, parts.store, lay.ChunkBits
	shard := server.New(o)
	shard.Start(network.Attach(o.Peer, shard))
	network.Every(o.Peer, cfg.Session.CheckInterval, shard.Tick)
	ends.add(func() error { shard.Stop(); network.Detach(o.Peer); shard.Abandon(); return nil })
	return memory, nil
}
