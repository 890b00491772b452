package main

// #include "shim.h"
import "C"

import (
	"strings"
	"unsafe"

	"github.com/benchfs/benchfs/capi/bridge"
)

//export bfsgo_init
func bfsgo_init(in *C.struct_bfs_init) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	s := bridge.Settings{
		ConfigFile:  C.GoString(in.config_file),
		ConfigText:  C.GoString(in.config_text),
		Mode:        bridge.Mode(in.mode),
		Environment: environment(in.environment, in.environment_size),
		Process:     bridge.Process{UID: uint32(in.uid), GID: uint32(in.gid), Umask: uint32(in.umask)},
	}
	for _, g := range unsafe.Slice(in.groups, int(in.group_count)) {
		s.Process.Groups = append(s.Process.Groups, uint32(g))
	}
	return C.int64_t(library.Init(s, in.plain != 0, in.no_environment != 0))
}

// environment takes NAME=VALUE texts apart, each with its NUL.
func environment(p *C.char, n C.size_t) map[string]string {
	env := map[string]string{}
	for _, variable := range strings.Split(text(p, n), "\x00") {
		if name, value, ok := strings.Cut(variable, "="); ok {
			env[name] = value
		}
	}
	return env
}

//export bfsgo_finalize
func bfsgo_finalize() (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	return C.int64_t(library.Finalize())
}

//export bfsgo_is_distributed
func bfsgo_is_distributed() (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	return C.int64_t(library.Distributed())
}

//export bfsgo_stats
func bfsgo_stats(buf unsafe.Pointer, size C.size_t) (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	return C.int64_t(library.Stats(memory(buf, size)))
}

//export bfsgo_sync
func bfsgo_sync() (rc C.int64_t) {
	defer library.Guard((*int64)(&rc))
	return C.int64_t(library.Sync())
}
