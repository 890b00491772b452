package meta

import (
	"math"
	"slices"
	"syscall"
	"testing"

	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/internal/inode"
)

func TestSetAttr(t *testing.T) {
	s := newShard(t)
	f := create(t, s, inode.Root, "f", inode.File)
	before := attr(t, s, f)
	a, err := s.SetAttr(ReqID{1, 1}, f, inode.SetMode, inode.Attr{Mode: 0o106755})
	if err != nil || a.Mode != 0o6755 || a.Ctime <= before.Ctime || a.Mtime != before.Mtime || a.Version <= before.Version {
		t.Fatalf("chmod: %+v, %v", a, err)
	}
	a, _ = s.SetAttr(ReqID{}, f, inode.SetUID, inode.Attr{UID: 77, GID: 88})
	if a.UID != 77 || a.GID != 2 || a.Mode != 0o755 {
		t.Fatalf("chown left %+v", a)
	}
	a, _ = s.SetAttr(ReqID{}, f, inode.SetMode, inode.Attr{Mode: 0o6644})
	a, _ = s.SetAttr(ReqID{}, f, inode.SetGID, inode.Attr{GID: 88})
	if a.GID != 88 || a.Mode != 0o2644 {
		t.Fatalf("chgrp of a file without group execution left %+v", a)
	}
	a, _ = s.SetAttr(ReqID{}, f, inode.SetAtime|inode.SetMtime, inode.Attr{Atime: -5, Mtime: 123})
	if a.Atime != -5 || a.Mtime != 123 {
		t.Fatalf("utimens: %+v", a)
	}
	a, _ = s.SetAttr(ReqID{}, f, inode.SetAtimeNow|inode.SetMtimeNow, inode.Attr{})
	if a.Atime != a.Ctime || a.Mtime != a.Ctime {
		t.Fatalf("utimens now: %+v", a)
	}
	d := create(t, s, inode.Root, "d", inode.Dir)
	_, _ = s.SetAttr(ReqID{}, d, inode.SetMode, inode.Attr{Mode: 0o2755})
	if a, _ = s.SetAttr(ReqID{}, d, inode.SetUID, inode.Attr{}); a.Mode != 0o2755 {
		t.Fatalf("chown of a directory left mode %o", a.Mode)
	}
	_, err = s.SetAttr(ReqID{}, inode.Make(0, 99), inode.SetMode, inode.Attr{})
	want(t, err, syscall.ESTALE)
}

func TestSetMtimeMax(t *testing.T) {
	s := newShard(t)
	f := create(t, s, inode.Root, "f", inode.File)
	before := attr(t, s, f)
	a, err := s.SetAttr(ReqID{}, f, inode.SetMtimeMax, inode.Attr{Mtime: before.Mtime - 1})
	if err != nil || a != before {
		t.Fatalf("an earlier time changed something: %+v, %v", a, err)
	}
	later := before.Mtime + 1000
	if a, _ = s.SetAttr(ReqID{}, f, inode.SetMtimeMax, inode.Attr{Mtime: later}); a.Mtime != later || a.Ctime != later {
		t.Fatalf("%+v, want times %d", a, later)
	}
	g := create(t, s, inode.Root, "g", inode.File)
	before, _ = s.SetAttr(ReqID{}, g, inode.SetMode, inode.Attr{})
	a, _ = s.SetAttr(ReqID{}, g, inode.SetMtimeMax, inode.Attr{Mtime: before.Mtime + 1})
	if a.Mtime != before.Mtime+1 || a.Ctime != before.Ctime || a.Version <= before.Version {
		t.Fatalf("%+v became %+v", before, a)
	}
}

func TestSetLayout(t *testing.T) {
	s := newShard(t)
	hash := inode.Attr{Layout: layout.Layout{Strategy: layout.Hash, ChunkBits: 17}}
	d := create(t, s, inode.Root, "d", inode.Dir)
	a, err := s.SetAttr(ReqID{}, d, inode.SetLayout, hash)
	if err != nil || a.Layout.Strategy != layout.Hash || a.Layout.ChunkBits != 17 {
		t.Fatalf("directory: %+v, %v", a.Layout, err)
	}
	if a, err = s.SetAttr(ReqID{}, d, inode.SetLayout, inode.Attr{}); err != nil || a.Layout != (layout.Layout{}) {
		t.Fatalf("directory, cleared: %+v, %v", a.Layout, err)
	}
	f := create(t, s, inode.Root, "f", inode.File)
	if a, err = s.SetAttr(ReqID{}, f, inode.SetLayout, hash); err != nil || a.Layout.Strategy != layout.Hash || a.Layout.Shards != 4 {
		t.Fatalf("file: %+v, %v", a.Layout, err)
	}
	_, err = s.SetAttr(ReqID{}, f, inode.SetLayout, inode.Attr{Layout: layout.Layout{Strategy: 77}})
	want(t, err, syscall.EINVAL)
	_, err = s.Extend(f, 1, 0)
	want(t, err, nil)
	truncate(t, s, f, 0)
	_, err = s.SetAttr(ReqID{}, f, inode.SetLayout, hash)
	want(t, err, syscall.EBUSY)
	_, err = s.SetAttr(ReqID{}, create(t, s, inode.Root, "l", inode.Symlink), inode.SetLayout, hash)
	want(t, err, syscall.EINVAL)
}

func TestExtend(t *testing.T) {
	s := newShard(t)
	f := create(t, s, inode.Root, "f", inode.File)
	before := attr(t, s, f)
	a, err := s.Extend(f, 100, 0)
	if err != nil || a.Size != 100 || a.Mtime <= before.Mtime || a.Ctime != a.Mtime || a.Version <= before.Version {
		t.Fatalf("%+v, %v", a, err)
	}
	b, err := s.Extend(f, 50, 0)
	if err != nil || b.Size != 100 || b.Mtime <= a.Mtime {
		t.Fatalf("a smaller end: %+v, %v", b, err)
	}
	_, err = s.Extend(f, 200, 1)
	want(t, err, fserr.ErrStaleGeneration)
	_, err = s.Extend(f, math.MaxInt64+1, 0)
	want(t, err, syscall.EFBIG)
	_, err = s.Extend(inode.Root, 1, 0)
	want(t, err, syscall.EISDIR)
	_, err = s.Extend(inode.Make(0, 99), 1, 0)
	want(t, err, syscall.ESTALE)
}

func TestRuns(t *testing.T) {
	s := newShard(t)
	e, _, err := s.Create(ReqID{}, CreateArgs{
		Parent: 1, Name: []byte("l"), Kind: inode.File, Layout: layout.Layout{Strategy: layout.Local, ChunkBits: 16},
	})
	want(t, err, nil)
	got, err := s.AddRun(e.Ino, 0, layout.Run{First: 4, Count: 2, Shard: 3})
	if err != nil || !slices.Equal(got, []layout.Run{{First: 4, Count: 2, Shard: 3}}) {
		t.Fatalf("%v, %v", got, err)
	}
	version := attr(t, s, e.Ino).RunsVersion
	got, _ = s.AddRun(e.Ino, 0, layout.Run{First: 5, Count: 1, Shard: 1})
	if !slices.Equal(got, []layout.Run{{First: 4, Count: 2, Shard: 3}}) || attr(t, s, e.Ino).RunsVersion != version {
		t.Fatalf("who was first did not stay: %v", got)
	}
	all := []layout.Run{{First: 3, Count: 1, Shard: 1}, {First: 4, Count: 2, Shard: 3}, {First: 6, Count: 3, Shard: 1}}
	if got, _ = s.AddRun(e.Ino, 0, layout.Run{First: 3, Count: 6, Shard: 1}); !slices.Equal(got, all) {
		t.Fatalf("around it: %v", got)
	}
	got[0].Shard = 99
	if got, _ = restart(t, s).Runs(e.Ino); !slices.Equal(got, all) {
		t.Fatalf("after a restart: %v", got)
	}
	_, err = s.AddRun(e.Ino, 5, all[0])
	want(t, err, fserr.ErrStaleGeneration)
	for _, bad := range []layout.Run{{First: 1, Count: 0}, {First: 1, Count: 1, Shard: 4}, {First: math.MaxUint64, Count: 2}, {First: 1 << 60, Count: 1}} {
		_, err = s.AddRun(e.Ino, 0, bad)
		want(t, err, syscall.EINVAL)
	}
	f := create(t, s, inode.Root, "f", inode.File)
	_, err = s.AddRun(f, 0, all[0])
	want(t, err, syscall.EINVAL)
	_, _ = s.Extend(e.Ino, 9<<16, 0)
	version = attr(t, s, e.Ino).RunsVersion
	truncate(t, s, e.Ino, 4<<16+1)
	if got, _ = s.Runs(e.Ino); !slices.Equal(got, []layout.Run{{First: 3, Count: 1, Shard: 1}, {First: 4, Count: 1, Shard: 3}}) {
		t.Fatalf("after a cut: %v", got)
	}
	if attr(t, s, e.Ino).RunsVersion == version {
		t.Fatal("the cut did not change the version of the runs")
	}
}

// truncate sets a size with all owners agreeing at once.
func truncate(t testing.TB, s *Shard, ino inode.Ino, size uint64) {
	t.Helper()
	tr, fanout, err := s.TruncateBegin(ReqID{}, ino, size)
	want(t, err, nil)
	if !fanout {
		return
	}
	a, err := s.TruncateEnd(ino)
	if err != nil || a.TruncGen != tr.Gen || a.Size != size {
		t.Fatalf("truncate to %d: %+v, %v", size, a, err)
	}
}
