package client

import (
	"sync"

	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/internal/inode"
	"github.com/benchfs/benchfs/rpc"
)

// Names that were looked up or made, remembered. Only those are whose shard is on this machine: its memory tells, by the version of the name, whether
// one still stands for the same. The version is looked at before the shard is asked, so that a change in between shows.
//
// A path below remembered directories takes no more messages than its last component, and stat of a remembered file none.
//
// The memory is bounded and without pointers: rings that hold names and texts in the order in which they were learned, so that few names touch few
// pages, and an index in which a name has a choice of a few slots. What is learned takes the place of what was learned longest ago, and a name
// whose text was overwritten counts as forgotten.

const (
	// knownParts are locked each for itself.
	knownParts = 64
	// partNames is how many names one part remembers, slotChoice in how many slots of its index one of them may be.
	partNames  = 2048
	slotChoice = 4
	// partText is how much text one part remembers: bytes.
	partText = 64 << 10
)

// lookups is the memory of a Client.
type lookups struct {
	first  sync.Once
	tables *[knownParts]knownTables // nil until there is something to remember
	parts  [knownParts]knownPart
}

// knownPart is the lock of one part's tables, and how far they are.
type knownPart struct {
	mu    sync.Mutex
	names uint64 // learned: the next one is names[names % partNames]
	text  uint64 // the next place: text[text % partText]
	_     [40]byte
}

type knownTables struct {
	index [partNames / slotChoice][slotChoice]knownSlot
	names [partNames]knownName
	text  [partText]byte
}

// knownSlot tells where a name may be, without a look there. One that was never used is like one whose name was learned first.
type knownSlot struct {
	at  uint16 // knownPart.names when it was learned
	tag uint16 // of its key
}

// age is how many names have been learned since, with that of the slot; above partNames, it is overwritten.
func (p *knownPart) age(s knownSlot) uint16 { return uint16(p.names) - s.at }

// knownName is what a name stands for.
type knownName struct {
	parent inode.Ino
	text   uint64 // the place of the name
	ino    inode.Ino
	value  uint64 // of the name's version
	reach  uint32 // serial number of whose version it is
	length uint8
	kind   inode.Kind
}

// name is a directory entry, and the hash of the two.
type name struct {
	parent inode.Ino
	text   string
	key    layout.Key
}

func nameIn(parent inode.Ino, text string) name {
	return name{parent, text, layout.EntryKey(uint64(parent), bytesOf(text))}
}

// version is that of a name at some moment.
type version struct {
	reach *reach // of the shard that has the name; nil: it is elsewhere
	value uint64
}

// versionOf looks at the version of a name.
func versionOf(r *reach, n *name) (v version) {
	if r == nil {
		return v
	}
	value, ok := r.view.NameVersion(uint64(n.key))
	if !ok {
		return v
	}
	return version{r, value}
}

// place is the part that a name is in, the slots of its index that it may have, and its tag there. The bits used are between those that
// choose a name's version and those that choose its shard.
func (n *name) place() (part, slots int, tag uint16) {
	bits := uint64(n.key) >> 16
	return int(bits % knownParts), int(bits / knownParts % (partNames / slotChoice)), uint16(bits >> 16)
}

// known is what is known of n, whose slots and tag are given, or nil. The part is locked.
func (t *knownTables) known(p *knownPart, n *name, slots int, tag uint16) *knownName {
	for _, s := range &t.index[slots] {
		if s.tag != tag || p.age(s) > partNames {
			continue
		}
		k := &t.names[s.at%partNames]
		if k.parent != n.parent || int(k.length) != len(n.text) || p.text-k.text > partText {
			continue
		}
		at := k.text % partText
		if string(t.text[at:at+uint64(k.length)]) == n.text {
			return k
		}
	}
	return nil
}

// find tells what a name stands for, if that is known and still so.
func (l *lookups) find(c *Client, n *name) (reply rpc.EntryReply, ok bool) {
	r := c.shortcut.reachable(n.key.Shard(c.shards()))
	if r == nil {
		return reply, false
	}
	part, slots, tag := n.place()
	p := &l.parts[part]
	var k knownName
	p.mu.Lock()
	if p.names > 0 {
		if found := l.tables[part].known(p, n, slots, tag); found != nil {
			k = *found
		}
	}
	p.mu.Unlock()
	if k.reach != r.serial {
		return reply, false
	}
	if v := versionOf(r, n); v.reach == nil || v.value != k.value {
		return reply, false
	}
	reply.Ino, reply.Kind = k.ino, k.kind
	return reply, true
}

// learn remembers what a name stands for since v.
func (l *lookups) learn(v version, n *name, ino inode.Ino, kind inode.Kind) {
	if v.reach == nil || len(n.text) > NameMax {
		return
	}
	l.first.Do(func() { l.tables = new([knownParts]knownTables) })
	part, slots, tag := n.place()
	p, t := &l.parts[part], &l.tables[part]
	p.mu.Lock()
	defer p.mu.Unlock()
	if k := t.known(p, n, slots, tag); k != nil {
		k.ino, k.value, k.reach, k.kind = ino, v.value, v.reach.serial, kind
		return
	}
	if at := p.text % partText; at+uint64(len(n.text)) > partText {
		p.text += partText - at // a text is in one piece
	}
	t.names[p.names%partNames] = knownName{
		parent: n.parent, text: p.text, ino: ino, value: v.value, reach: v.reach.serial, length: uint8(len(n.text)), kind: kind,
	}
	p.text += uint64(copy(t.text[p.text%partText:], n.text))
	oldest := &t.index[slots][0]
	for i := range &t.index[slots] {
		if s := &t.index[slots][i]; p.age(*s) > p.age(*oldest) {
			oldest = s
		}
	}
	*oldest = knownSlot{uint16(p.names), tag}
	p.names++
}
