package fault_test

import (
	"bytes"
	"fmt"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/benchfs/benchfs/internal/cluster"
	"github.com/benchfs/benchfs/shm/shmtest"
	"github.com/benchfs/benchfs/tests/agent"
)

// areaOf is the area of a client at the first shard.
func areaOf(t *testing.T, c *cluster.Cluster, a *agent.Agent) shmtest.Area {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(c.DataDir(0), "shard-0", "clients", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if area := shmtest.Open(t, path); area.PID() == a.PID() {
			return area
		}
	}
	t.Fatalf("none of %v is of process %d", paths, a.PID())
	return shmtest.Area{}
}

// stopInside stops a process while a thread of it is in the middle of a copy.
func stopInside(t *testing.T, c *cluster.Cluster, a *agent.Agent) {
	t.Helper()
	area := areaOf(t, c, a)
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		if err := syscall.Kill(a.PID(), syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		awaitStopped(t, a.PID())
		if area.Busy() {
			return
		}
		if err := syscall.Kill(a.PID(), syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		for spins := 0; !area.Busy() && spins < 1_000_000; spins++ { // so that the next signal comes in a copy
		}
	}
	t.Fatal("never stopped in a copy")
}

// TestStoppedInACopy: a client is stopped in the middle of a copy from or to a file that is cut then. The others use all other space, again and again; the
// daemon starts again without waiting; and when the client goes on, no byte of another file is its.
func TestStoppedInACopy(t *testing.T) {
	const mib, files = 1 << 20, 124
	for _, writes := range []bool{false, true} {
		t.Run(fmt.Sprintf("writes=%v", writes), func(t *testing.T) {
			c := cluster.Start(t, cluster.Options{Nodes: 1, Settings: map[string]string{"store.capacity": "128MiB"}})
			stopped, other := agent.MustStart(t, c.Env()), agent.MustStart(t, c.Env())
			data := bytes.Repeat([]byte{0xEE}, 16*mib)
			fd, err := stopped.Open("/hot", unix.O_CREAT|unix.O_RDWR, 0o644)
			if err != nil {
				t.Fatal(err)
			}
			if n, err := stopped.Pwrite(fd, data, 0); err != nil || n != len(data) {
				t.Fatal(n, err)
			}
			if got, err := stopped.Pread(fd, len(data), 0); err != nil || !bytes.Equal(got, data) { // it has an area by now
				t.Fatal(len(got), err)
			}
			end, ended := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(ended)
				for {
					select {
					case <-end:
						return
					default:
					}
					if writes {
						_, _ = stopped.Pwrite(fd, data, 0)
					} else {
						_, _ = stopped.Pread(fd, len(data), 0)
					}
				}
			}()
			t.Cleanup(func() { _ = syscall.Kill(stopped.PID(), syscall.SIGCONT) }) // else it cannot be ended
			stopInside(t, c, stopped)
			if err := other.Truncate("/hot", 0); err != nil {
				t.Fatal(err)
			}
			const held = 4 * mib / 4096 // pages: the chunk that the client copies
			awaitFiles(t, other, held)
			mine := bytes.Repeat([]byte{0x55}, mib)
			fill := func() { // all but the chunk that the client holds
				for i := range files {
					put(t, other, fmt.Sprintf("/mine.%d", i), mine)
				}
			}
			for range 3 {
				fill()
				for i := range files {
					if err := other.Unlink(fmt.Sprintf("/mine.%d", i)); err != nil {
						t.Fatal(err)
					}
				}
				awaitFiles(t, other, held)
			}
			c.Kill(0)
			if err := c.Launch(0); err != nil {
				t.Fatal(err)
			}
			c.WaitReady()
			awaitFiles(t, other, held)
			fill()
			if err := syscall.Kill(stopped.PID(), syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
			close(end)
			<-ended
			for i := range files {
				if got := get(t, other, fmt.Sprintf("/mine.%d", i)); !bytes.Equal(got, mine) {
					t.Errorf("file %d has %d bytes of the stopped client's, of %d", i, bytes.Count(got, []byte{0xEE}), len(got))
				}
			}
			if err := stopped.Close(fd); err != nil {
				t.Error(err)
			}
		})
	}
}
