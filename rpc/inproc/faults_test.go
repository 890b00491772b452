package inproc

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/rpc"
	"github.com/benchfs/benchfs/rpc/internal/rpctest"
)

// script is Faults for one direction each; nil passes.
type script struct {
	dial           func() Fault
	request, reply func(h *rpc.Header) Fault
}

func (s script) Dial(rpc.PeerID) Fault {
	if s.dial == nil {
		return Fault{}
	}
	return s.dial()
}

func (s script) Request(_ rpc.PeerID, h *rpc.Header) Fault {
	if s.request == nil || h.Type == rpc.MsgHello {
		return Fault{}
	}
	return s.request(h)
}

func (s script) Reply(_ rpc.PeerID, h *rpc.Header) Fault {
	if s.reply == nil || h.Type == rpc.MsgHello {
		return Fault{}
	}
	return s.reply(h)
}

func TestFaults(t *testing.T) {
	broken := &rpc.TransportError{Remote: "x", Reason: "test"}
	always := func(f Fault) func(*rpc.Header) Fault { return func(*rpc.Header) Fault { return f } }
	for name, c := range map[string]struct {
		faults script
		want   syscall.Errno
		served int64 // in the end
		slow   time.Duration
	}{
		"nothing":           {script{}, 0, 1, 0},
		"request lost":      {script{request: always(Fault{Action: Drop})}, syscall.ETIMEDOUT, 0, 0},
		"reply lost":        {script{reply: always(Fault{Action: Drop})}, syscall.ETIMEDOUT, 1, 0},
		"request fails":     {script{request: always(Fault{Action: Fail, Err: broken})}, syscall.EIO, 0, 0},
		"reply fails":       {script{reply: always(Fault{Action: Fail, Err: broken})}, syscall.EIO, 1, 0},
		"request delayed":   {script{request: always(Fault{Action: Delay, Delay: 20 * time.Millisecond})}, 0, 1, 20 * time.Millisecond},
		"reply delayed":     {script{reply: always(Fault{Action: Delay, Delay: 20 * time.Millisecond})}, 0, 1, 20 * time.Millisecond},
		"request too late":  {script{request: always(Fault{Action: Delay, Delay: 300 * time.Millisecond})}, syscall.ETIMEDOUT, 1, 0},
		"reply too late":    {script{reply: always(Fault{Action: Delay, Delay: 300 * time.Millisecond})}, syscall.ETIMEDOUT, 1, 0},
		"request twice":     {script{request: always(Fault{Action: Duplicate})}, 0, 2, 0},
		"reply twice":       {script{reply: always(Fault{Action: Duplicate})}, 0, 1, 0},
		"both of them slow": {script{request: always(Fault{Action: Delay, Delay: 10 * time.Millisecond}), reply: always(Fault{Action: Delay, Delay: 10 * time.Millisecond})}, 0, 1, 20 * time.Millisecond},
	} {
		for _, late := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, late %v", name, late), func(t *testing.T) {
				t.Parallel()
				n := NewNetwork()
				n.SetLate(late)
				s := rpctest.New(here, 1)
				n.Attach(here, s)
				e := dial(t, n, here)
				n.SetFaults(c.faults)
				in := make([]byte, 7)
				call := e.call(rpc.MsgEcho, []byte("payload"), in)
				begin := time.Now()
				e.tr.Run(begin.Add(150*time.Millisecond), []*rpc.Call{call})
				if fserr.Errno(call.Err) != c.want || time.Since(begin) < c.slow {
					t.Fatalf("%v after %v", call.Err, time.Since(begin))
				}
				if got := string(in); (c.want == 0) != (got == "payload") {
					t.Errorf("%q", got)
				}
				for end := time.Now().Add(5 * time.Second); s.Served[rpc.MsgEcho].Load() != c.served; time.Sleep(time.Millisecond) {
					if time.Now().After(end) {
						t.Fatalf("served %d times", s.Served[rpc.MsgEcho].Load())
					}
				}
				n.SetFaults(nil)
				again := e.call(rpc.MsgEcho, []byte("other"), make([]byte, 5))
				if e.run(again); again.Err != nil || string(again.In) != "other" {
					t.Errorf("the next call: %v", again.Err)
				}
			})
		}
	}
}

func TestDialFaults(t *testing.T) {
	n := NewNetwork()
	n.Attach(here, rpctest.New(here, 1))
	tr := n.Transport()
	for fault, want := range map[Fault]syscall.Errno{
		{Action: Delay, Delay: time.Millisecond}:   0,
		{Action: Drop}:                             syscall.ETIMEDOUT,
		{Action: Fail, Err: &rpc.TransportError{}}: syscall.EIO,
		{Action: Delay, Delay: time.Hour}:          syscall.ETIMEDOUT,
	} {
		n.SetFaults(script{dial: func() Fault { return fault }})
		ctx := rpc.WithDeadline(context.Background(), time.Now().Add(20*time.Millisecond))
		_, err := tr.Dial(ctx, rpc.Target{Peer: here})
		if fserr.Errno(err) != want {
			t.Errorf("%+v: %v", fault, err)
		}
	}
}
