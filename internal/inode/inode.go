// Package inode is the vocabulary that rpc, meta and core share: inode numbers, kinds and attributes.
// It holds data and pure functions only.
package inode

import (
	"fmt"

	"github.com/benchfs/benchfs/core/layout"
)

// Ino is the identity of a file for the life of the file system: never a hash of a path, never reused.
// The upper 16 bits are the shard that created it and owns it, the lower 48 bits a counter of that shard from 1.
type Ino uint64

// SeqBits is the width of the per-shard counter in an Ino.
const SeqBits = 48

// MaxShards is the number of shards that an Ino can name.
const MaxShards = 1 << (64 - SeqBits)

// Root is the root directory: the first inode of shard 0.
const Root = Ino(1)

// Make builds the Ino number seq (1 … 2⁴⁸−1) of a shard (0 … MaxShards−1).
func Make(shard uint32, seq uint64) Ino { return Ino(uint64(shard)<<SeqBits | seq) }

// Shard is the shard that owns the inode.
func (i Ino) Shard() uint32 { return uint32(i >> SeqBits) }

// Seq is the counter part of the number.
func (i Ino) Seq() uint64 { return uint64(i) & (1<<SeqBits - 1) }

func (i Ino) String() string { return fmt.Sprintf("%d:%d", i.Shard(), i.Seq()) }

// Kind is the type of a file.
type Kind uint8

// The kinds that BenchFS stores. Devices, FIFOs and sockets are refused (EPERM).
const (
	File    Kind = 1
	Dir     Kind = 2
	Symlink Kind = 3
)

// Valid reports whether k is one of the kinds above.
func (k Kind) Valid() bool { return k >= File && k <= Symlink }

// Attr is what stat tells, and what a client needs to read and write the file.
// Times are nanoseconds since the Unix epoch. Atime is not advanced by reads (noatime).
type Attr struct {
	Ino   Ino
	Kind  Kind
	Mode  uint32 // permission, set-id and sticky bits: 07777
	Nlink uint32 // directories: 2 + number of subdirectories, filled in from the fragments of all shards
	UID   uint32
	GID   uint32
	Size  uint64 // bytes; symlink: length of the target; directory: number of entries, filled in from the fragments
	Atime int64
	Mtime int64
	Ctime int64
	Btime int64
	// Version grows with every change of the inode (attributes, size, truncate); a cached copy is good for one version.
	Version uint64
	// TruncGen grows with every truncate; it travels with each chunk request, and an owner refuses an older one.
	TruncGen uint32
	// Parent is the directory that holds a directory (for ".." and the search for cycles); 0 for other kinds.
	Parent Ino
	// Layout tells which shard owns which chunk. For a directory: the layout that new files inherit.
	// Strategy 0 = none set on the directory.
	Layout layout.Layout
	// RunsVersion grows with each change of the inode's placement runs (strategy Local only).
	RunsVersion uint32
}

// SetMask says which fields of an Attr a SetAttr changes.
type SetMask uint32

// The bits of a SetMask. SetAtimeNow and SetMtimeNow take the server's clock and need only write permission.
const (
	SetMode SetMask = 1 << iota
	SetUID
	SetGID
	SetAtime
	SetMtime
	SetAtimeNow
	SetMtimeNow
	SetLayout
	// SetMtimeMax advances Mtime (and Ctime) to at least the given value: the lazy time stamp of overwriting writes.
	SetMtimeMax
)
