package layout

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// shardCounts are 10 to 10 000 with powers of two, their neighbours and primes among them.
var shardCounts = []uint32{10, 16, 17, 31, 32, 64, 97, 100, 127, 128, 256, 1000, 1021, 1024, 4096, 10000}

// spread is the largest and smallest load over the mean, and χ² in units of its standard deviation from its mean.
func spread(load []int) (largest, smallest, deviation float64) {
	total, lo, hi := 0, load[0], load[0]
	for _, n := range load {
		total, lo, hi = total+n, min(lo, n), max(hi, n)
	}
	mean := float64(total) / float64(len(load))
	chi := 0.0
	for _, n := range load {
		chi += (float64(n) - mean) * (float64(n) - mean) / mean
	}
	free := float64(len(load) - 1)
	return float64(hi) / mean, float64(lo) / mean, (chi - free) / math.Sqrt(2*free)
}

// checkRandom fails unless the load looks like independent even draws: six standard deviations either side of the mean of one
// shard, and of χ².
func checkRandom(t *testing.T, what string, load []int) {
	t.Helper()
	total := 0
	for _, n := range load {
		total += n
	}
	mean := float64(total) / float64(len(load))
	hi, lo, deviation := spread(load)
	bound := 6 / math.Sqrt(mean)
	if hi > 1+bound || lo < 1-bound || deviation > 6 {
		t.Errorf("%s: load from %.3f to %.3f of the mean (allowed ±%.3f), χ² %.1f deviations off", what, lo, hi, bound, deviation)
	}
}

func TestHashBalance(t *testing.T) {
	for _, shards := range shardCounts {
		l := Layout{Strategy: Hash, ChunkBits: DefaultChunkBits, Shards: shards}
		draws := int(shards) * 200
		strides := []uint64{1, 2, 7, 64, uint64(shards), 2 * uint64(shards), 16 * uint64(shards), uint64(shards) + 1}
		for _, stride := range strides {
			load := make([]int, shards)
			for i := range uint64(draws) {
				shard, ok := ChunkNode(l, 1<<48|77, i*stride, nil)
				if !ok {
					t.Fatal("no owner")
				}
				load[shard]++
			}
			checkRandom(t, fmt.Sprintf("%d shards, one file, stride %d", shards, stride), load)
		}
		load := make([]int, shards)
		for i := range uint64(draws) { // one chunk each of many small files, as their creator numbers them
			shard, _ := ChunkNode(l, uint64(3)<<48|i+1, 0, nil)
			load[shard]++
		}
		checkRandom(t, fmt.Sprintf("%d shards, first chunks of files", shards), load)
	}
}

// TestHashRanksInStep: many clients that advance in step through one file, each with its own block of chunks: at every moment
// their chunks must be spread. This is where placing by a hash modulo the shard count failed elsewhere.
func TestHashRanksInStep(t *testing.T) {
	for _, shards := range []uint32{16, 64, 100, 1024} {
		l := Layout{Strategy: Hash, ChunkBits: DefaultChunkBits, Shards: shards}
		ranks := uint64(shards) * 64
		block := uint64(shards) * 4
		for step := range uint64(4) {
			load := make([]int, shards)
			for rank := range ranks {
				shard, _ := ChunkNode(l, 5, rank*block+step, nil)
				load[shard]++
			}
			checkRandom(t, fmt.Sprintf("%d shards, step %d", shards, step), load)
		}
	}
}

// TestRoundRobinStrides: strides that are multiples of the shard count are spread too.
func TestRoundRobinStrides(t *testing.T) {
	for _, shards := range shardCounts {
		l := Layout{Strategy: RoundRobin, ChunkBits: DefaultChunkBits, First: 1, Shards: shards}
		for _, stride := range []uint64{uint64(shards), 2 * uint64(shards), 16 * uint64(shards)} {
			load := make([]int, shards)
			for i := range uint64(shards) * 200 {
				shard, _ := ChunkNode(l, 1, i*stride, nil)
				load[shard]++
			}
			checkRandom(t, fmt.Sprintf("round robin, %d shards, stride %d", shards, stride), load)
		}
	}
}

func TestHashStability(t *testing.T) {
	const chunks = 100_000
	for _, shards := range shardCounts {
		before := Layout{Strategy: Hash, Shards: shards}
		after := Layout{Strategy: Hash, Shards: shards + 1}
		moved := 0
		for chunk := range uint64(chunks) {
			a, _ := ChunkNode(before, 9, chunk, nil)
			b, _ := ChunkNode(after, 9, chunk, nil)
			if a == b {
				continue
			}
			moved++
			if b != shards {
				t.Fatalf("%d shards and one more: chunk %d moved from %d to %d, both old", shards, chunk, a, b)
			}
		}
		expected := chunks / float64(shards+1)
		if math.Abs(float64(moved)-expected) > 6*math.Sqrt(expected) {
			t.Errorf("%d shards and one more: %d of %d chunks moved, expected %.0f", shards, moved, chunks, expected)
		}
	}
}

func TestRoundRobin(t *testing.T) {
	for _, shards := range shardCounts {
		l := Layout{Strategy: RoundRobin, ChunkBits: DefaultChunkBits, First: 7, Shards: shards}
		load := make([]int, shards)
		for chunk := range 3 * uint64(shards) {
			shard, ok := ChunkNode(l, 1, chunk, nil)
			if !ok || shard >= shards {
				t.Fatalf("%d shards, chunk %d: %d, %v", shards, chunk, shard, ok)
			}
			if want := uint32((7 + chunk) % uint64(shards)); chunk < uint64(shards) && shard != want {
				t.Fatalf("%d shards, chunk %d: %d, want %d", shards, chunk, shard, want)
			}
			if chunk%uint64(shards) > 0 {
				if before, _ := ChunkNode(l, 1, chunk-1, nil); shard != (before+1)%shards {
					t.Fatalf("%d shards, chunk %d: %d after %d", shards, chunk, shard, before)
				}
			}
			load[shard]++
		}
		for shard, n := range load {
			if n != 3 {
				t.Errorf("%d shards: shard %d has %d of 3 chunks", shards, shard, n)
			}
		}
	}
	l := Layout{Strategy: RoundRobin, First: 3, Shards: 5}
	if shard, ok := ChunkNode(l, 1, math.MaxUint64, nil); !ok || shard >= 5 {
		t.Errorf("last chunk: shard %d, %v", shard, ok)
	}
}

func TestChunkNodeLocal(t *testing.T) {
	l := Layout{Strategy: Local, Shards: 4}
	runs := []Run{{First: 2, Count: 3, Shard: 1}, {First: 5, Count: 1, Shard: 3}, {First: 9, Count: 1, Shard: 0}}
	want := map[uint64]int{0: -1, 1: -1, 2: 1, 4: 1, 5: 3, 6: -1, 8: -1, 9: 0, 10: -1}
	for chunk, shard := range want {
		got, ok := ChunkNode(l, 1, chunk, runs)
		if ok != (shard >= 0) || ok && int(got) != shard {
			t.Errorf("chunk %d: %d, %v; want %d", chunk, got, ok, shard)
		}
	}
}

func TestChunkNodeOfInvalidLayout(t *testing.T) {
	for _, l := range []Layout{{}, {Strategy: RoundRobin}, {Strategy: Hash}, {Strategy: 99, Shards: 3}} {
		if _, ok := ChunkNode(l, 1, 0, nil); ok {
			t.Errorf("%+v places chunks", l)
		}
	}
}

func TestEntryShardBalance(t *testing.T) {
	const ranks, perRank = 800, 1000 // 800 000 names as mdtest makes them
	names := make([][]byte, 0, ranks*perRank)
	for rank := range ranks {
		for i := range perRank {
			names = append(names, fmt.Appendf(nil, "file.mdtest.%d.%d", rank, i))
		}
	}
	for _, shards := range []uint32{2, 3, 10, 16, 64, 100, 128, 1000, 1024, 4096, 10000} {
		load := make([]int, shards)
		for _, name := range names {
			load[EntryShard(42, name, shards)]++
		}
		checkRandom(t, fmt.Sprintf("%d shards, names of one directory", shards), load)
		load = make([]int, shards)
		for parent := range uint64(shards) * 200 { // the same name in many directories
			load[EntryShard(parent<<1|1, []byte("data"), shards)]++
		}
		checkRandom(t, fmt.Sprintf("%d shards, one name in many directories", shards), load)
	}
	if EntryShard(1, []byte("x"), 0) != 0 {
		t.Error("no shards: not 0")
	}
}

// TestPlacementIsFixed holds the functions to what files on disk were placed by.
func TestPlacementIsFixed(t *testing.T) {
	l := Layout{Strategy: Hash, Shards: 1000}
	var got []uint32
	for chunk := range uint64(4) {
		shard, _ := ChunkNode(l, 0x0003_0000_0000_0007, chunk, nil)
		got = append(got, shard)
	}
	for _, name := range []string{"", "a", "file.mdtest.7.11"} {
		got = append(got, EntryShard(1, []byte(name), 1000))
	}
	if want := "[640 330 181 237 313 334 852]"; fmt.Sprint(got) != want {
		t.Errorf("placement changed: %v, was %v", got, want)
	}
}

func BenchmarkChunkNodeHash(b *testing.B) {
	l := Layout{Strategy: Hash, Shards: 10000}
	b.ReportAllocs()
	for i := range uint64(b.N) {
		ChunkNode(l, 12345, i, nil)
	}
}

func newRand(t *testing.T) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}
