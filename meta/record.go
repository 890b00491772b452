package meta

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/internal/inode"
)

// recordKind says what a record of the log does. The numbers are part of the format on disk: append, never renumber.
type recordKind uint8

// The kinds. What each carries is in record.body.
const (
	recInit          recordKind = 1 + iota // first record of every log: whose it is; on shard 0 it makes the root directory
	recCreate                              // entry and inode
	recSetAttr                             // as inode.SetMask says
	recMtimeMax                            // inode.SetMtimeMax alone
	recExtend                              // size at least
	recAppend                              // size grows by; ends the reservation of the same request, if there is one
	recTruncate                            // size up or unchanged, at once
	recTruncateBegin                       // size down: intent
	recTruncateEnd                         // …and done
	recAddRun                              // placement of chunks
	recDrop                                // inodes without names and handles leave
	recPurgeDone                           // nobody holds chunks of the inode any more
	recApply                               // steps, at once
	recPrepare                             // steps, held
	recCommit                              // …done
	recAbort                               // …not done
	recTxReserve                           // numbers of operations up to this may be used
	recTxBegin                             // coordinator: an operation starts
	recTxDecide                            // coordinator: its outcome
	recTxForget                            // coordinator: everybody knows
	recReserve                             // the end of a file up to a size is an append's
	recEnd                                 // one past the last
)

// recordVersion is the version of the encoding of each kind of record. A kind whose body changes gets a higher one.
const recordVersion = 1

// maxOps bounds the steps of one operation on one shard.
const maxOps = 256

// record is one change, decoded: the union of what all kinds carry. Byte slices alias the input.
type record struct {
	kind recordKind
	now  int64  // when it happened: nanoseconds since the Unix epoch
	req  ReqID  // whose request it was; Op 0: nobody's that must be remembered
	res  Result // …and what it answered

	ino, parent    inode.Ino
	entry          inode.Kind
	mask           inode.SetMask
	mode, uid, gid uint32
	atime, mtime   int64
	size           uint64 // or length, or number of an operation
	layout         layout.Layout
	run            layout.Run
	name, target   []byte
	tx             uint64
	decision       inode.TxState
	ops            []inode.TxOp
	participants   []uint32
	shard, shards  uint32
	drops          []inode.Ino // inodes that leave in the same step; see Shard.disposable
}

// appendTo encodes: kind, version, time, request, body, drops.
func (r *record) appendTo(b []byte) []byte {
	c := coder{b: b}
	r.code(&c)
	return c.b
}

// decode is the inverse of appendTo. Anything that is not a whole record of a known kind and version is an EIO.
func (r *record) decode(b []byte) error {
	*r = record{}
	c := coder{b: b, reading: true}
	r.code(&c)
	if c.bad != "" || len(c.b) != 0 {
		if c.bad == "" {
			c.bad = "trailing bytes"
		}
		return corrupt("record of kind %d: %s", r.kind, c.bad)
	}
	return nil
}

// code reads or writes the whole record, so that the two cannot differ.
func (r *record) code(c *coder) {
	version := uint8(recordVersion)
	code8(c, &r.kind)
	code8(c, &version)
	if r.kind == 0 || r.kind >= recEnd {
		c.fail("unknown kind")
		return
	}
	if version != recordVersion {
		c.fail("unknown version")
		return
	}
	code64(c, &r.now)
	c.request(&r.req, &r.res)
	r.body(c)
	switch r.kind {
	case recDrop, recApply, recCommit, recAbort, recTxDecide, recTruncateEnd:
		c.inodes(&r.drops)
	}
}

func (r *record) body(c *coder) {
	switch r.kind {
	case recInit:
		code32(c, &r.shard)
		code32(c, &r.shards)
		r.owner(c)
	case recCreate:
		code64(c, &r.parent)
		code64(c, &r.ino)
		code8(c, &r.entry)
		r.owner(c)
		c.layout(&r.layout)
		c.bytes(&r.name)
		c.bytes(&r.target)
	case recSetAttr:
		code64(c, &r.ino)
		code32(c, &r.mask)
		r.owner(c)
		code64(c, &r.atime)
		code64(c, &r.mtime)
		c.layout(&r.layout)
	case recMtimeMax:
		code64(c, &r.ino)
		code64(c, &r.mtime)
	case recExtend, recAppend, recTruncate, recTruncateBegin, recReserve:
		code64(c, &r.ino)
		code64(c, &r.size)
	case recTruncateEnd, recPurgeDone:
		code64(c, &r.ino)
	case recAddRun:
		code64(c, &r.ino)
		c.run(&r.run)
	case recApply:
		c.ops(&r.ops)
	case recPrepare:
		code64(c, &r.tx)
		c.ops(&r.ops)
	case recCommit, recAbort, recTxForget:
		code64(c, &r.tx)
	case recTxReserve:
		code64(c, &r.size)
	case recTxBegin:
		code64(c, &r.tx)
		c.list(&r.participants)
	case recTxDecide:
		code64(c, &r.tx)
		code8(c, &r.decision)
	}
}

func (r *record) owner(c *coder) {
	code32(c, &r.mode)
	code32(c, &r.uid)
	code32(c, &r.gid)
}

// corrupt is a log or snapshot that cannot be ours: damaged in a way that checksums did not see, or of another program.
func corrupt(format string, args ...any) error {
	return fserr.New("replay metadata", "", syscall.EIO, fmt.Errorf(format, args...))
}

// errInconsistent is a record that does not fit the state. It cannot happen to a change that was checked.
func (r *record) errInconsistent(what string) error {
	return fserr.New("replay metadata", "", syscall.EIO,
		fmt.Errorf("record of kind %d, inode %v, operation %#x: %w", r.kind, r.ino, r.tx, errors.New(what)))
}
