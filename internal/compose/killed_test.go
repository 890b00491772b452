package compose_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/benchfs/benchfs/config"
	"github.com/benchfs/benchfs/core/client"
	"github.com/benchfs/benchfs/internal/compose"
	"github.com/benchfs/benchfs/internal/registry"
)

// daemonVariable makes the test binary a daemon: its settings, one key=value a line.
const daemonVariable = "BENCHFS_TEST_DAEMON"

func TestMain(m *testing.M) {
	if settings := os.Getenv(daemonVariable); settings != "" {
		os.Exit(beDaemon(settings))
	}
	os.Exit(m.Run())
}

func beDaemon(settings string) int {
	overrides := map[string]string{}
	for line := range strings.Lines(settings) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
		overrides[k] = v
	}
	if text := os.Getenv(forbidVariable); text != "" {
		errno, err := strconv.Atoi(text)
		if err == nil {
			err = forbidURing(uint32(errno))
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "no filter: %v\n", err)
			return 1
		}
	}
	cfg, err := config.Load(config.Sources{Overrides: overrides, Daemon: true})
	if err == nil {
		var d *compose.Daemon
		log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
		if d, err = compose.StartDaemon(context.Background(), cfg, log); err == nil {
			err = d.Wait()
		}
	}
	fmt.Fprintf(os.Stderr, "daemon: %+v\n", err)
	return 1
}

// processes are daemons of their own, which can be killed.
type processes struct {
	t        *testing.T
	dir      string
	registry string
	nodes    int
	shards   int
	more     []string // settings, key=value
	running  []*exec.Cmd
}

func startProcesses(t *testing.T, nodes, shards int, more ...string) *processes {
	t.Helper()
	p := &processes{t: t, dir: t.TempDir(), nodes: nodes, shards: shards, more: more, running: make([]*exec.Cmd, nodes)}
	p.registry = filepath.Join(p.dir, "registry")
	if err := os.Mkdir(p.registry, 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range nodes {
		p.start(i)
	}
	t.Cleanup(func() {
		for i := range p.running {
			p.kill(i)
		}
	})
	if _, err := registry.Wait(p.registry, nodes, time.Now().Add(20*time.Second)); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *processes) command(i int) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), daemonVariable+"="+strings.Join(append([]string{
		"cluster.registry_dir=" + p.registry,
		"cluster.expected_nodes=" + strconv.Itoa(p.nodes),
		"cluster.node_id=" + strconv.Itoa(i),
		"daemon.shards=" + strconv.Itoa(p.shards),
		"layout.chunk_size=64KiB",
		"store.data_dir=" + filepath.Join(p.dir, "node-"+strconv.Itoa(i)),
		"store.capacity=512MiB",
	}, p.more...), "\n"))
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

func (p *processes) start(i int) {
	cmd := p.command(i)
	if err := cmd.Start(); err != nil {
		p.t.Error(err)
		return
	}
	p.running[i] = cmd
}

func (p *processes) kill(i int) {
	_ = p.running[i].Process.Kill()
	_ = p.running[i].Wait()
}

func (p *processes) client() *client.Client {
	p.t.Helper()
	c, end := open(p.t, map[string]string{
		"cluster.registry_dir": p.registry, "cluster.expected_nodes": strconv.Itoa(p.nodes),
		"rpc.attempt_timeout": "300ms", "rpc.attempts": "1000", "rpc.call_timeout": "60s", "rpc.backoff_max": "50ms",
	})
	p.t.Cleanup(func() { shut(p.t, c, end) })
	return c
}

// TestKilledDaemons: random operations by one client while daemons are killed and started again. Every operation
// succeeds, what was acknowledged is there, and files that were open (one of them without a name) go on.
func TestKilledDaemons(t *testing.T) {
	t.Run("arena", func(t *testing.T) { killDaemons(t, 8*time.Second) })
	t.Run("uring", func(t *testing.T) {
		needURing(t)
		killDaemons(t, 6*time.Second, "store.backend=uring")
	})
}

func killDaemons(t *testing.T, howLong time.Duration, settings ...string) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	p := startProcesses(t, 2, 2, settings...)
	w := newWorkload(t, p.client(), rng)
	stop := make(chan struct{})
	var killer sync.WaitGroup
	killer.Add(1)
	kills := 0
	go func() {
		defer killer.Done()
		pause := rand.New(rand.NewPCG(seed, 2))
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(200+pause.IntN(400)) * time.Millisecond):
			}
			i := pause.IntN(p.nodes)
			p.kill(i)
			p.start(i)
			kills++
		}
	}()
	for end := time.Now().Add(howLong); time.Now().Before(end) && !t.Failed(); {
		w.step()
	}
	close(stop)
	killer.Wait()
	w.verify()
	t.Logf("%d operations, %d kills", w.steps, kills)
}

// workload is random operations on a few files, and the model of them.
type workload struct {
	t     *testing.T
	c     *client.Client
	rng   *rand.Rand
	files []*modelFile
	buf   []byte
	names int
	steps int
}

type modelFile struct {
	f    *client.File
	path string // "" once unlinked
	data []byte
}

const modelBytes = 400_000 // several chunks of 64 KiB

func newWorkload(t *testing.T, c *client.Client, rng *rand.Rand) *workload {
	buf, err := c.Alloc(modelBytes)
	if err != nil {
		t.Fatal(err)
	}
	w := &workload{t: t, c: c, rng: rng, buf: buf[:modelBytes]}
	for range 6 {
		w.create()
	}
	w.unlink(w.files[0])
	return w
}

func (w *workload) check(what string, err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("step %d, %s: %+v", w.steps, what, err)
	}
}

func (w *workload) create() {
	w.names++
	path := fmt.Sprintf("/f%d", w.names)
	f, err := w.c.Open(context.Background(), 0, path, syscall.O_CREAT|syscall.O_EXCL|syscall.O_RDWR, 0o644)
	w.check("create", err)
	w.files = append(w.files, &modelFile{f: f, path: path})
}

func (w *workload) unlink(m *modelFile) {
	w.check("unlink "+m.path, w.c.Unlink(context.Background(), 0, m.path))
	m.path = ""
}

func (w *workload) step() {
	ctx := context.Background()
	w.steps++
	m := w.files[w.rng.IntN(len(w.files))]
	switch w.rng.IntN(12) {
	case 0, 1, 2, 3:
		off, n := w.rng.IntN(modelBytes/2), 1+w.rng.IntN(modelBytes/4)
		for i := range n {
			w.buf[i] = byte(w.rng.Uint32())
		}
		written, err := m.f.Pwrite(ctx, w.buf[:n], int64(off))
		w.check("write", err)
		if written != n {
			w.t.Fatalf("step %d: wrote %d of %d", w.steps, written, n)
		}
		if grow := off + n - len(m.data); grow > 0 {
			m.data = append(m.data, make([]byte, grow)...)
		}
		copy(m.data[off:], w.buf[:n])
	case 4, 5, 6, 7:
		off, n := w.rng.IntN(modelBytes/2), 1+w.rng.IntN(modelBytes/4)
		w.compare(m, off, n)
	case 8:
		size := w.rng.IntN(modelBytes / 2)
		w.check("truncate", m.f.Truncate(ctx, int64(size)))
		if size <= len(m.data) {
			m.data = m.data[:size:size]
		} else {
			m.data = append(m.data, make([]byte, size-len(m.data))...)
		}
	case 9:
		if m.path != "" {
			w.names++
			path := fmt.Sprintf("/r%d", w.names)
			w.check("rename", w.c.Rename(ctx, 0, m.path, 0, path))
			m.path = path
		}
	case 10:
		a, err := m.f.Stat(ctx)
		w.check("stat", err)
		if a.Size != uint64(len(m.data)) {
			w.t.Fatalf("step %d, %s: size %d, model %d", w.steps, m.path, a.Size, len(m.data))
		}
	case 11:
		if m.path != "" && len(w.files) > 3 {
			w.check("unlink", w.c.Unlink(ctx, 0, m.path))
			w.check("close", m.f.Close(ctx))
			for i := range w.files {
				if w.files[i] == m {
					w.files = append(w.files[:i], w.files[i+1:]...)
					break
				}
			}
			w.create()
		}
	}
}

func (w *workload) compare(m *modelFile, off, n int) {
	w.t.Helper()
	got, err := m.f.Pread(context.Background(), w.buf[:n], int64(off))
	w.check("read", err)
	want := m.data[min(off, len(m.data)):min(off+n, len(m.data))]
	if !bytes.Equal(w.buf[:got], want) {
		at := 0
		for at < min(got, len(want)) && w.buf[at] == want[at] {
			at++
		}
		w.t.Fatalf("step %d, %q: read %d bytes at %d, want %d; they differ at %d", w.steps, m.path, got, off, len(want), off+at)
	}
}

// verify reads everything back, by handle and by name.
func (w *workload) verify() {
	for _, m := range w.files {
		w.compare(m, 0, modelBytes)
		if m.path == "" {
			continue
		}
		a, err := w.c.Stat(context.Background(), 0, m.path, true)
		w.check("stat "+m.path, err)
		if a.Size != uint64(len(m.data)) || a.Nlink != 1 {
			w.t.Errorf("%s: %+v, model has %d bytes", m.path, a, len(m.data))
		}
	}
	for _, m := range w.files {
		w.check("close", m.f.Close(context.Background()))
	}
}
