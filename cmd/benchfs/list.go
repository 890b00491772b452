package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/pkg/errors"
	"github.com/spf13/cobra"

	"github.com/benchfs/benchfs/core/client"
	"github.com/benchfs/benchfs/internal/inode"
)

// entry is a file in JSON.
type entry struct {
	Path   string    `json:"path"`
	Type   string    `json:"type"` // "file", "directory", "symlink"
	Mode   string    `json:"mode"` // octal
	Nlink  uint32    `json:"nlink"`
	UID    uint32    `json:"uid"`
	GID    uint32    `json:"gid"`
	Size   uint64    `json:"size"`
	Mtime  time.Time `json:"mtime"`
	Ino    uint64    `json:"ino"`
	Shard  uint32    `json:"shard"` // that owns the inode
	Target string    `json:"target,omitempty"`

	attr inode.Attr
}

func kindName(k inode.Kind) string {
	switch k {
	case inode.Dir:
		return "directory"
	case inode.Symlink:
		return "symlink"
	}
	return "file"
}

// describe makes an entry, with the target of a symbolic link.
func (s *session) describe(ctx context.Context, name string, a inode.Attr) (entry, error) {
	e := entry{
		Path: name, Type: kindName(a.Kind), Mode: fmt.Sprintf("%04o", a.Mode), Nlink: a.Nlink, UID: a.UID, GID: a.GID,
		Size: a.Size, Mtime: time.Unix(0, a.Mtime), Ino: uint64(a.Ino), Shard: a.Ino.Shard(), attr: a,
	}
	if a.Kind == inode.Symlink {
		target, err := s.Readlink(ctx, 0, name)
		if err != nil {
			return e, err
		}
		e.Target = target
	}
	return e, nil
}

// modeText is the first column of ls -l.
func modeText(a inode.Attr) string {
	mode := os.FileMode(a.Mode & 0o777)
	switch a.Kind {
	case inode.Dir:
		mode |= os.ModeDir
	case inode.Symlink:
		mode |= os.ModeSymlink
	}
	return mode.String()
}

// each calls f for every entry of a directory but "." and "..", in the order in which the shards tell them.
func (s *session) each(ctx context.Context, dir string, f func(client.DirEntry) error) (err error) {
	d, err := s.OpenDir(ctx, 0, dir)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := d.Close(context.WithoutCancel(ctx)); err == nil {
			err = closeErr
		}
	}()
	for {
		e, err := d.NextPlus(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if e.Name == "." || e.Name == ".." {
			continue
		}
		if err := f(e); err != nil {
			return err
		}
	}
}

// lister prints directories.
type lister struct {
	s         *session
	long      bool
	recursive bool
	out       *bufio.Writer
	table     *tabwriter.Writer
	entries   *[]entry // collected instead of printed, for JSON
}

func lsCommand(g *globals) *cobra.Command {
	var l lister
	var asJSON bool
	c := &cobra.Command{Use: "ls [-lR] [path …]", Short: "List directories", Args: cobra.ArbitraryArgs}
	c.Flags().BoolVarP(&l.long, "long", "l", false, "with mode, links, owner, size and time")
	c.Flags().BoolVarP(&l.recursive, "recursive", "R", false, "and what is below")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON: a list of entries")
	c.RunE = action(func(ctx context.Context, args []string) error {
		if len(args) == 0 {
			args = []string{"/"}
		}
		return g.with(ctx, func(s *session) error {
			l.s, l.out = s, bufio.NewWriter(os.Stdout)
			l.table = tabwriter.NewWriter(l.out, 0, 0, 1, ' ', tabwriter.AlignRight)
			if asJSON {
				l.entries = &[]entry{}
			}
			for i, name := range args {
				if err := l.argument(ctx, name, len(args) > 1 || l.recursive, i > 0); err != nil {
					return err
				}
			}
			if asJSON {
				return printJSON(os.Stdout, *l.entries)
			}
			return l.out.Flush()
		})
	})
	return c
}

// argument lists a directory, or shows a file.
func (l *lister) argument(ctx context.Context, name string, headed, blank bool) error {
	a, err := l.s.Stat(ctx, 0, name, true)
	if err != nil {
		return err
	}
	if a.Kind != inode.Dir {
		e, err := l.s.describe(ctx, name, a)
		if err != nil {
			return err
		}
		return l.show([]entry{e}, func(e entry) string { return e.Path })
	}
	return l.dir(ctx, name, headed, blank)
}

func (l *lister) dir(ctx context.Context, dir string, headed, blank bool) error {
	var entries []entry
	err := l.s.each(ctx, dir, func(d client.DirEntry) error {
		e, err := l.s.describe(ctx, path.Join(dir, d.Name), d.Attr)
		if err == nil {
			entries = append(entries, e)
		}
		return err
	})
	if err != nil {
		return err
	}
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.Path, b.Path) })
	if headed && l.entries == nil {
		if blank {
			fmt.Fprintln(l.out)
		}
		fmt.Fprintf(l.out, "%s:\n", dir)
	}
	if err := l.show(entries, func(e entry) string { return path.Base(e.Path) }); err != nil {
		return err
	}
	if !l.recursive {
		return nil
	}
	for _, e := range entries {
		if e.attr.Kind == inode.Dir {
			if err := l.dir(ctx, e.Path, true, true); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *lister) show(entries []entry, name func(entry) string) error {
	if l.entries != nil {
		*l.entries = append(*l.entries, entries...)
		return nil
	}
	for _, e := range entries {
		if !l.long {
			fmt.Fprintln(l.out, name(e))
			continue
		}
		target := ""
		if e.Target != "" {
			target = " -> " + e.Target
		}
		fmt.Fprintf(l.table, "%s\t%d\t%d\t%d\t%d\t %s  %s%s\n", modeText(e.attr), e.Nlink, e.UID, e.GID, e.Size,
			e.Mtime.Format("2006-01-02 15:04:05"), name(e), target)
	}
	return l.table.Flush()
}

func statCommand(g *globals) *cobra.Command {
	var asJSON, follow bool
	c := &cobra.Command{Use: "stat path …", Short: "Show what is known of files", Args: cobra.MinimumNArgs(1)}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON: a list of entries")
	c.Flags().BoolVarP(&follow, "dereference", "L", false, "follow symbolic links")
	c.RunE = action(func(ctx context.Context, args []string) error {
		return g.with(ctx, func(s *session) error {
			var entries []entry
			for _, name := range args {
				a, err := s.Stat(ctx, 0, name, follow)
				if err != nil {
					return err
				}
				e, err := s.describe(ctx, name, a)
				if err != nil {
					return err
				}
				entries = append(entries, e)
			}
			if asJSON {
				return printJSON(os.Stdout, entries)
			}
			for _, e := range entries {
				a := e.attr
				fmt.Printf("  path  %s\n  type  %s\n  size  %d\n  mode  %s (%s)\n owner  %d:%d\n links  %d\n   ino  %d (%s)\n",
					e.Path, e.Type, e.Size, e.Mode, modeText(a), e.UID, e.GID, e.Nlink, e.Ino, a.Ino)
				if a.Kind == inode.File {
					fmt.Printf("layout  %s, chunks of %s\n", a.Layout.Strategy, human(a.Layout.ChunkBytes()))
				}
				for _, stamp := range []struct {
					name string
					ns   int64
				}{{" mtime", a.Mtime}, {" ctime", a.Ctime}, {" atime", a.Atime}, {" btime", a.Btime}} {
					fmt.Printf("%s  %s\n", stamp.name, time.Unix(0, stamp.ns).Format(time.RFC3339Nano))
				}
			}
			return nil
		})
	})
	return c
}

func dfCommand(g *globals) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{Use: "df", Short: "Show how full the file system is", Args: cobra.NoArgs}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.RunE = action(func(ctx context.Context, _ []string) error {
		return g.with(ctx, func(s *session) error {
			fs, err := s.Statfs(ctx)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(os.Stdout, usageReport{CapacityBytes: fs.CapacityBytes, UsedBytes: fs.UsedBytes, FreeBytes: fs.FreeBytes, Inodes: fs.Inodes})
			}
			w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
			percent := 0.0
			if fs.CapacityBytes > 0 {
				percent = 100 * float64(fs.UsedBytes) / float64(fs.CapacityBytes)
			}
			fmt.Fprintf(w, "CAPACITY\tUSED\tFREE\tUSE\tINODES\n%s\t%s\t%s\t%.0f%%\t%d\n",
				human(fs.CapacityBytes), human(fs.UsedBytes), human(fs.FreeBytes), percent, fs.Inodes)
			return w.Flush()
		})
	})
	return c
}

// place is an extent in JSON.
type place struct {
	Offset int64  `json:"offset"`
	Length int64  `json:"length"`
	Shard  uint32 `json:"shard"`
	Node   uint32 `json:"node"`
}

func locateCommand(g *globals) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{Use: "locate path", Short: "Show which nodes hold which bytes of a file", Args: cobra.ExactArgs(1)}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON: a list of extents")
	c.RunE = action(func(ctx context.Context, args []string) error {
		return g.with(ctx, func(s *session) error {
			out := bufio.NewWriter(os.Stdout)
			places := []place{}
			err := s.locate(ctx, args[0], func(e client.Extent) error {
				p := place{Offset: e.Offset, Length: e.Length, Shard: e.Shard, Node: e.Node}
				if asJSON {
					places = append(places, p)
					return nil
				}
				_, err := fmt.Fprintf(out, "%d +%d  shard %d  node %d\n", p.Offset, p.Length, p.Shard, p.Node)
				return err
			})
			if err != nil {
				return err
			}
			if asJSON {
				encoder := json.NewEncoder(out)
				encoder.SetIndent("", "  ")
				if err := encoder.Encode(places); err != nil {
					return err
				}
			}
			return out.Flush()
		})
	})
	return c
}

// locate goes through all extents of a file; the client tells them in portions.
func (s *session) locate(ctx context.Context, name string, f func(client.Extent) error) (err error) {
	file, err := s.Open(ctx, 0, name, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := file.Close(context.WithoutCancel(ctx)); err == nil {
			err = closeErr
		}
	}()
	a, err := file.Stat(ctx)
	if err != nil {
		return err
	}
	for from := int64(0); from < int64(a.Size); {
		extents, err := file.Locate(ctx, from, int64(a.Size)-from)
		if err != nil || len(extents) == 0 {
			return err
		}
		for _, e := range extents {
			if err := f(e); err != nil {
				return err
			}
		}
		last := extents[len(extents)-1]
		from = last.Offset + last.Length
	}
	return nil
}
