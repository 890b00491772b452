package main

import (
	"context"
	"fmt"
	"regexp"
	"strings"
)

// The ways to a file that the worker knows.
const (
	apiBenchFS = "benchfs"
	apiPosix   = "posix"
	apiMap     = "map"
	apiString  = "map-string"
	apiStream  = "map-stream"
)

// testCase is one measurement. Its name, or a word behind it, is the row that bars.go speaks of.
type testCase struct {
	name  string
	stage stageSpec
	once  bool // in the first round only: it takes long, and varies little
	run   func(ctx context.Context, s *stage) ([]sample, error)
}

// unit is a list of cases that run right after each other, the limits first, because their figures are compared.
type unit []testCase

// The stages. Where a key does not exist yet, the stage runs without it, and the report says so.
var (
	bare       = stageSpec{name: "bare"}
	bareDisk   = stageSpec{name: "bare-disk", medium: onDisk}
	bareTCP    = stageSpec{name: "bare-tcp", network: true}
	embedded   = stageSpec{name: "embedded"}
	shortcut   = stageSpec{name: "shortcut", daemons: 1, used: true, settings: shortcutOn}
	blank      = stageSpec{name: "blank", daemons: 1, settings: shortcutOn}
	huge       = stageSpec{name: "huge", daemons: 1, used: true, medium: onHuge, settings: shortcutOn}
	hugeBlank  = stageSpec{name: "huge-blank", daemons: 1, medium: onHuge, settings: shortcutOn}
	shm        = stageSpec{name: "shm", daemons: 1, used: true, settings: shortcutOff}
	tcp        = stageSpec{name: "tcp", daemons: 1, used: true, network: true, settings: overTCP}
	shortcut2d = stageSpec{name: "shortcut-2d", daemons: 2, used: true, settings: shortcutOn}
	shm2d      = stageSpec{name: "shm-2d", daemons: 2, used: true, settings: shortcutOff}
	uring      = stageSpec{name: "uring", daemons: 1, medium: onDisk, settings: map[string]string{"store.backend": "uring"}}
	filled     = stageSpec{name: "filled", daemons: 1, settings: shortcutOn}
	rested     = stageSpec{name: "rested", daemons: 1, settings: shortcutOn}

	shortcutOn  = map[string]string{"data.shortcut": "readwrite"}
	shortcutOff = map[string]string{"data.shortcut": "off"}
	overTCP     = map[string]string{"data.shortcut": "off", "ucx.tls": "tcp,self"}
)

// way is a way to files: a stage, and how the worker reaches files there.
type way struct {
	name  string
	stage stageSpec
	api   string
}

// The ways whose figures are compared case by case. Those with two daemons have more processes that poll than a machine with two cores has cores.
var (
	wayTmpfs      = way{"tmpfs", bare, apiPosix}
	wayMap        = way{"map", bare, apiMap}
	wayEmbedded   = way{"embedded", embedded, apiBenchFS}
	wayShortcut   = way{"shortcut", shortcut, apiBenchFS}
	wayShortcut2d = way{"shortcut-2d", shortcut2d, apiBenchFS}
	wayShm        = way{"shm", shm, apiBenchFS}
	wayShm2d      = way{"shm-2d", shm2d, apiBenchFS}
	wayTCP        = way{"tcp", tcp, apiBenchFS}
	wayHuge       = way{"huge", huge, apiBenchFS}
)

// blockSizes are those of the throughput cases; 47 008 bytes are what a real application writes, and fit nothing.
var blockSizes = []int{4096, 47008, 1 << 20, 4 << 20}

// sizeName is how a row names a block size.
func sizeName(bytes int) string {
	switch {
	case bytes%(1<<20) == 0:
		return fmt.Sprintf("%dMiB", bytes>>20)
	case bytes%1024 == 0:
		return fmt.Sprintf("%dKiB", bytes>>10)
	}
	return fmt.Sprintf("%dB", bytes)
}

// crowd is who works at the same time. Threads share a file, each with its part; processes have a file each.
type crowd struct{ processes, threads int }

var (
	alone        = crowd{1, 1}
	twoProcesses = crowd{2, 1}
	twoThreads   = crowd{1, 2}
	fourThreads  = crowd{1, 4}
)

// suffix is what a row's name has for it.
func (c crowd) suffix() string {
	text := ""
	if c.processes > 1 {
		text += fmt.Sprintf("/%dp", c.processes)
	}
	if c.threads > 1 {
		text += fmt.Sprintf("/%dt", c.threads)
	}
	return text
}

// chapters is the benchmark: what is compared is in one unit, what uses the same stages in one chapter.
func chapters() [][]unit {
	return [][]unit{localUnits(), hugeUnits(), tcpUnits(), diskUnits(), processUnits()}
}

// allCases are the cases of chapters, each once: limits are in several units.
func allCases(chapters [][]unit) []testCase {
	var all []testCase
	seen := map[string]bool{}
	for _, units := range chapters {
		for _, u := range units {
			for _, c := range u {
				if !seen[c.name] {
					all = append(all, c)
				}
				seen[c.name] = true
			}
		}
	}
	return all
}

// effort sizes the work of a stage so that a case takes a few tenths of a second.
type effort struct {
	small, medium, large int // bytes of a file that is accessed by 4 KiB, by up to 64 KiB, by more
	accesses             int // random
	files                int
}

var (
	full = effort{small: 64 << 20, medium: 128 << 20, large: 256 << 20, accesses: 40000, files: 20000}
	// Each page of a mapping costs a fault before it can be measured, which is most of the time of a case.
	mapped = effort{small: 64 << 20, medium: 128 << 20, large: 128 << 20}
	slow   = effort{small: 4 << 20, medium: 32 << 20, large: 128 << 20, accesses: 6000, files: 2000}
)

// listEntries are in the directory that is listed.
const listEntries = 100000

// steadySeconds is how long passes over a file are repeated.
const steadySeconds = 0.12

// patience is after how many seconds random accesses and new files end, all of them or not. It is reached where something is wrong, or the
// machine is busy with other things.
const patience = 0.5

func (e effort) fileSize(block int) int {
	switch {
	case block <= 4096:
		return e.small
	case block <= 65536:
		return e.medium
	}
	return e.large
}

// localUnits compare what happens inside one machine.
func localUnits() []unit {
	var all []unit
	for _, op := range []string{"new", "over", "read"} {
		for _, block := range blockSizes {
			all = append(all, blockUnit(op, block))
		}
	}
	for _, op := range []string{"over", "read"} {
		for _, c := range []crowd{twoThreads, twoProcesses} {
			u := unit{copyCase(op, 1<<20, c), dataCase(wayShortcut, op, 1<<20, full, c), dataCase(wayShm, op, 1<<20, full, c)}
			if c.processes == 1 {
				u = append(u, dataCase(wayEmbedded, op, 1<<20, full, c))
			}
			all = append(all, u)
		}
	}
	for _, op := range []string{"rand-read", "rand-write"} {
		all = append(all, randomUnits(op)...)
	}
	for _, op := range []string{"strided-new", "strided-over", "strided-read"} {
		all = append(all, unit{stridedCase(wayTmpfs, op), stridedCase(wayShortcut, op), stridedCase(wayShm, op)})
	}
	all = append(all, unit{freshCase(wayTmpfs, 1<<20), freshCase(wayShortcut, 1<<20), freshCase(wayShm, 1<<20)})
	all = append(all, metadataUnits()...)
	// A daemon that has only just started, one that has rested, and one beside a program that computes.
	first := dataCase(way{"blank", blank, apiBenchFS}, "new", 1<<20, full, alone)
	return append(all, unit{dataCase(wayTmpfs, "new", 1<<20, full, alone), first}, unit{restedCase()}, unit{busyCase()})
}

// blockUnit moves a file by blocks of one size. With two daemons, the blocks that a chunk holds several of are enough.
func blockUnit(op string, block int) unit {
	of := func(w way, c crowd) testCase { return dataCase(w, op, block, full, c) }
	var u unit
	if op != "new" {
		u = append(u, copyCase(op, block, alone))
	}
	u = append(u, of(wayTmpfs, alone), of(wayShortcut, alone))
	if block == 1<<20 {
		u = append(u, of(wayShortcut2d, alone), of(wayShortcut2d, twoProcesses))
	}
	u = append(u, of(wayEmbedded, alone))
	if op != "new" && block >= 1<<20 {
		u = append(u, answerCase(block))
	}
	u = append(u, of(wayShm, alone))
	if block == 1<<20 {
		u = append(u, of(wayShm2d, alone), of(wayShm2d, twoProcesses))
	}
	return u
}

// randomUnits are small accesses, by one and by several.
func randomUnits(op string) []unit {
	of := func(c crowd, ways ...way) (u unit) {
		for _, w := range ways {
			u = append(u, randomCase(w, op, full, c))
		}
		return u
	}
	one := of(alone, wayTmpfs, wayShortcut, wayEmbedded)
	one = append(one, roundTripCase(8), roundTripCase(4096))
	return []unit{
		append(one, of(alone, wayShm, wayShm2d, wayShortcut2d)...),
		of(twoProcesses, wayTmpfs, wayShortcut, wayShm, wayShm2d, wayShortcut2d),
		of(twoThreads, wayTmpfs, wayShortcut, wayEmbedded, wayShm),
		of(fourThreads, wayTmpfs, wayShortcut, wayEmbedded, wayShm),
	}
}

// metadataUnits are operations on the files of one directory.
func metadataUnits() []unit {
	meta := func(w way, processes int) testCase {
		return phasesCase(w, "meta", full.files/processes, processes, "create", "stat", "open", "unlink")
	}
	small := func(w way) testCase {
		return phasesCase(w, "small", full.files, 1, "small-create", "small-read", "unlink")
	}
	one := unit{
		meta(wayTmpfs, 1), meta(wayShortcut, 1), meta(wayShortcut2d, 1),
		phasesCase(wayShortcut2d, "meta", full.files/16, 16, "create", "unlink"), meta(wayEmbedded, 1), meta(wayShm, 1),
	}
	two := unit{meta(wayTmpfs, 2), meta(wayShortcut, 2), meta(wayShortcut2d, 2), meta(wayShm, 2)}
	return []unit{
		one, two, {small(wayTmpfs), small(wayShortcut), small(wayEmbedded), small(wayShm)},
		{listCase(wayTmpfs), listCase(wayEmbedded), listCase(wayShortcut), listCase(wayShm)},
	}
}

// hugeUnits have their data on huge pages. Those of the daemon that has only just started have never been used.
func hugeUnits() []unit {
	first := dataCase(way{"huge-blank", hugeBlank, apiBenchFS}, "new", 1<<20, full, alone)
	return []unit{
		{copyCase("over", 1<<20, alone), first, dataCase(wayHuge, "new", 1<<20, full, alone), dataCase(wayHuge, "over", 1<<20, full, alone)},
		{copyCase("read", 1<<20, alone), freshCase(wayHuge, 1<<20), dataCase(wayHuge, "read", 1<<20, full, alone)},
	}
}

// tcpUnits are another machine, as far as one machine has it: a network namespace.
func tcpUnits() []unit {
	all := []unit{{
		ucxRoundTripCase(), randomCase(wayTCP, "rand-read", slow, alone), dataCase(wayTCP, "read", 4<<20, slow, alone),
		dataCase(wayTCP, "over", 4<<20, slow, alone), dataCase(wayTCP, "read", 1<<20, slow, alone), ucxStreamCase(),
	}}
	for _, c := range []testCase{
		dataCase(wayTCP, "over", 1<<20, slow, alone), randomCase(wayTCP, "rand-write", slow, alone),
		phasesCase(wayTCP, "meta", slow.files, 1, "create", "stat", "open", "unlink"),
		phasesCase(wayTCP, "small", slow.files, 1, "small-create", "small-read", "unlink"), listCase(wayTCP),
	} {
		all = append(all, unit{c})
	}
	for _, block := range blockSizes {
		all = append(all, unit{dataCase(wayTCP, "new", block, slow, alone)})
		if block < 1<<20 {
			all = append(all, unit{dataCase(wayTCP, "over", block, slow, alone)}, unit{dataCase(wayTCP, "read", block, slow, alone)})
		}
	}
	return all
}

func diskUnits() []unit {
	direct, onRing := way{"direct", bareDisk, apiPosix}, way{"uring", uring, apiBenchFS}
	var all []unit
	for _, op := range []string{"new", "read"} {
		j := dataJob(direct, op, 1<<20, slow)
		j.direct, j.seconds = true, 0
		all = append(all, unit{jobCase("direct/"+op+"/1MiB", direct, j), dataCase(onRing, op, 1<<20, slow, alone)})
	}
	random := job{api: apiPosix, op: "rand-read", block: 4096, size: slow.small, count: 2000, direct: true}
	limit := jobCase("direct/rand-read/4KiB", direct, random)
	random.api, random.direct = apiBenchFS, false
	return append(all, unit{limit, jobCase("uring/rand-read/4KiB", onRing, random)})
}

// processUnits look at processes: how they start, what they take at rest, what the interposer adds to them.
func processUnits() []unit {
	return []unit{{startCase()}, preloadCases(), {openFilesCase()}, {idleCase()}, {memoryCase()}}
}

// selectUnits keeps the cases whose name matches; all of them if only is "".
func selectUnits(all [][]unit, only string) ([][]unit, error) {
	pattern, err := regexp.Compile(only)
	if err != nil {
		return nil, err
	}
	return keepCases(all, func(c testCase) bool { return pattern.MatchString(c.name) }), nil
}

// keepCases is what is left of chapters, without empty units and chapters.
func keepCases(all [][]unit, keep func(testCase) bool) [][]unit {
	var chapters [][]unit
	for _, units := range all {
		var kept []unit
		for _, u := range units {
			var cases unit
			for _, c := range u {
				if keep(c) {
					cases = append(cases, c)
				}
			}
			if len(cases) > 0 {
				kept = append(kept, cases)
			}
		}
		if len(kept) > 0 {
			chapters = append(chapters, kept)
		}
	}
	return chapters
}

// transportOf is the first word of a row's name.
func transportOf(row string) string {
	name, _, _ := strings.Cut(row, "/")
	return name
}
