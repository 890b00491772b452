package layout

import (
	"fmt"
	"strings"
	"syscall"
)

// Invalid is a layout, run list or map that makes no sense. Its errno is EINVAL.
type Invalid struct{ Reason string }

func (e *Invalid) Error() string { return "invalid layout: " + e.Reason }

// Errno is EINVAL.
func (e *Invalid) Errno() syscall.Errno { return syscall.EINVAL }

var strategyNames = [...]string{None: "none", RoundRobin: "round_robin", Hash: "hash", Local: "local"}

// String is the name used in configuration files and by tools.
func (s Strategy) String() string {
	if int(s) < len(strategyNames) {
		return strategyNames[s]
	}
	return fmt.Sprintf("strategy %d", uint8(s))
}

// Known reports whether s is a strategy that places chunks (None does not).
func (s Strategy) Known() bool { return s >= RoundRobin && s <= Local }

// ParseStrategy is the inverse of String for the strategies that place chunks. The error, an *Invalid, lists them.
func ParseStrategy(name string) (Strategy, error) {
	for s := RoundRobin; s <= Local; s++ {
		if name == strategyNames[s] {
			return s, nil
		}
	}
	known := strings.Join(strategyNames[RoundRobin:], ", ")
	return None, &Invalid{Reason: fmt.Sprintf("unknown strategy %q (known: %s)", name, known)}
}

// Validate checks a layout that is to place chunks. The error is an *Invalid.
func (l Layout) Validate() error {
	switch {
	case !l.Strategy.Known():
		return &Invalid{Reason: "unknown " + l.Strategy.String()}
	case l.ChunkBits < MinChunkBits || l.ChunkBits > MaxChunkBits:
		return &Invalid{Reason: fmt.Sprintf("chunk size 2^%d is not between 2^%d and 2^%d bytes", l.ChunkBits, MinChunkBits, MaxChunkBits)}
	case l.Shards == 0:
		return &Invalid{Reason: "no shards"}
	case l.First >= l.Shards:
		return &Invalid{Reason: fmt.Sprintf("first shard %d of %d", l.First, l.Shards)}
	}
	return nil
}

// ChunkBitsOf is the exponent of a chunk size given in bytes. The error is an *Invalid if it is no power of two between the limits.
func ChunkBitsOf(bytes uint64) (uint8, error) {
	for b := uint8(MinChunkBits); b <= MaxChunkBits; b++ {
		if bytes == 1<<b {
			return b, nil
		}
	}
	return 0, &Invalid{Reason: fmt.Sprintf("chunk size %d is not a power of two from 64 KiB to 64 MiB", bytes)}
}
