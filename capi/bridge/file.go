package bridge

import (
	"sync"
	"syscall"
	"unsafe"

	"github.com/benchfs/benchfs/core/client"
	"github.com/benchfs/benchfs/internal/inode"
)

// Open opens a file and returns its handle.
func (l *Library) Open(dirfd int32, path string, flags int32, mode uint32) int64 {
	c, err := l.begin("open")
	if err != nil {
		return l.fail(err)
	}
	defer c.end()
	at, err := c.at(dirfd, path)
	if err != nil {
		return l.fail(err)
	}
	f, err := c.s.client.Open(background, at, path, int(flags), mode)
	if err != nil {
		return l.fail(err)
	}
	return c.insert(kindFile, object{file: f}, path)
}

// OpenInode opens an inode by its number and returns its handle.
func (l *Library) OpenInode(ino uint64, flags int32) int64 {
	c, err := l.begin("open_inode")
	if err != nil {
		return l.fail(err)
	}
	defer c.end()
	f, err := c.s.client.OpenInode(background, inode.Ino(ino), int(flags))
	if err != nil {
		return l.fail(err)
	}
	return c.insert(kindFile, object{file: f}, f.Name())
}

// Close removes a handle. The file is closed with its last handle, after the last call that uses it.
func (l *Library) Close(fd int32) int64 {
	c, err := l.begin("close")
	if err != nil {
		return l.fail(err)
	}
	defer c.end()
	ok, err := l.handles.Remove(fd, kindFile)
	if !ok {
		err = errHandle("close", fd)
	}
	return l.done(err)
}

// Dup gives the open file another handle.
func (l *Library) Dup(fd int32) int64 {
	c, err := l.begin("dup")
	if err != nil {
		return l.fail(err)
	}
	defer c.end()
	f, err := c.file(fd)
	if err != nil {
		return l.fail(err)
	}
	f.Retain()
	return c.insert(kindFile, object{file: f}, f.Name())
}

// Seek moves the offset and returns it.
func (l *Library) Seek(fd int32, offset int64, whence int32) int64 {
	f, err := l.pinFile("lseek", fd)
	if err != nil {
		return l.fail(err)
	}
	defer l.handles.Unpin(fd)
	pos, err := f.Seek(background, offset, int(whence))
	if err != nil {
		return l.fail(err)
	}
	return pos
}

// moved is the result of a transfer: what was moved counts more than why the rest was not, which the next call tells.
func (l *Library) moved(n int, err error) int64 {
	if n == 0 && err != nil {
		return l.fail(err)
	}
	return int64(n)
}

// Read reads at the file's offset.
func (l *Library) Read(fd int32, p []byte) int64 {
	f, err := l.pinFile("read", fd)
	if err != nil {
		return l.fail(err)
	}
	defer l.handles.Unpin(fd)
	return l.moved(f.Read(background, p))
}

// Write writes at the file's offset.
func (l *Library) Write(fd int32, p []byte) int64 {
	f, err := l.pinFile("write", fd)
	if err != nil {
		return l.fail(err)
	}
	defer l.handles.Unpin(fd)
	return l.moved(f.Write(background, p))
}

// Pread reads at off.
func (l *Library) Pread(fd int32, p []byte, off int64) int64 {
	f, err := l.pinFile("pread", fd)
	if err != nil {
		return l.fail(err)
	}
	defer l.handles.Unpin(fd)
	return l.moved(f.Pread(background, p, off))
}

// Pwrite writes at off.
func (l *Library) Pwrite(fd int32, p []byte, off int64) int64 {
	f, err := l.pinFile("pwrite", fd)
	if err != nil {
		return l.fail(err)
	}
	defer l.handles.Unpin(fd)
	return l.moved(f.Pwrite(background, p, off))
}

// vectors keeps the slices that vector calls need.
var vectors = sync.Pool{New: func() any { return new([][]byte) }}

// buffers turns C's vector into Go's; giveBack takes the list again.
func buffers(iov []syscall.Iovec) *[][]byte {
	list := vectors.Get().(*[][]byte)
	*list = (*list)[:0]
	for _, v := range iov {
		*list = append(*list, unsafe.Slice(v.Base, v.Len))
	}
	return list
}

func giveBack(list *[][]byte) {
	clear(*list)
	vectors.Put(list)
}

// Readv reads at the file's offset into several buffers.
func (l *Library) Readv(fd int32, iov []syscall.Iovec) int64 {
	f, err := l.pinFile("readv", fd)
	if err != nil {
		return l.fail(err)
	}
	defer l.handles.Unpin(fd)
	list := buffers(iov)
	defer giveBack(list)
	return l.moved(f.Readv(background, *list))
}

// Writev writes at the file's offset out of several buffers.
func (l *Library) Writev(fd int32, iov []syscall.Iovec) int64 {
	f, err := l.pinFile("writev", fd)
	if err != nil {
		return l.fail(err)
	}
	defer l.handles.Unpin(fd)
	list := buffers(iov)
	defer giveBack(list)
	return l.moved(f.Writev(background, *list))
}

// Preadv reads at off into several buffers.
func (l *Library) Preadv(fd int32, iov []syscall.Iovec, off int64) int64 {
	f, err := l.pinFile("preadv", fd)
	if err != nil {
		return l.fail(err)
	}
	defer l.handles.Unpin(fd)
	list := buffers(iov)
	defer giveBack(list)
	return l.moved(f.Preadv(background, *list, off))
}

// Pwritev writes at off out of several buffers.
func (l *Library) Pwritev(fd int32, iov []syscall.Iovec, off int64) int64 {
	f, err := l.pinFile("pwritev", fd)
	if err != nil {
		return l.fail(err)
	}
	defer l.handles.Unpin(fd)
	list := buffers(iov)
	defer giveBack(list)
	return l.moved(f.Pwritev(background, *list, off))
}

// Fsync makes the file durable; with dataOnly, without its time stamps.
func (l *Library) Fsync(fd int32, dataOnly bool) int64 {
	op := "fsync"
	if dataOnly {
		op = "fdatasync"
	}
	return l.on(op, fd, func(f *client.File) error { return f.Sync(background, dataOnly) })
}

// Sync makes the file system durable.
func (l *Library) Sync() int64 {
	c, err := l.begin("sync")
	if err != nil {
		return l.fail(err)
	}
	defer c.end()
	return l.done(c.s.client.SyncAll(background))
}

// Ftruncate sets the size of an open file.
func (l *Library) Ftruncate(fd int32, size int64) int64 {
	return l.on("ftruncate", fd, func(f *client.File) error { return f.Truncate(background, size) })
}

// Fallocate reserves room.
func (l *Library) Fallocate(fd int32, mode int32, off, n int64) int64 {
	return l.on("fallocate", fd, func(f *client.File) error { return f.Allocate(background, uint32(mode), off, n) })
}

// Truncate sets the size of the file at path.
func (l *Library) Truncate(path string, size int64) int64 {
	return l.along("truncate", AtRoot, path, func(c *client.Client, at client.At) error {
		return c.Truncate(background, at, path, size)
	})
}
