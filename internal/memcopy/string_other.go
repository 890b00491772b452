//go:build !amd64

package memcopy

const fast = false

func moveString(*byte, *byte, int) { panic("not on this processor") }
