package inproc

import (
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/benchfs/benchfs/rpc"
	"github.com/benchfs/benchfs/rpc/internal/rpctest"
)

// slowService answers echoes when its device, an eventfd, says so.
type slowService struct {
	*rpctest.Server
	fd      int
	waiting []*rpc.Request
	polls   atomic.Int64
}

func (s *slowService) EventFD() int { return s.fd }

func (s *slowService) Poll() bool {
	s.polls.Add(1)
	var count [8]byte
	if _, err := unix.Read(s.fd, count[:]); err == nil {
		for _, r := range s.waiting {
			r.Reply(rpc.StatusOK, 0, nil, nil)
		}
		s.waiting = nil
	}
	return len(s.waiting) > 0
}

// TestPoller: a service with events of its own is polled after each call and when its descriptor is readable, not otherwise,
// and not after Detach.
func TestPoller(t *testing.T) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	event := func() {
		if _, err := unix.Write(fd, []byte{1, 0, 0, 0, 0, 0, 0, 0}); err != nil {
			t.Error(err)
		}
	}
	n := NewNetwork()
	s := &slowService{Server: rpctest.New(here, 1), fd: fd}
	s.Handle = func(r *rpc.Request) bool {
		if r.Header.Type == rpc.MsgEcho {
			s.waiting = append(s.waiting, r)
			go event()
		}
		return r.Header.Type == rpc.MsgEcho
	}
	n.Attach(here, s)
	e := dial(t, n, here)
	if s.polls.Load() == 0 {
		t.Error("nobody polled after a call")
	}
	for range 100 {
		c := e.call(rpc.MsgEcho, nil, nil)
		e.run(c)
		if c.Err != nil {
			t.Fatal(c.Err)
		}
		e.tr.FreeCall(c)
	}
	n.Detach(here)
	before := s.polls.Load()
	event()
	time.Sleep(10 * time.Millisecond) // nothing to wait for: a poll that must not come
	if s.polls.Load() != before {
		t.Error("a detached service was polled")
	}
	if before > 1000 {
		t.Errorf("%d polls for 100 calls", before)
	}
}
