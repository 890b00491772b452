package bridge

import (
	"context"
	"fmt"
	"strings"
	"syscall"

	"github.com/pkg/errors"

	"github.com/benchfs/benchfs/core/client"
	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/internal/handle"
	"github.com/benchfs/benchfs/internal/inode"
)

// AtRoot as the directory handle of a call is the root: BENCHFS_AT_FDCWD.
const AtRoot int32 = -100

// background is the context of every call: its deadline is the configuration's.
var background = context.Background()

// fail reports err and returns its negative errno. Who gets an error without an errno gets EIO, and the chain is logged, once, here.
func (l *Library) fail(err error) int64 {
	code := fserr.Errno(err)
	if code == 0 {
		code = syscall.EIO
	}
	if l.hooks.Log != nil && !fserr.Known(err) {
		l.hooks.Log(fmt.Sprintf("error without an errno: %+v", err))
	}
	if l.hooks.Report != nil {
		l.hooks.Report(strings.ReplaceAll(err.Error(), "\n", "; ")) // one line
	}
	return -int64(code)
}

// done is 0, or what fail makes of err.
func (l *Library) done(err error) int64 {
	if err != nil {
		return l.fail(err)
	}
	return 0
}

func errNoSession(op string) error {
	return fserr.New(op, "", syscall.ENOTCONN, errors.New("BenchFS is not initialised in this process"))
}

func errBroken(op, cause string) error {
	text := "BenchFS has failed inside and serves no more calls until it is finalized"
	if cause != "" {
		text += ": " + cause
	}
	return fserr.New(op, "", syscall.EIO, errors.New(text))
}

func errHandle(op string, h int32) error {
	return fserr.New(op, "", syscall.EBADF, errors.Errorf("handle %d", h))
}

// session is the one that runs.
func (l *Library) session(op string) (*session, error) {
	s := l.current.Load()
	switch {
	case s == nil:
		return nil, errNoSession(op)
	case s.broken.Load():
		return nil, errBroken(op, "")
	}
	return s, nil
}

// call is one call in progress that needs the session. end must follow a begin without error.
type call struct {
	l    *Library
	s    *session
	op   string // the name in the header, without "benchfs_"
	lane int
	pins [2]int32 // directory handles that are in use
	used int
}

func (l *Library) begin(op string) (call, error) {
	s, err := l.session(op)
	if err != nil {
		return call{}, err
	}
	lane, ok := l.enter(s)
	if !ok {
		return call{}, errNoSession(op)
	}
	return call{l: l, s: s, op: op, lane: lane}, nil
}

func (c *call) end() {
	for _, h := range c.pins[:c.used] {
		c.l.handles.Unpin(h)
	}
	c.s.leave(c.lane)
}

// file pins the file of a handle until the call's end.
func (c *call) file(fd int32) (*client.File, error) {
	o, err := c.pin(fd, kindFile)
	return o.file, err
}

func (c *call) pin(h int32, kind handle.Kind) (object, error) {
	o, ok := c.l.handles.Pin(h, kind)
	if !ok {
		return object{}, errHandle(c.op, h)
	}
	c.pins[c.used] = h
	c.used++
	return o, nil
}

// at is the directory that path starts from. The handle does not matter for a path that is absolute, or empty and thus refused.
func (c *call) at(dirfd int32, path string) (client.At, error) {
	if dirfd == AtRoot || path == "" || path[0] == '/' {
		return 0, nil
	}
	f, err := c.file(dirfd)
	if err != nil {
		return 0, err
	}
	if f.Kind() != inode.Dir {
		return 0, fserr.New(c.op, path, syscall.ENOTDIR, errors.Errorf("handle %d is no directory", dirfd))
	}
	return f.Ino(), nil
}

// insert gives an object a handle, or closes it.
func (c *call) insert(kind handle.Kind, o object, path string) int64 {
	o.session = c.s
	c.s.objects.Add(1)
	h, err := c.l.handles.Insert(kind, o)
	if err != nil {
		_ = release(o)
		return c.l.fail(fserr.New(c.op, path, syscall.EMFILE, err))
	}
	return int64(h)
}

// on runs a call that uses nothing but the file of a handle.
func (l *Library) on(op string, fd int32, do func(f *client.File) error) int64 {
	f, err := l.pinFile(op, fd)
	if err != nil {
		return l.fail(err)
	}
	defer l.handles.Unpin(fd)
	return l.done(do(f))
}

// pinFile is the way of reads and writes: nothing but the handle is looked at. Unpin must follow.
func (l *Library) pinFile(op string, fd int32) (*client.File, error) {
	if _, err := l.session(op); err != nil {
		return nil, err
	}
	o, ok := l.handles.Pin(fd, kindFile)
	if !ok {
		return nil, errHandle(op, fd)
	}
	return o.file, nil
}

// along runs a call about a path.
func (l *Library) along(op string, dirfd int32, path string, do func(c *client.Client, at client.At) error) int64 {
	c, err := l.begin(op)
	if err != nil {
		return l.fail(err)
	}
	defer c.end()
	at, err := c.at(dirfd, path)
	if err != nil {
		return l.fail(err)
	}
	return l.done(do(c.s.client, at))
}
