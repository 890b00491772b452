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
	index [partNames / slotChoice][slotChoice]uint16 // 1 + where in names; 0: nowhere
	names [partNames]knownName
	text  [partText]byte
}

// knownName is what a name stands for.
type knownName struct {
	parent inode.Ino
	text   uint64 // the place of the name
	ino    inode.Ino
	value  uint64 // of the name's version
	reach  uint32 // serial number of whose version it is
	slots  uint16 // the slots of the index that it may be in
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

// part is the one that a name is in, with the slots that it may have. The bits used are between those that choose a name's version
// and those that choose its shard.
func (n *name) part() (part int, slots uint16) {
	bits := uint64(n.key) >> 16
	return int(bits % knownParts), uint16(bits / knownParts % (partNames / slotChoice))
}

// about reports whether a known name is n, whose slots are given. The part is locked.
func (t *knownTables) about(k *knownName, p *knownPart, n *name, slots uint16) bool {
	if k.slots != slots || k.parent != n.parent || int(k.length) != len(n.text) || p.text-k.text > partText {
		return false
	}
	at := k.text % partText
	return string(t.text[at:at+uint64(k.length)]) == n.text
}

// find tells what a name stands for, if that is known and still so.
func (l *lookups) find(c *Client, n *name) (reply rpc.EntryReply, ok bool) {
	r := c.shortcut.reachable(n.key.Shard(c.shards()))
	if r == nil {
		return reply, false
	}
	part, slots := n.part()
	p := &l.parts[part]
	var k knownName
	p.mu.Lock()
	if p.names > 0 {
		t := &l.tables[part]
		for _, at := range t.index[slots] {
			if at != 0 && t.about(&t.names[at-1], p, n, slots) {
				k = t.names[at-1]
				break
			}
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
	part, slots := n.part()
	p, t := &l.parts[part], &l.tables[part]
	p.mu.Lock()
	defer p.mu.Unlock()
	choice := &t.index[slots]
	oldest, age := 0, uint64(0)
	for i, at := range choice {
		if at == 0 || t.names[at-1].slots != slots {
			oldest, age = i, partNames // free, or its name is overwritten
			continue
		}
		k := &t.names[at-1]
		if t.about(k, p, n, slots) {
			k.ino, k.value, k.reach, k.kind = ino, v.value, v.reach.serial, kind
			return
		}
		if a := (p.names - uint64(at)) % partNames; a >= age {
			oldest, age = i, a
		}
	}
	if at := p.text % partText; at+uint64(len(n.text)) > partText {
		p.text += partText - at // a text is in one piece
	}
	at := p.names % partNames
	t.names[at] = knownName{
		parent: n.parent, text: p.text, ino: ino, value: v.value, reach: v.reach.serial, slots: slots, length: uint8(len(n.text)), kind: kind,
	}
	choice[oldest] = uint16(at) + 1
	p.names++
	p.text += uint64(copy(t.text[p.text%partText:], n.text))
}
