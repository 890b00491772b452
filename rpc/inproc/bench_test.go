package inproc

import (
	"context"
	"fmt"
	"testing"

	"github.com/benchfs/benchfs/rpc"
	"github.com/benchfs/benchfs/rpc/internal/rpctest"
)

func TestRunAllocatesNothing(t *testing.T) {
	n := NewNetwork()
	s := rpctest.New(here, 1)
	data := make([]byte, 4096)
	s.Handle = func(r *rpc.Request) bool {
		if r.Header.Type != rpc.MsgEcho {
			return false
		}
		if _, err := r.Recv(data); err != nil {
			t.Error(err)
		}
		r.Reply(rpc.StatusOK, 0, r.Body, data)
		return true
	}
	n.Attach(here, s)
	e := dial(t, n, here)
	calls := []*rpc.Call{e.call(rpc.MsgEcho, make([]byte, 4096), make([]byte, 4096)), e.call(rpc.MsgEcho, make([]byte, 4096), make([]byte, 4096))}
	if allocs := testing.AllocsPerRun(200, func() {
		e.run(calls...)
		if calls[0].Err != nil || calls[1].Err != nil {
			t.Fatal(calls[0].Err, calls[1].Err)
		}
	}); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func BenchmarkRun(b *testing.B) {
	for _, size := range []int{0, 4096, 1 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			n := NewNetwork()
			s := rpctest.New(here, 1)
			data := make([]byte, size)
			s.Handle = func(r *rpc.Request) bool {
				if r.Header.Type != rpc.MsgEcho {
					return false
				}
				r.Reply(rpc.StatusOK, 0, nil, data)
				return true
			}
			n.Attach(here, s)
			tr := n.Transport()
			e := &end{tr: tr, client: 1}
			e.link, _ = tr.Dial(context.Background(), rpc.Target{Peer: here})
			hello := e.call(rpc.MsgHello, nil, nil)
			e.run(hello)
			e.session = n.sessions.Load()
			calls := []*rpc.Call{e.call(rpc.MsgEcho, nil, make([]byte, size))}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				e.run(calls...)
			}
			if calls[0].Err != nil {
				b.Fatal(calls[0].Err)
			}
		})
	}
}

// BenchmarkParked is the way of a call that is answered from a function given to Submit.
func BenchmarkParked(b *testing.B) {
	n := NewNetwork()
	s := rpctest.New(here, 1)
	var loop rpc.Loop
	s.Handle = func(r *rpc.Request) bool {
		if r.Header.Type == rpc.MsgEcho {
			go loop.Submit(func() { r.Reply(rpc.StatusOK, 0, nil, nil) })
		}
		return r.Header.Type == rpc.MsgEcho
	}
	loop = n.Attach(here, s)
	tr := n.Transport()
	e := &end{tr: tr, client: 1}
	e.link, _ = tr.Dial(context.Background(), rpc.Target{Peer: here})
	e.run(e.call(rpc.MsgHello, nil, nil))
	e.session = n.sessions.Load()
	calls := []*rpc.Call{e.call(rpc.MsgEcho, nil, nil)}
	b.ReportAllocs()
	for b.Loop() {
		e.run(calls...)
	}
	if calls[0].Err != nil {
		b.Fatal(calls[0].Err)
	}
}
