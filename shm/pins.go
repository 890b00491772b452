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
	pinsBytes   = int64(unsafe.Sizeof(pinTables{}))
)

// pinTables is the file. Owners stand together, so that it takes little to pass over those who are gone.
type pinTables struct {
	owners [maxPinners]owner
	tables [maxPinners]pinTable
}

// pinTable holds facts; 0: free.
type pinTable [pinLines][pinsPerLine]uint64

// lineOf is where a fact is pinned. Facts are numbered one after the other.
func (t *pinTable) lineOf(fact uint64) *[pinsPerLine]uint64 { return &t[fact%pinLines] }

func tablesIn(pins []byte) *pinTables { return (*pinTables)(unsafe.Pointer(&pins[0])) }

// clear forgets all pins of a table and gives it back.
func (p *pinTables) clear(i int) {
	t := &p.tables[i]
	for line := range t {
		for j := range t[line] {
			atomic.StoreUint64(&t[line][j], 0)
		}
	}
	p.owners[i].leave()
}

// Pinned reports whether a process holds on to a fact. The fact's record must be void, or show that it is not to be pinned any more.
func (b *Board) Pinned(fact uint64) bool {
	p := tablesIn(b.pins)
	for i := range p.owners {
		switch p.owners[i].holder() {
		case 0:
			return false
		case abandoned:
			continue
		}
		line := p.tables[i].lineOf(fact)
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
	p := tablesIn(b.pins)
	for i := range p.owners {
		holder := p.owners[i].holder()
		if holder == 0 {
			return
		}
		if p.owners[i].seize(holder, b.runs) {
			p.clear(i)
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
	if v.myPins == nil || fact == 0 {
		return Pin{}, false
	}
	line := v.myPins.lineOf(fact)
	for j := range line {
		if atomic.LoadUint64(&line[j]) == 0 && atomic.CompareAndSwapUint64(&line[j], 0, fact) {
			return Pin{&line[j]}, true
		}
	}
	return Pin{}, false
}

// takePins takes a table for this process; without one it pins nothing.
func (v *View) takePins(dir string) error {
	var err error
	if v.pins, err = mapFile(filepath.Join(dir, pinsName), pinsBytes, true, false); err != nil {
		return err
	}
	p := tablesIn(v.pins)
	for i := range p.owners {
		if p.owners[i].claim(v.pid, v.start) {
			v.myPins, v.pinTable = &p.tables[i], i
			return nil
		}
	}
	return nil
}

// dropPins gives the table back.
func (v *View) dropPins() error {
	if v.pins == nil {
		return nil
	}
	if v.myPins != nil {
		tablesIn(v.pins).clear(v.pinTable)
		v.myPins = nil
	}
	return unix.Munmap(v.pins)
}
