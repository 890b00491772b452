package client_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/benchfs/benchfs/core/client"
	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/rpc"
)

// What a process tells beside its calls does not need a worker of its own, whose start takes longer than many a program.
func TestReleasesNeedNoWorker(t *testing.T) {
	c := newCluster(t, 2, layout.RoundRobin, false)
	var pools []*rpc.Pool
	cl := c.client(func(o *client.Options) { pools = o.Pools })
	i := 0
	for end := time.Now().Add(50 * time.Millisecond); time.Now().Before(end); i++ { // ten times as long as a close waits until it is told
		create(t, cl, fmt.Sprintf("/f%d", i))
	}
	time.Sleep(20 * time.Millisecond)
	if n := pools[1].Stats().Dialled; n != 0 {
		t.Errorf("%d connections of the second worker after %d files, one at a time", n, i)
	}
}
