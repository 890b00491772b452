package memcopy

import "golang.org/x/sys/cpu"

var fast = cpu.X86.HasERMS

// moveString copies n bytes with the processor's string instruction. The two do not overlap.
//
//go:noescape
func moveString(dst, src *byte, n int)
