package storetest

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"

	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/store"
)

// Model drives a store with random operations and knows what it must answer. Every byte of a file has the file's own upper four bits or
// is zero, so that a byte of another file is recognised wherever it turns up. Bytes under Writes that are in progress, or that ended
// without a Commit, may have several values: the model only asks them to be the file's own.
type Model struct {
	t      testing.TB
	s      store.Store
	rnd    *rand.Rand
	files  map[uint64]*modelFile
	writes []*modelWrite
	views  []modelView
	full   int // times that the store was full

	device  store.Device // not nil: Writes and Views are started and end later; see device.go
	reading int          // Views started
}

type modelFile struct {
	gen    uint32
	chunks map[uint64]*modelChunk
}

type modelChunk struct {
	data    []byte // what is present
	unknown []bool // by byte
}

type modelWrite struct {
	w          store.Write
	ino, chunk uint64
	off        uint32
	data       []byte
	file       *modelFile // to see whether it was purged
	gen        uint32
	started    bool // its commit is under way
}

type modelView struct {
	v   store.View
	ino uint64
}

const modelFiles, modelChunks = 7, 3

// NewModel makes the model of an empty store.
func NewModel(t testing.TB, s store.Store, seed uint64) *Model {
	return &Model{t: t, s: s, rnd: rand.New(rand.NewPCG(seed, 1)), files: make(map[uint64]*modelFile)}
}

// testModel runs many operations in a store that is often full.
func testModel(t *testing.T, open Open) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	steps := 30_000
	if testing.Short() {
		steps = 3000
	}
	m := NewModel(t, open(t, 1<<20), seed)
	for i := range steps {
		m.Step()
		if i%1000 == 999 {
			m.Check()
		}
	}
	if m.full == 0 && !testing.Short() {
		t.Error("the store was never full: the test lacks its point")
	}
	m.Finish()
}

// Step does one random operation.
func (m *Model) Step() {
	m.t.Helper()
	switch op := m.rnd.IntN(100); {
	case op < 40:
		m.begin()
	case op < 65:
		m.end()
	case op < 80:
		m.view()
	case op < 90:
		m.release()
	case op < 95:
		m.truncate()
	case op < 97:
		m.purge(m.ino())
	case op < 98:
		m.reserve()
	default:
		m.sync()
	}
}

// Check compares all that is stored.
func (m *Model) Check() {
	m.t.Helper()
	m.quiesce()
	for ino := uint64(1); ino <= modelFiles; ino++ {
		for chunk := range uint64(modelChunks) {
			m.compare(ino, chunk, 0, chunkBytes)
		}
	}
}

// Settle ends all Writes and Views.
func (m *Model) Settle() {
	for len(m.writes) > 0 {
		m.end()
	}
	m.quiesce()
	for len(m.views) > 0 {
		m.release()
	}
}

// Reopened goes on with another store that must hold the same. There must have been a Settle.
func (m *Model) Reopened(s store.Store) {
	m.s = s
	m.Check()
}

// Finish checks, purges everything, finds the store empty, and closes it.
func (m *Model) Finish() {
	m.t.Helper()
	m.Settle()
	m.Check()
	for ino := uint64(1); ino <= modelFiles; ino++ {
		m.purge(ino)
	}
	if u := m.s.Usage(); u.UsedBytes != 0 || u.Chunks != 0 || u.Files != 0 {
		m.t.Fatalf("after the purge of everything: %+v", u)
	}
	if err := m.s.Close(); err != nil {
		m.t.Fatal(err)
	}
}

func (m *Model) ino() uint64   { return 1 + m.rnd.Uint64N(modelFiles) }
func (m *Model) chunk() uint64 { return m.rnd.Uint64N(modelChunks) }

func (m *Model) gen(ino uint64) uint32 {
	if f := m.files[ino]; f != nil {
		return f.gen
	}
	return 0
}

// file is the file, made known by a request with generation 0 if it is not known.
func (m *Model) file(ino uint64) *modelFile {
	f := m.files[ino]
	if f == nil {
		f = &modelFile{chunks: make(map[uint64]*modelChunk)}
		m.files[ino] = f
	}
	return f
}

// span is a random range in a chunk: small ones, appends, and large ones.
func (m *Model) span(ino, chunk uint64) (off, n uint32) {
	switch m.rnd.IntN(3) {
	case 0:
		off = m.rnd.Uint32N(chunkBytes)
	case 1:
		if f := m.files[ino]; f != nil && f.chunks[chunk] != nil {
			off = min(uint32(len(f.chunks[chunk].data)), chunkBytes-1)
		}
	}
	n = 1 + m.rnd.Uint32N(1<<m.rnd.IntN(chunkBits+1))
	return off, min(n, chunkBytes-off)
}

func (m *Model) begin() {
	if len(m.writes) > 8 {
		m.end()
		return
	}
	ino, chunk := m.ino(), m.chunk()
	off, n := m.span(ino, chunk)
	for _, other := range m.writes { // overlapping Writes may leave either's bytes: not what this model is for
		if other.ino == ino && other.chunk == chunk && other.off < off+n && off < other.off+uint32(len(other.data)) {
			return
		}
	}
	w, err := m.s.Begin(ino, chunk, off, n, m.gen(ino), chunkBits)
	if fserr.Errno(err) == syscall.ENOSPC {
		m.full++
		m.compare(ino, chunk, 0, chunkBytes)
		return
	}
	if m.device != nil && errors.Is(err, store.ErrNoBuffers) {
		m.release()
		m.end()
		return
	}
	if err != nil || len(w.Data) != int(n) {
		m.t.Fatalf("begin: %d bytes, %v", len(w.Data), err)
	}
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(ino)<<4 | byte(m.rnd.Uint32()&15)
	}
	f := m.file(ino)
	if c := f.chunks[chunk]; c != nil {
		for i := off; i < min(off+n, uint32(len(c.data))); i++ {
			c.unknown[i] = true
		}
	}
	filled := m.rnd.IntN(len(data) + 1)
	copy(w.Data[:filled], data)
	m.writes = append(m.writes, &modelWrite{w: w, ino: ino, chunk: chunk, off: off, data: data, file: f, gen: f.gen})
}

// end commits or aborts a random Write.
func (m *Model) end() {
	if len(m.writes) == 0 {
		return
	}
	w := m.writes[m.rnd.IntN(len(m.writes))]
	if w.started {
		m.poll()
		return
	}
	if m.rnd.IntN(5) == 0 {
		m.drop(w)
		m.s.Abort(w.w)
		m.forgetEmpty(w)
		return
	}
	copy(w.w.Data, w.data)
	if m.device != nil {
		m.start(w)
		return
	}
	m.ended(w, m.s.Commit(w.w))
	m.compare(w.ino, w.chunk, 0, chunkBytes)
}

func (m *Model) drop(w *modelWrite) {
	i := slices.Index(m.writes, w)
	m.writes = slices.Delete(m.writes, i, i+1)
}

// ended notes what became of a commit.
func (m *Model) ended(w *modelWrite, err error) {
	m.drop(w)
	stale := m.files[w.ino] != w.file || w.file.gen != w.gen
	switch {
	case stale && errors.Is(err, fserr.ErrStaleGeneration), m.device != nil && fserr.Errno(err) == syscall.EIO:
		m.forgetEmpty(w)
	case fserr.Errno(err) == syscall.ENOSPC && !stale:
		m.full++
		m.forgetEmpty(w)
	case err != nil || stale:
		m.t.Fatalf("commit (stale: %v): %v", stale, err)
	default:
		m.committed(w)
	}
}

func (m *Model) committed(w *modelWrite) {
	c := w.file.chunks[w.chunk]
	if c == nil {
		c = &modelChunk{}
		w.file.chunks[w.chunk] = c
	}
	end := int(w.off) + len(w.data)
	if grow := end - len(c.data); grow > 0 {
		old := len(c.data)
		c.data = append(c.data, make([]byte, grow)...)
		c.unknown = append(c.unknown, make([]bool, grow)...)
		for _, other := range m.writes { // in progress in the gap, now exposed
			if other.ino == w.ino && other.chunk == w.chunk {
				for i := max(old, int(other.off)); i < min(end, int(other.off)+len(other.data)); i++ {
					c.unknown[i] = true
				}
			}
		}
	}
	copy(c.data[w.off:], w.data)
	for i := int(w.off); i < end; i++ {
		c.unknown[i] = false
	}
}

// forgetEmpty does what the store does with a file that never had a byte: the generation of first contact was 0 anyway.
func (m *Model) forgetEmpty(w *modelWrite) {
	for _, other := range m.writes {
		if other.file == w.file {
			return
		}
	}
	if f := m.files[w.ino]; f == w.file && f.gen == 0 && len(f.chunks) == 0 {
		delete(m.files, w.ino)
	}
}

func (m *Model) view() {
	ino, chunk := m.ino(), m.chunk()
	off, n := m.span(ino, chunk)
	m.compare(ino, chunk, off, n)
	if len(m.views)+m.reading > 6 {
		return
	}
	if m.device != nil {
		m.startView(ino, chunk, off, n)
		return
	}
	v, err := m.s.View(ino, chunk, off, n, m.gen(ino))
	if err != nil {
		m.t.Fatalf("view: %v", err)
	}
	m.views = append(m.views, modelView{v, ino})
}

// release looks once more at a pinned View: its bytes may have been overwritten, but never by another file.
func (m *Model) release() {
	if len(m.views) == 0 {
		return
	}
	i := m.rnd.IntN(len(m.views))
	pinned := m.views[i]
	m.views = slices.Delete(m.views, i, i+1)
	m.ownBytes(pinned.ino, pinned.v.Data, nil)
	m.s.Release(pinned.v)
}

func (m *Model) truncate() {
	ino := m.ino()
	f := m.files[ino]
	gen, size := m.gen(ino)+m.rnd.Uint32N(3), m.rnd.Uint64N((modelChunks+1)*chunkBytes)
	if m.rnd.IntN(3) == 0 {
		size = 0
	}
	if err := m.s.Truncate(ino, gen, size, chunkBits); err != nil {
		m.t.Fatalf("truncate: %v", err)
	}
	if gen <= m.gen(ino) {
		return
	}
	if f == nil {
		f = m.file(ino)
	}
	f.gen = gen
	for number, c := range f.chunks {
		if start := number << chunkBits; start >= size {
			delete(f.chunks, number)
		} else if keep := size - start; keep < uint64(len(c.data)) {
			c.data, c.unknown = c.data[:keep:keep], c.unknown[:keep:keep]
		}
	}
	for number, c := range f.chunks { // a chunk that was only reserved and is cut through is gone
		if len(c.data) == 0 && number == size>>chunkBits {
			delete(f.chunks, number)
		}
	}
}

func (m *Model) purge(ino uint64) {
	if err := m.s.Purge(ino); err != nil {
		m.t.Fatalf("purge: %v", err)
	}
	delete(m.files, ino)
}

func (m *Model) reserve() {
	ino, chunk := m.ino(), m.chunk()
	m.quiesce()
	err := m.s.Reserve(ino, chunk, 1+m.rnd.Uint32N(chunkBytes), m.gen(ino), chunkBits)
	if fserr.Errno(err) == syscall.ENOSPC {
		m.full++
		return
	}
	if err != nil {
		m.t.Fatalf("reserve: %v", err)
	}
	if f := m.file(ino); f.chunks[chunk] == nil {
		f.chunks[chunk] = &modelChunk{}
	}
}

func (m *Model) sync() {
	ino := m.ino()
	if m.rnd.IntN(4) == 0 {
		ino = 0
	}
	if err := m.s.Sync(ino)(); err != nil {
		m.t.Fatalf("sync: %v", err)
	}
}

// compare reads a range and holds it against the model.
func (m *Model) compare(ino, chunk uint64, off, n uint32) {
	m.t.Helper()
	if m.device != nil && (m.inFlight() && m.rnd.IntN(20) > 0 || !m.quiesce()) {
		return
	}
	v, err := m.s.View(ino, chunk, off, n, m.gen(ino))
	if err != nil {
		m.t.Fatalf("view of %d/%d: %v", ino, chunk, err)
	}
	defer m.s.Release(v)
	c := &modelChunk{}
	if f := m.files[ino]; f != nil && f.chunks[chunk] != nil {
		c = f.chunks[chunk]
	}
	start := min(int(off), len(c.data))
	end := min(int(off)+int(n), len(c.data))
	want, unknown := c.data[start:end], c.unknown[start:end]
	if len(v.Data) != len(want) {
		m.t.Fatalf("%d/%d from %d: %d bytes present, want %d", ino, chunk, off, len(v.Data), len(want))
	}
	if !slices.Contains(unknown, true) && bytes.Equal(v.Data, want) {
		return
	}
	for i := range want {
		if !unknown[i] && v.Data[i] != want[i] {
			m.t.Fatalf("%d/%d: byte %d is %#x, want %#x", ino, chunk, int(off)+i, v.Data[i], want[i])
		}
	}
	m.ownBytes(ino, v.Data, unknown)
}

// ownBytes checks that each byte (of those marked, if marked is not nil) is zero or the file's own.
func (m *Model) ownBytes(ino uint64, data []byte, marked []bool) {
	m.t.Helper()
	for i, b := range data {
		if (marked == nil || marked[i]) && b != 0 && uint64(b>>4) != ino {
			m.t.Fatalf("byte %d seen in file %d is %#x: another file's", i, ino, b)
		}
	}
}
