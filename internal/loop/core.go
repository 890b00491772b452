package loop

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A shard and the client that it answers, each asleep while the other one runs, stay on one core for as long as they like, beside idle ones: to Linux, who
// wakes a thread and seems about to sleep is a sign that the thread is to run here. So a shard that finds its clients on its own core again and
// again goes to another one while some are idle, and lets Linux place it from there on. Threads of applications are left where they are.
const (
	sharedMost = 16                    // answers in a row to clients on the shard's core, before it moves
	movesFirst = time.Millisecond      // no move so soon after another; twice as long each time that it did not help…
	movesMost  = 64 * time.Millisecond // …up to so long
)

// cores is the shard's knowledge of whom it shares its core with.
type cores struct {
	shared int       // answers in a row to clients on this core
	next   time.Time // no move before
	pause  time.Duration
	moves  uint64
}

// apart notes an answer to a client on another core.
func (c *cores) apart() { c.shared = 0 }

// together notes an answer to a client on this core.
func (c *cores) together() {
	if c.shared++; c.shared < sharedMost {
		return
	}
	c.shared = 0
	now := time.Now()
	switch {
	case now.Before(c.next):
		return
	case now.Sub(c.next) > movesMost: // the last move has lasted
		c.pause = movesFirst
	default:
		c.pause = min(2*c.pause, movesMost)
	}
	c.next = now.Add(c.pause)
	if idleCore() && moveOn() {
		c.moves++
	}
}

// idleCore reports whether some core has nothing to do: fewer threads want to run than there are cores (proc(5), loadavg).
func idleCore() bool {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return false
	}
	fields := strings.Fields(string(text))
	if len(fields) < 4 {
		return false
	}
	running, _, _ := strings.Cut(fields[3], "/")
	n, err := strconv.Atoi(running)
	return err == nil && n < runtime.NumCPU()
}

// moveOn has the calling thread go on on another core, if it may run on any.
func moveOn() bool {
	var allowed unix.CPUSet
	here, err := currentCore()
	if err != nil || unix.SchedGetaffinity(0, &allowed) != nil || allowed.Count() < 2 || !allowed.IsSet(here) {
		return false
	}
	others := allowed
	others.Clear(here)
	if unix.SchedSetaffinity(0, &others) != nil {
		return false
	}
	_ = unix.SchedSetaffinity(0, &allowed) // it was so before
	return true
}

func currentCore() (int, error) {
	var core uint32
	_, _, errno := unix.RawSyscall(unix.SYS_GETCPU, uintptr(unsafe.Pointer(&core)), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(core), nil
}
