// Package model drives BenchFS with random operations and compares every outcome with a model of what a file system does.
//
// The model is the local disk: each operation is made on both, by the same rules, and errno, data, sizes, types, link counts and
// listings must agree. One operation runs at a time, each in another process than the one before, so that what is compared is also
// promise P1: a write that has returned is seen by every read that starts later, in any process.
package model

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sort"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/benchfs/benchfs/tests/posix"
)

// Differ makes random operations on several fronts of one file system and on a local directory.
type Differ struct {
	t      testing.TB
	rng    *rand.Rand
	fronts []posix.FS // of one file system, each a process of its own
	local  *posix.Local
	root   string // directory of the fronts that stands for the local root
	open   []handle
	log    []string // the last operations
	// MaxBytes is the size that files stay below, roughly.
	MaxBytes int64
	Steps    int
}

// handle is a file that is open on both sides.
type handle struct {
	front  int
	fd, lo int
	app    bool // O_APPEND
}

const (
	maxHandles = 24
	logLength  = 40
)

// New makes a Differ. local is an empty directory of the local disk; the file system under test is empty too. On both sides the operations
// stay below a directory, so that a symbolic link that leads one up leads to the same place.
func New(t testing.TB, seed uint64, fronts []posix.FS, local string) *Differ {
	t.Helper()
	const below = "/below"
	for _, err := range []error{fronts[0].Mkdir(below, 0o755), posix.NewLocal(local).Mkdir(below, 0o755)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return &Differ{
		t: t, rng: rand.New(rand.NewPCG(seed, seed^0x5bf03635)), fronts: fronts, local: posix.NewLocal(local + below), root: below, MaxBytes: 600_000,
	}
}

// name draws a path: few names, so that operations meet.
func (d *Differ) name() string {
	path := ""
	for range d.rng.IntN(3) {
		path += fmt.Sprintf("/d%d", d.rng.IntN(3))
	}
	switch d.rng.IntN(10) {
	case 0:
		return path + fmt.Sprintf("/d%d", d.rng.IntN(3))
	case 1:
		return path + fmt.Sprintf("/s%d", d.rng.IntN(2))
	}
	return path + fmt.Sprintf("/f%d", d.rng.IntN(5))
}

func (d *Differ) dirName() string {
	path := ""
	for range 1 + d.rng.IntN(2) {
		path += fmt.Sprintf("/d%d", d.rng.IntN(3))
	}
	return path
}

// size draws a length: mostly odd and small, sometimes several chunks.
func (d *Differ) size() int {
	switch d.rng.IntN(10) {
	case 0:
		return d.rng.IntN(200_000)
	case 1, 2:
		return 1 + d.rng.IntN(20_000)
	case 3:
		return 47_008
	}
	return 1 + d.rng.IntN(2000)
}

func (d *Differ) offset() int64 {
	if d.rng.IntN(4) == 0 { // around the ends of chunks
		return max(0, int64(d.rng.IntN(8))*65536-int64(d.rng.IntN(3000)))
	}
	return d.rng.Int64N(d.MaxBytes * 2 / 3)
}

func (d *Differ) data(n int) []byte {
	p := make([]byte, n)
	word := d.rng.Uint64()
	for i := range p {
		if i%8 == 0 {
			word = word*6364136223846793005 + 1442695040888963407
		}
		p[i] = byte(word >> (8 * (i % 8)))
	}
	return p
}

// note logs an operation for the failure message.
func (d *Differ) note(format string, args ...any) {
	if len(d.log) == logLength {
		d.log = d.log[1:]
	}
	d.log = append(d.log, fmt.Sprintf("%d: ", d.Steps)+fmt.Sprintf(format, args...))
}

func (d *Differ) fail(format string, args ...any) {
	d.t.Helper()
	d.t.Fatalf("%s\nlast operations:\n%s", fmt.Sprintf(format, args...), strings.Join(d.log, "\n"))
}

// agree compares outcomes. Where several errnos apply, POSIX does not say which one comes; those are taken for equal.
func (d *Differ) agree(front int, got, want error) bool {
	d.t.Helper()
	if code(got) != code(want) {
		d.fail("front %d: %v; local disk: %v", front, got, want)
	}
	return want == nil
}

func code(err error) any {
	switch err {
	case syscall.EEXIST, syscall.ENOTEMPTY:
		return "exists"
	case syscall.EISDIR, syscall.EPERM:
		return "directory"
	}
	return err
}

// Run makes n operations.
func (d *Differ) Run(n int) {
	d.t.Helper()
	for range n {
		d.Steps++
		front := d.rng.IntN(len(d.fronts))
		if d.rng.IntN(100) < 55 && len(d.open) > 0 {
			d.onHandle(d.rng.IntN(len(d.open)))
		} else {
			d.onName(front)
		}
	}
}

func (d *Differ) onName(front int) {
	fs := d.fronts[front]
	path := d.name()
	p := d.root + path
	switch d.rng.IntN(20) {
	case 0, 1, 2, 3, 4, 5:
		d.openFile(front, path)
	case 6:
		dir := d.dirName()
		d.note("[%d] mkdir %s", front, dir)
		d.agree(front, fs.Mkdir(d.root+dir, 0o755), d.local.Mkdir(dir, 0o755))
	case 7:
		dir := d.dirName()
		d.note("[%d] rmdir %s", front, dir)
		d.agree(front, fs.Rmdir(d.root+dir), d.local.Rmdir(dir))
	case 8, 9:
		d.note("[%d] unlink %s", front, path)
		d.agree(front, fs.Unlink(p), d.local.Unlink(path))
	case 10, 11, 12:
		to := d.name()
		d.note("[%d] rename %s %s", front, path, to)
		d.agree(front, fs.Rename(p, d.root+to), d.local.Rename(path, to))
	case 13:
		to := d.name()
		d.note("[%d] link %s %s", front, path, to)
		d.agree(front, fs.Link(p, d.root+to), d.local.Link(path, to))
	case 14:
		target := []string{"f0", "f1", "../f2", "d0", "d1/f0", "nowhere"}[d.rng.IntN(6)]
		d.note("[%d] symlink %s %s", front, target, path)
		d.agree(front, fs.Symlink(target, p), d.local.Symlink(target, path))
	case 15:
		size := d.rng.Int64N(d.MaxBytes)
		d.note("[%d] truncate %s %d", front, path, size)
		d.agree(front, fs.Truncate(p, size), d.local.Truncate(path, size))
	case 16:
		d.compareList(front, d.dirName())
	default:
		d.compareStat(front, path)
	}
}

func (d *Differ) openFile(front int, path string) {
	if len(d.open) >= maxHandles {
		d.close(d.rng.IntN(len(d.open)))
	}
	flags := unix.O_RDWR
	if d.rng.IntN(3) > 0 {
		flags |= unix.O_CREAT
	}
	for _, f := range []int{unix.O_TRUNC, unix.O_EXCL, unix.O_APPEND, unix.O_NOFOLLOW} {
		if d.rng.IntN(6) == 0 && (f != unix.O_EXCL || flags&unix.O_CREAT != 0) {
			flags |= f
		}
	}
	d.note("[%d] open %s %#x", front, path, flags)
	fd, err := d.fronts[front].Open(d.root+path, flags, 0o644)
	lo, want := d.local.Open(path, flags, 0o644)
	if d.agree(front, err, want) {
		d.open = append(d.open, handle{front: front, fd: fd, lo: lo, app: flags&unix.O_APPEND != 0})
	}
}

func (d *Differ) close(i int) {
	h := d.open[i]
	d.note("[%d] close %d", h.front, h.fd)
	d.agree(h.front, d.fronts[h.front].Close(h.fd), d.local.Close(h.lo))
	d.open = append(d.open[:i], d.open[i+1:]...)
}

func (d *Differ) onHandle(i int) {
	h := d.open[i]
	fs := d.fronts[h.front]
	switch d.rng.IntN(12) {
	case 0:
		d.close(i)
	case 1, 2, 3, 4:
		off, p := d.offset(), d.data(d.size())
		d.note("[%d] pwrite %d: %d at %d (append %t)", h.front, h.fd, len(p), off, h.app)
		n, err := fs.Pwrite(h.fd, p, off)
		m, want := d.local.Pwrite(h.lo, p, off)
		if d.agree(h.front, err, want) && n != m {
			d.fail("front %d wrote %d bytes, local disk %d", h.front, n, m)
		}
		d.bound(h)
	case 5:
		p := d.data(d.size())
		d.note("[%d] write %d: %d (append %t)", h.front, h.fd, len(p), h.app)
		n, err := fs.Write(h.fd, p)
		m, want := d.local.Write(h.lo, p)
		if d.agree(h.front, err, want) && n != m {
			d.fail("front %d wrote %d bytes, local disk %d", h.front, n, m)
		}
		d.bound(h)
	case 6:
		size := d.rng.Int64N(d.MaxBytes)
		d.note("[%d] ftruncate %d: %d", h.front, h.fd, size)
		d.agree(h.front, fs.Ftruncate(h.fd, size), d.local.Ftruncate(h.lo, size))
	case 7:
		d.note("[%d] fstat %d", h.front, h.fd)
		got, err := fs.Fstat(h.fd)
		want, wantErr := d.local.Fstat(h.lo)
		if d.agree(h.front, err, wantErr) {
			d.sameStat(h.front, got, want)
		}
	default:
		d.comparePread(h, d.offset(), d.size())
	}
}

// bound keeps a file from growing for ever.
func (d *Differ) bound(h handle) {
	s, err := d.local.Fstat(h.lo)
	if err == nil && s.Size > 2*d.MaxBytes {
		d.note("[%d] ftruncate %d: %d", h.front, h.fd, d.MaxBytes/3)
		d.agree(h.front, d.fronts[h.front].Ftruncate(h.fd, d.MaxBytes/3), d.local.Ftruncate(h.lo, d.MaxBytes/3))
	}
}

func (d *Differ) comparePread(h handle, off int64, n int) {
	d.note("[%d] pread %d: %d at %d", h.front, h.fd, n, off)
	got, err := d.fronts[h.front].Pread(h.fd, n, off)
	want, wantErr := d.local.Pread(h.lo, n, off)
	if d.agree(h.front, err, wantErr) && !bytes.Equal(got, want) {
		at := 0
		for at < min(len(got), len(want)) && got[at] == want[at] {
			at++
		}
		d.fail("front %d read %d bytes, local disk %d; they differ at %d", h.front, len(got), len(want), off+int64(at))
	}
}

func (d *Differ) compareStat(front int, path string) {
	d.note("[%d] lstat %s", front, path)
	got, err := d.fronts[front].Lstat(d.root + path)
	want, wantErr := d.local.Lstat(path)
	if d.agree(front, err, wantErr) {
		d.sameStat(front, got, want)
	}
}

func (d *Differ) sameStat(front int, got, want posix.Stat) {
	dir := want.Mode&unix.S_IFMT == unix.S_IFDIR
	if got.Mode != want.Mode && want.Mode&unix.S_IFMT != unix.S_IFLNK || got.Nlink != want.Nlink || !dir && got.Size != want.Size {
		d.fail("front %d: %+v; local disk: %+v", front, got, want)
	}
}

func (d *Differ) compareList(front int, path string) []string {
	d.note("[%d] list %s", front, path)
	got, err := names(d.fronts[front], d.root+path)
	want, wantErr := names(d.local, path)
	if d.agree(front, err, wantErr) && strings.Join(got, "/") != strings.Join(want, "/") {
		d.fail("front %d lists %q, local disk %q", front, got, want)
	}
	return want
}

func names(fs posix.FS, path string) ([]string, error) {
	dir, err := fs.Opendir(path)
	if err != nil {
		return nil, err
	}
	var list []string
	for {
		page, err := fs.Readdir(dir, 64)
		if err != nil {
			return nil, err
		}
		if len(page) == 0 {
			break
		}
		for _, e := range page {
			list = append(list, e.Name)
		}
	}
	sort.Strings(list)
	return list, fs.Closedir(dir)
}

// Verify compares everything that there is, by handle and by name, and closes what is open.
func (d *Differ) Verify() {
	d.t.Helper()
	for len(d.open) > 0 {
		d.comparePread(d.open[0], 0, int(4*d.MaxBytes))
		d.close(0)
	}
	d.verifyTree("")
}

func (d *Differ) verifyTree(path string) {
	front := d.rng.IntN(len(d.fronts))
	list := d.compareList(front, path+"/")
	for _, name := range list {
		if name == "." || name == ".." {
			continue
		}
		below := path + "/" + name
		d.compareStat(front, below)
		s, err := d.local.Lstat(below)
		if err != nil {
			d.fail("local disk: %v", err)
		}
		switch s.Mode & unix.S_IFMT {
		case unix.S_IFDIR:
			d.verifyTree(below)
		case unix.S_IFLNK:
			got, err := d.fronts[front].Readlink(d.root + below)
			want, wantErr := d.local.Readlink(below)
			if d.agree(front, err, wantErr) && got != want {
				d.fail("front %d: %s leads to %q, on the local disk to %q", front, below, got, want)
			}
		default:
			fd, err := d.fronts[front].Open(d.root+below, unix.O_RDONLY, 0)
			lo, wantErr := d.local.Open(below, unix.O_RDONLY, 0)
			if d.agree(front, err, wantErr) {
				d.comparePread(handle{front: front, fd: fd, lo: lo}, 0, int(4*d.MaxBytes))
				d.agree(front, d.fronts[front].Close(fd), d.local.Close(lo))
			}
		}
	}
}
