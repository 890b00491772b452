package server_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/benchfs/benchfs/internal/inode"
	"github.com/benchfs/benchfs/rpc"
	"github.com/benchfs/benchfs/shm"
)

// append sends the first message of append op; data or, without it, only the length.
func (k *asker) append(ino inode.Ino, op uint64, length int, data []byte) (rpc.AppendReply, error) {
	var reply rpc.AppendReply
	m := rpc.Append{Ino: ino, Length: uint64(length)}
	err := k.ask(ino.Shard(), rpc.MsgAppend, op, &m, data, &reply)
	return reply, err
}

func (k *asker) endAppend(m rpc.EndAppend) (inode.Attr, error) {
	var reply rpc.AttrReply
	err := k.ask(m.Ino.Shard(), rpc.MsgEndAppend, 0, &m, nil, &reply)
	return reply.Attr, err
}

// file makes a file on shard 0.
func (k *asker) file(t *testing.T) inode.Ino {
	t.Helper()
	return must[rpc.EntryReply](t)(k.create(rpc.MsgCreateFile, inode.Root, k.nameOn(0, inode.Root, "f"))).Ino
}

// later runs what has to wait, and tells how it went.
func later(f func() error) chan error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	return done
}

// parked waits until a shard has so many requests that wait, in queues of any kind.
func (c *cluster) parked(n int) {
	c.t.Helper()
	eventually(c.t, "requests wait", func() bool {
		stats, ok := c.shards[0].shard.Stats()
		return ok && stats.Parked == n
	})
}

// TestAppendInOneStep: bytes that come along and fit are appended by one message, once, however often it comes.
func TestAppendInOneStep(t *testing.T) {
	c := newCluster(t, 2)
	k := c.asker(1)
	f := k.file(t)
	for i, word := range []string{"one ", "two ", "three"} {
		for range 2 {
			reply, err := k.append(f, uint64(100+i), len(word), []byte(word))
			if err != nil || !reply.Written || reply.Offset != uint64(4*i) {
				t.Fatalf("%q: %+v, %v", word, reply, err)
			}
		}
	}
	if got := must[[]byte](t)(k.read(f, 0, 0, 0, 100, 0)); string(got) != "one two three" {
		t.Fatalf("%q", got)
	}
	// Over the end of the chunk, or into one of another shard: a range.
	for _, size := range []uint64{1<<16 - 2, 1 << 16} {
		if err := k.ask(0, rpc.MsgExtend, 0, &rpc.Extend{Ino: f, End: size}, nil, nil); err != nil {
			t.Fatal(err)
		}
		reply, err := k.append(f, size, 5, []byte("other"))
		if err != nil || reply.Written || reply.Offset != size || reply.Attr.Size != size {
			t.Fatalf("%+v, %v", reply, err)
		}
		if _, err = k.endAppend(rpc.EndAppend{Ino: f, Ref: size, Offset: size, End: size, State: rpc.AppendEnded}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRangeOfAnAppend: the range of an append is seen by nobody until it ends, and meanwhile whatever would move the end of the file waits.
func TestRangeOfAnAppend(t *testing.T) {
	c := newCluster(t, 1)
	k, other := c.asker(1), c.asker(2)
	f := k.file(t)
	for range 2 { // and repeated
		reply, err := k.append(f, 7, 1000, nil)
		if err != nil || reply.Written || reply.Offset != 0 || reply.Attr.Size != 0 {
			t.Fatalf("%+v, %v", reply, err)
		}
	}
	var second rpc.AppendReply
	appended := later(func() (err error) { second, err = other.append(f, 1, 3, []byte("end")); return err })
	c.parked(1)
	extended := later(func() error { return other.ask(0, rpc.MsgExtend, 0, &rpc.Extend{Ino: f, End: 5000}, nil, nil) })
	c.parked(2)
	cut := later(func() error {
		return other.ask(0, rpc.MsgTruncate, c.asker(0).nextOp(), &rpc.Truncate{Ino: f, Size: 1003}, nil, nil)
	})
	c.parked(3)
	var answer *rpc.HandlerError
	m := rpc.WriteChunk{Ino: f, Length: 1, ChunkBits: 16, Offset: 2000, End: 2001}
	if err := other.askOnce(rpc.MsgWriteChunk, &m, []byte("x")); !errors.As(err, &answer) || answer.Status != rpc.StatusBusy {
		t.Fatalf("a write that ends beyond: %v", err)
	}
	if err := other.ask(0, rpc.MsgExtend, 0, &rpc.Extend{Ino: f, End: 0}, nil, nil); err != nil {
		t.Fatalf("one that does not: %v", err)
	}
	a, err := k.endAppend(rpc.EndAppend{Ino: f, Ref: 7, End: 400, State: rpc.AppendGoesOn})
	if err != nil || a.Size != 400 {
		t.Fatalf("%+v, %v", a, err)
	}
	c.parked(3)
	for range 2 {
		if _, err = k.endAppend(rpc.EndAppend{Ino: f, Ref: 7, End: 1000, State: rpc.AppendEnded}); err != nil {
			t.Fatal(err)
		}
	}
	for _, done := range []chan error{appended, extended, cut} {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	if second.Offset != 1000 {
		t.Fatalf("who waited got %+v", second)
	}
	if a := must[inode.Attr](t)(other.attr(f)); a.Size != 1003 || a.TruncGen != 1 {
		t.Fatalf("in the end %+v", a)
	}
	if reply, err := k.append(f, 8, 10, nil); err != nil || reply.Offset != 1003 {
		t.Fatalf("%+v, %v", reply, err)
	}
}

// askOnce makes one attempt.
func (k *asker) askOnce(kind rpc.MsgType, m message, out []byte) error {
	call := k.pool.Transport().NewCall()
	defer k.pool.Transport().FreeCall(call)
	call.Reset()
	call.To, call.Header.Type, call.Out = k.c.peer(0), kind, out
	call.Body = m.AppendTo(call.Body)
	conn, err := k.pool.Get(t0(), k.c.peer(0))
	if err != nil {
		return err
	}
	conn.Prepare(call)
	k.pool.Transport().Run(time.Now().Add(5*time.Second), []*rpc.Call{call})
	return call.Err
}

// TestAppendThatDoesNotEnd: who waits for the end of a file gets it when its append is given up. Where late bytes may come, behind its range.
func TestAppendThatDoesNotEnd(t *testing.T) {
	for how, test := range map[string]struct {
		giveUp func(c *cluster, k *asker, f inode.Ino) error
		next   uint64 // where the next append begins
	}{
		"nothing was written": {func(_ *cluster, k *asker, f inode.Ino) error {
			_, err := k.endAppend(rpc.EndAppend{Ino: f, Ref: 7, State: rpc.AppendEnded})
			return err
		}, 0},
		"a part was": {func(_ *cluster, k *asker, f inode.Ino) error {
			_, err := k.endAppend(rpc.EndAppend{Ino: f, Ref: 7, End: 10, State: rpc.AppendEnded})
			return err
		}, 10},
		"it is not known what was": {func(_ *cluster, k *asker, f inode.Ino) error {
			_, err := k.endAppend(rpc.EndAppend{Ino: f, Ref: 7, End: 10, State: rpc.AppendBroken})
			return err
		}, 1000},
		"its client is gone": {func(c *cluster, k *asker, _ inode.Ino) error {
			err := k.pool.CloseAll()
			c.tickAt(time.Now().Add(2 * time.Hour))
			return err
		}, 1000},
		"its client stands still": {func(c *cluster, _ *asker, _ inode.Ino) error {
			c.tickAt(time.Now().Add(time.Minute))
			return nil
		}, 1000},
	} {
		t.Run(how, func(t *testing.T) {
			c := newCluster(t, 1)
			k, other := c.asker(1), c.asker(2)
			f := k.file(t)
			if _, err := k.append(f, 7, 1000, nil); err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(how, "its client") { // Tick would end the wait of who waits already
				if err := test.giveUp(c, k, f); err != nil {
					t.Fatal(err)
				}
			}
			var next rpc.AppendReply
			done := later(func() (err error) { next, err = other.append(f, 1, 3, []byte("end")); return err })
			if !strings.HasPrefix(how, "its client") {
				c.parked(1)
				if err := test.giveUp(c, k, f); err != nil {
					t.Fatal(err)
				}
			}
			if err := <-done; err != nil || next.Offset != test.next || next.Attr.Size != test.next+3 {
				t.Fatalf("%+v, %v", next, err)
			}
			if how == "its client stands still" { // and goes on: what it has is its own
				a, err := k.endAppend(rpc.EndAppend{Ino: f, Ref: 7, End: 1000, State: rpc.AppendEnded})
				if err != nil || a.Size != 1003 {
					t.Fatalf("%+v, %v", a, err)
				}
			}
		})
	}
}

// TestAppendOverRestart: an append goes on over a restart of the shard, and nobody else gets its range.
func TestAppendOverRestart(t *testing.T) {
	c := newCluster(t, 1)
	k, other := c.asker(1), c.asker(2)
	f := k.file(t)
	if _, err := k.append(f, 7, 1000, nil); err != nil {
		t.Fatal(err)
	}
	c.kill(0)
	c.start(0)
	var next rpc.AppendReply
	done := later(func() (err error) { next, err = other.append(f, 1, 3, []byte("end")); return err })
	c.parked(1)
	if a, err := k.endAppend(rpc.EndAppend{Ino: f, Ref: 7, End: 1000, State: rpc.AppendEnded}); err != nil || a.Size != 1000 {
		t.Fatalf("%+v, %v", a, err)
	}
	if err := <-done; err != nil || next.Offset != 1000 {
		t.Fatalf("%+v, %v", next, err)
	}
}

// TestAppendOfACutFile: a cut voids the range of an append that was given up, and its late end.
func TestAppendOfACutFile(t *testing.T) {
	c := newCluster(t, 1)
	k, other := c.asker(1), c.asker(2)
	f := k.file(t)
	if err := k.ask(0, rpc.MsgExtend, 0, &rpc.Extend{Ino: f, End: 100}, nil, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := k.append(f, 7, 1000, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := k.endAppend(rpc.EndAppend{Ino: f, Ref: 7, Offset: 100, End: 100, State: rpc.AppendBroken}); err != nil {
		t.Fatal(err)
	}
	if err := other.ask(0, rpc.MsgTruncate, k.nextOp(), &rpc.Truncate{Ino: f, Size: 5}, nil, nil); err != nil {
		t.Fatal(err)
	}
	var answer *rpc.HandlerError
	_, err := k.endAppend(rpc.EndAppend{Ino: f, Ref: 7, Offset: 100, End: 1100, State: rpc.AppendEnded})
	if !errors.As(err, &answer) || answer.Status != rpc.StatusStaleGen {
		t.Fatalf("late end: %v", err)
	}
	if next, err := other.append(f, 1, 3, []byte("end")); err != nil || next.Offset != 5 {
		t.Fatalf("%+v, %v", next, err)
	}
}

// witness is a board that looks, whenever the shard shows the size of a file of one chunk, whether its bytes can be read.
type witness struct {
	*shm.Board
	c     *cluster
	shown int
	early []uint64 // sizes that were shown before the bytes
}

func (w *witness) PutRecord(number uint64, words *[shm.RecordWords]uint64) {
	var a inode.Attr
	a.SetWords((*[inode.AttrWords]uint64)(words[:]))
	if a.Kind == inode.File && a.Size > 0 {
		w.shown++
		s := w.c.shards[0].store
		view, err := s.View(uint64(a.Ino), 0, 0, uint32(a.Size), a.TruncGen)
		if err != nil || uint64(len(view.Data)) != a.Size {
			w.early = append(w.early, a.Size)
		}
		if err == nil {
			s.Release(view)
		}
	}
	w.Board.PutRecord(number, words)
}

// TestSizeIsShownLast: in each message that stores bytes and lets the file grow, the bytes count first.
func TestSizeIsShownLast(t *testing.T) {
	w := &witness{}
	c := newWatchedCluster(t, w)
	n := c.near(1)
	f := n.file(t)
	data := bytes.Repeat([]byte("x"), 1000)
	m := rpc.WriteChunk{Ino: f, Length: 1000, ChunkBits: 16, End: 1000}
	if err := n.ask(0, rpc.MsgWriteChunk, 0, &m, data, nil); err != nil {
		t.Fatal(err)
	}
	if reply, err := n.append(f, 5, 1000, data); err != nil || !reply.Written {
		t.Fatalf("%+v, %v", reply, err)
	}
	m = rpc.WriteChunk{Ino: f, Offset: 2000, Length: 1000, ChunkBits: 16}
	if err := n.ask(0, rpc.MsgBeginWrite, 6, &m, nil, nil); err != nil {
		t.Fatal(err)
	}
	end := rpc.EndWrite{Ref: 6, Commit: true, Ino: f, End: 3000}
	if err := n.ask(0, rpc.MsgEndWrite, 0, &end, nil, nil); err != nil {
		t.Fatal(err)
	}
	if a := must[inode.Attr](t)(n.attr(f)); a.Size != 3000 || w.shown < 3 || len(w.early) > 0 {
		t.Fatalf("size %d, shown %d times, too early %v", a.Size, w.shown, w.early)
	}
}

// TestGrowingWriteInPlaceWaits: the end of a begun write waits for an append, and counts when that has ended.
func TestGrowingWriteInPlaceWaits(t *testing.T) {
	c := newSharedCluster(t)
	n, other := c.near(1), c.asker(2)
	f := n.file(t)
	if _, err := other.append(f, 7, 1000, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := n.begin(f, 1); err != nil {
		t.Fatal(err)
	}
	end := rpc.EndWrite{Ref: 1, Commit: true, Ino: f, End: roomBytes}
	done := later(func() error { return n.ask(0, rpc.MsgEndWrite, 0, &end, nil, nil) })
	c.parked(1)
	if _, err := other.endAppend(rpc.EndAppend{Ino: f, Ref: 7, State: rpc.AppendEnded}); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if a := must[inode.Attr](t)(n.attr(f)); a.Size != roomBytes {
		t.Fatalf("size %d", a.Size)
	}
	end.Gen = 9
	if _, err := n.begin(f, 2); err != nil {
		t.Fatal(err)
	}
	end.Ref = 2
	var answer *rpc.HandlerError
	if err := n.ask(0, rpc.MsgEndWrite, 0, &end, nil, nil); !errors.As(err, &answer) || answer.Status != rpc.StatusStaleGen {
		t.Fatalf("of another generation: %v", err)
	}
}
