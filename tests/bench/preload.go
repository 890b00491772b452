package main

import (
	"context"
	"path/filepath"
	"strconv"

	"github.com/benchfs/benchfs/preload"
)

// This file measures what the interposer costs: programs that have nothing to do with BenchFS, and one that has.

// How often a program without and one with the interposer take turns, and how many programs are started each time.
const (
	preloadTurns  = 3
	preloadStarts = 100
)

// preloadRows are the rows of the case that compares programs with and without the interposer.
var preloadRows = []string{"start", "read", "write", "open", "close"}

// outsider runs outsider/ and returns what it printed: nanoseconds by name.
func (s *stage) outsider(ctx context.Context, interposed bool, args ...string) (map[string]float64, error) {
	env := s.env()
	if interposed {
		env = append(env, "LD_PRELOAD="+filepath.Join(filepath.Dir(s.run.o.daemon), "..", "lib", preload.Library))
	}
	return s.numbers(ctx, env, append([]string{s.run.program("outsider")}, args...)...)
}

// preloadCases tell the difference that the interposer makes, in microseconds.
func preloadCases() unit {
	return unit{
		{name: "preload/outside", stage: shortcut, run: func(ctx context.Context, s *stage) ([]sample, error) {
			plain, interposed := map[string]float64{}, map[string]float64{}
			for range preloadTurns {
				for values, with := range map[*map[string]float64]bool{&plain: false, &interposed: true} {
					for _, args := range [][]string{{"calls", "/etc/hostname"}, {"start", strconv.Itoa(preloadStarts), "/bin/true"}} {
						found, err := s.outsider(ctx, with, args...)
						if err != nil {
							return nil, err
						}
						for name, ns := range found {
							if have, ok := (*values)[name]; !ok || ns < have { // the least disturbed
								(*values)[name] = ns
							}
						}
					}
				}
			}
			var samples []sample
			for _, name := range preloadRows {
				samples = append(samples, sample{"preload/" + name, "without", unitLatency, plain[name] / 1e3},
					sample{"preload/" + name, metricMore, unitLatency, (interposed[name] - plain[name]) / 1e3})
			}
			return samples, nil
		}},
		{name: "preload/pread/4KiB", stage: shortcut, run: func(ctx context.Context, s *stage) ([]sample, error) {
			found, err := s.outsider(ctx, true, "pread", "/benchfs/preload-pread", strconv.Itoa(full.small))
			if err != nil {
				return nil, err
			}
			direct, err := s.work(ctx, job{
				api: apiBenchFS, op: "rand-read", path: "/direct-pread", block: 4096, size: full.small, count: full.accesses, seconds: patience,
			})
			if err != nil {
				return nil, err
			}
			return []sample{
				{"preload/pread/4KiB", metricP50, unitLatency, found["pread"] / 1e3},
				{"preload/pread/4KiB", metricMore, unitLatency, (found["pread"] - direct[0][0].P50) / 1e3},
			}, nil
		}},
	}
}
