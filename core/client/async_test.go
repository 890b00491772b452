package client_test

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/benchfs/benchfs/core/client"
	"github.com/benchfs/benchfs/core/layout"
)

// TestRequests: several goroutines keep requests in flight on one file, some of which are cancelled; each has the result that its bytes show.
func TestRequests(t *testing.T) {
	const (
		writers = 4
		pieces  = 30
		piece   = 100_000
	)
	c := newCluster(t, 2, layout.RoundRobin, false)
	cl := c.client(nil)
	f := open(t, cl, "/f", unix.O_CREAT|unix.O_RDWR)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			var requests []*client.Request
			for i := range pieces {
				r, err := f.StartWrite(pattern(byte(w*pieces+i), piece), int64(i*writers+w)*piece)
				if err != nil {
					t.Error(err)
					return
				}
				requests = append(requests, r)
				if i%5 == 4 {
					r.Cancel()
				}
			}
			for i, r := range requests {
				n, err := r.Wait()
				if i%5 == 4 && errors.Is(err, syscall.ECANCELED) {
					continue
				}
				got := make([]byte, piece)
				if err != nil || n != piece {
					t.Errorf("write %d of writer %d: %d, %v", i, w, n, err)
				} else if read, err := f.StartRead(got, int64(i*writers+w)*piece); err != nil {
					t.Error(err)
				} else if n, err := read.Wait(); n != piece || err != nil || !bytes.Equal(got, pattern(byte(w*pieces+i), piece)) {
					t.Errorf("read %d of writer %d: %d, %v", i, w, n, err)
				}
			}
		})
	}
	wg.Wait()
	left, err := f.StartRead(make([]byte, piece), 0)
	if err != nil {
		t.Fatal(err)
	}
	ok(t, "close", f.Close(context.Background()))
	if n, err := left.Wait(); n != piece || err != nil {
		t.Errorf("a read under way when its file was closed: %d, %v", n, err)
	}
	g := open(t, cl, "/f", unix.O_RDONLY)
	if _, err := cl.Close(context.Background()); err != nil {
		t.Error(err)
	}
	if _, err := g.StartRead(make([]byte, piece), 0); err == nil {
		t.Error("a request after the end")
	}
}
