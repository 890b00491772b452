package client

import (
	"context"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/internal/inode"
	"github.com/benchfs/benchfs/shm"
	"github.com/benchfs/benchfs/shm/shmtest"
)

// What is remembered of names is compared with a model, while names change, texts wrap around and slots are fought for: it may be forgotten, and is
// never wrong.
func TestLookups(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	board, err := shm.Create(dir, 5)
	if err != nil {
		t.Fatal(err)
	}
	defer board.Close()
	view := shmtest.Attach(t, board, 5, 1)
	defer view.Close()
	r := &reach{serial: 1, view: view}
	c := &Client{shortcut: newShortcut(&Options{
		Shortcut: ShortcutRead, HostID: "here", Memory: func(context.Context, uint32) (*shm.Memory, error) { return nil, syscall.EOPNOTSUPP }, Map: &layout.Map{Nodes: []layout.Node{{ID: 1, Shards: 1}}},
	})}
	c.cluster.Store(&layout.Map{Nodes: []layout.Node{{ID: 1, Shards: 1}}})
	c.shortcut.shards[0].Store(r)

	const names = 300_000 // more than fit
	stands := map[uint64]inode.Ino{}
	text := func(i uint64) string {
		return fmt.Sprintf("%0*d", 1+int(i%NameMax), i)
	}
	asked, hits := 0, 0
	for round := range uint64(400_000) {
		i := random.Uint64N(names)
		if round%2 == 0 {
			i = random.Uint64N(100) // some are asked for often
		}
		n := nameIn(inode.Ino(1+i%3), text(i))
		reply, ok := c.lookups.find(c, &n)
		if ok && (reply.Ino != stands[i] || reply.Kind != inode.File) {
			t.Fatalf("%q stands for %v, remembered is %v", n.text, stands[i], reply.Ino)
		}
		if round%2 == 0 {
			asked++
			if ok {
				hits++
			}
		}
		v := versionOf(r, &n)
		switch random.IntN(20) {
		case 0: // it changes
			board.AdvanceName(uint64(n.key))
			stands[i] = inode.Make(0, round+2)
		case 1: // it changes while somebody learns it
			c.lookups.learn(v, &n, stands[i], inode.File)
			board.AdvanceName(uint64(n.key))
			stands[i] = inode.Make(0, round+2)
		default:
			c.lookups.learn(v, &n, stands[i], inode.File)
		}
	}
	if hits < asked/2 {
		t.Errorf("%d of %d were remembered", hits, asked)
	}
	// Another daemon's memory, with versions of its own, is not mistaken for this one's.
	n := nameIn(1, "name")
	c.lookups.learn(versionOf(r, &n), &n, 77, inode.File)
	c.shortcut.shards[0].Store(&reach{serial: 2, view: view})
	if _, ok := c.lookups.find(c, &n); ok {
		t.Error("remembered beyond the daemon that said it")
	}
}
