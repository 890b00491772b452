// Package posix is the conformance suite: cases that say what a POSIX file system does, written once and run on every front.
// The local disk is a front too, and the oracle: a case that it fails is a wrong case.
//
// Where BenchFS differs from Linux's local file systems on purpose, a case asks only for what both promise: reads do not advance
// atime, st_blocks is computed from the size, the size of a directory is the number of its entries.
package posix

import "syscall"

// FS is a front: calls of POSIX's shape on one file system. Errors are syscall.Errno; any other error is a broken front.
// Paths are absolute, from the front's root.
type FS interface {
	Open(path string, flags int, mode uint32) (int, error)
	Openat(dir int, path string, flags int, mode uint32) (int, error)
	Close(fd int) error
	Dup(fd int) (int, error)
	Read(fd, n int) ([]byte, error)
	Pread(fd, n int, off int64) ([]byte, error)
	Write(fd int, p []byte) (int, error)
	Pwrite(fd int, p []byte, off int64) (int, error)
	Readv(fd int, sizes []int) ([]byte, error)
	Writev(fd int, bufs [][]byte) (int, error)
	Lseek(fd int, off int64, whence int) (int64, error)
	Fsync(fd int) error
	Ftruncate(fd int, size int64) error
	Truncate(path string, size int64) error
	Fallocate(fd int, mode uint32, off, n int64) error
	Stat(path string) (Stat, error)
	Lstat(path string) (Stat, error)
	Fstat(fd int) (Stat, error)
	Fstatat(dir int, path string, flags int) (Stat, error)
	Access(path string, mode uint32) error
	Chmod(path string, mode uint32) error
	Fchmod(fd int, mode uint32) error
	Chown(path string, uid, gid int) error
	Lchown(path string, uid, gid int) error
	Utimens(path string, atime, mtime syscall.Timespec, follow bool) error
	Mkdir(path string, mode uint32) error
	Mkdirat(dir int, path string, mode uint32) error
	Rmdir(path string) error
	Unlink(path string) error
	Unlinkat(dir int, path string, flags int) error
	Rename(from, to string) error
	Renameat(fromDir int, from string, toDir int, to string) error
	Link(from, to string) error
	Symlink(target, path string) error
	Readlink(path string) (string, error)
	Opendir(path string) (int, error)
	// Readdir returns the next entries, at most so many, with "." and ".."; none at the end.
	Readdir(dir, most int) ([]Dirent, error)
	Seekdir(dir int, cookie int64) error
	Closedir(dir int) error
	Statfs(path string) (Statfs, error)
}

// Stat is what stat tells. Times are nanoseconds since the Unix epoch.
type Stat struct {
	Ino                 uint64
	Mode                uint32 // with S_IFMT
	Nlink               uint64
	UID, GID            uint32
	Size                int64
	Atime, Mtime, Ctime int64
}

// Dirent is a directory entry; a Seekdir to Cookie resumes right after it.
type Dirent struct {
	Name   string
	Ino    uint64
	Cookie int64
}

// Statfs is what statvfs tells, in bytes.
type Statfs struct {
	Bytes, Free uint64
	NameMax     int64
}

// Special values of the nanoseconds of a time stamp, see utimensat(2).
const (
	UtimeNow  = 1<<30 - 1
	UtimeOmit = 1<<30 - 2
)
