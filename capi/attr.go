package main

// #include "shim.h"
import "C"

import (
	"unsafe"

	"github.com/benchfs/benchfs/capi/bridge"
)

func timespec(t bridge.Timespec) C.struct_timespec {
	return C.struct_timespec{tv_sec: C.time_t(t.Sec), tv_nsec: C.long(t.Nsec)}
}

// putStat fills all of *st.
func putStat(st *C.struct_stat, s *bridge.Stat) {
	*st = C.struct_stat{
		st_dev:     bridge.Device,
		st_ino:     C.ino_t(s.Ino),
		st_mode:    C.mode_t(s.Mode),
		st_nlink:   C.nlink_t(s.Nlink),
		st_uid:     C.uid_t(s.UID),
		st_gid:     C.gid_t(s.GID),
		st_size:    C.off_t(s.Size),
		st_blksize: C.blksize_t(s.BlockSize),
		st_blocks:  C.blkcnt_t(s.Blocks),
		st_atim:    timespec(s.Atime),
		st_mtim:    timespec(s.Mtime),
		st_ctim:    timespec(s.Ctime),
	}
}

//export bfsgo_stat
func bfsgo_stat(dirfd C.int32_t, path *C.char, n C.size_t, st *C.struct_stat, flags C.int32_t) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	var s bridge.Stat
	if rc = C.int64_t(library.StatAt(int32(dirfd), text(path, n), int32(flags), &s)); rc == 0 {
		putStat(st, &s)
	}
	return rc
}

//export bfsgo_fstat
func bfsgo_fstat(fd C.int32_t, st *C.struct_stat) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	var s bridge.Stat
	if rc = C.int64_t(library.Fstat(int32(fd), &s)); rc == 0 {
		putStat(st, &s)
	}
	return rc
}

func putStatfs(sv *C.struct_statvfs, s *bridge.Statfs) {
	*sv = C.struct_statvfs{
		f_bsize:   C.ulong(s.BlockSize),
		f_frsize:  C.ulong(s.BlockSize),
		f_blocks:  C.fsblkcnt_t(s.Blocks),
		f_bfree:   C.fsblkcnt_t(s.Free),
		f_bavail:  C.fsblkcnt_t(s.Free),
		f_files:   C.fsfilcnt_t(s.Files),
		f_ffree:   C.fsfilcnt_t(s.FilesFree),
		f_favail:  C.fsfilcnt_t(s.FilesFree),
		f_fsid:    C.ulong(s.FsID),
		f_namemax: C.ulong(s.MaxNameBytes),
	}
}

//export bfsgo_statfs
func bfsgo_statfs(path *C.char, n C.size_t, sv *C.struct_statvfs) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	var s bridge.Statfs
	if rc = C.int64_t(library.Statfs(text(path, n), &s)); rc == 0 {
		putStatfs(sv, &s)
	}
	return rc
}

//export bfsgo_fstatfs
func bfsgo_fstatfs(fd C.int32_t, sv *C.struct_statvfs) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	var s bridge.Statfs
	if rc = C.int64_t(library.Fstatfs(int32(fd), &s)); rc == 0 {
		putStatfs(sv, &s)
	}
	return rc
}

//export bfsgo_access
func bfsgo_access(dirfd C.int32_t, path *C.char, n C.size_t, mode, flags C.int32_t) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	return C.int64_t(library.AccessAt(int32(dirfd), text(path, n), int32(mode), int32(flags)))
}

//export bfsgo_chmod
func bfsgo_chmod(dirfd C.int32_t, path *C.char, n C.size_t, mode C.uint32_t, flags C.int32_t) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	return C.int64_t(library.ChmodAt(int32(dirfd), text(path, n), uint32(mode), int32(flags)))
}

//export bfsgo_fchmod
func bfsgo_fchmod(fd C.int32_t, mode C.uint32_t) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	return C.int64_t(library.Fchmod(int32(fd), uint32(mode)))
}

//export bfsgo_chown
func bfsgo_chown(dirfd C.int32_t, path *C.char, n C.size_t, uid, gid C.uint32_t, flags C.int32_t) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	return C.int64_t(library.ChownAt(int32(dirfd), text(path, n), uint32(uid), uint32(gid), int32(flags)))
}

//export bfsgo_fchown
func bfsgo_fchown(fd C.int32_t, uid, gid C.uint32_t) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	return C.int64_t(library.Fchown(int32(fd), uint32(uid), uint32(gid)))
}

// times reads the two of C; NULL means now.
func times(p *C.struct_timespec) [2]bridge.Timespec {
	if p == nil {
		return bridge.Now
	}
	var out [2]bridge.Timespec
	for i, t := range unsafe.Slice(p, 2) {
		out[i] = bridge.Timespec{Sec: int64(t.tv_sec), Nsec: int64(t.tv_nsec)}
	}
	return out
}

//export bfsgo_utimens
func bfsgo_utimens(dirfd C.int32_t, path *C.char, n C.size_t, t *C.struct_timespec, flags C.int32_t) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	return C.int64_t(library.UtimensAt(int32(dirfd), text(path, n), times(t), int32(flags)))
}

//export bfsgo_futimens
func bfsgo_futimens(fd C.int32_t, t *C.struct_timespec) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	return C.int64_t(library.Futimens(int32(fd), times(t)))
}
