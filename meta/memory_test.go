package meta

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/benchfs/benchfs/internal/inode"
)

func heapBytes() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A file costs at most 400 bytes beyond its name.
func TestMemoryOfAFile(t *testing.T) {
	files := 1_000_000
	if testing.Short() {
		files = 200_000
	}
	for _, perDir := range []int{1 << 30, 1000} {
		s, err := open(Options{Shard: 0, Shards: 1}, nil)
		want(t, err, nil)
		before, names, dirs := heapBytes(), 0, 0
		dir := inode.Root
		for i := range files {
			if i%perDir == perDir-1 {
				dir = create(t, s, inode.Root, fmt.Sprint("directory.", i), inode.Dir)
				dirs++
			}
			name := fmt.Sprintf("file.mdtest.%d.%d", i%64, i)
			names += len(name)
			create(t, s, dir, name, inode.File)
		}
		each := (float64(heapBytes()-before) - float64(names)) / float64(files)
		t.Logf("%d files in %d directories: %.0f bytes a file beyond its name", files, dirs+1, each)
		if each > 400 {
			t.Errorf("%.0f bytes a file, at most 400", each)
		}
		runtime.KeepAlive(s)
	}
}

// Memory comes back when the files go.
func TestMemoryAfterRemoval(t *testing.T) {
	s, err := open(Options{Shard: 0, Shards: 1}, nil)
	want(t, err, nil)
	d := create(t, s, inode.Root, "d", inode.Dir)
	for i := range 50_000 {
		create(t, s, d, fmt.Sprint("file.", i), inode.File)
	}
	for i := range 50_000 {
		unlink(t, s, d, fmt.Sprint("file.", i))
	}
	if f := s.dirs[d]; f.live != 0 || len(f.pages) > 1 || cap(f.pages[0]) > 64 || f.index != nil {
		t.Fatalf("%d slots in %d pages for %d names, index %v", f.total, len(f.pages), f.live, f.index != nil)
	}
	pages := 0
	for _, p := range s.nodes.pages {
		if p != nil {
			pages++
		}
	}
	if pages > 2 {
		t.Fatalf("%d pages for two inodes", pages)
	}
	if u := s.Usage(); u.Inodes != 2 || u.Entries != 1 {
		t.Fatalf("%+v", u)
	}
}
