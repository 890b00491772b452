package client_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/benchfs/benchfs/core/client"
	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/internal/inode"
)

// everywhere runs a test with one shard and with several, and with each layout.
func everywhere(t *testing.T, test func(t *testing.T, c *cluster)) {
	for _, shards := range []int{1, 3, 5} {
		for _, s := range []layout.Strategy{layout.RoundRobin, layout.Hash, layout.Local} {
			t.Run(fmt.Sprintf("%d-%v", shards, s), func(t *testing.T) { test(t, newCluster(t, shards, s, false)) })
		}
	}
}

func TestWriteThenReadElsewhere(t *testing.T) {
	everywhere(t, func(t *testing.T, c *cluster) {
		a, b := c.client(nil), c.client(nil)
		data := pattern(3, 5*chunk+4321)
		put(t, a, "f", data)
		if got := get(t, b, "f"); !bytes.Equal(got, data) {
			t.Fatal("another client reads something else")
		}
		fa, fb := open(t, a, "f", syscall.O_RDWR), open(t, b, "f", syscall.O_RDWR)
		defer func() { _, _ = fa.Close(ctx), fb.Close(ctx) }()
		// Both have it open: what one writes the other sees, inside the size, beyond it, and after a cut.
		for i, off := range []int64{10, chunk - 5, 5*chunk + 4321, 12 * chunk, 7*chunk + 1} {
			part := pattern(byte(i+50), 2*chunk+i)
			writeAt(t, fa, part, off)
			if need := int(off) + len(part); need > len(data) {
				data = append(data, make([]byte, need-len(data))...)
			}
			copy(data[off:], part)
			if got := readAt(t, fb, len(data)+10, 0); !bytes.Equal(got, data) {
				t.Fatalf("after write %d: %d bytes read, %d expected, first difference at %d", i, len(got), len(data), differ(got, data))
			}
		}
		for i, size := range []int{3*chunk + 17, 9 * chunk, 100, 0, 2 * chunk} {
			ok(t, "truncate", fb.Truncate(ctx, int64(size)))
			if size < len(data) {
				data = data[:size:size]
			} else {
				data = append(data, make([]byte, size-len(data))...)
			}
			if got := readAt(t, fa, len(data)+10, 0); !bytes.Equal(got, data) {
				t.Fatalf("after truncate %d to %d: %d bytes read, first difference at %d", i, size, len(got), differ(got, data))
			}
			writeAt(t, fa, []byte{byte(i)}, int64(size)+chunk)
			data = append(append(data, make([]byte, chunk)...), byte(i))
			if got := readAt(t, fb, len(data)+10, 0); !bytes.Equal(got, data) {
				t.Fatalf("after write behind cut %d: first difference at %d", i, differ(got, data))
			}
		}
	})
}

func differ(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

func TestSequential(t *testing.T) {
	c := newCluster(t, 3, layout.RoundRobin, false)
	a := c.client(nil)
	f := open(t, a, "f", syscall.O_CREAT|syscall.O_RDWR)
	data := pattern(1, 3*chunk)
	for off := 0; off < len(data); off += 1000 {
		n, err := f.Write(ctx, data[off:min(off+1000, len(data))])
		ok(t, "write", err)
		if n == 0 {
			t.Fatal("nothing written")
		}
	}
	pos, err := f.Seek(ctx, 0, io.SeekCurrent)
	if ok(t, "seek", err); pos != int64(len(data)) {
		t.Fatalf("position %d", pos)
	}
	if pos, err = f.Seek(ctx, -int64(len(data)), io.SeekEnd); pos != 0 || err != nil {
		t.Fatalf("seek to the start from the end: %d, %v", pos, err)
	}
	var got []byte
	bufs := [][]byte{make([]byte, 100), nil, make([]byte, 70001), make([]byte, 1)}
	for {
		n, err := f.Readv(ctx, bufs)
		if ok(t, "readv", err); n == 0 {
			break
		}
		for _, b := range bufs {
			k := min(n, len(b))
			got = append(got, b[:k]...)
			n -= k
		}
	}
	if !bytes.Equal(got, data) {
		t.Fatalf("%d bytes read, first difference at %d", len(got), differ(got, data))
	}
	_, err = f.Seek(ctx, -1, io.SeekStart)
	check(t, "seek before the start", err, syscall.EINVAL)
	_, err = f.Seek(ctx, 0, 77)
	check(t, "seek with unknown whence", err, syscall.EINVAL)
	_, err = f.Seek(ctx, int64(len(data)), 3)
	check(t, "SEEK_DATA at the end", err, syscall.ENXIO)
	if pos, err = f.Seek(ctx, 5, 4); pos != int64(len(data)) || err != nil {
		t.Fatalf("SEEK_HOLE: %d, %v", pos, err)
	}
	ok(t, "close", f.Close(ctx))
}

func TestBadArguments(t *testing.T) {
	c := newCluster(t, 2, layout.RoundRobin, false)
	a := c.client(nil)
	f := open(t, a, "f", syscall.O_CREAT|syscall.O_RDWR)
	r := open(t, a, "f", syscall.O_RDONLY)
	w := open(t, a, "f", syscall.O_WRONLY)
	d := open(t, a, "/", syscall.O_RDONLY|syscall.O_DIRECTORY)
	p := make([]byte, 10)
	call := func(what string, want syscall.Errno, fn func() (int, error)) {
		t.Helper()
		_, err := fn()
		check(t, what, err, want)
	}
	call("read at −1", syscall.EINVAL, func() (int, error) { return f.Pread(ctx, p, -1) })
	call("write at −1", syscall.EINVAL, func() (int, error) { return f.Pwrite(ctx, p, -1) })
	call("write at 2⁶³−1", syscall.EFBIG, func() (int, error) { return f.Pwrite(ctx, p, math.MaxInt64) })
	call("write only", syscall.EBADF, func() (int, error) { return w.Pread(ctx, p, 0) })
	call("read only", syscall.EBADF, func() (int, error) { return r.Pwrite(ctx, p, 0) })
	call("read of a directory", syscall.EISDIR, func() (int, error) { return d.Pread(ctx, p, 0) })
	call("too many buffers", syscall.EINVAL, func() (int, error) { return f.Preadv(ctx, make([][]byte, 1025), 0) })
	call("no bytes", 0, func() (int, error) { return f.Pwrite(ctx, nil, 100) })
	if n := stat(t, a, "f").Size; n != 0 {
		t.Fatalf("size %d", n)
	}
	check(t, "truncate to −1", f.Truncate(ctx, -1), syscall.EINVAL)
	check(t, "truncate read only", r.Truncate(ctx, 1), syscall.EINVAL)
	check(t, "fallocate nothing", f.Allocate(ctx, 0, 0, 0), syscall.EINVAL)
	check(t, "fallocate too far", f.Allocate(ctx, 0, math.MaxInt64, 2), syscall.EFBIG)
	check(t, "punch a hole", f.Allocate(ctx, 3, 0, 1), syscall.EOPNOTSUPP)
	for _, f := range []*client.File{f, r, w, d} {
		ok(t, "close", f.Close(ctx))
	}
	if n := a.OpenFiles(); n != 0 {
		t.Fatalf("%d files open", n)
	}
}

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
		s, err := a.Statfs(ctx)
		ok(t, "statfs", err)
		for end := time.Now().Add(5 * time.Second); s.UsedBytes != 0 && time.Now().Before(end); {
			s, err = a.Statfs(ctx)
			ok(t, "statfs", err)
		}
		if s.UsedBytes != 0 || s.Inodes != 2 {
			t.Fatalf("space of the unlinked file is not given back: %+v", s)
		}
	})
}

func TestAppend(t *testing.T) {
	everywhere(t, func(t *testing.T, c *cluster) {
		const writers, records = 4, 60
		record := func(w, i int) []byte { return fmt.Appendf(nil, "<%d:%03d:%s>\n", w, i, strings.Repeat("x", 200*w+i)) }
		put(t, c.client(nil), "log", nil)
		var wg sync.WaitGroup
		for w := range writers {
			a := c.client(nil)
			wg.Go(func() {
				f, err := a.Open(ctx, 0, "log", syscall.O_WRONLY|syscall.O_APPEND, 0)
				if err != nil {
					t.Error(err)
					return
				}
				for i := range records {
					if _, err := f.Write(ctx, record(w, i)); err != nil {
						t.Error(err)
					}
				}
				if err := f.Close(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		var next [writers]int
		for line := range bytes.Lines(get(t, c.client(nil), "log")) {
			var w, i int
			if _, err := fmt.Sscanf(string(line), "<%d:%d:", &w, &i); err != nil || !bytes.Equal(line, record(w, i)) || next[w] != i {
				t.Fatalf("torn, lost or reordered record: %.40q", line)
			}
			next[w]++
		}
		for w, n := range next {
			if n != records {
				t.Errorf("writer %d: %d records", w, n)
			}
		}
	})
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

func TestAttributes(t *testing.T) {
	c := newCluster(t, 3, layout.RoundRobin, false)
	a, b := c.client(nil), c.client(nil)
	put(t, a, "f", pattern(1, 100))
	ok(t, "chmod", a.Chmod(ctx, 0, "f", 0o6755, true))
	ok(t, "chown", a.Chown(ctx, 0, "f", 5, client.Keep, true))
	if s := stat(t, b, "f"); s.Mode != 0o755 || s.UID != 5 || s.GID != 0 {
		t.Fatalf("%o %d %d", s.Mode, s.UID, s.GID)
	}
	ok(t, "utimens", a.Utimens(ctx, 0, "f", client.Time{NS: 111}, client.Time{NS: 222}, true))
	if s := stat(t, b, "f"); s.Mtime != 222 {
		t.Fatalf("mtime %d", s.Mtime)
	}
	// An overwrite advances mtime: at once for whoever wrote, at fsync or close for others.
	f := open(t, a, "f", syscall.O_RDWR)
	writeAt(t, f, []byte("x"), 0)
	if s := stat(t, a, "f"); s.Mtime < 1000 {
		t.Fatal("the writer's own stat does not see its overwrite")
	}
	ok(t, "utimens", f.Utimens(ctx, client.Time{Omit: true}, client.Time{NS: 333}))
	writeAt(t, f, []byte("x"), 0)
	ok(t, "fsync", f.Sync(ctx, false))
	if s := stat(t, b, "f"); s.Mtime < 1000 {
		t.Fatal("fsync does not tell the time")
	}
	ok(t, "utimens", f.Utimens(ctx, client.Time{Omit: true}, client.Time{NS: 444}))
	writeAt(t, f, []byte("x"), 0)
	ok(t, "close", f.Close(ctx))
	if s := stat(t, b, "f"); s.Mtime < 1000 {
		t.Fatal("close does not tell the time")
	}
	// Directories: the time that was set holds until an entry comes or goes, and chmod does not lose the time of an entry.
	ok(t, "mkdir", a.Mkdir(ctx, 0, "d", 0o755))
	create(t, a, "d/x")
	ok(t, "utimens", a.Utimens(ctx, 0, "d", client.Time{Omit: true}, client.Time{NS: 555}, true))
	if s := stat(t, b, "d"); s.Mtime != 555 {
		t.Fatalf("mtime of a directory %d", s.Mtime)
	}
	create(t, a, "d/y")
	before := stat(t, b, "d").Mtime
	if before == 555 {
		t.Fatal("a new entry does not advance mtime")
	}
	ok(t, "chmod", a.Chmod(ctx, 0, "d", 0o700, true))
	if s := stat(t, b, "d"); s.Mtime != before || s.Mode != 0o700 {
		t.Fatalf("after chmod: mtime %d, before %d, mode %o", s.Mtime, before, s.Mode)
	}
	ok(t, "rename", a.Rename(ctx, 0, "d", 0, "dd"))
	if s := stat(t, b, "dd"); s.Mtime != before {
		t.Fatalf("after rename: mtime %d, before %d", s.Mtime, before)
	}
	check(t, "truncate a directory", a.Truncate(ctx, 0, "dd", 0), syscall.EISDIR)
	check(t, "truncate nothing", a.Truncate(ctx, 0, "nope", 0), syscall.ENOENT)
	check(t, "chmod of a link", func() error {
		ok(t, "symlink", a.Symlink(ctx, "f", 0, "l"))
		return a.Chmod(ctx, 0, "l", 0o700, false)
	}(), syscall.EOPNOTSUPP)
}

func TestPermissionChecks(t *testing.T) {
	c := newCluster(t, 3, layout.RoundRobin, false)
	root, u, v := c.client(nil), c.user(10, 100, 200), c.user(20, 300)
	check(t, "create without the right", func() error { _, err := u.Open(ctx, 0, "f", syscall.O_CREAT, 0o644); return err }(), syscall.EACCES)
	ok(t, "mkdir", root.Mkdir(ctx, 0, "tmp", 0o777))
	ok(t, "chmod", root.Chmod(ctx, 0, "tmp", 0o1777, true))
	put(t, u, "tmp/u", []byte("mine"))
	if s := stat(t, v, "tmp/u"); s.UID != 10 || s.GID != 100 || s.Mode != 0o644 {
		t.Fatalf("%+v", s)
	}
	openErr := func(c *client.Client, path string, flags int) error {
		f, err := c.Open(ctx, 0, path, flags, 0o644)
		if err == nil {
			_ = f.Close(ctx)
		}
		return err
	}
	ok(t, "read", openErr(v, "tmp/u", syscall.O_RDONLY))
	check(t, "write", openErr(v, "tmp/u", syscall.O_WRONLY), syscall.EACCES)
	check(t, "truncate by open", openErr(v, "tmp/u", syscall.O_TRUNC), syscall.EACCES)
	check(t, "truncate", v.Truncate(ctx, 0, "tmp/u", 0), syscall.EACCES)
	check(t, "sticky unlink", v.Unlink(ctx, 0, "tmp/u"), syscall.EPERM)
	check(t, "sticky rename", v.Rename(ctx, 0, "tmp/u", 0, "tmp/v"), syscall.EPERM)
	check(t, "chmod", v.Chmod(ctx, 0, "tmp/u", 0o777, true), syscall.EPERM)
	check(t, "chown away", u.Chown(ctx, 0, "tmp/u", 20, client.Keep, true), syscall.EPERM)
	check(t, "chgrp elsewhere", u.Chown(ctx, 0, "tmp/u", client.Keep, 300, true), syscall.EPERM)
	ok(t, "chgrp", u.Chown(ctx, 0, "tmp/u", client.Keep, 200, true))
	check(t, "utimens", v.Utimens(ctx, 0, "tmp/u", client.Time{NS: 1}, client.Time{NS: 1}, true), syscall.EPERM)
	check(t, "touch", v.Utimens(ctx, 0, "tmp/u", client.Time{Now: true}, client.Time{Now: true}, true), syscall.EACCES)
	ok(t, "chmod", u.Chmod(ctx, 0, "tmp/u", 0o666, true))
	ok(t, "touch", v.Utimens(ctx, 0, "tmp/u", client.Time{Now: true}, client.Time{Now: true}, true))
	ok(t, "mkdir", u.Mkdir(ctx, 0, "tmp/private", 0o700))
	put(t, u, "tmp/private/f", nil)
	check(t, "search", openErr(v, "tmp/private/f", 0), syscall.EACCES)
	check(t, "list", openErr(v, "tmp/private", 0), syscall.EACCES)
	ok(t, "root may", openErr(root, "tmp/private/f", syscall.O_RDWR))
	ok(t, "chmod", u.Chmod(ctx, 0, "tmp/private", 0o755, true))
	ok(t, "open what exists with O_CREAT", openErr(v, "tmp/private/f", syscall.O_CREAT))
	check(t, "O_EXCL on what exists", openErr(v, "tmp/private/f", syscall.O_CREAT|syscall.O_EXCL), syscall.EEXIST)
	check(t, "mkdir over what exists", v.Mkdir(ctx, 0, "tmp/private/f", 0o755), syscall.EEXIST)
	check(t, "access", v.Access(ctx, 0, "tmp/private/f", 2, true, true), syscall.EACCES)
	ok(t, "access", v.Access(ctx, 0, "tmp/private/f", 4, false, true))
	// set-group-id directories hand on their group.
	ok(t, "chown", root.Chown(ctx, 0, "tmp/private", client.Keep, 200, true))
	ok(t, "chmod", root.Chmod(ctx, 0, "tmp/private", 0o2775, true))
	ok(t, "mkdir", u.Mkdir(ctx, 0, "tmp/private/d", 0o755))
	put(t, u, "tmp/private/g", nil)
	if d, f := stat(t, u, "tmp/private/d"), stat(t, u, "tmp/private/g"); d.GID != 200 || d.Mode != 0o2755 || f.GID != 200 || f.Mode != 0o644 {
		t.Fatalf("%+v %+v", d, f)
	}
	// A file may be opened for writing by whoever makes it, whatever its mode.
	f, err := u.Open(ctx, 0, "tmp/readonly", syscall.O_CREAT|syscall.O_RDWR, 0o444)
	ok(t, "create read-only", err)
	writeAt(t, f, []byte("x"), 0)
	ok(t, "close", f.Close(ctx))
	check(t, "open it again", openErr(u, "tmp/readonly", syscall.O_RDWR), syscall.EACCES)
	if n := u.OpenFiles() + v.OpenFiles() + root.OpenFiles(); n != 0 {
		t.Fatalf("%d files open", n)
	}
}

func TestLayouts(t *testing.T) {
	c := newCluster(t, 4, layout.RoundRobin, false)
	a := c.client(func(o *client.Options) { o.Node = 2 })
	b := c.client(nil)
	ok(t, "mkdir", a.Mkdir(ctx, 0, "local", 0o755))
	ok(t, "set layout", a.SetLayout(ctx, 0, "local", layout.Layout{Strategy: layout.Local, ChunkBits: 17}))
	ok(t, "mkdir", a.Mkdir(ctx, 0, "local/below", 0o755))
	data := pattern(9, 10<<17)
	put(t, a, "local/below/f", data)
	f := open(t, b, "local/below/f", syscall.O_RDWR)
	l, err := f.Layout(ctx)
	if ok(t, "layout", err); l.Strategy != layout.Local || l.ChunkBits != 17 {
		t.Fatalf("inherited %+v", l)
	}
	list, err := f.Locate(ctx, 0, math.MaxInt64)
	ok(t, "locate", err)
	if len(list) != 1 || list[0] != (client.Extent{Length: int64(len(data)), Shard: 2, Node: 2}) {
		t.Fatalf("written on node 2, found on %+v", list)
	}
	if got := readAt(t, f, len(data), 0); !bytes.Equal(got, data) {
		t.Fatal("wrong data")
	}
	check(t, "set layout of a file with data", f.SetLayout(ctx, layout.Layout{Strategy: layout.Hash}), syscall.EBUSY)
	check(t, "no layout", a.SetLayout(ctx, 0, "local", layout.Layout{Strategy: 9}), syscall.EINVAL)
	ok(t, "close", f.Close(ctx))
	// A layout that changes under an open file that is still empty is noticed by its writer and its reader.
	fa, fb := open(t, a, "g", syscall.O_CREAT|syscall.O_RDWR), open(t, b, "g", syscall.O_RDWR)
	ok(t, "set layout", b.SetLayout(ctx, 0, "g", layout.Layout{Strategy: layout.Hash, ChunkBits: 16}))
	writeAt(t, fa, data, 0)
	if got := readAt(t, fb, len(data), 0); !bytes.Equal(got, data) {
		t.Fatal("data went where nobody looks")
	}
	extents, err := fb.Locate(ctx, 100, int64(len(data)))
	ok(t, "locate", err)
	pos, shards := int64(100), map[uint32]bool{}
	for _, e := range extents {
		if e.Offset != pos || e.Node != e.Shard {
			t.Fatalf("%+v at %d", e, pos)
		}
		pos += e.Length
		shards[e.Shard] = true
	}
	if pos != int64(len(data)) || len(shards) != 4 {
		t.Fatalf("extents end at %d of %d, on %d shards", pos, len(data), len(shards))
	}
	ok(t, "fallocate", fa.Allocate(ctx, 0, 0, 20<<17))
	if n := stat(t, b, "g").Size; n != 20<<17 {
		t.Fatalf("size after fallocate %d", n)
	}
	ok(t, "fallocate", fa.Allocate(ctx, 1, 0, 30<<17))
	if n := stat(t, b, "g").Size; n != 20<<17 {
		t.Fatalf("size after fallocate with KEEP_SIZE %d", n)
	}
	if got := readAt(t, fb, 1000, 15<<17); !bytes.Equal(got, make([]byte, 1000)) {
		t.Fatal("allocated space is not zeros")
	}
	ok(t, "fsync", fa.Sync(ctx, false))
	ok(t, "sync", a.SyncAll(ctx))
	ok(t, "close", fa.Close(ctx))
	ok(t, "close", fb.Close(ctx))
}

func TestLocalRace(t *testing.T) {
	c := newCluster(t, 4, layout.Local, false)
	put(t, c.client(nil), "f", nil)
	const record = 5000
	var wg sync.WaitGroup
	for w := range 4 {
		a := c.client(func(o *client.Options) { o.Node = w })
		wg.Go(func() {
			f, err := a.Open(ctx, 0, "f", syscall.O_RDWR, 0)
			if err != nil {
				t.Error(err)
				return
			}
			for i := range 60 {
				if _, err := f.Pwrite(ctx, pattern(byte(w), record), int64(4*i+w)*record); err != nil {
					t.Error(err)
				}
			}
			if err := f.Close(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	got := get(t, c.client(nil), "f")
	for i := range 240 {
		if !bytes.Equal(got[i*record:(i+1)*record], pattern(byte(i%4), record)) {
			t.Fatalf("record %d is wrong", i)
		}
	}
}

func TestCloseReportsOpenFiles(t *testing.T) {
	c := newCluster(t, 2, layout.RoundRobin, false)
	a := c.client(nil)
	f := open(t, a, "f", syscall.O_CREAT|syscall.O_RDWR)
	f.Retain()
	ok(t, "close", f.Close(ctx))
	writeAt(t, f, []byte("still open"), 0)
	n, err := a.Close(ctx)
	if ok(t, "close", err); n != 1 {
		t.Fatalf("%d open", n)
	}
	_, err = client.New(client.Options{Map: c.m, Distributed: true})
	check(t, "a distributed client without a pool", err, syscall.EINVAL)
}

func TestErrorsNameTheNode(t *testing.T) {
	c := newCluster(t, 3, layout.RoundRobin, false)
	a := c.client(func(o *client.Options) { o.CallTimeout = 300 * time.Millisecond })
	data := pattern(1, 6*chunk)
	put(t, a, "f", data)
	f := open(t, a, "f", syscall.O_RDWR)
	dead := 0
	for uint32(dead) == f.Ino().Shard() {
		dead++
	}
	c.kill(dead)
	began := time.Now()
	p := make([]byte, len(data))
	n, err := f.Pread(ctx, p, 0)
	if n != 0 || err == nil {
		t.Fatalf("read %d bytes of a file whose owner is dead, %v", n, err)
	}
	if code := fserr.Errno(err); code != syscall.EHOSTUNREACH && code != syscall.ETIMEDOUT {
		t.Fatalf("%v", err)
	}
	var e *fserr.Error
	if !errors.As(err, &e) || !strings.Contains(e.Node, fmt.Sprintf("node %d", dead)) || e.Op != "read" || e.Path != "f" {
		t.Fatalf("%+v", err)
	}
	if late := time.Since(began); late > 3*time.Second {
		t.Fatalf("took %v", late)
	}
	n, err = f.Pwrite(ctx, p, 0)
	first := uint32(n) >> chunkBits // the dead owner's first chunk
	if err != nil || n == 0 || n%chunk != 0 || (f.Ino().Shard()+first)%3 != uint32(dead) {
		t.Fatalf("a write whose third part fails: %d, %v", n, err)
	}
	d, err := a.OpenDir(ctx, 0, "/")
	if err == nil {
		for err == nil {
			_, err = d.Next(ctx)
		}
		if err == io.EOF {
			t.Fatal("a listing without one of the shards looks whole")
		}
	}
	c.start(dead)
}
