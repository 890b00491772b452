package rpc

import (
	"fmt"
	"syscall"

	"github.com/benchfs/benchfs/fserr"
)

// Status is how a request went, as its reply tells. It is never mixed with an errno: that has a field of its own.
type Status uint16

// The statuses of a reply.
const (
	StatusOK         Status = 0
	StatusErrno      Status = 1 // the handler failed: Header.Errno says how
	StatusInvalid    Status = 2 // header, body or bounds do not parse
	StatusUnknown    Status = 3 // unknown message type
	StatusNoSession  Status = 4 // session not known here (any more): connect again
	StatusStaleEpoch Status = 5 // the sender's cluster map is not the server's
	StatusBusy       Status = 6 // held by an operation in progress: ask again later
	StatusStaleView  Status = 7 // fserr.ErrStaleView
	StatusStaleGen   Status = 8 // fserr.ErrStaleGeneration
	StatusRefused    Status = 9 // handshake: secret, version, incarnation or limits do not match
)

func (s Status) String() string {
	names := [...]string{"ok", "errno", "invalid", "unknown type", "no session", "stale epoch", "busy", "stale view", "stale generation", "refused"}
	if int(s) < len(names) {
		return names[s]
	}
	return fmt.Sprintf("status %d", uint16(s))
}

// InvalidHeader: a frame that does not parse.
type InvalidHeader struct{ Reason string }

func (e *InvalidHeader) Error() string { return "invalid frame: " + e.Reason }

// Errno is EPROTO.
func (e *InvalidHeader) Errno() syscall.Errno { return syscall.EPROTO }

// TransportError: the network layer failed in the middle of a transfer.
type TransportError struct {
	Remote string // who was at the other end
	Reason string // in the transport's words, e.g. ucs_status_string
}

func (e *TransportError) Error() string {
	return fmt.Sprintf("transfer with %s: %s", e.Remote, e.Reason)
}

// Errno is EIO.
func (e *TransportError) Errno() syscall.Errno { return syscall.EIO }

// ConnectionError: a peer that cannot be reached, that refused the handshake, or that has gone.
type ConnectionError struct {
	Remote  string
	Reason  string
	Refused bool // the handshake was refused: another attempt will not help
}

func (e *ConnectionError) Error() string {
	return fmt.Sprintf("connection to %s: %s", e.Remote, e.Reason)
}

// Errno is EHOSTUNREACH, or ECONNREFUSED when the handshake was refused.
func (e *ConnectionError) Errno() syscall.Errno {
	if e.Refused {
		return syscall.ECONNREFUSED
	}
	return syscall.EHOSTUNREACH
}

// Timeout: no answer by the deadline.
type Timeout struct{ Remote string }

func (e *Timeout) Error() string { return "no answer from " + e.Remote + " by the deadline" }

// Errno is ETIMEDOUT.
func (e *Timeout) Errno() syscall.Errno { return syscall.ETIMEDOUT }

// HandlerError: the server answered, and the answer is no. Code is the server's errno (only with StatusErrno).
type HandlerError struct {
	Status Status
	Code   syscall.Errno
}

func (e *HandlerError) Error() string {
	if e.Status == StatusErrno {
		return e.Code.Error()
	}
	return "server answered: " + e.Status.String()
}

// Errno is the server's errno; EPROTO for answers that are a defect of the protocol, EAGAIN for those that a retry mends.
func (e *HandlerError) Errno() syscall.Errno {
	switch e.Status {
	case StatusErrno:
		return e.Code
	case StatusBusy, StatusStaleView, StatusStaleGen:
		return syscall.EAGAIN
	case StatusNoSession:
		return syscall.EHOSTUNREACH
	case StatusStaleEpoch:
		return syscall.ESTALE
	case StatusRefused:
		return syscall.ECONNREFUSED
	}
	return syscall.EPROTO
}

// Is lets errors.Is find the internal outcomes of fserr and the errno behind a HandlerError.
func (e *HandlerError) Is(target error) bool {
	switch e.Status {
	case StatusBusy:
		return target == fserr.ErrBusy
	case StatusStaleView:
		return target == fserr.ErrStaleView
	case StatusStaleGen:
		return target == fserr.ErrStaleGeneration
	case StatusErrno:
		code, ok := target.(syscall.Errno)
		return ok && code == e.Code
	}
	return false
}
