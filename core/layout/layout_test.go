package layout

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestSplitCoversTheRange(t *testing.T) {
	r := newRand(t)
	for range 20_000 {
		bits := uint8(MinChunkBits + r.IntN(MaxChunkBits-MinChunkBits+1))
		off := r.Uint64() >> r.IntN(64)
		n := (r.Uint64() >> r.IntN(64)) % (40 << bits)
		end := off + min(n, math.MaxUint64-off)
		next, start, pieces := off, uint64(0), uint64(0)
		Split(off, n, bits, func(p Piece) bool {
			pieces++
			if p.Chunk<<bits+uint64(p.Offset) != next || p.Start != start || p.Length == 0 || uint64(p.Offset)+uint64(p.Length) > 1<<bits {
				t.Fatalf("[%d,+%d) bits %d: piece %+v at %d", off, n, bits, p, next)
			}
			next += uint64(p.Length)
			start += uint64(p.Length)
			return true
		})
		if next != end || pieces != Pieces(off, n, bits) {
			t.Fatalf("[%d,+%d) bits %d: ended at %d after %d pieces, Pieces says %d", off, n, bits, next, pieces, Pieces(off, n, bits))
		}
	}
}

func TestSplitStops(t *testing.T) {
	calls := 0
	Split(0, 1<<30, DefaultChunkBits, func(Piece) bool { calls++; return calls < 3 })
	if calls != 3 {
		t.Errorf("%d calls", calls)
	}
}

func TestSplitterAllocatesNothing(t *testing.T) {
	allocs := testing.AllocsPerRun(100, func() {
		s := NewSplitter(12345, 64<<20, DefaultChunkBits)
		for _, ok := s.Next(); ok; _, ok = s.Next() {
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

// TestRunsAgainstModel compares run lists with an array that has the owner of each chunk.
func TestRunsAgainstModel(t *testing.T) {
	r := newRand(t)
	const chunks, shards, none = 60, 3, -1
	for range 3000 {
		var model [chunks]int
		for i := range model {
			model[i] = none
		}
		var runs []Run
		for range 25 {
			if r.IntN(8) == 0 {
				cut := r.IntN(chunks)
				runs = CutRuns(runs, uint64(cut))
				for i := cut; i < chunks; i++ {
					model[i] = none
				}
			} else {
				first := r.IntN(chunks)
				run := Run{First: uint64(first), Count: uint64(1 + r.IntN(chunks-first)), Shard: uint32(r.IntN(shards))}
				if r.IntN(2) == 0 {
					run.Count = 1
				}
				runs = InsertRun(runs, run)
				for i := first; i < first+int(run.Count); i++ {
					if model[i] == none {
						model[i] = int(run.Shard)
					}
				}
			}
			checkRuns(t, runs, model[:])
		}
		first, count := uint64(r.IntN(chunks)), uint64(r.IntN(chunks))
		var want []Run
		for _, run := range runs {
			if run.First < first+count && run.end() > first {
				want = append(want, run)
			}
		}
		if got := CoveringRuns(runs, first, count); !slices.Equal(got, want) {
			t.Fatalf("covering [%d,+%d) of %v: %v", first, count, runs, got)
		}
	}
}

func checkRuns(t *testing.T, runs []Run, model []int) {
	t.Helper()
	if err := ValidateRuns(runs, math.MaxUint32); err != nil {
		t.Fatalf("%v: %v", runs, err)
	}
	for i, shard := range model {
		run, ok := FindRun(runs, uint64(i))
		if ok != (shard >= 0) || ok && int(run.Shard) != shard {
			t.Fatalf("chunk %d: %+v, %v; want %d in %v", i, run, ok, shard, runs)
		}
	}
	for i := 1; i < len(runs); i++ {
		if runs[i-1].joins(runs[i]) {
			t.Fatalf("neighbours not merged: %v", runs)
		}
	}
}

func TestInsertRunRefusesNonsense(t *testing.T) {
	for _, run := range []Run{{First: 3}, {First: math.MaxUint64, Count: 2}} {
		if got := InsertRun(nil, run); len(got) != 0 {
			t.Errorf("%+v was inserted: %v", run, got)
		}
	}
}

func TestValidateRuns(t *testing.T) {
	bad := [][]Run{
		{{First: 1, Count: 0}},
		{{First: math.MaxUint64, Count: 1}},
		{{First: 1, Count: 3}, {First: 3, Count: 1}},
		{{First: 5, Count: 1}, {First: 1, Count: 1}},
		{{First: 5, Count: 1, Shard: 4}},
	}
	for _, runs := range bad {
		if err := ValidateRuns(runs, 4); !isInvalid(err) {
			t.Errorf("%v: %v", runs, err)
		}
	}
	if err := ValidateRuns([]Run{{First: 0, Count: 2, Shard: 3}, {First: 2, Count: 1}}, 4); err != nil {
		t.Error(err)
	}
}

func isInvalid(err error) bool {
	var invalid *Invalid
	return errors.As(err, &invalid) && invalid.Errno() == syscall.EINVAL
}

func TestStrategyNames(t *testing.T) {
	for s, name := range map[Strategy]string{RoundRobin: "round_robin", Hash: "hash", Local: "local"} {
		if s.String() != name {
			t.Errorf("%d is %q", s, s)
		}
		if got, err := ParseStrategy(name); got != s || err != nil {
			t.Errorf("%q: %v, %v", name, got, err)
		}
	}
	for _, name := range []string{"", "none", "Hash", "roundrobin"} {
		if _, err := ParseStrategy(name); !isInvalid(err) || !strings.Contains(err.Error(), "round_robin, hash, local") {
			t.Errorf("%q: %v", name, err)
		}
	}
	if None.String() != "none" || Strategy(9).String() != "strategy 9" {
		t.Errorf("%v, %v", None, Strategy(9))
	}
}

func TestValidate(t *testing.T) {
	good := Layout{Strategy: Hash, ChunkBits: DefaultChunkBits, First: 3, Shards: 4}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for _, change := range []func(*Layout){
		func(l *Layout) { l.Strategy = None },
		func(l *Layout) { l.Strategy = 4 },
		func(l *Layout) { l.ChunkBits = MinChunkBits - 1 },
		func(l *Layout) { l.ChunkBits = MaxChunkBits + 1 },
		func(l *Layout) { l.Shards = 0 },
		func(l *Layout) { l.First = 4 },
	} {
		l := good
		change(&l)
		if err := l.Validate(); !isInvalid(err) {
			t.Errorf("%+v: %v", l, err)
		}
	}
	for size, bits := range map[uint64]uint8{64 << 10: 16, 4 << 20: 22, 64 << 20: 26} {
		if got, err := ChunkBitsOf(size); got != bits || err != nil {
			t.Errorf("%d: %d, %v", size, got, err)
		}
	}
	for _, size := range []uint64{0, 1, 32 << 10, 3 << 20, 128 << 20} {
		if _, err := ChunkBitsOf(size); !isInvalid(err) {
			t.Errorf("%d: %v", size, err)
		}
	}
}

func TestMap(t *testing.T) {
	m, err := NewMap(7, []Node{{ID: 10, Name: "node_10", Shards: 1}, {ID: 2, Name: "node_2", Shards: 3}, {ID: 0, Shards: 2}})
	if err != nil {
		t.Fatal(err)
	}
	if m.Shards() != 6 || m.Epoch != 7 {
		t.Errorf("%d shards, epoch %d", m.Shards(), m.Epoch)
	}
	for shard, node := range []uint32{0, 0, 2, 2, 2, 10, NoNode} {
		if got := m.PeerOf(uint32(shard)); got != node {
			t.Errorf("shard %d: node %d, want %d", shard, got, node)
		}
	}
	if n, ok := m.Node(2); !ok || n.Name != "node_2" || n.FirstShard != 2 {
		t.Errorf("node 2: %+v, %v", n, ok)
	}
	if _, ok := m.Node(3); ok {
		t.Error("node 3 is there")
	}
	if (&Map{}).Shards() != 0 || (&Map{}).PeerOf(0) != NoNode {
		t.Error("an empty map has shards")
	}
}

func TestMapRefusals(t *testing.T) {
	for what, nodes := range map[string][]Node{
		"without nodes": nil,
		"twice":         {{ID: 1, Shards: 1}, {ID: 1, Shards: 1}},
		"no shards":     {{ID: 1}},
		"at most":       {{ID: 1, Shards: MaxShards}, {ID: 2, Shards: 1}},
		"reserved":      {{ID: NoNode, Shards: 1}},
	} {
		if _, err := NewMap(1, nodes); !isInvalid(err) || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
	gap := Map{Nodes: []Node{{ID: 0, Shards: 2}, {ID: 1, FirstShard: 3, Shards: 1}}}
	if err := gap.Validate(); !isInvalid(err) {
		t.Errorf("gap: %v", err)
	}
}

func TestCompareNames(t *testing.T) {
	sorted := []string{"", "a", "node", "node_0", "node_1", "node_2", "node_2a", "node_2b", "node_9", "node_10", "node_010x", "node_11", "node_99999999999999999999998", "node_99999999999999999999999", "nodf"}
	for i, a := range sorted {
		for j, b := range sorted {
			got := CompareNames(a, b)
			if (got < 0) != (i < j) || (got > 0) != (i > j) {
				t.Errorf("%q against %q: %d", a, b, got)
			}
		}
	}
	if CompareNames("a01", "a1") == 0 || CompareNames("a01", "a1") != -CompareNames("a1", "a01") {
		t.Error("leading zeros")
	}
	r := newRand(t)
	names := make([]string, 300)
	for i := range names {
		var b strings.Builder
		for range r.IntN(5) {
			fmt.Fprint(&b, []string{"a", "_", "0", "1", "12", "009"}[r.IntN(6)])
		}
		names[i] = b.String()
	}
	slices.SortFunc(names, CompareNames)
	for i := range names {
		for j := i; j < len(names); j++ {
			if CompareNames(names[i], names[j]) > 0 {
				t.Fatalf("no order: %q before %q", names[i], names[j])
			}
		}
	}
}
