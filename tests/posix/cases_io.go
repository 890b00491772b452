package posix

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// boundaries are offsets around the ends of pages and chunks (64 KiB on the distributed fronts, 4 MiB by default).
var boundaries = []int64{4096, 65536, 131072, 4 << 20}

func boundaryCases() []Case {
	var cases []Case
	for _, b := range boundaries {
		cases = append(cases,
			Case{fmt.Sprintf("io/write-across-%d", b), func(t *T) {
				fd := t.open("f", rwCreate)
				data := pattern(6000)
				t.pwrite(fd, data, b-3000)
				t.reads(fd, b-3000, 9000, data)
				t.reads(fd, b-3100, 100, zeros(100))
				t.equal("size", t.stat("f").Size, b+3000)
			}},
			Case{fmt.Sprintf("io/hole-before-%d", b), func(t *T) {
				fd := t.open("f", rwCreate)
				t.pwrite(fd, "x", b)
				t.reads(fd, 0, 4096, zeros(4096))
				t.reads(fd, b-10, 20, zeros(10)+"x")
			}},
			Case{fmt.Sprintf("io/ends-at-%d", b), func(t *T) {
				fd := t.open("f", rwCreate)
				t.pwrite(fd, "abc", b-3)
				t.reads(fd, b-3, 10, "abc")
				t.reads(fd, b, 10, "")
				t.pwrite(fd, "def", b)
				t.reads(fd, b-3, 10, "abcdef")
			}},
			Case{fmt.Sprintf("io/cut-and-regrow-at-%d", b), func(t *T) {
				fd := t.open("f", rwCreate)
				t.pwrite(fd, pattern(200), b-100)
				t.ok(t.Ftruncate(fd, b-50))
				t.ok(t.Ftruncate(fd, b+100))
				t.reads(fd, b-100, 500, pattern(200)[:50]+zeros(150))
			}},
			Case{fmt.Sprintf("io/cut-and-write-beyond-%d", b), func(t *T) {
				fd := t.open("f", rwCreate)
				t.pwrite(fd, pattern(200), b-100)
				t.ok(t.Ftruncate(fd, b-150))
				t.pwrite(fd, "end", b+100)
				t.reads(fd, b-150, 500, zeros(250)+"end")
			}},
		)
	}
	return cases
}

var ioCases = append(boundaryCases(), []Case{
	{"io/read-what-was-written", func(t *T) { t.file("f", "hello"); t.holds("f", "hello") }},
	{"io/empty-file", func(t *T) {
		fd := t.open("f", rwCreate)
		p, err := t.Read(fd, 10)
		t.ok(err)
		t.same(p, nil)
	}},
	{"io/read-zero-bytes", func(t *T) {
		t.file("f", "abc")
		p, err := t.Read(t.open("f", unix.O_RDONLY), 0)
		t.ok(err)
		t.same(p, nil)
	}},
	{"io/write-zero-bytes", func(t *T) {
		fd := t.open("f", rwCreate)
		n, err := t.Write(fd, nil)
		t.ok(err)
		t.equal("bytes", n, 0)
		t.equal("size", t.stat("f").Size, int64(0))
	}},
	{"io/pwrite-zero-bytes-beyond-end", func(t *T) {
		fd := t.open("f", rwCreate)
		_, err := t.Pwrite(fd, nil, 1000)
		t.ok(err)
		t.equal("size", t.stat("f").Size, int64(0))
	}},
	{"io/short-read-at-end", func(t *T) { t.file("f", "abc"); t.reads(t.open("f", unix.O_RDONLY), 1, 100, "bc") }},
	{"io/read-at-end", func(t *T) { t.file("f", "abc"); t.reads(t.open("f", unix.O_RDONLY), 3, 100, "") }},
	{"io/read-beyond-end", func(t *T) { t.file("f", "abc"); t.reads(t.open("f", unix.O_RDONLY), 1<<40, 100, "") }},
	{"io/position-advances", func(t *T) {
		fd := t.open("f", rwCreate)
		t.write(fd, "abc")
		t.write(fd, "def")
		t.holds("f", "abcdef")
	}},
	{"io/pread-leaves-position", func(t *T) {
		fd := t.open("f", rwCreate)
		t.write(fd, "abcdef")
		t.reads(fd, 0, 3, "abc")
		t.write(fd, "g")
		t.holds("f", "abcdefg")
	}},
	{"io/pwrite-leaves-position", func(t *T) {
		fd := t.open("f", rwCreate)
		t.pwrite(fd, "xyz", 3)
		t.write(fd, "abc")
		t.holds("f", "abcxyz")
	}},
	{"io/overwrite-middle", func(t *T) {
		t.file("f", "abcdef")
		t.pwrite(t.open("f", unix.O_WRONLY), "XY", 2)
		t.holds("f", "abXYef")
	}},
	{"io/overwrite-and-extend", func(t *T) {
		t.file("f", "abcdef")
		t.pwrite(t.open("f", unix.O_WRONLY), "WXYZ", 4)
		t.holds("f", "abcdWXYZ")
	}},
	{"io/write-seen-by-other-handle", func(t *T) {
		a, b := t.open("f", rwCreate), t.open("f", unix.O_RDONLY)
		t.reads(b, 0, 10, "")
		t.write(a, "abc")
		t.reads(b, 0, 10, "abc")
		t.pwrite(a, "X", 1)
		t.reads(b, 0, 10, "aXc")
	}},
	{"io/large", func(t *T) {
		fd := t.open("f", rwCreate)
		data := pattern(9<<20 + 17)
		t.pwrite(fd, data, 0)
		t.reads(fd, 0, len(data)+1, data)
		t.reads(fd, 5<<20, 4096, data[5<<20:5<<20+4096])
	}},
	{"io/many-small-writes", func(t *T) {
		fd := t.open("f", rwCreate)
		data := pattern(200 * 47)
		for i := 0; i < len(data); i += 47 {
			t.write(fd, data[i:i+47])
		}
		t.holds("f", data)
	}},
	{"io/backwards", func(t *T) {
		fd := t.open("f", rwCreate)
		data := pattern(70000)
		for end := len(data); end > 0; end -= 7000 {
			t.pwrite(fd, data[end-7000:end], int64(end-7000))
		}
		t.holds("f", data)
	}},
	{"io/strided-odd-records", func(t *T) {
		const record, ranks, rounds = 47008, 3, 4
		data := pattern(record * ranks * rounds)
		for rank := range ranks {
			fd := t.open("f", rwCreate)
			for round := range rounds {
				off := (round*ranks + rank) * record
				t.pwrite(fd, data[off:off+record], int64(off))
			}
		}
		t.holds("f", data)
	}},
	{"io/readv", func(t *T) {
		t.file("f", "abcdefghij")
		p, err := t.Readv(t.open("f", unix.O_RDONLY), []int{3, 0, 4, 10})
		t.ok(err)
		t.same(p, []byte("abcdefghij"))
	}},
	{"io/writev", func(t *T) {
		fd := t.open("f", rwCreate)
		n, err := t.Writev(fd, [][]byte{[]byte("ab"), {}, []byte("cde"), []byte("f")})
		t.ok(err)
		t.equal("bytes", n, 6)
		t.write(fd, "g")
		t.holds("f", "abcdefg")
	}},
	{"io/writev-across-chunks", func(t *T) {
		fd := t.open("f", rwCreate)
		data := pattern(200000)
		_, err := t.Writev(fd, [][]byte{[]byte(data[:1]), []byte(data[1:65000]), []byte(data[65000:131073]), []byte(data[131073:])})
		t.ok(err)
		t.holds("f", data)
	}},
	{"io/append", func(t *T) {
		t.file("f", "abc")
		fd := t.open("f", unix.O_WRONLY|unix.O_APPEND)
		t.write(fd, "def")
		t.holds("f", "abcdef")
	}},
	{"io/append-two-handles", func(t *T) {
		a, b := t.open("f", rwCreate|unix.O_APPEND), t.open("f", unix.O_WRONLY|unix.O_APPEND)
		t.write(a, "one ")
		t.write(b, "two ")
		t.write(a, "three")
		t.holds("f", "one two three")
	}},
	{"io/append-after-seek", func(t *T) {
		fd := t.open("f", rwCreate|unix.O_APPEND)
		t.write(fd, "abc")
		_, err := t.Lseek(fd, 0, unix.SEEK_SET)
		t.ok(err)
		t.write(fd, "def")
		t.holds("f", "abcdef")
		pos, err := t.Lseek(fd, 0, unix.SEEK_CUR)
		t.ok(err)
		t.equal("position", pos, int64(6))
	}},
	{"io/append-after-truncate", func(t *T) {
		fd := t.open("f", rwCreate|unix.O_APPEND)
		t.write(fd, "abcdef")
		t.ok(t.Ftruncate(fd, 2))
		t.write(fd, "X")
		t.holds("f", "abX")
	}},
	{"io/append-pwrite-appends", func(t *T) { // Linux, not POSIX
		fd := t.open("f", rwCreate|unix.O_APPEND)
		t.write(fd, "abc")
		t.pwrite(fd, "def", 0)
		t.holds("f", "abcdef")
	}},
	{"io/append-across-chunks", func(t *T) {
		fd := t.open("f", rwCreate|unix.O_APPEND)
		data := pattern(140000)
		for i := 0; i < len(data); i += 35000 {
			t.write(fd, data[i:i+35000])
		}
		t.holds("f", data)
	}},
	{"io/negative-offset", func(t *T) {
		fd := t.open("f", rwCreate)
		_, err := t.Pread(fd, 1, -1)
		t.fails(err, unix.EINVAL)
		_, err = t.Pwrite(fd, []byte("x"), -1)
		t.fails(err, unix.EINVAL)
	}},
	{"io/beyond-largest-offset", func(t *T) {
		fd := t.open("f", rwCreate)
		_, err := t.Pwrite(fd, []byte("x"), 1<<63-1)
		t.fails(err, unix.EFBIG, unix.EINVAL)
		t.equal("size", t.stat("f").Size, int64(0))
	}},
	{"io/bad-handle", func(t *T) {
		_, err := t.Read(99999, 1)
		t.fails(err, unix.EBADF)
		_, err = t.Write(99999, []byte("x"))
		t.fails(err, unix.EBADF)
		_, err = t.Lseek(99999, 0, 0)
		t.fails(err, unix.EBADF)
		t.fails(t.Fsync(99999), unix.EBADF)
		t.fails(t.Ftruncate(99999, 0), unix.EBADF)
		_, err = t.Fstat(99999)
		t.fails(err, unix.EBADF)
	}},
	{"io/fsync", func(t *T) { fd := t.open("f", rwCreate); t.write(fd, "abc"); t.ok(t.Fsync(fd)) }},
	{"io/fsync-read-only", func(t *T) { t.file("f", "abc"); t.ok(t.Fsync(t.open("f", unix.O_RDONLY))) }},
	{"io/fsync-directory", func(t *T) { t.mkdir("d"); t.ok(t.Fsync(t.open("d", unix.O_RDONLY))) }},
	{"io/unlinked-goes-on", func(t *T) {
		fd := t.open("f", rwCreate)
		t.write(fd, "abc")
		t.ok(t.Unlink(t.p("f")))
		t.write(fd, "def")
		t.reads(fd, 0, 10, "abcdef")
		s, err := t.Fstat(fd)
		t.ok(err)
		t.equal("links", s.Nlink, uint64(0))
		t.equal("size", s.Size, int64(6))
		t.ok(t.Ftruncate(fd, 1))
		t.reads(fd, 0, 10, "a")
	}},
	{"io/unlinked-name-is-free", func(t *T) {
		fd := t.open("f", rwCreate)
		t.write(fd, "old")
		t.ok(t.Unlink(t.p("f")))
		t.file("f", "new file")
		t.reads(fd, 0, 10, "old")
		t.holds("f", "new file")
	}},
	{"io/replaced-goes-on", func(t *T) {
		fd := t.open("f", rwCreate)
		t.write(fd, "old")
		t.file("g", "new")
		t.ok(t.Rename(t.p("g"), t.p("f")))
		t.reads(fd, 0, 10, "old")
		t.holds("f", "new")
	}},
	{"io/binary-content", func(t *T) {
		var b strings.Builder
		for i := range 256 {
			b.WriteByte(byte(i))
		}
		t.file("f", b.String())
		t.holds("f", b.String())
	}},
}...)

var sizeCases = []Case{
	{"seek/set-cur-end", func(t *T) {
		t.file("f", "abcdef")
		fd := t.open("f", unix.O_RDONLY)
		for _, c := range []struct {
			off    int64
			whence int
			want   int64
		}{{4, unix.SEEK_SET, 4}, {-1, unix.SEEK_CUR, 3}, {-2, unix.SEEK_END, 4}, {100, unix.SEEK_SET, 100}, {10, unix.SEEK_END, 16}} {
			pos, err := t.Lseek(fd, c.off, c.whence)
			t.ok(err)
			t.equal("position", pos, c.want)
		}
	}},
	{"seek/negative", func(t *T) {
		fd := t.open("f", rwCreate)
		_, err := t.Lseek(fd, -1, unix.SEEK_SET)
		t.fails(err, unix.EINVAL)
		_, err = t.Lseek(fd, -1, unix.SEEK_END)
		t.fails(err, unix.EINVAL)
	}},
	{"seek/bad-whence", func(t *T) { _, err := t.Lseek(t.open("f", rwCreate), 0, 99); t.fails(err, unix.EINVAL) }},
	{"seek/beyond-end-and-write", func(t *T) {
		fd := t.open("f", rwCreate)
		t.write(fd, "abc")
		_, err := t.Lseek(fd, 10, unix.SEEK_SET)
		t.ok(err)
		t.equal("size", t.stat("f").Size, int64(3))
		t.write(fd, "x")
		t.holds("f", "abc"+zeros(7)+"x")
	}},
	{"seek/data-and-hole", func(t *T) {
		t.file("f", "abcdef")
		fd := t.open("f", unix.O_RDONLY)
		pos, err := t.Lseek(fd, 2, unix.SEEK_DATA)
		t.ok(err)
		t.equal("data", pos, int64(2))
		pos, err = t.Lseek(fd, 2, unix.SEEK_HOLE)
		t.ok(err)
		t.equal("hole", pos, int64(6))
		_, err = t.Lseek(fd, 6, unix.SEEK_DATA)
		t.fails(err, unix.ENXIO)
	}},
	{"truncate/down", func(t *T) { t.file("f", "abcdef"); t.ok(t.Truncate(t.p("f"), 3)); t.holds("f", "abc") }},
	{"truncate/up", func(t *T) { t.file("f", "abc"); t.ok(t.Truncate(t.p("f"), 6)); t.holds("f", "abc"+zeros(3)) }},
	{"truncate/same", func(t *T) { t.file("f", "abc"); t.ok(t.Truncate(t.p("f"), 3)); t.holds("f", "abc") }},
	{"truncate/zero", func(t *T) { t.file("f", "abc"); t.ok(t.Truncate(t.p("f"), 0)); t.holds("f", "") }},
	{"truncate/down-and-up", func(t *T) {
		t.file("f", pattern(1000))
		t.ok(t.Truncate(t.p("f"), 10))
		t.ok(t.Truncate(t.p("f"), 1000))
		t.holds("f", pattern(1000)[:10]+zeros(990))
	}},
	{"truncate/sparse-huge", func(t *T) {
		fd := t.open("f", rwCreate)
		t.ok(t.Ftruncate(fd, 1<<40))
		t.equal("size", t.stat("f").Size, int64(1<<40))
		t.reads(fd, 1<<40-5, 100, zeros(5))
		t.reads(fd, 1<<39, 100, zeros(100))
	}},
	{"truncate/huge-then-write", func(t *T) {
		fd := t.open("f", rwCreate)
		t.pwrite(fd, "far", 1<<35)
		t.reads(fd, 1<<35-3, 10, zeros(3)+"far")
		t.ok(t.Ftruncate(fd, 2))
		t.ok(t.Ftruncate(fd, 1<<36))
		t.reads(fd, 1<<35-3, 10, zeros(10))
	}},
	{"truncate/negative", func(t *T) { t.file("f", "abc"); t.fails(t.Truncate(t.p("f"), -1), unix.EINVAL); t.holds("f", "abc") }},
	{"truncate/directory", func(t *T) { t.mkdir("d"); t.fails(t.Truncate(t.p("d"), 0), unix.EISDIR) }},
	{"truncate/missing", func(t *T) { t.fails(t.Truncate(t.p("x"), 0), unix.ENOENT) }},
	{"truncate/through-symlink", func(t *T) {
		t.file("f", "abc")
		t.ok(t.Symlink("f", t.p("s")))
		t.ok(t.Truncate(t.p("s"), 1))
		t.holds("f", "a")
	}},
	{"truncate/position-stays", func(t *T) {
		fd := t.open("f", rwCreate)
		t.write(fd, "abcdef")
		t.ok(t.Ftruncate(fd, 2))
		t.write(fd, "X")
		t.holds("f", "ab"+zeros(4)+"X")
	}},
	{"truncate/many-chunks", func(t *T) {
		fd := t.open("f", rwCreate)
		data := pattern(1 << 20)
		t.pwrite(fd, data, 0)
		for _, size := range []int{700001, 65536, 65535, 1} {
			t.ok(t.Ftruncate(fd, int64(size)))
			t.reads(fd, 0, 1<<20, data[:size])
		}
	}},
	{"fallocate/extends", func(t *T) {
		fd := t.open("f", rwCreate)
		t.write(fd, "abc")
		t.ok(t.Fallocate(fd, 0, 0, 100000))
		t.equal("size", t.stat("f").Size, int64(100000))
		t.reads(fd, 0, 10, "abc"+zeros(7))
	}},
	{"fallocate/inside-keeps", func(t *T) {
		t.file("f", "abcdef")
		t.ok(t.Fallocate(t.open("f", unix.O_RDWR), 0, 1, 3))
		t.holds("f", "abcdef")
	}},
	{"fallocate/bad-range", func(t *T) {
		fd := t.open("f", rwCreate)
		t.fails(t.Fallocate(fd, 0, -1, 10), unix.EINVAL)
		t.fails(t.Fallocate(fd, 0, 0, 0), unix.EINVAL)
	}},
	{"statfs/sane", func(t *T) {
		s, err := t.Statfs(t.dir)
		t.ok(err)
		if s.Bytes == 0 || s.Free > s.Bytes || s.NameMax != 255 {
			t.Fatalf("%+v", s)
		}
	}},
}
