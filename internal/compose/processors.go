package compose

import "runtime"

// atLeast makes sure that Go's runtime, which is this library's own, has so many processors (P). A thread keeps one while it waits in C
// for its answers, and a shard while it polls there. Whoever wants one beyond that waits for Go's monitor to take it from somebody, which can
// be milliseconds. They cost some kilobytes each, and no thread before there is work for it.
func atLeast(processors int) {
	if runtime.GOMAXPROCS(0) < processors {
		runtime.GOMAXPROCS(processors)
	}
}
