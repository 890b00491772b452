package posix

import (
	"fmt"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

var dirCases = []Case{
	{"dir/empty", func(t *T) { t.mkdir("d"); t.contains("d") }},
	{"dir/dot-and-dot-dot", func(t *T) {
		t.mkdir("d", "d/e")
		d, err := t.Opendir(t.p("d/e"))
		t.ok(err)
		list, err := t.Readdir(d, 10)
		t.ok(err)
		t.ok(t.Closedir(d))
		inos := map[string]uint64{}
		for _, e := range list {
			inos[e.Name] = e.Ino
		}
		t.equal("entries", len(list), 2)
		t.equal("inode of .", inos["."], t.stat("d/e").Ino)
		t.equal("inode of ..", inos[".."], t.stat("d").Ino)
	}},
	{"dir/lists-all-kinds", func(t *T) {
		t.mkdir("d", "d/sub")
		t.file("d/f", "")
		t.ok(t.Symlink("x", t.p("d/s")))
		got := t.list("d")
		t.equal("entries", len(got), 3)
		t.equal("inode", got["f"], t.stat("d/f").Ino)
		t.equal("inode", got["s"], t.lstat("d/s").Ino)
	}},
	{"dir/a-thousand-entries", func(t *T) {
		t.mkdir("d")
		var want []string
		for i := range 1000 {
			name := fmt.Sprintf("entry-%d", i)
			want = append(want, name)
			t.file("d/"+name, "")
		}
		t.contains("d", want...)
	}},
	{"dir/missing", func(t *T) { _, err := t.Opendir(t.p("d")); t.fails(err, unix.ENOENT) }},
	{"dir/file", func(t *T) { t.file("f", ""); _, err := t.Opendir(t.p("f")); t.fails(err, unix.ENOTDIR) }},
	{"dir/through-symlink", func(t *T) {
		t.mkdir("d")
		t.file("d/f", "")
		t.ok(t.Symlink("d", t.p("s")))
		t.contains("s", "f")
	}},
	{"dir/closed-stream", func(t *T) {
		d, err := t.Opendir(t.dir)
		t.ok(err)
		t.ok(t.Closedir(d))
		_, err = t.Readdir(d, 1)
		t.fails(err, unix.EBADF)
		t.fails(t.Closedir(d), unix.EBADF)
	}},
	{"dir/seek-to-each-entry", func(t *T) {
		t.mkdir("d")
		for i := range 30 {
			t.file(fmt.Sprintf("d/%d", i), "")
		}
		d, err := t.Opendir(t.p("d"))
		t.ok(err)
		defer func() { t.ok(t.Closedir(d)) }()
		all, err := t.Readdir(d, 100)
		t.ok(err)
		t.equal("entries", len(all), 32)
		for i := len(all) - 2; i >= 0; i -= 3 {
			t.ok(t.Seekdir(d, all[i].Cookie))
			next, err := t.Readdir(d, 1)
			t.ok(err)
			t.equal("entries", len(next), 1)
			t.equal("name", next[0].Name, all[i+1].Name)
		}
	}},
	{"dir/unlink-while-reading", func(t *T) {
		t.mkdir("d")
		for i := range 200 {
			t.file(fmt.Sprintf("d/%d", i), "")
		}
		d, err := t.Opendir(t.p("d"))
		t.ok(err)
		seen := 0
		for {
			page, err := t.Readdir(d, 10)
			t.ok(err)
			if len(page) == 0 {
				break
			}
			for _, e := range page {
				if e.Name != "." && e.Name != ".." {
					seen++
					t.ok(t.Unlink(t.p("d/" + e.Name)))
				}
			}
		}
		t.ok(t.Closedir(d))
		t.equal("entries seen", seen, 200)
		t.ok(t.Rmdir(t.p("d")))
	}},
	{"dir/create-while-reading", func(t *T) { // what was there is listed exactly once, whatever is added
		t.mkdir("d")
		for i := range 100 {
			t.file(fmt.Sprintf("d/old-%d", i), "")
		}
		d, err := t.Opendir(t.p("d"))
		t.ok(err)
		old := map[string]int{}
		for i := 0; ; i++ {
			page, err := t.Readdir(d, 5)
			t.ok(err)
			if len(page) == 0 {
				break
			}
			for _, e := range page {
				if strings.HasPrefix(e.Name, "old-") {
					old[e.Name]++
				}
			}
			if i < 50 {
				t.file(fmt.Sprintf("d/new-%d", i), "")
			}
		}
		t.ok(t.Closedir(d))
		t.equal("old entries", len(old), 100)
		for name, n := range old {
			t.equal(name, n, 1)
		}
	}},
	{"dir/mtime-on-create", func(t *T) {
		t.mkdir("d")
		past := syscall.Timespec{Sec: 1000}
		t.ok(t.Utimens(t.p("d"), past, past, true))
		t.file("d/f", "")
		if t.stat("d").Mtime <= past.Nano() {
			t.Fatal("mtime did not advance")
		}
	}},
	{"dir/mtime-on-unlink", func(t *T) {
		t.mkdir("d")
		t.file("d/f", "")
		past := syscall.Timespec{Sec: 1000}
		t.ok(t.Utimens(t.p("d"), past, past, true))
		t.equal("mtime", t.stat("d").Mtime, past.Nano())
		t.ok(t.Unlink(t.p("d/f")))
		if t.stat("d").Mtime <= past.Nano() {
			t.Fatal("mtime did not advance")
		}
	}},
}

// between wants a time stamp to be that of a call made between two moments. The coarse clock of local file systems lags by a tick.
func (t *T) between(what string, ns int64, from, to time.Time) {
	t.Helper()
	const tick = 20 * time.Millisecond
	if ns < from.Add(-tick).UnixNano() || ns > to.Add(tick).UnixNano() {
		t.Fatalf("%s is %v, not between %v and %v", what, time.Unix(0, ns), from, to)
	}
}

var attrCases = []Case{
	{"attr/owner", func(t *T) {
		t.file("f", "")
		s := t.stat("f")
		t.equal("uid", s.UID, uint32(unix.Geteuid()))
		t.equal("gid", s.GID, uint32(unix.Getegid()))
	}},
	{"attr/times-of-a-new-file", func(t *T) {
		from := time.Now()
		t.file("f", "")
		to := time.Now()
		s := t.stat("f")
		t.between("atime", s.Atime, from, to)
		t.between("mtime", s.Mtime, from, to)
		t.between("ctime", s.Ctime, from, to)
	}},
	{"attr/write-advances-mtime", func(t *T) {
		fd := t.open("f", rwCreate)
		t.write(fd, "abc")
		past := syscall.Timespec{Sec: 1000, Nsec: 5}
		t.ok(t.Utimens(t.p("f"), past, past, true))
		from := time.Now()
		t.pwrite(fd, "X", 1) // inside the size
		t.between("mtime", t.stat("f").Mtime, from, time.Now())
	}},
	{"attr/extending-write-advances-mtime", func(t *T) {
		fd := t.open("f", rwCreate)
		past := syscall.Timespec{Sec: 1000, Nsec: 5}
		t.ok(t.Utimens(t.p("f"), past, past, true))
		from := time.Now()
		t.write(fd, "abc")
		s, err := t.Fstat(fd)
		t.ok(err)
		t.between("mtime", s.Mtime, from, time.Now())
	}},
	{"attr/truncate-advances-mtime", func(t *T) {
		t.file("f", "abc")
		past := syscall.Timespec{Sec: 1000}
		t.ok(t.Utimens(t.p("f"), past, past, true))
		from := time.Now()
		t.ok(t.Truncate(t.p("f"), 1))
		t.between("mtime", t.stat("f").Mtime, from, time.Now())
	}},
	{"attr/utimens", func(t *T) {
		t.file("f", "")
		t.ok(t.Utimens(t.p("f"), syscall.Timespec{Sec: 11, Nsec: 22}, syscall.Timespec{Sec: 33, Nsec: 999999999}, true))
		s := t.stat("f")
		t.equal("atime", s.Atime, int64(11_000000022))
		t.equal("mtime", s.Mtime, int64(33_999999999))
	}},
	{"attr/utimens-now", func(t *T) {
		t.file("f", "")
		t.ok(t.Utimens(t.p("f"), syscall.Timespec{Sec: 11}, syscall.Timespec{Sec: 11}, true))
		from := time.Now()
		t.ok(t.Utimens(t.p("f"), syscall.Timespec{Nsec: UtimeNow}, syscall.Timespec{Nsec: UtimeNow}, true))
		s := t.stat("f")
		t.between("atime", s.Atime, from, time.Now())
		t.between("mtime", s.Mtime, from, time.Now())
	}},
	{"attr/utimens-omit", func(t *T) {
		t.file("f", "")
		t.ok(t.Utimens(t.p("f"), syscall.Timespec{Sec: 11}, syscall.Timespec{Sec: 22}, true))
		t.ok(t.Utimens(t.p("f"), syscall.Timespec{Nsec: UtimeOmit}, syscall.Timespec{Sec: 33}, true))
		s := t.stat("f")
		t.equal("atime", s.Atime, int64(11e9))
		t.equal("mtime", s.Mtime, int64(33e9))
	}},
	{"attr/utimens-bad-nanoseconds", func(t *T) {
		t.file("f", "")
		t.fails(t.Utimens(t.p("f"), syscall.Timespec{Nsec: 1e9}, syscall.Timespec{}, true), unix.EINVAL)
	}},
	{"attr/utimens-of-symlink", func(t *T) {
		t.file("f", "")
		t.ok(t.Symlink("f", t.p("s")))
		t.ok(t.Utimens(t.p("f"), syscall.Timespec{Sec: 1}, syscall.Timespec{Sec: 1}, true))
		t.ok(t.Utimens(t.p("s"), syscall.Timespec{Sec: 5}, syscall.Timespec{Sec: 6}, false))
		t.equal("mtime", t.lstat("s").Mtime, int64(6e9))
		t.equal("mtime", t.stat("f").Mtime, int64(1e9))
	}},
	{"attr/utimens-directory", func(t *T) {
		t.mkdir("d")
		t.file("d/f", "")
		t.ok(t.Utimens(t.p("d"), syscall.Timespec{Sec: 5}, syscall.Timespec{Sec: 6}, true))
		t.equal("mtime", t.stat("d").Mtime, int64(6e9))
	}},
	{"attr/utimens-missing", func(t *T) {
		t.fails(t.Utimens(t.p("x"), syscall.Timespec{}, syscall.Timespec{}, true), unix.ENOENT)
	}},
	{"attr/chmod", func(t *T) {
		t.file("f", "")
		for _, m := range []uint32{0, 0o777, 0o640, 0o4755, 0o2755, 0o1644} {
			t.ok(t.Chmod(t.p("f"), m))
			t.equal("mode", t.stat("f").Mode&0o7777, m)
		}
	}},
	{"attr/chmod-through-symlink", func(t *T) {
		t.file("f", "")
		t.ok(t.Symlink("f", t.p("s")))
		t.ok(t.Chmod(t.p("s"), 0o600))
		t.equal("mode", t.stat("f").Mode&0o7777, uint32(0o600))
	}},
	{"attr/chmod-missing", func(t *T) { t.fails(t.Chmod(t.p("x"), 0o600), unix.ENOENT) }},
	{"attr/fchmod", func(t *T) {
		fd := t.open("f", rwCreate)
		t.ok(t.Fchmod(fd, 0o606))
		t.equal("mode", t.stat("f").Mode&0o7777, uint32(0o606))
	}},
	{"attr/chmod-advances-ctime", func(t *T) {
		t.file("f", "")
		before := t.stat("f")
		time.Sleep(30 * time.Millisecond) // not to wait for a state: so that two time stamps differ
		t.ok(t.Chmod(t.p("f"), 0o600))
		after := t.stat("f")
		if after.Ctime <= before.Ctime || after.Mtime != before.Mtime {
			t.Fatalf("before %+v, after %+v", before, after)
		}
	}},
	{"attr/chown", func(t *T) {
		if unix.Geteuid() != 0 {
			t.Skip("giving files away needs root")
		}
		t.file("f", "")
		t.ok(t.Chown(t.p("f"), 12, 34))
		t.ok(t.Chown(t.p("f"), -1, 56))
		t.ok(t.Chown(t.p("f"), 78, -1))
		s := t.stat("f")
		t.equal("uid", s.UID, uint32(78))
		t.equal("gid", s.GID, uint32(56))
	}},
	{"attr/lchown", func(t *T) {
		if unix.Geteuid() != 0 {
			t.Skip("giving files away needs root")
		}
		t.file("f", "")
		t.ok(t.Symlink("f", t.p("s")))
		t.ok(t.Lchown(t.p("s"), 7, 7))
		t.equal("uid", t.lstat("s").UID, uint32(7))
		t.equal("uid", t.stat("f").UID, uint32(unix.Geteuid()))
	}},
	{"attr/chown-clears-set-id", func(t *T) {
		if unix.Geteuid() != 0 {
			t.Skip("giving files away needs root")
		}
		t.file("f", "")
		t.ok(t.Chmod(t.p("f"), 0o6755))
		t.ok(t.Chown(t.p("f"), 12, 34))
		t.equal("mode", t.stat("f").Mode&0o7777, uint32(0o755))
	}},
	{"attr/access", func(t *T) {
		t.file("f", "")
		t.ok(t.Access(t.p("f"), unix.F_OK))
		t.ok(t.Access(t.p("f"), unix.R_OK|unix.W_OK))
		t.fails(t.Access(t.p("f"), unix.X_OK), unix.EACCES)
		t.fails(t.Access(t.p("x"), unix.F_OK), unix.ENOENT)
	}},
	{"attr/access-bad-mode", func(t *T) { t.file("f", ""); t.fails(t.Access(t.p("f"), 0o10), unix.EINVAL) }},
	{"attr/setgid-directory", func(t *T) {
		if unix.Geteuid() != 0 {
			t.Skip("needs a foreign group")
		}
		t.mkdir("d")
		t.ok(t.Chown(t.p("d"), -1, 77))
		t.ok(t.Chmod(t.p("d"), 0o2755))
		t.file("d/f", "")
		t.mkdir("d/e")
		t.equal("gid of file", t.stat("d/f").GID, uint32(77))
		t.equal("gid of directory", t.stat("d/e").GID, uint32(77))
		t.equal("mode of directory", t.stat("d/e").Mode&0o7777, uint32(0o2755))
	}},
	{"attr/inodes-differ", func(t *T) {
		seen := map[uint64]bool{}
		for i := range 100 {
			t.file(fmt.Sprint(i), "")
			seen[t.stat(fmt.Sprint(i)).Ino] = true
		}
		t.equal("inodes", len(seen), 100)
	}},
	{"attr/stat-missing", func(t *T) { _, err := t.Stat(t.p("x")); t.fails(err, unix.ENOENT) }},
	{"attr/stat-in-file", func(t *T) { t.file("f", ""); _, err := t.Stat(t.p("f/x")); t.fails(err, unix.ENOTDIR) }},
	{"attr/fstat-follows-rename-and-size", func(t *T) {
		fd := t.open("f", rwCreate)
		t.write(fd, "abc")
		t.ok(t.Rename(t.p("f"), t.p("g")))
		s, err := t.Fstat(fd)
		t.ok(err)
		t.equal("size", s.Size, int64(3))
		t.equal("inode", s.Ino, t.stat("g").Ino)
	}},
}

var pathCases = []Case{
	{"path/empty", func(t *T) { _, err := t.FS.Open("", unix.O_RDONLY, 0); t.fails(err, unix.ENOENT) }},
	{"path/double-slashes", func(t *T) { t.mkdir("d"); t.file("d/f", "abc"); t.holds("/d///f", "abc") }},
	{"path/dots", func(t *T) {
		t.mkdir("d", "d/e")
		t.file("d/f", "abc")
		t.holds("./d/./e/.././f", "abc")
	}},
	{"path/dot-dot-of-missing", func(t *T) {
		t.file("f", "")
		_, err := t.Stat(t.p("x/../f"))
		t.fails(err, unix.ENOENT)
	}},
	{"path/dot-dot-of-file", func(t *T) {
		t.file("f", "")
		_, err := t.Stat(t.p("f/../f"))
		t.fails(err, unix.ENOTDIR)
	}},
	{"path/dot-dot-of-symlink", func(t *T) { // goes up from the target
		t.mkdir("a", "b", "b/c")
		t.file("b/f", "abc")
		t.ok(t.Symlink("../b/c", t.p("a/s")))
		t.holds("a/s/../f", "abc")
	}},
	{"path/trailing-slash-on-directory", func(t *T) { t.mkdir("d"); t.stat("d/") }},
	{"path/trailing-dot", func(t *T) { t.mkdir("d"); t.equal("inode", t.stat("d/.").Ino, t.stat("d").Ino) }},
	{"path/deep", func(t *T) {
		path := "d"
		for range 40 {
			t.mkdir(path)
			path += "/d"
		}
		t.file(path, "deep")
		t.holds(path, "deep")
	}},
	{"path/too-long", func(t *T) {
		_, err := t.Stat(t.p(strings.Repeat("a/", 2050)))
		t.fails(err, unix.ENAMETOOLONG)
	}},
	{"path/component-too-long-in-the-middle", func(t *T) {
		_, err := t.Stat(t.p(strings.Repeat("a", 256) + "/b"))
		t.fails(err, unix.ENAMETOOLONG, unix.ENOENT)
	}},
	{"path/root", func(t *T) {
		s, err := t.Stat("/")
		t.ok(err)
		t.equal("type", s.Mode&unix.S_IFMT, uint32(unix.S_IFDIR))
	}},
	{"path/file-as-directory", func(t *T) {
		t.file("f", "")
		_, err := t.Stat(t.p("f/."))
		t.fails(err, unix.ENOTDIR)
	}},
}

const (
	atRemoveDir = 0x200
	atNoFollow  = 0x100
)

var atCases = []Case{
	{"at/open-create-stat-unlink", func(t *T) {
		t.mkdir("d")
		dir := t.open("d", unix.O_RDONLY|unix.O_DIRECTORY)
		fd, err := t.Openat(dir, "f", rwCreate, 0o644)
		t.ok(err)
		t.write(fd, "abc")
		t.ok(t.Close(fd))
		t.holds("d/f", "abc")
		s, err := t.Fstatat(dir, "f", 0)
		t.ok(err)
		t.equal("size", s.Size, int64(3))
		t.ok(t.Unlinkat(dir, "f", 0))
		t.contains("d")
	}},
	{"at/dot-dot", func(t *T) {
		t.mkdir("d")
		t.file("f", "abc")
		fd, err := t.Openat(t.open("d", unix.O_RDONLY), "../f", unix.O_RDONLY, 0)
		t.ok(err)
		t.reads(fd, 0, 10, "abc")
		t.ok(t.Close(fd))
	}},
	{"at/directory-moves", func(t *T) {
		t.mkdir("d")
		dir := t.open("d", unix.O_RDONLY)
		t.ok(t.Rename(t.p("d"), t.p("e")))
		fd, err := t.Openat(dir, "f", rwCreate, 0o644)
		t.ok(err)
		t.ok(t.Close(fd))
		t.contains("e", "f")
	}},
	{"at/mkdirat-and-rmdir", func(t *T) {
		t.mkdir("d")
		dir := t.open("d", unix.O_RDONLY)
		t.ok(t.Mkdirat(dir, "sub", 0o755))
		t.contains("d", "sub")
		t.fails(t.Unlinkat(dir, "sub", 0), unix.EISDIR)
		t.ok(t.Unlinkat(dir, "sub", atRemoveDir))
		t.contains("d")
	}},
	{"at/renameat", func(t *T) {
		t.mkdir("d", "e")
		t.file("d/f", "abc")
		t.ok(t.Renameat(t.open("d", unix.O_RDONLY), "f", t.open("e", unix.O_RDONLY), "g"))
		t.holds("e/g", "abc")
	}},
	{"at/fstatat-nofollow", func(t *T) {
		t.mkdir("d")
		t.ok(t.Symlink("x", t.p("d/s")))
		dir := t.open("d", unix.O_RDONLY)
		s, err := t.Fstatat(dir, "s", atNoFollow)
		t.ok(err)
		t.equal("type", s.Mode&unix.S_IFMT, uint32(unix.S_IFLNK))
		_, err = t.Fstatat(dir, "s", 0)
		t.fails(err, unix.ENOENT)
	}},
	{"at/file-as-directory", func(t *T) {
		fd := t.open("f", rwCreate)
		_, err := t.Openat(fd, "x", unix.O_RDONLY, 0)
		t.fails(err, unix.ENOTDIR)
	}},
	{"at/bad-handle", func(t *T) { _, err := t.Openat(99999, "x", unix.O_RDONLY, 0); t.fails(err, unix.EBADF) }},
}
