package ucx

/*
#cgo CFLAGS: -std=c11 -O2 -Wall -Wextra
#cgo LDFLAGS: -ldl -lpthread
#include <stdlib.h>
#include "bfs.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"sync"
	"syscall"
	"unsafe"

	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/rpc"
)

// bfs.h and package rpc describe the same frames: what differs does not compile.
const (
	_ = uint(rpc.ProtocolVersion-C.BFS_VERSION) + uint(C.BFS_VERSION-rpc.ProtocolVersion)
	_ = uint(rpc.HeaderBytes-C.BFS_HEADER_BYTES) + uint(C.BFS_HEADER_BYTES-rpc.HeaderBytes)
	_ = uint(rpc.HeaderBytes+rpc.MaxBody-C.BFS_FRAME_BYTES) + uint(C.BFS_FRAME_BYTES-rpc.HeaderBytes-rpc.MaxBody)
)

// Defaults of Config.
const (
	DefaultRendezvousBytes    = 32 << 10
	DefaultRendezvousTCPBytes = 256 << 10
	DefaultSpinPolls          = 1
	DefaultEndpoints          = 64
)

// Config holds the few settings of UCX and of waiting. The zero value of each field is its default.
type Config struct {
	Transports string // as UCX_TLS: "tcp", "shm,tcp", …; empty: the environment's, or UCX's choice but for shared memory
	NetDevices string // as UCX_NET_DEVICES; empty: all

	// RendezvousBytes: payloads of at least so many bytes are moved by rendezvous, smaller ones inside the message.
	RendezvousBytes uint64
	// RendezvousTCPBytes is the same for peers that are reached by TCP alone, where a rendezvous costs a round trip and
	// saves no copy.
	RendezvousTCPBytes uint64

	// SpinPolls is how often a thread that waits looks in vain before it sleeps in the kernel.
	SpinPolls uint32

	// Endpoints is how many peers a worker expects. UCX goes over to unreliable datagrams on fabrics where it exceeds
	// what reliable connections scale to (256), and those must never carry bulk data: it is capped below.
	Endpoints uint32
}

func (c Config) withDefaults() Config {
	if c.RendezvousBytes == 0 {
		c.RendezvousBytes = DefaultRendezvousBytes
	}
	if c.RendezvousTCPBytes == 0 {
		c.RendezvousTCPBytes = DefaultRendezvousTCPBytes
	}
	if c.SpinPolls == 0 {
		c.SpinPolls = DefaultSpinPolls
	}
	if c.Endpoints == 0 {
		c.Endpoints = DefaultEndpoints
	}
	c.Endpoints = min(c.Endpoints, 256)
	return c
}

// Context is the process's hold on UCX: transports and devices are chosen once. Many transports and servers share one.
type Context struct {
	c      *C.bfs_context
	config Config
}

// load loads UCX's libraries, once a process.
var load = sync.OnceValue(func() error {
	var reason [512]C.char
	if C.bfs_ucx_load(&reason[0], C.size_t(len(reason))) != 0 {
		return fserr.New("loading UCX", "", syscall.ENOPKG, errors.New(C.GoString(&reason[0])))
	}
	return nil
})

// NewContext loads UCX, if nobody has yet, and starts it (ucp_init). Without UCX's libraries the error is ENOPKG. It reads UCX_* from the environment for what Config leaves open.
func NewContext(config Config) (*Context, error) {
	if err := load(); err != nil {
		return nil, err
	}
	config = config.withDefaults()
	transports, devices := C.CString(config.Transports), C.CString(config.NetDevices)
	defer C.free(unsafe.Pointer(transports))
	defer C.free(unsafe.Pointer(devices))
	c := (*C.bfs_context)(C.calloc(1, C.sizeof_bfs_context))
	if status := C.bfs_context_open(c, transports, devices, C.uint32_t(config.Endpoints)); status != C.UCS_OK {
		C.free(unsafe.Pointer(c))
		return nil, fmt.Errorf("starting UCX: %w", &rpc.TransportError{Remote: "UCX", Reason: statusText(int(status))})
	}
	return &Context{c: c, config: config}, nil
}

// Close ends UCX (ucp_cleanup). All transports and servers of the context must be closed before.
func (c *Context) Close() error {
	if c.c != nil {
		C.bfs_context_close(c.c)
		C.free(unsafe.Pointer(c.c))
		c.c = nil
	}
	return nil
}
