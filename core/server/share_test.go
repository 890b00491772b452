package server_test

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/benchfs/benchfs/internal/inode"
	"github.com/benchfs/benchfs/rpc"
	"github.com/benchfs/benchfs/shm"
	"github.com/benchfs/benchfs/shm/shmtest"
	"github.com/benchfs/benchfs/store"
)

// near is a client that reaches into the shard's memory, step by step, so that it can die between any two.
type near struct {
	*asker
	view     *shm.View
	area     shmtest.Area
	segments *shm.Segments
	store    store.Shareable
}

func (c *cluster) near(client uint64) *near {
	c.t.Helper()
	u := c.shards[0]
	n := &near{
		asker: c.asker(client), view: shmtest.Attach(c.t, u.board, u.incarnation, client),
		area: shmtest.Open(c.t, shmtest.AreaOf(c.t, u.board, client)), store: u.store.(store.Shareable),
	}
	files := n.store.SegmentFiles()
	n.segments = shm.NewSegments(shm.OpenPaths(files.Prefix, true), files.Bytes, true, files.Huge, shm.NewBudget(1<<30))
	c.t.Cleanup(func() {
		if err := n.segments.Close(); err != nil {
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

// at is a place that the shard told.
func (n *near) at(p rpc.Place) shm.Place {
	n.c.t.Helper()
	at, err := n.segments.PlaceAt(p.Slot, p.Serial, p.Segment, p.Offset, p.Bytes)
	if err != nil {
		n.c.t.Fatal(err)
	}
	return at
}

// fill puts data in the room of a write; false: the place holds no more.
func (n *near) fill(p rpc.Place, data []byte, off uint32) bool {
	at := n.at(p)
	return n.view.Fill(&at, data, off, false)
}

// copies is a thread that was stopped after it had announced a use of the place, and copies now whatever has happened since.
func (n *near) copies(p rpc.Place, data []byte) {
	n.c.t.Helper()
	files := n.store.SegmentFiles()
	f, err := os.OpenFile(files.Prefix+strconv.Itoa(int(p.Segment)), os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteAt(data, int64(p.Offset))
	}
	if err = errors.Join(err, f.Close()); err != nil {
		n.c.t.Fatal(err)
	}
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
			if step != "begun" && !n.fill(place, data, 0) {
				t.Fatal("the room of a write cannot be filled")
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
			use := n.area.AnnouncePlace(t, place.Segment, place.Offset, place.Bytes, n.store.SegmentFiles().Bytes) // once more
			at := n.at(place)
			if _, held := n.view.Read(&at, make([]byte, 1), 0); held != (step != "aborted") {
				t.Fatalf("the place holds: %v", held)
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
			if step != "aborted" { // else it has seen that the place is void, and does not copy
				n.copies(place, data)
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

// A client is stopped between the answer to BeginWrite and its copy, until the shard has given its write up and its room to another file. When it goes
// on, its place is void.
func TestExpiredWriteReachesNoOtherFile(t *testing.T) {
	c := newSharedCluster(t)
	witness, n := c.asker(1), c.near(2)
	file := must[rpc.EntryReply](t)(witness.create(rpc.MsgCreateFile, inode.Root, "f"))
	other := must[rpc.EntryReply](t)(witness.create(rpc.MsgCreateFile, inode.Root, "other"))
	if err := witness.write(file.Ino, 0, 0, 0, 0, make([]byte, 4096)); err != nil {
		t.Fatal(err)
	}
	const rest = roomBytes - 4096
	var room rpc.BeginWriteReply
	m := rpc.WriteChunk{Ino: file.Ino, Offset: 4096, Length: rest, ChunkBits: 16}
	if err := n.ask(0, rpc.MsgBeginWrite, 7, &m, nil, &room); err != nil || !room.Place.Held {
		t.Fatal(room, err)
	}
	c.tickAt(time.Now().Add(time.Minute))
	keep := bytes.Repeat([]byte("keep"), roomBytes/2/4)
	for chunk := range uint64(4) {
		if err := witness.write(other.Ino, 0, chunk, 0, 0, keep); err != nil {
			t.Fatal(err)
		}
	}
	if n.fill(room.Place, bytes.Repeat([]byte("evil"), rest/4), 4096) {
		t.Error("the room of a write that was given up a minute ago could be filled")
	}
	var answer *rpc.HandlerError
	if err := n.end(7, true); !errors.As(err, &answer) || answer.Code != syscall.EIDRM {
		t.Errorf("the end of the write: %v", err)
	}
	for chunk := range uint64(4) {
		if got := must[[]byte](t)(witness.read(other.Ino, 0, chunk, 0, roomBytes, 0)); !bytes.Equal(got, keep) {
			t.Errorf("chunk %d of the other file: %d of %d bytes are the stopped client's", chunk, 4*bytes.Count(got, []byte("evil")), len(got))
		}
	}
}
