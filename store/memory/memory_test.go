package memory_test

import (
	"testing"

	"github.com/benchfs/benchfs/store"
	"github.com/benchfs/benchfs/store/memory"
	"github.com/benchfs/benchfs/store/storetest"
)

func open(t testing.TB, capacityBytes int64) store.Store {
	s, err := memory.New(memory.Options{CapacityBytes: capacityBytes})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) { storetest.Run(t, open) }

func TestDefaultCapacityIsHalfOfTheMemory(t *testing.T) {
	s := open(t, 0)
	if u := s.Usage(); u.CapacityBytes < 16<<20 || u.UsedBytes != 0 {
		t.Errorf("usage %+v", u)
	}
	storetest.Fill(t, s, 1, 0, 0, 10, 0, 1)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
