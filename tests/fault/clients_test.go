package fault_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/benchfs/benchfs/internal/cluster"
	"github.com/benchfs/benchfs/tests/agent"
)

// TestKilledClients: clients are killed in the middle of large transfers, with files open that have no name any more. The daemons
// go on, what others wrote stays, the space of the nameless files comes back, and the daemons still stop in order.
func TestKilledClients(t *testing.T) { stores(t, killClients) }

func killClients(t *testing.T, settings map[string]string) {
	settings["session.check_interval"] = "100ms"
	c := cluster.Start(t, cluster.Options{Nodes: 2, Settings: settings})
	witness := agent.MustStart(t, c.Env())
	precious := bytes.Repeat([]byte("precious "), 100_000)
	put(t, witness, "/precious", precious)
	before, err := witness.Statfs("/")
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	data := bytes.Repeat([]byte{7}, 8<<20)
	for round := range 12 {
		a := agent.MustStart(t, c.Env())
		path := fmt.Sprintf("/doomed-%d", round)
		fd, err := a.Open(path, unix.O_CREAT|unix.O_RDWR, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Unlink(path); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { // until the process is gone
			defer close(ended)
			for {
				if _, err := a.Pwrite(fd, data, 0); err != nil {
					return
				}
				if _, err := a.Pread(fd, len(data), 0); err != nil {
					return
				}
			}
		}()
		time.Sleep(time.Duration(rng.IntN(40)) * time.Millisecond)
		a.Kill()
		<-ended
		if got := get(t, witness, "/precious"); !bytes.Equal(got, precious) {
			t.Fatalf("round %d: another file changed", round)
		}
	}
	end := time.Now().Add(20 * time.Second)
	for {
		now, err := witness.Statfs("/")
		if err != nil {
			t.Fatal(err)
		}
		if now.Free >= before.Free {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d bytes of dead clients' nameless files are still held", before.Free-now.Free)
		}
		time.Sleep(50 * time.Millisecond) // the pause of a poll
	}
}

// TestFrozenDaemon: a daemon that hangs (SIGSTOP) makes calls end by their deadline with a true errno. When it goes on, the transfers
// of those calls do not: what was written later stays, although the abandoned buffers hold something else by then.
func TestFrozenDaemon(t *testing.T) { stores(t, freezeDaemon) }

func freezeDaemon(t *testing.T, settings map[string]string) {
	c := cluster.Start(t, cluster.Options{Nodes: 1, Settings: settings})
	a := agent.MustStart(t, env(c, hasty, byMessage))
	fd, err := a.Open("/f", unix.O_CREAT|unix.O_RDWR, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	const size = 4 << 20
	old := bytes.Repeat([]byte("old"), size/3)
	if n, err := a.Pwrite(fd, old, 0); err != nil || n != len(old) {
		t.Fatal(n, err)
	}
	for round := range 3 {
		freeze := func(sig syscall.Signal) {
			if err := syscall.Kill(c.PID(0), sig); err != nil {
				t.Fatal(err)
			}
		}
		freeze(syscall.SIGSTOP)
		awaitStopped(t, c.PID(0))
		begin := time.Now()
		_, err = a.Pwrite(fd, bytes.Repeat([]byte("lost"), size/4), 0)
		took := time.Since(begin)
		freeze(syscall.SIGCONT)
		if !errors.Is(err, syscall.ETIMEDOUT) && !errors.Is(err, syscall.EHOSTUNREACH) {
			t.Fatalf("round %d: write to a frozen daemon: %v", round, err)
		}
		if took > 6*time.Second {
			t.Errorf("round %d: the answer took %v, the deadline is 2 s", round, took)
		}
		fresh := bytes.Repeat([]byte{byte('0' + round), 'n', 'e', 'w'}, size/4)
		end := time.Now().Add(20 * time.Second)
		for _, err = a.Pwrite(fd, fresh, 0); err != nil; _, err = a.Pwrite(fd, fresh, 0) {
			if time.Now().After(end) {
				t.Fatalf("round %d: the daemon runs again and is not reached: %v", round, err)
			}
		}
		for range 5 { // a transfer that was only late would come now
			got, err := a.Pread(fd, size, 0)
			if err != nil || !bytes.Equal(got, fresh) {
				t.Fatalf("round %d: an abandoned write came after a later one (%v)", round, err)
			}
		}
	}
	if err := a.Close(fd); err != nil {
		t.Fatal(err)
	}
}

// awaitStopped waits until no thread of a process runs any more: the signal takes its time to reach those on other cores.
func awaitStopped(t *testing.T, pid int) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		if err != nil || len(threads) == 0 {
			t.Fatal("no threads", err)
		}
		stopped := 0
		for _, thread := range threads {
			text, err := os.ReadFile(thread)
			if err == nil && strings.HasPrefix(string(text[bytes.LastIndexByte(text, ')')+1:]), " T") {
				stopped++
			}
		}
		if stopped == len(threads) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d of %d threads have stopped", stopped, len(threads))
		}
	}
}
