package main

import (
	"bufio"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/pkg/errors"
	"golang.org/x/sys/unix"

	"github.com/benchfs/benchfs/config"
)

// ownDir is a private directory that this process has made and removes. A lock in it says that it is in use; daemons inherit the
// lock's descriptor, so it is held until the last of them has ended, whatever becomes of this process. What nobody holds any more is
// removed by the next benchfs (sweep).
type ownDir struct {
	path string
	lock *os.File
}

const lockName = ".lock"

// ownPattern names the directories of this user.
func ownPattern() string { return fmt.Sprintf("benchfs-%d-", os.Getuid()) }

// makeOwnDir makes a directory under base, mode 0700.
func makeOwnDir(base string) (*ownDir, error) {
	sweep(base)
	const tries = 10
	for range tries {
		path, err := os.MkdirTemp(base, ownPattern())
		if err != nil {
			return nil, errors.WithMessage(err, "cannot make a private directory")
		}
		lock, err := os.OpenFile(filepath.Join(path, lockName), os.O_CREATE|os.O_RDWR, 0o600)
		if err == nil && takeLock(lock) == nil {
			if _, err := os.Stat(lock.Name()); err == nil {
				return &ownDir{path: path, lock: lock}, nil
			}
		}
		if lock != nil { // somebody else's sweep was between our two steps: once more
			_ = lock.Close()
		}
	}
	return nil, errors.Errorf("cannot make a private directory under %s", base)
}

// remove ends the use of the directory, and the directory.
func (d *ownDir) remove() error {
	if d == nil {
		return nil
	}
	_ = d.lock.Close()
	return os.RemoveAll(d.path)
}

func takeLock(f *os.File) error {
	return unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
}

// sweep removes what benchfs processes of this user have left under base and no living process holds: those that were killed.
// Anything doubtful stays.
func sweep(base string) {
	paths, err := filepath.Glob(filepath.Join(base, ownPattern()+"*"))
	if err != nil {
		return
	}
	for _, path := range paths {
		var st unix.Stat_t
		if unix.Lstat(path, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR || int(st.Uid) != os.Getuid() {
			continue
		}
		lock, err := os.OpenFile(filepath.Join(path, lockName), os.O_RDWR|unix.O_NOFOLLOW, 0)
		if err != nil {
			continue
		}
		if takeLock(lock) == nil {
			_ = os.RemoveAll(path)
		}
		_ = lock.Close()
	}
}

// runtimeBase is where directories with sockets, logs and registries of this user go.
func runtimeBase() string {
	if dir := config.Environ()["XDG_RUNTIME_DIR"]; dir != "" && unix.Access(dir, unix.W_OK) == nil {
		return dir
	}
	return os.TempDir()
}

// leastStore is the room for the data of one node below which another medium is looked for.
const leastStore = 512 << 20

// dataBase chooses where daemons keep data that nobody said where to keep: in shared memory, or where there is more room.
// perNode is the capacity of each of n daemons: four fifths of what is free now.
func dataBase(n int, onDisk bool) (base string, perNode uint64, err error) {
	var best uint64
	places := []string{"/dev/shm", os.TempDir(), "/var/tmp"}
	if onDisk {
		slices.Reverse(places)
	}
	for _, candidate := range places {
		free := freeBytes(candidate)
		if free > best {
			base, best = candidate, free
		}
		if free/uint64(n) >= leastStore {
			base, best = candidate, free
			break
		}
	}
	if base == "" {
		return "", 0, errors.New("no place for the data: neither /dev/shm nor a temporary directory can be written; give --data-dir")
	}
	return base, best / 5 * 4 / uint64(n), nil
}

// freeBytes is what can be written to a directory: for memory file systems, not more than there is memory. 0 if nothing.
func freeBytes(dir string) uint64 {
	var fs unix.Statfs_t
	if unix.Access(dir, unix.W_OK) != nil || unix.Statfs(dir, &fs) != nil {
		return 0
	}
	free := fs.Bavail * uint64(fs.Bsize)
	if fs.Type == unix.TMPFS_MAGIC {
		free = min(free, availableMemory())
	}
	return free
}

// availableMemory is MemAvailable of proc(5), or the rest of the control group's limit where that is less.
func availableMemory() uint64 {
	available := uint64(math.MaxInt64)
	f, err := os.Open("/proc/meminfo")
	if err == nil {
		defer func() { _ = f.Close() }()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			fields := strings.Fields(lines.Text())
			if len(fields) >= 2 && fields[0] == "MemAvailable:" {
				if kib, err := strconv.ParseUint(fields[1], 10, 64); err == nil {
					available = kib << 10
				}
			}
		}
	}
	limit, haveLimit := readNumber("/sys/fs/cgroup/memory.max")
	used, haveUsed := readNumber("/sys/fs/cgroup/memory.current")
	if haveLimit && haveUsed {
		available = min(available, limit-min(used, limit))
	}
	return available
}

func readNumber(path string) (uint64, bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	return n, err == nil
}
