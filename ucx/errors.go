package ucx

/*
#include "bfs.h"
*/
import "C"

import (
	"syscall"

	"github.com/benchfs/benchfs/rpc"
)

// statusText is ucs_status_string.
func statusText(status int) string { return C.GoString(C.bfs_status_text(C.int(status))) }

// answers with an errno are ordinary outcomes (ENOENT on a lookup): they are not allocated one by one.
var errnoAnswers = func() (table [134]rpc.HandlerError) {
	for i := range table {
		table[i] = rpc.HandlerError{Status: rpc.StatusErrno, Code: syscall.Errno(i)}
	}
	return table
}()

var statusAnswers = func() (table [16]rpc.HandlerError) {
	for i := range table {
		table[i] = rpc.HandlerError{Status: rpc.Status(i)}
	}
	return table
}()

func answerError(status rpc.Status, errno uint32) error {
	switch {
	case status == rpc.StatusOK:
		return nil
	case status == rpc.StatusErrno && int(errno) < len(errnoAnswers):
		return &errnoAnswers[errno]
	case status != rpc.StatusErrno && int(status) < len(statusAnswers):
		return &statusAnswers[status]
	}
	return &rpc.HandlerError{Status: status, Code: syscall.Errno(errno)}
}

// callError says how a call without a usable reply ended.
func callError(outcome, status int, remote string) error {
	switch outcome {
	case C.BFS_TIMEOUT:
		return &rpc.Timeout{Remote: remote}
	case C.BFS_LOST:
		return &rpc.ConnectionError{Remote: remote, Reason: statusText(status)}
	case C.BFS_CLOSED:
		return &rpc.ConnectionError{Remote: remote, Reason: "closed at this end"}
	case C.BFS_TOO_LONG:
		return &rpc.InvalidHeader{Reason: "the payload of the reply is longer than was asked for"}
	}
	return &rpc.TransportError{Remote: remote, Reason: statusText(status)}
}
