package fault_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/benchfs/benchfs/internal/cluster"
	"github.com/benchfs/benchfs/tests/agent"
)

// torn starts src/torn.c.
func torn(t *testing.T, c *cluster.Cluster, args ...string) *exec.Cmd {
	t.Helper()
	lib, program := filepath.Join(agent.Root(), "lib"), filepath.Join(t.TempDir(), "torn")
	gcc := exec.Command("gcc", "-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-I"+filepath.Join(agent.Root(), "include"), "-o", program,
		filepath.Join(agent.Root(), "tests", "fault", "src", "torn.c"), "-L"+lib, "-lbenchfs", "-Wl,-rpath,"+lib)
	if out, err := gcc.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.Command(program, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	for k, v := range env(c, byMessage) {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	cmd.Stderr = new(bytes.Buffer)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// writeOn makes other clients' calls, which must not wait for long for a neighbour that is in the middle of a message.
func writeOn(t *testing.T, a *agent.Agent, fd int, what string) {
	t.Helper()
	data := bytes.Repeat([]byte(what), 1000)
	for range 3 {
		begin := time.Now()
		if n, err := a.Pwrite(fd, data, 0); err != nil || n != len(data) {
			t.Fatalf("%s: wrote %d: %v", what, n, err)
		}
		got, err := a.Pread(fd, len(data), 0)
		if err != nil || !bytes.Equal(got, data) {
			t.Fatalf("%s: reads something else (%v)", what, err)
		}
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("%s: the daemon was deaf for %v", what, took)
		} else {
			t.Logf("%s: %v", what, took)
		}
	}
}

// Trap: the clients of a machine write into one queue of a daemon. One that dies in the middle of a message, or stands still there, must
// not cut off the others, nor those that come later; and one that stood still goes on as if nothing had been.
func TestClientInTheMiddleOfAMessage(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Nodes: 1})
	a := agent.MustStart(t, env(c, byMessage))
	fd, err := a.Open("/f", unix.O_CREAT|unix.O_RDWR, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	writeOn(t, a, fd, "before")

	dead := torn(t, c, "die", "/dead")
	_ = dead.Wait()
	if code := dead.ProcessState.ExitCode(); code == 0 || code == 1 {
		t.Fatalf("torn was to die: %v, %s", dead.ProcessState, dead.Stderr)
	}
	writeOn(t, a, fd, "after a death")

	still := torn(t, c, "stop", "/still")
	awaitStopped(t, still.Process.Pid)
	writeOn(t, a, fd, "beside one that stands still")
	late := agent.MustStart(t, env(c, byMessage))
	lateFD, err := late.Open("/late", unix.O_CREAT|unix.O_RDWR, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	writeOn(t, late, lateFD, "a new client")
	if err := still.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := still.Wait(); err != nil {
		t.Fatalf("the one that stood still: %v: %s", err, still.Stderr)
	}
	if got := get(t, late, "/still"); !bytes.Equal(got, bytes.Repeat([]byte("t"), 4096)) {
		t.Errorf("the one that stood still has written something else: %d bytes", len(got))
	}
	for _, x := range []struct {
		a  *agent.Agent
		fd int
	}{{a, fd}, {late, lateFD}} {
		if err := x.a.Close(x.fd); err != nil {
			t.Error(err)
		}
	}
}
