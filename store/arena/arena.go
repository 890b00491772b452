// Package arena keeps chunks in mapped segment files of a directory: on tmpfs, persistent memory, or a local file system. What was
// committed survives the death of the process; what was synced survives power loss where the medium can.
//
// In the directory of a store named N:
//
//	chunks.*          the log of the index, see internal/wal
//	N.segment.<i>     the bytes; sparse, of one size, backed by space as they come into use
//
// The index, the allocator and recovery are store/internal/extent's; this package is about files.
package arena

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/internal/wal"
	"github.com/benchfs/benchfs/store/internal/extent"
)

// Options configure a store.
type Options struct {
	Dir  string // exists; one store a directory
	Name string // begins the names of segment files: says which node and shard, e.g. "node3-shard1"
	// CapacityBytes bounds what chunks take; 0 = what the store has already and nine tenths of what is free in Dir now.
	CapacityBytes int64
	SegmentBytes  int64       // of each file: a power of two ≥ 64 MiB; 0 = 256 MiB. A directory in use keeps the size it has
	Recover       wal.Recover // what to do about a damaged log
	Populate      bool        // touch space ahead of its use
	HugePages     bool        // ask for huge pages
	AheadBytes    int64       // space that is kept prepared beyond what is in use; 0 = 64 MiB
}

const (
	defaultSegmentBytes = 256 << 20
	minLogBytes         = 1 << 20
	defaultAheadBytes   = 64 << 20
)

// Store implements store.Store, and has Checkpoint, LogBytes, TouchAhead, PlanAhead and Dropped besides.
type Store struct {
	*extent.Store
	files *segmentFiles
}

// Open opens the store in a directory, making an empty one if there is none. EBUSY if it is open already, here or elsewhere.
func Open(o Options) (*Store, error) {
	if o.Name == "" || strings.ContainsRune(o.Name, filepath.Separator) {
		return nil, fserr.New("open store", o.Dir, syscall.EINVAL, fmt.Errorf("bad store name %q", o.Name))
	}
	log, err := wal.Open(o.Dir, wal.Options{Name: "chunks", SegmentBytes: minLogBytes, Recover: o.Recover})
	if err != nil {
		return nil, err
	}
	files := &segmentFiles{prefix: filepath.Join(o.Dir, o.Name+".segment."), populate: o.Populate, hugePages: o.HugePages}
	if !o.HugePages {
		files.pages.Store(smallPages)
	}
	if o.SegmentBytes == 0 {
		o.SegmentBytes = defaultSegmentBytes
	}
	if o.AheadBytes == 0 {
		o.AheadBytes = defaultAheadBytes
	}
	if o.CapacityBytes == 0 {
		o.CapacityBytes, err = extent.Room(o.Dir, files.prefix)
		if err != nil {
			return nil, errors.Join(err, log.Close())
		}
	}
	s, err := extent.New(extent.Config{
		Backing: files, Name: o.Name, CapacityBytes: o.CapacityBytes, SegmentBytes: o.SegmentBytes, Log: log, AheadBytes: o.AheadBytes,
	})
	if err != nil {
		return nil, err
	}
	return &Store{s, files}, nil
}
