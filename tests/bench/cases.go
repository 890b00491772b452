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
)

// testCase is one measurement. Its name, or a word behind it, is the row that bars.go speaks of.
type testCase struct {
	name  string
	stage stageSpec
	once  bool // in the first round only: it takes long, and varies little
	run   func(ctx context.Context, s *stage) ([]sample, error)
}

// The stages. Where a key does not exist yet, the stage runs without it, and the report says so.
var (
	bare       = stageSpec{name: "bare"}
	bareHuge   = stageSpec{name: "bare-huge", medium: onHuge}
	bareDisk   = stageSpec{name: "bare-disk", medium: onDisk}
	bareTCP    = stageSpec{name: "bare-tcp", network: true}
	embedded   = stageSpec{name: "embedded"}
	shortcut   = stageSpec{name: "shortcut", daemons: 1, settings: shortcutOn}
	huge       = stageSpec{name: "huge", daemons: 1, medium: onHuge, settings: shortcutOn}
	shm        = stageSpec{name: "shm", daemons: 1, settings: shortcutOff}
	tcp        = stageSpec{name: "tcp", daemons: 1, network: true, settings: overTCP}
	shortcut2d = stageSpec{name: "shortcut-2d", daemons: 2, settings: shortcutOn}
	shm2d      = stageSpec{name: "shm-2d", daemons: 2, settings: shortcutOff}
	uring      = stageSpec{name: "uring", daemons: 1, medium: onDisk, settings: map[string]string{"store.backend": "uring"}}
	filled     = stageSpec{name: "filled", daemons: 1, settings: shortcutOn}

	shortcutOn  = map[string]string{"data.shortcut": "readwrite"}
	shortcutOff = map[string]string{"data.shortcut": "off"}
	overTCP     = map[string]string{"data.shortcut": "off", "ucx.tls": "tcp,self"}
)

// blockSizes are those of the throughput cases; 47 008 bytes are what a real application writes, and fit nothing.
var blockSizes = []int{4096, 47008, 65536, 1 << 20, 4 << 20}

var largeBlocks = []int{1 << 20, 4 << 20}

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

// allCases is the benchmark, stage by stage.
func allCases() []testCase {
	var all []testCase
	for _, part := range [][]testCase{
		limitCases(), ucxCases("ucx-shm", bare, 1), ucxCases("ucx-tcp", bareTCP, 20),
		transportCases(embedded, full), transportCases(shortcut, full), transportCases(shm, full), transportCases(tcp, slow),
		hugeCases(), starvedCases(shortcut2d), starvedCases(shm2d), diskCases(), memoryCases(),
	} {
		all = append(all, part...)
	}
	return all
}

// effort sizes the work of a stage so that a case takes a few tenths of a second.
type effort struct {
	small, medium, large int // bytes of a file that is accessed by 4 KiB, by up to 64 KiB, by more
	accesses             int // random
	files                int
	list                 int // entries of the directory that is listed; 0: as files
	parallel             bool
}

var (
	full = effort{small: 32 << 20, medium: 128 << 20, large: 256 << 20, accesses: 40000, files: 20000, list: 100000, parallel: true}
	slow = effort{small: 4 << 20, medium: 32 << 20, large: 128 << 20, accesses: 6000, files: 2000}
)

// steadySeconds is how long passes over a file are repeated.
const steadySeconds = 0.12

func (e effort) fileSize(block int) int {
	switch {
	case block <= 4096:
		return e.small
	case block <= 65536:
		return e.medium
	}
	return e.large
}

// limitCases are what the machine can do without BenchFS.
func limitCases() []testCase {
	var all []testCase
	for _, block := range blockSizes {
		all = append(all, dataCase("map", bare, apiMap, "over", block, full), dataCase("map", bare, apiMap, "read", block, full))
	}
	all = append(all, dataCase("map-huge", bareHuge, apiMap, "new", 1<<20, full), freshCase("map-huge", bareHuge, apiMap, 1<<20))
	for _, op := range []string{"new", "over", "read"} {
		for _, block := range blockSizes {
			all = append(all, dataCase("tmpfs", bare, apiPosix, op, block, full))
		}
	}
	for _, block := range largeBlocks {
		all = append(all, freshCase("tmpfs", bare, apiPosix, block))
	}
	all = append(all, randomCase("tmpfs", bare, apiPosix, "rand-read", full, 1), randomCase("tmpfs", bare, apiPosix, "rand-write", full, 1))
	all = append(all, stridedCases("tmpfs", bare, apiPosix)...)
	return append(all, metadataCases("tmpfs", bare, apiPosix, full)...)
}

// transportCases are BenchFS's own, the same for each way to the data.
func transportCases(s stageSpec, e effort) []testCase {
	var all []testCase
	for _, op := range []string{"new", "over", "read"} {
		for _, block := range blockSizes {
			all = append(all, dataCase(s.name, s, apiBenchFS, op, block, e))
		}
	}
	all = append(all, randomCase(s.name, s, apiBenchFS, "rand-read", e, 1), randomCase(s.name, s, apiBenchFS, "rand-write", e, 1))
	all = append(all, metadataCases(s.name, s, apiBenchFS, e)...)
	if !e.parallel {
		return all
	}
	for _, threads := range []int{2, 4} {
		all = append(all, threadedCase(s, "over", threads), threadedCase(s, "read", threads))
	}
	if s.daemons == 0 {
		return all // no second process sees it
	}
	for _, block := range largeBlocks {
		all = append(all, freshCase(s.name, s, apiBenchFS, block))
	}
	all = append(all, pairCase(s, "over"), pairCase(s, "read"), openFilesCase(s))
	return append(all, stridedCases(s.name, s, apiBenchFS)...)
}

func hugeCases() []testCase {
	return []testCase{
		dataCase("huge", huge, apiBenchFS, "new", 1<<20, full), dataCase("huge", huge, apiBenchFS, "over", 1<<20, full),
		dataCase("huge", huge, apiBenchFS, "read", 1<<20, full), freshCase("huge", huge, apiBenchFS, 1<<20),
	}
}

// starvedCases have more pollers than cores, on a machine with two.
func starvedCases(s stageSpec) []testCase {
	return []testCase{
		dataCase(s.name, s, apiBenchFS, "over", 1<<20, full), dataCase(s.name, s, apiBenchFS, "read", 1<<20, full),
		pairCase(s, "over"), pairCase(s, "read"),
		randomCase(s.name, s, apiBenchFS, "rand-read", slow, 1), randomCase(s.name, s, apiBenchFS, "rand-read", slow, 2),
	}
}

func diskCases() []testCase {
	var all []testCase
	for _, op := range []string{"new", "read"} {
		direct := dataJob(apiPosix, op, 1<<20, slow)
		direct.direct, direct.seconds = true, 0
		all = append(all, jobCase("direct/"+op+"/1MiB", bareDisk, direct), dataCase("uring", uring, apiBenchFS, op, 1<<20, slow))
	}
	random := job{api: apiPosix, op: "rand-read", block: 4096, size: slow.small, count: 2000, direct: true}
	all = append(all, jobCase("direct/rand-read/4KiB", bareDisk, random))
	random.api, random.direct = apiBenchFS, false
	return append(all, jobCase("uring/rand-read/4KiB", uring, random))
}

// selectCases keeps the cases whose name matches; all of them if only is "".
func selectCases(all []testCase, only string) ([]testCase, error) {
	pattern, err := regexp.Compile(only)
	if err != nil {
		return nil, err
	}
	var kept []testCase
	for _, c := range all {
		if pattern.MatchString(c.name) {
			kept = append(kept, c)
		}
	}
	return kept, nil
}

// transportOf is the first word of a row's name.
func transportOf(row string) string {
	name, _, _ := strings.Cut(row, "/")
	return name
}
