package main

// #include "shim.h"
import "C"

import (
	"unsafe"

	"github.com/benchfs/benchfs/capi/bridge"
)

// putEntry fills all of *out. A name has at most 255 bytes: core/client sees to that.
func putEntry(out *C.struct_benchfs_dirent, e *bridge.Entry) {
	*out = C.struct_benchfs_dirent{
		ino:       C.uint64_t(e.Ino),
		cookie:    C.off_t(e.Cookie),
		kind:      C.uint32_t(e.Kind),
		name_size: C.uint32_t(len(e.Name)),
	}
	name := unsafe.Slice((*byte)(unsafe.Pointer(&out.name[0])), len(out.name)-1)
	copy(name, e.Name)
}

//export bfsgo_opendir
func bfsgo_opendir(path *C.char, n C.size_t) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	return C.int64_t(library.OpenDir(text(path, n)))
}

//export bfsgo_fdopendir
func bfsgo_fdopendir(fd C.int32_t) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	return C.int64_t(library.FdOpenDir(int32(fd)))
}

//export bfsgo_readdir
func bfsgo_readdir(dir C.int32_t, out *C.struct_benchfs_dirent) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	var e bridge.Entry
	if rc = C.int64_t(library.ReadDir(int32(dir), &e)); rc == 1 {
		putEntry(out, &e)
	}
	return rc
}

//export bfsgo_readdir_many
func bfsgo_readdir_many(dir C.int32_t, entries *C.struct_benchfs_direntplus, count C.int32_t) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	out := unsafe.Slice(entries, max(int(count), 0))
	return C.int64_t(library.ReadDirMany(int32(dir), int32(count), func(i int, e *bridge.Entry, st *bridge.Stat) {
		putEntry(&out[i].entry, e)
		putStat(&out[i].st, st)
	}))
}

//export bfsgo_telldir
func bfsgo_telldir(dir C.int32_t) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	return C.int64_t(library.TellDir(int32(dir)))
}

//export bfsgo_seekdir
func bfsgo_seekdir(dir C.int32_t, cookie C.int64_t) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	return C.int64_t(library.SeekDir(int32(dir), int64(cookie)))
}

//export bfsgo_closedir
func bfsgo_closedir(dir C.int32_t) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	return C.int64_t(library.CloseDir(int32(dir)))
}
