package meta

import (
	"syscall"
	"testing"

	"github.com/benchfs/benchfs/internal/inode"
)

// written makes a file of 100 bytes.
func written(t testing.TB, s *Shard, name string) inode.Ino {
	t.Helper()
	f := create(t, s, inode.Root, name, inode.File)
	_, err := s.Extend(f, 100, 0)
	want(t, err, nil)
	return f
}

func gone(t testing.TB, s *Shard, ino inode.Ino) {
	t.Helper()
	_, err := s.Attr(ino)
	want(t, err, syscall.ESTALE)
}

func TestUnlinkClosed(t *testing.T) {
	s := newShard(t)
	f, empty := written(t, s, "f"), create(t, s, inode.Root, "empty", inode.File)
	unlink(t, s, inode.Root, "f")
	unlink(t, s, inode.Root, "empty")
	gone(t, s, f)
	gone(t, s, empty)
	for _, shard := range []*Shard{s, restart(t, s)} {
		p := shard.Purges()
		if len(p) != 1 || p[0].Ino != f || p[0].Largest != 100 || p[0].Layout.Shards != 4 {
			t.Fatalf("purges %+v", p)
		}
		want(t, shard.PurgeDone(f), nil)
		want(t, shard.PurgeDone(f), nil)
		if len(shard.Purges()) != 0 {
			t.Fatal("a purge that is done is still there")
		}
	}
	sameState(t, "restart", restart(t, s), s)
}

// The largest size ever counts, not the last one.
func TestPurgeAfterTruncate(t *testing.T) {
	s := newShard(t)
	f := written(t, s, "f")
	truncate(t, s, f, 0)
	unlink(t, s, inode.Root, "f")
	if p := s.Purges(); len(p) != 1 || p[0].Largest != 100 {
		t.Fatalf("purges %+v", p)
	}
}

func TestUnlinkOpen(t *testing.T) {
	s := newShard(t)
	f := written(t, s, "f")
	for range 2 { // repeating counts once
		_, err := s.OpenHandle(1, f, 11)
		want(t, err, nil)
	}
	_, _ = s.OpenHandle(2, f, 11)
	unlink(t, s, inode.Root, "f")
	if a := attr(t, s, f); a.Nlink != 0 || a.Size != 100 {
		t.Fatalf("%+v", a)
	}
	want(t, s.ReleaseHandle(1, f, 11, 0), nil)
	want(t, s.ReleaseHandle(1, f, 11, 0), nil)
	attr(t, s, f)
	want(t, s.ReleaseHandle(2, f, 11, 0), nil)
	gone(t, s, f)
	_, err := s.OpenHandle(1, f, 12)
	want(t, err, syscall.ESTALE)
	want(t, s.ReleaseHandle(1, f, 12, 0), nil)
	if len(s.Purges()) != 1 || len(s.handles.byClient[1])+len(s.handles.byClient[2]) != 0 {
		t.Fatal("something of the file is left")
	}
}

func TestReleaseStampsMtime(t *testing.T) {
	s := newShard(t)
	f := written(t, s, "f")
	before := attr(t, s, f)
	_, _ = s.OpenHandle(1, f, 1)
	want(t, s.ReleaseHandle(1, f, 1, before.Mtime+500), nil)
	if a := attr(t, s, f); a.Mtime != before.Mtime+500 || a.Ctime != a.Mtime || a.Version <= before.Version {
		t.Fatalf("%+v", a)
	}
	want(t, s.ReleaseHandle(1, f, 1, before.Mtime), nil)
	if a := attr(t, s, f); a.Mtime != before.Mtime+500 {
		t.Fatalf("an earlier time won: %+v", a)
	}
	sameState(t, "restart", restart(t, s), s)
}

func TestDropClient(t *testing.T) {
	s := newShard(t)
	a, b, c := written(t, s, "a"), written(t, s, "b"), written(t, s, "c")
	for i, f := range []inode.Ino{a, b, c} {
		_, _ = s.OpenHandle(1, f, uint64(i))
	}
	_, _ = s.OpenHandle(2, b, 0)
	unlink(t, s, inode.Root, "a")
	unlink(t, s, inode.Root, "b")
	s.DropClient(1)
	gone(t, s, a)
	attr(t, s, b)
	attr(t, s, c)
	s.DropClient(2)
	s.DropClient(2)
	gone(t, s, b)
	attr(t, s, c)
	sameState(t, "restart", restart(t, s), s)
}

func TestOrphansAfterRestart(t *testing.T) {
	s := newShard(t)
	a, b := written(t, s, "a"), written(t, s, "b")
	_, _ = s.OpenHandle(1, a, 1)
	_, _ = s.OpenHandle(1, b, 2)
	unlink(t, s, inode.Root, "a")
	unlink(t, s, inode.Root, "b")
	again := restart(t, s)
	if attr(t, again, a).Nlink != 0 {
		t.Fatal("the orphan has names")
	}
	_, err := again.OpenHandle(1, a, 1) // its client has come back
	want(t, err, nil)
	if n := again.SweepOrphans(); n != 1 {
		t.Fatalf("swept %d", n)
	}
	gone(t, again, b)
	attr(t, again, a)
	want(t, again.ReleaseHandle(1, a, 1, 0), nil)
	gone(t, again, a)
	if again.SweepOrphans() != 0 || len(again.Purges()) != 2 {
		t.Fatal("sweeping twice found something, or a purge is missing")
	}
}

func TestReleaseOfReopenedHandle(t *testing.T) {
	s := newShard(t)
	a := written(t, s, "a")
	_, _ = s.OpenHandle(1, a, 1)
	_, _ = s.OpenHandle(2, a, 1)
	unlink(t, s, inode.Root, "a")
	for _, wait := range []bool{false, true} {
		l := s.log.(*tape)
		o := s.o
		o.WaitForClients = wait
		again := openTape(t, o, l.cut(len(l.records)))
		_, _ = again.OpenHandle(1, a, 1)
		want(t, again.ReleaseHandle(1, a, 1, 0), nil)
		if _, err := again.Attr(a); (err == nil) != wait {
			t.Fatalf("WaitForClients %v: %v", wait, err)
		}
		if !wait {
			continue
		}
		b := written(t, again, "b") // client 2 may have it open and not be back yet
		unlink(t, again, inode.Root, "b")
		attr(t, again, b)
		if n := again.SweepOrphans(); n != 2 {
			t.Fatalf("swept %d", n)
		}
		c := written(t, again, "c")
		unlink(t, again, inode.Root, "c")
		gone(t, again, c)
	}
}

// When the log refuses, the handle stays, so that releasing it can be tried again.
func TestReleaseRefused(t *testing.T) {
	s := newShard(t)
	f := written(t, s, "f")
	_, _ = s.OpenHandle(1, f, 1)
	unlink(t, s, inode.Root, "f")
	l := s.log.(*tape)
	l.refuse = syscall.ENOSPC
	want(t, s.ReleaseHandle(1, f, 1, 0), syscall.ENOSPC)
	attr(t, s, f)
	l.refuse = nil
	want(t, s.ReleaseHandle(1, f, 1, 0), nil)
	gone(t, s, f)
}

func TestPurgesInBatches(t *testing.T) {
	s := newShard(t)
	var files []inode.Ino
	for i := range 200 {
		name := string(rune('a'+i%26)) + string(rune('a'+i/26))
		files = append(files, written(t, s, name))
		unlink(t, s, inode.Root, name)
	}
	for at := 0; at < len(files); {
		batch := s.NextPurges(30)
		if len(batch) == 0 {
			t.Fatalf("no more after %d", at)
		}
		for _, p := range batch {
			if p.Ino != files[at] {
				t.Fatalf("purge %v, want %v", p.Ino, files[at])
			}
			want(t, s.PurgeDone(p.Ino), nil)
			at++
		}
		if kept, queued := len(s.purges.order), len(s.purges.jobs); kept > 2*queued+lazyDead {
			t.Fatalf("%d slots for %d purges", kept, queued)
		}
	}
	if len(s.Purges()) != 0 || s.NextPurges(-1) != nil {
		t.Fatal("purges left")
	}
}
