package registry_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/benchfs/benchfs/fserr"
	"github.com/benchfs/benchfs/internal/registry"
)

// publishEnv makes this test binary a daemon that publishes a node and waits to be killed.
const publishEnv = "BENCHFS_TEST_PUBLISH"

func TestMain(m *testing.M) {
	if dir := os.Getenv(publishEnv); dir != "" {
		r := record(1, 2)
		r.PID = os.Getpid()
		if _, err := registry.Publish(dir, r); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("published")
		select {}
	}
	os.Exit(m.Run())
}

func record(node, nodes uint32) registry.Record {
	return registry.Record{
		Node: node, Nodes: nodes, Epoch: 1, HostID: registry.HostID(), Listen: "127.0.0.1:1", FirstShard: 2 * node,
		Workers: [][]byte{{0, 1, 255}, {2}}, PID: os.Getpid(), Incarnation: 1<<63 + 7, ChunkBits: 22, Build: "test",
	}
}

func privateDir(t *testing.T) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "registry")
}

func publish(t *testing.T, dir string, r registry.Record) *registry.Publication {
	t.Helper()
	p, err := registry.Publish(dir, r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Withdraw() })
	return p
}

func TestPublishedRecordIsRead(t *testing.T) {
	dir := privateDir(t)
	want := record(0, 1)
	p := publish(t, dir, want)
	got, err := registry.Read(dir)
	if err != nil || len(got) != 1 || !reflect.DeepEqual(got[0], want) {
		t.Fatalf("%+v, %v", got, err)
	}
	if alive, known := registry.Alive(dir, 0); !alive || !known {
		t.Errorf("a published node: alive %v, known %v", alive, known)
	}
	for _, path := range []string{dir, dir + "/node-0.json", dir + "/node-0.lock"} {
		if info, err := os.Stat(path); err != nil || info.Mode()&0o077 != 0 {
			t.Errorf("%s is open to others: %v %v", path, info.Mode(), err)
		}
	}
	if err := p.Withdraw(); err != nil {
		t.Fatal(err)
	}
	if got, err := registry.Read(dir); err != nil || len(got) != 0 {
		t.Errorf("after Withdraw: %v, %v", got, err)
	}
	if alive, known := registry.Alive(dir, 0); alive || !known {
		t.Errorf("a withdrawn node: alive %v, known %v", alive, known)
	}
	if _, known := registry.Alive(dir, 5); known {
		t.Error("a node that never was is known")
	}
	if err := p.Withdraw(); err != nil {
		t.Errorf("second Withdraw: %v", err)
	}
}

func TestOneDaemonANode(t *testing.T) {
	dir := privateDir(t)
	publish(t, dir, record(3, 4))
	_, err := registry.Publish(dir, record(3, 4))
	if fserr.Errno(err) != syscall.EBUSY || !strings.Contains(err.Error(), "node 3") || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("second publisher: %v", err)
	}
	if alive, _ := registry.Alive(dir, 3); !alive {
		t.Error("the refused publisher dropped the lock of the first")
	}
	if got, err := registry.Read(dir); err != nil || len(got) != 1 {
		t.Errorf("the refused publisher removed the record: %v, %v", got, err)
	}
}

func TestManyPublishersOneWins(t *testing.T) {
	dir := privateDir(t)
	var wg sync.WaitGroup
	won := make(chan *registry.Publication, 16)
	for range cap(won) {
		wg.Go(func() {
			if p, err := registry.Publish(dir, record(0, 1)); err == nil {
				won <- p
			} else if fserr.Errno(err) != syscall.EBUSY {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(won) != 1 {
		t.Errorf("%d of %d publishers of one node won", len(won), cap(won))
	}
	for range len(won) {
		_ = (<-won).Withdraw()
	}
}

// TestReadersNeverSeeHalf: records appear and vanish, but a record that is seen is whole.
func TestReadersNeverSeeHalf(t *testing.T) {
	dir := privateDir(t)
	big := record(0, 1)
	for range 64 {
		big.Workers = append(big.Workers, make([]byte, 4096))
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 100 {
			p, err := registry.Publish(dir, big)
			if err != nil {
				t.Error(err)
				return
			}
			if err := p.Withdraw(); err != nil {
				t.Error(err)
			}
		}
	}()
	for seen := 0; ; {
		select {
		case <-done:
			if seen == 0 {
				t.Skip("the publisher was too quick to be seen")
			}
			return
		default:
		}
		got, err := registry.Read(dir)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) == 1 {
			if seen++; len(got[0].Workers) != len(big.Workers) {
				t.Fatalf("half a record: %d workers", len(got[0].Workers))
			}
		}
	}
}

func TestNumericOrder(t *testing.T) {
	dir := privateDir(t)
	for _, node := range []uint32{10, 2, 100, 0, 1} {
		publish(t, dir, record(node, 101))
	}
	for _, name := range []string{"node-x.json", "node-01.json", "node-7.json.12.3", "other"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := registry.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	var order []uint32
	for _, r := range got {
		order = append(order, r.Node)
	}
	if !reflect.DeepEqual(order, []uint32{0, 1, 2, 10, 100}) {
		t.Errorf("order %v", order)
	}
}

func TestWaitNamesTheMissing(t *testing.T) {
	dir := privateDir(t)
	_, err := registry.Wait(dir, 2, time.Now())
	if fserr.Errno(err) != syscall.ETIMEDOUT || !errors.Is(err, syscall.ENOENT) || !strings.Contains(err.Error(), dir) {
		t.Errorf("no directory: %v", err)
	}
	publish(t, dir, record(1, 4))
	publish(t, dir, record(2, 4))
	begin := time.Now()
	_, err = registry.Wait(dir, 4, begin.Add(30*time.Millisecond))
	var missing *registry.Missing
	if !errors.As(err, &missing) || !reflect.DeepEqual(missing.Nodes, []uint32{0, 3}) {
		t.Fatalf("missing nodes: %v", err)
	}
	if time.Since(begin) < 30*time.Millisecond || !strings.Contains(err.Error(), "node 0, node 3") {
		t.Errorf("after %v: %v", time.Since(begin), err)
	}
	if _, err = registry.Wait(dir, 3, time.Now()); fserr.Errno(err) != syscall.EINVAL || !strings.Contains(err.Error(), "cluster.expected_nodes") {
		t.Errorf("another number of nodes: %v", err)
	}
	publish(t, dir, record(0, 4))
	published := make(chan error, 1)
	go func() {
		p, err := registry.Publish(dir, record(3, 4))
		if err == nil {
			t.Cleanup(func() { _ = p.Withdraw() })
		}
		published <- err
	}()
	records, err := registry.Wait(dir, 4, time.Now().Add(10*time.Second))
	if err != nil || len(records) != 4 || records[3].Node != 3 {
		t.Errorf("%d records, %v", len(records), err)
	}
	if err := <-published; err != nil {
		t.Error(err)
	}
}

// TestKilledDaemon: what a killed daemon leaves is known to be dead, keeps nobody waiting for nothing, and is replaced by its successor.
func TestKilledDaemon(t *testing.T) {
	dir := privateDir(t)
	publish(t, dir, record(0, 2))
	daemon := exec.Command(os.Args[0])
	daemon.Env = append(os.Environ(), publishEnv+"="+dir)
	out, err := daemon.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "published\n" {
		t.Fatalf("%q, %v", line, err)
	}
	if _, err := registry.Wait(dir, 2, time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := daemon.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = daemon.Wait()
	if alive, known := registry.Alive(dir, 1); alive || !known {
		t.Errorf("killed: alive %v, known %v", alive, known)
	}
	_, err = registry.Wait(dir, 2, time.Now())
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("node 1 (pid %d) does not run", daemon.Process.Pid)) {
		t.Errorf("the dead daemon counts: %v", err)
	}
	leftover := filepath.Join(dir, "node-1.json.999.1")
	if err := os.WriteFile(leftover, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	next := record(1, 2)
	next.Incarnation = 99
	publish(t, dir, next)
	records, err := registry.Wait(dir, 2, time.Now())
	if err != nil || records[1].Incarnation != 99 {
		t.Errorf("the successor: %+v, %v", records, err)
	}
	if _, err := os.Stat(leftover); !errors.Is(err, os.ErrNotExist) {
		t.Error("a half-written record stays for ever")
	}
}

func TestSecretIsOne(t *testing.T) {
	dir := privateDir(t)
	if _, err := registry.Secret(dir, false); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("no secret: %v", err)
	}
	secrets := make([]string, 16)
	var wg sync.WaitGroup
	for i := range secrets {
		wg.Go(func() {
			var err error
			if secrets[i], err = registry.Secret(dir, true); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, s := range secrets {
		if s != secrets[0] || len(s) != 64 {
			t.Fatalf("secrets differ: %q, %q", s, secrets[0])
		}
	}
	if s, err := registry.Secret(dir, false); err != nil || s != secrets[0] {
		t.Errorf("%q, %v", s, err)
	}
	if names, _ := filepath.Glob(dir + "/*"); len(names) != 1 {
		t.Errorf("left behind: %v", names)
	}
}

func TestLooseModesAreRefused(t *testing.T) {
	dir := privateDir(t)
	publish(t, dir, record(0, 1))
	if _, err := registry.Secret(dir, true); err != nil {
		t.Fatal(err)
	}
	refused := func(what string, f func() error) {
		t.Helper()
		if err := f(); fserr.Errno(err) != syscall.EPERM || !strings.Contains(err.Error(), "chmod") {
			t.Errorf("%s: %v", what, err)
		}
	}
	read := func() error { _, err := registry.Read(dir); return err }
	secret := func() error { _, err := registry.Secret(dir, true); return err }
	for _, mode := range []os.FileMode{0o770, 0o707, 0o755} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		refused(fmt.Sprintf("Read of a directory with mode %o", mode), read)
		refused("Secret", secret)
		refused("Publish", func() error { _, err := registry.Publish(dir, record(1, 2)); return err })
		refused("Wait", func() error { _, err := registry.Wait(dir, 1, time.Now().Add(time.Minute)); return err })
	}
	if err := errors.Join(os.Chmod(dir, 0o700), os.Chmod(dir+"/secret", 0o640)); err != nil {
		t.Fatal(err)
	}
	refused("a secret that the group can read", secret)
	if err := errors.Join(os.Chmod(dir+"/secret", 0o600), os.Chmod(dir+"/node-0.json", 0o602)); err != nil {
		t.Fatal(err)
	}
	refused("a record that others can write", read)
}

func TestBadFilesAreNamed(t *testing.T) {
	dir := privateDir(t)
	publish(t, dir, record(0, 1))
	for _, text := range []string{"", "{", `{"node": 3}`} {
		if err := os.WriteFile(dir+"/node-0.json", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := registry.Read(dir); fserr.Errno(err) != syscall.EINVAL || !strings.Contains(err.Error(), "node-0.json") {
			t.Errorf("%q: %v", text, err)
		}
	}
	if err := os.WriteFile(dir+"/secret", []byte("abc\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := registry.Secret(dir, true); fserr.Errno(err) != syscall.EINVAL {
		t.Errorf("a short secret: %v", err)
	}
	if _, err := registry.Read(dir + "/secret"); fserr.Errno(err) != syscall.ENOTDIR {
		t.Errorf("a file as registry: %v", err)
	}
}

func TestHostID(t *testing.T) {
	if id := registry.HostID(); id == "" || len(id) > 64 || id != registry.HostID() {
		t.Errorf("%q", id)
	}
}
