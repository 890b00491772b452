package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pkg/errors"
	"go.uber.org/multierr"
)

// daemon is a benchfsd process that this process has started.
type daemon struct {
	node    int
	cmd     *exec.Cmd
	logPath string
	ready   chan struct{} // closed when it serves
	done    chan struct{} // closed when it has ended; err is set then
	err     error
	ending  atomic.Bool // we asked for its end
	killed  bool        // it did not listen
}

// daemonOptions are what all daemons of a cluster have in common.
type daemonOptions struct {
	program  string
	registry string
	logDir   string
	dataDir  string // node i keeps its data in dataDir/node-i
	nodes    int
	flags    []string // more arguments
	locks    []*os.File
	detached bool // they outlive this process
}

// findDaemonProgram looks for benchfsd where it was said to be, beside this program, and in PATH.
func findDaemonProgram(given string) (string, error) {
	if given != "" {
		return given, nil
	}
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), "benchfsd")
		if info, err := os.Stat(beside); err == nil && info.Mode()&0o111 != 0 {
			return beside, nil
		}
	}
	path, err := exec.LookPath("benchfsd")
	if err != nil {
		return "", errors.New("benchfsd is neither beside benchfs nor in PATH: run `make build`, or give --benchfsd")
	}
	return path, nil
}

// startDaemons starts them all; on an error none is left. The calling goroutine must be locked to its thread until they have ended:
// the kernel tells a daemon of its parent's death when that thread ends.
func startDaemons(o daemonOptions) ([]*daemon, error) {
	var daemons []*daemon
	for node := range o.nodes {
		d, err := startDaemon(o, node)
		if err != nil {
			return nil, multierr.Append(errors.WithMessagef(err, "daemon of node %d", node), stopDaemons(daemons, time.Second, nil))
		}
		daemons = append(daemons, d)
	}
	return daemons, nil
}

func startDaemon(o daemonOptions, node int) (*daemon, error) {
	d := &daemon{node: node, logPath: filepath.Join(o.logDir, fmt.Sprintf("node-%d.log", node)), ready: make(chan struct{}), done: make(chan struct{})}
	log, err := os.OpenFile(d.logPath, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	readEnd, writeEnd, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = writeEnd.Close() }()

	const readyFD = 3 // the first of ExtraFiles
	arguments := append([]string{
		"--ready-fd", strconv.Itoa(readyFD), "--registry", o.registry, "--expected-nodes", strconv.Itoa(o.nodes), "--node-id", strconv.Itoa(node),
	}, o.flags...)
	if o.dataDir != "" {
		arguments = append(arguments, "--data-dir", filepath.Join(o.dataDir, fmt.Sprintf("node-%d", node)))
	}
	d.cmd = exec.Command(o.program, arguments...)
	d.cmd.Env = withoutCluster(os.Environ())
	d.cmd.Stdout, d.cmd.Stderr = log, log
	d.cmd.ExtraFiles = append([]*os.File{writeEnd}, o.locks...)
	// In a group (or session) of its own: Ctrl-C is for the command. If this process is killed, the kernel asks the daemon to stop.
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if o.detached {
		d.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	}
	if err := d.cmd.Start(); err != nil {
		_ = readEnd.Close()
		return nil, err
	}
	go func() {
		defer func() { _ = readEnd.Close() }()
		if line, err := bufio.NewReader(readEnd).ReadString('\n'); err == nil && line == "READY=1\n" {
			close(d.ready)
		}
	}()
	go func() {
		d.err = d.cmd.Wait()
		close(d.done)
	}()
	return d, nil
}

// withoutCluster takes out of an environment what says which file system is meant: arguments and benchfs say it anew.
func withoutCluster(env []string) []string {
	var kept []string
	for _, pair := range env {
		if !strings.HasPrefix(pair, "BENCHFS_CLUSTER_") {
			kept = append(kept, pair)
		}
	}
	return kept
}

// waitReady returns when all daemons serve. One that ends instead is an error with the end of its log. A signal ends the wait.
func waitReady(daemons []*daemon, limit time.Duration, signals <-chan os.Signal) error {
	timeout := time.After(limit)
	for _, d := range daemons {
		select {
		case <-d.ready:
		case <-d.done:
			return errors.Errorf("the daemon of node %d did not start (%s)\n%s", d.node, endText(d.err), logTail(d.logPath))
		case <-timeout:
			return errors.Errorf("the daemon of node %d was not ready after %s; give it more with --start-timeout\n%s", d.node, limit, logTail(d.logPath))
		case s := <-signals:
			return &failure{code: 128 + int(s.(syscall.Signal)), err: errors.Errorf("interrupted (%s) while the daemons started", s)}
		}
	}
	return nil
}

// stopDaemons asks all to end, and kills those that have not after grace, or when a signal says to hurry.
func stopDaemons(daemons []*daemon, grace time.Duration, signals <-chan os.Signal) error {
	for _, d := range daemons {
		d.ending.Store(true)
		_ = d.cmd.Process.Signal(syscall.SIGTERM) // an error says that it has ended
	}
	timeout := time.After(grace)
	var failed error
	hurry := false
	for _, d := range daemons {
		if !hurry {
			select {
			case <-d.done:
				continue
			case <-timeout:
				failed = multierr.Append(failed, errors.Errorf("the daemon of node %d did not stop within %s and was killed\n%s", d.node, grace, logTail(d.logPath)))
			case <-signals:
			}
			hurry = true
		}
		select {
		case <-d.done:
		default:
			d.killed = true
			_ = d.cmd.Process.Kill()
			<-d.done
		}
	}
	return failed
}

// unexpected tells of the daemons that end without having been asked to. The channel gets each once.
func unexpected(daemons []*daemon) <-chan *daemon {
	ended := make(chan *daemon, len(daemons))
	for _, d := range daemons {
		go func() {
			<-d.done
			if !d.ending.Load() {
				ended <- d
			}
		}()
	}
	return ended
}

// endText says how a process ended.
func endText(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}

// logTail is the end of a daemon's log, for an error message.
func logTail(path string) string {
	const most, lines = 16 << 10, 20
	f, err := os.Open(path)
	if err != nil {
		return "(no log: " + err.Error() + ")"
	}
	defer func() { _ = f.Close() }()
	if size, err := f.Seek(0, io.SeekEnd); err == nil {
		_, _ = f.Seek(max(0, size-most), io.SeekStart)
	}
	text, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return "(no log: " + err.Error() + ")"
	}
	all := strings.Split(strings.TrimSpace(string(bytes.ToValidUTF8(text, []byte("?")))), "\n")
	all = all[max(0, len(all)-lines):]
	return fmt.Sprintf("  %s says:\n    %s", path, strings.Join(all, "\n    "))
}
