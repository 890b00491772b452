package compose

import (
	"cmp"
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"syscall"

	"github.com/pkg/errors"
	"go.uber.org/multierr"

	"github.com/benchfs/benchfs/config"
	"github.com/benchfs/benchfs/core/client"
	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/core/server"
	"github.com/benchfs/benchfs/internal/wal"
	"github.com/benchfs/benchfs/meta"
	"github.com/benchfs/benchfs/shm"
	"github.com/benchfs/benchfs/store"
	"github.com/benchfs/benchfs/store/arena"
	"github.com/benchfs/benchfs/store/memory"
	"github.com/benchfs/benchfs/store/uring"
)

// shardParts is what one shard keeps: its names and its chunks.
type shardParts struct {
	meta  *meta.Shard
	store store.Store
	board *shm.Board // nil: clients do not reach into the store
}

// shareable is the store, if clients of this machine may read and write its chunks in place.
func (p *shardParts) shareable(cfg *config.Config) (store.Shareable, bool) {
	s, ok := p.store.(store.Shareable)
	return s, ok && cfg.Data.Shortcut != client.ShortcutOff
}

// openBoard makes the board of a store that other processes may reach into.
func (p *shardParts) openBoard(cfg *config.Config, shard uint32, incarnation uint64) error {
	s, ok := p.shareable(cfg)
	if !ok || s.SegmentFiles().Prefix == "" {
		return nil
	}
	dir, err := filepath.Abs(shardDir(cfg, shard))
	if err != nil {
		return errors.WithStack(err)
	}
	if p.board, err = shm.Create(dir, incarnation); err != nil {
		return errors.Wrapf(err, "board of shard %d", shard)
	}
	return nil
}

// share tells a shard's options about the board.
func (p *shardParts) share(o *server.Options) {
	if p.board != nil {
		o.Board = p.board
	}
}

// lend completes what the door gives out of a shard's memory.
func (p *shardParts) lend(to *shm.Shard) {
	if p.board == nil {
		return
	}
	shared := p.store.(store.Shareable)
	files := shared.SegmentFiles()
	read, write := shm.OpenPaths(files.Prefix, false), shm.OpenPaths(files.Prefix, true)
	to.Board, to.SegmentBytes = p.board, files.Bytes
	to.Segment = func(number uint32, writing bool) (int, error) {
		if writing {
			return write(number)
		}
		return read(number)
	}
	to.Huge = func() bool { return shared.SegmentFiles().Huge }
}

// openOwnMemory makes the board of an embedded file system's store, and gives the one client its memory.
func (p *shardParts) openOwnMemory(cfg *config.Config, incarnation, client uint64) (*shm.Memory, error) {
	s, ok := p.shareable(cfg)
	if !ok {
		return nil, nil
	}
	var err error
	if p.board, err = shm.CreatePrivate(incarnation); err != nil {
		return nil, err
	}
	return shm.OwnMemory(p.board, client, s.SegmentMemory, s.SegmentFiles().Bytes)
}

func shardDir(cfg *config.Config, shard uint32) string {
	return filepath.Join(cfg.Store.DataDir, fmt.Sprintf("shard-%d", shard))
}

// openShard opens (or makes) the parts of one shard under cfg's data directory, or in memory without one.
func openShard(cfg *config.Config, shard, shards uint32, lay layout.Layout, p Process, log *slog.Logger) (parts shardParts, err error) {
	dir := ""
	recover := wal.Refuse
	if cfg.Store.Recover == config.RecoverCut {
		recover = wal.CutAtBadRecord
	}
	if cfg.Store.DataDir != "" {
		dir = shardDir(cfg, shard)
		if err := mkdirAll(dir); err != nil {
			return parts, err
		}
	}
	parts.meta, err = meta.Open(meta.Options{
		Shard: shard, Shards: shards, Dir: dir, Recover: recover, Now: now,
		UID: p.UID, GID: p.GID, RootMode: 0o755, Layout: lay,
		WaitForClients: cfg.Distributed(),
	})
	if err != nil {
		return parts, errors.Wrapf(err, "names of shard %d", shard)
	}
	if parts.store, err = openStore(cfg, dir, recover, log); err != nil {
		_ = parts.meta.Close()
		return parts, errors.Wrapf(err, "chunks of shard %d", shard)
	}
	return parts, nil
}

// openStore opens the store that cfg asks for.
func openStore(cfg *config.Config, dir string, recover wal.Recover, log *slog.Logger) (store.Store, error) {
	const name = "data"
	capacity := int64(cfg.Store.Capacity) / int64(cfg.ShardsPerNode())
	switch cfg.StoreBackend() {
	case config.BackendArena:
		return asStore(arena.Open(arena.Options{
			Dir: dir, Name: name, CapacityBytes: capacity, SegmentBytes: int64(cfg.Store.Segment),
			Recover: recover, Populate: cfg.Store.Populate, HugePages: cfg.Store.HugePages,
			AheadBytes: min(int64(cfg.Store.Ahead)/int64(cfg.ShardsPerNode()), capacity/8),
		}))
	case config.BackendURing:
		s, err := uring.Open(uring.Options{
			Dir: dir, Name: name, CapacityBytes: capacity, SegmentBytes: int64(cfg.Store.Segment), Recover: recover,
		})
		if err == nil && !s.Direct() {
			log.Warn("the file system of store.data_dir keeps files in memory or takes no O_DIRECT: data goes through the page cache", "dir", dir)
		}
		return asStore(s, err)
	}
	return asStore(memory.New(memory.Options{CapacityBytes: capacity}))
}

// asStore keeps a nil pointer from becoming a store.
func asStore[S store.Store](s S, err error) (store.Store, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (p shardParts) close() error {
	var err error
	if p.board != nil {
		err = p.board.Close()
	}
	return multierr.Combine(err, p.store.Close(), p.meta.Close())
}

// clusterFile pins a data directory to its place in the cluster: with other numbers, its inodes would belong to other shards. It also says
// who can read the chunks.
type clusterFile struct {
	Node, FirstShard, Shards, ClusterShards uint32

	Backend string `json:",omitempty"` // "": BackendArena
}

// claimDataDir makes the data directory, or checks that it is this node's.
func claimDataDir(cfg *config.Config, m *layout.Map, node uint32) error {
	dir := cfg.Store.DataDir
	if dir == "" {
		return nil
	}
	if cfg.StoreBackend() == config.BackendURing { // a directory is not to be tied to what this machine does not have
		if err := uring.Available(); err != nil {
			return errors.Wrap(err, `store.backend = "uring" (take "arena", which needs no io_uring)`)
		}
	}
	if err := mkdirAll(dir); err != nil {
		return err
	}
	mine := clusterFile{Node: node, FirstShard: m.Nodes[node].FirstShard, Shards: m.Nodes[node].Shards, ClusterShards: m.Shards()}
	if backend := cfg.StoreBackend(); backend != config.BackendArena {
		mine.Backend = backend
	}
	path := filepath.Join(dir, "cluster.json")
	if text := readSmall(path); text != "" {
		var found clusterFile
		if err := json.Unmarshal([]byte(text), &found); err != nil {
			return errors.Wrapf(syscall.EINVAL, "%s does not parse: %v", path, err)
		}
		if found.Backend != mine.Backend {
			return errors.Wrapf(syscall.EINVAL, "%s was made with store.backend = %q: give the same, or another store.data_dir",
				dir, cmp.Or(found.Backend, config.BackendArena))
		}
		if found != mine {
			return errors.Wrapf(syscall.EINVAL, "%s belongs to node %d with %d of %d shards; this is node %d with %d of %d: "+
				"give the same cluster.node_id, cluster.expected_nodes and daemon.shards, or another store.data_dir",
				dir, found.Node, found.Shards, found.ClusterShards, mine.Node, mine.Shards, mine.ClusterShards)
		}
		return nil
	}
	text, err := json.Marshal(mine)
	if err != nil {
		return errors.WithStack(err)
	}
	return writeSmall(path, text)
}

// writeSmall puts a small file in place in one step, by plain system calls (see readSmall).
func writeSmall(path string, text []byte) error {
	temporary := fmt.Sprintf("%s.%d", path, syscall.Getpid())
	fd, err := syscall.Open(temporary, syscall.O_WRONLY|syscall.O_CREAT|syscall.O_TRUNC|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return errors.Wrapf(err, "cannot write %s", path)
	}
	n, err := syscall.Write(fd, text)
	if err == nil && n < len(text) {
		err = syscall.ENOSPC
	}
	err = multierr.Combine(err, syscall.Fsync(fd), syscall.Close(fd))
	if err == nil {
		err = syscall.Rename(temporary, path)
	}
	return errors.Wrapf(err, "cannot write %s", path)
}

// mkdirAll makes a private directory and what is missing above it, by plain system calls (see readSmall).
func mkdirAll(dir string) error {
	err := syscall.Mkdir(dir, 0o700)
	if errors.Is(err, syscall.ENOENT) && filepath.Dir(dir) != dir {
		if err := mkdirAll(filepath.Dir(dir)); err != nil {
			return err
		}
		err = syscall.Mkdir(dir, 0o700)
	}
	if err != nil && !errors.Is(err, syscall.EEXIST) {
		return errors.Wrapf(err, "data directory %s", dir)
	}
	return nil
}
