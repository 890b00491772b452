package main

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
)

// word is a part of a case's name, and what it means.
type word struct{ name, meaning string }

// legend explains the names of the cases, which are words with a slash between them: where, what, with which size, by how many.
var legend = []word{
	{"shortcut", "one daemon on the same machine; clients move data in its memory in place"},
	{"shm", "the same without the shortcut: all data goes by message, over rings in shared memory"},
	{"shortcut-2d, shm-2d", "the same with two daemons; on two cores that is more processes than cores"},
	{"embedded", "BenchFS inside the calling process, no daemon"},
	{"blank", "a daemon that has only just started: none of its space was ever used"},
	{"rested, again, tmpfs-again", "new: the first 512 MiB of a daemon that has rested for 10 s; again: the same after that file was removed"},
	{"huge, huge-blank", "as shortcut and blank, on a tmpfs with huge pages"},
	{"tcp", "daemon and client in two network namespaces: another machine"},
	{"uring, direct", "a daemon with its data on a disk; the kernel's files there, with O_DIRECT"},
	{"busy, alone", "files made beside a program that computes on every core (create), and without it (alone)"},
	{"tmpfs", "limit: the kernel's tmpfs"},
	{"map", "limit: a file of tmpfs, mapped, all pages touched; the fastest of memcpy, the processor's string instruction, stores around the caches"},
	{"message", "limit: a C program; two processes, two shared words, a block copied into shared memory by one and out of it by the other"},
	{"ucx-tcp", "limit: ucx_perftest over TCP"},
	{"start, first-use, distributed", "a process from its start to its end, which loads BenchFS, joins, makes one call and leaves"},
	{"bare, go-library", "limits: the same without a library, and with the smallest library that is written in Go"},
	{"preload, outside, write, close, pread", "what the interposer adds to the start of a program and to its calls of libc"},
	{"daemon, client, idle, memory", "what processes take that do nothing"},
	{"new, over, read", "a new file written, a file overwritten, a file read that the process has read before; in sequence"},
	{"fresh-read", "a file read by a process that has not touched it before"},
	{"rand-read, rand-write", "4 KiB at random places of a file"},
	{"strided-new, strided-over, strided-read", "two processes with every second record of one file each"},
	{"meta, create, stat, open, unlink", "operations on the empty files of one directory; open is open and close"},
	{"small, create-3901B, read-3901B", "files of 3 901 bytes made, and read"},
	{"list, readdir", "a directory of 100 000 files read, with their attributes"},
	{"round-trip, answer, stream", "a message and its answer; throughput of answers one after the other; of messages without waiting"},
	{"2p, 16p", "so many processes, with a file each unless it is strided"},
	{"2t, 4t", "so many threads of one process, each with its part of one file"},
	{"p50, p99, p99.9, mean", "of the time of single operations"},
	{"more", "than the same without what is measured"},
}

// sizeWord is a part of a name that needs no explanation.
var sizeWord = regexp.MustCompile(`^\d+(B|KiB|MiB)$`)

// explained tells whether the legend has a part of a name.
func explained(part string) bool {
	if sizeWord.MatchString(part) {
		return true
	}
	for _, w := range legend {
		if slices.Contains(strings.Split(w.name, ", "), part) {
			return true
		}
	}
	return false
}

func (r *runner) printLegend(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, of := range legend {
		fmt.Fprintf(t, "%s\t%s\n", of.name, of.meaning)
	}
	_ = t.Flush()
}
