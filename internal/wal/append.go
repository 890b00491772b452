package wal

import (
	"encoding/binary"
	"hash/crc32"
	"math/bits"
	"sync/atomic"
	"unsafe"
)

const recordHeader = 8

// Append adds one record, the concatenation of parts (1 … MaxRecord bytes). When it returns nil, the record survives
// the death of this process. ENOSPC: the file cannot grow, nothing was added, and the log can be used further (a checkpoint
// may help). No system call and no allocation, unless the file has to grow.
func (l *Log) Append(parts ...[]byte) error {
	if l.failed != nil {
		return l.failed
	}
	if l.file == nil {
		return errClosed
	}
	if !l.replayed {
		return errNotReplayed
	}
	length := int64(0)
	for _, part := range parts {
		length += int64(len(part))
	}
	if length == 0 || length > MaxRecord {
		return errRecordSize
	}
	end := l.tail + recordSpan(length)
	if end > int64(len(l.file.mem)) {
		if err := l.grow(end); err != nil {
			return err
		}
	}
	at := l.tail + recordHeader
	for _, part := range parts {
		at += int64(copy(l.file.mem[at:], part))
	}
	// The check reads the copy, not the parts: what was copied is what is vouched for, and the parts need not escape.
	check := recordCheck(l.file.salt, l.tail, l.file.mem[l.tail+recordHeader:at])
	binary.LittleEndian.PutUint32(l.file.mem[l.tail+4:], check)
	storeLength(l.file.mem[l.tail:], uint32(length))
	l.tail = end
	return nil
}

// Ensure grows the log ahead, so that records of together bytes, headers and padding included, fit without growing. An owner
// that keeps such a slack before it takes more data can still log removals when the medium is full. No system call if they fit already.
func (l *Log) Ensure(bytes int64) error {
	switch {
	case l.failed != nil:
		return l.failed
	case l.file == nil:
		return errClosed
	case !l.replayed:
		return errNotReplayed
	case l.tail+bytes <= int64(len(l.file.mem)):
		return nil
	}
	return l.grow(l.tail + bytes)
}

// grow makes room up to end, generously if the medium allows, else just enough.
func (l *Log) grow(end int64) error {
	if err := l.step("grow"); err != nil {
		return err
	}
	size := int64(len(l.file.mem))
	want := max(size+min(size, maxGrowthBytes), roundUp(end, minSegmentBytes))
	err := l.file.resize(want)
	if err != nil {
		err = l.file.resize(roundUp(end, pageBytes))
	}
	return err
}

// recordSpan is the space that a record with so long a payload takes.
func recordSpan(length int64) int64 { return roundUp(recordHeader+length, recordHeader) }

// recordCheck is the checksum of a payload stored at an offset of the file with that salt.
func recordCheck(salt uint64, offset int64, payload []byte) uint32 {
	high, low := bits.Mul64(salt^uint64(offset)*0x9e3779b97f4a7c15, uint64(len(payload))*0xbf58476d1ce4e5b9|1)
	seed := high ^ low
	return crc32.Update(uint32(seed^seed>>32), castagnoli, payload)
}

// storeLength publishes a record: an atomic store, ordered after the stores to check and payload.
func storeLength(record []byte, length uint32) {
	var encoded [4]byte
	binary.LittleEndian.PutUint32(encoded[:], length)
	atomic.StoreUint32((*uint32)(unsafe.Pointer(&record[0])), binary.NativeEndian.Uint32(encoded[:]))
}
