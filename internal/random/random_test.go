package random

import "testing"

func TestID(t *testing.T) {
	seen := map[uint64]bool{0: true}
	for range 1000 {
		id, err := ID()
		if err != nil || seen[id] {
			t.Fatal(id, err)
		}
		seen[id] = true
	}
}
