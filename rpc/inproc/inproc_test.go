package inproc

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/benchfs/benchfs/rpc"
	"github.com/benchfs/benchfs/rpc/internal/rpctest"
)

var (
	here  = rpc.PeerID{Node: 1, Shard: 1}
	there = rpc.PeerID{Node: 2, Shard: 2}
)

// end is one client with a session at one server.
type end struct {
	t       *testing.T
	tr      rpc.Transport
	link    rpc.Link
	session uint32
	client  uint64
}

var lastClient atomic.Uint64

func dial(t *testing.T, n *Network, peer rpc.PeerID) *end {
	t.Helper()
	e := &end{t: t, tr: n.Transport(), client: lastClient.Add(1)}
	link, err := e.tr.Dial(context.Background(), rpc.Target{Peer: peer})
	if err != nil {
		t.Fatal(err)
	}
	e.link = link
	e.hello()
	return e
}

func (e *end) hello() {
	e.t.Helper()
	c := e.call(rpc.MsgHello, nil, nil)
	c.Header.Session = 0
	e.run(c)
	var reply rpc.HelloReply
	if c.Err != nil || reply.Decode(c.Answer) != nil {
		e.t.Fatalf("hello: %v", c.Err)
	}
	e.session = reply.Session
}

func (e *end) call(what rpc.MsgType, out, in []byte) *rpc.Call {
	c := e.tr.NewCall()
	c.Link, c.Out, c.In = e.link, out, in
	c.Header = rpc.Header{Type: what, Session: e.session, Client: e.client}
	return c
}

func (e *end) run(calls ...*rpc.Call) { e.tr.Run(time.Now().Add(20*time.Second), calls) }

// parking is a server that keeps every echo until the test answers it.
func parking(peer rpc.PeerID) (*rpctest.Server, chan *rpc.Request) {
	s, parked := rpctest.New(peer, 1), make(chan *rpc.Request, 100)
	s.Handle = func(r *rpc.Request) bool {
		if r.Header.Type == rpc.MsgEcho {
			parked <- r
		}
		return r.Header.Type == rpc.MsgEcho
	}
	return s, parked
}

func isConnectionError(err error) bool {
	var lost *rpc.ConnectionError
	return errors.As(err, &lost) && lost.Remote != ""
}

func TestPayloads(t *testing.T) {
	for _, late := range []bool{false, true} {
		for _, eager := range []int{0, 100, 1 << 30} {
			n := NewNetwork()
			n.Attach(here, rpctest.New(here, 1))
			n.SetLate(late)
			n.SetEager(eager)
			e := dial(t, n, here)
			for _, size := range []int{0, 1, 64, 100, 101, 4096, 4 << 20} {
				out, in := bytes.Repeat([]byte{byte(size), 7}, size)[:size], make([]byte, size+5)
				c := e.call(rpc.MsgEcho, out, in)
				c.Body = append(c.Body[:0], "body"...)
				e.run(c)
				if c.Err != nil || c.Received != size || !bytes.Equal(in[:size], out) || string(c.Answer) != "body" {
					t.Fatalf("late %v, eager %d, %d bytes: %v, %d received", late, eager, size, c.Err, c.Received)
				}
				if !bytes.Equal(in[size:], make([]byte, 5)) {
					t.Fatalf("late %v, eager %d, %d bytes: written beyond the payload", late, eager, size)
				}
				if c.Reply.Kind != rpc.KindReply || c.Reply.ID != c.Header.ID || c.Reply.BulkLen != uint64(size) {
					t.Fatalf("reply header %+v", c.Reply)
				}
				e.tr.FreeCall(c)
			}
		}
	}
}

func TestReplyLongerThanTheBuffer(t *testing.T) {
	n := NewNetwork()
	n.Attach(here, rpctest.New(here, 1))
	for _, late := range []bool{false, true} {
		n.SetLate(late)
		e := dial(t, n, here)
		buf := make([]byte, 200)
		c := e.call(rpc.MsgEcho, bytes.Repeat([]byte("x"), 101), buf[:100:100])
		e.run(c)
		var broken *rpc.TransportError
		if !errors.As(c.Err, &broken) || broken.Remote != "node 1 shard 1" {
			t.Errorf("%v", c.Err)
		}
		if !bytes.Equal(buf, make([]byte, 200)) {
			t.Error("bytes of a reply that does not fit were written")
		}
	}
}

func TestBadCalls(t *testing.T) {
	n := NewNetwork()
	n.Attach(here, rpctest.New(here, 1))
	e, other := dial(t, n, here), dial(t, n, here)
	foreign := e.call(rpc.MsgEcho, nil, nil)
	foreign.Link = other.link
	long := e.call(rpc.MsgEcho, nil, nil)
	long.Body = make([]byte, rpc.MaxBody+1)
	good := e.call(rpc.MsgEcho, nil, nil)
	unknown := e.call(rpc.MsgMax+5, nil, nil)
	nobody := &rpc.Call{Link: e.link}
	e.run(nobody, foreign, long, good, unknown)
	for what, c := range map[string]*rpc.Call{"foreign link": foreign, "long body": long, "foreign call": nobody} {
		var invalid *rpc.InvalidHeader
		if !errors.As(c.Err, &invalid) {
			t.Errorf("%s: %v", what, c.Err)
		}
	}
	var refused *rpc.HandlerError
	if good.Err != nil || !errors.As(unknown.Err, &refused) || refused.Status != rpc.StatusUnknown {
		t.Errorf("%v; unknown type: %v", good.Err, unknown.Err)
	}
	e.run()
}

func TestParkedReplyWakesTheCaller(t *testing.T) {
	n := NewNetwork()
	s, parked := parking(here)
	loop := n.Attach(here, s)
	e := dial(t, n, here)
	calls := []*rpc.Call{e.call(rpc.MsgEcho, nil, make([]byte, 10)), e.call(rpc.MsgEcho, nil, make([]byte, 10))}
	done := make(chan struct{})
	go func() { e.run(calls...); close(done) }()
	a, b := <-parked, <-parked
	loop.Submit(func() { b.Reply(rpc.StatusOK, 0, nil, []byte("second")) })
	select {
	case <-done:
		t.Fatal("returned with a call outstanding")
	case <-time.After(5 * time.Millisecond):
	}
	loop.Submit(func() { a.Reply(rpc.StatusErrno, uint32(syscall.EDQUOT), nil, nil) })
	<-done
	if !errors.Is(calls[0].Err, syscall.EDQUOT) || calls[1].Err != nil || string(calls[1].In[:6]) != "second" {
		t.Errorf("%v; %v %q", calls[0].Err, calls[1].Err, calls[1].In)
	}
}

func TestTimeoutGivesTheMemoryBack(t *testing.T) {
	n := NewNetwork()
	s, parked := parking(here)
	loop := n.Attach(here, s)
	e := dial(t, n, here)
	in, out := make([]byte, 10), []byte("payload")
	c := e.call(rpc.MsgEcho, out, in)
	begin := time.Now()
	e.tr.Run(begin.Add(30*time.Millisecond), []*rpc.Call{c})
	var timeout *rpc.Timeout
	if took := time.Since(begin); !errors.As(c.Err, &timeout) || timeout.Remote != "node 1 shard 1" || took < 30*time.Millisecond || took > 5*time.Second {
		t.Fatalf("%v after %v", c.Err, took)
	}
	r := <-parked
	finished := make(chan struct{})
	loop.Submit(func() {
		dst := make([]byte, 10)
		if done, err := r.Recv(dst); !done || err == nil {
			t.Error("the payload of a call that has ended was read")
		}
		if !r.Reply(rpc.StatusOK, 0, []byte("body"), []byte("too late")) {
			t.Error("a reply to nobody is not done")
		}
		close(finished)
	})
	<-finished
	if !bytes.Equal(in, make([]byte, 10)) || c.Received != 0 || c.Answer != nil || !errors.As(c.Err, &timeout) {
		t.Errorf("%q %d %q %v", in, c.Received, c.Answer, c.Err)
	}
	past := e.call(rpc.MsgEcho, nil, nil)
	e.tr.Run(time.Now().Add(-time.Hour), []*rpc.Call{past})
	if !errors.As(past.Err, &timeout) || s.Served[rpc.MsgEcho].Load() != 1 {
		t.Errorf("a deadline in the past: %v", past.Err)
	}
}

func TestSessions(t *testing.T) {
	n := NewNetwork()
	s := rpctest.New(here, 1)
	n.Attach(here, s)
	e := dial(t, n, here)
	noSession := func(what string, c *rpc.Call) {
		t.Helper()
		e.run(c)
		var refused *rpc.HandlerError
		if !errors.As(c.Err, &refused) || refused.Status != rpc.StatusNoSession {
			t.Errorf("%s: %v", what, c.Err)
		}
	}
	wrong := e.call(rpc.MsgEcho, nil, nil)
	wrong.Header.Session += 100
	noSession("a session never given", wrong)
	stranger := e.call(rpc.MsgEcho, nil, nil)
	stranger.Header.Client++
	noSession("another client's session", stranger)
	first := e.session
	e.hello()
	if e.session == first || s.GoneSeen.Load() != 1 {
		t.Errorf("a second hello: session %d after %d, %d gone", e.session, first, s.GoneSeen.Load())
	}
	bye := e.call(rpc.MsgBye, nil, nil)
	if e.run(bye); bye.Err != nil {
		t.Error(bye.Err)
	}
	noSession("after bye", e.call(rpc.MsgEcho, nil, nil))
	s2 := rpctest.New(here, 2)
	e.hello()
	n.Attach(here, s2)
	noSession("another incarnation", e.call(rpc.MsgEcho, nil, nil))
	if !e.link.Alive() {
		t.Error("the link is dead although somebody is there")
	}
	e.hello()
	if err := e.link.Close(); err != nil || s2.GoneSeen.Load() != 1 || e.link.Alive() {
		t.Errorf("closed: %v, %d gone", err, s2.GoneSeen.Load())
	}
	if err := e.link.Close(); err != nil || s2.GoneSeen.Load() != 1 {
		t.Errorf("closed again: %v, %d gone", err, s2.GoneSeen.Load())
	}
	c := e.call(rpc.MsgEcho, nil, nil)
	if e.run(c); !isConnectionError(c.Err) {
		t.Errorf("over a closed link: %v", c.Err)
	}
	refusing := rpctest.New(there, 1)
	refusing.Status = rpc.StatusRefused
	n.Attach(there, refusing)
	e.link, _ = e.tr.Dial(context.Background(), rpc.Target{Peer: there})
	hello := e.call(rpc.MsgHello, nil, nil)
	e.run(hello)
	e.session = n.sessions.Load()
	noSession("after a refused hello", e.call(rpc.MsgEcho, nil, nil))
	if n.Unknown() != 5 {
		t.Errorf("%d unknown sessions counted", n.Unknown())
	}
}

func TestDetach(t *testing.T) {
	n := NewNetwork()
	s, parked := parking(here)
	loop := n.Attach(here, s)
	e := dial(t, n, here)
	c := e.call(rpc.MsgEcho, nil, nil)
	done := make(chan struct{})
	go func() { e.run(c); close(done) }()
	<-parked
	n.Detach(here)
	<-done
	if !isConnectionError(c.Err) || e.link.Alive() {
		t.Errorf("%v", c.Err)
	}
	if loop.Submit(func() { t.Error("ran after the end") }) {
		t.Error("Submit after the end")
	}
	if e.run(c); !isConnectionError(c.Err) {
		t.Errorf("a call to nobody: %v", c.Err)
	}
	if _, err := e.tr.Dial(context.Background(), rpc.Target{Peer: here}); !isConnectionError(err) {
		t.Errorf("dialling nobody: %v", err)
	}
	if s.GoneSeen.Load() != 0 {
		t.Error("a dead service heard something")
	}
	n.Detach(here)
}

func TestCloseTransport(t *testing.T) {
	n := NewNetwork()
	s, parked := parking(here)
	n.Attach(here, s)
	e := dial(t, n, here)
	c, lost := e.call(rpc.MsgEcho, nil, nil), e.call(rpc.MsgEcho, nil, nil)
	n.SetFaults(script{request: func(h *rpc.Header) Fault {
		if h.BodyLen > 0 {
			return Fault{Action: Drop}
		}
		return Fault{}
	}})
	lost.Body = append(lost.Body, 1)
	done := make(chan struct{})
	go func() { e.tr.Run(time.Time{}, []*rpc.Call{lost, c}); close(done) }()
	<-parked
	if err := e.tr.Close(); err != nil {
		t.Error(err)
	}
	<-done
	if !isConnectionError(c.Err) || !isConnectionError(lost.Err) || s.GoneSeen.Load() != 1 {
		t.Errorf("%v, %v, %d gone", c.Err, lost.Err, s.GoneSeen.Load())
	}
	if _, err := e.tr.Dial(context.Background(), rpc.Target{Peer: here}); !isConnectionError(err) {
		t.Errorf("dial after close: %v", err)
	}
}

func TestSubmitKeepsOrderAndExcludes(t *testing.T) {
	n := NewNetwork()
	s := rpctest.New(here, 1)
	inside := 0 // plain: the race detector and the count prove the exclusion
	s.Handle = func(*rpc.Request) bool { inside++; return false }
	loop := n.Attach(here, s)
	e := dial(t, n, here)
	const senders, each = 8, 500
	var wg sync.WaitGroup
	var next [senders]int
	for i := range senders {
		wg.Go(func() {
			for j := range each {
				if !loop.Submit(func() {
					inside++
					if next[i] != j {
						t.Errorf("sender %d: %d instead of %d", i, j, next[i])
					}
					next[i]++
				}) {
					t.Error("refused")
				}
			}
		})
	}
	own := make([]*end, 4)
	for i := range own {
		own[i] = dial(t, n, here)
		wg.Go(func() {
			c := own[i].call(rpc.MsgEcho, nil, nil)
			for range each {
				if own[i].run(c); c.Err != nil {
					t.Error(c.Err)
				}
			}
		})
	}
	wg.Wait()
	total := make(chan int)
	loop.Submit(func() { go func(n int) { total <- n }(inside) })
	if got := <-total; got != senders*each+len(own)*each+len(own)+1 {
		t.Errorf("%d", got)
	}
	_ = e
}

// TestSubmitDoesNotRunOnTheSubmitter: who submits may hold a lock that fn wants, and may be the shard itself.
func TestSubmitDoesNotRunOnTheSubmitter(t *testing.T) {
	n := NewNetwork()
	s := rpctest.New(here, 1)
	loop := n.Attach(here, s)
	var mu sync.Mutex
	done := make(chan struct{})
	mu.Lock()
	loop.Submit(func() {
		mu.Lock()
		defer mu.Unlock()
		loop.Submit(func() { close(done) })
	})
	mu.Unlock()
	<-done
}

// TestAnswersFromElsewhere: services that answer from functions that other goroutines submit, two shards that submit to each
// other, callers on all sides, and coordinators that call from goroutines of their own. With -race this is the test of the locks.
func TestAnswersFromElsewhere(t *testing.T) {
	n := NewNetwork()
	n.SetEager(16)
	loops := map[rpc.PeerID]rpc.Loop{}
	other := map[rpc.PeerID]rpc.PeerID{here: there, there: here}
	for _, p := range []rpc.PeerID{here, there} {
		s := rpctest.New(p, 1)
		s.Handle = func(r *rpc.Request) bool {
			if r.Header.Type != rpc.MsgEcho {
				return false
			}
			data := make([]byte, r.Header.BulkLen)
			if _, err := r.Recv(data); err != nil {
				t.Error(err)
			}
			answer := func() { loops[p].Submit(func() { r.Reply(rpc.StatusOK, 0, nil, data) }) }
			switch r.Header.ID % 3 {
			case 0:
				r.Reply(rpc.StatusOK, 0, nil, data)
			case 1:
				go answer()
			case 2:
				loops[other[p]].Submit(answer)
			}
			return true
		}
		loops[p] = n.Attach(p, s)
	}
	var wg sync.WaitGroup
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for i := range 8 {
		ends := []*end{dial(t, n, here), dial(t, n, there)}
		ends[1].tr, ends[1].link = ends[0].tr, mustDial(t, ends[0].tr, there)
		ends[1].hello()
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(i)))
			for range 300 {
				calls := make([]*rpc.Call, 1+r.IntN(6))
				for j := range calls {
					e := ends[r.IntN(2)]
					out := bytes.Repeat([]byte{byte(i), byte(j)}, r.IntN(40))
					calls[j] = e.call(rpc.MsgEcho, out, make([]byte, len(out)))
				}
				ends[0].run(calls...)
				for _, c := range calls {
					if c.Err != nil || !bytes.Equal(c.In, c.Out) {
						t.Errorf("%v: %q for %q", c.Err, c.In, c.Out)
					}
					ends[0].tr.FreeCall(c)
				}
			}
		})
	}
	wg.Wait()
}

func mustDial(t *testing.T, tr rpc.Transport, peer rpc.PeerID) rpc.Link {
	t.Helper()
	link, err := tr.Dial(context.Background(), rpc.Target{Peer: peer})
	if err != nil {
		t.Fatal(err)
	}
	return link
}

// TestTimeoutsRaceWithReplies: deadlines pass while replies arrive. Memory of a call that has ended is the caller's: the race
// detector sees a writer, and the pattern a wrong one.
func TestTimeoutsRaceWithReplies(t *testing.T) {
	n := NewNetwork()
	s, parked := parking(here)
	loop := n.Attach(here, s)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			case r := <-parked:
				loop.Submit(func() { r.Reply(rpc.StatusOK, 0, nil, []byte("reply")) })
			}
		}
	})
	e := dial(t, n, here)
	timeouts := 0
	for i := range 2000 {
		in := make([]byte, 5)
		c := e.call(rpc.MsgEcho, nil, in)
		e.tr.Run(time.Now().Add(time.Duration(i%40)*time.Microsecond), []*rpc.Call{c})
		want := "reply"
		if c.Err != nil {
			timeouts++
			want = "mine!"
			copy(in, want)
		}
		e.tr.FreeCall(c)
		if string(in) != want {
			t.Fatalf("%q instead of %q", in, want)
		}
	}
	t.Logf("%d of 2000 timed out", timeouts)
	close(stop)
	wg.Wait()
}

func TestEvery(t *testing.T) {
	n := NewNetwork()
	n.Attach(here, rpctest.New(here, 1))
	e := dial(t, n, here)
	ticks := 0
	n.Every(here, time.Hour, func(time.Time) { ticks++ })
	for range 3 {
		e.run(e.call(rpc.MsgEcho, nil, nil))
	}
	if ticks != 0 {
		t.Errorf("%d ticks before the first was due", ticks)
	}
	n.Every(here, time.Nanosecond, func(time.Time) { ticks++ })
	for range 3 {
		e.run(e.call(rpc.MsgEcho, nil, nil))
	}
	if ticks != 3 {
		t.Errorf("%d ticks in 3 calls that come later than the interval", ticks)
	}
}
