package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/pkg/errors"
	"github.com/spf13/cobra"
	"go.uber.org/multierr"

	"github.com/benchfs/benchfs/internal/registry"
)

// upFile is what `benchfs up` leaves in the registry directory for `benchfs down`.
const upFile = "up.json"

// upRecord says what up has started and made.
type upRecord struct {
	Nodes   int    `json:"nodes"`
	OwnData string `json:"own_data,omitempty"` // directory to remove; "" = none was made
	LogDir  string `json:"log_dir"`
}

func upCommand(g *globals) *cobra.Command {
	o := &clusterOptions{g: g}
	c := &cobra.Command{
		Use:   "up -n N --registry DIR [flags]",
		Short: "Start daemons on this machine and leave them running",
		Long: "up starts N daemons that publish themselves in the registry directory, waits until they serve, and prints the environment in which\n" +
			"programs find them, for `eval \"$(benchfs up …)\"`. `benchfs down --registry DIR` ends them.",
		Args: cobra.NoArgs,
	}
	o.flags(c)
	c.RunE = action(func(context.Context, []string) error {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		return o.up()
	})
	return c
}

func (o *clusterOptions) up() (err error) {
	if o.g.registry == "" {
		return usage("up needs --registry DIR: a directory of your own")
	}
	dir, err := filepath.Abs(o.g.registry)
	if err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, upFile)); err == nil {
		return errors.Errorf("%s has daemons already: `benchfs down --registry %s` first", dir, dir)
	}
	inner := *o.g
	inner.registry, inner.expected = "", 0 // each daemon gets them in its own way
	o.g = &inner
	c := &cluster{o: o, registry: dir, logDir: dir}
	if o.logDir != "" {
		if c.logDir, err = filepath.Abs(o.logDir); err != nil {
			return err
		}
		if err := os.MkdirAll(c.logDir, 0o700); err != nil {
			return err
		}
	}
	err = c.start(nil, true)
	if err == nil {
		if err = waitReady(c.daemons, o.startTime, nil); err == nil {
			err = c.remember()
		}
	}
	if err != nil {
		return multierr.Combine(err, stopDaemons(c.daemons, o.grace, nil), c.data.remove())
	}
	env, err := c.clientEnv()
	if err != nil {
		return err
	}
	for _, pair := range env {
		name, value, _ := strings.Cut(pair, "=")
		fmt.Printf("export %s='%s'\n", name, strings.ReplaceAll(value, "'", `'\''`))
	}
	return nil
}

func (c *cluster) remember() error {
	record := upRecord{Nodes: c.o.nodes, LogDir: c.logDir}
	if c.data != nil {
		record.OwnData = c.data.path
	}
	text, err := json.Marshal(record)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(c.registry, upFile), append(text, '\n'), 0o600)
}

func downCommand(g *globals) *cobra.Command {
	var grace time.Duration
	c := &cobra.Command{
		Use:   "down --registry DIR",
		Short: "End the daemons that `benchfs up` has started, and remove what it made",
		Args:  cobra.NoArgs,
	}
	c.Flags().DurationVar(&grace, "grace", 15*time.Second, "how long the daemons may take to stop")
	c.RunE = action(func(ctx context.Context, _ []string) error {
		if g.registry == "" {
			return usage("down needs --registry DIR")
		}
		dir, err := filepath.Abs(g.registry)
		if err != nil {
			return err
		}
		return down(ctx, dir, grace)
	})
	return c
}

func down(ctx context.Context, dir string, grace time.Duration) error {
	text, err := os.ReadFile(filepath.Join(dir, upFile))
	if err != nil {
		return errors.WithMessage(err, "no daemons of `benchfs up` here")
	}
	var record upRecord
	if err := json.Unmarshal(text, &record); err != nil {
		return errors.WithMessagef(err, "%s does not parse", filepath.Join(dir, upFile))
	}
	if err := endPublished(ctx, dir, grace); err != nil {
		return err
	}
	if record.OwnData != "" {
		if err := os.RemoveAll(record.OwnData); err != nil {
			return err
		}
	}
	made := []string{filepath.Join(dir, "secret"), filepath.Join(dir, upFile)}
	for node := range record.Nodes {
		made = append(made, fmt.Sprintf("%s/node-%d.json", dir, node), fmt.Sprintf("%s/node-%d.lock", dir, node))
		if record.LogDir == dir {
			made = append(made, fmt.Sprintf("%s/node-%d.log", dir, node))
		}
	}
	for _, path := range made {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, syscall.ENOTEMPTY) && !errors.Is(err, syscall.EEXIST) {
		return err
	}
	return nil
}

// endPublished ends the daemons of this host that live, and waits for the end of each: for its lock to be free. The lock is also what makes
// a pid in a record trustworthy.
func endPublished(ctx context.Context, dir string, grace time.Duration) error {
	records, err := registry.Read(dir)
	if err != nil {
		return err
	}
	host := registry.HostID()
	lives := func(r registry.Record) bool {
		alive, known := registry.Alive(dir, r.Node)
		return alive && known && r.HostID == host
	}
	for _, step := range []struct {
		signal syscall.Signal
		limit  time.Duration
	}{{syscall.SIGTERM, grace}, {syscall.SIGKILL, 5 * time.Second}} {
		deadline := time.Now().Add(step.limit)
		for _, r := range records {
			if lives(r) {
				if err := syscall.Kill(r.PID, step.signal); err != nil && err != syscall.ESRCH {
					return errors.Wrapf(err, "cannot end the daemon of node %d (pid %d)", r.Node, r.PID)
				}
			}
		}
		for _, r := range records {
			for lives(r) && time.Now().Before(deadline) && ctx.Err() == nil {
				time.Sleep(10 * time.Millisecond)
			}
		}
	}
	for _, r := range records {
		if lives(r) {
			return errors.Errorf("the daemon of node %d (pid %d) does not end", r.Node, r.PID)
		}
	}
	return nil
}
