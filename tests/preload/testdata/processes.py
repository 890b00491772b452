"""Processes that share files: fork, exec, pools, pipes, and locks. Works in the current directory."""
import concurrent.futures, fcntl, mmap, multiprocessing, os, subprocess, sys


def own(i):
    with open(f"worker-{i}", "w") as f:
        f.write(str(i) * 1000)
    return os.path.getsize(f"worker-{i}")


def work(i):
    own(i)
    with open("shared", "r+") as f:
        fcntl.lockf(f, fcntl.LOCK_EX)
        n = int(f.read() or 0) + i
        f.seek(0)
        f.write(str(n))
        f.flush()
    return os.path.getsize(f"worker-{i}")


def main():
    open("shared", "w").close()
    multiprocessing.set_start_method("fork")
    with multiprocessing.Pool(2) as pool:
        print(pool.map(work, range(8)))
    print(open("shared").read())
    queue = multiprocessing.Queue()
    child = multiprocessing.Process(target=lambda: queue.put(open("worker-3").read(5)))
    child.start()
    print(queue.get())
    child.join()
    print(child.exitcode)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        print(list(pool.map(own, range(8, 24))))

    f = open("offset", "w+b", buffering=0)
    if os.fork() == 0:
        f.write(b"child")
        os._exit(0)
    os.wait()
    f.write(b" parent")
    print(os.pread(f.fileno(), 100, 0), f.tell())
    m = mmap.mmap(f.fileno(), 0)
    if os.fork() == 0:
        m[0:5] = b"CHILD"
        os._exit(0)
    os.wait()
    print(m[:])
    m.close()

    with open("out", "w") as out, open("offset", "rb") as given:
        print(subprocess.run(["cat"], stdin=given, stdout=out, stderr=subprocess.STDOUT).returncode)
        subprocess.run("echo by the shell; pwd >where", shell=True, stdout=out)
    print(open("out").read(), open("where").read().strip() == os.getcwd())
    print(subprocess.check_output(["cat", "out"], cwd=".", env={}), subprocess.run(["pwd"], cwd="/", capture_output=True).stdout)
    os.mkdir("below")
    print(subprocess.run(["sh", "-c", "pwd; ls ..|wc -l"], cwd="below", capture_output=True, text=True).stdout.replace(os.getcwd(), "HERE"))
    r, w = os.pipe()
    e = os.open("passed", os.O_CREAT | os.O_WRONLY)
    print(subprocess.run([sys.executable, "-c", f"import os; os.write({e}, b'by number'); os.write({w}, b'x')"], pass_fds=(e, w)).returncode)
    print(os.read(r, 1), open("passed").read())
    p = os.posix_spawn("/bin/sh", ["sh", "-c", "cat; echo spawned"], os.environ,
                       file_actions=[(os.POSIX_SPAWN_OPEN, 0, "passed", os.O_RDONLY, 0), (os.POSIX_SPAWN_OPEN, 1, "spawned", os.O_CREAT | os.O_WRONLY, 0o644)])
    print(os.waitpid(p, 0)[1], open("spawned").read())
    print(os.popen("cat spawned").read())


if __name__ == "__main__":
    main()
