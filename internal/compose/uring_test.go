package compose_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/benchfs/benchfs/internal/compose"
	"github.com/benchfs/benchfs/store/uring"
)

func needURing(t testing.TB) {
	t.Helper()
	if err := uring.Available(); err != nil {
		t.Skip(err)
	}
}

// TestEmbeddedURing: the embedded file system waits for its disk, and finds everything again.
func TestEmbeddedURing(t *testing.T) {
	needURing(t)
	settings := map[string]string{"store.data_dir": filepath.Join(t.TempDir(), "data"), "store.backend": "uring", "store.capacity": "256MiB"}
	c, end := open(t, settings)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			roundTrip(t, c, "/f"+strconv.Itoa(i), 9<<20+i)
		}()
	}
	wg.Wait()
	shut(t, c, end)
	c, end = open(t, settings)
	for i := range 8 {
		if a, err := c.Stat(context.Background(), 0, "/f"+strconv.Itoa(i), true); err != nil || a.Size != uint64(9<<20+i+3) {
			t.Errorf("after reopening: %+v, %v", a, err)
		}
	}
	shut(t, c, end)
	settings["store.backend"] = "arena"
	_, _, err := compose.Open(context.Background(), load(t, false, settings), me)
	if !errors.Is(err, syscall.EINVAL) || !strings.Contains(err.Error(), `"uring"`) {
		t.Errorf("a directory of another backend: %v", err)
	}
}

// TestNoShortcutToURing: clients of the same machine find no memory to reach into, and everything goes by messages. The memory that
// a daemon needs for that is bounded.
func TestNoShortcutToURing(t *testing.T) {
	needURing(t)
	var log bytes.Buffer
	common, stats := startURing(t, slog.New(slog.NewTextHandler(&log, nil)))
	c, end := open(t, common)
	defer shut(t, c, end)
	const files, bytes = 24, 8 << 20
	memory, err := c.Alloc(bytes)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Free(memory)
	for i := range memory {
		memory[i] = byte(i * 31 >> 5)
	}
	most := make(chan uint64)
	stop := make(chan struct{})
	go func() { // the most that was in use at any look
		var seen uint64
		for {
			select {
			case <-stop:
				most <- seen
				return
			default:
				for _, s := range stats().Shards {
					seen = max(seen, s.Device.BuffersUsed)
				}
				time.Sleep(time.Millisecond)
			}
		}
	}()
	var wg sync.WaitGroup
	for i := range files {
		wg.Add(1)
		go func() {
			defer wg.Done()
			ctx := context.Background()
			f, err := c.Open(ctx, 0, fmt.Sprintf("/f%d", i), syscall.O_CREAT|syscall.O_RDWR, 0o644)
			if err != nil {
				t.Error(err)
				return
			}
			if n, err := f.Pwrite(ctx, memory[:bytes], 0); err != nil || n != bytes {
				t.Errorf("wrote %d: %v", n, err)
			}
			if err := f.Sync(ctx, true); err != nil {
				t.Error(err)
			}
			if err := f.Close(ctx); err != nil {
				t.Error(err)
			}
		}()
	}
	wg.Wait()
	close(stop)
	seen := <-most
	roundTrip(t, c, "/g", 1<<20)
	device := stats().Shards[0].Device
	if device.WrittenBytes < files*bytes || device.Syncs == 0 || device.Errors != 0 {
		t.Errorf("%+v", device)
	}
	if seen == 0 || seen > device.BufferBytes || device.BufferBytes != uring.MinBufferBytes {
		t.Errorf("%d bytes of buffers in use, of %d", seen, device.BufferBytes)
	}
	if device.BuffersUsed != 0 || device.InFlight != 0 {
		t.Errorf("in use by nobody: %+v", device)
	}
	if device.Direct == strings.Contains(log.String(), "page cache") {
		t.Errorf("direct is %v, and the log says: %s", device.Direct, log.String())
	}
}

// startURing runs a daemon of one shard in this process.
func startURing(t *testing.T, log *slog.Logger) (client map[string]string, stats func() compose.Stats) {
	t.Helper()
	registry := filepath.Join(t.TempDir(), "registry")
	if err := syscall.Mkdir(registry, 0o700); err != nil {
		t.Fatal(err)
	}
	common := map[string]string{"cluster.registry_dir": registry, "cluster.expected_nodes": "1"}
	settings := map[string]string{
		"daemon.shards": "1", "store.data_dir": filepath.Join(t.TempDir(), "data"), "store.backend": "uring", "store.capacity": "512MiB",
	}
	for k, v := range common {
		settings[k] = v
	}
	d, err := compose.StartDaemon(context.Background(), load(t, true, settings), log)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := d.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return common, func() compose.Stats { return d.Stats().(compose.Stats) }
}

// forbidVariable makes a process of the test binary forbid io_uring to itself, with that errno, before it becomes a daemon.
const forbidVariable = "BENCHFS_TEST_FORBID_URING"

// forbidURing installs a filter as containers have one.
func forbidURing(errno uint32) error {
	const allow, answer = 0x7fff0000, 0x00050000 // SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // seccomp_data.nr
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_IO_URING_SETUP, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: answer | errno},
		{Code: unix.BPF_RET | unix.BPF_K, K: allow},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	const setModeFilter, forAllThreads = 1, 1
	_, _, failed := syscall.Syscall(unix.SYS_SECCOMP, setModeFilter, forAllThreads, uintptr(unsafe.Pointer(&program)))
	if failed != 0 {
		return failed
	}
	return nil
}

// TestWithoutURing: on a machine that does not let a process use io_uring, the daemon says so, and what to do.
func TestWithoutURing(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.ENOSYS, syscall.EPERM} {
		p := &processes{t: t, dir: t.TempDir(), nodes: 1, shards: 1, more: []string{"store.backend=uring"}}
		p.registry = filepath.Join(p.dir, "registry")
		if err := os.Mkdir(p.registry, 0o700); err != nil {
			t.Fatal(err)
		}
		cmd := p.command(0)
		cmd.Env = append(cmd.Env, forbidVariable+"="+strconv.Itoa(int(errno)))
		cmd.Stderr = nil
		out, err := cmd.CombinedOutput()
		if err == nil {
			t.Fatal("a daemon ran without what it needs")
		}
		if strings.Contains(string(out), "no filter") {
			t.Skipf("%s", out)
		}
		for _, want := range []string{"io_uring_setup", errno.Error(), "seccomp", `"arena"`} {
			if !strings.Contains(string(out), want) {
				t.Errorf("%v: %q is missing in: %s", errno, want, out)
			}
		}
		if left, _ := filepath.Glob(filepath.Join(p.dir, "node-0", "*")); len(left) > 0 {
			t.Errorf("the directory is tied to what this machine does not have: %v", left)
		}
	}
}
