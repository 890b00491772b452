package ucx

import (
	"syscall"
	"testing"
	"time"
)

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
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(s.cmd.Process.Pid, &status, syscall.WUNTRACED, nil); err != nil || !status.Stopped() {
		t.Fatalf("the server does not stop: %v, %v", status, err)
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
