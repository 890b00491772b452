package main

// #include "shim.h"
import "C"

import "github.com/benchfs/benchfs/capi/bridge"

func lockOf(in *C.struct_benchfs_lock) bridge.Lock {
	return bridge.Lock{
		Owner: uint64(in.owner), Holder: uint64(in.holder), Start: int64(in.start), Length: int64(in.length),
		Type: int32(in._type), Kind: int32(in.kind), PID: int32(in.pid),
	}
}

//export bfsgo_lock
func bfsgo_lock(fd, op C.int32_t, lock *C.struct_benchfs_lock) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	l := lockOf(lock)
	if rc = C.int64_t(library.Lock(int32(fd), int32(op), &l)); rc == 0 && op == C.BENCHFS_LOCK_TEST {
		lock.owner, lock.holder = C.uint64_t(l.Owner), C.uint64_t(l.Holder)
		lock.start, lock.length = C.off_t(l.Start), C.off_t(l.Length)
		lock._type, lock.pid = C.int(l.Type), C.int(l.PID)
	}
	return rc
}

//export bfsgo_lock_begin
func bfsgo_lock_begin(fd C.int32_t, lock *C.struct_benchfs_lock, over *C.uint32_t) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	l := lockOf(lock)
	return C.int64_t(library.LockBegin(int32(fd), &l, func() { C.bfs_wake(over) }))
}

//export bfsgo_lock_end
func bfsgo_lock_end(id C.int64_t, cancel C.int32_t) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	return C.int64_t(library.LockEnd(int64(id), cancel != 0))
}

//export bfsgo_session
func bfsgo_session(session *C.uint64_t) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	*session = C.uint64_t(library.SessionID())
	return 0
}
