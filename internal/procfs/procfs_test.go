package procfs

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// mainLeaves makes the test binary a process whose main thread has ended, while another goes on until its standard input ends.
const mainLeaves = "BENCHFS_TEST_MAIN_LEAVES"

func init() {
	if os.Getenv(mainLeaves) == "" {
		return
	}
	runtime.LockOSThread() // init runs on the main thread
	reading := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		close(reading)
		_, _ = syscall.Read(0, make([]byte, 1))
		os.Exit(0)
	}()
	<-reading
	_, _, _ = syscall.RawSyscall(syscall.SYS_EXIT, 0, 0, 0) // ends this thread only
}

// state is that of /proc/PID/stat.
func state(stat string) string {
	return strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])[0]
}

// watch watches a process until the end of the test.
func watch(t *testing.T, pid uint32) *Process {
	t.Helper()
	p, err := Watch(pid, StartTime(pid))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Unwatch)
	return p
}

func awaitDeath(t *testing.T, p *Process) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !p.Dead(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a process that has ended is still alive")
		}
	}
}

func TestProcess(t *testing.T) {
	self := uint32(os.Getpid())
	if p := watch(t, self); p.Dead() || !p.Is(self, StartTime(self)) || p.Is(self, 1) {
		t.Fatal("this process is not alive, or another one")
	}
	if _, err := Watch(self, StartTime(self)+1); !errors.Is(err, syscall.ESRCH) {
		t.Fatalf("a process of this number that began later: %v", err)
	}
	// The name of a program may hold what separates the fields.
	odd := t.TempDir() + "/a) Z 1 (b"
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
	start := StartTime(pid)
	p := watch(t, pid)
	if p.Dead() || watch(t, pid) != p {
		t.Error("the child is dead, or watched through two descriptors")
	}
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	awaitDeath(t, p) // it is a zombie until Wait
	_ = c.Wait()
	if !p.Dead() || StartTime(pid) != 0 {
		t.Error("a process that is gone is alive")
	}
	if _, err := Watch(pid, start+1); !errors.Is(err, syscall.ESRCH) {
		t.Error("watched a process that is gone", err)
	}
	if _, err := ReadFile("/proc/self/nothing"); !errors.Is(err, syscall.ENOENT) {
		t.Fatal(err)
	}
}

// A process whose main thread has ended, and shows as a zombie, lives as long as another thread does.
func TestProcessWithoutItsMainThread(t *testing.T) {
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), mainLeaves+"=1")
	in, err := c.StdinPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	pid := uint32(c.Process.Pid)
	p := watch(t, pid)
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		text, err := ReadFile("/proc/" + strconv.Itoa(int(pid)) + "/stat")
		if err != nil || time.Now().After(end) {
			t.Fatal("its main thread has not ended", text, err)
		}
		if state(text) == "Z" {
			break
		}
	}
	if p.Dead() {
		t.Error("dead, while a thread goes on")
	}
	late := watch(t, pid)
	if late.Dead() {
		t.Error("dead for those who come later")
	}
	_ = in.Close()
	awaitDeath(t, p)
	_ = c.Wait()
}
