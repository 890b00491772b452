"""BenchFS from Python: files, directories and os-like calls on libbenchfs.so, through ctypes.

    import benchfs

    with benchfs.session():
        with benchfs.open("/results.npy", "wb") as f:
            numpy.save(f, array)
        print(benchfs.listdir("/"), benchfs.stat("/results.npy").st_size)

include/benchfs.h says what each call does. Files are io objects (open()), calls that are named like those of the module os take the same
arguments, and an error is an OSError with errno, filename and the library's own text. Handles are ints of BenchFS, no kernel descriptors:
fileno() is not supported, and what insists on one (mmap, numpy.fromfile) takes File.readinto() instead.

The library is the one that the environment variable LIBBENCHFS names, or that the loader finds, or ../lib/libbenchfs.so.0 from this file.
Offsets and sizes are bytes, times seconds, or with ns= nanoseconds since 1970. A transfer moves at most 2**31 - 4096 bytes. Calls may be made by any
threads, run without the interpreter's lock, and end, with an error if need be, by the time that rpc.call_timeout says. A function without a text of its
own does what the one of the same name in os or os.path does.

It does not survive fork(): with multiprocessing use the start method "spawn" (or "forkserver").
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import errno as _errno
import io
import json
import os
import platform
import stat as _stat
import weakref
from ctypes import POINTER, Structure, byref, c_char, c_char_p, c_int, c_int32, c_int64, c_long, c_size_t, c_ssize_t, c_uint, c_uint32, c_uint64, c_ulong, c_void_p
from typing import Any, Iterable, Iterator, NamedTuple, Optional, Sequence, Union

AT_FDCWD = -100
REQUEST_NULL = -1
MODE_CONFIGURED, MODE_EMBEDDED, MODE_DISTRIBUTED = 0, 1, 2
INIT_NO_ENVIRONMENT = 1
KIND_DIR, KIND_FILE, KIND_SYMLINK = 4, 8, 10
LAYOUT_DEFAULT, LAYOUT_ROUND_ROBIN, LAYOUT_HASH, LAYOUT_LOCAL = 0, 1, 2, 3
LOCK_TRY, LOCK_WAIT, LOCK_TEST, LOCK_LEAVE = 1, 2, 3, 4
LOCK_RANGE, LOCK_FILE = 0, 1
F_RDLCK, F_WRLCK, F_UNLCK = 0, 1, 2
IOV_MAX = 1024

_API_VERSION = 0 << 16 | 1  # BENCHFS_API_VERSION
_AT_SYMLINK_NOFOLLOW, _AT_REMOVEDIR, _AT_SYMLINK_FOLLOW = 0x100, 0x200, 0x400
_UTIME_NOW = 0x3FFFFFFF

Path = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]

# ---- The structures of C ----


class _Options(Structure):
    _fields_ = [("size", c_size_t), ("config_file", c_char_p), ("config_text", c_char_p), ("mode", c_int32), ("flags", c_uint32)]


class _Timespec(Structure):
    _fields_ = [("tv_sec", c_long), ("tv_nsec", c_long)]

    def ns(self) -> int:
        return self.tv_sec * 10**9 + self.tv_nsec


_times = [("st_atim", _Timespec), ("st_mtim", _Timespec), ("st_ctim", _Timespec)]


class _Stat(Structure):
    if platform.machine() == "x86_64":
        _fields_ = [("st_dev", c_ulong), ("st_ino", c_ulong), ("st_nlink", c_ulong), ("st_mode", c_uint), ("st_uid", c_uint),
                    ("st_gid", c_uint), ("unused_0", c_int), ("st_rdev", c_ulong), ("st_size", c_long), ("st_blksize", c_long),
                    ("st_blocks", c_long), *_times, ("unused_1", c_long * 3)]
    else:  # the kernel's generic one: aarch64, riscv64
        _fields_ = [("st_dev", c_ulong), ("st_ino", c_ulong), ("st_mode", c_uint), ("st_nlink", c_uint), ("st_uid", c_uint),
                    ("st_gid", c_uint), ("st_rdev", c_ulong), ("unused_0", c_ulong), ("st_size", c_long), ("st_blksize", c_int),
                    ("unused_1", c_int), ("st_blocks", c_long), *_times, ("unused_2", c_int * 2)]

    def result(self) -> os.stat_result:
        times = [self.st_atim.ns(), self.st_mtim.ns(), self.st_ctim.ns()]
        extra = {"st_blksize": self.st_blksize, "st_blocks": self.st_blocks, "st_rdev": self.st_rdev}
        for name, ns in zip(("st_atime", "st_mtime", "st_ctime"), times):
            extra[name], extra[name + "_ns"] = ns / 1e9, ns
        return os.stat_result((self.st_mode, self.st_ino, self.st_dev, self.st_nlink, self.st_uid, self.st_gid, self.st_size,
                               *(ns // 10**9 for ns in times)), extra)


class _Statvfs(Structure):
    _fields_ = [(name, c_ulong) for name in ("f_bsize", "f_frsize", "f_blocks", "f_bfree", "f_bavail", "f_files", "f_ffree", "f_favail",
                                             "f_fsid", "f_flag", "f_namemax")] + [("unused", c_int * 6)]


class _Iovec(Structure):
    _fields_ = [("iov_base", c_void_p), ("iov_len", c_size_t)]


class _Dirent(Structure):
    _fields_ = [("ino", c_uint64), ("cookie", c_int64), ("kind", c_uint32), ("name_size", c_uint32), ("name", c_char * 256)]


class _Direntplus(Structure):
    _fields_ = [("entry", _Dirent), ("st", _Stat)]


class _Layout(Structure):
    _fields_ = [("size", c_size_t), ("chunk_bytes", c_uint64), ("strategy", c_uint32), ("first_shard", c_uint32), ("shards", c_uint32),
                ("epoch", c_uint32)]


class _Lock(Structure):
    _fields_ = [("size", c_size_t), ("owner", c_uint64), ("holder", c_uint64), ("start", c_int64), ("length", c_int64), ("type", c_int),
                ("kind", c_int), ("pid", c_int)]


class _Extent(Structure):
    _fields_ = [("offset", c_int64), ("length", c_int64), ("node", c_uint32), ("shard", c_uint32)]


class _PyBuffer(Structure):  # Py_buffer of Python's stable ABI
    _fields_ = [("buf", c_void_p), ("obj", ctypes.py_object), ("len", c_ssize_t), ("itemsize", c_ssize_t), ("readonly", c_int), ("ndim", c_int),
                ("format", c_char_p), ("shape", c_void_p), ("strides", c_void_p), ("suboffsets", c_void_p), ("internal", c_void_p)]


# ---- The functions of C: name: (result, arguments). A test compares this with the header. ----

_path, _fd, _mode, _off = c_char_p, c_int, c_uint, c_int64
_FUNCTIONS = {
    "benchfs_init_version": (c_int, [c_uint32, POINTER(_Options)]),
    "benchfs_finalize": (c_int, []),
    "benchfs_version": (c_char_p, []),
    "benchfs_is_distributed": (c_int, []),
    "benchfs_strerror": (c_char_p, [c_int]),
    "benchfs_last_error": (c_char_p, []),
    "benchfs_stats": (c_ssize_t, [c_char_p, c_size_t]),
    "benchfs_open": (c_int, [_path, c_int, _mode]),
    "benchfs_openat": (c_int, [_fd, _path, c_int, _mode]),
    "benchfs_open_inode": (c_int, [c_uint64, c_int]),
    "benchfs_creat": (c_int, [_path, _mode]),
    "benchfs_close": (c_int, [_fd]),
    "benchfs_dup": (c_int, [_fd]),
    "benchfs_lseek": (_off, [_fd, _off, c_int]),
    "benchfs_read": (c_ssize_t, [_fd, c_void_p, c_size_t]),
    "benchfs_write": (c_ssize_t, [_fd, c_void_p, c_size_t]),
    "benchfs_pread": (c_ssize_t, [_fd, c_void_p, c_size_t, _off]),
    "benchfs_pwrite": (c_ssize_t, [_fd, c_void_p, c_size_t, _off]),
    "benchfs_readv": (c_ssize_t, [_fd, POINTER(_Iovec), c_int]),
    "benchfs_writev": (c_ssize_t, [_fd, POINTER(_Iovec), c_int]),
    "benchfs_preadv": (c_ssize_t, [_fd, POINTER(_Iovec), c_int, _off]),
    "benchfs_pwritev": (c_ssize_t, [_fd, POINTER(_Iovec), c_int, _off]),
    "benchfs_iread": (c_int, [_fd, c_void_p, c_size_t, _off]),
    "benchfs_iwrite": (c_int, [_fd, c_void_p, c_size_t, _off]),
    "benchfs_test": (c_int, [c_int, POINTER(c_ssize_t)]),
    "benchfs_wait": (c_ssize_t, [c_int]),
    "benchfs_waitall": (c_int, [c_int, POINTER(c_int), POINTER(c_ssize_t)]),
    "benchfs_cancel": (c_int, [c_int]),
    "benchfs_mem_alloc": (c_void_p, [c_size_t]),
    "benchfs_mem_free": (c_int, [c_void_p]),
    "benchfs_fsync": (c_int, [_fd]),
    "benchfs_fdatasync": (c_int, [_fd]),
    "benchfs_sync": (c_int, []),
    "benchfs_stat": (c_int, [_path, POINTER(_Stat)]),
    "benchfs_lstat": (c_int, [_path, POINTER(_Stat)]),
    "benchfs_fstat": (c_int, [_fd, POINTER(_Stat)]),
    "benchfs_fstatat": (c_int, [_fd, _path, POINTER(_Stat), c_int]),
    "benchfs_statfs": (c_int, [_path, POINTER(_Statvfs)]),
    "benchfs_fstatfs": (c_int, [_fd, POINTER(_Statvfs)]),
    "benchfs_access": (c_int, [_path, c_int]),
    "benchfs_faccessat": (c_int, [_fd, _path, c_int, c_int]),
    "benchfs_chmod": (c_int, [_path, _mode]),
    "benchfs_fchmod": (c_int, [_fd, _mode]),
    "benchfs_fchmodat": (c_int, [_fd, _path, _mode, c_int]),
    "benchfs_chown": (c_int, [_path, c_uint, c_uint]),
    "benchfs_lchown": (c_int, [_path, c_uint, c_uint]),
    "benchfs_fchown": (c_int, [_fd, c_uint, c_uint]),
    "benchfs_fchownat": (c_int, [_fd, _path, c_uint, c_uint, c_int]),
    "benchfs_utimens": (c_int, [_path, POINTER(_Timespec)]),
    "benchfs_lutimens": (c_int, [_path, POINTER(_Timespec)]),
    "benchfs_futimens": (c_int, [_fd, POINTER(_Timespec)]),
    "benchfs_utimensat": (c_int, [_fd, _path, POINTER(_Timespec), c_int]),
    "benchfs_truncate": (c_int, [_path, _off]),
    "benchfs_ftruncate": (c_int, [_fd, _off]),
    "benchfs_fallocate": (c_int, [_fd, c_int, _off, _off]),
    "benchfs_mkdir": (c_int, [_path, _mode]),
    "benchfs_mkdirat": (c_int, [_fd, _path, _mode]),
    "benchfs_rmdir": (c_int, [_path]),
    "benchfs_unlink": (c_int, [_path]),
    "benchfs_unlinkat": (c_int, [_fd, _path, c_int]),
    "benchfs_rename": (c_int, [_path, _path]),
    "benchfs_renameat": (c_int, [_fd, _path, _fd, _path]),
    "benchfs_link": (c_int, [_path, _path]),
    "benchfs_linkat": (c_int, [_fd, _path, _fd, _path, c_int]),
    "benchfs_symlink": (c_int, [_path, _path]),
    "benchfs_symlinkat": (c_int, [_path, _fd, _path]),
    "benchfs_readlink": (c_ssize_t, [_path, c_char_p, c_size_t]),
    "benchfs_readlinkat": (c_ssize_t, [_fd, _path, c_char_p, c_size_t]),
    "benchfs_opendir": (c_int, [_path]),
    "benchfs_fdopendir": (c_int, [_fd]),
    "benchfs_readdir": (c_int, [c_int, POINTER(_Dirent)]),
    "benchfs_readdir_many": (c_int, [c_int, POINTER(_Direntplus), c_int]),
    "benchfs_telldir": (_off, [c_int]),
    "benchfs_seekdir": (c_int, [c_int, _off]),
    "benchfs_rewinddir": (c_int, [c_int]),
    "benchfs_closedir": (c_int, [c_int]),
    "benchfs_lock": (c_int, [_fd, c_int, POINTER(_Lock)]),
    "benchfs_session": (c_uint64, []),
    "benchfs_get_layout": (c_int, [_path, POINTER(_Layout)]),
    "benchfs_fget_layout": (c_int, [_fd, POINTER(_Layout)]),
    "benchfs_set_layout": (c_int, [_path, POINTER(_Layout)]),
    "benchfs_fset_layout": (c_int, [_fd, POINTER(_Layout)]),
    "benchfs_locate": (c_int, [_fd, _off, _off, POINTER(_Extent), c_int]),
}


def _load() -> ctypes.CDLL:
    beside = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lib", "libbenchfs.so.0")
    named = os.environ.get("LIBBENCHFS")
    try:
        library = ctypes.CDLL(named or "libbenchfs.so.0")
    except OSError:
        if named or not os.path.exists(beside):
            raise
        library = ctypes.CDLL(beside)
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


lib = _load()
"""The library itself, for what has no Python form here: lib.benchfs_sync() and so on return as in C."""

# ---- What the others use ----


def _check(code: int, filename: Any = None, filename2: Any = None) -> int:
    """The code, or the OSError that it stands for."""
    if code >= 0:
        return code
    text = (lib.benchfs_last_error() or lib.benchfs_strerror(code)).decode(errors="replace")
    raise OSError(-code, text, filename, None, filename2)


def _encode(path: Path) -> bytes:
    encoded = os.fsencode(path)
    if b"\0" in encoded:
        raise ValueError("embedded null byte")
    return encoded


def _dir(dir_fd: Optional[int]) -> int:
    return AT_FDCWD if dir_fd is None else dir_fd


def _nofollow(follow_symlinks: bool) -> int:
    return 0 if follow_symlinks else _AT_SYMLINK_NOFOLLOW


class _Buffer:
    """The memory of an object, without a copy, held until release()."""

    def __init__(self, obj: Any, writable: bool) -> None:
        self._view = _PyBuffer()
        self._held = False
        ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(obj), byref(self._view), c_int(1 if writable else 0))
        self._held = True
        self.address, self.size = self._view.buf, self._view.len

    def release(self) -> None:
        if self._held:
            self._held = False
            ctypes.pythonapi.PyBuffer_Release(byref(self._view))

    def __enter__(self) -> "_Buffer":
        return self

    def __exit__(self, *_: Any) -> None:
        self.release()


@contextlib.contextmanager
def _vector(buffers: Sequence[Any], writable: bool) -> Iterator[Any]:
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(_Buffer(b, writable)) for b in buffers]
        yield (_Iovec * len(held))(*(_Iovec(b.address, b.size) for b in held))


# ---- Session ----


def init(config_file: Optional[Path] = None, config_text: Optional[str] = None, mode: int = MODE_CONFIGURED, flags: int = 0) -> None:
    """Start BenchFS in this process. Without arguments the environment decides; without that it is embedded, in memory."""
    if config_file is None and config_text is None and mode == 0 and flags == 0:
        _check(lib.benchfs_init_version(_API_VERSION, None))
        return
    options = _Options(ctypes.sizeof(_Options), None if config_file is None else _encode(config_file),
                       None if config_text is None else config_text.encode(), mode, flags)
    _check(lib.benchfs_init_version(_API_VERSION, byref(options)))


# What open() has given out: their buffers are written before the session ends, or the program.
_open_files: "weakref.WeakSet[Any]" = weakref.WeakSet()


def _flush() -> None:
    for file in list(_open_files):
        if not file.closed:
            file.flush()


def _flush_at_exit(pid: int) -> None:
    if os.getpid() == pid:  # not in a child, which has copies of the buffers
        _flush()


atexit.register(_flush_at_exit, os.getpid())


def finalize() -> int:
    """End what init() started; how many handles were still open. The buffers of files are written first."""
    try:
        _flush()
    finally:
        left_open = lib.benchfs_finalize()
    return _check(left_open)


@contextlib.contextmanager
def session(**options: Any) -> Iterator[None]:
    """init() and finalize() as a context."""
    init(**options)
    try:
        yield
    finally:
        finalize()


def version() -> str:
    """Of the library: "0.1.0"."""
    return lib.benchfs_version().decode()


def is_distributed() -> bool:
    """True if daemons serve the file system, False if it is inside this process."""
    return _check(lib.benchfs_is_distributed()) == 1


def strerror(code: int) -> str:
    """The meaning of an errno, negative or not."""
    return lib.benchfs_strerror(code).decode()


def last_error() -> str:
    """What went wrong in the last call of this thread that failed."""
    return lib.benchfs_last_error().decode(errors="replace")


def stats() -> dict[str, Any]:
    """Counters of this process: operations, bytes, retries, and how each node is reached."""
    size = 4096
    while True:
        text = ctypes.create_string_buffer(size)
        needed = _check(lib.benchfs_stats(text, size))
        if needed < size:
            return json.loads(text.value)
        size = needed + 1024


def sync() -> None:
    """Make what was acknowledged so far, in the whole file system, survive power loss, where the medium can."""
    _check(lib.benchfs_sync())


# ---- Files ----


class Request:
    """A transfer that goes on beside the program (File.iread, File.iwrite). It holds its buffer until it has ended."""

    def __init__(self, handle: int, buffer: _Buffer, name: Any) -> None:
        self._handle, self._buffer, self._name = handle, buffer, name
        self._result: Optional[int] = None

    def _end(self, result: int) -> int:
        self._handle, self._result = REQUEST_NULL, result
        self._buffer.release()
        return result

    def wait(self) -> int:
        """Wait for the end; how many bytes were moved."""
        if self._result is None:
            self._end(lib.benchfs_wait(self._handle))
        assert self._result is not None
        return _check(self._result, self._name)

    def test(self) -> bool:
        """Whether it has ended; wait() then has the result at once."""
        if self._result is None:
            result = c_ssize_t()
            if _check(lib.benchfs_test(self._handle, byref(result)), self._name) == 1:
                self._end(result.value)
        return self._result is not None

    def cancel(self) -> None:
        """Ask it to end early; it must still be waited for, and may end as if it had not been asked."""
        if self._result is None:
            _check(lib.benchfs_cancel(self._handle), self._name)

    def __del__(self) -> None:
        if self._result is None:  # the memory may go only after the transfer
            self._end(lib.benchfs_wait(self._handle))


def waitall(requests: Iterable[Request]) -> list[int]:
    """Wait for all, also when some fail; how many bytes each has moved. The first error is raised."""
    every = list(requests)
    handles = (c_int * len(every))(*(r._handle for r in every))
    unset = -(2**62)
    results = (c_ssize_t * len(every))(*[unset] * len(every))
    code = lib.benchfs_waitall(len(every), handles, results)
    for request, result in zip(every, results):
        if request._result is None:
            request._end(code if result == unset else result)
    return [r.wait() for r in every]


def alloc(size: int) -> "ctypes.Array[c_char]":
    """Zeroed memory for transfers, whose pages are there, as an object with the buffer interface (numpy.frombuffer, memoryview).
    It is freed with the last reference."""
    address = lib.benchfs_mem_alloc(size)
    if not address:
        raise MemoryError(last_error())
    memory = (c_char * size).from_address(address)
    weakref.finalize(memory, lib.benchfs_mem_free, address).atexit = False
    return memory


_MODES = {"r": os.O_RDONLY, "w": os.O_WRONLY | os.O_CREAT | os.O_TRUNC, "a": os.O_WRONLY | os.O_CREAT | os.O_APPEND,
          "x": os.O_WRONLY | os.O_CREAT | os.O_EXCL}


class File(io.RawIOBase):
    """An open file without a buffer of its own. mode is that of io.FileIO ("r", "w", "a", "x", each with "+"); flags (of os.open)
    take its place for the rest, e.g. os.O_RDONLY | os.O_DIRECTORY."""

    def __init__(self, path: Path, mode: str = "r", *, flags: Optional[int] = None, permissions: int = 0o666,
                 dir_fd: Optional[int] = None) -> None:
        self._handle = -1
        super().__init__()
        if flags is None:
            letters = mode.replace("b", "")
            if letters.replace("+", "") not in _MODES or len(letters) > 2:
                raise ValueError(f"invalid mode: {mode!r}")
            flags = _MODES[letters.replace("+", "")]
            if "+" in letters:
                flags = flags & ~os.O_WRONLY | os.O_RDWR
        self.name, self.mode = path, mode
        self._flags = flags
        if dir_fd is None:
            self._handle = _check(lib.benchfs_open(_encode(path), flags, permissions), path)
        else:
            self._handle = _check(lib.benchfs_openat(dir_fd, _encode(path), flags, permissions), path)

    @classmethod
    def by_inode(cls, ino: int, flags: int = os.O_RDONLY) -> "File":
        """The file with this number (``st_ino``), whether it still has a name or not."""
        file = cls.__new__(cls)
        io.RawIOBase.__init__(file)
        file.name, file._flags = f"inode {ino}", flags
        file.mode = {os.O_RDONLY: "rb", os.O_WRONLY: "wb"}.get(flags & os.O_ACCMODE, "rb+")
        file._handle = _check(lib.benchfs_open_inode(ino, flags), file.name)
        return file

    @classmethod
    def _of(cls, handle: int, like: "File") -> "File":
        file = cls.__new__(cls)
        io.RawIOBase.__init__(file)
        file._handle, file._flags, file.name, file.mode = handle, like._flags, like.name, like.mode
        return file

    @property
    def handle(self) -> int:
        """BenchFS's own handle, for dir_fd and lib."""
        if self._handle < 0:
            raise ValueError("I/O operation on closed file")
        return self._handle

    def _done(self, code: int) -> int:
        return _check(code, self.name)

    # io.RawIOBase

    def readable(self) -> bool:
        return self._flags & os.O_ACCMODE != os.O_WRONLY

    def writable(self) -> bool:
        return self._flags & os.O_ACCMODE != os.O_RDONLY

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Read at the file's offset into a bytearray, memoryview, numpy array …; how many bytes: fewer at the end of the file."""
        with _Buffer(buffer, True) as b:
            return self._done(lib.benchfs_read(self.handle, b.address, b.size))

    def readall(self) -> bytes:
        data = bytearray(max(0, self.stat().st_size - self.tell()) + 1)
        got = 0
        while True:
            n = self.readinto(memoryview(data)[got:])
            got += n
            if n == 0:
                return bytes(memoryview(data)[:got])
            if got == len(data):
                data += bytes(len(data))

    def write(self, data: Any) -> int:
        """Write at the file's offset; how many bytes: fewer mean that the rest failed, and the next call tells why."""
        with _Buffer(data, False) as b:
            return self._done(lib.benchfs_write(self.handle, b.address, b.size))

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._done(lib.benchfs_lseek(self.handle, offset, whence))

    def tell(self) -> int:
        return self.seek(0, os.SEEK_CUR)

    def truncate(self, size: Optional[int] = None) -> int:
        size = self.tell() if size is None else size
        self._done(lib.benchfs_ftruncate(self.handle, size))
        return size

    def close(self) -> None:
        if not self.closed:
            super().close()
            handle, self._handle = self._handle, -1
            if handle >= 0:
                self._done(lib.benchfs_close(handle))

    # With an offset of one's own

    def preadinto(self, buffer: Any, offset: int) -> int:
        """Read into a bytearray, memoryview, numpy array …; how many bytes: fewer at the end of the file."""
        with _Buffer(buffer, True) as b:
            return self._done(lib.benchfs_pread(self.handle, b.address, b.size, offset))

    def pread(self, size: int, offset: int) -> bytes:
        """Up to size bytes: fewer at the end of the file."""
        data = bytearray(size)
        return bytes(memoryview(data)[: self.preadinto(data, offset)])

    def pwrite(self, data: Any, offset: int) -> int:
        """Write what has the buffer interface; how many bytes: fewer mean that the rest failed, and the next call tells why."""
        with _Buffer(data, False) as b:
            return self._done(lib.benchfs_pwrite(self.handle, b.address, b.size, offset))

    def readv(self, buffers: Sequence[Any], offset: Optional[int] = None) -> int:
        """Fill several buffers (at most IOV_MAX), at the file's offset or at one of one's own; how many bytes: fewer at the end of the file."""
        with _vector(buffers, True) as iov:
            if offset is None:
                return self._done(lib.benchfs_readv(self.handle, iov, len(iov)))
            return self._done(lib.benchfs_preadv(self.handle, iov, len(iov), offset))

    def writev(self, buffers: Sequence[Any], offset: Optional[int] = None) -> int:
        """Write several buffers (at most IOV_MAX), one after the other; how many bytes."""
        with _vector(buffers, False) as iov:
            if offset is None:
                return self._done(lib.benchfs_writev(self.handle, iov, len(iov)))
            return self._done(lib.benchfs_pwritev(self.handle, iov, len(iov), offset))

    def iread(self, buffer: Any, offset: int) -> Request:
        """Begin a preadinto(); the buffer is held until the request has ended, and must be left alone until then."""
        return self._begin(lib.benchfs_iread, _Buffer(buffer, True), offset)

    def iwrite(self, data: Any, offset: int) -> Request:
        """Begin a pwrite(); data must not change until it has ended."""
        return self._begin(lib.benchfs_iwrite, _Buffer(data, False), offset)

    def _begin(self, call: Any, buffer: _Buffer, offset: int) -> Request:
        try:
            return Request(self._done(call(self.handle, buffer.address, buffer.size, offset)), buffer, self.name)
        except BaseException:
            buffer.release()
            raise

    # The rest of what a handle can

    def dup(self) -> "File":
        """Another handle of the same open file, with the same offset."""
        return File._of(self._done(lib.benchfs_dup(self.handle)), self)

    def sync(self, data_only: bool = False) -> None:
        """Make it survive power loss (os.fsync, os.fdatasync)."""
        self._done((lib.benchfs_fdatasync if data_only else lib.benchfs_fsync)(self.handle))

    def stat(self) -> os.stat_result:
        st = _Stat()
        self._done(lib.benchfs_fstat(self.handle, byref(st)))
        return st.result()

    def statvfs(self) -> os.statvfs_result:
        sv = _Statvfs()
        self._done(lib.benchfs_fstatfs(self.handle, byref(sv)))
        return _statvfs_result(sv)

    def chmod(self, mode: int) -> None:
        self._done(lib.benchfs_fchmod(self.handle, mode))

    def chown(self, uid: int, gid: int) -> None:
        self._done(lib.benchfs_fchown(self.handle, uid & 0xFFFFFFFF, gid & 0xFFFFFFFF))

    def utime(self, times: Optional[tuple[float, float]] = None, *, ns: Optional[tuple[int, int]] = None) -> None:
        self._done(lib.benchfs_futimens(self.handle, _timespecs(times, ns)))

    def fallocate(self, offset: int, length: int, keep_size: bool = False) -> None:
        """Reserve length bytes of room from offset on. The file grows to hold them, unless keep_size."""
        self._done(lib.benchfs_fallocate(self.handle, 1 if keep_size else 0, offset, length))

    def lock(self, type: int = F_WRLCK, start: int = 0, length: int = 0, *, wait: bool = True, kind: int = LOCK_RANGE,  # noqa: A002
             owner: int = 0, holder: int = 0) -> bool:
        """Get, change or (F_UNLCK) give up an advisory lock on length bytes from start (0: to the end), or with LOCK_FILE on the file. False:
        with wait=False, somebody else has it. The wait ends when a signal's handler raises, and goes on after any other."""
        c = _Lock(ctypes.sizeof(_Lock), owner, holder, start, length, type, kind, 0)
        while True:
            code = lib.benchfs_lock(self.handle, LOCK_WAIT if wait else LOCK_TRY, byref(c))
            if code != -_errno.EINTR:
                return code != -_errno.EAGAIN and self._done(code) == 0

    def unlock(self, start: int = 0, length: int = 0, *, kind: int = LOCK_RANGE, owner: int = 0) -> None:
        self.lock(F_UNLCK, start, length, kind=kind, owner=owner)

    def leave_lock(self, *, kind: int = LOCK_RANGE, owner: int = 0, holder: int = 0) -> None:
        """Say that this process, and holder, no longer holds what owner has of the file."""
        self._done(lib.benchfs_lock(self.handle, LOCK_LEAVE, byref(_Lock(ctypes.sizeof(_Lock), owner, holder, 0, 0, F_UNLCK, kind, 0))))

    def in_the_way(self, type: int = F_WRLCK, start: int = 0, length: int = 0, *, kind: int = LOCK_RANGE,  # noqa: A002
                   owner: int = 0) -> Optional["Lock"]:
        """The lock that keeps such a one out, if there is one."""
        c = _Lock(ctypes.sizeof(_Lock), owner, 0, start, length, type, kind, 0)
        self._done(lib.benchfs_lock(self.handle, LOCK_TEST, byref(c)))
        return None if c.type == F_UNLCK else Lock(c.type, c.start, c.length, c.owner, c.pid)

    def layout(self) -> "Layout":
        c = _Layout(ctypes.sizeof(_Layout))
        self._done(lib.benchfs_fget_layout(self.handle, byref(c)))
        return Layout(c.strategy, c.chunk_bytes, c.first_shard, c.shards, c.epoch)

    def set_layout(self, strategy: int = LAYOUT_DEFAULT, chunk_bytes: int = 0) -> None:
        self._done(lib.benchfs_fset_layout(self.handle, byref(_Layout(ctypes.sizeof(_Layout), chunk_bytes, strategy))))

    def locate(self, offset: int = 0, length: Optional[int] = None) -> list["Extent"]:
        """Which nodes hold a range (to the end of the file)."""
        end = self.stat().st_size if length is None else offset + length
        found: list[Extent] = []
        while offset < end:
            count = self._done(lib.benchfs_locate(self.handle, offset, end - offset, None, 0))
            extents = (_Extent * count)()
            stored = min(count, self._done(lib.benchfs_locate(self.handle, offset, end - offset, extents, count)))
            if stored == 0:
                break
            found += [Extent(e.offset, e.length, e.node, e.shard) for e in extents[:stored]]
            offset = found[-1].offset + found[-1].length
        return found


class BufferedFile(io.BufferedIOBase):
    """What open() gives for a binary file: an io.BufferedReader, io.BufferedWriter or io.BufferedRandom, held inside, as numpy before
    version 2 takes those for files of the kernel and asks them for a descriptor."""

    def __init__(self, raw: File, size: int) -> None:
        super().__init__()
        kind: Any = io.BufferedReader
        if raw.writable():
            kind = io.BufferedRandom if raw.readable() else io.BufferedWriter
        self._inner = kind(raw, size)
        self.raw, self.name, self.mode = raw, raw.name, raw.mode

    def readable(self) -> bool:
        return self._inner.readable()

    def writable(self) -> bool:
        return self._inner.writable()

    def seekable(self) -> bool:
        return True

    def read(self, size: Optional[int] = -1) -> bytes:
        return self._inner.read(size)

    def read1(self, size: int = -1) -> bytes:
        return self._inner.read1(size)

    def readinto(self, buffer: Any) -> int:
        return self._inner.readinto(buffer)

    def readinto1(self, buffer: Any) -> int:
        return self._inner.readinto1(buffer)

    def readline(self, size: Optional[int] = -1) -> bytes:
        return self._inner.readline(-1 if size is None else size)

    def peek(self, size: int = 0) -> bytes:
        return self._inner.peek(size)

    def write(self, data: Any) -> int:
        return self._inner.write(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._inner.seek(offset, whence)

    def tell(self) -> int:
        return self._inner.tell()

    def truncate(self, size: Optional[int] = None) -> int:
        return self._inner.truncate(size)

    def flush(self) -> None:
        if not self.closed:
            self._inner.flush()

    @property
    def closed(self) -> bool:
        return self._inner.closed

    def close(self) -> None:
        self._inner.close()


def open(path: Path, mode: str = "r", buffering: int = -1, encoding: Optional[str] = None, errors: Optional[str] = None,  # noqa: A001
         newline: Optional[str] = None, *, dir_fd: Optional[int] = None) -> Any:
    """As the built-in open(): a text file, or with "b" a BufferedFile, or with buffering=0 a File. The buffer has 1 MiB."""
    text = "b" not in mode
    if text and buffering == 0:
        raise ValueError("can't have unbuffered text I/O")
    if not text and (encoding or errors or newline):
        raise ValueError("binary mode doesn't take an encoding, errors or newline argument")
    raw = File(path, mode.replace("t", ""), dir_fd=dir_fd)
    if buffering == 0:
        return raw
    buffered: Any = BufferedFile(raw, buffering if buffering > 1 else 1 << 20)
    file: Any = io.TextIOWrapper(buffered, encoding, errors, newline, line_buffering=buffering == 1) if text else buffered
    _open_files.add(file)
    return file


# ---- Attributes ----


def _statvfs_result(sv: _Statvfs) -> os.statvfs_result:
    return os.statvfs_result((sv.f_bsize, sv.f_frsize, sv.f_blocks, sv.f_bfree, sv.f_bavail, sv.f_files, sv.f_ffree, sv.f_favail, sv.f_flag,
                              sv.f_namemax), {"f_fsid": sv.f_fsid})


def _timespecs(times: Optional[tuple[float, float]], ns: Optional[tuple[int, int]]) -> Any:
    if times is not None and ns is not None:
        raise ValueError("utime: you may specify either 'times' or 'ns' but not both")
    if times is not None:
        ns = (round(times[0] * 10**9), round(times[1] * 10**9))
    if ns is None:
        return None
    return (_Timespec * 2)(*(_Timespec(*divmod(n, 10**9)) for n in ns))


def stat(path: Path, *, dir_fd: Optional[int] = None, follow_symlinks: bool = True) -> os.stat_result:
    st = _Stat()
    if dir_fd is None:
        call = lib.benchfs_stat if follow_symlinks else lib.benchfs_lstat
        _check(call(_encode(path), byref(st)), path)
    else:
        _check(lib.benchfs_fstatat(dir_fd, _encode(path), byref(st), _nofollow(follow_symlinks)), path)
    return st.result()


def lstat(path: Path, *, dir_fd: Optional[int] = None) -> os.stat_result:
    return stat(path, dir_fd=dir_fd, follow_symlinks=False)


def exists(path: Path) -> bool:
    """As os.path.exists; an error other than that it is not there is raised."""
    try:
        stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def isdir(path: Path) -> bool:
    return exists(path) and _stat.S_ISDIR(stat(path).st_mode)


def isfile(path: Path) -> bool:
    return exists(path) and _stat.S_ISREG(stat(path).st_mode)


def statvfs(path: Path = "/") -> os.statvfs_result:
    sv = _Statvfs()
    _check(lib.benchfs_statfs(_encode(path), byref(sv)), path)
    return _statvfs_result(sv)


def access(path: Path, mode: int, *, dir_fd: Optional[int] = None, follow_symlinks: bool = True) -> bool:
    code = lib.benchfs_faccessat(_dir(dir_fd), _encode(path), mode, _nofollow(follow_symlinks))
    if code in (-_errno.EACCES, -_errno.ENOENT, -_errno.ENOTDIR):
        return False
    return _check(code, path) == 0


def chmod(path: Path, mode: int, *, dir_fd: Optional[int] = None, follow_symlinks: bool = True) -> None:
    _check(lib.benchfs_fchmodat(_dir(dir_fd), _encode(path), mode, _nofollow(follow_symlinks)), path)


def chown(path: Path, uid: int, gid: int, *, dir_fd: Optional[int] = None, follow_symlinks: bool = True) -> None:
    _check(lib.benchfs_fchownat(_dir(dir_fd), _encode(path), uid & 0xFFFFFFFF, gid & 0xFFFFFFFF, _nofollow(follow_symlinks)), path)


def lchown(path: Path, uid: int, gid: int) -> None:
    chown(path, uid, gid, follow_symlinks=False)


def utime(path: Path, times: Optional[tuple[float, float]] = None, *, ns: Optional[tuple[int, int]] = None, dir_fd: Optional[int] = None,
          follow_symlinks: bool = True) -> None:
    _check(lib.benchfs_utimensat(_dir(dir_fd), _encode(path), _timespecs(times, ns), _nofollow(follow_symlinks)), path)


def truncate(path: Path, length: int) -> None:
    _check(lib.benchfs_truncate(_encode(path), length), path)


# ---- Names ----


def mkdir(path: Path, mode: int = 0o777, *, dir_fd: Optional[int] = None) -> None:
    _check(lib.benchfs_mkdirat(_dir(dir_fd), _encode(path), mode), path)


def makedirs(path: Path, mode: int = 0o777, exist_ok: bool = False) -> None:
    head = os.path.dirname(os.fsdecode(path).rstrip("/"))
    if head and not exists(head):
        makedirs(head, exist_ok=True)
    try:
        mkdir(path, mode)
    except FileExistsError:
        if not exist_ok or not isdir(path):
            raise


def rmdir(path: Path, *, dir_fd: Optional[int] = None) -> None:
    _check(lib.benchfs_unlinkat(_dir(dir_fd), _encode(path), _AT_REMOVEDIR), path)


def unlink(path: Path, *, dir_fd: Optional[int] = None) -> None:
    _check(lib.benchfs_unlinkat(_dir(dir_fd), _encode(path), 0), path)


remove = unlink


def rmtree(path: Path) -> None:
    """Remove a directory and what is in it."""
    with scandir(path) as entries:
        every = list(entries)
    for entry in every:
        if entry.is_dir(follow_symlinks=False):
            rmtree(entry.path)
        else:
            unlink(entry.path)
    rmdir(path)


def rename(src: Path, dst: Path, *, src_dir_fd: Optional[int] = None, dst_dir_fd: Optional[int] = None) -> None:
    _check(lib.benchfs_renameat(_dir(src_dir_fd), _encode(src), _dir(dst_dir_fd), _encode(dst)), src, dst)


replace = rename


def link(src: Path, dst: Path, *, src_dir_fd: Optional[int] = None, dst_dir_fd: Optional[int] = None, follow_symlinks: bool = False) -> None:
    flags = _AT_SYMLINK_FOLLOW if follow_symlinks else 0
    _check(lib.benchfs_linkat(_dir(src_dir_fd), _encode(src), _dir(dst_dir_fd), _encode(dst), flags), src, dst)


def symlink(src: Path, dst: Path, *, dir_fd: Optional[int] = None) -> None:
    _check(lib.benchfs_symlinkat(_encode(src), _dir(dir_fd), _encode(dst)), src, dst)


def readlink(path: Path, *, dir_fd: Optional[int] = None) -> Any:
    """The target: bytes if path is bytes."""
    target = ctypes.create_string_buffer(4096)
    size = _check(lib.benchfs_readlinkat(_dir(dir_fd), _encode(path), target, len(target)), path)
    return target.raw[:size] if isinstance(path, bytes) else os.fsdecode(target.raw[:size])


# ---- Directories ----


class DirEntry:
    """An entry of scandir(), like os.DirEntry. Its attributes came with it: stat() of what is no symbolic link asks no server."""

    def __init__(self, directory: Any, name: Any, inode: int, kind: int, st: os.stat_result) -> None:
        self.name, self._inode, self._kind, self._st = name, inode, kind, st
        self.path = os.path.join(directory, name)

    def inode(self) -> int:
        return self._inode

    def is_symlink(self) -> bool:
        return self._kind == KIND_SYMLINK

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        return stat(self.path) if follow_symlinks and self.is_symlink() else self._st

    def _is(self, kind: int, test: Any, follow_symlinks: bool) -> bool:
        if not (follow_symlinks and self.is_symlink()):
            return self._kind == kind
        try:
            return test(stat(self.path).st_mode)
        except FileNotFoundError:
            return False

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        return self._is(KIND_DIR, _stat.S_ISDIR, follow_symlinks)

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        return self._is(KIND_FILE, _stat.S_ISREG, follow_symlinks)

    def __fspath__(self) -> Any:
        return self.path

    def __repr__(self) -> str:
        return f"<DirEntry {self.name!r}>"


class scandir:  # noqa: N801, named as in os
    """The entries of a directory with their attributes, an iterator and a context manager, like os.scandir."""

    def __init__(self, path: Path = "/") -> None:
        self._dir = -1
        self._path = os.fspath(path)
        self._dir = _check(lib.benchfs_opendir(_encode(path)), path)
        self._entries = (_Direntplus * 256)()
        self._ready: list[DirEntry] = []

    def __iter__(self) -> "scandir":
        return self

    def __next__(self) -> DirEntry:
        while not self._ready:
            if self._dir < 0:
                raise StopIteration
            count = _check(lib.benchfs_readdir_many(self._dir, self._entries, len(self._entries)), self._path)
            if count == 0:
                self.close()
                raise StopIteration
            for e in reversed(self._entries[:count]):
                if e.entry.name not in (b".", b".."):
                    name = e.entry.name if isinstance(self._path, bytes) else os.fsdecode(e.entry.name)
                    self._ready.append(DirEntry(self._path, name, e.entry.ino, e.entry.kind, e.st.result()))
        return self._ready.pop()

    def close(self) -> None:
        self._ready = []
        if self._dir >= 0:
            handle, self._dir = self._dir, -1
            _check(lib.benchfs_closedir(handle), self._path)

    def __enter__(self) -> "scandir":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def __del__(self) -> None:
        if self._dir >= 0:
            lib.benchfs_closedir(self._dir)


def listdir(path: Path = "/") -> list[Any]:
    """The names in a directory, without "." and "..", in no order."""
    names: list[Any] = []
    entry = _Dirent()
    handle = _check(lib.benchfs_opendir(_encode(path)), path)
    try:
        while _check(lib.benchfs_readdir(handle, byref(entry)), path) > 0:
            if entry.name not in (b".", b".."):
                names.append(entry.name if isinstance(path, bytes) else os.fsdecode(entry.name))
    finally:
        lib.benchfs_closedir(handle)
    return names


def walk(top: Path) -> Iterator[tuple[Any, list[Any], list[Any]]]:
    """As os.walk, from the top, without following symbolic links; an error is raised."""
    with scandir(top) as entries:
        every = list(entries)
    below = [e for e in every if e.is_dir(follow_symlinks=False)]
    yield os.fspath(top), [e.name for e in below], [e.name for e in every if not e.is_dir(follow_symlinks=False)]
    for entry in below:
        yield from walk(entry.path)


# ---- Placement ----


class Lock(NamedTuple):
    """An advisory lock of somebody else."""

    type: int
    start: int
    length: int  # 0: to the end
    owner: int
    pid: int


def lock_session() -> int:
    """The number that names this process as the holder of a lock."""
    number = lib.benchfs_session()
    return number if number else _check(-_errno.ENOTCONN)


class Layout(NamedTuple):
    """How the chunks of a file are spread; of a directory: of its future files."""

    strategy: int
    chunk_bytes: int
    first_shard: int
    shards: int
    epoch: int


class Extent(NamedTuple):
    """A range of a file that one shard of one node holds."""

    offset: int
    length: int
    node: int
    shard: int


def get_layout(path: Path) -> Layout:
    """Of a file, or what files get that are made in a directory."""
    c = _Layout(ctypes.sizeof(_Layout))
    _check(lib.benchfs_get_layout(_encode(path), byref(c)), path)
    return Layout(c.strategy, c.chunk_bytes, c.first_shard, c.shards, c.epoch)


def set_layout(path: Path, strategy: int = LAYOUT_DEFAULT, chunk_bytes: int = 0) -> None:
    """Of a directory's future files, or of a file that never had a byte (OSError EBUSY otherwise). chunk_bytes: a power of two, 64 KiB to 64 MiB, 0: as
    configured."""
    _check(lib.benchfs_set_layout(_encode(path), byref(_Layout(ctypes.sizeof(_Layout), chunk_bytes, strategy))), path)
