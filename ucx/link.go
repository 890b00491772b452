package ucx

/*
#include <stdlib.h>
#include "bfs.h"
*/
import "C"

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/benchfs/benchfs/rpc"
)

// dialAtMost bounds a Dial whose context has no deadline.
const dialAtMost = 30 * time.Second

// Link is an rpc.Link: one UCX endpoint of a Transport.
type Link struct {
	transport *Transport // keeps the C side alive
	c         *C.bfs_link
	info      rpc.LinkInfo
	closed    atomic.Bool
}

// Info implements rpc.Link. Transport names the lanes that carry data, as UCX tells them.
func (l *Link) Info() rpc.LinkInfo { return l.info }

// Alive implements rpc.Link.
func (l *Link) Alive() bool {
	return !l.closed.Load() && !retired(l.c.client) &&
		atomic.LoadInt32((*int32)(unsafe.Pointer(&l.c.failed))) == C.UCS_OK
}

// Close implements rpc.Link. It does not wait for the peer. Calls in flight on the link fail with a *rpc.ConnectionError.
func (l *Link) Close() error {
	if !l.closed.Swap(true) {
		C.bfs_link_close(l.c)
	}
	return nil
}

func retired(client *C.bfs_client) bool {
	return atomic.LoadInt32((*int32)(unsafe.Pointer(&client.retired))) != 0
}

func stale(client *C.bfs_client) bool {
	return atomic.LoadInt32((*int32)(unsafe.Pointer(&client.stale))) != 0
}

// Dial implements rpc.Transport: by worker address (as Server.Address gives it) where the target has one, else
// by "host:port", where it asks for that address. It returns when the peer can be reached, or by ctx's deadline.
func (t *Transport) Dial(ctx context.Context, target rpc.Target) (rpc.Link, error) {
	remote := remoteName(target)
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(dialAtMost)
	}
	if err := ctx.Err(); err != nil {
		return nil, dialError(ctx, remote, err.Error())
	}
	client, err := t.current()
	if err != nil {
		return nil, err
	}
	link := &Link{transport: t, info: rpc.LinkInfo{Remote: remote}}
	if len(target.Worker) == 0 {
		if target.Worker, err = askGate(ctx, deadline, target.Socket, remote); err != nil {
			return nil, err
		}
	}
	if link.c, err = linkByAddress(client, target, remote); err != nil {
		return nil, err
	}
	if err := link.connect(ctx, deadline); err != nil {
		link.Close()
		return nil, err
	}
	C.bfs_link_describe(link.c)
	link.info.Transport = C.GoString(&link.c.transport[0])
	return link, nil
}

// connect waits until everything UCX does to set up the endpoint is done: what a flush waits for.
func (l *Link) connect(ctx context.Context, deadline time.Time) error {
	stop := context.AfterFunc(ctx, func() { C.bfs_link_abort(l.c) })
	defer stop()
	outcome, status, err := l.flush(deadline)
	switch {
	case err != nil:
		return err
	case outcome == C.BFS_DONE:
		return nil
	case ctx.Err() != nil:
		return dialError(ctx, l.info.Remote, ctx.Err().Error())
	}
	return callError(outcome, status, l.info.Remote)
}

// flush waits until UCX has done all that the endpoint has to do (ucp_ep_flush_nbx).
func (l *Link) flush(deadline time.Time) (outcome, status int, err error) {
	c := l.transport.NewCall()
	defer l.transport.FreeCall(c)
	k := c.Impl.(*call)
	if k.c == nil {
		return 0, 0, &rpc.TransportError{Remote: l.info.Remote, Reason: "out of memory for calls"}
	}
	if err := k.attach(l); err != nil {
		return 0, 0, err
	}
	k.c.link, k.c.next, k.c.kind = l.c, nil, C.BFS_CALL_FLUSH
	k.c.out, k.c.in, k.c.out_bytes, k.c.in_bytes = nil, nil, 0, 0
	C.bfs_run(l.c.client, k.c, C.int64_t(max(time.Until(deadline), 1)))
	outcome, status = int(k.c.outcome), int(k.c.status)
	if k.c.state == C.BFS_ZOMBIE {
		k.replace(c)
	}
	return outcome, status, nil
}

func dialError(ctx context.Context, remote, reason string) error {
	if ctx.Err() == context.DeadlineExceeded {
		return &rpc.Timeout{Remote: remote}
	}
	return &rpc.ConnectionError{Remote: remote, Reason: reason}
}

func remoteName(target rpc.Target) string {
	name := fmt.Sprintf("node %d shard %d", target.Peer.Node, target.Peer.Shard)
	if target.Socket != "" {
		name += " (" + target.Socket + ")"
	}
	return name
}

func linkByAddress(client *C.bfs_client, target rpc.Target, remote string) (*C.bfs_link, error) {
	var status C.int
	c := C.bfs_link_by_address(client, (*C.uint8_t)(pointer(target.Worker)), C.size_t(len(target.Worker)), &status)
	if c == nil {
		return nil, &rpc.ConnectionError{Remote: remote, Reason: statusText(int(status))}
	}
	return c, nil
}

// askGate gets the worker address behind host:port. Both the look-up of a name and the conversation run on a goroutine of
// their own, which is left behind when ctx ends first; it ends by the deadline, or with the resolver's patience.
func askGate(ctx context.Context, deadline time.Time, hostport, remote string) ([]byte, error) {
	type result struct {
		worker []byte
		err    error
	}
	done := make(chan result, 1)
	go func() {
		worker, err := converse(hostport, deadline)
		done <- result{worker, err}
	}()
	select {
	case r := <-done:
		switch {
		case r.err == syscall.ETIMEDOUT:
			return nil, &rpc.Timeout{Remote: remote}
		case r.err != nil:
			return nil, &rpc.ConnectionError{Remote: remote, Reason: r.err.Error()}
		}
		return r.worker, nil
	case <-ctx.Done():
		return nil, dialError(ctx, remote, ctx.Err().Error())
	}
}

func converse(hostport string, deadline time.Time) ([]byte, error) {
	socket, err := resolve(hostport, false)
	if err != nil {
		return nil, err
	}
	var worker *C.uint8_t
	var bytes C.uint32_t
	budget := C.int64_t(time.Until(deadline))
	if errno := C.bfs_gate_ask(&socket.storage, socket.bytes, budget, &worker, &bytes); errno != 0 {
		return nil, syscall.Errno(errno)
	}
	defer C.free(unsafe.Pointer(worker))
	return C.GoBytes(unsafe.Pointer(worker), C.int(bytes)), nil
}

type socketAddress struct {
	storage C.struct_sockaddr_storage
	bytes   C.socklen_t
}

// resolve turns "host:port" into a socket address; names are looked up by getaddrinfo, which may take seconds.
func resolve(hostport string, passive bool) (*socketAddress, error) {
	colon := strings.LastIndexByte(hostport, ':')
	if colon < 0 || colon == len(hostport)-1 {
		return nil, fmt.Errorf("%q is not host:port", hostport)
	}
	return lookUp(strings.Trim(hostport[:colon], "[]"), hostport[colon+1:], passive)
}

func lookUp(host, port string, passive bool) (*socketAddress, error) {
	h, p := C.CString(host), C.CString(port)
	defer C.free(unsafe.Pointer(h))
	defer C.free(unsafe.Pointer(p))
	var reason [128]C.char
	var listen C.int
	if passive {
		listen = 1
	}
	address := &socketAddress{}
	if C.bfs_resolve(h, p, listen, &address.storage, &address.bytes, &reason[0], C.size_t(len(reason))) != 0 {
		return nil, fmt.Errorf("%s:%s: %s", host, port, C.GoString(&reason[0]))
	}
	return address, nil
}

// Active-message ids, for tests.
const (
	amRequest = uint(C.BFS_AM_REQUEST)
	amReply   = uint(C.BFS_AM_REPLY)
	amLeave   = uint(C.BFS_AM_LEAVE)
)

// sendRaw sends a frame that nobody has checked, as active message am.
func (l *Link) sendRaw(am uint, frame []byte) error {
	if status := C.bfs_link_send_raw(l.c, C.uint(am), pointer(frame), C.size_t(len(frame))); status != C.UCS_OK {
		return &rpc.TransportError{Remote: l.info.Remote, Reason: statusText(int(status))}
	}
	return nil
}

// progress lets the worker notice what has happened, without a call.
func (l *Link) progress() { C.bfs_client_progress(l.c.client) }
