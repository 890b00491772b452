package meta

import (
	"strconv"
	"testing"

	"github.com/benchfs/benchfs/internal/inode"
)

// benchShard has its log in the benchmark's directory.
func benchShard(b *testing.B) *Shard {
	return openDir(b, Options{Shard: 0, Shards: 1}, b.TempDir())
}

func fileName(name []byte, i int) []byte {
	return strconv.AppendInt(append(name[:0], "file.mdtest.0."...), int64(i), 10)
}

func BenchmarkCreate(b *testing.B) {
	s := benchShard(b)
	name := make([]byte, 0, 64)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		name = fileName(name, i)
		_, _, err := s.Create(ReqID{1, uint64(i + 1)}, CreateArgs{Parent: inode.Root, Name: name, Kind: inode.File, Exclusive: true})
		if err != nil {
			b.Fatal(err)
		}
	}
}

// benchFiles is how many files the benchmarks look at.
const benchFiles = 100_000

func benchTree(b *testing.B) *Shard {
	s := benchShard(b)
	name := make([]byte, 0, 64)
	for i := range benchFiles {
		name = fileName(name, i)
		if _, _, err := s.Create(ReqID{}, CreateArgs{Parent: inode.Root, Name: name, Kind: inode.File}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	return s
}

func BenchmarkLookup(b *testing.B) {
	s := benchTree(b)
	name := make([]byte, 0, 64)
	for i := range b.N {
		name = fileName(name, i*7919%benchFiles)
		if _, err := s.Lookup(inode.Root, name); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAttr(b *testing.B) {
	s := benchTree(b)
	for i := range b.N {
		if _, err := s.Attr(inode.Make(0, uint64(2+i*7919%benchFiles))); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkExtend(b *testing.B) {
	s := benchTree(b)
	for i := range b.N {
		if _, err := s.Extend(inode.Make(0, uint64(2+i%benchFiles)), uint64(i), 0); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCheckpoint(b *testing.B) {
	s := benchTree(b)
	for range b.N {
		if err := s.Checkpoint(); err != nil {
			b.Fatal(err)
		}
	}
}
