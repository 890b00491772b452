package agent

import (
	"encoding/binary"
	"syscall"

	"github.com/benchfs/benchfs/tests/posix"
)

// An Agent is a front of the conformance suite.
var _ posix.FS = (*Agent)(nil)

func (a *Agent) Open(path string, flags int, mode uint32) (int, error) {
	n, _, err := a.request(callOpen).str(path).num(int64(flags), int64(mode)).call()
	return int(n), err
}

func (a *Agent) Openat(dir int, path string, flags int, mode uint32) (int, error) {
	n, _, err := a.request(callOpenat).num(int64(dir)).str(path).num(int64(flags), int64(mode)).call()
	return int(n), err
}

func (a *Agent) Close(fd int) error { return a.request(callClose).num(int64(fd)).simple() }

func (a *Agent) Dup(fd int) (int, error) {
	n, _, err := a.request(callDup).num(int64(fd)).call()
	return int(n), err
}

func (a *Agent) Read(fd, n int) ([]byte, error) {
	_, p, err := a.request(callRead).num(int64(fd), int64(n)).call()
	return p, err
}

func (a *Agent) Pread(fd, n int, off int64) ([]byte, error) {
	_, p, err := a.request(callPread).num(int64(fd), int64(n), off).call()
	return p, err
}

func (a *Agent) Write(fd int, p []byte) (int, error) {
	n, _, err := a.request(callWrite).num(int64(fd)).data(p).call()
	return int(n), err
}

func (a *Agent) Pwrite(fd int, p []byte, off int64) (int, error) {
	n, _, err := a.request(callPwrite).num(int64(fd)).data(p).num(off).call()
	return int(n), err
}

func (a *Agent) Readv(fd int, sizes []int) ([]byte, error) {
	a.request(callReadv).num(int64(fd), int64(len(sizes)))
	for _, n := range sizes {
		a.num(int64(n))
	}
	_, p, err := a.call()
	return p, err
}

func (a *Agent) Writev(fd int, bufs [][]byte) (int, error) {
	a.request(callWritev).num(int64(fd), int64(len(bufs)))
	for _, p := range bufs {
		a.data(p)
	}
	n, _, err := a.call()
	return int(n), err
}

func (a *Agent) Lseek(fd int, off int64, whence int) (int64, error) {
	n, _, err := a.request(callLseek).num(int64(fd), off, int64(whence)).call()
	return n, err
}

func (a *Agent) Fsync(fd int) error { return a.request(callFsync).num(int64(fd)).simple() }

func (a *Agent) Ftruncate(fd int, size int64) error {
	return a.request(callFtruncate).num(int64(fd), size).simple()
}

func (a *Agent) Truncate(path string, size int64) error {
	return a.request(callTruncate).str(path).num(size).simple()
}

func (a *Agent) Fallocate(fd int, mode uint32, off, n int64) error {
	return a.request(callFallocate).num(int64(fd), int64(mode), off, n).simple()
}

func stat(p []byte, err error) (posix.Stat, error) {
	if err != nil {
		return posix.Stat{}, err
	}
	v := func(i int) int64 { return int64(binary.LittleEndian.Uint64(p[8*i:])) }
	return posix.Stat{
		Ino: uint64(v(0)), Mode: uint32(v(1)), Nlink: uint64(v(2)), UID: uint32(v(3)), GID: uint32(v(4)),
		Size: v(5), Atime: v(6), Mtime: v(7), Ctime: v(8),
	}, nil
}

func (a *Agent) Stat(path string) (posix.Stat, error) {
	_, p, err := a.request(callStat).str(path).call()
	return stat(p, err)
}

func (a *Agent) Lstat(path string) (posix.Stat, error) {
	_, p, err := a.request(callLstat).str(path).call()
	return stat(p, err)
}

func (a *Agent) Fstat(fd int) (posix.Stat, error) {
	_, p, err := a.request(callFstat).num(int64(fd)).call()
	return stat(p, err)
}

func (a *Agent) Fstatat(dir int, path string, flags int) (posix.Stat, error) {
	_, p, err := a.request(callFstatat).num(int64(dir)).str(path).num(int64(flags)).call()
	return stat(p, err)
}

func (a *Agent) Access(path string, mode uint32) error {
	return a.request(callAccess).str(path).num(int64(mode)).simple()
}

func (a *Agent) Chmod(path string, mode uint32) error {
	return a.request(callChmod).str(path).num(int64(mode)).simple()
}

func (a *Agent) Fchmod(fd int, mode uint32) error {
	return a.request(callFchmod).num(int64(fd), int64(mode)).simple()
}

func (a *Agent) Chown(path string, uid, gid int) error {
	return a.request(callChown).str(path).num(int64(uid), int64(gid), 1).simple()
}

func (a *Agent) Lchown(path string, uid, gid int) error {
	return a.request(callChown).str(path).num(int64(uid), int64(gid), 0).simple()
}

func (a *Agent) Utimens(path string, atime, mtime syscall.Timespec, follow bool) error {
	last := int64(0)
	if follow {
		last = 1
	}
	return a.request(callUtimens).str(path).num(atime.Sec, atime.Nsec, mtime.Sec, mtime.Nsec, last).simple()
}

func (a *Agent) Mkdir(path string, mode uint32) error {
	return a.request(callMkdir).str(path).num(int64(mode)).simple()
}

func (a *Agent) Mkdirat(dir int, path string, mode uint32) error {
	return a.request(callMkdirat).num(int64(dir)).str(path).num(int64(mode)).simple()
}

func (a *Agent) Rmdir(path string) error  { return a.request(callRmdir).str(path).simple() }
func (a *Agent) Unlink(path string) error { return a.request(callUnlink).str(path).simple() }

func (a *Agent) Unlinkat(dir int, path string, flags int) error {
	return a.request(callUnlinkat).num(int64(dir)).str(path).num(int64(flags)).simple()
}

func (a *Agent) Rename(from, to string) error { return a.request(callRename).str(from, to).simple() }

func (a *Agent) Renameat(fromDir int, from string, toDir int, to string) error {
	return a.request(callRenameat).num(int64(fromDir)).str(from).num(int64(toDir)).str(to).simple()
}

func (a *Agent) Link(from, to string) error { return a.request(callLink).str(from, to).simple() }

func (a *Agent) Symlink(target, path string) error {
	return a.request(callSymlink).str(target, path).simple()
}

func (a *Agent) Readlink(path string) (string, error) {
	_, p, err := a.request(callReadlink).str(path).num(8192).call()
	return string(p), err
}

func (a *Agent) Opendir(path string) (int, error) {
	n, _, err := a.request(callOpendir).str(path).call()
	return int(n), err
}

func (a *Agent) Readdir(dir, most int) ([]posix.Dirent, error) {
	n, p, err := a.request(callReaddir).num(int64(dir), int64(most)).call()
	if err != nil {
		return nil, err
	}
	list := make([]posix.Dirent, 0, n)
	for range n {
		length := binary.LittleEndian.Uint32(p[16:])
		list = append(list, posix.Dirent{
			Cookie: int64(binary.LittleEndian.Uint64(p)), Ino: binary.LittleEndian.Uint64(p[8:]), Name: string(p[20 : 20+length]),
		})
		p = p[20+length:]
	}
	return list, nil
}

func (a *Agent) Seekdir(dir int, cookie int64) error {
	return a.request(callSeekdir).num(int64(dir), cookie).simple()
}

func (a *Agent) Closedir(dir int) error { return a.request(callClosedir).num(int64(dir)).simple() }

func (a *Agent) Statfs(path string) (posix.Statfs, error) {
	_, p, err := a.request(callStatfs).str(path).call()
	if err != nil {
		return posix.Statfs{}, err
	}
	return posix.Statfs{
		Bytes: binary.LittleEndian.Uint64(p), Free: binary.LittleEndian.Uint64(p[8:]), NameMax: int64(binary.LittleEndian.Uint64(p[16:])),
	}, nil
}

// Sync is benchfs_sync.
func (a *Agent) Sync() error { return a.request(callSync).simple() }

// LastError is benchfs_last_error of the agent's thread.
func (a *Agent) LastError() string {
	_, p, err := a.request(callLastError).call()
	if err != nil {
		return err.Error()
	}
	return string(p)
}

// Stats is benchfs_stats: JSON.
func (a *Agent) Stats() ([]byte, error) {
	_, p, err := a.request(callStats).call()
	return p, err
}

// SetStrategy sets the layout strategy (enum benchfs_strategy) that new files of a directory inherit.
func (a *Agent) SetStrategy(path string, strategy int) error {
	return a.request(callSetStrategy).str(path).num(int64(strategy)).simple()
}

// Place is a range of a file and the node that holds it.
type Place struct {
	Offset, Length int64
	Node           uint32
}

// Locate is benchfs_locate, at most 256 ranges.
func (a *Agent) Locate(fd int, off, n int64) ([]Place, error) {
	count, p, err := a.request(callLocate).num(int64(fd), off, n).call()
	if err != nil {
		return nil, err
	}
	list := make([]Place, min(count, 256))
	for i := range list {
		v := func(j int) int64 { return int64(binary.LittleEndian.Uint64(p[24*i+8*j:])) }
		list[i] = Place{Offset: v(0), Length: v(1), Node: uint32(v(2))}
	}
	return list, nil
}
