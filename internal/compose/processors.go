package compose

import "runtime"

// atLeast makes sure that Go's runtime, which is this library's own, has so many processors (P). A thread keeps one while it is in C: while it
// waits for its answers, and after its call as well, until somebody wants it. So does a shard that polls. Whoever wants one beyond that waits for
// Go's monitor to take it from somebody, which can be milliseconds. They cost some kilobytes each, and no thread before there is work
// for it; but each garbage collection uses a quarter of them, so they are not many.
func atLeast(processors int) {
	if runtime.GOMAXPROCS(0) < processors {
		runtime.GOMAXPROCS(processors)
	}
}
