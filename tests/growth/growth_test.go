// Package growth tests that a file never seems longer than what can be read of it: processes let files grow, on real daemons, and another
// one polls the size and reads what is new.
package growth_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/benchfs/benchfs/internal/cluster"
	"github.com/benchfs/benchfs/tests/agent"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	status := m.Run()
	agent.CleanUp()
	os.Exit(status)
}

// program is src/grow.c.
type program struct {
	path string
	env  []string
}

func build(t *testing.T, c *cluster.Cluster) program {
	t.Helper()
	p := program{path: filepath.Join(t.TempDir(), "grow")}
	lib := filepath.Join(cluster.Root(), "lib")
	cmd := exec.Command("gcc", "-std=c11", "-D_GNU_SOURCE", "-O1", "-Wall", "-Wextra", "-Werror", "-I"+filepath.Join(cluster.Root(), "include"),
		filepath.Join("src", "grow.c"), "-o", p.path, "-L"+lib, "-lbenchfs", "-Wl,-rpath,"+lib)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	p.env = []string{"PATH=" + os.Getenv("PATH")}
	for k, v := range c.Env() {
		p.env = append(p.env, k+"="+v)
	}
	return p
}

// run returns what the program has printed.
func (p program) run(args ...any) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := p.command(ctx, args...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", cmd.Args, err, said.String())
	}
	return strings.TrimSpace(out.String()), nil
}

func (p program) command(ctx context.Context, args ...any) *exec.Cmd {
	cmd := exec.CommandContext(ctx, p.path, strings.Fields(fmt.Sprintln(args...))...)
	cmd.Env = p.env
	return cmd
}

// TestSizeFollowsData: whoever sees a size can read what is below it.
func TestSizeFollowsData(t *testing.T) {
	for _, stage := range []struct {
		name, key, value string
		hows             []string
	}{
		{"by message", "data.shortcut", "off", []string{"pwrite", "append", "appendv"}},
		{"in place", "data.shortcut", "readwrite", []string{"pwrite", "append", "appendv"}},
		{"local", "layout.strategy", "local", []string{"pwrite", "append"}},
		{"uring", "store.backend", "uring", []string{"pwrite", "append"}},
	} {
		t.Run(stage.name, func(t *testing.T) {
			if stage.name == "uring" {
				cluster.URing(t)
			}
			settings := map[string]string{stage.key: stage.value, "layout.chunk_size": "256KiB"}
			c := cluster.Start(t, cluster.Options{Nodes: 2, Settings: settings})
			p := build(t, c)
			files := agent.MustStart(t, c.Env())
			for _, how := range stage.hows {
				for _, size := range []struct {
					name         string
					block, count int
				}{{"small", 1000, 1500}, {"64KiB", 65536, 200}, {"256KiB", 256 << 10, 100}, {"striped", 1 << 20, 50}} {
					t.Run(how+"/"+size.name, func(t *testing.T) {
						p.growth(t, files, fmt.Sprintf("/%s-%s", how, size.name), how, 1, size.block, size.count)
					})
				}
			}
			t.Run("several appenders", func(t *testing.T) {
				p.growth(t, files, "/several", "append", 3, 1000, 300)
				p.growth(t, files, "/several-large", "append", 3, 300_000, 40)
			})
		})
	}
}

// TestStoppedAppender: an appender that stands still now and then, wherever it is, holds up the others for a moment only. What it writes afterwards is in
// its own place: nobody's bytes are lost, and in the end nothing is missing.
func TestStoppedAppender(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Nodes: 2, Settings: map[string]string{"layout.chunk_size": "256KiB", "rpc.attempt_timeout": "200ms"}})
	p := build(t, c)
	const block, blocks = 600_000, 500
	files := agent.MustStart(t, c.Env())
	fd, err := files.Open("/f", unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY, 0o600)
	if err == nil {
		err = files.Close(fd)
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	writer := p.command(ctx, "write", "append", "/f", block, blocks, 1)
	var said bytes.Buffer
	writer.Stderr = &said
	if err := writer.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- writer.Wait() }()
	others := 0
	for running := true; running; {
		select {
		case err := <-ended:
			if err != nil {
				t.Fatalf("%v: %s", err, said.String())
			}
			running = false
		case <-time.After(30 * time.Millisecond):
			if err := writer.Process.Signal(unix.SIGSTOP); err != nil {
				continue // it has just ended
			}
			_, err := p.run("write", "append", "/f", block, 1, 2)
			_ = writer.Process.Signal(unix.SIGCONT)
			if err != nil {
				t.Fatal(err)
			}
			others++
		}
	}
	t.Logf("stopped %d times", others)
	if got, err := p.run("check", "/f", block); err != nil || got != fmt.Sprintf("1:%d 2:%d", blocks, others) {
		t.Errorf("blocks by writer: %q, %v", got, err)
	}
}

// growth has writers let a new file grow by count blocks each, and a reader look.
func (p program) growth(t *testing.T, files *agent.Agent, file, how string, writers, block, count int) {
	t.Helper()
	fd, err := files.Open(file, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY, 0o600)
	if err == nil {
		err = files.Close(fd)
	}
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	want := ""
	for w := range writers {
		wg.Go(func() {
			if _, err := p.run("write", how, file, block, count, w+1); err != nil {
				t.Error(err)
			}
		})
		want += fmt.Sprintf("%d:%d ", w+1, count)
	}
	saw, err := p.run("read", file, writers*block*count)
	wg.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(saw, "zeros 0 looks ") {
		t.Errorf("the reader saw %s", saw)
	}
	if got, err := p.run("check", file, block); err != nil || got+" " != want {
		t.Errorf("blocks by writer: %q, want %q, %v", got, want, err)
	}
	if err := files.Unlink(file); err != nil {
		t.Error(err)
	}
}
