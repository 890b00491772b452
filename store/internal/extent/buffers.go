package extent

// Buffers hands out runs of blocks of one piece of memory.
type Buffers struct {
	memory []byte
	buddy  buddy
}

// NewBuffers divides memory, whose length is a multiple of BlockBytes.
func NewBuffers(memory []byte) *Buffers {
	return &Buffers{memory: memory, buddy: buddy{capacity: uint64(len(memory)) >> pageBits}}
}

// Buffer is a run of blocks; the zero Buffer is none.
type Buffer struct {
	Bytes []byte
	page  uint32
	order uint8
}

// Holds reports whether there is room for n bytes when everything has been given back.
func (b *Buffers) Holds(n uint32) bool {
	return n <= 1<<blockBits && 1<<orderFor(uint64(n)) <= b.buddy.capacity
}

// Take returns a buffer of n bytes, a multiple of BlockBytes that is not 0; false when there is no room for it now.
func (b *Buffers) Take(n uint32) (Buffer, bool) {
	order := orderFor(uint64(n))
	page, ok := b.buddy.take(order)
	if !ok {
		return Buffer{}, false
	}
	at := int64(page) << pageBits
	return Buffer{Bytes: b.memory[at : at+int64(n) : at+int64(n)], page: page, order: order}, true
}

// Give takes a buffer back.
func (b *Buffers) Give(buffer Buffer) { b.buddy.give(buffer.page, buffer.order) }

// Bytes is how much memory it divides, Used how much of it has been taken.
func (b *Buffers) Bytes() uint64 { return uint64(len(b.memory)) }

// Used is explained at Bytes.
func (b *Buffers) Used() uint64 { return b.buddy.taken << pageBits }
