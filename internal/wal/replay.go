package wal

import (
	"encoding/binary"
	"io"
	"runtime/debug"
	"syscall"

	"github.com/benchfs/benchfs/fserr"
)

// Replay hands over the state: the snapshot, if there is one, then each record in the order of Append. It comes once, before anything is
// appended. rec and r are good during the callback only. An error of a callback ends the replay and is returned.
//
// Damage is a *Corrupt (see the package comment); in a snapshot always, since nothing can be cut from one. A Log whose Replay failed
// can only be closed.
func (l *Log) Replay(snapshot func(r io.Reader) error, record func(rec []byte) error) error {
	if l.file == nil {
		return errClosed
	}
	if l.replayed {
		return errNotReplayed
	}
	if l.file.number > 0 {
		if err := readSnapshot(l.snapPath(l.file.number), l.file.number, snapshot); err != nil {
			return err
		}
	}
	if err := l.replayRecords(record); err != nil {
		return err
	}
	// A log that a full medium or an odd crash left short is brought to size now, not in the middle of an Append.
	if err := l.file.resize(l.segment); err != nil {
		return err
	}
	l.file.adopt(l.tail)
	l.replayed = true
	return nil
}

func (l *Log) replayRecords(record func(rec []byte) error) (err error) {
	defer faultIsError(l.file.path, &err)()
	reader := logReader{data: l.file.mem, salt: l.file.salt, off: headerBytes}
	for {
		at := reader.off
		rec, ok := reader.next()
		if !ok {
			break
		}
		if err := record(rec); err != nil {
			return pathError("replay", l.file.path, &recordError{offset: at, err: err})
		}
	}
	l.tail = reader.off
	return l.settleTail(&reader)
}

// settleTail decides about what follows the last good record: nothing, a torn tail, or damage.
func (l *Log) settleTail(reader *logReader) error {
	last := lastNonZero(reader.data, reader.off)
	if last < reader.off {
		// Even an all-zero tail is not durable after a crash of the machine; nothing hangs on it.
		return l.durable()
	}
	records, certain := reader.validAfter()
	if records > 0 || !certain {
		rebooted, synced := l.file.crashedMachine()
		if !(rebooted && reader.off >= synced) && l.recovery != CutAtBadRecord {
			return &Corrupt{File: l.file.path, Offset: reader.off, Reason: reader.reason() + ", and valid records follow"}
		}
	}
	l.dropped = append(l.dropped, Dropped{
		File: l.file.path, Offset: reader.off, Bytes: last + 1 - reader.off, Records: records, Reason: reader.reason(),
	})
	if err := l.step("cut"); err != nil {
		return err
	}
	return l.file.cut(reader.off)
}

// durable syncs what was replayed: it may come from a process that died without a sync, and the boot id is about to change.
func (l *Log) durable() error {
	if rebooted, _ := l.file.crashedMachine(); !rebooted && l.file.number == 0 && l.tail == headerBytes {
		return nil
	}
	return pathError("sync", l.file.path, retryEINTR(func() error { return syscall.Fdatasync(l.file.fd) }))
}

// recordError tells which record a callback refused.
type recordError struct {
	offset int64
	err    error
}

func (e *recordError) Error() string {
	return (&Corrupt{File: "record", Offset: e.offset, Reason: e.err.Error()}).Error()
}
func (e *recordError) Unwrap() error { return e.err }

// faultIsError turns a failed page-in of a mapping (a medium that cannot be read, or a file that somebody shortened) into an EIO.
// Use: defer faultIsError(path, &err)().
func faultIsError(path string, err *error) func() {
	old := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(old)
		cause := recover()
		if cause == nil {
			return
		}
		if _, isFault := cause.(interface{ Addr() uintptr }); !isFault {
			panic(cause)
		}
		*err = fserr.New("read", path, syscall.EIO, nil)
	}
}

// logReader walks the records of a log file's bytes. It trusts nothing in them.
type logReader struct {
	data []byte
	salt uint64
	off  int64 // the next record; after next returned false: where the good part ends
}

// next returns the record at off and moves on, or false at the first thing that is not a valid record.
func (r *logReader) next() ([]byte, bool) {
	rec, ok := r.at(r.off)
	if ok {
		r.off += recordSpan(int64(len(rec)))
	}
	return rec, ok
}

// at is the record at an offset, if there is a valid one.
func (r *logReader) at(off int64) ([]byte, bool) {
	length, ok := r.lengthAt(off)
	if !ok {
		return nil, false
	}
	payload := r.data[off+recordHeader : off+recordHeader+length]
	if recordCheck(r.salt, off, payload) != binary.LittleEndian.Uint32(r.data[off+4:]) {
		return nil, false
	}
	return payload, true
}

// lengthAt is the length word at an offset if a record of that length could be there.
func (r *logReader) lengthAt(off int64) (int64, bool) {
	if off+recordHeader > int64(len(r.data)) {
		return 0, false
	}
	length := int64(binary.LittleEndian.Uint32(r.data[off:]))
	if length == 0 || length > MaxRecord || off+recordHeader+length > int64(len(r.data)) {
		return 0, false
	}
	return length, true
}

// searchBudget bounds the bytes that validAfter checksums: garbage may look like any number of long records.
const searchBudget = 4 << 30

// validAfter counts the valid records behind the bad place at off. certain is false if the search gave up.
func (r *logReader) validAfter() (records int, certain bool) {
	budget := int64(searchBudget)
	for off := r.off + recordHeader; off+recordHeader <= int64(len(r.data)); {
		length, possible := r.lengthAt(off)
		if !possible {
			off += recordHeader
			continue
		}
		if budget -= length; budget < 0 {
			return records, false
		}
		if _, ok := r.at(off); ok {
			records++
			off += recordSpan(length)
		} else {
			off += recordHeader
		}
	}
	return records, true
}

// reason says what is wrong at off.
func (r *logReader) reason() string {
	if off := r.off; off+recordHeader > int64(len(r.data)) {
		return "incomplete record header"
	} else if binary.LittleEndian.Uint32(r.data[off:]) == 0 {
		return "record without a length"
	} else if _, ok := r.lengthAt(off); !ok {
		return "record longer than the file"
	}
	return "record check does not match"
}

// lastNonZero is the offset of the last byte of data that is not zero, or from−1.
func lastNonZero(data []byte, from int64) int64 {
	end := int64(len(data))
	for end-8 >= from && binary.LittleEndian.Uint64(data[end-8:]) == 0 {
		end -= 8
	}
	for end > from && data[end-1] == 0 {
		end--
	}
	return end - 1
}
