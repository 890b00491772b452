package client_test

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/benchfs/benchfs/core/layout"
)

// TestNoAllocations: reads and writes inside the known size, at its end, and beyond it allocate nothing in steady state.
func TestNoAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for _, s := range []layout.Strategy{layout.RoundRobin, layout.Hash, layout.Local} {
		c := newCluster(t, 3, s, false)
		a := c.client(nil)
		f := open(t, a, "f", syscall.O_CREAT|syscall.O_RDWR)
		small, large := make([]byte, 4096), make([]byte, 3*chunk+100)
		writeAt(t, f, large, 0)
		writeAt(t, f, large, 0)
		size := int64(len(large))
		for what, fn := range map[string]func(){
			"read 4 KiB":            func() { _, _ = f.Pread(ctx, small, 5000) },
			"write 4 KiB":           func() { _, _ = f.Pwrite(ctx, small, 5000) },
			"read of several parts": func() { _, _ = f.Pread(ctx, large, 0) },
			"write in several":      func() { _, _ = f.Pwrite(ctx, large, 0) },
			"read over the end":     func() { _, _ = f.Pread(ctx, small, size-100) },
			"read behind the end":   func() { _, _ = f.Pread(ctx, small, size+100) },
		} {
			fn()
			if n := fewestAllocs(200, fn); n != 0 {
				t.Errorf("%v: %s: %v allocations", s, what, n)
			}
		}
		end := size
		if n := fewestAllocs(10, func() { _, _ = f.Pwrite(ctx, small[:100], end); end += 100 }); n != 0 && s != layout.Local {
			t.Errorf("%v: growing write: %v allocations", s, n)
		}
		ok(t, "close", f.Close(ctx))
	}
}

// fewestAllocs is how much memory a run of fn allocates, as the best of some tries: what runs beside it in the process is counted, too.
func fewestAllocs(runs int, fn func()) float64 {
	fewest := testing.AllocsPerRun(runs, fn)
	for range 4 {
		if fewest == 0 {
			break
		}
		fewest = min(fewest, testing.AllocsPerRun(runs, fn))
	}
	return fewest
}

func BenchmarkRead(b *testing.B)  { benchmarkTransfer(b, false) }
func BenchmarkWrite(b *testing.B) { benchmarkTransfer(b, true) }

func benchmarkTransfer(b *testing.B, write bool) {
	for _, size := range []int{4 << 10, 47008, 1 << 20} {
		b.Run(fmt.Sprintf("%d", size), func(b *testing.B) {
			c := newCluster(b, 2, layout.RoundRobin, false)
			a := c.client(nil)
			f := open(b, a, "f", syscall.O_CREAT|syscall.O_RDWR)
			const span = 8 << 20
			data := make([]byte, span)
			writeAt(b, f, data, 0)
			p := data[:size]
			b.SetBytes(int64(size))
			b.ReportAllocs()
			b.ResetTimer()
			off := int64(0)
			for range b.N {
				var err error
				if write {
					_, err = f.Pwrite(ctx, p, off)
				} else {
					_, err = f.Pread(ctx, p, off)
				}
				if err != nil {
					b.Fatal(err)
				}
				if off += int64(size); off+int64(size) > span {
					off = 0
				}
			}
			b.StopTimer()
			ok(b, "close", f.Close(ctx))
		})
	}
}

func BenchmarkCreateStatUnlink(b *testing.B) {
	c := newCluster(b, 1, layout.RoundRobin, false)
	a := c.client(nil)
	ok(b, "mkdir", a.Mkdir(ctx, 0, "d", 0o755))
	b.ReportAllocs()
	for i := range b.N {
		name := fmt.Sprintf("d/file.%d", i)
		f, err := a.Open(ctx, 0, name, syscall.O_CREAT|syscall.O_EXCL|syscall.O_WRONLY, 0o644)
		if err != nil {
			b.Fatal(err)
		}
		_ = f.Close(ctx)
		if _, err := a.Stat(ctx, 0, name, true); err != nil {
			b.Fatal(err)
		}
		if err := a.Unlink(ctx, 0, name); err != nil {
			b.Fatal(err)
		}
	}
}
