package server

import (
	"crypto/subtle"
	"time"

	"github.com/benchfs/benchfs/internal/procfs"
	"github.com/benchfs/benchfs/meta"
	"github.com/benchfs/benchfs/rpc"
)

// session is one accepted connection. A client has as many as it has client workers.
type session struct {
	peer   rpc.Peer
	client uint64
}

// clientState is one client process, over all its sessions.
type clientState struct {
	sessions int
	pid      uint32
	process  *procfs.Process // it runs on this host and can be watched; else nil
	since    time.Time       // sessions == 0: since when
	lease    uint64          // of its locks: see locks.go
}

func (s *Shard) newClient() *clientState { return &clientState{lease: s.newLease()} }

// ended reports whether the client's process is known to be dead.
func (c *clientState) ended() bool { return c.process != nil && c.process.Dead() }

// introduce takes in which process the client is, as the kernel says; 0: one of another machine, or that cannot be seen from here.
func (c *clientState) introduce(pid uint32) {
	start := uint64(0)
	if pid != 0 {
		start = procfs.StartTime(pid)
	}
	if c.process != nil && !c.process.Is(pid, start) {
		c.forget()
	}
	c.pid = pid
	if pid != 0 && c.process == nil {
		c.process, _ = procfs.Watch(pid, start) // one that cannot be watched is treated like one on another host
	}
}

// forget ends the watch of its process.
func (c *clientState) forget() {
	if c.process != nil {
		c.process.Unwatch()
		c.process = nil
	}
}

// hello answers the handshake. Everything that differs is a refusal that says what; the peer is closed then.
func (s *Shard) hello(r *rpc.Request) {
	var m rpc.Hello
	if err := m.Decode(r.Body); err != nil {
		s.refuse(r, "handshake does not parse")
		return
	}
	switch {
	case s.o.Secret != "" && subtle.ConstantTimeCompare(m.Secret, []byte(s.o.Secret)) != 1:
		s.refuse(r, "wrong secret")
		return
	case m.Peer != s.o.Peer && m.Epoch != 0:
		s.refuse(r, "wrong peer")
		return
	case m.Incarnation != 0 && m.Incarnation != s.o.Incarnation:
		s.refuse(r, "another incarnation")
		return
	case m.UID != s.o.UID && m.UID != 0:
		s.refuse(r, "another user")
		return
	}
	if m.Epoch != 0 && m.Epoch != s.o.Map.Epoch {
		r.Reply(rpc.StatusStaleEpoch, 0, nil, nil)
		return
	}
	client := r.Header.Client
	s.sessions[r.Peer.Session()] = &session{peer: r.Peer, client: client}
	state := s.clients[client]
	if state == nil {
		state = s.newClient()
		s.clients[client] = state
	}
	state.sessions++
	state.introduce(r.Peer.Info().PID)
	reply := rpc.HelloReply{
		Session:     r.Peer.Session(),
		Epoch:       s.o.Map.Epoch,
		Incarnation: s.o.Incarnation,
		Peer:        s.o.Peer,
		Shards:      s.shards,
		MaxBulk:     maxPayload,
		ChunkBits:   s.o.ChunkBits,
		Build:       []byte(s.o.Build),
	}
	s.body = reply.AppendTo(s.body[:0])
	r.Reply(rpc.StatusOK, 0, s.body, nil)
}

func (s *Shard) refuse(r *rpc.Request, why string) {
	s.refused++
	s.log.Warn("handshake refused", "reason", why, "peer", r.Peer.Info().Remote)
	peer := r.Peer
	r.Reply(rpc.StatusRefused, 0, []byte(why), nil)
	peer.Close()
}

// bye ends a session in order: the client has released its handles or wants them released.
func (s *Shard) bye(r *rpc.Request) error {
	peer := r.Peer
	s.ok(r, nil)
	s.endSession(peer, true)
	peer.Close()
	return nil
}

// Gone implements rpc.Service.
func (s *Shard) Gone(p rpc.Peer) { s.endSession(p, false) }

// endSession forgets a session. The client's handles go with its last session when it said good-bye; otherwise
// they are kept for a while, because a client that lost its connection comes back for them.
func (s *Shard) endSession(p rpc.Peer, orderly bool) {
	sess := s.sessions[p.Session()]
	if sess == nil || sess.peer != p {
		return
	}
	delete(s.sessions, p.Session())
	s.endWaits(func(w *lockWaiter) bool { return w.r.Peer == p })
	state := s.clients[sess.client]
	state.sessions--
	if state.sessions > 0 {
		return
	}
	state.since = time.Now()
	if orderly {
		s.dropClient(sess.client)
	}
}

func (s *Shard) dropClient(client uint64) {
	s.clients[client].forget()
	delete(s.clients, client)
	if s.o.Board != nil {
		s.o.Board.Leave(client)
	}
	s.abortWrites(func(id meta.ReqID, _ begunWrite) bool { return id.Client == client })
	s.dropLocks(client)
	s.dropAppends(client)
	s.o.Meta.DropClient(client)
	s.purge()
}

// checkClients drops the clients whose process is dead (seen on this host) or whose grace time is over (elsewhere). One that runs on this
// host may be without a connection for as long as it likes: it notices only when it makes its next call.
func (s *Shard) checkClients(now time.Time) {
	for id, state := range s.clients {
		away := state.sessions == 0 && state.process == nil && now.Sub(state.since) >= s.o.Grace
		if away || state.ended() {
			s.lose(id)
		}
	}
}

// lose drops a client that has not said good-bye.
func (s *Shard) lose(client uint64) {
	for slot, sess := range s.sessions {
		if sess.client == client {
			delete(s.sessions, slot)
			sess.peer.Close()
		}
	}
	state := s.clients[client]
	s.log.Info("client is gone; its handles and locks are released", "pid", state.pid, "sessions", state.sessions)
	s.dropClient(client)
	s.sweeper.wanted = true
}
