package procfs

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

func TestProcess(t *testing.T) {
	self := uint32(os.Getpid())
	start := StartTime(self)
	if start == 0 || !Runs(self, start) || !Runs(self, 0) || Runs(self, start+1) {
		t.Fatalf("this process began at %d", start)
	}
	// The name of a program may hold what separates the fields.
	dir := t.TempDir()
	odd := dir + "/a) Z 1 (b"
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(sleep, odd); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(odd, "1000")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	pid := uint32(c.Process.Pid)
	start = StartTime(pid)
	if start == 0 || !Runs(pid, start) {
		t.Fatalf("the child began at %d", start)
	}
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); Runs(pid, start); time.Sleep(time.Millisecond) { // a zombie until Wait
		if time.Now().After(end) {
			t.Fatal("a process that has ended still runs")
		}
	}
	_ = c.Wait()
	if Runs(pid, start) || StartTime(pid) != 0 {
		t.Fatal("a process that is gone still runs")
	}
	if _, err := ReadFile("/proc/self/nothing"); !errors.Is(err, syscall.ENOENT) {
		t.Fatal(err)
	}
}
