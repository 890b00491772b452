package meta

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/internal/inode"
)

func TestRoot(t *testing.T) {
	s := newShard(t)
	a := attr(t, s, inode.Root)
	if a.Kind != inode.Dir || a.Mode != 0o755 || a.UID != 10 || a.GID != 20 || a.Nlink != 2 || a.Parent != inode.Root {
		t.Fatalf("root is %+v", a)
	}
	other, err := open(Options{Shard: 3, Shards: 4}, nil)
	want(t, err, nil)
	if u := other.Usage(); u.Inodes != 0 {
		t.Fatalf("shard 3 begins with %d inodes", u.Inodes)
	}
}

func TestCreateStampsAndLayout(t *testing.T) {
	s := newShard(t)
	f := attr(t, s, create(t, s, inode.Root, "f", inode.File))
	if f.Ino.Shard() != 0 || f.Nlink != 1 || f.Mode != 0o644 || f.UID != 1 || f.GID != 2 || f.Size != 0 || f.Version != 1 {
		t.Fatalf("file is %+v", f)
	}
	if f.Btime <= clockStart || f.Btime != f.Atime || f.Btime != f.Mtime || f.Btime != f.Ctime {
		t.Fatalf("times differ: %+v", f)
	}
	if info, _ := s.DirInfo(inode.Root); info.Mtime != f.Btime || info.Entries != 1 || info.Subdirs != 0 {
		t.Fatalf("directory is %+v, file made at %d", info, f.Btime)
	}
	if err := f.Layout.Validate(); err != nil || f.Layout.Strategy != layout.RoundRobin || f.Layout.Shards != 4 {
		t.Fatalf("layout %+v: %v", f.Layout, err)
	}
	d := attr(t, s, create(t, s, inode.Root, "d", inode.Dir))
	if d.Nlink != 2 || d.Parent != inode.Root || d.Layout.Strategy != layout.None {
		t.Fatalf("directory is %+v", d)
	}
	link := create(t, s, inode.Root, "l", inode.Symlink)
	if target, err := s.Readlink(link); err != nil || string(target) != "target of l" || attr(t, s, link).Size != 11 {
		t.Fatalf("link to %q: %v", target, err)
	}
	_, err := s.Readlink(f.Ino)
	want(t, err, syscall.EINVAL)
	if info, _ := s.DirInfo(inode.Root); info.Entries != 3 || info.Subdirs != 1 {
		t.Fatalf("root is %+v", info)
	}
	if u := s.Usage(); u.Inodes != 4 || u.Entries != 3 {
		t.Fatalf("usage %+v", u)
	}
}

func TestCreateOwnLayout(t *testing.T) {
	s := newShard(t)
	a := CreateArgs{Parent: 1, Name: []byte("h"), Kind: inode.File, Layout: layout.Layout{Strategy: layout.Hash, ChunkBits: 20, First: 99}}
	e, _, err := s.Create(ReqID{}, a)
	want(t, err, nil)
	if l := attr(t, s, e.Ino).Layout; l != (layout.Layout{Strategy: layout.Hash, ChunkBits: 20, Shards: 4}) {
		t.Fatalf("layout %+v", l)
	}
	a.Name, a.Layout = []byte("half"), layout.Layout{ChunkBits: 20}
	e, _, err = s.Create(ReqID{}, a)
	want(t, err, nil)
	if l := attr(t, s, e.Ino).Layout; l != (layout.Layout{Strategy: layout.RoundRobin, ChunkBits: 20, Shards: 4}) {
		t.Fatalf("layout %+v", l)
	}
	a.Name, a.Layout.ChunkBits = []byte("bad"), 60
	_, _, err = s.Create(ReqID{}, a)
	want(t, err, syscall.EINVAL)
}

func TestCreateExisting(t *testing.T) {
	s := newShard(t)
	f := create(t, s, inode.Root, "x", inode.File)
	a := CreateArgs{Parent: inode.Root, Name: []byte("x"), Kind: inode.File}
	e, made, err := s.Create(ReqID{1, 1}, a)
	if err != nil || made || e.Ino != f {
		t.Fatalf("open of an existing file: %+v, %v, %v", e, made, err)
	}
	a.Exclusive = true
	_, _, err = s.Create(ReqID{}, a)
	want(t, err, syscall.EEXIST)
	a.Exclusive, a.Kind = false, inode.Dir
	_, _, err = s.Create(ReqID{}, a)
	want(t, err, syscall.EEXIST)
}

func TestCreateWhereItCannotBe(t *testing.T) {
	s := newShard(t)
	f := create(t, s, inode.Root, "f", inode.File)
	long := strings.Repeat("n", 255)
	create(t, s, inode.Root, long, inode.File)
	for _, c := range []struct {
		parent inode.Ino
		name   string
		kind   inode.Kind
		target string
		err    error
	}{
		{inode.Root, "", inode.File, "", syscall.EINVAL},
		{inode.Root, ".", inode.File, "", syscall.EINVAL},
		{inode.Root, "..", inode.Dir, "", syscall.EINVAL},
		{inode.Root, "a/b", inode.File, "", syscall.EINVAL},
		{inode.Root, "a\x00b", inode.File, "", syscall.EINVAL},
		{inode.Root, long + "n", inode.File, "", syscall.ENAMETOOLONG},
		{inode.Root, "k", 9, "", syscall.EINVAL},
		{inode.Root, "k", inode.Symlink, "", syscall.ENOENT},
		{inode.Root, "k", inode.Symlink, strings.Repeat("t", 4096), syscall.ENAMETOOLONG},
		{inode.Root, "k", inode.File, "target", syscall.EINVAL},
		{f, "k", inode.File, "", syscall.ENOTDIR},
		{inode.Make(0, 999), "k", inode.File, "", syscall.ENOENT},
		{0, "k", inode.File, "", syscall.ENOENT},
	} {
		_, _, err := s.Create(ReqID{}, CreateArgs{
			Parent: c.parent, Name: []byte(c.name), Kind: c.kind, Target: []byte(c.target), Exclusive: true,
		})
		if fserr.Errno(err) != c.err {
			t.Errorf("create %v/%q: %v, want %v", c.parent, c.name, err, c.err)
		}
	}
	if u := s.Usage(); u.Entries != 2 {
		t.Fatalf("%d entries", u.Entries)
	}
}

func TestLookup(t *testing.T) {
	s := newShard(t)
	f := create(t, s, inode.Root, "f", inode.File)
	e, err := s.Lookup(inode.Root, []byte("f"))
	if err != nil || e != (Entry{f, inode.File}) {
		t.Fatalf("%+v, %v", e, err)
	}
	_, err = s.Lookup(inode.Root, []byte("g"))
	want(t, err, syscall.ENOENT)
	_, err = s.Lookup(f, []byte("g"))
	want(t, err, syscall.ENOTDIR)
	_, err = s.Lookup(inode.Make(2, 7), []byte("g"))
	want(t, err, syscall.ENOENT)
	_, err = s.Lookup(inode.Root, []byte(".."))
	want(t, err, syscall.EINVAL)
}

func TestRefusedLogChangesNothing(t *testing.T) {
	s := newShard(t)
	f := create(t, s, inode.Root, "f", inode.File)
	before := dump(s)
	s.log.(*tape).refuse = syscall.ENOSPC
	_, _, err := s.Create(ReqID{1, 1}, CreateArgs{Parent: inode.Root, Name: []byte("g"), Kind: inode.File})
	want(t, err, syscall.ENOSPC)
	_, err = s.Extend(f, 10, 0)
	want(t, err, syscall.ENOSPC)
	_, err = s.SetAttr(ReqID{1, 2}, f, inode.SetMode, inode.Attr{})
	want(t, err, syscall.ENOSPC)
	want(t, s.Apply(ReqID{1, 3}, []inode.TxOp{{Kind: inode.TxUnlinkInode, Ino: f}}), syscall.ENOSPC)
	sameDump(t, "after refused changes", dump(s), before)
}

func TestReadDirOrderAndPages(t *testing.T) {
	s := newShard(t)
	d := create(t, s, inode.Root, "d", inode.Dir)
	var names []string
	for i := range 1000 {
		name := fmt.Sprintf("file.%d", (i*617)%1000)
		create(t, s, d, name, inode.File)
		names = append(names, name)
	}
	for _, page := range []int{1, 7, 1000, 5000} {
		if got := list(t, s, d, page); !slices.Equal(got, names) {
			t.Fatalf("pages of %d: %d names, first %q", page, len(got), got[:min(3, len(got))])
		}
	}
	if got := list(t, restart(t, s), d, 100); !slices.Equal(got, names) {
		t.Fatal("order differs after a restart")
	}
	if eof, err := s.ReadDir(inode.Make(3, 5), 0, func(DirEntry) bool { t.Fatal("entry"); return false }); !eof || err != nil {
		t.Fatalf("unknown directory: %v, %v", eof, err)
	}
	f, _ := s.Lookup(d, []byte("file.0"))
	_, err := s.ReadDir(f.Ino, 0, nil)
	want(t, err, syscall.ENOTDIR)
}

// A listing in pages, with names coming and going between them, shows what was there throughout exactly once.
func TestReadDirWhileItChanges(t *testing.T) {
	s := newShard(t)
	random := seeded(t)
	d := create(t, s, inode.Root, "d", inode.Dir)
	stays := map[string]int{}
	var comesAndGoes []string
	for i := range 2000 {
		name := fmt.Sprint("n", i)
		create(t, s, d, name, inode.File)
		if i%10 == 0 {
			stays[name] = 0
		} else {
			comesAndGoes = append(comesAndGoes, name)
		}
	}
	for cookie, eof, made := uint64(0), false, 0; !eof; {
		left := 25
		eof, _ = s.ReadDir(d, cookie, func(e DirEntry) bool {
			if left == 0 {
				return false
			}
			if e.Cookie <= cookie {
				t.Fatalf("cookie %d after %d", e.Cookie, cookie)
			}
			left, cookie = left-1, e.Cookie
			if _, ok := stays[string(e.Name)]; ok {
				stays[string(e.Name)]++
			}
			return true
		})
		for range 60 {
			if len(comesAndGoes) == 0 {
				break
			}
			i := random.IntN(len(comesAndGoes))
			unlink(t, s, d, comesAndGoes[i])
			comesAndGoes = slices.Delete(comesAndGoes, i, i+1)
		}
		if made++; made < 20 {
			create(t, s, d, fmt.Sprint("new", made), inode.File)
		}
	}
	for name, times := range stays {
		if times != 1 {
			t.Fatalf("%s was shown %d times", name, times)
		}
	}
	if f := s.dirs[d]; f.total > 2*f.live+lazyDead+1 || len(f.index) != f.live {
		t.Fatalf("%d slots and %d index entries for %d names", f.total, len(f.index), f.live)
	}
}

// unlink removes a name and a link of its inode, which is on the same shard.
func unlink(t testing.TB, s *Shard, parent inode.Ino, name string) {
	t.Helper()
	e, err := s.Lookup(parent, []byte(name))
	want(t, err, nil)
	want(t, s.Apply(ReqID{}, []inode.TxOp{
		{Kind: inode.TxRemoveEntry, Parent: parent, Name: []byte(name), Ino: e.Ino},
		{Kind: inode.TxUnlinkInode, Ino: e.Ino},
	}), nil)
}
