package uring_test

import (
	"testing"

	"github.com/benchfs/benchfs/store"
	"github.com/benchfs/benchfs/store/storetest"
	"github.com/benchfs/benchfs/store/uring"
)

func options(dir string, capacityBytes int64) uring.Options {
	return uring.Options{Dir: dir, Name: "node0-shard0", CapacityBytes: capacityBytes, SegmentBytes: 64 << 20}
}

func open(t testing.TB, dir string, capacityBytes int64) *uring.Store {
	t.Helper()
	s, err := uring.Open(options(dir, capacityBytes))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t testing.TB, capacityBytes int64) store.Store { return open(t, t.TempDir(), capacityBytes) })
}

// Few requests at a time, few buffers, and much in flight.
func TestManyInFlight(t *testing.T) {
	for name, change := range map[string]func(o *uring.Options){
		"roomy":  func(*uring.Options) {},
		"narrow": func(o *uring.Options) { o.BufferBytes = 512 << 10; uring.SetDepth(o, 4) },
	} {
		t.Run(name, func(t *testing.T) {
			var failing bool
			storetest.RunDevice(t, func(t testing.TB, capacityBytes int64) store.Store {
				o := options(t.TempDir(), capacityBytes)
				change(&o)
				s, err := uring.Open(o)
				if err != nil {
					t.Fatal(err)
				}
				s.Meddle(&failing)
				return s
			}, &failing)
		})
	}
}
