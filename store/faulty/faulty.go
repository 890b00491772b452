// Package faulty wraps a store for tests of what is above one: chosen calls fail with chosen errors.
package faulty

import (
	"sync"

	"github.com/benchfs/benchfs/store"
)

// Call names a method of store.Store.
type Call string

// The calls that can fail.
const (
	View     Call = "View"
	Begin    Call = "Begin"
	Commit   Call = "Commit"
	Reserve  Call = "Reserve"
	Truncate Call = "Truncate"
	Purge    Call = "Purge"
	Sync     Call = "Sync" // the function that Sync returns
)

// Plan is asked before each call: nil lets it through to the store, an error is the call's answer. ino is 0 for Commit. count is
// how many calls of this kind there were before.
type Plan func(call Call, ino uint64, count int) error

// Store is a store.Store that fails as planned. A failed Commit aborts its Write, as a real one does.
type Store struct {
	store.Store

	mu     sync.Mutex // guards what is below: Sync's function runs anywhere
	plan   Plan
	counts map[Call]int
}

// Wrap makes a failing store of one that works.
func Wrap(s store.Store, plan Plan) *Store {
	return &Store{Store: s, plan: plan, counts: make(map[Call]int)}
}

// Once is a Plan: the call fails once, the first time that n calls of it went before.
func Once(call Call, n int, err error) Plan {
	return func(c Call, _ uint64, count int) error {
		if c == call && count == n {
			return err
		}
		return nil
	}
}

// Always is a Plan: every such call fails.
func Always(call Call, err error) Plan {
	return func(c Call, _ uint64, _ int) error {
		if c == call {
			return err
		}
		return nil
	}
}

// SetPlan replaces the plan; nil lets everything through. Counts start again.
func (s *Store) SetPlan(plan Plan) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plan, s.counts = plan, make(map[Call]int)
}

func (s *Store) ask(call Call, ino uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.plan == nil {
		return nil
	}
	count := s.counts[call]
	s.counts[call]++
	return s.plan(call, ino, count)
}

// View implements store.Store.
func (s *Store) View(ino, chunk uint64, off, n uint32, gen uint32) (store.View, error) {
	if err := s.ask(View, ino); err != nil {
		return store.View{}, err
	}
	return s.Store.View(ino, chunk, off, n, gen)
}

// Begin implements store.Store.
func (s *Store) Begin(ino, chunk uint64, off, n uint32, gen uint32, chunkBits uint8) (store.Write, error) {
	if err := s.ask(Begin, ino); err != nil {
		return store.Write{}, err
	}
	return s.Store.Begin(ino, chunk, off, n, gen, chunkBits)
}

// Commit implements store.Store.
func (s *Store) Commit(w store.Write) error {
	if err := s.ask(Commit, 0); err != nil {
		s.Abort(w)
		return err
	}
	return s.Store.Commit(w)
}

// Reserve implements store.Store.
func (s *Store) Reserve(ino, chunk uint64, n uint32, gen uint32, chunkBits uint8) error {
	if err := s.ask(Reserve, ino); err != nil {
		return err
	}
	return s.Store.Reserve(ino, chunk, n, gen, chunkBits)
}

// Truncate implements store.Store.
func (s *Store) Truncate(ino uint64, gen uint32, size uint64, chunkBits uint8) error {
	if err := s.ask(Truncate, ino); err != nil {
		return err
	}
	return s.Store.Truncate(ino, gen, size, chunkBits)
}

// Purge implements store.Store.
func (s *Store) Purge(ino uint64) error {
	if err := s.ask(Purge, ino); err != nil {
		return err
	}
	return s.Store.Purge(ino)
}

// Sync implements store.Store.
func (s *Store) Sync(ino uint64) func() error {
	sync := s.Store.Sync(ino)
	return func() error {
		if err := s.ask(Sync, ino); err != nil {
			return err
		}
		return sync()
	}
}
