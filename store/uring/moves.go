package uring

import (
	"syscall"

	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/store/internal/extent"
)

// move is one read or write of whole blocks.
type move struct {
	t      *transfer // who wants it; nil: the lane
	opcode uint8
	direct bool
	file   *segment
	off    int64
	memory []byte
	before int // bytes that are done: memory is the rest
}

func (m *move) verb() string {
	if m.opcode == opWrite {
		return "write"
	}
	return "read"
}

// begin starts a move between memory and the chunk at a spot, from byte at of the chunk on.
func (s *Store) begin(t *transfer, opcode uint8, spot extent.Spot, at uint32, memory []byte) {
	file, direct := s.files.at(spot.Segment)
	s.enqueue(move{t: t, opcode: opcode, direct: direct, file: file, off: spot.Offset + int64(at), memory: memory})
}

func (s *Store) enqueue(m move) {
	if s.first < len(s.backlog) || s.ring.full() {
		s.backlog = append(s.backlog, m)
		return
	}
	s.push(m)
}

func (s *Store) push(m move) {
	tag := s.idle[len(s.idle)-1]
	s.idle = s.idle[:len(s.idle)-1]
	s.moves[tag] = m
	s.ring.push(m.opcode, m.file.data, m.off, m.memory, uint64(tag))
}

// unload gives the ring what had no room there before.
func (s *Store) unload() {
	for s.first < len(s.backlog) && !s.ring.full() {
		s.push(s.backlog[s.first])
		s.backlog[s.first] = move{}
		s.first++
	}
	if s.first == len(s.backlog) {
		s.backlog, s.first = s.backlog[:0], 0
	}
}

// completion is what the ring said of a move.
type completion struct {
	m      move
	result int32
}

// collect takes all completions.
func (s *Store) collect() {
	var meddled []completion
	for {
		tag, result, ok := s.ring.pop()
		if !ok {
			break
		}
		m := s.moves[tag]
		s.moves[tag] = move{}
		s.idle = append(s.idle, uint32(tag))
		if s.meddle != nil {
			meddled = append(meddled, completion{m, result})
			continue
		}
		s.completed(m, result)
	}
	if len(meddled) > 0 {
		s.meddle(meddled)
		for _, c := range meddled {
			s.completed(c.m, c.result)
		}
	}
}

// completed goes on with a move that came back: short ones from where they stopped.
func (s *Store) completed(m move, result int32) {
	var err error
	switch {
	case result < 0:
		errno := syscall.Errno(-result)
		// ECANCELED: the thread that started it has ended.
		if errno == syscall.EINTR || errno == syscall.EAGAIN || errno == syscall.ECANCELED {
			s.enqueue(m)
			return
		}
		err = fserr.New(m.verb(), m.file.path, errno, nil)
	case int(result) < len(m.memory):
		n := int(result)
		if m.direct {
			n &^= extent.BlockBytes - 1
		}
		if n > 0 {
			m.off, m.memory, m.before = m.off+int64(n), m.memory[n:], m.before+n
			s.enqueue(m)
			return
		}
		err = fserr.New(m.verb(), m.file.path, syscall.EIO, nil) // the file is shorter than it was made
	}
	s.count(&m, err)
	if m.t == nil {
		s.laneMoved(err)
	} else {
		s.moved(m.t, err)
	}
}

// count notes a move that has ended.
func (s *Store) count(m *move, err error) {
	bytes := uint64(m.before + len(m.memory))
	switch {
	case err != nil:
		s.stats.Errors++
	case m.opcode == opRead:
		s.stats.Reads++
		s.stats.ReadBytes += bytes
	default:
		s.stats.Writes++
		s.stats.WrittenBytes += bytes
	}
	if m.opcode == opWrite {
		m.file.written.Add(1) // also one that failed may have written something
	}
}

// breakDown ends all that is in flight: the ring is of no use any more. The kernel may still be moving bytes, so that memory and files
// are not used again.
func (s *Store) breakDown(err error) {
	s.failed = fserr.New("io_uring_enter", "", syscall.EIO, err)
	for _, table := range [][]*transfer{s.views, s.writes} {
		for _, t := range table {
			if t != nil && t.stage != resting {
				t.lost = true
				s.finish(t, s.failed)
			}
		}
	}
}

// Poll implements store.Device.
func (s *Store) Poll() (busy bool) {
	if s.ring == nil {
		return false
	}
	if s.failed != nil { // nobody waits for these, but EventFD would stay readable
		for _, _, ok := s.ring.pop(); ok; _, _, ok = s.ring.pop() {
		}
		return false
	}
	for {
		s.collect()
		s.look()
		s.unload()
		if err := s.ring.submit(); err != nil {
			s.breakDown(err)
			return false
		}
		if !s.ring.ready() { // what the page cache has is there at once
			return s.inFlight > 0
		}
	}
}

// wait polls, and blocks until something has ended if nothing had.
func (s *Store) wait() {
	before := s.inFlight
	if s.Poll(); s.inFlight != before || s.inFlight == 0 || s.failed != nil {
		return
	}
	if err := s.ring.wait(); err != nil {
		s.breakDown(err)
		return
	}
	s.Poll()
}

// EventFD implements store.Device.
func (s *Store) EventFD() int { return s.ring.fd }
