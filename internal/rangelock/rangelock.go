// Package rangelock is the arithmetic of advisory locks on byte ranges: who has what of one file, who is in whose way, and what a new lock
// or an unlock makes of what its owner had. It follows fcntl(2): locks of one owner never conflict, a new one replaces what the owner had in
// its range, and neighbours that are alike become one.
//
// What does not belong here: who waits, sessions, messages (core/server).
package rangelock

import (
	"cmp"
	"slices"
	"sort"
)

// End is one past the last byte that a lock can cover: a range up to it goes to the end of the file, however long that grows.
const End uint64 = 1 << 63

// Owner is who has a lock. The fields mean nothing here: owners are the same if all of them are.
type Owner struct {
	ID     uint64
	Client uint64
}

// Lock is one piece of what an owner has: [Start, End), never empty.
type Lock struct {
	Start, End uint64
	Write      bool   // no other owner may have any of it; else none may have it for writing
	PID        uint32 // told to others; pieces that differ in it stay apart
}

// List is who has what of one file. The zero value is empty.
type List struct {
	owners map[Owner][]Lock // sorted, without overlaps, no two alike touch; no empty lists
	count  int
}

// Len is the number of pieces.
func (l *List) Len() int { return l.count }

// Has reports whether o has anything.
func (l *List) Has(o Owner) bool { return len(l.owners[o]) > 0 }

// Locks are the pieces of o, in ascending order. The slice is good until the next change and must not be changed.
func (l *List) Locks(o Owner) []Lock { return l.owners[o] }

// conflict finds the first piece of a sorted list that is in the way of want.
func conflict(pieces []Lock, want Lock) (Lock, bool) {
	first := sort.Search(len(pieces), func(i int) bool { return pieces[i].End > want.Start })
	for _, p := range pieces[first:] {
		if p.Start >= want.End {
			break
		}
		if want.Write || p.Write {
			return p, true
		}
	}
	return Lock{}, false
}

// Conflict finds what is in the way of want for o: of all such pieces the one that begins first.
func (l *List) Conflict(o Owner, want Lock) (by Owner, what Lock, found bool) {
	for other, pieces := range l.owners {
		if other == o {
			continue
		}
		p, hit := conflict(pieces, want)
		if hit && (!found || before(p, other, what, by)) {
			by, what, found = other, p, true
		}
	}
	return by, what, found
}

// before is an order of pieces that does not depend on that of a map.
func before(a Lock, ofA Owner, b Lock, ofB Owner) bool {
	return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(ofA.ID, ofB.ID), cmp.Compare(ofA.Client, ofB.Client)) < 0
}

// InTheWay appends all owners other than o who have something that conflicts with want.
func (l *List) InTheWay(o Owner, want Lock, to []Owner) []Owner {
	for other, pieces := range l.owners {
		if other == o {
			continue
		}
		if _, hit := conflict(pieces, want); hit {
			to = append(to, other)
		}
	}
	return to
}

// Set gives o the range of want. The caller has seen that there is no Conflict.
func (l *List) Set(o Owner, want Lock) {
	pieces := without(l.owners[o], want.Start, want.End)
	at := sort.Search(len(pieces), func(i int) bool { return pieces[i].Start >= want.End })
	alike := func(p Lock) bool { return p.Write == want.Write && p.PID == want.PID }
	from, to := at, at
	if at > 0 && pieces[at-1].End == want.Start && alike(pieces[at-1]) {
		from--
		want.Start = pieces[from].Start
	}
	if at < len(pieces) && pieces[at].Start == want.End && alike(pieces[at]) {
		want.End = pieces[at].End
		to++
	}
	l.replace(o, slices.Replace(pieces, from, to, want))
}

// Clear takes [start, end) from o.
func (l *List) Clear(o Owner, start, end uint64) { l.replace(o, without(l.owners[o], start, end)) }

// replace makes pieces what o has.
func (l *List) replace(o Owner, pieces []Lock) {
	l.count += len(pieces) - len(l.owners[o])
	if len(pieces) == 0 {
		delete(l.owners, o)
		return
	}
	if l.owners == nil {
		l.owners = map[Owner][]Lock{}
	}
	l.owners[o] = pieces
}

// without is a new list: pieces less [start, end).
func without(pieces []Lock, start, end uint64) []Lock {
	left := make([]Lock, 0, len(pieces)+2)
	for _, p := range pieces {
		if p.End <= start || p.Start >= end {
			left = append(left, p)
			continue
		}
		if p.Start < start {
			head := p
			head.End = start
			left = append(left, head)
		}
		if p.End > end {
			tail := p
			tail.Start = end
			left = append(left, tail)
		}
	}
	return left
}
