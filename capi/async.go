package main

// #include "shim.h"
import "C"

import "unsafe"

//export bfsgo_iread
func bfsgo_iread(fd C.int32_t, buf unsafe.Pointer, count C.size_t, offset C.int64_t) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	return C.int64_t(library.IRead(int32(fd), memory(buf, count), int64(offset)))
}

//export bfsgo_iwrite
func bfsgo_iwrite(fd C.int32_t, buf unsafe.Pointer, count C.size_t, offset C.int64_t) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	return C.int64_t(library.IWrite(int32(fd), memory(buf, count), int64(offset)))
}

//export bfsgo_test
func bfsgo_test(request C.int32_t, result *C.int64_t) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	return C.int64_t(library.Test(int32(request), (*int64)(result)))
}

//export bfsgo_wait
func bfsgo_wait(request C.int32_t) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	return C.int64_t(library.Wait(int32(request)))
}

//export bfsgo_waitall
func bfsgo_waitall(n C.int32_t, requests *C.int32_t, results *C.int64_t) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	var list []int64
	if results != nil {
		list = unsafe.Slice((*int64)(results), int(n))
	}
	return C.int64_t(library.WaitAll(unsafe.Slice((*int32)(requests), int(n)), list))
}

//export bfsgo_cancel
func bfsgo_cancel(request C.int32_t) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	return C.int64_t(library.Cancel(int32(request)))
}

//export bfsgo_mem_alloc
func bfsgo_mem_alloc(bytes C.size_t, where *unsafe.Pointer) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	return C.int64_t(library.MemAlloc(uint64(bytes), where))
}

//export bfsgo_mem_free
func bfsgo_mem_free(p unsafe.Pointer) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	return C.int64_t(library.MemFree(p))
}
