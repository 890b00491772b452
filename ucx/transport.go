package ucx

/*
#include <stdlib.h>
#include "bfs.h"
*/
import "C"

import (
	"fmt"
	"math"
	"runtime"
	"sync"
	"time"
	"unsafe"

	"github.com/benchfs/benchfs/rpc"
)

// Transport is a client's rpc.Transport over one UCX worker.
//
// Locks: mu guards the Go side only and is never held while waiting. The worker has a lock of its own, in C.
type Transport struct {
	context *Context

	mu      sync.Mutex
	workers *workers // the last one is in use; those before it were given up
	free    []*rpc.Call
	closed  bool
}

// workers outlives the Transport until nobody can use a Link any more: a call on a closed Transport finds a closed worker,
// not freed memory.
type workers struct {
	list   []*C.bfs_client
	closed bool
}

// free runs when the Transport is out of reach. One that was never closed keeps its workers: UCX may be gone already.
func (w *workers) free() {
	if !w.closed {
		return
	}
	for _, c := range w.list {
		C.bfs_client_free(c)
	}
}

// call is the transport's part of an rpc.Call.
type call struct {
	c      *C.bfs_call
	client *C.bfs_client // where it has a slot; nil: nowhere
}

// NewTransport starts a worker.
func (c *Context) NewTransport() (*Transport, error) {
	t := &Transport{context: c, workers: &workers{}}
	runtime.AddCleanup(t, (*workers).free, t.workers)
	if err := t.startLocked(); err != nil {
		return nil, err
	}
	return t, nil
}

func (t *Transport) startLocked() error {
	var status C.int
	o := t.context.config
	client := C.bfs_client_open(t.context.c, C.uint64_t(o.RendezvousBytes), C.uint64_t(o.RendezvousTCPBytes),
		C.uint32_t(o.SpinPolls), &status)
	if client == nil {
		return &rpc.TransportError{Remote: "UCX", Reason: statusText(int(status))}
	}
	t.workers.list = append(t.workers.list, client)
	return nil
}

// current is the worker for a new link: a fresh one if the last was given up, or is stale.
func (t *Transport) current() (*C.bfs_client, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, &rpc.TransportError{Remote: "UCX", Reason: "the transport is closed"}
	}
	if last := t.workers.list[len(t.workers.list)-1]; retired(last) || stale(last) {
		for _, client := range t.workers.list {
			C.bfs_client_bury(client)
		}
		if err := t.startLocked(); err != nil {
			return nil, err
		}
	}
	return t.workers.list[len(t.workers.list)-1], nil
}

// Name is "ucx".
func (t *Transport) Name() string { return "ucx" }

// NewCall takes a Call from the free list. Its Body has room for rpc.MaxBody bytes of C memory.
func (t *Transport) NewCall() *rpc.Call {
	t.mu.Lock()
	if n := len(t.free); n > 0 {
		c := t.free[n-1]
		t.free = t.free[:n-1]
		t.mu.Unlock()
		return c
	}
	t.mu.Unlock()
	k := &call{c: C.bfs_call_new()}
	c := &rpc.Call{Impl: k}
	if k.c != nil {
		c.Body = k.body()[:0]
	}
	return c
}

// FreeCall gives a Call back; its Answer is not to be read any more.
func (t *Transport) FreeCall(c *rpc.Call) {
	c.Reset()
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		t.free = append(t.free, c)
		return
	}
	freeCall(c)
}

func freeCall(c *rpc.Call) {
	if k, ok := c.Impl.(*call); ok && k.c != nil {
		C.bfs_call_free(k.c)
		k.c, c.Body = nil, nil
	}
}

func (k *call) body() []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(&k.c.header[rpc.HeaderBytes])), rpc.MaxBody)
}

// pointer is the address of a buffer for C, which must not lie in the Go heap.
func pointer(b []byte) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(b)) }

// Run implements rpc.Transport. The zero deadline means none.
func (t *Transport) Run(deadline time.Time, calls []*rpc.Call) {
	budget := int64(math.MaxInt64)
	if !deadline.IsZero() {
		budget = int64(time.Until(deadline))
	}
	for len(calls) > 0 {
		n := t.runSome(budget, calls)
		calls = calls[n:]
	}
}

// runSome runs the first calls as far as they are on the same worker, as all are unless one was given up; → how many.
func (t *Transport) runSome(budget int64, calls []*rpc.Call) int {
	var client *C.bfs_client
	var first, last *C.bfs_call
	n := 0
	for ; n < len(calls); n++ {
		c := calls[n]
		c.Err, c.Reply, c.Answer, c.Received = nil, rpc.Header{}, nil, 0
		link, ok := c.Link.(*Link)
		if !ok {
			c.Err = &rpc.ConnectionError{Remote: "nobody", Reason: "no link"}
			continue
		}
		if budget <= 0 {
			c.Err = &rpc.Timeout{Remote: link.info.Remote}
			continue
		}
		if client != nil && link.c.client != client {
			break
		}
		k, err := t.prepare(c, link, budget)
		if err != nil {
			c.Err = err
			continue
		}
		client = link.c.client
		if last == nil {
			first = k
		} else {
			last.next = k
		}
		last = k
	}
	if first != nil {
		C.bfs_run(client, first, C.int64_t(budget))
		for _, c := range calls[:n] {
			if c.Err == nil {
				finish(c)
			}
		}
	}
	return n
}

// prepare fills in the C part of a call.
func (t *Transport) prepare(c *rpc.Call, link *Link, budget int64) (*C.bfs_call, error) {
	k, ok := c.Impl.(*call)
	if !ok || k.c == nil {
		return nil, &rpc.TransportError{Remote: link.info.Remote, Reason: "out of memory for calls"}
	}
	if len(c.Body) > rpc.MaxBody {
		return nil, &rpc.InvalidHeader{Reason: "body longer than a frame takes"}
	}
	if k.client != link.c.client {
		if err := k.attach(link); err != nil {
			return nil, err
		}
	}
	k.c.link, k.c.next, k.c.kind = link.c, nil, C.BFS_CALL_RPC
	k.c.out, k.c.out_bytes = pointer(c.Out), C.uint64_t(len(c.Out))
	if c.Header.Type == rpc.MsgHello { // its payload tells the server how this link is answered
		k.c.out, k.c.out_bytes = unsafe.Pointer(link.c.hello), C.uint64_t(link.c.hello_bytes)
	}
	k.c.in, k.c.in_bytes = pointer(c.In), C.uint64_t(len(c.In))
	h := &c.Header
	h.Kind, h.Status, h.Errno, h.ID = rpc.KindRequest, 0, 0, 0
	h.BodyLen, h.BulkLen = uint32(len(c.Body)), uint64(k.c.out_bytes)
	h.TimeoutMS = uint32(min((budget+999_999)/1_000_000, math.MaxUint32))
	if budget == math.MaxInt64 {
		h.TimeoutMS = 0
	}
	frame := unsafe.Slice((*byte)(unsafe.Pointer(&k.c.header[0])), rpc.HeaderBytes)
	h.Put(frame)
	if body := k.body(); len(c.Body) > 0 && &c.Body[0] != &body[0] {
		copy(body, c.Body)
	}
	k.c.header_bytes = C.uint32_t(rpc.HeaderBytes + len(c.Body))
	return k.c, nil
}

// attach gives the call a slot at the link's worker.
func (k *call) attach(link *Link) error {
	if k.client != nil {
		C.bfs_call_detach(k.client, k.c)
		k.client = nil
	}
	if C.bfs_call_attach(link.c.client, k.c) != 0 {
		if !link.Alive() {
			return &rpc.ConnectionError{Remote: link.info.Remote, Reason: "closed at this end"}
		}
		return &rpc.TransportError{Remote: link.info.Remote, Reason: "too many calls on one transport"}
	}
	k.client = link.c.client
	return nil
}

// finish takes over what a call brought.
func finish(c *rpc.Call) {
	k, link := c.Impl.(*call), c.Link.(*Link)
	if k.c.outcome != C.BFS_DONE {
		c.Err = callError(int(k.c.outcome), int(k.c.status), link.info.Remote)
		if k.c.state == C.BFS_ZOMBIE {
			k.replace(c)
		}
		return
	}
	reply := unsafe.Slice((*byte)(unsafe.Pointer(&k.c.reply[0])), int(k.c.reply_bytes))
	c.Header.ID = uint64(k.c.id)
	c.Answer, c.Err = c.Reply.Parse(reply)
	if c.Err != nil {
		return
	}
	c.Received = int(k.c.received)
	c.Err = answerError(c.Reply.Status, c.Reply.Errno)
}

// replace gives a Call fresh C memory: UCX will refer to the old one for as long as the worker lives.
func (k *call) replace(c *rpc.Call) {
	body := c.Body
	k.c, k.client = C.bfs_call_new(), nil
	c.Body = nil
	if k.c != nil {
		c.Body = append(k.body()[:0], body...)
	}
}

// Alloc returns zeroed C memory that begins on a page boundary and whose pages have all been touched.
func (t *Transport) Alloc(bytes int) ([]byte, error) {
	if bytes <= 0 {
		return nil, fmt.Errorf("ucx: allocation of %d bytes", bytes)
	}
	memory := C.bfs_alloc(C.size_t(bytes))
	if memory == nil {
		return nil, fmt.Errorf("ucx: no memory for %d bytes", bytes)
	}
	return unsafe.Slice((*byte)(memory), bytes), nil
}

// Free gives back what Alloc returned (the same slice, or one with the same beginning).
func (t *Transport) Free(memory []byte) { C.free(pointer(memory)) }

// TransportStats are the counters of a Transport since it was made.
type TransportStats struct {
	Calls       uint64 `json:"calls"`
	Timeouts    uint64 `json:"timeouts"`
	LateReplies uint64 `json:"late_replies"` // dropped: their call was over
	BadReplies  uint64 `json:"bad_replies"`  // dropped: they do not parse
	Abandoned   uint64 `json:"abandoned"`    // transfers that had to be given up
	Sleeps      uint64 `json:"sleeps"`
	Workers     int    `json:"workers"` // 1, and one more for each worker that had to be given up
}

// Stats may be called from any goroutine.
func (t *Transport) Stats() TransportStats {
	t.mu.Lock()
	defer t.mu.Unlock()
	sum := TransportStats{Workers: len(t.workers.list)}
	for _, client := range t.workers.list {
		var s C.bfs_client_stats
		C.bfs_client_read_stats(client, &s)
		sum.Calls += uint64(s.calls)
		sum.Timeouts += uint64(s.timeouts)
		sum.LateReplies += uint64(s.late_replies)
		sum.BadReplies += uint64(s.bad_replies)
		sum.Abandoned += uint64(s.abandoned)
		sum.Sleeps += uint64(s.sleeps)
	}
	return sum
}

// Close implements rpc.Transport. It waits until the threads inside Run have left it.
func (t *Transport) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil
	}
	t.closed = true
	t.workers.closed = true
	for _, client := range t.workers.list {
		C.bfs_client_close(client)
	}
	for _, c := range t.free {
		freeCall(c)
	}
	t.free = nil
	return nil
}
