package storetest

import (
	"errors"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/store"
)

// RunDevice is the model with many operations in flight, on a store that open makes. The medium may fail, with EIO, while failing is set.
func RunDevice(t *testing.T, open Open, failing *bool) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	steps := 60_000
	if testing.Short() {
		steps = 4000
	}
	m := NewModel(t, open(t, 640<<10), seed)
	m.device = m.s.(store.Device)
	for i := range steps {
		m.Step()
		if i%7 == 0 {
			*failing = true
			m.poll()
			*failing = false
		}
		if i%1000 == 999 {
			m.Check()
		}
	}
	if m.full == 0 && !testing.Short() {
		t.Error("the store was never full: the test lacks its point")
	}
	m.Finish()
}

// start begins to commit a Write.
func (m *Model) start(w *modelWrite) {
	w.started = true
	if done, err := m.device.StartCommit(w.w, w); done {
		m.ended(w, err)
	}
}

// started is the tag of a View.
type startedView struct{ ino uint64 }

func (m *Model) startView(ino, chunk uint64, off, n uint32) {
	v, done, err := m.device.StartView(ino, chunk, off, n, m.gen(ino), &startedView{ino})
	switch {
	case errors.Is(err, store.ErrNoBuffers):
		m.release()
	case err != nil:
		m.t.Fatalf("view: %v", err)
	case done:
		m.views = append(m.views, modelView{v, ino})
	default:
		m.reading++
	}
}

// poll notes what has ended.
func (m *Model) poll() {
	m.device.Poll()
	for {
		e, ok := m.device.Next()
		if !ok {
			return
		}
		switch tag := e.Tag.(type) {
		case *modelWrite:
			m.ended(tag, e.Err)
		case *startedView:
			if m.reading--; fserr.Errno(e.Err) == syscall.EIO {
				continue
			} else if e.Err != nil {
				m.t.Fatalf("view: %v", e.Err)
			}
			m.ownBytes(tag.ino, e.View.Data, nil)
			m.views = append(m.views, modelView{e.View, tag.ino})
		}
	}
}

func (m *Model) inFlight() bool {
	return m.reading > 0 || slices.ContainsFunc(m.writes, func(w *modelWrite) bool { return w.started })
}

// quiesce waits until nothing is in flight. It is true, so that it can stand in a condition.
func (m *Model) quiesce() bool {
	for m.device != nil && m.inFlight() {
		m.poll()
		if m.inFlight() && !WaitDevice(m.device) {
			m.t.Fatal("operations are in flight, and nothing ends")
		}
	}
	return true
}

// WaitDevice sleeps until a device has something to poll for; false: nothing within ten seconds.
func WaitDevice(d store.Device) bool {
	fds := []unix.PollFd{{Fd: int32(d.EventFD()), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, 10_000)
		if err != unix.EINTR {
			return n > 0 || fserr.Errno(err) == syscall.EAGAIN
		}
	}
}
