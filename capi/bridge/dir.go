package bridge

import (
	"io"
	"syscall"

	"github.com/pkg/errors"

	"github.com/benchfs/benchfs/core/client"
	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/internal/inode"
)

// Kinds of directory entries: DT_DIR, DT_REG and DT_LNK.
const (
	kindOfDir     = 4
	kindOfFile    = 8
	kindOfSymlink = 10
)

// Entry is an entry of a directory.
type Entry struct {
	Ino    uint64
	Cookie int64
	Kind   uint32
	Name   string
}

func entryOf(e *client.DirEntry) Entry {
	kind := uint32(kindOfFile)
	switch e.Kind {
	case inode.Dir:
		kind = kindOfDir
	case inode.Symlink:
		kind = kindOfSymlink
	}
	return Entry{Ino: uint64(e.Ino), Cookie: int64(e.Cookie), Kind: kind, Name: e.Name}
}

// OpenDir opens a directory stream and returns its handle.
func (l *Library) OpenDir(path string) int64 {
	c, err := l.begin("opendir")
	if err != nil {
		return l.fail(err)
	}
	defer c.end()
	d, err := c.s.client.OpenDir(background, 0, path)
	if err != nil {
		return l.fail(err)
	}
	return c.insert(kindDir, object{dir: d}, path)
}

// FdOpenDir makes a stream of an open directory.
func (l *Library) FdOpenDir(fd int32) int64 {
	c, err := l.begin("fdopendir")
	if err != nil {
		return l.fail(err)
	}
	defer c.end()
	f, err := c.file(fd)
	if err != nil {
		return l.fail(err)
	}
	d, err := c.s.client.FdOpenDir(f)
	if err != nil {
		return l.fail(err)
	}
	return c.insert(kindDir, object{dir: d}, f.Name())
}

// CloseDir removes the handle of a stream.
func (l *Library) CloseDir(dir int32) int64 {
	c, err := l.begin("closedir")
	if err != nil {
		return l.fail(err)
	}
	defer c.end()
	ok, err := l.handles.Remove(dir, kindDir)
	if !ok {
		err = errHandle("closedir", dir)
	}
	return l.done(err)
}

// stream pins the stream of a handle. Unpin must follow.
func (l *Library) stream(op string, dir int32) (*client.Dir, error) {
	if _, err := l.session(op); err != nil {
		return nil, err
	}
	o, ok := l.handles.Pin(dir, kindDir)
	if !ok {
		return nil, errHandle(op, dir)
	}
	return o.dir, nil
}

// ReadDir fills e with the next entry and returns 1, or 0 after the last.
func (l *Library) ReadDir(dir int32, e *Entry) int64 {
	d, err := l.stream("readdir", dir)
	if err != nil {
		return l.fail(err)
	}
	defer l.handles.Unpin(dir)
	next, err := d.Next(background)
	switch {
	case err == io.EOF:
		return 0
	case err != nil:
		return l.fail(err)
	}
	*e = entryOf(&next)
	return 1
}

// ReadDirMany hands the next entries with their attributes to emit, at most count, and returns how many. An error in the middle ends the
// list; the next call meets it again.
func (l *Library) ReadDirMany(dir int32, count int32, emit func(i int, e *Entry, st *Stat)) int64 {
	if count < 1 {
		return l.fail(fserr.New("readdir_many", "", syscall.EINVAL, errors.Errorf("count %d", count)))
	}
	d, err := l.stream("readdir_many", dir)
	if err != nil {
		return l.fail(err)
	}
	defer l.handles.Unpin(dir)
	n := 0
	for ; n < int(count); n++ {
		next, err := d.NextPlus(background)
		if err == io.EOF {
			break
		}
		var st Stat
		if err == nil {
			st, err = statOf(&next.Attr)
		}
		if err != nil {
			if n == 0 {
				return l.fail(err)
			}
			break
		}
		e := entryOf(&next)
		emit(n, &e, &st)
	}
	return int64(n)
}

// TellDir is the position of a stream.
func (l *Library) TellDir(dir int32) int64 {
	d, err := l.stream("telldir", dir)
	if err != nil {
		return l.fail(err)
	}
	defer l.handles.Unpin(dir)
	return int64(d.Tell())
}

// SeekDir sets the position of a stream.
func (l *Library) SeekDir(dir int32, cookie int64) int64 {
	if cookie < 0 {
		return l.fail(fserr.New("seekdir", "", syscall.EINVAL, errors.Errorf("cookie %d", cookie)))
	}
	d, err := l.stream("seekdir", dir)
	if err != nil {
		return l.fail(err)
	}
	defer l.handles.Unpin(dir)
	d.Seek(uint64(cookie))
	return 0
}
