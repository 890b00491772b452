package arena_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/benchfs/benchfs/internal/invariant"
	"github.com/benchfs/benchfs/shm"
	"github.com/benchfs/benchfs/shm/shmtest"
	"github.com/benchfs/benchfs/store"
	"github.com/benchfs/benchfs/store/arena"
)

func init() { invariant.Enabled = true }

var shareSeed = flag.Uint64("share-seed", 0, "seed of TestSharedChunks; 0 draws one")

// fewSlots is a board on which hardly a chunk finds room, so that slots are taken away all the time.
type fewSlots struct {
	*shm.Board
	taken int
}

func (b *fewSlots) Take(present uint32) (slot, serial uint32, ok bool) {
	if b.taken == 6 {
		return 0, 0, false
	}
	slot, serial, ok = b.Board.Take(present)
	b.taken++
	return slot, serial, ok
}

func (b *fewSlots) Drop(slot uint32) { b.Board.Drop(slot); b.taken-- }

// told is a place that a client was told of.
type told struct {
	ino   uint64
	chunk uint64
	place store.Place
}

// use is a place that held when a thread had announced it and looked; the thread goes on in its own time.
type use struct {
	told
	shmtest.Use
	present int // then: what the thread may overwrite
}

// reached is a store and a client of this process that reaches into it.
type reached struct {
	t        *testing.T
	s        *arena.Store
	board    *shm.Board
	view     *shm.View
	area     shmtest.Area
	segments *shm.Segments
	files    store.SegmentFiles
}

// reach shares a store whose directory is dir with this process; the test's end closes all of it.
func reach(t *testing.T, s *arena.Store, dir string, wrap func(*shm.Board) store.Board) *reached {
	t.Helper()
	board, err := shm.Create(dir, 7)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), board.Close()); err != nil {
			t.Error(err)
		}
	})
	s.Share(wrap(board))
	r := &reached{
		t: t, s: s, board: board, files: s.SegmentFiles(),
		view: shmtest.Attach(t, board, 7, 1), area: shmtest.Open(t, shmtest.AreaOf(t, board, 1)),
	}
	r.segments = shm.NewSegments(shm.OpenPaths(r.files.Prefix, true), r.files.Bytes, true, r.files.Huge, shm.NewBudget(1<<30))
	t.Cleanup(func() {
		if err := r.segments.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// at is a place that the store told, for the client.
func (r *reached) at(p store.Place) shm.Place {
	r.t.Helper()
	at, err := r.segments.PlaceAt(p.Slot, p.Serial, p.Segment, p.Offset, p.Bytes)
	if err != nil {
		r.t.Fatal(err)
	}
	return at
}

// announce is a thread that is stopped after step U1 of a use of the place.
func (r *reached) announce(p store.Place) shmtest.Use {
	return r.area.AnnouncePlace(r.t, p.Segment, p.Offset, p.Bytes, r.files.Bytes)
}

// file is the segment file of a place, for threads that copy without looking again.
func (r *reached) file(p store.Place) *os.File {
	r.t.Helper()
	f, err := os.OpenFile(r.files.Prefix+strconv.Itoa(int(p.Segment)), os.O_RDWR, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = f.Close() })
	return f
}

// shared is a store, a client that reaches into it, and what should be in it.
type shared struct {
	*reached
	rng    *rand.Rand
	want   map[uint64]map[uint64][]byte
	gens   map[uint64]uint32
	known  []told
	inside []use
	used   int
	steps  int
}

const (
	shareInodes = 5
	shareChunks = 3
	shareBits   = 16
)

func (m *shared) check(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *shared) random(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(m.rng.Uint32()) | 1
	}
	return p
}

// write writes through the store, as a message would, or in place between Begin and Commit.
func (m *shared) write(ino, chunk uint64) {
	off := m.rng.IntN(1 << shareBits)
	data := m.random(1 + m.rng.IntN(min(20_000, 1<<shareBits-off)))
	outside := m.rng.IntN(2) == 0
	begin := m.s.Begin
	bare := false
	if outside {
		begin = func(ino, chunk uint64, off, n uint32, gen uint32, chunkBits uint8) (w store.Write, err error) {
			w, bare, err = m.s.BeginBare(ino, chunk, off, n, gen, chunkBits)
			return w, err
		}
	}
	w, err := begin(ino, chunk, uint32(off), uint32(len(data)), m.gens[ino], shareBits)
	m.check(err)
	place, ok := m.s.PlaceOfWrite(w)
	switch {
	case outside && ok:
		m.known = append(m.known, told{ino, chunk, place})
		at := m.at(place)
		if !m.view.Fill(&at, data, uint32(off), bare) {
			m.t.Fatalf("step %d: room for a write cannot be filled", m.steps)
		}
	case outside:
		m.s.Abort(w)
		m.adopt(ino, chunk, off, len(data))
		return
	default:
		copy(w.Data, data)
	}
	if m.rng.IntN(6) == 0 {
		m.s.Abort(w)
		m.adopt(ino, chunk, off, len(data))
		return
	}
	m.check(m.s.Commit(w))
	if m.want[ino] == nil {
		m.want[ino] = map[uint64][]byte{}
	}
	have := m.want[ino][chunk]
	if end := off + len(data); end > len(have) {
		have = append(have, make([]byte, end-len(have))...)
	}
	copy(have[off:], data)
	m.want[ino][chunk] = have
}

// adopt takes a range as it is: a write that did not end well may have changed its own range, and nothing else.
func (m *shared) adopt(ino, chunk uint64, off, n int) {
	have := m.want[ino][chunk]
	if off >= len(have) {
		return
	}
	v, err := m.s.View(ino, chunk, 0, uint32(len(have)), m.gens[ino])
	m.check(err)
	copy(have[off:min(off+n, len(have))], v.Data[off:])
	m.s.Release(v)
}

// enter begins a use of something that was told, as a client does.
func (m *shared) enter() {
	if len(m.known) == 0 || len(m.inside) > 4 {
		return
	}
	k := m.known[m.rng.IntN(len(m.known))]
	u := m.announce(k.place)
	present, ok := m.present(k)
	if !ok {
		u.Leave()
		return
	}
	if want := m.want[k.ino][k.chunk]; present != len(want) {
		m.t.Fatalf("%d/%d: %d bytes are shown, there are %d", k.ino, k.chunk, present, len(want))
	}
	m.inside = append(m.inside, use{k, u, present})
}

// present is how many bytes the board shows of a place; false: it does not hold any more.
func (m *shared) present(k told) (n int, ok bool) {
	at := m.at(k.place)
	return m.view.Read(&at, make([]byte, k.place.Bytes), 0)
}

// leave ends one: it has read, or it writes now, however late.
func (m *shared) leave() {
	if len(m.inside) == 0 {
		return
	}
	i := m.rng.IntN(len(m.inside))
	u := m.inside[i]
	m.inside = append(m.inside[:i], m.inside[i+1:]...)
	defer func() { m.used++ }()
	file := m.file(u.place)
	defer file.Close()
	present, held := m.present(u.told)
	n := u.present
	if held {
		n = present
	}
	got := make([]byte, n)
	_, err := file.ReadAt(got, int64(u.place.Offset))
	m.check(err)
	if held && !bytes.Equal(got, m.want[u.ino][u.chunk]) {
		m.t.Fatalf("%d/%d: other bytes than the file's", u.ino, u.chunk)
	}
	if n > 0 {
		off := m.rng.IntN(n)
		data := m.random(1 + m.rng.IntN(n-off))
		_, err := file.WriteAt(data, int64(u.place.Offset)+int64(off)) // its own file's, or nobody's: compare tells
		m.check(err)
		if held {
			copy(m.want[u.ino][u.chunk][off:], data)
		} else {
			m.adopt(u.ino, u.chunk, off, len(data))
		}
	}
	u.Leave()
}

// compare reads everything through the store.
func (m *shared) compare() {
	for ino := range uint64(shareInodes) {
		for chunk := range uint64(shareChunks) {
			v, err := m.s.View(ino+1, chunk, 0, 1<<shareBits, m.gens[ino+1])
			m.check(err)
			if !bytes.Equal(v.Data, m.want[ino+1][chunk]) {
				m.t.Fatalf("step %d: %d/%d: %d bytes, want %d; other ones from byte %d on", m.steps, ino+1, chunk, len(v.Data),
					len(m.want[ino+1][chunk]), firstDifference(v.Data, m.want[ino+1][chunk]))
			}
			m.s.Release(v)
		}
	}
}

func firstDifference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

func (m *shared) truncate(ino uint64) {
	if m.want[ino] == nil {
		return
	}
	m.gens[ino]++
	size := m.rng.Uint64N(shareChunks << shareBits)
	m.check(m.s.Truncate(ino, m.gens[ino], size, shareBits))
	for chunk, have := range m.want[ino] {
		from := chunk << shareBits
		switch {
		case size <= from:
			delete(m.want[ino], chunk)
		case size < from+uint64(len(have)):
			m.want[ino][chunk] = have[:size-from]
		}
	}
}

// TestSharedChunks: a client that reads and writes in place, at the worst moments, sees the bytes of its file and changes nobody else's, while
// chunks grow, move, are cut and go, and slots are scarce.
func TestSharedChunks(t *testing.T) {
	seed := *shareSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("repeat with -share-seed %d", seed)
	for _, scarce := range []bool{false, true} {
		t.Run(fmt.Sprintf("scarce=%v", scarce), func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, 4<<20)
			r := reach(t, s, dir, func(b *shm.Board) store.Board {
				if scarce {
					return &fewSlots{Board: b}
				}
				return b
			})
			m := &shared{reached: r, rng: rand.New(rand.NewPCG(seed, 1)), want: map[uint64]map[uint64][]byte{}, gens: map[uint64]uint32{}}
			for step := range 6000 {
				m.steps = step
				ino, chunk := 1+m.rng.Uint64N(shareInodes), m.rng.Uint64N(shareChunks)
				switch m.rng.IntN(12) {
				case 0, 1, 2:
					m.write(ino, chunk)
				case 3, 4:
					if p, ok := s.PlaceOf(ino, chunk, m.gens[ino]); ok {
						m.known = append(m.known, told{ino, chunk, p})
					}
				case 5, 6, 7:
					m.enter()
				case 8, 9:
					m.leave()
				case 10:
					m.truncate(ino)
				case 11:
					if m.rng.IntN(3) == 0 {
						m.check(s.Purge(ino))
						delete(m.want, ino)
						delete(m.gens, ino)
					}
				}
				if len(m.known) > 40 {
					m.known = m.known[20:]
				}
				if step%10 == 0 {
					m.compare()
				}
			}
			for len(m.inside) > 0 {
				m.leave()
			}
			m.compare()
			if m.used < 100 {
				t.Errorf("only %d uses", m.used)
			}
		})
	}
}
