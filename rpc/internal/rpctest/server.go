// Package rpctest has the shard that the tests of rpc and its transports talk to: it shakes hands, echoes, and does what a test asks.
package rpctest

import (
	"sync/atomic"

	"github.com/benchfs/benchfs/rpc"
)

// Server implements rpc.Service. Change Reply and Handle only before the first call, or under Loop.Submit.
type Server struct {
	Reply  rpc.HelloReply            // answers a handshake; Session is filled in
	Status rpc.Status                // StatusOK, or how handshakes are answered
	Handle func(r *rpc.Request) bool // sees each request first; true: it is taken care of

	Served   [rpc.MsgMax + 1]atomic.Int64 // requests by type; unknown types in the last
	GoneSeen atomic.Int64
}

// New returns a server that accepts everybody as peer, in its first incarnation, of a cluster of so many shards at epoch 1.
func New(peer rpc.PeerID, incarnation uint64) *Server {
	return &Server{Reply: rpc.HelloReply{
		Epoch: 1, Incarnation: incarnation, Peer: peer, Shards: 1 << 16, MaxBulk: 64 << 20, ChunkBits: 22, Build: []byte("test"),
	}}
}

// Serve implements rpc.Service.
func (s *Server) Serve(r *rpc.Request) {
	s.Served[min(r.Header.Type, rpc.MsgMax)].Add(1)
	if s.Handle != nil && s.Handle(r) {
		return
	}
	switch r.Header.Type {
	case rpc.MsgHello:
		reply := s.Reply
		reply.Session = r.Peer.Session()
		var body []byte
		if s.Status == rpc.StatusOK {
			body = reply.AppendTo(nil)
		} else {
			body = []byte("because the test says so")
		}
		r.Reply(s.Status, 0, body, nil)
	case rpc.MsgBye:
		peer := r.Peer
		r.Reply(rpc.StatusOK, 0, nil, nil)
		peer.Close()
	case rpc.MsgEcho:
		s.echo(r)
	default:
		r.Reply(rpc.StatusUnknown, 0, nil, nil)
	}
}

func (s *Server) echo(r *rpc.Request) {
	data := r.Payload
	if data == nil && r.Header.BulkLen > 0 {
		data = make([]byte, r.Header.BulkLen)
		r.Op = data
		done, err := r.Recv(data)
		if !done {
			return
		}
		if err != nil {
			r.Reply(rpc.StatusInvalid, 0, nil, nil)
			return
		}
	}
	r.Reply(rpc.StatusOK, 0, r.Body, data)
}

// Received implements rpc.Service.
func (s *Server) Received(r *rpc.Request, err error) {
	if err != nil {
		r.Reply(rpc.StatusInvalid, 0, nil, nil)
		return
	}
	r.Reply(rpc.StatusOK, 0, r.Body, r.Op.([]byte))
}

// Replied implements rpc.Service.
func (s *Server) Replied(*rpc.Request, error) {}

// Gone implements rpc.Service.
func (s *Server) Gone(rpc.Peer) { s.GoneSeen.Add(1) }
