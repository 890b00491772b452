// Package agent runs a C program that makes BenchFS calls for a test: a real process, over the real C ABI. src/agent.c is its source and
// defines the protocol. One Agent makes one call at a time.
package agent

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
)

// The calls, as in src/agent.c.
const (
	callOpen = 1 + iota
	callClose
	callDup
	callRead
	callWrite
	callPread
	callPwrite
	callReadv
	callWritev
	callLseek
	callFsync
	callFtruncate
	callTruncate
	callFallocate
	callStat
	callLstat
	callFstat
	callAccess
	callChmod
	callFchmod
	callChown
	callUtimens
	callMkdir
	callRmdir
	callUnlink
	callRename
	callLink
	callSymlink
	callReadlink
	callOpendir
	callReaddir
	callSeekdir
	callClosedir
	callOpenat
	callMkdirat
	callUnlinkat
	callRenameat
	callFstatat
	callStatfs
	callLastError
	callStats
	callSync
	callSetStrategy
	callLocate
	callLock
	callSession
	callHandleAlarm
)

// Root is the repository's root directory.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(filepath.Dir(filepath.Dir(file)))
}

// build is one way in which the agent is compiled.
type build struct {
	sources []string
	linked  bool // to libbenchfs

	once sync.Once
	path string
	err  error
}

var (
	onLibrary = build{sources: []string{"agent.c"}, linked: true}
	onLibc    = build{sources: []string{"agent.c", "posix_backend.c"}}
)

// Program compiles the agent, once a process.
func Program() (string, error) { return onLibrary.program() }

func (b *build) program() (string, error) {
	b.once.Do(func() {
		lib := filepath.Join(Root(), "lib")
		if _, err := os.Stat(filepath.Join(lib, "libbenchfs.so.0")); err != nil {
			b.err = fmt.Errorf("no library to test: run `make build` first: %w", err)
			return
		}
		dir, err := os.MkdirTemp("", "benchfs-agent-")
		if err != nil {
			b.err = err
			return
		}
		b.path = filepath.Join(dir, "agent")
		args := []string{"-std=c11", "-D_GNU_SOURCE", "-O1", "-Wall", "-Wextra", "-Werror", "-I" + filepath.Join(Root(), "include"), "-o", b.path}
		for _, source := range b.sources {
			args = append(args, filepath.Join(Root(), "tests", "agent", "src", source))
		}
		if b.linked {
			args = append(args, "-L"+lib, "-lbenchfs", "-Wl,-rpath,"+lib)
		}
		if out, err := exec.Command("gcc", args...).CombinedOutput(); err != nil {
			b.err = fmt.Errorf("agent does not compile: %w\n%s", err, out)
		}
	})
	return b.path, b.err
}

// CleanUp removes what Program has made; for TestMain.
func CleanUp() {
	for _, b := range []*build{&onLibrary, &onLibc} {
		if b.path != "" {
			_ = os.RemoveAll(filepath.Dir(b.path))
		}
	}
}

// Agent is a running agent.
type Agent struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	stderr bytes.Buffer
	buf    []byte
}

// Start runs an agent with the given settings (configuration key → value, as environment) and no other configuration.
func Start(env map[string]string) (*Agent, error) { return onLibrary.start(env) }

func (b *build) start(env map[string]string) (*Agent, error) {
	program, err := b.program()
	if err != nil {
		return nil, err
	}
	a := &Agent{cmd: exec.Command(program)}
	a.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}
	for k, v := range env {
		a.cmd.Env = append(a.cmd.Env, k+"="+v)
	}
	a.cmd.Stderr = &a.stderr
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if a.in, err = a.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := a.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	a.out = bufio.NewReaderSize(out, 64<<10)
	return a, a.cmd.Start()
}

// MustStart is Start for a test, which ends the agent and checks that it has left nothing open.
func MustStart(t testing.TB, env map[string]string) *Agent {
	t.Helper()
	return onLibrary.mustStart(t, env)
}

// MustStartPreloaded starts an agent that makes libc's calls on paths under /benchfs, with the interposer before libc.
func MustStartPreloaded(t testing.TB, env map[string]string) *Agent {
	t.Helper()
	env = maps.Clone(env)
	env["LD_PRELOAD"] = filepath.Join(Root(), "lib", "libbenchfs_preload.so")
	return onLibc.mustStart(t, env)
}

func (b *build) mustStart(t testing.TB, env map[string]string) *Agent {
	t.Helper()
	a, err := b.start(env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Stop(); err != nil {
			t.Error(err)
		}
	})
	return a
}

// Stop ends the agent in order and returns what it complained about. After Kill it returns nil.
func (a *Agent) Stop() error {
	if a.cmd.ProcessState != nil {
		return nil
	}
	_ = a.in.Close()
	if err := a.cmd.Wait(); err != nil {
		return fmt.Errorf("agent: %w: %s", err, a.stderr.Bytes())
	}
	return nil
}

// Kill ends it by SIGKILL.
func (a *Agent) Kill() {
	_ = a.cmd.Process.Kill()
	_ = a.cmd.Wait()
}

// PID is the agent's process id.
func (a *Agent) PID() int { return a.cmd.Process.Pid }

// errBroken: the agent has died. It is not an errno, so that no test takes it for an answer.
var errBroken = errors.New("the agent process has ended")

// request builds a request in the agent's buffer.
func (a *Agent) request(call byte) *Agent {
	a.buf = append(a.buf[:0], 0, 0, 0, 0, call)
	return a
}

func (a *Agent) num(values ...int64) *Agent {
	for _, v := range values {
		a.buf = binary.LittleEndian.AppendUint64(a.buf, uint64(v))
	}
	return a
}

func (a *Agent) str(values ...string) *Agent {
	for _, v := range values {
		a.buf = binary.LittleEndian.AppendUint32(a.buf, uint32(len(v)))
		a.buf = append(a.buf, v...)
	}
	return a
}

func (a *Agent) data(p []byte) *Agent {
	a.buf = binary.LittleEndian.AppendUint32(a.buf, uint32(len(p)))
	a.buf = append(a.buf, p...)
	return a
}

// call sends the request and takes the answer. A negative result is returned as a syscall.Errno.
func (a *Agent) call() (int64, []byte, error) {
	binary.LittleEndian.PutUint32(a.buf, uint32(len(a.buf)-4))
	if _, err := a.in.Write(a.buf); err != nil {
		return 0, nil, fmt.Errorf("%w: %v: %s", errBroken, err, a.stderr.Bytes())
	}
	var head [12]byte
	if _, err := io.ReadFull(a.out, head[:]); err != nil {
		return 0, nil, fmt.Errorf("%w: %v: %s", errBroken, err, a.stderr.Bytes())
	}
	payload := make([]byte, binary.LittleEndian.Uint32(head[:])-8)
	if _, err := io.ReadFull(a.out, payload); err != nil {
		return 0, nil, fmt.Errorf("%w: %v", errBroken, err)
	}
	result := int64(binary.LittleEndian.Uint64(head[4:]))
	if result < 0 {
		return result, payload, syscall.Errno(-result)
	}
	return result, payload, nil
}

func (a *Agent) simple() error {
	_, _, err := a.call()
	return err
}
