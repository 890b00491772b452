package uring

import (
	"errors"
	"syscall"

	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/store"
	"github.com/benchfs/benchfs/store/internal/extent"
)

// transfer is a View, a Write or a Reserve, from its first call to its last.
type transfer struct {
	stage  stage
	ref    uint64 // the extent.Device's
	off, n uint32
	buffer extent.Buffer // blocks [RoundDown(off), RoundUp(off+n))
	step   extent.Step
	pair   []byte // scratch, while the blocks at the ends are read
	left   int    // moves under way
	tag    any
	view   bool
	own    bool // somebody in this package waits for it: it does not go to Next
	done   bool
	lost   bool // the kernel may be using its memory for ever
	err    error
	next   *transfer // of the queue or free list that it is in
}

type stage uint8

const (
	resting   stage = iota // a Write being filled, or all is done
	viewing                // blocks come in
	preparing              // the extent.Device or the lane has it
	reading                // the blocks at the ends come in
	putting                // blocks go out
)

// queue is first in, first out.
type queue struct{ first, last *transfer }

func (q *queue) push(t *transfer) {
	if q.first == nil {
		q.first = t
	} else {
		q.last.next = t
	}
	q.last = t
}

func (q *queue) pop() *transfer {
	t := q.first
	if t != nil {
		q.first, t.next = t.next, nil
	}
	return t
}

var errTooLong = fserr.New("store", "", syscall.ENOMEM, errors.New("range is longer than all buffers"))

func (s *Store) take(ref uint64, off, n uint32) *transfer {
	t := s.free
	if t == nil {
		t = &transfer{}
	} else {
		s.free = t.next
	}
	*t = transfer{ref: ref, off: off, n: n}
	return t
}

// recycle ends a transfer and gives its memory back.
func (s *Store) recycle(t *transfer) {
	if t.buffer.Bytes != nil && !t.lost {
		s.buffers.Give(t.buffer)
	}
	*t = transfer{next: s.free}
	s.free = t
}

// register notes a transfer under its reference.
func register(table *[]*transfer, t *transfer) {
	for int(uint32(t.ref)) >= len(*table) {
		*table = append(*table, nil)
	}
	(*table)[uint32(t.ref)] = t
}

// supply gives a transfer its buffer.
func (s *Store) supply(t *transfer) (err error) {
	bytes := extent.RoundUp(t.off+t.n) - extent.RoundDown(t.off)
	if !s.buffers.Holds(bytes) {
		return errTooLong
	}
	var ok bool
	if t.buffer, ok = s.buffers.Take(bytes); !ok {
		return store.ErrNoBuffers
	}
	return nil
}

// data is the part of the buffer that the caller asked for.
func (t *transfer) data() []byte {
	from := t.off - extent.RoundDown(t.off)
	return t.buffer.Bytes[from : from+t.n : from+t.n]
}

// await blocks until a transfer has ended.
func (s *Store) await(t *transfer) error {
	t.own = true
	for !t.done {
		s.wait()
	}
	return t.err
}

// finish ends a transfer. Its owner hears of it by Next, unless it is still in the call that started it, or waits.
func (s *Store) finish(t *transfer, err error) {
	t.stage, t.done, t.err = resting, true, err
	s.inFlight--
	if !t.own {
		s.ended.push(t)
	}
}

// Next implements store.Device.
func (s *Store) Next() (e store.Ending, ok bool) {
	t := s.ended.pop()
	if t == nil {
		return store.Ending{}, false
	}
	e = store.Ending{Tag: t.tag, Err: t.err}
	if t.view {
		e.View, e.Err = s.viewed(t)
	} else {
		s.recycle(t)
	}
	return e, true
}

// StartView implements store.Device.
func (s *Store) StartView(ino, chunk uint64, off, n uint32, gen uint32, tag any) (v store.View, done bool, err error) {
	t, err := s.startView(ino, chunk, off, n, gen, tag)
	if t == nil {
		return store.View{}, true, err
	}
	return store.View{}, false, nil
}

// View implements store.Store.
func (s *Store) View(ino, chunk uint64, off, n uint32, gen uint32) (store.View, error) {
	t, err := s.startView(ino, chunk, off, n, gen, nil)
	if t == nil {
		return store.View{}, err
	}
	_ = s.await(t) // viewed tells
	return s.viewed(t)
}

// startView is nil when there is nothing to read, or an error.
func (s *Store) startView(ino, chunk uint64, off, n uint32, gen uint32, tag any) (*transfer, error) {
	if s.failed != nil {
		return nil, s.failed
	}
	spot, got, ref, err := s.index.Pin(ino, chunk, off, n, gen)
	if err != nil || got == 0 {
		return nil, err
	}
	t := s.take(ref, off, got)
	if err := s.supply(t); err != nil {
		s.index.Unpin(ref)
		s.recycle(t)
		return nil, err
	}
	register(&s.views, t)
	t.view, t.stage, t.left = true, viewing, 1
	t.tag = tag
	s.inFlight++
	s.begin(t, opRead, spot, extent.RoundDown(off), t.buffer.Bytes)
	return t, nil
}

// viewed is the View of a transfer that has ended.
func (s *Store) viewed(t *transfer) (store.View, error) {
	if t.err != nil {
		err := t.err
		s.Release(store.NewView(nil, t.ref))
		return store.View{}, err
	}
	return store.NewView(t.data(), t.ref), nil
}

// Release implements store.Store. A View without bytes, or one that was released before, is nothing.
func (s *Store) Release(v store.View) {
	if !s.index.Unpin(v.Ref()) {
		return
	}
	s.recycle(s.views[uint32(v.Ref())])
}

// Begin implements store.Store.
func (s *Store) Begin(ino, chunk uint64, off, n uint32, gen uint32, chunkBits uint8) (store.Write, error) {
	if s.failed != nil {
		return store.Write{}, s.failed
	}
	ref, err := s.index.Enter(ino, chunk, off, n, gen, chunkBits)
	if err != nil {
		return store.Write{}, err
	}
	t := s.take(ref, off, n)
	if err := s.supply(t); err != nil {
		s.index.Withdraw(ref)
		s.recycle(t)
		return store.Write{}, err
	}
	register(&s.writes, t)
	return store.NewWrite(t.data(), ref), nil
}

// Abort implements store.Store. It does nothing to a Write that has ended.
func (s *Store) Abort(w store.Write) {
	if s.index.Entered(w.Ref()) {
		s.index.Withdraw(w.Ref())
		s.recycle(s.writes[uint32(w.Ref())])
	}
}

// StartCommit implements store.Device.
func (s *Store) StartCommit(w store.Write, tag any) (done bool, err error) {
	if !s.index.Entered(w.Ref()) {
		return true, extent.ErrSpent
	}
	return s.start(s.writes[uint32(w.Ref())], tag)
}

// Commit implements store.Store.
func (s *Store) Commit(w store.Write) error {
	if !s.index.Entered(w.Ref()) {
		return extent.ErrSpent
	}
	return s.startAndWait(s.writes[uint32(w.Ref())])
}

// StartReserve implements store.Device.
func (s *Store) StartReserve(ino, chunk uint64, n uint32, gen uint32, chunkBits uint8, tag any) (done bool, err error) {
	t, err := s.reserve(ino, chunk, n, gen, chunkBits)
	if err != nil {
		return true, err
	}
	return s.start(t, tag)
}

// Reserve implements store.Store.
func (s *Store) Reserve(ino, chunk uint64, n uint32, gen uint32, chunkBits uint8) error {
	t, err := s.reserve(ino, chunk, n, gen, chunkBits)
	if err != nil {
		return err
	}
	return s.startAndWait(t)
}

func (s *Store) reserve(ino, chunk uint64, n uint32, gen uint32, chunkBits uint8) (*transfer, error) {
	if s.failed != nil {
		return nil, s.failed
	}
	ref, err := s.index.EnterReserve(ino, chunk, n, gen, chunkBits)
	if err != nil {
		return nil, err
	}
	t := s.take(ref, 0, 0)
	register(&s.writes, t)
	return t, nil
}

// start sends a Write or Reserve on its way. done: it has ended at once, and is recycled.
func (s *Store) start(t *transfer, tag any) (done bool, err error) {
	if s.failed != nil {
		s.index.Withdraw(t.ref)
		s.recycle(t)
		return true, s.failed
	}
	t.tag, t.own = tag, true
	s.launch(t)
	if t.done {
		err = t.err
		s.recycle(t)
		return true, err
	}
	t.own = false
	return false, nil
}

func (s *Store) startAndWait(t *transfer) error {
	if s.failed != nil {
		s.index.Withdraw(t.ref)
		s.recycle(t)
		return s.failed
	}
	t.own = true
	s.launch(t)
	err := s.await(t)
	s.recycle(t)
	return err
}

func (s *Store) launch(t *transfer) {
	s.inFlight++
	s.next(t)
	s.look()
}

// next asks what to do for a Write or Reserve, and begins it.
func (s *Store) next(t *transfer) {
	step, err := s.index.Next(t.ref)
	s.follow(t, step, err)
}

// look goes on with those that waited for others.
func (s *Store) look() {
	for {
		ref, ok := s.index.Awake()
		if !ok {
			return
		}
		s.next(s.writes[uint32(ref)])
	}
}

func (s *Store) follow(t *transfer, step extent.Step, err error) {
	t.stage, t.step = preparing, step
	switch {
	case err != nil:
		s.finish(t, err)
	case step.Do == extent.Copy || step.Do == extent.Zero:
		s.lane.waiting.push(t)
		s.laneNext()
	case step.Do == extent.Put:
		s.put(t)
	case step.Do == extent.Ended:
		s.finish(t, nil)
	}
}

// put begins a Write's way to the device: by reading the blocks at its ends, where they hold more than its own bytes.
func (s *Store) put(t *transfer) {
	head, tail := t.ends()
	if !head && !tail {
		s.store(t)
		return
	}
	if len(s.scratch) == 0 {
		s.thirsty.push(t)
		return
	}
	t.pair = s.scratch[len(s.scratch)-1]
	s.scratch = s.scratch[:len(s.scratch)-1]
	t.stage = reading
	if head {
		t.left++
		s.begin(t, opRead, t.step.To, extent.RoundDown(t.off), t.pair[:extent.BlockBytes])
	}
	if tail {
		t.left++
		s.begin(t, opRead, t.step.To, extent.RoundDown(t.off+t.n), t.pair[extent.BlockBytes:])
	}
}

// ends tells which blocks a Write shares with bytes that are present. Where both are the same block, it is the head.
func (t *transfer) ends() (head, tail bool) {
	end, present := t.off+t.n, t.step.Present
	first, last := extent.RoundDown(t.off), extent.RoundDown(end)
	head = t.off != first && first < present
	tail = end != last && end < present && (!head || last != first)
	return head, tail
}

// merge fills a Write's blocks up: with what is present there, and zeros.
func (t *transfer) merge() {
	end, present := t.off+t.n, t.step.Present
	first, last := extent.RoundDown(t.off), extent.RoundDown(end)
	fill := func(from, to, block uint32, old []byte) {
		window := t.buffer.Bytes[from-first : to-first]
		kept := 0
		if from < present && old != nil {
			kept = copy(window, old[from-block:min(to, present)-block])
		}
		clear(window[kept:])
	}
	var head, tail []byte
	if t.pair != nil {
		head, tail = t.pair[:extent.BlockBytes], t.pair[extent.BlockBytes:]
	}
	if isHead, _ := t.ends(); isHead && first == last {
		tail = head
	}
	fill(first, t.off, first, head)
	if end != last {
		fill(end, last+extent.BlockBytes, last, tail)
	}
}

// store writes the blocks of a Write.
func (s *Store) store(t *transfer) {
	t.merge()
	s.dropPair(t)
	t.stage, t.left = putting, 1
	s.begin(t, opWrite, t.step.To, extent.RoundDown(t.off), t.buffer.Bytes)
}

// dropPair gives scratch blocks back, or to the Write that has waited for some.
func (s *Store) dropPair(t *transfer) {
	if t.pair == nil {
		return
	}
	s.scratch = append(s.scratch, t.pair)
	t.pair = nil
	if waiting := s.thirsty.pop(); waiting != nil {
		s.put(waiting)
	}
}

// moved goes on when a move of a transfer has ended.
func (s *Store) moved(t *transfer, err error) {
	if t.err == nil {
		t.err = err
	}
	if t.left--; t.left > 0 {
		return
	}
	switch {
	case t.stage == viewing:
		s.finish(t, t.err)
	case t.stage == reading && t.err == nil:
		s.store(t)
	default:
		s.dropPair(t)
		step, err := s.index.Landed(t.ref, t.err)
		s.follow(t, step, err)
	}
}
