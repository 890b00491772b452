package server_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/benchfs/benchfs/internal/inode"
	"github.com/benchfs/benchfs/rpc"
	"github.com/benchfs/benchfs/store"
	"github.com/benchfs/benchfs/store/faulty"
	"github.com/benchfs/benchfs/store/uring"
)

// onDisk puts a shard on a store that takes its time, with little memory for transfers, and that fails as planned.
func onDisk(t *testing.T, c *cluster, i int) *faulty.Device {
	t.Helper()
	if err := uring.Available(); err != nil {
		t.Skip(err)
	}
	s, err := uring.Open(uring.Options{Dir: t.TempDir(), Name: "data", CapacityBytes: 64 << 20, SegmentBytes: 64 << 20, BufferBytes: 256 << 10})
	if err != nil {
		t.Fatal(err)
	}
	d := faulty.WrapDevice(s, nil)
	c.kill(i)
	if err := c.shards[i].store.Close(); err != nil {
		t.Fatal(err)
	}
	c.shards[i].store = d
	c.start(i)
	return d
}

// stats is what a shard says of its device.
func (c *cluster) stats(i int) store.DeviceStats {
	c.t.Helper()
	s, ok := c.shards[i].shard.Stats()
	if !ok || s.Device == nil {
		c.t.Fatal("the shard says nothing of its device")
	}
	return *s.Device
}

// atRest waits until nothing is held by anybody: a late reply gives its memory back after it has arrived.
func (c *cluster) atRest(i int) {
	c.t.Helper()
	eventually(c.t, "no buffer is in use", func() bool { s := c.stats(i); return s.BuffersUsed == 0 && s.InFlight == 0 })
}

// TestDeviceFails: an error of the medium is the answer, nothing of a failed write is shown, and nothing is held afterwards.
func TestDeviceFails(t *testing.T) {
	for _, late := range []bool{false, true} {
		c := newCluster(t, 1)
		d := onDisk(t, c, 0)
		c.network.SetLate(late)
		k := c.asker(7)
		const ino = inode.Ino(5)
		old, other := bytes.Repeat([]byte{1}, 10_000), bytes.Repeat([]byte{2}, 20_000)
		if err := k.write(ino, 0, 0, 0, 0, old); err != nil {
			t.Fatal(err)
		}
		d.SetPlan(faulty.Always(faulty.Commit, syscall.EIO))
		for _, chunk := range []uint64{0, 1} {
			if err := k.write(ino, 0, chunk, 10_000, 0, other); !errors.Is(err, syscall.EIO) {
				t.Errorf("write to a broken medium: %v", err)
			}
		}
		d.SetPlan(nil)
		if got, err := k.read(ino, 0, 0, 0, 30_000, 0); err != nil || !bytes.Equal(got, old) {
			t.Errorf("after a failed write there are %d bytes, %v", len(got), err)
		}
		if got, err := k.read(ino, 0, 1, 0, 30_000, 0); err != nil || len(got) != 0 {
			t.Errorf("a chunk whose write failed has %d bytes, %v", len(got), err)
		}
		d.SetPlan(faulty.Always(faulty.View, syscall.EIO))
		if got, err := k.read(ino, 0, 0, 0, 10_000, 0); !errors.Is(err, syscall.EIO) {
			t.Errorf("read from a broken medium: %d bytes, %v", len(got), err)
		}
		d.SetPlan(faulty.Always(faulty.Reserve, syscall.ENOSPC))
		m := rpc.ReserveChunk{Ino: ino, Chunk: 2, Length: 1, ChunkBits: 16}
		if err := k.ask(0, rpc.MsgReserveChunk, 0, &m, nil, nil); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("reserve: %v", err)
		}
		d.SetPlan(nil)
		c.atRest(0)
	}
}

// TestDeviceMemory: requests wait for buffers in turn; all are served, each reads what it wrote.
func TestDeviceMemory(t *testing.T) {
	for _, late := range []bool{false, true} {
		c := newCluster(t, 1)
		onDisk(t, c, 0)
		c.network.SetLate(late)
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				k := c.asker(uint64(100 + i))
				rng := rand.New(rand.NewPCG(uint64(i), 1))
				ino := inode.Ino(10 + i)
				data := make([]byte, 1<<16)
				for round := range 30 {
					for j := range data {
						data[j] = byte(rng.Uint32())
					}
					chunk := uint64(round % 3)
					if err := k.write(ino, 0, chunk, 0, 0, data); err != nil {
						t.Errorf("write: %v", err)
						return
					}
					if got, err := k.read(ino, 0, chunk, 0, 1<<16, 0); err != nil || !bytes.Equal(got, data) {
						t.Errorf("read: %d bytes, %v", len(got), err)
						return
					}
				}
			}()
		}
		wg.Wait()
		c.atRest(0)
		if s := c.stats(0); s.Writes < 16*30 {
			t.Errorf("%+v", s)
		}
	}
}

// slowSync is a device whose syncs take until somebody lets them.
type slowSync struct {
	store.Device
	begun, ended atomic.Int64
	gate         chan struct{}
}

func (s *slowSync) Sync(ino uint64) func() error {
	sync := s.Device.Sync(ino)
	return func() error {
		s.begun.Add(1)
		<-s.gate
		defer s.ended.Add(1)
		return sync()
	}
}

// TestSyncBesideTheShard: a sync reaches the medium before it is acknowledged, its error is the answer, and the shard serves others
// meanwhile.
func TestSyncBesideTheShard(t *testing.T) {
	c := newCluster(t, 1)
	d := onDisk(t, c, 0)
	slow := &slowSync{Device: d, gate: make(chan struct{})}
	c.kill(0)
	c.shards[0].store = slow
	c.start(0)
	k := c.asker(7)
	const ino = inode.Ino(5)
	if err := k.write(ino, 0, 0, 0, 0, []byte("x")); err != nil {
		t.Fatal(err)
	}
	sync := func() error {
		return k.ask(0, rpc.MsgSyncChunks, 0, &rpc.SyncChunks{Ino: ino}, nil, nil)
	}
	answer := make(chan error, 1)
	go func() { answer <- sync() }()
	eventually(t, "the sync begins", func() bool { return slow.begun.Load() == 1 })
	if got, err := c.asker(8).read(ino, 0, 0, 0, 1, 0); err != nil || string(got) != "x" {
		t.Errorf("read beside a sync: %q, %v", got, err)
	}
	select {
	case err := <-answer:
		t.Errorf("acknowledged before it was done: %v", err)
	case <-time.After(10 * time.Millisecond):
	}
	before := c.stats(0).Syncs
	close(slow.gate)
	if err := <-answer; err != nil || slow.ended.Load() != 1 || c.stats(0).Syncs != before+1 {
		t.Errorf("%v, %d syncs ended, %d of the medium", err, slow.ended.Load(), c.stats(0).Syncs-before)
	}
	d.SetPlan(faulty.Always(faulty.Sync, syscall.EIO))
	if err := sync(); !errors.Is(err, syscall.EIO) {
		t.Errorf("a failed sync: %v", err)
	}
}
