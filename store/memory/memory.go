// Package memory keeps chunks in anonymous memory outside the Go heap: for the embedded mode without a data directory, and for tests.
// Nothing outlives the process. Everything but where the bytes are is store/internal/extent's.
package memory

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/store"
	"github.com/benchfs/benchfs/store/internal/extent"
)

// Options configure a store.
type Options struct {
	// CapacityBytes bounds what chunks take; 0 = half of the machine's memory. Memory is taken from the system as it is written,
	// and kept for reuse.
	CapacityBytes int64
}

const segmentBytes = 1 << 30

// Store implements store.Store.
type Store struct{ *extent.Store }

// New makes an empty store.
func New(o Options) (*Store, error) {
	if o.CapacityBytes == 0 {
		var info unix.Sysinfo_t
		if err := unix.Sysinfo(&info); err != nil {
			return nil, fserr.New("open store", "memory", fserr.Errno(err), err)
		}
		o.CapacityBytes = int64(info.Totalram * uint64(info.Unit) / 2)
	}
	size := int64(segmentBytes)
	for size/2 >= max(o.CapacityBytes, extent.MinSegmentBytes) {
		size /= 2
	}
	s, err := extent.New(extent.Config{
		Backing: &backing{}, Name: "memory", CapacityBytes: o.CapacityBytes, SegmentBytes: size,
	})
	if err != nil {
		return nil, err
	}
	return &Store{s}, nil
}

var _ store.Shareable = (*Store)(nil)

// SegmentFiles implements store.Shareable: there are none.
func (s *Store) SegmentFiles() store.SegmentFiles {
	return store.SegmentFiles{Bytes: s.SegmentBytes()}
}

// backing implements extent.Backing.
type backing struct {
	segments []*extent.Mapping
}

func (b *backing) Map(_ int, bytes int64) ([]byte, bool, error) {
	m, err := extent.MapSegment(-1, bytes, true)
	if err != nil {
		return nil, false, err
	}
	b.segments = append(b.segments, m)
	return m.Bytes, false, nil
}

// Prepare does nothing: the capacity is the bound, and a page is made when it is first written.
func (b *backing) Prepare(int, int64, int64) error { return nil }

func (b *backing) Sync(int, int64, int64) error { return nil }

func (b *backing) SyncAll() error { return nil }

func (b *backing) Close() error {
	var err error
	for _, m := range b.segments {
		err = errors.Join(err, m.Unmap())
	}
	b.segments = nil
	return err
}

var _ extent.Backing = (*backing)(nil)
