// Package cache is what a client remembers of others' data and metadata: [ChunkCache] and [MetaCache]. It knows no messages and no
// servers; who misses brings a function that fetches.
//
// # Coherence is decided above
//
// The caches make two promises. A lookup is answered only with what was read at the version (and, for metadata, the validity) that
// it names. And what a fetch brings is never used by a lookup that begins after an invalidation which came after the fetch began: an
// invalidation counts up an epoch, a fetch carries the epoch that it began under, and an entry of another epoch is none. Hence callers invalidate
// when a change is acknowledged, not before: a reader that refills the cache in between is caught by the epoch.
//
// What the caches cannot know is that somebody on another node changed a file. Without leases they are therefore used only with
// cache.mode = "close-to-open", where an open asks the owner for the version and a cached byte may be as old as the open.
//
// # Off
//
// All methods work on nil pointers, as a cache that never has anything.
//
// # Locks
//
// Entries are spread over independent shards, each with one mutex; no method takes two, and none is held while fetching.
package cache

import "sync/atomic"

// Key names a chunk.
type Key struct{ Ino, Chunk uint64 }

// epochs count invalidations. Names share a counter when their hashes do: then one's invalidation is the other's too, which costs a
// fetch and is never wrong.
type epochs struct{ counters [4096]atomic.Uint64 }

func (e *epochs) of(hash uint64) uint64 { return e.counters[hash>>52].Load() }

func (e *epochs) advance(hash uint64) { e.counters[hash>>52].Add(1) }

func (e *epochs) advanceAll() {
	for i := range e.counters {
		e.counters[i].Add(1)
	}
}

// mix is the finaliser of splitmix64 (Steele, Lea, Flood 2014).
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

func hashIno(ino uint64) uint64 { return mix(ino + 0x9e3779b97f4a7c15) }

func hashKey(k Key) uint64 { return mix(hashIno(k.Ino) ^ k.Chunk*0x9e3779b97f4a7c15) }

func hashName(parent uint64, name string) uint64 {
	h := uint64(14695981039346656037) // FNV-1a
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * 1099511628211
	}
	return mix(h ^ hashIno(parent))
}

// Stamp is when a fetch began, as far as invalidations go. Take it before the fetch, and hand it in with what the fetch brought.
type Stamp struct{ entry, group uint64 }
