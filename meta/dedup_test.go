package meta

import (
	"testing"

	"github.com/benchfs/benchfs/internal/inode"
)

func TestDoneSurvivesRestart(t *testing.T) {
	s := newShard(t)
	r := ReqID{9, 1}
	a := CreateArgs{Parent: inode.Root, Name: []byte("f"), Kind: inode.File, Exclusive: true}
	e, _, err := s.Create(r, a)
	want(t, err, nil)
	_, err = s.SetAttr(ReqID{9, 2}, e.Ino, inode.SetMode, inode.Attr{Mode: 0o600})
	want(t, err, nil)
	want(t, s.Apply(ReqID{9, 3}, []inode.TxOp{{Kind: inode.TxLinkInode, Ino: e.Ino}}), nil)
	want(t, s.Checkpoint(), nil)
	_, _, err = s.TruncateBegin(ReqID{9, 4}, e.Ino, 77)
	want(t, err, nil)
	for _, shard := range []*Shard{s, restart(t, s)} {
		for op := range uint64(6) {
			if _, done := shard.Done(ReqID{9, op}); done != (op >= 1 && op <= 4) {
				t.Fatalf("operation %d: done %v", op, done)
			}
		}
		again, made, err := shard.Create(r, a)
		if again != e || !made || err != nil {
			t.Fatalf("repeated create: %+v, %v, %v", again, made, err)
		}
		want(t, shard.Apply(ReqID{9, 3}, []inode.TxOp{{Kind: inode.TxLinkInode, Ino: e.Ino}}), nil)
		if n := attr(t, shard, e.Ino).Nlink; n != 2 {
			t.Fatalf("%d links after a repeated link", n)
		}
	}
}

func TestDedupIsBounded(t *testing.T) {
	d := newDedup(4, 3)
	for op := uint64(1); op <= 10; op++ {
		d.remember(ReqID{1, op}, Result{Offset: op})
		d.remember(ReqID{1, op}, Result{Offset: op})
	}
	for op := uint64(1); op <= 10; op++ {
		if res, ok := d.find(ReqID{1, op}); ok != (op > 6) || ok && res.Offset != op {
			t.Fatalf("operation %d: %+v, %v", op, res, ok)
		}
	}
	d.remember(ReqID{2, 1}, Result{})
	d.remember(ReqID{3, 1}, Result{})
	d.remember(ReqID{1, 11}, Result{}) // client 2 has been idle longest now
	d.remember(ReqID{4, 1}, Result{})
	for client, kept := range map[uint64]bool{1: true, 2: false, 3: true, 4: true} {
		if _, ok := d.clients[client]; ok != kept {
			t.Fatalf("client %d kept: %v", client, ok)
		}
	}
	if len(d.clients) != 3 {
		t.Fatalf("%d clients", len(d.clients))
	}
	copied := newDedup(4, 3)
	var order, again []ReqID
	_ = d.each(func(r ReqID, res Result) error { order = append(order, r); copied.remember(r, res); return nil })
	_ = copied.each(func(r ReqID, _ Result) error { again = append(again, r); return nil })
	for i := range order {
		if order[i] != again[i] {
			t.Fatalf("order %v became %v", order, again)
		}
	}
	if len(order) != 6 || order[0].Client != 3 {
		t.Fatalf("order %v", order)
	}
}
