package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pkg/errors"
)

// result is a line that the worker prints; worker/measure.c writes it.
type result struct {
	Op        string  `json:"op"`
	API       string  `json:"api"`
	Bytes     uint64  `json:"bytes"`
	Ops       uint64  `json:"ops"`
	BeginNS   uint64  `json:"begin_ns"` // CLOCK_MONOTONIC
	EndNS     uint64  `json:"end_ns"`
	CPU       float64 `json:"cpu_s"`
	DaemonCPU float64 `json:"daemon_cpu_s"`
	Messages  uint64  `json:"messages"`
	P50       float64 `json:"p50_ns"`
	P99       float64 `json:"p99_ns"`
	P999      float64 `json:"p999_ns"`
	Mean      float64 `json:"mean_ns"`
	Clock     float64 `json:"clock_ns"` // what reading the clock adds to each latency
	RSS       uint64  `json:"rss_kib"`
	RSSAnon   uint64  `json:"rss_anon_kib"`
}

func (r *result) seconds() float64 { return float64(r.EndNS-r.BeginNS) / 1e9 }

// parseResult reads a line of the worker.
func parseResult(line []byte) (result, error) {
	var r result
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&r); err != nil {
		return r, errors.Wrapf(err, "the worker printed %q", line)
	}
	if r.Op == "" || r.EndNS < r.BeginNS {
		return r, errors.Errorf("the worker printed an impossible result: %q", line)
	}
	return r, nil
}

// combine adds up what several processes have done together: from the first start to the last end. Latencies are averages over the processes;
// daemons were looked at by each of them, the longest look counts.
func combine(parts []result) result {
	total := parts[0]
	for _, p := range parts[1:] {
		total.Bytes += p.Bytes
		total.Ops += p.Ops
		total.Messages += p.Messages
		total.CPU += p.CPU
		total.DaemonCPU = max(total.DaemonCPU, p.DaemonCPU)
		total.BeginNS = min(total.BeginNS, p.BeginNS)
		total.EndNS = max(total.EndNS, p.EndNS)
		total.P50 += p.P50
		total.P99 += p.P99
		total.P999 += p.P999
		total.Mean += p.Mean
		total.RSS = max(total.RSS, p.RSS)
		total.RSSAnon = max(total.RSSAnon, p.RSSAnon)
	}
	n := float64(len(parts))
	total.P50, total.P99, total.P999, total.Mean = total.P50/n, total.P99/n, total.P999/n, total.Mean/n
	return total
}

// command makes a child that ends with this program and does not get the terminal's signals: the runner ends it.
func command(ctx context.Context, env []string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = time.Second
	return cmd
}

// process is a worker that runs.
type process struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Scanner
	stderr bytes.Buffer
	lines  []result
	ended  bool
}

func startProcess(ctx context.Context, env []string, args []string) (*process, error) {
	p := &process{cmd: command(ctx, env, args...)}
	p.cmd.Stderr = &p.stderr
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewScanner(out)
	return p, p.cmd.Start()
}

// advance reads results until the worker waits for the others, or has ended.
func (p *process) advance() error {
	for p.out.Scan() {
		if p.out.Text() == "ready" {
			return nil
		}
		r, err := parseResult(p.out.Bytes())
		if err != nil {
			return err
		}
		p.lines = append(p.lines, r)
	}
	p.ended = true
	return p.failure(p.cmd.Wait())
}

func (p *process) failure(err error) error {
	if err == nil {
		return nil
	}
	if said := strings.TrimSpace(p.stderr.String()); said != "" {
		return errors.Errorf("%v: %s", err, said)
	}
	return err
}

func (p *process) kill() {
	if !p.ended {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	}
}

// runProcesses runs workers side by side, in step: none goes on from a meeting point before all are there. It returns the results by rank.
func runProcesses(ctx context.Context, env []string, commands [][]string) (byRank [][]result, err error) {
	var all []*process
	defer func() {
		for _, p := range all {
			p.kill()
		}
	}()
	for _, args := range commands {
		p, err := startProcess(ctx, env, args)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	for running := true; running; {
		running = false
		for _, p := range all {
			if p.ended {
				continue
			}
			if err := p.advance(); err != nil {
				return nil, err
			}
			running = running || !p.ended
		}
		for _, p := range all {
			if !p.ended {
				if _, err := io.WriteString(p.in, "\n"); err != nil {
					return nil, p.failure(err)
				}
			}
		}
	}
	for _, p := range all {
		byRank = append(byRank, p.lines)
	}
	return byRank, nil
}

// job is what one or several workers are asked to do.
type job struct {
	api       string
	op        string
	path      string // of the ranks of a job with separate files: with the rank behind it
	phases    string
	block     int
	size      int
	seconds   float64
	count     int
	threads   int
	processes int
	separate  bool // each process has a file of its own
	direct    bool
	busy      bool // beside a program that computes on every core
	repeats   int  // new files, one after the other, with a result each
}

// arguments are those of one rank.
func (j *job) arguments(rank int, daemons []int) []string {
	path := j.path
	if j.separate {
		path += "-" + strconv.Itoa(rank)
	}
	args := []string{"--api=" + j.api, "--op=" + j.op, "--path=" + path}
	number := func(name string, value int) {
		if value != 0 {
			args = append(args, name+strconv.Itoa(value))
		}
	}
	number("--block=", j.block)
	number("--size=", j.size)
	number("--count=", j.count)
	number("--threads=", j.threads)
	number("--repeats=", j.repeats)
	if j.phases != "" {
		args = append(args, "--phases="+j.phases)
	}
	if j.seconds != 0 {
		args = append(args, "--seconds="+strconv.FormatFloat(j.seconds, 'f', -1, 64))
	}
	if j.processes > 1 {
		args = append(args, "--barrier", "--rank="+strconv.Itoa(rank), "--ranks="+strconv.Itoa(j.processes))
	}
	if j.direct {
		args = append(args, "--direct")
	}
	if j.busy {
		args = append(args, "--busy")
	}
	for _, pid := range daemons {
		number("--daemon=", pid)
	}
	return args
}
