package client

import (
	"bytes"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/internal/inode"
)

// TestCursor: the pieces of a vectored range tile it, in order, inside chunks, buffers and maxPiece, each in its own place.
func TestCursor(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for range 300 {
		bits := uint8(layout.MinChunkBits + rnd.IntN(layout.MaxChunkBits-layout.MinChunkBits+1))
		var bufs [][]byte
		total := 0
		for range 1 + rnd.IntN(5) {
			n := rnd.IntN(3 << 16)
			if rnd.IntN(20) == 0 {
				n = 5 << 20
			}
			bufs = append(bufs, make([]byte, n))
			total += n
		}
		off := rnd.Uint64N(1 << 40)
		skip := uint64(rnd.IntN(total + 1))
		c := newCursor(bufs, skip, off+skip, uint64(total)-skip, bits)
		next := off + skip
		for {
			p, ok := c.next()
			if !ok {
				break
			}
			n := uint64(len(p.buf))
			if p.pos != next || p.chunk != p.pos>>bits || uint64(p.off) != p.pos&(1<<bits-1) {
				t.Fatalf("piece at %d says chunk %d offset %d (2^%d); expected it at %d", p.pos, p.chunk, p.off, bits, next)
			}
			if n == 0 || n > maxPiece || uint64(p.off)+n > 1<<bits {
				t.Fatalf("piece of %d bytes at %d of a chunk of 2^%d", n, p.off, bits)
			}
			for i := range p.buf {
				p.buf[i]++
			}
			next += n
		}
		if next != off+uint64(total) || c.pos != next {
			t.Fatalf("pieces end at %d, range at %d", next, off+uint64(total))
		}
		all := bytes.Join(bufs, nil)
		for i, b := range all {
			if want := byte(0); uint64(i) >= skip {
				want = 1
				if b != want {
					t.Fatalf("byte %d is in %d pieces", i, b)
				}
			} else if b != want {
				t.Fatalf("skipped byte %d is in a piece", i)
			}
		}
	}
}

func TestVector(t *testing.T) {
	if _, err := vector(make([][]byte, maxVectors+1)); err != syscall.EINVAL {
		t.Errorf("too many buffers: %v", err)
	}
	if n, err := vector([][]byte{make([]byte, 3), nil, make([]byte, 4)}); n != 7 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

func TestCookies(t *testing.T) {
	for _, c := range []struct {
		shard  uint32
		cookie uint64
	}{{0, 0}, {0, 1}, {1, 0}, {inode.MaxShards - 1, 1<<cookieBits - 3}, {7, 12345}} {
		v, ok := cookieOf(c.shard, c.cookie)
		if !ok || int64(v) < cookieDotDot {
			t.Errorf("shard %d cookie %d: %d, %v", c.shard, c.cookie, v, ok)
			continue
		}
		if p := placeOf(v); p.shard != c.shard || p.after != c.cookie {
			t.Errorf("shard %d cookie %d comes back as %+v", c.shard, c.cookie, p)
		}
	}
	if _, ok := cookieOf(0, 1<<cookieBits); ok {
		t.Error("a cookie that does not fit was accepted")
	}
	last, _ := cookieOf(2, 99)
	next, _ := cookieOf(3, 0)
	if next <= last {
		t.Error("cookies of the next shard do not come later")
	}
}

func TestPermissions(t *testing.T) {
	file := func(mode, uid, gid uint32) *inode.Attr {
		return &inode.Attr{Kind: inode.File, Mode: mode, UID: uid, GID: gid}
	}
	user := cred{uid: 1, gid: 10, groups: []uint32{11}}
	for i, c := range []struct {
		who  cred
		a    *inode.Attr
		want uint32
		ok   bool
	}{
		{user, file(0o400, 1, 10), mayRead, true},
		{user, file(0o400, 1, 10), mayWrite, false},
		{user, file(0o077, 1, 10), mayRead, false}, // the owner's bits count, not the group's
		{user, file(0o040, 2, 10), mayRead, true},
		{user, file(0o020, 2, 11), mayWrite, true},
		{user, file(0o007, 2, 10), mayRead, false},
		{user, file(0o005, 2, 12), mayRead | mayExec, true},
		{user, file(0o006, 2, 12), mayRead | mayExec, false},
		{cred{}, file(0, 1, 1), mayRead | mayWrite, true},
		{cred{}, file(0o666, 1, 1), mayExec, false},
		{cred{}, file(0o001, 1, 1), mayExec, true},
		{cred{}, &inode.Attr{Kind: inode.Dir}, mayExec, true},
	} {
		if got := c.who.allows(c.a, c.want); got != c.ok {
			t.Errorf("case %d: %v", i, got)
		}
	}
	dir := &inode.Attr{Kind: inode.Dir, Mode: 0o1777, UID: 5}
	if !user.sticky(dir, file(0o666, 2, 2)) || user.sticky(dir, file(0, 1, 0)) || (cred{uid: 5}).sticky(dir, file(0, 2, 2)) || (cred{}).sticky(dir, file(0, 2, 2)) {
		t.Error("sticky directory")
	}
}

func TestOpenFlags(t *testing.T) {
	for _, c := range []struct {
		flags int
		want  syscall.Errno
	}{
		{syscall.O_RDWR | syscall.O_CREAT | syscall.O_CLOEXEC | syscall.O_SYNC | syscall.O_DIRECT | 0o100000, 0},
		{3, syscall.EINVAL},
		{1 << 30, syscall.EINVAL},
		{0o10000000, syscall.EINVAL}, // O_PATH
		{0o20200000 | syscall.O_RDWR, syscall.EOPNOTSUPP},
		{syscall.O_CREAT | syscall.O_DIRECTORY, syscall.EINVAL},
	} {
		err := checkFlags(c.flags)
		if c.want == 0 && err != nil || c.want != 0 && !isErrno(err, c.want) {
			t.Errorf("flags %#o: %v, want %v", c.flags, err, c.want)
		}
	}
}
