package compose

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/pkg/errors"

	"github.com/benchfs/benchfs/config"
	"github.com/benchfs/benchfs/core/client"
	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/internal/registry"
	"github.com/benchfs/benchfs/rpc"
	"github.com/benchfs/benchfs/shm"
	"github.com/benchfs/benchfs/ucx"
)

// openDistributed makes a client of the daemons that cfg names. It waits for all of them: a partial list is never used.
func openDistributed(ctx context.Context, cfg *config.Config, p Process) (*client.Client, io.Closer, error) {
	ends := &closers{}
	c, err := distributed(ctx, cfg, p, ends)
	if err != nil {
		_ = ends.Close()
		return nil, nil, err
	}
	return c, ends, nil
}

func distributed(ctx context.Context, cfg *config.Config, p Process, ends *closers) (*client.Client, error) {
	network := newNetwork(cfg)
	ends.add(network.Close)
	deadline := time.Now().Add(cfg.Cluster.JoinTimeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	dir, err := openDirectory(cfg, network, deadline)
	if err != nil {
		return nil, err
	}
	m, err := dir.clusterMap()
	if err != nil {
		return nil, err
	}
	id, err := identity(cfg, m.Epoch, dir.secret, dir.host)
	if err != nil {
		return nil, err
	}
	lay, err := clientLayout(cfg, m)
	if err != nil {
		return nil, err
	}
	transports := make([]rpc.Transport, cfg.Client.Workers)
	for i := range transports {
		transports[i] = network.transport()
	}
	budget := shm.NewBudget(int64(cfg.Data.MapLimit))
	return makeClient(cfg, p, &membership{
		id: id, cluster: m, node: m.NodeOnHost(dir.host), transports: transports, resolve: dir.resolve, layout: lay,
		memory: func(ctx context.Context, shard uint32) (*shm.Memory, error) {
			target, err := dir.resolve(ctx, rpc.PeerID{Node: m.PeerOf(shard), Shard: shard}, false)
			if err != nil {
				return nil, err
			}
			return network.near.Memory(ctx, target, id.Client, cfg.Data.Shortcut == client.ShortcutReadWrite, budget)
		},
	})
}

// ucxConfig picks what the network layer needs out of cfg.
func ucxConfig(cfg *config.Config) ucx.Config {
	return ucx.Config{
		Transports:         cfg.UCX.TLS,
		NetDevices:         cfg.UCX.NetDevices,
		RendezvousBytes:    uint64(cfg.UCX.Rendezvous),
		RendezvousTCPBytes: uint64(cfg.UCX.Rendezvous),
		SpinPolls:          uint32(cfg.UCX.Spin),
	}
}

// directory answers where the peers of a cluster are now: from the registry directory, or from the daemons themselves when only their
// socket addresses are known. Safe for concurrent use.
type directory struct {
	cfg    *config.Config
	host   string
	secret string
	ask    func(ctx context.Context) ([]registry.Record, error)

	mu      sync.Mutex
	records []registry.Record // by node id
}

func openDirectory(cfg *config.Config, network *network, deadline time.Time) (*directory, error) {
	d := &directory{cfg: cfg, host: hostID(cfg)}
	var err error
	if cfg.Cluster.RegistryDir != "" {
		if d.records, err = registry.Wait(cfg.Cluster.RegistryDir, cfg.Cluster.ExpectedNodes, deadline); err != nil {
			return nil, err
		}
		if d.secret, err = registry.Secret(cfg.Cluster.RegistryDir, false); err != nil {
			return nil, err
		}
		d.ask = func(context.Context) ([]registry.Record, error) { return registry.Read(cfg.Cluster.RegistryDir) }
		return d, nil
	}
	d.secret = cfg.Cluster.Secret
	t := network.transport()
	d.ask = func(ctx context.Context) ([]registry.Record, error) { return d.describeAll(ctx, t) }
	if d.records, err = d.ask(rpc.WithDeadline(context.Background(), deadline)); err != nil {
		return nil, err
	}
	return d, nil
}

// clusterMap makes the one view of the cluster out of the records, or says how they contradict each other.
func (d *directory) clusterMap() (*layout.Map, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	records := slices.Clone(d.records)
	slices.SortFunc(records, func(a, b registry.Record) int { return int(a.Node) - int(b.Node) })
	m := &layout.Map{}
	first := uint32(0)
	for i, r := range records {
		if i == 0 {
			m.Epoch = r.Epoch
		}
		switch {
		case r.Node != uint32(i):
			return nil, errors.Wrapf(syscall.EHOSTUNREACH, "node %d is missing: the nodes seen are not 0 … %d", i, len(records)-1)
		case r.Nodes != uint32(len(records)):
			return nil, errors.Wrapf(syscall.EINVAL, "node %d expects %d nodes, and there are %d", r.Node, r.Nodes, len(records))
		case r.Epoch != m.Epoch:
			return nil, errors.Wrapf(syscall.ESTALE, "node %d has epoch %d, node 0 has %d: daemons of different clusters", r.Node, r.Epoch, m.Epoch)
		case r.FirstShard != first || len(r.Workers) == 0:
			return nil, errors.Wrapf(syscall.EINVAL, "node %d begins with shard %d instead of %d: daemon.shards differs between the nodes", r.Node, r.FirstShard, first)
		}
		m.Nodes = append(m.Nodes, layout.Node{
			ID: r.Node, Name: fmt.Sprintf("node_%d", r.Node), HostID: r.HostID, FirstShard: first, Shards: uint32(len(r.Workers)),
		})
		first += uint32(len(r.Workers))
	}
	return m, nil
}

// resolve implements rpc.Resolver.
func (d *directory) resolve(ctx context.Context, peer rpc.PeerID, refresh bool) (rpc.Target, error) {
	if refresh {
		fresh, err := d.ask(ctx)
		if err != nil {
			return rpc.Target{}, err
		}
		d.mu.Lock()
		d.records = fresh
		d.mu.Unlock()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range d.records {
		index := int(peer.Shard) - int(r.FirstShard)
		if r.Node != peer.Node || index < 0 || index >= len(r.Workers) {
			continue
		}
		if d.cfg.Cluster.RegistryDir != "" && r.HostID == d.host {
			if alive, known := registry.Alive(d.cfg.Cluster.RegistryDir, r.Node); known && !alive {
				return rpc.Target{}, &rpc.ConnectionError{Remote: remoteName(r), Reason: "its daemon does not run"}
			}
		}
		return rpc.Target{
			Peer: peer, Incarnation: r.Incarnation, HostID: r.HostID, SameHost: d.host == "" || r.HostID == d.host, // a process that cannot tell looks for the door
			Door: r.Door, Worker: r.Workers[index], Socket: r.Listen,
		}, nil
	}
	return rpc.Target{}, &rpc.ConnectionError{Remote: fmt.Sprintf("node %d", peer.Node), Reason: "it is not in the registry"}
}

func remoteName(r registry.Record) string { return fmt.Sprintf("node %d (%s)", r.Node, r.Listen) }
