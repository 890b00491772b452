package main

import (
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// measured are rows with values that were measured a minute after each other, in each row at the same times.
func measured(rows map[string][]float64) *measurements {
	m := newMeasurements()
	for row, values := range rows {
		for i, v := range values {
			m.add([]sample{{row: row, unit: unitThroughput, value: v}}, float64(60*i))
		}
	}
	return m
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{
		{[]float64{7}, 7},
		{[]float64{9, 1, 5}, 5},
		{[]float64{4, 1, 100, 2}, 3},
	} {
		given := slices.Clone(c.values)
		if got := median(c.values); got != c.want {
			t.Errorf("median of %v is %v, want %v", given, got, c.want)
		}
		if !slices.Equal(given, c.values) {
			t.Errorf("median has sorted its argument: %v", c.values)
		}
	}
}

// TestVerdicts: a ratio is the median of those of the values, and each kind of bar has its edge on the right side.
func TestVerdicts(t *testing.T) {
	m := measured(map[string][]float64{"a": {1, 8, 9}, "b": {0.5, 4, 100}, "once": {4}, "rate": {500000}, "zero": {0}})
	for _, c := range []struct {
		comparison
		ratio float64
		want  verdict
	}{
		{comparison{row: "a", limit: "b", want: atLeast, bar: 2}, 2, verdictOK},
		{comparison{row: "a", limit: "b", want: atLeast, bar: 2.01}, 2, verdictMissed},
		{comparison{row: "a", limit: "b", want: atMost, bar: 2}, 2, verdictOK},
		{comparison{row: "a", limit: "b", want: atMost, bar: 1.99}, 2, verdictMissed},
		{comparison{row: "a", limit: "b", want: below, bar: 2}, 2, verdictMissed},
		{comparison{row: "a", limit: "b"}, 2, verdictNone},
		{comparison{row: "a", limit: "once"}, 2, verdictNone},
		{comparison{row: "a", want: atMost, bar: 8}, 8, verdictOK},
		{comparison{row: "rate", want: atLeast, bar: 400000}, 500000, verdictOK},
	} {
		e, ok := c.evaluate(m)
		if !ok || math.Abs(e.ratio-c.ratio) > 1e-9 || e.verdict != c.want {
			t.Errorf("%+v: ratio %v, verdict %q, measured %v; want %v, %q", c.comparison, e.ratio, e.verdict, ok, c.ratio, c.want)
		}
	}
	for _, c := range []comparison{{row: "none"}, {row: "a", limit: "none"}, {row: "a", limit: "zero", want: atLeast, bar: 2}} {
		if e, ok := c.evaluate(m); ok {
			t.Errorf("%+v counts as measured: %+v", c, e)
		}
	}
}

// TestValuesMeetTheNearestLimit: a limit is measured with each unit that needs it; a value is compared with the one beside it.
func TestValuesMeetTheNearestLimit(t *testing.T) {
	m := newMeasurements()
	add := func(row string, value, at float64) {
		m.add([]sample{{row: row, unit: unitThroughput, value: value}}, at)
	}
	for round := range 3 {
		at := float64(100 * round)
		add("limit", 10, at)
		add("figure", 5, at+1)
		add("limit", 1000, at+50) // of another unit: the machine had other things to do
	}
	c := comparison{row: "figure", limit: "limit", want: atLeast, bar: 0.5}
	if e, ok := c.evaluate(m); !ok || math.Abs(e.ratio-0.5) > 1e-9 || e.verdict != verdictOK {
		t.Errorf("%+v, measured %v", e, ok)
	}
}

// TestRightOfTheMarkIsGood: whichever side of a bar is good, what reaches it is drawn up to the mark or beyond, and nothing else is.
func TestRightOfTheMarkIsGood(t *testing.T) {
	for _, want := range []direction{atLeast, atMost, below} {
		for _, limit := range []string{"limit", ""} {
			for _, ratio := range []float64{-1, 0, 0.001, 0.4, 0.6, 3, 1e6} {
				m := measured(map[string][]float64{"row": {ratio}, "limit": {1}})
				e, ok := comparison{row: "row", limit: limit, want: want, bar: 0.5}.evaluate(m)
				length, mark := e.shown()
				if !ok || !(length > 0) || math.IsInf(length, 0) || !(mark > 0) {
					t.Errorf("%v %s 0.5: shown as %v with the mark at %v", ratio, want, length, mark)
				}
				if (length >= mark) != (e.verdict == verdictOK) {
					t.Errorf("%v %s 0.5 is %s, shown as %v with the mark at %v", ratio, want, e.verdict, length, mark)
				}
			}
		}
	}
	// 0.4 of the limit's time is 2.5 times as fast; half of it was to be reached.
	e := evaluated{comparison: comparison{limit: "limit", want: atMost, bar: 0.5}, ratio: 0.4}
	if length, mark := e.shown(); math.Abs(length-2.5) > 1e-9 || math.Abs(mark-2) > 1e-9 {
		t.Errorf("shown as %v with the mark at %v", length, mark)
	}
}

// TestNearest: a figure without a bar stands beside the same row of the first transport that has it.
func TestNearest(t *testing.T) {
	m := measured(map[string][]float64{"shortcut/new/64KiB": {3}, "tmpfs/new/64KiB": {2}})
	found := comparisonsOf("shortcut/new/64KiB", m)
	if len(found) != 1 || found[0].limit != "tmpfs/new/64KiB" || found[0].want != informs {
		t.Errorf("%+v", found)
	}
	if found := comparisonsOf("tmpfs/new/64KiB", m); len(found) != 0 {
		t.Errorf("of the limit itself: %+v", found)
	}
}

// rowsOf are the keys that a case can give, for data without the metrics.
func rowsOf(c testCase) []string {
	rows := []string{c.name}
	transport, group, _ := strings.Cut(c.name, "/")
	group, suffix, many := strings.Cut(group, "/")
	for _, row := range phaseRows[group] {
		if many {
			row += "/" + suffix
		}
		rows = append(rows, transport+"/meta/"+row)
	}
	switch c.name {
	case "preload/outside":
		for _, row := range preloadRows {
			rows = append(rows, "preload/"+row)
		}
	case "start/first-use":
		for _, row := range startRows {
			rows = append(rows, "start/"+row)
		}
	case "busy/create":
		rows = append(rows, "busy/alone")
	case "rested/new":
		rows = append(rows, "rested/again", "rested/tmpfs", "rested/tmpfs-again")
	case "daemon/memory":
		rows = append(rows, "client/memory")
	case "ucx-tcp/round-trip", "ucx-tcp/stream":
		for _, size := range []string{"8B", "4KiB", "1MiB", "4MiB"} {
			rows = append(rows, c.name+"/"+size, transport+"/answer/"+size)
		}
	}
	return rows
}

func rowOf(key string) string {
	row, _, _ := strings.Cut(key, " ")
	return row
}

// TestBarsAreMeasured: a bar whose row has another name than its case would be "not measured" for ever.
func TestBarsAreMeasured(t *testing.T) {
	rows := map[string]bool{}
	for _, c := range allCases(chapters()) {
		for _, row := range rowsOf(c) {
			rows[row] = true
		}
	}
	for _, c := range slices.Concat(bars, others) {
		for _, key := range []string{c.row, c.limit} {
			if row := rowOf(key); row != "" && !rows[row] {
				t.Errorf("no case measures %q", key)
			}
		}
	}
}

// TestLimitsAreMeasuredBeside: each unit that measures the row of a bar measures its limit.
func TestLimitsAreMeasuredBeside(t *testing.T) {
	for _, units := range chapters() {
		for _, u := range units {
			var rows []string
			for _, c := range u {
				rows = append(rows, rowsOf(c)...)
			}
			for _, c := range bars {
				if limit := rowOf(c.limit); limit != "" && slices.Contains(rows, rowOf(c.row)) && !slices.Contains(rows, limit) {
					t.Errorf("%s is measured without %s", c.row, c.limit)
				}
			}
		}
	}
}

// TestOnlyLimitsAreRepeated: what a round measures twice is the kernel's or a bare program's.
func TestOnlyLimitsAreRepeated(t *testing.T) {
	times := map[string]int{}
	for _, units := range chapters() {
		for _, u := range units {
			inUnit := map[string]bool{}
			for _, c := range u {
				if times[c.name]++; times[c.name] > 1 && c.stage.name != bare.name || inUnit[c.name] {
					t.Errorf("%s twice", c.name)
				}
				inUnit[c.name] = true
			}
		}
	}
}

// TestRoundsRotate: each case is in every round, within its unit, and rounds begin with another one each.
func TestRoundsRotate(t *testing.T) {
	r := &runner{o: options{rounds: 5}, chapters: chapters(), failed: map[string]string{}}
	namesOf := func(chapters [][]unit, once bool) (units []string) {
		for _, chapter := range chapters {
			for _, u := range chapter {
				var names []string
				for _, c := range u {
					if once || !c.once {
						names = append(names, c.name)
					}
				}
				if len(names) > 0 {
					units = append(units, strings.Join(names, " "))
				}
			}
		}
		return units
	}
	first := map[string]bool{}
	for round := range r.o.rounds {
		got, want := namesOf(r.plan(round), true), namesOf(chapters(), round == 0)
		first[got[0]] = true
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("round %d has the units %q, want %q", round, got, want)
		}
	}
	if len(first) != r.o.rounds {
		t.Errorf("rounds begin with %v", first)
	}
}

// TestLegendIsComplete: each word of a case's name, and of what the picture of the limits shows, is explained.
func TestLegendIsComplete(t *testing.T) {
	var rows []string
	for _, c := range allCases(chapters()) {
		rows = append(rows, c.name)
	}
	for _, c := range bars {
		rows = append(rows, rowOf(c.row), rowOf(c.limit))
	}
	for _, row := range rows {
		for _, part := range strings.Split(row, "/") {
			if part != "" && !explained(part) {
				t.Errorf("%s: the legend does not have %q", row, part)
			}
		}
	}
	if explained("unheard") || explained("") {
		t.Error("the legend has everything")
	}
}

func TestCombine(t *testing.T) {
	total := combine([]result{
		{Op: "over", Bytes: 100, Ops: 1, BeginNS: 50, EndNS: 150, CPU: 1, DaemonCPU: 3, Messages: 5, P50: 10},
		{Op: "over", Bytes: 300, Ops: 3, BeginNS: 60, EndNS: 250, CPU: 2, DaemonCPU: 4, Messages: 6, P50: 20},
	})
	want := result{Op: "over", Bytes: 400, Ops: 4, BeginNS: 50, EndNS: 250, CPU: 3, DaemonCPU: 4, Messages: 11, P50: 15}
	if total != want {
		t.Errorf("%+v, want %+v", total, want)
	}
}

func TestParseResult(t *testing.T) {
	r, err := parseResult([]byte(`{"op":"read","api":"map","bytes":4096,"ops":1,"begin_ns":1000,"end_ns":2000}`))
	if err != nil || r.Bytes != 4096 || math.Abs(r.seconds()-1e-6) > 1e-12 {
		t.Errorf("%+v, %v", r, err)
	}
	r, err = parseResult([]byte(`{"op":"create-each","api":"benchfs","ops":9,"begin_ns":0,"end_ns":9000,"p50_ns":800.5,"p99_ns":2000,"mean_ns":1000}`))
	want := []sample{{"row", "p50", "µs", 0.8005}, {"row", "p99", "µs", 2}, {"row", "p99.9", "µs", 0}, {"row", "mean", "µs", 1}}
	if got := latencySamples("row", r); err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v, want %v", got, err, want)
	}
	for _, line := range []string{"", "{}", "ready?", `{"op":"read","begin_ns":2,"end_ns":1}`, `{"op":"read","unheard":1}`} {
		if r, err := parseResult([]byte(line)); err == nil {
			t.Errorf("%q is read as %+v", line, r)
		}
	}
}

func TestParsePerftest(t *testing.T) {
	p, err := parsePerftest("a line before\n1000,0.25,0.30,0.31,100.0,200.0,5,6\n")
	if err != nil || p.latency != 0.25 || math.Abs(p.bandwidth-0.2097152) > 1e-9 {
		t.Errorf("%+v, %v", p, err)
	}
	for _, output := range []string{"", "1,2,3", "1000,a,0.30,0.31,100.0,200.0,5,6"} {
		if p, err := parsePerftest(output); err == nil {
			t.Errorf("%q is read as %+v", output, p)
		}
	}
}

func TestParseNumbers(t *testing.T) {
	values, err := parseNumbers("start 967054.00\nstart-1 6180905.5\nrss_kib 14300\n")
	if want := map[string]float64{"start": 967054, "start-1": 6180905.5, "rss_kib": 14300}; err != nil || !maps.Equal(values, want) {
		t.Errorf("%v, %v; want %v", values, err, want)
	}
	for _, output := range []string{"", "start", "start fast"} {
		if values, err := parseNumbers(output); err == nil {
			t.Errorf("%q is read as %v", output, values)
		}
	}
}

// TestArguments: what a job says is what the worker is told; what it leaves out is not mentioned.
func TestArguments(t *testing.T) {
	for _, c := range []struct {
		job  job
		want []string
	}{
		{job{api: apiPosix, op: "message", path: "x", block: 8}, []string{"--api=posix", "--op=message", "--path=x", "--block=8"}},
		{
			job{api: apiBenchFS, op: "new", path: "/x", repeats: 2, busy: true, seconds: 0.5},
			[]string{"--api=benchfs", "--op=new", "--path=/x-3", "--repeats=2", "--seconds=0.5", "--busy", "--daemon=7"},
		},
	} {
		var daemons []int
		if c.job.busy {
			c.job.separate, daemons = true, []int{7}
		}
		if got := c.job.arguments(3, daemons); !slices.Equal(got, c.want) {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

func TestFigure(t *testing.T) {
	for v, want := range map[float64]string{0: "0.00", 0.0456: "0.046", 1.234: "1.23", 12.34: "12.3", 123.4: "123", 1234: "1234", 1234567: "1 234 567"} {
		if got := figure(v); got != want {
			t.Errorf("%v is written as %q, want %q", v, got, want)
		}
	}
}

// TestPictures: a run that has measured a little has pictures of that, in both formats, and no others.
func TestPictures(t *testing.T) {
	dir := t.TempDir()
	m := measured(map[string][]float64{"shortcut/read/1MiB": {20, 22}, "map/read/1MiB": {25}, "tmpfs/read/1MiB": {10}})
	files, err := drawAll(m, &document{Rounds: 2}, dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", file, err)
		}
		names = append(names, filepath.Base(file))
	}
	if want := []string{"limits.svg", "limits.png", "bandwidth.svg", "bandwidth.png"}; !slices.Equal(names, want) {
		t.Errorf("%v, want %v", names, want)
	}
}
