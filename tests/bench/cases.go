package main

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// The ways to a file that the worker knows.
const (
	apiBenchFS = "benchfs"
	apiPosix   = "posix"
	apiMap     = "map"
	apiStream  = "map-stream"
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
	shortcut   = stageSpec{name: "shortcut", daemons: 1, used: true, settings: shortcutOn}
	blank      = stageSpec{name: "blank", daemons: 1, settings: shortcutOn}
	huge       = stageSpec{name: "huge", daemons: 1, used: true, medium: onHuge, settings: shortcutOn}
	hugeBlank  = stageSpec{name: "huge-blank", daemons: 1, medium: onHuge, settings: shortcutOn}
	shm        = stageSpec{name: "shm", daemons: 1, used: true, settings: shortcutOff}
	tcp        = stageSpec{name: "tcp", daemons: 1, used: true, network: true, settings: overTCP}
	shortcut2d = stageSpec{name: "shortcut-2d", daemons: 2, used: true, settings: shortcutOn}
	shm2d      = stageSpec{name: "shm-2d", daemons: 2, used: true, settings: shortcutOff}
	tcp2d      = stageSpec{name: "tcp-2d", daemons: 2, used: true, network: true, settings: overTCP}
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

// crowd is who works at the same time. Threads share a file, each with its part; processes have a file each.
type crowd struct{ processes, threads int }

var alone = crowd{1, 1}

// crowdsOf are the others that a stage has room for: an embedded file system has one process.
func crowdsOf(s stageSpec, api string) []crowd {
	all := []crowd{{1, 2}, {1, 4}}
	if s.daemons > 0 || api != apiBenchFS {
		all = append(all, crowd{2, 1})
	}
	return all
}

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

// allCases is the benchmark, stage by stage: those next to each other whose figures are compared.
func allCases() []testCase {
	return slices.Concat(
		limitCases(), ucxCases("ucx-shm", bare, 1),
		transportCases(shortcut, full), blankCases(), starvedCases(shortcut2d, full), hugeCases(), transportCases(embedded, full),
		transportCases(shm, full), starvedCases(shm2d, full),
		ucxCases("ucx-tcp", bareTCP, 20), transportCases(tcp, slow), starvedCases(tcp2d, slow), diskCases(), preloadCases(), memoryCases(),
	)
}

// effort sizes the work of a stage so that a case takes a few tenths of a second.
type effort struct {
	small, medium, large int // bytes of a file that is accessed by 4 KiB, by up to 64 KiB, by more
	accesses             int // random
	files                int
	listOnce             bool // the large directory takes too long for every round
}

var (
	full = effort{small: 32 << 20, medium: 128 << 20, large: 256 << 20, accesses: 40000, files: 20000}
	slow = effort{small: 4 << 20, medium: 32 << 20, large: 128 << 20, accesses: 6000, files: 2000, listOnce: true}
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

// limitCases are what the machine can do without BenchFS.
func limitCases() []testCase {
	var all []testCase
	for _, block := range blockSizes {
		all = append(all, dataCase("map", bare, apiMap, "over", block, full, alone), dataCase("map", bare, apiMap, "read", block, full, alone))
	}
	all = append(all, dataCase("map-huge", bareHuge, apiMap, "new", 1<<20, full, alone), freshCase("map-huge", bareHuge, apiMap, 1<<20, full))
	for _, op := range []string{"new", "over", "read"} {
		for _, block := range blockSizes {
			all = append(all, dataCase("tmpfs", bare, apiPosix, op, block, full, alone))
		}
	}
	for _, block := range largeBlocks {
		all = append(all, freshCase("tmpfs", bare, apiPosix, block, full), dataCase("map-stream", bare, apiStream, "over", block, full, alone))
	}
	all = append(all, crowdCases("map", bare, apiMap, full)...)
	all = append(all, randomCases("tmpfs", bare, apiPosix, full)...)
	all = append(all, stridedCases("tmpfs", bare, apiPosix, full)...)
	return append(all, metadataCases("tmpfs", bare, apiPosix, full)...)
}

// transportCases are BenchFS's own, the same for each way to the data.
func transportCases(s stageSpec, e effort) []testCase {
	var all []testCase
	for _, op := range []string{"new", "over", "read"} {
		for _, block := range blockSizes {
			all = append(all, dataCase(s.name, s, apiBenchFS, op, block, e, alone))
		}
	}
	all = append(all, crowdCases(s.name, s, apiBenchFS, e)...)
	all = append(all, randomCases(s.name, s, apiBenchFS, e)...)
	all = append(all, metadataCases(s.name, s, apiBenchFS, e)...)
	all = append(all, openFilesCase(s))
	if s.daemons == 0 {
		return all // of its files no second process knows
	}
	for _, block := range largeBlocks {
		all = append(all, freshCase(s.name, s, apiBenchFS, block, e))
	}
	return append(all, stridedCases(s.name, s, apiBenchFS, e)...)
}

// crowdCases have several threads or processes move large blocks.
func crowdCases(prefix string, s stageSpec, api string, e effort) []testCase {
	var all []testCase
	for _, op := range []string{"over", "read"} {
		for _, c := range crowdsOf(s, api) {
			all = append(all, dataCase(prefix, s, api, op, 1<<20, e, c))
		}
	}
	return all
}

// randomCases are small accesses, by one and by several.
func randomCases(prefix string, s stageSpec, api string, e effort) []testCase {
	var all []testCase
	for _, op := range []string{"rand-read", "rand-write"} {
		for _, c := range append([]crowd{alone}, crowdsOf(s, api)...) {
			all = append(all, randomCase(prefix, s, api, op, e, c))
		}
	}
	return all
}

// blankCases meet daemons that have only just started: none of their space has ever been used.
func blankCases() []testCase {
	return []testCase{dataCase("blank", blank, apiBenchFS, "new", 1<<20, full, alone)}
}

func hugeCases() []testCase {
	all := []testCase{
		dataCase("huge-blank", hugeBlank, apiBenchFS, "new", 1<<20, full, alone),
		dataCase("huge", huge, apiBenchFS, "new", 1<<20, full, alone), freshCase("huge", huge, apiBenchFS, 1<<20, full),
	}
	for _, block := range largeBlocks {
		all = append(all, dataCase("huge", huge, apiBenchFS, "over", block, full, alone), dataCase("huge", huge, apiBenchFS, "read", block, full, alone))
	}
	return all
}

// starvedCases have more pollers than cores, on a machine with two.
func starvedCases(s stageSpec, e effort) []testCase {
	var all []testCase
	for _, c := range []crowd{alone, {2, 1}} {
		for _, op := range []string{"new", "over", "read"} {
			all = append(all, dataCase(s.name, s, apiBenchFS, op, 1<<20, e, c))
		}
		all = append(all, randomCase(s.name, s, apiBenchFS, "rand-read", e, c), randomCase(s.name, s, apiBenchFS, "rand-write", e, c),
			phasesCase(s.name+"/meta", s, apiBenchFS, e.files, c.processes, "create", "stat", "open", "unlink"))
	}
	return all
}

func diskCases() []testCase {
	var all []testCase
	for _, op := range []string{"new", "read"} {
		direct := dataJob(bareDisk, apiPosix, op, 1<<20, slow)
		direct.direct, direct.seconds = true, 0
		all = append(all, jobCase("direct/"+op+"/1MiB", bareDisk, direct), dataCase("uring", uring, apiBenchFS, op, 1<<20, slow, alone))
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
