package rpc

import "encoding/binary"

// Frame layout, little-endian, HeaderBytes long; the body (at most MaxBody bytes) follows directly. Header and body travel
// as the header of one active message, the bulk payload as its data.
//
//	 0  u32 magic      "BFS1"
//	 4  u8  version    ProtocolVersion
//	 5  u8  kind       1 request, 2 reply
//	 6  u16 type       MsgType
//	 8  u64 id         this attempt; a reply carries the id of its request. Never used twice by a client process
//	16  u64 op         the operation, the same over all attempts of a retry; 0 = may run twice without harm
//	24  u64 client     the client process (random, drawn once)
//	32  u32 session    slot given in HelloReply; 0 in Hello
//	36  u32 epoch      epoch of the sender's cluster map
//	40  u16 status     reply: Status; request: 0
//	42  u16 flags      reserved, 0
//	44  u32 errno      reply with StatusErrno: the server's errno; else 0
//	48  u32 body       bytes of body
//	52  u32 timeout    request: milliseconds after which nobody waits for the answer; reply: 0
//	56  u64 bulk       bytes of bulk payload
const (
	HeaderBytes     = 64
	MaxBody         = 960 // HeaderBytes + MaxBody = 1024: what every UCX transport takes as an active-message header
	ProtocolVersion = 4
	magic           = 0x31534642 // "BFS1"

	// Offsets that the C side of a transport needs to match a reply with its request.
	OffsetKind = 5
	OffsetID   = 8
)

// Kind of a frame.
const (
	KindRequest = 1
	KindReply   = 2
)

// Header is the decoded fixed part of a frame.
type Header struct {
	Kind      uint8
	Type      MsgType
	ID        uint64
	Op        uint64
	Client    uint64
	Session   uint32
	Epoch     uint32
	Status    Status
	Flags     uint16
	Errno     uint32
	BodyLen   uint32
	TimeoutMS uint32
	BulkLen   uint64
}

// Put writes h into the first HeaderBytes of b.
func (h *Header) Put(b []byte) {
	_ = b[HeaderBytes-1]
	le := binary.LittleEndian
	le.PutUint32(b[0:], magic)
	b[4] = ProtocolVersion
	b[5] = h.Kind
	le.PutUint16(b[6:], uint16(h.Type))
	le.PutUint64(b[8:], h.ID)
	le.PutUint64(b[16:], h.Op)
	le.PutUint64(b[24:], h.Client)
	le.PutUint32(b[32:], h.Session)
	le.PutUint32(b[36:], h.Epoch)
	le.PutUint16(b[40:], uint16(h.Status))
	le.PutUint16(b[42:], h.Flags)
	le.PutUint32(b[44:], h.Errno)
	le.PutUint32(b[48:], h.BodyLen)
	le.PutUint32(b[52:], h.TimeoutMS)
	le.PutUint64(b[56:], h.BulkLen)
}

// Parse decodes a frame (header and body together) and returns its body, which aliases frame.
// Anything that is not a whole, well-formed frame of this protocol version is an *InvalidHeader.
func (h *Header) Parse(frame []byte) (body []byte, err error) {
	le := binary.LittleEndian
	switch {
	case len(frame) < HeaderBytes:
		return nil, &InvalidHeader{Reason: "shorter than a header"}
	case le.Uint32(frame) != magic:
		return nil, &InvalidHeader{Reason: "wrong magic"}
	case frame[4] != ProtocolVersion:
		return nil, &InvalidHeader{Reason: "protocol version differs"}
	case frame[5] != KindRequest && frame[5] != KindReply:
		return nil, &InvalidHeader{Reason: "neither request nor reply"}
	}
	*h = Header{
		Kind:      frame[5],
		Type:      MsgType(le.Uint16(frame[6:])),
		ID:        le.Uint64(frame[8:]),
		Op:        le.Uint64(frame[16:]),
		Client:    le.Uint64(frame[24:]),
		Session:   le.Uint32(frame[32:]),
		Epoch:     le.Uint32(frame[36:]),
		Status:    Status(le.Uint16(frame[40:])),
		Flags:     le.Uint16(frame[42:]),
		Errno:     le.Uint32(frame[44:]),
		BodyLen:   le.Uint32(frame[48:]),
		TimeoutMS: le.Uint32(frame[52:]),
		BulkLen:   le.Uint64(frame[56:]),
	}
	if h.BodyLen > MaxBody || int(h.BodyLen) != len(frame)-HeaderBytes {
		return nil, &InvalidHeader{Reason: "body length does not match the frame"}
	}
	return frame[HeaderBytes:], nil
}
