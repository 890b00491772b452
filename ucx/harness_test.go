package ucx

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/benchfs/benchfs/internal/loop"
	"github.com/benchfs/benchfs/rpc"
)

const (
	childEnv = "BENCHFS_UCX_TEST_CHILD"
	soon     = 20 * time.Second
)

var _ loop.Source = (*Server)(nil)

// TestMain has all processes of the tests reach each other as those of different machines do, unless the environment says otherwise.
func TestMain(m *testing.M) {
	if _, ok := os.LookupEnv("UCX_TLS"); !ok {
		os.Setenv("UCX_TLS", "tcp")
	}
	switch os.Getenv(childEnv) {
	case "":
		os.Exit(m.Run())
	case "server":
		serverChild()
	case "client":
		clientChild()
	case "unloadable":
		unloadableChild()
	}
}

func fatalChild(err error) {
	fmt.Fprintln(os.Stderr, "child:", err)
	os.Exit(3)
}

// serverChild serves until its standard input ends; it answers "stats" there with counters.
func serverChild() {
	signal.Ignore(syscall.SIGINT)
	c, err := NewContext(Config{})
	if err != nil {
		fatalChild(err)
	}
	t, err := c.NewTransport()
	if err != nil {
		fatalChild(err)
	}
	service := &testService{alloc: t.Alloc}
	server, err := c.NewServer(service)
	if err != nil {
		fatalChild(err)
	}
	shard, err := loop.New()
	if err != nil {
		fatalChild(err)
	}
	service.loop = shard
	socket, err := server.Listen("127.0.0.1:" + os.Getenv("BENCHFS_UCX_TEST_PORT"))
	if err != nil {
		fatalChild(err)
	}
	fmt.Println(hex.EncodeToString(server.Address()), socket)
	go answerParent(shard, server, service)
	shard.Run(service, server)
	server.Drain(time.Second)
	server.Close()
	t.Close()
	c.Close()
	os.Exit(0)
}

func answerParent(shard *loop.Loop, server *Server, service *testService) {
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		done := make(chan string, 1)
		if !shard.Submit(func() {
			var usage syscall.Rusage
			syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
			cpu := time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
			s := server.Stats()
			done <- fmt.Sprintf("cpu=%d garbage=%d nosession=%d peers=%d gone=%d failed=%d expired=%d cancels=%d requests=%d "+
				"refused=%d closed=%d connections=%d", cpu, s.Garbage, s.NoSession, s.Peers, service.gone, service.failed, s.Expired,
				s.Cancels, s.Requests, s.RefusedCallers, s.ClosedConnections, s.Connections)
		}) {
			return
		}
		fmt.Println(<-done)
	}
	shard.Stop()
}

// server is a child process that serves.
type server struct {
	t      testing.TB
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	worker []byte
	socket string
}

func startServer(t testing.TB, env ...string) *server {
	t.Helper()
	s := &server{t: t, cmd: exec.Command(os.Args[0])}
	s.cmd.Env = append(append(os.Environ(), childEnv+"=server", "BENCHFS_UCX_TEST_PORT=0"), env...)
	s.cmd.Stderr = os.Stderr
	var err error
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.out = bufio.NewReader(out)
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.kill)
	line := s.line()
	var worker string
	if _, err := fmt.Sscanf(line, "%s %s", &worker, &s.socket); err != nil {
		t.Fatalf("server said %q: %v", line, err)
	}
	s.worker, _ = hex.DecodeString(worker)
	return s
}

func (s *server) line() string {
	s.t.Helper()
	type answer struct {
		line string
		err  error
	}
	done := make(chan answer, 1)
	go func() {
		line, err := s.out.ReadString('\n')
		done <- answer{line, err}
	}()
	select {
	case a := <-done:
		if a.err != nil {
			s.t.Fatalf("server child: %v", a.err)
		}
		return strings.TrimSpace(a.line)
	case <-time.After(soon):
		s.t.Fatal("server child says nothing")
	}
	return ""
}

func (s *server) stats() map[string]int64 {
	s.t.Helper()
	fmt.Fprintln(s.in, "stats")
	m := map[string]int64{}
	for _, field := range strings.Fields(s.line()) {
		name, value, _ := strings.Cut(field, "=")
		var n int64
		fmt.Sscan(value, &n)
		m[name] = n
	}
	return m
}

// kill is SIGKILL, and waits.
func (s *server) kill() {
	if s.cmd.ProcessState == nil {
		s.cmd.Process.Kill()
		s.cmd.Wait()
	}
}

func (s *server) target() rpc.Target {
	return rpc.Target{Peer: rpc.PeerID{Node: 1, Shard: 2}, Worker: s.worker}
}

// client is a Transport with a link and a session.
type client struct {
	t       testing.TB
	tr      *Transport
	link    rpc.Link
	id      uint64
	session uint32
}

func newTransport(t testing.TB, config Config) *Transport {
	t.Helper()
	c, err := NewContext(config)
	if err != nil {
		t.Fatal(err)
	}
	tr, err := c.NewTransport()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		tr.Close()
		c.Close()
	})
	return tr
}

// connect dials and says Hello, again if need be: a worker whose queue a dead server has left stuck is given up when that is noticed.
func connect(t testing.TB, tr *Transport, target rpc.Target) *client {
	t.Helper()
	for end := time.Now().Add(soon); ; {
		c, err := tryConnect(t, tr, target, soon)
		var lost *rpc.ConnectionError
		if err == nil {
			return c
		}
		if !errors.As(err, &lost) || time.Now().After(end) {
			t.Fatalf("connecting: %v", err)
		}
	}
}

func tryConnect(t testing.TB, tr *Transport, target rpc.Target, within time.Duration) (*client, error) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	link, err := tr.Dial(ctx, target)
	if err != nil {
		return nil, err
	}
	c := &client{t: t, tr: tr, link: link, id: rand.Uint64()}
	if err := c.tryHello(within); err != nil {
		link.Close()
		return nil, err
	}
	return c, nil
}

// reach connects to the server wherever it is by then.
func (s *server) reach(tr *Transport) *client {
	s.t.Helper()
	var c *client
	eventually(s.t, "the server is reached", func() bool {
		var err error
		c, err = tryConnect(s.t, tr, s.target(), time.Second)
		return err == nil
	})
	return c
}

func (c *client) hello() {
	c.t.Helper()
	if err := c.tryHello(soon); err != nil {
		c.t.Fatalf("hello: %v", err)
	}
}

func (c *client) tryHello(within time.Duration) error {
	call := c.tr.NewCall()
	defer c.tr.FreeCall(call)
	call.Link, call.Header, call.Out = c.link, rpc.Header{Type: rpc.MsgHello, Client: c.id}, nil
	call.Body = append(call.Body[:0], "hello"...)
	c.tr.Run(time.Now().Add(within), []*rpc.Call{call})
	c.session = call.Reply.Session
	return call.Err
}

func (c *client) call(msg rpc.MsgType, body, out, in []byte) *rpc.Call {
	call := c.tr.NewCall()
	call.Link, call.Header = c.link, rpc.Header{Type: msg, Client: c.id, Session: c.session}
	call.Body = append(call.Body[:0], body...)
	call.Out, call.In = out, in
	return call
}

// do runs one call with a deadline, and returns a copy of its answer.
func (c *client) do(within time.Duration, msg rpc.MsgType, body, out, in []byte) (answer []byte, received int, err error) {
	call := c.call(msg, body, out, in)
	defer c.tr.FreeCall(call)
	c.tr.Run(time.Now().Add(within), []*rpc.Call{call})
	return append([]byte(nil), call.Answer...), call.Received, call.Err
}

func (c *client) memory(n int) []byte {
	c.t.Helper()
	b, err := c.tr.Alloc(n)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { c.tr.Free(b) })
	return b
}

// eventually polls until ok, within the usual patience.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(soon); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}
