package ucx

import (
	"encoding/binary"
	"hash/crc32"
	"time"

	"github.com/benchfs/benchfs/rpc"
)

// What testService understands, in terms of message types that exist.
const (
	msgEcho  = rpc.MsgEcho
	msgRead  = rpc.MsgReadChunk  // body: u32 bytes, u32 seed → payload: pattern
	msgWrite = rpc.MsgWriteChunk // payload → body: u32 CRC
	msgHold  = rpc.MsgGetAttr    // answered when a msgFree comes
	msgFree  = rpc.MsgSetAttr
	msgStall = rpc.MsgTruncate // body: u32 ms: the whole shard stands still
	msgBye   = rpc.MsgBye
	msgKick  = rpc.MsgDelete // the server forgets the peer
	msgLater = rpc.MsgAppend // payload is fetched only after body's u32 ms
)

const testMax = 16 << 20

// testService is a shard that moves bytes about. All its memory is C memory.
type testService struct {
	loop    rpc.Loop
	alloc   func(int) ([]byte, error)
	free    [][]byte
	held    []*rpc.Request
	gone    int
	failed  int // Received or Replied with an error
	pattern []byte
}

type testOp struct{ buffer []byte }

func (s *testService) take() []byte {
	if n := len(s.free); n > 0 {
		b := s.free[n-1]
		s.free = s.free[:n-1]
		return b
	}
	b, err := s.alloc(testMax)
	if err != nil {
		panic(err)
	}
	return b
}

func (s *testService) Serve(r *rpc.Request) {
	switch r.Header.Type {
	case rpc.MsgHello:
		var body [4]byte
		binary.LittleEndian.PutUint32(body[:], r.Peer.Session())
		r.Reply(rpc.StatusOK, 0, body[:], nil)
	case msgEcho, msgWrite:
		s.withPayload(r)
	case msgRead:
		n, seed := binary.LittleEndian.Uint32(r.Body), binary.LittleEndian.Uint32(r.Body[4:])
		if s.pattern == nil {
			s.pattern, _ = s.alloc(testMax + 256)
			fillPattern(s.pattern, 0)
		}
		from := seed % 251
		r.Reply(rpc.StatusOK, 0, nil, s.pattern[from:from+n])
	case msgHold:
		s.held = append(s.held, r)
	case msgFree:
		for _, h := range s.held {
			h.Reply(rpc.StatusOK, 0, []byte("late"), nil)
		}
		s.held = nil
		r.Reply(rpc.StatusOK, 0, nil, nil)
	case msgStall:
		time.Sleep(time.Duration(binary.LittleEndian.Uint32(r.Body)) * time.Millisecond)
		r.Reply(rpc.StatusOK, 0, nil, nil)
	case msgLater:
		wait := time.Duration(binary.LittleEndian.Uint32(r.Body)) * time.Millisecond
		time.AfterFunc(wait, func() { s.loop.Submit(func() { s.withPayload(r) }) })
	case msgBye:
		r.Reply(rpc.StatusOK, 0, nil, nil)
		r.Peer.Close()
	case msgKick:
		r.Peer.Close()
		r.Reply(rpc.StatusOK, 0, nil, nil)
	default:
		r.Reply(rpc.StatusUnknown, 0, nil, nil)
	}
}

func (s *testService) withPayload(r *rpc.Request) {
	if r.Payload != nil || r.Header.BulkLen == 0 {
		s.answer(r, r.Payload)
		return
	}
	op := &testOp{buffer: s.take()}
	r.Op = op
	if done, err := r.Recv(op.buffer[:r.Header.BulkLen]); done {
		s.Received(r, err)
	}
}

func (s *testService) Received(r *rpc.Request, err error) {
	op := r.Op.(*testOp)
	if err != nil {
		s.failed++
		s.release(r)
		r.Reply(rpc.StatusErrno, 5, nil, nil)
		return
	}
	s.answer(r, op.buffer[:r.Header.BulkLen])
}

func (s *testService) answer(r *rpc.Request, payload []byte) {
	if r.Header.Type == msgEcho {
		if r.Reply(rpc.StatusOK, 0, r.Body, payload) && r.Op != nil {
			s.release(r)
		}
		return
	}
	var body [4]byte
	binary.LittleEndian.PutUint32(body[:], crc32.ChecksumIEEE(payload))
	s.release(r)
	r.Reply(rpc.StatusOK, 0, body[:], nil)
}

func (s *testService) release(r *rpc.Request) {
	if op, ok := r.Op.(*testOp); ok {
		s.free = append(s.free, op.buffer)
		r.Op = nil
	}
}

func (s *testService) Replied(r *rpc.Request, err error) {
	if err != nil {
		s.failed++
	}
	s.release(r)
}

func (s *testService) Gone(rpc.Peer) { s.gone++ }

// fillPattern is byte i = (i + i/251 + seed) mod 256 … cheap, and a shift shows.
func fillPattern(b []byte, seed uint32) {
	for i := range b {
		b[i] = patternAt(i + int(seed))
	}
}

func patternAt(i int) byte { return byte(i ^ i>>8*31 ^ i>>16*7) }
