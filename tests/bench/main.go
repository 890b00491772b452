package main

import (
	"context"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/pkg/errors"
	"go.uber.org/multierr"
)

// options are the arguments; scripts/bench.sh gives them.
type options struct {
	daemon  string // bin/benchfsd
	worker  string // the program of worker/
	results string
	docs    string // where the pictures go as well; "" = nowhere
	disk    string // a directory on the disk
	cc      string
	only    string
	rounds  int
	list    bool
}

func parseOptions() options {
	var o options
	flag.StringVar(&o.daemon, "daemon", "bin/benchfsd", "the daemon's `program`")
	flag.StringVar(&o.worker, "worker", "bin/bench/worker", "the worker's `program`")
	flag.StringVar(&o.results, "results", "bench/results", "`directory` of the results")
	flag.StringVar(&o.docs, "docs", "", "copy the report's pictures into this `directory`")
	flag.StringVar(&o.disk, "disk", "bench/results", "a `directory` on the disk, for the cases with a block device")
	flag.StringVar(&o.cc, "cc", "gcc", "the C compiler, for the record")
	flag.StringVar(&o.only, "only", "", "run the cases whose name matches this `expression`")
	flag.IntVar(&o.rounds, "rounds", 0, "how often each case is run; 0 = 5 times, fewer if that would take longer than 10 minutes")
	flag.BoolVar(&o.list, "list", false, "print the names of the cases")
	flag.Parse()
	return o
}

func main() {
	// Children end with the thread that has started them (PR_SET_PDEATHSIG).
	runtime.LockOSThread()
	ok, err := bench(parseOptions())
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

// bench does the whole. It is not ok if a case has failed; a missed bar is a result like another.
func bench(o options) (ok bool, err error) {
	chosen, err := selectUnits(chapters(), o.only)
	switch {
	case err != nil:
		return false, err
	case len(chosen) == 0:
		return false, errors.Errorf("no case matches %q", o.only)
	case o.rounds < 0:
		return false, errors.Errorf("-rounds %d: at least one", o.rounds)
	case o.list:
		for _, c := range allCases(chosen) {
			fmt.Println(c.name)
		}
		return true, nil
	}
	if err := o.absolute(); err != nil {
		return false, err
	}
	budget := time.Duration(math.MaxInt64)
	if o.rounds == 0 {
		o.rounds, budget = 5, runLimit
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer cancel()
	box, err := newSandbox(ctx, o.disk)
	defer func() { err = multierr.Append(err, box.remove()) }()
	if err == nil {
		err = box.wakeMemory()
	}
	if err != nil {
		return false, err
	}
	r := &runner{
		o: o, budget: budget, box: box, begin: time.Now(), chapters: chosen, cases: allCases(chosen), m: newMeasurements(),
		failed: map[string]string{},
	}
	r.meetMachine()
	r.dropUnavailable(func(program string) bool {
		_, err := exec.LookPath(program)
		return err == nil
	})
	if err := r.all(ctx); err != nil {
		return false, errors.Wrap(err, "stopped")
	}
	return len(r.failed) == 0, r.report(ctx)
}

func (r *runner) report(ctx context.Context) error {
	r.printTable(os.Stdout)
	fmt.Println()
	r.printLegend(os.Stdout)
	fmt.Println()
	r.printCosts(os.Stdout)
	fmt.Println()
	r.printVerdict(os.Stdout)
	files, err := r.save(ctx, time.Now())
	if err != nil {
		return err
	}
	fmt.Println()
	for _, file := range files {
		fmt.Println(file)
	}
	return nil
}

// absolute makes the paths good in any directory, and the ones that are written to exist.
func (o *options) absolute() error {
	for _, dir := range []string{o.results, o.disk} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	for _, path := range []*string{&o.daemon, &o.worker, &o.results, &o.disk} {
		whole, err := filepath.Abs(*path)
		if err != nil {
			return err
		}
		*path = whole
	}
	for _, program := range []string{o.daemon, o.worker} {
		if _, err := exec.LookPath(program); err != nil {
			return errors.Wrap(err, "run `make bench`, which builds it")
		}
	}
	return nil
}
