package meta

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/benchfs/benchfs/internal/inode"
	"github.com/benchfs/benchfs/internal/wal"
)

// These tests run on the real log.

func openDir(t testing.TB, o Options, dir string) *Shard {
	t.Helper()
	o.Dir = dir
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// crashed copies the files of a shard that is still open: what a killed process leaves.
func crashed(t testing.TB, dir string) string {
	t.Helper()
	to := t.TempDir()
	files, err := os.ReadDir(dir)
	want(t, err, nil)
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		want(t, err, nil)
		want(t, os.WriteFile(filepath.Join(to, f.Name()), b, 0o600), nil)
	}
	return to
}

func TestKilledShardComesBack(t *testing.T) {
	dir, o := t.TempDir(), testOptions()
	s := openDir(t, o, dir)
	m := newModel(t, seeded(t), s)
	m.steady = true
	for i := range 3000 {
		m.step()
		switch i {
		case 1000:
			want(t, s.Checkpoint(), nil)
			if s.LogBytes() != 0 {
				t.Fatalf("%d bytes of log after a checkpoint", s.LogBytes())
			}
		case 500, 1001, 2000:
			sameState(t, "killed", openDir(t, o, crashed(t, dir)), s)
		}
	}
	want(t, s.Sync()(), nil)
	if s.LogBytes() == 0 {
		t.Fatal("nothing in the log")
	}
	sameState(t, "killed", openDir(t, o, crashed(t, dir)), s)
	wanted := dump(s)
	want(t, s.Close(), nil)
	sameDump(t, "closed and opened", dump(openDir(t, o, dir)), wanted)
}

func TestOpenedTwice(t *testing.T) {
	dir := t.TempDir()
	openDir(t, testOptions(), dir)
	o := testOptions()
	o.Dir = dir
	_, err := Open(o)
	want(t, err, syscall.EBUSY)
}

func TestWrongOwner(t *testing.T) {
	for _, checkpoint := range []bool{false, true} {
		dir := t.TempDir()
		s := openDir(t, testOptions(), dir)
		if checkpoint {
			want(t, s.Checkpoint(), nil)
		}
		want(t, s.Close(), nil)
		for _, o := range []Options{{Shard: 1, Shards: 4, Dir: dir}, {Shard: 0, Shards: 5, Dir: dir}} {
			_, err := Open(o)
			want(t, err, syscall.EINVAL)
		}
	}
	_, err := Open(Options{Shard: 4, Shards: 4})
	want(t, err, syscall.EINVAL)
	_, err = Open(Options{Dir: filepath.Join(t.TempDir(), "none"), Shards: 1})
	want(t, err, syscall.ENOENT)
}

// logTail returns the only log file of a directory, its bytes, and where its last byte that is not zero is.
func logTail(t testing.TB, dir string) (path string, b []byte, last int) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, logName+".log.*"))
	want(t, err, nil)
	if len(paths) != 1 {
		t.Fatalf("log files %v", paths)
	}
	b, err = os.ReadFile(paths[0])
	want(t, err, nil)
	for last = len(b) - 1; b[last] == 0; last-- {
	}
	return paths[0], b, last
}

func TestTornTailIsCut(t *testing.T) {
	dir, o := t.TempDir(), testOptions()
	s := openDir(t, o, dir)
	create(t, s, inode.Root, "kept", inode.File)
	wanted := dump(s)
	create(t, s, inode.Root, "torn", inode.File)
	copied := crashed(t, dir)
	path, b, last := logTail(t, copied)
	b[last] ^= 0xff
	want(t, os.WriteFile(path, b, 0o600), nil)
	again := openDir(t, o, copied)
	sameDump(t, "without the torn record", dump(again), wanted)
	create(t, again, inode.Root, "torn", inode.File)
}

func TestBadRecordIsReported(t *testing.T) {
	dir, o := t.TempDir(), testOptions()
	s := openDir(t, o, dir)
	create(t, s, inode.Root, "kept", inode.File)
	wanted := dump(s)
	_, _, at := logTail(t, dir)
	create(t, s, inode.Root, "bad", inode.File)
	create(t, s, inode.Root, "behind", inode.File)
	want(t, s.Close(), nil)
	path, b, _ := logTail(t, dir)
	b[at+40] ^= 0xff
	want(t, os.WriteFile(path, b, 0o600), nil)
	o.Dir = dir
	_, err := Open(o)
	var damage *wal.Corrupt
	if !errors.As(err, &damage) {
		t.Fatalf("bad record in the middle: %v", err)
	}
	o.Recover = wal.CutAtBadRecord
	sameDump(t, "before the bad record", dump(openDir(t, o, dir)), wanted)
}
