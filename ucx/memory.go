package ucx

/*
#include "bfs.h"
*/
import "C"

import (
	"time"
	"unsafe"

	"github.com/benchfs/benchfs/rpc"
)

// Memory is registered with UCX for one-sided access by other processes.
type Memory struct {
	context *Context
	c       C.bfs_memory
}

// NewMemory allocates bytes of zeroed memory of a kind that UCX can share with other processes (ucp_mem_map).
func (c *Context) NewMemory(bytes int) (*Memory, error) { return c.newMemory(nil, bytes) }

// Register registers memory that exists; it must not lie in the Go heap, and must stay until Close.
func (c *Context) Register(memory []byte) (*Memory, error) {
	return c.newMemory(pointer(memory), len(memory))
}

func (c *Context) newMemory(address unsafe.Pointer, bytes int) (*Memory, error) {
	m := &Memory{context: c}
	if bytes <= 0 {
		return nil, &rpc.TransportError{Remote: "UCX", Reason: "no memory to register"}
	}
	if status := C.bfs_memory_open(c.c, address, C.size_t(bytes), &m.c); status != C.UCS_OK {
		return nil, &rpc.TransportError{Remote: "UCX", Reason: statusText(int(status))}
	}
	return m, nil
}

// Bytes is the memory itself, good until Close.
func (m *Memory) Bytes() []byte { return unsafe.Slice((*byte)(m.c.address), int(m.c.bytes)) }

// Region is what another process needs to reach the memory.
func (m *Memory) Region() Region {
	return Region{
		Address: uint64(uintptr(m.c.address)),
		Length:  uint64(m.c.bytes),
		Key:     C.GoBytes(m.c.key, C.int(m.c.key_bytes)),
	}
}

// Close ends the registration, and frees what NewMemory allocated.
func (m *Memory) Close() error {
	if m.c.handle != nil {
		C.bfs_memory_close(m.context.c, &m.c)
		m.c = C.bfs_memory{}
	}
	return nil
}

// Region describes a Memory of another process: its address there, and the packed key (ucp_rkey_pack).
type Region struct {
	Address uint64
	Length  uint64
	Key     []byte
}

// RemoteKey gives access to a Region over one Link.
type RemoteKey struct {
	link   *Link
	region Region
	rkey   C.ucp_rkey_h
}

// Attach unpacks a region's key for this link (ucp_ep_rkey_unpack).
func (l *Link) Attach(region Region) (*RemoteKey, error) {
	if len(region.Key) == 0 {
		return nil, &rpc.InvalidHeader{Reason: "a region without a key"}
	}
	k := &RemoteKey{link: l, region: region}
	var rkey C.ucp_rkey_h
	if status := C.bfs_rkey_open(l.c, pointer(region.Key), &rkey); status != C.UCS_OK {
		return nil, &rpc.TransportError{Remote: l.info.Remote, Reason: statusText(int(status))}
	}
	k.rkey = rkey
	return k, nil
}

// Put writes src to offset of the region; when it returns without an error, the bytes are there.
func (k *RemoteKey) Put(deadline time.Time, offset uint64, src []byte) error {
	if err := k.move(deadline, offset, src, C.BFS_CALL_PUT); err != nil {
		return err
	}
	outcome, status, err := k.link.operate(deadline, func(c *C.bfs_call) { c.kind = C.BFS_CALL_FLUSH })
	return k.result(outcome, status, err)
}

// Get reads len(dst) bytes from offset of the region.
func (k *RemoteKey) Get(deadline time.Time, offset uint64, dst []byte) error {
	return k.move(deadline, offset, dst, C.BFS_CALL_GET)
}

func (k *RemoteKey) move(deadline time.Time, offset uint64, b []byte, kind C.int32_t) error {
	switch n := uint64(len(b)); {
	case offset > k.region.Length || n > k.region.Length-offset:
		return &rpc.InvalidHeader{Reason: "outside of the region"}
	case k.rkey == nil:
		return &rpc.ConnectionError{Remote: k.link.info.Remote, Reason: "the key is closed"}
	case n == 0:
		return nil
	}
	outcome, status, err := k.link.operate(deadline, func(c *C.bfs_call) {
		c.kind, c.rkey, c.remote_address = kind, k.rkey, C.uint64_t(k.region.Address+offset)
		if kind == C.BFS_CALL_PUT {
			c.out, c.out_bytes = pointer(b), C.uint64_t(len(b))
		} else {
			c.in, c.in_bytes = pointer(b), C.uint64_t(len(b))
		}
	})
	return k.result(outcome, status, err)
}

func (k *RemoteKey) result(outcome, status int, err error) error {
	if err != nil || outcome == C.BFS_DONE {
		return err
	}
	return callError(outcome, status, k.link.info.Remote)
}

// Close forgets the key. Not while a Put or Get is under way.
func (k *RemoteKey) Close() error {
	if k.rkey != nil {
		C.bfs_rkey_close(k.link.c.client, k.rkey)
		k.rkey = nil
	}
	return nil
}
