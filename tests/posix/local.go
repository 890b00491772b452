package posix

import (
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Local is a directory of the local disk: the oracle.
type Local struct {
	root string
	dirs map[int]*localDir
	next int
}

// localDir is a directory stream: the listing as of its opening, which POSIX allows.
type localDir struct {
	list []Dirent
	at   int
}

// NewLocal makes a front of an existing directory.
func NewLocal(root string) *Local {
	return &Local{root: root, dirs: map[int]*localDir{}, next: 1 << 20}
}

func (l *Local) p(path string) string {
	if path == "" {
		return ""
	}
	return l.root + path
}

func st(s *unix.Stat_t, err error) (Stat, error) {
	if err != nil {
		return Stat{}, err
	}
	return Stat{
		Ino: s.Ino, Mode: s.Mode, Nlink: uint64(s.Nlink), UID: s.Uid, GID: s.Gid, Size: s.Size,
		Atime: s.Atim.Nano(), Mtime: s.Mtim.Nano(), Ctime: s.Ctim.Nano(),
	}, nil
}

func sub(p []byte, n int, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return p[:n], nil
}

func (l *Local) Open(path string, flags int, mode uint32) (int, error) {
	return unix.Open(l.p(path), flags|unix.O_CLOEXEC, mode)
}

func (l *Local) Openat(dir int, path string, flags int, mode uint32) (int, error) {
	return unix.Openat(dir, path, flags|unix.O_CLOEXEC, mode)
}

func (l *Local) Close(fd int) error                         { return unix.Close(fd) }
func (l *Local) Dup(fd int) (int, error)                    { return unix.Dup(fd) }
func (l *Local) Fsync(fd int) error                         { return unix.Fsync(fd) }
func (l *Local) Rmdir(path string) error                    { return unix.Rmdir(l.p(path)) }
func (l *Local) Unlink(path string) error                   { return unix.Unlink(l.p(path)) }
func (l *Local) Rename(a, b string) error                   { return unix.Rename(l.p(a), l.p(b)) }
func (l *Local) Link(a, b string) error                     { return unix.Link(l.p(a), l.p(b)) }
func (l *Local) Ftruncate(fd int, size int64) error         { return unix.Ftruncate(fd, size) }
func (l *Local) Truncate(path string, size int64) error     { return unix.Truncate(l.p(path), size) }
func (l *Local) Write(fd int, p []byte) (int, error)        { return unix.Write(fd, p) }
func (l *Local) Writev(fd int, bufs [][]byte) (int, error)  { return unix.Writev(fd, bufs) }
func (l *Local) Access(path string, mode uint32) error      { return unix.Access(l.p(path), mode) }
func (l *Local) Chmod(path string, mode uint32) error       { return unix.Chmod(l.p(path), mode) }
func (l *Local) Fchmod(fd int, mode uint32) error           { return unix.Fchmod(fd, mode) }
func (l *Local) Chown(path string, uid, gid int) error      { return unix.Chown(l.p(path), uid, gid) }
func (l *Local) Lchown(path string, uid, gid int) error     { return unix.Lchown(l.p(path), uid, gid) }
func (l *Local) Mkdir(path string, mode uint32) error       { return unix.Mkdir(l.p(path), mode) }
func (l *Local) Mkdirat(dir int, p string, m uint32) error  { return unix.Mkdirat(dir, p, m) }
func (l *Local) Unlinkat(dir int, p string, flag int) error { return unix.Unlinkat(dir, p, flag) }

func (l *Local) Pwrite(fd int, p []byte, off int64) (int, error) { return unix.Pwrite(fd, p, off) }

func (l *Local) Read(fd, n int) ([]byte, error) {
	p := make([]byte, n)
	got, err := unix.Read(fd, p)
	return sub(p, got, err)
}

func (l *Local) Pread(fd, n int, off int64) ([]byte, error) {
	p := make([]byte, n)
	got, err := unix.Pread(fd, p, off)
	return sub(p, got, err)
}

func (l *Local) Readv(fd int, sizes []int) ([]byte, error) {
	bufs := make([][]byte, len(sizes))
	var all []byte
	for i, n := range sizes {
		bufs[i] = make([]byte, n)
	}
	got, err := unix.Readv(fd, bufs)
	for _, p := range bufs {
		all = append(all, p...)
	}
	return sub(all, got, err)
}

func (l *Local) Lseek(fd int, off int64, whence int) (int64, error) {
	return unix.Seek(fd, off, whence)
}

func (l *Local) Fallocate(fd int, mode uint32, off, n int64) error {
	return unix.Fallocate(fd, mode, off, n)
}

func (l *Local) Stat(path string) (Stat, error) {
	var s unix.Stat_t
	err := unix.Stat(l.p(path), &s)
	return st(&s, err)
}

func (l *Local) Lstat(path string) (Stat, error) {
	var s unix.Stat_t
	err := unix.Lstat(l.p(path), &s)
	return st(&s, err)
}

func (l *Local) Fstat(fd int) (Stat, error) {
	var s unix.Stat_t
	err := unix.Fstat(fd, &s)
	return st(&s, err)
}

func (l *Local) Fstatat(dir int, path string, flags int) (Stat, error) {
	var s unix.Stat_t
	err := unix.Fstatat(dir, path, &s, flags)
	return st(&s, err)
}

func (l *Local) Utimens(path string, atime, mtime syscall.Timespec, follow bool) error {
	flags := unix.AT_SYMLINK_NOFOLLOW
	if follow {
		flags = 0
	}
	times := []unix.Timespec{{Sec: atime.Sec, Nsec: atime.Nsec}, {Sec: mtime.Sec, Nsec: mtime.Nsec}}
	return unix.UtimesNanoAt(unix.AT_FDCWD, l.p(path), times, flags)
}

func (l *Local) Renameat(fromDir int, from string, toDir int, to string) error {
	return unix.Renameat(fromDir, from, toDir, to)
}

// Symlink moves absolute targets under the front's root, and Readlink takes that off again.
func (l *Local) Symlink(target, path string) error {
	if strings.HasPrefix(target, "/") {
		target = l.root + target
	}
	return unix.Symlink(target, l.p(path))
}

func (l *Local) Readlink(path string) (string, error) {
	p := make([]byte, 8192)
	n, err := unix.Readlink(l.p(path), p)
	if err != nil {
		return "", err
	}
	return strings.TrimPrefix(string(p[:n]), l.root), nil
}

func (l *Local) Opendir(path string) (int, error) {
	fd, err := unix.Open(l.p(path), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer func() { _ = unix.Close(fd) }()
	d := &localDir{}
	buf := make([]byte, 1<<16)
	names := []string{".", ".."}
	for {
		n, err := unix.ReadDirent(fd, buf)
		if err != nil {
			return 0, err
		}
		if n == 0 {
			break
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
	for i, name := range names {
		var s unix.Stat_t
		if err := unix.Fstatat(fd, name, &s, unix.AT_SYMLINK_NOFOLLOW); err == nil {
			d.list = append(d.list, Dirent{Name: name, Ino: s.Ino, Cookie: int64(i) + 1})
		}
	}
	l.next++
	l.dirs[l.next] = d
	return l.next, nil
}

func (l *Local) Readdir(dir, most int) ([]Dirent, error) {
	d := l.dirs[dir]
	if d == nil {
		return nil, syscall.EBADF
	}
	list := d.list[d.at:min(d.at+most, len(d.list))]
	d.at += len(list)
	return list, nil
}

func (l *Local) Seekdir(dir int, cookie int64) error {
	d := l.dirs[dir]
	if d == nil {
		return syscall.EBADF
	}
	d.at = int(cookie)
	return nil
}

func (l *Local) Closedir(dir int) error {
	if l.dirs[dir] == nil {
		return syscall.EBADF
	}
	delete(l.dirs, dir)
	return nil
}

func (l *Local) Statfs(path string) (Statfs, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(l.p(path), &s); err != nil {
		return Statfs{}, err
	}
	return Statfs{Bytes: s.Blocks * uint64(s.Bsize), Free: s.Bfree * uint64(s.Bsize), NameMax: s.Namelen}, nil
}
