package fault_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/benchfs/benchfs/internal/cluster"
	"github.com/benchfs/benchfs/tests/agent"
	"github.com/benchfs/benchfs/tests/posix"
)

// sent is how many messages a client has sent, and direct how many operations it did without one.
func sent(t *testing.T, a *agent.Agent) (messages, direct uint64) {
	t.Helper()
	var s struct {
		Client struct {
			Direct      uint64 `json:"direct"`
			Connections []struct {
				Calls uint64 `json:"reused"`
			} `json:"connections"`
		} `json:"client"`
	}
	text, err := a.Stats()
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, connection := range s.Client.Connections {
		messages += connection.Calls
	}
	return messages, s.Client.Direct
}

// filesUsed is how many files there are, of a page each.
func filesUsed(t *testing.T, a *agent.Agent) uint64 {
	t.Helper()
	s, err := a.Statfs("/")
	if err != nil {
		t.Fatal(err)
	}
	return (s.Bytes - s.Free) / 4096
}

// awaitFiles waits until there are so many files.
func awaitFiles(t *testing.T, a *agent.Agent, want uint64) {
	t.Helper()
	got := filesUsed(t, a)
	for end := time.Now().Add(15 * time.Second); got != want; got = filesUsed(t, a) {
		if time.Now().After(end) {
			t.Fatalf("%d files, want %d", got, want)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func openAndRead(a *agent.Agent, path string, n int) (fd int, data []byte, err error) {
	if fd, err = a.Open(path, unix.O_RDONLY, 0); err != nil {
		return -1, nil, err
	}
	data, err = a.Pread(fd, n, 0)
	return fd, data, err
}

// A file that the process has opened before is opened, read and closed without a message; unlinked by others it stays as long as it is open, and goes
// with the close, or with the process.
func TestOpensWithoutMessages(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Nodes: 2, Shards: 1})
	holder, other := agent.MustStart(t, c.Env()), agent.MustStart(t, c.Env())
	content := bytes.Repeat([]byte("content "), 500)
	empty := filesUsed(t, other)
	for i := range 8 { // on both nodes
		path := fmt.Sprintf("/file.%d", i)
		put(t, other, path, content)
		for round := range 4 {
			before, _ := sent(t, holder)
			fd, got, err := openAndRead(holder, path, 2*len(content))
			if err != nil || !bytes.Equal(got, content) {
				t.Fatalf("%s: %d bytes, %v", path, len(got), err)
			}
			if err := holder.Close(fd); err != nil {
				t.Fatal(err)
			}
			time.Sleep(20 * time.Millisecond) // the close of the first round is told by then
			after, _ := sent(t, holder)
			if n := after - before; round > 1 && n != 0 {
				t.Errorf("%s: %d messages to open, read and close it again", path, n)
			}
		}
	}
	var held []int
	for i := range 8 {
		path := fmt.Sprintf("/file.%d", i)
		fd, _, err := openAndRead(holder, path, 1)
		if err == nil {
			err = other.Unlink(path)
		}
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, fd)
		if _, _, err := openAndRead(holder, path, 1); !errors.Is(err, syscall.ENOENT) {
			t.Fatalf("opened after it was unlinked: %v", err)
		}
	}
	time.Sleep(2500 * time.Millisecond) // the shards have looked around
	if n := filesUsed(t, other); n != empty+8 {
		t.Fatalf("%d files, want %d: unlinked files that are open", n, empty+8)
	}
	for _, fd := range held {
		got, err := holder.Pread(fd, 2*len(content), 0)
		if err != nil || !bytes.Equal(got, content) {
			t.Fatalf("an unlinked file: %d bytes, %v", len(got), err)
		}
		if st, err := holder.Fstat(fd); err != nil || st.Nlink != 0 {
			t.Fatalf("%+v, %v", st, err)
		}
	}
	for _, fd := range held[:4] {
		if err := holder.Close(fd); err != nil {
			t.Fatal(err)
		}
	}
	awaitFiles(t, other, empty+4)
	holder.Kill()
	awaitFiles(t, other, empty)
}

// The daemon is killed while a file is open without its knowing: the file stays, and goes with its close.
func TestOpensOutliveTheDaemon(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Nodes: 1, Shards: 1, Settings: map[string]string{"session.grace": "3s"}})
	holder, other := agent.MustStart(t, c.Env()), agent.MustStart(t, c.Env())
	empty := filesUsed(t, other)
	put(t, other, "/f", []byte("content"))
	for range 2 {
		fd, _, err := openAndRead(holder, "/f", 7)
		if err == nil {
			err = holder.Close(fd)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	fd, _, err := openAndRead(holder, "/f", 7)
	if err != nil {
		t.Fatal(err)
	}
	c.Kill(0)
	if err := c.Launch(0); err != nil {
		t.Fatal(err)
	}
	c.WaitReady()
	if err := other.Unlink("/f"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(1500 * time.Millisecond)
	if got, err := holder.Pread(fd, 7, 0); err != nil || string(got) != "content" {
		t.Fatalf("%q, %v", got, err)
	}
	if err := holder.Close(fd); err != nil {
		t.Fatal(err)
	}
	awaitFiles(t, other, empty)
}

// Some open and read the same names again and again, others replace and unlink them: who has a file open reads all of it, and in the end nothing is left.
func TestOpensBesideUnlinks(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	c := cluster.Start(t, cluster.Options{Nodes: 2, Shards: 1})
	other := agent.MustStart(t, c.Env())
	empty := filesUsed(t, other)
	const names, bytesOfFile = 6, 3000
	path := func(i int) string { return fmt.Sprintf("/name.%d", i) }
	stop, failed := make(chan struct{}), make(chan error, 8)
	var readers []*agent.Agent
	for number := range 3 {
		a := agent.MustStart(t, c.Env())
		readers = append(readers, a)
		go func() {
			rng := rand.New(rand.NewPCG(seed, uint64(number)))
			for {
				select {
				case <-stop:
					failed <- nil
					return
				default:
				}
				if err := readOne(a, rng, path(rng.IntN(names)), bytesOfFile); err != nil {
					failed <- err
					return
				}
			}
		}()
	}
	rng := rand.New(rand.NewPCG(seed, 99))
	for end := time.Now().Add(4 * time.Second); time.Now().Before(end); {
		i := rng.IntN(names)
		if rng.IntN(3) == 0 {
			if err := other.Unlink(path(i)); err != nil && !errors.Is(err, syscall.ENOENT) {
				t.Fatal(err)
			}
			continue
		}
		put(t, other, "/new", bytes.Repeat([]byte{byte(1 + rng.IntN(255))}, bytesOfFile))
		if err := other.Rename("/new", path(i)); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	for range readers {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
	for i := range names {
		_ = other.Unlink(path(i))
	}
	awaitFiles(t, other, empty)
}

// readOne opens a file that may come and go, and reads it, once or twice.
func readOne(a posix.FS, rng *rand.Rand, path string, n int) error {
	fd, err := a.Open(path, unix.O_RDONLY, 0)
	if errors.Is(err, syscall.ENOENT) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	for range 1 + rng.IntN(2) {
		data, err := a.Pread(fd, 2*n, 0)
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		if len(data) != n || !bytes.Equal(data, bytes.Repeat(data[:1], n)) {
			return fmt.Errorf("%s: %d bytes, want %d of one kind", path, len(data), n)
		}
	}
	return a.Close(fd)
}
