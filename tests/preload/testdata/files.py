"""Files as Python's standard library uses them; prints what it sees. Works in the current directory."""
import glob, hashlib, io, mmap, os, pathlib, shutil, stat, tempfile, zipfile

here = os.getcwd()
with open("text", "w") as f:
    f.write("line\n" * 5000)
    print(f.tell())
with open("text", "r+b") as f:
    f.seek(-5, os.SEEK_END)
    print(f.read())
    f.seek(0)
    f.write(b"LINE")
    f.truncate(1000)
    os.fsync(f.fileno())
print(os.path.getsize("text"), open("text").readline().strip(), sum(1 for _ in open("text")))
with open("text", "a+") as f:
    f.write("end\n")
    f.seek(0)
    print(len(f.read()), f.tell())
try:
    open("text", "x")
except FileExistsError as e:
    print(e.strerror)
try:
    os.mkdir("no/where")
except FileNotFoundError as e:
    print(e.strerror)

p = pathlib.Path("tree/a/b")
p.mkdir(parents=True)
(p / "f").write_bytes(bytes(range(256)) * 100)
(p / "link").symlink_to("f")
os.link(p / "f", p / "hard")
print(sorted(str(x) for x in pathlib.Path("tree").rglob("*")), sorted(glob.glob("tree/**/h*", recursive=True)))
print((p / "link").resolve().relative_to(here), (p / "f").stat().st_nlink, os.path.samefile(p / "f", p / "hard"))
shutil.copytree("tree", "copy", symlinks=True)
print(sorted((d, sorted(ds), sorted(fs)) for d, ds, fs in os.walk("copy")))
shutil.copy2("text", "copy/text")
shutil.move("copy/a", "moved")
shutil.make_archive("archive", "zip", "moved")
with zipfile.ZipFile("archive.zip") as z:
    print(sorted(z.namelist()), z.testzip())
    z.extractall("unzipped")
os.remove("archive.zip")
print(hashlib.md5(open("unzipped/b/f", "rb").read()).hexdigest())
shutil.rmtree("copy")
print([(e.name, e.is_dir(), e.is_symlink(), e.inode() == e.stat(follow_symlinks=False).st_ino) for e in sorted(os.scandir("moved/b"), key=lambda e: e.name)])

d = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
f = os.open("at", os.O_CREAT | os.O_RDWR, 0o640, dir_fd=d)
os.pwrite(f, b"0123456789", 5)
print(os.pread(f, 100, 0), os.fstat(f).st_size, os.lseek(f, 0, os.SEEK_CUR), oct(os.stat("at", dir_fd=d).st_mode))
os.writev(f, [b"ab", b"cd"])
print(os.preadv(f, [bytearray(3), bytearray(4)], 0), os.sendfile(f, os.open("text", os.O_RDONLY), 0, 10), os.listdir(d) == os.listdir("."))
os.posix_fallocate(f, 0, 5000)
print(os.stat(f).st_size, os.readlink(f"/proc/self/fd/{f}") == os.path.join(here, "at"))
os.rename("at", "renamed", src_dir_fd=d, dst_dir_fd=d)
os.fchmod(f, 0o600)
os.utime("renamed", ns=(1_000_000_007, 2_000_000_009))
print(os.stat("renamed").st_mtime_ns, stat.filemode(os.fstat(f).st_mode), os.access("renamed", os.X_OK), os.statvfs(".").f_namemax)
os.fchdir(d)
print(os.getcwd() == here, os.path.realpath("tree/a/b/link") == here + "/tree/a/b/f")
os.close(f)

with open("mapped", "w+b") as f:
    f.truncate(100_000)
    m = mmap.mmap(f.fileno(), 0)
    m[0:5] = b"first"
    m[99_995:] = b"final"
    m.flush()
    f.seek(99_990)
    print(f.read())
    m[50_000:50_003] = b"mid"
    m.close()
with open("mapped", "rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as m:
    print(m.find(b"mid"), m.find(b"final"), len(m))
with tempfile.TemporaryDirectory(dir=".") as t, tempfile.NamedTemporaryFile(dir=t) as n, tempfile.TemporaryFile(dir=t) as u, tempfile.SpooledTemporaryFile(max_size=10, dir=t) as s:
    for g in (n, u, s):
        g.write(b"temporary" * 100)
        g.seek(5)
        print(g.read(6))
    print(os.path.basename(n.name) in os.listdir(t), len(os.listdir(t)))
with io.open("wide", "w", encoding="utf-16", newline="\r\n") as f:
    f.write("Zürich\n")
with open("big", "wb", buffering=0) as f:
    print(f.write(b"x" * 5_000_000))
with open("big", "rb") as f:
    print(hashlib.md5(f.read()).hexdigest())
os.truncate("big", 10)
