package meta

import (
	"errors"
	"slices"
	"syscall"
	"testing"

	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/internal/inode"
)

const someTx = 3<<48 | 7 // coordinated by shard 3

func addOp(parent inode.Ino, name string, ino inode.Ino, kind inode.Kind) inode.TxOp {
	return inode.TxOp{Kind: inode.TxAddEntry, Parent: parent, Name: []byte(name), Ino: ino, Entry: kind}
}

func removeOp(parent inode.Ino, name string, ino inode.Ino) inode.TxOp {
	return inode.TxOp{Kind: inode.TxRemoveEntry, Parent: parent, Name: []byte(name), Ino: ino}
}

func replaceOp(parent inode.Ino, name string, target, ino inode.Ino, kind inode.Kind) inode.TxOp {
	return inode.TxOp{Kind: inode.TxReplaceEntry, Parent: parent, Name: []byte(name), Target: target, Ino: ino, Entry: kind}
}

func inodeOp(kind inode.TxOpKind, ino inode.Ino) inode.TxOp {
	return inode.TxOp{Kind: kind, Ino: ino}
}

func TestApplyRename(t *testing.T) {
	s := newShard(t)
	a, b, d := written(t, s, "a"), written(t, s, "b"), create(t, s, inode.Root, "d", inode.Dir)
	before := attr(t, s, a)
	want(t, s.Apply(ReqID{1, 1}, []inode.TxOp{
		removeOp(inode.Root, "a", a), replaceOp(inode.Root, "b", b, a, inode.File),
		inodeOp(inode.TxTouchInode, a), inodeOp(inode.TxUnlinkInode, b),
	}), nil)
	gone(t, s, b)
	if e, err := s.Lookup(inode.Root, []byte("b")); err != nil || e.Ino != a {
		t.Fatalf("%+v, %v", e, err)
	}
	_, err := s.Lookup(inode.Root, []byte("a"))
	want(t, err, syscall.ENOENT)
	if now := attr(t, s, a); now.Ctime <= before.Ctime || now.Mtime != before.Mtime || now.Nlink != 1 {
		t.Fatalf("%+v", now)
	}
	want(t, s.Apply(ReqID{}, []inode.TxOp{removeOp(inode.Root, "b", a), addOp(d, "c", a, inode.File)}), nil)
	if names := list(t, s, inode.Root, 9); !slices.Equal(names, []string{"d"}) {
		t.Fatal(names)
	}
	if info, _ := s.DirInfo(d); info.Entries != 1 || info.Mtime == 0 {
		t.Fatalf("%+v", info)
	}
	if u := s.Usage(); u.Inodes != 3 || u.Entries != 2 {
		t.Fatalf("%+v", u)
	}
	sameState(t, "restart", restart(t, s), s)
}

func TestReplaceKeepsPlaceAndCountsSubdirs(t *testing.T) {
	s := newShard(t)
	a, d := create(t, s, inode.Root, "a", inode.Dir), create(t, s, inode.Root, "d", inode.Dir)
	create(t, s, inode.Root, "z", inode.File)
	want(t, s.Apply(ReqID{}, []inode.TxOp{
		replaceOp(inode.Root, "a", a, d, inode.Dir), removeOp(inode.Root, "d", d), inodeOp(inode.TxRemoveDir, a),
	}), nil)
	if names := list(t, s, inode.Root, 1); !slices.Equal(names, []string{"a", "z"}) {
		t.Fatal(names)
	}
	if info, _ := s.DirInfo(inode.Root); info.Subdirs != 1 || info.Entries != 2 {
		t.Fatalf("%+v", info)
	}
	gone(t, s, a)
}

func TestLinks(t *testing.T) {
	s := newShard(t)
	f, d := written(t, s, "f"), create(t, s, inode.Root, "d", inode.Dir)
	link := []inode.TxOp{addOp(d, "g", f, inode.File), inodeOp(inode.TxLinkInode, f)}
	want(t, s.Apply(ReqID{}, link), nil)
	want(t, s.Apply(ReqID{}, link), fserr.ErrStaleView)
	unlink(t, s, inode.Root, "f")
	if a := attr(t, s, f); a.Nlink != 1 {
		t.Fatalf("%+v", a)
	}
	s.nodes.get(f).nlink = maxLinks - 1
	want(t, s.Apply(ReqID{}, []inode.TxOp{inodeOp(inode.TxLinkInode, f)}), nil)
	want(t, s.Apply(ReqID{}, []inode.TxOp{inodeOp(inode.TxLinkInode, f)}), syscall.EMLINK)
	want(t, s.Apply(ReqID{}, []inode.TxOp{inodeOp(inode.TxLinkInode, d)}), syscall.EPERM)
	want(t, s.Apply(ReqID{}, []inode.TxOp{inodeOp(inode.TxUnlinkInode, d)}), syscall.EISDIR)
	want(t, s.Apply(ReqID{}, []inode.TxOp{inodeOp(inode.TxLinkInode, inode.Make(0, 999))}), syscall.ENOENT)
	want(t, s.Apply(ReqID{}, []inode.TxOp{inodeOp(inode.TxUnlinkInode, inode.Make(0, 999))}), fserr.ErrStaleView)
	want(t, s.Apply(ReqID{}, []inode.TxOp{inodeOp(inode.TxLinkInode, inode.Make(1, 1))}), syscall.EINVAL)
}

func TestStaleViews(t *testing.T) {
	s := newShard(t)
	f, g := written(t, s, "f"), written(t, s, "g")
	before := dump(s)
	for i, ops := range [][]inode.TxOp{
		{removeOp(inode.Root, "f", g)},
		{removeOp(inode.Root, "none", f)},
		{addOp(inode.Root, "f", g, inode.File)},
		{replaceOp(inode.Root, "f", g, g, inode.File)},
		{replaceOp(inode.Root, "none", f, g, inode.File)},
		{inodeOp(inode.TxTouchInode, inode.Make(0, 999))},
		{inodeOp(inode.TxRemoveDir, inode.Make(0, 999))},
		{{Kind: inode.TxMoveDir, Ino: inode.Make(0, 999), Parent: 1}},
		{inodeOp(inode.TxUnlinkInode, f), inodeOp(inode.TxUnlinkInode, f)},
	} {
		if err := s.Apply(ReqID{1, 1}, ops); !errors.Is(err, fserr.ErrStaleView) {
			t.Errorf("case %d at once: %v", i, err)
		}
		if err := s.Prepare(someTx, ops); !errors.Is(err, fserr.ErrStaleView) {
			t.Errorf("case %d prepared: %v", i, err)
		}
	}
	sameDump(t, "after failures", dump(s), before)
}

func TestNonsense(t *testing.T) {
	s := newShard(t)
	f := written(t, s, "f")
	other, err := open(Options{Shard: 1, Shards: 2}, nil)
	want(t, err, nil)
	want(t, other.Prepare(1, []inode.TxOp{{Kind: inode.TxRenameLock}}), syscall.EINVAL)
	want(t, s.Prepare(0, []inode.TxOp{inodeOp(inode.TxTouchInode, f)}), syscall.EINVAL)
	for i, ops := range [][]inode.TxOp{
		nil, make([]inode.TxOp, maxOps+1), {{}}, {{Kind: 99}},
		{addOp(inode.Root, "..", f, inode.File)}, {addOp(inode.Root, "x", 0, inode.File)}, {addOp(inode.Root, "x", f, 9)},
		{removeOp(inode.Root, "f", f), removeOp(inode.Root, "f", f)}, {inodeOp(inode.TxRemoveDir, 0)},
		{inodeOp(inode.TxRemoveDir, inode.Make(1, 5)), addOp(inode.Make(1, 5), "x", f, inode.File)},
	} {
		if err := s.Apply(ReqID{}, ops); err != syscall.EINVAL {
			t.Errorf("case %d: %v", i, err)
		}
	}
	want(t, s.Apply(ReqID{}, []inode.TxOp{inodeOp(inode.TxRemoveDir, inode.Root)}), syscall.EBUSY)
	want(t, s.Apply(ReqID{}, []inode.TxOp{{Kind: inode.TxMoveDir, Ino: inode.Root, Parent: 5}}), syscall.EBUSY)
	want(t, s.Apply(ReqID{}, []inode.TxOp{inodeOp(inode.TxRemoveDir, f)}), syscall.ENOTDIR)
	want(t, s.Apply(ReqID{}, []inode.TxOp{{Kind: inode.TxMoveDir, Ino: f, Parent: 5}}), syscall.ENOTDIR)
}

func TestRemoveDir(t *testing.T) {
	s := newShard(t)
	d := create(t, s, inode.Root, "d", inode.Dir)
	create(t, s, d, "f", inode.File)
	steps := []inode.TxOp{removeOp(inode.Root, "d", d), inodeOp(inode.TxRemoveDir, d)}
	want(t, s.Apply(ReqID{}, steps), syscall.ENOTEMPTY)
	before, _ := s.DirInfo(d)
	unlink(t, s, d, "f")
	if info, _ := s.DirInfo(d); info.Mtime <= before.Mtime || info.Entries != 0 {
		t.Fatalf("%+v became %+v", before, info)
	}
	_, err := s.OpenHandle(1, d, 1)
	want(t, err, nil)
	want(t, s.Apply(ReqID{}, steps), nil)
	if a := attr(t, s, d); a.Nlink != 0 {
		t.Fatalf("removed and open: %+v", a)
	}
	_, _, err = s.Create(ReqID{}, CreateArgs{Parent: d, Name: []byte("x"), Kind: inode.File})
	want(t, err, syscall.ENOENT)
	if eof, err := s.ReadDir(d, 0, nil); !eof || err != nil {
		t.Fatal(eof, err)
	}
	want(t, s.ReleaseHandle(1, d, 1, 0), nil)
	gone(t, s, d)
	if len(s.Purges()) != 0 {
		t.Fatal("a directory was queued for purging")
	}
}

// A directory of another shard, removed: known here for ever, also after restarts.
func TestTombstones(t *testing.T) {
	s := newShard(t)
	foreign := inode.Make(2, 1000)
	create(t, s, foreign, "f", inode.File)
	want(t, s.Prepare(someTx, []inode.TxOp{inodeOp(inode.TxRemoveDir, foreign)}), syscall.ENOTEMPTY)
	unlink(t, s, foreign, "f")
	want(t, s.Prepare(someTx, []inode.TxOp{inodeOp(inode.TxRemoveDir, foreign)}), nil)
	want(t, s.Commit(someTx), nil)
	again := restart(t, s)
	want(t, again.Checkpoint(), nil)
	for _, shard := range []*Shard{s, again, restart(t, again)} {
		_, _, err := shard.Create(ReqID{}, CreateArgs{Parent: foreign, Name: []byte("x"), Kind: inode.File})
		want(t, err, syscall.ENOENT)
		want(t, shard.Prepare(1, []inode.TxOp{addOp(foreign, "x", 5, inode.File)}), syscall.ENOENT)
		want(t, shard.Prepare(1, []inode.TxOp{inodeOp(inode.TxRemoveDir, foreign)}), fserr.ErrStaleView)
		_, err = shard.Lookup(foreign, []byte("x"))
		want(t, err, syscall.ENOENT)
		create(t, shard, foreign+1, "neighbour", inode.File)
	}
}

func TestPreparedHolds(t *testing.T) {
	s := newShard(t)
	f, g, d := written(t, s, "f"), written(t, s, "g"), create(t, s, inode.Root, "d", inode.Dir)
	foreign := inode.Make(1, 50)
	steps := []inode.TxOp{
		removeOp(inode.Root, "f", f), addOp(foreign, "new", f, inode.File), replaceOp(inode.Root, "g", g, f, inode.File),
		inodeOp(inode.TxUnlinkInode, g), inodeOp(inode.TxTouchInode, f), inodeOp(inode.TxRemoveDir, d), {Kind: inode.TxRenameLock},
	}
	want(t, s.Prepare(someTx, steps), nil)
	want(t, s.Prepare(someTx, steps), nil)
	want(t, s.Prepare(someTx, steps[:1]), syscall.EINVAL)
	again := restart(t, s)
	want(t, again.Checkpoint(), nil)
	for _, shard := range []*Shard{s, again, restart(t, again)} {
		if p := shard.Prepared(); !slices.Equal(p, []uint64{someTx}) {
			t.Fatal(p)
		}
		for _, name := range []string{"f", "g"} {
			_, err := shard.Lookup(inode.Root, []byte(name))
			want(t, err, fserr.ErrBusy)
		}
		_, _, err := shard.Create(ReqID{}, CreateArgs{Parent: foreign, Name: []byte("new"), Kind: inode.File})
		want(t, err, fserr.ErrBusy)
		for what, call := range holdSensitive(g) {
			if err := call(shard); err != fserr.ErrBusy {
				t.Errorf("%s of a held inode: %v", what, err)
			}
		}
		_, _, err = shard.Create(ReqID{}, CreateArgs{Parent: d, Name: []byte("x"), Kind: inode.File})
		want(t, err, fserr.ErrBusy)
		_, err = shard.ReadDir(d, 0, nil)
		want(t, err, fserr.ErrBusy)
		for i, op := range append(slices.Clone(steps), addOp(d, "x", f, inode.File), inodeOp(inode.TxRemoveDir, foreign)) {
			if err := shard.Prepare(99, []inode.TxOp{op}); err != fserr.ErrBusy {
				t.Errorf("step %d prepared by another: %v", i, err)
			}
		}
		create(t, shard, inode.Root, "free", inode.File)
		want(t, shard.ReleaseHandle(1, g, 1, 0), nil)
	}
}

func TestCommitAndAbort(t *testing.T) {
	s := newShard(t)
	f, g := written(t, s, "f"), written(t, s, "g")
	steps := []inode.TxOp{removeOp(inode.Root, "f", f), replaceOp(inode.Root, "g", g, f, inode.File), inodeOp(inode.TxUnlinkInode, g)}
	before := dump(s)
	want(t, s.Prepare(someTx, steps), nil)
	want(t, s.Abort(someTx), nil)
	want(t, s.Abort(someTx), nil)
	want(t, s.Commit(someTx), nil)
	sameDump(t, "after an abort", dump(s), before)
	want(t, s.Prepare(someTx, steps), nil)
	for _, shard := range []*Shard{s, restart(t, s)} { // also when the participant dies between the phases
		want(t, shard.Commit(someTx), nil)
		want(t, shard.Commit(someTx), nil)
		want(t, shard.Abort(someTx), nil)
		gone(t, shard, g)
		if e, err := shard.Lookup(inode.Root, []byte("g")); err != nil || e.Ino != f {
			t.Fatalf("%+v, %v", e, err)
		}
		if len(shard.Prepared()) != 0 || len(shard.holds.entries)+len(shard.holds.inodes)+len(shard.holds.inDir) != 0 {
			t.Fatal("something is still held")
		}
	}
	sameState(t, "restart", restart(t, s), s)
}

// A handle released between the phases: the commit takes the inode with it.
func TestReleaseBetweenPhases(t *testing.T) {
	s := newShard(t)
	f := written(t, s, "f")
	_, _ = s.OpenHandle(1, f, 1)
	want(t, s.Prepare(someTx, []inode.TxOp{removeOp(inode.Root, "f", f), inodeOp(inode.TxUnlinkInode, f)}), nil)
	s.DropClient(1)
	_, err := s.Attr(f)
	want(t, err, fserr.ErrBusy)
	want(t, s.Commit(someTx), nil)
	gone(t, s, f)
	sameState(t, "restart", restart(t, s), s)
}

func TestMoveDir(t *testing.T) {
	s := newShard(t)
	d, e := create(t, s, inode.Root, "d", inode.Dir), create(t, s, inode.Root, "e", inode.Dir)
	want(t, s.Apply(ReqID{}, []inode.TxOp{
		{Kind: inode.TxRenameLock}, removeOp(inode.Root, "d", d), addOp(e, "d", d, inode.Dir),
		{Kind: inode.TxMoveDir, Ino: d, Parent: e},
	}), nil)
	if a := attr(t, s, d); a.Parent != e {
		t.Fatalf("%+v", a)
	}
	if a := attr(t, restart(t, s), d); a.Parent != e {
		t.Fatalf("after a restart %+v", a)
	}
}

func TestNewTxIsNew(t *testing.T) {
	s := newShard(t)
	seen := map[uint64]bool{}
	for range 5 {
		for range txReserve/2 + 1 {
			tx := s.NewTx()
			if tx>>48 != 0 || seen[tx] {
				t.Fatalf("number %#x again", tx)
			}
			seen[tx] = true
		}
		s = restart(t, s)
	}
	other, err := open(Options{Shard: 3, Shards: 4}, nil)
	want(t, err, nil)
	if tx := other.NewTx(); tx>>48 != 3 {
		t.Fatalf("%#x", tx)
	}
}

func TestCoordinator(t *testing.T) {
	s := newShard(t)
	f := written(t, s, "f")
	tx, r := s.NewTx(), ReqID{4, 5}
	want(t, s.TxDecide(tx, true), syscall.EINVAL)
	want(t, s.TxBegin(someTx, r, nil), syscall.EINVAL)
	want(t, s.TxBegin(tx, r, []uint32{1, 2}), nil)
	want(t, s.TxBegin(tx, r, []uint32{1, 2}), nil)
	want(t, s.TxBegin(tx, ReqID{4, 6}, nil), syscall.EINVAL)
	want(t, s.Prepare(tx, []inode.TxOp{removeOp(inode.Root, "f", f), inodeOp(inode.TxUnlinkInode, f)}), nil)
	want(t, s.TxForget(tx), syscall.EINVAL)
	for _, commit := range []bool{true, false} {
		again := restart(t, s)
		if u := again.Unfinished(); len(u) != 1 || u[0].ID != tx || u[0].State != inode.TxPending || u[0].Req != r ||
			!slices.Equal(u[0].Participants, []uint32{1, 2}) || again.TxState(tx) != inode.TxPending {
			t.Fatalf("%+v", u)
		}
		want(t, again.TxDecide(tx, commit), nil)
		want(t, again.TxDecide(tx, commit), nil)
		if _, done := again.Done(r); done != commit || len(again.Prepared()) != 0 {
			t.Fatalf("commit %v: done %v, prepared %x", commit, done, again.Prepared())
		}
		_, err := again.Lookup(inode.Root, []byte("f"))
		if (err == nil) == commit {
			t.Fatalf("commit %v: lookup %v", commit, err)
		}
		state := inode.TxAborted
		if commit {
			state = inode.TxCommitted
			want(t, again.TxDecide(tx, false), syscall.EINVAL)
		}
		want(t, again.Checkpoint(), nil)
		third := restart(t, again)
		if third.TxState(tx) != state || len(third.Unfinished()) != len(again.Unfinished()) {
			t.Fatalf("state %d after a restart, want %d", third.TxState(tx), state)
		}
		want(t, third.TxForget(tx), nil)
		want(t, third.TxForget(tx), nil)
		if third.TxState(tx) != inode.TxAborted || len(restart(t, third).Unfinished()) != 0 {
			t.Fatal("not forgotten")
		}
	}
}
