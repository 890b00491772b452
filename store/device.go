package store

import (
	"errors"
	"syscall"

	"github.com/benchfs/benchfs/fserr"
)

// Device is a Store whose bytes are on a medium that takes its time. Its owner does not wait there: it starts an operation with a tag of its
// own, goes on, and finds the tag among what Next hands out once the operation has ended. The methods of Store work too; they wait.
//
// Tags are pointers, or other values that fit into an interface without allocation. Operations on the same bytes take effect in some
// order in which none that has ended comes after one that began later.
type Device interface {
	Store
	// StartView is View. done: v is the answer, or err is; otherwise Next brings both.
	// [ErrNoBuffers] as for Begin.
	StartView(ino, chunk uint64, off, n uint32, gen uint32, tag any) (v View, done bool, err error)
	// Begin, the method of Store, returns at once; ErrNoBuffers: all memory for transfers is in use. Try again when a View or a
	// Write has ended.
	//
	// StartCommit is Commit. w is spent in either case.
	StartCommit(w Write, tag any) (done bool, err error)
	// StartReserve is Reserve.
	StartReserve(ino, chunk uint64, n uint32, gen uint32, chunkBits uint8, tag any) (done bool, err error)
	// Poll hands what was started to the medium, and notes what has ended. busy: something is still under way. It is cheap when
	// nothing is.
	Poll() (busy bool)
	// Next hands out one operation that has ended; ok is false when there is none.
	Next() (e Ending, ok bool)
	// EventFD is readable as long as Poll would note something. It is for waiting only, and stays the same until Close.
	EventFD() int
	// Stats tells what the device has done so far.
	Stats() DeviceStats
}

// DeviceStats is what a Device has done since it was opened, and what it is doing.
type DeviceStats struct {
	Direct       bool   `json:"direct"` // past the page cache; false where the file system cannot
	Reads        uint64 `json:"reads"`
	ReadBytes    uint64 `json:"read_bytes"`
	Writes       uint64 `json:"writes"`
	WrittenBytes uint64 `json:"written_bytes"`
	Syncs        uint64 `json:"syncs"`  // of files, to the medium
	Errors       uint64 `json:"errors"` // reads, writes and syncs that failed
	InFlight     uint64 `json:"in_flight"`
	BufferBytes  uint64 `json:"buffer_bytes"`      // memory for transfers
	BuffersUsed  uint64 `json:"buffer_bytes_used"` // of it
}

// Ending is the end of an operation that was started.
type Ending struct {
	Tag  any
	View View // of a StartView without an error; to be released
	Err  error
}

// ErrNoBuffers says that a Device has no memory for one more transfer now.
var ErrNoBuffers error = fserr.New("store", "", syscall.EAGAIN, errors.New("all buffers are in use"))
