package ucx

import (
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// tornChild dies in the middle of a message: the second page of what it sends cannot be read, so that the copy into the server's
// queue ends with SIGSEGV, after the place in the queue was taken and before it is marked as written.
func tornChild() {
	cl := childClient()
	page := os.Getpagesize()
	memory, err := syscall.Mmap(-1, 0, 2*page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		fatalChild(err)
	}
	if err := syscall.Mprotect(memory[page:], syscall.PROT_NONE); err != nil {
		fatalChild(err)
	}
	cl.do(soon, msgWrite, nil, memory[page/2:page/2+page], nil)
	fatalChild(fmt.Errorf("the message was sent"))
}

// dieTorn runs tornChild to its end, and checks that it ended as it should.
func dieTorn(t *testing.T, s *server, transports string) {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childEnv+"=torn", "GOTRACEBACK=none", "BENCHFS_UCX_TEST_WORKER="+hex.EncodeToString(s.target().Worker))
	if transports != "" {
		child.Env = append(child.Env, "UCX_TLS="+transports)
	}
	out, err := child.CombinedOutput()
	if child.ProcessState == nil || child.ProcessState.ExitCode() == 3 || child.ProcessState.Success() {
		t.Fatalf("the child was to die in its message: %v\n%s", err, out)
	}
}

// Trap: all clients of a host write into one queue. One that dies while it writes must not leave the server deaf for the others.
func TestClientDiesInItsMessage(t *testing.T) {
	// Each of UCX's transports over shared memory has a queue of its own, and the server would choose only one of them itself.
	for _, transports := range []string{"", "posix,self,tcp", "sysv,self,tcp"} {
		t.Run(transports, func(t *testing.T) { clientsDie(t, transports) })
	}
}

func clientsDie(t *testing.T, transports string) {
	s := startServer(t)
	near := connect(t, newTransport(t, Config{Transports: transports}), s.target())
	far := connect(t, newTransport(t, Config{Transports: "tcp"}), s.target())
	for i := range 3 {
		dieTorn(t, s, transports)
		begin := time.Now()
		_, _, err := near.do(soon, msgEcho, nil, nil, nil)
		t.Logf("the next call of another client: %v, after %v", err, time.Since(begin))
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("the server was deaf for %v", took)
		}
		if err == nil {
			t.Error("the queue was not stuck: the test is none")
		}
		if moves := s.stats()["moves"]; moves != int64(i+1) {
			t.Errorf("the server has moved %d times, want %d", moves, i+1)
		}
		if i == 0 { // whoever does not come through the queue keeps the connection, and is told
			out := far.memory(1 << 20)
			if _, _, err := far.do(soon, msgEcho, nil, out, out); err != nil {
				t.Errorf("a client over TCP: %v", err)
			}
			eventually(t, "the client over TCP is told", func() bool {
				far.link.(*Link).progress()
				return !far.link.Alive()
			})
			far.link.Close()
		}
		near = connect(t, near.tr, s.target())
		out := near.memory(1 << 20)
		if _, _, err := near.do(soon, msgEcho, nil, out, out); err != nil {
			t.Fatalf("after the move: %v", err)
		}
	}
	eventually(t, "what the dead have left is closed", func() bool {
		stats := s.stats()
		return stats["peers"] == 1 && stats["closed"] == stats["connections"]-1
	})
	before := s.stats()
	time.Sleep(100 * time.Millisecond)
	if used := time.Duration(s.stats()["cpu"] - before["cpu"]); used > 50*time.Millisecond {
		t.Errorf("the server does not come to rest: %v of CPU in 100 ms", used)
	}
}

// A server whose clients are only quiet, or busy, has no reason to look for another worker.
func TestQuietClientsAreNotSuspect(t *testing.T) {
	s := startServer(t)
	c := connect(t, newTransport(t, Config{}), s.target())
	for end := time.Now().Add(1500 * time.Millisecond); time.Now().Before(end); { // longer than from one look to the next
		if _, _, err := c.do(soon, msgEcho, nil, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(1500 * time.Millisecond)
	before := s.stats()
	if before["moves"] != 0 {
		t.Errorf("the server has moved %d times", before["moves"])
	}
	if _, _, err := c.do(soon, msgEcho, nil, nil, nil); err != nil {
		t.Error(err)
	}
}

// Trap: a client that dialled in vain while the server stood still must get whole answers when it goes on: UCX pairs endpoints by
// counting, and drops what comes by a wrong pair in more than one fragment.
func TestServerFrozen(t *testing.T) {
	s := startServer(t)
	tr := newTransport(t, Config{})
	c := connect(t, tr, s.target())
	out := c.memory(4 << 20)
	target := s.target()
	if err := s.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for _, payload := range [][]byte{nil, out} {
		if _, _, err := c.do(50*time.Millisecond, msgWrite, nil, payload, nil); err == nil {
			t.Fatal("a frozen server answers")
		}
	}
	for range 5 {
		if _, err := tryConnect(t, tr, target, 20*time.Millisecond); err == nil {
			t.Fatal("a frozen server says hello")
		}
	}
	if err := s.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	c = s.reach(tr)
	for _, n := range []int{0, 100, 4096, 20000, 32768, 65536, 1 << 20, 4 << 20} {
		if _, _, err := c.do(soon, msgWrite, nil, out[:n], nil); err != nil {
			t.Errorf("%d bytes written: %v", n, err)
		}
		if _, received, err := c.do(soon, msgRead, word(uint32(n), 5), nil, out); err != nil || received != n {
			t.Errorf("%d bytes read: %d, %v", n, received, err)
		}
	}
}
