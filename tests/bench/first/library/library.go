// Command library is the smallest Go library for C programs: it answers one call. What a program pays for it is what Go's runtime costs, and the
// limit of what a program pays for libbenchfs.
package main

import "C"

//export bench_answer
func bench_answer() C.int { return 0 }

func main() {}
