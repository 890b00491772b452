package main

// #include "shim.h"
import "C"

import (
	"syscall"
	"unsafe"
)

//export bfsgo_open
func bfsgo_open(dirfd C.int32_t, path *C.char, n C.size_t, flags C.int32_t, mode C.uint32_t) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	return C.int64_t(library.Open(int32(dirfd), text(path, n), int32(flags), uint32(mode)))
}

//export bfsgo_open_inode
func bfsgo_open_inode(ino C.uint64_t, flags C.int32_t) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	return C.int64_t(library.OpenInode(uint64(ino), int32(flags)))
}

//export bfsgo_close
func bfsgo_close(fd C.int32_t) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	return C.int64_t(library.Close(int32(fd)))
}

//export bfsgo_dup
func bfsgo_dup(fd C.int32_t) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	return C.int64_t(library.Dup(int32(fd)))
}

//export bfsgo_lseek
func bfsgo_lseek(fd C.int32_t, offset C.int64_t, whence C.int32_t) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	return C.int64_t(library.Seek(int32(fd), int64(offset), int32(whence)))
}

//export bfsgo_read
func bfsgo_read(fd C.int32_t, buf unsafe.Pointer, count C.size_t) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	return C.int64_t(library.Read(int32(fd), memory(buf, count)))
}

//export bfsgo_write
func bfsgo_write(fd C.int32_t, buf unsafe.Pointer, count C.size_t) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	return C.int64_t(library.Write(int32(fd), memory(buf, count)))
}

//export bfsgo_pread
func bfsgo_pread(fd C.int32_t, buf unsafe.Pointer, count C.size_t, offset C.int64_t) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	return C.int64_t(library.Pread(int32(fd), memory(buf, count), int64(offset)))
}

//export bfsgo_pwrite
func bfsgo_pwrite(fd C.int32_t, buf unsafe.Pointer, count C.size_t, offset C.int64_t) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	return C.int64_t(library.Pwrite(int32(fd), memory(buf, count), int64(offset)))
}

// vector is C's struct iovec array as Go's.
func vector(iov unsafe.Pointer, n C.int32_t) []syscall.Iovec {
	return unsafe.Slice((*syscall.Iovec)(iov), int(n))
}

//export bfsgo_readv
func bfsgo_readv(fd C.int32_t, iov unsafe.Pointer, iovcnt C.int32_t) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	return C.int64_t(library.Readv(int32(fd), vector(iov, iovcnt)))
}

//export bfsgo_writev
func bfsgo_writev(fd C.int32_t, iov unsafe.Pointer, iovcnt C.int32_t) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	return C.int64_t(library.Writev(int32(fd), vector(iov, iovcnt)))
}

//export bfsgo_preadv
func bfsgo_preadv(fd C.int32_t, iov unsafe.Pointer, iovcnt C.int32_t, offset C.int64_t) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	return C.int64_t(library.Preadv(int32(fd), vector(iov, iovcnt), int64(offset)))
}

//export bfsgo_pwritev
func bfsgo_pwritev(fd C.int32_t, iov unsafe.Pointer, iovcnt C.int32_t, offset C.int64_t) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	return C.int64_t(library.Pwritev(int32(fd), vector(iov, iovcnt), int64(offset)))
}

//export bfsgo_fsync
func bfsgo_fsync(fd C.int32_t, dataOnly C.int32_t) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	return C.int64_t(library.Fsync(int32(fd), dataOnly != 0))
}

//export bfsgo_truncate
func bfsgo_truncate(path *C.char, n C.size_t, size C.int64_t) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	return C.int64_t(library.Truncate(text(path, n), int64(size)))
}

//export bfsgo_ftruncate
func bfsgo_ftruncate(fd C.int32_t, size C.int64_t) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	return C.int64_t(library.Ftruncate(int32(fd), int64(size)))
}

//export bfsgo_fallocate
func bfsgo_fallocate(fd C.int32_t, mode C.int32_t, offset, length C.int64_t) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	return C.int64_t(library.Fallocate(int32(fd), int32(mode), int64(offset), int64(length)))
}
