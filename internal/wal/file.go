package wal

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/internal/random"
)

// Header of a log file, little-endian:
//
//	 0  u64 magic
//	 8  u32 version
//	12  u32 check    CRC32C of bytes 0–11 and 16–31
//	16  u64 number   n of the file's name
//	24  u64 salt     random; seeds the records' checks
//	32  16  boot id  of the machine that appended last; zeros if it has none
//	48  u64 synced   everything below this offset was synced under that boot id
//	56  u64 reserved, 0
const (
	headerBytes  = 64
	logMagic     = 0x474f4c534642_0a0d // "\r\nBFSLOG"
	version      = 1
	bootOffset   = 32
	syncedOffset = 48
	pageBytes    = 4096
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// logFile is one mapped log file. mem belongs to the log's owner; the descriptor is shared with sync.
type logFile struct {
	path   string
	fd     int
	number uint64
	salt   uint64
	mem    []byte // the whole file, shared mapping; every page of it is allocated on the medium

	mu     sync.Mutex // guards what is below, and fd against being closed under sync
	closed bool
	synced int64
}

// createLog makes an empty log file of the given size at path, synced.
func createLog(path string, number uint64, bytes int64) error {
	fd, err := openFile(path, syscall.O_RDWR|syscall.O_CREAT|syscall.O_TRUNC)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	if err := allocate(fd, 0, bytes); err != nil {
		return pathError("allocate", path, err)
	}
	var header [headerBytes]byte
	le := binary.LittleEndian
	le.PutUint64(header[0:], logMagic)
	le.PutUint32(header[8:], version)
	le.PutUint64(header[16:], number)
	if err := random.Read(header[24:32]); err != nil {
		return pathError("salt", path, err)
	}
	le.PutUint32(header[12:], headerCheck(header[:]))
	boot := bootID()
	copy(header[bootOffset:], boot[:])
	le.PutUint64(header[syncedOffset:], headerBytes)
	if err := writeAt(fd, header[:], 0); err != nil {
		return pathError("write", path, err)
	}
	return pathError("sync", path, retryEINTR(func() error { return syscall.Fsync(fd) }))
}

func headerCheck(header []byte) uint32 {
	return crc32.Update(crc32.Checksum(header[:12], castagnoli), castagnoli, header[16:32])
}

// openLog maps an existing log file.
func openLog(path string, number uint64) (*logFile, error) {
	fd, err := openFile(path, syscall.O_RDWR)
	if err != nil {
		return nil, err
	}
	f := &logFile{path: path, fd: fd, number: number}
	if err := f.load(); err != nil {
		syscall.Close(fd)
		return nil, err
	}
	return f, nil
}

func (f *logFile) load() error {
	var header [headerBytes]byte
	n, err := readAt(f.fd, header[:], 0)
	if err != nil {
		return pathError("read", f.path, err)
	}
	le := binary.LittleEndian
	switch {
	case n < headerBytes:
		return &Corrupt{File: f.path, Offset: int64(n), Reason: "shorter than a header"}
	case le.Uint64(header[:]) != logMagic:
		return &Corrupt{File: f.path, Reason: "not a log file"}
	case le.Uint32(header[8:]) != version:
		return &Corrupt{File: f.path, Offset: 8, Reason: "unknown format version"}
	case le.Uint32(header[12:]) != headerCheck(header[:]):
		return &Corrupt{File: f.path, Offset: 12, Reason: "header check does not match"}
	case le.Uint64(header[16:]) != f.number:
		return &Corrupt{File: f.path, Offset: 16, Reason: "number does not match the file's name"}
	}
	f.salt = le.Uint64(header[24:])
	var stat syscall.Stat_t
	if err := syscall.Fstat(f.fd, &stat); err != nil {
		return pathError("stat", f.path, err)
	}
	f.mem, err = unix.Mmap(f.fd, 0, int(stat.Size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	return pathError("map", f.path, err)
}

// crashedMachine tells whether the machine was restarted since the file was last appended to, and up to where the file is
// known to have been synced before.
func (f *logFile) crashedMachine() (bool, int64) {
	boot := bootID()
	var zero [16]byte
	if boot == zero || [16]byte(f.mem[bootOffset:]) == boot {
		return false, 0
	}
	return true, int64(binary.LittleEndian.Uint64(f.mem[syncedOffset:]))
}

// adopt marks the file as appended to under this boot from upTo on; all before it has been synced.
func (f *logFile) adopt(upTo int64) {
	boot := bootID()
	f.synced = upTo
	binary.LittleEndian.PutUint64(f.mem[syncedOffset:], uint64(upTo))
	copy(f.mem[bootOffset:], boot[:])
}

// resize makes the file and its mapping bytes long, all of it allocated. On ENOSPC nothing has changed.
func (f *logFile) resize(bytes int64) error {
	have := int64(len(f.mem))
	if bytes <= have {
		return nil
	}
	if err := allocate(f.fd, have, bytes-have); err != nil {
		return pathError("grow", f.path, err)
	}
	mem, err := unix.Mremap(f.mem, int(bytes), unix.MREMAP_MAYMOVE)
	if err != nil {
		return pathError("map", f.path, err)
	}
	f.mem = mem
	return nil
}

// cut makes everything from offset on zeros, durably, in one step that a crash cannot halve.
func (f *logFile) cut(offset int64) error {
	size := int64(len(f.mem))
	if err := retryEINTR(func() error { return syscall.Ftruncate(f.fd, offset) }); err != nil {
		return pathError("truncate", f.path, err)
	}
	err := allocate(f.fd, offset, size-offset)
	if err == nil {
		err = retryEINTR(func() error { return syscall.Fsync(f.fd) })
	}
	return pathError("cut", f.path, err)
}

// sync makes the file durable and notes that it is so up to upTo. A file that a checkpoint has closed needs nothing:
// the snapshot that replaced it is durable.
func (f *logFile) sync(upTo int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil
	}
	if err := retryEINTR(func() error { return syscall.Fdatasync(f.fd) }); err != nil {
		return pathError("sync", f.path, err)
	}
	if upTo > f.synced {
		// The mark itself is not synced: one that is too low after power loss only widens what counts as torn.
		var mark [8]byte
		binary.LittleEndian.PutUint64(mark[:], uint64(upTo))
		if err := writeAt(f.fd, mark[:], syncedOffset); err != nil {
			return pathError("write", f.path, err)
		}
		f.synced = upTo
	}
	return nil
}

func (f *logFile) close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil
	}
	f.closed = true
	err := unix.Munmap(f.mem)
	f.mem = nil
	return pathError("close", f.path, errors.Join(err, syscall.Close(f.fd)))
}

// allocate backs [off, off+n) with space on the medium, so that a store to a mapping of it cannot fail, and extends the file to
// off+n. File systems without fallocate get zeros written; the range must then be beyond the end of the file.
func allocate(fd int, off, n int64) error {
	if n <= 0 {
		return nil
	}
	err := retryEINTR(func() error { return syscall.Fallocate(fd, 0, off, n) })
	if err != syscall.EOPNOTSUPP && err != syscall.ENOSYS {
		return err
	}
	zeros := make([]byte, min(n, 1<<20))
	for n > 0 {
		piece := zeros[:min(n, int64(len(zeros)))]
		if err := writeAt(fd, piece, off); err != nil {
			return err
		}
		off, n = off+int64(len(piece)), n-int64(len(piece))
	}
	return nil
}

func openFile(path string, flags int) (int, error) {
	var fd int
	err := retryEINTR(func() (err error) {
		fd, err = syscall.Open(path, flags|syscall.O_CLOEXEC, 0o600)
		return err
	})
	return fd, pathError("open", path, err)
}

// syncDir makes creations, renames and removals in dir durable.
func syncDir(dir string) error {
	fd, err := openFile(dir, syscall.O_RDONLY|syscall.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	err = retryEINTR(func() error { return syscall.Fsync(fd) })
	if err == syscall.EINVAL { // a file system whose directories need none
		err = nil
	}
	return pathError("sync", dir, err)
}

// listDir returns the names in dir that begin with prefix.
func listDir(dir, prefix string) ([]string, error) {
	fd, err := openFile(dir, syscall.O_RDONLY|syscall.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	defer syscall.Close(fd)
	var names, found []string
	buffer := make([]byte, 16<<10)
	for {
		n, err := syscall.ReadDirent(fd, buffer)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return nil, pathError("read", dir, err)
		}
		if n == 0 {
			break
		}
		_, _, names = syscall.ParseDirent(buffer[:n], -1, names)
	}
	for _, name := range names {
		if strings.HasPrefix(name, prefix) {
			found = append(found, name)
		}
	}
	return found, nil
}

func writeAt(fd int, data []byte, off int64) error {
	for len(data) > 0 {
		n, err := syscall.Pwrite(fd, data, off)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		data, off = data[n:], off+int64(n)
	}
	return nil
}

// readAt fills data as far as the file goes.
func readAt(fd int, data []byte, off int64) (int, error) {
	done := 0
	for done < len(data) {
		n, err := syscall.Pread(fd, data[done:], off+int64(done))
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return done, err
		}
		if n == 0 {
			break
		}
		done += n
	}
	return done, nil
}

func retryEINTR(call func() error) error {
	for {
		if err := call(); err != syscall.EINTR {
			return err
		}
	}
}

// pathError names the file in an error; nil stays nil.
func pathError(op, path string, err error) error {
	if err == nil {
		return nil
	}
	return fserr.New(op, path, fserr.Errno(err), err)
}

func roundUp(n, to int64) int64 { return (n + to - 1) / to * to }

// bootID identifies this run of the machine's kernel; zeros where there is no telling.
var bootID = sync.OnceValue(func() (id [16]byte) {
	fd, err := openFile("/proc/sys/kernel/random/boot_id", syscall.O_RDONLY)
	if err != nil {
		return id
	}
	defer syscall.Close(fd)
	text := make([]byte, 64)
	n, err := readAt(fd, text, 0)
	if err != nil {
		return id
	}
	digits := 0
	for _, c := range text[:n] {
		value := strings.IndexByte("0123456789abcdef", c)
		if value >= 0 && digits < 32 {
			id[digits/2] = id[digits/2]<<4 | byte(value)
			digits++
		}
	}
	return id
})
