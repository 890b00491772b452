package shm

import (
	"context"
	"math/rand/v2"
	"os"
	"testing"
	"time"
	"unsafe"

	"github.com/benchfs/benchfs/internal/loop"
	"github.com/benchfs/benchfs/rpc"
)

// mirror answers each request with its payload.
type mirror struct{}

func (mirror) Serve(r *rpc.Request) {
	payload := make([]byte, min(r.Header.BulkLen, 1<<20))
	if _, err := r.Recv(payload); err != nil {
		r.Reply(rpc.StatusInvalid, 0, nil, nil)
		return
	}
	if r.Header.Type == rpc.MsgHello {
		reply := rpc.HelloReply{Session: r.Peer.Session(), Incarnation: 1, MaxBulk: 1 << 20, Shards: 1, ChunkBits: 22}
		r.Reply(rpc.StatusOK, 0, reply.AppendTo(nil), nil)
		return
	}
	r.Reply(rpc.StatusOK, 0, r.Body, payload)
}
func (mirror) Received(*rpc.Request, error) {}
func (mirror) Replied(*rpc.Request, error)  {}
func (mirror) Gone(rpc.Peer)                {}

// A client that writes nonsense into its lane, everywhere and at any time, harms nobody but itself.
func TestNonsenseInALane(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	l, err := loop.New()
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewServer(mirror{}, l.Wake())
	if err != nil {
		t.Fatal(err)
	}
	path := t.TempDir() + "/door"
	h, err := NewHost(HostOptions{Path: path, Incarnation: 1, UID: uint32(os.Getuid()), Shards: []Shard{{Server: s, Loop: l}}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { l.Run(mirror{}, s); close(done) }()
	defer func() { h.Close(); l.Stop(); <-done; s.Close(); _ = l.Close() }()

	join := func() (*Transport, rpc.Link, *rpc.Call) {
		tr := NewTransport()
		link, err := tr.Dial(context.Background(), rpc.Target{Incarnation: 1, Door: path})
		if err != nil {
			t.Fatal(err)
		}
		c := tr.NewCall()
		c.Link, c.Header.Type, c.Header.Client = link, rpc.MsgHello, random.Uint64()
		tr.Run(time.Now().Add(time.Minute), []*rpc.Call{c})
		var reply rpc.HelloReply
		if c.Err != nil || reply.Decode(c.Answer) != nil {
			t.Fatal(c.Err)
		}
		c.Header.Session, c.Header.Type = reply.Session, rpc.MsgEcho
		return tr, link, c
	}
	good, _, goodCall := join()
	defer good.Close()
	out, _ := good.Alloc(5000)
	in, _ := good.Alloc(5000)
	goodCall.Out, goodCall.In = out, in
	for range 30 {
		bad, at, call := join()
		badIn, _ := bad.Alloc(5000)
		call.Out, call.In = badIn, badIn
		bad.Run(time.Now().Add(time.Minute), []*rpc.Call{call}) // it has a buffer now
		for range 300 {
			if lanes := at.(*link).idle; len(lanes) > 0 {
				memory := unsafe.Slice((*byte)(unsafe.Pointer(lanes[0].memory)), unsafe.Sizeof(*lanes[0].memory))
				for range random.IntN(40) {
					at := random.IntN(len(memory))
					if random.IntN(2) == 0 {
						at = random.IntN(1200) // rings, and the first slot
					}
					memory[at] = byte(random.Uint32())
				}
			}
			bad.Run(time.Now().Add(200*time.Microsecond), []*rpc.Call{call})
			goodCall.Out[0] = byte(random.Uint32())
			good.Run(time.Now().Add(time.Minute), []*rpc.Call{goodCall})
			if goodCall.Err != nil || goodCall.In[0] != goodCall.Out[0] {
				t.Fatalf("another client's call: %v", goodCall.Err)
			}
		}
		_ = bad.Close()
	}
	counted := make(chan ServerStats, 1)
	l.Submit(func() { counted <- s.Stats() })
	t.Logf("%+v", <-counted)
}
