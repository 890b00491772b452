package ucx

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/benchfs/benchfs/rpc"
)

// childClient connects a child to the server that its environment names.
func childClient() *client {
	worker, err := hex.DecodeString(os.Getenv("BENCHFS_UCX_TEST_WORKER"))
	if err != nil {
		fatalChild(err)
	}
	c, err := NewContext(Config{})
	if err != nil {
		fatalChild(err)
	}
	tr, err := c.NewTransport()
	if err != nil {
		fatalChild(err)
	}
	cl, err := tryConnect(nil, tr, rpc.Target{Worker: worker}, soon)
	if err != nil {
		fatalChild(err)
	}
	fmt.Println("ready")
	return cl
}

// clientChild writes and reads until it is killed. It says "ready" once it has a session.
func clientChild() {
	cl := childClient()
	buffer, err := cl.tr.Alloc(4 << 20)
	if err != nil {
		fatalChild(err)
	}
	for {
		if _, _, err := cl.do(soon, msgEcho, nil, buffer, buffer); err != nil {
			fatalChild(err)
		}
	}
}

// Trap: a killed server must not leave its clients waiting for ever.
func TestServerKilledInTheMiddle(t *testing.T) {
	s := startServer(t)
	c := connect(t, newTransport(t, Config{}), s.target())
	killWhileWorking(t, s, c)
	if c.link.Alive() {
		t.Error("the link is still alive")
	}
}

func killWhileWorking(t *testing.T, s *server, c *client) {
	t.Helper()
	const calls, size = 8, 2 << 20
	out, in := c.memory(calls*size), c.memory(calls*size)
	time.AfterFunc(50*time.Millisecond, func() { s.cmd.Process.Kill() })
	begin := time.Now()
	for {
		batch := make([]*rpc.Call, calls)
		for i := range batch {
			batch[i] = c.call(msgEcho, nil, out[i*size:(i+1)*size], in[i*size:(i+1)*size])
		}
		started := time.Now()
		c.tr.Run(started.Add(5*time.Second), batch)
		took := time.Since(started)
		var failed error
		for _, call := range batch {
			if call.Err != nil {
				failed = call.Err
			}
			c.tr.FreeCall(call)
		}
		if failed != nil {
			var lost *rpc.ConnectionError
			if !errors.As(failed, &lost) {
				t.Errorf("got %v, want a connection error", failed)
			}
			t.Logf("%v, after %v", failed, took)
			if took > 7*time.Second {
				t.Errorf("the call ended after %v", took)
			}
			break
		}
		if time.Since(begin) > soon {
			t.Fatal("calls to a dead server succeed")
		}
	}
	if _, _, err := c.do(time.Second, msgEcho, nil, nil, nil); err == nil {
		t.Error("a dead server answers")
	}
}

// A server that is started again is reached by a new Dial from the same Transport.
func TestServerRestarted(t *testing.T) {
	first := startServer(t)
	c := connect(t, newTransport(t, Config{}), first.target())
	_, port, _ := net.SplitHostPort(first.socket)
	bySocket := connect(t, c.tr, rpc.Target{Socket: first.socket})
	for range 3 {
		killWhileWorking(t, first, c)
		first.kill()
		if _, err := c.tr.Dial(context.Background(), first.target()); err == nil {
			t.Error("the address of a dead server was dialled")
		}
		next := startServer(t, "BENCHFS_UCX_TEST_PORT="+port) // the port of its predecessor
		eventually(t, "the socket link notices", func() bool {
			_, _, err := bySocket.do(100*time.Millisecond, msgEcho, nil, nil, nil)
			return err != nil && !bySocket.link.Alive()
		})
		c.link.Close()
		c = connect(t, c.tr, next.target())
		bySocket = connect(t, c.tr, rpc.Target{Socket: next.socket})
		out := c.memory(1 << 20)
		for _, cl := range []*client{c, bySocket} {
			if _, _, err := cl.do(soon, msgEcho, nil, out, out); err != nil {
				t.Fatal(err)
			}
		}
		first = next
	}
}

func TestDialNobody(t *testing.T) {
	tr := newTransport(t, Config{})
	for _, socket := range []string{"127.0.0.1:1", "192.0.2.1:7600", "no-such-host.invalid:7600", "nonsense", "127.0.0.1:"} {
		begin := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
		link, err := tr.Dial(ctx, rpc.Target{Peer: rpc.PeerID{Node: 7}, Socket: socket})
		cancel()
		took := time.Since(begin)
		t.Logf("%s: %v after %v", socket, err, took)
		if err == nil {
			link.Close()
			t.Errorf("%s: dialled", socket)
		} else if !strings.Contains(err.Error(), "node 7") {
			t.Errorf("%s: the error does not name the node: %v", socket, err)
		}
		if took > 3*time.Second {
			t.Errorf("%s: Dial took %v", socket, took)
		}
	}
	for _, worker := range [][]byte{{1}, make([]byte, 200)} {
		if _, err := tr.Dial(context.Background(), rpc.Target{Worker: worker}); err == nil {
			t.Errorf("%d bytes of nothing were dialled", len(worker))
		}
	}
}

func TestDialCancelled(t *testing.T) {
	tr := newTransport(t, Config{})
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(100*time.Millisecond, cancel)
	begin := time.Now()
	if _, err := tr.Dial(ctx, rpc.Target{Socket: "192.0.2.1:7600"}); err == nil {
		t.Error("dialled")
	}
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("Dial took %v", took)
	}
}

// Clients that are killed must not hold the server's memory, and must not stop it.
func TestClientsKilled(t *testing.T) {
	s := startServer(t)
	tr := newTransport(t, Config{})
	for i := range 3 {
		s.reach(tr).link.Close()
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), childEnv+"=client", "BENCHFS_UCX_TEST_WORKER="+hex.EncodeToString(s.target().Worker))
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Read(make([]byte, 16)); err != nil {
			t.Fatal(err)
		}
		before := s.stats()["requests"]
		eventually(t, "the client works", func() bool { return s.stats()["requests"] > before+20 })
		child.Process.Kill()
		child.Wait()
		eventually(t, "the service is told", func() bool {
			stats := s.stats()
			return stats["gone"] >= int64(i+1) && stats["peers"] == 0
		})
	}
	if _, _, err := s.reach(tr).do(soon, msgEcho, nil, nil, nil); err != nil {
		t.Fatal(err)
	}
}

// A client that leaves in good order leaves nothing behind.
func TestLinksClosedAreForgotten(t *testing.T) {
	s := startServer(t)
	tr := newTransport(t, Config{})
	for i := range 20 {
		target := s.target()
		if i%5 == 0 {
			target = rpc.Target{Socket: s.socket}
		}
		c := connect(t, tr, target)
		if _, _, err := c.do(soon, msgEcho, nil, nil, nil); err != nil {
			t.Fatal(err)
		}
		c.link.Close()
	}
	eventually(t, "all connections are closed", func() bool {
		stats := s.stats()
		return stats["peers"] == 0 && stats["closed"] == 20
	})
}

// A server that forgot a client says so at once.
func TestForgottenSession(t *testing.T) {
	s := startServer(t)
	for _, target := range []rpc.Target{s.target(), {Socket: s.socket}} {
		c := connect(t, newTransport(t, Config{}), target)
		if _, _, err := c.do(soon, msgKick, nil, nil, nil); err != nil {
			t.Fatal(err)
		}
		out := c.memory(1 << 20)
		for _, payload := range [][]byte{nil, out[:100], out} {
			_, _, err := c.do(soon, msgEcho, nil, payload, out)
			var answer *rpc.HandlerError
			if !errors.As(err, &answer) || answer.Status != rpc.StatusNoSession {
				t.Errorf("%d bytes: %v", len(payload), err)
			}
		}
		right := c.session
		c.hello()
		c.id++ // somebody else's session
		if _, _, err := c.do(soon, msgEcho, nil, nil, nil); err == nil {
			t.Error("a foreign session was served")
		}
		if c.session == right {
			t.Error("the session was given out twice")
		}
	}
	if got := s.stats()["nosession"]; got != 8 {
		t.Errorf("%d frames without a session were counted, want 8", got)
	}
}

// Frames that do not parse close the connection that they came by, and nothing else.
func TestGarbageFrames(t *testing.T) {
	s := startServer(t)
	good := connect(t, newTransport(t, Config{}), s.target())
	whole := make([]byte, rpc.HeaderBytes)
	h := rpc.Header{Kind: rpc.KindRequest, Type: rpc.MsgEcho}
	h.Put(whole)
	change := func(at int, value byte) []byte {
		b := append([]byte(nil), whole...)
		b[at] = value
		return b
	}
	frames := [][]byte{{}, {1}, whole[:63], change(0, 0), change(4, 99), change(5, 2), change(5, 0), change(48, 1),
		change(56, 1), change(63, 0xff), change(6, byte(rpc.MsgHello)), make([]byte, 2000)}
	tr := newTransport(t, Config{})
	garbage := int64(0)
	for i, frame := range frames {
		for am := amRequest; am <= amLeave; am++ {
			if am == amReply {
				continue // servers take none: UCX drops it
			}
			for _, target := range []rpc.Target{{Socket: s.socket}, s.target()} {
				c := connect(t, tr, target)
				link := c.link.(*Link)
				if err := link.sendRaw(am, frame); err != nil {
					t.Fatalf("frame %d: %v", i, err)
				}
				garbage++
				eventually(t, fmt.Sprintf("garbage frame %d as message %d is counted, and its connection closed", i, am), func() bool {
					link.progress()
					stats := s.stats()
					return stats["garbage"] == garbage && stats["closed"] == garbage && stats["gone"] == garbage
				})
				if _, _, err := c.do(5*time.Millisecond, msgEcho, nil, nil, nil); err == nil {
					t.Fatalf("frame %d as message %d: the connection still works", i, am)
				}
				link.Close()
			}
		}
	}
	if _, _, err := good.do(soon, msgEcho, nil, nil, nil); err != nil {
		t.Fatalf("another client: %v", err)
	}
}

// listeningPorts are the TCP ports of a process, UCX's own among them.
func listeningPorts(t *testing.T, pid int) []string {
	t.Helper()
	table, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/tcp", pid))
	if err != nil {
		t.Fatal(err)
	}
	inodes := map[string]bool{}
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		link, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, fd.Name()))
		inodes[strings.TrimSuffix(strings.TrimPrefix(link, "socket:["), "]")] = true
	}
	var ports []string
	for _, line := range strings.Split(string(table), "\n")[1:] {
		f := strings.Fields(line)
		if len(f) > 9 && f[3] == "0A" && inodes[f[9]] {
			var port int
			fmt.Sscanf(f[1][strings.IndexByte(f[1], ':')+1:], "%x", &port)
			ports = append(ports, fmt.Sprintf("127.0.0.1:%d", port))
		}
	}
	return ports
}

// Bytes that are no UCX at all.
func TestGarbageAtThePort(t *testing.T) {
	s := startServer(t)
	good := connect(t, newTransport(t, Config{}), s.target())
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	var open []net.Conn
	ports := listeningPorts(t, s.cmd.Process.Pid)
	t.Logf("ports: %v, of which %s is ours", ports, s.socket)
	for i := range 600 {
		conn, err := net.DialTimeout("tcp", append(ports, s.socket, s.socket)[i/6%(len(ports)+2)], time.Second)
		if err != nil {
			continue // a port of UCX's that is not for this interface
		}
		bytes := make([]byte, r.IntN(6000))
		for j := range bytes {
			bytes[j] = byte(r.Uint32())
		}
		switch i % 6 {
		case 1: // a plausible length, then noise
			bytes = append(binary.LittleEndian.AppendUint64(nil, uint64(r.IntN(2048))), bytes...)
		case 2: // a huge length
			bytes = append(binary.LittleEndian.AppendUint64(nil, r.Uint64()), bytes...)
		case 3: // exactly as long as it says
			n := r.IntN(2000)
			bytes = append(make([]byte, 0, 4096), bytes...)
			for len(bytes) < n {
				bytes = append(bytes, byte(r.Uint32()))
			}
			bytes = append(append(binary.LittleEndian.AppendUint64(nil, uint64(n)), byte(r.IntN(8))), bytes[:n]...)
			bytes = bytes[:n+8+i%2]
		case 4:
			bytes = nil
		case 5:
			bytes = bytes[:min(len(bytes), r.IntN(16))]
		}
		conn.Write(bytes)
		if i%3 == 0 {
			conn.Close()
		} else {
			open = append(open, conn)
		}
		if i%20 == 0 {
			if _, _, err := good.do(soon, msgEcho, nil, nil, nil); err != nil {
				t.Fatalf("another client, after %d: %v", i, err)
			}
		}
	}
	c := connect(t, newTransport(t, Config{}), rpc.Target{Socket: s.socket})
	if _, _, err := c.do(soon, msgEcho, nil, nil, nil); err != nil {
		t.Fatalf("a new client: %v", err)
	}
	if stats := s.stats(); stats["refused"] < 50 {
		t.Errorf("only %d callers were refused", stats["refused"])
	}
	for _, conn := range open {
		conn.Close()
	}
}

// Trap: an idle daemon must not burn a core.
func TestIdleLoopSleeps(t *testing.T) {
	s := startServer(t)
	c := connect(t, newTransport(t, Config{}), s.target())
	if _, _, err := c.do(soon, msgEcho, nil, nil, nil); err != nil {
		t.Fatal(err)
	}
	before := s.stats()["cpu"]
	time.Sleep(2 * time.Second)
	used := time.Duration(s.stats()["cpu"] - before)
	t.Logf("%v of CPU in 2 s", used)
	if used > 200*time.Millisecond {
		t.Errorf("an idle loop used %v of CPU in 2 s", used)
	}
}
