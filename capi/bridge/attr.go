package bridge

import (
	"math"
	"syscall"

	"github.com/pkg/errors"
	"golang.org/x/sys/unix"

	"github.com/benchfs/benchfs/core/client"
	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/internal/inode"
)

// Device is st_dev of every file, and f_fsid: "BFS" in a range that Linux gives to no device.
const Device = 0x424653

// maxBlockSize is the largest st_blksize: programs allocate buffers of that size.
const maxBlockSize = 1 << 20

// Stat is what struct stat needs.
type Stat struct {
	Ino       uint64
	Mode      uint32 // type and permissions
	Nlink     uint32
	UID, GID  uint32
	Size      int64
	BlockSize int64
	Blocks    int64 // of 512 bytes
	Atime     Timespec
	Mtime     Timespec
	Ctime     Timespec
}

// Timespec is struct timespec.
type Timespec struct {
	Sec, Nsec int64
}

// statOf converts attributes. EOVERFLOW if the size does not fit in an off_t.
func statOf(a *inode.Attr) (Stat, error) {
	if a.Size > math.MaxInt64 {
		return Stat{}, errors.Wrapf(syscall.EOVERFLOW, "size %d", a.Size)
	}
	s := Stat{
		Ino: uint64(a.Ino), Mode: a.Mode&0o7777 | fileType(a.Kind), Nlink: a.Nlink, UID: a.UID, GID: a.GID,
		Size: int64(a.Size), BlockSize: 4096,
		Atime: timespecOf(a.Atime), Mtime: timespecOf(a.Mtime), Ctime: timespecOf(a.Ctime),
	}
	if a.Kind == inode.File {
		s.Blocks = s.Size / 512
		if s.Size%512 != 0 {
			s.Blocks++
		}
		s.BlockSize = int64(min(a.Layout.ChunkBytes(), maxBlockSize))
	}
	return s, nil
}

// fileType is the S_IFMT part of a mode.
func fileType(k inode.Kind) uint32 {
	switch k {
	case inode.Dir:
		return syscall.S_IFDIR
	case inode.Symlink:
		return syscall.S_IFLNK
	}
	return syscall.S_IFREG
}

// timespecOf splits a time stamp; the nanoseconds are never negative.
func timespecOf(ns int64) Timespec {
	sec, nsec := ns/1e9, ns%1e9
	if nsec < 0 {
		sec, nsec = sec-1, nsec+1e9
	}
	return Timespec{sec, nsec}
}

// timeOf reads a struct timespec as utimensat does. Times that 64 bits of nanoseconds cannot hold become the nearest that they can.
func timeOf(t Timespec) (client.Time, error) {
	const most, least = math.MaxInt64 / 1_000_000_000, math.MinInt64 / 1_000_000_000
	switch {
	case t.Nsec == unix.UTIME_NOW:
		return client.Time{Now: true}, nil
	case t.Nsec == unix.UTIME_OMIT:
		return client.Time{Omit: true}, nil
	case t.Nsec < 0 || t.Nsec >= 1e9:
		return client.Time{}, errors.Wrapf(syscall.EINVAL, "tv_nsec %d", t.Nsec)
	case t.Sec >= most:
		return client.Time{NS: math.MaxInt64}, nil
	case t.Sec <= least:
		return client.Time{NS: math.MinInt64}, nil
	}
	return client.Time{NS: t.Sec*1e9 + t.Nsec}, nil
}

// emptyPath reports whether a call with these flags is about the directory handle itself.
func emptyPath(path string, flags int32) bool { return path == "" && flags&unix.AT_EMPTY_PATH != 0 }

// checkFlags refuses flags that are not among known.
func checkFlags(op, path string, flags, known int32) error {
	if unknown := flags &^ known; unknown != 0 {
		return fserr.New(op, path, syscall.EINVAL, errors.Errorf("unknown flags %#x", unknown))
	}
	return nil
}

// atPath runs a call about a path with AT_* flags. An empty path with AT_EMPTY_PATH is the file of the handle (onFile), or the root.
func (l *Library) atPath(op string, dirfd int32, path string, flags, known int32,
	onFile func(f *client.File) error, onPath func(c *client.Client, at client.At, path string, follow bool) error,
) int64 {
	if err := checkFlags(op, path, flags, known); err != nil {
		return l.fail(err)
	}
	if emptyPath(path, flags) {
		if dirfd != AtRoot {
			return l.on(op, dirfd, onFile)
		}
		path = "/"
	}
	return l.along(op, dirfd, path, func(c *client.Client, at client.At) error {
		return onPath(c, at, path, flags&unix.AT_SYMLINK_NOFOLLOW == 0)
	})
}

// StatAt fills st with the attributes of a path.
func (l *Library) StatAt(dirfd int32, path string, flags int32, st *Stat) int64 {
	const known = unix.AT_SYMLINK_NOFOLLOW | unix.AT_EMPTY_PATH | unix.AT_NO_AUTOMOUNT
	return l.atPath("stat", dirfd, path, flags, known,
		func(f *client.File) error { return fillStat(st)(f.Stat(background)) },
		func(c *client.Client, at client.At, path string, follow bool) error {
			return fillStat(st)(c.Stat(background, at, path, follow))
		})
}

// Fstat fills st with the attributes of an open file.
func (l *Library) Fstat(fd int32, st *Stat) int64 {
	return l.on("fstat", fd, func(f *client.File) error { return fillStat(st)(f.Stat(background)) })
}

func fillStat(st *Stat) func(inode.Attr, error) error {
	return func(a inode.Attr, err error) error {
		if err == nil {
			*st, err = statOf(&a)
		}
		return err
	}
}

// AccessAt checks permissions.
func (l *Library) AccessAt(dirfd int32, path string, mode, flags int32) int64 {
	const known = unix.AT_EACCESS | unix.AT_SYMLINK_NOFOLLOW
	if err := checkFlags("access", path, flags, known); err != nil {
		return l.fail(err)
	}
	return l.along("access", dirfd, path, func(c *client.Client, at client.At) error {
		return c.Access(background, at, path, uint32(mode), flags&unix.AT_EACCESS != 0, flags&unix.AT_SYMLINK_NOFOLLOW == 0)
	})
}

// ChmodAt sets the mode of a path.
func (l *Library) ChmodAt(dirfd int32, path string, mode uint32, flags int32) int64 {
	return l.atPath("chmod", dirfd, path, flags, unix.AT_SYMLINK_NOFOLLOW, nil,
		func(c *client.Client, at client.At, path string, follow bool) error {
			return c.Chmod(background, at, path, mode, follow)
		})
}

// Fchmod sets the mode of an open file.
func (l *Library) Fchmod(fd int32, mode uint32) int64 {
	return l.on("fchmod", fd, func(f *client.File) error { return f.Chmod(background, mode) })
}

// ChownAt sets the owner of a path.
func (l *Library) ChownAt(dirfd int32, path string, uid, gid uint32, flags int32) int64 {
	return l.atPath("chown", dirfd, path, flags, unix.AT_SYMLINK_NOFOLLOW|unix.AT_EMPTY_PATH,
		func(f *client.File) error { return f.Chown(background, uid, gid) },
		func(c *client.Client, at client.At, path string, follow bool) error {
			return c.Chown(background, at, path, uid, gid, follow)
		})
}

// Fchown sets the owner of an open file.
func (l *Library) Fchown(fd int32, uid, gid uint32) int64 {
	return l.on("fchown", fd, func(f *client.File) error { return f.Chown(background, uid, gid) })
}

// Now as both times of a Utimens call is what a NULL of C means.
var Now = [2]Timespec{{Nsec: unix.UTIME_NOW}, {Nsec: unix.UTIME_NOW}}

// UtimensAt sets the times of a path.
func (l *Library) UtimensAt(dirfd int32, path string, times [2]Timespec, flags int32) int64 {
	atime, mtime, err := timesOf(path, times)
	if err != nil {
		return l.fail(err)
	}
	return l.atPath("utimens", dirfd, path, flags, unix.AT_SYMLINK_NOFOLLOW|unix.AT_EMPTY_PATH,
		func(f *client.File) error { return f.Utimens(background, atime, mtime) },
		func(c *client.Client, at client.At, path string, follow bool) error {
			return c.Utimens(background, at, path, atime, mtime, follow)
		})
}

// Futimens sets the times of an open file.
func (l *Library) Futimens(fd int32, times [2]Timespec) int64 {
	atime, mtime, err := timesOf("", times)
	if err != nil {
		return l.fail(err)
	}
	return l.on("futimens", fd, func(f *client.File) error { return f.Utimens(background, atime, mtime) })
}

func timesOf(path string, times [2]Timespec) (atime, mtime client.Time, err error) {
	atime, err = timeOf(times[0])
	if err == nil {
		mtime, err = timeOf(times[1])
	}
	if err != nil {
		err = fserr.New("utimens", path, syscall.EINVAL, err)
	}
	return atime, mtime, err
}

// Statfs is what struct statvfs needs.
type Statfs struct {
	BlockSize          uint64
	Blocks, Free       uint64
	Files, FilesFree   uint64
	FsID, MaxNameBytes uint64
}

// freeInodes is the number of inodes said to be free: there is no limit but memory, and programs take 0 for a full file system.
const freeInodes = 1 << 32

func statfsOf(s client.Statfs) Statfs {
	block := uint64(s.BlockSize)
	return Statfs{
		BlockSize: block, Blocks: s.CapacityBytes / block, Free: s.FreeBytes / block,
		Files: s.Inodes + freeInodes, FilesFree: freeInodes,
		FsID: Device, MaxNameBytes: uint64(s.NameMax),
	}
}

// Statfs fills out with the state of the file system; path must exist.
func (l *Library) Statfs(path string, out *Statfs) int64 {
	return l.along("statfs", AtRoot, path, func(c *client.Client, at client.At) error {
		if _, err := c.Stat(background, at, path, true); err != nil {
			return err
		}
		return fillStatfs(c, out)
	})
}

// Fstatfs is Statfs by an open file.
func (l *Library) Fstatfs(fd int32, out *Statfs) int64 {
	c, err := l.begin("fstatfs")
	if err != nil {
		return l.fail(err)
	}
	defer c.end()
	if _, err := c.file(fd); err != nil {
		return l.fail(err)
	}
	return l.done(fillStatfs(c.s.client, out))
}

func fillStatfs(c *client.Client, out *Statfs) error {
	s, err := c.Statfs(background)
	if err == nil {
		*out = statfsOf(s)
	}
	return err
}
