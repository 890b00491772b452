package bridge

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/benchfs/benchfs/core/client"
	"github.com/benchfs/benchfs/fserr"
)

func TestCallsNeedASession(t *testing.T) {
	f := newFixture(t)
	f.fails(syscall.ENOTCONN, f.Finalize())
	f.fails(syscall.ENOTCONN, f.Distributed())
	f.fails(syscall.ENOTCONN, f.Open(AtRoot, "/a", rw, 0o644))
	f.fails(syscall.ENOTCONN, f.Read(1<<20, nil))
	f.fails(syscall.ENOTCONN, f.ReadDir(1<<20, nil))
	f.fails(syscall.ENOTCONN, f.Close(1<<20))
	if !strings.Contains(f.last(), "not initialised") {
		t.Errorf("reported %q", f.last())
	}
}

func TestInitsNest(t *testing.T) {
	f := newFixture(t)
	mine := Settings{ConfigText: "[client]\nworkers = 2\n"}
	f.want(0, f.Init(mine, false, false))
	f.want(0, f.Init(mine, false, false))
	f.want(0, f.Init(Settings{}, true, false))
	f.fails(syscall.EALREADY, f.Init(Settings{ConfigText: "[client]\nworkers = 3\n"}, false, false))
	f.fails(syscall.EALREADY, f.Init(mine, false, true))
	fd := f.file("/a")
	f.want(0, f.Finalize())
	f.want(0, f.Finalize())
	f.want(0, f.Close(fd))
	f.want(0, f.Finalize())
	f.fails(syscall.ENOTCONN, f.Finalize())
	if len(f.opens) != 1 {
		t.Errorf("opened %d times", len(f.opens))
	}
}

func TestFinalizeClosesAndCounts(t *testing.T) {
	f := newFixture(t)
	f.want(0, f.Init(Settings{}, true, false))
	fd := f.file("/a")
	f.handle(f.Dup(fd))
	f.handle(f.OpenDir("/"))
	f.want(3, f.Finalize())
	f.want(0, f.Init(Settings{}, true, false))
	f.fails(syscall.EBADF, f.Read(fd, nil))
	f.want(0, f.Finalize())
}

func TestFailedInitLeavesNothing(t *testing.T) {
	f := newFixture(t)
	f.fails(syscall.EINVAL, f.Init(Settings{ConfigText: "[client]\nworkers = -1\nfoo = 1\n"}, false, false))
	if text := f.last(); !strings.Contains(text, "configuration text:2") || strings.Contains(text, "\n") {
		t.Errorf("reported %q", text)
	}
	f.fails(syscall.ENOTCONN, f.Finalize())
	f.want(0, f.Init(Settings{}, true, false))
	f.want(0, f.Finalize())
}

func TestErrorsWithoutErrnoAreEIOAndLoggedOnce(t *testing.T) {
	f := newFixture(t)
	f.hooks.Open = func(context.Context, Settings) (*client.Client, io.Closer, error) { return nil, nil, errors.New("odd") }
	f.fails(syscall.EIO, f.Init(Settings{}, true, false))
	if len(f.logged) != 1 || !strings.Contains(f.logged[0], "odd") {
		t.Errorf("logged %q", f.logged)
	}
	f.hooks.Open = func(context.Context, Settings) (*client.Client, io.Closer, error) {
		return nil, nil, fserr.New("init", "", syscall.ENOSPC, nil)
	}
	f.fails(syscall.ENOSPC, f.Init(Settings{}, true, false))
	if len(f.logged) != 1 {
		t.Errorf("an error with an errno was logged: %q", f.logged)
	}
}

// An errno of 0 in an error must not look like success.
func TestAnErrorIsNeverSuccess(t *testing.T) {
	f := newFixture(t)
	f.fails(syscall.EIO, f.fail(fserr.New("x", "", 0, nil)))
}

// guarded runs a call as an export does.
func (f *fixture) guarded(call func() int64) (rc int64) {
	defer f.Guard(&rc)
	return call()
}

func TestAPanicBreaksTheSession(t *testing.T) {
	f := newFixture(t)
	f.want(0, f.Init(Settings{}, true, false))
	fd := f.file("/a")
	f.fails(syscall.EIO, f.guarded(func() int64 { return f.Fstat(fd, nil) })) // stores through nil
	if len(f.logged) != 1 || !strings.Contains(f.logged[0], "panic") {
		t.Errorf("logged %q", f.logged)
	}
	f.fails(syscall.EIO, f.Pread(fd, nil, 0))
	f.fails(syscall.EIO, f.Open(AtRoot, "/b", rw, 0o644))
	f.fails(syscall.EIO, f.Init(Settings{}, true, false))
	f.fails(syscall.EIO, f.Finalize())
	f.want(0, f.Init(Settings{}, true, false))
	f.want(0, f.Finalize())
}

func TestAPanicInInitIsAnError(t *testing.T) {
	f := newFixture(t)
	f.hooks.Open = func(context.Context, Settings) (*client.Client, io.Closer, error) { panic("no") }
	f.fails(syscall.EIO, f.guarded(func() int64 { return f.Init(Settings{}, true, false) }))
	f.hooks.Open = f.open
	f.want(0, f.Init(Settings{}, true, false))
	f.want(0, f.Finalize())
}

// The file of a handle that is closed during a read stays open until the read is over.
func TestCloseDuringUse(t *testing.T) {
	f := started(t)
	fd := f.file("/a")
	f.want(5, f.Pwrite(fd, []byte("hello"), 0))
	reader, err := f.pinFile("read", fd) // a read in progress
	if err != nil {
		t.Fatal(err)
	}
	f.want(0, f.Unlink(AtRoot, "/a", 0))
	f.want(0, f.Close(fd))
	f.fails(syscall.EBADF, f.Pread(fd, make([]byte, 5), 0))
	f.fails(syscall.EBADF, f.Close(fd))
	buf := make([]byte, 5)
	if n, err := reader.Pread(background, buf, 0); n != 5 || err != nil || string(buf) != "hello" {
		t.Errorf("the reader got %d, %v, %q", n, err, buf)
	}
	s := f.current.Load()
	if s.client.OpenFiles() != 1 {
		t.Errorf("%d open files during the read", s.client.OpenFiles())
	}
	f.handles.Unpin(fd)
	if s.client.OpenFiles() != 0 || s.objects.Load() != 0 {
		t.Errorf("%d open files, %d objects after the read", s.client.OpenFiles(), s.objects.Load())
	}
}

func TestFinalizeWaitsForCallsInProgress(t *testing.T) {
	f := newFixture(t)
	f.want(0, f.Init(Settings{}, true, false))
	fd := f.file("/a")
	reader, err := f.pinFile("read", fd)
	if err != nil {
		t.Fatal(err)
	}
	other, err := f.begin("stat")
	if err != nil {
		t.Fatal(err)
	}
	result := make(chan int64)
	go func() { result <- f.Finalize() }()
	waitFor(t, func() bool { return f.current.Load() == nil })
	f.fails(syscall.ENOTCONN, f.Pread(fd, nil, 0))
	if _, err := other.s.client.Stat(background, 0, "/a", true); err != nil {
		t.Errorf("a call in progress lost its session: %v", err)
	}
	other.end()
	waitFor(t, func() bool { return f.handles.Open() == 0 })
	if _, err := reader.Pread(background, make([]byte, 1), 0); err != nil {
		t.Errorf("a read in progress lost its file: %v", err)
	}
	select {
	case <-result:
		t.Fatal("finalize did not wait for the read")
	default:
	}
	f.handles.Unpin(fd)
	f.want(1, <-result)
}

func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not come to pass in ten seconds")
		}
	}
}

// TestSessionsUnderFire starts and ends sessions while other threads make calls: a call does its work, or says why not.
func TestSessionsUnderFire(t *testing.T) {
	f := newFixture(t)
	var group sync.WaitGroup
	stop := make(chan struct{})
	allowed := func(rc int64) bool {
		return rc >= 0 || rc == -int64(syscall.ENOTCONN) || rc == -int64(syscall.EBADF) || rc == -int64(syscall.ENOENT)
	}
	for range 4 {
		group.Go(func() {
			buf := make([]byte, 100)
			var st Stat
			for {
				select {
				case <-stop:
					return
				default:
				}
				fd := f.Open(AtRoot, "/a", rw, 0o644)
				results := []int64{fd}
				if fd >= 0 {
					h := int32(fd)
					results = append(results, f.Pwrite(h, buf, 0), f.Pread(h, buf, 0), f.StatAt(AtRoot, "/a", 0, &st), f.Close(h))
				}
				for i, rc := range results {
					if !allowed(rc) {
						t.Errorf("call %d returned %d: %s", i, rc, f.last())
						return
					}
				}
			}
		})
	}
	for range 50 {
		f.want(0, f.Init(Settings{}, true, false))
		if rc := f.Finalize(); rc < 0 {
			t.Errorf("finalize returned %d: %s", rc, f.last())
		}
	}
	close(stop)
	group.Wait()
}
