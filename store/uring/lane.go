package uring

import "github.com/benchfs/benchfs/store/internal/extent"

const (
	laneBytes = 1 << 20
	zeroBytes = 1 << 20
)

// lane does what chunks need before they can be written: copying to a larger extent, and zeros in a gap. One chunk at a time, with memory
// of its own. Copying is a third of what is written to a chunk that grows by appending, and nothing of one that is written at once.
type lane struct {
	bounce, zeros []byte
	waiting       queue
	now           *transfer
	at            uint32 // how far it is
	out           bool   // bounce holds blocks that are to be written, or being written
}

// laneNext begins with the next one, if the lane is free.
func (s *Store) laneNext() {
	l := &s.lane
	if l.now != nil {
		return
	}
	if l.now = l.waiting.pop(); l.now == nil {
		return
	}
	l.out = false
	if l.at = 0; l.now.step.Do == extent.Zero {
		l.at = extent.RoundDown(l.now.step.Off)
	}
	s.laneGo()
}

// laneGo begins the next move.
func (s *Store) laneGo() {
	l, step := &s.lane, &s.lane.now.step
	end := extent.RoundUp(step.End)
	switch {
	case l.at >= end:
		s.laneDone(nil)
	case step.Do == extent.Copy:
		s.begin(nil, opRead, step.From, l.at, l.bounce[:min(laneBytes, end-l.at)])
	case l.at < step.Present: // the block that the gap begins in
		s.begin(nil, opRead, step.To, l.at, l.bounce[:extent.BlockBytes])
	default:
		n := min(zeroBytes, end-l.at)
		l.out = true
		s.begin(nil, opWrite, step.To, l.at, l.zeros[:n])
		l.at += n
	}
}

// laneMoved goes on when a move has ended.
func (s *Store) laneMoved(err error) {
	l, step := &s.lane, &s.lane.now.step
	if err != nil {
		s.laneDone(err)
		return
	}
	if l.out {
		l.out = false
		s.laneGo()
		return
	}
	n, keep := uint32(extent.BlockBytes), step.Present
	if step.Do == extent.Copy {
		n, keep = min(laneBytes, extent.RoundUp(step.End)-l.at), step.End
	}
	if keep < l.at+n {
		clear(l.bounce[keep-l.at : n])
	}
	l.out = true
	s.begin(nil, opWrite, step.To, l.at, l.bounce[:n])
	l.at += n
}

func (s *Store) laneDone(err error) {
	t := s.lane.now
	s.lane.now = nil
	step, err := s.index.Prepared(t.ref, err)
	s.follow(t, step, err)
	s.laneNext()
}
