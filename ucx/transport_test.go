package ucx

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/benchfs/benchfs/rpc"
)

func word(values ...uint32) []byte {
	var b []byte
	for _, v := range values {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}

// sizes are those at which something changes: short, single, several fragments, rendezvous.
var sizes = []int{0, 1, 7, 8, 28, 29, 93, 94, 1024, 4095, 4096, 7100, 7168, 8191, 8192, 8193, 8256, 9000, 20000,
	32767, 32768, 32769, 47008, 65536, 100001, 262143, 262144, 262145, 524288, 524289, 1 << 20, 1<<20 + 13, 4 << 20, 8 << 20}

func testSizes(t *testing.T, c *client) {
	out, in := c.memory(8<<20), c.memory(8<<20)
	for _, n := range sizes {
		seed := rand.Uint32()
		fillPattern(out[:n], seed)
		clear(in[:n])
		answer, received, err := c.do(soon, msgEcho, []byte("body"), out[:n], in[:n])
		if err != nil || received != n || string(answer) != "body" {
			t.Fatalf("echo of %d bytes: received %d, answer %q, error %v", n, received, answer, err)
		}
		if !bytes.Equal(out[:n], in[:n]) {
			t.Fatalf("echo of %d bytes (seed %d) changed them", n, seed)
		}
		answer, _, err = c.do(soon, msgWrite, nil, out[:n], nil)
		if err != nil || binary.LittleEndian.Uint32(answer) != crc32.ChecksumIEEE(out[:n]) {
			t.Fatalf("write of %d bytes (seed %d): %v, wrong sum", n, seed, err)
		}
		clear(in)
		if _, received, err = c.do(soon, msgRead, word(uint32(n), seed), nil, in); err != nil || received != n {
			t.Fatalf("read of %d bytes: received %d, error %v", n, received, err)
		}
		for i, from := 0, int(seed%251); i < n; i++ {
			if in[i] != patternAt(i+from) {
				t.Fatalf("read of %d bytes (seed %d): byte %d is wrong", n, seed, i)
			}
		}
		for i := n; i < min(n+4096, len(in)); i++ {
			if in[i] != 0 {
				t.Fatalf("read of %d bytes wrote byte %d", n, i)
			}
		}
	}
}

func TestSizesSocketAddress(t *testing.T) {
	s := startServer(t)
	testSizes(t, connect(t, newTransport(t, Config{}), rpc.Target{Socket: s.socket}))
}

func TestSizesTCP(t *testing.T) {
	c := connect(t, newTransport(t, Config{}), startServer(t).target())
	if got := c.link.Info().Transport; got != "tcp" {
		t.Errorf("transport in use is %q", got)
	}
	testSizes(t, c)
}

// UCX may have shared memory at its disposal: endpoints of this package do not use it, because one process that dies in the middle of a
// message would stop the queue of all.
func TestSizesAnyTransport(t *testing.T) {
	c := connect(t, newTransport(t, Config{Transports: "all"}), startServer(t, "UCX_TLS=all").target())
	got := c.link.Info().Transport
	t.Logf("transport in use: %s", got)
	if got == "" || strings.Contains(got, "posix") || strings.Contains(got, "sysv") {
		t.Errorf("transport in use is %q", got)
	}
	testSizes(t, c)
}

func TestManyCallsInFlight(t *testing.T) {
	c := connect(t, newTransport(t, Config{}), startServer(t).target())
	const count, size = 500, 9000
	out, in := c.memory(count*size), c.memory(count*size)
	fillPattern(out, 1)
	calls := make([]*rpc.Call, count)
	for i := range calls {
		calls[i] = c.call(msgEcho, word(uint32(i)), out[i*size:(i+1)*size], in[i*size:(i+1)*size])
	}
	c.tr.Run(time.Now().Add(soon), calls)
	for i, call := range calls {
		if call.Err != nil || call.Received != size || !bytes.Equal(call.Answer, word(uint32(i))) {
			t.Fatalf("call %d: received %d, answer %x, error %v", i, call.Received, call.Answer, call.Err)
		}
		c.tr.FreeCall(call)
	}
	if !bytes.Equal(in, out) {
		t.Fatal("the bytes came back changed")
	}
}

func TestManyLargeCallsInFlight(t *testing.T) {
	c := connect(t, newTransport(t, Config{}), startServer(t).target())
	const count, size = 32, 1 << 20
	out, in := c.memory(count*size), c.memory(count*size)
	fillPattern(out, 3)
	calls := make([]*rpc.Call, count)
	for i := range calls {
		calls[i] = c.call(msgEcho, nil, out[i*size:(i+1)*size], in[i*size:(i+1)*size])
	}
	c.tr.Run(time.Now().Add(soon), calls)
	for i, call := range calls {
		if call.Err != nil {
			t.Fatalf("call %d: %v", i, call.Err)
		}
		c.tr.FreeCall(call)
	}
	if !bytes.Equal(in, out) {
		t.Fatal("the bytes came back changed")
	}
}

func TestSeveralThreadsOnOneTransport(t *testing.T) {
	c := connect(t, newTransport(t, Config{}), startServer(t).target())
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var wg sync.WaitGroup
	for thread := range 6 {
		out, in := c.memory(300<<10), c.memory(300<<10)
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(thread)))
			for i := range 300 {
				n := r.IntN(8 << 10)
				if i%10 == 0 {
					n = r.IntN(300 << 10)
				}
				fillPattern(out[:n], uint32(thread*1000+i))
				_, received, err := c.do(soon, msgEcho, nil, out[:n], in[:n])
				if err != nil || received != n || !bytes.Equal(out[:n], in[:n]) {
					t.Errorf("thread %d, call %d of %d bytes: received %d, error %v", thread, i, n, received, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// One thread waits long (and sleeps on the event descriptor) while others come and go.
func TestThreadsPassASleepingDriver(t *testing.T) {
	c := connect(t, newTransport(t, Config{}), startServer(t).target())
	done := make(chan error, 1)
	slept := c.tr.Stats().Sleeps // connecting may have slept
	go func() {
		answer, _, err := c.do(soon, msgHold, nil, nil, nil)
		if err == nil && string(answer) != "late" {
			err = errors.New("wrong answer: " + string(answer))
		}
		done <- err
	}()
	eventually(t, "the waiting thread sleeps", func() bool { return c.tr.Stats().Sleeps > slept })
	for i := range 200 {
		if _, _, err := c.do(soon, msgEcho, word(uint32(i)), nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	begin := time.Now()
	if _, _, err := c.do(soon, msgFree, nil, nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > time.Second {
		t.Errorf("the sleeper got its answer after %v", took)
	}
}

func TestTimeout(t *testing.T) {
	c := connect(t, newTransport(t, Config{}), startServer(t).target())
	begin := time.Now()
	_, _, err := c.do(100*time.Millisecond, msgHold, nil, nil, nil)
	took := time.Since(begin)
	var timeout *rpc.Timeout
	if !errors.As(err, &timeout) {
		t.Fatalf("got %v, want a timeout", err)
	}
	if took < 100*time.Millisecond || took > 2*time.Second {
		t.Errorf("timed out after %v", took)
	}
	if !c.link.Alive() {
		t.Error("a timeout killed the link")
	}
	if _, _, err := c.do(-1, msgEcho, nil, nil, nil); !errors.As(err, &timeout) {
		t.Errorf("a deadline in the past: %v", err)
	}
}

// Trap: the late reply of a call that has timed out must not complete a younger one, nor write into its memory.
func TestLateReply(t *testing.T) {
	c := connect(t, newTransport(t, Config{}), startServer(t).target())
	for range 50 {
		if _, _, err := c.do(2*time.Millisecond, msgHold, nil, nil, nil); err == nil {
			t.Fatal("a held call was answered")
		}
	}
	answer, _, err := c.do(soon, msgFree, nil, nil, nil) // 50 late replies come before this one
	if err != nil || len(answer) != 0 {
		t.Fatalf("got %q, %v", answer, err)
	}
	for i := range 100 {
		answer, _, err := c.do(soon, msgEcho, word(uint32(i)), nil, nil)
		if err != nil || !bytes.Equal(answer, word(uint32(i))) {
			t.Fatalf("got %q, %v", answer, err)
		}
	}
	if got := c.tr.Stats().LateReplies; got != 50 {
		t.Errorf("%d late replies were counted, want 50", got)
	}
}

func TestReplyTooLong(t *testing.T) {
	c := connect(t, newTransport(t, Config{}), startServer(t).target())
	for _, n := range []int{1, 100, 4096, 31 << 10, 64 << 10, 1 << 20} {
		in := c.memory(n + 100)
		_, received, err := c.do(soon, msgRead, word(uint32(n), 5), nil, in[:n-1])
		var invalid *rpc.InvalidHeader
		if !errors.As(err, &invalid) || received != 0 {
			t.Errorf("%d bytes into %d: received %d, error %v", n, n-1, received, err)
		}
		for i := range in {
			if in[i] != 0 {
				t.Fatalf("%d bytes into %d: byte %d was written", n, n-1, i)
			}
		}
		if _, _, err := c.do(soon, msgEcho, nil, nil, nil); err != nil {
			t.Fatalf("the next call: %v", err)
		}
	}
}

// A payload that the server has not fetched by the deadline must never be fetched: the memory is the caller's again.
func TestPayloadIsNotReadAfterTheDeadline(t *testing.T) {
	s := startServer(t)
	c := connect(t, newTransport(t, Config{}), s.target())
	out := c.memory(1 << 20)
	begin := time.Now()
	_, _, err := c.do(100*time.Millisecond, msgLater, word(400), out, nil)
	var timeout *rpc.Timeout
	if !errors.As(err, &timeout) {
		t.Fatalf("got %v, want a timeout", err)
	}
	if took := time.Since(begin); took > 900*time.Millisecond {
		t.Errorf("Run returned after %v: the server was not told", took)
	}
	eventually(t, "the service is told", func() bool { return s.stats()["failed"] == 1 })
	if _, _, err := c.do(soon, msgEcho, nil, out, out); err != nil {
		t.Fatalf("the next call: %v", err)
	}
}

// A server that stands still cannot be told; the caller is let go all the same, and the payload is refused afterwards.
func TestPayloadWhileTheServerStandsStill(t *testing.T) {
	s := startServer(t)
	c := connect(t, newTransport(t, Config{}), s.target())
	other := connect(t, newTransport(t, Config{}), s.target())
	stalled := make(chan error, 1)
	go func() {
		_, _, err := other.do(soon, msgStall, word(2500), nil, nil)
		stalled <- err
	}()
	eventually(t, "the server stands still", func() bool {
		_, _, err := c.do(20*time.Millisecond, msgEcho, nil, nil, nil)
		return err != nil
	})
	out := c.memory(1 << 20)
	begin := time.Now()
	_, _, err := c.do(100*time.Millisecond, msgWrite, nil, out, nil)
	if took := time.Since(begin); err == nil || took > 2*time.Second {
		t.Errorf("got %v after %v", err, took)
	}
	if err := <-stalled; err != nil {
		t.Fatal(err)
	}
	eventually(t, "the server refused the payload", func() bool {
		stats := s.stats()
		return stats["cancels"]+stats["expired"] >= 1
	})
	again := connect(t, c.tr, s.target())
	if _, _, err := again.do(soon, msgEcho, nil, out, out); err != nil {
		t.Fatalf("after a new dial: %v", err)
	}
}

func TestAnswersAreTyped(t *testing.T) {
	c := connect(t, newTransport(t, Config{}), startServer(t).target())
	_, _, err := c.do(soon, rpc.MsgMax, nil, nil, nil)
	var answer *rpc.HandlerError
	if !errors.As(err, &answer) || answer.Status != rpc.StatusUnknown {
		t.Errorf("an unknown message: %v", err)
	}
	if _, _, err := c.do(soon, msgBye, nil, nil, nil); err != nil {
		t.Errorf("bye: %v", err)
	}
	if _, _, err = c.do(soon, msgEcho, nil, nil, nil); !errors.As(err, &answer) || answer.Status != rpc.StatusNoSession {
		t.Errorf("without a session: %v", err)
	}
	c.hello()
	if _, _, err = c.do(soon, msgEcho, nil, nil, nil); err != nil {
		t.Errorf("after a second hello: %v", err)
	}
}

func TestTwoWorkersOfOneClientAreTwoPeers(t *testing.T) {
	s := startServer(t)
	a := connect(t, newTransport(t, Config{}), s.target())
	tr := newTransport(t, Config{})
	b := connect(t, tr, s.target())
	b.id = a.id
	b.hello()
	if a.session == b.session {
		t.Fatal("both have the same session")
	}
	for _, c := range []*client{a, b, a} {
		if _, _, err := c.do(soon, msgEcho, nil, nil, nil); err != nil {
			t.Error(err)
		}
	}
}

func TestCloseFailsCallsInFlight(t *testing.T) {
	c := connect(t, newTransport(t, Config{}), startServer(t).target())
	done := make(chan error, 1)
	slept := c.tr.Stats().Sleeps // connecting may have slept
	go func() {
		_, _, err := c.do(soon, msgHold, nil, nil, nil)
		done <- err
	}()
	eventually(t, "the call waits", func() bool { return c.tr.Stats().Sleeps > slept })
	c.tr.Close()
	var lost *rpc.ConnectionError
	if err := <-done; !errors.As(err, &lost) {
		t.Errorf("got %v", err)
	}
	if c.link.Alive() {
		t.Error("the link of a closed transport is alive")
	}
	if _, _, err := c.do(soon, msgEcho, nil, nil, nil); !errors.As(err, &lost) {
		t.Errorf("a call on a closed transport: %v", err)
	}
}
