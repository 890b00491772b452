package shm

/*
#cgo noescape use_read
#cgo noescape use_overwrite
#cgo noescape use_fill
#cgo noescape view_record
#cgo noescape view_name_version

#include <stdlib.h>
#include "place.h"

// The view as a number: cgo looks at what a pointer leads to before each call, which takes longer than most of the calls.
typedef uintptr_t view_t;
#define VIEW ((struct bfs_view *)view)

static int64_t use_read(view_t view, const struct bfs_place *place, const uint8_t *memory, int fd, uint8_t *to, uint32_t n, uint32_t off)
{
	return bfs_read(VIEW, place, memory, fd, to, n, off);
}
static int64_t use_overwrite(view_t view, const struct bfs_place *place, uint8_t *memory, int fd, const uint8_t *from, uint32_t n, uint32_t off)
{
	return bfs_overwrite(VIEW, place, memory, fd, from, n, off);
}
static int64_t use_fill(view_t view, const struct bfs_place *place, uint8_t *memory, int fd, const uint8_t *from, uint32_t n, uint32_t off)
{
	return bfs_fill(VIEW, place, memory, fd, from, n, off);
}
static int view_valid(view_t view) { return bfs_valid(VIEW); }
static void view_revoke(view_t view) { bfs_revoke(VIEW); }
static int view_shows(view_t view, uint64_t number, uint64_t first) { return bfs_shows(VIEW, number, first); }
static int view_record(view_t view, uint64_t number, uint64_t *words) { return bfs_record(VIEW, number, words); }
static int view_name_version(view_t view, uint64_t hash, uint64_t *version) { return bfs_name_version(VIEW, hash, version); }
static uint64_t *view_pin(view_t view, uint64_t fact) { return bfs_pin(VIEW, fact); }
*/
import "C"

import (
	"errors"
	"math/bits"
	"path/filepath"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/benchfs/benchfs/fserr"
)

// View is what a client has mapped of one shard: board, records and its own area. It calls the C half (place.h), which is all of this process
// that touches that memory. Its methods may be called from several threads; Close only when no other call is in progress.
type View struct {
	c                    *C.struct_bfs_view // C memory
	board, records, area []byte
	own                  bool // the memory is a private board's
}

// Files are descriptors of what a View is made of: board and records, opened for reading, and the client's area.
type Files struct{ Board, Records, Area int }

// Files opens the board's files, and a client's area by its path.
func (b *Board) Files(area string) (f Files, err error) {
	dir := filepath.Dir(b.areas.dir)
	f = Files{Board: -1, Records: -1, Area: -1}
	for _, file := range []struct {
		fd    *int
		path  string
		flags int
	}{{&f.Board, filepath.Join(dir, boardName), unix.O_RDONLY}, {&f.Records, filepath.Join(dir, recordsName), unix.O_RDONLY}, {&f.Area, area, unix.O_RDWR}} {
		if *file.fd, err = openFile(file.path, file.flags); err != nil {
			return f, errors.Join(fserr.New("open", file.path, fserr.Errno(err), err), f.Close())
		}
	}
	return f, nil
}

// Close closes those that are open.
func (f *Files) Close() error {
	var err error
	for _, fd := range []*int{&f.Board, &f.Records, &f.Area} {
		if *fd >= 0 {
			err = errors.Join(err, unix.Close(*fd))
		}
		*fd = -1
	}
	return err
}

// Attach maps the files, which the caller may close then. The incarnation tells whether they are those of the right daemon: in another mount
// name space the same path may lead elsewhere.
func Attach(f Files, incarnation uint64) (*View, error) {
	v := &View{}
	for _, file := range []struct {
		memory *[]byte
		fd     int
		bytes  int64
		write  bool
	}{{&v.board, f.Board, boardBytes, false}, {&v.records, f.Records, recordsBytes, false}, {&v.area, f.Area, areaBytes, true}} {
		var err error
		if *file.memory, err = mapWhole(file.fd, file.bytes, file.write); err != nil {
			return nil, errors.Join(fserr.New("attach", "shared memory", fserr.Errno(err), err), v.unmap())
		}
	}
	return newView(v, incarnation)
}

func newView(v *View, incarnation uint64) (*View, error) {
	v.c = (*C.struct_bfs_view)(C.calloc(1, C.sizeof_struct_bfs_view))
	if v.c == nil {
		return nil, errors.Join(fserr.New("attach", "shared memory", syscall.ENOMEM, nil), v.unmap())
	}
	v.c.board = (*C.struct_bfs_board)(unsafe.Pointer(&v.board[0]))
	v.c.records = (*C.struct_bfs_records)(unsafe.Pointer(&v.records[0]))
	v.c.area = (*C.struct_bfs_area)(unsafe.Pointer(&v.area[0]))
	v.c.incarnation = C.uint64_t(incarnation)
	if v.c.board.magic != C.BFS_BOARD_MAGIC || !v.Valid() {
		return nil, errors.Join(fserr.New("attach", "shared memory", syscall.ESTALE, errors.New("the board is of another daemon")), v.Close())
	}
	return v, nil
}

// Close unmaps. What the area says stays said: pins that are held are the process's own until it ends, or the shard has been told good-bye.
func (v *View) Close() error {
	C.free(unsafe.Pointer(v.c))
	v.c = nil
	return v.unmap()
}

func (v *View) unmap() error {
	if v.own {
		return nil
	}
	var err error
	for _, memory := range []*[]byte{&v.board, &v.records, &v.area} {
		if *memory != nil {
			err = errors.Join(err, unix.Munmap(*memory))
		}
		*memory = nil
	}
	return err
}

func (v *View) view() C.view_t { return C.view_t(uintptr(unsafe.Pointer(v.c))) }

// Valid reports whether the daemon that the view was made for is in charge. When it is not, no place holds.
func (v *View) Valid() bool { return C.view_valid(v.view()) != 0 }

// Revoke makes everything void for this process: it has heard otherwise that another daemon is in charge, perhaps with other files.
func (v *View) Revoke() { C.view_revoke(v.view()) }

// Place is where a chunk's bytes lie, as the shard told it. It never changes; whether it holds, the board tells at each use.
type Place struct {
	c       C.struct_bfs_place
	segment *Segment
}

// PlaceAt makes a Place of what the shard told. It fails when the segment cannot be opened, or the place is not in it.
func (s *Segments) PlaceAt(slot, sequence, segment uint32, offset uint64, bytes uint32) (Place, error) {
	file, err := s.Get(segment)
	if err != nil {
		return Place{}, err
	}
	if bits.OnesCount32(bytes) != 1 || bytes < pageBytes || offset%uint64(bytes) != 0 || !file.Holds(offset, int(bytes)) {
		return Place{}, fserr.New("use", "segment", syscall.EINVAL, errors.New("the place is not a run of pages in it"))
	}
	page := uint64(segment)*uint64(s.bytes/pageBytes) + offset/pageBytes
	if page >= 1<<32 {
		return Place{}, fserr.New("use", "segment", syscall.EINVAL, errors.New("page number out of range"))
	}
	run := C.bfs_run(C.uint32_t(page), C.uint8_t(bits.TrailingZeros32(bytes/pageBytes)))
	return Place{
		c:       C.struct_bfs_place{run: run, offset: C.uint64_t(offset), slot: C.uint32_t(slot), sequence: C.uint32_t(sequence), bytes: C.uint32_t(bytes)},
		segment: file,
	}, nil
}

// Is reports whether it is this place on the board, with that capacity.
func (p *Place) Is(slot, sequence, bytes uint32) bool {
	return p.c.slot == C.uint32_t(slot) && p.c.sequence == C.uint32_t(sequence) && p.c.bytes == C.uint32_t(bytes)
}

// within is how many of n bytes from off on are inside the place.
func (p *Place) within(off uint32, n int) int {
	return min(n, int(uint32(p.c.bytes)-min(uint32(p.c.bytes), off)))
}

// Read copies what the chunk has of [off, off+len(to)). ok is false when the place does not hold any more, or cannot be used now.
func (v *View) Read(p *Place, to []byte, off uint32) (n int, ok bool) {
	to = to[:p.within(off, len(to))]
	memory, fd := p.segment.way(uint64(p.c.offset)+uint64(off), len(to), false)
	got := C.use_read(v.view(), &p.c, (*C.uint8_t)(memory), fd, (*C.uint8_t)(unsafe.SliceData(to)), C.uint32_t(len(to)), C.uint32_t(off))
	return int(max(got, 0)), got >= 0
}

// Overwrite puts from over bytes that are present. ok is false when it may not count: the place does not hold any more, or not all of the range
// is present, or the place cannot be used now. Then the shard must be asked to write.
func (v *View) Overwrite(p *Place, from []byte, off uint32) (ok bool) {
	if p.within(off, len(from)) < len(from) {
		return false
	}
	memory, fd := p.segment.way(uint64(p.c.offset)+uint64(off), len(from), true)
	return C.use_overwrite(v.view(), &p.c, (*C.uint8_t)(memory), fd, (*C.uint8_t)(unsafe.SliceData(from)), C.uint32_t(len(from)), C.uint32_t(off)) >= 0
}

// Fill puts from where a write that was begun has its room. bare: pages are still to be made there, which is done by writing to the file: that says
// ENOSPC where a store through the mapping would be a SIGBUS. ok is false when the place does not hold any more, or the file cannot take it.
func (v *View) Fill(p *Place, from []byte, off uint32, bare bool) (ok bool) {
	if p.within(off, len(from)) < len(from) {
		return false
	}
	memory, fd := unsafe.Pointer(nil), C.int(p.segment.fd)
	if !bare || p.segment.own() {
		memory, fd = p.segment.way(uint64(p.c.offset)+uint64(off), len(from), true)
	}
	return C.use_fill(v.view(), &p.c, (*C.uint8_t)(memory), fd, (*C.uint8_t)(unsafe.SliceData(from)), C.uint32_t(len(from)), C.uint32_t(off)) >= 0
}

// Shows reports whether the record of a fact seems to show that fact, for callers that would only waste time otherwise.
func (v *View) Shows(number, first uint64) bool {
	return C.view_shows(v.view(), C.uint64_t(number), C.uint64_t(first)) != 0
}

// Record reads the record of a fact. false: it shows nothing. Whether it is of that fact, words[0] tells.
func (v *View) Record(number uint64, words *[RecordWords]uint64) bool {
	return C.view_record(v.view(), C.uint64_t(number), (*C.uint64_t)(&words[0])) != 0
}

// NameVersion is the version of a name now. false: nothing that was told counts any more.
func (v *View) NameVersion(hash uint64) (version uint64, ok bool) {
	ok = C.view_name_version(v.view(), C.uint64_t(hash), (*C.uint64_t)(&version)) != 0
	return version, ok
}

// Pin is a process's hold on a fact: see PROTOCOL.md, section 5. The zero Pin is none.
type Pin struct{ word *C.uint64_t }

// Held reports whether it is one.
func (p Pin) Held() bool { return p.word != nil }

// Drop lets go. The fact's record is to be looked at afterwards: if it does not show the fact any more, the shard has met the pin, and wants to know.
func (p Pin) Drop() {
	if p.word != nil {
		C.bfs_unpin(p.word)
	}
}

// Pin holds on to a fact, which counts if its record shows it afterwards. false: there is no room for it.
func (v *View) Pin(fact uint64) (Pin, bool) {
	if fact == 0 {
		return Pin{}, false
	}
	word := C.view_pin(v.view(), C.uint64_t(fact))
	return Pin{word}, word != nil
}
