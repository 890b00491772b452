// Package mockstore is a generated mock of store.Store, for tests that ask which calls are made. For tests of what happens when
// calls fail, store/faulty is closer to the truth.
package mockstore

//go:generate go tool mockgen -source=../store.go -destination=mockstore.go -package=mockstore
