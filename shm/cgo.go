package shm

/*
#cgo CFLAGS: -std=gnu11 -O2 -Wall -Wextra
#include "near.h"
*/
import "C"

import (
	"unsafe"

	"github.com/benchfs/benchfs/rpc"
)

// near.h and package rpc describe the same frames: what differs does not compile.
const (
	_ = uint(rpc.HeaderBytes+rpc.MaxBody-C.NEAR_FRAME_BYTES) + uint(C.NEAR_FRAME_BYTES-rpc.HeaderBytes-rpc.MaxBody)
)

// pointer is the address of a buffer for C.
func pointer(b []byte) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(b)) }
