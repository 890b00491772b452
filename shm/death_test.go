package shm_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/benchfs/benchfs/rpc"
	"github.com/benchfs/benchfs/shm"
)

// childDoor is the door of the shard that a child process is a client of.
const childDoor = "BENCHFS_TEST_DOOR"

func TestMain(m *testing.M) {
	if path := os.Getenv(childDoor); path != "" {
		child(path)
		return
	}
	os.Exit(m.Run())
}

// child makes calls for ever, some of them with payloads, on several lanes.
func child(path string) {
	t := &testing.T{}
	c := dial(t, &shard{target: rpc.Target{Peer: rpc.PeerID{Shard: shardNumber}, Incarnation: 7, SameHost: true, Door: path}})
	for range 3 {
		go func() {
			out, in := c.memory(10_000), c.memory(10_000)
			for {
				c.tr.Run(soon(), []*rpc.Call{c.call(rpc.MsgEcho, nil, out, in)})
			}
		}()
	}
	_, _ = os.Stdout.WriteString("ready\n")
	select {}
}

func startChild(t *testing.T, s *shard) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), childDoor+"="+s.target.Door)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	line := make([]byte, 6)
	if _, err := out.Read(line); err != nil || string(line) != "ready\n" {
		t.Fatalf("the child says %q, %v", line, err)
	}
	return cmd
}

// until waits for a state.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited in vain: " + what)
		}
	}
}

func (e *echo) left() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.gone)
}

// roundTrip makes a call that must succeed.
func (c *client) roundTrip() {
	c.t.Helper()
	call := c.call(rpc.MsgEcho, []byte("x"), nil, nil)
	c.tr.Run(soon(), []*rpc.Call{call})
	if call.Err != nil || string(call.Answer) != "x" {
		c.t.Errorf("%v, answer %q", call.Err, call.Answer)
	}
	c.tr.FreeCall(call)
}

// Clients that are stopped or killed at any moment keep nobody waiting, and the shard hears of the death.
func TestClientsThatStopAndDie(t *testing.T) {
	s := startShard(t, t.TempDir())
	c := dial(t, s)
	for range 10 {
		before := s.echo.left()
		cmd := startChild(t, s)
		for range 20 {
			_ = cmd.Process.Signal(syscall.SIGSTOP)
			for range 20 {
				c.roundTrip()
			}
			_ = cmd.Process.Signal(syscall.SIGCONT)
		}
		_ = cmd.Process.Signal(syscall.SIGSTOP)
		c.roundTrip()
		_ = cmd.Process.Kill()
		until(t, "the shard hears of a death", func() bool { return s.echo.left() == before+1 })
		c.roundTrip()
	}
}

func TestDaemonThatEnds(t *testing.T) {
	s := startShard(t, t.TempDir())
	c := dial(t, s)
	s.echo.hold = make(chan struct{})
	done := make(chan error)
	go func() {
		call := c.call(rpc.MsgDescribe, nil, nil, nil)
		c.tr.Run(soon(), []*rpc.Call{call})
		done <- call.Err
	}()
	go func() { time.Sleep(50 * time.Millisecond); close(s.echo.hold) }()
	<-done // answered, or not: the shard was on its way out
	s.stop()
	call := c.call(rpc.MsgEcho, nil, nil, nil)
	began := time.Now()
	c.tr.Run(soon(), []*rpc.Call{call})
	if gone := new(rpc.ConnectionError); !errors.As(call.Err, &gone) {
		t.Errorf("a call to a daemon that has ended: %v", call.Err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("which was noticed after %v", took)
	}
	if c.link.Alive() {
		t.Error("the link takes itself for alive")
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if _, err := c.tr.Dial(ctx, s.target); !errors.Is(err, shm.ErrNoDoor) {
		t.Errorf("dialling it: %v", err)
	}
}

func TestAnotherIncarnationIsRefused(t *testing.T) {
	s := startShard(t, t.TempDir())
	other := s.target
	other.Incarnation++
	if _, err := shm.NewTransport().Dial(context.Background(), other); err == nil || !strings.Contains(err.Error(), "stale") {
		t.Errorf("%v", err)
	}
}

// A path longer than a socket's address takes.
func TestLongPath(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("d", 200))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	dial(t, startShard(t, dir)).roundTrip()
}

// Calls that nobody answers end by their deadline, and their late answers complete nothing.
func TestCallsWithoutAnswer(t *testing.T) {
	s := startShard(t, t.TempDir())
	c := dial(t, s)
	for range 5 {
		var calls []*rpc.Call
		for range 70 { // more than there are slots
			calls = append(calls, c.call(rpc.MsgLock, nil, nil, c.memory(8)))
		}
		c.tr.Run(time.Now().Add(30*time.Millisecond), calls)
		for _, call := range calls {
			if late := new(rpc.Timeout); !errors.As(call.Err, &late) {
				t.Fatalf("%v", call.Err)
			}
		}
		c.roundTrip()
		s.echo.answerLate(c)
		for range 100 {
			c.roundTrip()
		}
	}
}

// answerLate has the requests answered that were left without, on the shard's thread.
func (e *echo) answerLate(c *client) {
	call := c.call(rpc.MsgBye, nil, nil, nil)
	c.tr.Run(soon(), []*rpc.Call{call})
	if call.Err != nil {
		c.t.Error(call.Err)
	}
}

// A Close from another thread ends a call that waits.
func TestCloseUnderACall(t *testing.T) {
	s := startShard(t, t.TempDir())
	c := dial(t, s)
	var wg sync.WaitGroup
	wg.Go(func() {
		call := c.call(rpc.MsgLock, nil, nil, nil)
		c.tr.Run(soon(), []*rpc.Call{call})
		if gone := new(rpc.ConnectionError); !errors.As(call.Err, &gone) {
			t.Errorf("%v", call.Err)
		}
	})
	until(t, "the request arrives", func() bool { s.echo.mu.Lock(); defer s.echo.mu.Unlock(); return len(s.echo.silent) == 1 })
	if err := c.link.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	call := c.call(rpc.MsgEcho, nil, nil, nil)
	c.tr.Run(soon(), []*rpc.Call{call})
	if call.Err == nil {
		t.Error("a call on a closed link")
	}
	until(t, "the shard hears of it", func() bool { return s.echo.left() == 1 })
}

// A payload longer than the room for it fails the call and writes nothing.
func TestReplyLongerThanItsRoom(t *testing.T) {
	c := dial(t, startShard(t, t.TempDir()))
	in := c.memory(200)
	m := rpc.ReadChunk{Length: 150}
	call := c.call(rpc.MsgReadChunk, m.AppendTo(nil), nil, in[:100])
	c.tr.Run(soon(), []*rpc.Call{call})
	if call.Err == nil || !bytes.Equal(in, make([]byte, 200)) {
		t.Errorf("%v, %q", call.Err, in)
	}
	c.roundTrip()
}
