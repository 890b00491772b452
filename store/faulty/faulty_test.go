package faulty_test

import (
	"errors"
	"syscall"
	"testing"

	"github.com/benchfs/benchfs/store"
	"github.com/benchfs/benchfs/store/faulty"
	"github.com/benchfs/benchfs/store/memory"
	"github.com/benchfs/benchfs/store/storetest"
)

func open(t testing.TB, capacityBytes int64) store.Store {
	s, err := memory.New(memory.Options{CapacityBytes: capacityBytes})
	if err != nil {
		t.Fatal(err)
	}
	return faulty.Wrap(s, nil)
}

func TestWithoutAPlanItIsAStore(t *testing.T) { storetest.Run(t, open) }

func TestEachCallFailsAsPlanned(t *testing.T) {
	s := open(t, 1<<20).(*faulty.Store)
	storetest.Fill(t, s, 1, 0, 0, 10, 0, 1)
	calls := map[faulty.Call]func() error{
		faulty.View:     func() error { v, err := s.View(1, 0, 0, 10, 0); s.Release(v); return err },
		faulty.Begin:    func() error { w, err := s.Begin(1, 0, 0, 10, 0, 16); s.Abort(w); return err },
		faulty.Commit:   func() error { return storetest.Put(s, 1, 0, 0, []byte("x"), 0) },
		faulty.Reserve:  func() error { return s.Reserve(1, 0, 10, 0, 16) },
		faulty.Truncate: func() error { return s.Truncate(1, 0, 0, 16) },
		faulty.Purge:    func() error { return s.Purge(7) },
		faulty.Sync:     func() error { return s.Sync(1)() },
	}
	for name, call := range calls {
		s.SetPlan(faulty.Once(name, 1, syscall.EIO))
		for i, want := range []error{nil, syscall.EIO, nil} {
			if err := call(); !errors.Is(err, want) {
				t.Errorf("%s, call %d: %v, want %v", name, i, err, want)
			}
		}
		s.SetPlan(faulty.Always(name, syscall.ENOSPC))
		for range 2 {
			if err := call(); !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	s.SetPlan(nil)
	if err := s.Close(); err != nil {
		t.Errorf("something is still pinned: %v", err)
	}
}
