package store

// Place is where the bytes of a chunk lie in the store's segment files, for processes of this machine that move them
// themselves. It holds as long as the slot shows the serial.
type Place struct {
	Slot    uint32 // on the Board
	Serial  uint32
	Segment uint32 // number of the file
	Offset  uint64 // of the chunk's first byte in it
	Bytes   uint32 // room that the chunk has there
}

// Board is where a store tells other processes which places hold and how many bytes are present there; shm has the one
// that there is, and the rules.
type Board interface {
	// Take gives a slot to a chunk with so many bytes; ok is false when there is none.
	Take(present uint32) (slot, serial uint32, ok bool)
	Serial(slot uint32) uint32
	// Set tells how many bytes are present now, after they are.
	Set(slot, present uint32)
	// Drop voids the place before anything happens to it, and frees the slot.
	Drop(slot uint32)
	// Announced calls do for each run of 1 << order pages that some process says it is touching, or about to. Pages are counted through all segment
	// files. A place that was dropped before the call is not in use any more unless such a run overlaps it. looked is how much there was to look at.
	Announced(do func(page uint32, order uint8)) (looked int)
}

// SegmentFiles says how another process finds the bytes of places: number n is in the file Prefix + decimal n.
type SegmentFiles struct {
	Prefix string // "": there are no files, the bytes are in this process's memory only
	Bytes  int64  // of each file
	Huge   bool   // they are made of huge pages
}

// Shareable is a Store whose chunks other processes may read and write in place. Methods are for the store's owner.
type Shareable interface {
	Store
	// Share sets the board, before the first PlaceOf.
	Share(b Board)
	SegmentFiles() SegmentFiles
	// SegmentMemory is where a segment is mapped in this process; nil if it is not. It may be called from any thread; the memory is there until Close.
	SegmentMemory(number uint32) []byte
	// PlaceOf is the place of a chunk; false when there is no such chunk in this generation, or no slot is free.
	PlaceOf(ino, chunk uint64, gen uint32) (Place, bool)
	// BeginBare is Begin for another process that will put the bytes where they belong. bare: there is no page for some of them yet, and the
	// process must write them to the file, which makes the pages, not through a mapping. That may fail with ENOSPC.
	BeginBare(ino, chunk uint64, off, n uint32, gen uint32, chunkBits uint8) (w Write, bare bool, err error)
	// PlaceOfWrite is the place of the chunk that a Write in progress is for.
	PlaceOfWrite(w Write) (Place, bool)
}
