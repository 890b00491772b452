// Package bridge is the testable half of the C interface: plain Go in, a result or a negative errno out.
//
// A [Library] is what a process has of BenchFS: at most one session (a client.Client and what it stands on), the table of handles, and the
// way errors leave: the errno as the result, the text through Hooks.Report. Its methods are called by the exports of capi, one each,
// on the application's thread, and run to their end there.
//
// What belongs here: handles, the life of a session, argument checks that need Go, conversion of attributes and times, the errno.
// What does not: C types (capi), and what a call means (core/client).
//
// # Sessions and calls in progress
//
// Init and Finalize take Library.mu, no other call does. A call that needs the session announces itself in one of its counters
// (session.enter), a call on a handle pins the handle. Finalize first takes the session away, so that new calls find none, waits for the
// announced calls, removes all handles, waits for the pins, and only then closes the client.
//
// A panic anywhere below breaks the session ([Library.Guard]): what it may have left locked or half done is not touched any more,
// every call returns EIO until Finalize, which lets go of the session without closing it.
package bridge

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"github.com/pkg/errors"

	"github.com/benchfs/benchfs/core/client"
	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/internal/handle"
)

// Settings is what a session is opened with.
type Settings struct {
	ConfigFile  string
	ConfigText  string
	Mode        Mode
	Environment map[string]string // the BENCHFS_* variables, as C sees them
	Process     Process
}

// Mode says where the file system is; the values are those of enum benchfs_mode.
type Mode int32

// The modes.
const (
	ModeConfigured  Mode = 0
	ModeEmbedded    Mode = 1
	ModeDistributed Mode = 2
)

// Process is the identity that a session acts under.
type Process struct {
	UID, GID uint32
	Groups   []uint32
	Umask    uint32
}

// options are the settings that the application has chosen itself: a nested Init must bring the same.
type options struct {
	configFile, configText string
	mode                   Mode
	noEnvironment          bool
}

// Hooks connect a Library with the world.
type Hooks struct {
	// Open joins the parts. The closer ends all that it has started; the client is closed first.
	Open func(ctx context.Context, s Settings) (*client.Client, io.Closer, error)
	// Report takes the text of the error that the current call returns, on the thread of the call. It must copy it. May be nil.
	Report func(text string)
	// Log takes errors that are nobody's fault but ours: unknown ones, and panics. May be nil.
	Log func(text string)
	// Version is what Stats tells.
	Version string
}

// Library is the state of BenchFS in a process.
type Library struct {
	hooks   Hooks
	handles *handle.Table[object]
	current atomic.Pointer[session]

	memory memoryTable
	waits  lockWaits

	mu    sync.Mutex
	depth int     // nested Inits
	first options // of the Init that opened the session
}

// object is what a handle stands for: a file, a directory stream or a request of a session.
type object struct {
	file    *client.File
	dir     *client.Dir
	request *client.Request
	session *session
}

// The kinds of handles.
const (
	kindFile    handle.Kind = 1
	kindDir     handle.Kind = 2
	kindRequest handle.Kind = 3
)

// New makes a library without a session.
func New(h Hooks) *Library { return &Library{hooks: h, handles: handle.New(0, release)} }

// release closes what a handle stood for.
func release(o object) error {
	if o.session.broken.Load() {
		return nil
	}
	defer o.session.objects.Add(-1)
	switch {
	case o.dir != nil:
		return o.dir.Close(background)
	case o.request != nil:
		o.request.Cancel()
		_, _ = o.request.Wait() // nobody wants to know
		return nil
	}
	return o.file.Close(background)
}

// session is one open file system.
type session struct {
	client  *client.Client
	closer  io.Closer
	broken  atomic.Bool
	objects atomic.Int64 // behind handles, or removed and still in use
	active  [counters]counter
}

// counters is how many counters the calls in progress are spread over, so that threads do not share a cache line.
const counters = 16

type counter struct {
	n atomic.Int64
	_ [56]byte
}

// enter announces a call; the result is for leave. False: the session is ending.
func (l *Library) enter(s *session) (lane int, ok bool) {
	// Each thread has its own stack: its address tells threads apart without asking the system.
	var here byte
	lane = int(uintptr(unsafe.Pointer(&here)) >> 13 % counters)
	s.active[lane].n.Add(1)
	if l.current.Load() != s {
		s.leave(lane)
		return 0, false
	}
	return lane, true
}

func (s *session) leave(lane int) { s.active[lane].n.Add(-1) }

// calls is the number of announced calls, once no new ones come.
func (s *session) calls() int64 {
	n := int64(0)
	for i := range s.active {
		n += s.active[i].n.Load()
	}
	return n
}

// Init opens the session, or joins it. noEnvironment must tell whether s.Environment was left out on request; plain whether the
// application gave no options at all.
func (l *Library) Init(s Settings, plain, noEnvironment bool) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	asked := options{s.ConfigFile, s.ConfigText, s.Mode, noEnvironment}
	if l.depth > 0 {
		if l.current.Load().broken.Load() {
			return l.fail(errBroken("init", ""))
		}
		if !plain && asked != l.first {
			return l.fail(fserr.New("init", "", syscall.EALREADY, errors.New("BenchFS runs with other options")))
		}
		l.depth++
		return 0
	}
	c, closer, err := l.hooks.Open(background, s)
	if err != nil {
		return l.fail(&initError{err})
	}
	l.depth, l.first = 1, asked
	l.current.Store(&session{client: c, closer: closer})
	return 0
}

// initError says that the session could not be opened, and keeps the errno of the reason.
type initError struct{ err error }

func (e *initError) Error() string { return "init: " + e.err.Error() }
func (e *initError) Unwrap() error { return e.err }

// Finalize ends the session with the last nested Init. It returns the number of handles that were open.
func (l *Library) Finalize() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.current.Load()
	if s == nil {
		return l.fail(errNoSession("finalize"))
	}
	if l.depth--; l.depth > 0 {
		return 0
	}
	l.current.Store(nil)
	open, err := l.end(s)
	if err != nil {
		return l.fail(fserr.New("finalize", "", fserr.Errno(err), err))
	}
	return int64(open)
}

// end closes a session that nobody can find any more.
func (l *Library) end(s *session) (open int, err error) {
	if !waitUntil(s, func() bool { return s.calls() == 0 }) {
		open, _ = l.handles.Drain() // closes nothing: the session is broken
		return open, errBroken("finalize", "")
	}
	open, err = l.handles.Drain()
	l.waits.cancel(s)
	if !waitUntil(s, func() bool { return s.objects.Load() == 0 }) {
		return open, errBroken("finalize", "")
	}
	_, closeErr := s.client.Close(background)
	if err == nil {
		err = closeErr
	}
	if closeErr = s.closer.Close(); err == nil {
		err = closeErr
	}
	return open, err
}

// waitUntil polls until done; false as soon as the session is broken. Calls end by their deadline, so this ends.
func waitUntil(s *session, done func() bool) bool {
	for spins := 0; ; spins++ {
		switch {
		case s.broken.Load():
			return false
		case done():
			return true
		case spins < 100:
			runtime.Gosched()
		default:
			// A plain system call: a Go timer would start the runtime's poller in the host process.
			_ = syscall.Nanosleep(&syscall.Timespec{Nsec: 100_000}, nil)
		}
	}
}

// Guard is deferred by every export: a panic becomes EIO and breaks the session.
func (l *Library) Guard(result *int64) {
	if cause := recover(); cause != nil {
		*result = l.panicked(cause)
	}
}

func (l *Library) panicked(cause any) int64 {
	if s := l.current.Load(); s != nil {
		s.broken.Store(true)
	}
	if l.hooks.Log != nil {
		l.hooks.Log(fmt.Sprintf("panic: %v\n%s", cause, debug.Stack()))
	}
	return l.fail(errBroken("call", fmt.Sprint(cause)))
}

// Distributed is 1 if daemons serve the file system, else 0.
func (l *Library) Distributed() int64 {
	s, err := l.session("is_distributed")
	switch {
	case err != nil:
		return l.fail(err)
	case s.client.Distributed():
		return 1
	}
	return 0
}
