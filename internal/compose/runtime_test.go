package compose

import (
	"runtime"
	"runtime/metrics"
	"testing"
	"time"
)

var kept []byte

// A small heap grows by so much before it is collected; one with much in use as GOGC says.
func TestCollectSeldom(t *testing.T) {
	t.Cleanup(func() { kept = nil })
	collectSeldom(clientGrowth)
	collections := func() uint32 {
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return s.NumGC
	}
	percent := func() uint64 {
		s := []metrics.Sample{{Name: "/gc/gogc:percent"}}
		metrics.Read(s)
		return s[0].Value.Uint64()
	}
	waitFor := func(what string, done func() bool) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); !done(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: GOGC is %d", what, percent())
			}
			runtime.GC()
		}
	}
	waitFor("small heap", func() bool { return percent() > 300 })
	before := collections()
	for range clientGrowth / 2 >> 16 {
		kept = make([]byte, 1<<16)
	}
	if n := collections() - before; n != 0 {
		t.Errorf("%d collections in %d bytes", n, clientGrowth/2)
	}
	kept = make([]byte, 4*clientGrowth)
	waitFor("large heap", func() bool { return percent() == 100 })
	kept = nil
	waitFor("small heap again", func() bool { return percent() > 300 })
}
