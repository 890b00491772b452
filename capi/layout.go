package main

// #include "shim.h"
import "C"

import (
	"unsafe"

	"github.com/benchfs/benchfs/capi/bridge"
	"github.com/benchfs/benchfs/core/client"
)

// putLayout fills all of *out but its size, which is the caller's.
func putLayout(out *C.struct_benchfs_layout, l *bridge.Layout) {
	out.chunk_bytes = C.uint64_t(l.ChunkBytes)
	out.strategy = C.uint32_t(l.Strategy)
	out.first_shard = C.uint32_t(l.First)
	out.shards = C.uint32_t(l.Shards)
	out.epoch = C.uint32_t(l.Epoch)
}

func layoutOf(in *C.struct_benchfs_layout) bridge.Layout {
	return bridge.Layout{ChunkBytes: uint64(in.chunk_bytes), Strategy: uint32(in.strategy)}
}

//export bfsgo_get_layout
func bfsgo_get_layout(path *C.char, n C.size_t, out *C.struct_benchfs_layout) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	var l bridge.Layout
	if rc = C.int64_t(library.GetLayout(text(path, n), &l)); rc == 0 {
		putLayout(out, &l)
	}
	return rc
}

//export bfsgo_fget_layout
func bfsgo_fget_layout(fd C.int32_t, out *C.struct_benchfs_layout) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	var l bridge.Layout
	if rc = C.int64_t(library.FgetLayout(int32(fd), &l)); rc == 0 {
		putLayout(out, &l)
	}
	return rc
}

//export bfsgo_set_layout
func bfsgo_set_layout(path *C.char, n C.size_t, in *C.struct_benchfs_layout) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	return C.int64_t(library.SetLayout(text(path, n), layoutOf(in)))
}

//export bfsgo_fset_layout
func bfsgo_fset_layout(fd C.int32_t, in *C.struct_benchfs_layout) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	return C.int64_t(library.FsetLayout(int32(fd), layoutOf(in)))
}

//export bfsgo_locate
func bfsgo_locate(fd C.int32_t, offset, length C.int64_t, extents *C.struct_benchfs_extent, room C.int32_t) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	out := unsafe.Slice(extents, max(int(room), 0))
	return C.int64_t(library.Locate(int32(fd), int64(offset), int64(length), len(out), func(i int, e *client.Extent) {
		out[i] = C.struct_benchfs_extent{
			offset: C.off_t(e.Offset), length: C.off_t(e.Length), node: C.uint32_t(e.Node), shard: C.uint32_t(e.Shard),
		}
	}))
}
