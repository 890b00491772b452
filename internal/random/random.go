// Package random draws random numbers from the kernel. crypto/rand does too, but sets a timer, and with it starts Go's poller in the host process.
package random

import (
	"cmp"
	"encoding/binary"
	"syscall"

	"github.com/pkg/errors"
	"golang.org/x/sys/unix"
)

// Read fills b, of at most 256 bytes.
func Read(b []byte) error {
	for {
		n, err := unix.Getrandom(b, 0)
		switch {
		case err == unix.EINTR:
		case err != nil || n != len(b):
			return errors.Wrap(cmp.Or(err, error(syscall.EIO)), "random numbers")
		default:
			return nil
		}
	}
}

// ID draws a number that is not 0: a client's, an incarnation.
func ID() (uint64, error) {
	var b [8]byte
	for {
		if err := Read(b[:]); err != nil {
			return 0, err
		}
		if id := binary.LittleEndian.Uint64(b[:]); id != 0 {
			return id, nil
		}
	}
}
