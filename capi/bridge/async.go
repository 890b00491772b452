package bridge

import (
	"syscall"

	"github.com/pkg/errors"

	"github.com/benchfs/benchfs/core/client"
	"github.com/benchfs/benchfs/fserr"
)

// noRequest is the handle of no request: BENCHFS_REQUEST_NULL.
const noRequest int32 = -1

// IRead begins a Pread and returns the handle of the request.
func (l *Library) IRead(fd int32, p []byte, off int64) int64 {
	return l.start("iread", fd, func(f *client.File) (*client.Request, error) { return f.StartRead(p, off) })
}

// IWrite begins a Pwrite, likewise.
func (l *Library) IWrite(fd int32, p []byte, off int64) int64 {
	return l.start("iwrite", fd, func(f *client.File) (*client.Request, error) { return f.StartWrite(p, off) })
}

func (l *Library) start(op string, fd int32, begin func(f *client.File) (*client.Request, error)) int64 {
	c, err := l.begin(op)
	if err != nil {
		return l.fail(err)
	}
	defer c.end()
	f, err := c.file(fd)
	if err != nil {
		return l.fail(err)
	}
	r, err := begin(f)
	if err != nil {
		return l.fail(err)
	}
	return c.insert(kindRequest, object{request: r}, f.Name())
}

// Test is 1 if the request is over: its handle is gone then, and result what the transfer has returned.
func (l *Library) Test(h int32, result *int64) int64 {
	r, err := l.pinRequest("test", h)
	if err != nil {
		return l.fail(err)
	}
	defer l.handles.Unpin(h)
	if !r.Done() {
		return 0
	}
	*result = l.moved(l.take(h, r))
	return 1
}

// Wait waits for the request and returns what the transfer has; the handle is gone then.
func (l *Library) Wait(h int32) int64 { return l.moved(l.wait("wait", h)) }

// WaitAll waits for all of them, also after an error, and makes their handles noRequest, which it ignores. results may be nil. It returns 0 or
// the first error, in the order of the list.
func (l *Library) WaitAll(requests []int32, results []int64) int64 {
	var first error
	for i, h := range requests {
		n := 0
		if h != noRequest {
			var err error
			if n, err = l.wait("waitall", h); err != nil && n == 0 {
				if first == nil {
					first = err
				}
				n = int(l.fail(err))
			}
			requests[i] = noRequest
		}
		if results != nil {
			results[i] = int64(n)
		}
	}
	return l.done(first)
}

// Cancel asks a request to end early. It must be waited for all the same.
func (l *Library) Cancel(h int32) int64 {
	r, err := l.pinRequest("cancel", h)
	if err != nil {
		return l.fail(err)
	}
	defer l.handles.Unpin(h)
	r.Cancel()
	return 0
}

func (l *Library) wait(op string, h int32) (int, error) {
	r, err := l.pinRequest(op, h)
	if err != nil {
		return 0, err
	}
	defer l.handles.Unpin(h)
	return l.take(h, r)
}

// take waits for a pinned request and removes its handle.
func (l *Library) take(h int32, r *client.Request) (int, error) {
	n, err := r.Wait()
	if ok, _ := l.handles.Remove(h, kindRequest); !ok {
		return 0, fserr.New("wait", "", syscall.EBADF, errors.Errorf("another thread has waited for request %d", h))
	}
	return n, err
}

func (l *Library) pinRequest(op string, h int32) (*client.Request, error) {
	if _, err := l.session(op); err != nil {
		return nil, err
	}
	o, ok := l.handles.Pin(h, kindRequest)
	if !ok {
		return nil, fserr.New(op, "", syscall.EBADF, errors.Errorf("request %d", h))
	}
	return o.request, nil
}
