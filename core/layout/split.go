package layout

import "math"

// Splitter cuts a byte range into the pieces that lie inside one chunk each, in ascending order. It is a value without
// closures, so that the read and write paths need no memory for it:
//
//	s := layout.NewSplitter(off, n, l.ChunkBits)
//	for piece, ok := s.Next(); ok; piece, ok = s.Next() { … }
type Splitter struct {
	off       uint64 // where the next piece begins in the file
	left      uint64 // bytes not yet handed out
	start     uint64 // position of the next piece in the range
	chunkBits uint8
}

// NewSplitter cuts [off, off+n) of a file of chunks of 1<<chunkBits bytes (chunkBits ≤ MaxChunkBits).
// A range that ends beyond 2⁶⁴−1 is cut off there.
func NewSplitter(off, n uint64, chunkBits uint8) Splitter {
	return Splitter{off: off, left: min(n, math.MaxUint64-off), chunkBits: min(chunkBits, MaxChunkBits)}
}

// Next returns the next piece; ok is false when there is none.
func (s *Splitter) Next() (piece Piece, ok bool) {
	if s.left == 0 {
		return Piece{}, false
	}
	inChunk := s.off & (1<<s.chunkBits - 1)
	length := min(s.left, 1<<s.chunkBits-inChunk)
	piece = Piece{Chunk: s.off >> s.chunkBits, Offset: uint32(inChunk), Length: uint32(length), Start: s.start}
	s.off += length
	s.start += length
	s.left -= length
	return piece, true
}

// Pieces is how many pieces [off, off+n) has.
func Pieces(off, n uint64, chunkBits uint8) uint64 {
	n = min(n, math.MaxUint64-off)
	if n == 0 {
		return 0
	}
	return (off+n-1)>>chunkBits - off>>chunkBits + 1
}

// Split calls emit for each piece of [off, off+n) in ascending order, until emit returns false.
func Split(off, n uint64, chunkBits uint8, emit func(Piece) bool) {
	s := NewSplitter(off, n, chunkBits)
	for piece, ok := s.Next(); ok && emit(piece); piece, ok = s.Next() {
	}
}
