package main

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func measured(rows map[string][]float64) *measurements {
	m := newMeasurements()
	for row, values := range rows {
		for _, v := range values {
			m.add([]sample{{row: row, unit: unitThroughput, value: v}})
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

// TestVerdicts: a ratio is the median of the rounds', and each kind of bar has its edge on the right side.
func TestVerdicts(t *testing.T) {
	m := measured(map[string][]float64{"a": {1, 8, 9}, "b": {0.5, 4, 100}, "once": {4}, "rate": {500000}, "trip": {0.5}, "zero": {0}})
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
		{comparison{row: "a", limit: "once"}, 2, verdictNone}, // not measured in each round
		{comparison{row: "a", want: atMost, bar: 8}, 8, verdictOK},
		{comparison{row: "rate", want: atLeast, bar: 400000}, 500000, verdictOK},
		// 500 000 a second are 2 µs each, four times the round trip.
		{comparison{row: "rate", limit: "trip", want: atMost, bar: 3, asTime: true}, 4, verdictMissed},
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

// rowsOf are the rows that cases can give, without metrics.
func rowsOf(cases []testCase) map[string]bool {
	rows := map[string]bool{"daemon/memory": true}
	for _, c := range cases {
		rows[c.name] = true
		transport, group, _ := strings.Cut(c.name, "/")
		group, suffix, many := strings.Cut(group, "/")
		for _, row := range phaseRows[group] {
			if many {
				row += "/" + suffix
			}
			rows[transport+"/meta/"+row] = true
		}
		if c.name == "preload/outside" {
			for _, row := range preloadRows {
				rows["preload/"+row] = true
			}
		}
		if usesUCX(c) {
			for _, size := range []string{"8B", "4KiB", "1MiB", "4MiB"} {
				rows[c.name+"/"+size], rows[transport+"/answer/"+size] = true, true
			}
		}
	}
	return rows
}

// TestBarsAreMeasured: a bar whose row has another name than its case would be "not measured" for ever.
func TestBarsAreMeasured(t *testing.T) {
	rows := rowsOf(allCases())
	for _, c := range slices.Concat(bars, streams) {
		for _, key := range []string{c.row, c.limit} {
			row, _, _ := strings.Cut(key, " ")
			if row != "" && !rows[row] {
				t.Errorf("no case measures %q", key)
			}
		}
	}
}

func TestCasesHaveOneNameEach(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range allCases() {
		if seen[c.name] {
			t.Errorf("%s twice", c.name)
		}
		seen[c.name] = true
	}
}

// TestRoundsRotate: each case is in every round, and does not always come after the same one.
func TestRoundsRotate(t *testing.T) {
	r := &runner{o: options{rounds: 5}, cases: allCases(), failed: map[string]string{}}
	repeated := 0
	for _, c := range r.cases {
		if !c.once {
			repeated++
		}
	}
	first := map[string]bool{}
	for round := range r.o.rounds {
		var names []string
		for _, g := range r.groups(round) {
			for _, c := range g.cases {
				if c.stage.name != g.spec.name {
					t.Errorf("%s in the stage %s", c.name, g.spec.name)
				}
				names = append(names, c.name)
			}
		}
		want := repeated
		if round == 0 {
			want = len(r.cases)
		}
		slices.Sort(names)
		if all := len(names); all != want || len(slices.Compact(names)) != want {
			t.Errorf("round %d has %d cases, want %d different ones", round, all, want)
		}
		first[r.groups(round)[0].cases[0].name] = true
	}
	if len(first) != r.o.rounds {
		t.Errorf("rounds begin with %v", first)
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
