package main

import (
	"math"
	"strings"
)

// direction says which side of a bar is good.
type direction int

const (
	informs direction = iota // no bar: the ratio is worth knowing
	atLeast
	atMost
	below
)

func (d direction) String() string { return [...]string{"", "≥", "≤", "<"}[d] }

// lessIsBetter tells on which side of a bar a figure should be.
func (d direction) lessIsBetter() bool { return d == atMost || d == below }

// comparison holds a figure against a limit that was measured within seconds of it, or, without one, against a number.
type comparison struct {
	row   string // key of a series
	limit string // key of the series that it is divided by; "" = the figure itself counts
	want  direction
	bar   float64
}

// bars is what BenchFS must reach on a machine with two cores: ratios, but for the memory and the processor time of processes at rest, the longest
// waits beside others that compute, and what the interposer adds. Nothing else in the benchmark knows a bar.
var bars = []comparison{
	// Same node, steady state.
	{row: "shortcut/read/1MiB", limit: "map/read/1MiB", want: atLeast, bar: 0.9},
	{row: "shortcut/read/4MiB", limit: "map/read/4MiB", want: atLeast, bar: 0.9},
	{row: "shortcut/over/1MiB", limit: "map/over/1MiB", want: atLeast, bar: 0.9},
	{row: "shortcut/over/4MiB", limit: "map/over/4MiB", want: atLeast, bar: 0.9},

	// Same node, fresh process, every page touched once: in space that earlier files have left, and in a daemon's first.
	{row: "shortcut/new/1MiB", limit: "tmpfs/new/1MiB", want: atLeast, bar: 2.5},
	{row: "blank/new/1MiB", limit: "tmpfs/new/1MiB", want: atLeast, bar: 2.5},
	{row: "rested/new", limit: "rested/tmpfs", want: atLeast, bar: 2},
	{row: "rested/again", limit: "rested/tmpfs-again", want: atLeast, bar: 4},
	{row: "shortcut/fresh-read/1MiB", limit: "tmpfs/fresh-read/1MiB", want: atLeast, bar: 1},
	{row: "huge/new/1MiB", limit: "map/over/1MiB memcpy", want: atLeast, bar: 0.7},
	{row: "huge-blank/new/1MiB", limit: "map/over/1MiB memcpy", want: atLeast, bar: 0.7},
	{row: "huge/fresh-read/1MiB", limit: "map/read/1MiB memcpy", want: atLeast, bar: 0.7},

	// Same node, small accesses, by one thread and by several.
	{row: "shortcut/rand-read/4KiB p50", limit: "tmpfs/rand-read/4KiB p50", want: atMost, bar: 0.5},
	{row: "shortcut/rand-read/4KiB/2t p50", limit: "tmpfs/rand-read/4KiB/2t p50", want: atMost, bar: 0.5},
	{row: "shortcut/rand-read/4KiB/4t p50", limit: "tmpfs/rand-read/4KiB/4t p50", want: atMost, bar: 0.5},
	{row: "shortcut/rand-write/4KiB p50", limit: "tmpfs/rand-write/4KiB p50", want: atMost, bar: 0.5},
	{row: "shortcut/rand-write/4KiB/2t p50", limit: "tmpfs/rand-write/4KiB/2t p50", want: atMost, bar: 0.5},
	{row: "shortcut/rand-write/4KiB/4t p50", limit: "tmpfs/rand-write/4KiB/4t p50", want: atMost, bar: 0.5},
	{row: "embedded/rand-read/4KiB p50", limit: "tmpfs/rand-read/4KiB p50", want: atMost, bar: 0.5},
	{row: "embedded/rand-read/4KiB/2t p50", limit: "tmpfs/rand-read/4KiB/2t p50", want: atMost, bar: 0.5},
	{row: "embedded/rand-read/4KiB/4t p50", limit: "tmpfs/rand-read/4KiB/4t p50", want: atMost, bar: 0.5},
	{row: "embedded/rand-write/4KiB p50", limit: "tmpfs/rand-write/4KiB p50", want: atMost, bar: 0.5},
	{row: "embedded/rand-write/4KiB/2t p50", limit: "tmpfs/rand-write/4KiB/2t p50", want: atMost, bar: 0.5},
	{row: "embedded/rand-write/4KiB/4t p50", limit: "tmpfs/rand-write/4KiB/4t p50", want: atMost, bar: 0.5},

	// One file, two processes.
	{row: "shortcut/strided-new/47008B/2p", limit: "tmpfs/strided-new/47008B/2p", want: atLeast, bar: 2},
	{row: "shortcut/strided-over/47008B/2p", limit: "tmpfs/strided-over/47008B/2p", want: atLeast, bar: 2},
	{row: "shortcut/strided-read/47008B/2p", limit: "tmpfs/strided-read/47008B/2p", want: atLeast, bar: 2},

	// Messages inside the machine.
	{row: "shm/rand-read/4KiB p50", limit: "message/round-trip/4KiB p50", want: atMost, bar: 1.5},
	{row: "shm/read/1MiB", limit: "message/answer/1MiB", want: atLeast, bar: 0.9},
	{row: "shm/read/4MiB", limit: "message/answer/4MiB", want: atLeast, bar: 0.9},
	{row: "shm/over/1MiB", limit: "message/answer/1MiB", want: atLeast, bar: 0.9},
	{row: "shm/over/4MiB", limit: "message/answer/4MiB", want: atLeast, bar: 0.9},

	// TCP between namespaces.
	{row: "tcp/rand-read/4KiB p50", limit: "ucx-tcp/round-trip/4KiB", want: atMost, bar: 1.2},
	{row: "tcp/read/4MiB", limit: "ucx-tcp/answer/4MiB", want: atLeast, bar: 0.9},
	{row: "tcp/over/4MiB", limit: "ucx-tcp/answer/4MiB", want: atLeast, bar: 0.9},

	// Metadata, one client.
	{row: "shortcut/meta/create", limit: "tmpfs/meta/create", want: atLeast, bar: 1.5},
	{row: "shortcut/meta/stat", limit: "tmpfs/meta/stat", want: atLeast, bar: 2},
	{row: "shortcut/meta/open", limit: "tmpfs/meta/open", want: atLeast, bar: 2},
	{row: "shortcut/meta/unlink", limit: "tmpfs/meta/unlink", want: atLeast, bar: 1.8},
	{row: "shortcut/meta/create-3901B", limit: "tmpfs/meta/create-3901B", want: atLeast, bar: 1.2},
	{row: "shortcut/meta/read-3901B", limit: "tmpfs/meta/read-3901B", want: atLeast, bar: 1.5},

	// More processes that poll than cores: two daemons against one, sixteen clients against one, others that compute against none.
	{row: "shortcut-2d/meta/create", limit: "shortcut/meta/create", want: atLeast, bar: 0.8},
	{row: "shortcut-2d/meta/stat", limit: "shortcut/meta/stat", want: atLeast, bar: 0.8},
	{row: "shortcut-2d/meta/open", limit: "shortcut/meta/open", want: atLeast, bar: 0.8},
	{row: "shortcut-2d/meta/unlink", limit: "shortcut/meta/unlink", want: atLeast, bar: 0.8},
	{row: "shortcut-2d/meta/create/16p", limit: "shortcut-2d/meta/create", want: atLeast, bar: 0.5},
	{row: "shortcut-2d/read/1MiB", limit: "shortcut/read/1MiB", want: atLeast, bar: 0.8},
	{row: "shortcut-2d/over/1MiB", limit: "shortcut/over/1MiB", want: atLeast, bar: 0.8},
	{row: "shortcut-2d/read/1MiB/2p", limit: "shortcut/read/1MiB", want: atLeast, bar: 0.8},
	{row: "shortcut-2d/over/1MiB/2p", limit: "shortcut/over/1MiB", want: atLeast, bar: 0.8},
	{row: "shm-2d/read/1MiB", limit: "shm/read/1MiB", want: atLeast, bar: 0.7},
	{row: "shm-2d/over/1MiB", limit: "shm/over/1MiB", want: atLeast, bar: 0.7},
	{row: "shm-2d/read/1MiB/2p", limit: "shm/read/1MiB", want: atLeast, bar: 0.7},
	{row: "shm-2d/over/1MiB/2p", limit: "shm/over/1MiB", want: atLeast, bar: 0.7},
	{row: "busy/create mean", limit: "busy/alone mean", want: atMost, bar: 10},
	{row: "busy/create p99", want: atMost, bar: 1000},

	// The first use in a fresh process.
	{row: "start/distributed more", limit: "start/go-library more", want: atMost, bar: 2},
	{row: "start/embedded more", limit: "start/go-library more", want: atMost, bar: 2},

	// The interposer: what it adds to programs that have nothing to do with BenchFS, and to an access that has.
	{row: "preload/start more", want: atMost, bar: 200},
	{row: "preload/read more", want: atMost, bar: 0.02},
	{row: "preload/write more", want: atMost, bar: 0.02},
	{row: "preload/open more", want: atMost, bar: 0.02},
	{row: "preload/close more", want: atMost, bar: 0.02},
	{row: "preload/pread/4KiB more", want: atMost, bar: 0.15},

	// At rest.
	{row: "client/memory first call", want: atMost, bar: 12},
	{row: "daemon/memory first call", want: atMost, bar: 24},
	{row: "daemon/idle", want: below, bar: 0.5},
	{row: "daemon/memory beyond the name", want: atMost, bar: 400},
	{row: "shortcut/memory/client 1000 open files", want: atMost, bar: 64},
}

// nearest says what figures without a bar are compared with: the same row of another transport, the first one that was measured.
var nearest = []struct {
	transport string
	limits    []string
}{
	{"shortcut", []string{"map", "tmpfs"}},
	{"embedded", []string{"map", "tmpfs"}},
	{"huge", []string{"map"}},
	{"shm", []string{"tmpfs", "map"}},
	{"tcp", []string{"shm"}},
	{"shortcut-2d", []string{"shortcut"}},
	{"shm-2d", []string{"shm"}},
	{"uring", []string{"direct"}},
	{"tmpfs", []string{"map"}},
}

// others are limits of another kind, without a bar: the kernel's copies, and messages that follow each other without waiting for answers.
var others = []comparison{
	{row: "shortcut/read/1MiB", limit: "tmpfs/read/1MiB"},
	{row: "shortcut/read/4MiB", limit: "tmpfs/read/4MiB"},
	{row: "shortcut/over/1MiB", limit: "tmpfs/over/1MiB"},
	{row: "shortcut/over/4MiB", limit: "tmpfs/over/4MiB"},
	{row: "tcp/read/4MiB", limit: "ucx-tcp/stream/4MiB"},
	{row: "tcp/read/1MiB", limit: "ucx-tcp/answer/1MiB"},
	{row: "tcp/over/4MiB", limit: "ucx-tcp/stream/4MiB"},
}

// comparisonsOf are all of a key: its bars, or else the nearest limit.
func comparisonsOf(key string, m *measurements) []comparison {
	var found []comparison
	for _, list := range [][]comparison{bars, others} {
		for _, c := range list {
			if c.row == key {
				found = append(found, c)
			}
		}
	}
	if len(found) > 0 {
		return found
	}
	transport, rest, _ := strings.Cut(key, "/")
	for _, n := range nearest {
		if n.transport != transport {
			continue
		}
		for _, limit := range n.limits {
			if _, measured := m.median(limit + "/" + rest); measured {
				return []comparison{{row: key, limit: limit + "/" + rest}}
			}
		}
	}
	return nil
}

// verdict of a comparison.
type verdict string

const (
	verdictOK     verdict = "ok"
	verdictMissed verdict = "MISSED"
	verdictNone   verdict = "–"
)

// evaluated is a comparison with the figures of a run.
type evaluated struct {
	comparison
	ratio   float64 // the median of all that were measured; without a limit of the figure itself
	verdict verdict
}

// value is the figure, or its ratio to the limit: the median of the ratios of each value to that of the limit that was measured nearest to it,
// because what else goes on in a machine often lasts for seconds.
func (c comparison) value(m *measurements) (float64, bool) {
	row := m.byKey[c.row]
	if row == nil {
		return 0, false
	}
	if c.limit == "" {
		return row.median(), true
	}
	limit := m.byKey[c.limit]
	if limit == nil {
		return 0, false
	}
	ratios := make([]float64, len(row.Values))
	for i, value := range row.Values {
		ratios[i] = value / limit.near(row.At[i])
		if math.IsInf(ratios[i], 0) || math.IsNaN(ratios[i]) {
			return 0, false
		}
	}
	return median(ratios), true
}

// evaluate gives false if the row or its limit was not measured, or is zero where something is divided by it.
func (c comparison) evaluate(m *measurements) (evaluated, bool) {
	value, ok := c.value(m)
	if !ok {
		return evaluated{}, false
	}
	e := evaluated{comparison: c, ratio: value, verdict: verdictNone}
	good := false
	switch c.want {
	case informs:
		return e, true
	case atLeast:
		good = value >= c.bar
	case atMost:
		good = value <= c.bar
	case below:
		good = value < c.bar
	}
	e.verdict = verdictMissed
	if good {
		e.verdict = verdictOK
	}
	return e, true
}
