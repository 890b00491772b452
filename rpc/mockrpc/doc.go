// Package mockrpc holds mocks of the interfaces of rpc/transport.go, for tests that script the other side of a transport call by call.
// Tests that want a working network use rpc/inproc.
package mockrpc

//go:generate go tool mockgen -source=../transport.go -destination=mockrpc.go -package=mockrpc
