package ucx

/*
#include "bfs.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/benchfs/benchfs/rpc"
)

const (
	// repliesAtOnce is how many answers a batch may gather before they are sent: a long batch must not hold back its first.
	repliesAtOnce = 8
	// drainAtMost bounds how long a stopping loop waits for its last answers to leave.
	drainAtMost = time.Second
)

// LoopOptions are settings of one loop.
type LoopOptions struct {
	// Moved is called, on a goroutine of its own, when the shard has gone over to another worker because its own was stuck (see
	// renew.c): address is what Address returns from now on. When it returns, clients are told to look for the new address, so it is to
	// publish it first.
	Moved func(address []byte)
}

// ShardLoop is the server's side: one worker, driven by the goroutine in Run, which alone calls the service.
type ShardLoop struct {
	c       *C.bfs_server // owned by Run's goroutine, but see mu
	service rpc.Service
	poller  rpc.Poller // the service, if it waits for more than the network
	moved   func(address []byte)

	requests []*request // by index of the C request
	peers    []*peer    // by slot
	replies  int        // in the outbox
	waiting  int        // events of the batch that are still to come

	stopping atomic.Bool

	mu      sync.Mutex // guards what follows, and that c is not freed under Submit, Stop and Stats
	queue   []func()
	running bool
	ended   bool
	last    LoopStats // when ended
	address []byte
}

// NewShardLoop makes the worker of a shard; it serves once Run is called.
func (c *Context) NewShardLoop(service rpc.Service, options LoopOptions) (*ShardLoop, error) {
	var status C.int
	o := c.config
	server := C.bfs_server_open(c.c, C.uint64_t(o.RendezvousBytes), C.uint64_t(o.RendezvousTCPBytes),
		C.uint32_t(o.SpinPolls), C.uint32_t(o.YieldPolls), &status)
	if server == nil {
		return nil, &rpc.TransportError{Remote: "UCX", Reason: statusText(int(status))}
	}
	l := &ShardLoop{c: server, service: service, moved: options.Moved, address: currentAddress(server)}
	if p, ok := service.(rpc.Poller); ok && p.EventFD() >= 0 {
		l.poller = p
		server.watch_fd = C.int32_t(p.EventFD())
	}
	return l, nil
}

func currentAddress(server *C.bfs_server) []byte {
	worker := &server.port.worker
	return C.GoBytes(unsafe.Pointer(worker.address), C.int(worker.address_bytes))
}

// Address is what rpc.Target.Worker wants: this process's identity and the UCX worker address. LoopOptions.Moved tells when it changes.
func (l *ShardLoop) Address() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.address
}

// Listen opens a port at which clients that know no more than "host:port" are told the worker address; "host:0" chooses a
// port, an empty host means all interfaces. It returns the address in use. To be called before Run, once.
func (l *ShardLoop) Listen(hostport string) (actual string, err error) {
	socket, err := resolve(hostport, true)
	if err != nil {
		return "", err
	}
	var text [128]C.char
	if errno := C.bfs_server_listen(l.c, &socket.storage, socket.bytes, &text[0], C.size_t(len(text))); errno != 0 {
		return "", fmt.Errorf("listening at %s: %w", hostport, syscall.Errno(errno))
	}
	return C.GoString(&text[0]), nil
}

// Run serves on the calling goroutine until Stop. It then frees the worker.
//
// It stays on one thread of the system, and never steps aside for other goroutines, which have processors (P) of their own. A goroutine that does wakes up
// another thread, which often takes it over where cores are few: shards wandered from thread to thread like that, onto the cores of their clients too,
// hundreds of times a second. To Go's monitor it looks like one that hangs; package slack tells what is done about that.
func (l *ShardLoop) Run() {
	l.mu.Lock()
	if l.ended || l.running {
		l.mu.Unlock()
		return
	}
	l.running = true
	l.mu.Unlock()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for {
		n := C.bfs_server_poll(l.c)
		if n > 0 {
			for i, event := range unsafe.Slice(l.c.spare, int(n)) {
				l.waiting = int(n) - 1 - i
				l.dispatch(event)
			}
		}
		if atomic.SwapUint32((*uint32)(unsafe.Pointer(&l.c.wake)), 0) != 0 && !l.runSubmitted() {
			break
		}
		if l.poller != nil {
			l.watch()
		}
	}
	C.bfs_server_drain(l.c, C.int64_t(drainAtMost))
	l.free()
}

// watch looks for the service's own events. While it waits for some, the loop comes here often, and a sleep ends with them.
func (l *ShardLoop) watch() {
	l.c.watch_busy = 0
	if l.poller.Poll() {
		l.c.watch_busy = 1
	}
}

// runSubmitted is false when the loop is to end: it was stopped, and all that was submitted before has been run.
func (l *ShardLoop) runSubmitted() bool {
	for {
		l.mu.Lock()
		queue := l.queue
		l.queue = nil
		if len(queue) == 0 {
			l.ended = l.stopping.Load()
			ended := l.ended
			l.mu.Unlock()
			return !ended
		}
		l.mu.Unlock()
		for _, fn := range queue {
			fn()
		}
	}
}

func (l *ShardLoop) free() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	if l.c != nil {
		l.last = l.statsLocked()
		C.bfs_server_close(l.c)
		l.c = nil
	}
}

// Submit implements rpc.Loop.
func (l *ShardLoop) Submit(fn func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return false
	}
	l.queue = append(l.queue, fn)
	if len(l.queue) == 1 {
		C.bfs_server_wake(l.c)
	}
	return true
}

// Stop makes Run return soon; it does not wait for it.
func (l *ShardLoop) Stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopping.Store(true)
	if !l.ended {
		C.bfs_server_wake(l.c)
	}
}

// Close frees a loop whose Run was never called. After Run it does nothing; during Run it is an error.
func (l *ShardLoop) Close() error {
	l.mu.Lock()
	running := l.running && !l.ended
	l.mu.Unlock()
	if running {
		return errors.New("ucx: the loop is running: Stop it instead")
	}
	l.free()
	return nil
}

func (l *ShardLoop) dispatch(event C.bfs_event) {
	switch event.kind {
	case C.BFS_EVENT_REQUEST:
		l.serve(l.requestAt(int(event.index)))
	case C.BFS_EVENT_HELLO:
		q := l.requestAt(int(event.index))
		l.newPeer(q.c.peer)
		l.serve(q)
	case C.BFS_EVENT_RECEIVED:
		q := l.requests[event.index]
		l.service.Received(&q.Request, transferError(q, event.status))
	case C.BFS_EVENT_REPLIED:
		q := l.requests[event.index]
		l.service.Replied(&q.Request, transferError(q, event.status))
		q.c.next = l.c.done
		l.c.done = q.c
	case C.BFS_EVENT_GONE:
		if p := l.peers[event.index]; p != nil && p.session == uint32(event.session) {
			l.service.Gone(p)
			p.Close()
		}
	case C.BFS_EVENT_MOVED:
		l.publishMove()
	}
	if l.replies >= repliesAtOnce {
		l.flush()
	}
}

func (l *ShardLoop) flush() {
	l.replies = 0
	C.bfs_server_flush(l.c)
}

// Flush implements rpc.Loop.
func (l *ShardLoop) Flush() {
	if l.waiting == 0 && l.replies > 0 {
		l.flush()
	}
}

// publishMove lets the new address be published, and then tells the clients.
func (l *ShardLoop) publishMove() {
	address := currentAddress(l.c)
	l.mu.Lock()
	l.address = address
	l.mu.Unlock()
	go func() {
		if l.moved != nil {
			l.moved(address)
		}
		l.Submit(func() { C.bfs_server_tell_moved(l.c) })
	}()
}
