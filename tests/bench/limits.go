package main

import "context"

// This file makes the cases of limits that are more than a job of the worker's: the best of several copies, messages without BenchFS.

// copyWay is a way to copy blocks out of or into a mapping.
type copyWay struct{ metric, api string }

func copyWays(op string, block int) []copyWay {
	ways := []copyWay{{"memcpy", apiMap}}
	if block >= 1<<20 {
		ways = append(ways, copyWay{"string", apiString})
		if op == "over" {
			ways = append(ways, copyWay{"stream", apiStream})
		}
	}
	return ways
}

// copyCase copies blocks out of or into a mapped file of tmpfs. Its row has the fastest way; the ways are its metrics.
func copyCase(op string, block int, c crowd) testCase {
	row := wayMap.name + "/" + op + "/" + sizeName(block) + c.suffix()
	return testCase{name: row, stage: wayMap.stage, run: func(ctx context.Context, s *stage) ([]sample, error) {
		var best result
		var samples []sample
		for _, w := range copyWays(op, block) {
			j := crowdJob(way{wayMap.name, wayMap.stage, w.api}, op, block, mapped, c)
			r, err := s.jobResult(ctx, row, j)
			if err != nil {
				return nil, err
			}
			samples = append(samples, sample{row, w.metric, unitThroughput, throughput(r)})
			if best.Op == "" || throughput(r) > throughput(best) {
				best = r
			}
		}
		return append(dataSamples(row, best), samples...), nil
	}}
}

// messageBytes is the memory that the responder of the message cases has its blocks in.
const messageBytes = 64 << 20

func messageJob(block, size, count int) job {
	return job{api: apiPosix, op: "message", block: block, size: size, count: count, seconds: patience}
}

// roundTripCase is a message there and a block back, which lies anywhere in the responder's memory, and is copied out by the requester: what a read
// by message costs at least. Blocks of 8 bytes come from one page: that is the message alone.
func roundTripCase(block int) testCase {
	row := "message/round-trip/" + sizeName(block)
	return testCase{name: row, stage: bare, run: func(ctx context.Context, s *stage) ([]sample, error) {
		size := messageBytes
		if block < 4096 {
			size = 4096
		}
		r, err := s.jobResult(ctx, row, messageJob(block, size, full.accesses))
		if err != nil {
			return nil, err
		}
		return latencySamples(row, r), nil
	}}
}

// answerCase is the same as throughput: one block is asked for after the other. A payload is copied twice, as a client and a shard do.
func answerCase(block int) testCase {
	row := "message/answer/" + sizeName(block)
	return testCase{name: row, stage: bare, run: func(ctx context.Context, s *stage) ([]sample, error) {
		j := messageJob(block, messageBytes, full.accesses)
		j.seconds = steadySeconds
		r, err := s.jobResult(ctx, row, j)
		if err != nil {
			return nil, err
		}
		return []sample{{row, "", unitThroughput, float64(block) / r.Mean}}, nil
	}}
}

// ucxRoundTripCase measures one way and adds up: a request of 8 bytes there, an answer of some size back. That is what a read from another
// machine costs at least, if it waits for its answer.
func ucxRoundTripCase() testCase {
	const count = 10000
	return testCase{name: "ucx-tcp/round-trip", stage: bareTCP, run: func(ctx context.Context, s *stage) ([]sample, error) {
		request, err := s.ucxTest(ctx, "ucp_am_lat", 8, count)
		if err != nil {
			return nil, err
		}
		samples := []sample{{"ucx-tcp/round-trip/8B", "", unitLatency, 2 * request.latency}}
		for _, size := range []int{4096, 1 << 20, 4 << 20} {
			answer, err := s.ucxTest(ctx, "ucp_am_lat", size, min(count, (1<<30)/size))
			if err != nil {
				return nil, err
			}
			took := request.latency + answer.latency
			samples = append(samples, sample{"ucx-tcp/round-trip/" + sizeName(size), "", unitLatency, took})
			if size >= 1<<20 {
				samples = append(samples, sample{"ucx-tcp/answer/" + sizeName(size), "", unitThroughput, float64(size) / took / 1e3})
			}
		}
		return samples, nil
	}}
}

// ucxStreamCase sends messages that follow each other without waiting for answers.
func ucxStreamCase() testCase {
	return testCase{name: "ucx-tcp/stream", stage: bareTCP, run: func(ctx context.Context, s *stage) ([]sample, error) {
		var samples []sample
		for _, size := range []int{1 << 20, 4 << 20} {
			p, err := s.ucxTest(ctx, "ucp_am_bw", size, (512<<20)/size)
			if err != nil {
				return nil, err
			}
			samples = append(samples, sample{"ucx-tcp/stream/" + sizeName(size), "", unitThroughput, p.bandwidth})
		}
		return samples, nil
	}}
}
