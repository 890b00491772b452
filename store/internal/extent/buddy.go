package extent

import "math/bits"

// Extents are powers of two from a page to a block, aligned to their size: the classic binary buddy system (Knuth, TAOCP
// vol. 1, 2.5). Taking and giving back cost at most one step per order; extents shrink, and often grow, where they are.
const (
	pageBits   = 12
	pageBytes  = 1 << pageBits
	blockBits  = 26 // a block holds the largest chunk
	maxOrder   = blockBits - pageBits
	blockPages = 1 << maxOrder
)

// States of a page that heads a run of 1 << order pages; 0 is a page inside a run, or one that does not exist.
const (
	stateFree  = 0x80
	stateTaken = 0x40
)

// block is the book-keeping of one block, made when the block is first needed.
type block struct {
	state      [blockPages]uint8
	next, prev [blockPages]uint32      // free lists, page + 1; 0 ends
	used       [blockPages / 64]uint64 // pages that have been given out at least once
}

// buddy hands out runs of pages. Page numbers are global; runs never cross a block.
type buddy struct {
	blocks   []*block
	heads    [maxOrder + 1]uint32 // page + 1 of a free run of each order; 0 = none
	capacity uint64               // pages that may be taken at the same time
	taken    uint64
}

// orderFor is the smallest order whose runs hold so many bytes (1 … 1<<blockBits).
func orderFor(bytes uint64) uint8 {
	if bytes <= pageBytes {
		return 0
	}
	return uint8(bits.Len64(bytes-1) - pageBits)
}

// take returns a run of 1 << order pages, or false if there is none within the capacity.
func (b *buddy) take(order uint8) (page uint32, ok bool) {
	if b.taken+1<<order > b.capacity {
		return 0, false
	}
	from := order
	for from <= maxOrder && b.heads[from] == 0 {
		from++
	}
	if from > maxOrder {
		if !b.addBlock() {
			return 0, false
		}
		return b.take(order)
	}
	page = b.heads[from] - 1
	b.unlink(page, from)
	b.split(page, from, order)
	return page, true
}

// split takes the lower 1 << order pages of a run that is in no list, and frees the rest.
func (b *buddy) split(page uint32, from, order uint8) {
	for from > order {
		from--
		b.link(page+1<<from, from)
	}
	b.setState(page, stateTaken|order)
	b.taken += 1 << order
}

// takeAt takes exactly the given run; false if any of it is taken. For rebuilding from a log: the run may lie beyond the capacity.
func (b *buddy) takeAt(page uint32, order uint8) bool {
	if order > maxOrder || page&(1<<order-1) != 0 {
		return false
	}
	for uint64(len(b.blocks))<<maxOrder <= uint64(page) {
		b.blocks = append(b.blocks, &block{})
		b.link(uint32(len(b.blocks)-1)<<maxOrder, maxOrder)
	}
	for from := order; from <= maxOrder; from++ {
		head := page &^ (1<<from - 1)
		if b.state(head) != stateFree|from {
			continue
		}
		b.unlink(head, from)
		for from > order {
			from--
			if page&(1<<from) != 0 { // the wanted run is in the upper half
				b.link(head, from)
				head += 1 << from
			} else {
				b.link(head+1<<from, from)
			}
		}
		b.setState(page, stateTaken|order)
		b.taken += 1 << order
		return true
	}
	return false
}

// takeFree takes the largest free run that begins at a page and ends before another, within what takeAt can take; −1: the page is taken.
func (b *buddy) takeFree(page, end uint32) (order int) {
	for order = maxOrder; order >= 0; order-- {
		if page&(1<<order-1) == 0 && page+1<<order <= end && b.takeAt(page, uint8(order)) {
			return order
		}
	}
	return -1
}

// give frees a taken run, and joins it with its free neighbours.
func (b *buddy) give(page uint32, order uint8) {
	b.taken -= 1 << order
	b.setState(page, 0)
	for order < maxOrder {
		other := page ^ 1<<order
		if b.state(other) != stateFree|order {
			break
		}
		b.unlink(other, order)
		page &^= 1 << order
		order++
	}
	b.link(page, order)
}

// halve splits a taken run of an order ≥ 1 into two taken runs; the upper one begins at the returned page.
func (b *buddy) halve(page uint32, order uint8) (upper uint32) {
	order--
	upper = page + 1<<order
	b.setState(page, stateTaken|order)
	b.setState(upper, stateTaken|order)
	return upper
}

// grow makes a taken run larger where it is, if what follows is free.
func (b *buddy) grow(page uint32, order, to uint8) bool {
	if page&(1<<to-1) != 0 || b.taken+1<<to-1<<order > b.capacity {
		return false
	}
	for o := order; o < to; o++ {
		if b.state(page+1<<o) != stateFree|o {
			return false
		}
	}
	for o := order; o < to; o++ {
		b.unlink(page+1<<o, o)
	}
	b.setState(page, stateTaken|to)
	b.taken += 1<<to - 1<<order
	return true
}

// markUsed notes that the run's pages are about to be written and reports whether they never were before: then
// they are zeros.
func (b *buddy) markUsed(page uint32, order uint8) (fresh bool) {
	words, first := &b.blocks[page>>maxOrder].used, page&(blockPages-1)
	count := uint32(1) << order
	if count < 64 {
		mask := (uint64(1)<<count - 1) << (first & 63)
		fresh = words[first/64]&mask == 0
		words[first/64] |= mask
		return fresh
	}
	fresh = true
	for i := first / 64; i < (first+count)/64; i++ {
		fresh = fresh && words[i] == 0
		words[i] = ^uint64(0)
	}
	return fresh
}

// addBlock brings one more block into play: only as much of it as the capacity allows.
func (b *buddy) addBlock() bool {
	start := uint64(len(b.blocks)) << maxOrder
	if start >= b.capacity {
		return false
	}
	b.blocks = append(b.blocks, &block{})
	left := min(b.capacity-start, blockPages)
	page := uint32(start) + uint32(left)
	for order := uint8(0); order <= maxOrder; order++ { // small runs last in the block, so that large ones are aligned
		if left&(1<<order) != 0 {
			page -= 1 << order
			b.link(page, order)
		}
	}
	return true
}

func (b *buddy) state(page uint32) uint8 {
	if uint64(page>>maxOrder) >= uint64(len(b.blocks)) {
		return 0
	}
	return b.blocks[page>>maxOrder].state[page&(blockPages-1)]
}

func (b *buddy) setState(page uint32, state uint8) {
	b.blocks[page>>maxOrder].state[page&(blockPages-1)] = state
}

func (b *buddy) links(page uint32) (next, prev *uint32) {
	block, i := b.blocks[page>>maxOrder], page&(blockPages-1)
	return &block.next[i], &block.prev[i]
}

func (b *buddy) link(page uint32, order uint8) {
	next, prev := b.links(page)
	*next, *prev = b.heads[order], 0
	if *next != 0 {
		_, back := b.links(*next - 1)
		*back = page + 1
	}
	b.heads[order] = page + 1
	b.setState(page, stateFree|order)
}

func (b *buddy) unlink(page uint32, order uint8) {
	next, prev := b.links(page)
	if *next != 0 {
		_, back := b.links(*next - 1)
		*back = *prev
	}
	if *prev != 0 {
		forward, _ := b.links(*prev - 1)
		*forward = *next
	} else {
		b.heads[order] = *next
	}
	b.setState(page, 0)
}
