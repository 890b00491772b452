package main

import (
	"maps"
	"math"
	"slices"
	"strings"
)

// What a sample measures besides the main figure of its row.
const (
	metricP50          = "p50"
	metricP99          = "p99"
	metricP999         = "p99.9"
	metricMean         = "mean"
	metricClientCPU    = "client CPU"
	metricDaemonCPU    = "daemon CPU"
	metricMessages     = "messages"
	metricMore         = "more" // than without what is measured
	unitThroughput     = "GB/s"
	unitLatency        = "µs"
	unitRate           = "op/s"
	unitCPUPerGiB      = "s/GiB"
	unitCPUPerMillion  = "s/Mop"
	unitMessagesPerOp  = "per op"
	unitMebibytes      = "MiB"
	unitBytesPerFile   = "B/file"
	unitPercentOfACore = "% core"
)

// sample is one value that a case has measured.
type sample struct {
	row    string // transport/operation/size…
	metric string // "" is the row's main figure
	unit   string
	value  float64
}

// key names a row and metric, as bars.go does.
func (s sample) key() string { return strings.TrimSpace(s.row + " " + s.metric) }

// series is what was measured under one key. Limits are measured more than once a round: with each unit that needs them.
type series struct {
	Row    string    `json:"row"`
	Metric string    `json:"metric,omitempty"`
	Unit   string    `json:"unit"`
	Values []float64 `json:"values"`
	At     []float64 `json:"at"` // when, in seconds from the start of the run; ascending
}

func (s *series) median() float64 { return median(s.Values) }

// spread is the lowest and the highest value.
func (s *series) spread() (low, high float64) { return slices.Min(s.Values), slices.Max(s.Values) }

// near is the value that was measured nearest to a time.
func (s *series) near(at float64) float64 {
	best := 0
	for i := range s.At {
		if math.Abs(s.At[i]-at) < math.Abs(s.At[best]-at) {
			best = i
		}
	}
	return s.Values[best]
}

// median of values, of which there is at least one.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// measurements are all series of a run by key.
type measurements struct {
	byKey map[string]*series
	order []string // keys as they came
}

func newMeasurements() *measurements { return &measurements{byKey: map[string]*series{}} }

// add takes what a case has measured; at is in seconds from the start of the run.
func (m *measurements) add(samples []sample, at float64) {
	for _, s := range samples {
		known := m.byKey[s.key()]
		if known == nil {
			known = &series{Row: s.row, Metric: s.metric, Unit: s.unit}
			m.byKey[s.key()] = known
			m.order = append(m.order, s.key())
		}
		known.Values = append(known.Values, s.value)
		known.At = append(known.At, at)
	}
}

// median of a key; false if it was not measured.
func (m *measurements) median(key string) (float64, bool) {
	s := m.byKey[key]
	if s == nil {
		return 0, false
	}
	return s.median(), true
}

// sorted are all series in the order of the list of cases, then of their first appearance.
func (m *measurements) sorted(rank func(row string) int) []*series {
	place := map[string]int{}
	for i, key := range m.order {
		place[key] = i
	}
	return slices.SortedFunc(maps.Values(m.byKey), func(a, b *series) int {
		if d := rank(a.Row) - rank(b.Row); d != 0 {
			return d
		}
		return place[sample{row: a.Row, metric: a.Metric}.key()] - place[sample{row: b.Row, metric: b.Metric}.key()]
	})
}
