package shm

import (
	"runtime"
	"sync/atomic"
)

// Records are the third file: small facts that the daemon changes and clients read without asking, each under a sequence lock. Its first word
// holds a serial number above and a count below, which is odd while the words behind it change. A client that was told (record, serial) may
// believe what it read if that word showed the serial and the same even count before and after. The daemon must change a
// record before it lets anybody know of the change, and drop it before it changes the fact in ways that the words cannot tell.

// RecordWords is the length of a record.
const RecordWords = 13

const (
	recordBytes  = 128
	maxRecords   = 1 << 16
	recordsName  = "records"
	recordsBytes = maxRecords*recordBytes + 8*NameBuckets
)

// NameBuckets is how many versions there are for names: behind the records, one word each. The daemon advances the version of a name's bucket
// before it lets anybody know that the name stands for something else, or may be about to. A client that was told what a name stands for, and
// the version then, may believe it as long as that is the version.
const NameBuckets = 4096

func nameVersion(records []byte, bucket uint32) *uint64 {
	return word(records, maxRecords*recordBytes+8*uintptr(bucket%NameBuckets))
}

// AdvanceName changes the version of a bucket.
func (b *Board) AdvanceName(bucket uint32) { atomic.AddUint64(nameVersion(b.records, bucket), 1) }

// NameVersion is the version that a client must be told.
func (b *Board) NameVersion(bucket uint32) uint64 {
	return atomic.LoadUint64(nameVersion(b.records, bucket))
}

// NameVersion is the version now. false: nothing that was told counts any more.
func (v *View) NameVersion(bucket uint32) (version uint64, ok bool) {
	version = atomic.LoadUint64(nameVersion(v.records, bucket))
	return version, v.Valid()
}

// TakeRecord gives a fact a record. ok is false when there is none left.
func (b *Board) TakeRecord(words *[RecordWords]uint64) (record, serial uint32, ok bool) {
	switch {
	case b.nextRecord < maxRecords: // used in turn, as slots are
		record = b.nextRecord
		b.nextRecord++
	case len(b.freeRecords) > 0:
		record = b.freeRecords[0]
		b.freeRecords = b.freeRecords[1:]
	default:
		return 0, 0, false
	}
	head := word(b.records, recordBytes*uintptr(record))
	serial = uint32(atomic.LoadUint64(head)>>32) + 1
	atomic.StoreUint64(head, uint64(serial)<<32|1)
	b.PutRecord(record, words)
	return record, serial, true
}

// PutRecord changes a record.
func (b *Board) PutRecord(record uint32, words *[RecordWords]uint64) {
	at := recordBytes * uintptr(record)
	head := word(b.records, at)
	old := atomic.LoadUint64(head)
	serial, count := old>>32<<32, uint32(old)
	atomic.StoreUint64(head, serial|uint64(count|1))
	for i, w := range words {
		p := word(b.records, at+8*uintptr(i+1))
		if atomic.LoadUint64(p) != w {
			atomic.StoreUint64(p, w)
		}
	}
	atomic.StoreUint64(head, serial|uint64((count|1)+1))
}

// RecordSerial is what a client of the record must be told.
func (b *Board) RecordSerial(record uint32) uint32 {
	return uint32(atomic.LoadUint64(word(b.records, recordBytes*uintptr(record))) >> 32)
}

// DropRecord makes all that was told about the record void.
func (b *Board) DropRecord(record uint32) {
	atomic.AddUint64(word(b.records, recordBytes*uintptr(record)), 1<<32)
	b.freeRecords = append(b.freeRecords, record)
}

// Record reads a record. false: what was told about it does not hold any more.
func (v *View) Record(record, serial uint32, words *[RecordWords]uint64) bool {
	if record >= maxRecords {
		return false
	}
	at := recordBytes * uintptr(record)
	head := word(v.records, at)
	for tries := range 1000 {
		before := atomic.LoadUint64(head)
		if uint32(before>>32) != serial || !v.Valid() {
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
