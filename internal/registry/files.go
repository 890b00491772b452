package registry

import (
	"fmt"
	"path/filepath"
	"sync/atomic"
	"syscall"

	"github.com/pkg/errors"
)

// The commands of open-file-description locks (fcntl(2)), which the syscall package lacks. Such a lock belongs to the
// open file, not to the process: closing another descriptor of the same file does not drop it, and it can be looked at
// without being taken.
const (
	ofdGetLock = 36
	ofdSetLock = 37
)

func lock(fd int) error {
	return syscall.FcntlFlock(uintptr(fd), ofdSetLock, &syscall.Flock_t{Type: syscall.F_WRLCK})
}

func isLocked(fd int) (bool, error) {
	probe := syscall.Flock_t{Type: syscall.F_WRLCK}
	err := syscall.FcntlFlock(uintptr(fd), ofdGetLock, &probe)
	return probe.Type != syscall.F_UNLCK, err
}

// makePrivateDir makes the directory (not its parents) if it is missing, and checks it.
func makePrivateDir(dir string) error {
	err := syscall.Mkdir(dir, 0o700)
	if err != nil && err != syscall.EEXIST {
		return errors.Wrapf(err, "registry: cannot make %s", dir)
	}
	return checkPrivateDir(dir)
}

// checkPrivateDir refuses a directory that somebody else owns, or may write or look into.
func checkPrivateDir(dir string) error {
	var st syscall.Stat_t
	if err := syscall.Stat(dir, &st); err != nil {
		return errors.Wrapf(err, "registry %s", dir)
	}
	if st.Mode&syscall.S_IFMT != syscall.S_IFDIR {
		return errors.Wrapf(syscall.ENOTDIR, "registry %s", dir)
	}
	return private(dir, &st, "chmod 700 "+dir)
}

// private checks owner and mode.
func private(path string, st *syscall.Stat_t, advice string) error {
	switch {
	case int(st.Uid) != syscall.Geteuid():
		return errors.Wrapf(syscall.EPERM, "registry: %s belongs to uid %d, this process runs as uid %d", path, st.Uid, syscall.Geteuid())
	case st.Mode&0o077 != 0:
		return errors.Wrapf(syscall.EPERM, "registry: %s is open to others (mode %04o): %s", path, st.Mode&0o7777, advice)
	}
	return nil
}

// readPrivate reads a regular file that only its owner can read or write.
func readPrivate(path string, limit int) ([]byte, error) {
	fd, err := openFile(path, syscall.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, errors.Wrapf(err, "registry: cannot open %s", path)
	}
	defer func() { _ = syscall.Close(fd) }()
	var st syscall.Stat_t
	if err := syscall.Fstat(fd, &st); err != nil {
		return nil, errors.Wrapf(err, "registry: %s", path)
	}
	if st.Mode&syscall.S_IFMT != syscall.S_IFREG {
		return nil, errors.Wrapf(syscall.EINVAL, "registry: %s is no regular file", path)
	}
	if err := private(path, &st, "chmod 600 "+path); err != nil {
		return nil, err
	}
	return readFrom(fd, path, limit)
}

func readAll(path string, limit int) ([]byte, error) {
	fd, err := openFile(path, syscall.O_RDONLY, 0)
	if err != nil {
		return nil, errors.Wrapf(err, "cannot open %s", path)
	}
	defer func() { _ = syscall.Close(fd) }()
	return readFrom(fd, path, limit)
}

func readFrom(fd int, path string, limit int) ([]byte, error) {
	var text []byte
	buf := make([]byte, 16<<10)
	for {
		n, err := syscall.Read(fd, buf)
		switch {
		case err == syscall.EINTR:
			continue
		case err != nil:
			return nil, errors.Wrapf(err, "cannot read %s", path)
		case n == 0:
			return text, nil
		}
		if text = append(text, buf[:n]...); len(text) > limit {
			return nil, errors.Wrapf(syscall.EFBIG, "%s is larger than %d bytes", path, limit)
		}
	}
}

// temporaries numbers the unfinished files of this process.
var temporaries atomic.Uint64

// writeAtomic writes text to a file beside path and then puts it in place with the given step, rename or link.
func writeAtomic(path string, text []byte, place func(temporary, path string) error) error {
	temporary := fmt.Sprintf("%s.%d.%d", path, syscall.Getpid(), temporaries.Add(1))
	_ = syscall.Unlink(temporary) // of a dead process with our number
	fd, err := openFile(temporary, syscall.O_WRONLY|syscall.O_CREAT|syscall.O_EXCL, 0o600)
	if err != nil {
		return errors.Wrapf(err, "registry: cannot make %s", temporary)
	}
	err = writeTo(fd, text)
	if err == nil {
		err = syscall.Fsync(fd)
	}
	if closeErr := syscall.Close(fd); err == nil {
		err = closeErr
	}
	if err == nil {
		err = place(temporary, path)
	}
	if err != nil {
		_ = syscall.Unlink(temporary)
	}
	return errors.Wrapf(err, "registry: cannot write %s", path)
}

func writeTo(fd int, text []byte) error {
	for len(text) > 0 {
		n, err := syscall.Write(fd, text)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		text = text[n:]
	}
	return nil
}

func openFile(path string, flags int, mode uint32) (int, error) {
	for {
		fd, err := syscall.Open(path, flags|syscall.O_CLOEXEC, mode)
		if err != syscall.EINTR {
			return fd, err
		}
	}
}

// listDir returns the names in a directory, without "." and "..", in no order.
func listDir(dir string) ([]string, error) {
	fd, err := openFile(dir, syscall.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		return nil, errors.Wrapf(err, "registry: cannot open %s", filepath.Clean(dir))
	}
	defer func() { _ = syscall.Close(fd) }()
	var names []string
	buf := make([]byte, 16<<10)
	for {
		n, err := syscall.ReadDirent(fd, buf)
		switch {
		case err == syscall.EINTR:
			continue
		case err != nil:
			return nil, errors.Wrapf(err, "registry: cannot list %s", dir)
		case n <= 0:
			return names, nil
		}
		_, _, names = syscall.ParseDirent(buf[:n], -1, names)
	}
}
