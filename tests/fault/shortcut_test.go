package fault_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/benchfs/benchfs/internal/cluster"
	"github.com/benchfs/benchfs/tests/agent"
	"github.com/benchfs/benchfs/tests/posix"
)

// reach is how a process reaches into a directory's files: by file name, whether it could write.
type reach struct{ mapped, open map[string]bool }

func reachOf(t *testing.T, pid int, dir string) reach {
	t.Helper()
	r := reach{map[string]bool{}, map[string]bool{}}
	maps, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = maps.Close() }()
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		fields := strings.Fields(lines.Text()) // proc(5): address perms offset dev inode path
		if len(fields) >= 6 && strings.HasPrefix(fields[5], dir) {
			name := filepath.Base(fields[5])
			r.mapped[name] = r.mapped[name] || strings.Contains(fields[1], "w")
		}
	}
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		target, err := os.Readlink(link)
		if err != nil || !strings.HasPrefix(target, dir) {
			continue
		}
		info, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%s", pid, filepath.Base(link)))
		if err != nil {
			t.Fatal(err)
		}
		_, flags, _ := strings.Cut(string(info), "flags:")
		octal, err := strconv.ParseUint(strings.Fields(flags)[0], 8, 64)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(target)
		r.open[name] = r.open[name] || octal&unix.O_ACCMODE != unix.O_RDONLY
	}
	return r
}

// TestReadShortcutCannotWrite: with data.shortcut = "read" no stray write of the application can reach the store, whatever it does: the process
// has neither a mapping nor a descriptor that could. What it may write to is its area, which holds no data.
func TestReadShortcutCannotWrite(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abcdef"), 4<<20/16)
	for _, mode := range []string{"read", "readwrite"} {
		t.Run(mode, func(t *testing.T) {
			c := cluster.Start(t, cluster.Options{Nodes: 1})
			a := agent.MustStart(t, env(c, map[string]string{"BENCHFS_DATA_SHORTCUT": mode}))
			fd, err := a.Open("/f", unix.O_CREAT|unix.O_RDWR, 0o644)
			if err != nil {
				t.Fatal(err)
			}
			for range 4 { // often enough that pages are mapped, not only read
				if n, err := a.Pwrite(fd, data, 0); err != nil || n != len(data) {
					t.Fatal(n, err)
				}
				if got, err := a.Pread(fd, len(data), 0); err != nil || !bytes.Equal(got, data) {
					t.Fatal("what was read is not what was written", err)
				}
			}
			r := reachOf(t, a.PID(), c.DataDir(0))
			if len(r.mapped) < 4 {
				t.Fatalf("mapped: %v; want board, records, an area and a segment", r.mapped)
			}
			segments := 0
			for _, files := range []map[string]bool{r.mapped, r.open} {
				for name, writable := range files {
					if !strings.Contains(name, ".segment.") {
						continue
					}
					segments++
					if writable != (mode == "readwrite") {
						t.Errorf("%s: can be written: %v", name, writable)
					}
				}
			}
			if segments == 0 {
				t.Errorf("no segment is in reach: mapped %v, open %v", r.mapped, r.open)
			}
			for _, name := range []string{"board", "records"} {
				if r.mapped[name] || r.open[name] {
					t.Errorf("%s can be written", name)
				}
			}
			if err := a.Close(fd); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestShortcutSendsNothing: reads, overwrites, ends of files and fstats on the same node take no message.
func TestShortcutSendsNothing(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Nodes: 2, Settings: map[string]string{"layout.chunk_size": "64KiB"}})
	a := agent.MustStart(t, c.Env())
	data := bytes.Repeat([]byte("x"), 1<<20)
	fd, err := a.Open("/f", unix.O_CREAT|unix.O_RDWR, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	reader, err := a.Open("/f", unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	transfer := func() {
		for off := 0; off < len(data); off += 100_000 {
			n := min(100_000, len(data)-off)
			if moved, err := a.Pwrite(fd, data[off:off+n], int64(off)); err != nil || moved != n {
				t.Fatal(moved, err)
			}
			if got, err := a.Pread(fd, n, int64(off)); err != nil || len(got) != n {
				t.Fatal(len(got), err)
			}
		}
	}
	look := func() {
		if st, err := a.Fstat(reader); err != nil || st.Size != int64(len(data)) {
			t.Fatal(st, err)
		}
		if got, err := a.Pread(fd, 100, int64(len(data))-10); err != nil || len(got) != 10 {
			t.Fatal(len(got), err)
		}
		if got, err := a.Pread(fd, 100, int64(len(data))); err != nil || len(got) != 0 {
			t.Fatal(len(got), err)
		}
	}
	transfer()
	if err := a.Fsync(fd); err != nil { // the time of the overwrites is known now
		t.Fatal(err)
	}
	look()
	calls, direct := sent(t, a)
	look()
	transfer()
	callsAfter, directAfter := sent(t, a)
	if directAfter-direct != 25 || callsAfter != calls || calls == 0 {
		t.Errorf("%d of 25 reads, overwrites and stats were direct, %d messages", directAfter-direct, callsAfter-calls)
	}
	if err := errors.Join(a.Close(fd), a.Close(reader)); err != nil {
		t.Fatal(err)
	}
}

// TestLookupsStayTrue: what a process remembers of names and attributes is never believed once another process has changed it: renamed directories,
// removed and replaced files, modes, sizes. Names are spread over two nodes, so that changes are operations over both.
func TestLookupsStayTrue(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Nodes: 2, Shards: 1})
	looker, changer := agent.MustStart(t, c.Env()), agent.MustStart(t, c.Env())
	want := func(what string, err, wanted error) {
		t.Helper()
		if !errors.Is(err, wanted) && (err != nil || wanted != nil) {
			t.Fatalf("%s: %v, want %v", what, err, wanted)
		}
	}
	look := func(path string) (posix.Stat, error) {
		var st posix.Stat
		var err error
		for range 3 { // so that it is remembered
			st, err = looker.Stat(path)
		}
		return st, err
	}
	for round := range 40 {
		dir, other := fmt.Sprintf("/d%d", round), fmt.Sprintf("/e%d", round)
		file := dir + "/sub/f"
		want("mkdir", errors.Join(changer.Mkdir(dir, 0o755), changer.Mkdir(dir+"/sub", 0o755)), nil)
		put(t, changer, file, []byte("one"))
		st, err := look(file)
		want("stat", err, nil)
		if st.Size != 3 {
			t.Fatalf("round %d: %d bytes", round, st.Size)
		}
		put(t, changer, file, []byte("longer"))
		want("chmod", changer.Chmod(file, 0o640), nil)
		if st, err = looker.Stat(file); err != nil || st.Size != 6 || st.Mode&0o777 != 0o640 {
			t.Fatalf("round %d: %+v, %v after a write and a chmod", round, st, err)
		}
		put(t, changer, dir+"/sub/new", []byte("replaced"))
		want("rename", changer.Rename(dir+"/sub/new", file), nil)
		if again, err := looker.Stat(file); err != nil || again.Ino == st.Ino || again.Size != 8 {
			t.Fatalf("round %d: %+v, %v after it was replaced", round, again, err)
		}
		_, err = look(file)
		want("stat", err, nil)
		want("rename", changer.Rename(dir, other), nil)
		_, err = looker.Stat(file)
		want("stat of a renamed directory's file", err, syscall.ENOENT)
		_, err = look(other + "/sub/f")
		want("stat under the new name", err, nil)
		want("unlink", changer.Unlink(other+"/sub/f"), nil)
		_, err = looker.Stat(other + "/sub/f")
		want("stat of a removed file", err, syscall.ENOENT)
		want("rmdir", changer.Rmdir(other+"/sub"), nil)
		_, err = looker.Open(other+"/sub/f", unix.O_CREAT|unix.O_RDWR, 0o644)
		want("create in a removed directory", err, syscall.ENOENT)
		want("mkdir", changer.Mkdir(other+"/sub", 0o755), nil)
		put(t, looker, other+"/sub/f", []byte("in the new one"))
		if got := get(t, changer, other+"/sub/f"); string(got) != "in the new one" {
			t.Fatalf("round %d: %q", round, got)
		}
	}
}

// TestCopies counts how often payloads are copied. In place: once, by the client. By message: once, out of the client's buffer into the store's memory
// (the transport fetches it there), and once out of the store's into the client's.
func TestCopies(t *testing.T) {
	const piece, pieces = 1 << 20, 16
	const total = piece * pieces
	for _, mode := range []string{"readwrite", "off"} {
		t.Run(mode, func(t *testing.T) {
			socket := filepath.Join(t.TempDir(), "metrics")
			c := cluster.Start(t, cluster.Options{Nodes: 1, Settings: map[string]string{"daemon.metrics": "unix:" + socket}})
			a := agent.MustStart(t, env(c, map[string]string{"BENCHFS_DATA_SHORTCUT": mode}))
			fd, err := a.Open("/f", unix.O_CREAT|unix.O_RDWR, 0o644)
			if err != nil {
				t.Fatal(err)
			}
			data := bytes.Repeat([]byte("copied once"), piece/11+1)[:piece]
			for i := range int64(pieces) {
				if n, err := a.Pwrite(fd, data, i*piece); err != nil || n != piece {
					t.Fatal(n, err)
				}
			}
			for i := range int64(pieces) {
				if got, err := a.Pread(fd, piece, i*piece); err != nil || !bytes.Equal(got, data) {
					t.Fatal("what was read is not what was written", err)
				}
			}
			var s struct {
				Client struct {
					InPlace   uint64 `json:"bytes_in_place"`
					ByMessage uint64 `json:"bytes_by_message"`
				} `json:"client"`
			}
			text, err := a.Stats()
			if err == nil {
				err = json.Unmarshal(text, &s)
			}
			if err != nil {
				t.Fatal(err)
			}
			moved := map[string]uint64{}
			for _, name := range []string{"sent", "fetched", "buffered"} {
				moved[name] = metric(t, socket, "benchfs_shards_moved_"+name+"_bytes")
			}
			want, inPlace, byMessage := map[string]uint64{"sent": 0, "fetched": 0, "buffered": 0}, uint64(2*total), uint64(0)
			if mode == "off" {
				want, inPlace, byMessage = map[string]uint64{"sent": total, "fetched": total, "buffered": 0}, 0, 2*total
			}
			if !maps.Equal(moved, want) || s.Client.InPlace != inPlace || s.Client.ByMessage != byMessage {
				t.Errorf("the shard has moved %v, want %v; the client %+v", moved, want, s.Client)
			}
			if err := a.Close(fd); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// metric reads one of the first shard's metrics.
func metric(t *testing.T, socket, name string) uint64 {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	answer, err := client.Get("http://benchfsd/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		if value, found := strings.CutPrefix(lines.Text(), name+`{shard="0"} `); found {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatal(err)
			}
			return uint64(n)
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}
