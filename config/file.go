package config

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

// maxFileBytes bounds a configuration file: one that is larger is something else.
const maxFileBytes = 1 << 20

// readFile reads a whole file by plain system calls: os.File would start Go's poller in the host process, which then dies if
// the host closes descriptors that it does not know.
func readFile(path string) (string, error) {
	fd, err := retryEINTR(func() (int, error) { return syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0) })
	if err != nil {
		return "", fmt.Errorf("cannot open: %w", err)
	}
	defer func() { _ = syscall.Close(fd) }()
	var text strings.Builder
	buf := make([]byte, 16<<10)
	for {
		n, err := retryEINTR(func() (int, error) { return syscall.Read(fd, buf) })
		if err != nil {
			return "", fmt.Errorf("cannot read: %w", err)
		}
		if n == 0 {
			return text.String(), nil
		}
		text.Write(buf[:n])
		if text.Len() > maxFileBytes {
			return "", fmt.Errorf("is larger than %d bytes: %w", maxFileBytes, syscall.EFBIG)
		}
	}
}

// checkSecretFile refuses a file with a secret that others can read.
func checkSecretFile(path string) error {
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		return &Error{Source: path, Reason: err.Error(), code: err}
	}
	if st.Mode&0o077 != 0 {
		return &Error{Source: path, Key: "cluster.secret", code: syscall.EPERM,
			Reason: fmt.Sprintf("the file can be read or written by others (mode %04o): chmod 600 %s", st.Mode&0o7777, path)}
	}
	return nil
}

func retryEINTR(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != syscall.EINTR {
			return n, err
		}
	}
}

// Environ is the environment of this process, for commands. The library reads its host's environment through C instead.
func Environ() map[string]string {
	env := map[string]string{}
	for _, pair := range os.Environ() {
		if name, value, ok := strings.Cut(pair, "="); ok {
			env[name] = value
		}
	}
	return env
}
