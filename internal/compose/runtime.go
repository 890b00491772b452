package compose

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

// Settings of Go's runtime, which is this library's own: that of a program in Go which links the library is another one.

// atLeast makes sure that the runtime has so many processors (P). A thread keeps one while it is in C: while it
// waits for its answers, and after its call as well, until somebody wants it. So does a shard that polls. Whoever wants one beyond that waits for
// Go's monitor to take it from somebody, which can be milliseconds. They cost some kilobytes each, and no thread before there is work
// for it; but each garbage collection uses a quarter of them, so they are not many.
func atLeast(processors int) {
	if runtime.GOMAXPROCS(0) < processors {
		runtime.GOMAXPROCS(processors)
	}
}

// What the heaps of a client and of a daemon grow by between two collections at least, bytes.
const (
	clientGrowth = 16 << 20
	daemonGrowth = 32 << 20
)

var seldom sync.Once

// collectSeldom lets the heap grow by so many bytes between two garbage collections, however little of it is in use; where more is, by
// what GOGC says. Our heaps are small: GOGC alone means a collection every some thousand files. And where threads poll on each core, as they do at
// work, one takes 2 to 5 ms for its 0.4 of computing, since the collector's threads and those that poll wait for one another.
func collectSeldom(growth int) {
	seldom.Do(func() {
		base := debug.SetGCPercent(-1)
		if base < 0 {
			return // GOGC=off
		}
		percent := percentFor(growth, 0, base)
		debug.SetGCPercent(percent)
		afterEachCollection(func() {
			live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
			metrics.Read(live)
			// Each change stops the world: small ones are not worth it.
			if next := percentFor(growth, live[0].Value.Uint64(), base); next-percent > percent/8 || percent-next > percent/8 {
				percent = next
				debug.SetGCPercent(percent)
			}
		})
	})
}

// percentFor is the GOGC with which a heap that has so many bytes in use grows by growth, or by base percent of it if that is more. The runtime
// takes every heap for one of 4 MiB at least.
func percentFor(growth int, live uint64, base int) int {
	return max(base, int(uint64(growth)*100/max(live, 4<<20)))
}

// afterEachCollection calls f, never twice at a time: f runs as the finalizer of something that nobody holds.
func afterEachCollection(f func()) {
	type nobodys struct{ _ *int }
	runtime.SetFinalizer(&nobodys{}, func(*nobodys) {
		f()
		afterEachCollection(f)
	})
}
