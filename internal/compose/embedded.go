package compose

import (
	"context"
	"io"

	"github.com/benchfs/benchfs/config"
	"github.com/benchfs/benchfs/core/client"
	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/core/server"
	"github.com/benchfs/benchfs/internal/registry"
	"github.com/benchfs/benchfs/rpc"
	"github.com/benchfs/benchfs/rpc/inproc"
)

// openEmbedded makes a file system inside this process: one shard, on the caller's own thread.
func openEmbedded(cfg *config.Config, p Process) (*client.Client, io.Closer, error) {
	ends := &closers{}
	c, err := embedded(cfg, p, ends)
	if err != nil {
		_ = ends.Close()
		return nil, nil, err
	}
	return c, ends, nil
}

func embedded(cfg *config.Config, p Process, ends *closers) (*client.Client, error) {
	const shards, epoch = 1, 1
	lay, err := fileLayout(cfg, shards, epoch)
	if err != nil {
		return nil, err
	}
	host := registry.HostID()
	m := &layout.Map{Epoch: epoch, Nodes: []layout.Node{{ID: 0, Name: "embedded", HostID: host, FirstShard: 0, Shards: shards}}}
	if err := claimDataDir(cfg.Store.DataDir, m, 0); err != nil {
		return nil, err
	}
	parts, err := openShard(cfg, 0, shards, lay, p)
	if err != nil {
		return nil, err
	}
	ends.add(parts.close)
	parts.meta.SweepOrphans() // the process that had them open was the last one's; nobody comes back
	incarnation, err := randomID()
	if err != nil {
		return nil, err
	}
	id, err := identity(cfg, epoch, "", host)
	if err != nil {
		return nil, err
	}
	peer := rpc.PeerID{Node: 0, Shard: 0}
	network := inproc.NewNetwork()
	resolve := func(context.Context, rpc.PeerID, bool) (rpc.Target, error) {
		return rpc.Target{Peer: peer, Incarnation: incarnation, HostID: host, SameHost: true}, nil
	}
	shard := server.New(server.Options{
		Peer: peer, Map: m, Incarnation: incarnation, HostID: host, UID: id.UID,
		ChunkBits: lay.ChunkBits, Meta: parts.meta, Store: parts.store, Build: Build,
		Peers:    rpc.NewPool(network.Transport(), rpc.PoolOptions{Identity: id, Resolve: resolve, Policy: policy(cfg)}),
		Describe: func() []byte { return nil },
	})
	shard.Start(network.Attach(peer, shard))
	ends.add(func() error { shard.Stop(); network.Detach(peer); return nil })
	transports := make([]rpc.Transport, cfg.Client.Workers)
	for i := range transports {
		transports[i] = network.Transport()
	}
	return makeClient(cfg, p, id, m, 0, transports, resolve, layout.Layout{})
}
