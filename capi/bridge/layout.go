package bridge

import (
	"math/bits"
	"syscall"

	"github.com/pkg/errors"

	"github.com/benchfs/benchfs/core/client"
	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/fserr"
)

// Layout is the C interface's view of a layout.
type Layout struct {
	ChunkBytes uint64 // 0: the default
	Strategy   uint32 // 0: none set
	First      uint32
	Shards     uint32
	Epoch      uint32
}

func layoutOf(l layout.Layout) Layout {
	out := Layout{Strategy: uint32(l.Strategy), First: l.First, Shards: l.Shards, Epoch: l.Epoch}
	if l.ChunkBits != 0 {
		out.ChunkBytes = l.ChunkBytes()
	}
	return out
}

// toLayout is what can be set of a layout.
func (l Layout) toLayout() (layout.Layout, error) {
	if l.Strategy > uint32(layout.Local) {
		return layout.Layout{}, errors.Wrapf(syscall.EINVAL, "layout strategy %d", l.Strategy)
	}
	out := layout.Layout{Strategy: layout.Strategy(l.Strategy)}
	if l.ChunkBytes != 0 {
		if bits.OnesCount64(l.ChunkBytes) != 1 {
			return layout.Layout{}, errors.Wrapf(syscall.EINVAL, "a chunk of %d bytes: no power of two", l.ChunkBytes)
		}
		out.ChunkBits = uint8(bits.TrailingZeros64(l.ChunkBytes))
		if out.ChunkBits == 0 { // 0 bits would mean the default
			return layout.Layout{}, errors.Wrap(syscall.EINVAL, "a chunk of 1 byte")
		}
	}
	return out, nil
}

// GetLayout fills out with the layout at path.
func (l *Library) GetLayout(path string, out *Layout) int64 {
	return l.along("get_layout", AtRoot, path, func(c *client.Client, at client.At) error {
		lay, err := c.Layout(background, at, path)
		if err == nil {
			*out = layoutOf(lay)
		}
		return err
	})
}

// FgetLayout fills out with the layout of an open file.
func (l *Library) FgetLayout(fd int32, out *Layout) int64 {
	return l.on("fget_layout", fd, func(f *client.File) error {
		lay, err := f.Layout(background)
		if err == nil {
			*out = layoutOf(lay)
		}
		return err
	})
}

// SetLayout sets the layout at path.
func (l *Library) SetLayout(path string, in Layout) int64 {
	lay, err := in.toLayout()
	if err != nil {
		return l.fail(fserr.New("set_layout", path, syscall.EINVAL, err))
	}
	return l.along("set_layout", AtRoot, path, func(c *client.Client, at client.At) error {
		return c.SetLayout(background, at, path, lay)
	})
}

// FsetLayout sets the layout of an open file.
func (l *Library) FsetLayout(fd int32, in Layout) int64 {
	lay, err := in.toLayout()
	if err != nil {
		return l.fail(fserr.New("fset_layout", "", syscall.EINVAL, err))
	}
	return l.on("fset_layout", fd, func(f *client.File) error { return f.SetLayout(background, lay) })
}

// Locate hands the extents of a range to emit, at most room of them, and returns how many there are.
func (l *Library) Locate(fd int32, off, n int64, room int, emit func(i int, e *client.Extent)) int64 {
	var found int
	failed := l.on("locate", fd, func(f *client.File) error {
		list, err := f.Locate(background, off, n)
		if err != nil {
			return err
		}
		found = len(list)
		for i := range min(found, room) {
			emit(i, &list[i])
		}
		return nil
	})
	if failed != 0 {
		return failed
	}
	return int64(found)
}
