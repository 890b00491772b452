package ucx

import (
	"slices"
	"testing"
	"time"

	"github.com/benchfs/benchfs/rpc"
)

func benchEcho(b *testing.B, c *client, out, in int, msg rpc.MsgType, body []byte) {
	call := c.call(msg, body, c.memory(out + 1)[:out], c.memory(in + 1)[:in])
	calls := []*rpc.Call{call}
	times := make([]int64, 0, 1<<20)
	deadline := time.Now().Add(time.Hour)
	b.SetBytes(int64(out + in))
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		begin := time.Now()
		c.tr.Run(deadline, calls)
		if call.Err != nil {
			b.Fatal(call.Err)
		}
		if len(times) < cap(times) {
			times = append(times, int64(time.Since(begin)))
		}
	}
	b.StopTimer()
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)/2]), "p50-ns")
}

func BenchmarkRoundTrip(b *testing.B) {
	s := startServer(b)
	c := connect(b, newTransport(b, Config{}), s.target())
	b.Run("empty", func(b *testing.B) { benchEcho(b, c, 0, 0, msgEcho, nil) })
	b.Run("read4K", func(b *testing.B) { benchEcho(b, c, 0, 4<<10, msgRead, word(4<<10, 0)) })
	b.Run("write4K", func(b *testing.B) { benchEcho(b, c, 4<<10, 0, msgWrite, nil) })
	b.Run("echo16K", func(b *testing.B) { benchEcho(b, c, 16<<10, 16<<10, msgEcho, nil) })
	b.Run("read32K", func(b *testing.B) { benchEcho(b, c, 0, 32<<10, msgRead, word(32<<10, 0)) })
	b.Run("read64K", func(b *testing.B) { benchEcho(b, c, 0, 64<<10, msgRead, word(64<<10, 0)) })
	b.Run("read128K", func(b *testing.B) { benchEcho(b, c, 0, 128<<10, msgRead, word(128<<10, 0)) })
	b.Run("read1M", func(b *testing.B) { benchEcho(b, c, 0, 1<<20, msgRead, word(1<<20, 0)) })
	b.Run("read4M", func(b *testing.B) { benchEcho(b, c, 0, 4<<20, msgRead, word(4<<20, 0)) })
	b.Run("echo1M", func(b *testing.B) { benchEcho(b, c, 1<<20, 1<<20, msgEcho, nil) })
}
