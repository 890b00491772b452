// Package layout answers where the bytes of a file live: byte range → chunk pieces → shard.
// Pure functions over small values; no state, no I/O, standard library only. Every room may import it.
package layout

// Strategy names how chunks are spread over shards.
type Strategy uint8

// The strategies. None appears only as "no layout set" of a directory.
const (
	None       Strategy = 0
	RoundRobin Strategy = 1 // the shards in turn, from Layout.First
	Hash       Strategy = 2 // rendezvous (highest random weight) over inode, chunk and shard
	Local      Strategy = 3 // where it was first written; the places are kept as runs in the inode
)

// Limits of the chunk size, as powers of two.
const (
	MinChunkBits     = 16 // 64 KiB
	MaxChunkBits     = 26 // 64 MiB
	DefaultChunkBits = 22 // 4 MiB
)

// Layout is the placement of one file. Who owns a chunk is computed from it, never listed (but see Local).
type Layout struct {
	Strategy  Strategy
	ChunkBits uint8  // chunk size = 1 << ChunkBits bytes
	First     uint32 // first shard: the inode's own, so that a small file is served by one shard
	Shards    uint32 // number of shards that it spreads over (all of the cluster map's)
	Epoch     uint32 // epoch of the cluster map that it was made under
}

// ChunkBytes is the chunk size in bytes.
func (l Layout) ChunkBytes() uint64 { return 1 << l.ChunkBits }

// Run says that the chunks [First, First+Count) live on Shard. Runs of an inode are sorted and do not overlap.
type Run struct {
	First uint64
	Count uint64
	Shard uint32
}

// Piece is a part of a byte range that lies inside one chunk.
type Piece struct {
	Chunk  uint64 // chunk index
	Offset uint32 // first byte inside the chunk
	Length uint32 // bytes
	Start  uint64 // position of the piece in the caller's range
}
