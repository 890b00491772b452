package inproc

import (
	"encoding/binary"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/benchfs/benchfs/rpc"
)

// watcher sleeps until a service that waits for something beside calls (rpc.Poller) has something to do, and becomes the shard for that
// long. Whoever leaves the shard polls too, so that what was started goes on its way at once.
type watcher struct {
	poller rpc.Poller
	stop   int // an eventfd; −1: there was none to be had
	ended  sync.WaitGroup
}

// stopMillis is how often a watcher without an eventfd looks whether it is to end.
const stopMillis = 50

// watch begins if the service is a Poller.
func (s *shard) watch() {
	p, ok := s.svc.(rpc.Poller)
	if !ok || p.EventFD() < 0 {
		return
	}
	stop, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		stop = -1
	}
	w := &watcher{poller: p, stop: stop}
	w.ended.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watcher = w
	go s.pollEvents(w)
}

func (s *shard) pollEvents(w *watcher) {
	defer w.ended.Done()
	timeout := -1
	if w.stop < 0 {
		timeout = stopMillis
	}
	fds := []unix.PollFd{{Fd: int32(w.poller.EventFD()), Events: unix.POLLIN}, {Fd: int32(w.stop), Events: unix.POLLIN}}
	for !s.dead.Load() {
		if _, err := unix.Poll(fds, timeout); err != nil && err != unix.EINTR && err != unix.EAGAIN {
			return
		}
		s.mu.Lock()
		s.unlock()
	}
}

// end stops a watcher of a dead shard and waits until it has ended.
func (w *watcher) end() {
	if w.stop >= 0 {
		_, _ = unix.Write(w.stop, binary.NativeEndian.AppendUint64(nil, 1)) // eight bytes into an empty eventfd
	}
	w.ended.Wait()
	if w.stop >= 0 {
		_ = unix.Close(w.stop)
	}
}
