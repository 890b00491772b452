package ucx

/*
#include "bfs.h"
*/
import "C"

import (
	"fmt"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"github.com/benchfs/benchfs/rpc"
)

// repliesAtOnce is how many replies a batch may gather before they are sent: a long batch must not hold back its first.
const repliesAtOnce = 8

// lookEvery: where the loop has other sources, so many of its turns share one look at the network while nothing comes from there. Over TCP
// a look is a system call, 0.5 µs beside turns of 0.1 µs, and a message between machines takes more than ten.
const lookEvery = 8

// Server is a shard's side of the network: one UCX worker, and the sessions of the clients that reach it. It is a loop.Source:
// Poll, Arm, Disarm, Flush and Drain are for the shard's thread only, and so is all that has to do with requests.
type Server struct {
	c       *C.bfs_server // freed by Close
	service rpc.Service

	requests []*request // by index of the C request
	peers    []*peer    // by slot
	replies  int        // in the outbox
	turns    int        // without a look
	lively   bool       // the last look found something
	waiting  int        // events of the batch that are still to come
	address  []byte

	mu   sync.Mutex  // guards that c is not freed under Stats, and what follows
	last ServerStats // when closed
}

// NewServer makes the worker of a shard. It serves once a loop polls it.
func (c *Context) NewServer(service rpc.Service) (*Server, error) {
	var status C.int
	server := C.bfs_server_open(c.c, C.uint64_t(c.config.RendezvousBytes), C.uint64_t(c.config.RendezvousTCPBytes), &status)
	if server == nil {
		return nil, &rpc.TransportError{Remote: "UCX", Reason: statusText(int(status))}
	}
	worker := &server.worker
	address := C.GoBytes(unsafe.Pointer(worker.address), C.int(worker.address_bytes))
	return &Server{c: server, service: service, address: address}, nil
}

// Address is what rpc.Target.Worker wants: the UCX worker address, with what this package puts in front.
func (s *Server) Address() []byte { return s.address }

// Listen opens a port at which clients that know no more than "host:port" are told the worker address; "host:0" chooses a
// port, an empty host means all interfaces. It returns the address in use. To be called before the loop runs, once.
func (s *Server) Listen(hostport string) (actual string, err error) {
	socket, err := resolve(hostport, true)
	if err != nil {
		return "", err
	}
	var text [128]C.char
	if errno := C.bfs_server_listen(s.c, &socket.storage, socket.bytes, &text[0], C.size_t(len(text))); errno != 0 {
		return "", fmt.Errorf("listening at %s: %w", hostport, syscall.Errno(errno))
	}
	return C.GoString(&text[0]), nil
}

// Poll implements loop.Source. Replies that were given outside of a batch leave first. One poll only means that the loop has other sources.
func (s *Server) Poll(polls int) (busy bool) {
	s.flush()
	if s.turns++; polls == 1 && !s.lively && s.turns < lookEvery {
		return false
	}
	s.turns = 0
	if s.lively = C.bfs_server_poll(s.c, C.uint32_t(polls)) != 0; !s.lively {
		return false
	}
	n := int(s.c.spare_count)
	for i, event := range unsafe.Slice(s.c.spare, n) {
		s.waiting = n - 1 - i
		s.dispatch(event)
	}
	return true
}

// Arm implements loop.Source.
func (s *Server) Arm() bool {
	s.flush()
	s.turns = lookEvery // the next Poll looks
	return C.bfs_server_arm(s.c) != 0
}

// Disarm implements loop.Source: there is nothing to take back.
func (s *Server) Disarm() {}

// FD implements loop.Source: the worker's event descriptor.
func (s *Server) FD() int { return int(s.c.worker.event_fd) }

// Crowded is false: who waits runs on another machine.
func (s *Server) Crowded() bool { return false }

// Flush implements loop.Source, and serves the service: in the midst of a batch replies wait for the requests that are still to be served.
func (s *Server) Flush() {
	if s.waiting == 0 {
		s.flush()
	}
}

func (s *Server) flush() {
	if s.replies > 0 || s.c.done != nil {
		s.replies = 0
		C.bfs_server_flush(s.c)
	}
}

// Drain sends the last replies, and returns when they have left or the time is over. It is called when the loop has ended, before Close.
func (s *Server) Drain(atMost time.Duration) {
	s.replies = 0
	C.bfs_server_drain(s.c, C.int64_t(atMost))
}

// Close ends all connections and frees the worker. The loop has ended, or never ran.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.c != nil {
		s.last = s.statsLocked()
		C.bfs_server_close(s.c)
		s.c = nil
	}
	return nil
}

func (s *Server) dispatch(event C.bfs_event) {
	switch event.kind {
	case C.BFS_EVENT_REQUEST:
		s.serve(s.requestAt(int(event.index)))
	case C.BFS_EVENT_HELLO:
		q := s.requestAt(int(event.index))
		s.newPeer(q.c.peer)
		s.serve(q)
	case C.BFS_EVENT_RECEIVED:
		q := s.requests[event.index]
		s.service.Received(&q.Request, transferError(q, event.status))
	case C.BFS_EVENT_REPLIED:
		q := s.requests[event.index]
		s.service.Replied(&q.Request, transferError(q, event.status))
		q.c.next = s.c.done
		s.c.done = q.c
	case C.BFS_EVENT_GONE:
		if p := s.peers[event.index]; p != nil && p.session == uint32(event.session) {
			s.service.Gone(p)
			p.Close()
		}
	}
	if s.replies >= repliesAtOnce {
		s.flush()
	}
}
