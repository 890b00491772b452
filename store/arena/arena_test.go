package arena_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/internal/wal"
	"github.com/benchfs/benchfs/store"
	"github.com/benchfs/benchfs/store/arena"
	"github.com/benchfs/benchfs/store/storetest"
)

func options(dir string, capacityBytes int64) arena.Options {
	return arena.Options{Dir: dir, Name: "node0-shard0", CapacityBytes: capacityBytes, SegmentBytes: 64 << 20, Populate: true, HugePages: true}
}

func open(t testing.TB, dir string, capacityBytes int64) *arena.Store {
	t.Helper()
	s, err := arena.Open(options(dir, capacityBytes))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustClose(t testing.TB, s store.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t testing.TB, capacityBytes int64) store.Store { return open(t, t.TempDir(), capacityBytes) })
}

// What a store says of its files is the same before and after it was closed and opened, with and without a checkpoint between.
func TestReopenedStoreIsTheSame(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	dir := t.TempDir()
	s := open(t, dir, 1<<20)
	m := storetest.NewModel(t, s, seed)
	for round := range 12 {
		for i := range 500 {
			m.Step()
			if round%3 == 1 && i == 250 {
				if err := s.Checkpoint(); err != nil { // with writes and views outstanding
					t.Fatal(err)
				}
			}
		}
		m.Settle()
		if round%3 == 2 {
			if err := s.Checkpoint(); err != nil || s.LogBytes() != 0 {
				t.Fatalf("checkpoint: %v, %d bytes", err, s.LogBytes())
			}
		}
		before := s.Usage()
		mustClose(t, s)
		s = open(t, dir, 1<<20)
		if after := s.Usage(); after != before {
			t.Fatalf("usage was %+v and is %+v", before, after)
		}
		m.Reopened(s)
	}
	m.Finish()
}

func TestSecondStoreInADirectoryIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 1<<20)
	if _, err := arena.Open(options(dir, 1<<20)); !errors.Is(err, syscall.EBUSY) {
		t.Errorf("second store: %v", err)
	}
	mustClose(t, s)
	other := options(dir, 1<<20)
	other.Name = "node1-shard7"
	if _, err := arena.Open(other); fserr.Errno(err) != syscall.EINVAL {
		t.Errorf("another shard's directory: %v", err)
	}
}

func TestBadOptions(t *testing.T) {
	dir := t.TempDir()
	for name, change := range map[string]func(o *arena.Options){
		"no name":            func(o *arena.Options) { o.Name = "" },
		"path as name":       func(o *arena.Options) { o.Name = "a/b" },
		"small segment":      func(o *arena.Options) { o.SegmentBytes = 1 << 20 },
		"odd segment":        func(o *arena.Options) { o.SegmentBytes = 100 << 20 },
		"no capacity":        func(o *arena.Options) { o.CapacityBytes = 100 },
		"negative capacity":  func(o *arena.Options) { o.CapacityBytes = -1 },
		"negative segment":   func(o *arena.Options) { o.SegmentBytes = -1 << 26 },
		"smallest segment":   func(o *arena.Options) { o.SegmentBytes = -1 << 63 },
		"directory is wrong": func(o *arena.Options) { o.Dir = filepath.Join(dir, "none") },
	} {
		o := options(dir, 1<<20)
		change(&o)
		if s, err := arena.Open(o); err == nil || !fserr.Known(err) {
			t.Errorf("%s: %v", name, err)
			if s != nil {
				mustClose(t, s)
			}
		}
	}
	mustClose(t, open(t, dir, 0)) // nothing above holds the lock; capacity from what is free
}

func TestDamageIsReported(t *testing.T) {
	for name, damage := range map[string]func(segment string) error{
		"missing": os.Remove,
		"cut":     func(segment string) error { return os.Truncate(segment, 4096) },
	} {
		dir := t.TempDir()
		s := open(t, dir, 1<<20)
		storetest.Fill(t, s, 1, 0, 0, 100, 0, 1)
		mustClose(t, s)
		if err := damage(filepath.Join(dir, "node0-shard0.segment.0")); err != nil {
			t.Fatal(err)
		}
		if _, err := arena.Open(options(dir, 1<<20)); fserr.Errno(err) != syscall.EIO {
			t.Errorf("segment %s: %v", name, err)
		}
	}
}

func TestDamagedLogStopsTheStartUnlessTold(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 1<<20)
	for ino := uint64(1); ino <= 3; ino++ {
		storetest.Fill(t, s, ino, 0, 0, 100, 0, byte(ino))
	}
	mustClose(t, s)
	path := filepath.Join(dir, "chunks.log.0")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[64+56+40+20] ^= 1 // in the second file's record: header, geometry (8+32+12, padded), first record (8+32)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	var corrupt *wal.Corrupt
	if _, err := arena.Open(options(dir, 1<<20)); !errors.As(err, &corrupt) || corrupt.File != path {
		t.Fatalf("damaged log: %v", err)
	}
	o := options(dir, 1<<20)
	o.Recover = wal.CutAtBadRecord
	s, err = arena.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Dropped()) != 1 || len(storetest.Get(t, s, 1, 0, 0)) != 100 || len(storetest.Get(t, s, 2, 0, 0)) != 0 {
		t.Errorf("dropped %+v, usage %+v", s.Dropped(), s.Usage())
	}
	mustClose(t, s)
}

// A medium that is smaller than the capacity says ENOSPC, never SIGBUS, and removals still work.
func TestFullMedium(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=24m"); err != nil {
		t.Skipf("cannot mount a small file system: %v", err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	s := open(t, dir, 1<<30)
	var err error
	ino := uint64(1)
	for ; err == nil && ino < 10_000; ino++ {
		err = storetest.Put(s, ino, 0, 0, bytes.Repeat([]byte{byte(ino)}, 60_000), 0)
	}
	if fserr.Errno(err) != syscall.ENOSPC {
		t.Fatalf("file %d: %v", ino, err)
	}
	for i := uint64(1); i < ino-1; i++ {
		if got := storetest.Get(t, s, i, 0, 0); !bytes.Equal(got, bytes.Repeat([]byte{byte(i)}, 60_000)) {
			t.Fatalf("file %d changed", i)
		}
	}
	for i := uint64(1); i < ino; i++ {
		if err := s.Purge(i); err != nil {
			t.Fatal(err)
		}
	}
	storetest.Fill(t, s, 1, 0, 0, 60_000, 0, 1)
	mustClose(t, s)
}

// killed is a copy of a store's directory, as the death of its process at this moment would leave it.
func killed(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	if out, err := exec.Command("cp", "--sparse=always", "-r", dir+"/.", to).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return to
}

// A chunk that moved when a Write began, and whose old extent is another file's by now, is found where it moved to.
func TestKilledBetweenGrowthAndCommit(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 1<<20)
	for ino := uint64(1); ino <= 4; ino++ {
		storetest.Fill(t, s, ino, 0, 0, 4096, 0, byte(ino)) // neighbours, so that growing in place is not possible
	}
	w, err := s.Begin(1, 0, 4096, 4096, 0, 16)
	if err != nil {
		t.Fatal(err)
	}
	for ino := uint64(5); ino <= 40; ino++ {
		storetest.Fill(t, s, ino, 0, 0, 4096, 0, byte(ino))
	}
	again := open(t, killed(t, dir), 1<<20)
	for ino := uint64(1); ino <= 40; ino++ {
		if got := storetest.Get(t, again, ino, 0, 0); !bytes.Equal(got, bytes.Repeat([]byte{byte(ino)}, 4096)) {
			t.Errorf("file %d: %d bytes of %#x", ino, len(got), got[0])
		}
	}
	mustClose(t, again)
	s.Abort(w)
	mustClose(t, s)
}

// Bytes that were synced are not written over before the log that frees them is synced: power loss could bring their index back.
func TestSyncedExtentsWaitForTheLog(t *testing.T) {
	s := open(t, t.TempDir(), 1<<20)
	place := func(ino uint64) *byte {
		v, err := s.View(ino, 0, 0, 1, 0)
		if err != nil || len(v.Data) != 1 {
			t.Fatal(len(v.Data), err)
		}
		defer s.Release(v)
		return &v.Data[0]
	}
	storetest.Fill(t, s, 1, 0, 0, 4096, 0, 1)
	if err := s.Sync(1)(); err != nil {
		t.Fatal(err)
	}
	first := place(1)
	if err := s.Purge(1); err != nil {
		t.Fatal(err)
	}
	if u := s.Usage(); u.UsedBytes != 0 {
		t.Errorf("waiting extents count as used: %+v", u)
	}
	storetest.Fill(t, s, 2, 0, 0, 4096, 0, 2)
	if place(2) == first {
		t.Error("reused at once")
	}
	// When space runs out, the store syncs the log itself.
	if err := s.Sync(0)(); err != nil {
		t.Fatal(err)
	}
	for round := range 3 {
		for ino := uint64(100); ino < 115; ino++ {
			storetest.Fill(t, s, ino, 0, 0, 1<<16, 0, byte(round))
		}
		if err := s.Sync(0)(); err != nil {
			t.Fatal(err)
		}
		for ino := uint64(100); ino < 115; ino++ {
			if err := s.Purge(ino); err != nil {
				t.Fatal(err)
			}
		}
	}
	mustClose(t, s)
}

func TestTouchAheadStops(t *testing.T) {
	s := open(t, t.TempDir(), 16<<20)
	calls := 0
	for s.TouchAhead() {
		if calls++; calls > 100 {
			t.Fatal("there is no end to it")
		}
	}
	if calls < 7 {
		t.Errorf("prepared %d steps of 2 MiB", calls)
	}
	mustClose(t, s)
}

const childEnv = "BENCHFS_ARENA_TEST_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		fmt.Fprintln(os.Stderr, writeForEver(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// operation is what the child does and tells: before it does it, and after.
type operation struct {
	Kind       string // put, truncate, purge
	Ino, Chunk uint64
	Off, N     uint32
	Gen        uint32
	Value      byte
}

const operationFormat = "%s %d %d %d %d %d %d"

func (o *operation) String() string {
	return fmt.Sprintf(operationFormat, o.Kind, o.Ino, o.Chunk, o.Off, o.N, o.Gen, o.Value)
}

const killCapacity = 8 << 20

// writeForEver does random operations and reports each on standard output, by "begin" and "done".
func writeForEver(dir string) error {
	s, err := arena.Open(options(dir, killCapacity))
	if err != nil {
		return err
	}
	generations := make(map[uint64]uint32)
	for count := 0; ; count++ {
		o := operation{Kind: "put", Ino: 1 + rand.Uint64N(20), Chunk: rand.Uint64N(3), Value: byte(1 + rand.UintN(250))}
		o.Off = rand.Uint32N(1 << rand.UintN(16))
		o.N = 1 + rand.Uint32N(1<<16-o.Off)
		switch rand.UintN(12) {
		case 0:
			o.Kind = "truncate"
			generations[o.Ino] += 1 + uint32(count)<<8
		case 1:
			o.Kind = "purge"
		}
		o.Gen = generations[o.Ino]
		fmt.Println("begin", &o)
		switch o.Kind {
		case "put":
			err = storetest.Put(s, o.Ino, o.Chunk, o.Off, bytes.Repeat([]byte{o.Value}, int(o.N)), o.Gen)
		case "truncate":
			err = s.Truncate(o.Ino, o.Gen, o.Chunk<<16+uint64(o.Off), 16)
		case "purge":
			err = s.Purge(o.Ino)
		}
		if err == nil && count%500 == 499 {
			err = s.Checkpoint()
		}
		if err != nil {
			return err
		}
		fmt.Println("done", &o)
	}
}

// A store whose process was killed at any moment holds what was acknowledged, and nothing of it anywhere else.
func TestKilledProcessLosesNothingAcknowledged(t *testing.T) {
	for round := range 5 {
		dir := t.TempDir()
		child := exec.Command(os.Args[0], "-test.run=^$")
		child.Env = append(os.Environ(), childEnv+"="+dir)
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		if err == nil {
			err = child.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		want := make(expectation)
		var uncertain uint64 // the file that the last, unacknowledged operation was on
		lines := bufio.NewScanner(out)
		for count := 0; lines.Scan(); count++ {
			var o operation
			var verb string
			if _, err := fmt.Sscanf(lines.Text(), "%s "+operationFormat, &verb, &o.Kind, &o.Ino, &o.Chunk, &o.Off, &o.N, &o.Gen, &o.Value); err != nil {
				t.Fatal(lines.Text(), err)
			}
			if uncertain = o.Ino; verb == "done" {
				uncertain = 0
				want.apply(&o)
			}
			if count == 1500+round*977 {
				_ = child.Process.Kill() // what is still in the pipe is read and counts too
			}
		}
		_ = child.Wait()
		s := open(t, dir, killCapacity)
		want.check(t, s, uncertain)
		for ino := uint64(1); ino <= 20; ino++ {
			if err := s.Purge(ino); err != nil {
				t.Fatal(err)
			}
		}
		if u := s.Usage(); u.UsedBytes != 0 || u.Files != 0 {
			t.Errorf("usage %+v", u)
		}
		mustClose(t, s)
	}
}

// expectation is what files should hold, by inode and chunk.
type expectation map[uint64]*expectedFile

type expectedFile struct {
	gen    uint32
	chunks [4][]byte
}

func (e expectation) apply(o *operation) {
	f := e[o.Ino]
	if f == nil {
		f = &expectedFile{}
		e[o.Ino] = f
	}
	f.gen = o.Gen
	switch o.Kind {
	case "purge":
		delete(e, o.Ino)
	case "truncate":
		f.chunks[o.Chunk] = f.chunks[o.Chunk][:min(len(f.chunks[o.Chunk]), int(o.Off))]
		for i := o.Chunk + 1; i < 4; i++ {
			f.chunks[i] = nil
		}
	case "put":
		c := &f.chunks[o.Chunk]
		if grow := int(o.Off+o.N) - len(*c); grow > 0 {
			*c = append(*c, make([]byte, grow)...)
		}
		copy((*c)[o.Off:], bytes.Repeat([]byte{o.Value}, int(o.N)))
	}
}

func (e expectation) check(t *testing.T, s store.Store, except uint64) {
	t.Helper()
	for ino := uint64(1); ino <= 20; ino++ {
		if ino == except {
			continue
		}
		f := e[ino]
		if f == nil {
			f = &expectedFile{}
		}
		for chunk := range uint64(4) {
			if got := storetest.Get(t, s, ino, chunk, f.gen); !bytes.Equal(got, f.chunks[chunk]) {
				t.Fatalf("file %d chunk %d has %d bytes, want %d, or they differ", ino, chunk, len(got), len(f.chunks[chunk]))
			}
		}
	}
}
