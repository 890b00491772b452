package inode_test

import (
	"testing"

	"github.com/benchfs/benchfs/internal/inode"
)

func TestInoParts(t *testing.T) {
	for _, shard := range []uint32{0, 1, 4095, inode.MaxShards - 1} {
		for _, seq := range []uint64{1, 2, 1<<inode.SeqBits - 1} {
			i := inode.Make(shard, seq)
			if i.Shard() != shard || i.Seq() != seq {
				t.Errorf("Make(%d, %d) = %v", shard, seq, i)
			}
		}
	}
	if inode.Make(0, 1) != inode.Root {
		t.Error("the root is not the first inode of shard 0")
	}
	if inode.Kind(0).Valid() || inode.Kind(4).Valid() || !inode.Dir.Valid() {
		t.Error("Valid accepts kinds that do not exist")
	}
}
