package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/benchfs/benchfs/fserr"
)

const testSegment = minSegmentBytes

// state is what a log's owner would keep: here simply the records.
type state struct{ records [][]byte }

func (s *state) load(r io.Reader) error {
	for {
		var length [4]byte
		if _, err := io.ReadFull(r, length[:]); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		rec := make([]byte, binary.LittleEndian.Uint32(length[:]))
		if _, err := io.ReadFull(r, rec); err != nil {
			return err
		}
		s.records = append(s.records, rec)
	}
}

func (s *state) save(w io.Writer) error {
	for _, rec := range s.records {
		_, _ = w.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(rec))))
		if _, err := w.Write(rec); err != nil {
			return err
		}
	}
	return nil
}

func (s *state) add(rec []byte) error {
	s.records = append(s.records, bytes.Clone(rec))
	return nil
}

func (s *state) equal(t *testing.T, want [][]byte) {
	t.Helper()
	if len(s.records) != len(want) {
		t.Fatalf("%d records, want %d", len(s.records), len(want))
	}
	for i := range want {
		if !bytes.Equal(s.records[i], want[i]) {
			t.Fatalf("record %d is %q, want %q", i, s.records[i], want[i])
		}
	}
}

func options(recover Recover) Options {
	return Options{Name: "t", SegmentBytes: testSegment, Recover: recover}
}

// open opens and replays.
func open(t *testing.T, dir string, recover Recover) (*Log, *state) {
	t.Helper()
	l, s, err := tryOpen(dir, recover)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l, s
}

func tryOpen(dir string, recover Recover) (*Log, *state, error) {
	l, err := Open(dir, options(recover))
	if err != nil {
		return nil, nil, err
	}
	s := &state{}
	if err := l.Replay(s.load, s.add); err != nil {
		_ = l.Close()
		return nil, nil, err
	}
	return l, s, nil
}

func mustAppend(t *testing.T, l *Log, s *state, rec string) {
	t.Helper()
	if err := l.Append([]byte(rec[:len(rec)/2]), []byte(rec[len(rec)/2:])); err != nil {
		t.Fatal(err)
	}
	if s != nil {
		_ = s.add([]byte(rec))
	}
}

func mustClose(t *testing.T, l *Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func copyDir(t *testing.T, from string) string {
	t.Helper()
	to := t.TempDir()
	entries, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		data, err := os.ReadFile(filepath.Join(from, entry.Name()))
		if err == nil {
			err = os.WriteFile(filepath.Join(to, entry.Name()), data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return to
}

func TestReopenReturnsWhatWasAppended(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	want := &state{}
	for round := range 6 {
		l, got := open(t, dir, Refuse)
		got.equal(t, want.records)
		for range 50 + rnd.IntN(50) {
			rec := make([]byte, 1+rnd.IntN(3000))
			for i := range rec {
				rec[i] = byte(rnd.Uint32())
			}
			mustAppend(t, l, want, string(rec))
		}
		if round%2 == 1 {
			if err := l.Checkpoint(want.save); err != nil {
				t.Fatal(err)
			}
			if l.Bytes() != 0 {
				t.Fatalf("%d bytes after a checkpoint", l.Bytes())
			}
			mustAppend(t, l, want, "after the checkpoint")
		}
		mustClose(t, l)
	}
	_, got := open(t, dir, Refuse)
	got.equal(t, want.records)
}

func TestGrowthKeepsEarlierRecords(t *testing.T) {
	dir := t.TempDir()
	l, s := open(t, dir, Refuse)
	for i := range 40 {
		mustAppend(t, l, s, fmt.Sprintf("%d %s", i, bytes.Repeat([]byte{'x'}, 20_000)))
	}
	mustAppend(t, l, s, string(make([]byte, 3<<20))) // larger than doubling gives
	mustClose(t, l)
	_, got := open(t, dir, Refuse)
	got.equal(t, s.records)
}

func TestFullMediumIsENOSPCAndNothingChanges(t *testing.T) {
	dir := t.TempDir()
	l, s := open(t, dir, Refuse)
	l.fault = func(step string) error {
		if step == "grow" {
			return syscall.ENOSPC
		}
		return nil
	}
	mustAppend(t, l, s, "fits")
	before := l.Bytes()
	if err := l.Append(make([]byte, testSegment)); fserr.Errno(err) != syscall.ENOSPC {
		t.Fatalf("append to a full medium: %v", err)
	}
	if l.Bytes() != before {
		t.Fatal("a refused append changed the log")
	}
	mustAppend(t, l, s, "still fits")
	mustClose(t, l)
	_, got := open(t, dir, Refuse)
	got.equal(t, s.records)
}

func TestSecondOpenerIsRefused(t *testing.T) {
	dir := t.TempDir()
	l, _ := open(t, dir, Refuse)
	_, err := Open(dir, options(Refuse))
	if !errors.Is(err, syscall.EBUSY) || !bytes.Contains([]byte(err.Error()), []byte("t.lock")) {
		t.Fatalf("second open: %v", err)
	}
	mustClose(t, l)
	open(t, dir, Refuse)
}

func TestWrongUse(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"", "a/b", "/"} {
		if _, err := Open(dir, Options{Name: name}); fserr.Errno(err) != syscall.EINVAL {
			t.Errorf("name %q: %v", name, err)
		}
	}
	if _, err := Open(filepath.Join(dir, "none"), options(Refuse)); fserr.Errno(err) != syscall.ENOENT {
		t.Errorf("missing directory: %v", err)
	}
	l, err := Open(dir, options(Refuse))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Append([]byte("x")); fserr.Errno(err) != syscall.EINVAL {
		t.Errorf("append before replay: %v", err)
	}
	s := &state{}
	if err := l.Replay(s.load, s.add); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{l.Replay(s.load, s.add), l.Append(), l.Append(nil, []byte{})} {
		if fserr.Errno(err) != syscall.EINVAL {
			t.Errorf("wrong use: %v", err)
		}
	}
	mustClose(t, l)
	mustClose(t, l)
	for _, err := range []error{l.Append([]byte("x")), l.Sync()(), l.Checkpoint(s.save), l.Replay(s.load, s.add)} {
		if fserr.Errno(err) != syscall.EBADF {
			t.Errorf("use after close: %v", err)
		}
	}
}

func TestCallbackErrorEndsReplay(t *testing.T) {
	dir := t.TempDir()
	l, s := open(t, dir, Refuse)
	mustAppend(t, l, s, "one")
	mustClose(t, l)
	l, err := Open(dir, options(Refuse))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	refused := errors.New("refused")
	if err := l.Replay(s.load, func([]byte) error { return refused }); !errors.Is(err, refused) {
		t.Fatalf("replay: %v", err)
	}
	if err := l.Append([]byte("x")); err == nil {
		t.Fatal("append after a failed replay")
	}
}

func TestAppendAllocatesNothing(t *testing.T) {
	l, _ := open(t, t.TempDir(), Refuse)
	a, b := []byte("first part"), make([]byte, 10)
	allocs := testing.AllocsPerRun(1000, func() {
		if err := l.Append(a, b); err != nil {
			t.Error(err)
		}
	})
	if allocs != 0 {
		t.Fatalf("%v allocations per append", allocs)
	}
}

func TestSyncRunsBesideTheOwner(t *testing.T) {
	l, s := open(t, t.TempDir(), Refuse)
	results := make(chan error, 64)
	for i := range 64 {
		mustAppend(t, l, s, fmt.Sprint("record ", i, string(make([]byte, 5000))))
		sync := l.Sync()
		go func() { results <- sync() }()
		if i%16 == 15 {
			if err := l.Checkpoint(s.save); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 64 {
		if err := <-results; err != nil {
			t.Fatal(err)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	l, err := Open(b.TempDir(), Options{Name: "b"})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	if err := l.Replay(nil, nil); err != nil {
		b.Fatal(err)
	}
	rec := make([]byte, 100)
	empty := func(io.Writer) error { return nil }
	b.ReportAllocs()
	for b.Loop() {
		if l.Bytes() > 32<<20 {
			if err := l.Checkpoint(empty); err != nil {
				b.Fatal(err)
			}
		}
		if err := l.Append(rec[:60], rec[60:]); err != nil {
			b.Fatal(err)
		}
	}
}
