package inode

import "github.com/benchfs/benchfs/core/layout"

// AttrWords is the length of an Attr as words of memory that processes share.
const AttrWords = 13

// Words is the Attr as words, for Attr.SetWords.
func (a *Attr) Words() (w [AttrWords]uint64) {
	pair := func(low, high uint32) uint64 { return uint64(low) | uint64(high)<<32 }
	l := &a.Layout
	return [AttrWords]uint64{
		uint64(a.Ino), a.Size, uint64(a.Atime), uint64(a.Mtime), uint64(a.Ctime), uint64(a.Btime), a.Version, uint64(a.Parent),
		pair(a.Mode, a.Nlink), pair(a.UID, a.GID), pair(a.TruncGen, a.RunsVersion), pair(l.First, l.Shards),
		pair(l.Epoch, uint32(a.Kind)|uint32(l.Strategy)<<8|uint32(l.ChunkBits)<<16),
	}
}

// SetWords takes the Attr from what Words has returned.
func (a *Attr) SetWords(w *[AttrWords]uint64) {
	low, high := func(i int) uint32 { return uint32(w[i]) }, func(i int) uint32 { return uint32(w[i] >> 32) }
	*a = Attr{
		Ino: Ino(w[0]), Size: w[1], Atime: int64(w[2]), Mtime: int64(w[3]), Ctime: int64(w[4]), Btime: int64(w[5]), Version: w[6],
		Parent: Ino(w[7]), Mode: low(8), Nlink: high(8), UID: low(9), GID: high(9), TruncGen: low(10), RunsVersion: high(10),
		Kind: Kind(high(12)),
		Layout: layout.Layout{
			First: low(11), Shards: high(11), Epoch: low(12), Strategy: layout.Strategy(high(12) >> 8), ChunkBits: uint8(high(12) >> 16),
		},
	}
}
