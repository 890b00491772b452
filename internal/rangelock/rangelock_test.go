package rangelock

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// model is a file of a few cells: what each owner has of each.
type model map[Owner][]cell

type cell struct {
	held, write bool
	pid         uint32
}

// cells of the model; the last one stands for everything up to End.
const cells = 24

// edge is where a cell begins in the list under test.
func edge(i int) uint64 {
	if i == cells {
		return End
	}
	return uint64(i) * 10
}

func (m model) of(o Owner) []cell {
	if m[o] == nil {
		m[o] = make([]cell, cells)
	}
	return m[o]
}

// conflict is the first cell that another owner has in the way, or −1.
func (m model) conflict(o Owner, from, to int, write bool) int {
	for i := from; i < to; i++ {
		for other, has := range m {
			if other != o && has[i].held && (write || has[i].write) {
				return i
			}
		}
	}
	return -1
}

// locks are the pieces that the list should have for o.
func (m model) locks(o Owner) []Lock {
	var out []Lock
	has := m.of(o)
	for i := 0; i < cells; i++ {
		if !has[i].held {
			continue
		}
		if i > 0 && has[i-1] == has[i] {
			out[len(out)-1].End = edge(i + 1)
			continue
		}
		out = append(out, Lock{Start: edge(i), End: edge(i + 1), Write: has[i].write, PID: has[i].pid})
	}
	return out
}

// TestAgainstModel: random locks, upgrades, downgrades and unlocks of random ranges by several owners.
func TestAgainstModel(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	owners := []Owner{{ID: 1}, {ID: 2}, {Client: 1}, {Client: 2}, {ID: 2, Client: 1}}
	for round := 0; round < 300; round++ {
		var l List
		m := model{}
		granted, refused := 0, 0
		for step := 0; step < 200; step++ {
			o := owners[random.IntN(len(owners))]
			from := random.IntN(cells)
			to := from + 1 + random.IntN(cells-from)
			if random.IntN(3) > 0 {
				to = min(to, from+1+random.IntN(4))
			}
			if random.IntN(3) == 0 {
				l.Clear(o, edge(from), edge(to))
				clear(m.of(o)[from:to])
			} else {
				want := Lock{Start: edge(from), End: edge(to), Write: random.IntN(2) == 0, PID: uint32(random.IntN(2))}
				at := m.conflict(o, from, to, want.Write)
				by, what, found := l.Conflict(o, want)
				switch {
				case found != (at >= 0):
					t.Fatalf("step %d: %+v for %+v: conflict %v, in the model %v", step, want, o, found, at >= 0)
				case found && (what.End <= edge(at) || what.Start > edge(at)):
					t.Fatalf("step %d: %+v of %+v is in the way, in the model it is byte %d", step, what, by, edge(at))
				case found != (len(l.InTheWay(o, want, nil)) > 0):
					t.Fatalf("step %d: InTheWay and Conflict differ", step)
				case found:
					refused++
				default:
					granted++
					l.Set(o, want)
					for i := from; i < to; i++ {
						m.of(o)[i] = cell{held: true, write: want.Write, pid: want.PID}
					}
				}
			}
			total := 0
			for _, o := range owners {
				if got, want := l.Locks(o), m.locks(o); !slices.Equal(got, want) {
					t.Fatalf("step %d: %+v has %+v, in the model %+v", step, o, got, want)
				}
				total += len(l.Locks(o))
				if l.Has(o) != (len(l.Locks(o)) > 0) {
					t.Fatalf("step %d: Has is wrong", step)
				}
			}
			if total != l.Len() {
				t.Fatalf("step %d: Len is %d of %d", step, l.Len(), total)
			}
		}
		if granted < 10 || refused < 10 {
			t.Fatalf("the test tests little: %d granted, %d refused", granted, refused)
		}
	}
}

// TestSplitAndMerge spells the rules out.
func TestSplitAndMerge(t *testing.T) {
	o, other := Owner{Client: 1}, Owner{Client: 2}
	var l List
	l.Set(o, Lock{Start: 0, End: 100, Write: true})
	l.Set(o, Lock{Start: 40, End: 60}) // a downgrade in the middle
	want := []Lock{{Start: 0, End: 40, Write: true}, {Start: 40, End: 60}, {Start: 60, End: 100, Write: true}}
	if !slices.Equal(l.Locks(o), want) {
		t.Fatalf("%+v", l.Locks(o))
	}
	if _, _, found := l.Conflict(other, Lock{Start: 45, End: 50}); found {
		t.Error("two readers are in each other's way")
	}
	if _, what, _ := l.Conflict(other, Lock{Start: 39, End: 45}); what != want[0] {
		t.Errorf("%+v is in the way", what)
	}
	l.Set(o, Lock{Start: 40, End: 60, Write: true})
	if want = []Lock{{Start: 0, End: 100, Write: true}}; !slices.Equal(l.Locks(o), want) {
		t.Fatalf("%+v", l.Locks(o))
	}
	l.Clear(o, 99, End)
	l.Clear(o, 0, 1)
	if want = []Lock{{Start: 1, End: 99, Write: true}}; !slices.Equal(l.Locks(o), want) {
		t.Fatalf("%+v", l.Locks(o))
	}
}
