package ucx

import (
	"bytes"
	"testing"
	"time"

	"github.com/benchfs/benchfs/rpc"
)

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
