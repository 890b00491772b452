package locks_test

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/benchfs/benchfs/internal/cluster"
	"github.com/benchfs/benchfs/tests/agent"
)

// Locks between real processes, over the C ABI, on two daemons.

func TestMain(m *testing.M) {
	status := m.Run()
	agent.CleanUp()
	os.Exit(status)
}

const deadline = 20 * time.Second

// stage is a cluster with files on both of its daemons.
type stage struct {
	*testing.T
	c *cluster.Cluster
}

func setUp(t *testing.T, settings map[string]string) *stage {
	return &stage{t, cluster.Start(t, cluster.Options{Nodes: 2, Settings: settings})}
}

// party is a process with a file open.
type party struct {
	*agent.Agent
	s  *stage
	fd int
}

func (s *stage) party(path string) *party {
	s.Helper()
	p := &party{Agent: agent.MustStart(s.T, s.c.Env()), s: s}
	p.fd = p.open(path)
	return p
}

func (p *party) open(path string) int {
	p.s.Helper()
	fd, err := p.Open(path, unix.O_CREAT|unix.O_RDWR, 0o600)
	if err != nil {
		p.s.Fatal(err)
	}
	return fd
}

// end closes the file, so that the process can end in order.
func (p *party) end() {
	p.s.Helper()
	p.s.ok("close", p.Close(p.fd))
}

func (s *stage) ok(what string, err error) {
	s.Helper()
	if err != nil {
		s.Fatalf("%s: %v", what, err)
	}
}

func (s *stage) fails(what string, err error, want syscall.Errno) {
	s.Helper()
	if !errors.Is(err, want) {
		s.Fatalf("%s: %v, want %v", what, err, want)
	}
}

var (
	write  = agent.Lock{Type: unix.F_WRLCK}
	read   = agent.Lock{Type: unix.F_RDLCK}
	unlock = agent.Lock{Type: unix.F_UNLCK}
)

// flock is a lock on the whole file.
func flock(owner uint64) agent.Lock {
	return agent.Lock{Kind: agent.LockFile, Type: unix.F_WRLCK, Owner: owner}
}

func (p *party) lock(op int, l agent.Lock) error {
	_, err := p.Lock(p.fd, op, l)
	return err
}

// begin starts a wait.
func (p *party) begin(l agent.Lock) chan error {
	done := make(chan error, 1)
	go func() { done <- p.lock(agent.LockWait, l) }()
	return done
}

func (s *stage) end(what string, done chan error) error {
	s.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(deadline):
		s.Fatalf("%s does not end", what)
		return nil
	}
}

// sleeping waits until a process sleeps in a futex on its only thread that makes calls: it waits for a lock.
func (p *party) sleeping() {
	p.s.Helper()
	path := fmt.Sprintf("/proc/%d/syscall", p.PID())
	for end := time.Now().Add(deadline); ; time.Sleep(time.Millisecond) {
		text, err := os.ReadFile(path)
		if err != nil {
			p.s.Fatal(err)
		}
		var number, word, op int64
		if n, _ := fmt.Sscanf(string(text), "%d 0x%x 0x%x", &number, &word, &op); n == 3 && number == unix.SYS_FUTEX && op == 128 {
			return // FUTEX_WAIT_PRIVATE; the Go runtime's waits on this thread have a timeout or end soon
		}
		if time.Now().After(end) {
			p.s.Fatalf("process %d does not wait: %s", p.PID(), text)
		}
	}
}

// TestCounter: processes count in a file under its lock, each reading the number and writing the next. None gets lost.
func TestCounter(t *testing.T) {
	s := setUp(t, nil)
	for _, kind := range []struct {
		name string
		lock func(i int) agent.Lock
	}{
		{"range", func(int) agent.Lock { return agent.Lock{Type: unix.F_WRLCK, Start: 100, Length: 1} }},
		{"file", func(i int) agent.Lock { return flock(uint64(i + 1)) }},
	} {
		t.Run(kind.name, func(t *testing.T) {
			const processes, rounds = 4, 40
			var group sync.WaitGroup
			for i := range processes {
				p := s.party("/counter-" + kind.name)
				group.Go(func() {
					if err := p.count(rounds, kind.lock(i)); err != nil {
						t.Error(err)
					}
				})
			}
			group.Wait()
			p := s.party("/counter-" + kind.name)
			defer p.end()
			text, err := p.Pread(p.fd, 10, 0)
			if got := string(text); err != nil || got != fmt.Sprintf("%010d", processes*rounds) {
				t.Errorf("the counter is at %q, %v", got, err)
			}
		})
	}
}

func (p *party) count(rounds int, l agent.Lock) error {
	defer func() { _ = p.Close(p.fd) }()
	for range rounds {
		if err := p.lock(agent.LockWait, l); err != nil {
			return err
		}
		text, err := p.Pread(p.fd, 10, 0)
		if err != nil {
			return err
		}
		n, _ := strconv.Atoi(string(text)) // none at first
		if _, err := p.Pwrite(p.fd, fmt.Appendf(nil, "%010d", n+1), 0); err != nil {
			return err
		}
		free := l
		free.Type = unix.F_UNLCK
		if err := p.lock(agent.LockTry, free); err != nil {
			return err
		}
	}
	return nil
}

// TestKilledHolder: its lock goes to who waits, and to who asks next.
func TestKilledHolder(t *testing.T) {
	s := setUp(t, nil)
	for _, path := range []string{"/a", "/b", "/c"} {
		first, second, third := s.party(path), s.party(path), s.party(path)
		s.ok("lock", first.lock(agent.LockTry, write))
		s.ok("lock", first.lock(agent.LockTry, flock(9)))
		s.fails("another's", second.lock(agent.LockTry, read), syscall.EAGAIN)
		wait := second.begin(write)
		second.sleeping()
		first.Kill()
		s.ok("who waited", s.end("the wait", wait))
		s.ok("the other kind", third.lock(agent.LockTry, flock(8)))
		s.fails("another's", third.lock(agent.LockTry, read), syscall.EAGAIN)
		second.Kill()
		s.ok("right after the kill", third.lock(agent.LockTry, write))
		third.end()
	}
}

// TestKilledWaiter: it is never in anybody's way.
func TestKilledWaiter(t *testing.T) {
	s := setUp(t, map[string]string{"session.check_interval": "100ms"})
	first, second, third := s.party("/f"), s.party("/f"), s.party("/f")
	s.ok("lock", first.lock(agent.LockTry, write))
	wait := second.begin(write)
	second.sleeping()
	second.Kill()
	<-wait
	s.ok("unlock", first.lock(agent.LockTry, unlock))
	s.ok("after a waiter's death", s.end("the wait", third.begin(write)))
	first.end()
	third.end()
}

// TestSignals: a handler ends the wait, one with SA_RESTART does not, and afterwards all goes on.
func TestSignals(t *testing.T) {
	s := setUp(t, nil)
	holder, waiter := s.party("/f"), s.party("/f")
	s.ok("lock", holder.lock(agent.LockTry, write))
	for range 10 {
		_, err := waiter.HandleAlarm(false)
		s.ok("handler", err)
		wait := waiter.begin(write)
		waiter.sleeping()
		s.ok("signal", waiter.Alarm())
		s.fails("the interrupted wait", s.end("the interrupted wait", wait), syscall.EINTR)
	}
	before, err := waiter.HandleAlarm(true)
	s.ok("handler", err)
	wait := waiter.begin(write)
	waiter.sleeping()
	s.ok("signal", waiter.Alarm())
	select {
	case err := <-wait:
		t.Fatalf("SA_RESTART, and the wait has ended: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	s.ok("unlock", holder.lock(agent.LockTry, unlock))
	s.ok("the wait", s.end("the wait", wait))
	after, err := waiter.HandleAlarm(false)
	if s.ok("handler", err); after != before+1 {
		t.Errorf("%d signals instead of 1", after-before)
	}
	s.fails("it has the lock", holder.lock(agent.LockTry, read), syscall.EAGAIN)
	holder.end()
	waiter.end()
}

// TestHolder is a shell's `flock 9`: a child locks a description that its parent has opened, and ends; the parent keeps the lock.
func TestHolder(t *testing.T) {
	s := setUp(t, nil)
	parent, other := s.party("/f"), s.party("/f")
	session, err := parent.Session()
	s.ok("session", err)
	for _, kill := range []bool{false, true} {
		child := s.party("/f")
		l := flock(4711)
		l.Holder = session
		s.ok("the child's lock", child.lock(agent.LockTry, l))
		if kill {
			child.Kill()
		} else {
			child.end()
			s.ok("the child's end", child.Stop())
		}
		s.fails("the parent keeps it", other.lock(agent.LockTry, flock(4712)), syscall.EAGAIN)
		s.ok("the parent leaves", parent.lock(agent.LockLeave, flock(4711)))
		s.ok("nobody has it", other.lock(agent.LockTry, flock(4712)))
		s.ok("unlock", other.lock(agent.LockTry, agent.Lock{Kind: agent.LockFile, Type: unix.F_UNLCK, Owner: 4712}))
	}
	child := s.party("/f")
	l := flock(4711)
	l.Holder = session
	s.ok("the child's lock", child.lock(agent.LockTry, l))
	child.Kill()
	s.fails("the parent keeps it", other.lock(agent.LockTry, flock(4712)), syscall.EAGAIN)
	parent.end()
	s.fails("a close does not matter", other.lock(agent.LockTry, flock(4712)), syscall.EAGAIN)
	s.ok("the parent's end", parent.Stop())
	s.ok("nobody has it", other.lock(agent.LockTry, flock(4712)))
	other.end()
}

// TestKinds: ranges and whole files do not see each other; what is in the way is told.
func TestKinds(t *testing.T) {
	s := setUp(t, nil)
	a, b := s.party("/f"), s.party("/f")
	s.ok("flock", a.lock(agent.LockTry, flock(1)))
	s.ok("range", b.lock(agent.LockTry, agent.Lock{Type: unix.F_WRLCK, Start: 10, Length: -5}))
	got, err := a.Lock(a.fd, agent.LockTest, read)
	want := agent.Lock{Type: unix.F_WRLCK, Start: 5, Length: 5, PID: b.PID()}
	if s.ok("test", err); got != want {
		t.Errorf("in the way: %+v, want %+v", got, want)
	}
	got, err = b.Lock(b.fd, agent.LockTest, flock(2))
	want = agent.Lock{Kind: agent.LockFile, Type: unix.F_WRLCK, Owner: 1, PID: a.PID()}
	if s.ok("test", err); got != want {
		t.Errorf("in the way: %+v, want %+v", got, want)
	}
	s.ok("upgrade beside it", a.lock(agent.LockTry, agent.Lock{Type: unix.F_WRLCK, Start: 10}))
	s.fails("beyond all files", a.lock(agent.LockTry, agent.Lock{Start: 2, Length: 1<<63 - 1}), syscall.EOVERFLOW)
	s.fails("before the file", a.lock(agent.LockTry, agent.Lock{Start: 2, Length: -3}), syscall.EINVAL)
	a.end()
	b.end()
}

// TestDeadlock: whoever closes the circle is told.
func TestDeadlock(t *testing.T) {
	s := setUp(t, nil)
	a, b := s.party("/f"), s.party("/f")
	s.ok("a", a.lock(agent.LockTry, agent.Lock{Type: unix.F_WRLCK, Start: 0, Length: 1}))
	s.ok("b", b.lock(agent.LockTry, agent.Lock{Type: unix.F_WRLCK, Start: 1, Length: 1}))
	first := a.begin(agent.Lock{Type: unix.F_WRLCK, Start: 1, Length: 1})
	second := b.begin(agent.Lock{Type: unix.F_WRLCK, Start: 0, Length: 1})
	var err error
	loser, winner := a, second
	select {
	case err = <-first:
	case err = <-second:
		loser, winner = b, first
	case <-time.After(deadline):
		t.Fatal("both wait")
	}
	s.fails("who closed the circle", err, syscall.EDEADLK)
	s.ok("unlock", loser.lock(agent.LockTry, unlock))
	s.ok("the other", s.end("the other", winner))
	a.end()
	b.end()
}

// TestRestart: locks do not survive their daemon, and who had one is told.
func TestRestart(t *testing.T) {
	s := setUp(t, nil)
	a, b := s.party("/f"), s.party("/f")
	s.ok("lock", a.lock(agent.LockTry, write))
	wait := b.begin(write)
	b.sleeping()
	for node := range 2 {
		s.c.Kill(node)
		s.ok("start", s.c.Launch(node))
	}
	s.c.WaitReady()
	s.ok("who waited", s.end("the wait", wait))
	s.fails("unlock", a.lock(agent.LockTry, unlock), syscall.ENOLCK)
	s.fails("again", a.lock(agent.LockTry, read), syscall.EAGAIN)
	a.end()
	b.end()
}
