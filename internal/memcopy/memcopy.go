// Package memcopy moves file data between the memory that keeps it and a program's buffer, at the speed of the memory.
//
// Go's copy moves 32 bytes at a time through the caches, and around them from 1 MiB on. Where the processor says that its string instruction is
// fast (ERMS), `rep movsb` beats that, as the C library's memcpy knows: it does not read the lines that it will overwrite. On a recent EPYC, bytes in a
// segment of 64 MiB: reads of 47 008 and 524 288 bytes 27 → 34 and 37 GB/s, overwrites 25 → 55 and 29 → 50 GB/s; a random 4 KiB overwrite
// 250 → 146 ns. go test -bench . shows it for the machine at hand.
package memcopy

import "unsafe"

const (
	// around is from where on Go's copy goes around the caches. That is right for data that is to stay where it goes, and wrong for a program's
	// buffer: the program takes the bytes out of it, and reads into it again.
	around = 1 << 20

	// From so many bytes on the string instruction is the better one: for data that comes from anywhere, and that goes anywhere. It takes some
	// time to begin, and the processor foresees less of what it will read.
	stringOut = 16 << 10
	stringIn  = 4 << 10
)

// Out copies data into dst, a program's buffer, and returns how many bytes: min(len(dst), len(data)). The two do not overlap.
func Out(dst, data []byte) int {
	n := min(len(dst), len(data))
	dst, data = dst[:n], data[:n]
	switch {
	case n < stringOut:
		copy(dst, data)
	case fast && !aliases(dst, data):
		moveString(&dst[0], &data[0], n)
	default:
		for done := 0; done < n; done += around / 2 {
			copy(dst[done:min(n, done+around/2)], data[done:])
		}
	}
	return n
}

// In copies src over data, and returns how many bytes: min(len(data), len(src)). The two do not overlap.
func In(data, src []byte) int {
	n := min(len(data), len(src))
	if n < stringIn || n >= around || !fast || aliases(data, src) {
		return copy(data, src)
	}
	moveString(&data[0], &src[0], n)
	return n
}

// aliases reports whether the string instruction, which looks ahead, meets stores of its own that seem to be to where it reads: the
// destination begins less than a cache line behind the source, as addresses in a page go. It is slower than others then
// (https://sourceware.org/bugzilla/show_bug.cgi?id=30994).
func aliases(dst, src []byte) bool {
	const page, line = 4096, 64
	behind := (uintptr(unsafe.Pointer(&dst[0])) - uintptr(unsafe.Pointer(&src[0]))) % page
	return 0 < behind && behind < line
}
