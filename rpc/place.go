package rpc

import "math/bits"

// PlaceWords is the length of a Place as words of memory that processes share.
const PlaceWords = 2

// Places begin and end at pages of their segment, and have a power of two of them.
const (
	placePageBits    = 12
	placeOrderBits   = 6
	placeOffsetBits  = 30
	placeSegmentBits = 64 - placeOffsetBits - placeOrderBits
)

// Words is the Place as words, for SetWords. A Place that cannot be told like this is none.
func (p *Place) Words() (w [PlaceWords]uint64) {
	page := p.Offset >> placePageBits
	if !p.Held || p.Slot == 1<<32-1 || page<<placePageBits != p.Offset || page >= 1<<placeOffsetBits || p.Segment >= 1<<placeSegmentBits ||
		bits.OnesCount32(p.Bytes) != 1 {
		return w
	}
	w[0] = uint64(p.Slot+1)<<32 | uint64(p.Serial)
	w[1] = uint64(p.Segment)<<(placeOffsetBits+placeOrderBits) | page<<placeOrderBits | uint64(bits.TrailingZeros32(p.Bytes))
	return w
}

// SetWords takes the Place from what Words has returned.
func (p *Place) SetWords(w [PlaceWords]uint64) {
	*p = Place{}
	if w[0] == 0 {
		return
	}
	*p = Place{
		Held: true, Slot: uint32(w[0]>>32) - 1, Serial: uint32(w[0]),
		Segment: uint32(w[1] >> (placeOffsetBits + placeOrderBits)),
		Offset:  w[1] >> placeOrderBits & (1<<placeOffsetBits - 1) << placePageBits,
		Bytes:   1 << (w[1] & (1<<placeOrderBits - 1) & 31),
	}
}
