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
// The memory is bounded and without pointers: tables of slots, in which a name has a choice of a few, and rings that hold the texts. What is
// learned takes the place of what was learned longest ago, and a slot whose text was overwritten counts as empty.

const (
	// knownParts are locked each for itself.
	knownParts = 64
	// partSlots is how many names one part remembers, slotChoice in how many slots one of them may be.
	partSlots  = 2048
	slotChoice = 4
	// partText is how much text one part remembers: bytes.
	partText = 64 << 10
)

// lookups is the memory of a Client.
type lookups [knownParts]knownPart

type knownPart struct {
	mu    sync.Mutex
	slots []knownName // nil until there is something to remember
	text  []byte      // a ring: its place n is text[n % partText]
	end   uint64      // the next place
	_     [64]byte
}

// knownName is what a name stands for.
type knownName struct {
	parent inode.Ino
	text   uint64 // the place of the name
	ino    inode.Ino
	value  uint64 // of the name's version
	reach  uint32 // serial number of whose version it is; 0: the slot is empty
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
func (l *lookups) part(n *name) (part *knownPart, slot uint64) {
	bits := uint64(n.key) >> 16
	return &l[bits%knownParts], bits / knownParts % (partSlots / slotChoice) * slotChoice
}

// aboutLocked reports whether a slot is about a name.
func (p *knownPart) aboutLocked(k *knownName, n *name) bool {
	if k.reach == 0 || k.parent != n.parent || int(k.length) != len(n.text) || p.end-k.text > partText {
		return false
	}
	at := k.text % partText
	return string(p.text[at:at+uint64(k.length)]) == n.text
}

// find tells what a name stands for, if that is known and still so.
func (l *lookups) find(c *Client, n *name) (reply rpc.EntryReply, ok bool) {
	r := c.shortcut.reachable(n.key.Shard(c.shards()))
	if r == nil {
		return reply, false
	}
	part, slot := l.part(n)
	var k knownName
	part.mu.Lock()
	for i := slot; i < slot+slotChoice && part.slots != nil; i++ {
		if part.aboutLocked(&part.slots[i], n) {
			k = part.slots[i]
			break
		}
	}
	part.mu.Unlock()
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
	part, slot := l.part(n)
	part.mu.Lock()
	if part.slots == nil {
		part.slots, part.text = make([]knownName, partSlots), make([]byte, partText)
	}
	oldest := &part.slots[slot]
	for i := slot; i < slot+slotChoice; i++ {
		k := &part.slots[i]
		if part.aboutLocked(k, n) {
			oldest = k
			break
		}
		if k.reach == 0 || oldest.reach != 0 && k.text < oldest.text {
			oldest = k
		}
	}
	if at := part.end % partText; at+uint64(len(n.text)) > partText {
		part.end += partText - at // a text is in one piece
	}
	*oldest = knownName{
		parent: n.parent, text: part.end, ino: ino, value: v.value, reach: v.reach.serial, length: uint8(len(n.text)), kind: kind,
	}
	part.end += uint64(copy(part.text[part.end%partText:], n.text))
	part.mu.Unlock()
}
