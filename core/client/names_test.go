package client_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/benchfs/benchfs/core/client"
	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/internal/inode"
)

func TestPathsAndNames(t *testing.T) {
	everywhere(t, func(t *testing.T, c *cluster) {
		a := c.client(nil)
		ok(t, "mkdir", a.Mkdir(ctx, 0, "d/", 0o755))
		ok(t, "mkdir", a.Mkdir(ctx, 0, "/d/e", 0o755))
		put(t, a, "d/e/f", []byte("hello"))
		for _, p := range []string{"d/e/f", "/d//e///f", "./d/./e/../e/f", "/../d/e/f", "d/../d/e/f"} {
			if string(get(t, a, p)) != "hello" {
				t.Fatalf("%q leads elsewhere", p)
			}
		}
		long := strings.Repeat("n", 256)
		openErr := func(path string, flags int) error {
			f, err := a.Open(ctx, 0, path, flags, 0o644)
			if err == nil {
				_ = f.Close(ctx)
			}
			return err
		}
		check(t, "empty path", openErr("", 0), syscall.ENOENT)
		check(t, "long name", openErr(long, 0), syscall.ENAMETOOLONG)
		check(t, "long path", openErr(strings.Repeat("d/../", 820), 0), syscall.ENAMETOOLONG)
		ok(t, "longest name", openErr(long[1:], syscall.O_CREAT))
		check(t, "file as directory", openErr("d/e/f/x", 0), syscall.ENOTDIR)
		check(t, "file with dots", openErr("d/e/f/..", 0), syscall.ENOTDIR)
		check(t, "file with slash", openErr("d/e/f/", 0), syscall.ENOTDIR)
		check(t, "missing with dots", openErr("x/..", 0), syscall.ENOENT)
		check(t, "create with slash", openErr("new/", syscall.O_CREAT), syscall.EISDIR)
		check(t, "write a directory", openErr("d", syscall.O_WRONLY), syscall.EISDIR)
		check(t, "truncate a directory", openErr("d", syscall.O_TRUNC), syscall.EISDIR)
		check(t, "create over a directory", openErr("d", syscall.O_CREAT), syscall.EISDIR)
		check(t, "O_DIRECTORY on a file", openErr("d/e/f", syscall.O_DIRECTORY), syscall.ENOTDIR)
		check(t, "O_EXCL on what exists", openErr("d/e/f", syscall.O_CREAT|syscall.O_EXCL), syscall.EEXIST)
		check(t, "unlink with slash", a.Unlink(ctx, 0, "d/e/f/"), syscall.ENOTDIR)
		check(t, "unlink a directory", a.Unlink(ctx, 0, "d"), syscall.EISDIR)
		check(t, "rmdir a file", a.Rmdir(ctx, 0, "d/e/f"), syscall.ENOTDIR)
		check(t, "rmdir .", a.Rmdir(ctx, 0, "d/."), syscall.EINVAL)
		check(t, "rmdir ..", a.Rmdir(ctx, 0, "d/e/.."), syscall.ENOTEMPTY)
		check(t, "rmdir /", a.Rmdir(ctx, 0, "/"), syscall.EBUSY)
		check(t, "rmdir full", a.Rmdir(ctx, 0, "d"), syscall.ENOTEMPTY)
		check(t, "mkdir over what exists", a.Mkdir(ctx, 0, "d/e", 0o755), syscall.EEXIST)
		check(t, "mkdir /", a.Mkdir(ctx, 0, "/", 0o755), syscall.EEXIST)
		ok(t, "unlink", a.Unlink(ctx, 0, "d/e/f"))
		check(t, "unlink again", a.Unlink(ctx, 0, "d/e/f"), syscall.ENOENT)
		dir := open(t, a, "d/e", syscall.O_RDONLY)
		ok(t, "rmdir", a.Rmdir(ctx, 0, "d/e/"))
		_, err := a.Open(ctx, dir.Ino(), "late", syscall.O_CREAT, 0o644)
		check(t, "create in a removed directory", err, syscall.ENOENT)
		ok(t, "close", dir.Close(ctx))
		ok(t, "rmdir", a.Rmdir(ctx, 0, "d"))
	})
}

func TestSymlinks(t *testing.T) {
	c := newCluster(t, 3, layout.RoundRobin, false)
	a := c.client(nil)
	ok(t, "mkdir", a.Mkdir(ctx, 0, "d", 0o755))
	put(t, a, "d/f", []byte("data"))
	for link, target := range map[string]string{"l1": "d/f", "d/l2": "/d/f", "ld": "d/", "d/up": "../l1", "loop": "loop", "dangling": "d/new"} {
		ok(t, "symlink", a.Symlink(ctx, target, 0, link))
		if got, err := a.Readlink(ctx, 0, link); got != target || err != nil {
			t.Fatalf("readlink %s: %q, %v", link, got, err)
		}
		if n := stat(t, a, link).Size; n != uint64(len(target)) {
			t.Errorf("size of %s: %d", link, n)
		}
	}
	for _, p := range []string{"l1", "d/l2", "ld/f", "d/up", "ld//l2", "ld/../d/up"} {
		if string(get(t, a, p)) != "data" {
			t.Errorf("%s leads elsewhere", p)
		}
	}
	openErr := func(path string, flags int) error {
		f, err := a.Open(ctx, 0, path, flags, 0o644)
		if err == nil {
			_ = f.Close(ctx)
		}
		return err
	}
	check(t, "loop", openErr("loop", 0), syscall.ELOOP)
	check(t, "loop inside", openErr("loop/x", 0), syscall.ELOOP)
	check(t, "O_NOFOLLOW", openErr("l1", syscall.O_NOFOLLOW), syscall.ELOOP)
	check(t, "O_NOFOLLOW|O_DIRECTORY", openErr("ld", syscall.O_NOFOLLOW|syscall.O_DIRECTORY), syscall.ENOTDIR)
	check(t, "O_EXCL on a link", openErr("dangling", syscall.O_CREAT|syscall.O_EXCL), syscall.EEXIST)
	check(t, "link with slash to a file", openErr("l1/", 0), syscall.ENOTDIR)
	check(t, "dangling", openErr("dangling", 0), syscall.ENOENT)
	ok(t, "create through a dangling link", openErr("dangling", syscall.O_CREAT))
	if stat(t, a, "d/new").Size != 0 {
		t.Error("the target was not made")
	}
	check(t, "mkdir over a link", a.Mkdir(ctx, 0, "ld", 0o755), syscall.EEXIST)
	check(t, "rmdir of a link", a.Rmdir(ctx, 0, "ld"), syscall.ENOTDIR)
	check(t, "rmdir of a link with slash", a.Rmdir(ctx, 0, "ld/"), syscall.ENOTDIR)
	check(t, "readlink of a file", readlinkErr(a, "d/f"), syscall.EINVAL)
	check(t, "empty target", a.Symlink(ctx, "", 0, "x"), syscall.ENOENT)
	check(t, "symlink with slash", a.Symlink(ctx, "t", 0, "x/"), syscall.ENOENT)
	// 40 links are fine, 41 are not.
	put(t, a, "c0", []byte("end"))
	for i := range 41 {
		ok(t, "symlink", a.Symlink(ctx, fmt.Sprintf("c%d", i), 0, fmt.Sprintf("c%d", i+1)))
	}
	ok(t, "40 links", openErr("c40", 0))
	check(t, "41 links", openErr("c41", 0), syscall.ELOOP)
	ok(t, "link to a link itself", a.Link(ctx, 0, "l1", 0, "hard", false))
	if got, err := a.Readlink(ctx, 0, "hard"); got != "d/f" || err != nil {
		t.Fatalf("hard link to a symbolic one: %q, %v", got, err)
	}
	ok(t, "link through a link", a.Link(ctx, 0, "l1", 0, "hard2", true))
	if stat(t, a, "hard2").Ino != stat(t, a, "d/f").Ino {
		t.Error("link did not follow")
	}
}

func readlinkErr(c *client.Client, path string) error {
	_, err := c.Readlink(ctx, 0, path)
	return err
}

func TestRename(t *testing.T) {
	everywhere(t, func(t *testing.T, c *cluster) {
		a, b := c.client(nil), c.client(nil)
		for _, d := range []string{"d", "d/sub", "d/sub/deep", "empty", "full"} {
			ok(t, "mkdir", a.Mkdir(ctx, 0, d, 0o755))
		}
		put(t, a, "f", []byte("f"))
		put(t, a, "g", []byte("g"))
		put(t, a, "full/x", nil)
		rename := func(what, from, to string, want syscall.Errno) {
			t.Helper()
			check(t, what, a.Rename(ctx, 0, from, 0, to), want)
		}
		rename("missing", "nope", "x", syscall.ENOENT)
		rename("into a missing directory", "f", "nope/x", syscall.ENOENT)
		rename("file over directory", "f", "empty", syscall.EISDIR)
		rename("directory over file", "empty", "f", syscall.ENOTDIR)
		rename("directory over a full one", "empty", "full", syscall.ENOTEMPTY)
		rename("below itself", "d", "d/sub/deep/x", syscall.EINVAL)
		rename("into itself", "d", "d/x", syscall.EINVAL)
		rename("over its ancestor", "d/sub/deep", "d", syscall.ENOTEMPTY)
		rename("dot", "d/.", "x", syscall.EBUSY)
		rename("to dot", "d", "full/.", syscall.EBUSY)
		rename("file with slash", "f/", "x", syscall.ENOTDIR)
		rename("file to slash", "f", "x/", syscall.ENOTDIR)
		rename("itself", "f", "f", 0)
		rename("over a file", "f", "g", 0)
		if got := get(t, b, "g"); string(got) != "f" {
			t.Fatalf("g holds %q", got)
		}
		check(t, "old name", b.Unlink(ctx, 0, "f"), syscall.ENOENT)
		ok(t, "link", a.Link(ctx, 0, "g", 0, "g2"+"x", false))
		rename("two names of one file", "g", "g2x", 0)
		if stat(t, b, "g").Nlink != 2 {
			t.Fatal("renaming one name of a file to the other took one away")
		}
		rename("directory with slash to a new name", "d/sub/", "moved/", 0)
		if dir := stat(t, b, "moved/deep/.."); dir.Ino != stat(t, b, "moved").Ino {
			t.Fatal("what was below did not move along")
		}
		rename("directory over an empty one", "moved", "empty", 0)
		if n := stat(t, b, "/").Nlink; n != 2+3 {
			t.Fatalf("the root has link count %d", n)
		}
		if stat(t, b, "empty/deep").Nlink != 2 {
			t.Fatal("not there")
		}
	})
}

func TestLinks(t *testing.T) {
	everywhere(t, func(t *testing.T, c *cluster) {
		a, b := c.client(nil), c.client(nil)
		ok(t, "mkdir", a.Mkdir(ctx, 0, "d", 0o755))
		put(t, a, "f", []byte("body"))
		ok(t, "link", a.Link(ctx, 0, "f", 0, "d/g", false))
		check(t, "link over what exists", a.Link(ctx, 0, "f", 0, "d/g", false), syscall.EEXIST)
		check(t, "link to a directory", a.Link(ctx, 0, "d", 0, "e", false), syscall.EPERM)
		check(t, "link to nothing", a.Link(ctx, 0, "nope", 0, "e", false), syscall.ENOENT)
		if s := stat(t, b, "d/g"); s.Nlink != 2 || s.Ino != stat(t, b, "f").Ino {
			t.Fatalf("%+v", s)
		}
		f := open(t, b, "d/g", syscall.O_RDWR)
		ok(t, "unlink", a.Unlink(ctx, 0, "f"))
		ok(t, "unlink", a.Unlink(ctx, 0, "d/g"))
		// Without a name, it lives as long as it is open: also for another client's handle.
		if got := readAt(t, f, 10, 0); string(got) != "body" {
			t.Fatalf("unlinked file holds %q", got)
		}
		writeAt(t, f, []byte("more"), chunk)
		attr, err := f.Stat(ctx)
		ok(t, "fstat", err)
		if attr.Nlink != 0 || attr.Size != chunk+4 {
			t.Fatalf("%+v", attr)
		}
		ok(t, "close", f.Close(ctx))
		// The close is told later, and the chunks leave their shards before the inode leaves its own.
		s, err := a.Statfs(ctx)
		ok(t, "statfs", err)
		for end := time.Now().Add(5 * time.Second); (s.UsedBytes != 0 || s.Inodes != 2) && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
			s, err = a.Statfs(ctx)
			ok(t, "statfs", err)
		}
		if s.UsedBytes != 0 || s.Inodes != 2 {
			t.Fatalf("space of the unlinked file is not given back: %+v", s)
		}
	})
}

// TestOpenInode: an open file is opened again by its number, also by another client and when it has no name any more.
func TestOpenInode(t *testing.T) {
	everywhere(t, func(t *testing.T, c *cluster) {
		a, b := c.client(nil), c.client(nil)
		ok(t, "mkdir", a.Mkdir(ctx, 0, "d", 0o755))
		put(t, a, "f", []byte("body"))
		f := open(t, a, "f", syscall.O_RDWR)
		ino := inode.Ino(stat(t, a, "f").Ino)
		ok(t, "unlink", a.Unlink(ctx, 0, "f"))
		g, err := b.OpenInode(ctx, ino, syscall.O_RDWR)
		ok(t, "open by number", err)
		ok(t, "close", f.Close(ctx))
		writeAt(t, g, []byte("B"), 0)
		if got := readAt(t, g, 10, 0); string(got) != "Body" {
			t.Fatalf("%q", got)
		}
		_, err = b.OpenInode(ctx, ino, syscall.O_RDONLY|syscall.O_DIRECTORY)
		check(t, "a file as a directory", err, syscall.ENOTDIR)
		_, err = b.OpenInode(ctx, ino, syscall.O_RDWR|syscall.O_TRUNC)
		check(t, "O_TRUNC", err, syscall.EINVAL)
		_, err = b.OpenInode(ctx, inode.Ino(stat(t, a, "d").Ino), syscall.O_RDWR)
		check(t, "a directory to be written", err, syscall.EISDIR)
		ok(t, "close", g.Close(ctx))
		for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
			g, err = b.OpenInode(ctx, ino, syscall.O_RDONLY)
			if err != nil || time.Now().After(end) {
				break
			}
			ok(t, "close", g.Close(ctx))
		}
		check(t, "what is gone", err, syscall.ESTALE)
	})
}

// TestPrefix: with a prefix, absolute symbolic links under it stay in the file system, and others are not mistaken for ours.
func TestPrefix(t *testing.T) {
	c := newCluster(t, 2, layout.RoundRobin, false)
	a := c.client(func(o *client.Options) { o.Prefix = "/scratch" })
	ok(t, "mkdir", a.Mkdir(ctx, 0, "d", 0o755))
	ok(t, "mkdir", a.Mkdir(ctx, 0, "scratch", 0o755))
	put(t, a, "d/f", []byte("body"))
	for link, target := range map[string]string{"in": "/scratch/d/f", "root": "/scratch", "dir": "/scratch/d", "out": "/d/f", "like": "/scratchy/d/f", "rel": "d/f"} {
		ok(t, "symlink", a.Symlink(ctx, target, 0, link))
	}
	for path, want := range map[string]syscall.Errno{"in": 0, "dir/f": 0, "root/d/f": 0, "rel": 0, "out": syscall.EREMOTE, "like": syscall.EREMOTE, "out/x": syscall.EREMOTE} {
		f, err := a.Open(ctx, 0, path, syscall.O_RDONLY, 0)
		if want != 0 {
			check(t, path, err, want)
			continue
		}
		ok(t, path, err)
		if got := readAt(t, f, 10, 0); string(got) != "body" {
			t.Errorf("%s: %q", path, got)
		}
		ok(t, "close", f.Close(ctx))
	}
	if target, err := a.Readlink(ctx, 0, "in"); err != nil || target != "/scratch/d/f" {
		t.Errorf("%q %v", target, err)
	}
}

func TestExclusiveCreate(t *testing.T) {
	c := newCluster(t, 3, layout.RoundRobin, false)
	var mu sync.Mutex
	winners := map[string]int{}
	var wg sync.WaitGroup
	for range 6 {
		a := c.client(nil)
		wg.Go(func() {
			for i := range 50 {
				name := fmt.Sprintf("file%d", i)
				f, err := a.Open(ctx, 0, name, syscall.O_CREAT|syscall.O_EXCL|syscall.O_RDWR, 0o644)
				if errors.Is(err, syscall.EEXIST) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				winners[name]++
				mu.Unlock()
				_ = f.Close(ctx)
			}
		})
	}
	wg.Wait()
	for i := range 50 {
		if n := winners[fmt.Sprintf("file%d", i)]; n != 1 {
			t.Errorf("file %d was made %d times", i, n)
		}
	}
}

func TestReadDir(t *testing.T) {
	everywhere(t, func(t *testing.T, c *cluster) {
		a := c.client(nil)
		ok(t, "mkdir", a.Mkdir(ctx, 0, "d", 0o755))
		want := map[string]bool{".": true, "..": true}
		const files = 700
		for i := range files {
			name := fmt.Sprintf("a-rather-long-name-so-that-there-are-several-pages-%0150d", i)
			want[name] = true
			if i%10 == 0 {
				ok(t, "mkdir", a.Mkdir(ctx, 0, "d/"+name, 0o755))
			} else {
				create(t, a, "d/"+name)
			}
		}
		ok(t, "link", a.Link(ctx, 0, "d/"+fmt.Sprintf("a-rather-long-name-so-that-there-are-several-pages-%0150d", 1), 0, "d/link", false))
		want["link"] = true
		if s := stat(t, a, "d"); s.Nlink != 2+files/10 || s.Size != files+1 {
			t.Fatalf("directory: %+v", s)
		}
		d, err := a.OpenDir(ctx, 0, "d")
		ok(t, "opendir", err)
		list := func(plus bool) (names []string, cookies []uint64) {
			for {
				next := d.Next
				if plus {
					next = d.NextPlus
				}
				e, err := next(ctx)
				if err == io.EOF {
					return names, cookies
				}
				ok(t, "readdir", err)
				if int64(e.Cookie) <= 0 || d.Tell() != e.Cookie {
					t.Fatalf("cookie %d, tell %d", e.Cookie, d.Tell())
				}
				if plus {
					path := "d/" + e.Name
					if attr, err := a.Stat(ctx, 0, path, false); err != nil || !e.HasAttr || attr != e.Attr {
						t.Fatalf("attributes of %s: %+v (%v), stat says %+v, %v", e.Name, e.Attr, e.HasAttr, attr, err)
					}
				}
				names, cookies = append(names, e.Name), append(cookies, e.Cookie)
			}
		}
		for _, plus := range []bool{false, true, false} {
			d.Rewind()
			names, cookies := list(plus)
			seen := map[string]bool{}
			for _, n := range names {
				if seen[n] || !want[n] {
					t.Fatalf("%s: seen %v, there %v", n, seen[n], want[n])
				}
				seen[n] = true
			}
			if len(seen) != len(want) || names[0] != "." || names[1] != ".." {
				t.Fatalf("%d of %d entries", len(seen), len(want))
			}
			for _, i := range []int{0, 1, 2, len(names) / 2, len(names) - 2, len(names) - 1} {
				d.Seek(cookies[i])
				if rest, _ := list(false); strings.Join(rest, "/") != strings.Join(names[i+1:], "/") {
					t.Fatalf("after seek to entry %d: %d entries, want %d", i, len(rest), len(names)-i-1)
				}
			}
		}
		// What is there throughout is seen once, whatever comes and goes.
		d.Rewind()
		count, i := map[string]int{}, 0
		for ; ; i++ {
			e, err := d.NextPlus(ctx)
			if err == io.EOF {
				break
			}
			ok(t, "readdir", err)
			count[e.Name]++
			if i%20 == 5 {
				create(t, a, fmt.Sprintf("d/new%d", i))
			}
			if i%20 == 6 && e.Kind == inode.File {
				ok(t, "unlink", a.Unlink(ctx, 0, "d/"+e.Name))
			}
		}
		for name := range want {
			if count[name] != 1 {
				if _, err := a.Stat(ctx, 0, "d/"+name, false); err == nil {
					t.Errorf("%s seen %d times", name, count[name])
				}
			}
		}
		ok(t, "closedir", d.Close(ctx))
	})
}

func TestRemovedDirectoryIsEmpty(t *testing.T) {
	c := newCluster(t, 3, layout.RoundRobin, false)
	a := c.client(nil)
	ok(t, "mkdir", a.Mkdir(ctx, 0, "d", 0o755))
	d, err := a.OpenDir(ctx, 0, "d")
	ok(t, "opendir", err)
	ok(t, "rmdir", c.client(nil).Rmdir(ctx, 0, "d"))
	if e, err := d.Next(ctx); err != io.EOF {
		t.Fatalf("%v, %v", e, err)
	}
	attr, err := d.File().Stat(ctx)
	if ok(t, "fstat", err); attr.Nlink != 0 {
		t.Fatalf("link count %d", attr.Nlink)
	}
	ok(t, "closedir", d.Close(ctx))
}
