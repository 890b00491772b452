package ucx

import (
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// affinities are the masks of a process's threads.
func affinities(t *testing.T, pid int) map[int]unix.CPUSet {
	t.Helper()
	tasks, err := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "task", "*"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[int]unix.CPUSet{}
	for _, task := range tasks {
		tid, _ := strconv.Atoi(filepath.Base(task))
		var set unix.CPUSet
		if unix.SchedGetaffinity(tid, &set) == nil { // one that has ended by now has none
			all[tid] = set
		}
	}
	return all
}

func pin(t *testing.T, pid int, set unix.CPUSet) {
	t.Helper()
	for tid := range affinities(t, pid) {
		if err := unix.SchedSetaffinity(tid, &set); err != nil && err != unix.ESRCH {
			t.Fatal(err)
		}
	}
}

// A shard that has to share its core with who waits for it goes to an idle one, and may still use all that it was given.
func TestSharedCoreIsLeft(t *testing.T) {
	runtime.LockOSThread() // not unlocked: the thread is pinned, and ends with the test
	var given, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &given); err != nil {
		t.Fatal(err)
	}
	if given.Count() < 2 {
		t.Skip("one core only")
	}
	for cpu := 0; one.Count() == 0; cpu++ {
		if given.IsSet(cpu) {
			one.Set(cpu)
		}
	}
	s := startServer(t)
	c := connect(t, newTransport(t, Config{}), s.target())
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		t.Fatal(err)
	}
	talk := func(d time.Duration) {
		for end := time.Now().Add(d); time.Now().Before(end); {
			if _, _, err := c.do(soon, msgEcho, nil, nil, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 40 {
		pin(t, s.cmd.Process.Pid, one)
		talk(20 * time.Millisecond) // both notice that they share the core
		pin(t, s.cmd.Process.Pid, given)
		talk(10 * time.Millisecond)
		if s.stats()["core"] == 0 {
			continue
		}
		for tid, set := range affinities(t, s.cmd.Process.Pid) {
			if set != given {
				t.Errorf("thread %d may use %v, and was given %v", tid, set, given)
			}
		}
		return
	}
	t.Skip("no core was idle, or Linux was faster each time")
}
