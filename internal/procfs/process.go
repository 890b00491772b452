package procfs

import (
	"sync"
	"syscall"

	"github.com/pkg/errors"
	"golang.org/x/sys/unix"
)

// Process is a process that is watched through its pidfd (pidfd_open(2)), which tells of the death of the whole process: one whose main thread
// has left and whose other threads go on is alive. All who watch the same process share one descriptor. Its methods may be called from any thread.
type Process struct {
	name  identity
	fd    int // -1: this process itself
	users int // guarded by watched.mu
}

// identity names a process for good: a number that was given to another process meanwhile comes with another start.
type identity struct {
	pid   uint32
	start uint64
}

var watched struct {
	mu        sync.Mutex
	processes map[identity]*Process
}

// Watch finds the process with this pid and start time (StartTime). ESRCH: it is dead, or cannot be seen from here, which looks the same in
// another pid name space. Any other error: the system does not let it be watched. Unwatch must follow.
func Watch(pid uint32, start uint64) (*Process, error) {
	name := identity{pid, start}
	watched.mu.Lock()
	defer watched.mu.Unlock()
	if p := watched.processes[name]; p != nil {
		p.users++
		return p, nil
	}
	fd := -1
	if int(pid) != syscall.Getpid() {
		var err error
		if fd, err = retry(func() (int, error) { return unix.PidfdOpen(int(pid), 0) }); err != nil {
			return nil, errors.Wrapf(err, "cannot watch process %d", pid)
		}
	}
	// The start time is read after opening: if it is the right one now, the descriptor is of that process.
	began, err := readStart(pid)
	if errors.Is(err, syscall.ENOENT) || err == nil && began != start {
		err = errors.Wrapf(syscall.ESRCH, "no process %d that began at %d", pid, start)
	}
	if err != nil {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
		return nil, err
	}
	p := &Process{name: name, fd: fd, users: 1}
	if watched.processes == nil {
		watched.processes = map[identity]*Process{}
	}
	watched.processes[name] = p
	return p, nil
}

// Is reports whether it is the process with this pid and start time.
func (p *Process) Is(pid uint32, start uint64) bool { return p.name == identity{pid, start} }

// Dead reports whether the process has ended.
func (p *Process) Dead() bool {
	if p.fd < 0 {
		return false
	}
	poll := []unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}
	n, err := retry(func() (int, error) { return unix.Poll(poll, 0) })
	return err == nil && n > 0
}

// Unwatch ends a Watch.
func (p *Process) Unwatch() {
	watched.mu.Lock()
	defer watched.mu.Unlock()
	if p.users--; p.users > 0 {
		return
	}
	delete(watched.processes, p.name)
	if p.fd >= 0 {
		_ = unix.Close(p.fd)
	}
}
