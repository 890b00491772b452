package posix

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

var nameCases = []Case{
	{"mkdir/new", func(t *T) {
		t.mkdir("d")
		s := t.stat("d")
		t.equal("mode", s.Mode, uint32(unix.S_IFDIR|0o755))
		t.equal("links", s.Nlink, uint64(2))
	}},
	{"mkdir/existing", func(t *T) { t.mkdir("d"); t.fails(t.Mkdir(t.p("d"), 0o755), unix.EEXIST) }},
	{"mkdir/existing-file", func(t *T) { t.file("f", ""); t.fails(t.Mkdir(t.p("f"), 0o755), unix.EEXIST) }},
	{"mkdir/over-dangling-symlink", func(t *T) {
		t.ok(t.Symlink("x", t.p("s")))
		t.fails(t.Mkdir(t.p("s"), 0o755), unix.EEXIST)
	}},
	{"mkdir/missing-parent", func(t *T) { t.fails(t.Mkdir(t.p("a/b"), 0o755), unix.ENOENT) }},
	{"mkdir/in-a-file", func(t *T) { t.file("f", ""); t.fails(t.Mkdir(t.p("f/d"), 0o755), unix.ENOTDIR) }},
	{"mkdir/trailing-slash", func(t *T) { t.ok(t.Mkdir(t.p("d/"), 0o755)); t.stat("d") }},
	{"mkdir/umask", func(t *T) { t.ok(t.Mkdir(t.p("d"), 0o777)); t.equal("mode", t.stat("d").Mode&0o777, uint32(0o755)) }},
	{"mkdir/sticky", func(t *T) {
		t.ok(t.Mkdir(t.p("d"), 0o755))
		t.ok(t.Chmod(t.p("d"), 0o1755))
		t.equal("mode", t.stat("d").Mode&0o7777, uint32(0o1755))
	}},
	{"mkdir/name-too-long", func(t *T) {
		t.fails(t.Mkdir(t.p(strings.Repeat("d", 256)), 0o755), unix.ENAMETOOLONG)
	}},
	{"mkdir/parent-links", func(t *T) {
		t.mkdir("d", "d/a", "d/b")
		t.file("d/f", "")
		t.equal("links", t.stat("d").Nlink, uint64(4))
		t.ok(t.Rmdir(t.p("d/a")))
		t.equal("links", t.stat("d").Nlink, uint64(3))
	}},
	{"rmdir/empty", func(t *T) { t.mkdir("d"); t.ok(t.Rmdir(t.p("d"))); t.absent("d") }},
	{"rmdir/not-empty", func(t *T) {
		t.mkdir("d")
		t.file("d/f", "")
		t.fails(t.Rmdir(t.p("d")), unix.ENOTEMPTY, unix.EEXIST)
		t.ok(t.Unlink(t.p("d/f")))
		t.ok(t.Rmdir(t.p("d")))
	}},
	{"rmdir/missing", func(t *T) { t.fails(t.Rmdir(t.p("d")), unix.ENOENT) }},
	{"rmdir/file", func(t *T) { t.file("f", ""); t.fails(t.Rmdir(t.p("f")), unix.ENOTDIR) }},
	{"rmdir/symlink-to-directory", func(t *T) {
		t.mkdir("d")
		t.ok(t.Symlink("d", t.p("s")))
		t.fails(t.Rmdir(t.p("s")), unix.ENOTDIR)
	}},
	{"rmdir/trailing-slash", func(t *T) { t.mkdir("d"); t.ok(t.Rmdir(t.p("d/"))); t.absent("d") }},
	{"rmdir/dot", func(t *T) { t.mkdir("d"); t.fails(t.Rmdir(t.p("d/.")), unix.EINVAL) }},
	{"rmdir/dot-dot", func(t *T) {
		t.mkdir("d", "d/e")
		t.fails(t.Rmdir(t.p("d/e/..")), unix.ENOTEMPTY, unix.EEXIST)
	}},
	{"rmdir/again-after-mkdir", func(t *T) {
		for range 5 {
			t.mkdir("d")
			t.file("d/f", "x")
			t.ok(t.Unlink(t.p("d/f")))
			t.ok(t.Rmdir(t.p("d")))
		}
	}},
	{"rmdir/with-many-former-entries", func(t *T) {
		t.mkdir("d")
		for i := range 50 {
			t.file(fmt.Sprintf("d/%d", i), "")
		}
		for i := range 50 {
			t.fails(t.Rmdir(t.p("d")), unix.ENOTEMPTY, unix.EEXIST)
			t.ok(t.Unlink(t.p(fmt.Sprintf("d/%d", i))))
		}
		t.ok(t.Rmdir(t.p("d")))
	}},
	{"unlink/file", func(t *T) { t.file("f", "abc"); t.ok(t.Unlink(t.p("f"))); t.absent("f") }},
	{"unlink/missing", func(t *T) { t.fails(t.Unlink(t.p("f")), unix.ENOENT) }},
	{"unlink/directory", func(t *T) { t.mkdir("d"); t.fails(t.Unlink(t.p("d")), unix.EISDIR, unix.EPERM) }},
	{"unlink/symlink-not-target", func(t *T) {
		t.file("f", "abc")
		t.ok(t.Symlink("f", t.p("s")))
		t.ok(t.Unlink(t.p("s")))
		t.absent("s")
		t.holds("f", "abc")
	}},
	{"unlink/trailing-slash", func(t *T) { t.file("f", ""); t.fails(t.Unlink(t.p("f/")), unix.ENOTDIR); t.stat("f") }},
	{"unlink/in-a-file", func(t *T) { t.file("f", ""); t.fails(t.Unlink(t.p("f/x")), unix.ENOTDIR) }},
	{"unlink/twice", func(t *T) { t.file("f", ""); t.ok(t.Unlink(t.p("f"))); t.fails(t.Unlink(t.p("f")), unix.ENOENT) }},
	{"name/odd-bytes", func(t *T) {
		names := []string{" ", "a b", "\x01\x7f", "ünïcödé", "\xff\xfe", "-rf", "...", "a\nb", "*?[", `\`}
		for _, n := range names {
			t.file(n, n)
		}
		for _, n := range names {
			t.holds(n, n)
		}
		t.contains("", names...)
	}},
	{"name/case-matters", func(t *T) { t.file("A", "1"); t.file("a", "2"); t.holds("A", "1"); t.holds("a", "2") }},
	{"name/255-bytes", func(t *T) {
		n := strings.Repeat("n", 255)
		t.file(n, "x")
		t.holds(n, "x")
		t.contains("", n)
	}},
}

// renameCases are mostly a matrix: what is moved over what.
var renameCases = append(renameMatrix(), []Case{
	{"rename/file", func(t *T) {
		t.file("a", "abc")
		ino := t.stat("a").Ino
		t.ok(t.Rename(t.p("a"), t.p("b")))
		t.absent("a")
		t.holds("b", "abc")
		t.equal("inode", t.stat("b").Ino, ino)
	}},
	{"rename/many", func(t *T) { // every combination of shards is met
		for i := range 40 {
			t.file("f", fmt.Sprint(i))
			t.ok(t.Rename(t.p("f"), t.p(fmt.Sprintf("g%d", i))))
			t.holds(fmt.Sprintf("g%d", i), fmt.Sprint(i))
		}
		t.equal("entries", len(t.list("")), 40)
	}},
	{"rename/chain", func(t *T) {
		t.file("n0", "abc")
		for i := range 30 {
			t.ok(t.Rename(t.p(fmt.Sprintf("n%d", i)), t.p(fmt.Sprintf("n%d", i+1))))
		}
		t.contains("", "n30")
		t.holds("n30", "abc")
	}},
	{"rename/replaced-file-goes", func(t *T) {
		t.file("a", "new")
		t.file("b", "old")
		t.ok(t.Rename(t.p("a"), t.p("b")))
		t.holds("b", "new")
		t.contains("", "b")
	}},
	{"rename/missing", func(t *T) { t.fails(t.Rename(t.p("a"), t.p("b")), unix.ENOENT) }},
	{"rename/to-missing-directory", func(t *T) {
		t.file("a", "")
		t.fails(t.Rename(t.p("a"), t.p("d/b")), unix.ENOENT)
		t.stat("a")
	}},
	{"rename/onto-itself", func(t *T) { t.file("a", "abc"); t.ok(t.Rename(t.p("a"), t.p("a"))); t.holds("a", "abc") }},
	{"rename/missing-onto-itself", func(t *T) { t.fails(t.Rename(t.p("a"), t.p("a")), unix.ENOENT) }},
	{"rename/hard-links-of-one-inode", func(t *T) { // POSIX: nothing happens
		t.file("a", "abc")
		t.ok(t.Link(t.p("a"), t.p("b")))
		t.ok(t.Rename(t.p("a"), t.p("b")))
		t.contains("", "a", "b")
		t.equal("links", t.stat("a").Nlink, uint64(2))
	}},
	{"rename/over-hard-linked-file", func(t *T) {
		t.file("a", "A")
		t.file("b", "B")
		t.ok(t.Link(t.p("b"), t.p("c")))
		t.ok(t.Rename(t.p("a"), t.p("b")))
		t.holds("b", "A")
		t.holds("c", "B")
		t.equal("links", t.stat("c").Nlink, uint64(1))
	}},
	{"rename/directory", func(t *T) {
		t.mkdir("d")
		t.file("d/f", "abc")
		t.ok(t.Rename(t.p("d"), t.p("e")))
		t.holds("e/f", "abc")
		t.absent("d")
	}},
	{"rename/directory-deeper", func(t *T) {
		t.mkdir("a", "a/b", "c")
		t.file("a/b/f", "abc")
		t.ok(t.Rename(t.p("a/b"), t.p("c/x")))
		t.holds("c/x/f", "abc")
		t.equal("links", t.stat("a").Nlink, uint64(2))
		t.equal("links", t.stat("c").Nlink, uint64(3))
	}},
	{"rename/directory-parent-follows", func(t *T) {
		t.mkdir("a", "a/b", "c")
		t.file("c/f", "abc")
		t.ok(t.Rename(t.p("a/b"), t.p("c/b")))
		t.holds("c/b/../f", "abc")
	}},
	{"rename/into-itself", func(t *T) { t.mkdir("d"); t.fails(t.Rename(t.p("d"), t.p("d/x")), unix.EINVAL) }},
	{"rename/into-own-subtree", func(t *T) {
		t.mkdir("d", "d/e", "d/e/f")
		t.fails(t.Rename(t.p("d"), t.p("d/e/f/x")), unix.EINVAL)
		t.stat("d/e/f")
	}},
	{"rename/over-own-parent", func(t *T) {
		t.mkdir("d", "d/e")
		t.fails(t.Rename(t.p("d/e"), t.p("d")), unix.ENOTEMPTY, unix.EEXIST)
	}},
	{"rename/file-over-own-parent", func(t *T) {
		t.mkdir("d", "d/e")
		t.file("d/e/f", "")
		t.fails(t.Rename(t.p("d/e/f"), t.p("d")), unix.ENOTEMPTY)
		t.fails(t.Rename(t.p("d/e/f"), t.p("d/e")), unix.ENOTEMPTY)
	}},
	{"rename/dot", func(t *T) {
		t.mkdir("d")
		t.fails(t.Rename(t.p("d/."), t.p("e")), unix.EINVAL, unix.EBUSY)
		t.fails(t.Rename(t.p("d"), t.p("e/..")), unix.EINVAL, unix.EBUSY, unix.ENOENT)
	}},
	{"rename/symlink-itself", func(t *T) {
		t.file("f", "abc")
		t.ok(t.Symlink("f", t.p("s")))
		t.ok(t.Rename(t.p("s"), t.p("r")))
		target, err := t.Readlink(t.p("r"))
		t.ok(err)
		t.equal("target", target, "f")
		t.stat("f")
	}},
	{"rename/over-symlink", func(t *T) {
		t.file("f", "abc")
		t.file("g", "xyz")
		t.ok(t.Symlink("f", t.p("s")))
		t.ok(t.Rename(t.p("g"), t.p("s")))
		t.holds("s", "xyz")
		t.holds("f", "abc")
	}},
	{"rename/keeps-open-handle", func(t *T) {
		fd := t.open("a", rwCreate)
		t.ok(t.Rename(t.p("a"), t.p("b")))
		t.write(fd, "abc")
		t.holds("b", "abc")
	}},
	{"rename/name-too-long", func(t *T) {
		t.file("a", "")
		t.fails(t.Rename(t.p("a"), t.p(strings.Repeat("b", 256))), unix.ENAMETOOLONG)
	}},
	{"rename/file-to-trailing-slash", func(t *T) { t.file("a", ""); t.fails(t.Rename(t.p("a"), t.p("b/")), unix.ENOTDIR) }},
	{"rename/directory-to-trailing-slash", func(t *T) { t.mkdir("a"); t.ok(t.Rename(t.p("a"), t.p("b/"))); t.stat("b") }},
	{"rename/ctime", func(t *T) {
		t.file("a", "")
		before := t.stat("a").Ctime
		t.ok(t.Rename(t.p("a"), t.p("b")))
		if t.stat("b").Ctime < before {
			t.Fatal("ctime went back")
		}
	}},
	{"rename/swap-by-three", func(t *T) {
		t.file("a", "A")
		t.file("b", "B")
		for range 7 {
			t.ok(t.Rename(t.p("a"), t.p("c")))
			t.ok(t.Rename(t.p("b"), t.p("a")))
			t.ok(t.Rename(t.p("c"), t.p("b")))
		}
		t.holds("a", "B")
		t.holds("b", "A")
	}},
}...)

// make makes an object of a kind.
func (t *T) make(kind, name string) {
	t.Helper()
	switch kind {
	case "file":
		t.file(name, "content of "+name)
	case "empty-dir":
		t.mkdir(name)
	case "full-dir":
		t.mkdir(name)
		t.file(name+"/inside", "")
	case "symlink":
		t.ok(t.Symlink("nowhere", t.p(name)))
	}
}

func renameMatrix() []Case {
	kinds := []string{"file", "empty-dir", "full-dir", "symlink"}
	isDir := func(k string) bool { return strings.HasSuffix(k, "dir") }
	var cases []Case
	for _, from := range kinds {
		for _, to := range kinds {
			cases = append(cases, Case{"rename/" + from + "-over-" + to, func(t *T) {
				t.mkdir("x", "y")
				t.make(from, "x/old")
				t.make(to, "y/new")
				ino := t.lstat("x/old").Ino
				err := t.Rename(t.p("x/old"), t.p("y/new"))
				switch {
				case isDir(from) && !isDir(to):
					t.fails(err, unix.ENOTDIR)
				case !isDir(from) && isDir(to):
					t.fails(err, unix.EISDIR)
				case to == "full-dir":
					t.fails(err, unix.ENOTEMPTY, unix.EEXIST)
				default:
					t.ok(err)
					t.contains("x")
					t.contains("y", "new")
					t.equal("inode", t.lstat("y/new").Ino, ino)
					return
				}
				t.contains("x", "old")
				t.contains("y", "new")
				t.equal("inode", t.lstat("x/old").Ino, ino)
			}})
		}
	}
	return cases
}

var linkCases = []Case{
	{"link/second-name", func(t *T) {
		t.file("a", "abc")
		t.ok(t.Link(t.p("a"), t.p("b")))
		t.holds("b", "abc")
		t.equal("inode", t.stat("a").Ino, t.stat("b").Ino)
		t.equal("links", t.stat("a").Nlink, uint64(2))
	}},
	{"link/write-through-either", func(t *T) {
		t.file("a", "abc")
		t.ok(t.Link(t.p("a"), t.p("b")))
		t.pwrite(t.open("b", unix.O_WRONLY), "X", 0)
		t.holds("a", "Xbc")
	}},
	{"link/unlink-first", func(t *T) {
		t.file("a", "abc")
		t.ok(t.Link(t.p("a"), t.p("b")))
		t.ok(t.Unlink(t.p("a")))
		t.holds("b", "abc")
		t.equal("links", t.stat("b").Nlink, uint64(1))
	}},
	{"link/many", func(t *T) {
		t.file("f", "abc")
		for i := range 30 {
			t.ok(t.Link(t.p("f"), t.p(fmt.Sprintf("l%d", i))))
		}
		t.equal("links", t.stat("f").Nlink, uint64(31))
		for i := range 30 {
			t.ok(t.Unlink(t.p(fmt.Sprintf("l%d", i))))
		}
		t.equal("links", t.stat("f").Nlink, uint64(1))
		t.holds("f", "abc")
	}},
	{"link/existing", func(t *T) {
		t.file("a", "A")
		t.file("b", "B")
		t.fails(t.Link(t.p("a"), t.p("b")), unix.EEXIST)
		t.equal("links", t.stat("a").Nlink, uint64(1))
	}},
	{"link/missing", func(t *T) { t.fails(t.Link(t.p("a"), t.p("b")), unix.ENOENT) }},
	{"link/directory", func(t *T) { t.mkdir("d"); t.fails(t.Link(t.p("d"), t.p("e")), unix.EPERM) }},
	{"link/into-missing-directory", func(t *T) { t.file("a", ""); t.fails(t.Link(t.p("a"), t.p("d/b")), unix.ENOENT) }},
	{"link/of-symlink-is-of-the-link", func(t *T) {
		t.file("f", "abc")
		t.ok(t.Symlink("f", t.p("s")))
		t.ok(t.Link(t.p("s"), t.p("l")))
		t.equal("type", t.lstat("l").Mode&unix.S_IFMT, uint32(unix.S_IFLNK))
	}},
	{"link/across-directories", func(t *T) {
		t.mkdir("d", "e")
		t.file("d/a", "abc")
		t.ok(t.Link(t.p("d/a"), t.p("e/b")))
		t.ok(t.Unlink(t.p("d/a")))
		t.ok(t.Rmdir(t.p("d")))
		t.holds("e/b", "abc")
	}},
	{"link/ctime", func(t *T) {
		t.file("a", "")
		before := t.stat("a").Ctime
		t.ok(t.Link(t.p("a"), t.p("b")))
		if t.stat("a").Ctime < before {
			t.Fatal("ctime went back")
		}
	}},
	{"symlink/readlink", func(t *T) {
		t.ok(t.Symlink("some/where", t.p("s")))
		target, err := t.Readlink(t.p("s"))
		t.ok(err)
		t.equal("target", target, "some/where")
		s := t.lstat("s")
		t.equal("type", s.Mode&unix.S_IFMT, uint32(unix.S_IFLNK))
		t.equal("size", s.Size, int64(len("some/where")))
	}},
	{"symlink/absolute", func(t *T) {
		t.file("f", "abc")
		t.ok(t.Symlink(t.p("f"), t.p("s")))
		t.holds("s", "abc")
		target, err := t.Readlink(t.p("s"))
		t.ok(err)
		t.equal("target", target, t.p("f"))
	}},
	{"symlink/existing", func(t *T) { t.file("f", ""); t.fails(t.Symlink("x", t.p("f")), unix.EEXIST) }},
	{"symlink/empty-target", func(t *T) { t.fails(t.Symlink("", t.p("s")), unix.ENOENT) }},
	{"symlink/dangling-stat", func(t *T) {
		t.ok(t.Symlink("x", t.p("s")))
		_, err := t.Stat(t.p("s"))
		t.fails(err, unix.ENOENT)
		t.lstat("s")
	}},
	{"symlink/readlink-of-file", func(t *T) {
		t.file("f", "")
		_, err := t.Readlink(t.p("f"))
		t.fails(err, unix.EINVAL)
	}},
	{"symlink/long-target", func(t *T) {
		target := strings.Repeat("x/", 1500)
		t.ok(t.Symlink(target, t.p("s")))
		got, err := t.Readlink(t.p("s"))
		t.ok(err)
		t.equal("target", got, target)
	}},
	{"symlink/too-long-target", func(t *T) {
		t.fails(t.Symlink(strings.Repeat("x", 4096), t.p("s")), unix.ENAMETOOLONG)
	}},
	{"symlink/to-directory-in-path", func(t *T) {
		t.mkdir("d")
		t.ok(t.Symlink("d", t.p("s")))
		t.file("s/f", "abc")
		t.holds("d/f", "abc")
	}},
	{"symlink/relative-to-its-directory", func(t *T) {
		t.mkdir("d")
		t.file("f", "abc")
		t.ok(t.Symlink("../f", t.p("d/s")))
		t.holds("d/s", "abc")
	}},
	{"symlink/chain", func(t *T) {
		t.file("l0", "abc")
		for i := range 20 {
			t.ok(t.Symlink(fmt.Sprintf("l%d", i), t.p(fmt.Sprintf("l%d", i+1))))
		}
		t.holds("l20", "abc")
	}},
	{"symlink/chain-of-41", func(t *T) {
		t.file("l0", "abc")
		for i := range 41 {
			t.ok(t.Symlink(fmt.Sprintf("l%d", i), t.p(fmt.Sprintf("l%d", i+1))))
		}
		t.holds("l40", "abc")
		_, err := t.Stat(t.p("l41"))
		t.fails(err, unix.ELOOP)
	}},
	{"symlink/trailing-slash-follows", func(t *T) {
		t.mkdir("d")
		t.ok(t.Symlink("d", t.p("s")))
		t.equal("type", t.lstat("s/").Mode&unix.S_IFMT, uint32(unix.S_IFDIR))
	}},
}
