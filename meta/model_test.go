package meta

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"

	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/internal/inode"
)

// model is what a shard should hold, in maps.
type model struct {
	t       testing.TB
	r       *rand.Rand
	s       *Shard
	names   map[inode.Ino][]modelEntry // in the order they were made
	inodes  map[inode.Ino]*modelInode
	removed map[inode.Ino]bool // directories of other shards
	purges  []inode.Ino
	op      uint64
	steady  bool // no restarts and checkpoints of its own
}

type modelEntry struct {
	name string
	Entry
}

type modelInode struct {
	kind    inode.Kind
	nlink   uint32
	mode    uint32
	size    uint64
	end     uint64 // of the reservation of an append; 0: none
	gen     uint32
	largest uint64
	handles map[uint64]bool
}

func newModel(t testing.TB, r *rand.Rand, s *Shard) *model {
	return &model{
		t: t, r: r, s: s,
		names:   map[inode.Ino][]modelEntry{},
		inodes:  map[inode.Ino]*modelInode{inode.Root: {kind: inode.Dir, nlink: 2, mode: 0o755, handles: map[uint64]bool{}}},
		removed: map[inode.Ino]bool{},
	}
}

// req is a request that will be remembered, or not.
func (m *model) req() ReqID {
	m.op++
	return ReqID{Client: uint64(m.r.IntN(3)), Op: m.op * uint64(m.r.IntN(2))}
}

// dir picks a directory: one here, or one of another shard, removed or not.
func (m *model) dir() inode.Ino {
	if m.r.IntN(4) == 0 {
		return inode.Make(1, uint64(1+m.r.IntN(6)))
	}
	return m.pick(inode.Dir)
}

// pick returns some inode of a kind (0: any), or one that never was.
func (m *model) pick(kind inode.Kind) inode.Ino {
	var some []inode.Ino
	for _, ino := range slices.Sorted(maps.Keys(m.inodes)) {
		if kind == 0 || m.inodes[ino].kind == kind {
			some = append(some, ino)
		}
	}
	if len(some) == 0 || m.r.IntN(50) == 0 {
		return inode.Make(0, 1<<40)
	}
	return some[m.r.IntN(len(some))]
}

func (m *model) name() string { return fmt.Sprint("n", m.r.IntN(25)) }

func (m *model) find(dir inode.Ino, name string) (int, Entry) {
	i := slices.IndexFunc(m.names[dir], func(e modelEntry) bool { return e.name == name })
	if i < 0 {
		return i, Entry{}
	}
	return i, m.names[dir][i].Entry
}

func (m *model) exists(dir inode.Ino) bool {
	if dir.Shard() != 0 {
		return !m.removed[dir]
	}
	n := m.inodes[dir]
	return n != nil && n.kind == inode.Dir && n.nlink > 0
}

// expect fails the test if an operation's success is not what the model says.
func (m *model) expect(what string, err error, ok bool) bool {
	m.t.Helper()
	if (err == nil) != ok {
		m.t.Fatalf("operation %d, %s: %v, model says ok = %v", m.op, what, err, ok)
	}
	return ok
}

// settle drops an inode that nothing keeps.
func (m *model) settle(ino inode.Ino) {
	n := m.inodes[ino]
	if n == nil || n.nlink > 0 || len(n.handles) > 0 {
		return
	}
	delete(m.inodes, ino)
	if n.kind == inode.File && n.largest > 0 {
		m.purges = append(m.purges, ino)
	}
}

func (m *model) create() {
	dir, name := m.dir(), m.name()
	kind := inode.Kind(1 + m.r.IntN(3))
	if kind == inode.Dir && len(m.inodes) > 150 {
		kind = inode.File
	}
	a := CreateArgs{Parent: dir, Name: []byte(name), Kind: kind, Mode: m.r.Uint32N(0o10000), Exclusive: m.r.IntN(2) == 0}
	if kind == inode.Symlink {
		a.Target = []byte(name)
	}
	at, old := m.find(dir, name)
	e, made, err := m.s.Create(m.req(), a)
	if at >= 0 && !a.Exclusive && kind == inode.File {
		m.expect("open existing", err, true)
		if made || e != old {
			m.t.Fatalf("create found %+v, model has %+v", e, old)
		}
		return
	}
	if !m.expect("create", err, at < 0 && m.exists(dir)) {
		return
	}
	n := &modelInode{kind: kind, nlink: 1, mode: a.Mode, size: uint64(len(a.Target)), handles: map[uint64]bool{}}
	if kind == inode.Dir {
		n.nlink = 2
	}
	m.inodes[e.Ino] = n
	m.names[dir] = append(m.names[dir], modelEntry{name, e})
}

func (m *model) lookup() {
	dir, name := m.dir(), m.name()
	at, wanted := m.find(dir, name)
	e, err := m.s.Lookup(dir, []byte(name))
	if m.expect("lookup", err, at >= 0) && e != wanted {
		m.t.Fatalf("lookup found %+v, model has %+v", e, wanted)
	}
}

// do runs steps in one of the three ways, and reports whether they were done.
func (m *model) do(what string, steps []inode.TxOp, ok bool) bool {
	m.t.Helper()
	if m.r.IntN(2) == 0 {
		return m.expect(what+" at once", m.s.Apply(m.req(), steps), ok)
	}
	tx := m.s.NewTx()
	coordinate := m.r.IntN(2) == 0
	if coordinate {
		m.expect("begin", m.s.TxBegin(tx, m.req(), []uint32{0, 1}), true)
	}
	if !m.expect(what+" prepared", m.s.Prepare(tx, steps), ok) {
		if coordinate {
			m.expect("abort", m.s.TxDecide(tx, false), true)
		}
		return false
	}
	if err := m.s.Prepare(tx+1<<47, steps); err != fserr.ErrBusy {
		m.t.Fatalf("%s prepared by two: %v", what, err)
	}
	commit := m.r.IntN(3) > 0
	switch {
	case coordinate:
		m.expect("decide", m.s.TxDecide(tx, commit), true)
		m.expect("forget", m.s.TxForget(tx), true)
	case commit:
		m.expect("commit", m.s.Commit(tx), true)
	default:
		m.expect("abort", m.s.Abort(tx), true)
	}
	return commit
}

func (m *model) unlink() {
	dir, name := m.dir(), m.name()
	at, e := m.find(dir, name)
	if at < 0 {
		m.do("remove nothing", []inode.TxOp{removeOp(dir, name, 5)}, false)
		return
	}
	n := m.inodes[e.Ino]
	steps := []inode.TxOp{removeOp(dir, name, e.Ino), inodeOp(inode.TxUnlinkInode, e.Ino)}
	if e.Kind == inode.Dir {
		steps[1].Kind = inode.TxRemoveDir
	}
	if !m.do("unlink", steps, e.Kind != inode.Dir || len(m.names[e.Ino]) == 0) {
		return
	}
	m.names[dir] = slices.Delete(m.names[dir], at, at+1)
	n.nlink--
	if e.Kind == inode.Dir {
		n.nlink = 0
		delete(m.names, e.Ino)
	}
	m.settle(e.Ino)
}

func (m *model) link() {
	dir, name, ino := m.dir(), m.name(), m.pick(inode.File)
	at, _ := m.find(dir, name)
	n := m.inodes[ino]
	ok := at < 0 && m.exists(dir) && n != nil && n.nlink > 0
	if !m.do("link", []inode.TxOp{addOp(dir, name, ino, inode.File), inodeOp(inode.TxLinkInode, ino)}, ok) {
		return
	}
	n.nlink++
	m.names[dir] = append(m.names[dir], modelEntry{name, Entry{ino, inode.File}})
}

// rename moves a name that is no directory, over another that is none or to where there is nothing.
func (m *model) rename() {
	from, old, to, name := m.dir(), m.name(), m.dir(), m.name()
	at, e := m.find(from, old)
	over, target := m.find(to, name)
	if at < 0 || e.Kind == inode.Dir || from == to && old == name || over >= 0 && (target.Kind == inode.Dir || target.Ino == e.Ino) {
		return
	}
	steps := []inode.TxOp{removeOp(from, old, e.Ino), inodeOp(inode.TxTouchInode, e.Ino)}
	if over >= 0 {
		steps = append(steps, replaceOp(to, name, target.Ino, e.Ino, e.Kind), inodeOp(inode.TxUnlinkInode, target.Ino))
	} else {
		steps = append(steps, addOp(to, name, e.Ino, e.Kind))
	}
	if !m.do("rename", steps, m.exists(to)) {
		return
	}
	if over >= 0 {
		m.names[to][over].Entry = e
		m.inodes[target.Ino].nlink--
	} else {
		m.names[to] = append(m.names[to], modelEntry{name, e})
	}
	at, _ = m.find(from, old)
	m.names[from] = slices.Delete(m.names[from], at, at+1)
	m.settle(target.Ino)
}

func (m *model) removeForeign() {
	dir := inode.Make(1, uint64(1+m.r.IntN(6)))
	if m.r.IntN(20) == 0 && m.do("remove a foreign directory", []inode.TxOp{inodeOp(inode.TxRemoveDir, dir)}, len(m.names[dir]) == 0 && !m.removed[dir]) {
		m.removed[dir] = true
	}
}

func (m *model) chmod() {
	ino, mode := m.pick(0), m.r.Uint32N(0o10000)
	n := m.inodes[ino]
	_, err := m.s.SetAttr(m.req(), ino, inode.SetMode, inode.Attr{Mode: mode})
	if m.expect("chmod", err, n != nil) {
		n.mode = mode
	}
}

func (m *model) resize() {
	ino, size := m.pick(inode.File), uint64(m.r.IntN(1000))
	n := m.inodes[ino]
	switch m.r.IntN(3) {
	case 0:
		gen := uint32(m.r.IntN(3))
		_, err := m.s.Extend(ino, size, gen)
		if m.expect("extend", err, n != nil && n.gen == gen) {
			n.size = max(n.size, size)
		}
	case 1:
		m.append(n, ino, size+1)
	case 2:
		_, fanout, err := m.s.TruncateBegin(m.req(), ino, size)
		if !m.expect("truncate", err, n != nil) {
			return
		}
		if fanout != (size < n.size) {
			m.t.Fatalf("truncate from %d to %d: fan-out %v", n.size, size, fanout)
		}
		if fanout {
			m.maybeRestart()
			_, err = m.s.TruncateEnd(ino)
			m.expect("end of truncate", err, true)
			n.gen++
			n.end = 0
		}
		n.size = size
		m.settle(ino)
	}
	if n != nil {
		n.largest = max(n.largest, n.size)
	}
}

// append makes an append in one step, or reserves its range and ends it, gives it up, or lets it be.
func (m *model) append(n *modelInode, ino inode.Ino, length uint64) {
	r := m.req()
	offset, _, err := m.s.AppendOffset(ino, length)
	if !m.expect("offset of an append", err, n != nil) {
		return
	}
	if offset != max(n.size, n.end) {
		m.t.Fatalf("append at %d, model has %d, reserved up to %d", offset, n.size, n.end)
	}
	how := m.r.IntN(4)
	if how > 0 && r.Op != 0 {
		a, _, err := m.s.Reserve(r, ino, length)
		m.expect("reservation", err, true)
		if a != (Reservation{r, offset, offset + length}) {
			m.t.Fatalf("reserved %+v, want %d bytes from %d on", a, length, offset)
		}
		n.end = offset + length
		n.largest = max(n.largest, n.end)
		m.maybeRestart()
	}
	switch how {
	case 2: // for ever
		return
	case 3: // a part is in place
		length = m.r.Uint64N(length + 1)
	}
	_, err = m.s.Append(r, ino, offset, offset+length, n.gen)
	m.expect("end of append", err, true)
	n.size = max(n.size, offset+length)
	if r.Op != 0 {
		n.end = 0
	}
}

func (m *model) handle() {
	ino, handle := m.pick(inode.File), uint64(m.r.IntN(3))
	n := m.inodes[ino]
	switch m.r.IntN(3) {
	case 0:
		_, err := m.s.OpenHandle(1, ino, handle)
		if m.expect("open", err, n != nil) {
			n.handles[handle] = true
		}
	case 1:
		m.expect("release", m.s.ReleaseHandle(1, ino, handle, 0), true)
		if n != nil && n.handles[handle] {
			delete(n.handles, handle)
			m.settle(ino)
		}
	case 2:
		if m.r.IntN(10) == 0 {
			m.s.DropClient(1)
			m.dropAllHandles()
		}
	}
}

func (m *model) dropAllHandles() {
	for _, ino := range slices.Sorted(maps.Keys(m.inodes)) {
		clear(m.inodes[ino].handles)
		m.settle(ino)
	}
}

// maybeRestart compares the shard with what its log makes of it; sometimes it goes on with that, sometimes it checkpoints.
func (m *model) maybeRestart() {
	if m.steady {
		return
	}
	switch m.r.IntN(200) {
	case 0:
		m.expect("checkpoint", m.s.Checkpoint(), true)
		sameState(m.t, "checkpoint", restart(m.t, m.s), m.s)
	case 1:
		again := restart(m.t, m.s)
		sameState(m.t, "replay", again, m.s)
		m.s = again
		again.SweepOrphans()
		m.dropAllHandles()
	}
}

func (m *model) compare() {
	m.t.Helper()
	if m.s.nodes.len() != len(m.inodes) {
		m.t.Fatalf("%d inodes, model has %d", m.s.nodes.len(), len(m.inodes))
	}
	for ino, n := range m.inodes {
		a := attr(m.t, m.s, ino)
		if a.Kind != n.kind || a.Nlink != n.nlink || a.Mode != n.mode || a.Size != n.size || a.TruncGen != n.gen {
			m.t.Fatalf("%+v, model has %+v", a, n)
		}
	}
	total := 0
	for dir, entries := range m.names {
		var names []string
		for _, e := range entries {
			names = append(names, e.name)
		}
		if got := list(m.t, m.s, dir, 4); !slices.Equal(got, names) {
			m.t.Fatalf("directory %v lists %v, model has %v", dir, got, names)
		}
		total += len(names)
	}
	if u := m.s.Usage(); u.Entries != uint64(total) {
		m.t.Fatalf("%d entries, model has %d", u.Entries, total)
	}
	purges := []inode.Ino{}
	for _, p := range m.s.Purges() {
		purges = append(purges, p.Ino)
	}
	slices.Sort(purges)
	slices.Sort(m.purges)
	if !slices.Equal(purges, m.purges) {
		m.t.Fatalf("purges %v, model has %v", purges, m.purges)
	}
	for _, ino := range purges[:len(purges)/2] {
		m.expect("purged", m.s.PurgeDone(ino), true)
	}
	m.purges = m.purges[len(purges)/2:]
}

func (m *model) step() {
	actions := []func(){
		m.create, m.create, m.create, m.lookup, m.unlink, m.unlink, m.link, m.rename, m.rename, m.chmod, m.resize, m.resize,
		m.handle, m.handle, m.removeForeign,
	}
	actions[m.r.IntN(len(actions))]()
}

func TestModel(t *testing.T) {
	operations := 40_000
	if testing.Short() {
		operations = 5_000
	}
	m := newModel(t, seeded(t), newShard(t))
	m.s.o.DedupPerClient, m.s.dedup.perClient = 50, 50
	for i := range operations {
		m.step()
		m.maybeRestart()
		if i%500 == 0 {
			m.compare()
		}
	}
	m.compare()
	sameState(t, "replay", restart(t, m.s), m.s)
}

// A crash after any record leaves exactly what was there after that record.
func TestCrashAtEveryRecord(t *testing.T) {
	for round := range 5 {
		s := newShard(t)
		m := newModel(t, seeded(t), s)
		m.steady = true
		l := s.log.(*tape)
		after := map[int]string{}
		for range 400 {
			m.step()
			after[len(l.records)] = dump(s)
			if round > 2 && len(l.records) > 100 && l.snapshot == nil {
				m.expect("checkpoint", s.Checkpoint(), true)
				after = map[int]string{0: dump(s)}
			}
		}
		for k := range len(l.records) {
			if k == 0 && l.snapshot == nil {
				continue
			}
			again := openTape(t, s.o, l.cut(k))
			if wanted, known := after[k]; known {
				sameDump(t, fmt.Sprintf("after %d of %d records", k, len(l.records)), dump(again), wanted)
			}
		}
	}
}

// Steps in any combination are refused or done, never half done: apply finds nothing wrong with what was checked, and a
// prepared operation can always be committed.
func TestRandomSteps(t *testing.T) {
	random := seeded(t)
	for range 300 {
		s := populated(t)
		some := []inode.Ino{0, inode.Root, 2, 3, 4, 5, 6, 7, inode.Make(2, 9), inode.Make(2, 10), inode.Make(2, 11)}
		ino := func() inode.Ino { return some[random.IntN(len(some))] }
		for i := range 40 {
			ops := make([]inode.TxOp, 1+random.IntN(3))
			for j := range ops {
				ops[j] = inode.TxOp{
					Kind: inode.TxOpKind(1 + random.IntN(9)), Parent: ino(), Name: []byte([]string{"d", "f", "l", "new"}[random.IntN(4)]),
					Ino: ino(), Target: ino(), Entry: inode.Kind(1 + random.IntN(3)),
				}
			}
			var err error
			tx := uint64(500 + i)
			switch random.IntN(4) {
			case 0:
				err = s.Apply(ReqID{7, uint64(i)}, ops)
			case 1:
				if err = s.Prepare(tx, ops); err == nil && random.IntN(2) == 0 {
					err = s.Commit(tx)
				}
			case 2:
				if held := s.Prepared(); len(held) > 0 {
					err = s.Commit(held[random.IntN(len(held))])
				}
			case 3:
				s.DropClient(1)
				create(t, s, inode.Root, fmt.Sprint("another", i), inode.Dir)
			}
			if fserr.Errno(err) == syscall.EIO {
				t.Fatalf("%+v: %v", ops, err)
			}
		}
		sameState(t, "replay", restart(t, s), s)
		want(t, s.Checkpoint(), nil)
		sameState(t, "checkpoint", restart(t, s), s)
	}
}
