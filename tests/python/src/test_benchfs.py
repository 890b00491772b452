"""Tests of python/benchfs.py: python3 test_benchfs.py. Each test has a directory of its own; the file system is in this process or on daemons."""

import contextlib
import ctypes
import errno
import gc
import io
import json
import os
import pickle
import stat
import subprocess
import sys
import tempfile
import threading
import unittest
import zipfile

import numpy

import benchfs


class Case(unittest.TestCase):
    def setUp(self):
        benchfs.init()
        self.top = "/" + self.id().rsplit(".", 1)[1]
        benchfs.mkdir(self.top)

    def tearDown(self):
        benchfs.rmtree(self.top)
        gc.collect()
        self.assertEqual(benchfs.stats()["open_handles"], 0)
        benchfs.finalize()

    def path(self, name):
        return self.top + "/" + name

    @contextlib.contextmanager
    def raises(self, number, filename=None):
        with self.assertRaises(OSError) as caught:
            yield
        self.assertEqual(caught.exception.errno, number)
        if filename:
            self.assertEqual(caught.exception.filename, filename)


class Files(Case):
    def test_binary(self):
        data = os.urandom(3 << 20)
        with benchfs.open(self.path("a"), "wb") as f:
            self.assertEqual(f.write(data), len(data))
            self.assertEqual(f.tell(), len(data))
        with benchfs.open(self.path("a"), "rb") as f:
            self.assertEqual(f.read(10), data[:10])
            self.assertEqual(f.peek(1)[:1], data[10:11])
            f.seek(-5, os.SEEK_END)
            self.assertEqual(f.read(), data[-5:])
            f.seek(0)
            self.assertEqual(f.read(), data)
            with self.assertRaises(io.UnsupportedOperation):
                f.write(b"x")
            with self.assertRaises(io.UnsupportedOperation):
                f.fileno()
        self.assertTrue(f.closed)

    def test_text_and_append(self):
        with benchfs.open(self.path("t"), "w", encoding="utf-8") as f:
            f.write("grün\nrot\n")
        with benchfs.open(self.path("t"), "a", encoding="utf-8") as f:
            f.write("blau\n")
        with benchfs.open(self.path("t"), encoding="utf-8") as f:
            self.assertEqual(list(f), ["grün\n", "rot\n", "blau\n"])
        with benchfs.open(self.path("t"), "r+b") as f:
            f.seek(6)
            f.write(b"ROT")
            f.seek(0)
            self.assertEqual(f.readlines()[1], b"ROT\n")

    def test_with_the_classes_of_io(self):
        with io.BufferedWriter(benchfs.File(self.path("a"), "w")) as f:
            f.write(b"one\ntwo\n")
        with io.BufferedReader(benchfs.File(self.path("a"))) as f:
            self.assertEqual(f.readline(), b"one\n")
            self.assertEqual(f.read(), b"two\n")
        with io.BufferedRandom(benchfs.File(self.path("a"), "r+")) as f:
            f.seek(4)
            f.write(b"2")
        with io.TextIOWrapper(io.BufferedReader(benchfs.File(self.path("a")))) as f:
            self.assertEqual(f.read(), "one\n2wo\n")

    def test_raw(self):
        with benchfs.File(self.path("a"), "x+") as f:
            self.assertEqual(f.write(memoryview(b"hello world")[6:]), 5)
            self.assertEqual(f.pwrite(b"HELLO ", 10), 6)
            self.assertEqual(f.pread(100, 5), b"\0" * 5 + b"HELLO ")
            self.assertEqual((f.tell(), f.seek(0, os.SEEK_END)), (5, 16))
            self.assertEqual(f.truncate(7), 7)
            f.seek(0)
            self.assertEqual(f.readall(), b"world\0\0")
            self.assertEqual(f.read(1), b"")
            other = f.dup()
            self.assertEqual(other.tell(), 7)
            other.close()
            f.sync()
            f.sync(data_only=True)
            f.fallocate(0, 100)
            self.assertEqual(f.stat().st_size, 100)
            f.fallocate(0, 1000, keep_size=True)
            f.chmod(0o600)
            f.chown(-1, -1)
            f.utime(ns=(5, 10**9 + 7))
            st = f.stat()
            self.assertEqual((st.st_size, stat.S_IMODE(st.st_mode), st.st_atime_ns, st.st_mtime_ns, st.st_mtime), (100, 0o600, 5, 10**9 + 7, 1.000000007))
            self.assertGreater(f.statvfs().f_blocks, 0)
        with self.assertRaises(ValueError):
            f.read(1)
        f.close()
        with self.raises(errno.EEXIST, self.path("a")):
            benchfs.File(self.path("a"), "x")
        with self.assertRaises(ValueError):
            benchfs.File(self.path("a"), "q")

    def test_offsets(self):
        far = 5 << 30
        with benchfs.File(self.path("far"), "w+") as f:
            self.assertEqual(f.pwrite(b"abc", far), 3)
            self.assertEqual(f.pread(10, far - 1), b"\0abc")
            self.assertEqual(f.writev([b"d", b"e"], far + 3), 2)
            buffer = bytearray(5)
            self.assertEqual(f.readv([buffer], far), 5)
            self.assertEqual(f.iwrite(b"E", far + 4).wait(), 1)
            self.assertEqual(f.iread(buffer, far).wait(), 5)
            self.assertEqual(bytes(buffer), b"abcdE")
            self.assertEqual(f.seek(-2, os.SEEK_END), far + 3)
            self.assertEqual(f.readall(), b"dE")
            f.truncate(far + 1)
            f.fallocate(far, 100, keep_size=True)
            self.assertEqual(f.stat().st_size, far + 1)
            self.assertEqual(f.locate(far)[-1].offset + f.locate(far)[-1].length, far + 1)
        benchfs.truncate(self.path("far"), far)
        self.assertEqual(benchfs.stat(self.path("far")).st_size, far)

    def test_vectors(self):
        with benchfs.File(self.path("v"), "w+") as f:
            self.assertEqual(f.writev([b"abc", b"", bytearray(b"de")]), 5)
            self.assertEqual(f.writev([b"fg"], 5), 2)
            a, b = bytearray(2), numpy.zeros(3, "u1")
            self.assertEqual(f.readv([a, b], 1), 5)
            self.assertEqual((bytes(a), b.tobytes()), (b"bc", b"def"))
            f.seek(0)
            self.assertEqual(f.readv([a]), 2)
            self.assertEqual(bytes(a), b"ab")

    def test_numpy(self):
        array = numpy.random.default_rng(1).random((300, 500))
        with benchfs.open(self.path("a"), "wb") as f:
            f.write(array)
        again = numpy.zeros_like(array)
        with benchfs.open(self.path("a"), "rb") as f:
            self.assertEqual(f.readinto(again), array.nbytes)
        self.assertTrue((again == array).all())
        with benchfs.File(self.path("a")) as f:
            rows = numpy.zeros((2, 500))
            self.assertEqual(f.preadinto(rows, 10 * 500 * 8), rows.nbytes)
            self.assertTrue((rows == array[10:12]).all())
            with self.assertRaises((BufferError, ValueError)):
                f.preadinto(array[:, ::2], 0)  # has gaps
            array.flags.writeable = False
            with self.assertRaises((BufferError, ValueError)):
                f.preadinto(array, 0)
        with benchfs.open(self.path("a.npy"), "wb") as f:
            numpy.save(f, array)
        with benchfs.open(self.path("a.npy"), "rb") as f:
            self.assertTrue((numpy.load(f) == array).all())
        with benchfs.open(self.path("a.npz"), "wb") as f:
            numpy.savez(f, x=array, y=array[0])
        with benchfs.open(self.path("a.npz"), "rb") as f:
            self.assertTrue((numpy.load(f)["y"] == array[0]).all())

    def test_other_libraries(self):
        with benchfs.open(self.path("z"), "wb") as f, zipfile.ZipFile(f, "w") as z:
            z.writestr("inside", "text")
        with benchfs.open(self.path("z"), "rb") as f, zipfile.ZipFile(f) as z:
            self.assertEqual(z.read("inside"), b"text")
        with benchfs.open(self.path("p"), "wb") as f:
            pickle.dump({"a": [1, 2]}, f, protocol=5)
        with benchfs.open(self.path("p"), "rb") as f:
            self.assertEqual(pickle.load(f), {"a": [1, 2]})
        with benchfs.open(self.path("j"), "w") as f:
            json.dump([1, 2], f)
        with benchfs.open(self.path("j")) as f:
            self.assertEqual(json.load(f), [1, 2])

    def test_requests(self):
        blocks = [bytes([65 + i]) * 100000 for i in range(8)]
        with benchfs.File(self.path("r"), "w+") as f:
            self.assertEqual(benchfs.waitall(f.iwrite(b, i * 100000) for i, b in enumerate(blocks)), [100000] * 8)
            back = [bytearray(100000) for _ in blocks]
            requests = [f.iread(b, i * 100000) for i, b in enumerate(back)]
            with self.assertRaises(BufferError):
                back[7] += b"held until the transfer has ended"
            self.assertEqual(requests[7].wait(), 100000)
            self.assertEqual(requests[7].wait(), 100000)
            while not requests[6].test():
                pass
            requests[5].cancel()
            with contextlib.suppress(OSError):
                requests[5].wait()
            del requests
            gc.collect()
            back[7] += b"free"
            self.assertEqual([bytes(b) for b in back[:5] + back[6:7]], blocks[:5] + blocks[6:7])
            with self.raises(errno.EINVAL):
                f.iread(bytearray(1), -1)
        with benchfs.File(self.path("r"), "a") as f:
            good = f.iwrite(b"x", 0)
            with self.raises(errno.EBADF):
                benchfs.waitall([f.iread(bytearray(10), 0), good])
            self.assertEqual(good.wait(), 1)

    def test_memory(self):
        memory = benchfs.alloc(1 << 20)
        array = numpy.frombuffer(memory, "f8")
        self.assertEqual(array.sum(), 0)
        array[:] = 7
        with benchfs.File(self.path("m"), "w+") as f:
            f.write(memory)
            array[:] = 0
            del memory  # array keeps it
            gc.collect()
            self.assertEqual(f.preadinto(array, 0), 1 << 20)
        self.assertTrue((array == 7).all())
        address = array.ctypes.data
        del array
        gc.collect()
        self.assertEqual(benchfs.lib.benchfs_mem_free(address), -errno.EINVAL)  # it is free
        with self.assertRaises(MemoryError):
            benchfs.alloc(0)

    def test_threads(self):
        def work(i):
            with benchfs.File(self.path("t%d" % i), "w+") as f:
                for k in range(50):
                    f.pwrite(bytes([i]) * 1000, k * 1000)
                same.append(f.pread(50000, 0) == bytes([i]) * 50000)

        same = []
        threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(same, [True] * 8)


class Names(Case):
    def test_directories(self):
        benchfs.makedirs(self.path("a/b/c"))
        with self.raises(errno.EEXIST):
            benchfs.makedirs(self.path("a/b/c"))
        benchfs.makedirs(self.path("a/b/c"), exist_ok=True)
        with benchfs.open(self.path("a/f"), "wb") as f:
            f.write(b"12345")
        benchfs.symlink("b", self.path("a/l"))
        self.assertEqual(sorted(benchfs.listdir(self.path("a"))), ["b", "f", "l"])
        self.assertEqual(sorted(benchfs.listdir(os.fsencode(self.path("a")))), [b"b", b"f", b"l"])
        with benchfs.scandir(self.path("a")) as entries:
            got = {e.name: (e.is_dir(), e.is_file(), e.is_symlink(), e.is_dir(follow_symlinks=False), e.stat(follow_symlinks=False).st_size) for e in entries}
        self.assertEqual(got["f"], (False, True, False, False, 5))
        self.assertEqual(got["l"][:4], (True, False, True, False))
        self.assertEqual(got["b"][:4], (True, False, False, True))
        self.assertEqual([(top, sorted(d), sorted(f)) for top, d, f in benchfs.walk(self.path("a"))],
                         [(self.path("a"), ["b"], ["f", "l"]), (self.path("a/b"), ["c"], []), (self.path("a/b/c"), [], [])])
        with self.raises(errno.ENOTEMPTY, self.path("a")):
            benchfs.rmdir(self.path("a"))
        benchfs.rmdir(self.path("a/b/c"))
        half = benchfs.scandir(self.path("a"))
        next(half)
        del half

    def test_many_entries(self):
        for i in range(600):
            benchfs.File(self.path("f%d" % i), "w").close()
        with benchfs.scandir(self.top) as entries:
            self.assertEqual(sorted(e.name for e in entries), sorted("f%d" % i for i in range(600)))

    def test_names(self):
        with benchfs.open(self.path("f"), "wb") as f:
            f.write(b"12345")
        benchfs.link(self.path("f"), self.path("g"))
        self.assertEqual(benchfs.stat(self.path("g")).st_nlink, 2)
        self.assertEqual(benchfs.stat(self.path("g")).st_ino, benchfs.stat(self.path("f")).st_ino)
        benchfs.rename(self.path("g"), self.path("h"))
        with self.raises(errno.ENOENT, self.path("g")) as _:
            benchfs.rename(self.path("g"), self.path("i"))
        benchfs.symlink("f", self.path("s"))
        self.assertEqual(benchfs.readlink(self.path("s")), "f")
        self.assertEqual(benchfs.readlink(os.fsencode(self.path("s"))), b"f")
        self.assertTrue(stat.S_ISLNK(benchfs.lstat(self.path("s")).st_mode))
        self.assertTrue(stat.S_ISREG(benchfs.stat(self.path("s")).st_mode))
        benchfs.truncate(self.path("s"), 3)
        benchfs.chmod(self.path("s"), 0o640)
        benchfs.chown(self.path("s"), -1, -1)
        benchfs.lchown(self.path("s"), -1, -1)
        benchfs.utime(self.path("s"), (1.5, 2.25))
        benchfs.utime(self.path("s"), ns=(1, 2), follow_symlinks=False)
        st = benchfs.stat(self.path("f"))
        self.assertEqual((st.st_size, st.st_mode, st.st_atime, st.st_mtime_ns), (3, stat.S_IFREG | 0o640, 1.5, 2250000000))
        self.assertTrue(benchfs.access(self.path("f"), os.R_OK))
        self.assertFalse(benchfs.access(self.path("nothing"), os.F_OK))
        self.assertEqual([call(self.path(n)) for call in (benchfs.exists, benchfs.isdir, benchfs.isfile) for n in ("f", "nothing", ".")],
                         [True, False, True, False, False, True, True, False, False])
        benchfs.remove(self.path("h"))
        with self.assertRaises(FileNotFoundError):
            benchfs.unlink(self.path("h"))
        with self.assertRaises(ValueError):
            benchfs.stat("/a\0b")
        self.assertEqual(benchfs.statvfs().f_namemax, 255)
        benchfs.sync()

    def test_dir_fd(self):
        with benchfs.File(self.top, flags=os.O_RDONLY | os.O_DIRECTORY) as d:
            benchfs.mkdir("sub", dir_fd=d.handle)
            with benchfs.open("sub/f", "wb", dir_fd=d.handle) as f:
                f.write(b"x")
            benchfs.rename("sub/f", "g", src_dir_fd=d.handle, dst_dir_fd=d.handle)
            benchfs.symlink("g", "l", dir_fd=d.handle)
            self.assertEqual(benchfs.readlink("l", dir_fd=d.handle), "g")
            self.assertEqual(benchfs.stat("l", dir_fd=d.handle).st_size, 1)
            self.assertTrue(stat.S_ISLNK(benchfs.lstat("l", dir_fd=d.handle).st_mode))
            benchfs.rmdir("sub", dir_fd=d.handle)
            benchfs.unlink("l", dir_fd=d.handle)
        self.assertEqual(benchfs.listdir(self.top), ["g"])

    def test_locks(self):
        with benchfs.File(self.path("f"), "w+") as f, benchfs.File(self.path("f"), "r+") as other:
            self.assertTrue(f.lock(start=10, length=5))
            self.assertFalse(other.lock(benchfs.F_RDLCK, 14, 1, wait=False, owner=9))
            found = other.in_the_way(owner=9)
            self.assertEqual(found, (benchfs.F_WRLCK, 10, 5, 0, os.getpid()))
            self.assertTrue(other.lock(start=15, owner=9, holder=benchfs.lock_session()))
            f.unlock(12)
            self.assertEqual(other.in_the_way(owner=9)[1:3], (10, 2))
            self.assertTrue(other.lock(kind=benchfs.LOCK_FILE, owner=9))
            self.assertFalse(other.lock(kind=benchfs.LOCK_FILE, owner=8, wait=False))
            other.leave_lock(kind=benchfs.LOCK_FILE, owner=9)
            self.assertTrue(other.lock(kind=benchfs.LOCK_FILE, owner=8, wait=False))
            other.unlock(kind=benchfs.LOCK_FILE, owner=8)
            other.unlock(owner=9)
            with benchfs.File(self.path("f")):
                pass  # any close gives up the process's own
            self.assertIsNone(other.in_the_way(owner=9))
            with self.assertRaises(OSError) as caught:
                other.lock(start=-1)
            self.assertEqual(caught.exception.errno, errno.EINVAL)

    def test_placement(self):
        benchfs.set_layout(self.top, benchfs.LAYOUT_ROUND_ROBIN, 65536)
        with benchfs.File(self.path("f"), "w+") as f:
            f.set_layout(benchfs.LAYOUT_ROUND_ROBIN, 131072)
            f.write(bytes(1000000))
            extents = f.locate()
            self.assertEqual(f.layout().chunk_bytes, 131072)
        self.assertEqual((extents[0].offset, sum(e.length for e in extents)), (0, 1000000))
        self.assertEqual(benchfs.get_layout(self.top).chunk_bytes, 65536)


class Sessions(unittest.TestCase):
    def test_errors(self):
        with self.assertRaises(OSError) as caught:
            benchfs.stat("/")
        self.assertEqual(caught.exception.errno, errno.ENOTCONN)
        self.assertIn("not initialised", str(caught.exception))
        with self.assertRaises(OSError) as caught:
            benchfs.init(config_text="no TOML")
        self.assertEqual(caught.exception.errno, errno.EINVAL)
        with self.assertRaises(OSError) as caught:
            benchfs.init(config_file="/nothing")
        self.assertEqual(caught.exception.errno, errno.ENOENT)

    def test_options(self):
        with benchfs.session(mode=benchfs.MODE_EMBEDDED, flags=benchfs.INIT_NO_ENVIRONMENT, config_text="[client]\nworkers = 2\n"):
            self.assertFalse(benchfs.is_distributed())
            left = benchfs.File("/f", "w")
            benchfs.init()
            self.assertEqual(benchfs.finalize(), 0)
            self.assertEqual(benchfs.stats()["open_handles"], 1)
            left.close()
        self.assertRegex(benchfs.version(), r"^\d+\.\d+\.\d+")
        self.assertEqual(benchfs.strerror(-errno.ENOENT), benchfs.strerror(errno.ENOENT))

    def test_buffers_are_written_before_the_end(self):
        directory = tempfile.mkdtemp(dir=sys.argv[1])
        text = "[store]\ndata_dir = %s\n" % json.dumps(directory)
        ends = {
            "finalize": "benchfs.finalize()",
            "exit": "pass",
            "child": "pid = os.fork()\nif pid == 0: sys.exit()\nassert os.waitpid(pid, 0)[1] == 0",
        }
        for name, end in ends.items():
            code = f"""
import benchfs, os, sys
benchfs.init(config_text={text!r}, mode=benchfs.MODE_EMBEDDED)
t = benchfs.open("/{name}.t", "w")
t.write("text")
b = benchfs.open("/{name}.b", "wb")
b.write(b"bytes")
{end}
"""
            out = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
            self.assertEqual((out.returncode, out.stdout), (0, b""))
        with benchfs.session(config_text=text, mode=benchfs.MODE_EMBEDDED):
            for name in ends:
                with benchfs.open(f"/{name}.t") as t, benchfs.open(f"/{name}.b", "rb") as b:
                    self.assertEqual((name, t.read(), b.read()), (name, "text", b"bytes"))

    def test_every_function_is_declared(self):
        for name in benchfs._FUNCTIONS:
            self.assertIsNotNone(getattr(benchfs.lib, name).argtypes)

    def test_structures(self):
        fields = {"_Stat": "struct stat", "_Statvfs": "struct statvfs", "_Timespec": "struct timespec", "_Iovec": "struct iovec", "_Options": "struct benchfs_options",
                  "_Dirent": "struct benchfs_dirent", "_Direntplus": "struct benchfs_direntplus", "_Layout": "struct benchfs_layout", "_Lock": "struct benchfs_lock", "_Extent": "struct benchfs_extent"}
        lines, want = [], []
        for name, in_c in fields.items():
            cls = getattr(benchfs, name)
            lines.append(f'printf("{name} %zu\\n", sizeof({in_c}));')
            want.append(f"{name} {ctypes.sizeof(cls)}")
            for field, *_ in cls._fields_:
                if not field.startswith("unused"):
                    lines.append(f'printf("{name}.{field} %zu %zu\\n", offsetof({in_c}, {field}), sizeof((({in_c} *)0)->{field}));')
                    want.append(f"{name}.{field} {getattr(cls, field).offset} {getattr(cls, field).size}")
        for name in ("AT_FDCWD", "REQUEST_NULL", "INIT_NO_ENVIRONMENT", "MODE_EMBEDDED", "MODE_DISTRIBUTED", "KIND_DIR", "KIND_FILE", "KIND_SYMLINK", "LAYOUT_ROUND_ROBIN", "LAYOUT_HASH",
                     "LAYOUT_LOCAL", "IOV_MAX"):
            lines.append(f'printf("{name} %d\\n", (int)BENCHFS_{name});')
            want.append(f"{name} {getattr(benchfs, name)}")
        lines.append('printf("%u\\n", (unsigned)BENCHFS_API_VERSION);')
        want.append(str(benchfs._API_VERSION))
        source = "#include <benchfs.h>\n#include <stdio.h>\nint main(void) { " + "\n".join(lines) + " return 0; }\n"
        program = os.path.join(sys.argv[1], "structures")
        subprocess.run(["gcc", "-Iinclude", "-xc", "-", "-o", program], input=source.encode(), check=True)
        self.assertEqual(subprocess.run([program], capture_output=True, check=True).stdout.decode().split("\n")[:-1], want)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
