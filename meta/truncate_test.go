package meta

import (
	"math"
	"syscall"
	"testing"

	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/internal/inode"
)

func TestTruncateUp(t *testing.T) {
	s := newShard(t)
	f := create(t, s, inode.Root, "f", inode.File)
	before := attr(t, s, f)
	for _, size := range []uint64{500, 500} {
		_, fanout, err := s.TruncateBegin(ReqID{}, f, size)
		a := attr(t, s, f)
		if err != nil || fanout || a.Size != size || a.TruncGen != 0 || a.Mtime <= before.Mtime || a.Ctime != a.Mtime {
			t.Fatalf("%v, %v, %+v", fanout, err, a)
		}
		before = a
	}
	_, _, err := s.TruncateBegin(ReqID{}, f, math.MaxInt64+1)
	want(t, err, syscall.EFBIG)
	_, _, err = s.TruncateBegin(ReqID{}, inode.Root, 0)
	want(t, err, syscall.EISDIR)
	_, _, err = s.TruncateBegin(ReqID{}, create(t, s, inode.Root, "l", inode.Symlink), 0)
	want(t, err, syscall.EINVAL)
}

func TestTruncateDown(t *testing.T) {
	s := newShard(t)
	f := create(t, s, inode.Root, "f", inode.File)
	_, err := s.Extend(f, 1000, 0)
	want(t, err, nil)
	r := ReqID{5, 6}
	tr, fanout, err := s.TruncateBegin(r, f, 10)
	if err != nil || !fanout || tr.Gen != 1 || tr.Size != 10 || tr.Req != r || tr.ChunkBits != 22 {
		t.Fatalf("%+v, %v, %v", tr, fanout, err)
	}
	for _, shard := range []*Shard{s, restart(t, s)} {
		if _, done := shard.Done(r); done {
			t.Fatal("done before every owner was told")
		}
		for what, call := range holdSensitive(f) {
			if err := call(shard); err != fserr.ErrBusy {
				t.Errorf("%s during a truncate: %v", what, err)
			}
		}
		if list := shard.Truncations(); len(list) != 1 || list[0] != tr {
			t.Fatalf("in progress: %+v", list)
		}
		a, err := shard.TruncateEnd(f)
		if err != nil || a.Size != 10 || a.TruncGen != 1 || a.Mtime != a.Ctime {
			t.Fatalf("%+v, %v", a, err)
		}
		if _, done := shard.Done(r); !done || len(shard.Truncations()) != 0 {
			t.Fatal("not done at the end")
		}
		if again, err := shard.TruncateEnd(f); err != nil || again != a {
			t.Fatalf("repeated end: %+v, %v", again, err)
		}
		if _, fanout, err := shard.TruncateBegin(r, f, 10); fanout || err != nil || attr(t, shard, f) != a {
			t.Fatalf("repeated begin: %v, %v", fanout, err)
		}
	}
	_, err = s.Extend(f, 2000, 0)
	want(t, err, fserr.ErrStaleGeneration)
	_, err = s.TruncateEnd(inode.Make(0, 99))
	want(t, err, syscall.ESTALE)
}

// holdSensitive lists every call on an inode that must wait while something holds it.
func holdSensitive(ino inode.Ino) map[string]func(*Shard) error {
	return map[string]func(*Shard) error{
		"Attr":         func(s *Shard) error { _, err := s.Attr(ino); return err },
		"SetAttr":      func(s *Shard) error { _, err := s.SetAttr(ReqID{}, ino, inode.SetMode, inode.Attr{}); return err },
		"Extend":       func(s *Shard) error { _, err := s.Extend(ino, 5000, 0); return err },
		"AppendOffset": func(s *Shard) error { _, _, err := s.AppendOffset(ino, 1); return err },
		"Append":       func(s *Shard) error { _, err := s.Append(ReqID{}, ino, 0, 5000, 0); return err },
		"Reserve":      func(s *Shard) error { _, _, err := s.Reserve(ReqID{1, 1 << 40}, ino, 1); return err },
		"Truncate":     func(s *Shard) error { _, _, err := s.TruncateBegin(ReqID{}, ino, 0); return err },
		"Runs":         func(s *Shard) error { _, err := s.Runs(ino); return err },
		"Readlink":     func(s *Shard) error { _, err := s.Readlink(ino); return err },
		"Open":         func(s *Shard) error { _, err := s.OpenHandle(1, ino, 1); return err },
		"Prepare":      func(s *Shard) error { return s.Prepare(9999, []inode.TxOp{{Kind: inode.TxUnlinkInode, Ino: ino}}) },
		"Apply":        func(s *Shard) error { return s.Apply(ReqID{}, []inode.TxOp{{Kind: inode.TxTouchInode, Ino: ino}}) },
	}
}

// The last handle of an unlinked file goes while a cut is in progress: the file goes at the end of the cut.
func TestTruncateOutlivesHandle(t *testing.T) {
	s := newShard(t)
	f := create(t, s, inode.Root, "f", inode.File)
	_, _ = s.Extend(f, 1000, 0)
	_, _ = s.OpenHandle(7, f, 1)
	unlink(t, s, inode.Root, "f")
	_, fanout, err := s.TruncateBegin(ReqID{}, f, 0)
	if err != nil || !fanout {
		t.Fatal(fanout, err)
	}
	want(t, s.ReleaseHandle(7, f, 1, 0), nil)
	if len(s.Purges()) != 0 {
		t.Fatal("purged during the cut")
	}
	_, err = s.TruncateEnd(f)
	want(t, err, nil)
	_, err = s.Attr(f)
	want(t, err, syscall.ESTALE)
	if p := s.Purges(); len(p) != 1 || p[0].Largest != 1000 {
		t.Fatalf("purges %+v", p)
	}
	sameState(t, "restart", restart(t, s), s)
}
