/* standin_mdtest.c: mdtest. */
#include "standin.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

static struct {
    aiori_mod_opt_t *options;
    aiori_xfer_hint_t hints;
    char *api, *dir;
    long long write_bytes, read_bytes;
    int items, depth, branch, stride, iterations;
    int files_only, dirs_only, unique, collective, mknod, fsync, sync, verify_read, verify_write;
    uint64_t *data;
    char tree[PATH_MAX];
    int trees; /* directories of one tree */
} o;

static ior_aiori_t *const backend = &benchfs_aiori;

static void read_options(struct arguments a)
{
    o.branch = 1;
    o.iterations = 1;
    option_help own[] = {
        {'a', NULL, "BENCHFS", OPTION_OPTIONAL_ARGUMENT, 's', &o.api},
        {'d', NULL, "directory", OPTION_OPTIONAL_ARGUMENT, 's', &o.dir},
        {'n', NULL, "items of a rank", OPTION_OPTIONAL_ARGUMENT, 'd', &o.items},
        {'z', NULL, "depth of the tree", OPTION_OPTIONAL_ARGUMENT, 'd', &o.depth},
        {'b', NULL, "branches of it", OPTION_OPTIONAL_ARGUMENT, 'd', &o.branch},
        {'N', NULL, "ranks go on with what others made", OPTION_OPTIONAL_ARGUMENT, 'd', &o.stride},
        {'i', NULL, "iterations", OPTION_OPTIONAL_ARGUMENT, 'd', &o.iterations},
        {'w', NULL, "bytes to write", OPTION_OPTIONAL_ARGUMENT, 'l', &o.write_bytes},
        {'e', NULL, "bytes to read", OPTION_OPTIONAL_ARGUMENT, 'l', &o.read_bytes},
        {'F', NULL, "files only", OPTION_FLAG, 'd', &o.files_only},
        {'D', NULL, "directories only", OPTION_FLAG, 'd', &o.dirs_only},
        {'u', NULL, "a tree a rank", OPTION_FLAG, 'd', &o.unique},
        {'c', NULL, "rank 0 creates", OPTION_FLAG, 'd', &o.collective},
        {'k', NULL, "mknod", OPTION_FLAG, 'd', &o.mknod},
        {'y', NULL, "sync each file", OPTION_FLAG, 'd', &o.fsync},
        {'Y', NULL, "sync after each phase", OPTION_FLAG, 'd', &o.sync},
        {'X', "verify-read", "verify", OPTION_FLAG, 'd', &o.verify_read},
        {0, "verify-write", "verify", OPTION_FLAG, 'd', &o.verify_write},
        LAST_OPTION,
    };
    o.options = parse(a, own);
}

static void phase_end(void)
{
    if (o.sync)
        backend->sync(o.options);
    barrier();
}

/* The directory of an item: number in the tree, breadth first. Tree directories are written with a slash at the end, as mdtest does. */
static void tree_path(char *path, int tree, int number)
{
    char below[PATH_MAX] = "", rest[PATH_MAX];
    for (; number > 0; number = (number - 1) / o.branch) {
        snprintf(rest, sizeof rest, "%s", below);
        snprintf(below, sizeof below, "mdtest_tree.%d/%.*s", number, PATH_MAX - 64, rest);
    }
    snprintf(path, PATH_MAX, "%.*s/mdtest_tree.%d.0/%.*s", PATH_MAX / 2 - 64, o.tree, tree, PATH_MAX / 2 - 64, below);
}

/* shift: whose item it is, so many ranks further. */
static void item_path(char *path, const char *kind, int shift, int item)
{
    const int who = (rank + shift * o.stride) % ranks;
    char dir[PATH_MAX];
    tree_path(dir, o.unique ? who : 0, item % o.trees);
    snprintf(path, PATH_MAX, "%.*s/%s.mdtest.%d.%d", PATH_MAX - 64, dir, kind, who, item);
}

static void make_tree(bool make)
{
    char path[PATH_MAX];
    if (!o.unique && rank != 0)
        return;
    for (int i = 0; i < o.trees; i++) {
        tree_path(path, o.unique ? rank : 0, make ? i : o.trees - 1 - i);
        if (make && backend->mkdir(path, S_IRWXU | S_IRWXG, o.options) == -1)
            WARNF("cannot create tree directory %s", path);
        if (!make && backend->rmdir(path, o.options) == -1)
            WARNF("cannot remove tree directory %s", path);
    }
}

static void rename_items(const char *kind)
{
    char path[PATH_MAX], other[PATH_MAX + 4];
    for (int i = 0; i < o.items; i++) {
        item_path(path, kind, 1, i);
        snprintf(other, sizeof other, "%s-XX", path);
        if (backend->rename(path, other, o.options) == -1 || backend->rename(other, path, o.options) == -1)
            WARNF("cannot rename %s", path);
    }
}

static void stat_items(const char *kind, mode_t type, off_t size)
{
    char path[PATH_MAX];
    struct stat st;
    for (int i = 0; i < o.items; i++) {
        item_path(path, kind, 1, i);
        if (backend->stat(path, &st, o.options) == -1)
            WARNF("cannot stat %s", path);
        else if ((st.st_mode & S_IFMT) != type || (size >= 0 && st.st_size != size))
            WARNF("%s has mode %o and %lld bytes", path, (unsigned)st.st_mode, (long long)st.st_size);
    }
}

static void directories(void)
{
    char path[PATH_MAX];
    for (int i = 0; i < o.items; i++) {
        item_path(path, "dir", 0, i);
        if (backend->mkdir(path, S_IRWXU | S_IRWXG, o.options) == -1)
            WARNF("cannot create directory %s", path);
    }
    phase_end();
    stat_items("dir", S_IFDIR, -1);
    phase_end();
    rename_items("dir");
    phase_end();
    for (int i = 0; i < o.items; i++) {
        item_path(path, "dir", 1, i);
        if (backend->rmdir(path, o.options) == -1)
            WARNF("cannot remove directory %s", path);
    }
    phase_end();
}

static long create_file(int item)
{
    char path[PATH_MAX];
    aiori_fd_t *fd;
    long wrong = 0;
    item_path(path, "file", 0, item);
    if (o.mknod) {
        if (backend->mknod(path) != 0)
            WARNF("cannot mknod %s", path);
        return 0;
    }
    if (o.collective) {
        fd = backend->open(path, IOR_WRONLY | IOR_CREAT, o.options);
    } else {
        o.hints.filePerProc = 1;
        fd = backend->create(path, IOR_WRONLY | IOR_CREAT, o.options);
    }
    if (fd == NULL) {
        WARNF("cannot open %s", path);
        return 0;
    }
    if (o.write_bytes > 0) {
        o.hints.fsyncPerWrite = o.fsync;
        fill(o.data, (size_t)o.write_bytes, (uint64_t)item, rank, 0);
        if (backend->xfer(WRITE, fd, (IOR_size_t *)o.data, o.write_bytes, 0, o.options) != o.write_bytes)
            WARNF("cannot write %s", path);
        if (o.verify_write) {
            memset(o.data, 42, (size_t)o.write_bytes);
            if (backend->xfer(READ, fd, (IOR_size_t *)o.data, o.write_bytes, 0, o.options) != o.write_bytes)
                WARNF("cannot read %s back", path);
            wrong = count_wrong(o.data, (size_t)o.write_bytes, (uint64_t)item, rank, 0);
        }
    }
    backend->close(fd, o.options);
    return wrong;
}

/* Rank 0 makes the files of all. */
static void create_for_all(void)
{
    char path[PATH_MAX], dir[PATH_MAX];
    for (int who = 0; who < ranks; who++) {
        for (int i = 0; i < o.items; i++) {
            tree_path(dir, o.unique ? who : 0, i % o.trees);
            snprintf(path, sizeof path, "%.*s/file.mdtest.%d.%d", PATH_MAX - 64, dir, who, i);
            aiori_fd_t *fd = backend->create(path, IOR_WRONLY | IOR_CREAT, o.options);
            if (fd == NULL)
                WARNF("cannot create %s", path);
            else
                backend->close(fd, o.options);
        }
    }
}

static long read_file(int item)
{
    char path[PATH_MAX];
    long wrong = 0;
    item_path(path, "file", 2, item);
    aiori_fd_t *fd = backend->open(path, O_RDONLY, o.options); /* 0, which is none of IOR's flags: so does mdtest */
    if (fd == NULL) {
        WARNF("cannot open %s", path);
        return 0;
    }
    if (o.read_bytes > 0) {
        memset(o.data, 0xee, (size_t)o.read_bytes);
        if (backend->xfer(READ, fd, (IOR_size_t *)o.data, o.read_bytes, 0, o.options) != o.read_bytes)
            WARNF("cannot read %s", path);
        if (o.verify_read)
            wrong = count_wrong(o.data, (size_t)o.read_bytes, (uint64_t)item, (rank + 2 * o.stride) % ranks, 0);
    }
    backend->close(fd, o.options);
    return wrong;
}

static long files(void)
{
    char path[PATH_MAX];
    long wrong = 0;
    if (o.collective && rank == 0)
        create_for_all();
    barrier();
    for (int i = 0; i < o.items; i++)
        wrong += create_file(i);
    phase_end();
    stat_items("file", S_IFREG, o.mknod ? 0 : (off_t)o.write_bytes);
    phase_end();
    for (int i = 0; i < o.items; i++)
        wrong += read_file(i);
    phase_end();
    rename_items("file");
    phase_end();
    for (int i = 0; i < o.items; i++) {
        item_path(path, "file", 3, i);
        backend->STANDIN_REMOVE(path, o.options);
    }
    phase_end();
    return wrong;
}

static long iteration(int number)
{
    long wrong = 0;
    snprintf(o.tree, sizeof o.tree, "%.*s/test-dir.%d-0", PATH_MAX - 64, o.dir, number);
    if (rank == 0 && backend->access(o.tree, F_OK, o.options) != 0 &&
        backend->mkdir(o.tree, S_IRWXU | S_IRWXG, o.options) != 0)
        WARNF("cannot create test directory %s", o.tree);
    barrier();
    make_tree(true);
    barrier();
    if (!o.files_only)
        directories();
    if (!o.dirs_only)
        wrong += files();
    barrier();
    make_tree(false);
    barrier();
    if (rank == 0 && backend->rmdir(o.tree, o.options) == -1)
        WARNF("cannot remove %s", o.tree);
    return wrong;
}

long run_mdtest(struct arguments test)
{
    long wrong = 0;
    int level = 1;
    read_options(test);
    o.trees = 1;
    for (int i = 0; i < o.depth; i++)
        o.trees += level *= o.branch;
    o.data = safeMalloc((uint64_t)(o.write_bytes + o.read_bytes + 8));
    backend->xfer_hints(&o.hints);
    backend->check_params(o.options); /* whatever it returns */
    backend->initialize(o.options);
    if (rank == 0 && backend->access(o.dir, F_OK, o.options) != 0 &&
        backend->mkdir(o.dir, S_IRWXU | S_IRWXG, o.options) != 0)
        WARNF("cannot create %s", o.dir);
    show_file_system(o.dir, o.options);
    for (int i = 0; i < o.iterations; i++)
        wrong += iteration(i);
    if (rank == 0 && backend->rmdir(o.dir, o.options) != 0)
        ERRF("cannot remove %s", o.dir);
    backend->finalize(o.options);
    free(o.data);
    barrier();
    return total(wrong);
}
