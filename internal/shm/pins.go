package shm

import (
	"path/filepath"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Pins are the fourth file: facts that processes hold on to without telling the daemon. Each process has a table, hashed by lines of the processor's cache,
// and puts the number of the fact into it, as often as it holds it. The protocol is Dekker's: a process first pins and then looks whether the
// record of the fact still shows it; the daemon first voids the record and then looks for pins. Each of the two is a locked instruction followed by a
// load, so that at least one of them sees the other. Pins outlive the daemon, and go with their process.
const (
	pinsName    = "pins"
	maxPinners  = 256
	pinLines    = 128
	pinsPerLine = 8
	pinsBytes   = maxPinners * int64(unsafe.Sizeof(pinner{}))
)

// pinner is the table of one process.
type pinner struct {
	pid   uint64 // 0: nobody's; abandoned: anybody's
	start uint64
	_     [48]byte
	lines [pinLines][pinsPerLine]uint64 // facts; 0: free
}

func pinnerAt(pins []byte, i int) *pinner {
	return (*pinner)(unsafe.Pointer(&pins[i*int(unsafe.Sizeof(pinner{}))]))
}

// lineOf is where a fact is pinned. Facts are numbered one after the other.
func (p *pinner) lineOf(fact uint64) *[pinsPerLine]uint64 { return &p.lines[fact%pinLines] }

// clear forgets all pins, and whose they were.
func (p *pinner) clear(owner uint64) {
	for i := range p.lines {
		for j := range p.lines[i] {
			atomic.StoreUint64(&p.lines[i][j], 0)
		}
	}
	atomic.StoreUint64(&p.start, 0)
	atomic.CompareAndSwapUint64(&p.pid, owner, abandoned)
}

// Pinned reports whether a process holds on to a fact. The fact's record must be void, or show that it is not to be pinned any more.
func (b *Board) Pinned(fact uint64) bool {
	for i := range maxPinners {
		p := pinnerAt(b.pins, i)
		switch atomic.LoadUint64(&p.pid) {
		case 0:
			return false // tables are taken in order
		case abandoned:
			continue
		}
		line := p.lineOf(fact)
		for j := range line {
			if atomic.LoadUint64(&line[j]) == fact {
				return true
			}
		}
	}
	return false
}

// reapPins clears the tables of processes that have ended.
func (b *Board) reapPins() {
	for i := range maxPinners {
		p := pinnerAt(b.pins, i)
		owner := atomic.LoadUint64(&p.pid)
		if owner == 0 {
			return
		}
		if owner != abandoned && !b.runs(uint32(owner), atomic.LoadUint64(&p.start)) {
			p.clear(owner)
		}
	}
}

// Pin is a process's hold on a fact. The zero Pin is none.
type Pin struct{ place *uint64 }

// Held reports whether it is one.
func (p Pin) Held() bool { return p.place != nil }

// Drop lets go. The fact's record is to be looked at afterwards: if it does not show the fact any more, the daemon has met the pin, and wants to know.
func (p Pin) Drop() {
	if p.place != nil {
		atomic.SwapUint64(p.place, 0)
	}
}

// Pin holds on to a fact, which counts if its record shows it afterwards. false: there is no room for it.
func (v *View) Pin(fact uint64) (Pin, bool) {
	if v.pinner == nil || fact == 0 {
		return Pin{}, false
	}
	line := v.pinner.lineOf(fact)
	for j := range line {
		if atomic.LoadUint64(&line[j]) == 0 && atomic.CompareAndSwapUint64(&line[j], 0, fact) {
			return Pin{&line[j]}, true
		}
	}
	return Pin{}, false
}

// takePinner takes a table for this process; without one it pins nothing.
func (v *View) takePinner(dir string) error {
	var err error
	if v.pins, err = mapFile(filepath.Join(dir, pinsName), pinsBytes, true, false); err != nil {
		return err
	}
	for i := range maxPinners {
		p := pinnerAt(v.pins, i)
		if atomic.CompareAndSwapUint64(&p.pid, 0, v.pid) || atomic.CompareAndSwapUint64(&p.pid, abandoned, v.pid) {
			atomic.StoreUint64(&p.start, v.start)
			v.pinner = p
			return nil
		}
	}
	return nil
}

// dropPinner gives the table back.
func (v *View) dropPinner() error {
	if v.pinner != nil {
		v.pinner.clear(v.pid)
		v.pinner = nil
	}
	if v.pins == nil {
		return nil
	}
	return unix.Munmap(v.pins)
}
