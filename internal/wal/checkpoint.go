package wal

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// A snapshot file: u64 magic, u32 version, u32 zero, u64 number; the body; then u64 body length, u32 CRC32C of all before,
// u32 end magic.
const (
	snapMagic       = 0x414e53534642_0a0d // "\r\nBFSSNA"
	snapEnd         = 0x444e4553          // "SEND"
	snapHeaderBytes = 24
	snapFooterBytes = 16
)

func (l *Log) logPath(n uint64) string {
	return filepath.Join(l.dir, l.name+".log."+strconv.FormatUint(n, 10))
}

func (l *Log) snapPath(n uint64) string {
	return filepath.Join(l.dir, l.name+".snap."+strconv.FormatUint(n, 10))
}

// Checkpoint replaces all records by a snapshot that write produces: the whole state as of now. At every step, a crash
// leaves either the old snapshot and log, or the new ones. After an error the old log goes on (ENOSPC, an error of write), unless
// the new snapshot may already be in place: then every later call fails with the same error.
func (l *Log) Checkpoint(write func(w io.Writer) error) error {
	switch {
	case l.failed != nil:
		return l.failed
	case l.file == nil:
		return errClosed
	case !l.replayed:
		return errNotReplayed
	}
	next := l.file.number + 1
	file, err := l.prepareNext(next, write)
	if err != nil {
		l.removeFiles([]string{l.snapPath(next) + tmpSuffix, l.logPath(next)})
		return err
	}
	// The point of no return: from the rename on, log n is no longer read.
	err = l.step("rename snapshot")
	if err == nil {
		err = pathError("rename", l.snapPath(next), syscall.Rename(l.snapPath(next)+tmpSuffix, l.snapPath(next)))
	}
	if err != nil {
		err = errors.Join(err, file.close())
		l.removeFiles([]string{l.snapPath(next) + tmpSuffix, l.logPath(next)})
		return err
	}
	return l.switchTo(file)
}

// prepareNext writes snapshot n under its temporary name, and an empty log n, both durable.
func (l *Log) prepareNext(n uint64, write func(w io.Writer) error) (*logFile, error) {
	if err := l.step("write snapshot"); err != nil {
		return nil, err
	}
	if err := writeSnapshot(l.snapPath(n)+tmpSuffix, n, write); err != nil {
		return nil, err
	}
	if err := l.step("create log"); err != nil {
		return nil, err
	}
	if err := createLog(l.logPath(n), n, l.segment); err != nil {
		return nil, err
	}
	if err := l.step("sync directory"); err != nil {
		return nil, err
	}
	if err := syncDir(l.dir); err != nil {
		return nil, err
	}
	return openLog(l.logPath(n), n)
}

// switchTo goes on with the new log after its snapshot got its name, and drops the old files.
func (l *Log) switchTo(file *logFile) error {
	old := l.file
	l.file, l.tail = file, headerBytes
	file.adopt(headerBytes)
	err := l.step("sync renamed")
	if err == nil {
		err = syncDir(l.dir)
	}
	if err != nil {
		// Power loss could still bring back the old pair: nothing appended from here on could be promised.
		l.failed = err
		return errors.Join(err, old.close())
	}
	closed := old.close()
	if err := l.step("remove old"); err != nil {
		return err
	}
	// What cannot be removed is removed at the next Open.
	l.removeFiles([]string{l.logPath(old.number), l.snapPath(old.number)})
	return closed
}

const tmpSuffix = ".tmp"

// openFiles finds the newest complete pair of snapshot and log, makes the first one if there is none, and removes left-overs.
func (l *Log) openFiles() error {
	names, err := listDir(l.dir, l.name+".")
	if err != nil {
		return err
	}
	newest, logs := uint64(0), 0
	for _, name := range names {
		if n, ok := numberOf(name, l.name+".snap."); ok {
			newest = max(newest, n)
		}
		if _, ok := numberOf(name, l.name+".log."); ok {
			logs++
		}
	}
	if newest == 0 && logs == 0 {
		if err := l.makeFirst(); err != nil {
			return err
		}
	}
	l.file, err = openLog(l.logPath(newest), newest)
	if errors.Is(err, syscall.ENOENT) {
		return &Corrupt{File: l.logPath(newest), Reason: "log file is missing"}
	}
	if err != nil {
		return err
	}
	l.tail = headerBytes
	var stale []string
	for _, name := range names {
		log, isLog := numberOf(name, l.name+".log.")
		snap, isSnap := numberOf(name, l.name+".snap.")
		if isLog && log != newest || isSnap && snap != newest || l.unfinished(name) {
			stale = append(stale, filepath.Join(l.dir, name))
		}
	}
	l.removeFiles(stale)
	return nil
}

// unfinished reports whether name is a temporary file of this log.
func (l *Log) unfinished(name string) bool {
	final, ok := strings.CutSuffix(name, tmpSuffix)
	_, isLog := numberOf(final, l.name+".log.")
	_, isSnap := numberOf(final, l.name+".snap.")
	return ok && (isLog || isSnap)
}

// makeFirst creates log 0. The rename makes sure that a file of that name always has a whole header.
func (l *Log) makeFirst() error {
	path := l.logPath(0)
	if err := createLog(path+tmpSuffix, 0, l.segment); err != nil {
		l.removeFiles([]string{path + tmpSuffix})
		return err
	}
	if err := syscall.Rename(path+tmpSuffix, path); err != nil {
		return pathError("rename", path, err)
	}
	return syncDir(l.dir)
}

// removeFiles drops files that nothing refers to; one that stays is found again at the next Open.
func (l *Log) removeFiles(paths []string) {
	for _, path := range paths {
		_ = syscall.Unlink(path)
	}
}

// numberOf parses prefix<n>.
func numberOf(name, prefix string) (uint64, bool) {
	digits, ok := strings.CutPrefix(name, prefix)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil && strconv.FormatUint(n, 10) == digits
}

// snapWriter buffers, checksums and counts.
type snapWriter struct {
	fd     int
	buffer []byte
	off    int64
	check  uint32
	err    error // sticky, so that a write function that ignores errors cannot produce a short snapshot
}

func (w *snapWriter) Write(data []byte) (int, error) {
	if w.err == nil && len(w.buffer)+len(data) > cap(w.buffer) {
		w.flush()
	}
	if w.err != nil {
		return 0, w.err
	}
	if len(data) <= cap(w.buffer) {
		w.buffer = append(w.buffer, data...)
		return len(data), nil
	}
	w.emit(data)
	if w.err != nil {
		return 0, w.err
	}
	return len(data), nil
}

func (w *snapWriter) flush() {
	w.emit(w.buffer)
	w.buffer = w.buffer[:0]
}

func (w *snapWriter) emit(data []byte) {
	if w.err == nil {
		w.err = writeAt(w.fd, data, w.off)
	}
	w.check = crc32.Update(w.check, castagnoli, data)
	w.off += int64(len(data))
}

// writeSnapshot makes a whole, synced snapshot file at path.
func writeSnapshot(path string, number uint64, write func(w io.Writer) error) error {
	fd, err := openFile(path, syscall.O_WRONLY|syscall.O_CREAT|syscall.O_TRUNC)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	w := &snapWriter{fd: fd, buffer: make([]byte, 0, 256<<10)}
	le := binary.LittleEndian
	header := make([]byte, snapHeaderBytes)
	le.PutUint64(header, snapMagic)
	le.PutUint32(header[8:], version)
	le.PutUint64(header[16:], number)
	_, _ = w.Write(header)
	if err := write(w); err != nil {
		return err
	}
	w.flush()
	footer := make([]byte, snapFooterBytes)
	le.PutUint64(footer, uint64(w.off-snapHeaderBytes))
	check := crc32.Update(w.check, castagnoli, footer[:8])
	le.PutUint32(footer[8:], check)
	le.PutUint32(footer[12:], snapEnd)
	w.emit(footer)
	if w.err == nil {
		w.err = retryEINTR(func() error { return syscall.Fsync(fd) })
	}
	return pathError("write", path, w.err)
}

// readSnapshot checks the whole file before it hands out any of it.
func readSnapshot(path string, number uint64, deliver func(r io.Reader) error) error {
	fd, err := openFile(path, syscall.O_RDONLY)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	var stat syscall.Stat_t
	if err := syscall.Fstat(fd, &stat); err != nil {
		return pathError("stat", path, err)
	}
	if err := checkSnapshot(fd, path, number, stat.Size); err != nil {
		return err
	}
	body := &fileReader{fd: fd, path: path, off: snapHeaderBytes, end: stat.Size - snapFooterBytes}
	if err := deliver(body); err != nil {
		return pathError("replay", path, err)
	}
	return nil
}

func checkSnapshot(fd int, path string, number uint64, size int64) error {
	if size < snapHeaderBytes+snapFooterBytes {
		return &Corrupt{File: path, Offset: size, Reason: "snapshot is too short"}
	}
	head, foot := make([]byte, snapHeaderBytes), make([]byte, snapFooterBytes)
	if _, err := readAt(fd, head, 0); err != nil {
		return pathError("read", path, err)
	}
	if _, err := readAt(fd, foot, size-snapFooterBytes); err != nil {
		return pathError("read", path, err)
	}
	le := binary.LittleEndian
	switch {
	case le.Uint64(head) != snapMagic:
		return &Corrupt{File: path, Reason: "not a snapshot file"}
	case le.Uint32(head[8:]) != version:
		return &Corrupt{File: path, Offset: 8, Reason: "unknown format version"}
	case le.Uint64(head[16:]) != number:
		return &Corrupt{File: path, Offset: 16, Reason: "number does not match the file's name"}
	case le.Uint32(foot[12:]) != snapEnd, le.Uint64(foot) != uint64(size-snapHeaderBytes-snapFooterBytes):
		return &Corrupt{File: path, Offset: size - snapFooterBytes, Reason: "snapshot has no proper end"}
	}
	check := uint32(0)
	buffer := make([]byte, 256<<10)
	for off := int64(0); off < size-8; {
		n, err := readAt(fd, buffer[:min(int64(len(buffer)), size-8-off)], off)
		if err != nil || n == 0 {
			return pathError("read", path, errors.Join(err, io.ErrUnexpectedEOF))
		}
		check = crc32.Update(check, castagnoli, buffer[:n])
		off += int64(n)
	}
	if check != le.Uint32(foot[8:]) {
		return &Corrupt{File: path, Offset: size - 8, Reason: "snapshot check does not match"}
	}
	return nil
}

// fileReader reads [off, end) of a file.
type fileReader struct {
	fd       int
	path     string
	off, end int64
}

func (r *fileReader) Read(p []byte) (int, error) {
	if r.off >= r.end {
		return 0, io.EOF
	}
	n, err := readAt(r.fd, p[:min(int64(len(p)), r.end-r.off)], r.off)
	r.off += int64(n)
	if err == nil && n == 0 && len(p) > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, pathError("read", r.path, err)
}
