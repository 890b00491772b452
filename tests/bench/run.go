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
	begin  time.Time

	chapters [][]unit
	cases    []testCase // of the chapters, each once
	m        *measurements

	machine machine
	buildID string            // as the daemons tell it
	left    []testCase        // not to be had here
	remarks []string          // what is missing and why, and what else there is to say
	failed  map[string]string // case → what went wrong; it is not tried again
}

// plan is a round: its chapters, and their units, begin with another one each round. What has been done or has failed is left out.
func (r *runner) plan(round int) [][]unit {
	all := keepCases(r.chapters, func(c testCase) bool { return (!c.once || round == 0) && r.failed[c.name] == "" })
	for i := range all {
		all[i] = rotate(all[i], round*len(all[i])/max(1, r.o.rounds))
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
	kept := map[string]bool{}
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
			kept[c.name] = true
		} else {
			r.left = append(r.left, c)
		}
	}
	if slices.ContainsFunc(r.cases, usesUCX) && !have("ucx_perftest") {
		r.remarks = append(r.remarks, "ucx-tcp: needs ucx_perftest (Debian's ucx-utils)")
	}
	r.chapters = keepCases(r.chapters, func(c testCase) bool { return kept[c.name] })
	r.cases = allCases(r.chapters)
}

func usesUCX(c testCase) bool {
	return transportOf(c.name) == "ucx-tcp"
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
		for _, units := range r.plan(round) {
			if err := r.chapter(ctx, units, p); err != nil {
				return err
			}
		}
		last = time.Since(begin)
	}
	return nil
}

// total is how many cases all rounds have.
func (r *runner) total() int {
	n := 0
	for round := range r.o.rounds {
		for _, units := range r.plan(round) {
			for _, u := range units {
				n += len(u)
			}
		}
	}
	return n
}

// chapter runs units in their order. All stages of a unit stand before its first case, so that nothing comes between cases that are compared; a
// stage is stopped when no later unit needs it. After a failure the next case meets a new stage.
func (r *runner) chapter(ctx context.Context, units []unit, p *progress) error {
	stages := &stages{r: r, up: map[string]*started{}}
	defer stages.keep(nil)
	for i, u := range units {
		for _, c := range u {
			_, _ = stages.get(ctx, c.stage) // told where the case runs
		}
		for _, c := range u {
			p.at(c.name)
			s, err := stages.get(ctx, c.stage)
			if err == nil {
				err = r.one(ctx, c, s)
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				r.failed[c.name] = err.Error() + s.daemonLogs()
				stages.drop(c.stage.name)
			}
			p.done()
		}
		stages.keep(units[i+1:])
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
		r.m.add(samples, time.Since(r.begin).Seconds())
		return nil
	}
	if limited.Err() != nil && ctx.Err() == nil {
		return errors.Wrapf(err, "not done after %v", caseLimit)
	}
	return err
}

// rank is the place of a row in the table: by its first word, as the cases come, then by the list of cases. The rows of a case that has several
// stand where the last case of that word is.
func (r *runner) rank(row string) int {
	first, place := len(r.cases), 0
	for i, c := range r.cases {
		if transportOf(c.name) != transportOf(row) {
			continue
		}
		first, place = min(first, i), i
		if c.name == row {
			break
		}
	}
	return first*(len(r.cases)+1) + place
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
