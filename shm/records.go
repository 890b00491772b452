package shm

// #include "place.h"
import "C"

import (
	"sync/atomic"
	"unsafe"
)

// Records are small facts that the shard changes and clients read without asking, each under a sequence lock: see PROTOCOL.md, section 4. A fact has a
// number, and its record is at that number modulo the number of records: a newer fact takes an older one's place. The first word of a record tells
// which fact it is of. The shard must change a record before it lets anybody know of the change, and void it before others may know of one that it
// does not know yet.

// RecordWords is the length of a record.
const RecordWords = C.BFS_RECORD_WORDS

// record is the memory of a fact's record. The shard alone writes it.
type record struct{ c *C.struct_bfs_record }

func (r record) head() *uint64      { return (*uint64)(&r.c.head) }
func (r record) word(i int) *uint64 { return (*uint64)(&r.c.word[i]) }

func (b *Board) recordWords() *C.struct_bfs_records {
	return (*C.struct_bfs_records)(unsafe.Pointer(&b.records[0]))
}

func (b *Board) recordOf(number uint64) record {
	return record{&b.recordWords().record[number%C.BFS_RECORDS]}
}

// PutRecord sets what the record of a fact shows. words[0] is not 0 and tells facts with the same record apart.
func (b *Board) PutRecord(number uint64, words *[RecordWords]uint64) {
	r := b.recordOf(number)
	count := uint32(atomic.LoadUint64(r.head()))
	tag := *b.incarnation << 32
	atomic.StoreUint64(r.head(), tag|uint64(count|1)) // W1
	for i, w := range words {
		if p := r.word(i); atomic.LoadUint64(p) != w {
			atomic.StoreUint64(p, w)
		}
	}
	atomic.StoreUint64(r.head(), tag|uint64((count|1)+1)) // W3
}

// ShowsRecord reports whether the record of a fact shows that fact.
func (b *Board) ShowsRecord(number, first uint64) bool {
	r := b.recordOf(number)
	return atomic.LoadUint64(r.head())>>32 == *b.incarnation&0xffffffff && atomic.LoadUint64(r.word(0)) == first
}

// VoidRecord takes a fact off its record, if it is there.
func (b *Board) VoidRecord(number, first uint64) {
	if !b.ShowsRecord(number, first) {
		return
	}
	r := b.recordOf(number)
	before := atomic.LoadUint64(r.head())
	atomic.StoreUint64(r.head(), before|1)
	atomic.StoreUint64(r.word(0), 0)
	atomic.StoreUint64(r.head(), before&^0xffffffff|uint64(uint32(before|1)+1))
}

// AdvanceName changes the version of a name.
func (b *Board) AdvanceName(hash uint64) {
	atomic.AddUint64((*uint64)(&b.recordWords().name[hash%C.BFS_NAMES]), 1)
}
