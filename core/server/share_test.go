package server_test

import (
	"bytes"
	"errors"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/benchfs/benchfs/internal/inode"
	"github.com/benchfs/benchfs/internal/procfs"
	"github.com/benchfs/benchfs/rpc"
	"github.com/benchfs/benchfs/shm"
	"github.com/benchfs/benchfs/store"
)

// near is a client that reaches into the shard's memory, step by step, so that it can die between any two.
type near struct {
	*asker
	view     *shm.View
	segments *shm.Segments
}

func (c *cluster) near(client uint64) *near {
	c.t.Helper()
	n := &near{asker: c.asker(client)}
	files := c.shards[0].store.(store.Shareable).SegmentFiles()
	pid := uint32(os.Getpid())
	var err error
	if n.view, err = shm.Attach(c.shards[0].boardDir, c.shards[0].incarnation, pid, procfs.StartTime(pid)); err != nil {
		c.t.Fatal(err)
	}
	n.segments = shm.NewSegments(files.Prefix, files.Bytes, true, files.Huge, shm.NewBudget(1<<30))
	c.t.Cleanup(func() {
		if err := errors.Join(n.segments.Close(), n.view.Close()); err != nil {
			c.t.Error(err)
		}
	})
	return n
}

const roomBytes = 1 << 16

func (n *near) begin(ino inode.Ino, op uint64) (rpc.Place, error) {
	m := rpc.WriteChunk{Ino: ino, Length: roomBytes, ChunkBits: 16}
	var room rpc.BeginWriteReply
	err := n.ask(0, rpc.MsgBeginWrite, op, &m, nil, &room)
	return room.Place, err
}

func (n *near) fill(p rpc.Place, data []byte) error {
	segment, err := n.segments.Get(p.Segment)
	if err != nil {
		return err
	}
	return segment.Write(data, p.Offset)
}

func (n *near) end(op uint64, commit bool) error {
	return n.ask(0, rpc.MsgEndWrite, 0, &rpc.EndWrite{Ref: op, Commit: commit}, nil, &rpc.WrittenReply{})
}

// lose makes the shard take a client for dead.
func (c *cluster) lose(n *near) {
	c.t.Helper()
	if err := n.pool.CloseAll(); err != nil {
		c.t.Fatal(err)
	}
	c.tickAt(time.Now().Add(2 * time.Hour)) // the grace time is over
}

// TestDeathInEachStep: a client dies before, between and after the steps of a write in place. What it had not committed never was, its room
// is free again, and it can write on into the room that it had without reaching another file.
func TestDeathInEachStep(t *testing.T) {
	data := bytes.Repeat([]byte("new."), roomBytes/4)
	for _, step := range []string{"begun", "filled", "aborted", "committed"} {
		t.Run(step, func(t *testing.T) {
			c := newSharedCluster(t)
			witness := c.asker(1)
			file := must[rpc.EntryReply](t)(witness.create(rpc.MsgCreateFile, inode.Root, "f"))
			other := must[rpc.EntryReply](t)(witness.create(rpc.MsgCreateFile, inode.Root, "other"))
			n := c.near(2)
			place, err := n.begin(file.Ino, 7)
			if err != nil || !place.Held {
				t.Fatalf("%+v, %v", place, err)
			}
			if step != "begun" {
				if err := n.fill(place, data); err != nil {
					t.Fatal(err)
				}
			}
			switch step {
			case "aborted":
				err = n.end(7, false)
			case "committed":
				err = n.end(7, true)
			}
			if err != nil {
				t.Fatal(err)
			}
			use, ok := n.view.Enter() // it was about to write once more
			_, held := n.view.Present(place.Slot, place.Serial)
			if !ok || held != (step != "aborted") {
				t.Fatalf("entered %v, the place holds: %v", ok, held)
			}
			c.lose(n)
			got := must[[]byte](t)(witness.read(file.Ino, 0, 0, 0, roomBytes, 0))
			if step == "committed" && !bytes.Equal(got, data) || step != "committed" && len(got) != 0 {
				t.Fatalf("%d bytes are there", len(got))
			}
			// The room goes to nobody else while the process may still be writing.
			keep := bytes.Repeat([]byte("keep"), roomBytes/4)
			if err := witness.write(other.Ino, 0, 0, 0, 0, keep); err != nil {
				t.Fatal(err)
			}
			if held {
				if err := n.fill(place, data); err != nil {
					t.Fatal(err)
				}
			}
			if got := must[[]byte](t)(witness.read(other.Ino, 0, 0, 0, roomBytes, 0)); !bytes.Equal(got, keep) {
				t.Fatal("a dead client's write has reached another file")
			}
			use.Leave()
			late := c.near(2)
			var answer *rpc.HandlerError
			if err := late.end(7, true); !errors.As(err, &answer) || answer.Code != syscall.EIDRM {
				t.Fatalf("the end of a write that was given up: %v", err)
			}
			if err := witness.remove(rpc.MsgDelete, inode.Root, "f", file.Ino); err != nil {
				t.Fatal(err)
			}
			eventually(t, "its room is free", func() bool {
				c.tickAt(time.Now().Add(3 * time.Hour))
				var usage rpc.StatStoreReply
				return witness.ask(0, rpc.MsgStatStore, 0, nil, nil, &usage) == nil && usage.UsedBytes == roomBytes
			})
		})
	}
}

// TestBegunWritesExpire: a client that begins writes and forgets them does not keep the room.
func TestBegunWritesExpire(t *testing.T) {
	c := newSharedCluster(t)
	n := c.near(1)
	file := must[rpc.EntryReply](t)(n.create(rpc.MsgCreateFile, inode.Root, "f"))
	for op := range uint64(10) {
		if _, err := n.begin(file.Ino, op+1); err != nil {
			t.Fatal(err)
		}
	}
	c.tickAt(time.Now().Add(time.Hour))
	if err := n.end(1, true); err == nil {
		t.Error("a write that was begun an hour ago has been committed")
	}
}
