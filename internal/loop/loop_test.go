package loop

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/benchfs/benchfs/rpc"
)

// source is one whose work comes by a word and the loop's wake descriptor, as that of shm.Server.
type source struct {
	work, served atomic.Int64
	asleep       atomic.Bool
	armed        atomic.Int64
	crowded      bool
	flushed      int
}

func (s *source) Poll(int) bool {
	n := s.work.Swap(0)
	s.served.Add(n)
	return n > 0
}

func (s *source) Arm() bool {
	s.asleep.Store(true)
	s.armed.Add(1)
	return s.work.Load() == 0
}
func (s *source) Disarm()       { s.asleep.Store(false) }
func (s *source) FD() int       { return -1 }
func (s *source) Flush()        { s.flushed++ }
func (s *source) Crowded() bool { return s.crowded }

// ask gives the source work, as a client does.
func (s *source) ask(l *Loop) {
	s.work.Add(1)
	if s.asleep.Load() {
		_, _ = unix.Write(l.Wake(), []byte{1, 0, 0, 0, 0, 0, 0, 0})
	}
}

type service struct{ rpc.Service }

func start(t *testing.T, s *source) *Loop {
	t.Helper()
	l, err := New()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { l.Run(service{}, s); close(done) }()
	t.Cleanup(func() {
		l.Stop()
		<-done
		if l.Submit(func() {}) {
			t.Error("a loop that has ended takes what is submitted")
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func until(t *testing.T, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(100 * time.Microsecond) {
		if time.Now().After(end) {
			t.Fatal("waited in vain")
		}
	}
}

// No request and no function is left waiting beside a loop that sleeps, whenever they come.
func TestNothingIsLeftWaiting(t *testing.T) {
	for _, crowded := range []bool{false, true} {
		s := &source{crowded: crowded}
		l := start(t, s)
		for i := range int64(500) {
			if i%50 == 0 {
				asleep := l.Sleeps()
				until(t, func() bool { return s.asleep.Load() || l.Sleeps() > asleep })
			}
			s.ask(l)
			until(t, func() bool { return s.served.Load() == i+1 })
			done := make(chan struct{})
			if !l.Submit(func() { close(done) }) {
				t.Fatal("not taken")
			}
			<-done
		}
		if l.Sleeps() == 0 {
			t.Error("an idle loop never slept")
		}
	}
}

func TestSubmittedRunsInOrder(t *testing.T) {
	l := start(t, &source{})
	var ran []int
	done := make(chan struct{})
	for i := range 100 {
		l.Submit(func() { ran = append(ran, i) })
	}
	l.Submit(func() { close(done) })
	<-done
	for i, n := range ran {
		if i != n {
			t.Fatalf("function %d ran as number %d", n, i)
		}
	}
	if len(ran) != 100 {
		t.Errorf("%d ran", len(ran))
	}
}

// A move to another core leaves the thread free to run on all that it might before.
func TestMoveOn(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, after unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		t.Fatal(err)
	}
	moved := moveOn()
	if err := unix.SchedGetaffinity(0, &after); err != nil {
		t.Fatal(err)
	}
	if moved != (before.Count() > 1) || before != after {
		t.Errorf("moved: %v, of %d cores", moved, before.Count())
	}
}
