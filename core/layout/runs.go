package layout

import "math"

// InsertRun adds run to runs. Who was first stays: only the chunks of run that nobody owns yet become run.Shard's.
// Neighbours on the same shard are merged. The result is sorted and without overlaps, as runs must be;
// it may share memory with runs, which must not be used any more. A run that is empty or ends beyond 2⁶⁴−1 changes nothing.
func InsertRun(runs []Run, run Run) []Run {
	if !run.valid() {
		return runs
	}
	at := firstRunEndingAfter(runs, run.First)
	if at == len(runs) || runs[at].First >= run.end() { // nobody owns any of it: the usual case
		return place(runs, at, run)
	}
	out := make([]Run, 0, len(runs)+2)
	out = append(out, runs[:at]...)
	next := run.First // the first chunk of run not yet dealt with
	for ; at < len(runs) && runs[at].First < run.end(); at++ {
		if runs[at].First > next {
			out = appendMerged(out, Run{First: next, Count: runs[at].First - next, Shard: run.Shard})
		}
		out = appendMerged(out, runs[at])
		next = max(next, runs[at].end())
	}
	if next < run.end() {
		out = appendMerged(out, Run{First: next, Count: run.end() - next, Shard: run.Shard})
	}
	for _, rest := range runs[at:] {
		out = appendMerged(out, rest)
	}
	return out
}

// place puts a run that overlaps nothing in front of runs[at], growing a neighbour instead where it can.
func place(runs []Run, at int, run Run) []Run {
	left := at > 0 && runs[at-1].joins(run)
	right := at < len(runs) && run.joins(runs[at])
	switch {
	case left && right:
		runs[at-1].Count += run.Count + runs[at].Count
		return append(runs[:at], runs[at+1:]...)
	case left:
		runs[at-1].Count += run.Count
		return runs
	case right:
		runs[at].First, runs[at].Count = run.First, run.Count+runs[at].Count
		return runs
	}
	runs = append(runs, Run{})
	copy(runs[at+1:], runs[at:])
	runs[at] = run
	return runs
}

// appendMerged appends run, which begins at or beyond the end of runs, joining it to the last one where it can.
func appendMerged(runs []Run, run Run) []Run {
	if n := len(runs); n > 0 && runs[n-1].joins(run) {
		runs[n-1].Count += run.Count
		return runs
	}
	return append(runs, run)
}

// joins reports whether b continues a on the same shard.
func (r Run) joins(b Run) bool { return r.end() == b.First && r.Shard == b.Shard }

func (r Run) valid() bool { return r.Count > 0 && r.First <= math.MaxUint64-r.Count }

// CutRuns drops all chunks from chunk on (truncate). The result shares memory with runs.
func CutRuns(runs []Run, chunk uint64) []Run {
	i := firstRunEndingAfter(runs, chunk)
	if i < len(runs) && runs[i].First < chunk {
		runs[i].Count = chunk - runs[i].First
		i++
	}
	return runs[:i]
}

// CoveringRuns returns the runs, whole, that own at least one of the chunks [first, first+count). It shares memory with runs.
func CoveringRuns(runs []Run, first, count uint64) []Run {
	end := first + min(count, math.MaxUint64-first)
	from := firstRunEndingAfter(runs, first)
	to := from
	for to < len(runs) && runs[to].First < end {
		to++
	}
	return runs[from:to]
}

// ValidateRuns checks that runs is sorted, does not overlap, and names only shards below shards. The error is an *Invalid.
func ValidateRuns(runs []Run, shards uint32) error {
	var end uint64
	for i, run := range runs {
		switch {
		case !run.valid():
			return &Invalid{Reason: "empty run or run beyond the last chunk"}
		case i > 0 && run.First < end:
			return &Invalid{Reason: "runs overlap or are not sorted"}
		case run.Shard >= shards:
			return &Invalid{Reason: "run on a shard that does not exist"}
		}
		end = run.end()
	}
	return nil
}
