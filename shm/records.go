package shm

import (
	"runtime"
	"sync/atomic"
)

// Records are the third file: small facts that the daemon changes and clients read without asking, each under a sequence lock. A fact has a number, and
// its record is at that number modulo maxRecords: a newer fact takes an older one's place. The first word of a record holds a tag of the daemon's
// incarnation above and a count below, which is odd while the words behind it change; the first word behind it must tell which fact it is. A
// client may believe what it read if the head showed the tag and the same even count before and after. The daemon must change a record before it
// lets anybody know of the change, and void it before others may know of one that it does not know yet.

// RecordWords is the length of a record.
const RecordWords = 15

const (
	recordBytes  = 128
	maxRecords   = 1 << 16
	recordsName  = "records"
	recordsBytes = maxRecords*recordBytes + 8*nameBuckets
)

func recordAt(number uint64) uintptr { return recordBytes * uintptr(number%maxRecords) }

// PutRecord sets what the record of a fact shows. words[0] is not 0 and tells facts with the same record apart.
func (b *Board) PutRecord(number uint64, words *[RecordWords]uint64) {
	at := recordAt(number)
	head := word(b.records, at)
	count := uint32(atomic.LoadUint64(head))
	tag := *b.incarnation << 32
	atomic.StoreUint64(head, tag|uint64(count|1))
	for i, w := range words {
		p := word(b.records, at+8*uintptr(i+1))
		if atomic.LoadUint64(p) != w {
			atomic.StoreUint64(p, w)
		}
	}
	atomic.StoreUint64(head, tag|uint64((count|1)+1))
}

// ShowsRecord reports whether the record of a fact shows that fact.
func (b *Board) ShowsRecord(number, first uint64) bool {
	at := recordAt(number)
	return atomic.LoadUint64(word(b.records, at))>>32 == *b.incarnation&0xffffffff && atomic.LoadUint64(word(b.records, at+8)) == first
}

// VoidRecord takes a fact off its record, if it is there.
func (b *Board) VoidRecord(number, first uint64) {
	if !b.ShowsRecord(number, first) {
		return
	}
	at := recordAt(number)
	head := word(b.records, at)
	before := atomic.LoadUint64(head)
	atomic.StoreUint64(head, before|1)
	atomic.StoreUint64(word(b.records, at+8), 0)
	atomic.StoreUint64(head, before&^0xffffffff|uint64(uint32(before|1)+1))
}

// Shows reports whether the record of a fact seems to show that fact, for who would only waste time otherwise.
func (v *View) Shows(number, first uint64) bool {
	at := recordAt(number)
	return atomic.LoadUint64(word(v.records, at))>>32 == v.expected.Load()&0xffffffff && atomic.LoadUint64(word(v.records, at+8)) == first
}

// Record reads the record of a fact. false: it shows nothing. Whether it is of that fact, words[0] tells.
func (v *View) Record(number uint64, words *[RecordWords]uint64) bool {
	at := recordAt(number)
	head := word(v.records, at)
	tag := v.expected.Load() & 0xffffffff
	for tries := range 1000 {
		before := atomic.LoadUint64(head)
		if before>>32 != tag {
			return false
		}
		if before&1 == 0 {
			for i := range words {
				words[i] = atomic.LoadUint64(word(v.records, at+8*uintptr(i+1)))
			}
			if atomic.LoadUint64(head) == before {
				return v.Valid()
			}
		}
		if tries > 100 { // the daemon has lost its core in the middle of a change
			runtime.Gosched()
		}
	}
	return false
}

// nameBuckets is how many versions there are for names: behind the records, one word each. The daemon advances the version of a name's bucket
// before it lets anybody know that the name stands for something else, or may be about to. A client that looked at the version, and was told
// what a name stands for after that, may believe it as long as that is the version.
const nameBuckets = 4096

func nameVersion(records []byte, hash uint64) *uint64 {
	return word(records, maxRecords*recordBytes+8*uintptr(hash%nameBuckets))
}

// AdvanceName changes the version of a name.
func (b *Board) AdvanceName(hash uint64) { atomic.AddUint64(nameVersion(b.records, hash), 1) }

// NameVersion is the version of a name now. false: nothing that was told counts any more.
func (v *View) NameVersion(hash uint64) (version uint64, ok bool) {
	version = atomic.LoadUint64(nameVersion(v.records, hash))
	return version, v.Valid()
}
