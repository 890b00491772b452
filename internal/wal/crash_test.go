package wal

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/benchfs/benchfs/fserr"
)

// logOf makes a closed log of small records and returns its directory, its only file, and the offset of each record.
func logOf(t *testing.T, records ...string) (dir, path string, offsets []int64) {
	t.Helper()
	dir = t.TempDir()
	l, s := open(t, dir, Refuse)
	for _, rec := range records {
		offsets = append(offsets, l.tail)
		mustAppend(t, l, s, rec)
	}
	mustClose(t, l)
	return dir, filepath.Join(dir, "t.log.0"), offsets
}

// patch changes bytes of a file in place.
func patch(t *testing.T, path string, off int64, change func(b []byte)) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err == nil {
		change(data[off:])
		err = os.WriteFile(path, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func zero(n int) func(b []byte) { return func(b []byte) { clear(b[:n]) } }

func TestTornTailIsCutWhereverItTears(t *testing.T) {
	dir, path, offsets := logOf(t, "first", "second", "the third record, which is torn")
	end := offsets[2] + recordSpan(31)
	for at := offsets[2]; at < end; at++ {
		torn := copyDir(t, dir)
		patch(t, filepath.Join(torn, filepath.Base(path)), at, zero(int(end-at)))
		l, s := open(t, torn, Refuse)
		whole := at >= offsets[2]+recordHeader+31 // only padding was hit
		if n := len(s.records); n != 2 && !whole || whole && n != 3 {
			t.Fatalf("torn at %d: %d records", at, n)
		}
		mustAppend(t, l, s, "appended after the cut")
		mustClose(t, l)
		again, got := open(t, torn, Refuse)
		got.equal(t, s.records)
		mustClose(t, again)
	}
}

func TestProcessDyingInsideAppendLeavesATornTail(t *testing.T) {
	dir, path, offsets := logOf(t, "first", "second, without its length")
	patch(t, path, offsets[1], zero(4))
	l, s := open(t, dir, Refuse)
	if len(s.records) != 1 || len(l.Dropped()) != 1 || l.Dropped()[0].Records != 0 {
		t.Fatalf("%d records, dropped %+v", len(s.records), l.Dropped())
	}
	// The cut left zeros: a shorter record in the place of the torn one must end the log again.
	mustAppend(t, l, s, "x")
	mustClose(t, l)
	_, got := open(t, dir, Refuse)
	got.equal(t, s.records)
}

func TestBadRecordInTheMiddle(t *testing.T) {
	for _, c := range []struct {
		name   string
		at     int64 // relative to the second record
		change func(b []byte)
	}{
		{"length zeroed", 0, zero(4)},
		{"length beyond the file", 0, func(b []byte) { binary.LittleEndian.PutUint32(b, 1<<29) }},
		{"length wrong", 0, func(b []byte) { b[0]++ }},
		{"check wrong", 4, func(b []byte) { b[0] ^= 1 }},
		{"payload wrong", 9, func(b []byte) { b[0] ^= 0x80 }},
		{"all zeros", 0, zero(16)},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, path, offsets := logOf(t, "first", "second", "third", "fourth")
			patch(t, path, offsets[1]+c.at, c.change)
			before, _ := os.ReadFile(path)
			_, _, err := tryOpen(dir, Refuse)
			var corrupt *Corrupt
			if !errors.As(err, &corrupt) || corrupt.File != path || corrupt.Offset != offsets[1] || corrupt.Reason == "" {
				t.Fatalf("open: %v", err)
			}
			if after, _ := os.ReadFile(path); string(after) != string(before) {
				t.Fatal("a refused log was changed")
			}
			l, s := open(t, dir, CutAtBadRecord)
			if d := l.Dropped(); len(s.records) != 1 || len(d) != 1 || d[0].Records != 2 || d[0].Offset != offsets[1] {
				t.Fatalf("%d records, dropped %+v", len(s.records), d)
			}
			mustAppend(t, l, s, "new second")
			mustClose(t, l)
			_, got := open(t, dir, Refuse)
			got.equal(t, s.records)
		})
	}
}

func TestAfterARebootUnsyncedHolesAreTorn(t *testing.T) {
	dir := t.TempDir()
	l, s := open(t, dir, Refuse)
	mustAppend(t, l, s, "synced")
	if err := l.Sync()(); err != nil {
		t.Fatal(err)
	}
	hole := l.tail
	mustAppend(t, l, s, "lost page")
	mustAppend(t, l, s, "page that made it")
	path := l.file.path
	crashed := copyDir(t, dir) // Close would sync
	path = filepath.Join(crashed, filepath.Base(path))
	patch(t, path, hole, zero(16))
	patch(t, path, bootOffset, func(b []byte) { b[0] ^= 0xff })
	damaged := copyDir(t, crashed)

	_, got := open(t, crashed, Refuse)
	got.equal(t, s.records[:1])

	// The same reboot does not excuse a bad record in the part that was synced.
	patch(t, filepath.Join(damaged, filepath.Base(path)), headerBytes, zero(8))
	patch(t, filepath.Join(damaged, filepath.Base(path)), hole, func(b []byte) {
		binary.LittleEndian.PutUint32(b[4:], recordCheck(l.file.salt, hole, []byte("whole")))
		copy(b[recordHeader:], "whole")
		b[0] = 5
	})
	var corrupt *Corrupt
	if _, _, err := tryOpen(damaged, Refuse); !errors.As(err, &corrupt) || corrupt.Offset != headerBytes {
		t.Fatalf("damage in the synced part: %v", err)
	}
}

func TestBadHeaderAndSnapshotAreCorrupt(t *testing.T) {
	dir := t.TempDir()
	l, s := open(t, dir, Refuse)
	mustAppend(t, l, s, "in the snapshot")
	if err := l.Checkpoint(s.save); err != nil {
		t.Fatal(err)
	}
	mustClose(t, l)
	for _, c := range []struct {
		file   string
		offset int64
	}{
		{"t.log.1", 0}, {"t.log.1", 9}, {"t.log.1", 16}, {"t.log.1", 24},
		{"t.snap.1", 0}, {"t.snap.1", 8}, {"t.snap.1", 16}, {"t.snap.1", 30}, {"t.snap.1", 45},
	} {
		for _, recovery := range []Recover{Refuse, CutAtBadRecord} {
			bad := copyDir(t, dir)
			patch(t, filepath.Join(bad, c.file), c.offset, func(b []byte) { b[0] ^= 0x10 })
			var corrupt *Corrupt
			if _, _, err := tryOpen(bad, recovery); !errors.As(err, &corrupt) {
				t.Errorf("%s changed at %d: %v", c.file, c.offset, err)
			}
		}
	}
	bad := copyDir(t, dir)
	if err := os.Remove(filepath.Join(bad, "t.log.1")); err != nil {
		t.Fatal(err)
	}
	var corrupt *Corrupt
	if _, _, err := tryOpen(bad, Refuse); !errors.As(err, &corrupt) {
		t.Errorf("missing log: %v", err)
	}
}

var checkpointSteps = []string{"write snapshot", "create log", "sync directory", "rename snapshot", "sync renamed", "remove old"}

// At every step of a checkpoint the directory, as a killed process would leave it, holds the whole state.
func TestCheckpointCrashesAtEachStep(t *testing.T) {
	dir := t.TempDir()
	l, s := open(t, dir, Refuse)
	var seen []string
	for round := range 3 {
		mustAppend(t, l, s, fmt.Sprint("record of round ", round))
		l.fault = func(step string) error {
			seen = append(seen, step)
			crashed := copyDir(t, dir)
			again, got := open(t, crashed, Refuse)
			got.equal(t, s.records)
			mustAppend(t, again, got, "goes on")
			mustClose(t, again)
			if files, _ := filepath.Glob(filepath.Join(crashed, "t.*")); len(files) > 3 {
				t.Errorf("left-overs after a crash at %q: %v", step, files)
			}
			return nil
		}
		if err := l.Checkpoint(s.save); err != nil {
			t.Fatal(err)
		}
		l.fault = nil
	}
	if got, want := strings.Join(seen[:len(checkpointSteps)], ","), strings.Join(checkpointSteps, ","); got != want {
		t.Fatalf("steps %s, want %s", got, want)
	}
}

// A step that fails leaves a log that goes on, or one that says that it cannot; never one that loses what it acknowledged.
func TestCheckpointFailsAtEachStep(t *testing.T) {
	for _, failing := range checkpointSteps {
		t.Run(failing, func(t *testing.T) {
			dir := t.TempDir()
			l, s := open(t, dir, Refuse)
			mustAppend(t, l, s, "before")
			l.fault = func(step string) error {
				if step == failing {
					return syscall.EIO
				}
				return nil
			}
			if err := l.Checkpoint(s.save); fserr.Errno(err) != syscall.EIO {
				t.Fatalf("checkpoint: %v", err)
			}
			l.fault = nil
			if err := l.Append([]byte("after")); err == nil {
				_ = s.add([]byte("after"))
			} else if failing != "sync renamed" {
				t.Fatal(err)
			}
			mustClose(t, l)
			_, got := open(t, dir, Refuse)
			got.equal(t, s.records)
		})
	}
}

func TestSnapshotErrorOfTheOwner(t *testing.T) {
	dir := t.TempDir()
	l, s := open(t, dir, Refuse)
	mustAppend(t, l, s, "kept")
	if err := l.Checkpoint(func(io.Writer) error { return syscall.ENOMEM }); !errors.Is(err, syscall.ENOMEM) {
		t.Fatalf("checkpoint: %v", err)
	}
	mustAppend(t, l, s, "kept too")
	mustClose(t, l)
	_, got := open(t, dir, Refuse)
	got.equal(t, s.records)
}

const childEnv = "BENCHFS_WAL_TEST_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		appendForEver(dir)
	}
	os.Exit(m.Run())
}

// appendForEver acknowledges each record on standard output after Append has returned.
func appendForEver(dir string) {
	l, s, err := tryOpen(dir, Refuse)
	for i := len(s.records); err == nil; i++ {
		rec := fmt.Sprintf("%d %s", i, strings.Repeat("x", i%5000))
		err = l.Append([]byte(rec))
		_ = s.add([]byte(rec))
		if err == nil {
			fmt.Println(i)
		}
		if i%700 == 699 && err == nil {
			err = l.Checkpoint(s.save)
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func TestKilledProcessLosesNothingAcknowledged(t *testing.T) {
	dir := t.TempDir()
	for round := range 4 {
		child := exec.Command(os.Args[0], "-test.run=^$")
		child.Env = append(os.Environ(), childEnv+"="+dir)
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		if err == nil {
			err = child.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		acknowledged := -1
		lines := bufio.NewScanner(out)
		for count := 0; lines.Scan(); count++ {
			if acknowledged, err = strconv.Atoi(lines.Text()); err != nil {
				t.Fatal(err)
			}
			if count == 300+round*237 {
				_ = child.Process.Kill() // what was still in the pipe is read and counts too
			}
		}
		_ = child.Wait()
		l, got := open(t, dir, Refuse)
		if len(got.records) <= acknowledged {
			t.Fatalf("record %d was acknowledged, %d are there", acknowledged, len(got.records))
		}
		for i, rec := range got.records {
			if want := fmt.Sprintf("%d %s", i, strings.Repeat("x", i%5000)); string(rec) != want {
				t.Fatalf("record %d is %.40q", i, rec)
			}
		}
		mustClose(t, l)
	}
}

// FuzzReplay feeds arbitrary bytes as the records of a log: no panic, and whatever is replayed is what an intact log would
// say; after a repair the log is usable.
func FuzzReplay(f *testing.F) {
	f.Add([]byte{}, uint16(0), byte(0))
	f.Add([]byte("\x05\x00\x00\x00abcdhello\x00\x00\x00"), uint16(3), byte(1))
	f.Add(make([]byte, 200), uint16(80), byte(0xff))
	f.Fuzz(func(t *testing.T, garbage []byte, at uint16, flip byte) {
		const salt = 12345
		// A good log of two records, then the garbage; one byte of all that changed.
		data := make([]byte, headerBytes)
		good := [][]byte{[]byte("first record"), []byte("second")}
		for _, rec := range good {
			data = appendRecord(data, salt, rec)
		}
		data = append(data, garbage...)
		data[headerBytes+int(at)%(len(data)-headerBytes)] ^= flip
		reader := logReader{data: data, salt: salt, off: headerBytes}
		count := 0
		for {
			before := reader.off
			rec, ok := reader.next()
			if !ok {
				break
			}
			if reader.off <= before || recordCheck(salt, before, rec) != binary.LittleEndian.Uint32(data[before+4:]) {
				t.Fatal("a record that does not check, or no progress")
			}
			count++
		}
		if flip == 0 && count < len(good) {
			t.Fatalf("%d of the good records replayed", count)
		}
		reader.validAfter()
		_ = reader.reason()
		lastNonZero(data, reader.off)
	})
}

func appendRecord(data []byte, salt uint64, rec []byte) []byte {
	at := int64(len(data))
	data = binary.LittleEndian.AppendUint32(data, uint32(len(rec)))
	data = binary.LittleEndian.AppendUint32(data, recordCheck(salt, at, rec))
	data = append(data, rec...)
	return append(data, make([]byte, recordSpan(int64(len(rec)))-recordHeader-int64(len(rec)))...)
}
