package rpc

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/benchfs/benchfs/core/layout"
)

// handshake says Hello over c's link and fills c from the answer. A connection counts only after this: same protocol, same
// cluster map, the daemon that was meant, the job's secret.
func (p *Pool) handshake(ctx context.Context, c *Conn, target Target) error {
	call := p.t.NewCall()
	defer p.t.FreeCall(call)
	call.Reset()
	call.To, call.Header.Type = c.Peer, MsgHello
	id := &p.o.Identity
	hello := Hello{
		Epoch: id.Epoch, Incarnation: target.Incarnation, Peer: c.Peer,
		PID: id.PID, PIDStart: id.PIDStart, UID: id.UID,
		HostID: []byte(id.HostID), Secret: []byte(id.Secret), Build: []byte(id.Build),
	}
	call.Body = hello.AppendTo(call.Body[:0])
	c.Prepare(call)
	deadline, _ := ctx.Deadline()
	p.t.Run(deadline, []*Call{call})
	if call.Err != nil {
		if call.Reply.Status == StatusRefused {
			return &ConnectionError{Remote: c.name(), Reason: "handshake refused: " + string(call.Answer), Refused: true}
		}
		return call.Err
	}
	var reply HelloReply
	if err := reply.Decode(call.Answer); err != nil {
		return err
	}
	c.Session, c.Epoch, c.Incarnation = reply.Session, reply.Epoch, reply.Incarnation
	c.Shards, c.MaxBulk, c.ChunkBits, c.Build = reply.Shards, reply.MaxBulk, reply.ChunkBits, string(reply.Build)
	return checkHello(c, id, &reply, target)
}

// checkHello compares what the daemon says with what was expected.
func checkHello(c *Conn, id *Identity, reply *HelloReply, target Target) error {
	refuse := func(format string, args ...any) error {
		return &ConnectionError{Remote: c.name(), Reason: fmt.Sprintf(format, args...), Refused: true}
	}
	switch {
	case reply.Session == 0:
		return refuse("handshake: no session given")
	case reply.Incarnation == 0:
		return refuse("handshake: no incarnation given")
	case target.Incarnation != 0 && reply.Incarnation != target.Incarnation:
		// What was resolved is out of date: another attempt, which looks again, can succeed.
		return &ConnectionError{Remote: c.name(), Reason: "handshake: the daemon has been restarted"}
	case reply.MaxBulk < 1<<layout.MinChunkBits:
		return refuse("handshake: payloads of at most %d bytes", reply.MaxBulk)
	case id.Epoch == 0:
		return nil
	case reply.Peer != c.Peer:
		return refuse("handshake: %s answered", reply.Peer)
	case reply.Epoch != id.Epoch:
		return fmt.Errorf("cluster map %d, the daemon's is %d: %w", id.Epoch, reply.Epoch, statusErrors[StatusStaleEpoch])
	case reply.Shards <= c.Peer.Shard:
		return refuse("handshake: shard %d of %d", c.Peer.Shard, reply.Shards)
	}
	return nil
}

// Payloads of the self-test: one that travels inside the message, one that takes the way of bulk data.
const (
	selfTestSmall = 64
	selfTestLarge = 256 << 10
)

// selfTest moves a small and a large payload to the peer and back and compares every byte. It shows that both ways of the transport
// work between these two processes before an application's data depends on them.
func (p *Pool) selfTest(ctx context.Context, c *Conn) error {
	large := int(min(selfTestLarge, c.MaxBulk))
	out, err := p.t.Alloc(large)
	if err != nil {
		return fmt.Errorf("memory for the self-test: %w", err)
	}
	defer p.t.Free(out)
	in, err := p.t.Alloc(large)
	if err != nil {
		return fmt.Errorf("memory for the self-test: %w", err)
	}
	defer p.t.Free(in)
	fillPattern(out[:large], uint64(c.Session)<<32^p.o.Identity.Client)
	deadline, _ := ctx.Deadline()
	for _, size := range [...]int{min(selfTestSmall, large), large} {
		if err := p.echo(c, deadline, out[:size], in[:size]); err != nil {
			return err
		}
		clear(in[:size])
	}
	return nil
}

func (p *Pool) echo(c *Conn, deadline time.Time, out, in []byte) error {
	call := p.t.NewCall()
	defer p.t.FreeCall(call)
	call.Reset()
	call.To, call.Header.Type, call.Out, call.In = c.Peer, MsgEcho, out, in
	c.Prepare(call)
	p.t.Run(deadline, []*Call{call})
	switch {
	case call.Err != nil:
		return call.Err
	case call.Received != len(out):
		return &TransportError{Remote: c.name(), Reason: fmt.Sprintf("self-test: %d of %d bytes came back", call.Received, len(out))}
	case !bytes.Equal(out, in):
		return &TransportError{Remote: c.name(), Reason: fmt.Sprintf("self-test: %d bytes came back changed", len(out))}
	}
	return nil
}

// fillPattern fills b with numbers that do not repeat (SplitMix64), so that displaced bytes show.
func fillPattern(b []byte, seed uint64) {
	const golden = 0x9e3779b97f4a7c15
	var word [8]byte
	for i := 0; i < len(b); i += len(word) {
		seed += golden
		x := seed
		x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
		x = (x ^ x>>27) * 0x94d049bb133111eb
		binary.LittleEndian.PutUint64(word[:], x^x>>31)
		copy(b[i:], word[:])
	}
}
