// Package alarm wakes goroutines at a deadline without Go's timers.
//
// The first Go timer of a process starts Go's network poller, whose descriptor a host program may close unknowingly, and then
// the process dies (the library lives in somebody else's process). So whoever waits with a deadline sets an Alarm instead: one
// goroutine, which exists only while alarms are set, waits for the earliest in futex(2) and fires them. Nothing here is for the
// path of an operation that finds what it needs: only for those that wait.
//
// Lock order: mu is a leaf.
package alarm

import (
	"container/heap"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// Alarm fires once by sending on C. It may be set again after Stop, or after it has fired and C has been received from.
// Its methods are for one goroutine at a time.
type Alarm struct {
	C     chan struct{} // capacity 1
	at    time.Time
	index int // place in the heap plus one; 0 = not in it. Guarded by mu
}

// New returns an alarm that is not set.
func New() *Alarm { return &Alarm{C: make(chan struct{}, 1)} }

var (
	mu      sync.Mutex
	pending queue  // guarded by mu
	running bool   // guarded by mu: the goroutine exists
	changed uint32 // the futex: counts changes of the earliest alarm; written under mu
)

// Set arms the alarm for at. A zero at is never.
func (a *Alarm) Set(at time.Time) {
	if at.IsZero() {
		return
	}
	mu.Lock()
	defer mu.Unlock()
	a.at = at
	heap.Push(&pending, a)
	if !running {
		running = true
		go run()
		return
	}
	if a.index == 1 { // earlier than what the goroutine waits for
		wakeLocked()
	}
}

// Stop disarms the alarm and empties C.
func (a *Alarm) Stop() {
	mu.Lock()
	if a.index != 0 {
		heap.Remove(&pending, a.index-1)
		if len(pending) == 0 {
			wakeLocked() // nothing left: the goroutine and its thread need not stay for hours
		}
	}
	mu.Unlock()
	select {
	case <-a.C:
	default:
	}
}

// linger is how long the goroutine outlives the last alarm: alarms set and stopped in quick succession share it.
const linger = 50 * time.Millisecond

func run() {
	idle := false
	for {
		mu.Lock()
		now := time.Now()
		for len(pending) > 0 && !pending[0].at.After(now) {
			a := heap.Pop(&pending).(*Alarm)
			a.C <- struct{}{} // capacity 1 and armed once: never blocks
		}
		wait := linger
		if len(pending) > 0 {
			wait, idle = pending[0].at.Sub(now), false
		} else if idle {
			running = false
			mu.Unlock()
			return
		} else {
			idle = true
		}
		seen := changed
		mu.Unlock()
		futexWait(&changed, seen, wait)
	}
}

func wakeLocked() {
	changed++
	futexWake(&changed)
}

// The operations of futex(2), for waiters within one process.
const (
	futexWaitPrivate = 128
	futexWakePrivate = 129
)

// futexWait returns when the word is no longer seen, when it was woken, after d, or for no reason.
func futexWait(word *uint32, seen uint32, d time.Duration) {
	ts := syscall.NsecToTimespec(max(int64(d), 0))
	_, _, _ = syscall.Syscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(word)), futexWaitPrivate, uintptr(seen),
		uintptr(unsafe.Pointer(&ts)), 0, 0)
}

func futexWake(word *uint32) {
	_, _, _ = syscall.RawSyscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(word)), futexWakePrivate, 1, 0, 0, 0)
}

// queue is a heap of alarms, earliest first, that know their places.
type queue []*Alarm

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].at.Before(q[j].at) }

func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i+1, j+1
}

// Push implements heap.Interface.
func (q *queue) Push(x any) {
	a := x.(*Alarm)
	*q = append(*q, a)
	a.index = len(*q)
}

// Pop implements heap.Interface.
func (q *queue) Pop() any {
	last := len(*q) - 1
	a := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	a.index = 0
	return a
}
