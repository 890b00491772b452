package compose_test

import (
	"context"
	"strconv"
	"syscall"
	"testing"
)

// BenchmarkRead and BenchmarkWrite go through the whole stack inside one process: over the in-process transport, and over
// UCX to a daemon's shard that runs beside.
func benchmarkData(b *testing.B, write bool) {
	for _, front := range []string{"embedded", "ucx"} {
		for _, size := range []int{4 << 10, 1 << 20} {
			b.Run(front+"/"+strconv.Itoa(size), func(b *testing.B) {
				settings := map[string]string{}
				if front == "ucx" {
					settings = startDaemons(b, 1, 1, 1)
				}
				c, end := open(b, settings)
				defer shut(b, c, end)
				ctx := context.Background()
				p, err := c.Alloc(size)
				if err != nil {
					b.Fatal(err)
				}
				defer c.Free(p)
				f, err := c.Open(ctx, 0, "/f", syscall.O_CREAT|syscall.O_RDWR, 0o644)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := f.Pwrite(ctx, p, 0); err != nil {
					b.Fatal(err)
				}
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					n := 0
					if write {
						n, err = f.Pwrite(ctx, p, 0)
					} else {
						n, err = f.Pread(ctx, p, 0)
					}
					if err != nil || n != size {
						b.Fatal(n, err)
					}
				}
				if err := f.Close(ctx); err != nil {
					b.Error(err)
				}
			})
		}
	}
}

func BenchmarkRead(b *testing.B)  { benchmarkData(b, false) }
func BenchmarkWrite(b *testing.B) { benchmarkData(b, true) }
