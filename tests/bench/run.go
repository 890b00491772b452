package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"slices"
	"time"

	"github.com/pkg/errors"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// caseLimit is when a case counts as hanging.
const caseLimit = time.Minute

// runLimit is how long a run may take that was not told how many rounds to make. What is left of ten minutes is for the build.
const runLimit = 9 * time.Minute

// runner goes through the rounds.
type runner struct {
	o      options
	budget time.Duration // no round begins that would end after it
	box    *sandbox
	cases  []testCase
	m      *measurements

	machine machine
	buildID string            // as the daemons tell it
	left    []testCase        // not to be had here
	remarks []string          // what is missing and why, and what else there is to say
	failed  map[string]string // case → what went wrong; it is not tried again
}

// group are the cases of one stage.
type group struct {
	spec  stageSpec
	cases []testCase
}

// groups puts the cases of a round by stage, begins with another stage and another case each round, and leaves out what has been done or has
// failed.
func (r *runner) groups(round int) []group {
	var all []group
	place := map[string]int{}
	for _, c := range r.cases {
		if c.once && round > 0 || r.failed[c.name] != "" {
			continue
		}
		i, known := place[c.stage.name]
		if !known {
			i = len(all)
			place[c.stage.name] = i
			all = append(all, group{spec: c.stage})
		}
		all[i].cases = append(all[i].cases, c)
	}
	for i := range all {
		all[i].cases = rotate(all[i].cases, round*len(all[i].cases)/max(1, r.o.rounds))
	}
	return rotate(all, round*len(all)/max(1, r.o.rounds))
}

func rotate[T any](list []T, by int) []T {
	if len(list) == 0 {
		return nil
	}
	by %= len(list)
	return append(append([]T(nil), list[by:]...), list[:by]...)
}

// meetMachine remembers what the run has to do with.
func (r *runner) meetMachine() {
	r.machine = thisMachine()
	if r.machine.Load > float64(r.machine.Cores) {
		r.remarks = append(r.remarks, fmt.Sprintf("the machine has other things to do: load %.1f on %d cores when the run began; only ratios count",
			r.machine.Load, r.machine.Cores))
	}
}

// dropUnavailable leaves out what this machine or these rights do not allow, and remembers why.
func (r *runner) dropUnavailable(have func(program string) bool) {
	reasons := map[string]string{}
	var kept []testCase
	for _, c := range r.cases {
		reason, known := reasons[c.stage.name]
		if !known {
			reason = r.unavailable(c.stage)
			if reason != "" {
				r.remarks = append(r.remarks, fmt.Sprintf("%s: %s", c.stage.name, reason))
			}
			reasons[c.stage.name] = reason
			for _, key := range missingKeys(c.stage) {
				r.remarks = append(r.remarks, fmt.Sprintf("%s: runs without %s, which this version does not know", c.stage.name, key))
			}
		}
		if reason == "" && (!usesUCX(c) || have("ucx_perftest")) {
			kept = append(kept, c)
		} else {
			r.left = append(r.left, c)
		}
	}
	if slices.ContainsFunc(r.cases, usesUCX) && !have("ucx_perftest") {
		r.remarks = append(r.remarks, "ucx-shm, ucx-tcp: need ucx_perftest (Debian's ucx-utils)")
	}
	r.cases = kept
}

func usesUCX(c testCase) bool {
	return transportOf(c.name) == "ucx-shm" || transportOf(c.name) == "ucx-tcp"
}

// all runs every round.
func (r *runner) all(ctx context.Context) error {
	p := newProgress(r.total())
	defer p.end()
	var last time.Duration
	for round := range r.o.rounds {
		begin := time.Now()
		if begin.Sub(p.begin)+last > r.budget {
			r.remarks = append(r.remarks, fmt.Sprintf("%d rounds instead of %d: more would have taken longer than %v", round, r.o.rounds, r.budget))
			r.o.rounds = round
			return nil
		}
		p.round(round, r.o.rounds)
		for _, g := range r.groups(round) {
			if err := r.group(ctx, g, p); err != nil {
				return err
			}
		}
		last = time.Since(begin)
	}
	return nil
}

func (r *runner) total() int {
	n := 0
	for _, c := range r.cases {
		n += r.o.rounds
		if c.once {
			n -= r.o.rounds - 1
		}
	}
	return n
}

// group runs the cases of a stage. After a failure the next case meets a new one.
func (r *runner) group(ctx context.Context, g group, p *progress) error {
	var s *stage
	defer func() {
		if s != nil {
			s.stop()
		}
	}()
	for _, c := range g.cases {
		p.at(c.name)
		var err error
		if s == nil {
			s, err = r.start(ctx, g.spec)
		}
		if err == nil {
			err = r.one(ctx, c, s)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			r.failed[c.name] = err.Error() + s.daemonLogs()
			s.stop()
			s = nil
		}
		p.done()
	}
	return nil
}

func (r *runner) one(ctx context.Context, c testCase, s *stage) error {
	limited, cancel := context.WithTimeout(ctx, caseLimit)
	defer cancel()
	samples, err := c.run(limited, s)
	for _, sample := range samples {
		if math.IsNaN(sample.value) || math.IsInf(sample.value, 0) {
			return errors.Errorf("%s: %v is no measurement", sample.key(), sample.value)
		}
	}
	if err == nil {
		r.m.add(samples)
		return nil
	}
	if limited.Err() != nil && ctx.Err() == nil {
		return errors.Wrapf(err, "not done after %v", caseLimit)
	}
	return err
}

// rank is the place of a row in the list of cases.
func (r *runner) rank(row string) int {
	for i, c := range r.cases {
		if c.name == row {
			return i
		}
	}
	// The rows of a case that has several stand where its transport's last case is.
	last := len(r.cases)
	for i, c := range r.cases {
		if transportOf(c.name) == transportOf(row) {
			last = i
		}
	}
	return last
}

// progress shows how far the run is: a bar on a terminal, else a line a round.
type progress struct {
	bar   *progressbar.ProgressBar
	begin time.Time
}

func newProgress(total int) *progress {
	p := &progress{begin: time.Now()}
	if term.IsTerminal(int(os.Stderr.Fd())) {
		p.bar = progressbar.NewOptions(total, progressbar.OptionSetWriter(os.Stderr), progressbar.OptionShowCount(),
			progressbar.OptionSetPredictTime(true), progressbar.OptionSetWidth(30), progressbar.OptionClearOnFinish())
	}
	return p
}

func (p *progress) round(round, rounds int) {
	if p.bar == nil {
		fmt.Fprintf(os.Stderr, "round %d of %d, %.0f s\n", round+1, rounds, time.Since(p.begin).Seconds())
	}
}

func (p *progress) at(name string) {
	if p.bar != nil {
		p.bar.Describe(fmt.Sprintf("%-36s", name))
	}
}

func (p *progress) done() {
	if p.bar != nil {
		_ = p.bar.Add(1)
	}
}

func (p *progress) end() {
	if p.bar != nil {
		_ = p.bar.Finish()
		fmt.Fprintln(os.Stderr)
	}
}
