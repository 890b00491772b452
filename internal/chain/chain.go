// Package chain is a list whose links lie in its elements: to put one in or to take it out allocates nothing, and looks for nothing. Who uses a list
// sees to it that one thread at a time does.
package chain

import "iter"

// Link is an element's place in a list. The zero Link is in none. It must not be copied while it is in one.
type Link[T any] struct {
	prev, next *Link[T]
	of         *T // nil: in no list
}

// In reports whether the element is in a list.
func (l *Link[T]) In() bool { return l.of != nil }

// List has its newest element first. The zero List is empty.
type List[T any] struct {
	first *Link[T]
	count int
}

// Len is the number of elements.
func (s *List[T]) Len() int { return s.count }

// Add puts an element in by one of its links, which must be in no list.
func (s *List[T]) Add(l *Link[T], of *T) {
	*l = Link[T]{next: s.first, of: of}
	if s.first != nil {
		s.first.prev = l
	}
	s.first = l
	s.count++
}

// Remove takes out the element of a link, which must be in this list.
func (s *List[T]) Remove(l *Link[T]) {
	if l.prev != nil {
		l.prev.next = l.next
	} else {
		s.first = l.next
	}
	if l.next != nil {
		l.next.prev = l.prev
	}
	*l = Link[T]{}
	s.count--
}

// All visits the elements, of which the one that it is at may be removed.
func (s *List[T]) All() iter.Seq[*T] {
	return func(yield func(*T) bool) {
		for l := s.first; l != nil; {
			next := l.next
			if !yield(l.of) {
				return
			}
			l = next
		}
	}
}
