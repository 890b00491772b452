package chain

import (
	"math/rand/v2"
	"slices"
	"testing"
)

type element struct {
	number int
	link   Link[element]
}

// A list against a slice, newest first.
func TestList(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	var list List[element]
	var model []*element
	all := make([]element, 20)
	for i := range all {
		all[i].number = i
	}
	for range 2000 {
		e := &all[rnd.IntN(len(all))]
		if i := slices.Index(model, e); i >= 0 {
			list.Remove(&e.link)
			model = slices.Delete(model, i, i+1)
		} else {
			list.Add(&e.link, e)
			model = slices.Insert(model, 0, e)
		}
		if got := slices.Collect(list.All()); !slices.Equal(got, model) || list.Len() != len(model) {
			t.Fatalf("%d elements, want %d, or in another order", len(got), len(model))
		}
		if e.link.In() != slices.Contains(model, e) {
			t.Fatalf("element %d: in a list %v", e.number, e.link.In())
		}
	}
}

// A visit may remove the element that it is at, and end before the last.
func TestRemoveWhileVisiting(t *testing.T) {
	var list List[element]
	all := make([]element, 5)
	for i := range all {
		all[i].number = i
		list.Add(&all[i].link, &all[i])
	}
	for e := range list.All() {
		if e.number%2 == 0 {
			list.Remove(&e.link)
		}
		if e.number == 1 {
			break
		}
	}
	var left []int
	for e := range list.All() {
		left = append(left, e.number)
	}
	if !slices.Equal(left, []int{3, 1, 0}) {
		t.Errorf("left %v", left)
	}
}
