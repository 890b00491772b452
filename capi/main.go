// Command capi is libbenchfs.so: the C interface of BenchFS, built with -buildmode=c-shared (see the Makefile).
//
// include/benchfs.h is the contract. shim.c has its functions: argument checks that need no Go, the fork guard, the error text of each thread.
// They call the exports bfsgo_* of this package, a few lines each: C values to Go values and back. What there is to decide is decided
// in capi/bridge, which is tested without C; open.go joins the parts of a session.
package main

// #cgo CFLAGS: -std=gnu11 -Wall -Wextra -fvisibility=hidden -I${SRCDIR}/../include
// #include "shim.h"
import "C"

import (
	"unsafe"

	"github.com/benchfs/benchfs/capi/bridge"
)

// library is the one of this process.
var library = bridge.New(bridge.Hooks{Open: open, Report: report, Version: C.GoString(C.bfs_version_text())})

// main is never called; a c-shared library has to have it.
func main() {}

// report hands the text of the error that the current call returns to the thread that made it.
func report(text string) {
	C.bfs_set_error((*C.char)(unsafe.Pointer(unsafe.StringData(text))), C.size_t(len(text)))
}

// The exports take a path as pointer and length: shim.c has measured it.

func text(p *C.char, n C.size_t) string { return C.GoStringN(p, C.int(n)) }

// memory is the caller's buffer. It is C's: the garbage collector leaves it alone, and it must not be kept after the call.
func memory(p unsafe.Pointer, n C.size_t) []byte { return unsafe.Slice((*byte)(p), int(n)) }

// The first call of a thread makes it known to the runtime; this is for that (threads.c).
//
//export bfsgo_nothing
func bfsgo_nothing() {}
