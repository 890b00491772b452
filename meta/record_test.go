package meta

import (
	"bytes"
	"io"
	"reflect"
	"testing"

	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/internal/inode"
)

// examples is one record of each kind, with every field that the kind carries set.
func examples() []*record {
	l := layout.Layout{Strategy: layout.Local, ChunkBits: 16, First: 1, Shards: 4, Epoch: 9}
	req, res := ReqID{3, 4}, Result{Ino: 5, Offset: 6}
	ops := []inode.TxOp{addOp(1, "new", 7, inode.File), {Kind: inode.TxMoveDir, Ino: 2, Parent: 3, Name: []byte{}}}
	drops := []inode.Ino{8, 9}
	list := []*record{
		{kind: recInit, shard: 1, shards: 4, mode: 0o755, uid: 1, gid: 2},
		{
			kind: recCreate, req: req, res: res, parent: 1, ino: 2, entry: inode.Symlink, mode: 0o777, uid: 1, gid: 2, layout: l,
			name: []byte("name"), target: []byte("target"),
		},
		{kind: recSetAttr, ino: 2, mask: inode.SetMode, mode: 1, uid: 2, gid: 3, atime: -4, mtime: 5, layout: l},
		{kind: recMtimeMax, ino: 2, mtime: 77},
		{kind: recExtend, ino: 2, size: 100},
		{kind: recAppend, req: req, res: res, ino: 2, size: 100},
		{kind: recTruncate, ino: 2, size: 100},
		{kind: recTruncateBegin, req: req, res: res, ino: 2, size: 1},
		{kind: recTruncateEnd, ino: 2, drops: drops},
		{kind: recAddRun, ino: 2, run: layout.Run{First: 1, Count: 2, Shard: 3}},
		{kind: recDrop, drops: drops},
		{kind: recPurgeDone, ino: 2},
		{kind: recApply, req: req, ops: ops, drops: drops},
		{kind: recPrepare, tx: 99, ops: ops},
		{kind: recCommit, tx: 99, drops: drops},
		{kind: recAbort, tx: 99, drops: drops},
		{kind: recTxReserve, size: 4096},
		{kind: recTxBegin, req: req, tx: 99, participants: []uint32{1, 2}},
		{kind: recTxDecide, req: req, tx: 99, decision: inode.TxCommitted, drops: drops},
		{kind: recTxForget, tx: 99},
		{kind: recReserve, req: req, res: res, ino: 2, size: 100},
	}
	for _, r := range list {
		r.now = 12345
	}
	return list
}

func TestRecordCodec(t *testing.T) {
	seen := map[recordKind]bool{}
	for _, r := range examples() {
		seen[r.kind] = true
		b := r.appendTo(nil)
		got := &record{}
		if err := got.decode(b); err != nil {
			t.Fatalf("kind %d: %v", r.kind, err)
		}
		if again := got.appendTo(nil); !bytes.Equal(again, b) {
			t.Fatalf("kind %d: %x became %x", r.kind, b, again)
		}
		if len(got.drops) == 0 {
			got.drops = r.drops
		}
		if !reflect.DeepEqual(got, r) {
			t.Fatalf("kind %d:\n%+v became\n%+v", r.kind, r, got)
		}
		for n := range b {
			if got.decode(b[:n]) == nil {
				t.Fatalf("kind %d: %d of %d bytes decode", r.kind, n, len(b))
			}
		}
		if got.decode(append(b, 0)) == nil {
			t.Fatalf("kind %d: trailing bytes decode", r.kind)
		}
	}
	for kind := recInit; kind < recEnd; kind++ {
		if !seen[kind] {
			t.Errorf("no example of kind %d", kind)
		}
	}
}

// FuzzRecord: no bytes make the decoder panic; what decodes encodes to the same bytes; and applying it to a shard is
// done or refused, never a panic.
func FuzzRecord(f *testing.F) {
	for _, r := range examples() {
		f.Add(r.appendTo(nil))
	}
	f.Add([]byte{})
	f.Add([]byte{255, 255, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := &record{}
		if r.decode(b) != nil {
			return
		}
		if again := r.appendTo(nil); !bytes.Equal(again, b) {
			t.Fatalf("%x became %x", b, again)
		}
		s := populated(t)
		if s.apply(r) == nil {
			_ = dump(s)
		}
	})
}

// populated is a shard with one of everything.
func populated(t testing.TB) *Shard {
	t.Helper()
	s := newShard(t)
	d := create(t, s, inode.Root, "d", inode.Dir)
	create(t, s, inode.Root, "l", inode.Symlink)
	f := written(t, s, "f")
	g := written(t, s, "g")
	e, _, err := s.Create(ReqID{1, 2}, CreateArgs{
		Parent: d, Name: []byte("local"), Kind: inode.File, Layout: layout.Layout{Strategy: layout.Local, ChunkBits: 16},
	})
	want(t, err, nil)
	_, err = s.AddRun(e.Ino, 0, layout.Run{First: 0, Count: 10, Shard: 2})
	want(t, err, nil)
	_, err = s.Extend(e.Ino, 10<<16, 0)
	want(t, err, nil)
	_, _, err = s.TruncateBegin(ReqID{1, 3}, e.Ino, 5<<16)
	want(t, err, nil)
	unlink(t, s, inode.Root, "g")
	gone(t, s, g)
	_, err = s.OpenHandle(1, f, 1)
	want(t, err, nil)
	unlink(t, s, inode.Root, "f")
	want(t, s.Prepare(someTx, []inode.TxOp{inodeOp(inode.TxRemoveDir, inode.Make(2, 9)), removeOp(d, "local", e.Ino)}), nil)
	want(t, s.Prepare(someTx+1, []inode.TxOp{inodeOp(inode.TxRemoveDir, inode.Make(2, 10))}), nil)
	want(t, s.Commit(someTx+1), nil)
	tx := s.NewTx()
	want(t, s.TxBegin(tx, ReqID{1, 4}, []uint32{1}), nil)
	want(t, s.Prepare(tx, []inode.TxOp{addOp(d, "new", 5, inode.File), {Kind: inode.TxRenameLock}}), nil)
	return s
}

func snapshotOf(t testing.TB, s *Shard) []byte {
	t.Helper()
	var b bytes.Buffer
	want(t, s.writeSnapshot(&b), nil)
	return b.Bytes()
}

func TestSnapshotHoldsEverything(t *testing.T) {
	s := populated(t)
	snapshot := snapshotOf(t, s)
	again := openTape(t, s.o, &tape{snapshot: snapshot})
	sameState(t, "from the snapshot", again, s)
	for n := range snapshot {
		if _, err := open(s.o, &tape{snapshot: snapshot[:n]}); err == nil {
			t.Fatalf("%d of %d bytes are taken for a snapshot", n, len(snapshot))
		}
	}
	damaged := bytes.Clone(snapshot)
	damaged[5] = 99
	if _, err := open(s.o, &tape{snapshot: damaged}); err == nil {
		t.Fatal("a snapshot of version 99 was taken")
	}
}

// FuzzSnapshot: no bytes make the reader panic.
func FuzzSnapshot(f *testing.F) {
	s := populated(f)
	f.Add(snapshotOf(f, s))
	f.Add(snapshotOf(f, newShard(f)))
	f.Fuzz(func(t *testing.T, b []byte) {
		again, err := open(s.o, &tape{snapshot: b})
		if err == nil {
			_ = dump(again)
			want(t, again.writeSnapshot(io.Discard), nil)
		}
	})
}
