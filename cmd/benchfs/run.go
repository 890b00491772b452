package main

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pkg/errors"
	"github.com/spf13/cobra"
	"go.uber.org/multierr"
	"golang.org/x/term"

	"github.com/benchfs/benchfs/config"
)

// clusterOptions are the flags of run and up.
type clusterOptions struct {
	g         *globals
	nodes     int
	shards    int
	dataDir   string
	listen    string
	logDir    string
	program   string
	startTime time.Duration
	grace     time.Duration

	preload    bool           // of run only
	interposer preloadOptions // likewise
}

func (o *clusterOptions) flags(c *cobra.Command) {
	f := c.Flags()
	f.IntVarP(&o.nodes, "nodes", "n", 1, "`number` of daemons")
	f.IntVar(&o.shards, "shards", 0, "shards of each daemon; 0: half of the cores, which the command needs too, divided by the daemons, 1 to 4")
	f.StringVar(&o.dataDir, "data-dir", "", "keep the data in this `directory` (node-0, node-1, …), which stays; default: a private one in /dev/shm")
	f.StringVar(&o.listen, "listen", "127.0.0.1:0", "`address` of the daemons' listeners")
	f.StringVar(&o.logDir, "log-dir", "", "keep the daemons' logs in this `directory`")
	f.StringVar(&o.program, "benchfsd", "", "the daemon's `program`; default: beside benchfs, or in PATH")
	f.DurationVar(&o.startTime, "start-timeout", time.Minute, "how long the daemons may take to start")
	f.DurationVar(&o.grace, "grace", 15*time.Second, "how long they may take to stop")
}

// cluster is the daemons of this machine and what was made for them.
type cluster struct {
	o        *clusterOptions
	registry string
	logDir   string
	data     *ownDir // nil when the data is somewhere the user said
	daemons  []*daemon
	lost     map[*daemon]bool // ended without having been asked to, and told
}

// start makes the directories and starts the daemons. registry exists, or can be made by the daemons. The caller calls remove also after an
// error.
func (c *cluster) start(locks []*os.File, detached bool) error {
	o := c.o
	if o.nodes < 1 {
		return usage("-n %d: at least one daemon is needed", o.nodes)
	}
	program, err := findDaemonProgram(o.program)
	if err != nil {
		return err
	}
	d := daemonOptions{program: program, registry: c.registry, logDir: c.logDir, nodes: o.nodes, detached: detached}
	if d.flags, err = o.daemonFlags(); err != nil {
		return err
	}
	if d.dataDir, err = c.dataDir(&d); err != nil {
		return err
	}
	if c.data != nil {
		locks = append(locks, c.data.lock)
	}
	d.locks = locks
	c.daemons, err = startDaemons(d)
	return err
}

// daemonFlags are the arguments of all daemons. The keys of --set come last: they win.
func (o *clusterOptions) daemonFlags() ([]string, error) {
	shards := o.shards
	if shards == 0 {
		shards = max(1, min(4, runtime.NumCPU()/2/o.nodes))
	}
	flags := []string{"--shards", strconv.Itoa(shards), "--listen", o.listen, "--set", "cluster.nodes=", "--set", "cluster.mode=distributed"}
	if o.g.config != "" {
		flags = append(flags, "--config", o.g.config)
	}
	values, err := o.g.overrides()
	if err != nil {
		return nil, err
	}
	for key, value := range values {
		if strings.HasPrefix(key, "cluster.registry") || key == "cluster.expected_nodes" || key == "cluster.node_id" || key == "store.data_dir" {
			return nil, usage("--set %s: benchfs gives each daemon its own", key)
		}
		flags = append(flags, "--set", key+"="+value)
	}
	return flags, nil
}

// dataDir is where the daemons keep their data; "" in memory that ends with them. Unless the user has said how much, each gets its part of what is
// free.
func (c *cluster) dataDir(d *daemonOptions) (string, error) {
	o := c.o
	if o.dataDir != "" {
		dir, err := filepath.Abs(o.dataDir)
		if err != nil {
			return "", err
		}
		return dir, errors.WithMessage(os.MkdirAll(dir, 0o700), "--data-dir")
	}
	overrides := storeOnly(o.g)
	// As its client, which needs no data directory.
	maps.Copy(overrides, map[string]string{
		"cluster.mode": config.ModeDistributed, "cluster.registry_dir": "/", "cluster.nodes": "", "cluster.expected_nodes": "1",
	})
	cfg, err := config.Load(config.Sources{File: o.g.config, Env: environment(withoutCluster(os.Environ())), Overrides: overrides})
	if err != nil {
		return "", err
	}
	inMemory := cfg.Store.Backend == config.BackendMemory
	base, perNode := "", availableMemory()/5*4/uint64(o.nodes)
	if !inMemory {
		if base, perNode, err = dataBase(o.nodes, cfg.Store.Backend == config.BackendURing); err != nil {
			return "", err
		}
	}
	if cfg.Origin("store.capacity") == "default" {
		d.flags = append(d.flags, "--capacity", strconv.FormatUint(perNode, 10))
	}
	if inMemory {
		return "", nil
	}
	if c.data, err = makeOwnDir(base); err != nil {
		return "", err
	}
	return c.data.path, nil
}

// storeOnly are the --set keys of the store: what decides where data goes.
func storeOnly(g *globals) map[string]string {
	kept := map[string]string{}
	values, err := g.overrides()
	if err != nil {
		return kept
	}
	for key, value := range values {
		if strings.HasPrefix(key, "store.") {
			kept[key] = value
		}
	}
	return kept
}

func environment(pairs []string) map[string]string {
	env := map[string]string{}
	for _, pair := range pairs {
		if name, value, ok := strings.Cut(pair, "="); ok {
			env[name] = value
		}
	}
	return env
}

// clientEnv is what a command needs to find the daemons: the cluster's keys and those of --set.
func (c *cluster) clientEnv() ([]string, error) {
	env := []string{
		"BENCHFS_CLUSTER_MODE=" + config.ModeDistributed,
		"BENCHFS_CLUSTER_REGISTRY_DIR=" + c.registry,
		"BENCHFS_CLUSTER_EXPECTED_NODES=" + strconv.Itoa(c.o.nodes),
		"BENCHFS_CLUSTER_NODES=",
	}
	if c.o.g.config != "" {
		path, err := filepath.Abs(c.o.g.config)
		if err != nil {
			return nil, err
		}
		env = append(env, config.FileVariable+"="+path)
	}
	values, err := c.o.g.overrides()
	if err != nil {
		return nil, err
	}
	for _, k := range config.Keys() {
		if value, ok := values[k.Name]; ok {
			env = append(env, k.Env()+"="+value)
		}
	}
	return env, nil
}

func runCommand(g *globals) *cobra.Command {
	o := &clusterOptions{g: g}
	c := &cobra.Command{
		Use:   "run -n N [flags] -- command [argument …]",
		Short: "Run a command with daemons that live as long as it does",
		Long: "run starts N daemons on this machine, waits until they serve, and runs the command with an environment in which programs find them.\n" +
			"When the command ends, however it does, the daemons are ended and what was made for them is removed. A --data-dir stays.\n" +
			"The exit status is the command's (128+n after signal n), or 1 if a daemon ended by itself meanwhile.",
		Example: "  benchfs run -n 2 -- ./my_program\n  benchfs run -n 2 --preload -- bash\n  benchfs run -n 4 --data-dir /mnt/nvme -- bash",
		Args:    cobra.MinimumNArgs(1),
	}
	o.flags(c)
	c.Flags().BoolVar(&o.preload, "preload", false, "let the command, and all that it starts, see the file system under a directory (docs/preload.md)")
	o.interposer.flags(c)
	c.Flags().SetInterspersed(false) // the command's own flags are not ours
	c.RunE = func(_ *cobra.Command, args []string) error {
		// See startDaemons.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := o.run(args)
		var f *failure
		var configured *config.Error
		if err == nil || errors.As(err, &f) || errors.As(err, &configured) || errors.Is(err, errUsage) {
			return err
		}
		return &failure{code: 1, err: err}
	}
	return c
}

// run does the whole. Everything that was made is removed before it returns.
func (o *clusterOptions) run(args []string) (err error) {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2)
	defer signal.Stop(signals)

	home, err := makeOwnDir(runtimeBase())
	if err != nil {
		return err
	}
	c := &cluster{o: o, registry: filepath.Join(home.path, "registry"), logDir: home.path, lost: map[*daemon]bool{}}
	defer func() {
		if broken := multierr.Combine(c.data.remove(), home.remove()); broken != nil {
			err = multierr.Append(err, errors.WithMessage(broken, "cannot clean up"))
		}
	}()
	if o.logDir != "" {
		if c.logDir, err = filepath.Abs(o.logDir); err != nil {
			return err
		}
		if err := os.MkdirAll(c.logDir, 0o700); err != nil {
			return err
		}
	}
	if err := os.Mkdir(c.registry, 0o700); err != nil {
		return err
	}
	if err := c.start([]*os.File{home.lock}, false); err != nil {
		return err
	}
	status, err := 0, waitReady(c.daemons, o.startTime, signals)
	started := err == nil
	if started {
		status, err = c.command(args, signals)
	}
	err = multierr.Append(err, stopDaemons(c.daemons, o.grace, signals))
	if started {
		err = multierr.Append(err, c.losses())
	}
	if status != 0 {
		return &failure{code: status, err: err}
	}
	return err
}

// tell reports a daemon that has ended without having been asked to, once.
func (c *cluster) tell(d *daemon) {
	if !c.lost[d] {
		c.lost[d] = true
		fmt.Fprintf(os.Stderr, "benchfs: the daemon of node %d (pid %d) ended while the command ran: %s\n%s\n", d.node, d.cmd.Process.Pid, endText(d.err), logTail(d.logPath))
	}
}

// losses is the error that tells of lost daemons. It is asked when all have ended: one that was killed just before it could be asked to stop
// shows by how it has ended.
func (c *cluster) losses() error {
	for _, d := range c.daemons {
		if d.err != nil && !d.killed {
			c.tell(d)
		}
	}
	if len(c.lost) == 0 {
		return nil
	}
	return errors.Errorf("%d of %d daemons ended by themselves", len(c.lost), len(c.daemons))
}

// command runs the user's command, hands signals on to it, and returns its exit status.
func (c *cluster) command(args []string, signals <-chan os.Signal) (status int, err error) {
	env, err := c.clientEnv()
	if err != nil {
		return 0, err
	}
	env = append(withoutCluster(os.Environ()), env...)
	if c.o.preload {
		if env, err = c.o.interposer.environment(env); err != nil {
			return 0, err
		}
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		status := 126 // as a shell says it: there, but cannot be run
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
			status = 127
		}
		return status, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	died := unexpected(c.daemons)
	for {
		select {
		case s := <-signals:
			if !sentByTerminal(s) {
				_ = cmd.Process.Signal(s)
			}
		case d := <-died:
			c.tell(d)
		case waitErr := <-ended:
			return exitStatus(cmd, waitErr), nil
		}
	}
}

// sentByTerminal tells of a signal that the terminal has sent to the command as well (Ctrl-C, Ctrl-\).
func sentByTerminal(s os.Signal) bool {
	return (s == syscall.SIGINT || s == syscall.SIGQUIT) && term.IsTerminal(int(os.Stdin.Fd()))
}

// exitStatus is what a shell would say.
func exitStatus(cmd *exec.Cmd, err error) int {
	if cmd.ProcessState == nil {
		return 1
	}
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	if code := cmd.ProcessState.ExitCode(); code != 0 || err == nil {
		return code
	}
	return 1
}
