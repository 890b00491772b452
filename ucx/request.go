package ucx

/*
#include "bfs.h"
*/
import "C"

import (
	"sync/atomic"
	"unsafe"

	"github.com/benchfs/benchfs/internal/memcopy"
	"github.com/benchfs/benchfs/rpc"
)

// peer is an rpc.Peer. It is used on the shard's thread only.
type peer struct {
	server  *Server
	c       *C.bfs_peer
	client  uint64
	session uint32
	info    rpc.LinkInfo
	closed  bool
}

func (p *peer) Client() uint64     { return p.client }
func (p *peer) Session() uint32    { return p.session }
func (p *peer) Info() rpc.LinkInfo { return p.info }

// Close forgets the peer. Answers given before still leave; its slot is free for another once they have.
func (p *peer) Close() {
	if p.closed {
		return
	}
	p.closed = true
	if slot := int(p.c.index); p.server.peers[slot] == p {
		p.server.peers[slot] = nil
	}
	C.bfs_peer_close(p.c)
}

func (s *Server) newPeer(c *C.bfs_peer) {
	slot := int(c.index)
	for len(s.peers) <= slot {
		s.peers = append(s.peers, nil)
	}
	s.peers[slot] = &peer{
		server:  s,
		c:       c,
		client:  uint64(c.client),
		session: uint32(c.session),
		info:    rpc.LinkInfo{Transport: C.GoString(&c.conn.transport[0]), Remote: "client"},
	}
}

// request is the transport's part of an rpc.Request, and holds it. There is one for each request in C, for ever.
type request struct {
	rpc.Request
	server *Server
	c      *C.bfs_req
}

func (s *Server) requestAt(index int) *request {
	for len(s.requests) <= index {
		reqs := unsafe.Slice(s.c.reqs, int(s.c.req_count))
		q := &request{server: s, c: reqs[len(s.requests)]}
		s.requests = append(s.requests, q)
	}
	return s.requests[index]
}

// serve hands a new request to the service.
func (s *Server) serve(q *request) {
	p := s.peers[int(q.c.peer.index)]
	frame := unsafe.Slice((*byte)(unsafe.Pointer(&q.c.header[0])), int(q.c.header_bytes))
	r := &q.Request
	*r = rpc.Request{Impl: q}
	body, err := r.Header.Parse(frame)
	if p == nil || err != nil || p.c != q.c.peer { // closed since the request came
		C.bfs_req_release(q.c)
		return
	}
	r.Body, r.Peer = body, p
	if q.c.data_state == C.BFS_DATA_EAGER {
		r.Payload = unsafe.Slice((*byte)(q.c.data), int(q.c.data_bytes))
	}
	s.service.Serve(r)
}

// Recv implements rpc.RequestImpl.
func (q *request) Recv(r *rpc.Request, dst []byte) (done bool, err error) {
	switch {
	case r.Header.BulkLen == 0:
		return true, nil
	case uint64(len(dst)) < r.Header.BulkLen:
		return true, &rpc.InvalidHeader{Reason: "the payload is longer than its buffer"}
	case r.Payload != nil:
		memcopy.In(dst, r.Payload)
		return true, nil
	}
	switch result := C.bfs_req_recv(q.c, pointer(dst)); {
	case result == 0:
		return false, nil
	case result < 0:
		return true, transferError(q, C.int32_t(result))
	}
	return true, nil
}

// Reply implements rpc.RequestImpl. The answer leaves with the next flush: at the end of the batch at the latest.
func (q *request) Reply(r *rpc.Request, status rpc.Status, errno uint32, body, bulk []byte) (done bool) {
	if q.c.peer.failed != C.UCS_OK {
		C.bfs_req_release(q.c)
		return true
	}
	if len(body) > rpc.MaxBody {
		status, errno, body, bulk = rpc.StatusInvalid, 0, nil, nil
	}
	h := rpc.Header{
		Kind:    rpc.KindReply,
		Type:    r.Header.Type,
		ID:      r.Header.ID,
		Op:      r.Header.Op,
		Client:  r.Header.Client,
		Session: r.Peer.Session(),
		Epoch:   r.Header.Epoch,
		Status:  status,
		Errno:   errno,
		BodyLen: uint32(len(body)),
		BulkLen: uint64(len(bulk)),
	}
	frame := unsafe.Slice((*byte)(unsafe.Pointer(&q.c.reply[0])), rpc.HeaderBytes+rpc.MaxBody)
	h.Put(frame)
	copy(frame[rpc.HeaderBytes:], body)
	q.c.reply_bytes = C.uint32_t(rpc.HeaderBytes + len(body))
	q.c.bulk, q.c.bulk_bytes, q.c.has_bulk = pointer(bulk), C.uint64_t(len(bulk)), 0
	if len(bulk) > 0 {
		q.c.has_bulk = 1
	}
	q.c.next = nil
	s := q.server
	*s.c.outbox_end = q.c
	s.c.outbox_end = &q.c.next
	s.replies++
	return len(bulk) == 0
}

func transferError(q *request, status C.int32_t) error {
	if status == C.UCS_OK {
		return nil
	}
	remote := "client"
	if q.Peer != nil {
		remote = q.Peer.Info().Remote
	}
	if status == C.UCS_ERR_TIMED_OUT || status == C.UCS_ERR_CANCELED {
		return &rpc.Timeout{Remote: remote}
	}
	return &rpc.TransportError{Remote: remote, Reason: statusText(int(status))}
}

// ServerStats are the counters of a Server since it was made.
type ServerStats struct {
	Requests          uint64 `json:"requests"`
	Replies           uint64 `json:"replies"`
	BytesIn           uint64 `json:"bytes_in"`  // bulk payload
	BytesOut          uint64 `json:"bytes_out"` // bulk payload
	Garbage           uint64 `json:"garbage"`   // frames that did not parse
	NoSession         uint64 `json:"no_session"`
	Hellos            uint64 `json:"hellos"`
	Cancels           uint64 `json:"cancels"` // payloads that their sender took back
	Expired           uint64 `json:"expired"` // payloads that were wanted after their sender's deadline
	Dropped           uint64 `json:"dropped"` // requests for which there was no memory or no way back
	Peers             uint64 `json:"peers"`   // now
	PeersGone         uint64 `json:"peers_gone"`
	Connections       uint64 `json:"connections"` // endpoints to clients, in all
	ClosedConnections uint64 `json:"closed_connections"`
	Callers           uint64 `json:"callers"`         // at the port: told the worker address
	RefusedCallers    uint64 `json:"refused_callers"` // at the port: said something else, or nothing
}

// Stats may be called from any goroutine. The counters are read one by one while the shard runs.
func (s *Server) Stats() ServerStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.c == nil {
		return s.last
	}
	return s.statsLocked()
}

func (s *Server) statsLocked() ServerStats {
	c := &s.c.stats
	load := func(counter *C.uint64_t) uint64 { return atomic.LoadUint64((*uint64)(unsafe.Pointer(counter))) }
	var callers, refused uint64
	if s.c.gate != nil {
		callers, refused = uint64(C.bfs_gate_answered(s.c.gate)), uint64(C.bfs_gate_refused(s.c.gate))
	}
	return ServerStats{
		Callers:           callers,
		RefusedCallers:    refused,
		Requests:          load(&c.requests),
		Replies:           load(&c.replies),
		BytesIn:           load(&c.bytes_in),
		BytesOut:          load(&c.bytes_out),
		Garbage:           load(&c.garbage),
		NoSession:         load(&c.no_session),
		Hellos:            load(&c.hellos),
		Cancels:           load(&c.cancels),
		Expired:           load(&c.expired),
		Dropped:           load(&c.dropped),
		Peers:             load(&c.peers),
		PeersGone:         load(&c.peers_gone),
		Connections:       load(&c.connections),
		ClosedConnections: load(&c.closed_connections),
	}
}
