package shm

/*
#include <stdlib.h>
#include <string.h>
#include "near.h"
*/
import "C"

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/benchfs/benchfs/rpc"
)

// Transport is the client's rpc.Transport to the daemons of its own machine: PROTOCOL.md, section 2. Any number of threads may use it; each Run has
// lanes of its own, so that none waits for another.
type Transport struct {
	mu     sync.Mutex
	doors  map[doorKey]*door
	links  map[*link]struct{}
	free   []*rpc.Call
	closed bool
}

// ErrNoDoor: there is no door where a daemon says that its own is. Its machine may show other files to this process.
var ErrNoDoor = errors.New("the daemon's door is not to be found here")

// doorKey names one life of a daemon.
type doorKey struct {
	path        string
	incarnation uint64
}

// door is the connection to one daemon, shared by the links to its shards. It is freed with the last of them.
type door struct {
	key   doorKey
	c     *C.near_door
	wakes map[uint32]C.int // wake descriptors by shard; guarded by Transport.mu
	users int              // links and memories; guarded by Transport.mu
}

// link implements rpc.Link: the lanes of this process at one shard.
type link struct {
	t      *Transport
	door   *door
	shard  uint32
	info   rpc.LinkInfo
	lost   atomic.Bool
	closed atomic.Bool

	mu    sync.Mutex
	idle  []*C.near_lane            // guarded by mu
	lanes map[*C.near_lane]struct{} // guarded by mu: all of them
	users sync.WaitGroup            // Runs that have a lane
}

// call is the transport's part of an rpc.Call.
type call struct {
	c *C.near_call
}

// ids are the numbers of frames: none comes twice in a process.
var ids atomic.Uint64

// NewTransport makes a transport; the first Dial connects to a daemon.
func NewTransport() *Transport {
	return &Transport{doors: map[doorKey]*door{}, links: map[*link]struct{}{}}
}

// Name implements rpc.Transport.
func (t *Transport) Name() string { return "shm" }

// NewCall implements rpc.Transport. Body has room for rpc.MaxBody bytes of C memory.
func (t *Transport) NewCall() *rpc.Call {
	t.mu.Lock()
	if n := len(t.free); n > 0 {
		c := t.free[n-1]
		t.free = t.free[:n-1]
		t.mu.Unlock()
		return c
	}
	t.mu.Unlock()
	k := &call{c: (*C.near_call)(C.calloc(1, C.sizeof_near_call))}
	c := &rpc.Call{Impl: k}
	if k.c != nil {
		c.Body = k.body()[:0]
	}
	return c
}

// FreeCall implements rpc.Transport.
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
		C.free(unsafe.Pointer(k.c))
		k.c, c.Body = nil, nil
	}
}

func (k *call) body() []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(&k.c.frame[rpc.HeaderBytes])), rpc.MaxBody)
}

// Alloc implements rpc.Transport: zeroed C memory that begins on a page.
func (t *Transport) Alloc(bytes int) ([]byte, error) {
	if bytes <= 0 {
		return nil, fmt.Errorf("shm: allocation of %d bytes", bytes)
	}
	memory := C.aligned_alloc(4096, (C.size_t(bytes)+4095)/4096*4096)
	if memory == nil {
		return nil, syscall.ENOMEM
	}
	C.memset(memory, 0, C.size_t(bytes))
	return unsafe.Slice((*byte)(memory), bytes), nil
}

// Free implements rpc.Transport.
func (t *Transport) Free(memory []byte) { C.free(pointer(memory)) }

// ---- links ----

// dialAtMost bounds a Dial whose context has no deadline.
const dialAtMost = 10 * time.Second

// Dial implements rpc.Transport: it connects to the target's door, unless another link to the daemon has done so, and takes a first lane.
func (t *Transport) Dial(ctx context.Context, target rpc.Target) (rpc.Link, error) {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(dialAtMost)
	}
	d, err := t.enter(target, deadline)
	if err != nil {
		return nil, err
	}
	l := &link{
		t: t, door: d, shard: target.Peer.Shard,
		info: rpc.LinkInfo{Transport: "shm", Remote: target.Peer.String()}, lanes: map[*C.near_lane]struct{}{},
	}
	t.mu.Lock()
	t.links[l] = struct{}{}
	t.mu.Unlock()
	lane, err := l.take(int64(time.Until(deadline)))
	if err != nil {
		_ = l.Close()
		return nil, err
	}
	l.give(lane)
	return l, nil
}

// enter opens the door of a target's daemon, or finds it open. leave follows.
func (t *Transport) enter(target rpc.Target, deadline time.Time) (*door, error) {
	key, remote := doorKey{target.Door, target.Incarnation}, target.Peer.String()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, &rpc.TransportError{Remote: remote, Reason: "the transport is closed"}
	}
	d := t.doors[key]
	if d != nil && C.near_door_alive(d.c) == 0 {
		delete(t.doors, key) // its users close it
		d = nil
	}
	if d == nil {
		var err error
		if d, err = openDoor(key, deadline); err != nil {
			if err == syscall.ENOENT {
				return nil, fmt.Errorf("%s: %w", remote, ErrNoDoor)
			}
			return nil, &rpc.ConnectionError{Remote: remote, Reason: "its door: " + err.Error()}
		}
		t.doors[key] = d
	}
	d.users++
	return d, nil
}

func openDoor(key doorKey, deadline time.Time) (*door, error) {
	d := &door{key: key, c: (*C.near_door)(C.calloc(1, C.sizeof_near_door)), wakes: map[uint32]C.int{}}
	if d.c == nil {
		return nil, syscall.ENOMEM
	}
	path := C.CString(key.path)
	defer C.free(unsafe.Pointer(path))
	if errno := C.near_door_open(d.c, path, C.uint64_t(key.incarnation), C.int64_t(time.Until(deadline))); errno != 0 {
		C.free(unsafe.Pointer(d.c))
		return nil, syscall.Errno(errno)
	}
	d.c.fd = C.int(KeepDescriptor(int(d.c.fd)))
	return d, nil
}

// leave takes a user off a door, and closes it behind the last one.
func (t *Transport) leave(d *door) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if d.users--; d.users > 0 {
		return
	}
	if t.doors[d.key] == d {
		delete(t.doors, d.key)
	}
	C.near_door_shut(d.c)
	_ = CloseDescriptor(int(d.c.fd))
	for _, fd := range d.wakes {
		_ = CloseDescriptor(int(fd))
	}
	C.free(unsafe.Pointer(d.c))
}

// take is an idle lane of the link, or a new one.
func (l *link) take(budget int64) (*C.near_lane, error) {
	l.mu.Lock()
	if l.closed.Load() {
		l.mu.Unlock()
		return nil, &rpc.ConnectionError{Remote: l.info.Remote, Reason: "closed at this end"}
	}
	l.users.Add(1)
	if n := len(l.idle); n > 0 {
		lane := l.idle[n-1]
		l.idle = l.idle[:n-1]
		l.mu.Unlock()
		return lane, nil
	}
	l.mu.Unlock()
	lane, err := l.newLane(budget)
	if err != nil {
		l.users.Done()
		return nil, err
	}
	l.mu.Lock()
	l.lanes[lane] = struct{}{}
	if l.closed.Load() {
		C.near_stop(lane)
	}
	l.mu.Unlock()
	return lane, nil
}

func (l *link) newLane(budget int64) (*C.near_lane, error) {
	lane := (*C.near_lane)(C.calloc(1, C.sizeof_near_lane))
	if lane == nil {
		return nil, &rpc.TransportError{Remote: l.info.Remote, Reason: "out of memory for a lane"}
	}
	l.t.mu.Lock()
	wake, known := l.door.wakes[l.shard]
	l.t.mu.Unlock()
	if !known {
		wake = -1
	}
	if errno := C.near_lane_open(lane, l.door.c, C.uint32_t(l.shard), wake, C.int64_t(budget)); errno != 0 {
		C.free(unsafe.Pointer(lane))
		return nil, l.doorError(syscall.Errno(errno), "no lane")
	}
	if !known {
		l.keepWake(lane)
	}
	return lane, nil
}

// keepWake moves the wake descriptor that a lane has brought out of the host's way. Another thread may have been faster.
func (l *link) keepWake(lane *C.near_lane) {
	l.t.mu.Lock()
	defer l.t.mu.Unlock()
	if wake, known := l.door.wakes[l.shard]; known {
		_ = unix.Close(int(lane.wake))
		lane.wake = wake
		return
	}
	lane.wake = C.int(KeepDescriptor(int(lane.wake)))
	l.door.wakes[l.shard] = lane.wake
}

// give puts a lane back.
func (l *link) give(lane *C.near_lane) {
	l.mu.Lock()
	l.idle = append(l.idle, lane)
	l.mu.Unlock()
	l.users.Done()
}

// drop gives up a lane that the shard may still write a late reply into.
func (l *link) drop(lane *C.near_lane) {
	l.mu.Lock()
	delete(l.lanes, lane)
	l.mu.Unlock()
	C.near_lane_leave(lane)
	C.free(unsafe.Pointer(lane))
	l.users.Done()
}

// Info implements rpc.Link.
func (l *link) Info() rpc.LinkInfo { return l.info }

// Alive implements rpc.Link.
func (l *link) Alive() bool { return !l.closed.Load() && !l.lost.Load() }

// Close implements rpc.Link. Calls that are under way on the link end within NEAR_NAP_NS.
func (l *link) Close() error {
	l.mu.Lock()
	if l.closed.Swap(true) {
		l.mu.Unlock()
		return nil
	}
	for lane := range l.lanes {
		C.near_stop(lane)
	}
	l.mu.Unlock()
	l.users.Wait()
	for lane := range l.lanes {
		C.near_lane_close(lane)
		C.free(unsafe.Pointer(lane))
	}
	l.idle, l.lanes = nil, nil
	l.t.mu.Lock()
	delete(l.t.links, l)
	l.t.mu.Unlock()
	l.t.leave(l.door)
	return nil
}

// Close implements rpc.Transport.
func (t *Transport) Close() error {
	t.mu.Lock()
	t.closed = true
	links := make([]*link, 0, len(t.links))
	for l := range t.links {
		links = append(links, l)
	}
	for _, c := range t.free {
		freeCall(c)
	}
	t.free = nil
	t.mu.Unlock()
	for _, l := range links {
		_ = l.Close() // never fails
	}
	return nil
}

// ---- calls ----

// bufferLeast is the smallest buffer that a lane gets.
const bufferLeast = 256 << 10

// Run implements rpc.Transport. The calls of each shard run on a lane of their own, all at once.
func (t *Transport) Run(deadline time.Time, calls []*rpc.Call) {
	budget := int64(math.MaxInt64)
	if !deadline.IsZero() {
		budget = int64(time.Until(deadline))
	}
	var one [1]run
	runs := one[:0]
	for start := 0; start < len(calls); {
		l, ok := calls[start].Link.(*link)
		end := start + 1
		for end < len(calls) && calls[end].Link == calls[start].Link {
			end++
		}
		switch group := calls[start:end]; {
		case !ok:
			failAll(group, &rpc.ConnectionError{Remote: calls[start].To.String(), Reason: "no link of this transport"})
		case budget <= 0:
			failAll(group, &rpc.Timeout{Remote: l.info.Remote})
		case end-start == len(calls):
			l.runAll(budget, group)
		default:
			runs = append(runs, l.begin(budget, group))
		}
		start = end
	}
	for i := range runs {
		runs[i].end()
	}
}

func failAll(calls []*rpc.Call, err error) {
	for _, c := range calls {
		c.Err = err
	}
}

// runAll runs calls that all go to one shard, in one crossing into C.
func (l *link) runAll(budget int64, calls []*rpc.Call) {
	r, first := l.prepareAll(budget, calls)
	if r.lane != nil {
		C.near_run(r.lane, first, C.int64_t(budget))
		r.finish()
	}
}

// run is calls in progress on a lane; lane nil: they have failed already.
type run struct {
	link  *link
	lane  *C.near_lane
	calls []*rpc.Call
}

func (l *link) begin(budget int64, calls []*rpc.Call) run {
	r, first := l.prepareAll(budget, calls)
	if r.lane != nil {
		C.near_begin(r.lane, first, C.int64_t(budget))
	}
	return r
}

func (r *run) end() {
	if r.lane != nil {
		C.near_end(r.lane)
		r.finish()
	}
}

// prepareAll takes a lane, and chains the C parts of the calls.
func (l *link) prepareAll(budget int64, calls []*rpc.Call) (run, *C.near_call) {
	lane, err := l.take(budget)
	if err == nil {
		if err = l.buffer(lane, budget, calls); err != nil {
			l.give(lane)
		}
	}
	if err != nil {
		failAll(calls, err)
		return run{}, nil
	}
	var first, last *C.near_call
	for _, c := range calls {
		var k *C.near_call
		if k, c.Err = l.prepare(c, budget); k == nil {
			continue
		}
		if last == nil {
			first = k
		} else {
			last.next = k
		}
		last = k
	}
	return run{l, lane, calls}, first
}

// finish takes over what the calls brought, and gives the lane back.
func (r *run) finish() {
	for _, c := range r.calls {
		if c.Err == nil {
			c.Err = r.link.outcome(c)
		}
	}
	if r.lane.spent != 0 {
		r.link.drop(r.lane)
		return
	}
	r.link.give(r.lane)
}

// buffer makes sure that the lane's buffer takes the largest of the calls, twice, so that the shard fills one half while this process empties the
// other.
func (l *link) buffer(lane *C.near_lane, budget int64, calls []*rpc.Call) error {
	largest := 0
	for _, c := range calls {
		largest = max(largest, len(c.Out)+len(c.In))
	}
	const rounding = 128
	if largest == 0 || C.uint64_t(largest+rounding) <= lane.buffer_bytes {
		return nil
	}
	bytes := C.uint64_t(bufferLeast)
	for bytes < 2*C.uint64_t(largest+rounding) {
		bytes *= 2
	}
	errno := C.near_lane_buffer(lane, bytes, C.int64_t(budget))
	return l.doorError(syscall.Errno(errno), "no buffer")
}

// doorError is what a question at the door ended with.
func (l *link) doorError(errno syscall.Errno, what string) error {
	switch {
	case errno == 0:
		return nil
	case errno == syscall.ETIMEDOUT:
		return &rpc.Timeout{Remote: l.info.Remote}
	case C.near_door_alive(l.door.c) == 0:
		l.lost.Store(true)
		return &rpc.ConnectionError{Remote: l.info.Remote, Reason: "the daemon is gone"}
	}
	return &rpc.TransportError{Remote: l.info.Remote, Reason: what + ": " + errno.Error()}
}

// prepare fills in the C part of a call.
func (l *link) prepare(c *rpc.Call, budget int64) (*C.near_call, error) {
	c.Reply, c.Answer, c.Received = rpc.Header{}, nil, 0
	k, ok := c.Impl.(*call)
	if !ok || k.c == nil {
		return nil, &rpc.TransportError{Remote: l.info.Remote, Reason: "out of memory for calls"}
	}
	if len(c.Body) > rpc.MaxBody {
		return nil, &rpc.InvalidHeader{Reason: "body longer than a frame takes"}
	}
	k.c.next = nil
	k.c.out, k.c.out_bytes = pointer(c.Out), C.uint64_t(len(c.Out))
	k.c.in, k.c.in_bytes = pointer(c.In), C.uint64_t(len(c.In))
	h := &c.Header
	h.Kind, h.Status, h.Errno, h.Flags, h.ID = rpc.KindRequest, 0, 0, 0, ids.Add(1)
	h.BodyLen, h.BulkLen, h.TimeoutMS = uint32(len(c.Body)), uint64(len(c.Out)), 0
	if budget != math.MaxInt64 {
		h.TimeoutMS = uint32(min((budget+999_999)/1_000_000, math.MaxUint32))
	}
	h.Put(unsafe.Slice((*byte)(unsafe.Pointer(&k.c.frame[0])), rpc.HeaderBytes))
	if body := k.body(); len(c.Body) > 0 && &c.Body[0] != &body[0] {
		copy(body, c.Body)
	}
	k.c.frame_bytes = C.uint32_t(rpc.HeaderBytes + len(c.Body))
	return k.c, nil
}

// outcome is how a call ended; its answer is in the call.
func (l *link) outcome(c *rpc.Call) error {
	k := c.Impl.(*call)
	switch k.c.outcome {
	case C.NEAR_OK:
	case C.NEAR_TIMEOUT:
		return &rpc.Timeout{Remote: l.info.Remote}
	case C.NEAR_LOST:
		l.lost.Store(true)
		return &rpc.ConnectionError{Remote: l.info.Remote, Reason: "the daemon is gone, or the link was closed"}
	case C.NEAR_TOO_LONG:
		return &rpc.TransportError{Remote: l.info.Remote, Reason: "the reply is longer than its buffer"}
	default:
		return &rpc.InvalidHeader{Reason: "a reply that makes no sense"}
	}
	reply := unsafe.Slice((*byte)(unsafe.Pointer(&k.c.reply[0])), int(k.c.reply_bytes))
	var err error
	if c.Answer, err = c.Reply.Parse(reply); err != nil {
		return err
	}
	if c.Reply.ID != c.Header.ID || c.Reply.Kind != rpc.KindReply || c.Reply.BulkLen != uint64(k.c.received) {
		return &rpc.InvalidHeader{Reason: "the reply is to another call"}
	}
	c.Received = int(k.c.received)
	return rpc.ReplyError(&c.Reply)
}
