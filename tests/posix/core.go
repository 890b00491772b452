package posix

import (
	"context"
	"errors"
	"io"
	"sync"
	"syscall"

	"github.com/benchfs/benchfs/core/client"
	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/internal/inode"
)

// Core is the Go core without the C boundary.
type Core struct {
	c     *client.Client
	mu    sync.Mutex
	files map[int]*client.File
	dirs  map[int]*client.Dir
	next  int
}

// NewCore makes a front of a client.
func NewCore(c *client.Client) *Core {
	return &Core{c: c, files: map[int]*client.File{}, dirs: map[int]*client.Dir{}}
}

var ctx = context.Background()

// errno makes an error what the C ABI would return.
func errno(err error) error {
	if err == nil {
		return nil
	}
	return fserr.Errno(err)
}

func (c *Core) add(f *client.File) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next++
	c.files[c.next] = f
	return c.next
}

func (c *Core) file(fd int) (*client.File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.files[fd]; f != nil {
		return f, nil
	}
	return nil, syscall.EBADF
}

// with runs fn on an open file.
func (c *Core) with(fd int, fn func(f *client.File) error) error {
	f, err := c.file(fd)
	if err != nil {
		return err
	}
	return errno(fn(f))
}

func (c *Core) at(dir int) (client.At, error) {
	f, err := c.file(dir)
	if err != nil {
		return 0, err
	}
	return f.Ino(), nil
}

func (c *Core) Open(path string, flags int, mode uint32) (int, error) {
	f, err := c.c.Open(ctx, 0, path, flags, mode)
	if err != nil {
		return 0, errno(err)
	}
	return c.add(f), nil
}

func (c *Core) Openat(dir int, path string, flags int, mode uint32) (int, error) {
	at, err := c.at(dir)
	if err != nil {
		return 0, err
	}
	f, err := c.c.Open(ctx, at, path, flags, mode)
	if err != nil {
		return 0, errno(err)
	}
	return c.add(f), nil
}

func (c *Core) Close(fd int) error {
	return c.with(fd, func(f *client.File) error {
		c.mu.Lock()
		delete(c.files, fd)
		c.mu.Unlock()
		return f.Close(ctx)
	})
}

func (c *Core) Dup(fd int) (int, error) {
	f, err := c.file(fd)
	if err != nil {
		return 0, err
	}
	f.Retain()
	return c.add(f), nil
}

// read lends the client memory of its transport, as the rule for Go callers is.
func (c *Core) read(fd, n int, fn func(f *client.File, p []byte) (int, error)) ([]byte, error) {
	p, err := c.c.Alloc(n)
	if err != nil {
		return nil, err
	}
	defer c.c.Free(p)
	var out []byte
	err = c.with(fd, func(f *client.File) error {
		got, err := fn(f, p[:n])
		out = append(out, p[:got]...)
		return err
	})
	return out, err
}

func (c *Core) write(fd int, data []byte, fn func(f *client.File, p []byte) (int, error)) (int, error) {
	p, err := c.c.Alloc(len(data))
	if err != nil {
		return 0, err
	}
	defer c.c.Free(p)
	copy(p, data)
	n := 0
	err = c.with(fd, func(f *client.File) (err error) {
		n, err = fn(f, p[:len(data)])
		return err
	})
	return n, err
}

func (c *Core) Read(fd, n int) ([]byte, error) {
	return c.read(fd, n, func(f *client.File, p []byte) (int, error) { return f.Read(ctx, p) })
}

func (c *Core) Pread(fd, n int, off int64) ([]byte, error) {
	return c.read(fd, n, func(f *client.File, p []byte) (int, error) { return f.Pread(ctx, p, off) })
}

func (c *Core) Write(fd int, p []byte) (int, error) {
	return c.write(fd, p, func(f *client.File, p []byte) (int, error) { return f.Write(ctx, p) })
}

func (c *Core) Pwrite(fd int, p []byte, off int64) (int, error) {
	return c.write(fd, p, func(f *client.File, p []byte) (int, error) { return f.Pwrite(ctx, p, off) })
}

// split cuts p into parts of the given sizes.
func split(p []byte, sizes []int) [][]byte {
	bufs := make([][]byte, len(sizes))
	for i, n := range sizes {
		bufs[i], p = p[:n:n], p[n:]
	}
	return bufs
}

func (c *Core) Readv(fd int, sizes []int) ([]byte, error) {
	total := 0
	for _, n := range sizes {
		total += n
	}
	return c.read(fd, total, func(f *client.File, p []byte) (int, error) { return f.Readv(ctx, split(p, sizes)) })
}

func (c *Core) Writev(fd int, bufs [][]byte) (int, error) {
	var all []byte
	sizes := make([]int, len(bufs))
	for i, p := range bufs {
		all, sizes[i] = append(all, p...), len(p)
	}
	return c.write(fd, all, func(f *client.File, p []byte) (int, error) { return f.Writev(ctx, split(p, sizes)) })
}

func (c *Core) Lseek(fd int, off int64, whence int) (pos int64, err error) {
	err = c.with(fd, func(f *client.File) (err error) {
		pos, err = f.Seek(ctx, off, whence)
		return err
	})
	return pos, err
}

func (c *Core) Fsync(fd int) error {
	return c.with(fd, func(f *client.File) error { return f.Sync(ctx, false) })
}

func (c *Core) Ftruncate(fd int, size int64) error {
	return c.with(fd, func(f *client.File) error { return f.Truncate(ctx, size) })
}

func (c *Core) Truncate(path string, size int64) error {
	return errno(c.c.Truncate(ctx, 0, path, size))
}

func (c *Core) Fallocate(fd int, mode uint32, off, n int64) error {
	return c.with(fd, func(f *client.File) error { return f.Allocate(ctx, mode, off, n) })
}

func attr(a inode.Attr, err error) (Stat, error) {
	if err != nil {
		return Stat{}, errno(err)
	}
	kind := map[inode.Kind]uint32{inode.File: syscall.S_IFREG, inode.Dir: syscall.S_IFDIR, inode.Symlink: syscall.S_IFLNK}[a.Kind]
	return Stat{
		Ino: uint64(a.Ino), Mode: kind | a.Mode, Nlink: uint64(a.Nlink), UID: a.UID, GID: a.GID, Size: int64(a.Size),
		Atime: a.Atime, Mtime: a.Mtime, Ctime: a.Ctime,
	}, nil
}

func (c *Core) Stat(path string) (Stat, error)  { return attr(c.c.Stat(ctx, 0, path, true)) }
func (c *Core) Lstat(path string) (Stat, error) { return attr(c.c.Stat(ctx, 0, path, false)) }

func (c *Core) Fstat(fd int) (Stat, error) {
	f, err := c.file(fd)
	if err != nil {
		return Stat{}, err
	}
	return attr(f.Stat(ctx))
}

func (c *Core) Fstatat(dir int, path string, flags int) (Stat, error) {
	at, err := c.at(dir)
	if err != nil {
		return Stat{}, err
	}
	const noFollow = 0x100
	return attr(c.c.Stat(ctx, at, path, flags&noFollow == 0))
}

func (c *Core) Access(path string, mode uint32) error {
	return errno(c.c.Access(ctx, 0, path, mode, false, true))
}

func (c *Core) Chmod(path string, mode uint32) error {
	return errno(c.c.Chmod(ctx, 0, path, mode, true))
}

func (c *Core) Fchmod(fd int, mode uint32) error {
	return c.with(fd, func(f *client.File) error { return f.Chmod(ctx, mode) })
}

func (c *Core) Chown(path string, uid, gid int) error {
	return errno(c.c.Chown(ctx, 0, path, uint32(uid), uint32(gid), true))
}

func (c *Core) Lchown(path string, uid, gid int) error {
	return errno(c.c.Chown(ctx, 0, path, uint32(uid), uint32(gid), false))
}

func (c *Core) Utimens(path string, atime, mtime syscall.Timespec, follow bool) error {
	for _, t := range []syscall.Timespec{atime, mtime} { // the C boundary's check: the core has no such thing as a bad time
		if t.Nsec != UtimeNow && t.Nsec != UtimeOmit && (t.Nsec < 0 || t.Nsec >= 1e9) {
			return syscall.EINVAL
		}
	}
	stamp := func(t syscall.Timespec) client.Time {
		return client.Time{NS: t.Nano(), Now: t.Nsec == UtimeNow, Omit: t.Nsec == UtimeOmit}
	}
	return errno(c.c.Utimens(ctx, 0, path, stamp(atime), stamp(mtime), follow))
}

func (c *Core) Mkdir(path string, mode uint32) error { return errno(c.c.Mkdir(ctx, 0, path, mode)) }

func (c *Core) Mkdirat(dir int, path string, mode uint32) error {
	at, err := c.at(dir)
	if err != nil {
		return err
	}
	return errno(c.c.Mkdir(ctx, at, path, mode))
}

func (c *Core) Rmdir(path string) error  { return errno(c.c.Rmdir(ctx, 0, path)) }
func (c *Core) Unlink(path string) error { return errno(c.c.Unlink(ctx, 0, path)) }

func (c *Core) Unlinkat(dir int, path string, flags int) error {
	at, err := c.at(dir)
	if err != nil {
		return err
	}
	const removeDir = 0x200
	if flags&removeDir != 0 {
		return errno(c.c.Rmdir(ctx, at, path))
	}
	return errno(c.c.Unlink(ctx, at, path))
}

func (c *Core) Rename(from, to string) error { return errno(c.c.Rename(ctx, 0, from, 0, to)) }

func (c *Core) Renameat(fromDir int, from string, toDir int, to string) error {
	a, err := c.at(fromDir)
	if err != nil {
		return err
	}
	b, err := c.at(toDir)
	if err != nil {
		return err
	}
	return errno(c.c.Rename(ctx, a, from, b, to))
}

func (c *Core) Link(from, to string) error        { return errno(c.c.Link(ctx, 0, from, 0, to, false)) }
func (c *Core) Symlink(target, path string) error { return errno(c.c.Symlink(ctx, target, 0, path)) }

func (c *Core) Readlink(path string) (string, error) {
	target, err := c.c.Readlink(ctx, 0, path)
	return target, errno(err)
}

func (c *Core) Opendir(path string) (int, error) {
	d, err := c.c.OpenDir(ctx, 0, path)
	if err != nil {
		return 0, errno(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next++
	c.dirs[c.next] = d
	return c.next, nil
}

func (c *Core) dir(fd int) (*client.Dir, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d := c.dirs[fd]; d != nil {
		return d, nil
	}
	return nil, syscall.EBADF
}

func (c *Core) Readdir(fd, most int) ([]Dirent, error) {
	d, err := c.dir(fd)
	if err != nil {
		return nil, err
	}
	var list []Dirent
	for len(list) < most {
		e, err := d.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, errno(err)
		}
		list = append(list, Dirent{Name: e.Name, Ino: uint64(e.Ino), Cookie: int64(d.Tell())})
	}
	return list, nil
}

func (c *Core) Seekdir(fd int, cookie int64) error {
	d, err := c.dir(fd)
	if err != nil {
		return err
	}
	d.Seek(uint64(cookie))
	return nil
}

func (c *Core) Closedir(fd int) error {
	d, err := c.dir(fd)
	if err != nil {
		return err
	}
	c.mu.Lock()
	delete(c.dirs, fd)
	c.mu.Unlock()
	return errno(d.Close(ctx))
}

func (c *Core) Statfs(string) (Statfs, error) {
	s, err := c.c.Statfs(ctx)
	if err != nil {
		return Statfs{}, errno(err)
	}
	return Statfs{Bytes: s.CapacityBytes, Free: s.FreeBytes, NameMax: int64(s.NameMax)}, nil
}
