// Package wal is the write-ahead log under meta and store: records appended by copying into a mapped file, and snapshots
// that bound the replay.
//
// # What it promises
//
// A record whose Append has returned survives the death of the process (kill -9): it is in the page cache. What a function
// returned by [Log.Sync] has covered survives power loss too. A record is either replayed whole or not at all.
//
// # Files
//
// In one directory, for a log of some Name:
//
//	Name.lock        held (flock) while the log is open
//	Name.log.<n>     the records since snapshot n
//	Name.snap.<n>    the state at the beginning of log n; there is none for n = 0
//	*.tmp            unfinished; removed at the next Open
//
// # Records
//
// After a header of 64 bytes come records, each 8-byte aligned: u32 length, u32 check, payload, zeros to the alignment. A
// length of 0 ends the log: the file is zeros from there on. The length is stored last and atomically, so a process
// that dies inside Append leaves a tail without a length, never a record that is wrong. The check is CRC32C over the payload, started
// from a mix of length, offset and the file's random salt: neither old bytes nor a record inside a payload can pass for a record of this file.
//
// # What a reader does about damage
//
// Bytes after the last good record with no valid record behind them are a torn tail and are cut. A bad record with
// valid ones behind it is a [*Corrupt]: the owner of the data decides (Options.Recover). One exception is made after a reboot: pages
// that were not synced reach the disk in any order, hence a bad record beyond the part that is known to be synced is cut like a torn tail.
//
// # Threads
//
// A Log has one owner and no locks; only the function that Sync returns may run elsewhere. File access is by plain
// system calls: an *os.File would start Go's network poller inside a client's process.
package wal

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/benchfs/benchfs/fserr"
)

// Recover says what Replay does about a bad record that valid ones follow.
type Recover uint8

// The choices. The zero value is the safe one.
const (
	Refuse         Recover = 0 // Replay fails with a *Corrupt; no file is changed
	CutAtBadRecord Recover = 1 // the log ends before the bad record; Log.Dropped tells what was lost
)

// Options configure a Log.
type Options struct {
	Name         string  // prefix of the file names: no slash, not empty
	SegmentBytes int64   // initial size of a log file, mapped and allocated; 0 = 4 MiB. It grows by doubling
	Recover      Recover // see there
}

// Limits.
const (
	// MaxRecord is the largest payload of one record.
	MaxRecord = 1 << 30

	defaultSegmentBytes = 4 << 20
	minSegmentBytes     = 64 << 10
	maxGrowthBytes      = 256 << 20 // doubling stops at steps of this size
)

// Corrupt is damage that cannot be explained by a crash. It is an EIO.
type Corrupt struct {
	File   string
	Offset int64
	Reason string
}

func (e *Corrupt) Error() string {
	return fmt.Sprintf("%s: corrupt at byte %d: %s", e.File, e.Offset, e.Reason)
}

// Errno implements fserr.Carrier.
func (e *Corrupt) Errno() syscall.Errno { return syscall.EIO }

// Dropped tells what Replay cut off.
type Dropped struct {
	File    string
	Offset  int64  // the log now ends here
	Bytes   int64  // up to the last byte that was not zero
	Records int    // valid records among them; 0 for a torn tail
	Reason  string // what was wrong at Offset
}

// Errors of wrong use.
var (
	errClosed      = fserr.New("log", "", syscall.EBADF, errors.New("log is closed"))
	errNotReplayed = fserr.New("log", "", syscall.EINVAL, errors.New("Replay comes before Append and Checkpoint, once"))
	errRecordSize  = fserr.New("log", "", syscall.EINVAL, errors.New("record is empty or too large"))
)

// Log is an open log. See the package comment for threads.
type Log struct {
	dir      string
	name     string
	segment  int64
	recovery Recover

	lockFD   int
	file     *logFile
	tail     int64 // where the next record goes
	replayed bool
	failed   error // sticky: set when the files no longer say what the memory says
	dropped  []Dropped

	// fault, in tests, is asked before each step that changes files; an error it returns is that step's.
	fault func(step string) error
}

// Open takes the log in dir (which must exist) for this process, making an empty one if there is none. A log that is
// open already, here or in another process, is EBUSY. The next call must be Replay.
func Open(dir string, o Options) (*Log, error) {
	if o.Name == "" || strings.ContainsRune(o.Name, filepath.Separator) {
		return nil, fserr.New("open log", dir, syscall.EINVAL, fmt.Errorf("bad log name %q", o.Name))
	}
	segment := o.SegmentBytes
	if segment <= 0 {
		segment = defaultSegmentBytes
	}
	l := &Log{dir: dir, name: o.Name, segment: roundUp(max(segment, minSegmentBytes), pageBytes), recovery: o.Recover, lockFD: -1}
	if err := l.lock(); err != nil {
		return nil, err
	}
	if err := l.openFiles(); err != nil {
		l.unlock()
		return nil, err
	}
	return l, nil
}

// Dropped tells what Replay cut off; nil when nothing.
func (l *Log) Dropped() []Dropped { return l.dropped }

// Bytes is what has been appended since the last checkpoint: the owner checkpoints when it is large.
func (l *Log) Bytes() int64 {
	if l.file == nil || !l.replayed {
		return 0
	}
	return l.tail - headerBytes
}

// Sync returns a function that makes everything appended so far survive power loss. The function may run on any
// goroutine, beside all methods, and more than once.
func (l *Log) Sync() func() error {
	file, upTo, failed := l.file, l.tail, l.failed
	return func() error {
		if failed != nil {
			return failed
		}
		if file == nil {
			return errClosed
		}
		return file.sync(upTo)
	}
}

// Close makes the log durable and lets go of it. A second Close does nothing.
func (l *Log) Close() error {
	if l.file == nil {
		return nil
	}
	var err error
	if l.replayed {
		err = l.file.sync(l.tail)
	}
	err = errors.Join(err, l.file.close())
	l.file = nil
	l.unlock()
	return err
}

func (l *Log) step(name string) error {
	if l.fault == nil {
		return nil
	}
	return l.fault(name)
}

// lock takes the advisory lock that makes the log exclusive. The kernel drops it when the process dies.
func (l *Log) lock() error {
	path := filepath.Join(l.dir, l.name+".lock")
	fd, err := openFile(path, syscall.O_RDWR|syscall.O_CREAT)
	if err != nil {
		return err
	}
	err = retryEINTR(func() error { return syscall.Flock(fd, syscall.LOCK_EX|syscall.LOCK_NB) })
	if err != nil {
		syscall.Close(fd)
		if err == syscall.EWOULDBLOCK {
			return fserr.New("open log", path, syscall.EBUSY, errors.New("in use by another process or another opener"))
		}
		return pathError("lock", path, err)
	}
	l.lockFD = fd
	return nil
}

func (l *Log) unlock() {
	if l.lockFD >= 0 {
		syscall.Close(l.lockFD)
		l.lockFD = -1
	}
}
