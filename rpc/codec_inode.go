package rpc

import (
	"math"

	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/internal/inode"
)

// AppendTo appends the encoding of m to b.
func (m *InodeRequest) AppendTo(b []byte) []byte { return appendIno(b, m.Ino) }

// Decode reads m from the whole of b.
func (m *InodeRequest) Decode(b []byte) error {
	d := decoder{rest: b}
	*m = InodeRequest{Ino: d.ino()}
	return d.end()
}

// AppendTo appends the encoding of m to b.
func (m *AttrReply) AppendTo(b []byte) []byte { return appendAttr(b, &m.Attr) }

// Decode reads m from the whole of b.
func (m *AttrReply) Decode(b []byte) error {
	d := decoder{rest: b}
	d.attr(&m.Attr)
	return d.end()
}

// setMaskAll is every bit that a SetMask may have.
const setMaskAll = inode.SetMtimeMax<<1 - 1

// AppendTo appends the encoding of m to b.
func (m *SetAttr) AppendTo(b []byte) []byte {
	b = appendIno(b, m.Ino)
	b = le.AppendUint32(b, uint32(m.Mask))
	b = le.AppendUint32(b, m.Mode)
	b = le.AppendUint32(b, m.UID)
	b = le.AppendUint32(b, m.GID)
	b = appendI64(b, m.Atime)
	b = appendI64(b, m.Mtime)
	return appendLayout(b, &m.Layout)
}

// Decode reads m from the whole of b. A mask with unknown bits is refused: to ignore one would be to lose a change.
func (m *SetAttr) Decode(b []byte) error {
	d := decoder{rest: b}
	*m = SetAttr{
		Ino:    d.ino(),
		Mask:   inode.SetMask(d.u32()),
		Mode:   d.u32(),
		UID:    d.u32(),
		GID:    d.u32(),
		Atime:  d.i64(),
		Mtime:  d.i64(),
		Layout: d.layout(),
	}
	if m.Mask&^setMaskAll != 0 {
		d.fail("unknown attribute")
	}
	return d.end()
}

// AppendTo appends the encoding of m to b.
func (m *Extend) AppendTo(b []byte) []byte {
	b = appendIno(b, m.Ino)
	b = le.AppendUint64(b, m.End)
	return le.AppendUint32(b, m.Gen)
}

// Decode reads m from the whole of b.
func (m *Extend) Decode(b []byte) error {
	d := decoder{rest: b}
	*m = Extend{Ino: d.ino(), End: d.u64(), Gen: d.u32()}
	return d.end()
}

// AppendTo appends the encoding of m to b.
func (m *Append) AppendTo(b []byte) []byte {
	return le.AppendUint64(appendIno(b, m.Ino), m.Length)
}

// Decode reads m from the whole of b.
func (m *Append) Decode(b []byte) error {
	d := decoder{rest: b}
	*m = Append{Ino: d.ino(), Length: d.u64()}
	return d.end()
}

// AppendTo appends the encoding of m to b.
func (m *AppendReply) AppendTo(b []byte) []byte {
	return appendAttr(appendFlag(le.AppendUint64(b, m.Offset), m.Written), &m.Attr)
}

// Decode reads m from the whole of b.
func (m *AppendReply) Decode(b []byte) error {
	d := decoder{rest: b}
	m.Offset, m.Written = d.u64(), d.flag()
	d.attr(&m.Attr)
	return d.end()
}

// AppendTo appends the encoding of m to b.
func (m *EndAppend) AppendTo(b []byte) []byte {
	b = appendIno(b, m.Ino)
	b = le.AppendUint64(b, m.Ref)
	b = le.AppendUint64(b, m.Offset)
	b = le.AppendUint64(b, m.End)
	b = le.AppendUint32(b, m.Gen)
	return append(b, byte(m.State))
}

// Decode reads m from the whole of b.
func (m *EndAppend) Decode(b []byte) error {
	d := decoder{rest: b}
	*m = EndAppend{Ino: d.ino(), Ref: d.u64(), Offset: d.u64(), End: d.u64(), Gen: d.u32(), State: AppendState(d.u8())}
	switch {
	case m.State < AppendGoesOn || m.State > AppendBroken:
		d.fail("unknown state of an append")
	case m.Ref == 0 || m.End < m.Offset:
		d.fail("end of no append")
	}
	return d.end()
}

// AppendTo appends the encoding of m to b.
func (m *Truncate) AppendTo(b []byte) []byte { return le.AppendUint64(appendIno(b, m.Ino), m.Size) }

// Decode reads m from the whole of b.
func (m *Truncate) Decode(b []byte) error {
	d := decoder{rest: b}
	*m = Truncate{Ino: d.ino(), Size: d.u64()}
	return d.end()
}

// AppendTo appends the encoding of m to b.
func (m *AddRun) AppendTo(b []byte) []byte {
	b = appendIno(b, m.Ino)
	b = le.AppendUint32(b, m.Gen)
	return appendRun(b, m.Run)
}

// Decode reads m from the whole of b.
func (m *AddRun) Decode(b []byte) error {
	d := decoder{rest: b}
	*m = AddRun{Ino: d.ino(), Gen: d.u32(), Run: d.run()}
	return d.end()
}

// AppendTo appends the encoding of m to b.
func (m *OpenHandle) AppendTo(b []byte) []byte { return le.AppendUint64(appendIno(b, m.Ino), m.Handle) }

// Decode reads m from the whole of b.
func (m *OpenHandle) Decode(b []byte) error {
	d := decoder{rest: b}
	*m = OpenHandle{Ino: d.ino(), Handle: d.u64()}
	return d.end()
}

// AppendTo appends the encoding of m to b.
func (m *ReleaseHandles) AppendTo(b []byte) []byte {
	b = le.AppendUint32(b, uint32(len(m.Handles)))
	for _, h := range m.Handles {
		b = appendI64(le.AppendUint64(appendIno(b, h.Ino), h.Handle), h.Mtime)
	}
	return b
}

// Decode reads m from the whole of b, and reuses the memory of m.Handles.
func (m *ReleaseHandles) Decode(b []byte) error {
	d := decoder{rest: b}
	m.Handles = m.Handles[:0]
	n := d.u32()
	if n == 0 || n > MaxReleases {
		d.fail("number of handles out of bounds")
	}
	for range min(n, MaxReleases) {
		m.Handles = append(m.Handles, ReleaseHandle{Ino: d.ino(), Handle: d.u64(), Mtime: d.i64()})
	}
	return d.end()
}

// RunBytes is the encoded size of one placement run.
const RunBytes = 20

func appendRun(b []byte, r layout.Run) []byte {
	return le.AppendUint32(le.AppendUint64(le.AppendUint64(b, r.First), r.Count), r.Shard)
}

// run takes a run that is not empty and ends by the last chunk that can be numbered.
func (d *decoder) run() layout.Run {
	r := layout.Run{First: d.u64(), Count: d.u64(), Shard: d.u32()}
	if r.Count == 0 || r.First > math.MaxUint64-r.Count {
		d.fail("empty or endless placement run")
	}
	return r
}

// AppendRuns appends the encoding of a list of placement runs, a payload of MsgGetRuns and MsgAddRun: RunBytes each.
func AppendRuns(b []byte, runs []layout.Run) []byte {
	for _, r := range runs {
		b = appendRun(b, r)
	}
	return b
}

// DecodeRuns reads a list of runs from the whole of b. It checks that they are sorted and do not overlap.
func DecodeRuns(b []byte) ([]layout.Run, error) {
	if len(b)%RunBytes != 0 {
		return nil, &InvalidHeader{Reason: "not a whole number of placement runs"}
	}
	d := decoder{rest: b}
	runs := make([]layout.Run, 0, len(b)/RunBytes)
	for len(d.rest) > 0 {
		run := d.run()
		if n := len(runs); n > 0 && run.First < runs[n-1].First+runs[n-1].Count {
			d.fail("placement runs overlap")
		}
		runs = append(runs, run)
	}
	if err := d.end(); err != nil {
		return nil, err
	}
	return runs, nil
}
