package layout

import (
	"math/bits"
	"sort"
)

// ChunkNode is the shard that owns a chunk of the inode: the one function that answers this question (GetChunkNode).
// runs are the inode's placement runs, sorted; only Local looks at them. ok is false for a Local chunk that no run covers
// (it was never written), and for a layout that Validate refuses.
//
// RoundRobin deals the chunks out in rows of one for each shard: within a row the shards in turn, the first row from First on (a small
// file stays there), every later row from a place that the row's number draws. Without that, clients whose stride is a
// multiple of the shard count (the usual case: a block of whole rows each) would all meet at one shard at a time.
func ChunkNode(l Layout, ino uint64, chunk uint64, runs []Run) (shard uint32, ok bool) {
	switch l.Strategy {
	case RoundRobin:
		if l.Shards == 0 {
			return 0, false
		}
		n := uint64(l.Shards)
		row, place := chunk/n, chunk%n
		return uint32((uint64(l.First)%n + rotation(row, n) + place) % n), true
	case Hash:
		if l.Shards == 0 {
			return 0, false
		}
		return rendezvous(chunkKey(ino, chunk), l.Shards), true
	case Local:
		run, found := FindRun(runs, chunk)
		return run.Shard, found
	}
	return 0, false
}

// rotation is where a row of a round-robin file begins, relative to First: 0 … n−1, 0 for row 0.
func rotation(row, n uint64) uint64 {
	if row == 0 {
		return 0
	}
	turn, _ := bits.Mul64(mix(row*golden), n)
	return turn
}

// EntryShard is the shard, of so many, that holds the directory entry (parent, name); 0 if there are no shards.
func EntryShard(parent uint64, name []byte, shards uint32) uint32 {
	return EntryKey(parent, name).Shard(shards)
}

// Key is the hash of a directory entry. Shard chooses by its upper bits, so that tables for the entries of one shard may go by the lower ones.
type Key uint64

// EntryKey is the hash of the entry (parent, name).
// FNV-1a takes the bytes in (cheap, and names are short), a finaliser with full avalanche makes names that differ in one digit unrelated.
func EntryKey(parent uint64, name []byte) Key {
	const offset, prime = 0xcbf29ce484222325, 0x100000001b3
	h := uint64(offset)
	for _, c := range name {
		h = (h ^ uint64(c)) * prime
	}
	return Key(mix(mix(h) ^ parent*golden))
}

// Shard is the shard, of so many, that holds the entry; 0 if there are no shards. It chooses by multiplication: nothing of
// the shard count aliases with a pattern in the names.
func (h Key) Shard(shards uint32) uint32 {
	shard, _ := bits.Mul64(uint64(h), uint64(shards))
	return uint32(shard)
}

// golden is 2⁶⁴ divided by the golden ratio, odd: it spreads small numbers over all 64 bits.
const golden = 0x9e3779b97f4a7c15

// mix is the 64-bit finaliser "variant 13" of D. Stafford, as used in SplitMix64 (Steele, Lea, Flood, OOPSLA 2014):
// a bijection in which each input bit changes each output bit with probability one half.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// chunkKey condenses inode and chunk. Two rounds, so that inode numbers and chunk indices, both counters, cannot cancel.
func chunkKey(ino, chunk uint64) uint64 { return mix(mix(ino+golden) ^ chunk*golden) }

// rendezvous is the shard with the highest random weight for the key (Thaler and Ravishankar, "Using name-based mappings to
// increase hit rates", 1998) in O(log shards) instead of O(shards). Of the weights in shard order only the records, those higher than
// all before them, can matter, and their places can be drawn without drawing the weights between: after a record at
// place b the next one is beyond place j with probability (b+1)/(j+1). The winner is the last record below shards. This
// is how jump consistent hash works (Lamping and Veach, arXiv:1406.2294), here in integers, so that every machine
// computes the same, and with a full mix a step. As with rendezvous hashing, each shard gets the same share, and when a
// shard is added at the end only the chunks that it wins move, all of them to it.
func rendezvous(key uint64, shards uint32) uint32 {
	var record, next uint64
	for next < uint64(shards) {
		record = next
		key += golden
		next = (record + 1) << 32 / (mix(key)>>32 + 1)
	}
	return uint32(record)
}

// FindRun returns the run that covers the chunk. runs are sorted and do not overlap.
func FindRun(runs []Run, chunk uint64) (Run, bool) {
	i := firstRunEndingAfter(runs, chunk)
	if i < len(runs) && runs[i].First <= chunk {
		return runs[i], true
	}
	return Run{}, false
}

// firstRunEndingAfter is the index of the first run that ends beyond the chunk; the only one that can cover it.
func firstRunEndingAfter(runs []Run, chunk uint64) int {
	return sort.Search(len(runs), func(i int) bool { return runs[i].end() > chunk })
}

func (r Run) end() uint64 { return r.First + r.Count }
