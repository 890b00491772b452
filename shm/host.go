package shm

/*
#include "near.h"
*/
import "C"

import (
	"encoding/binary"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/internal/procfs"
	"github.com/benchfs/benchfs/rpc"
)

// Host is the daemon's side of the door (PROTOCOL.md, section 1.1): it lets the processes of its machine in, gives them lanes, and notices when they are
// gone. It has one thread of its own, which never waits for a client.
type Host struct {
	o      HostOptions
	listen int
	epoll  int
	wake   int // written to when the thread is to end
	ended  sync.WaitGroup

	clients map[int]*client // by descriptor: of the connection, and of the process
}

// HostOptions is what a Host works for.
type HostOptions struct {
	Path        string // of the socket
	Incarnation uint64 // of the daemon: who expects another one is refused
	UID         uint32 // whose processes are let in, beside root's
	Shards      []Shard
}

// Shard is one shard behind a door.
type Shard struct {
	Number uint32 // in the cluster
	Server *Server
	Loop   rpc.Loop // where the Server's and the Board's calls are made

	Board        *Board // nil: clients do not reach into the shard's memory
	Segment      func(number uint32, write bool) (fd int, err error)
	SegmentBytes int64
	Huge         func() bool // segments are made of huge pages
}

// client is one connection: one instance of the library in one process.
type client struct {
	fd     int
	pidfd  int // readable when the process is dead; -1: it cannot be seen
	pid    int32
	joined bool
	lanes  int

	mu     sync.Mutex
	closed bool // guarded by mu: fd is another's by now
}

// lanesOfClient bounds the lanes of one client at all shards: it needs one for each thread that is in a call.
const lanesOfClient = 1024

// soPeerPIDFD is SO_PEERPIDFD (Linux 6.5): the peer's pidfd, whatever pid name space it is in.
const soPeerPIDFD = 77

// NewHost opens the door.
func NewHost(o HostOptions) (*Host, error) {
	h := &Host{o: o, listen: -1, epoll: -1, wake: -1, clients: map[int]*client{}}
	if err := h.open(); err != nil {
		h.free()
		return nil, fserr.New("door", o.Path, fserr.Errno(err), err)
	}
	h.ended.Add(1)
	go h.run()
	return h, nil
}

func (h *Host) open() (err error) {
	if h.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return err
	}
	if h.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	if h.listen, err = listenAt(h.o.Path); err != nil {
		return err
	}
	for _, fd := range []int{h.wake, h.listen} {
		if err := h.watch(fd, unix.EPOLLIN); err != nil {
			return err
		}
	}
	return nil
}

// listenAt makes a socket with a path that only its owner can connect to. A path longer than a socket's address takes goes by its directory.
func listenAt(path string) (fd int, err error) {
	if fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
		return -1, err
	}
	_ = unix.Unlink(path) // of a daemon that was killed
	address := path
	if len(path) >= len(unix.RawSockaddrUnix{}.Path) {
		dir, err := unix.Open(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			_ = unix.Close(fd)
			return -1, err
		}
		defer unix.Close(dir)
		address = fmt.Sprintf("/proc/self/fd/%d/%s", dir, filepath.Base(path))
	}
	if err = unix.Bind(fd, &unix.SockaddrUnix{Name: address}); err == nil {
		if err = unix.Chmod(path, 0o600); err == nil {
			err = unix.Listen(fd, 512)
		}
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func (h *Host) watch(fd int, events uint32) error {
	return unix.EpollCtl(h.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
}

// Close shuts the door and ends all connections. The shards' loops may have ended.
func (h *Host) Close() {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _ = unix.Write(h.wake, one[:])
	h.ended.Wait()
	_ = unix.Unlink(h.o.Path)
	h.free()
}

func (h *Host) free() {
	for fd, c := range h.clients {
		if fd == c.fd {
			_ = unix.Close(c.fd)
			if c.pidfd >= 0 {
				_ = unix.Close(c.pidfd)
			}
		}
	}
	for _, fd := range []int{h.listen, h.epoll, h.wake} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

// run is the thread.
func (h *Host) run() {
	defer h.ended.Done()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var events [64]unix.EpollEvent
	for {
		n, err := unix.EpollWait(h.epoll, events[:], -1)
		if err != nil && err != unix.EINTR {
			return
		}
		for _, e := range events[:max(n, 0)] {
			switch fd := int(e.Fd); fd {
			case h.wake:
				return
			case h.listen:
				h.accept()
			default:
				if c := h.clients[fd]; c != nil {
					h.event(c, fd)
				}
			}
		}
	}
}

// accept lets clients in, as far as the kernel says that they are the owner's.
func (h *Host) accept() {
	for {
		fd, _, err := unix.Accept4(h.listen, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
		if err != nil {
			return // nobody is there, or no descriptor is left: who waits is taken when one is free
		}
		who, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err != nil || who.Uid != h.o.UID && who.Uid != 0 {
			_ = unix.Close(fd)
			continue
		}
		c := &client{fd: fd, pid: who.Pid, pidfd: peerPIDFD(fd, who.Pid)}
		if err := h.watch(fd, unix.EPOLLIN|unix.EPOLLRDHUP); err != nil {
			_ = unix.Close(fd)
			continue
		}
		h.clients[fd] = c
		if c.pidfd >= 0 && h.watch(c.pidfd, unix.EPOLLIN) == nil {
			h.clients[c.pidfd] = c
		}
	}
}

// peerPIDFD is a descriptor of the process at the other end; -1: it is in a pid name space that cannot be seen from here, and the kernel is older than
// 6.5. Then only the end of the connection tells.
func peerPIDFD(fd int, pid int32) int {
	if pidfd, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, soPeerPIDFD); err == nil {
		unix.CloseOnExec(pidfd)
		return pidfd
	}
	if pid <= 0 {
		return -1
	}
	pidfd, err := unix.PidfdOpen(int(pid), 0)
	if err != nil {
		return -1
	}
	return pidfd
}

// event is something at a connection: a question, its end, or the death of its process.
func (h *Host) event(c *client, fd int) {
	if fd == c.pidfd {
		h.gone(c)
		return
	}
	for {
		var ask C.near_ask
		text := unsafe.Slice((*byte)(unsafe.Pointer(&ask)), C.sizeof_near_ask)
		n, _, err := unix.Recvfrom(c.fd, text, unix.MSG_DONTWAIT)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return
		case err != nil || n != len(text):
			h.gone(c)
			return
		case ask.what == C.NEAR_ASK_LEAVE:
			h.leave(c, &ask)
		case !h.answer(c, &ask):
			h.gone(c)
			return
		}
	}
}

// gone forgets a client.
func (h *Host) gone(c *client) {
	delete(h.clients, c.fd)
	c.mu.Lock()
	c.closed = true
	_ = unix.Close(c.fd) // leaves the epoll set, too
	c.mu.Unlock()
	if c.pidfd >= 0 {
		delete(h.clients, c.pidfd)
		_ = unix.Close(c.pidfd)
	}
	for _, s := range h.o.Shards {
		s.Loop.Submit(func() { s.Server.endClient(c) })
	}
}

// answer answers one question; false: the connection is to be closed.
func (h *Host) answer(c *client, ask *C.near_ask) bool {
	if ask.magic != C.NEAR_DOOR_MAGIC || ask.version != C.NEAR_DOOR_VERSION {
		return false
	}
	if s := h.shard(uint32(ask.shard)); ask.what == C.NEAR_ASK_MEMORY && s != nil && s.Board != nil && c.joined {
		number, client := *s, uint64(ask.client)
		return s.Loop.Submit(func() { number.giveMemory(c, client) }) // who makes areas is the shard
	}
	var answer C.near_answer
	fds, err := h.serve(c, ask, &answer)
	sent := c.send(&answer, fds, err)
	if ask.what != C.NEAR_ASK_JOIN {
		for _, fd := range fds[:min(len(fds), 1)] {
			_ = unix.Close(fd) // the memory stays mapped
		}
	}
	return sent
}

// send sends an answer, from any thread. A client that does not take it is cut off.
func (c *client) send(answer *C.near_answer, fds []int, err error) bool {
	answer.magic, answer.fds = C.NEAR_DOOR_MAGIC, C.uint32_t(len(fds))
	if err != nil {
		answer.error, answer.fds, fds = C.uint32_t(fserr.Errno(err)), 0, nil
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	text := unsafe.Slice((*byte)(unsafe.Pointer(answer)), C.sizeof_near_answer)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	if unix.Sendmsg(c.fd, text, rights, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL) == nil {
		return true
	}
	_ = unix.Shutdown(c.fd, unix.SHUT_RDWR)
	return false
}

// giveMemory answers NEAR_ASK_MEMORY, on the shard's thread.
func (s *Shard) giveMemory(c *client, number uint64) {
	var answer C.near_answer
	path, err := s.Board.Area(number, uint32(c.pid), procfs.StartTime(uint32(c.pid)))
	if err != nil {
		c.send(&answer, nil, err)
		return
	}
	files, err := s.Board.Files(path)
	answer.bytes = C.uint64_t(s.SegmentBytes)
	if s.Huge() {
		answer.flags = C.NEAR_HUGE
	}
	c.send(&answer, []int{files.Board, files.Records, files.Area}, err)
	_ = files.Close()
}

func (h *Host) serve(c *client, ask *C.near_ask, answer *C.near_answer) (fds []int, err error) {
	if ask.what == C.NEAR_ASK_JOIN {
		if uint64(ask.incarnation) != h.o.Incarnation {
			return nil, syscall.ESTALE
		}
		c.joined = true
		return nil, nil
	}
	s := h.shard(uint32(ask.shard))
	if s == nil || !c.joined {
		return nil, syscall.EINVAL
	}
	switch ask.what {
	case C.NEAR_ASK_LANE:
		if c.lanes == lanesOfClient {
			return nil, syscall.EUSERS
		}
		number, fd, err := s.Server.newLane(c)
		if err != nil {
			return nil, err
		}
		c.lanes++
		answer.number = C.uint32_t(number)
		return []int{fd, s.Server.bellFD, s.Server.wake}, nil
	case C.NEAR_ASK_BUFFER:
		fd, err := s.Server.newBuffer(c, uint32(ask.number), uint64(ask.bytes))
		if err != nil {
			return nil, err
		}
		answer.bytes = ask.bytes
		return []int{fd}, nil
	case C.NEAR_ASK_MEMORY:
		return nil, syscall.EOPNOTSUPP
	case C.NEAR_ASK_SEGMENT:
		if s.Board == nil {
			return nil, syscall.EOPNOTSUPP
		}
		fd, err := s.Segment(uint32(ask.number), ask.flags&C.NEAR_WRITE != 0)
		if err != nil {
			return nil, err
		}
		return []int{fd}, nil
	}
	return nil, syscall.EINVAL
}

// leave takes a lane away that its client has given up.
func (h *Host) leave(c *client, ask *C.near_ask) {
	s := h.shard(uint32(ask.shard))
	if s == nil {
		return
	}
	if l := s.Server.laneOf(c, uint32(ask.number)); l != nil && !l.left {
		l.left = true
		c.lanes--
		s.Loop.Submit(func() { s.Server.endLane(l) })
	}
}

func (h *Host) shard(number uint32) *Shard {
	for i := range h.o.Shards {
		if h.o.Shards[i].Number == number {
			return &h.o.Shards[i]
		}
	}
	return nil
}
