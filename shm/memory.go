package shm

/*
#include "near.h"
*/
import "C"

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/benchfs/benchfs/rpc"
)

// Memory is what a client works with to read and write chunks of a shard in place: PROTOCOL.md, sections 3 to 5.
type Memory struct {
	View     *View
	Segments *Segments
	Huge     bool // segments are made of huge pages

	leave func()
}

// OwnMemory is that of a private board: for the shard's thread.
func OwnMemory(board *Board, client uint64, segment func(number uint32) []byte, segmentBytes int64) (*Memory, error) {
	view, err := board.View(client)
	if err != nil {
		return nil, err
	}
	return &Memory{View: view, Segments: OwnSegments(segment, segmentBytes), leave: func() {}}, nil
}

// Memory asks at the door of a shard's daemon for the shard's memory, for a client that is known by its number. EOPNOTSUPP: the shard has none to
// share with this process. write: segments are for writing as well. What is mapped of small pages is bounded by budget.
func (t *Transport) Memory(ctx context.Context, target rpc.Target, client uint64, write bool, budget *Budget) (*Memory, error) {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(dialAtMost)
	}
	d, err := t.enter(target, deadline)
	if err != nil {
		return nil, err
	}
	m, err := d.memory(target, client, write, budget, deadline)
	if err != nil {
		t.leave(d)
		return nil, err
	}
	m.leave = func() { t.leave(d) }
	return m, nil
}

func (d *door) memory(target rpc.Target, client uint64, write bool, budget *Budget, deadline time.Time) (*Memory, error) {
	var fds [3]C.int
	var bytes C.uint64_t
	var flags C.uint32_t
	shard := C.uint32_t(target.Peer.Shard)
	errno := C.near_door_memory(d.c, shard, C.uint64_t(client), &fds[0], &bytes, &flags, C.int64_t(time.Until(deadline)))
	if errno != 0 {
		return nil, syscall.Errno(errno)
	}
	files := Files{Board: int(fds[0]), Records: int(fds[1]), Area: int(fds[2])}
	view, err := Attach(files, target.Incarnation)
	err = errors.Join(err, files.Close())
	if err != nil {
		return nil, err
	}
	how := C.uint32_t(0)
	if write {
		how = C.NEAR_WRITE
	}
	open := func(number uint32) (int, error) {
		var fd C.int
		if errno := C.near_door_segment(d.c, shard, C.uint32_t(number), how, &fd, C.int64_t(dialAtMost)); errno != 0 {
			return -1, syscall.Errno(errno)
		}
		return int(fd), nil
	}
	huge := flags&C.NEAR_HUGE != 0
	return &Memory{View: view, Segments: NewSegments(open, int64(bytes), write, huge, budget), Huge: huge}, nil
}

// Close unmaps it. No use may be in progress.
func (m *Memory) Close() error {
	err := errors.Join(m.Segments.Close(), m.View.Close())
	m.leave()
	return err
}
