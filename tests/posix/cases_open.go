package posix

import (
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

var openCases = []Case{
	{"open/missing", func(t *T) { _, err := t.Open(t.p("x"), unix.O_RDONLY, 0); t.fails(err, unix.ENOENT) }},
	{"open/missing-parent", func(t *T) { _, err := t.Open(t.p("d/x"), rwCreate, 0o644); t.fails(err, unix.ENOENT) }},
	{"open/parent-is-file", func(t *T) {
		t.file("f", "")
		_, err := t.Open(t.p("f/x"), rwCreate, 0o644)
		t.fails(err, unix.ENOTDIR)
	}},
	{"open/creates-empty", func(t *T) { t.file("f", ""); t.equal("size", t.stat("f").Size, int64(0)) }},
	{"open/create-mode", func(t *T) {
		fd, err := t.Open(t.p("f"), rwCreate, 0o640)
		t.ok(err)
		t.ok(t.Close(fd))
		t.equal("mode", t.stat("f").Mode, uint32(unix.S_IFREG|0o640))
	}},
	{"open/umask", func(t *T) {
		fd, err := t.Open(t.p("f"), rwCreate, 0o666)
		t.ok(err)
		t.ok(t.Close(fd))
		t.equal("mode", t.stat("f").Mode, uint32(unix.S_IFREG|0o644))
	}},
	{"open/create-existing-keeps", func(t *T) {
		t.file("f", "abc")
		t.open("f", rwCreate)
		t.holds("f", "abc")
	}},
	{"open/create-existing-keeps-mode", func(t *T) {
		t.file("f", "")
		t.ok(t.Chmod(t.p("f"), 0o600))
		t.open("f", rwCreate)
		t.equal("mode", t.stat("f").Mode&0o777, uint32(0o600))
	}},
	{"open/excl", func(t *T) { t.open("f", rwCreate|unix.O_EXCL) }},
	{"open/excl-existing", func(t *T) {
		t.file("f", "")
		_, err := t.Open(t.p("f"), rwCreate|unix.O_EXCL, 0o644)
		t.fails(err, unix.EEXIST)
	}},
	{"open/excl-dangling-symlink", func(t *T) {
		t.ok(t.Symlink("nowhere", t.p("s")))
		_, err := t.Open(t.p("s"), rwCreate|unix.O_EXCL, 0o644)
		t.fails(err, unix.EEXIST)
		t.absent("nowhere")
	}},
	{"open/create-through-dangling-symlink", func(t *T) {
		t.ok(t.Symlink("target", t.p("s")))
		t.file("s", "abc")
		t.holds("target", "abc")
	}},
	{"open/excl-directory", func(t *T) {
		t.mkdir("d")
		_, err := t.Open(t.p("d"), rwCreate|unix.O_EXCL, 0o644)
		t.fails(err, unix.EEXIST)
	}},
	{"open/trunc", func(t *T) {
		t.file("f", "abcdef")
		t.open("f", unix.O_WRONLY|unix.O_TRUNC)
		t.equal("size", t.stat("f").Size, int64(0))
	}},
	{"open/trunc-keeps-inode", func(t *T) {
		t.file("f", "abcdef")
		ino := t.stat("f").Ino
		t.open("f", rwCreate|unix.O_TRUNC)
		t.equal("inode", t.stat("f").Ino, ino)
	}},
	{"open/trunc-seen-by-open-handle", func(t *T) {
		t.file("f", "abcdef")
		fd := t.open("f", unix.O_RDONLY)
		t.open("f", unix.O_WRONLY|unix.O_TRUNC)
		t.reads(fd, 0, 10, "")
	}},
	{"open/directory-for-reading", func(t *T) { t.mkdir("d"); t.open("d", unix.O_RDONLY) }},
	{"open/directory-for-writing", func(t *T) {
		t.mkdir("d")
		_, err := t.Open(t.p("d"), unix.O_WRONLY, 0)
		t.fails(err, unix.EISDIR)
	}},
	{"open/directory-rdwr", func(t *T) {
		t.mkdir("d")
		_, err := t.Open(t.p("d"), unix.O_RDWR, 0)
		t.fails(err, unix.EISDIR)
	}},
	{"open/directory-create", func(t *T) {
		t.mkdir("d")
		_, err := t.Open(t.p("d"), rwCreate, 0o644)
		t.fails(err, unix.EISDIR)
	}},
	{"open/o-directory-on-file", func(t *T) {
		t.file("f", "")
		_, err := t.Open(t.p("f"), unix.O_RDONLY|unix.O_DIRECTORY, 0)
		t.fails(err, unix.ENOTDIR)
	}},
	{"open/o-directory-on-directory", func(t *T) { t.mkdir("d"); t.open("d", unix.O_RDONLY|unix.O_DIRECTORY) }},
	{"open/nofollow-symlink", func(t *T) {
		t.file("f", "")
		t.ok(t.Symlink("f", t.p("s")))
		_, err := t.Open(t.p("s"), unix.O_RDONLY|unix.O_NOFOLLOW, 0)
		t.fails(err, unix.ELOOP)
	}},
	{"open/nofollow-file", func(t *T) { t.file("f", ""); t.open("f", unix.O_RDONLY|unix.O_NOFOLLOW) }},
	{"open/nofollow-in-the-middle-follows", func(t *T) {
		t.mkdir("d")
		t.file("d/f", "x")
		t.ok(t.Symlink("d", t.p("s")))
		t.open("s/f", unix.O_RDONLY|unix.O_NOFOLLOW)
	}},
	{"open/read-on-write-only", func(t *T) {
		fd := t.open("f", unix.O_CREAT|unix.O_WRONLY)
		_, err := t.Read(fd, 1)
		t.fails(err, unix.EBADF)
	}},
	{"open/pread-on-write-only", func(t *T) {
		fd := t.open("f", unix.O_CREAT|unix.O_WRONLY)
		_, err := t.Pread(fd, 1, 0)
		t.fails(err, unix.EBADF)
	}},
	{"open/write-on-read-only", func(t *T) {
		t.file("f", "abc")
		fd := t.open("f", unix.O_RDONLY)
		_, err := t.Write(fd, []byte("x"))
		t.fails(err, unix.EBADF)
		t.holds("f", "abc")
	}},
	{"open/ftruncate-on-read-only", func(t *T) {
		t.file("f", "abc")
		fd := t.open("f", unix.O_RDONLY)
		t.fails(t.Ftruncate(fd, 0), unix.EINVAL, unix.EBADF)
		t.holds("f", "abc")
	}},
	{"open/read-a-directory", func(t *T) {
		t.mkdir("d")
		fd := t.open("d", unix.O_RDONLY)
		_, err := t.Read(fd, 10)
		t.fails(err, unix.EISDIR)
	}},
	{"open/through-symlink", func(t *T) {
		t.file("f", "abc")
		t.ok(t.Symlink("f", t.p("s")))
		t.holds("s", "abc")
	}},
	{"open/symlink-loop", func(t *T) {
		t.ok(t.Symlink("b", t.p("a")))
		t.ok(t.Symlink("a", t.p("b")))
		_, err := t.Open(t.p("a"), unix.O_RDONLY, 0)
		t.fails(err, unix.ELOOP)
	}},
	{"open/symlink-to-itself", func(t *T) {
		t.ok(t.Symlink("a", t.p("a")))
		_, err := t.Open(t.p("a"), rwCreate, 0o644)
		t.fails(err, unix.ELOOP)
	}},
	{"open/trailing-slash-on-file", func(t *T) {
		t.file("f", "")
		_, err := t.Open(t.p("f/"), unix.O_RDONLY, 0)
		t.fails(err, unix.ENOTDIR)
	}},
	{"open/create-with-trailing-slash", func(t *T) {
		_, err := t.Open(t.p("f/"), rwCreate, 0o644)
		t.fails(err, unix.EISDIR)
	}},
	{"open/name-too-long", func(t *T) {
		_, err := t.Open(t.p(strings.Repeat("n", 256)), rwCreate, 0o644)
		t.fails(err, unix.ENAMETOOLONG)
	}},
	{"open/close-twice", func(t *T) {
		fd, err := t.Open(t.p("f"), rwCreate, 0o644)
		t.ok(err)
		t.ok(t.Close(fd))
		t.fails(t.Close(fd), unix.EBADF)
	}},
	{"open/two-handles-two-positions", func(t *T) {
		t.file("f", "abcdef")
		a, b := t.open("f", unix.O_RDONLY), t.open("f", unix.O_RDONLY)
		p, err := t.Read(a, 3)
		t.ok(err)
		t.same(p, []byte("abc"))
		p, err = t.Read(b, 2)
		t.ok(err)
		t.same(p, []byte("ab"))
	}},
	{"open/dup-shares-position", func(t *T) {
		t.file("f", "abcdef")
		a := t.open("f", unix.O_RDONLY)
		b, err := t.Dup(a)
		t.ok(err)
		_, err = t.Read(a, 2)
		t.ok(err)
		p, err := t.Read(b, 2)
		t.ok(err)
		t.same(p, []byte("cd"))
		t.ok(t.Close(b))
		p, err = t.Read(a, 2)
		t.ok(err)
		t.same(p, []byte("ef"))
	}},
	{"open/dup-of-closed", func(t *T) {
		fd, err := t.Open(t.p("f"), rwCreate, 0o644)
		t.ok(err)
		t.ok(t.Close(fd))
		_, err = t.Dup(fd)
		t.fails(err, unix.EBADF)
	}},
	{"open/unlinked-parent-create", func(t *T) {
		t.mkdir("d")
		fd := t.open("d", unix.O_RDONLY|unix.O_DIRECTORY)
		t.ok(t.Rmdir(t.p("d")))
		_, err := t.Openat(fd, "f", rwCreate, 0o644)
		t.fails(err, unix.ENOENT)
	}},
	{"open/sync-flags", func(t *T) {
		fd := t.open("f", rwCreate|syscall.O_SYNC)
		t.write(fd, "abc")
		t.holds("f", "abc")
	}},
}
