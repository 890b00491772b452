// Package loop is the thread of a shard: it polls the shard's transports, runs what was submitted, and sleeps when there is nothing to do.
//
// What does not belong here: how messages travel (shm, ucx), what they mean (core/server).
package loop

import (
	"encoding/binary"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/benchfs/benchfs/rpc"
)

// Source is a transport's server side. All methods are called on the loop's thread.
type Source interface {
	// Poll serves what has come, and looks for it up to polls times; busy: there was something.
	Poll(polls int) (busy bool)
	// Arm is called before the loop sleeps: from then on, what comes makes FD readable, or is written to the loop's wake descriptor. false: something
	// has come already. Disarm follows when the loop does not sleep any more.
	Arm() bool
	Disarm()
	// FD is a descriptor to sleep on, or −1.
	FD() int
	// Flush sends answers that were held back.
	Flush()
	// Crowded reports whether somebody that waits for this source needs the core of the loop's thread.
	Crowded() bool
}

// How long the loop polls with nothing to do before it sleeps: a client that waits for answers one after the other comes back sooner than a sleeper
// can be woken. It does so only where nobody else needs its core.
const (
	pollsAtOnce = 100
	pollFor     = 50 * time.Microsecond
	lostAtMost  = 20 * time.Microsecond // of its core, while it polls
	// After it lost more it sleeps at once, for so long the first time, and twice as long each time that it is still so.
	crowdedFor  = 500 * time.Microsecond
	crowdedMost = 64 * time.Millisecond
)

// Loop implements rpc.Loop.
type Loop struct {
	sources []Source
	poller  rpc.Poller // the service, where it waits for more than messages
	wake    int        // eventfd
	asleep  atomic.Bool
	sleeps  atomic.Uint64

	crowdedUntil time.Time // others need the core
	crowdedFor   time.Duration
	cores        cores

	mu       sync.Mutex // guards what follows
	queue    []func()
	stopping bool
	running  bool
	ended    bool
	queued   atomic.Bool // the queue is not empty; written under mu
}

// New makes a loop; Wake is its wake descriptor from then on.
func New() (*Loop, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, err
	}
	return &Loop{wake: fd, crowdedFor: crowdedFor}, nil
}

// Wake is a descriptor that ends the loop's sleep when 1 is written to it (eventfd(2)).
func (l *Loop) Wake() int { return l.wake }

// Run serves on the calling goroutine until Stop. The first source is the one that a quick answer matters most to.
func (l *Loop) Run(service rpc.Service, sources ...Source) {
	l.mu.Lock()
	if l.running || l.ended {
		l.mu.Unlock()
		return
	}
	l.running = true
	l.mu.Unlock()
	l.sources = sources
	if p, ok := service.(rpc.Poller); ok && p.EventFD() >= 0 {
		l.poller = p
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for l.turn() {
	}
	l.Flush()
}

// turn serves until there has been nothing to do for a while, and then sleeps; false: the loop is to end.
func (l *Loop) turn() bool {
	var idle idleness
	for {
		if l.queued.Load() && !l.runSubmitted() {
			return false
		}
		busy := l.poll(pollsAtOnce)
		waits := l.poller != nil && l.poller.Poll()
		if busy || l.queued.Load() {
			idle.since = time.Time{}
			if !l.crowded() {
				l.cores.apart()
				continue
			}
			l.cores.together()
		} else if l.stays(&idle) {
			continue
		}
		l.sleep(waits)
		return true
	}
}

// idleness is a time with nothing to do.
type idleness struct {
	since time.Time
	ran   time.Duration // of the thread, until then
}

// stays reports whether it is worth polling on. A thread that loses its core while it polls has others beside it who need the core.
func (l *Loop) stays(idle *idleness) bool {
	now := time.Now()
	if idle.since.IsZero() {
		*idle = idleness{now, threadTime()}
		return !now.Before(l.crowdedUntil)
	}
	took := now.Sub(idle.since)
	if took < pollFor {
		return true
	}
	if took-(threadTime()-idle.ran) <= lostAtMost {
		l.crowdedFor = crowdedFor
		return false
	}
	l.crowdedUntil = now.Add(l.crowdedFor)
	l.crowdedFor = min(2*l.crowdedFor, crowdedMost)
	return false
}

// threadTime is how long the calling thread has run.
func threadTime() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t) // it cannot fail
	return time.Duration(t.Nano())
}

// crowded reports whether somebody that was served needs the core.
func (l *Loop) crowded() bool {
	for _, s := range l.sources {
		if s.Crowded() {
			return true
		}
	}
	return false
}

// poll looks at all sources: at the first one so many times, at each of the others once.
func (l *Loop) poll(polls int) (busy bool) {
	for _, s := range l.sources {
		if s.Poll(polls) {
			s.Flush()
			busy = true
		}
		polls = 1
	}
	return busy
}

// sleep waits until one of the descriptors is readable. waits: the service's own is one of them.
func (l *Loop) sleep(waits bool) {
	l.asleep.Store(true)
	idle := !l.queued.Load()
	armed := 0
	for ; idle && armed < len(l.sources); armed++ {
		idle = l.sources[armed].Arm()
	}
	if idle {
		l.sleeps.Add(1)
		var fds [8]unix.PollFd
		list := append(fds[:0], unix.PollFd{Fd: int32(l.wake), Events: unix.POLLIN})
		for _, s := range l.sources {
			if fd := s.FD(); fd >= 0 {
				list = append(list, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
			}
		}
		if waits {
			list = append(list, unix.PollFd{Fd: int32(l.poller.EventFD()), Events: unix.POLLIN})
		}
		_, _ = unix.Poll(list, -1) // a signal only makes it look earlier
	}
	for _, s := range l.sources[:armed] {
		s.Disarm()
	}
	l.asleep.Store(false)
	var count [8]byte
	_, _ = unix.Read(l.wake, count[:])
}

// runSubmitted is false when the loop is to end: it was stopped, and all that was submitted before has been run.
func (l *Loop) runSubmitted() bool {
	for {
		l.mu.Lock()
		queue := l.queue
		l.queue = nil
		l.queued.Store(false)
		if len(queue) == 0 {
			l.ended = l.stopping
			ended := l.ended
			l.mu.Unlock()
			return !ended
		}
		l.mu.Unlock()
		for _, fn := range queue {
			fn()
		}
	}
}

// Submit implements rpc.Loop.
func (l *Loop) Submit(fn func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return false
	}
	l.queue = append(l.queue, fn)
	l.wakeLocked()
	return true
}

// wakeLocked has the loop look at the queue.
func (l *Loop) wakeLocked() {
	l.queued.Store(true)
	if l.asleep.Load() {
		var one [8]byte
		binary.NativeEndian.PutUint64(one[:], 1)
		_, _ = unix.Write(l.wake, one[:]) // it fails only when the loop is awake anyway
	}
}

// Flush implements rpc.Loop.
func (l *Loop) Flush() {
	for _, s := range l.sources {
		s.Flush()
	}
}

// Stop makes Run return soon; it does not wait for it.
func (l *Loop) Stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopping = true
	if !l.ended {
		l.wakeLocked()
	}
}

// Close frees the wake descriptor. Run has returned, or was never called.
func (l *Loop) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	if l.wake < 0 {
		return nil
	}
	err := unix.Close(l.wake)
	l.wake = -1
	return err
}

// Sleeps is how often the loop has slept. It may be called from any goroutine.
func (l *Loop) Sleeps() uint64 { return l.sleeps.Load() }
