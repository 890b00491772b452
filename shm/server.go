package shm

/*
#include "near.h"
*/
import "C"

import (
	"fmt"
	"math/bits"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/benchfs/benchfs/internal/memcopy"
	"github.com/benchfs/benchfs/rpc"
)

// Server is the shard's half of the rings (PROTOCOL.md, section 2): it takes requests out of lanes and answers them. Poll, Arm and Disarm are for the
// shard's thread, and so is all that has to do with requests; the Host makes lanes on its own thread.
type Server struct {
	service rpc.Service
	bell    *C.near_bell_memory
	bellFD  int
	wake    int // descriptor that ends the shard's sleep; the owner's

	lanes   []atomic.Pointer[lane] // by number: set by the Host before the client hears of it, emptied on the shard's thread
	words   atomic.Uint32          // words of the bell that lanes have
	peers   map[uint32]*peer       // by session
	last    uint32                 // session
	free    []*request
	core    uint32 // of the shard's thread, + 1
	besides bool   // see Crowded

	mu      sync.Mutex
	next    uint32   // guarded by mu: lane number that was never given out
	numbers []uint32 // guarded by mu: that are free again

	stats ServerStats
}

// ServerStats are counters since the Server was made.
type ServerStats struct {
	Requests  uint64 `json:"requests"`
	BytesIn   uint64 `json:"bytes_in"`  // payload
	BytesOut  uint64 `json:"bytes_out"` // payload
	Garbage   uint64 `json:"garbage"`   // requests that did not parse
	NoSession uint64 `json:"no_session"`
	Hellos    uint64 `json:"hellos"`
	Peers     uint64 `json:"peers"` // now
	Lanes     uint64 `json:"lanes"` // now
	PeersGone uint64 `json:"peers_gone"`
	Wakes     uint64 `json:"wakes"` // of clients that slept
}

// lane is the shard's side of a lane.
type lane struct {
	number uint32
	client *client
	memory *C.near_lane_memory
	mapped []byte
	buffer []byte                 // where payloads are
	fresh  atomic.Pointer[[]byte] // a buffer that takes its place

	requestAt, replyAt uint32 // positions in the rings
	closed             bool
	left               bool // the client has given it up; the Host's
}

// peer implements rpc.Peer.
type peer struct {
	s       *Server
	owner   *client // the connection that said Hello
	client  uint64
	session uint32
	info    rpc.LinkInfo
}

// request is the transport's part of an rpc.Request, and holds it. What the client wrote is copied here before it is looked at.
type request struct {
	rpc.Request
	s           *Server
	lane        *lane
	slot        uint32
	outAt, inAt uint32
	inBytes     uint32
	frame       [C.NEAR_FRAME_BYTES]byte
}

// NewServer makes the bell of a shard. wake is a descriptor that clients write to when the shard sleeps; it stays the caller's.
func NewServer(service rpc.Service, wake int) (*Server, error) {
	fd, memory, err := sharedMemory("benchfs-bell", C.sizeof_near_bell_memory)
	if err != nil {
		return nil, err
	}
	return &Server{
		service: service, wake: wake, bellFD: fd, bell: (*C.near_bell_memory)(pointer(memory)),
		lanes: make([]atomic.Pointer[lane], C.NEAR_LANES), peers: map[uint32]*peer{},
	}, nil
}

// sharedMemory is memory that a descriptor can hand to another process, which cannot change its size.
func sharedMemory(name string, bytes int) (fd int, memory []byte, err error) {
	if fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING); err != nil {
		return -1, nil, err
	}
	if err = unix.Ftruncate(fd, int64(bytes)); err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL)
	}
	if err == nil {
		memory, err = unix.Mmap(fd, 0, bytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, nil, err
	}
	return fd, memory, nil
}

// ---- the loop's calls ----

// Poll serves the requests that have come. It looks for them up to polls times (D1); busy: there were some.
func (s *Server) Poll(polls int) (busy bool) {
	words := s.words.Load()
	s.besides = false
	if words == 0 || C.near_bell_poll(s.bell, C.uint32_t(words), C.uint32_t(polls)) == 0 {
		return false
	}
	for i := range words {
		word := (*uint64)(unsafe.Pointer(&s.bell.bits[i]))
		if atomic.LoadUint64(word) == 0 {
			continue
		}
		s.showCore()
		for set := atomic.SwapUint64(word, 0); set != 0; set &= set - 1 { // F3
			if l := s.lanes[i*64+uint32(bits.TrailingZeros64(set))].Load(); l != nil {
				s.serveLane(l)
			}
		}
	}
	return true
}

// showCore tells clients what core the shard's thread runs on.
func (s *Server) showCore() {
	if core := uint32(C.near_core()); core != s.core {
		s.core = core
		atomic.StoreUint32((*uint32)(unsafe.Pointer(&s.bell.core)), core)
	}
}

// Crowded reports whether a client that was served last runs on the shard's own core, and gets it back only when the shard sleeps.
func (s *Server) Crowded() bool { return s.besides }

// Arm says that the shard is about to sleep (D6); false: there are requests.
func (s *Server) Arm() bool {
	atomic.StoreUint32((*uint32)(unsafe.Pointer(&s.bell.asleep)), 1) // F5
	for i := range s.words.Load() {
		if atomic.LoadUint64((*uint64)(unsafe.Pointer(&s.bell.bits[i]))) != 0 {
			return false
		}
	}
	return true
}

// Disarm says that the shard does not sleep.
func (s *Server) Disarm() { atomic.StoreUint32((*uint32)(unsafe.Pointer(&s.bell.asleep)), 0) }

// FD is the descriptor that ends the shard's sleep beside the wake descriptor: there is none.
func (s *Server) FD() int { return -1 }

// Flush has nothing to do: answers leave as they are given.
func (s *Server) Flush() {}

// Close frees all lanes and the bell. The Host is closed before, and the shard's thread has ended.
func (s *Server) Close() {
	for i := range s.lanes {
		if l := s.lanes[i].Load(); l != nil {
			s.closeLane(l)
		}
	}
	_ = unix.Close(s.bellFD)
	_ = unix.Munmap(unsafe.Slice((*byte)(unsafe.Pointer(s.bell)), C.sizeof_near_bell_memory))
	s.bell = nil
}

// Stats is for the shard's thread.
func (s *Server) Stats() ServerStats {
	out := s.stats
	out.Peers = uint64(len(s.peers))
	s.mu.Lock()
	out.Lanes = uint64(s.next) - uint64(len(s.numbers))
	s.mu.Unlock()
	return out
}

// ---- lanes ----

// newLane makes a lane for a client; for the Host. The descriptor of its memory is the caller's to close.
func (s *Server) newLane(c *client) (number uint32, fd int, err error) {
	fd, memory, err := sharedMemory("benchfs-lane", C.sizeof_near_lane_memory)
	if err != nil {
		return 0, -1, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch n := len(s.numbers); {
	case n > 0:
		number, s.numbers = s.numbers[n-1], s.numbers[:n-1]
	case s.next < C.NEAR_LANES:
		number = s.next
		s.next++
	default:
		_, _ = unix.Close(fd), unix.Munmap(memory)
		return 0, -1, syscall.EUSERS
	}
	l := &lane{number: number, client: c, memory: (*C.near_lane_memory)(pointer(memory)), mapped: memory}
	s.lanes[number].Store(l)
	if words := number/64 + 1; words > s.words.Load() {
		s.words.Store(words)
	}
	return number, fd, nil
}

// newBuffer makes a buffer for payloads of so many bytes for a lane; for the Host.
func (s *Server) newBuffer(c *client, number uint32, bytes uint64) (fd int, err error) {
	if bytes == 0 || bytes > C.NEAR_BUFFER_MOST || bytes%4096 != 0 {
		return -1, syscall.EINVAL
	}
	l := s.laneOf(c, number)
	if l == nil {
		return -1, syscall.ENOENT
	}
	fd, memory, err := sharedMemory("benchfs-buffer", int(bytes))
	if err != nil {
		return -1, err
	}
	if unused := l.fresh.Swap(&memory); unused != nil {
		_ = unix.Munmap(*unused)
	}
	return fd, nil
}

func (s *Server) laneOf(c *client, number uint32) *lane {
	if number >= C.NEAR_LANES {
		return nil
	}
	if l := s.lanes[number].Load(); l != nil && l.client == c {
		return l
	}
	return nil
}

// endLane takes a lane away, on the shard's thread.
func (s *Server) endLane(l *lane) {
	if l.closed {
		return
	}
	s.lanes[l.number].Store(nil)
	s.closeLane(l)
	s.mu.Lock()
	s.numbers = append(s.numbers, l.number)
	s.mu.Unlock()
}

func (s *Server) closeLane(l *lane) {
	l.closed = true
	l.adopt()
	_ = unix.Munmap(l.mapped)
	if l.buffer != nil {
		_ = unix.Munmap(l.buffer)
	}
	l.mapped, l.memory, l.buffer = nil, nil, nil
}

// endClient forgets a client that is gone, on the shard's thread.
func (s *Server) endClient(c *client) {
	for session, p := range s.peers {
		if p.owner == c {
			delete(s.peers, session)
			s.stats.PeersGone++
			s.service.Gone(p)
		}
	}
	for i := range s.lanes[:s.words.Load()*64] {
		if l := s.lanes[i].Load(); l != nil && l.client == c {
			s.endLane(l)
		}
	}
}

// adopt takes over a buffer that the Host has made. No request that is being served has room in the old one: its client has no call in flight then,
// and one that lies about that gets its own payloads mixed up.
func (l *lane) adopt() {
	if fresh := l.fresh.Swap(nil); fresh != nil {
		if l.buffer != nil {
			_ = unix.Munmap(l.buffer)
		}
		l.buffer = *fresh
	}
}

// ---- requests ----

// serveLane takes the requests that a lane has (D2): as many as it can have at once, so that a client that writes nonsense keeps nobody waiting.
func (s *Server) serveLane(l *lane) {
	for range C.NEAR_SLOTS {
		entry := atomic.LoadUint32((*uint32)(unsafe.Pointer(&l.memory.request[l.requestAt%C.NEAR_SLOTS])))
		if entry>>8 != entryOf(l.requestAt, 0)>>8 {
			return
		}
		l.requestAt++
		if l.fresh.Load() != nil { // for each request: its client may have got a buffer since the one before
			l.adopt()
		}
		s.take(l, entry&0xff)
		if l.closed {
			return
		}
	}
}

// entryOf is what entry p of a ring holds once it is written: near_entry.
func entryOf(position, slot uint32) uint32 { return (position/C.NEAR_SLOTS+1)<<8 | slot }

// take copies a request out of its slot, checks the copy, and serves it.
func (s *Server) take(l *lane, slot uint32) {
	if slot >= C.NEAR_SLOTS {
		s.stats.Garbage++
		return
	}
	r := s.newRequest(l, slot)
	m := &l.memory.slot[slot]
	bytes := min(int(m.frame_bytes), len(r.frame))
	r.outAt, r.inAt, r.inBytes = uint32(m.out_at), uint32(m.in_at), uint32(m.in_bytes)
	copy(r.frame[:bytes], unsafe.Slice((*byte)(unsafe.Pointer(&m.frame[0])), bytes))
	body, err := r.Header.Parse(r.frame[:bytes])
	h := &r.Header
	if err != nil || h.Kind != rpc.KindRequest || !l.holds(r.outAt, h.BulkLen) || !l.holds(r.inAt, uint64(r.inBytes)) {
		s.stats.Garbage++
		s.recycle(r)
		return
	}
	s.stats.Requests++
	s.stats.BytesIn += h.BulkLen
	r.Body = body
	p := s.peers[h.Session]
	switch {
	case h.Type == rpc.MsgHello:
		p = s.newPeer(l.client, h.Client)
	case p == nil || p.owner != l.client || p.client != h.Client:
		s.stats.NoSession++
		r.answer(rpc.StatusNoSession, 0, nil, nil)
		return
	}
	r.Peer = p
	s.service.Serve(&r.Request)
}

// holds reports whether a range lies in the lane's buffer.
func (l *lane) holds(at uint32, bytes uint64) bool {
	return bytes == 0 || uint64(at) <= uint64(len(l.buffer)) && bytes <= uint64(len(l.buffer))-uint64(at)
}

func (s *Server) newRequest(l *lane, slot uint32) *request {
	var r *request
	if n := len(s.free); n > 0 {
		r, s.free = s.free[n-1], s.free[:n-1]
	} else {
		r = &request{s: s}
	}
	r.Request = rpc.Request{Impl: r}
	r.lane, r.slot = l, slot
	return r
}

func (s *Server) recycle(r *request) {
	r.Request = rpc.Request{}
	r.lane = nil
	s.free = append(s.free, r)
}

// nearSessions is set in the numbers of sessions over rings, which no other transport's have.
const nearSessions = 1 << 31

func (s *Server) newPeer(c *client, id uint64) *peer {
	for {
		s.last = (s.last + 1) % nearSessions
		if session := s.last | nearSessions; s.peers[session] == nil {
			p := &peer{
				s: s, owner: c, client: id, session: session,
				info: rpc.LinkInfo{Transport: "shm", Remote: fmt.Sprintf("process %d of this machine", c.pid), PID: uint32(c.pid)},
			}
			s.peers[session] = p
			s.stats.Hellos++
			return p
		}
	}
}

// Client implements rpc.Peer.
func (p *peer) Client() uint64 { return p.client }

// Session implements rpc.Peer.
func (p *peer) Session() uint32 { return p.session }

// Info implements rpc.Peer.
func (p *peer) Info() rpc.LinkInfo { return p.info }

// Close implements rpc.Peer.
func (p *peer) Close() {
	if p.s.peers[p.session] == p {
		delete(p.s.peers, p.session)
	}
}

// Recv implements rpc.RequestImpl: at once, out of the lane's buffer.
func (r *request) Recv(_ *rpc.Request, dst []byte) (done bool, err error) {
	n := r.Header.BulkLen
	switch {
	case n == 0:
		return true, nil
	case uint64(len(dst)) < n:
		return true, &rpc.InvalidHeader{Reason: "the payload is longer than its buffer"}
	case r.lane.closed:
		return true, &rpc.TransportError{Remote: r.Peer.Info().Remote, Reason: "the client is gone"}
	case !r.lane.holds(r.outAt, n): // the client has changed its buffer under way
		return true, &rpc.InvalidHeader{Reason: "the payload is not where it was"}
	}
	memcopy.In(dst, r.lane.buffer[r.outAt:uint64(r.outAt)+n])
	return true, nil
}

// Reply implements rpc.RequestImpl: at once.
func (r *request) Reply(_ *rpc.Request, status rpc.Status, errno uint32, body, bulk []byte) (done bool) {
	if len(body) > rpc.MaxBody {
		status, errno, body, bulk = rpc.StatusInvalid, 0, nil, nil
	}
	r.answer(status, errno, body, bulk)
	return true
}

// answer writes the reply and wakes its client (D3 to D5). The request is free afterwards.
func (r *request) answer(status rpc.Status, errno uint32, body, bulk []byte) {
	s, l := r.s, r.lane
	defer s.recycle(r)
	if l.closed {
		return
	}
	h := rpc.Header{
		Kind: rpc.KindReply, Type: r.Header.Type, ID: r.Header.ID, Op: r.Header.Op, Client: r.Header.Client, Session: r.Header.Session,
		Epoch: r.Header.Epoch, Status: status, Errno: errno, BodyLen: uint32(len(body)), BulkLen: uint64(len(bulk)),
	}
	m := &l.memory.slot[r.slot]
	reply := unsafe.Slice((*byte)(unsafe.Pointer(&m.reply[0])), C.NEAR_FRAME_BYTES)
	if len(bulk) <= int(r.inBytes) && l.holds(r.inAt, uint64(len(bulk))) { // else the client sees that the payload is too long
		memcopy.Out(l.buffer[min(int(r.inAt), len(l.buffer)):], bulk)
		s.stats.BytesOut += uint64(len(bulk))
	}
	h.Put(reply)
	copy(reply[rpc.HeaderBytes:], body)
	m.reply_bytes, m.received = C.uint32_t(rpc.HeaderBytes+len(body)), C.uint32_t(len(bulk))
	entry := (*uint32)(unsafe.Pointer(&l.memory.reply[l.replyAt%C.NEAR_SLOTS]))
	atomic.StoreUint32(entry, entryOf(l.replyAt, r.slot)) // F4
	l.replyAt++
	if atomic.LoadUint32((*uint32)(unsafe.Pointer(&l.memory.core))) == s.core {
		s.besides = true
	}
	if waits := (*uint32)(unsafe.Pointer(&l.memory.waits)); atomic.LoadUint32(waits) == 1 && atomic.SwapUint32(waits, 0) == 1 {
		s.stats.Wakes++
		C.near_wake_futex((*C.uint32_t)(unsafe.Pointer(waits)))
	}
}
