package bridge

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/benchfs/benchfs/core/client"
	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/internal/inode"
)

func TestHandlesOfTheOtherKindAreRefused(t *testing.T) {
	f := started(t)
	fd := f.file("/a")
	dir := f.handle(f.OpenDir("/"))
	var e Entry
	f.fails(syscall.EBADF, f.ReadDir(fd, &e))
	f.fails(syscall.EBADF, f.CloseDir(fd))
	f.fails(syscall.EBADF, f.Read(dir, nil))
	f.fails(syscall.EBADF, f.Close(dir))
	if !strings.Contains(f.last(), "handle") {
		t.Errorf("reported %q", f.last())
	}
	f.want(0, f.Close(fd))
	f.want(0, f.CloseDir(dir))
}

func TestDupSharesTheOffset(t *testing.T) {
	f := started(t)
	fd := f.file("/a")
	other := f.handle(f.Dup(fd))
	f.want(3, f.Write(fd, []byte("abc")))
	f.want(3, f.Seek(other, 0, 1))
	f.want(0, f.Close(fd))
	f.want(1, f.Seek(other, 1, 0))
	buf := make([]byte, 4)
	f.want(2, f.Read(other, buf))
	if string(buf[:2]) != "bc" {
		t.Errorf("read %q", buf[:2])
	}
	f.want(0, f.Close(other))
}

func TestVectors(t *testing.T) {
	f := started(t)
	fd := f.file("/a")
	a, b := []byte("hello "), []byte("world")
	vector := func(bufs ...[]byte) []syscall.Iovec {
		var iov []syscall.Iovec
		for _, p := range bufs {
			iov = append(iov, syscall.Iovec{Base: &p[0], Len: uint64(len(p))})
		}
		return append(iov, syscall.Iovec{})
	}
	f.want(11, f.Writev(fd, vector(a, b)))
	f.want(11, f.Pwritev(fd, vector(a, b), 11))
	x, y := make([]byte, 4), make([]byte, 20)
	f.want(22, f.Preadv(fd, vector(x, y), 0))
	if string(x)+string(y[:18]) != "hello worldhello world" {
		t.Errorf("read %q %q", x, y)
	}
	f.want(11, f.Readv(fd, vector(x, y)))
	f.want(0, f.Close(fd))
}

func TestPathsStartAtADirectoryHandle(t *testing.T) {
	f := started(t)
	f.want(0, f.Mkdir(AtRoot, "/d", 0o755))
	dir := f.handle(f.Open(AtRoot, "/d", syscall.O_RDONLY|syscall.O_DIRECTORY, 0))
	fd := f.handle(f.Open(dir, "a", rw, 0o600))
	var st Stat
	f.want(0, f.StatAt(AtRoot, "/d/a", 0, &st))
	f.want(0, f.Rename(dir, "a", AtRoot, "/b"))
	f.want(0, f.StatAt(AtRoot, "b", 0, &st))
	f.want(0, f.StatAt(fd, "/b", 0, &st)) // an absolute path: the handle does not matter
	f.fails(syscall.ENOTDIR, f.StatAt(fd, "b", 0, &st))
	f.fails(syscall.EBADF, f.StatAt(7, "b", 0, &st))
	f.fails(syscall.ENOENT, f.StatAt(7, "", 0, &st))
	f.want(0, f.StatAt(fd, "", unix.AT_EMPTY_PATH, &st))
	if st.Mode != syscall.S_IFREG|0o600 {
		t.Errorf("mode %o", st.Mode)
	}
	f.want(0, f.StatAt(AtRoot, "", unix.AT_EMPTY_PATH, &st))
	if st.Mode&syscall.S_IFMT != syscall.S_IFDIR {
		t.Errorf("the root has mode %o", st.Mode)
	}
	f.fails(syscall.EINVAL, f.StatAt(AtRoot, "/b", 0x40000000, &st))
	f.fails(syscall.EINVAL, f.ChmodAt(AtRoot, "/b", 0o600, unix.AT_EMPTY_PATH))
	f.fails(syscall.EINVAL, f.Link(AtRoot, "/b", AtRoot, "/c", unix.AT_SYMLINK_NOFOLLOW))
	f.fails(syscall.EINVAL, f.Unlink(AtRoot, "/b", unix.AT_SYMLINK_NOFOLLOW))
	f.want(0, f.Unlink(dir, "../b", 0))
	f.want(0, f.Unlink(AtRoot, "d", unix.AT_REMOVEDIR))
	f.want(0, f.Close(fd))
	f.want(0, f.Close(dir))
}

func TestDirectoryStreams(t *testing.T) {
	f := started(t)
	f.want(0, f.Mkdir(AtRoot, "/d", 0o755))
	f.want(0, f.Close(f.file("/f")))
	f.want(0, f.Symlink("f", AtRoot, "/l"))
	top := f.handle(f.Open(AtRoot, "/", syscall.O_RDONLY, 0))
	dir := f.handle(f.FdOpenDir(top))
	f.want(0, f.Close(top)) // the stream has its own hold
	kinds := map[string]uint32{}
	var e Entry
	for f.ReadDir(dir, &e) == 1 {
		kinds[e.Name] = e.Kind
		f.want(e.Cookie, f.TellDir(dir))
	}
	want := map[string]uint32{".": 4, "..": 4, "d": 4, "f": 8, "l": 10}
	if len(kinds) != len(want) {
		t.Errorf("read %v", kinds)
	}
	for name, kind := range want {
		if kinds[name] != kind {
			t.Errorf("%s is of kind %d, want %d", name, kinds[name], kind)
		}
	}
	f.want(0, f.SeekDir(dir, 0))
	var names []string
	var modes []uint32
	collect := func(_ int, e *Entry, st *Stat) {
		names, modes = append(names, e.Name), append(modes, st.Mode&syscall.S_IFMT)
	}
	f.want(4, f.ReadDirMany(dir, 4, collect))
	f.want(1, f.ReadDirMany(dir, 4, collect))
	f.want(0, f.ReadDirMany(dir, 4, collect))
	at := slices.Index(names, "l")
	if at < 0 || modes[at] != syscall.S_IFLNK {
		t.Errorf("read %v with types %o", names, modes)
	}
	f.fails(syscall.EINVAL, f.ReadDirMany(dir, 0, collect))
	f.fails(syscall.EINVAL, f.SeekDir(dir, -1))
	f.want(0, f.CloseDir(dir))
}

func TestReadlinkCutsOff(t *testing.T) {
	f := started(t)
	f.want(0, f.Symlink("target", AtRoot, "/l"))
	buf := []byte("xxxxxxxx")
	f.want(3, f.Readlink(AtRoot, "/l", buf[:3]))
	f.want(6, f.Readlink(AtRoot, "/l", buf))
	if string(buf) != "targetxx" {
		t.Errorf("stored %q", buf)
	}
	f.fails(syscall.EINVAL, f.Readlink(AtRoot, "/l", nil))
}

func TestLayoutsAndExtents(t *testing.T) {
	f := started(t)
	fd := f.file("/a")
	f.want(0, f.FsetLayout(fd, Layout{ChunkBytes: 64 << 10, Strategy: 2}))
	var l Layout
	f.want(0, f.GetLayout("/a", &l))
	if l.ChunkBytes != 64<<10 || l.Strategy != 2 || l.Shards != 1 {
		t.Errorf("layout %+v", l)
	}
	f.want(3, f.Pwrite(fd, []byte("abc"), 100))
	f.fails(syscall.EBUSY, f.FsetLayout(fd, Layout{ChunkBytes: 128 << 10, Strategy: 2}))
	var extents []client.Extent
	f.want(1, f.Locate(fd, 0, 1000, 4, func(_ int, e *client.Extent) { extents = append(extents, *e) }))
	if len(extents) != 1 || extents[0].Length != 103 {
		t.Errorf("extents %+v", extents)
	}
	f.want(1, f.Locate(fd, 0, 1000, 0, func(int, *client.Extent) { t.Error("no room was given") }))
	for _, bad := range []Layout{{Strategy: 4}, {Strategy: 1, ChunkBytes: 3 << 16}, {Strategy: 1, ChunkBytes: 1}, {Strategy: 1, ChunkBytes: 1 << 40}} {
		f.fails(syscall.EINVAL, f.SetLayout("/", bad))
	}
	f.want(0, f.Close(fd))
}

func TestStatsIsJSONAndTellsItsLength(t *testing.T) {
	f := started(t)
	fd := f.file("/a")
	n := f.Stats(nil)
	buf := make([]byte, n+100)
	for i := range buf {
		buf[i] = 'x'
	}
	n = f.Stats(buf)
	var s Stats
	if err := json.Unmarshal(buf[:n], &s); err != nil || s.OpenHandles != 1 || s.Version != "1.2.3" || buf[n] != 0 {
		t.Errorf("stats %q: %v", buf[:n+1], err)
	}
	small := []byte("xxxx")
	f.Stats(small[:3])
	if string(small) != `{"`+"\x00x" {
		t.Errorf("stored %q", small)
	}
	f.want(0, f.Close(fd))
}

func TestStatfs(t *testing.T) {
	f := started(t)
	fd := f.file("/a")
	var byPath, byHandle Statfs
	f.want(0, f.Statfs("/a", &byPath))
	f.want(0, f.Fstatfs(fd, &byHandle))
	if byPath.Blocks == 0 || byPath.Free > byPath.Blocks || byPath.FilesFree == 0 || byPath.MaxNameBytes != 255 || byPath.Blocks != byHandle.Blocks {
		t.Errorf("%+v, %+v", byPath, byHandle)
	}
	f.fails(syscall.ENOENT, f.Statfs("/none", &byPath))
	f.want(0, f.Close(fd))
	f.fails(syscall.EBADF, f.Fstatfs(fd, &byPath))
}

func TestStatOf(t *testing.T) {
	s, err := statOf(&inode.Attr{
		Kind: inode.File, Mode: 0o4755, Size: 1025, Mtime: -1, Atime: 1_500_000_000, Layout: layout.Layout{ChunkBits: 26},
	})
	if err != nil {
		t.Fatal(err)
	}
	if s.Mode != syscall.S_IFREG|0o4755 || s.Blocks != 3 || s.BlockSize != maxBlockSize ||
		s.Mtime != (Timespec{-1, 999_999_999}) || s.Atime != (Timespec{1, 500_000_000}) {
		t.Errorf("%+v", s)
	}
	if _, err := statOf(&inode.Attr{Kind: inode.File, Size: 1 << 63}); err == nil {
		t.Error("a size beyond off_t was told")
	}
}

func TestTimeOf(t *testing.T) {
	for _, c := range []struct {
		in   Timespec
		want client.Time
	}{
		{Timespec{1, 5}, client.Time{NS: 1_000_000_005}},
		{Timespec{-1, 999_999_999}, client.Time{NS: -1}},
		{Timespec{5, unix.UTIME_NOW}, client.Time{Now: true}},
		{Timespec{-5, unix.UTIME_OMIT}, client.Time{Omit: true}},
		{Timespec{math.MaxInt64, 0}, client.Time{NS: math.MaxInt64}},
		{Timespec{math.MinInt64, 0}, client.Time{NS: math.MinInt64}},
	} {
		if got, err := timeOf(c.in); err != nil || got != c.want {
			t.Errorf("timeOf(%+v) = %+v, %v, want %+v", c.in, got, err, c.want)
		}
	}
	for _, nsec := range []int64{-1, 1e9, math.MaxInt64} {
		if _, err := timeOf(Timespec{0, nsec}); err == nil {
			t.Errorf("tv_nsec %d was accepted", nsec)
		}
	}
}

func TestUtimens(t *testing.T) {
	f := started(t)
	fd := f.file("/a")
	f.want(0, f.Futimens(fd, [2]Timespec{{100, 1}, {200, 2}}))
	f.want(0, f.UtimensAt(AtRoot, "/a", [2]Timespec{{0, unix.UTIME_OMIT}, {300, 3}}, 0))
	var st Stat
	f.want(0, f.Fstat(fd, &st))
	if st.Atime != (Timespec{100, 1}) || st.Mtime != (Timespec{300, 3}) {
		t.Errorf("%+v", st)
	}
	f.fails(syscall.EINVAL, f.Futimens(fd, [2]Timespec{{0, -1}, {0, 0}}))
	f.want(0, f.UtimensAt(AtRoot, "/a", Now, 0))
	f.want(0, f.Close(fd))
}

// Rule 3: nothing is allocated per read or write.
func TestTransfersAllocateNothing(t *testing.T) {
	f := started(t)
	fd := f.file("/a")
	buf := make([]byte, 4096)
	iov := []syscall.Iovec{{Base: &buf[0], Len: 2048}, {Base: &buf[2048], Len: 2048}}
	f.want(4096, f.Pwrite(fd, buf, 0))
	for name, call := range map[string]func() int64{
		"pread":   func() int64 { return f.Pread(fd, buf, 0) },
		"pwrite":  func() int64 { return f.Pwrite(fd, buf, 0) },
		"preadv":  func() int64 { return f.Preadv(fd, iov, 0) },
		"pwritev": func() int64 { return f.Pwritev(fd, iov, 0) },
	} {
		call()
		n := testing.AllocsPerRun(200, func() {
			if f.guarded(call) != 4096 {
				t.Fatal(name, f.last())
			}
		})
		if n != 0 && !raceEnabled {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
	f.want(0, f.Close(fd))
}

func BenchmarkPread4K(b *testing.B) {
	f := started(b)
	fd := f.file("/a")
	buf := make([]byte, 4096)
	f.want(4096, f.Pwrite(fd, buf, 0))
	b.ReportAllocs()
	for b.Loop() {
		f.Pread(fd, buf, 0)
	}
	f.want(0, f.Close(fd))
}
