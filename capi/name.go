package main

// #include "shim.h"
import "C"

import "unsafe"

//export bfsgo_mkdir
func bfsgo_mkdir(dirfd C.int32_t, path *C.char, n C.size_t, mode C.uint32_t) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	return C.int64_t(library.Mkdir(int32(dirfd), text(path, n), uint32(mode)))
}

//export bfsgo_unlink
func bfsgo_unlink(dirfd C.int32_t, path *C.char, n C.size_t, flags C.int32_t) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	return C.int64_t(library.Unlink(int32(dirfd), text(path, n), int32(flags)))
}

//export bfsgo_rename
func bfsgo_rename(oldDirfd C.int32_t, oldPath *C.char, oldLen C.size_t, newDirfd C.int32_t, newPath *C.char, newLen C.size_t) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	return C.int64_t(library.Rename(int32(oldDirfd), text(oldPath, oldLen), int32(newDirfd), text(newPath, newLen)))
}

//export bfsgo_link
func bfsgo_link(oldDirfd C.int32_t, oldPath *C.char, oldLen C.size_t, newDirfd C.int32_t, newPath *C.char, newLen C.size_t, flags C.int32_t) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	return C.int64_t(library.Link(int32(oldDirfd), text(oldPath, oldLen), int32(newDirfd), text(newPath, newLen), int32(flags)))
}

//export bfsgo_symlink
func bfsgo_symlink(target *C.char, targetLen C.size_t, dirfd C.int32_t, path *C.char, n C.size_t) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	return C.int64_t(library.Symlink(text(target, targetLen), int32(dirfd), text(path, n)))
}

//export bfsgo_readlink
func bfsgo_readlink(dirfd C.int32_t, path *C.char, n C.size_t, buf unsafe.Pointer, size C.size_t) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	return C.int64_t(library.Readlink(int32(dirfd), text(path, n), memory(buf, size)))
}
