package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pkg/errors"

	"github.com/benchfs/benchfs/config"
	"github.com/benchfs/benchfs/internal/registry"
)

// medium is where a stage keeps its data.
type medium int

const (
	onPlain medium = iota // tmpfs, pages of 4 KiB
	onHuge                // tmpfs, huge pages for whoever asks
	onDisk
)

// capacity of a stage, over all its daemons. Only what is used is taken.
const capacityGiB = 4

// stageSpec is what cases need to be there. The zero value, with a name, is a directory on tmpfs and nothing else.
type stageSpec struct {
	name     string
	daemons  int
	medium   medium
	used     bool              // files have been written and removed before the first case
	network  bool              // daemons and clients in two network namespaces
	settings map[string]string // configuration keys, of daemons and clients
}

// stage is a stageSpec that stands.
type stage struct {
	spec     stageSpec
	run      *runner
	dir      string   // for files of the kernel's, and where the daemons have theirs
	settings []string // key=value
	daemons  []*daemon
}

type daemon struct {
	cmd *exec.Cmd
	log bytes.Buffer
	end chan error
}

// stages are those that stand. Daemons that nobody asks anything sleep, so that several stages do not disturb each other.
type stages struct {
	r  *runner
	up map[string]*started
}

// started is a stage, or why there is none.
type started struct {
	stage *stage
	err   error
}

// get starts a stage that does not stand. After an error, the caller calls drop: the stage may stand in part.
func (s *stages) get(ctx context.Context, spec stageSpec) (*stage, error) {
	if s.up[spec.name] == nil {
		one, err := s.r.start(ctx, spec)
		s.up[spec.name] = &started{one, err}
	}
	return s.up[spec.name].stage, s.up[spec.name].err
}

func (s *stages) drop(name string) {
	if one := s.up[name]; one != nil {
		one.stage.stop()
		delete(s.up, name)
	}
}

// keep stops the stages that none of the units needs.
func (s *stages) keep(units []unit) {
	needed := map[string]bool{}
	for _, u := range units {
		for _, c := range u {
			needed[c.stage.name] = true
		}
	}
	for name := range s.up {
		if !needed[name] {
			s.drop(name)
		}
	}
}

// unavailable says why a stage cannot stand here; "" if it can.
func (r *runner) unavailable(spec stageSpec) string {
	switch {
	case spec.medium == onHuge && r.box.huge == "":
		return "needs root and a kernel with huge pages on tmpfs"
	case spec.network && !r.box.connected():
		return "needs root and iproute2, for network namespaces"
	}
	for key, value := range spec.settings {
		if !hasKey(key) {
			continue
		}
		if _, err := config.Load(config.Sources{Overrides: map[string]string{key: value, "store.data_dir": r.box.disk}}); err != nil {
			return fmt.Sprintf("%s = %q is not to be had: %v", key, value, err)
		}
	}
	return ""
}

// missingKeys are the keys of a stage that this version of BenchFS does not have: it runs without them.
func missingKeys(spec stageSpec) []string {
	var missing []string
	for key := range spec.settings {
		if !hasKey(key) {
			missing = append(missing, key)
		}
	}
	slices.Sort(missing)
	return missing
}

func hasKey(name string) bool {
	return slices.ContainsFunc(config.Keys(), func(k config.Key) bool { return k.Name == name })
}

func (r *runner) root(m medium) string {
	switch m {
	case onHuge:
		return r.box.huge
	case onDisk:
		return r.box.disk
	}
	return r.box.plain
}

// start makes the stage's directory and daemons, and waits until they serve. The caller calls stop also after an error.
func (r *runner) start(ctx context.Context, spec stageSpec) (*stage, error) {
	s := &stage{spec: spec, run: r}
	var err error
	if s.dir, err = os.MkdirTemp(r.root(spec.medium), spec.name+"-"); err != nil {
		return s, err
	}
	if spec.daemons == 0 {
		return s, nil
	}
	if err := os.Mkdir(s.registry(), 0o700); err != nil {
		return s, err
	}
	s.settings = []string{"cluster.registry_dir=" + s.registry(), "cluster.expected_nodes=" + strconv.Itoa(spec.daemons)}
	for key, value := range spec.settings {
		if hasKey(key) {
			s.settings = append(s.settings, key+"="+value)
		}
	}
	for node := range spec.daemons {
		d, err := s.launch(node)
		if err != nil {
			return s, err
		}
		s.daemons = append(s.daemons, d)
	}
	if err := s.ready(ctx); err != nil {
		return s, err
	}
	return s, s.use(ctx)
}

// What a stage with used space has had in files, and how long one without leaves its daemons to themselves: even a job's first write does not
// come in a daemon's first moment.
const (
	usedBytes = 512 << 20
	firstRest = 500 * time.Millisecond
)

// use brings the stage's daemons into the state that its cases want to meet.
func (s *stage) use(ctx context.Context) error {
	if !s.spec.used {
		time.Sleep(firstRest)
		return nil
	}
	_, err := s.work(ctx, job{api: apiBenchFS, op: "new", path: "/used", block: 4 << 20, size: usedBytes})
	return errors.Wrap(err, "the first file")
}

func (s *stage) registry() string { return filepath.Join(s.dir, "registry") }

func (s *stage) launch(node int) (*daemon, error) {
	listen := "127.0.0.1:0"
	var args []string
	if s.spec.network {
		listen = serverAddress + ":0"
		args = inNamespace(s.run.box.server)
	}
	capacity := capacityGiB * 1024 / s.spec.daemons
	args = append(args, s.run.o.daemon, "--node-id", strconv.Itoa(node), "--data-dir", filepath.Join(s.dir, "node-"+strconv.Itoa(node)),
		"--shards", "1", "--listen", listen, "--capacity", strconv.Itoa(capacity)+"MiB", "--set", "daemon.log_level=warn")
	for _, setting := range s.settings {
		args = append(args, "--set", setting)
	}
	if s.spec.network { // it shares the machine's name otherwise, and its memory with clients
		args = append(args, "--set", "cluster.host=node-"+strconv.Itoa(node))
	}
	d := &daemon{end: make(chan error, 1)}
	// Not bound to the context: a daemon is asked to stop.
	d.cmd = command(context.Background(), cleanEnvironment(), args...)
	d.cmd.Stdout, d.cmd.Stderr = &d.log, &d.log
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { d.end <- d.cmd.Wait() }()
	return d, nil
}

// ready waits for the daemons; one that ends instead is the reason that is told.
func (s *stage) ready(ctx context.Context) error {
	const limit, step = 20 * time.Second, 200 * time.Millisecond
	deadline := time.Now().Add(limit)
	for {
		nodes, err := registry.Wait(s.registry(), s.spec.daemons, time.Now().Add(step))
		if err == nil {
			s.run.buildID = nodes[0].Build
			return nil
		}
		for node, d := range s.daemons {
			select {
			case ended := <-d.end:
				d.end <- ended
				return errors.Errorf("the daemon of node %d ended: %v\n%s", node, ended, strings.TrimSpace(d.log.String()))
			default:
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Now().After(deadline) {
			return err
		}
	}
}

// stop ends the daemons and removes what the stage had.
func (s *stage) stop() {
	for _, d := range s.daemons {
		_ = d.cmd.Process.Signal(syscall.SIGTERM)
	}
	for _, d := range s.daemons {
		select {
		case <-d.end:
		case <-time.After(5 * time.Second):
			_ = d.cmd.Process.Kill()
			<-d.end
		}
	}
	if s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
}

// daemonLogs is what the daemons have said, for the report of a failure.
func (s *stage) daemonLogs() string {
	var all strings.Builder
	for node, d := range s.daemons {
		if said := strings.TrimSpace(d.log.String()); said != "" {
			fmt.Fprintf(&all, "\nnode %d: %s", node, said)
		}
	}
	return all.String()
}

func (s *stage) pids() []int {
	var pids []int
	for _, d := range s.daemons {
		pids = append(pids, d.cmd.Process.Pid)
	}
	return pids
}

// env is a worker's environment.
func (s *stage) env() []string {
	env := cleanEnvironment()
	for _, setting := range s.settings {
		name, value, _ := strings.Cut(setting, "=")
		env = append(env, config.Key{Name: name}.Env()+"="+value)
	}
	return env
}

// cleanEnvironment keeps what the user's shell has set of BenchFS and UCX away from what is measured.
func cleanEnvironment() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}
}

// place is where a job's file or directory is called name: below the stage's directory, or in BenchFS.
func (s *stage) place(api, name string) string {
	if api == apiBenchFS {
		return "/" + name
	}
	return filepath.Join(s.dir, name)
}

// work has a job done by its processes, and returns the results of each rank.
func (s *stage) work(ctx context.Context, j job) ([][]result, error) {
	var commands [][]string
	for rank := range max(1, j.processes) {
		var prefix []string
		if s.spec.network && j.api == apiBenchFS {
			prefix = inNamespace(s.run.box.client)
		}
		commands = append(commands, append(append(prefix, s.run.o.worker), j.arguments(rank, s.pids())...))
	}
	return runProcesses(ctx, s.env(), commands)
}
