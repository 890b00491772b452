package preload_test

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"syscall"

	"github.com/benchfs/benchfs/tests/posix"
)

// walk tells a tree, one line for each name: type and mode, names and size of a file, what is in it. It sees the file system without the
// interposer. same makes paths of both sides alike.
func walk(fs posix.FS, path, name string, same *strings.Replacer) ([]string, error) {
	st, err := fs.Lstat(path)
	if err != nil {
		return nil, fmt.Errorf("lstat %s: %w", path, err)
	}
	mode := st.Mode & 0o7777
	switch st.Mode & syscall.S_IFMT {
	case syscall.S_IFLNK:
		target, err := fs.Readlink(path)
		return []string{fmt.Sprintf("%s link to %s", name, same.Replace(target))}, err
	case syscall.S_IFREG:
		data, err := content(fs, path)
		if err == nil && int64(len(data)) != st.Size {
			err = fmt.Errorf("%s has %d bytes of %d", path, len(data), st.Size)
		}
		data = []byte(same.Replace(string(data)))
		return []string{fmt.Sprintf("%s file %04o names %d size %d sha256 %.8x", name, mode, st.Nlink, len(data), sha256.Sum256(data))}, err
	case syscall.S_IFDIR:
		lines := []string{fmt.Sprintf("%s dir %04o", name, mode)}
		entries, err := names(fs, path)
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", path, err)
		}
		for _, e := range entries {
			below, err := walk(fs, path+"/"+e, name+"/"+e, same)
			if err != nil {
				return nil, err
			}
			lines = append(lines, below...)
		}
		return lines, nil
	}
	return []string{fmt.Sprintf("%s of type %o", name, st.Mode&syscall.S_IFMT)}, nil
}

func content(fs posix.FS, path string) ([]byte, error) {
	fd, err := fs.Open(path, syscall.O_RDONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	defer func() { _ = fs.Close(fd) }()
	var all []byte
	for {
		p, err := fs.Read(fd, 1<<20)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		if len(p) == 0 {
			return all, nil
		}
		all = append(all, p...)
	}
}
