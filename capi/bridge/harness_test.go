package bridge

import (
	"context"
	"io"
	"sync"
	"syscall"
	"testing"

	"github.com/benchfs/benchfs/config"
	"github.com/benchfs/benchfs/core/client"
	"github.com/benchfs/benchfs/internal/compose"
)

// fixture is a library with an embedded file system behind it, and what it has reported and logged.
type fixture struct {
	*Library
	t testing.TB

	mu       sync.Mutex
	reported []string
	logged   []string
	opens    []Settings
}

// newFixture makes a library without a session.
func newFixture(t testing.TB) *fixture {
	f := &fixture{t: t}
	f.Library = New(Hooks{
		Open:    f.open,
		Report:  func(text string) { f.note(&f.reported, text) },
		Log:     func(text string) { f.note(&f.logged, text) },
		Version: "1.2.3",
	})
	return f
}

func (f *fixture) note(list *[]string, text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	*list = append(*list, text)
}

// last is the text reported last.
func (f *fixture) last() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.reported) == 0 {
		return ""
	}
	return f.reported[len(f.reported)-1]
}

func (f *fixture) open(ctx context.Context, s Settings) (*client.Client, io.Closer, error) {
	f.mu.Lock()
	f.opens = append(f.opens, s)
	f.mu.Unlock()
	cfg, err := config.Load(config.Sources{Text: s.ConfigText})
	if err != nil {
		return nil, nil, err
	}
	return compose.Open(ctx, cfg, compose.Process{Umask: s.Process.Umask})
}

// started is a fixture with a running session, ended with the test: no handle may be open then.
func started(t testing.TB) *fixture {
	f := newFixture(t)
	f.want(0, f.Init(Settings{}, true, false))
	t.Cleanup(func() { f.want(0, f.Finalize()) })
	return f
}

// want fails the test if a call did not return what it should.
func (f *fixture) want(want, got int64) {
	f.t.Helper()
	if got != want {
		f.t.Fatalf("returned %d, want %d (last error %q)", got, want, f.last())
	}
}

// fails is want for an errno.
func (f *fixture) fails(code syscall.Errno, got int64) {
	f.t.Helper()
	if got != -int64(code) {
		f.t.Fatalf("returned %d, want %d (%v); last error %q", got, -int64(code), code, f.last())
	}
}

// handle fails the test if a call did not return a handle.
func (f *fixture) handle(got int64) int32 {
	f.t.Helper()
	if got < 0 {
		f.t.Fatalf("returned %d: %s", got, f.last())
	}
	return int32(got)
}

const rw = syscall.O_CREAT | syscall.O_RDWR

func (f *fixture) file(path string) int32 {
	f.t.Helper()
	return f.handle(f.Open(AtRoot, path, rw, 0o644))
}
