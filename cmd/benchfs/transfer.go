package main

import (
	"context"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/pkg/errors"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"go.uber.org/multierr"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/benchfs/benchfs/core/client"
	"github.com/benchfs/benchfs/internal/inode"
)

// transfer copies trees in one of the two directions. Modes (permission bits), modification times and symbolic links are kept, sizes are verified; owners are
// those of who copies. Every file is tried; the errors are collected.
type transfer struct {
	s         *session
	recursive bool
	buffer    []byte
	progress  func(int) // bytes; never nil
	failed    error
}

func putCommand(g *globals) *cobra.Command {
	return transferCommand(g, "put [-r] local … remote", "Copy local files in", (*transfer).put)
}

func getCommand(g *globals) *cobra.Command {
	return transferCommand(g, "get [-r] remote … local", "Copy files out", (*transfer).get)
}

func transferCommand(g *globals, use, short string, run func(t *transfer, ctx context.Context, from []string, to string, quiet bool) error) *cobra.Command {
	var recursive, quiet bool
	c := &cobra.Command{Use: use, Short: short, Args: cobra.MinimumNArgs(2)}
	c.Long = short + ", with modes, modification times and symbolic links; the size of each copy is verified. If the destination is a directory, the copies go into it."
	c.Flags().BoolVarP(&recursive, "recursive", "r", false, "directories too, with all that is in them")
	c.Flags().BoolVarP(&quiet, "quiet", "q", false, "no progress bar")
	c.RunE = action(func(ctx context.Context, args []string) error {
		return g.with(ctx, func(s *session) error {
			buffer, err := s.Alloc(bufferBytes)
			if err != nil {
				return err
			}
			defer s.Free(buffer)
			t := &transfer{s: s, recursive: recursive, buffer: buffer, progress: func(int) {}}
			err = run(t, ctx, args[:len(args)-1], args[len(args)-1], quiet)
			return multierr.Append(t.failed, err)
		})
	})
	return c
}

// bar shows progress on a terminal; nowhere else. count says how many bytes there will be; it is not called for nothing.
func (t *transfer) bar(quiet bool, what string, count func() int64) (finish func()) {
	if quiet || !term.IsTerminal(int(os.Stderr.Fd())) {
		return func() {}
	}
	bar := progressbar.NewOptions64(count(), progressbar.OptionSetWriter(os.Stderr), progressbar.OptionSetDescription(what),
		progressbar.OptionShowBytes(true), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionFullWidth(), progressbar.OptionClearOnFinish())
	t.progress = func(n int) { _ = bar.Add(n) }
	return func() { _ = bar.Finish() }
}

// note remembers an error, with the file that it is about, and goes on.
func (t *transfer) note(name string, err error) {
	if err != nil {
		t.failed = multierr.Append(t.failed, errors.WithMessage(err, name))
	}
}

func (t *transfer) put(ctx context.Context, from []string, to string, quiet bool) error {
	into := false
	if a, err := t.s.Stat(ctx, 0, to, true); err == nil {
		into = a.Kind == inode.Dir
	} else if !errors.Is(err, syscall.ENOENT) {
		return err
	}
	if len(from) > 1 && !into {
		return errors.WithMessagef(syscall.ENOTDIR, "%s: several files need a directory to go to", to)
	}
	defer t.bar(quiet, "put", func() int64 { return localBytes(from) })()
	for _, name := range from {
		dest := to
		if into {
			absolute, err := filepath.Abs(name) // "." has a name too
			if err != nil {
				return err
			}
			dest = path.Join(to, filepath.Base(absolute))
		}
		t.putTree(ctx, name, dest)
	}
	return ctx.Err()
}

// localBytes is what is below the names, as far as it can be seen.
func localBytes(names []string) (total int64) {
	for _, name := range names {
		_ = filepath.WalkDir(name, func(_ string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				if info, err := d.Info(); err == nil {
					total += info.Size()
				}
			}
			return nil
		})
	}
	return total
}

func (t *transfer) putTree(ctx context.Context, from, to string) {
	if ctx.Err() != nil {
		return
	}
	info, err := os.Lstat(from)
	if err != nil {
		t.note(from, err)
		return
	}
	switch {
	case info.Mode().IsRegular():
		t.note(from, t.putFile(ctx, from, to))
	case info.Mode()&os.ModeSymlink != 0:
		t.note(from, t.putSymlink(ctx, from, to, info))
	case info.IsDir():
		t.putDir(ctx, from, to, info)
	default:
		t.note(from, errors.Errorf("is a %s; only files, directories and symbolic links can be copied", info.Mode().Type()))
	}
}

// stamp is a modification time to set; the access time stays.
func stamp(ns int64) (atime, mtime client.Time) {
	return client.Time{Omit: true}, client.Time{NS: ns}
}

func (t *transfer) putDir(ctx context.Context, from, to string, info fs.FileInfo) {
	if !t.recursive {
		t.note(from, errors.WithMessage(syscall.EISDIR, "give -r to copy a directory"))
		return
	}
	err := t.s.Mkdir(ctx, 0, to, 0o700)
	if errors.Is(err, syscall.EEXIST) {
		if a, statErr := t.s.Stat(ctx, 0, to, true); statErr == nil && a.Kind == inode.Dir {
			err = nil
		}
	}
	if err != nil {
		t.note(from, err)
		return
	}
	entries, err := os.ReadDir(from)
	t.note(from, err)
	for _, e := range entries {
		t.putTree(ctx, filepath.Join(from, e.Name()), path.Join(to, e.Name()))
	}
	// Last: a directory that cannot be written can be filled first, and filling changes its time.
	t.note(from, t.s.Chmod(ctx, 0, to, unixMode(info), true))
	atime, mtime := stamp(info.ModTime().UnixNano())
	t.note(from, t.s.Utimens(ctx, 0, to, atime, mtime, true))
}

func (t *transfer) putSymlink(ctx context.Context, from, to string, info fs.FileInfo) error {
	target, err := os.Readlink(from)
	if err != nil {
		return err
	}
	err = t.s.Symlink(ctx, target, 0, to)
	if errors.Is(err, syscall.EEXIST) {
		a, statErr := t.s.Stat(ctx, 0, to, false)
		if statErr != nil || a.Kind != inode.Symlink {
			return err
		}
		if err = t.s.Unlink(ctx, 0, to); err == nil {
			err = t.s.Symlink(ctx, target, 0, to)
		}
	}
	if err != nil {
		return err
	}
	atime, mtime := stamp(info.ModTime().UnixNano())
	return t.s.Utimens(ctx, 0, to, atime, mtime, false)
}

func (t *transfer) putFile(ctx context.Context, from, to string) (err error) {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = source.Close() }()
	f, err := t.s.Open(ctx, 0, to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	total, err := writeFrom(ctx, f, source, t.buffer, t.progress)
	if err == nil {
		err = t.finishPut(ctx, f, source, total)
	}
	return multierr.Append(err, f.Close(context.WithoutCancel(ctx)))
}

func (t *transfer) finishPut(ctx context.Context, f *client.File, source *os.File, total int64) error {
	info, err := source.Stat()
	if err != nil {
		return err
	}
	a, err := f.Stat(ctx)
	switch {
	case err != nil:
		return err
	case info.Size() != total:
		return errors.Errorf("changed while it was copied: %d bytes were read, it has %d now", total, info.Size())
	case a.Size != uint64(total):
		return errors.Errorf("the copy has %d bytes instead of %d", a.Size, total)
	}
	atime, mtime := stamp(info.ModTime().UnixNano())
	return multierr.Combine(f.Chmod(ctx, unixMode(info)), f.Utimens(ctx, atime, mtime))
}

// unixMode is the permission bits, with those for set-id and sticky in the places of stat(2).
func unixMode(info fs.FileInfo) uint32 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Mode & 0o7777
	}
	return uint32(info.Mode().Perm())
}

func (t *transfer) get(ctx context.Context, from []string, to string, quiet bool) error {
	into := false
	if info, err := os.Stat(to); err == nil {
		into = info.IsDir()
	}
	if len(from) > 1 && !into {
		return errors.WithMessagef(syscall.ENOTDIR, "%s: several files need a directory to go to", to)
	}
	defer t.bar(quiet, "get", func() int64 { return t.remoteBytes(ctx, from) })()
	for _, name := range from {
		dest := to
		if base := path.Base(path.Clean("/" + name)); into && base != "/" {
			dest = filepath.Join(to, base)
		}
		a, err := t.s.Stat(ctx, 0, name, false)
		if err != nil {
			t.note(name, err)
			continue
		}
		t.getTree(ctx, name, dest, a)
	}
	return ctx.Err()
}

func (t *transfer) remoteBytes(ctx context.Context, names []string) (total int64) {
	for _, name := range names {
		a, err := t.s.Stat(ctx, 0, name, false)
		switch {
		case err != nil:
		case a.Kind == inode.Dir && t.recursive:
			var below []string
			_ = t.s.each(ctx, name, func(e client.DirEntry) error {
				switch e.Kind {
				case inode.File:
					total += int64(e.Attr.Size)
				case inode.Dir:
					below = append(below, path.Join(name, e.Name))
				}
				return nil
			})
			total += t.remoteBytes(ctx, below)
		case a.Kind == inode.File:
			total += int64(a.Size)
		}
	}
	return total
}

func (t *transfer) getTree(ctx context.Context, from, to string, a inode.Attr) {
	if ctx.Err() != nil {
		return
	}
	switch a.Kind {
	case inode.Dir:
		t.getDir(ctx, from, to, a)
	case inode.Symlink:
		t.note(from, t.getSymlink(ctx, from, to, a))
	default:
		t.note(from, t.getFile(ctx, from, to))
	}
}

func (t *transfer) getDir(ctx context.Context, from, to string, a inode.Attr) {
	if !t.recursive {
		t.note(from, errors.WithMessage(syscall.EISDIR, "give -r to copy a directory"))
		return
	}
	if err := os.Mkdir(to, 0o700); err != nil {
		if info, statErr := os.Stat(to); statErr != nil || !info.IsDir() {
			t.note(from, err)
			return
		}
	}
	err := t.s.each(ctx, from, func(e client.DirEntry) error {
		if strings.Contains(e.Name, "/") || e.Name == "" { // never out of the directory, whatever a server says
			return errors.Errorf("server tells of a name %q", e.Name)
		}
		t.getTree(ctx, path.Join(from, e.Name), filepath.Join(to, e.Name), e.Attr)
		return nil
	})
	t.note(from, err)
	t.note(from, os.Chmod(to, fs.FileMode(a.Mode&0o777)))
	t.note(from, setLocalTime(to, a.Mtime))
}

func (t *transfer) getSymlink(ctx context.Context, from, to string, a inode.Attr) error {
	target, err := t.s.Readlink(ctx, 0, from)
	if err != nil {
		return err
	}
	if info, err := os.Lstat(to); err == nil && info.Mode()&os.ModeSymlink != 0 {
		if err := os.Remove(to); err != nil {
			return err
		}
	}
	if err := os.Symlink(target, to); err != nil {
		return err
	}
	return setLocalTime(to, a.Mtime)
}

func (t *transfer) getFile(ctx context.Context, from, to string) error {
	dest, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	total, err := t.s.readTo(ctx, from, dest, t.buffer, t.progress)
	if err == nil {
		var a inode.Attr
		if a, err = t.s.Stat(ctx, 0, from, true); err == nil {
			if a.Size != uint64(total) {
				err = errors.Errorf("changed while it was copied: %d bytes were read, it has %d now", total, a.Size)
			} else {
				err = multierr.Combine(unix.Fchmod(int(dest.Fd()), a.Mode), setLocalTime(to, a.Mtime))
			}
		}
	}
	return multierr.Append(err, dest.Close())
}

// setLocalTime sets the modification time, of a symbolic link itself too, and leaves the access time.
func setLocalTime(name string, ns int64) error {
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, unix.NsecToTimespec(ns)}
	return errors.Wrapf(unix.UtimesNanoAt(unix.AT_FDCWD, name, times, unix.AT_SYMLINK_NOFOLLOW), "cannot set the time of %s", name)
}
