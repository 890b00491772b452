package meta_test

import (
	"fmt"
	"testing"

	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/internal/inode"
	"github.com/benchfs/benchfs/meta"
)

// TestIdentity is P8 on the names that broke a file system which took a hash of the path for an identity: 800 000 names of
// mdtest's form are 800 000 different inodes, and each shard has its share of them.
func TestIdentity(t *testing.T) {
	const (
		shards = 8
		ranks  = 800
		files  = 1000
	)
	owners := make([]*meta.Shard, shards)
	for i := range owners {
		s, err := meta.Open(meta.Options{
			Shard: uint32(i), Shards: shards, RootMode: 0o755, Now: func() int64 { return 1 },
			Layout: layout.Layout{Strategy: layout.RoundRobin, ChunkBits: layout.DefaultChunkBits, Shards: shards},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}()
		owners[i] = s
	}
	seen := make(map[inode.Ino]struct{}, ranks*files)
	held := make([]int, shards)
	for rank := range ranks {
		for i := range files {
			name := fmt.Appendf(nil, "file.mdtest.%d.%d", rank, i)
			shard := layout.EntryShard(uint64(inode.Root), name, shards)
			e, created, err := owners[shard].Create(meta.ReqID{}, meta.CreateArgs{
				Parent: inode.Root, Name: name, Kind: inode.File, Mode: 0o644, Exclusive: true,
			})
			if err != nil || !created {
				t.Fatalf("%s: created %t, %v", name, created, err)
			}
			seen[e.Ino] = struct{}{}
			held[shard]++
		}
	}
	if len(seen) != ranks*files {
		t.Errorf("%d names, %d inodes", ranks*files, len(seen))
	}
	for shard, n := range held {
		if share := float64(n) * shards / (ranks * files); share < 0.97 || share > 1.03 {
			t.Errorf("shard %d holds %.3f of its share", shard, share)
		}
	}
}
