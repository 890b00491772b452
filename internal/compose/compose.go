// Package compose joins the parts: it makes a daemon, a client of daemons, or an embedded file system out of a configuration.
//
// The library (capi), the daemon and the operator's tool start here, and so do tests. It is the one place that knows all rooms;
// it decides nothing that a room can decide for itself.
package compose

import (
	"cmp"
	"context"
	"io"
	"syscall"
	"time"

	"go.uber.org/multierr"

	"github.com/benchfs/benchfs/config"
	"github.com/benchfs/benchfs/core/client"
	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/internal/procfs"
	"github.com/benchfs/benchfs/internal/random"
	"github.com/benchfs/benchfs/internal/registry"
	"github.com/benchfs/benchfs/rpc"
	"github.com/benchfs/benchfs/shm"
)

// Build names this build in handshakes, logs and statistics; the linker may set it.
var Build = "dev"

// Process is what a file system call does on behalf of whom: the identity of the calling process.
type Process struct {
	UID, GID uint32
	Groups   []uint32
	Umask    uint32
}

// Open makes the client that cfg asks for: embedded or distributed, as cfg says and never as it happens to come. It returns
// by ctx's deadline. The closer ends everything that Open has started; the client is closed first.
func Open(ctx context.Context, cfg *config.Config, p Process) (*client.Client, io.Closer, error) {
	atLeast(2 * cfg.Client.Workers)
	collectSeldom(clientGrowth)
	if cfg.Distributed() {
		return openDistributed(ctx, cfg, p)
	}
	return openEmbedded(cfg, p)
}

// closers ends parts in the opposite order of their start.
type closers []func() error

func (c *closers) add(f func() error) { *c = append(*c, f) }

// Close implements io.Closer. It runs all of them, whatever fails.
func (c *closers) Close() error {
	var err error
	for i := len(*c) - 1; i >= 0; i-- {
		err = multierr.Append(err, (*c)[i]())
	}
	*c = nil
	return err
}

// policy is the retry policy of cfg.
func policy(cfg *config.Config) rpc.Policy {
	return rpc.Policy{
		Attempts:    cfg.RPC.Attempts,
		PerAttempt:  cfg.RPC.AttemptTimeout,
		Overall:     cfg.RPC.CallTimeout,
		BackoffBase: cfg.RPC.BackoffBase,
		BackoffMax:  cfg.RPC.BackoffMax,
		Jitter:      cfg.RPC.Jitter,
	}
}

// identity is who this process is in handshakes.
func identity(cfg *config.Config, epoch uint32, secret, hostID string) (rpc.Identity, error) {
	id, err := random.ID()
	if err != nil {
		return rpc.Identity{}, err
	}
	pid := syscall.Getpid()
	return rpc.Identity{
		Client:   id,
		PID:      uint32(pid),
		PIDStart: procfs.StartTime(uint32(pid)),
		UID:      uint32(syscall.Getuid()),
		HostID:   hostID,
		Secret:   secret,
		Build:    Build,
		Epoch:    epoch,
	}, nil
}

// hostID names this machine: processes with the same name share memory.
func hostID(cfg *config.Config) string { return cmp.Or(cfg.Cluster.Host, registry.HostID()) }

// readSmall reads a file that may be missing: "" on any error.
func readSmall(path string) string {
	text, err := procfs.ReadFile(path)
	if err != nil {
		return ""
	}
	return text
}

// fileLayout is the layout of new files that cfg asks for.
func fileLayout(cfg *config.Config, shards, epoch uint32) (layout.Layout, error) {
	strategy, err := layout.ParseStrategy(cfg.Layout.Strategy)
	if err != nil {
		return layout.Layout{}, err
	}
	bits := uint8(0)
	for size := cfg.Layout.ChunkSize; size > 1; size >>= 1 {
		bits++
	}
	return layout.Layout{Strategy: strategy, ChunkBits: bits, Shards: shards, Epoch: epoch}, nil
}

// clientLayout is the layout that a client of daemons asks for its files. What its configuration does not set is the daemons' business.
func clientLayout(cfg *config.Config, m *layout.Map) (layout.Layout, error) {
	l, err := fileLayout(cfg, m.Shards(), m.Epoch)
	if cfg.Origin("layout.strategy") == "default" {
		l.Strategy = layout.None
	}
	if cfg.Origin("layout.chunk_size") == "default" {
		l.ChunkBits = 0
	}
	return l, err
}

// membership is what a client knows of the file system that it joins.
type membership struct {
	id         rpc.Identity
	cluster    *layout.Map
	node       int // of this process; −1: none
	transports []rpc.Transport
	resolve    rpc.Resolver
	layout     layout.Layout // of new files
	memory     func(ctx context.Context, shard uint32) (*shm.Memory, error)
}

// makeClient makes the client, with a pool a client worker.
func makeClient(cfg *config.Config, p Process, m *membership) (*client.Client, error) {
	var c *client.Client
	pools := make([]*rpc.Pool, len(m.transports))
	for i, t := range m.transports {
		pools[i] = rpc.NewPool(t, rpc.PoolOptions{
			Identity:       m.id,
			Resolve:        m.resolve,
			ConnectTimeout: cfg.RPC.ConnectTimeout,
			Policy:         policy(cfg),
			SelfTest:       cfg.RPC.SelfTest,
			OnConnect: func(ctx context.Context, conn *rpc.Conn) error {
				if c == nil {
					return nil
				}
				return c.ReopenHandles(ctx, conn)
			},
		})
	}
	made, err := client.New(client.Options{
		Pools:           pools,
		Map:             m.cluster,
		Node:            m.node,
		Distributed:     cfg.Distributed(),
		UID:             p.UID,
		GID:             p.GID,
		Groups:          p.Groups,
		Umask:           cfg.ClientUmask(p.Umask),
		CallTimeout:     cfg.RPC.CallTimeout,
		MaxParallel:     cfg.RPC.MaxParallel,
		CacheMode:       cfg.Cache.Mode,
		ChunkCacheBytes: int64(cfg.Cache.ChunkBytes),
		EntryTimeout:    cfg.Cache.EntryTimeout,
		ClientID:        m.id.Client,
		Shortcut:        cfg.Data.Shortcut,
		Memory:          m.memory,
		HostID:          m.id.HostID,
		Layout:          m.layout,
		Prefix:          cfg.Client.Prefix,
	})
	c = made
	return made, err
}

// now is the clock of time stamps: nanoseconds since the Unix epoch.
func now() int64 { return time.Now().UnixNano() }
