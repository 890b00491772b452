package shm_test

import (
	"os"
	"os/exec"
	"testing"

	"github.com/benchfs/benchfs/internal/procfs"
	"github.com/benchfs/benchfs/shm"
	"github.com/benchfs/benchfs/shm/shmtest"
)

// areaOwner makes the test binary a process that has an area and does nothing.
const areaOwner = "BENCHFS_TEST_AREA_OWNER"

func init() {
	if os.Getenv(areaOwner) != "" {
		_, _ = os.Stdin.Read(make([]byte, 1)) // until it is killed
		os.Exit(0)
	}
}

// owner starts such a process, and returns how to end it.
func owner(t *testing.T) (pid uint32, kill func()) {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), areaOwner+"=1")
	in, err := c.StdinPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	ended := false
	kill = func() {
		if !ended {
			ended = true
			_ = c.Process.Kill()
			_ = c.Wait()
			_ = in.Close()
		}
	}
	t.Cleanup(kill)
	return uint32(c.Process.Pid), kill
}

// An area is its client's for as long as the process lives, over restarts of the daemon, and goes with it.
func TestAreasGoWithTheirProcess(t *testing.T) {
	dir := t.TempDir()
	create := func() *shm.Board {
		b, err := shm.Create(dir, incarnation)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	b := create()
	pid, kill := owner(t)
	start := procfs.StartTime(pid)
	path, err := b.Area(9, pid, start)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := b.Area(9, pid, start); err != nil || again != path {
		t.Errorf("the same client's area is %s and %s, %v", path, again, err)
	}
	if _, err := b.Area(9, uint32(os.Getpid()), procfs.StartTime(uint32(os.Getpid()))); err == nil {
		t.Error("another process was given the area")
	}
	if _, err := b.Area(10, pid, start+1); err == nil {
		t.Error("an area for a process that is not there")
	}
	area := shmtest.Open(t, path)
	area.Announce(t, shmtest.Run(5, 1))
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	next := create()
	next.Reap()
	if got := announced(next); len(got) != 1 || got[0] != 5 {
		t.Errorf("%v is announced after a restart, want page 5", got)
	}
	next.Leave(9) // it has said good-bye, and a thread is still at work
	if len(announced(next)) != 1 {
		t.Error("the area of a client that announces a run is gone")
	}
	kill()
	next.Reap()
	if _, err := os.Stat(path); err == nil || len(announced(next)) != 0 {
		t.Error("the area of a dead process is still there", err)
	}
	pid, kill = owner(t)
	if path, err = next.Area(11, pid, procfs.StartTime(pid)); err != nil {
		t.Fatal(err)
	}
	kill()
	if err := next.Close(); err != nil {
		t.Fatal(err)
	}
	last := board(t, dir) // finds it dead at its start
	if _, err := os.Stat(path); err == nil {
		t.Error("the area of a dead process has outlived a restart")
	}
	mine := shmtest.AreaOf(t, last, 12)
	last.Leave(12)
	if _, err := os.Stat(mine); err == nil {
		t.Error("the area of a client that has left is still there")
	}
}
