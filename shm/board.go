// Package shm is what a shard shares with the processes of its machine, so that they can move file data themselves. PROTOCOL.md beside this file is
// its contract: every shared word, the steps of each party, and what happens when one stops or dies between two of them. The package knows memory,
// not files: which bytes a place stands for is the store's and the client's business.
//
// The shard's side is [Board], in Go. The client's side is C (place.h, place.c), which [View] calls: only C touches memory that another process
// writes, and a C program can use it without Go.
package shm

// #include "place.h"
import "C"

import (
	"errors"
	"path/filepath"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/benchfs/benchfs/fserr"

	"github.com/benchfs/benchfs/internal/invariant"
)

// The files of a shard's directory, and their sizes. Numbers in them are in the machine's byte order: they never leave it.
const (
	boardName    = "board"
	recordsName  = "records"
	boardBytes   = C.sizeof_struct_bfs_board
	recordsBytes = C.sizeof_struct_bfs_records

	maxSlots  = C.BFS_SLOTS
	pageBytes = 4096
)

// Board is the shard's side. All methods are for the shard's thread.
type Board struct {
	board, records []byte

	incarnation *uint64
	free        []uint32
	next        uint32 // first slot that was never given out
	areas       areas

	shown []uint32 // sequence number of each slot, with invariant.Enabled only
}

// Create makes the board of a shard in dir, or takes over the one that is there: from then on places handed out by an earlier incarnation are
// void [R1]. The areas of its clients are taken over, but for those of processes that are dead [R2].
func Create(dir string, incarnation uint64) (*Board, error) {
	board, err := makeFile(filepath.Join(dir, boardName), boardBytes)
	if err != nil {
		return nil, err
	}
	records, err := makeFile(filepath.Join(dir, recordsName), recordsBytes)
	if err != nil {
		return nil, errors.Join(err, unix.Munmap(board))
	}
	b := &Board{board: board, records: records}
	b.incarnation = (*uint64)(&b.words().incarnation)
	b.words().magic = C.BFS_BOARD_MAGIC
	atomic.SwapUint64(b.incarnation, incarnation) // R1 [F9]
	if err := b.areas.open(filepath.Join(dir, areasName)); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// CreatePrivate makes a board for clients in this process only. Nothing of it outlives the process.
func CreatePrivate(incarnation uint64) (*Board, error) {
	b := &Board{}
	for _, part := range []struct {
		memory *[]byte
		bytes  int
	}{{&b.board, boardBytes}, {&b.records, recordsBytes}} {
		var err error
		if *part.memory, err = ownMemory(part.bytes); err != nil {
			return nil, fserr.New("map", "board", fserr.Errno(err), err)
		}
	}
	b.incarnation = (*uint64)(&b.words().incarnation)
	b.words().magic = C.BFS_BOARD_MAGIC
	atomic.StoreUint64(b.incarnation, incarnation)
	return b, nil
}

// ownMemory is zeroed memory of this process.
func ownMemory(bytes int) ([]byte, error) {
	return unix.Mmap(-1, 0, bytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
}

// View makes a client in this process one of a private board: for the shard's thread. The View is closed before the board.
func (b *Board) View(client uint64) (*View, error) {
	memory, err := ownMemory(areaBytes)
	if err != nil {
		return nil, fserr.New("map", "area", fserr.Errno(err), err)
	}
	b.areas.list = append(b.areas.list, &area{client: client, memory: memory, own: true})
	return newView(&View{board: b.board, records: b.records, area: memory, own: true}, *b.incarnation)
}

func (b *Board) words() *C.struct_bfs_board {
	return (*C.struct_bfs_board)(unsafe.Pointer(&b.board[0]))
}

func (b *Board) slot(slot uint32) *uint64 { return (*uint64)(&b.words().slot[slot]) }

// Take gives a chunk a slot. ok is false when there is none left.
func (b *Board) Take(present uint32) (slot, sequence uint32, ok bool) {
	switch {
	case b.next < maxSlots: // a sequence number comes again after 2^31 uses of its slot: slots are used in turn
		slot = b.next
		b.next++
	case len(b.free) > 0:
		slot = b.free[0]
		b.free = b.free[1:]
	default:
		return 0, 0, false
	}
	w := b.slot(slot)
	sequence = uint32(atomic.LoadUint64(w)>>32) + 1
	atomic.StoreUint64(w, uint64(sequence)<<32|uint64(present))
	b.checkSequence(slot)
	return slot, sequence, true
}

// Set changes the bytes present, after they are in place.
func (b *Board) Set(slot, present uint32) {
	w := b.slot(slot)
	atomic.StoreUint64(w, atomic.LoadUint64(w)&^0xffffffff|uint64(present))
	b.checkSequence(slot)
}

// Serial is what a client of the slot must be told.
func (b *Board) Serial(slot uint32) uint32 { return uint32(atomic.LoadUint64(b.slot(slot)) >> 32) }

// Drop makes all that was told about the slot void, before anything happens to the place that it stood for. The slot is free then.
func (b *Board) Drop(slot uint32) {
	atomic.AddUint64(b.slot(slot), 1<<32) // S1 [F8]: a locked instruction, which later loads and stores of this thread do not pass
	b.free = append(b.free, slot)
	b.checkSequence(slot)
}

// checkSequence asserts that the sequence number of a slot has not gone back since it was looked at last.
func (b *Board) checkSequence(slot uint32) {
	if !invariant.Enabled {
		return
	}
	for int(slot) >= len(b.shown) {
		b.shown = append(b.shown, b.Serial(uint32(len(b.shown))))
	}
	now := b.Serial(slot)
	invariant.Check(int32(now-b.shown[slot]) >= 0, "slot %d: sequence number %d after %d", slot, now, b.shown[slot])
	b.shown[slot] = now
}

// Close makes all places void for good, and unmaps. The areas stay for the next daemon.
func (b *Board) Close() error {
	atomic.StoreUint64(b.incarnation, 0)
	return errors.Join(unix.Munmap(b.board), unix.Munmap(b.records), b.areas.close())
}
