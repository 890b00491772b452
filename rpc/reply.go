package rpc

import "syscall"

// errnoErrors holds the HandlerError of every small errno, so that an answer such as ENOENT costs no memory.
var errnoErrors = func() (table [134]*HandlerError) {
	for i := range table {
		table[i] = &HandlerError{Status: StatusErrno, Code: syscall.Errno(i)}
	}
	return
}()

// statusErrors holds those of the statuses without an errno.
var statusErrors = func() (table [StatusRefused + 1]*HandlerError) {
	for i := range table {
		table[i] = &HandlerError{Status: Status(i)}
	}
	return
}()

// ReplyError is what a transport puts into Call.Err when a reply has come: nil for StatusOK, else a *HandlerError.
// An errno of 0 with StatusErrno is a defect of the server and becomes an *InvalidHeader: it must not pass for success.
func ReplyError(h *Header) error {
	switch {
	case h.Status == StatusOK:
		return nil
	case h.Status == StatusErrno && h.Errno == 0:
		return &InvalidHeader{Reason: "reply with an error that is none"}
	case h.Status == StatusErrno && int(h.Errno) < len(errnoErrors):
		return errnoErrors[h.Errno]
	case h.Status == StatusErrno:
		return &HandlerError{Status: StatusErrno, Code: syscall.Errno(h.Errno)}
	case int(h.Status) < len(statusErrors):
		return statusErrors[h.Status]
	}
	return &HandlerError{Status: h.Status}
}
