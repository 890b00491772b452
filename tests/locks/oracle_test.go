package locks_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/benchfs/benchfs/tests/agent"
)

// TestAsTheKernelDoes: random locks and unlocks of several owners have the outcome that the kernel gives them on a local file, where each owner is
// an open file description.
func TestAsTheKernelDoes(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 7))
	const owners, steps = 4, 4000
	a := agent.MustStart(t, nil) // embedded
	fd, err := a.Open("/f", unix.O_CREAT|unix.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = a.Close(fd) }()
	path := filepath.Join(t.TempDir(), "f")
	var files [owners]*os.File
	for i := range files {
		if files[i], err = os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = files[i].Close() }()
	}
	types := []int{unix.F_RDLCK, unix.F_WRLCK, unix.F_UNLCK}
	refused := 0
	for step := range steps {
		i := random.IntN(owners)
		l := agent.Lock{Type: types[random.IntN(3)], Owner: uint64(i + 1)}
		var theirs, ours error
		switch op := random.IntN(10); {
		case op == 0:
			l.Kind = agent.LockFile
			theirs = unix.Flock(int(files[i].Fd()), map[int]int{unix.F_RDLCK: unix.LOCK_SH, unix.F_WRLCK: unix.LOCK_EX, unix.F_UNLCK: unix.LOCK_UN}[l.Type]|unix.LOCK_NB)
			ours = justError(a.Lock(fd, agent.LockTry, l))
		default:
			l.Start, l.Length = int64(random.IntN(40)), int64(random.IntN(15)-4)
			k := unix.Flock_t{Type: int16(l.Type), Start: l.Start, Len: l.Length}
			if op < 3 && l.Type != unix.F_UNLCK {
				theirs = unix.FcntlFlock(files[i].Fd(), unix.F_OFD_GETLK, &k)
				var found agent.Lock
				found, ours = a.Lock(fd, agent.LockTest, l)
				if theirs == nil && ours == nil && (k.Type == unix.F_UNLCK) != (found.Type == unix.F_UNLCK) {
					t.Fatalf("step %d: %+v: the kernel finds %+v in the way, BenchFS %+v", step, l, k, found)
				}
			} else {
				theirs = unix.FcntlFlock(files[i].Fd(), unix.F_OFD_SETLK, &k)
				ours = justError(a.Lock(fd, agent.LockTry, l))
			}
		}
		if theirs != nil {
			refused++
		}
		var want syscall.Errno
		if errors.As(theirs, &want); want != 0 && !errors.Is(ours, want) || want == 0 && ours != nil {
			t.Fatalf("step %d: %+v: the kernel says %v, BenchFS %v", step, l, theirs, ours)
		}
	}
	if refused < steps/50 || refused > steps*9/10 {
		t.Errorf("the test tests little: %d of %d were refused", refused, steps)
	}
}

func justError(_ agent.Lock, err error) error { return err }
