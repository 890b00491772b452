"""SQLite by Python: journals, several writers, and recovery of what a process left. Works in the current directory."""
import multiprocessing, os, sqlite3


def write(i):
    c = sqlite3.connect("many.db", timeout=60)
    for j in range(5):
        with c:
            c.execute("insert into t values (?, ?)", (i, j))
    c.close()


def main():
    for mode in ("delete", "truncate", "persist"):
        c = sqlite3.connect("one.db")
        print(c.execute(f"pragma journal_mode={mode}").fetchone())
        c.execute(f"create table {mode}_ (a integer primary key, b text)")
        with c:
            c.executemany(f"insert into {mode}_ values (?, ?)", ((i, "x" * (i % 100)) for i in range(2000)))
        try:
            with c:
                c.execute(f"delete from {mode}_")
                raise RuntimeError
        except RuntimeError:
            pass
        print(c.execute(f"select count(*), sum(length(b)) from {mode}_").fetchone(), c.execute("pragma integrity_check").fetchone())
        c.close()
    print(sorted(os.listdir(".")))
    c = sqlite3.connect("many.db")
    c.execute("create table t (i, j)")
    c.close()
    multiprocessing.set_start_method("fork")
    all = [multiprocessing.Process(target=write, args=(i,)) for i in range(2)]
    for p in all:
        p.start()
    for p in all:
        p.join()
    print([p.exitcode for p in all])
    c = sqlite3.connect("many.db")
    print(c.execute("select count(*), count(distinct i * 100 + j) from t").fetchone())
    if os.fork() == 0:  # leaves a journal behind
        d = sqlite3.connect("many.db", isolation_level=None)
        d.execute("pragma cache_size=1")
        d.execute("begin immediate")
        d.executemany("insert into t values (?, ?)", ((9, "y" * 1000) for _ in range(2000)))
        os._exit(0)
    os.wait()
    print(os.path.exists("many.db-journal"), c.execute("select count(*) from t").fetchone(), c.execute("pragma integrity_check").fetchone())
    c.execute("vacuum")
    c.close()
    os.remove("one.db")
    os.remove("many.db")
    for name in os.listdir("."):
        print(name)
        os.remove(name)


if __name__ == "__main__":
    main()
