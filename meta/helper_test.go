package meta

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/internal/inode"
)

// tape is a journal in memory that can be cut after any record and played to another shard.
type tape struct {
	snapshot []byte
	records  [][]byte
	refuse   error // what Append answers, if set
}

func (l *tape) Replay(snapshot func(io.Reader) error, record func([]byte) error) error {
	if l.snapshot != nil {
		if err := snapshot(bytes.NewReader(l.snapshot)); err != nil {
			return err
		}
	}
	for _, r := range l.records {
		if err := record(r); err != nil {
			return err
		}
	}
	return nil
}

func (l *tape) Append(parts ...[]byte) error {
	if l.refuse != nil {
		return l.refuse
	}
	l.records = append(l.records, bytes.Join(parts, nil))
	return nil
}

func (l *tape) Bytes() (n int64) {
	for _, r := range l.records {
		n += int64(len(r))
	}
	return n
}

func (l *tape) Checkpoint(write func(io.Writer) error) error {
	var b bytes.Buffer
	if err := write(&b); err != nil {
		return err
	}
	l.snapshot, l.records = b.Bytes(), nil
	return nil
}

func (l *tape) Sync() func() error { return func() error { return nil } }
func (l *tape) Close() error       { return nil }

// cut is the tape as a crash after k records leaves it.
func (l *tape) cut(k int) *tape {
	return &tape{snapshot: l.snapshot, records: slices.Clone(l.records[:k])}
}

// ticker is a clock that moves by one at each look.
type ticker struct{ now int64 }

func (c *ticker) tick() int64 { c.now++; return c.now }

const clockStart = 1_000_000

// testOptions is shard 0 of 4 with a clock that shows when a time stamp was taken.
func testOptions() Options {
	clock := &ticker{now: clockStart}
	return Options{Shard: 0, Shards: 4, Now: clock.tick, UID: 10, GID: 20}
}

func openTape(t testing.TB, o Options, l *tape) *Shard {
	t.Helper()
	s, err := open(o, l)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// newShard makes shard 0 with a tape of its own.
func newShard(t testing.TB) *Shard {
	t.Helper()
	return openTape(t, testOptions(), &tape{})
}

// restart is what the shard looks like after a crash now.
func restart(t testing.TB, s *Shard) *Shard {
	t.Helper()
	l := s.log.(*tape)
	return openTape(t, s.o, l.cut(len(l.records)))
}

// want fails the test unless err is target, or carries it as its errno (nil: no error).
func want(t testing.TB, err, target error) {
	t.Helper()
	if code, ok := target.(syscall.Errno); ok && fserr.Errno(err) == code {
		return
	}
	if !errors.Is(err, target) {
		t.Fatalf("error %v, want %v", err, target)
	}
}

func create(t testing.TB, s *Shard, parent inode.Ino, name string, kind inode.Kind) inode.Ino {
	t.Helper()
	a := CreateArgs{Parent: parent, Name: []byte(name), Kind: kind, Mode: 0o644, UID: 1, GID: 2, Exclusive: true}
	if kind == inode.Symlink {
		a.Target = []byte("target of " + name)
	}
	e, made, err := s.Create(ReqID{}, a)
	if err != nil || !made {
		t.Fatalf("create %q: %v, made %v", name, err, made)
	}
	return e.Ino
}

func attr(t testing.TB, s *Shard, ino inode.Ino) inode.Attr {
	t.Helper()
	a, err := s.Attr(ino)
	if err != nil {
		t.Fatalf("attributes of %v: %v", ino, err)
	}
	return a
}

// list returns the names of a directory in the order of ReadDir, reading pages of the given length.
func list(t testing.TB, s *Shard, dir inode.Ino, page int) []string {
	t.Helper()
	var names []string
	for cookie, eof := uint64(0), false; !eof; {
		left, err := page, error(nil)
		eof, err = s.ReadDir(dir, cookie, func(e DirEntry) bool {
			if left == 0 {
				return false
			}
			left--
			cookie = e.Cookie
			names = append(names, string(e.Name))
			return true
		})
		want(t, err, nil)
	}
	return names
}

// seeded returns a random source and prints its seed.
func seeded(t testing.TB) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// dump writes down everything that the log is to bring back, and what follows from it, in an order of its own.
func dump(s *Shard) string {
	var b strings.Builder
	fmt.Fprintln(&b, "counters", s.nextSeq, s.entrySeq, s.txReserved, s.entries)
	for _, ino := range slices.Sorted(maps.Keys(s.nodes.index)) {
		n := *s.nodes.get(ino)
		n.opens = 0
		_, orphan := s.orphans[ino]
		fmt.Fprintf(&b, "node %+v more %+v orphan %v\n", n, s.more[ino], orphan)
	}
	for _, ino := range slices.Sorted(maps.Keys(s.dirs)) {
		f := s.dirs[ino]
		fmt.Fprintln(&b, "dir", ino, f.live, f.subdirs, f.mtime)
		for i := range f.total {
			if e := f.at(i); e.kind != 0 {
				name := f.nameOf(e)
				fmt.Fprintf(&b, "  %d %q %v %v found %v\n", e.seq, name, e.ino, e.kind, f.find(name) == e)
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(s.removed)) {
		fmt.Fprintf(&b, "removed %x %x\n", key, s.removed[key])
	}
	_ = s.dedup.each(func(r ReqID, res Result) error {
		fmt.Fprintln(&b, "done", r, res)
		return nil
	})
	for _, tx := range s.Prepared() {
		fmt.Fprintf(&b, "prepared %x %v\n", tx, s.prepared[tx])
	}
	for _, ino := range slices.Sorted(maps.Keys(s.reserved)) {
		fmt.Fprintf(&b, "reserved %v %+v\n", ino, s.reserved[ino])
	}
	fmt.Fprintf(&b, "unfinished %+v\ncuts %+v\npurges %+v\n", s.Unfinished(), s.Truncations(), s.Purges())
	dumpHolds(&b, &s.holds)
	return b.String()
}

func dumpHolds(b *strings.Builder, h *holds) {
	keys := slices.SortedFunc(maps.Keys(h.entries), func(a, b entryKey) int {
		return cmp.Or(cmp.Compare(a.parent, b.parent), cmp.Compare(a.name, b.name))
	})
	for _, key := range keys {
		fmt.Fprintln(b, "held entry", key, h.entries[key], h.inDir[key.parent])
	}
	for _, ino := range slices.Sorted(maps.Keys(h.inodes)) {
		fmt.Fprintln(b, "held inode", ino, h.inodes[ino])
	}
	for _, ino := range slices.Sorted(maps.Keys(h.removals)) {
		fmt.Fprintln(b, "held directory", ino, h.removals[ino])
	}
	fmt.Fprintln(b, "rename", h.rename, len(h.inDir))
}

// sameState fails at the first line in which the dumps of two shards differ.
func sameState(t testing.TB, what string, got, wanted *Shard) {
	t.Helper()
	sameDump(t, what, dump(got), dump(wanted))
}

func sameDump(t testing.TB, what, got, wanted string) {
	t.Helper()
	if got == wanted {
		return
	}
	g, w := strings.Split(got, "\n"), strings.Split(wanted, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			t.Fatalf("%s: line %d is\n  %s\nwant\n  %s", what, i, g[i], w[i])
		}
	}
	t.Fatalf("%s: %d lines, want %d", what, len(g), len(w))
}
