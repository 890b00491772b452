package client_test

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/benchfs/benchfs/core/client"
	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/rpc"
	"github.com/benchfs/benchfs/rpc/inproc"
)

// rangeLock is a lock of the process itself.
func rangeLock(kind client.LockType, start, end uint64) client.Lock {
	return client.Lock{Kind: client.LockRange, Type: kind, Start: start, End: end}
}

// fileLock is a lock of a named owner on the whole file.
func fileLock(kind client.LockType, owner uint64) client.Lock {
	return client.Lock{Kind: client.LockFile, Type: kind, Owner: owner}
}

// start begins a wait for a lock that is not to be had at once.
func start(t *testing.T, f *client.File, l client.Lock) *client.LockWait {
	t.Helper()
	w, err := f.StartLock(ctx, l, func() {})
	ok(t, "lock", err)
	if w == nil {
		t.Fatal("the lock was had at once")
	}
	return w
}

// queued waits until so many waits have reached the cluster's shards.
func (c *cluster) queued(n int) {
	c.t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		found := 0
		for _, s := range c.shards {
			if stats, ok := s.server.Stats(); ok {
				found += stats.LockWaiters
			}
		}
		if found == n {
			return
		}
		if time.Now().After(end) {
			c.t.Fatalf("%d wait instead of %d", found, n)
		}
	}
}

func over(w *client.LockWait) chan error {
	done := make(chan error, 1)
	go func() { done <- w.Wait() }()
	return done
}

func within(t *testing.T, what string, done chan error) error {
	t.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(10 * time.Second):
		t.Fatalf("%s does not end", what)
		return nil
	}
}

const all = client.LockEnd

func TestLocksExclude(t *testing.T) {
	c := newCluster(t, 2, layout.RoundRobin, false)
	a, b := c.client(nil), c.client(nil)
	for _, name := range []string{"/one", "/two", "/three"} { // on this shard or that
		create(t, a, name)
		fa, fb := open(t, a, name, syscall.O_RDWR), open(t, b, name, syscall.O_RDWR)
		ok(t, "write lock", fa.Lock(ctx, rangeLock(client.LockWrite, 10, 20)))
		check(t, "another's", fb.Lock(ctx, rangeLock(client.LockRead, 19, all)), syscall.EAGAIN)
		ok(t, "beside it", fb.Lock(ctx, rangeLock(client.LockWrite, 20, all)))
		got, err := fb.TestLock(ctx, client.Lock{Kind: client.LockRange, Type: client.LockWrite, Start: 0, End: 15})
		ok(t, "test", err)
		if want := (client.Lock{Kind: client.LockRange, Type: client.LockWrite, Start: 10, End: 20}); got != want {
			t.Fatalf("in the way: %+v", got)
		}
		ok(t, "the other kind", fb.Lock(ctx, fileLock(client.LockWrite, 0)))
		check(t, "the other kind, another", fa.Lock(ctx, fileLock(client.LockRead, 5)), syscall.EAGAIN)
		ok(t, "downgrade", fa.Lock(ctx, rangeLock(client.LockRead, 10, 20)))
		ok(t, "two readers", fb.Lock(ctx, rangeLock(client.LockRead, 10, 20)))
		check(t, "upgrade beside a reader", fa.Lock(ctx, rangeLock(client.LockWrite, 12, 13)), syscall.EAGAIN)
		ok(t, "unlock", fb.Lock(ctx, rangeLock(client.LockNone, 0, all)))
		ok(t, "upgrade", fa.Lock(ctx, rangeLock(client.LockWrite, 12, 13)))
		ok(t, "close", fa.Close(ctx))
		ok(t, "after the close", fb.Lock(ctx, rangeLock(client.LockWrite, 0, all)))
		ok(t, "close", fb.Close(ctx))
	}
}

func TestLockArguments(t *testing.T) {
	c := newCluster(t, 1, layout.RoundRobin, false)
	a := c.client(nil)
	create(t, a, "/f")
	reading, writing := open(t, a, "/f", syscall.O_RDONLY), open(t, a, "/f", syscall.O_WRONLY)
	check(t, "write lock, open for reading", reading.Lock(ctx, rangeLock(client.LockWrite, 0, 1)), syscall.EBADF)
	check(t, "read lock, open for writing", writing.Lock(ctx, rangeLock(client.LockRead, 0, 1)), syscall.EBADF)
	ok(t, "whole file, open for reading", reading.Lock(ctx, fileLock(client.LockWrite, 3)))
	l := rangeLock(client.LockRead, 0, 1)
	l.Holder = 4
	check(t, "a holder without an owner", reading.Lock(ctx, l), syscall.EINVAL)
	_, err := reading.TestLock(ctx, rangeLock(client.LockNone, 0, 1))
	check(t, "test of an unlock", err, syscall.EINVAL)
	dir := open(t, a, "/", syscall.O_RDONLY|syscall.O_DIRECTORY)
	ok(t, "a directory", dir.Lock(ctx, fileLock(client.LockWrite, 3)))
	for _, f := range []*client.File{reading, writing, dir} {
		ok(t, "close", f.Close(ctx))
	}
}

// TestLockWait: whoever waits gets the lock when it is given up, in their order.
func TestLockWait(t *testing.T) {
	c := newCluster(t, 1, layout.RoundRobin, false)
	c.attempt = 10 * time.Second // nobody is about to ask anew when the lock is given up, and loses their turn
	holder := c.client(nil)
	create(t, holder, "/f")
	f := open(t, holder, "/f", syscall.O_RDWR)
	ok(t, "lock", f.Lock(ctx, rangeLock(client.LockWrite, 0, all)))
	const waiters = 5
	var order []int
	var mu sync.Mutex
	var group sync.WaitGroup
	for i := range waiters {
		other := c.client(nil)
		g := open(t, other, "/f", syscall.O_RDWR)
		w := start(t, g, rangeLock(client.LockWrite, uint64(i), all))
		c.queued(i + 1)
		group.Go(func() {
			if err := w.Wait(); err != nil {
				t.Error(err)
			}
			mu.Lock()
			order = append(order, i)
			mu.Unlock()
			if err := g.Close(ctx); err != nil { // gives it up
				t.Error(err)
			}
		})
	}
	ok(t, "unlock", f.Lock(ctx, rangeLock(client.LockNone, 0, all)))
	group.Wait()
	for i, got := range order {
		if got != i {
			t.Errorf("they got it in the order %v", order)
			break
		}
	}
	ok(t, "close", f.Close(ctx))
}

// TestLockWaitOutlastsAttempts: those who wait ask again and again.
func TestLockWaitOutlastsAttempts(t *testing.T) {
	c := newCluster(t, 1, layout.RoundRobin, false)
	a, b := c.client(nil), c.client(nil)
	create(t, a, "/f")
	fa, fb := open(t, a, "/f", syscall.O_RDWR), open(t, b, "/f", syscall.O_RDWR)
	ok(t, "lock", fa.Lock(ctx, rangeLock(client.LockWrite, 0, all)))
	w := start(t, fb, rangeLock(client.LockRead, 5, 6))
	for b.Stats().(client.Stats).Operations["lock"] < 5 {
		select {
		case err := <-over(w):
			t.Fatalf("the wait has ended: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	ok(t, "unlock", fa.Lock(ctx, rangeLock(client.LockNone, 0, all)))
	ok(t, "the wait", within(t, "the wait", over(w)))
	ok(t, "close", fa.Close(ctx))
	ok(t, "close", fb.Close(ctx))
}

func TestLockWaitIsCancelled(t *testing.T) {
	c := newCluster(t, 1, layout.RoundRobin, false)
	a, b := c.client(nil), c.client(nil)
	create(t, a, "/f")
	fa, fb := open(t, a, "/f", syscall.O_RDWR), open(t, b, "/f", syscall.O_RDWR)
	ok(t, "lock", fa.Lock(ctx, fileLock(client.LockWrite, 1)))
	for i := range 50 {
		w := start(t, fb, fileLock(client.LockWrite, 2))
		if i%2 == 0 {
			c.queued(1)
		}
		begun := time.Now()
		w.Cancel()
		check(t, "cancelled", within(t, "the wait", over(w)), syscall.EINTR)
		if took := time.Since(begun); took > time.Second {
			t.Fatalf("the end of a wait took %v", took)
		}
	}
	ok(t, "unlock", fa.Lock(ctx, fileLock(client.LockNone, 1)))
	ok(t, "nobody waits", fa.Lock(ctx, fileLock(client.LockWrite, 3)))
	ok(t, "close", fa.Close(ctx))
	ok(t, "close", fb.Close(ctx))
}

func TestLockDeadlock(t *testing.T) {
	c := newCluster(t, 1, layout.RoundRobin, false)
	c.attempt = 10 * time.Second // so that nobody's wait begins anew meanwhile, and it is known who closes the circle
	var files [3][2]*client.File
	for i := range files {
		cl := c.client(nil)
		for j, name := range []string{"/x", "/y"} {
			files[i][j] = open(t, cl, name, syscall.O_RDWR|syscall.O_CREAT)
		}
	}
	ok(t, "0 has x:0", files[0][0].Lock(ctx, rangeLock(client.LockWrite, 0, 1)))
	ok(t, "1 has y:0", files[1][1].Lock(ctx, rangeLock(client.LockWrite, 0, 1)))
	ok(t, "2 has y:1", files[2][1].Lock(ctx, rangeLock(client.LockWrite, 1, 2)))
	w0 := start(t, files[0][1], rangeLock(client.LockWrite, 0, 1)) // for 1
	c.queued(1)
	w1 := start(t, files[1][1], rangeLock(client.LockWrite, 1, 2)) // for 2
	c.queued(2)
	w2 := start(t, files[2][0], rangeLock(client.LockRead, 0, all)) // for 0
	check(t, "the cycle", within(t, "the cycle", over(w2)), syscall.EDEADLK)
	ok(t, "2 gives up", files[2][1].Lock(ctx, rangeLock(client.LockNone, 0, all)))
	ok(t, "1", within(t, "1", over(w1)))
	ok(t, "1 gives up", files[1][1].Lock(ctx, rangeLock(client.LockNone, 0, all)))
	ok(t, "0", within(t, "0", over(w0)))

	// Two readers of a range who both want to write it.
	ok(t, "reader", files[1][0].Lock(ctx, rangeLock(client.LockRead, 50, 60)))
	ok(t, "reader", files[2][0].Lock(ctx, rangeLock(client.LockRead, 50, 60)))
	w1 = start(t, files[1][0], rangeLock(client.LockWrite, 50, 60))
	c.queued(1)
	w2 = start(t, files[2][0], rangeLock(client.LockWrite, 50, 60))
	check(t, "the second writer", within(t, "the second writer", over(w2)), syscall.EDEADLK)
	ok(t, "close gives up", files[2][0].Close(ctx))
	ok(t, "the first writer", within(t, "the first writer", over(w1)))
	files[2][0] = nil

	// The same with whole files: one gives way.
	f, g := files[0][0], files[1][0]
	ok(t, "reader", f.Lock(ctx, fileLock(client.LockRead, 1)))
	ok(t, "reader", g.Lock(ctx, fileLock(client.LockRead, 2)))
	w0 = start(t, f, fileLock(client.LockWrite, 1))
	w1, err := g.StartLock(ctx, fileLock(client.LockWrite, 2), func() {})
	ok(t, "the other", err)
	first, second := over(w0), make(chan error, 1)
	if w1 != nil {
		second = over(w1)
	} else {
		second <- nil
	}
	select {
	case err = <-first:
		ok(t, "the first", err)
		ok(t, "unlock", f.Lock(ctx, fileLock(client.LockNone, 1)))
		ok(t, "the second", within(t, "the second", second))
	case err = <-second:
		ok(t, "the second", err)
		ok(t, "unlock", g.Lock(ctx, fileLock(client.LockNone, 2)))
		ok(t, "the first", within(t, "the first", first))
	case <-time.After(10 * time.Second):
		t.Fatal("two readers wait for each other")
	}
	for _, pair := range files {
		for _, f := range pair {
			if f != nil {
				ok(t, "close", f.Close(ctx))
			}
		}
	}
}

// TestLockHolders: what an owner has lives as long as one who holds it.
func TestLockHolders(t *testing.T) {
	c := newCluster(t, 1, layout.RoundRobin, false)
	parent, child, other := c.client(nil), c.client(nil), c.client(nil)
	create(t, parent, "/f")
	fp, fc, fo := open(t, parent, "/f", syscall.O_RDWR), open(t, child, "/f", syscall.O_RDWR), open(t, other, "/f", syscall.O_RDWR)
	l := fileLock(client.LockWrite, 77)
	l.Holder = parent.Session()
	ok(t, "the child's lock", fc.Lock(ctx, l))
	ok(t, "the same owner", fp.Lock(ctx, fileLock(client.LockRead, 77)))
	ok(t, "the same owner", fp.Lock(ctx, fileLock(client.LockWrite, 77)))
	ok(t, "close", fc.Close(ctx))
	check(t, "after the child's close", fo.Lock(ctx, fileLock(client.LockRead, 78)), syscall.EAGAIN)
	if _, err := child.Close(ctx); err != nil {
		t.Fatal(err)
	}
	check(t, "after the child's end", fo.Lock(ctx, fileLock(client.LockRead, 78)), syscall.EAGAIN)
	ok(t, "close", fp.Close(ctx))
	check(t, "after the parent's close", fo.Lock(ctx, fileLock(client.LockRead, 78)), syscall.EAGAIN)
	if _, err := parent.Close(ctx); err != nil {
		t.Fatal(err)
	}
	ok(t, "after the parent's end", fo.Lock(ctx, fileLock(client.LockRead, 78)))

	l = rangeLock(client.LockWrite, 5, 6)
	l.Owner, l.Holder = 90, other.Session()
	third := c.client(nil)
	ft := open(t, third, "/f", syscall.O_RDWR)
	ok(t, "lock", ft.Lock(ctx, l))
	ok(t, "one leaves", ft.LeaveLock(ctx, client.Lock{Kind: client.LockRange, Owner: 90}))
	check(t, "the other holds it", ft.Lock(ctx, rangeLock(client.LockRead, 0, all)), syscall.EAGAIN)
	ok(t, "the other leaves", fo.LeaveLock(ctx, client.Lock{Kind: client.LockRange, Owner: 90}))
	ok(t, "nobody does", ft.Lock(ctx, rangeLock(client.LockRead, 0, all)))
	ok(t, "close", ft.Close(ctx))
	ok(t, "close", fo.Close(ctx))
}

// TestCloseGivesUpLocks: the process's own on ranges, whichever handle is closed, and no others; and it costs a message only where there are some.
func TestCloseGivesUpLocks(t *testing.T) {
	c := newCluster(t, 1, layout.RoundRobin, false)
	a, b := c.client(nil), c.client(nil)
	create(t, a, "/f")
	fa, fb := open(t, a, "/f", syscall.O_RDWR), open(t, b, "/f", syscall.O_RDWR)
	locks := func() uint64 { return a.Stats().(client.Stats).Operations["lock"] }
	closeAnother := func() {
		t.Helper()
		ok(t, "close", open(t, a, "/f", syscall.O_RDONLY).Close(ctx))
	}
	closeAnother()
	if n := locks(); n != 0 {
		t.Fatalf("%d messages about locks, and there are none", n)
	}
	ok(t, "lock", fa.Lock(ctx, rangeLock(client.LockWrite, 0, all)))
	ok(t, "named owner", fa.Lock(ctx, fileLock(client.LockWrite, 1)))
	fa.Retain()
	ok(t, "close of a dup", fa.Close(ctx))
	ok(t, "another process", fb.Lock(ctx, rangeLock(client.LockWrite, 0, all)))
	check(t, "the named owner's", fb.Lock(ctx, fileLock(client.LockRead, 2)), syscall.EAGAIN)
	before := locks()
	closeAnother()
	if n := locks(); n != before {
		t.Fatalf("a close without locks has sent %d messages about them", n-before)
	}
	ok(t, "unlock", fb.Lock(ctx, rangeLock(client.LockNone, 0, all)))
	ok(t, "lock", fa.Lock(ctx, rangeLock(client.LockWrite, 0, all)))
	ok(t, "unlock", fa.Lock(ctx, rangeLock(client.LockNone, 0, all)))
	before = locks()
	closeAnother()
	if n := locks(); n != before {
		t.Fatalf("a close after an unlock has sent %d messages about locks", n-before)
	}
	ok(t, "lock", fa.Lock(ctx, rangeLock(client.LockWrite, 3, 4)))
	closeAnother()
	ok(t, "another process", fb.Lock(ctx, rangeLock(client.LockWrite, 0, all)))
	ok(t, "close", fa.Close(ctx))
	ok(t, "close", fb.Close(ctx))
}

// TestLocksAfterRestart: they are gone, and who had one is told, once.
func TestLocksAfterRestart(t *testing.T) {
	c := newCluster(t, 1, layout.RoundRobin, true)
	a, b := c.client(nil), c.client(nil)
	create(t, a, "/f")
	fa, fb := open(t, a, "/f", syscall.O_RDWR), open(t, b, "/f", syscall.O_RDWR)
	ok(t, "lock", fa.Lock(ctx, rangeLock(client.LockWrite, 0, 10)))
	ok(t, "lock", fa.Lock(ctx, fileLock(client.LockWrite, 1)))
	ok(t, "lock", fa.Lock(ctx, fileLock(client.LockNone, 1)))
	w := start(t, fb, rangeLock(client.LockWrite, 5, 6))
	c.queued(1)
	c.kill(0)
	c.start(0)
	ok(t, "who waited", within(t, "the wait", over(w)))
	check(t, "the unlock", fa.Lock(ctx, rangeLock(client.LockNone, 0, 10)), syscall.ENOLCK)
	check(t, "again", fa.Lock(ctx, rangeLock(client.LockRead, 0, 10)), syscall.EAGAIN)
	ok(t, "what was not held", fa.Lock(ctx, fileLock(client.LockWrite, 1)))
	ok(t, "unlock", fb.Lock(ctx, rangeLock(client.LockNone, 0, all)))
	ok(t, "lock", fa.Lock(ctx, rangeLock(client.LockWrite, 0, 10)))
	c.kill(0)
	c.start(0)
	ok(t, "close", fa.Close(ctx)) // nothing to give up
	ok(t, "close", fb.Close(ctx))
}

// TestLocksOfUnlinkedFile: the handle keeps the inode, and the inode its locks.
func TestLocksOfUnlinkedFile(t *testing.T) {
	c := newCluster(t, 2, layout.RoundRobin, false)
	a, b := c.client(nil), c.client(nil)
	create(t, a, "/f")
	fa, fb := open(t, a, "/f", syscall.O_RDWR), open(t, b, "/f", syscall.O_RDWR)
	ok(t, "lock", fa.Lock(ctx, rangeLock(client.LockWrite, 0, 1)))
	ok(t, "unlink", a.Unlink(ctx, 0, "/f"))
	check(t, "another's", fb.Lock(ctx, rangeLock(client.LockWrite, 0, 1)), syscall.EAGAIN)
	ok(t, "close", fa.Close(ctx))
	ok(t, "given up", fb.Lock(ctx, rangeLock(client.LockWrite, 0, 1)))
	ok(t, "close", fb.Close(ctx))
}

// badLocks loses, doubles and delays messages about locks.
type badLocks struct {
	mu     sync.Mutex
	random *rand.Rand
}

func (b *badLocks) Dial(rpc.PeerID) inproc.Fault { return inproc.Fault{} }
func (b *badLocks) Request(_ rpc.PeerID, h *rpc.Header) inproc.Fault {
	b.mu.Lock()
	defer b.mu.Unlock()
	if h.Type != rpc.MsgLock {
		return inproc.Fault{}
	}
	switch b.random.IntN(50) {
	case 0:
		return inproc.Fault{Action: inproc.Drop}
	case 1, 2, 3, 4, 5:
		return inproc.Fault{Action: inproc.Duplicate}
	case 6, 7, 8, 9:
		return inproc.Fault{Action: inproc.Delay, Delay: time.Duration(b.random.IntN(3)) * time.Millisecond}
	}
	return inproc.Fault{}
}

func (b *badLocks) Reply(p rpc.PeerID, h *rpc.Header) inproc.Fault {
	if f := b.Request(p, h); f.Action == inproc.Drop {
		return f
	}
	return inproc.Fault{}
}

// TestLocksUnderFaults: a counter under the lock, over a network that loses, delays and doubles messages.
func TestLocksUnderFaults(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	c := newCluster(t, 2, layout.RoundRobin, false)
	c.network.SetFaults(&badLocks{random: rand.New(rand.NewPCG(seed, 3))})
	const clients, rounds = 4, 25
	first := c.client(nil)
	create(t, first, "/counter")
	inside, sum := atomic.Int32{}, 0
	var group sync.WaitGroup
	for i := range clients {
		cl := c.client(nil)
		f := open(t, cl, "/counter", syscall.O_RDWR)
		group.Go(func() {
			defer func() { _ = f.Close(ctx) }()
			l := rangeLock(client.LockWrite, 7, 9)
			if i%2 == 1 {
				l.Owner = uint64(1000 + i)
			}
			for range rounds {
				w, err := f.StartLock(ctx, l, func() {})
				if w != nil {
					err = w.Wait()
				}
				if err != nil {
					t.Error(err)
					return
				}
				if inside.Add(1) != 1 {
					t.Error("two have the lock")
				}
				sum++
				inside.Add(-1)
				unlock := l
				unlock.Type = client.LockNone
				if err := f.Lock(ctx, unlock); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	if sum != clients*rounds {
		t.Errorf("the sum is %d of %d", sum, clients*rounds)
	}
}
