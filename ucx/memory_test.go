package ucx

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/benchfs/benchfs/rpc"
)

func TestPutAndGet(t *testing.T) {
	for _, tls := range []string{"", "tcp"} {
		t.Run("tls="+tls, func(t *testing.T) {
			var env []string
			if tls != "" {
				env = append(env, "UCX_TLS="+tls)
			}
			s := startServer(t, env...)
			c := connect(t, newTransport(t, Config{Transports: tls}), s.target())
			key, err := c.link.(*Link).Attach(s.region)
			if err != nil {
				t.Fatal(err)
			}
			defer key.Close()
			deadline := time.Now().Add(soon)
			out, in := c.memory(1<<20), c.memory(1<<20)
			for _, n := range []int{0, 1, 8, 4096, 100001, 1 << 20} {
				fillPattern(out[:n], uint32(n))
				offset := uint64(1<<20 - n)
				if err := key.Put(deadline, offset, out[:n]); err != nil {
					t.Fatalf("put of %d bytes: %v", n, err)
				}
				clear(in)
				if err := key.Get(deadline, offset, in[:n]); err != nil {
					t.Fatalf("get of %d bytes: %v", n, err)
				}
				if !bytes.Equal(out[:n], in[:n]) {
					t.Fatalf("%d bytes came back changed", n)
				}
			}
			var invalid *rpc.InvalidHeader
			for _, c := range []struct{ offset, n uint64 }{{1 << 20, 1}, {1<<20 - 1, 2}, {1 << 63, 1}, {^uint64(0), 1}} {
				if err := key.Put(deadline, c.offset, out[:c.n]); !errors.As(err, &invalid) {
					t.Errorf("put of %d bytes at %d: %v", c.n, c.offset, err)
				}
				if err := key.Get(deadline, c.offset, in[:c.n]); !errors.As(err, &invalid) {
					t.Errorf("get of %d bytes at %d: %v", c.n, c.offset, err)
				}
			}
		})
	}
}

func TestMemory(t *testing.T) {
	tr := newTransport(t, Config{})
	b, err := tr.Alloc(12345)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Free(b)
	if uintptr(pointer(b))%4096 != 0 || len(b) != 12345 || !bytes.Equal(b, make([]byte, len(b))) {
		t.Error("not zeroed memory on a page boundary")
	}
	if _, err := tr.Alloc(0); err == nil {
		t.Error("an allocation of nothing succeeded")
	}
	m, err := tr.context.Register(b)
	if err != nil {
		t.Fatal(err)
	}
	if r := m.Region(); r.Length != 12345 || len(r.Key) == 0 {
		t.Errorf("region %+v", r)
	}
	m.Close()
}

func TestNothingIsAllocatedPerCall(t *testing.T) {
	c := connect(t, newTransport(t, Config{}), startServer(t).target())
	for _, n := range []int{0, 4 << 10, 256 << 10} {
		call := c.call(msgEcho, []byte("body"), c.memory(n + 1)[:n], c.memory(n + 1)[:n])
		calls := []*rpc.Call{call}
		deadline := time.Now().Add(soon)
		if allocs := testing.AllocsPerRun(100, func() {
			c.tr.Run(deadline, calls)
			if call.Err != nil {
				t.Fatal(call.Err)
			}
		}); allocs != 0 {
			t.Errorf("%d bytes: %v allocations a call", n, allocs)
		}
	}
}
