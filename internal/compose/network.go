package compose

import (
	"context"
	"sync"
	"time"

	"github.com/pkg/errors"
	"go.uber.org/multierr"

	"github.com/benchfs/benchfs/config"
	"github.com/benchfs/benchfs/rpc"
	"github.com/benchfs/benchfs/shm"
	"github.com/benchfs/benchfs/ucx"
)

// network is how this process reaches daemons: those of its own machine through shared memory, the others by UCX, which is loaded by the first
// need of one.
type network struct {
	config ucx.Config
	near   *shm.Transport

	mu     sync.Mutex
	ucx    *ucx.Context // guarded by mu
	routes []*route     // guarded by mu
}

func newNetwork(cfg *config.Config) *network {
	return &network{config: ucxConfig(cfg), near: shm.NewTransport()}
}

// context starts UCX, if nobody has yet.
func (n *network) context() (*ucx.Context, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ucx == nil {
		c, err := ucx.NewContext(n.config)
		if err != nil {
			return nil, err
		}
		n.ucx = c
	}
	return n.ucx, nil
}

// Close ends all of it.
func (n *network) Close() error {
	err := n.near.Close()
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range n.routes {
		if r.far != nil {
			err = multierr.Append(err, r.far.Close())
		}
	}
	if n.ucx != nil {
		err = multierr.Append(err, n.ucx.Close())
	}
	return err
}

// route is one rpc.Transport over both ways.
type route struct {
	*shm.Transport // for calls, their memory, and peers of this machine
	n              *network

	mu   sync.Mutex
	far  *ucx.Transport // guarded by mu; nil before the first peer of another machine
	free []*rpc.Call    // guarded by mu: of far
}

// transport makes a transport for one pool.
func (n *network) transport() *route {
	r := &route{Transport: n.near, n: n}
	n.mu.Lock()
	n.routes = append(n.routes, r)
	n.mu.Unlock()
	return r
}

// Close implements rpc.Transport: the network closes all of them.
func (r *route) Close() error { return nil }

// Dial implements rpc.Transport. A daemon of this machine whose door is not to be found (another mount name space) is reached by UCX.
func (r *route) Dial(ctx context.Context, target rpc.Target) (rpc.Link, error) {
	if target.SameHost && target.Door != "" {
		link, err := r.Transport.Dial(ctx, target)
		if err == nil || !errors.Is(err, shm.ErrNoDoor) || target.Socket == "" {
			return link, err
		}
	}
	far, err := r.farTransport()
	if err != nil {
		return nil, err
	}
	return far.Dial(ctx, target)
}

func (r *route) farTransport() (*ucx.Transport, error) {
	c, err := r.n.context()
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.far == nil {
		if r.far, err = c.NewTransport(); err != nil {
			return nil, err
		}
	}
	return r.far, nil
}

// Run implements rpc.Transport. Where there are calls of both kinds, those of this machine come first: they take a fraction of the time of the others.
func (r *route) Run(deadline time.Time, calls []*rpc.Call) {
	far := 0
	for _, c := range calls {
		if _, ok := c.Link.(*ucx.Link); ok {
			far++
		}
	}
	switch far {
	case 0:
		r.Transport.Run(deadline, calls)
		return
	case len(calls):
		r.runFar(deadline, calls)
		return
	}
	near, away := make([]*rpc.Call, 0, len(calls)-far), make([]*rpc.Call, 0, far)
	for _, c := range calls {
		if _, ok := c.Link.(*ucx.Link); ok {
			away = append(away, c)
		} else {
			near = append(near, c)
		}
	}
	r.Transport.Run(deadline, near)
	r.runFar(deadline, away)
}

// runFar runs calls over UCX, which has calls of its own.
func (r *route) runFar(deadline time.Time, calls []*rpc.Call) {
	twins := make([]*rpc.Call, len(calls))
	for i, c := range calls {
		t := r.take()
		t.Link, t.Header, t.Out, t.In = c.Link, c.Header, c.Out, c.In
		t.Body = append(t.Body[:0], c.Body...)
		twins[i] = t
	}
	r.far.Run(deadline, twins)
	for i, c := range calls {
		t := twins[i]
		c.Err, c.Header, c.Reply, c.Received = t.Err, t.Header, t.Reply, t.Received
		c.Answer = append(c.Answer[:0], t.Answer...)
		t.Reset()
	}
	r.mu.Lock()
	r.free = append(r.free, twins...)
	r.mu.Unlock()
}

func (r *route) take() *rpc.Call {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.free); n > 0 {
		c := r.free[n-1]
		r.free = r.free[:n-1]
		return c
	}
	return r.far.NewCall()
}
