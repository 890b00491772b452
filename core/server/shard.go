// Package server is a shard: it answers the messages of rpc out of one meta.Shard and one store.Store.
//
// A [Shard] is passive. Its transport's loop calls it on one thread at a time (the shard's thread: one goroutine over
// UCX, the caller's own goroutine under a lock in process), and nothing in it blocks. Whatever has to wait for
// other shards or for the medium runs in a goroutine that comes back to the shard's thread through rpc.Loop.Submit:
//
//   - operations over several shards (tx.go), coordinated by the shard that this package's rules name,
//   - truncates and purges that other owners must hear of (fanout.go),
//   - flushing to the medium (data.go).
//
// A request that meets a name or an inode held by such an operation is parked and served again when something is released.
//
// What does not belong here: what the records mean (meta, store), how bytes travel (rpc, ucx), paths (core/client).
package server

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/pkg/errors"

	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/internal/chain"
	"github.com/benchfs/benchfs/internal/inode"
	"github.com/benchfs/benchfs/meta"
	"github.com/benchfs/benchfs/rpc"
	"github.com/benchfs/benchfs/store"
)

// Options is what a Shard is made of. All of Peer … Store and Peers are required.
type Options struct {
	Peer        rpc.PeerID  // who this shard is
	Map         *layout.Map // the whole cluster
	Incarnation uint64      // of the daemon
	Secret      string      // of the job; "" admits everybody (embedded mode)
	HostID      string      // of this machine: tells which clients' processes can be looked at
	UID         uint32      // whose processes are served
	ChunkBits   uint8       // default of new files, told to clients
	Meta        *meta.Shard
	Store       store.Store
	Board       Board         // for clients of this machine that move data themselves, if Store is store.Shareable; nil: there are none
	Peers       *rpc.Pool     // connections to the other shards, for coordinators; used by their goroutines only
	Describe    func() []byte // the node's registry record, for clients that know a socket address only
	Grace       time.Duration // how long a vanished client's open handles are kept for its return; 0 = 30 s
	Log         *slog.Logger  // nil = silent
	Build       string
}

// Shard implements rpc.Service.
type Shard struct {
	o      Options
	shards uint32
	loop   rpc.Loop
	log    *slog.Logger

	sessions    map[uint32]*session // by slot
	clients     map[uint64]*clientState
	parked      []parkedRequest
	waiters     []chan struct{}           // coordinators waiting for a release
	running     map[meta.ReqID]struct{}   // operations with an Op that a coordinator is working on
	tasks       map[inode.Ino]struct{}    // truncates under way
	purging     bool                      // the purge goroutine runs
	solving     bool                      // the goroutine that asks coordinators about prepared operations runs
	freeOps     *op                       // free list
	liveOps     chain.List[op]            // those in use
	body        []byte                    // scratch for replies
	releases    rpc.ReleaseHandles        // scratch
	retrying    bool                      // parked requests are being served again
	again       bool                      // something was released meanwhile
	counts      [rpc.MsgMax]uint64        // requests by type
	unknown     uint64                    // requests of unknown type
	refused     uint64                    // handshakes refused
	started     time.Time                 // of Start, for the grace time of orphans
	swept       bool                      // orphans of the last incarnation are gone
	busyTx      map[uint64]struct{}       // operations that a goroutine of this incarnation drives
	shared      store.Shareable           // Store, if attached clients reach into it
	watcher     *watcher                  // nil: nobody reads attributes in shared memory
	begun       map[meta.ReqID]begunWrite // writes of attached clients
	device      store.Device              // Store, if it takes its time; see device.go
	waiting     thirst
	ends        map[inode.Ino]*fileEnd // of files that an append has, see append.go
	sweeper     sweeper
	moved       Moved
	ahead       touchAheader // Store, if it prepares space before it is asked for
	roomAt      time.Time    // when a client was given room last
	looked      uint64       // requests of all types, when it was looked last how busy the shard is
	awaitsPause bool         // a goroutine waits until there is little to do
	locks       locks

	background context.Context
	stop       context.CancelFunc
	workers    sync.WaitGroup
	stopping   sync.Mutex // guards stopped, against a spawn beside Stop
	stopped    bool
}

// New makes a shard; Start must be called before its transport delivers requests.
func New(o Options) *Shard {
	if o.Grace == 0 {
		o.Grace = 30 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Shard{
		o:        o,
		shards:   o.Map.Shards(),
		log:      o.Log.With("shard", o.Peer.Shard),
		sessions: map[uint32]*session{},
		clients:  map[uint64]*clientState{},
		running:  map[meta.ReqID]struct{}{},
		tasks:    map[inode.Ino]struct{}{},
		busyTx:   map[uint64]struct{}{},
		begun:    map[meta.ReqID]begunWrite{},
		locks:    newLocks(),
		ends:     map[inode.Ino]*fileEnd{},
		body:     make([]byte, 0, rpc.MaxBody),
	}
	if shareable, ok := o.Store.(store.Shareable); ok && o.Board != nil {
		s.shared = shareable
		shareable.Share(o.Board)
		s.watcher = newWatcher(o.Meta, o.Board, func(ino inode.Ino, gen uint32) rpc.Place { return s.place(ino, 0, gen, true) })
	}
	s.device, _ = o.Store.(store.Device)
	s.ahead, _ = o.Store.(touchAheader)
	s.background, s.stop = context.WithCancel(context.Background())
	return s
}

// Start takes up what the log left unfinished. loop is where the shard runs.
func (s *Shard) Start(loop rpc.Loop) {
	s.loop = loop
	s.started = time.Now()
	loop.Submit(s.recover)
	loop.Submit(func() {
		if s.ahead != nil {
			s.touchAhead()
		}
	})
}

// Stop ends the background work and waits for it. The loop must still run; afterwards it may end, and Meta and Store may be closed.
func (s *Shard) Stop() {
	s.stopping.Lock()
	s.stopped = true
	s.stopping.Unlock()
	s.stop()
	s.workers.Wait()
	s.onShard(func() {
		s.abortWrites(func(meta.ReqID, begunWrite) bool { return true })
		for _, c := range s.clients {
			c.forget()
		}
	})
}

// Abandon gives back what requests hold that were cut off in the middle, so that the store can be closed. To be called when the loop
// has ended: nobody writes into or reads from the store's memory any more.
func (s *Shard) Abandon() {
	for o := range s.liveOps.All() {
		switch o.kind {
		case opRead:
			s.o.Store.Release(o.view)
		case opWrite:
			s.o.Store.Abort(o.write)
		}
		s.freeOp(o)
	}
}

// Tick does what is due by the clock: expired parked requests, vanished clients, operations whose coordinator is silent,
// checkpoints. The daemon calls it about once a second on the shard's thread.
func (s *Shard) Tick(now time.Time) {
	s.expireParked(now)
	s.checkEnds(now)
	s.abortWrites(func(_ meta.ReqID, b begunWrite) bool { return now.After(b.expires) })
	s.checkClients(now)
	s.resolvePrepared()
	if !s.swept && now.Sub(s.started) > s.o.Grace {
		s.swept, s.sweeper.wanted = true, true
		if n := s.o.Meta.SweepOrphans(); n > 0 {
			s.log.Info("removed unlinked files whose clients did not come back", "files", n)
		}
	}
	s.purge()
	s.sweep(now)
	s.checkpoint()
	if s.o.Board != nil {
		s.o.Board.Reap()
		if s.o.Meta.DropOrphans() > 0 { // whose last process has ended without a word
			s.purge()
		}
	}
	s.spaceTaken()
}

// checkpointBytes of log are replayed at most after a crash.
const checkpointBytes = 256 << 20

// checkpointer is what a store with a log has beside store.Store.
type checkpointer interface {
	Checkpoint() error
	LogBytes() int64
}

func (s *Shard) checkpoint() {
	parts := []any{s.o.Meta, s.o.Store}
	for _, part := range parts {
		c, ok := part.(checkpointer)
		if !ok || c.LogBytes() < checkpointBytes {
			continue
		}
		if err := c.Checkpoint(); err != nil {
			s.log.Error("checkpoint failed; the log keeps growing", "part", fmt.Sprintf("%T", part), "error", err)
		}
	}
}

// op is the state of a request between its callbacks.
type op struct {
	kind  opKind
	view  store.View
	write store.Write
	page  []byte         // payload memory that belongs to the op; see pages.go
	live  chain.Link[op] // in liveOps
	next  *op            // in freeOps
}

type opKind uint8

const (
	opNone    opKind = iota
	opRead           // a reply is on its way out of view
	opWrite          // a payload is on its way into write
	opPayload        // a payload is on its way into, or has arrived in, page
	opPage           // a reply is on its way out of page
)

func (s *Shard) newOp(r *rpc.Request, kind opKind) *op {
	o := s.freeOps
	if o == nil {
		o = &op{}
	} else {
		s.freeOps = o.next
	}
	s.liveOps.Add(&o.live, o)
	o.kind = kind
	r.Op = o
	return o
}

func (s *Shard) freeOp(o *op) {
	if o.page != nil {
		pages.put(o.page)
	}
	s.liveOps.Remove(&o.live)
	*o = op{next: s.freeOps}
	s.freeOps = o
}

// handlers answer one type each. A handler that returns nil has replied or will; an error is turned into the reply by fail.
var handlers [rpc.MsgMax]func(s *Shard, r *rpc.Request) error

func init() {
	handlers = [rpc.MsgMax]func(*Shard, *rpc.Request) error{
		rpc.MsgBye:            (*Shard).bye,
		rpc.MsgEcho:           (*Shard).echo,
		rpc.MsgDescribe:       (*Shard).describe,
		rpc.MsgReadChunk:      (*Shard).readChunk,
		rpc.MsgWriteChunk:     (*Shard).writeChunk,
		rpc.MsgReserveChunk:   (*Shard).reserveChunk,
		rpc.MsgTruncateChunks: (*Shard).truncateChunks,
		rpc.MsgPurgeChunks:    (*Shard).purgeChunks,
		rpc.MsgSyncChunks:     (*Shard).syncChunks,
		rpc.MsgStatStore:      (*Shard).statStore,
		rpc.MsgLookup:         (*Shard).lookup,
		rpc.MsgCreateFile:     (*Shard).createFile,
		rpc.MsgCreateDir:      (*Shard).createDir,
		rpc.MsgCreateSymlink:  (*Shard).createSymlink,
		rpc.MsgDelete:         (*Shard).deleteFile,
		rpc.MsgRemoveDir:      (*Shard).removeDir,
		rpc.MsgRename:         (*Shard).rename,
		rpc.MsgLink:           (*Shard).link,
		rpc.MsgReadlink:       (*Shard).readlink,
		rpc.MsgGetAttr:        (*Shard).getAttr,
		rpc.MsgSetAttr:        (*Shard).setAttr,
		rpc.MsgExtend:         (*Shard).extend,
		rpc.MsgAppend:         (*Shard).appendData,
		rpc.MsgTruncate:       (*Shard).truncate,
		rpc.MsgGetRuns:        (*Shard).getRuns,
		rpc.MsgAddRun:         (*Shard).addRun,
		rpc.MsgOpen:           (*Shard).openHandle,
		rpc.MsgRelease:        (*Shard).releaseHandles,
		rpc.MsgReadDir:        (*Shard).readDir,
		rpc.MsgDirInfo:        (*Shard).dirInfo,
		rpc.MsgPrepare:        (*Shard).prepare,
		rpc.MsgCommit:         (*Shard).commit,
		rpc.MsgAbort:          (*Shard).abort,
		rpc.MsgTxStatus:       (*Shard).txStatus,
		rpc.MsgBeginWrite:     (*Shard).beginWrite,
		rpc.MsgEndWrite:       (*Shard).endWrite,
		rpc.MsgLock:           (*Shard).lock,
		rpc.MsgEndAppend:      (*Shard).endAppend,
	}
}

// Serve implements rpc.Service.
func (s *Shard) Serve(r *rpc.Request) {
	if r.Header.Type == rpc.MsgHello {
		s.hello(r)
		return
	}
	if r.Header.Type >= rpc.MsgMax || handlers[r.Header.Type] == nil {
		s.unknown++
		r.Reply(rpc.StatusUnknown, 0, nil, nil)
		return
	}
	sess := s.sessions[r.Peer.Session()]
	if sess == nil || sess.client != r.Header.Client {
		r.Reply(rpc.StatusNoSession, 0, nil, nil)
		return
	}
	if r.Header.Epoch != s.o.Map.Epoch && r.Header.Type != rpc.MsgDescribe {
		r.Reply(rpc.StatusStaleEpoch, 0, nil, nil)
		return
	}
	s.counts[r.Header.Type]++
	s.dispatch(r)
}

// dispatch runs the handler of a request that was admitted. It is also the second way of a parked one.
func (s *Shard) dispatch(r *rpc.Request) {
	id := reqID(r)
	if id.Op != 0 {
		if _, busy := s.running[id]; busy {
			s.park(r)
			return
		}
	}
	if err := handlers[r.Header.Type](s, r); err != nil {
		s.fail(r, err)
	}
}

func reqID(r *rpc.Request) meta.ReqID {
	return meta.ReqID{Client: r.Header.Client, Op: r.Header.Op}
}

// Received implements rpc.Service.
func (s *Shard) Received(r *rpc.Request, err error) {
	o := r.Op.(*op)
	if o.kind == opWrite {
		s.written(r, o, err)
		return
	}
	if err != nil {
		s.fail(r, err)
		return
	}
	s.dispatch(r)
}

// Replied implements rpc.Service.
func (s *Shard) Replied(r *rpc.Request, _ error) {
	s.release(r)
}

// release gives back what a request holds.
func (s *Shard) release(r *rpc.Request) {
	o, _ := r.Op.(*op)
	if o == nil {
		return
	}
	r.Op = nil
	if o.kind == opRead {
		s.o.Store.Release(o.view)
	}
	s.freeOp(o)
}

// ok answers with a body and no payload, and frees what the request holds.
func (s *Shard) ok(r *rpc.Request, body []byte) {
	s.release(r)
	r.Reply(rpc.StatusOK, 0, body, nil)
}

// okNow is ok, and the answer is on its way while the handler does the rest of its work.
func (s *Shard) okNow(r *rpc.Request, body []byte) {
	s.ok(r, body)
	s.loop.Flush()
}

// fail turns an error into the reply. A busy object parks the request instead.
func (s *Shard) fail(r *rpc.Request, err error) {
	status, errno := rpc.StatusErrno, uint32(0)
	var invalid *rpc.InvalidHeader
	switch {
	case errors.Is(err, fserr.ErrBusy):
		s.park(r)
		return
	case errors.Is(err, store.ErrNoBuffers):
		s.waiting.add(r)
		return
	case errors.Is(err, fserr.ErrStaleView):
		status = rpc.StatusStaleView
	case errors.Is(err, fserr.ErrStaleGeneration):
		status = rpc.StatusStaleGen
	case errors.As(err, &invalid):
		status = rpc.StatusInvalid
	default:
		errno = uint32(fserr.Errno(err))
		if !fserr.Known(err) {
			s.log.Error("request failed for an unknown reason", "type", r.Header.Type, "error", fmt.Sprintf("%+v", err))
		}
	}
	s.release(r)
	r.Reply(status, errno, nil, nil)
}

// parkedRequest waits for something to be released.
type parkedRequest struct {
	r       *rpc.Request
	expires time.Time
}

// defaultPatience is how long a request that names no timeout may be parked.
const defaultPatience = 10 * time.Second

// patience is how long somebody waits for the answer to r.
func patience(r *rpc.Request) time.Duration {
	if r.Header.TimeoutMS == 0 {
		return defaultPatience
	}
	return time.Duration(r.Header.TimeoutMS) * time.Millisecond
}

func (s *Shard) park(r *rpc.Request) {
	s.parked = append(s.parked, parkedRequest{r: r, expires: time.Now().Add(patience(r))})
}

// released serves the parked requests again: an operation that held something has ended.
func (s *Shard) released() {
	for _, w := range s.waiters {
		close(w)
	}
	s.waiters = nil
	if s.retrying {
		s.again = true
		return
	}
	s.retrying = true
	for {
		s.again = false
		waiting := s.parked
		s.parked = nil
		for i := range waiting {
			r, expires := waiting[i].r, waiting[i].expires
			before := len(s.parked)
			s.dispatch(r)
			if len(s.parked) > before && s.parked[len(s.parked)-1].r == r {
				s.parked[len(s.parked)-1].expires = expires
			}
		}
		if !s.again || len(s.parked) == 0 {
			break
		}
	}
	s.retrying = false
}

// expireParked answers those that nobody waits for any more.
func (s *Shard) expireParked(now time.Time) {
	s.expire(&s.parked, now)
	s.expire(&s.waiting.requests, now)
}

func (s *Shard) expire(list *[]parkedRequest, now time.Time) {
	kept := (*list)[:0]
	for _, p := range *list {
		if now.Before(p.expires) {
			kept = append(kept, p)
			continue
		}
		s.release(p.r)
		p.r.Reply(rpc.StatusBusy, 0, nil, nil)
	}
	clear((*list)[len(kept):])
	*list = kept
}

// onShard runs fn on the shard's thread and waits for it; false when the shard is stopping.
func (s *Shard) onShard(fn func()) bool {
	done := make(chan struct{})
	if !s.loop.Submit(func() { fn(); close(done) }) {
		return false
	}
	<-done
	return true
}

// spawn runs fn beside the shard; Stop waits for it. Nothing is started once the shard is stopping.
func (s *Shard) spawn(fn func()) bool {
	s.stopping.Lock()
	defer s.stopping.Unlock()
	if s.stopped {
		return false
	}
	s.workers.Add(1)
	go func() {
		defer s.workers.Done()
		fn()
	}()
	return true
}
