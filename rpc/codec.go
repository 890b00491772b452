package rpc

import (
	"encoding/binary"
	"math"

	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/internal/inode"
)

// The codec. Every message M has (*M).AppendTo(b), which appends its encoding to b, and (*M).Decode(b), which takes the
// whole of b or returns an *InvalidHeader. Little-endian, fixed order, no padding, no reflection; docs/wire.md lists the bytes and
// golden tests hold them. Byte strings are a u16 length and the bytes, and a decoded one aliases the input (nil if empty).
// Neither direction allocates when b has room. AppendTo does not check: what is too long is refused by the other side's Decode.

// MaxName is the longest name of a directory entry, in bytes.
const MaxName = 255

// maxIdent is the longest host id, secret or build id in a handshake, in bytes.
const maxIdent = 64

const (
	layoutBytes = 14
	attrBytes   = 8 + 1 + 4*4 + 8 + 4*8 + 8 + 4 + 8 + layoutBytes + 4
)

// decoder takes values off the front of a buffer. The first failure is kept and everything after it reads as zero, so that
// a message is decoded without a branch a field and judged once, by end.
type decoder struct {
	rest   []byte
	reason string // "" while all is well
}

func (d *decoder) fail(reason string) {
	if d.reason == "" {
		d.reason = reason
	}
	d.rest = nil
}

// take returns the next n bytes, or nil after a failure.
func (d *decoder) take(n int) []byte {
	if len(d.rest) < n {
		d.fail("body too short")
		return nil
	}
	out := d.rest[:n:n]
	d.rest = d.rest[n:]
	return out
}

func (d *decoder) u8() uint8 {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) u16() uint16 {
	if b := d.take(2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (d *decoder) u32() uint32 {
	if b := d.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (d *decoder) u64() uint64 {
	if b := d.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (d *decoder) i64() int64     { return int64(d.u64()) }
func (d *decoder) ino() inode.Ino { return inode.Ino(d.u64()) }
func (d *decoder) peer() PeerID   { return PeerID{Node: d.u32(), Shard: d.u32()} }

// flag takes a byte that must be 0 or 1.
func (d *decoder) flag() bool {
	v := d.u8()
	if v > 1 {
		d.fail("flag is neither 0 nor 1")
	}
	return v == 1
}

// oneOf takes a byte from 1 to last.
func (d *decoder) oneOf(last uint8, otherwise string) uint8 {
	v := d.u8()
	if v == 0 || v > last {
		d.fail(otherwise)
	}
	return v
}

// text takes a byte string of at most limit bytes.
func (d *decoder) text(limit int, tooLong string) []byte {
	n := int(d.u16())
	if n > limit {
		d.fail(tooLong)
		return nil
	}
	if n == 0 {
		return nil
	}
	return d.take(n)
}

func (d *decoder) name() []byte  { return d.text(MaxName, "name longer than 255 bytes") }
func (d *decoder) ident() []byte { return d.text(maxIdent, "identification longer than 64 bytes") }

// kind takes the kind of a file.
func (d *decoder) kind() inode.Kind {
	k := inode.Kind(d.u8())
	if !k.Valid() {
		d.fail("unknown kind of file")
	}
	return k
}

// kindOrNone takes the kind of a file that need not exist: 0 then.
func (d *decoder) kindOrNone() inode.Kind {
	k := inode.Kind(d.u8())
	if k != 0 && !k.Valid() {
		d.fail("unknown kind of file")
	}
	return k
}

// layout takes a layout. Whether it suits the cluster is for the receiver to say; here only what no version ever sends is refused.
func (d *decoder) layout() layout.Layout {
	l := layout.Layout{
		Strategy:  layout.Strategy(d.u8()),
		ChunkBits: d.u8(),
		First:     d.u32(),
		Shards:    d.u32(),
		Epoch:     d.u32(),
	}
	if l.Strategy != layout.None && !l.Strategy.Known() {
		d.fail("unknown placement strategy")
	}
	if l.ChunkBits != 0 {
		checkChunkBits(d, l.ChunkBits)
	}
	return l
}

// chunkBits takes the chunk size of a file, as a power of two.
func (d *decoder) chunkBits() uint8 {
	v := d.u8()
	checkChunkBits(d, v)
	return v
}

func checkChunkBits(d *decoder, v uint8) {
	if v < layout.MinChunkBits || v > layout.MaxChunkBits {
		d.fail("chunk size out of bounds")
	}
}

func (d *decoder) attr(a *inode.Attr) {
	a.Ino = d.ino()
	a.Kind = d.kind()
	a.Mode, a.Nlink, a.UID, a.GID = d.u32(), d.u32(), d.u32(), d.u32()
	a.Size = d.u64()
	a.Atime, a.Mtime, a.Ctime, a.Btime = d.i64(), d.i64(), d.i64(), d.i64()
	a.Version = d.u64()
	a.TruncGen = d.u32()
	a.Parent = d.ino()
	a.Layout = d.layout()
	a.RunsVersion = d.u32()
}

// end is the verdict on the whole message: nothing failed, and nothing is left over.
func (d *decoder) end() error {
	if d.reason == "" && len(d.rest) > 0 {
		d.reason = "bytes left over"
	}
	if d.reason != "" {
		return &InvalidHeader{Reason: d.reason}
	}
	return nil
}

var le = binary.LittleEndian

func appendFlag(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

func appendIno(b []byte, v inode.Ino) []byte { return le.AppendUint64(b, uint64(v)) }
func appendI64(b []byte, v int64) []byte     { return le.AppendUint64(b, uint64(v)) }

func appendPeer(b []byte, p PeerID) []byte {
	return le.AppendUint32(le.AppendUint32(b, p.Node), p.Shard)
}

// appendText cuts at 65535 bytes, which every receiver refuses for its length anyway: the frame stays well-formed.
func appendText(b, text []byte) []byte {
	text = text[:min(len(text), math.MaxUint16)]
	return append(le.AppendUint16(b, uint16(len(text))), text...)
}

func appendLayout(b []byte, l *layout.Layout) []byte {
	b = append(b, byte(l.Strategy), l.ChunkBits)
	b = le.AppendUint32(b, l.First)
	b = le.AppendUint32(b, l.Shards)
	return le.AppendUint32(b, l.Epoch)
}

func appendAttr(b []byte, a *inode.Attr) []byte {
	b = appendIno(b, a.Ino)
	b = append(b, byte(a.Kind))
	b = le.AppendUint32(b, a.Mode)
	b = le.AppendUint32(b, a.Nlink)
	b = le.AppendUint32(b, a.UID)
	b = le.AppendUint32(b, a.GID)
	b = le.AppendUint64(b, a.Size)
	b = appendI64(b, a.Atime)
	b = appendI64(b, a.Mtime)
	b = appendI64(b, a.Ctime)
	b = appendI64(b, a.Btime)
	b = le.AppendUint64(b, a.Version)
	b = le.AppendUint32(b, a.TruncGen)
	b = appendIno(b, a.Parent)
	b = appendLayout(b, &a.Layout)
	return le.AppendUint32(b, a.RunsVersion)
}
