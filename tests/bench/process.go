package main

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/pkg/errors"
)

// This file makes the cases about processes: their start, what they take at rest, and how BenchFS fares beside others that compute or sleep.

// starts is how often each program of the start case is started in a round.
const starts = 15

// startRows are the programs of the start case, in the order in which they take turns.
var startRows = []string{"bare", "go-library", "distributed", "embedded"}

// startCase compares the first use of BenchFS in a fresh process (load, join, one call, leave) with that of the smallest Go library: what both take
// beyond a program without a library.
func startCase() testCase {
	return testCase{name: "start/first-use", stage: shortcut, run: func(ctx context.Context, s *stage) ([]sample, error) {
		benchfs := s.run.program("first-benchfs")
		took, err := s.outsider(ctx, false, "start", strconv.Itoa(starts), s.run.program("first-bare"), "--", s.run.program("first-golibrary"),
			"--", benchfs, "--", benchfs, "embedded")
		if err != nil {
			return nil, err
		}
		bareTime := took["start"]
		samples := []sample{{"start/bare", "", unitLatency, bareTime / 1e3}}
		for i, row := range startRows[1:] {
			samples = append(samples, sample{"start/" + row, metricMore, unitLatency, (took["start-"+strconv.Itoa(i+1)] - bareTime) / 1e3})
		}
		return samples, nil
	}}
}

// busyCase makes files alone, then beside a program that computes on every core.
func busyCase() testCase {
	return testCase{name: "busy/create", stage: shortcut, run: func(ctx context.Context, s *stage) ([]sample, error) {
		var samples []sample
		for _, of := range []struct {
			row  string
			busy bool
		}{{"busy/alone", false}, {"busy/create", true}} {
			byRank, err := s.work(ctx, job{
				api: apiBenchFS, op: "meta", path: "/busy", count: full.files, phases: "create-each,unlink", seconds: patience, busy: of.busy,
			})
			if err != nil {
				return nil, err
			}
			samples = append(samples, latencySamples(of.row, byRank[0][0])...)
		}
		return samples, nil
	}}
}

// What the rested case writes, and how long its daemon has rested before.
const (
	restedBytes = 512 << 20
	restedTime  = 10 * time.Second
)

// restedCase is a job's first checkpoint: the first data of a daemon that had some time to prepare, and the same again after the file was removed.
func restedCase() testCase {
	return testCase{name: "rested/new", stage: rested, once: true, run: func(ctx context.Context, s *stage) ([]sample, error) {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(restedTime):
		}
		write := job{op: "new", block: 1 << 20, size: restedBytes, repeats: 2}
		var samples []sample
		for _, of := range []struct{ api, first, second string }{
			{apiPosix, "rested/tmpfs", "rested/tmpfs-again"}, {apiBenchFS, "rested/new", "rested/again"},
		} {
			write.api, write.path = of.api, s.place(of.api, "checkpoint")
			byRank, err := s.work(ctx, write)
			if err != nil {
				return nil, err
			}
			for i, row := range []string{of.first, of.second} {
				samples = append(samples, sample{row, "", unitThroughput, throughput(byRank[0][i])})
			}
		}
		return samples, nil
	}}
}

func openFilesCase() testCase {
	const name, count = "shortcut/memory/client", 1000
	return testCase{name: name, stage: shortcut, run: func(ctx context.Context, s *stage) ([]sample, error) {
		byRank, err := s.work(ctx, job{api: apiBenchFS, op: "open-files", path: "/open", count: count})
		if err != nil {
			return nil, err
		}
		return []sample{{name, "1000 open files", unitMebibytes, float64(byRank[0][0].RSS) / 1024}}, nil
	}}
}

// idleCase looks at a daemon that nobody asks anything. It has served somebody, as idle daemons mostly have.
func idleCase() testCase {
	const idle = 5 * time.Second
	return testCase{name: "daemon/idle", stage: shortcut, once: true, run: func(ctx context.Context, s *stage) ([]sample, error) {
		if _, err := s.work(ctx, job{api: apiBenchFS, op: "new", path: "/idle", block: 1 << 20, size: 1 << 20}); err != nil {
			return nil, err
		}
		time.Sleep(time.Second)
		before := cpuNanoseconds(s.pids()[0])
		time.Sleep(idle)
		busy := float64(cpuNanoseconds(s.pids()[0])-before) / float64(idle)
		return []sample{{"daemon/idle", "", unitPercentOfACore, 100 * busy}}, nil
	}}
}

// The files of the memory case, and how long their names are (worker/meta.c).
const (
	manyFiles      = 1000000
	manyFilesNames = len("f0.0000000")
)

// memoryCase looks at a client and a daemon after the first call, then fills the daemon.
func memoryCase() testCase {
	return testCase{name: "daemon/memory", stage: filled, once: true, run: func(ctx context.Context, s *stage) ([]sample, error) {
		client, err := s.numbers(ctx, s.env(), s.run.program("first-benchfs"), "memory")
		if err != nil {
			return nil, err
		}
		first, err := privateKiB(s.pids()[0])
		if err != nil {
			return nil, err
		}
		fill := job{api: apiBenchFS, op: "meta", phases: "create", path: "/few", count: 10, processes: 2}
		if _, err := s.work(ctx, fill); err != nil {
			return nil, err
		}
		before, err := privateKiB(s.pids()[0])
		if err != nil {
			return nil, err
		}
		fill.path, fill.count = "/many", manyFiles/fill.processes
		if _, err := s.work(ctx, fill); err != nil {
			return nil, err
		}
		after, err := privateKiB(s.pids()[0])
		if err != nil {
			return nil, err
		}
		return []sample{
			{"client/memory", "first call", unitMebibytes, client["rss_kib"] / 1024},
			{"daemon/memory", "first call", unitMebibytes, float64(first) / 1024},
			{"daemon/memory", "1 million files", unitMebibytes, float64(after) / 1024},
			{"daemon/memory", "beyond the name", unitBytesPerFile, float64(after-before)*1024/manyFiles - float64(manyFilesNames)},
		}, nil
	}}
}

// program is one of those that scripts/bench.sh has compiled.
func (r *runner) program(name string) string { return filepath.Join(filepath.Dir(r.o.worker), name) }

// numbers runs a program, which prints names and numbers, one a line.
func (s *stage) numbers(ctx context.Context, env []string, args ...string) (map[string]float64, error) {
	cmd := command(ctx, env, args...)
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return nil, errors.Wrapf(err, "%s: %s", strings.Join(args, " "), complaint.String())
	}
	values, err := parseNumbers(string(out))
	return values, errors.Wrap(err, args[0])
}

func parseNumbers(output string) (map[string]float64, error) {
	values := map[string]float64{}
	for _, line := range strings.Split(strings.TrimSpace(output), "\n") {
		name, text, _ := strings.Cut(line, " ")
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, errors.Wrapf(err, "%q is no name and number", line)
		}
		values[name] = value
	}
	return values, nil
}

// cpuNanoseconds is the processor time of all threads of a process.
func cpuNanoseconds(pid int) int64 {
	threads, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/schedstat")
	var total int64
	for _, path := range threads {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // a thread that has ended
		}
		first, _, _ := strings.Cut(string(text), " ")
		ns, _ := strconv.ParseInt(first, 10, 64)
		total += ns
	}
	return total
}

// privateKiB is a process's resident memory without the shared mappings, which are file data.
func privateKiB(pid int) (int64, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0, err
	}
	var total int64
	for _, line := range strings.Split(string(text), "\n") {
		if key, value, ok := strings.Cut(line, ":"); ok && (key == "RssAnon" || key == "RssFile") {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			if err != nil {
				return 0, errors.Wrapf(err, "/proc/%d/status: %s", pid, line)
			}
			total += kib
		}
	}
	return total, nil
}
