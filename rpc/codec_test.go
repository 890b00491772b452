package rpc

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/internal/inode"
)

var update = flag.Bool("update", false, "write testdata/wire.golden anew: only with a new ProtocolVersion")

// message is what every body on the wire is.
type message interface {
	AppendTo(b []byte) []byte
	Decode(b []byte) error
}

// messages has one value of each message, every field with a value of its own.
func messages() []message {
	lay := layout.Layout{Strategy: layout.Hash, ChunkBits: 22, First: 0x11121314, Shards: 0x21222324, Epoch: 0x31323334}
	attr := inode.Attr{
		Ino: 0x0102030405060708, Kind: inode.File, Mode: 0o644, Nlink: 3, UID: 1000, GID: 1001, Size: 0x1112131415161718,
		Atime: -1, Mtime: 0x2122232425262728, Ctime: 0x3132333435363738, Btime: 0x4142434445464748, Version: 0x5152535455565758,
		TruncGen: 0x61626364, Parent: 0x7172737475767778, Layout: lay, RunsVersion: 0x01020304,
	}
	run := layout.Run{First: 5, Count: 7, Shard: 9}
	place := Place{Held: true, Slot: 1, Serial: 2, Segment: 3, Offset: 4, Bytes: 5}
	return []message{
		&Hello{
			Epoch: 1, Incarnation: 2, Peer: PeerID{Node: 3, Shard: 4}, PID: 5, PIDStart: 6, UID: 7,
			HostID: []byte("host"), Secret: []byte("secret"), Build: []byte("build"),
		},
		&HelloReply{
			Session: 1, Epoch: 2, Incarnation: 3, Peer: PeerID{Node: 4, Shard: 5}, Shards: 6, MaxBulk: 1 << 26, ChunkBits: 22,
			Build: []byte("b"),
		},
		&ReadChunk{Ino: 1, Chunk: 2, Offset: 3, Length: 4, Gen: 5, Share: true},
		&ReadChunkReply{Present: 0x01020304},
		&ReadChunkReply{Present: 1, Place: place},
		&WriteChunk{Ino: 1, Chunk: 2, Offset: 3, Length: 4, Gen: 5, ChunkBits: 16, Share: true, End: 6},
		&WrittenReply{Place: place},
		&WrittenReply{HasAttr: true, Attr: attr, Place: Place{Held: true, Slot: 1, Serial: 2, Segment: 3, Offset: 4, Bytes: 5}},
		&BeginWriteReply{Place: place, Bare: true},
		&EndWrite{Ref: 1, Commit: true, Ino: 2, End: 3, Gen: 4},
		&Lock{
			Op: LockWait, Kind: LockFile, Type: LockNone, Ino: 1, Owner: 2, Holder: 3, Start: 4, End: MaxLockEnd, PID: 5, Lease: 6, Ticket: 7,
			Turn: 8,
		},
		&LockReply{Outcome: LockInTheWay, Held: true, Lease: 1, Turn: 2, Type: LockWrite, Start: 3, End: 4, Owner: 5, PID: 6},
		&ReserveChunk{Ino: 1, Chunk: 2, Length: 3, Gen: 4, ChunkBits: 26},
		&TruncateChunks{Ino: 1, Gen: 2, Size: 3, ChunkBits: 20},
		&PurgeChunks{Ino: 1},
		&SyncChunks{Ino: 2},
		&StatStoreReply{CapacityBytes: 1, UsedBytes: 2, Chunks: 3, Inodes: 4},
		&Lookup{Parent: 1, Name: []byte("name"), Open: true, Handle: 2, Share: true},
		&Create{
			Parent: 1, Name: []byte("name"), Mode: 2, UID: 3, GID: 4, Exclusive: true, Open: true, Handle: 5, Layout: lay,
		},
		&EntryReply{Ino: 1, Kind: inode.Symlink, Created: true},
		&EntryReply{Ino: attr.Ino, Kind: inode.File, Opened: true, HasAttr: true, Attr: attr, Place: Place{Held: true, Slot: 1, Serial: 2, Segment: 3, Offset: 4, Bytes: 5}},
		&Delete{Parent: 1, Name: []byte("x"), Ino: 2},
		&Rename{
			OldParent: 1, OldName: []byte("old"), NewParent: 2, NewName: []byte("new name"), Ino: 3, Kind: inode.Dir,
			Target: 4, TargetKind: inode.Dir,
		},
		&LinkEntry{Ino: 1, Kind: inode.File, Parent: 2, Name: []byte("n")},
		&InodeRequest{Ino: 1},
		&AttrReply{Attr: attr},
		&SetAttr{Ino: 1, Mask: setMaskAll, Mode: 2, UID: 3, GID: 4, Atime: 5, Mtime: -6, Layout: lay},
		&Extend{Ino: 1, End: 2, Gen: 3},
		&Append{Ino: 1, Length: 2},
		&AppendReply{Offset: 1, Written: true, Attr: attr},
		&EndAppend{Ino: 1, Ref: 2, Offset: 3, End: 4, Gen: 5, State: AppendBroken},
		&Truncate{Ino: 1, Size: 2},
		&AddRun{Ino: 1, Gen: 2, Run: run},
		&OpenHandle{Ino: 1, Handle: 2},
		&ReleaseHandles{Handles: []ReleaseHandle{{Ino: 1, Handle: 2, Mtime: -3}, {Ino: 4, Handle: 5}}},
		&ReadDir{Dir: 1, Cookie: 2, Max: 3},
		&ReadDirReply{Count: 1, Next: 2, EOF: true},
		&DirInfoReply{Entries: 1, Subdirs: 2, Mtime: 3},
		&Prepare{Tx: 1, Count: 2},
		&TxRequest{Tx: 1},
		&TxStatusReply{State: inode.TxCommitted},
		&entryPayload{{Cookie: 1, Ino: attr.Ino, Kind: inode.File, HasAttr: true, Attr: attr, Name: []byte("with")}, {Cookie: 2, Ino: 3, Kind: inode.Dir, Name: []byte("without")}},
		&runsPayload{run, {First: 12, Count: 1, Shard: 2}},
		&stepsPayload{
			{Kind: inode.TxAddEntry, Parent: 1, Name: []byte("a"), Ino: 2, Entry: inode.File},
			{Kind: inode.TxReplaceEntry, Parent: 1, Name: []byte("b"), Ino: 2, Target: 3, Entry: inode.Dir},
			{Kind: inode.TxRenameLock},
		},
	}
}

// The lists that travel as payloads, as messages.
type (
	entryPayload []DirEntry
	runsPayload  []layout.Run
	stepsPayload []inode.TxOp
)

func (p *entryPayload) AppendTo(b []byte) []byte {
	for _, e := range *p {
		b = e.AppendTo(b)
	}
	return b
}

func (p *entryPayload) Decode(b []byte) error {
	*p = nil
	for len(b) > 0 {
		e, rest, err := DecodeDirEntry(b)
		if err != nil {
			return err
		}
		*p, b = append(*p, e), rest
	}
	return nil
}

func (p *runsPayload) AppendTo(b []byte) []byte { return AppendRuns(b, *p) }

func (p *runsPayload) Decode(b []byte) (err error) {
	*p, err = DecodeRuns(b)
	return err
}

func (p *stepsPayload) AppendTo(b []byte) []byte { return AppendTxOps(b, *p) }

func (p *stepsPayload) Decode(b []byte) (err error) {
	*p, err = DecodeTxOps(b)
	return err
}

// isList says that a prefix of the encoding can be a whole, shorter list.
func isList(m message) bool { return reflect.TypeOf(m).Elem().Kind() == reflect.Slice }

func fresh(m message) message {
	return reflect.New(reflect.TypeOf(m).Elem()).Interface().(message)
}

func mustBeInvalid(t *testing.T, what string, err error) {
	t.Helper()
	var invalid *InvalidHeader
	if !errors.As(err, &invalid) || invalid.Errno() != syscall.EPROTO {
		t.Errorf("%s: %v instead of an InvalidHeader", what, err)
	}
}

// TestGolden holds the encoding of every message, and of a frame around one, to the bytes in testdata/wire.golden.
func TestGolden(t *testing.T) {
	const file = "testdata/wire.golden"
	var text strings.Builder
	for _, m := range messages() {
		fmt.Fprintf(&text, "%s %s\n", reflect.TypeOf(m).Elem().Name(), hex.EncodeToString(m.AppendTo(nil)))
	}
	h := Header{
		Kind: KindReply, Type: 0x0102, ID: 3, Op: 4, Client: 5, Session: 6, Epoch: 7, Status: StatusErrno, Flags: 8, Errno: 9,
		BodyLen: 2, TimeoutMS: 10, BulkLen: 11,
	}
	frame := make([]byte, HeaderBytes, HeaderBytes+2)
	h.Put(frame)
	fmt.Fprintf(&text, "frame %s\n", hex.EncodeToString(append(frame, "ab"...)))
	if *update {
		if err := os.WriteFile(file, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want, got := strings.Split(string(golden), "\n"), strings.Split(text.String(), "\n")
	for i := range max(len(want), len(got)) {
		if i >= len(want) || i >= len(got) || want[i] != got[i] {
			t.Fatalf("the wire format has changed at line %d", i+1)
		}
	}
}

func TestGoldenDecodes(t *testing.T) {
	golden, err := os.ReadFile("testdata/wire.golden")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(golden)), "\n")
	for i, want := range messages() {
		b, err := hex.DecodeString(strings.Fields(lines[i])[1])
		if err != nil {
			t.Fatal(err)
		}
		got := fresh(want)
		if err := got.Decode(b); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%T: %+v, %v; want %+v", want, got, err, want)
		}
	}
}

// TestMessagesFit: a body travels in the header of an active message, whatever its names are.
func TestMessagesFit(t *testing.T) {
	long := bytes.Repeat([]byte("n"), MaxName)
	rename := Rename{OldParent: 1, NewParent: 1, Ino: 1, Kind: inode.File, OldName: long, NewName: long}
	create := Create{Name: long}
	ident := bytes.Repeat([]byte("i"), maxIdent)
	hello := Hello{HostID: ident, Secret: ident, Build: ident}
	for _, m := range append(messages(), &rename, &create, &hello) {
		if isList(m) {
			continue
		}
		b := m.AppendTo(nil)
		if len(b) > MaxBody {
			t.Errorf("%T: %d bytes", m, len(b))
		}
		if err := fresh(m).Decode(b); err != nil {
			t.Errorf("%T: %v", m, err)
		}
	}
	e := DirEntry{Ino: 1, Kind: inode.File, HasAttr: true, Attr: inode.Attr{Ino: 1, Kind: inode.File}, Name: long}
	if n := len(e.AppendTo(nil)); n != MaxDirEntryBytes {
		t.Errorf("the largest entry takes %d bytes, MaxDirEntryBytes is %d", n, MaxDirEntryBytes)
	}
}

// TestStrict: nothing but the whole encoding decodes.
func TestStrict(t *testing.T) {
	for _, m := range messages() {
		b := m.AppendTo(nil)
		if isList(m) {
			mustBeInvalid(t, fmt.Sprintf("%T, last byte missing", m), fresh(m).Decode(b[:len(b)-1]))
			mustBeInvalid(t, fmt.Sprintf("%T, a byte more", m), fresh(m).Decode(append(b, 1)))
			continue
		}
		for n := range b {
			mustBeInvalid(t, fmt.Sprintf("%T, %d of %d bytes", m, n, len(b)), fresh(m).Decode(b[:n:n]))
		}
		mustBeInvalid(t, fmt.Sprintf("%T, a byte more", m), fresh(m).Decode(append(b, 0)))
	}
}

func TestRefusals(t *testing.T) {
	tooLong := bytes.Repeat([]byte("n"), MaxName+1)
	attr := inode.Attr{Kind: inode.File}
	with := func(change func(*inode.Attr)) message {
		a := attr
		change(&a)
		return &AttrReply{Attr: a}
	}
	for what, m := range map[string]message{
		"long name in Lookup":    &Lookup{Name: tooLong},
		"long name in Create":    &Create{Name: tooLong},
		"long name in Delete":    &Delete{Name: tooLong},
		"long name in LinkEntry": &LinkEntry{Kind: inode.File, Name: tooLong},
		"long new name":          &Rename{Kind: inode.File, NewName: tooLong},
		"very long old name":     &Rename{Kind: inode.File, OldName: make([]byte, 70_000)},
		"long secret":            &Hello{Secret: tooLong},
		"kind 0":                 &EntryReply{},
		"kind 4":                 &EntryReply{Kind: 4},
		"kind of attributes":     with(func(a *inode.Attr) { a.Kind = 0 }),
		"strategy":               with(func(a *inode.Attr) { a.Layout.Strategy = 4 }),
		"chunk bits of layout":   with(func(a *inode.Attr) { a.Layout.ChunkBits = 15 }),
		"chunk bits":             &WriteChunk{ChunkBits: 27},
		"no chunk bits":          &TruncateChunks{},
		"target without kind":    &Rename{Kind: inode.File, Target: 3},
		"kind without target":    &Rename{Kind: inode.File, TargetKind: inode.File},
		"lock operation":         &Lock{Op: LockCancel + 1, Kind: LockFile, Type: LockRead, End: 1},
		"lock kind":              &Lock{Op: LockTry, Type: LockRead, End: 1},
		"lock type":              &Lock{Op: LockTry, Kind: LockRange, End: 1},
		"empty lock":             &Lock{Op: LockTry, Kind: LockRange, Type: LockRead, Start: 2, End: 2},
		"endless lock":           &Lock{Op: LockTry, Kind: LockRange, Type: LockRead, End: MaxLockEnd + 1},
		"lock outcome":           &LockReply{Outcome: 4, Type: LockNone},
		"set mask":               &SetAttr{Mask: setMaskAll + 1},
		"empty run":              &AddRun{},
		"endless run":            &AddRun{Run: layout.Run{First: 2, Count: ^uint64(0)}},
		"runs that overlap":      &runsPayload{{First: 1, Count: 2}, {First: 2, Count: 1}},
		"transaction state 0":    &TxStatusReply{},
		"transaction state 4":    &TxStatusReply{State: 4},
		"step 0":                 &stepsPayload{{}},
		"step 10":                &stepsPayload{{Kind: inode.TxRenameLock + 1}},
		"step without name":      &stepsPayload{{Kind: inode.TxAddEntry}},
		"step with a long name":  &stepsPayload{{Kind: inode.TxAddEntry, Name: tooLong}},
		"step with kind 4":       &stepsPayload{{Kind: inode.TxLinkInode, Entry: 4}},
		"entry without name":     &entryPayload{{Kind: inode.File}},
		"entry of kind 7":        &entryPayload{{Kind: 7, Name: []byte("x")}},
	} {
		mustBeInvalid(t, what, fresh(m).Decode(m.AppendTo(nil)))
	}
	flags := (&Lookup{}).AppendTo(nil)
	flags[8] = 2
	mustBeInvalid(t, "flag 2", new(Lookup).Decode(flags))
	entry := (&EntryReply{Kind: inode.File}).AppendTo(nil)
	entry[9] = 8
	mustBeInvalid(t, "unknown bit", new(EntryReply).Decode(entry))
}

// TestRandomBytes: what decodes, encodes to the same bytes again; the rest is refused. Nothing panics.
func TestRandomBytes(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	for range 300 {
		for _, m := range messages() {
			b := m.AppendTo(nil)
			for range r.IntN(4) {
				b[r.IntN(len(b))] = byte(r.Uint32())
			}
			b = b[:len(b)-r.IntN(2)*r.IntN(len(b))]
			checkDecode(t, fresh(m), b)
		}
	}
}

func checkDecode(t *testing.T, m message, b []byte) {
	t.Helper()
	if err := m.Decode(b); err != nil {
		mustBeInvalid(t, fmt.Sprintf("%T %x", m, b), err)
		return
	}
	if again := m.AppendTo(nil); !bytes.Equal(again, b) {
		t.Fatalf("%T: %x decodes to %+v, which is %x", m, b, m, again)
	}
}

func TestCodecAllocatesNothing(t *testing.T) {
	buf := make([]byte, 0, MaxBody)
	for _, m := range messages() {
		if isList(m) {
			continue
		}
		into := fresh(m)
		allocs := testing.AllocsPerRun(50, func() {
			if into.Decode(m.AppendTo(buf[:0])) != nil {
				t.Errorf("%T does not decode", m)
			}
		})
		if allocs != 0 {
			t.Errorf("%T: %v allocations", m, allocs)
		}
	}
}

func TestNamesAlias(t *testing.T) {
	b := (&Lookup{Name: []byte("abc")}).AppendTo(nil)
	var m Lookup
	if err := m.Decode(b); err != nil {
		t.Fatal(err)
	}
	b[len(b)-1] = 'x'
	if string(m.Name) != "abx" {
		t.Errorf("name %q is a copy", m.Name)
	}
	if cap(m.Name) != 3 {
		t.Error("appending to a name would write into the frame")
	}
}

func TestFrame(t *testing.T) {
	good := func() []byte {
		h := Header{Kind: KindRequest, Type: MsgEcho, ID: 1, BodyLen: 3}
		b := make([]byte, HeaderBytes, HeaderBytes+3)
		h.Put(b)
		return append(b, 1, 2, 3)
	}
	var h Header
	if body, err := h.Parse(good()); err != nil || !bytes.Equal(body, []byte{1, 2, 3}) || h.Type != MsgEcho {
		t.Fatalf("%v %v %+v", body, err, h)
	}
	for what, change := range map[string]func(b []byte) []byte{
		"empty":        func([]byte) []byte { return nil },
		"cut header":   func(b []byte) []byte { return b[:HeaderBytes-1] },
		"magic":        func(b []byte) []byte { b[0]++; return b },
		"version":      func(b []byte) []byte { b[4]++; return b },
		"kind 0":       func(b []byte) []byte { b[5] = 0; return b },
		"kind 3":       func(b []byte) []byte { b[5] = 3; return b },
		"cut body":     func(b []byte) []byte { return b[:len(b)-1] },
		"body too big": func(b []byte) []byte { b[50] = 1; return b },
		"body left":    func(b []byte) []byte { return append(b, 0) },
	} {
		_, err := h.Parse(change(good()))
		mustBeInvalid(t, what, err)
	}
}

// FuzzFrame feeds a frame to the parser, and its body to the decoder of every message: the type is the sender's to choose.
func FuzzFrame(f *testing.F) {
	for _, m := range messages() {
		b := m.AppendTo(nil)
		h := Header{Kind: KindRequest, Type: MsgEcho, BodyLen: uint32(len(b))}
		frame := make([]byte, HeaderBytes, HeaderBytes+len(b))
		h.Put(frame)
		f.Add(append(frame, b...))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		var h Header
		body, err := h.Parse(frame)
		if err != nil {
			mustBeInvalid(t, "frame", err)
			return
		}
		if h.Status != StatusOK {
			if err := ReplyError(&h); err == nil {
				t.Fatalf("status %v is no error", h.Status)
			}
		}
		again := make([]byte, HeaderBytes)
		if h.Put(again); !bytes.Equal(again, frame[:HeaderBytes]) {
			t.Fatalf("%x parses to %+v, which is %x", frame[:HeaderBytes], h, again)
		}
		for _, m := range messages() {
			checkDecode(t, fresh(m), body)
		}
	})
}

// FuzzPayloads feeds bytes to the decoders of the lists that travel as payloads.
func FuzzPayloads(f *testing.F) {
	for _, m := range messages() {
		if isList(m) {
			f.Add(m.AppendTo(nil))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		checkDecode(t, new(entryPayload), b)
		checkDecode(t, new(runsPayload), b)
		checkDecode(t, new(stepsPayload), b)
	})
}

func BenchmarkWriteChunkCodec(b *testing.B) {
	buf := make([]byte, 0, MaxBody)
	m := WriteChunk{Ino: 1, Chunk: 2, Offset: 3, Length: 4, Gen: 5, ChunkBits: 22}
	b.ReportAllocs()
	for b.Loop() {
		var got WriteChunk
		if err := got.Decode(m.AppendTo(buf[:0])); err != nil {
			b.Fatal(err)
		}
	}
}
