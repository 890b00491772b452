package inproc

import (
	"fmt"

	"github.com/benchfs/benchfs/internal/memcopy"
	"github.com/benchfs/benchfs/rpc"
)

// request is the server's side of a call. It implements rpc.RequestImpl. All of it is guarded by its shard's mu: the service
// may use it on the shard's thread only.
type request struct {
	rpc.Request
	at      *shard
	link    *link
	call    *call // whose request it is; nil when nobody waits for the answer (any more)
	body    [rpc.MaxBody]byte
	payload []byte // memory of Payload
	done    bool   // a reply was given; a second one, a defect of the service, must not answer somebody else's request
}

// Recv implements rpc.RequestImpl.
func (r *request) Recv(_ *rpc.Request, dst []byte) (done bool, err error) {
	if uint64(len(dst)) < r.Header.BulkLen {
		return true, badCall("%d bytes of payload into %d", r.Header.BulkLen, len(dst))
	}
	s := r.at
	if !s.net.late.Load() {
		return true, r.fetch(dst)
	}
	if !s.Submit(func() { s.svc.Received(&r.Request, r.fetch(dst)) }) {
		return true, gone(r.at.name)
	}
	return false, nil
}

// fetch copies the payload from where it is.
func (r *request) fetch(dst []byte) error {
	switch {
	case r.Payload != nil:
		memcopy.In(dst, r.Payload)
	case r.call != nil:
		memcopy.In(dst, r.call.Out)
	default:
		return &rpc.ConnectionError{Remote: "a client in this process", Reason: "the sender has taken its payload back"}
	}
	return nil
}

// Reply implements rpc.RequestImpl.
func (r *request) Reply(_ *rpc.Request, status rpc.Status, errno uint32, body, bulk []byte) (done bool) {
	s := r.at
	if r.done {
		return true
	}
	r.done = true
	if r.Header.Type == rpc.MsgHello && status != rpc.StatusOK && r.Peer != nil {
		r.Peer.Close() // a handshake that was refused leaves no session
	}
	if r.call != nil && len(bulk) > 0 && s.net.late.Load() {
		kept := append([]byte(nil), body...) // body is the service's to use again
		if s.Submit(func() {
			s.answer(r, status, errno, kept, bulk)
			s.svc.Replied(&r.Request, nil)
			s.recycle(r)
		}) {
			return false
		}
	}
	s.answer(r, status, errno, body, bulk)
	s.recycle(r)
	return true
}

// answer ends the call with a reply, if somebody still waits for it and the reply does not get lost.
func (s *shard) answer(r *request, status rpc.Status, errno uint32, body, bulk []byte) {
	c := r.call
	if c == nil {
		return
	}
	h := r.Header
	h.Kind, h.Status, h.Errno, h.Flags, h.TimeoutMS = rpc.KindReply, status, errno, 0, 0
	h.BodyLen, h.BulkLen = uint32(len(body)), uint64(len(bulk))
	if s.net.faults.Load() == nil || !s.interfere(r, h, body, bulk) {
		s.deliver(c, &h, body, bulk)
	}
}

// interfere does to a reply what the faults say; false: it arrives as it should.
func (s *shard) interfere(r *request, h rpc.Header, body, bulk []byte) bool {
	c := r.call
	fault := s.net.replyFault(s.peer, &h)
	switch fault.Action {
	case Drop:
		c.req, r.call = nil, nil
	case Fail:
		s.finish(c, fault.Err)
	case Delay:
		// The request is finished for the service; the reply's bytes are on the network, and the caller may be gone when they arrive.
		onTheWay := &request{at: s, call: c} // stands for r at the call, which clears it when it ends
		c.req, r.call = onTheWay, nil
		lateBody, lateBulk := append([]byte(nil), body...), append([]byte(nil), bulk...)
		s.after(fault.Delay, func() {
			if onTheWay.call != nil {
				s.deliver(onTheWay.call, &h, lateBody, lateBulk)
			}
		})
	default:
		return false
	}
	return true
}

// deliver writes a reply into the caller's memory and ends the call.
func (s *shard) deliver(c *call, h *rpc.Header, body, bulk []byte) {
	switch {
	case len(body) > rpc.MaxBody:
		s.finish(c, badCall("reply with a body of %d bytes", len(body)))
		return
	case len(bulk) > len(c.In):
		s.finish(c, &rpc.TransportError{Remote: s.name, Reason: fmt.Sprintf("a reply of %d bytes for a buffer of %d", len(bulk), len(c.In))})
		return
	}
	c.Reply = *h
	c.Answer = append(c.answer[:0], body...)
	c.Received = memcopy.Out(c.In, bulk)
	s.finish(c, rpc.ReplyError(&c.Reply))
}

// keepPayload is the largest payload memory that a request keeps for its next use.
const keepPayload = 1 << 20

// recycle is the end of a request.
func (s *shard) recycle(r *request) {
	if r.call != nil {
		r.call.req = nil
	}
	if cap(r.payload) > keepPayload {
		r.payload = nil
	}
	r.Header, r.Body, r.Peer, r.Payload, r.Op = rpc.Header{}, nil, nil, nil, nil
	r.link, r.call, r.done = nil, nil, true
	s.free = append(s.free, r)
}
