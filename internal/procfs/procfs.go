// Package procfs reads what the kernel tells about processes in /proc, by plain system calls: os.File would start Go's poller in the host
// process.
package procfs

import (
	"strconv"
	"strings"
	"syscall"

	"github.com/pkg/errors"
)

// ReadFile is the whole of a file whose size stat(2) does not tell.
func ReadFile(path string) (string, error) {
	fd, err := retry(func() (int, error) { return syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0) })
	if err != nil {
		return "", errors.Wrapf(err, "cannot open %s", path)
	}
	defer func() { _ = syscall.Close(fd) }()
	var text strings.Builder
	buf := make([]byte, 4096)
	for {
		n, err := retry(func() (int, error) { return syscall.Read(fd, buf) })
		if err != nil {
			return "", errors.Wrapf(err, "cannot read %s", path)
		}
		if n == 0 {
			return text.String(), nil
		}
		text.Write(buf[:n])
	}
}

// readStart reads when a process began from /proc/PID/stat (proc(5)): clock ticks since boot.
func readStart(pid uint32) (uint64, error) {
	text, err := ReadFile("/proc/" + strconv.FormatUint(uint64(pid), 10) + "/stat")
	if err != nil {
		return 0, err
	}
	const start = 22 - 3 // what follows the command begins with field number 3
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) <= start {
		return 0, errors.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	return strconv.ParseUint(fields[start], 10, 64)
}

// StartTime is when a process began, in clock ticks since boot: with its pid it names a process for good. 0 when that cannot be read.
func StartTime(pid uint32) uint64 {
	start, err := readStart(pid)
	if err != nil {
		return 0
	}
	return start
}

func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != syscall.EINTR {
			return n, err
		}
	}
}
