package bridge

import (
	"syscall"

	"github.com/pkg/errors"
	"golang.org/x/sys/unix"

	"github.com/benchfs/benchfs/core/client"
	"github.com/benchfs/benchfs/fserr"
)

// Mkdir makes a directory.
func (l *Library) Mkdir(dirfd int32, path string, mode uint32) int64 {
	return l.along("mkdir", dirfd, path, func(c *client.Client, at client.At) error {
		return c.Mkdir(background, at, path, mode)
	})
}

// Unlink removes a name; with AT_REMOVEDIR, a directory.
func (l *Library) Unlink(dirfd int32, path string, flags int32) int64 {
	if err := checkFlags("unlink", path, flags, unix.AT_REMOVEDIR); err != nil {
		return l.fail(err)
	}
	if flags != 0 {
		return l.along("rmdir", dirfd, path, func(c *client.Client, at client.At) error {
			return c.Rmdir(background, at, path)
		})
	}
	return l.along("unlink", dirfd, path, func(c *client.Client, at client.At) error {
		return c.Unlink(background, at, path)
	})
}

// Rename gives a file or directory another name.
func (l *Library) Rename(oldDirfd int32, oldPath string, newDirfd int32, newPath string) int64 {
	return l.between("rename", oldDirfd, oldPath, newDirfd, newPath, func(c *client.Client, oldAt, newAt client.At) error {
		return c.Rename(background, oldAt, oldPath, newAt, newPath)
	})
}

// Link gives a file a second name.
func (l *Library) Link(oldDirfd int32, oldPath string, newDirfd int32, newPath string, flags int32) int64 {
	if err := checkFlags("link", newPath, flags, unix.AT_SYMLINK_FOLLOW); err != nil {
		return l.fail(err)
	}
	return l.between("link", oldDirfd, oldPath, newDirfd, newPath, func(c *client.Client, oldAt, newAt client.At) error {
		return c.Link(background, oldAt, oldPath, newAt, newPath, flags != 0)
	})
}

// between runs a call about two paths.
func (l *Library) between(op string, oldDirfd int32, oldPath string, newDirfd int32, newPath string,
	do func(c *client.Client, oldAt, newAt client.At) error,
) int64 {
	c, err := l.begin(op)
	if err != nil {
		return l.fail(err)
	}
	defer c.end()
	oldAt, err := c.at(oldDirfd, oldPath)
	if err != nil {
		return l.fail(err)
	}
	newAt, err := c.at(newDirfd, newPath)
	if err != nil {
		return l.fail(err)
	}
	return l.done(do(c.s.client, oldAt, newAt))
}

// Symlink makes a symbolic link.
func (l *Library) Symlink(target string, dirfd int32, path string) int64 {
	return l.along("symlink", dirfd, path, func(c *client.Client, at client.At) error {
		return c.Symlink(background, target, at, path)
	})
}

// Readlink stores as much of a symbolic link's target as fits in buf and returns how much.
func (l *Library) Readlink(dirfd int32, path string, buf []byte) int64 {
	if len(buf) == 0 {
		return l.fail(fserr.New("readlink", path, syscall.EINVAL, errors.New("no room for the target")))
	}
	n := 0
	failed := l.along("readlink", dirfd, path, func(c *client.Client, at client.At) error {
		target, err := c.Readlink(background, at, path)
		if err == nil {
			n = copy(buf, target)
		}
		return err
	})
	if failed != 0 {
		return failed
	}
	return int64(n)
}
