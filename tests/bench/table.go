package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"text/tabwriter"
)

// costMetrics stand in a table of their own.
var costMetrics = []string{metricClientCPU, metricDaemonCPU, metricMessages}

// figure writes a number with three or four digits that count.
func figure(v float64) string {
	switch a := math.Abs(v); {
	case a >= 10000:
		return thousands(int64(math.Round(v)))
	case a >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case a >= 1 || a == 0:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return strconv.FormatFloat(v, 'f', 3, 64)
}

func thousands(n int64) string {
	digits := strconv.FormatInt(n, 10)
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + " " + digits[i:]
	}
	return digits
}

// printTable writes every figure, its limits, and its bars.
func (r *runner) printTable(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "case\tmedian\tspread\tunit\tlimit\tratio\tbar\tverdict")
	last := ""
	for _, s := range r.m.sorted(r.rank) {
		if slices.Contains(costMetrics, s.Metric) {
			continue
		}
		if transport := transportOf(s.Row); transport != last {
			fmt.Fprintln(t, "\t\t\t\t\t\t\t")
			last = transport
		}
		key := sample{row: s.Row, metric: s.Metric}.key()
		low, high := s.spread()
		head := fmt.Sprintf("%s\t%s\t%s–%s\t%s", key, figure(s.median()), figure(low), figure(high), s.Unit)
		for _, rest := range r.comparisons(key) {
			fmt.Fprintf(t, "%s\t%s\n", head, rest)
			head = "\t\t\t"
		}
	}
	for _, c := range r.cases {
		if r.failed[c.name] != "" {
			fmt.Fprintf(t, "%s\t\t\t\t\t\t\tFAILED\n", c.name)
		}
	}
	for _, c := range r.left {
		fmt.Fprintf(t, "%s\t\t\t\t\t\t\tskipped\n", c.name)
	}
	_ = t.Flush()
}

// comparisons are the columns from the limit on, a line each; at least one.
func (r *runner) comparisons(key string) []string {
	var lines []string
	for _, c := range comparisonsOf(key, r.m) {
		e, ok := c.evaluate(r.m)
		if !ok {
			lines = append(lines, fmt.Sprintf("%s\t\t%s\t%s", c.limit, c.barText(), "not measured"))
			continue
		}
		ratio := ""
		if c.limit != "" {
			ratio = figure(e.ratio)
		}
		lines = append(lines, fmt.Sprintf("%s\t%s\t%s\t%s", c.limit, ratio, c.barText(), e.verdict))
	}
	if len(lines) == 0 {
		lines = []string{"\t\t\t" + string(verdictNone)}
	}
	return lines
}

// barFigure writes a bar as bars.go has it.
func barFigure(bar float64) string { return strconv.FormatFloat(bar, 'f', -1, 64) }

func (c comparison) barText() string {
	if c.want == informs {
		return ""
	}
	times := ""
	if c.limit != "" {
		times = " ×"
	}
	return fmt.Sprintf("%s %s%s", c.want, barFigure(c.bar), times)
}

// printCosts writes what the figures cost: processor time of the client and of the daemons, and messages.
func (r *runner) printCosts(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "cost of a case\tclient CPU\tdaemon CPU\tunit\tmessages an operation")
	for _, s := range r.m.sorted(r.rank) {
		if s.Metric != metricClientCPU {
			continue
		}
		other := func(metric string) string {
			v, ok := r.m.median(s.Row + " " + metric)
			if !ok {
				return string(verdictNone)
			}
			return figure(v)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", s.Row, figure(s.median()), other(metricDaemonCPU), s.Unit, other(metricMessages))
	}
	_ = t.Flush()
}

// printVerdict sums up: bars that were missed, what failed, what was left out.
func (r *runner) printVerdict(w io.Writer) {
	counts := map[verdict]int{}
	var missed []string
	for _, c := range bars {
		e, ok := c.evaluate(r.m)
		if !ok {
			continue
		}
		counts[e.verdict]++
		if e.verdict == verdictMissed {
			missed = append(missed, e.text())
		}
	}
	fmt.Fprintf(w, "bars: %d ok, %d missed, %d not measured\n", counts[verdictOK], len(missed), len(bars)-counts[verdictOK]-len(missed))
	for _, text := range missed {
		fmt.Fprintf(w, "  MISSED  %s\n", text)
	}
	for _, c := range r.cases {
		if reason := r.failed[c.name]; reason != "" {
			fmt.Fprintf(w, "  FAILED  %s: %s\n", c.name, reason)
		}
	}
	for _, text := range slices.Concat(r.box.notes, r.remarks) {
		fmt.Fprintf(w, "  note    %s\n", text)
	}
}

// text is a comparison as a sentence: what, how much, and how much it should be.
func (e evaluated) text() string {
	of := ""
	if e.limit != "" {
		of = " × " + e.limit
	}
	return fmt.Sprintf("%s: %s%s, bar %s %s", e.row, figure(e.ratio), of, e.want, barFigure(e.bar))
}
