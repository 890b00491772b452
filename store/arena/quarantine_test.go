package arena_test

import (
	"bytes"
	"errors"
	"syscall"
	"testing"

	"github.com/benchfs/benchfs/shm"
	"github.com/benchfs/benchfs/shm/shmtest"
	"github.com/benchfs/benchfs/store"
	"github.com/benchfs/benchfs/store/arena"
	"github.com/benchfs/benchfs/store/storetest"
)

const (
	mib     = 1 << 20
	mibBits = 20
)

func plainBoard(b *shm.Board) store.Board { return b }

// place is the place of a chunk, which has one.
func (r *reached) place(ino, chunk uint64) store.Place {
	r.t.Helper()
	p, ok := r.s.PlaceOf(ino, chunk, 0)
	if !ok {
		r.t.Fatal("no place")
	}
	return p
}

// holds reports whether a place can be used.
func (r *reached) holds(p store.Place) bool {
	at := r.at(p)
	_, ok := r.view.Read(&at, make([]byte, 1), 0)
	return ok
}

func (r *reached) put(ino, chunk uint64, data []byte) { putChunk(r.t, r.s, ino, chunk, data) }

// putChunk writes the beginning of a chunk.
func putChunk(t *testing.T, s *arena.Store, ino, chunk uint64, data []byte) {
	t.Helper()
	w, err := s.Begin(ino, chunk, 0, uint32(len(data)), 0, mibBits)
	if err == nil {
		copy(w.Data, data)
		err = s.Commit(w)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A client is told where to put new bytes and is stopped before it has announced that. Its write is aborted, the room goes to other files. When
// the client goes on, it finds the place void, also when the chunk keeps its extent.
func TestAbortedWriteVoidsItsPlace(t *testing.T) {
	for _, reserved := range []bool{false, true} {
		dir := t.TempDir()
		r := reach(t, open(t, dir, 16*mib), dir, plainBoard)
		r.put(1, 0, bytes.Repeat([]byte{1}, 4096))
		if reserved {
			if err := r.s.Reserve(1, 0, mib, 0, mibBits); err != nil {
				t.Fatal(err)
			}
		}
		w, bare, err := r.s.BeginBare(1, 0, 4096, mib-4096, 0, mibBits)
		if err != nil {
			t.Fatal(err)
		}
		told, ok := r.s.PlaceOfWrite(w)
		if !ok {
			t.Fatal("no place")
		}
		r.s.Abort(w)
		theirs := bytes.Repeat([]byte{0x55}, mib/2)
		for ino := uint64(2); ino < 10; ino++ {
			r.put(ino, 0, theirs)
		}
		if at := r.at(told); r.view.Fill(&at, bytes.Repeat([]byte{0xEE}, mib-4096), 4096, bare) {
			t.Error("the place of an aborted write could be filled")
		}
		for ino := uint64(2); ino < 10; ino++ {
			if got := storetest.Get(t, r.s, ino, 0, 0); !bytes.Equal(got, theirs) {
				t.Errorf("file %d has %d bytes of the other file's writer", ino, bytes.Count(got, []byte{0xEE}))
			}
		}
	}
}

// A client is stopped in the middle of a copy. All space but the run that it touches is reused, for as long as it is stopped; that run when it goes on.
func TestStoppedClientHoldsOneRun(t *testing.T) {
	dir := t.TempDir()
	r := reach(t, open(t, dir, 16*mib), dir, plainBoard)
	data := bytes.Repeat([]byte{1}, mib)
	for chunk := range uint64(16) {
		r.put(1, chunk, data)
		r.place(1, chunk) // a client was told of each
	}
	held := r.place(1, 5)
	use := r.announce(held)
	if err := r.s.Purge(1); err != nil {
		t.Fatal(err)
	}
	if r.holds(held) {
		t.Error("a place of a file that is gone holds")
	}
	for round := range uint64(50) { // all that is free, again and again
		for chunk := range uint64(15) {
			r.put(2, chunk, data)
			r.place(2, chunk)
		}
		if got := r.s.Usage().UsedBytes; got != 16*mib {
			t.Fatalf("round %d: %d MiB are in use, want 16: 15 by a file and one by a client", round, got/mib)
		}
		if _, err := r.s.Begin(3, 0, 0, mib, 0, mibBits); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("round %d: a write beyond what is free: %v", round, err)
		}
		if err := r.s.Purge(2); err != nil {
			t.Fatal(err)
		}
	}
	use.Leave()
	for chunk := range uint64(16) {
		r.put(2, chunk, data)
	}
}

// Part of an extent is cut off while a client copies to or from all of it: that part is reused only afterwards.
func TestCutExtentStaysWithWhoCopies(t *testing.T) {
	dir := t.TempDir()
	r := reach(t, open(t, dir, 2*mib), dir, plainBoard)
	r.put(1, 0, bytes.Repeat([]byte{1}, mib))
	told := r.place(1, 0)
	use := r.announce(told)
	if err := r.s.Truncate(1, 1, 4096, mibBits); err != nil {
		t.Fatal(err)
	}
	small := bytes.Repeat([]byte{2}, 4096)
	files := uint64(0)
	for ino := uint64(10); ; ino++ {
		w, err := r.s.Begin(ino, 0, 0, 4096, 0, mibBits)
		if errors.Is(err, syscall.ENOSPC) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		copy(w.Data, small)
		if err := r.s.Commit(w); err != nil {
			t.Fatal(err)
		}
		files++
	}
	if files != mib/4096 {
		t.Errorf("%d files of a page found room, want %d", files, mib/4096)
	}
	if _, err := r.file(told).WriteAt(bytes.Repeat([]byte{0xEE}, mib), int64(told.Offset)); err != nil { // the client's copy, late
		t.Fatal(err)
	}
	for ino := uint64(10); ino < 10+files; ino++ {
		if got := storetest.Get(t, r.s, ino, 0, 0); !bytes.Equal(got, small) {
			t.Fatalf("file %d has bytes of another file's writer", ino)
		}
	}
	use.Leave()
	for ino := uint64(5000); ino < 5000+mib/4096-1; ino++ {
		r.put(ino, 0, small)
	}
}

// A client copies without pause. It holds one run at a time, so that a write always finds room while there is one run more than it needs.
func TestBusyClientsLeaveRoom(t *testing.T) {
	dir := t.TempDir()
	r := reach(t, open(t, dir, 5*mib), dir, plainBoard)
	data := bytes.Repeat([]byte{1}, mib)
	told, stop, done := make(chan store.Place, 1), make(chan struct{}), make(chan struct{})
	r.put(1, 0, data)
	told <- r.place(1, 0)
	go func() {
		defer close(done)
		buf := make([]byte, mib)
		at := r.at(<-told)
		for {
			select {
			case p := <-told:
				at = r.at(p)
			case <-stop:
				return
			default:
				r.view.Read(&at, buf, 0)
			}
		}
	}()
	for range 500 {
		if err := r.s.Purge(1); err != nil {
			t.Fatal(err)
		}
		for chunk := range uint64(4) {
			r.put(1, chunk, data)
		}
		select {
		case told <- r.place(1, 0):
		default:
		}
	}
	close(stop)
	<-done
}

// The store is opened again, by another daemon, while a client is stopped in a copy: what it touches is not given out, whether it is free by now or still
// a file's; nothing else waits.
func TestRestartBesideAStoppedClient(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 8*mib)
	board, err := shm.Create(dir, 6)
	if err != nil {
		t.Fatal(err)
	}
	s.Share(board)
	area := shmtest.Open(t, shmtest.AreaOf(t, board, 1))
	data := bytes.Repeat([]byte{1}, mib)
	var places []store.Place
	for ino := uint64(1); ino <= 2; ino++ {
		putChunk(t, s, ino, 0, data)
		p, ok := s.PlaceOf(ino, 0, 0)
		if !ok {
			t.Fatal("no place")
		}
		places = append(places, p)
	}
	var uses []shmtest.Use
	for _, p := range places {
		uses = append(uses, area.AnnouncePlace(t, p.Segment, p.Offset, p.Bytes, s.SegmentBytes()))
	}
	if err := s.Purge(1); err != nil { // the first is free at the restart, the second goes afterwards
		t.Fatal(err)
	}
	if err := errors.Join(s.Close(), board.Close()); err != nil {
		t.Fatal(err)
	}

	r := reach(t, open(t, dir, 8*mib), dir, plainBoard)
	if err := r.s.Purge(2); err != nil {
		t.Fatal(err)
	}
	theirs := bytes.Repeat([]byte{0x55}, mib)
	for chunk := range uint64(6) {
		r.put(3, chunk, theirs)
	}
	if _, err := r.s.Begin(4, 0, 0, mib, 0, mibBits); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("room was found that clients are writing to: %v", err)
	}
	for _, p := range places {
		if _, err := r.file(p).WriteAt(bytes.Repeat([]byte{0xEE}, mib), int64(p.Offset)); err != nil {
			t.Fatal(err)
		}
	}
	for chunk := range uint64(6) {
		if got := storetest.Get(t, r.s, 3, chunk, 0); !bytes.Equal(got, theirs) {
			t.Errorf("chunk %d has bytes of a client that was stopped before the restart", chunk)
		}
	}
	for i, use := range uses {
		use.Leave()
		r.put(4, uint64(i), data)
	}
}

// What an area says is not believed: nonsense in it neither stops the store nor holds anything.
func TestNonsenseIsAnnounced(t *testing.T) {
	dir := t.TempDir()
	r := reach(t, open(t, dir, 2*mib), dir, plainBoard)
	for _, run := range []uint64{1, 0xff, 1<<64 - 1, 5<<8 | 200, 1 << 63, shmtest.Run(3, 2), shmtest.Run(1<<31, 1), shmtest.Run(1<<32-1, 1)} {
		r.area.Announce(t, run)
	}
	data := bytes.Repeat([]byte{1}, mib)
	for range 3 {
		for chunk := range uint64(2) {
			r.put(1, chunk, data)
			r.place(1, chunk)
		}
		if err := r.s.Purge(1); err != nil {
			t.Fatal(err)
		}
	}
	next, err := shm.Create(dir, 8)
	if err != nil {
		t.Fatal(err)
	}
	r.s.Share(next)
	r.s.Share(r.board)
	if err := next.Close(); err != nil {
		t.Error(err)
	}
}
