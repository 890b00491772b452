package client

import (
	"context"
	"sync"
	"syscall"
	"time"

	"github.com/pkg/errors"

	"github.com/benchfs/benchfs/rpc"
)

// sessions remembers which shards have been told of this client's handles, and in which life.
type sessions struct {
	mu          sync.Mutex
	connected   map[connKey]struct{} // pools that have had a connection to the shard
	incarnation map[uint32]uint64    // of the daemon that knows our handles, by shard
}

type connKey struct {
	pool  *rpc.Pool
	shard uint32
}

// mayLack reports whether the shard at the other end may not know our handles: it is another incarnation than the one that was told, or
// this is not the pool's first connection (the session, and the handles with it, may have been given up meanwhile).
func (s *sessions) mayLack(conn *rpc.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, again := s.connected[connKey{conn.Pool(), conn.Peer.Shard}]
	told, known := s.incarnation[conn.Peer.Shard]
	return again || known && told != conn.Incarnation
}

// told notes it, and reports whether the shard has begun another life.
func (s *sessions) told(conn *rpc.Conn) (reborn bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, known := s.incarnation[conn.Peer.Shard]
	reborn = known && before != conn.Incarnation
	s.connected[connKey{conn.Pool(), conn.Peer.Shard}] = struct{}{}
	s.incarnation[conn.Peer.Shard] = conn.Incarnation
	return reborn
}

// ReopenHandles registers the open files of a shard again over a new connection to it, so that files without a name go on
// after a restart of their daemon. It is made for rpc.PoolOptions.OnConnect: it uses this connection only, and holds no lock
// while it waits. A file that the shard does not know any more is left alone; its next use tells (ESTALE).
func (c *Client) ReopenHandles(ctx context.Context, conn *rpc.Conn) error {
	if c.sessions.mayLack(conn) {
		if err := c.reopen(ctx, conn); err != nil {
			return err
		}
	}
	if c.sessions.told(conn) {
		c.shortcut.revoke(conn.Peer.Shard)
	}
	return nil
}

func (c *Client) reopen(ctx context.Context, conn *rpc.Conn) error {
	var files []*File
	for _, f := range c.inodes.list() {
		if f.in.ino.Shard() == conn.Peer.Shard {
			files = append(files, f)
		}
	}
	transport := conn.Pool().Transport()
	deadline := time.Now().Add(c.o.CallTimeout)
	if d, ok := ctx.Deadline(); ok {
		deadline = d
	}
	var calls []*rpc.Call
	defer func() {
		for _, call := range calls {
			transport.FreeCall(call)
		}
	}()
	for len(files) > 0 {
		batch := files[:min(len(files), c.o.MaxParallel)]
		files = files[len(batch):]
		for len(calls) < len(batch) {
			calls = append(calls, transport.NewCall())
		}
		if err := c.reopenBatch(conn, deadline, batch, calls[:len(batch)]); err != nil {
			return err
		}
	}
	return nil
}

func (c *Client) reopenBatch(conn *rpc.Conn, deadline time.Time, batch []*File, calls []*rpc.Call) error {
	for i, f := range batch {
		m := rpc.OpenHandle{Ino: f.in.ino, Handle: f.handle}
		prepare(calls[i], conn, rpc.MsgOpen)
		calls[i].Body = m.AppendTo(calls[i].Body)
	}
	conn.Run(deadline, calls)
	closed := 0
	for i, f := range batch {
		switch err := calls[i].Err; {
		case err == nil:
			f.told.Store(true)
			c.counts.reopened.Add(1)
		case !errors.Is(err, syscall.ESTALE):
			return errors.WithMessagef(err, "open file %q cannot be registered again", f.name)
		}
		if !c.inodes.has(f) { // closed meanwhile: its release may have come first
			m := rpc.ReleaseHandles{Handles: []rpc.ReleaseHandle{{Ino: f.in.ino, Handle: f.handle}}}
			prepare(calls[closed], conn, rpc.MsgRelease)
			calls[closed].Body = m.AppendTo(calls[closed].Body)
			closed++
		}
	}
	if closed > 0 {
		conn.Run(deadline, calls[:closed])
	}
	return nil
}

// prepare makes a call ready for a message over conn.
func prepare(call *rpc.Call, conn *rpc.Conn, t rpc.MsgType) {
	call.Reset()
	call.To = conn.Peer
	call.Header.Type = t
}

// shards are those that this client has had a session with.
func (s *sessions) shards() []uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]uint32, 0, len(s.incarnation))
	for shard := range s.incarnation {
		list = append(list, shard)
	}
	return list
}
