package main

import (
	"context"
	"strings"

	"github.com/pkg/errors"
)

// This file makes cases: what a worker is asked to do, and what its results mean.

func dataJob(w way, op string, block int, e effort) job {
	j := job{api: w.api, op: op, block: block, size: e.fileSize(block)}
	if op != "new" {
		j.seconds = steadySeconds
	}
	return j
}

// jobCase runs a job; its result is the row of the case's name.
func jobCase(name string, w way, j job) testCase {
	return testCase{name: name, stage: w.stage, run: func(ctx context.Context, s *stage) ([]sample, error) {
		r, err := s.jobResult(ctx, name, j)
		if err != nil {
			return nil, err
		}
		return dataSamples(name, r), nil
	}}
}

// jobResult runs a job whose processes have one result each, on a file of the case's name.
func (s *stage) jobResult(ctx context.Context, name string, j job) (result, error) {
	j.path = s.place(j.api, strings.ReplaceAll(name, "/", "-"))
	byRank, err := s.work(ctx, j)
	if err != nil {
		return result{}, err
	}
	var parts []result
	for _, results := range byRank {
		if len(results) != 1 {
			return result{}, errors.Errorf("%d results instead of one", len(results))
		}
		parts = append(parts, results[0])
	}
	return combine(parts), nil
}

// throughput is in GB/s.
func throughput(r result) float64 { return float64(r.Bytes) / r.seconds() / 1e9 }

func latencySamples(row string, r result) []sample {
	return []sample{
		{row, metricP50, unitLatency, r.P50 / 1e3}, {row, metricP99, unitLatency, r.P99 / 1e3},
		{row, metricP999, unitLatency, r.P999 / 1e3}, {row, metricMean, unitLatency, r.Mean / 1e3},
	}
}

func dataSamples(row string, r result) []sample {
	gib := float64(r.Bytes) / (1 << 30)
	samples := []sample{{row, "", unitThroughput, throughput(r)}}
	if r.P50 > 0 {
		samples = latencySamples(row, r)
	}
	samples = append(samples, sample{row, metricClientCPU, unitCPUPerGiB, r.CPU / gib})
	if r.API == apiBenchFS {
		samples = append(samples, sample{row, metricDaemonCPU, unitCPUPerGiB, r.DaemonCPU / gib},
			sample{row, metricMessages, unitMessagesPerOp, float64(r.Messages) / float64(r.Ops)})
	}
	return samples
}

func dataCase(w way, op string, block int, e effort, c crowd) testCase {
	return jobCase(w.name+"/"+op+"/"+sizeName(block)+c.suffix(), w, crowdJob(w, op, block, e, c))
}

func crowdJob(w way, op string, block int, e effort, c crowd) job {
	j := dataJob(w, op, block, e)
	j.threads, j.processes, j.separate = c.threads, c.processes, c.processes > 1
	j.size /= c.processes
	return j
}

func randomCase(w way, op string, e effort, c crowd) testCase {
	j := job{api: w.api, op: op, block: 4096, size: e.small, count: e.accesses / c.threads, threads: c.threads, processes: c.processes}
	j.seconds = patience
	j.separate = c.processes > 1
	return jobCase(w.name+"/"+op+"/4KiB"+c.suffix(), w, j)
}

// stridedCase has two processes write or read records of one file in turn.
func stridedCase(w way, op string) testCase {
	j := job{api: w.api, op: op, block: 47008, size: full.medium, processes: 2}
	if op != "strided-new" {
		j.seconds = steadySeconds
	}
	return jobCase(w.name+"/"+op+"/47008B/2p", w, j)
}

// freshCase reads a file that another process has written, each page once.
func freshCase(w way, block int) testCase {
	name := w.name + "/fresh-read/" + sizeName(block)
	return testCase{name: name, stage: w.stage, run: func(ctx context.Context, s *stage) ([]sample, error) {
		j := job{api: w.api, op: "prepare", path: s.place(w.api, "fresh"), block: block, size: full.fileSize(block)}
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

// phaseRows are the rows of a case of metadata operations; a phase that has none prepares or cleans up.
var phaseRows = map[string]map[string]string{
	"meta":  {"create": "create", "stat": "stat", "open": "open", "unlink": "unlink"},
	"small": {"small-create": "create-3901B", "small-read": "read-3901B"},
	"list":  {"list": "readdir"},
}

// phasesCase has each of some processes do operations on files of its own, in one directory.
func phasesCase(w way, group string, files, processes int, phases ...string) testCase {
	suffix := crowd{processes: processes}.suffix()
	return testCase{name: w.name + "/" + group + suffix, stage: w.stage, run: func(ctx context.Context, s *stage) ([]sample, error) {
		j := job{api: w.api, op: "meta", path: s.place(w.api, group), count: files, phases: strings.Join(phases, ","), processes: processes}
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
				samples = append(samples, metadataSamples(w.name+"/meta/"+row+suffix, combine(parts))...)
			}
		}
		return samples, nil
	}}
}

// listCase takes long, and varies little.
func listCase(w way) testCase {
	c := phasesCase(w, "list", listEntries, 1, "create", "list", "unlink")
	c.once = true
	return c
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
