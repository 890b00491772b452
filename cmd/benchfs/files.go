package main

import (
	"context"
	"io"
	"os"
	"path"
	"syscall"

	"github.com/pkg/errors"
	"github.com/spf13/cobra"
	"go.uber.org/multierr"

	"github.com/benchfs/benchfs/core/client"
	"github.com/benchfs/benchfs/internal/inode"
)

// bufferBytes is the size of one read or write: a chunk of the default size.
const bufferBytes = 4 << 20

func catCommand(g *globals) *cobra.Command {
	c := &cobra.Command{Use: "cat path …", Short: "Write files to standard output", Args: cobra.MinimumNArgs(1)}
	c.RunE = action(func(ctx context.Context, args []string) error {
		return g.with(ctx, func(s *session) error {
			// Never Go's own memory: the network layer moves bytes in and out of it.
			buffer, err := s.Alloc(bufferBytes)
			if err != nil {
				return err
			}
			defer s.Free(buffer)
			for _, name := range args {
				if _, err := s.readTo(ctx, name, os.Stdout, buffer, nil); err != nil {
					return err
				}
			}
			return nil
		})
	})
	return c
}

// readTo copies a file of the file system to w and returns the number of bytes.
func (s *session) readTo(ctx context.Context, name string, w io.Writer, buffer []byte, progress func(int)) (total int64, err error) {
	f, err := s.Open(ctx, 0, name, os.O_RDONLY, 0)
	if err != nil {
		return 0, err
	}
	defer func() { err = multierr.Append(err, f.Close(context.WithoutCancel(ctx))) }()
	for {
		if err := ctx.Err(); err != nil {
			return total, err
		}
		n, err := f.Pread(ctx, buffer, total)
		if err != nil || n == 0 {
			return total, err
		}
		if _, err := w.Write(buffer[:n]); err != nil {
			return total, err
		}
		total += int64(n)
		if progress != nil {
			progress(n)
		}
	}
}

// writeFrom copies r into an open file and returns the number of bytes.
func writeFrom(ctx context.Context, f *client.File, r io.Reader, buffer []byte, progress func(int)) (total int64, err error) {
	for {
		if err := ctx.Err(); err != nil {
			return total, err
		}
		n, err := io.ReadFull(r, buffer)
		for done := 0; done < n; {
			written, err := f.Pwrite(ctx, buffer[done:n], total)
			if err != nil {
				return total, err
			}
			done, total = done+written, total+int64(written)
		}
		if progress != nil {
			progress(n)
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return total, nil
		case err != nil:
			return total, err
		}
	}
}

func mkdirCommand(g *globals) *cobra.Command {
	var parents bool
	c := &cobra.Command{Use: "mkdir [-p] path …", Short: "Make directories", Args: cobra.MinimumNArgs(1)}
	c.Flags().BoolVarP(&parents, "parents", "p", false, "and those above; no error if they are there")
	c.RunE = action(func(ctx context.Context, args []string) error {
		return g.with(ctx, func(s *session) error {
			for _, name := range args {
				if err := s.mkdir(ctx, name, parents); err != nil {
					return err
				}
			}
			return nil
		})
	})
	return c
}

func (s *session) mkdir(ctx context.Context, name string, parents bool) error {
	err := s.Mkdir(ctx, 0, name, 0o777)
	if !parents {
		return err
	}
	if errors.Is(err, syscall.ENOENT) && path.Dir(name) != name {
		if err := s.mkdir(ctx, path.Dir(name), true); err != nil {
			return err
		}
		err = s.Mkdir(ctx, 0, name, 0o777)
	}
	if errors.Is(err, syscall.EEXIST) {
		if a, statErr := s.Stat(ctx, 0, name, true); statErr == nil && a.Kind == inode.Dir {
			return nil
		}
	}
	return err
}

func rmCommand(g *globals) *cobra.Command {
	var recursive, force bool
	c := &cobra.Command{Use: "rm [-rf] path …", Short: "Remove files", Args: cobra.MinimumNArgs(1)}
	c.Flags().BoolVarP(&recursive, "recursive", "r", false, "directories too, with all that is in them")
	c.Flags().BoolVarP(&force, "force", "f", false, "no error if there is nothing")
	c.RunE = action(func(ctx context.Context, args []string) error {
		return g.with(ctx, func(s *session) error {
			var failed error
			for _, name := range args {
				err := s.remove(ctx, name, recursive)
				if force && errors.Is(err, syscall.ENOENT) {
					err = nil
				}
				failed = multierr.Append(failed, err)
			}
			return failed
		})
	})
	return c
}

func (s *session) remove(ctx context.Context, name string, recursive bool) error {
	a, err := s.Stat(ctx, 0, name, false)
	if err != nil {
		return err
	}
	switch {
	case a.Kind != inode.Dir:
		return s.Unlink(ctx, 0, name)
	case !recursive:
		return errors.WithMessagef(syscall.EISDIR, "%s: give -r to remove a directory", name)
	}
	return s.removeTree(ctx, name, path.Clean("/"+name) != "/")
}

// removeTree empties a directory portion by portion, so that its size does not matter, and removes it.
func (s *session) removeTree(ctx context.Context, dir string, itself bool) error {
	const portion = 4096
	errFull := errors.New("portion is full")
	for {
		var names []client.DirEntry
		err := s.each(ctx, dir, func(e client.DirEntry) error {
			if names = append(names, e); len(names) == portion {
				return errFull
			}
			return nil
		})
		if err != nil && !errors.Is(err, errFull) {
			return err
		}
		for _, e := range names {
			if err := ctx.Err(); err != nil {
				return err
			}
			name := path.Join(dir, e.Name)
			var err error
			if e.Kind == inode.Dir {
				err = s.removeTree(ctx, name, true)
			} else {
				err = s.Unlink(ctx, 0, name)
			}
			if err != nil && !errors.Is(err, syscall.ENOENT) { // somebody else was quicker: it is gone
				return err
			}
		}
		if len(names) < portion {
			break
		}
	}
	if !itself {
		return nil
	}
	return s.Rmdir(ctx, 0, dir)
}
