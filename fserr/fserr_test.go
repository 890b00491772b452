package fserr_test

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"

	pkgerrors "github.com/pkg/errors"
	"go.uber.org/multierr"

	"github.com/benchfs/benchfs/fserr"
)

func TestErrno(t *testing.T) {
	base := fserr.New("open", "/a", syscall.ENOENT, nil)
	for _, c := range []struct {
		name  string
		err   error
		want  syscall.Errno
		known bool
	}{
		{"nil", nil, 0, true},
		{"plain errno", syscall.ENOSPC, syscall.ENOSPC, true},
		{"carrier", base, syscall.ENOENT, true},
		{"wrapped by fmt", fmt.Errorf("outer: %w", base), syscall.ENOENT, true},
		{"wrapped with a stack", pkgerrors.Wrap(syscall.EACCES, "walk"), syscall.EACCES, true},
		{"one of several", multierr.Append(errors.New("x"), syscall.EDQUOT), syscall.EDQUOT, true},
		{"the outer carrier decides", fserr.New("write", "/a", syscall.EIO, syscall.ENOENT), syscall.EIO, true},
		{"deadline", fmt.Errorf("call: %w", context.DeadlineExceeded), syscall.ETIMEDOUT, true},
		{"cancelled", context.Canceled, syscall.ECANCELED, true},
		{"internal outcome", pkgerrors.WithStack(fserr.ErrStaleView), syscall.EAGAIN, true},
		{"unknown", errors.New("no such file or directory"), syscall.EIO, false},
	} {
		if got := fserr.Errno(c.err); got != c.want {
			t.Errorf("%s: errno %d, want %d", c.name, got, c.want)
		}
		if got := fserr.Known(c.err); got != c.known {
			t.Errorf("%s: known %t, want %t", c.name, got, c.known)
		}
	}
}

func TestErrorText(t *testing.T) {
	err := &fserr.Error{Op: "open", Path: "/a\nb", Node: "node 3", Code: syscall.EHOSTUNREACH, Err: errors.New("no route")}
	const want = `open "/a\nb" at node 3: no route to host: no route`
	if err.Error() != want {
		t.Errorf("text %q, want %q", err.Error(), want)
	}
	if !errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENOENT) {
		t.Error("errors.Is does not see the errno")
	}
}
