package client_test

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/benchfs/benchfs/core/client"
	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/rpc"
	"github.com/benchfs/benchfs/rpc/inproc"
)

// model is what the file system should be: names, and bytes behind them. Several clients act in turn; each sees what any of
// them has done before.
type model struct {
	t       *testing.T
	rnd     *rand.Rand
	clients []*client.Client
	names   map[string]*modelFile
	handles []*handle
	made    int
}

type modelFile struct {
	data  []byte
	links int
}

type handle struct {
	f *client.File
	m *modelFile
}

const modelLimit = 6 * chunk // largest file

func newModel(t *testing.T, clients []*client.Client) *model {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	m := &model{t: t, rnd: rand.New(rand.NewPCG(seed, 1)), clients: clients, names: map[string]*modelFile{}}
	for i := range 3 {
		ok(t, "mkdir", clients[0].Mkdir(ctx, 0, fmt.Sprintf("d%d", i), 0o755))
	}
	return m
}

func (m *model) client() *client.Client { return m.clients[m.rnd.IntN(len(m.clients))] }

func (m *model) name() string {
	dir := []string{"", "d0/", "d1/", "d2/"}[m.rnd.IntN(4)]
	return fmt.Sprintf("%sn%d", dir, m.rnd.IntN(8))
}

// want is the errno of an operation on a name that must exist.
func (m *model) want(f *modelFile) syscall.Errno {
	if f == nil {
		return syscall.ENOENT
	}
	return 0
}

func (m *model) step() {
	t := m.t
	switch m.rnd.IntN(12) {
	case 0, 1:
		m.open()
	case 2:
		if len(m.handles) > 12 {
			i := m.rnd.IntN(len(m.handles))
			ok(t, "close", m.handles[i].f.Close(ctx))
			m.handles = slices.Delete(m.handles, i, i+1)
		}
	case 3, 4, 5:
		m.write()
	case 6, 7:
		m.read()
	case 8:
		m.truncate()
	case 9:
		name := m.name()
		f := m.names[name]
		check(t, "unlink "+name, m.client().Unlink(ctx, 0, name), m.want(f))
		m.drop(name)
	case 10:
		from, to := m.name(), m.name()
		f := m.names[from]
		check(t, "rename "+from+" "+to, m.client().Rename(ctx, 0, from, 0, to), m.want(f))
		if f != nil && m.names[to] != f {
			m.drop(to)
			m.names[to] = f
			delete(m.names, from)
		}
	case 11:
		from, to := m.name(), m.name()
		f := m.names[from]
		want := m.want(f)
		if f != nil && m.names[to] != nil {
			want = syscall.EEXIST
		}
		check(t, "link "+from+" "+to, m.client().Link(ctx, 0, from, 0, to, false), want)
		if want == 0 {
			m.names[to] = f
			f.links++
		}
	}
}

func (m *model) drop(name string) {
	if f := m.names[name]; f != nil {
		f.links--
		delete(m.names, name)
	}
}

func (m *model) open() {
	name := m.name()
	flags := syscall.O_RDWR
	for _, more := range []int{syscall.O_CREAT, syscall.O_EXCL, syscall.O_TRUNC, syscall.O_APPEND} {
		if m.rnd.IntN(3) == 0 {
			flags |= more
		}
	}
	f := m.names[name]
	want := m.want(f)
	switch {
	case f == nil && flags&syscall.O_CREAT != 0:
		want = 0
	case f != nil && flags&(syscall.O_CREAT|syscall.O_EXCL) == syscall.O_CREAT|syscall.O_EXCL:
		want = syscall.EEXIST
	}
	opened, err := m.client().Open(ctx, 0, name, flags, 0o644)
	check(m.t, fmt.Sprintf("open %s %#o", name, flags), err, want)
	if want != 0 {
		return
	}
	if f == nil {
		f = &modelFile{links: 1}
		m.names[name] = f
	}
	if flags&syscall.O_TRUNC != 0 {
		f.data = nil
	}
	m.handles = append(m.handles, &handle{f: opened, m: f})
}

func (m *model) pick() *handle {
	if len(m.handles) == 0 {
		return nil
	}
	return m.handles[m.rnd.IntN(len(m.handles))]
}

func (m *model) write() {
	h := m.pick()
	if h == nil {
		return
	}
	off := m.rnd.IntN(modelLimit)
	n := 1 + m.rnd.IntN([]int{10, 1000, chunk, 3 * chunk}[m.rnd.IntN(4)])
	if h.f.Flags()&syscall.O_APPEND != 0 {
		off = len(h.m.data)
	}
	if off+n > modelLimit {
		return
	}
	m.made++
	p := pattern(byte(m.made), n)
	half := m.rnd.IntN(n + 1)
	got, err := h.f.Pwritev(ctx, [][]byte{p[:half], p[half:]}, int64(off))
	ok(m.t, "write", err)
	if got != n {
		m.t.Fatalf("wrote %d of %d", got, n)
	}
	if need := off + n; need > len(h.m.data) {
		h.m.data = append(h.m.data, make([]byte, need-len(h.m.data))...)
	}
	copy(h.m.data[off:], p)
}

func (m *model) read() {
	h := m.pick()
	if h == nil {
		return
	}
	off := m.rnd.IntN(modelLimit + 10)
	n := 1 + m.rnd.IntN(modelLimit)
	got := readAt(m.t, h.f, n, int64(off))
	var want []byte
	if off < len(h.m.data) {
		want = h.m.data[off:min(off+n, len(h.m.data))]
	}
	if !bytes.Equal(got, want) {
		m.t.Fatalf("read of %d at %d of %d bytes: got %d, first difference at %d", n, off, len(h.m.data), len(got), differ(got, want))
	}
	attr, err := h.f.Stat(ctx)
	ok(m.t, "fstat", err)
	if attr.Size != uint64(len(h.m.data)) || attr.Nlink != uint32(h.m.links) {
		m.t.Fatalf("size %d links %d, want %d and %d", attr.Size, attr.Nlink, len(h.m.data), h.m.links)
	}
}

func (m *model) truncate() {
	h := m.pick()
	if h == nil {
		return
	}
	size := m.rnd.IntN(modelLimit)
	ok(m.t, "truncate", h.f.Truncate(ctx, int64(size)))
	if size <= len(h.m.data) {
		h.m.data = h.m.data[:size:size]
	} else {
		h.m.data = append(h.m.data, make([]byte, size-len(h.m.data))...)
	}
}

// verify compares everything that has a name, as each client sees it.
func (m *model) verify() {
	for _, c := range m.clients {
		seen := map[string]*modelFile{}
		for _, dir := range []string{"/", "d0", "d1", "d2"} {
			d, err := c.OpenDir(ctx, 0, dir)
			ok(m.t, "opendir", err)
			for {
				e, err := d.NextPlus(ctx)
				if err == io.EOF {
					break
				}
				ok(m.t, "readdir", err)
				name := dir + "/" + e.Name
				if dir == "/" {
					name = e.Name
				}
				if e.Name[0] != 'n' {
					continue
				}
				f := m.names[name]
				if f == nil {
					m.t.Fatalf("%s should not be there", name)
				}
				if seen[name] = f; e.Attr.Size != uint64(len(f.data)) {
					m.t.Fatalf("%s: size %d, want %d", name, e.Attr.Size, len(f.data))
				}
				if got := get(m.t, c, name); !bytes.Equal(got, f.data) {
					m.t.Fatalf("%s: first difference at %d of %d", name, differ(got, f.data), len(f.data))
				}
			}
			ok(m.t, "closedir", d.Close(ctx))
		}
		if !maps.Equal(seen, m.names) {
			m.t.Fatalf("%d names listed, %d expected", len(seen), len(m.names))
		}
	}
}

func (m *model) closeAll() {
	for _, h := range m.handles {
		ok(m.t, "close", h.f.Close(ctx))
	}
	m.handles = nil
}

func TestModel(t *testing.T) {
	everywhere(t, func(t *testing.T, c *cluster) {
		c.network.SetEager(20000)
		c.network.SetLate(true)
		m := newModel(t, []*client.Client{
			c.client(func(o *client.Options) { o.MaxParallel = 3; o.Node = 0 }), c.client(nil),
			c.client(func(o *client.Options) { o.MaxParallel = 1 }),
		})
		for range 600 {
			m.step()
		}
		m.verify()
		m.closeAll()
	})
}

// lossy loses, delays and repeats a part of the messages.
type lossy struct {
	mu  sync.Mutex
	rnd *rand.Rand
}

func (l *lossy) Dial(rpc.PeerID) inproc.Fault { return inproc.Fault{} }
func (l *lossy) Request(_ rpc.PeerID, h *rpc.Header) inproc.Fault {
	return l.fate(h)
}
func (l *lossy) Reply(_ rpc.PeerID, h *rpc.Header) inproc.Fault { return l.fate(h) }

func (l *lossy) fate(h *rpc.Header) inproc.Fault {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h.Type == rpc.MsgHello {
		return inproc.Fault{}
	}
	switch l.rnd.IntN(400) {
	case 0:
		return inproc.Fault{Action: inproc.Drop}
	case 1, 2:
		return inproc.Fault{Action: inproc.Delay, Delay: time.Duration(l.rnd.IntN(3000)) * time.Microsecond}
	case 3, 4, 5:
		return inproc.Fault{Action: inproc.Duplicate}
	}
	return inproc.Fault{}
}

// TestModelOverLossyNetwork: what takes effect, takes effect once, and nothing that was acknowledged is lost.
func TestModelOverLossyNetwork(t *testing.T) {
	c := newCluster(t, 3, layout.RoundRobin, false)
	m := newModel(t, []*client.Client{c.client(nil), c.client(nil)})
	c.network.SetFaults(&lossy{rnd: rand.New(rand.NewPCG(m.rnd.Uint64(), 2))})
	for end := time.Now().Add(4 * time.Second); time.Now().Before(end); {
		m.step()
	}
	c.network.SetFaults(nil)
	m.verify()
	m.closeAll()
}

// TestRestart: a shard that is killed and comes back has all that was acknowledged, and clients go on with their open files,
// also those without a name.
func TestRestart(t *testing.T) {
	c := newCluster(t, 3, layout.RoundRobin, true)
	m := newModel(t, []*client.Client{c.client(nil), c.client(nil)})
	nameless := map[*client.File][]byte{}
	for i := range 9 {
		name := fmt.Sprintf("nameless%d", i)
		f := open(t, m.client(), name, syscall.O_CREAT|syscall.O_RDWR)
		nameless[f] = pattern(byte(i), chunk+i)
		writeAt(t, f, nameless[f], 0)
		ok(t, "unlink", m.client().Unlink(ctx, 0, name))
	}
	for round := range 6 {
		for range 60 {
			m.step()
		}
		c.kill(round % 3)
		done := make(chan struct{})
		go func() { // a call that meets the dead shard waits for its return
			defer close(done)
			for range 5 {
				m.step()
			}
		}()
		c.start(round % 3)
		<-done
		if t.Failed() {
			return
		}
	}
	m.verify()
	for f, data := range nameless {
		if got := readAt(t, f, 2*chunk, 0); !bytes.Equal(got, data) {
			t.Fatalf("a file without a name did not outlive the restarts: %d of %d bytes", len(got), len(data))
		}
		ok(t, "close", f.Close(ctx))
	}
	m.closeAll()
	for _, s := range c.shards {
		if s.server == nil {
			t.Fatal("a shard is down")
		}
	}
}

// TestConcurrentModel: threads of several clients, each with its own records of one file, and directories made and removed beside them.
func TestConcurrentModel(t *testing.T) {
	everywhere(t, func(t *testing.T, c *cluster) {
		put(t, c.client(nil), "shared", nil)
		var wg sync.WaitGroup
		const record, workers, rounds = 9001, 6, 25
		for w := range workers {
			a := c.client(nil)
			wg.Go(func() {
				f, err := a.Open(ctx, 0, "shared", syscall.O_RDWR, 0)
				if err != nil {
					t.Error(err)
					return
				}
				for i := range rounds {
					off := int64(i*workers+w) * record
					p := pattern(byte(w*rounds+i), record)
					if n, err := f.Pwrite(ctx, p, off); n != record || err != nil {
						t.Errorf("write: %d, %v", n, err)
					}
					got := make([]byte, record)
					if n, err := f.Pread(ctx, got, off); n != record || err != nil || !bytes.Equal(got, p) {
						t.Errorf("read back: %d, %v", n, err)
					}
					dir := fmt.Sprintf("dir%d", i%3)
					if err := a.Mkdir(ctx, 0, dir, 0o755); err != nil && fserr.Errno(err) != syscall.EEXIST {
						t.Error(err)
					}
					switch err := a.Rename(ctx, 0, dir, 0, fmt.Sprintf("moved%d", w)); fserr.Errno(err) {
					case 0, syscall.ENOENT, syscall.ENOTEMPTY:
					default:
						t.Error(err)
					}
					switch err := a.Rmdir(ctx, 0, fmt.Sprintf("moved%d", w)); fserr.Errno(err) {
					case 0, syscall.ENOENT:
					default:
						t.Error(err)
					}
				}
				if err := f.Close(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		got := get(t, c.client(nil), "shared")
		for i := range rounds * workers {
			if !bytes.Equal(got[i*record:(i+1)*record], pattern(byte(i%workers*rounds+i/workers), record)) {
				t.Fatalf("record %d is wrong", i)
			}
		}
		if s := stat(t, c.client(nil), "/"); s.Size > 4 || uint64(s.Nlink) != 2+s.Size-1 {
			t.Errorf("the root has %d entries and link count %d", s.Size, s.Nlink)
		}
	})
}
