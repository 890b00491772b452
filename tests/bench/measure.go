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

// This file makes cases: what a worker is asked to do, and what its results mean.

func dataJob(s stageSpec, api, op string, block int, e effort) job {
	j := job{api: api, op: op, block: block, size: e.fileSize(block), huge: s.medium == onHuge}
	if op != "new" {
		j.seconds = steadySeconds
	}
	return j
}

// jobCase runs a job; its result is the row of the case's name.
func jobCase(name string, s stageSpec, j job) testCase {
	return testCase{name: name, stage: s, run: func(ctx context.Context, s *stage) ([]sample, error) {
		j := j
		j.path = s.place(j.api, strings.ReplaceAll(name, "/", "-"))
		byRank, err := s.work(ctx, j)
		if err != nil {
			return nil, err
		}
		var parts []result
		for _, results := range byRank {
			if len(results) != 1 {
				return nil, errors.Errorf("%d results instead of one", len(results))
			}
			parts = append(parts, results[0])
		}
		return dataSamples(name, combine(parts)), nil
	}}
}

func dataSamples(row string, r result) []sample {
	gib := float64(r.Bytes) / (1 << 30)
	samples := []sample{{row, "", unitThroughput, float64(r.Bytes) / r.seconds() / 1e9}}
	if r.P50 > 0 {
		samples = []sample{
			{row, metricP50, unitLatency, r.P50 / 1e3}, {row, metricP99, unitLatency, r.P99 / 1e3},
			{row, metricP999, unitLatency, r.P999 / 1e3}, {row, metricMean, unitLatency, r.Mean / 1e3},
		}
	}
	samples = append(samples, sample{row, metricClientCPU, unitCPUPerGiB, r.CPU / gib})
	if r.API == apiBenchFS {
		samples = append(samples, sample{row, metricDaemonCPU, unitCPUPerGiB, r.DaemonCPU / gib},
			sample{row, metricMessages, unitMessagesPerOp, float64(r.Messages) / float64(r.Ops)})
	}
	return samples
}

func dataCase(prefix string, s stageSpec, api, op string, block int, e effort, c crowd) testCase {
	j := dataJob(s, api, op, block, e)
	j.threads, j.processes, j.separate = c.threads, c.processes, c.processes > 1
	j.size /= c.processes
	return jobCase(prefix+"/"+op+"/"+sizeName(block)+c.suffix(), s, j)
}

func randomCase(prefix string, s stageSpec, api, op string, e effort, c crowd) testCase {
	j := job{api: api, op: op, block: 4096, size: e.small, count: e.accesses / c.threads, threads: c.threads, processes: c.processes}
	j.seconds = patience
	j.separate = c.processes > 1
	return jobCase(prefix+"/"+op+"/4KiB"+c.suffix(), s, j)
}

// stridedCases have two processes write and read records of one file in turn.
func stridedCases(prefix string, s stageSpec, api string, e effort) []testCase {
	var all []testCase
	for _, op := range []string{"strided-new", "strided-over", "strided-read"} {
		j := job{api: api, op: op, block: 47008, size: e.medium, processes: 2}
		if op != "strided-new" {
			j.seconds = steadySeconds
		}
		all = append(all, jobCase(prefix+"/"+op+"/47008B/2p", s, j))
	}
	return all
}

// freshCase reads a file that another process has written, each page once.
func freshCase(prefix string, spec stageSpec, api string, block int, e effort) testCase {
	name := prefix + "/fresh-read/" + sizeName(block)
	return testCase{name: name, stage: spec, run: func(ctx context.Context, s *stage) ([]sample, error) {
		j := job{api: api, op: "prepare", path: s.place(api, "fresh"), block: block, size: e.fileSize(block), huge: spec.medium == onHuge}
		if _, err := s.work(ctx, j); err != nil {
			return nil, err
		}
		j.op = "fresh-read"
		byRank, err := s.work(ctx, j)
		if err != nil {
			return nil, err
		}
		return dataSamples(name, byRank[0][0]), nil
	}}
}

// metadataCases are operations on the files of one directory, by one process, and some by two.
func metadataCases(prefix string, s stageSpec, api string, e effort) []testCase {
	list := phasesCase(prefix+"/list", s, api, listEntries, 1, "create", "list", "unlink")
	list.once = e.listOnce
	all := []testCase{
		phasesCase(prefix+"/meta", s, api, e.files, 1, "create", "stat", "open", "unlink"),
		phasesCase(prefix+"/small", s, api, e.files, 1, "small-create", "small-read", "unlink"), list,
	}
	if s.daemons > 0 || api == apiPosix {
		all = append(all, phasesCase(prefix+"/meta", s, api, e.files, 2, "create", "stat", "open", "unlink"))
	}
	return all
}

// phaseRows are the rows of a case of metadata operations; a phase that has none prepares or cleans up.
var phaseRows = map[string]map[string]string{
	"meta":  {"create": "create", "stat": "stat", "open": "open", "unlink": "unlink"},
	"small": {"small-create": "create-3901B", "small-read": "read-3901B"},
	"list":  {"list": "readdir"},
}

func phasesCase(name string, s stageSpec, api string, files, processes int, phases ...string) testCase {
	prefix, group, _ := strings.Cut(name, "/")
	suffix := crowd{processes: processes}.suffix()
	return testCase{name: name + suffix, stage: s, run: func(ctx context.Context, s *stage) ([]sample, error) {
		j := job{api: api, op: "meta", path: s.place(api, group), count: files, phases: strings.Join(phases, ","), processes: processes}
		if files < listEntries {
			j.seconds = patience
		}
		byRank, err := s.work(ctx, j)
		if err != nil {
			return nil, err
		}
		var samples []sample
		for i, first := range byRank[0] {
			parts := []result{first}
			for _, other := range byRank[1:] {
				parts = append(parts, other[i])
			}
			if row, ok := phaseRows[group][first.Op]; ok {
				samples = append(samples, metadataSamples(prefix+"/meta/"+row+suffix, combine(parts))...)
			}
		}
		return samples, nil
	}}
}

func metadataSamples(row string, r result) []sample {
	millions := float64(r.Ops) / 1e6
	samples := []sample{{row, "", unitRate, float64(r.Ops) / r.seconds()}, {row, metricClientCPU, unitCPUPerMillion, r.CPU / millions}}
	if r.API == apiBenchFS {
		samples = append(samples, sample{row, metricDaemonCPU, unitCPUPerMillion, r.DaemonCPU / millions},
			sample{row, metricMessages, unitMessagesPerOp, float64(r.Messages) / float64(r.Ops)})
	}
	return samples
}

// ucxCases are what BenchFS's messages cost without BenchFS. Over a slow network fewer are sent.
func ucxCases(prefix string, s stageSpec, slowness int) []testCase {
	return []testCase{
		{name: prefix + "/round-trip", stage: s, run: func(ctx context.Context, s *stage) ([]sample, error) {
			return ucxRoundTrips(ctx, s, prefix, slowness)
		}},
		{name: prefix + "/stream", stage: s, run: func(ctx context.Context, s *stage) ([]sample, error) {
			var samples []sample
			for _, size := range largeBlocks {
				p, err := s.ucxTest(ctx, "ucp_am_bw", size, (2<<30)/size/min(slowness, 4))
				if err != nil {
					return nil, err
				}
				samples = append(samples, sample{prefix + "/stream/" + sizeName(size), "", unitThroughput, p.bandwidth})
			}
			return samples, nil
		}},
	}
}

// ucxRoundTrips measures one way and adds up: a request of 8 bytes there, an answer of some size back. That is what a read from another
// process costs at least, if it waits for its answer.
func ucxRoundTrips(ctx context.Context, s *stage, prefix string, slowness int) ([]sample, error) {
	request, err := s.ucxTest(ctx, "ucp_am_lat", 8, 200000/slowness)
	if err != nil {
		return nil, err
	}
	samples := []sample{{prefix + "/round-trip/8B", "", unitLatency, 2 * request.latency}}
	for _, size := range []int{4096, 1 << 20, 4 << 20} {
		answer, err := s.ucxTest(ctx, "ucp_am_lat", size, min(200000/slowness, (1<<30)/size))
		if err != nil {
			return nil, err
		}
		took := request.latency + answer.latency
		samples = append(samples, sample{prefix + "/round-trip/" + sizeName(size), "", unitLatency, took})
		if size >= 1<<20 {
			samples = append(samples, sample{prefix + "/answer/" + sizeName(size), "", unitThroughput, float64(size) / took / 1e3})
		}
	}
	return samples, nil
}

func openFilesCase(s stageSpec) testCase {
	name := s.name + "/memory/client"
	return testCase{name: name, stage: s, run: func(ctx context.Context, s *stage) ([]sample, error) {
		byRank, err := s.work(ctx, job{api: apiBenchFS, op: "open-files", path: "/open", count: 1000})
		if err != nil {
			return nil, err
		}
		none, all := byRank[0][0], byRank[0][1]
		return []sample{
			{name, "started", unitMebibytes, float64(none.RSS) / 1024},
			{name, "1000 open files", unitMebibytes, float64(all.RSS) / 1024},
		}, nil
	}}
}

// The files of the memory case, and how long their names are (worker/meta.c).
const (
	manyFiles      = 1000000
	manyFilesNames = len("f0.0000000")
)

// memoryCases look at a daemon that nobody asks anything, then fill it.
func memoryCases() []testCase {
	const idle = 5 * time.Second
	return []testCase{
		{name: "daemon/idle", stage: shortcut, once: true, run: func(ctx context.Context, s *stage) ([]sample, error) {
			// It has served somebody, as idle daemons mostly have.
			if _, err := s.work(ctx, job{api: apiBenchFS, op: "new", path: "/idle", block: 1 << 20, size: 1 << 20}); err != nil {
				return nil, err
			}
			time.Sleep(time.Second)
			before := cpuNanoseconds(s.pids()[0])
			time.Sleep(idle)
			busy := float64(cpuNanoseconds(s.pids()[0])-before) / float64(idle)
			return []sample{{"daemon/idle", "", unitPercentOfACore, 100 * busy}}, nil
		}},
		{name: "daemon/memory", stage: filled, once: true, run: func(ctx context.Context, s *stage) ([]sample, error) {
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
				{"daemon/memory", "no files", unitMebibytes, float64(before) / 1024},
				{"daemon/memory", "1 million files", unitMebibytes, float64(after) / 1024},
				{"daemon/memory", "beyond the name", unitBytesPerFile, float64(after-before)*1024/manyFiles - float64(manyFilesNames)},
			}, nil
		}},
	}
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
