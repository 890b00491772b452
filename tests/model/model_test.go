package model_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/benchfs/benchfs/internal/cluster"
	"github.com/benchfs/benchfs/tests/agent"
	"github.com/benchfs/benchfs/tests/model"
	"github.com/benchfs/benchfs/tests/posix"
)

var (
	seedFlag = flag.Uint64("seed", 0, "seed of the random operations; 0 draws one")
	opsFlag  = flag.Int("ops", 36_000, "operations of each configuration")
)

func TestMain(m *testing.M) {
	flag.Parse()
	syscall.Umask(0o022)
	status := m.Run()
	agent.CleanUp()
	os.Exit(status)
}

func seed(t *testing.T) uint64 {
	s := *seedFlag
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Logf("repeat with: go test ./tests/model -run '%s' -seed %d -ops %d", t.Name(), s, *opsFlag)
	return s
}

// ways are how the processes move their data, one after the other: what one has written in one way, the others read in theirs.
var ways = []map[string]string{
	{"BENCHFS_DATA_SHORTCUT": "readwrite"},
	{"BENCHFS_DATA_SHORTCUT": "off"},
	{"BENCHFS_DATA_SHORTCUT": "read", "AGENT_TRANSFERS": "nonblocking"},
}

func agents(t *testing.T, c *cluster.Cluster, n int) []*agent.Agent {
	list := make([]*agent.Agent, n)
	for i := range list {
		env := maps.Clone(c.Env())
		maps.Copy(env, ways[i%len(ways)])
		list[i] = agent.MustStart(t, env)
	}
	return list
}

// stores runs a test on daemons that keep their chunks in memory, with clients of all kinds, and on a disk.
func stores(t *testing.T, run func(t *testing.T, settings map[string]string)) {
	t.Run("arena", func(t *testing.T) { run(t, map[string]string{"layout.chunk_size": "64KiB"}) })
	t.Run("uring", func(t *testing.T) {
		settings := cluster.URing(t)
		settings["layout.chunk_size"] = "64KiB"
		run(t, settings)
	})
}

// TestModelItself: the local disk against the local disk, so that a failure below is not the model's.
func TestModelItself(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	d := model.New(t, seed(t), []posix.FS{posix.NewLocal(a), posix.NewLocal(a)}, b)
	d.Run(5000)
	d.Verify()
}

// TestOneAtATime: three processes, one operation at a time; what one has done the next one sees.
func TestOneAtATime(t *testing.T) {
	for _, shape := range []struct {
		name     string
		shards   int
		strategy string
		uring    bool
	}{
		{"round_robin", 2, "round_robin", false},
		{"hash", 1, "hash", false},
		{"local", 2, "local", false},
		{"uring", 2, "round_robin", true},
	} {
		t.Run(shape.name, func(t *testing.T) {
			settings := map[string]string{}
			if shape.uring {
				settings = cluster.URing(t)
			}
			settings["layout.strategy"], settings["layout.chunk_size"] = shape.strategy, "64KiB"
			c := cluster.Start(t, cluster.Options{Nodes: 2, Shards: shape.shards, Settings: settings})
			var fronts []posix.FS
			for _, a := range agents(t, c, 3) {
				fronts = append(fronts, a)
			}
			d := model.New(t, seed(t), fronts, t.TempDir())
			begin := time.Now()
			d.Run(*opsFlag)
			d.Verify()
			t.Logf("%d operations, %.0f a second", d.Steps, float64(d.Steps)/time.Since(begin).Seconds())
		})
	}
}

// together runs fn for each agent at the same time.
func together(list []*agent.Agent, fn func(i int, a *agent.Agent) error) error {
	errs := make([]error, len(list))
	var wg sync.WaitGroup
	for i, a := range list {
		wg.Add(1)
		go func() {
			defer wg.Done()
			errs[i] = fn(i, a)
		}()
	}
	wg.Wait()
	return errors.Join(errs...)
}

// TestOwnRanges: processes write disjoint ranges of one file at once, in records of an odd size; each sees its own, and in the
// end everybody sees everything.
func TestOwnRanges(t *testing.T) { stores(t, ownRanges) }

func ownRanges(t *testing.T, settings map[string]string) {
	const (
		processes = 3
		record    = 4711
		records   = 120
	)
	c := cluster.Start(t, cluster.Options{Nodes: 2, Shards: 1, Settings: settings})
	list := agents(t, c, processes)
	s := seed(t)
	final := make([]byte, processes*records*record)
	err := together(list, func(i int, a *agent.Agent) error {
		rng := rand.New(rand.NewPCG(s, uint64(i)))
		fd, err := a.Open("/shared", unix.O_CREAT|unix.O_RDWR, 0o644)
		if err != nil {
			return err
		}
		written := make([]bool, records)
		for range 1000 {
			k := rng.IntN(records)
			off := (k*processes + i) * record
			mine := final[off : off+record]
			if rng.IntN(2) == 0 {
				for j := range mine {
					mine[j] = byte(rng.Uint32())
				}
				if n, err := a.Pwrite(fd, mine, int64(off)); err != nil || n != record {
					return fmt.Errorf("process %d wrote %d: %w", i, n, err)
				}
				written[k] = true
				continue
			}
			got, err := a.Pread(fd, record, int64(off))
			if err != nil {
				return err
			}
			if written[k] && !bytes.Equal(got, mine) {
				return fmt.Errorf("process %d: record %d is not what it wrote", i, k)
			}
		}
		return a.Close(fd)
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range list {
		fd, err := a.Open("/shared", unix.O_RDONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		got, err := a.Pread(fd, len(final), 0)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, final[:len(got)]) || !bytes.Equal(final[len(got):], make([]byte, len(final)-len(got))) {
			t.Errorf("process %d sees another file than was written", i)
		}
		if err := a.Close(fd); err != nil {
			t.Error(err)
		}
	}
}

// TestAppendByMany: records from many writers, each whole and exactly once.
func TestAppendByMany(t *testing.T) { stores(t, appendByMany) }

func appendByMany(t *testing.T, settings map[string]string) {
	const (
		processes = 3
		records   = 2000
		length    = 77
	)
	c := cluster.Start(t, cluster.Options{Nodes: 2, Shards: 2, Settings: settings})
	list := agents(t, c, processes)
	err := together(list, func(i int, a *agent.Agent) error {
		fd, err := a.Open("/log", unix.O_CREAT|unix.O_WRONLY|unix.O_APPEND, 0o644)
		if err != nil {
			return err
		}
		for k := range records {
			p := bytes.Repeat([]byte{byte(k) | 1}, length)
			binary.LittleEndian.PutUint32(p, uint32(i))
			binary.LittleEndian.PutUint32(p[4:], uint32(k))
			if n, err := a.Write(fd, p); err != nil || n != length {
				return fmt.Errorf("process %d wrote %d: %w", i, n, err)
			}
		}
		return a.Close(fd)
	})
	if err != nil {
		t.Fatal(err)
	}
	fd, err := list[0].Open("/log", unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	all, err := list[0].Pread(fd, processes*records*length+100, 0)
	if err != nil || len(all) != processes*records*length {
		t.Fatalf("%d bytes, want %d; %v", len(all), processes*records*length, err)
	}
	next := make([]uint32, processes)
	for ; len(all) > 0; all = all[length:] {
		i, k := binary.LittleEndian.Uint32(all), binary.LittleEndian.Uint32(all[4:])
		if i >= processes || k != next[i] || !bytes.Equal(all[8:length], bytes.Repeat([]byte{byte(k) | 1}, length-8)) {
			t.Fatalf("a record of process %d, number %d is torn, missing or double", i, k)
		}
		next[i]++
	}
	if err := list[0].Close(fd); err != nil {
		t.Error(err)
	}
}

// TestExclusiveCreate: of processes that create the same name at once, one wins.
func TestExclusiveCreate(t *testing.T) {
	const processes, rounds = 3, 300
	c := cluster.Start(t, cluster.Options{Nodes: 2, Shards: 1})
	list := agents(t, c, processes)
	for round := range rounds {
		won := make([]bool, processes)
		err := together(list, func(i int, a *agent.Agent) error {
			fd, err := a.Open(fmt.Sprintf("/lock-%d", round), unix.O_CREAT|unix.O_EXCL|unix.O_RDWR, 0o644)
			if errors.Is(err, syscall.EEXIST) {
				return nil
			}
			if err != nil {
				return err
			}
			won[i] = true
			return a.Close(fd)
		})
		if err != nil {
			t.Fatal(err)
		}
		winners := 0
		for _, w := range won {
			if w {
				winners++
			}
		}
		if winners != 1 {
			t.Fatalf("round %d: %d winners", round, winners)
		}
	}
}

// TestRenameRace: processes move one file about; it is always under exactly one name in the end, with its content.
func TestRenameRace(t *testing.T) {
	const processes, moves = 3, 300
	c := cluster.Start(t, cluster.Options{Nodes: 2, Shards: 2})
	list := agents(t, c, processes)
	for i := range 4 {
		if err := list[0].Mkdir(fmt.Sprintf("/d%d", i), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	fd, err := list[0].Open("/d0/f0", unix.O_CREAT|unix.O_RDWR, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := list[0].Write(fd, []byte("content")); err != nil {
		t.Fatal(err)
	}
	s := seed(t)
	name := func(rng *rand.Rand) string { return fmt.Sprintf("/d%d/f%d", rng.IntN(4), rng.IntN(2)) }
	moved := make([]int, processes)
	err = together(list, func(i int, a *agent.Agent) error {
		rng := rand.New(rand.NewPCG(s, uint64(i)))
		for range moves {
			err := a.Rename(name(rng), name(rng))
			switch {
			case err == nil:
				moved[i]++
			case !errors.Is(err, syscall.ENOENT):
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for dir := range 4 {
		for i := range 2 {
			if s, err := list[1].Stat(fmt.Sprintf("/d%d/f%d", dir, i)); err == nil {
				found++
				if s.Nlink != 1 || s.Size != 7 {
					t.Errorf("%+v", s)
				}
			}
		}
	}
	if found != 1 {
		t.Errorf("the file has %d names", found)
	}
	t.Logf("moves: %v", moved)
	if err := list[0].Close(fd); err != nil {
		t.Error(err)
	}
}
