package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/benchfs/benchfs/internal/registry"
)

// daemonEnv makes this test binary the daemon.
const daemonEnv = "BENCHFSD_TEST_RUN"

func TestMain(m *testing.M) {
	if os.Getenv(daemonEnv) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func daemonCommand(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), daemonEnv+"=1")
	return cmd
}

// refused runs a daemon that must not start.
func refused(t *testing.T, status int, says string, args ...string) {
	t.Helper()
	cmd := daemonCommand(args...)
	ended := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
	defer ended.Stop()
	out, _ := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != status || !strings.Contains(string(out), says) {
		t.Errorf("%v: exit status %d instead of %d, %q instead of %q", args, code, status, out, says)
	}
}

func TestPrintConfig(t *testing.T) {
	file := filepath.Join(t.TempDir(), "benchfs.toml")
	text := "[cluster]\nregistry_dir = \"/somewhere\"\nexpected_nodes = 4\nnode_id = 1\n[store]\ndata_dir = \"/data\"\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := daemonCommand("--config", file, "--node-id", "3", "--set", "rpc.attempts=5", "--print-config").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"node_id = 3 # argument\n", "expected_nodes = 4 # " + file + ":3\n", "attempts = 5 # argument\n", "call_timeout = \"30s\" # default\n"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

func TestRefusesBadCalls(t *testing.T) {
	file := filepath.Join(t.TempDir(), "benchfs.toml")
	if err := os.WriteFile(file, []byte("[store]\ncapcity = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, 2, file+":2: store.capcity", "--config", file)
	refused(t, 2, "none.toml", "--config", "none.toml")
	refused(t, 2, "store.data_dir", "--registry", "/r", "--expected-nodes", "1")
	refused(t, 2, "unknown flag", "--nonsense")
	refused(t, 2, "key=value", "--set", "x")
	refused(t, 2, "unknown command", "argument")
}

// TestLife: ready only when it serves, one daemon a data directory and a node, status 0 after SIGTERM, nothing published afterwards.
func TestLife(t *testing.T) {
	dir := t.TempDir()
	reg, data, socket := dir+"/registry", dir+"/data", dir+"/metrics"
	ready, readyEnd, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"--registry", reg, "--expected-nodes", "1", "--data-dir", data, "--capacity", "256MiB", "--shards", "1"}
	cmd := daemonCommand(append(args, "--ready-fd", "3", "--metrics", "unix:"+socket)...)
	cmd.ExtraFiles = []*os.File{readyEnd}
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	_ = readyEnd.Close()
	if text, err := io.ReadAll(ready); err != nil || string(text) != "READY=1\n" {
		t.Fatalf("ready: %q, %v\n%s", text, err, log.String())
	}
	if records, err := registry.Wait(reg, 1, time.Now()); err != nil || records[0].PID != cmd.Process.Pid {
		t.Errorf("ready and not published: %v, %v", records, err)
	}
	metrics := get(t, socket)
	if !strings.Contains(metrics, `benchfs_shards_inodes{shard="0"} 1`+"\n") {
		t.Errorf("metrics:\n%s", metrics)
	}
	refused(t, 1, "in use", "--registry", dir+"/other", "--expected-nodes", "1", "--data-dir", data, "--capacity", "256MiB", "--shards", "1")
	refused(t, 1, "already published", "--registry", reg, "--expected-nodes", "1", "--data-dir", dir+"/data2", "--capacity", "256MiB", "--shards", "1")
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v\n%s", err, log.String())
	}
	if records, err := registry.Read(reg); err != nil || len(records) != 0 {
		t.Errorf("still published: %v, %v", records, err)
	}
}

// get reads the metrics at a Unix socket.
func get(t *testing.T, socket string) string {
	t.Helper()
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}
	response, err := client.Get("http://benchfsd/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestMetricsFormat(t *testing.T) {
	stats := map[string]any{
		"incarnation": uint64(1<<64 - 1), "ratio": 0.5, "on": true, "name": "left out",
		"shards": []any{
			map[string]any{"shard": 7, "sessions": 1, "requests": map[string]int{"Read\"Chunk": 3}},
			map[string]any{"shard": 8, "sessions": 2},
		},
		"loops": []any{map[string]any{"bytes-in": 5}},
	}
	var b bytes.Buffer
	if err := writeMetrics(&b, stats); err != nil {
		t.Fatal(err)
	}
	want := `# TYPE benchfs_incarnation untyped
benchfs_incarnation 18446744073709551615
# TYPE benchfs_loops_bytes_in untyped
benchfs_loops_bytes_in{index="0"} 5
# TYPE benchfs_on untyped
benchfs_on 1
# TYPE benchfs_ratio untyped
benchfs_ratio 0.5
# TYPE benchfs_shards_requests untyped
benchfs_shards_requests{shard="7",type="Read\"Chunk"} 3
# TYPE benchfs_shards_sessions untyped
benchfs_shards_sessions{shard="7"} 1
benchfs_shards_sessions{shard="8"} 2
# TYPE benchfs_shards_shard untyped
benchfs_shards_shard{shard="7"} 7
benchfs_shards_shard{shard="8"} 8
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

// TestMetricsSocket: the socket of a killed daemon is replaced, anything else stays.
func TestMetricsSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	_ = dead.Close()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	end, err := serveMetrics("unix:"+path, func() any { return map[string]int{"x": 1} }, log)
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	if got := get(t, path); !strings.Contains(got, "benchfs_x 1\n") {
		t.Errorf("got %q", got)
	}
	if _, err := serveMetrics("unix:"+path, nil, log); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second daemon takes the socket away: %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := serveMetrics("unix:"+file, nil, log); err == nil {
		t.Error("a file is taken for a dead socket")
	}
	if text, _ := os.ReadFile(file); string(text) != "precious" {
		t.Error("a file was removed")
	}
}
