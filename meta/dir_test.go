package meta

import (
	"fmt"
	"slices"
	"testing"

	"github.com/benchfs/benchfs/internal/inode"
)

// Names whose hashes are the same are found, removed and listed as others are.
func TestNamesCollide(t *testing.T) {
	usual := nameHash
	t.Cleanup(func() { nameHash = usual })
	nameHash = func(name []byte) uint64 { return uint64(len(name) % 3) }
	random := seeded(t)
	f, seq := &fragment{}, uint64(0)
	var there []string
	for range 20_000 {
		name := fmt.Sprint(random.IntN(300), "x")
		at := slices.Index(there, name)
		e := f.find([]byte(name))
		switch {
		case (e != nil) != (at >= 0):
			t.Fatalf("%q: found %v, there %v", name, e != nil, at >= 0)
		case e != nil:
			f.remove(e)
			there = slices.Delete(there, at, at+1)
		default:
			seq++
			f.add(seq, []byte(name), inode.Make(0, seq), inode.File)
			there = append(there, name)
		}
		if f.live != len(there) {
			t.Fatalf("%d names, want %d", f.live, len(there))
		}
	}
	var listed []string
	for i := range f.total {
		if e := f.at(i); e.kind != 0 {
			listed = append(listed, string(f.nameOf(e)))
		}
	}
	if !slices.Equal(listed, there) {
		t.Fatal("the listing is not what was added, in order")
	}
}

// Inodes keep their content and their addresses while others come and go, and pages that nobody needs are given back.
func TestInodePages(t *testing.T) {
	random := seeded(t)
	table := newInodes()
	where := map[inode.Ino]*node{}
	var all []inode.Ino
	for seq := uint64(1); seq < 50_000; seq++ {
		if grow := seq < 20_000 || seq > 45_000; len(all) == 0 || random.IntN(5) < 1 || grow && random.IntN(4) > 0 {
			ino := inode.Make(0, seq)
			where[ino] = table.add(node{ino: ino, size: seq})
			all = append(all, ino)
			continue
		}
		i := random.IntN(len(all))
		ino := all[i]
		if n := table.get(ino); n != where[ino] || n.ino != ino || n.size != ino.Seq() {
			t.Fatalf("%v is at %p with %+v, was put at %p", ino, n, n, where[ino])
		}
		table.remove(ino)
		if table.get(ino) != nil {
			t.Fatal("removed, and found")
		}
		delete(where, ino)
		all[i] = all[len(all)-1]
		all = all[:len(all)-1]
	}
	for len(all) > 0 {
		table.remove(all[len(all)-1])
		all = all[:len(all)-1]
	}
	pages := 0
	for _, page := range table.pages {
		if page != nil {
			pages++
		}
	}
	if pages > 1 || table.len() != 0 {
		t.Fatalf("%d pages for %d inodes", pages, table.len())
	}
}
