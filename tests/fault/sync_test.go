package fault_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/benchfs/benchfs/internal/cluster"
	"github.com/benchfs/benchfs/tests/agent"
)

// TestSyncedSurvivesKill: a daemon is killed while a client writes large records and syncs them. After each restart, what was synced is
// there, of the record that was under way each byte is an old or a new one, and nothing is beyond it.
func TestSyncedSurvivesKill(t *testing.T) { stores(t, syncAndKill) }

func syncAndKill(t *testing.T, settings map[string]string) {
	const record = 3<<20 + 4711 // not in blocks, over chunks
	settings["layout.chunk_size"] = "1MiB"
	c := cluster.Start(t, cluster.Options{Nodes: 1, Settings: settings})
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 3))
	pattern := func(k int) []byte { return bytes.Repeat([]byte{byte(k + 1), byte(k * 3), 0x55}, record/3+1)[:record] }
	reader := agent.MustStart(t, env(c, patient))
	for round := range 6 {
		path := fmt.Sprintf("/synced-%d", round)
		writer := agent.MustStart(t, env(c, hasty))
		fd, err := writer.Open(path, unix.O_CREAT|unix.O_RDWR, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		var synced atomic.Int64
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for k := range 40 {
				if n, err := writer.Pwrite(fd, pattern(k), int64(k)*record); err != nil || n < record {
					return
				}
				if writer.Fsync(fd) != nil {
					return
				}
				synced.Add(1)
			}
		}()
		for synced.Load() == 0 {
			time.Sleep(time.Millisecond) // the pause of a poll
		}
		time.Sleep(time.Duration(rng.IntN(60)) * time.Millisecond)
		safe := int(synced.Load())
		c.Kill(0)
		writer.Kill()
		<-ended
		if err := c.Launch(0); err != nil {
			t.Fatal(err)
		}
		c.WaitReady()
		checkRecords(t, reader, path, safe, record, pattern)
	}
}

func checkRecords(t *testing.T, reader *agent.Agent, path string, safe, record int, pattern func(k int) []byte) {
	t.Helper()
	fd, err := reader.Open(path, unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	k := 0
	for ; ; k++ {
		got, err := reader.Pread(fd, record, int64(k)*int64(record))
		if err != nil {
			t.Fatalf("record %d: %v", k, err)
		}
		want := pattern(k)
		if k < safe && !bytes.Equal(got, want) {
			t.Fatalf("%s: record %d was synced (%d were), and %d bytes of it are there or differ", path, k, safe, len(got))
		}
		for i, b := range got {
			if b != want[i] && b != 0 {
				t.Fatalf("%s: record %d: byte %d is %d, which nobody wrote", path, k, i, b)
			}
		}
		if len(got) < record {
			break
		}
	}
	if err := reader.Close(fd); err != nil {
		t.Error(err)
	}
}

// TestStoppedInTheMiddle: a daemon that is told to stop while clients move large pieces ends in order, and its successor has all that was
// acknowledged.
func TestStoppedInTheMiddle(t *testing.T) {
	stores(t, func(t *testing.T, settings map[string]string) {
		c := cluster.Start(t, cluster.Options{Nodes: 1, Settings: settings})
		const size = 8 << 20
		var list []*agent.Agent
		for range 3 {
			list = append(list, agent.MustStart(t, env(c, patient, byMessage)))
		}
		type outcome struct {
			rounds int
			err    error
		}
		for range 3 {
			stop := make(chan struct{})
			ended := make(chan outcome, len(list))
			for i, a := range list {
				go func() {
					o := outcome{}
					for o.err == nil {
						select {
						case <-stop:
							ended <- o
							return
						default:
						}
						o.rounds++
						o.err = writeAndRead(a, fmt.Sprintf("/f%d", i), bytes.Repeat([]byte{byte(o.rounds)}, size))
					}
					ended <- o
				}()
			}
			time.Sleep(100 * time.Millisecond) // in the middle, wherever that is
			if err := c.Stop(0); err != nil {
				t.Errorf("the daemon did not end in order: %v", err)
			}
			if err := c.Launch(0); err != nil {
				t.Fatal(err)
			}
			c.WaitReady()
			close(stop)
			for range list {
				if o := <-ended; o.err != nil {
					t.Errorf("after %d rounds: %v", o.rounds, o.err)
				}
			}
		}
	})
}

func writeAndRead(a *agent.Agent, path string, data []byte) error {
	fd, err := a.Open(path, unix.O_CREAT|unix.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	if n, err := a.Pwrite(fd, data, 0); err != nil || n < len(data) {
		return fmt.Errorf("wrote %d: %w", n, err)
	}
	got, err := a.Pread(fd, len(data), 0)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, data) {
		return fmt.Errorf("read something else: %w", syscall.EIO)
	}
	return a.Close(fd)
}
