package main

// #include "shim.h"
import "C"

import (
	"syscall"

	"github.com/benchfs/benchfs/shm"
)

// Where the library works for the interposer, the descriptors that it keeps open are moved out of the program's way, and known to it: see
// preload/inner. What Go opens reaches the kernel directly, so it is handed over here.
func init() {
	if C.bfs_descriptors_are_watched() == 0 {
		return
	}
	shm.KeepDescriptor = func(fd int) int { return int(C.bfs_keep_descriptor(C.int(fd))) }
	shm.CloseDescriptor = func(fd int) error {
		if errno := C.bfs_close_descriptor(C.int(fd)); errno != 0 {
			return syscall.Errno(errno)
		}
		return nil
	}
}
