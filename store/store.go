// Package store keeps the chunks of one shard. A Store has one owner (the shard's thread) and no locks, except where a
// method says otherwise. It knows inode and chunk numbers, not names, and nothing of the network.
package store

// View is a pinned look at stored bytes. It must be given back with Release.
type View struct {
	// Data is what is present of the asked range, from its start on: len(Data) ≤ asked. What is beyond is absent.
	// It stays readable until Release, also if the chunk is truncated, grown or purged meanwhile.
	Data []byte
	ref  uint64 // implementation's own
}

// NewView makes a View; for implementations. ref is their own: whatever they need to find the pin again, 0 for none.
func NewView(data []byte, ref uint64) View { return View{Data: data, ref: ref} }

// Ref is what NewView was given.
func (v View) Ref() uint64 { return v.ref }

// Write is the right to fill part of a chunk. It must end in Commit or Abort.
type Write struct {
	// Data is where the bytes go; len(Data) is the length asked for.
	Data []byte
	ref  uint64
}

// NewWrite makes a Write; for implementations, like NewView.
func NewWrite(data []byte, ref uint64) Write { return Write{Data: data, ref: ref} }

// Ref is what NewWrite was given.
func (w Write) Ref() uint64 { return w.ref }

// Usage tells what a store holds.
type Usage struct {
	CapacityBytes uint64 // as configured
	UsedBytes     uint64 // in extents, including what extents round up to
	Chunks        uint64
	Files         uint64
}

// Store keeps chunks as extents. gen is the truncate generation: a request with another generation than the file's here fails with
// fserr.ErrStaleGeneration and changes nothing (a file that is not known here has generation 0 until told otherwise by
// Truncate or first contact: the first Begin or Reserve of an unknown file sets it).
// Errors: ENOSPC before anything is overwritten; EIO from the medium. View, Release, Begin, Commit and Abort allocate nothing in steady state.
type Store interface {
	// View pins [off, off+n) of a chunk. An unknown file or chunk is an empty Data, not an error.
	View(ino, chunk uint64, off, n uint32, gen uint32) (View, error)
	Release(v View)
	// Begin finds room for [off, off+n) (off+n ≤ chunk size) and returns where to put it. The bytes become visible
	// and durable against a killed process at Commit; the gap between what was present and off becomes zeros then.
	// An overwrite happens in place.
	Begin(ino, chunk uint64, off, n uint32, gen uint32, chunkBits uint8) (Write, error)
	Commit(w Write) error
	// Abort gives the room back; bytes that were present before are as they were, or partly overwritten.
	Abort(w Write)
	// Reserve allocates the extents of [0, n) of a chunk without making anything present.
	Reserve(ino, chunk uint64, n uint32, gen uint32, chunkBits uint8) error
	// Truncate drops all bytes at or beyond size and sets the generation. An older gen than the known one is ignored.
	// A Write in progress across it commits nothing beyond size: its Commit fails with fserr.ErrStaleGeneration.
	Truncate(ino uint64, gen uint32, size uint64, chunkBits uint8) error
	// Purge forgets a file. Extents that are pinned are freed when the last pin goes.
	Purge(ino uint64) error
	// Sync returns a function that makes the file's present bytes and their index (ino 0: everything) survive power
	// loss. The function may run on any goroutine, beside other methods.
	Sync(ino uint64) func() error
	Usage() Usage
	// Inodes lists the files of which something is kept.
	Inodes() []uint64
	// Close flushes and unmaps. No View or Write may be outstanding.
	Close() error
}
