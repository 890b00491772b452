package client

import (
	"context"
	"fmt"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"github.com/pkg/errors"

	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/internal/inode"
	"github.com/benchfs/benchfs/rpc"
	"github.com/benchfs/benchfs/shm"
)

// op is one call of the application in progress. It belongs to one goroutine. Ops are kept in their lane's free list with all
// that they have grown, so that a call allocates nothing in steady state; sync.Pool would drop the calls, whose memory is the transport's.
type op struct {
	c        *Client
	lane     *lane
	kind     opKind
	aside    bool // not counted as a user of the lane
	ctx      context.Context
	deadline time.Time

	calls   []*rpc.Call // calls[:used] are those of the current exchange; the rest is spare
	used    int
	pieces  []piece   // of the current window
	one     [1][]byte // a single buffer as a vector
	scratch []byte    // from lane.scratch, while the op needs payload memory

	blamed   bool       // blame names the shard whose answer, or silence, failed the op
	blame    rpc.PeerID //
	starts   int        // how often the op has begun anew
	vanished int        // how often because something had vanished
	// remembered: a directory on the way came out of Client.dirs. asksAll: none is to.
	remembered, asksAll bool
	near                *reach  // of the shard that the last lookup asked to tell places; nil: it was not asked
	pin                 shm.Pin // by which the file is open that is being opened; or none
	next                *op     // free list
}

// errVanished: an inode that a name stood for a moment ago is gone, or about to go. Looking again decides.
var errVanished = errors.New("the file went away after it was looked up")

// maxVanished is how often an op looks again before it believes that the thing is gone.
const maxVanished = 16

// scratchBytes is what a metadata call may need for payloads: dirWindow first pages of a directory, or one list of runs.
const scratchBytes = 1 << 20

// maxPause is the longest wait before a call with a passing answer is repeated.
const maxPause = 50 * time.Millisecond

// begin starts a call of the application.
func (c *Client) begin(ctx context.Context, kind opKind) *op {
	c.counts.ops[kind].Add(1)
	return c.prepare(ctx, kind)
}

// prepare is begin for what the application did not ask for. release ends it.
func (c *Client) prepare(ctx context.Context, kind opKind) *op {
	return c.prepareIn(c.take(), ctx, kind)
}

// prepareAside is prepare for what nobody waits for: it shares the lane that is there anyway, since the first call on another one starts a worker.
// The application's calls take that lane as if it were free.
func (c *Client) prepareAside(ctx context.Context, kind opKind) *op {
	o := c.prepareIn(c.lanes[0], ctx, kind)
	o.aside = true
	return o
}

func (c *Client) prepareIn(l *lane, ctx context.Context, kind opKind) *op {
	l.mu.Lock()
	o := l.free
	if o != nil {
		l.free = o.next
	}
	l.mu.Unlock()
	if o == nil {
		o = &op{c: c, lane: l}
	}
	o.next = nil
	o.kind, o.ctx = kind, ctx
	o.deadline = rpc.Now().Add(c.o.CallTimeout)
	if d, ok := ctx.Deadline(); ok && d.Before(o.deadline) {
		o.deadline = d
	}
	o.blamed, o.starts, o.vanished = false, 0, 0
	o.remembered, o.asksAll = false, false
	return o
}

// end finishes a call: it gives the op back and turns err into what the application gets. path may be empty.
func (o *op) end(path string, err error) error {
	if err != nil {
		o.c.counts.failed.Add(1)
		err = o.explain(path, err)
	}
	o.release()
	return err
}

// release gives the op back to its lane.
func (o *op) release() {
	l, aside := o.lane, o.aside
	o.reset()
	clear(o.pieces)
	o.pieces = o.pieces[:0]
	o.one[0], o.ctx, o.near, o.pin, o.aside = nil, nil, nil, shm.Pin{}, false
	l.mu.Lock()
	if o.scratch != nil {
		l.scratch = append(l.scratch, o.scratch)
		o.scratch = nil
	}
	o.next = l.free
	l.free = o
	l.mu.Unlock()
	if !aside {
		l.inUse.Add(-1)
	}
}

// drain gives back the transport's memory. No op is in progress.
func (l *lane) drain() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for o := l.free; o != nil; o = o.next {
		for _, call := range o.calls {
			l.transport.FreeCall(call)
		}
		o.calls = nil
	}
	l.free = nil
	for _, memory := range l.scratch {
		l.transport.Free(memory)
	}
	l.scratch = nil
}

// explain makes the error that the application gets.
func (o *op) explain(path string, err error) error {
	var known *fserr.Error
	if errors.As(err, &known) {
		return err
	}
	code := fserr.Errno(err)
	switch {
	case errors.Is(err, errVanished):
		code = syscall.ENOENT
	case errors.Is(err, fserr.ErrBusy), errors.Is(err, fserr.ErrStaleView), errors.Is(err, fserr.ErrStaleGeneration):
		code = syscall.ETIMEDOUT // it was not over by the deadline
	}
	e := fserr.New(o.kind.String(), path, code, err)
	if o.blamed {
		e.Node = o.c.nodeText(o.blame)
	}
	return e
}

// nodeText names a peer for people.
func (c *Client) nodeText(p rpc.PeerID) string {
	if node, ok := c.cluster.Load().Node(p.Node); ok && node.Name != "" {
		return fmt.Sprintf("node %d (%s) shard %d", p.Node, node.Name, p.Shard)
	}
	return fmt.Sprintf("node %d shard %d", p.Node, p.Shard)
}

// reset forgets the calls of the last exchange. Their buffers are the caller's again.
func (o *op) reset() {
	for _, call := range o.calls[:o.used] {
		call.Reset()
	}
	o.used = 0
}

// call adds a message to a shard to the next exchange. The caller appends the body.
func (o *op) call(t rpc.MsgType, shard uint32) *rpc.Call {
	if o.used == len(o.calls) {
		o.calls = append(o.calls, o.lane.transport.NewCall())
	}
	call := o.calls[o.used]
	o.used++
	call.Reset()
	call.To = o.c.peer(shard)
	call.Header.Type = t
	return call
}

// once marks a call as one that must take effect once even if its message is repeated.
func once(call *rpc.Call) { call.Header.Op = lastOp.Add(1) }

// exchange runs the calls to their end. Their Err tells how each went.
func (o *op) exchange() {
	o.lane.pool.Exchange(o.ctx, o.deadline, o.calls[:o.used])
	for _, call := range o.calls[:o.used] {
		if call.Err != nil && passing(call) {
			o.waitOut()
			return
		}
	}
}

// passing reports whether a server's answer to a call is one that time mends: something is held by an operation in progress, the server
// is about to stop (and may come back), or it could not reach another one for an operation that takes effect once, however often asked.
func passing(call *rpc.Call) bool {
	answer, ok := call.Err.(*rpc.HandlerError)
	if !ok {
		return false
	}
	if answer.Status == rpc.StatusErrno {
		return answer.Code == syscall.ESHUTDOWN ||
			call.Header.Op != 0 && (answer.Code == syscall.ETIMEDOUT || answer.Code == syscall.EHOSTUNREACH)
	}
	return answer.Status == rpc.StatusBusy
}

// waitOut repeats the calls with a passing answer, under the same operation numbers, for as long as the op has time: the pool's
// number of attempts is meant for connections that break.
func (o *op) waitOut() {
	held := make([]*rpc.Call, 0, o.used)
	for pause := time.Millisecond; ; pause = min(2*pause, maxPause) {
		held = held[:0]
		for _, call := range o.calls[:o.used] {
			if call.Err != nil && passing(call) {
				held = append(held, call)
			}
		}
		next := time.Now().Add(pause)
		if len(held) == 0 || !next.Before(o.deadline) || rpc.SleepUntil(o.ctx, next) != nil {
			return
		}
		o.lane.pool.Exchange(o.ctx, o.deadline, held)
	}
}

// run is exchange; it returns the first error.
func (o *op) run() error {
	o.exchange()
	for _, call := range o.calls[:o.used] {
		if call.Err != nil {
			return o.failed(call)
		}
	}
	return nil
}

// failed is the error of a call that went wrong.
func (o *op) failed(call *rpc.Call) error {
	o.blame, o.blamed = call.To, true
	var answer *rpc.HandlerError
	if errors.As(call.Err, &answer) && answer.Status == rpc.StatusStaleEpoch {
		o.c.refreshMap(o.ctx)
	}
	return call.Err
}

// broken is the error for an answer that parses and makes no sense.
func (o *op) broken(call *rpc.Call, reason string) error {
	o.blame, o.blamed = call.To, true
	return &rpc.InvalidHeader{Reason: reason}
}

// refreshMap asks for the cluster map that holds now.
func (c *Client) refreshMap(ctx context.Context) {
	if c.o.Refresh == nil {
		return
	}
	if m, err := c.o.Refresh(ctx); err == nil && m != nil && m.Validate() == nil {
		c.cluster.Store(m)
	}
}

// again decides whether the op begins anew after *err: what it had looked up has changed meanwhile. It turns *err into the final answer when
// time is up, or when a file that vanished has been looked for often enough.
func (o *op) again(err *error) bool {
	vanished := errors.Is(*err, errVanished)
	if o.remembered && (vanished || namesSay(*err)) { // it may be the memory that is wrong: each component is asked for now
		o.remembered, o.asksAll = false, true
		return true
	}
	if !vanished && !errors.Is(*err, fserr.ErrStaleView) && !errors.Is(*err, fserr.ErrStaleGeneration) {
		return false
	}
	o.starts++
	o.c.counts.restarts.Add(1)
	if vanished {
		if o.vanished++; o.vanished >= maxVanished {
			*err = syscall.ENOENT
			return false
		}
	}
	if !time.Now().Before(o.deadline) {
		*err = errors.Wrap(syscall.ETIMEDOUT, "the name space kept changing")
		return false
	}
	if ctxErr := o.ctx.Err(); ctxErr != nil {
		*err = ctxErr
		return false
	}
	if o.starts > 4 {
		runtime.Gosched()
	}
	return true
}

// namesSay reports whether an error is what a wrong directory on the way would bring.
func namesSay(err error) bool {
	return errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ESTALE) || errors.Is(err, syscall.EACCES)
}

// payload returns scratchBytes of memory that the transport can fill or send. It is the op's until it ends.
func (o *op) payload() ([]byte, error) {
	if o.scratch != nil {
		return o.scratch, nil
	}
	l := o.lane
	l.mu.Lock()
	if n := len(l.scratch); n > 0 {
		o.scratch = l.scratch[n-1]
		l.scratch = l.scratch[:n-1]
	}
	l.mu.Unlock()
	if o.scratch == nil {
		memory, err := l.transport.Alloc(scratchBytes)
		if err != nil {
			return nil, err
		}
		o.scratch = memory[:scratchBytes]
	}
	return o.scratch, nil
}

// getAttr asks for the attributes of an inode. errVanished if it is gone.
func (o *op) getAttr(ino inode.Ino) (inode.Attr, error) {
	o.reset()
	call := o.call(rpc.MsgGetAttr, ino.Shard())
	m := rpc.InodeRequest{Ino: ino}
	call.Body = m.AppendTo(call.Body)
	o.exchange()
	return o.attrOf(call, ino)
}

// attrOf reads the AttrReply of a call about ino.
func (o *op) attrOf(call *rpc.Call, ino inode.Ino) (inode.Attr, error) {
	if call.Err != nil {
		return inode.Attr{}, o.gone(call)
	}
	var reply rpc.AttrReply
	if err := reply.Decode(call.Answer); err != nil {
		return inode.Attr{}, o.broken(call, "attributes do not parse")
	}
	if reason := checkAttr(&reply.Attr, ino, o.c.shards()); reason != "" {
		return inode.Attr{}, o.broken(call, reason)
	}
	return reply.Attr, nil
}

// gone is failed, with errVanished for an inode that its shard does not know.
func (o *op) gone(call *rpc.Call) error {
	err := o.failed(call)
	if errors.Is(err, syscall.ESTALE) {
		return errVanished
	}
	return err
}

// checkAttr says what is wrong with attributes that a shard gave for ino, or "".
func checkAttr(a *inode.Attr, ino inode.Ino, shards uint32) string {
	switch {
	case a.Ino != ino:
		return "attributes of another inode"
	case !a.Kind.Valid():
		return "attributes of no known kind of file"
	case a.Kind == inode.File && a.Layout.Validate() != nil:
		return "a file without a usable layout"
	case a.Kind == inode.File && a.Layout.Strategy != layout.Local && a.Layout.Shards > shards:
		return "a layout over more shards than there are"
	}
	return ""
}

// bytesOf is a string's bytes without a copy. They must not be changed.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
