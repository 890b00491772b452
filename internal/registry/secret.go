package registry

import (
	"encoding/hex"
	"strings"
	"syscall"

	"github.com/pkg/errors"

	"github.com/benchfs/benchfs/internal/random"
)

// secretBytes is the length of the job's secret before it is written in hex; a handshake has room for 64 characters.
const secretBytes = 32

// Secret returns the job's secret: 64 hex digits out of the registry directory. With create, whoever comes first makes it (and the
// directory); all others get the same. EPERM when anybody else could read it.
func Secret(dir string, create bool) (string, error) {
	check := checkPrivateDir
	if create {
		check = makePrivateDir
	}
	if err := check(dir); err != nil {
		return "", err
	}
	path := dir + "/secret"
	text, err := readPrivate(path, 1<<10)
	if create && errors.Is(err, syscall.ENOENT) {
		if err := writeSecret(path); err != nil {
			return "", err
		}
		text, err = readPrivate(path, 1<<10)
	}
	if err != nil {
		return "", err
	}
	secret := strings.TrimSpace(string(text))
	if raw, err := hex.DecodeString(secret); err != nil || len(raw) != secretBytes {
		return "", errors.Wrapf(syscall.EINVAL, "registry: %s does not hold %d hex digits", path, 2*secretBytes)
	}
	return secret, nil
}

// writeSecret puts a new secret in place, whole, unless somebody else was first.
func writeSecret(path string) error {
	var raw [secretBytes]byte
	if err := random.Read(raw[:]); err != nil {
		return errors.Wrap(err, "random numbers")
	}
	err := writeAtomic(path, []byte(hex.EncodeToString(raw[:])+"\n"), linkNew)
	if errors.Is(err, syscall.EEXIST) {
		return nil
	}
	return err
}

// linkNew gives the file a name that must not exist yet: O_EXCL for a file that is already complete.
func linkNew(temporary, path string) error {
	err := syscall.Link(temporary, path)
	_ = syscall.Unlink(temporary)
	return err
}

// HostID names this machine: its boot. At most 64 bytes; "" where the system does not tell (no /proc).
func HostID() string {
	text, err := readAll("/proc/sys/kernel/random/boot_id", 256)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text[:min(len(text), 64)]))
}
