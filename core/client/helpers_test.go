package client

import (
	"syscall"

	"github.com/benchfs/benchfs/fserr"
)

func isErrno(err error, code syscall.Errno) bool { return err != nil && fserr.Errno(err) == code }
