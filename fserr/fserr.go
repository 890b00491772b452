// Package fserr holds the errors that carry an errno, and the one function that decides which errno an error is.
//
// Every package below the C ABI returns ordinary Go errors and wraps them as it likes; the boundary calls [Errno] once.
// What belongs here: sentinels shared by several rooms and the mapping. What does not: errors of one room (those of rpc
// live in rpc and implement the Errno method).
package fserr

import (
	"context"
	"errors"
	"fmt"
	"syscall"
)

// Carrier is implemented by every error that knows its errno. It survives wrapping: [Errno] finds it with errors.As.
type Carrier interface {
	error
	Errno() syscall.Errno
}

// Error is a failed file system operation: which one, on what, at which node, and why.
// Code is what the C ABI returns (negated); Path and Node may be empty.
type Error struct {
	Op   string // the operation, in the words of the header: "open", "rename", …
	Path string // the path or file name involved, as the caller gave it
	Node string // the node that answered or failed to answer, e.g. "node 3 (10.0.0.7:7600)"
	Code syscall.Errno
	Err  error // the cause, or nil
}

// New returns an Error of the operation op on path with the given errno and cause (nil is allowed).
func New(op, path string, code syscall.Errno, cause error) *Error {
	return &Error{Op: op, Path: path, Code: code, Err: cause}
}

func (e *Error) Error() string {
	text := e.Op
	if e.Path != "" {
		text += fmt.Sprintf(" %q", e.Path)
	}
	if e.Node != "" {
		text += " at " + e.Node
	}
	text += ": " + e.Code.Error()
	if e.Err != nil && e.Err.Error() != e.Code.Error() {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap gives errors.Is and errors.As the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errno implements [Carrier].
func (e *Error) Errno() syscall.Errno { return e.Code }

// Is makes errors.Is(err, syscall.ENOENT) work on an *Error.
func (e *Error) Is(target error) bool {
	code, ok := target.(syscall.Errno)
	return ok && code == e.Code
}

// Internal outcomes that one room tells another and that never reach an application: each is mended by a retry above.
var (
	// ErrBusy: the name or inode is held by an operation over several shards; ask again after its decision.
	ErrBusy = errors.New("held by an operation in progress")
	// ErrStaleView: what the caller looked up before is no longer so; look again and retry.
	ErrStaleView = errors.New("the name space changed since it was looked up")
	// ErrStaleGeneration: the request carries an older (or unknown) truncate generation; refresh the attributes and retry.
	ErrStaleGeneration = errors.New("truncate generation out of date")
)

// Errno returns the errno of err: 0 for nil, the innermost answer of the outermost [Carrier] or syscall.Errno in its chain,
// ETIMEDOUT and ECANCELED for the context errors, and EIO for everything unknown.
func Errno(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	var carrier Carrier
	if errors.As(err, &carrier) {
		return carrier.Errno()
	}
	var code syscall.Errno
	if errors.As(err, &code) {
		return code
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return syscall.ETIMEDOUT
	case errors.Is(err, context.Canceled):
		return syscall.ECANCELED
	case errors.Is(err, ErrBusy), errors.Is(err, ErrStaleView), errors.Is(err, ErrStaleGeneration):
		return syscall.EAGAIN
	}
	return syscall.EIO
}

// Known reports whether err names its errno, that is, whether Errno did not fall back to EIO.
func Known(err error) bool {
	if err == nil {
		return true
	}
	var carrier Carrier
	var code syscall.Errno
	return errors.As(err, &carrier) || errors.As(err, &code) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) ||
		errors.Is(err, ErrBusy) || errors.Is(err, ErrStaleView) || errors.Is(err, ErrStaleGeneration)
}
