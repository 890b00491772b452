package meta

import (
	"encoding/binary"
	"math"

	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/internal/inode"
)

// coder moves values to or from bytes, little-endian and without padding. Each format is described once, by one function
// that calls it, for both directions. A read that runs out of bytes, or finds what cannot be, sets bad and yields zeros from then on;
// no input makes it panic or allocate more than a small multiple of the input.
type coder struct {
	b       []byte // writing: what has been written; reading: what is left
	reading bool
	bad     string
}

func (c *coder) fail(why string) {
	if c.bad == "" {
		c.bad = why
	}
	if c.reading {
		c.b = nil
	}
}

// take returns the next n bytes, or nil.
func (c *coder) take(n int) []byte {
	if c.bad != "" || n > len(c.b) {
		c.fail("too short")
		return nil
	}
	b := c.b[:n:n]
	c.b = c.b[n:]
	return b
}

func code8[T ~uint8](c *coder, v *T) {
	if !c.reading {
		c.b = append(c.b, byte(*v))
		return
	}
	*v = 0
	if b := c.take(1); b != nil {
		*v = T(b[0])
	}
}

func code16[T ~uint16](c *coder, v *T) {
	if !c.reading {
		c.b = binary.LittleEndian.AppendUint16(c.b, uint16(*v))
		return
	}
	*v = 0
	if b := c.take(2); b != nil {
		*v = T(binary.LittleEndian.Uint16(b))
	}
}

func code32[T ~uint32](c *coder, v *T) {
	if !c.reading {
		c.b = binary.LittleEndian.AppendUint32(c.b, uint32(*v))
		return
	}
	*v = 0
	if b := c.take(4); b != nil {
		*v = T(binary.LittleEndian.Uint32(b))
	}
}

func code64[T ~uint64 | ~int64](c *coder, v *T) {
	if !c.reading {
		c.b = binary.LittleEndian.AppendUint64(c.b, uint64(*v))
		return
	}
	*v = 0
	if b := c.take(8); b != nil {
		*v = T(binary.LittleEndian.Uint64(b))
	}
}

// bytes is a name or a link target: u16 length, bytes. Read, it aliases the input.
func (c *coder) bytes(v *[]byte) {
	n := uint16(min(len(*v), math.MaxUint16))
	code16(c, &n)
	if !c.reading {
		c.b = append(c.b, (*v)[:n]...)
		return
	}
	*v = c.take(int(n))
}

// count is the length of a list whose elements take at least size bytes each: u32.
func (c *coder) count(n, size int) int {
	v := uint32(n)
	code32(c, &v)
	if c.reading && int64(v)*int64(size) > int64(len(c.b)) {
		c.fail("list longer than the record")
		return 0
	}
	return int(v)
}

func (c *coder) inodes(v *[]inode.Ino) {
	n := c.count(len(*v), 8)
	if c.reading {
		*v = make([]inode.Ino, n)
	}
	for i := range *v {
		code64(c, &(*v)[i])
	}
}

func (c *coder) list(v *[]uint32) {
	n := c.count(len(*v), 4)
	if c.reading {
		*v = make([]uint32, n)
	}
	for i := range *v {
		code32(c, &(*v)[i])
	}
}

// request is a flag byte, and for a request that is remembered its name and result.
func (c *coder) request(r *ReqID, res *Result) {
	var remembered uint8
	if r.Op != 0 {
		remembered = 1
	}
	code8(c, &remembered)
	if remembered > 1 {
		c.fail("bad flag")
	}
	if remembered != 1 {
		return
	}
	code64(c, &r.Client)
	code64(c, &r.Op)
	code64(c, &res.Ino)
	code64(c, &res.Offset)
	if r.Op == 0 {
		c.fail("request without a number")
	}
}

func (c *coder) layout(l *layout.Layout) {
	code8(c, &l.Strategy)
	code8(c, &l.ChunkBits)
	code32(c, &l.First)
	code32(c, &l.Shards)
	code32(c, &l.Epoch)
	if c.reading && l.Strategy != layout.None && l.Validate() != nil {
		c.fail("bad layout")
	}
}

const runBytes = 20

func (c *coder) run(r *layout.Run) {
	code64(c, &r.First)
	code64(c, &r.Count)
	code32(c, &r.Shard)
}

func (c *coder) runs(v *[]layout.Run) {
	n := c.count(len(*v), runBytes)
	if c.reading && n > 0 {
		*v = make([]layout.Run, n)
	}
	for i := range *v {
		c.run(&(*v)[i])
	}
}

// opBytes is the least that a step takes: one without a name.
const opBytes = 28

func (c *coder) ops(v *[]inode.TxOp) {
	n := c.count(len(*v), opBytes)
	if n > maxOps {
		c.fail("too many steps")
		return
	}
	if c.reading {
		*v = make([]inode.TxOp, n)
	}
	for i := range *v {
		op := &(*v)[i]
		code8(c, &op.Kind)
		code64(c, &op.Parent)
		code64(c, &op.Ino)
		code64(c, &op.Target)
		code8(c, &op.Entry)
		c.bytes(&op.Name)
	}
}
