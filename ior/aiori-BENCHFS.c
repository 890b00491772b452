/*
 * aiori-BENCHFS.c: BenchFS as a backend of IOR 4.x, mdtest and md-workbench. docs/ior.md has the places of IOR's tree that have to know of it.
 *
 * Every MPI rank is a client. Where the file system is, the environment says (BENCHFS_CLUSTER_REGISTRY_DIR and so on, as `benchfs up` prints
 * it), or the file that --benchfs.config names. A rank without either would have a file system of its own: refused as soon as there are two.
 *
 * Errors. What the file system answers (no such file, no space, ...) is told to IOR in the way that its interface has for it, after a warning
 * that gives the reason; where it has none, and when the servers fail, the run is aborted. No transfer is ever counted that did not happen.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <benchfs.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <mpi.h>

#include "ior.h"
#include "aiori.h"
#include "iordef.h"
#include "utilities.h"

enum {
    FILE_MODE = 0664, /* before the umask; as IOR's POSIX backend */
    DRY = -1          /* in place of a handle: a dry run has no files */
};

/* ==== Options ==== */

struct benchfs_ior_options {
    char *config;         /* configuration file; NULL: the one that BENCHFS_CONFIG names, or none */
    char *layout;         /* of new files; NULL: as configured */
    long long chunk_size; /* of new files, bytes; 0: as configured */
    int stats;            /* rank 0 prints its counters at the end of each test */

    struct benchfs_ior_options *parsed; /* what the parser writes into */
};

static const char *const strategies[] = {
    [BENCHFS_LAYOUT_ROUND_ROBIN] = "round_robin",
    [BENCHFS_LAYOUT_HASH] = "hash",
    [BENCHFS_LAYOUT_LOCAL] = "local",
};

static const struct benchfs_ior_options *options_of(const aiori_mod_opt_t *module_options)
{
    return (const struct benchfs_ior_options *)(const void *)module_options;
}

/* The number of a strategy, BENCHFS_LAYOUT_DEFAULT for none, -1 for a name that there is not. */
static int strategy_of(const char *name)
{
    if (name == NULL)
        return BENCHFS_LAYOUT_DEFAULT;
    for (size_t i = 1; i < sizeof strategies / sizeof strategies[0]; i++) {
        if (strcmp(strategies[i], name) == 0)
            return (int)i;
    }
    return -1;
}

/*
 * IOR calls this once at the start and once more when the options of a test are complete, with the values of the call before; it frees nothing. It
 * parses the next test of a script through the table that it got last. So the table is about one structure for all tests, and each test gets a
 * copy: otherwise a test would run with the options of the next.
 */
static option_help *BENCHFS_options(aiori_mod_opt_t **init_backend_options, aiori_mod_opt_t *init_values)
{
    struct benchfs_ior_options *parsed, *o = safeMalloc(sizeof *o);
    if (init_values != NULL) {
        parsed = options_of(init_values)->parsed;
    } else {
        parsed = safeMalloc(sizeof *parsed);
        memset(parsed, 0, sizeof *parsed);
        parsed->parsed = parsed;
    }
    memcpy(o, parsed, sizeof *o);
    *init_backend_options = (aiori_mod_opt_t *)o;

    const option_help help[] = {
        {0, "benchfs.config", "TOML configuration file (default: environment)", OPTION_OPTIONAL_ARGUMENT, 's',
         &parsed->config},
        {0, "benchfs.chunk-size", "chunk size of new files, a power of two, 64k to 64m", OPTION_OPTIONAL_ARGUMENT, 'l',
         &parsed->chunk_size},
        {0, "benchfs.layout", "placement of new files: round_robin, hash or local", OPTION_OPTIONAL_ARGUMENT, 's',
         &parsed->layout},
        {0, "benchfs.stats", "print the counters of rank 0 after each test (JSON)", OPTION_FLAG, 'd', &parsed->stats},
        LAST_OPTION,
    };
    option_help *copy = safeMalloc(sizeof help);
    memcpy(copy, help, sizeof help);
    return copy;
}

/* mdtest does not look at the result: what is wrong ends the run here. */
static int BENCHFS_check_params(aiori_mod_opt_t *module_options)
{
    const struct benchfs_ior_options *o = options_of(module_options);
    const long long size = o->chunk_size;
    if (size != 0 && (size < 64 * KIBIBYTE || size > 64 * MEBIBYTE || (size & (size - 1)) != 0)) {
        ERRF("--benchfs.chunk-size: %lld is no power of two from 64 KiB to 64 MiB", size);
        return 1;
    }
    if (strategy_of(o->layout) < 0) {
        ERRF("--benchfs.layout: \"%s\" is none of round_robin, hash, local", o->layout);
        return 1;
    }
    return 0;
}

/* ==== Hints ==== */

static aiori_xfer_hint_t no_hints;

/* IOR's own structure, which mdtest changes as it goes. */
static const aiori_xfer_hint_t *hints = &no_hints;

static void BENCHFS_xfer_hints(aiori_xfer_hint_t *params)
{
    hints = params;
}

/* IOR calls fsync itself after a write that is to be durable; mdtest, which sets no transfer size, leaves it to the transfer. */
static bool transfer_syncs(void)
{
    return hints->fsyncPerWrite && hints->transferSize == 0;
}

/* ==== Errors ==== */

/* Whether a code is an answer of the file system, which leaves it usable, rather than a failure of what serves it. */
static bool is_answer(int code)
{
    switch (-code) {
    case EACCES:
    case EBUSY:
    case EEXIST:
    case EFBIG:
    case EINVAL:
    case EISDIR:
    case ELOOP:
    case EMLINK:
    case ENAMETOOLONG:
    case ENOENT:
    case ENOSPC:
    case ENOTDIR:
    case ENOTEMPTY:
    case EPERM:
        return true;
    }
    return false;
}

/* -1 for a code that a call has returned, as IOR wants it, after saying why. mdtest compares with -1, and no code is that. */
static int failed(int code)
{
    if (is_answer(code))
        WARNF("BENCHFS: %s", benchfs_last_error());
    else
        ERRF("BENCHFS: %s", benchfs_last_error());
    errno = -code;
    return -1;
}

/* The same for calls that look whether something is there: that it is not is no news. */
static int failed_to_find(int code)
{
    if (code != -ENOENT && code != -ENOTDIR)
        return failed(code);
    errno = -code;
    return -1;
}

static int checked(int code)
{
    return code < 0 ? failed(code) : 0;
}

/* ==== Session ==== */

/*
 * IOR calls initialize and finalize around each test, and programs like IO500 run dozens of them. A session takes milliseconds to start, so it
 * stays over finalize; the next initialize takes it as it is, unless its options differ. It ends with MPI, see end_with_mpi.
 */
static struct {
    bool running;
    char config[PATH_MAX];
    char text[128]; /* what the options add to the configuration */
} session;

/* The directory, as written, whose files check_layout has last looked at. */
static char seen_directory[PATH_MAX];

static void end_session(void)
{
    if (!session.running)
        return;
    session.running = false;
    if (benchfs_finalize() < 0)
        fprintf(stderr, "BENCHFS: the session did not end well: %s\n", benchfs_last_error());
}

/* MPI_Finalize begins with deleting what hangs on MPI_COMM_SELF (MPI 3.1, 8.7.1): the last moment at which everything still works. */
static int at_mpi_finalize(MPI_Comm comm, int key, void *value, void *extra)
{
    (void)comm;
    (void)key;
    (void)value;
    (void)extra;
    end_session();
    return MPI_SUCCESS;
}

static void end_with_mpi(void)
{
    static bool hung;
    int key;
    if (hung)
        return;
    hung = true;
    MPI_CHECK(MPI_Comm_create_keyval(MPI_COMM_NULL_COPY_FN, at_mpi_finalize, &key, NULL), "MPI_Comm_create_keyval");
    MPI_CHECK(MPI_Comm_set_attr(MPI_COMM_SELF, key, NULL), "MPI_Comm_set_attr");
}

/* A file system inside the process is one a rank. */
static void refuse_many_file_systems(void)
{
    int ranks = hints->numTasks;
    if (ranks == 0)
        MPI_CHECK(MPI_Comm_size(MPI_COMM_WORLD, &ranks), "MPI_Comm_size");
    if (ranks > 1 && benchfs_is_distributed() == 0)
        ERR("BENCHFS: no daemons are configured, so that each rank would have a file system of its own: "
            "run `benchfs run -n 2 -- mpirun ...`, or export BENCHFS_CLUSTER_REGISTRY_DIR and "
            "BENCHFS_CLUSTER_EXPECTED_NODES to all ranks (mpirun -x), or give --benchfs.config");
}

/* What the options add to the configuration. They come before the environment, where a variable would come before the text. */
static void configuration_text(const struct benchfs_ior_options *o, char *text, size_t size)
{
    size_t n = 0;
    text[0] = '\0';
    if (o->layout != NULL || o->chunk_size != 0)
        n += (size_t)snprintf(text, size, "[layout]\n");
    if (o->layout != NULL) {
        unsetenv("BENCHFS_LAYOUT_STRATEGY");
        n += (size_t)snprintf(text + n, size - n, "strategy = \"%s\"\n", o->layout);
    }
    if (o->chunk_size != 0) {
        unsetenv("BENCHFS_LAYOUT_CHUNK_SIZE");
        snprintf(text + n, size - n, "chunk_size = %lld\n", o->chunk_size);
    }
}

static void BENCHFS_initialize(aiori_mod_opt_t *module_options)
{
    const struct benchfs_ior_options *o = options_of(module_options);
    const char *config = o->config == NULL ? "" : o->config;
    char text[sizeof session.text];

    seen_directory[0] = '\0';
    if (hints->dryRun)
        return;
    configuration_text(o, text, sizeof text);
    if (session.running && strcmp(session.config, config) == 0 && strcmp(session.text, text) == 0)
        return;
    if (strlen(config) >= sizeof session.config) {
        ERRF("--benchfs.config: a name of %zu bytes", strlen(config));
        return;
    }
    end_session();
    struct benchfs_options init = BENCHFS_OPTIONS_INIT;
    init.config_file = o->config;
    init.config_text = text;
    const int rc = benchfs_init(&init);
    if (rc < 0) {
        ERRF("BENCHFS: rank %d cannot start: %s: %s", rank, benchfs_strerror(rc), benchfs_last_error());
        return;
    }
    session.running = true;
    strcpy(session.config, config);
    strcpy(session.text, text);
    refuse_many_file_systems();
    end_with_mpi();
}

static void print_stats(void)
{
    char *text = NULL;
    ssize_t n = benchfs_stats(NULL, 0);
    if (n >= 0) {
        text = safeMalloc((uint64_t)n + 1024); /* counters grow by a digit now and then */
        n = benchfs_stats(text, (size_t)n + 1024);
    }
    if (n >= 0)
        INFOF("BENCHFS: %s", text);
    else
        (void)failed((int)n);
    free(text);
}

static void BENCHFS_finalize(aiori_mod_opt_t *module_options)
{
    if (session.running && rank == 0 && options_of(module_options)->stats)
        print_stats();
}

static char *BENCHFS_get_version(void)
{
    return (char *)benchfs_version();
}

/* ==== Files ==== */

struct benchfs_ior_file {
    int fd; /* handle, or DRY */
};

static struct benchfs_ior_file *file_of(aiori_fd_t *handle)
{
    return (struct benchfs_ior_file *)(void *)handle;
}

static aiori_fd_t *new_file(int fd)
{
    struct benchfs_ior_file *f = safeMalloc(sizeof *f);
    f->fd = fd;
    return (aiori_fd_t *)(void *)f;
}

/*
 * IOR's flags are bits of its own; mdtest opens for reading without any. What is to be written can be read as well: mdtest --verify-write
 * reads through the same handle. IOR_DIRECT is for what buffers in between: there is nothing.
 */
static int open_flags(int iorflags)
{
    int flags = iorflags & (IOR_WRONLY | IOR_RDWR) ? O_RDWR : O_RDONLY;
    if (iorflags & IOR_APPEND)
        flags |= O_APPEND;
    if (iorflags & IOR_CREAT)
        flags |= O_CREAT;
    if (iorflags & IOR_TRUNC)
        flags |= O_TRUNC;
    if (iorflags & IOR_EXCL)
        flags |= O_EXCL;
    return flags;
}

/*
 * Does a file of ours have the layout that was asked for? The layout of its directory comes first, and a file that IOR was told to keep (-E) has
 * the one that it was made with: a measurement under another name would be wrong. One file a directory and test is looked at.
 */
static void check_layout(int fd, const char *path, const struct benchfs_ior_options *o)
{
    if (o->layout == NULL && o->chunk_size == 0)
        return;
    const char *slash = strrchr(path, '/');
    const size_t n = slash == NULL ? 0 : (size_t)(slash - path) + 1;
    if (n > 0 && n < sizeof seen_directory && seen_directory[n] == '\0' && memcmp(seen_directory, path, n) == 0)
        return;
    struct benchfs_layout layout = BENCHFS_LAYOUT_INIT;
    const int rc = benchfs_fget_layout(fd, &layout);
    const int strategy = strategy_of(o->layout);
    if (rc < 0)
        ERRF("BENCHFS: %s", benchfs_last_error());
    else if ((o->layout != NULL && layout.strategy != (uint32_t)strategy) ||
             (o->chunk_size != 0 && layout.chunk_bytes != (uint64_t)o->chunk_size))
        ERRF("BENCHFS: %s has the layout %s with chunks of %llu bytes, which is not what --benchfs.layout and "
             "--benchfs.chunk-size ask for: it existed before, or its directory has a layout of its own",
             path, layout.strategy <= BENCHFS_LAYOUT_LOCAL ? strategies[layout.strategy] : "?",
             (unsigned long long)layout.chunk_bytes);
    if (n > 0 && n < sizeof seen_directory) {
        memcpy(seen_directory, path, n);
        seen_directory[n] = '\0';
    }
}

static aiori_fd_t *open_file(const char *path, int flags)
{
    if (hints->dryRun)
        return new_file(DRY);
    const int fd = benchfs_open(path, flags, FILE_MODE);
    if (fd < 0) {
        ERRF("BENCHFS: %s", benchfs_last_error());
        return NULL;
    }
    return new_file(fd);
}

/*
 * All ranks create a shared file, with no barrier before the first writes: one that truncates would cut what others have written. Nor does a
 * file of one rank need it: IOR has removed it before, unless it was told to use the file that is there (-E).
 */
static aiori_fd_t *BENCHFS_create(char *path, int iorflags, aiori_mod_opt_t *module_options)
{
    aiori_fd_t *handle = open_file(path, open_flags((iorflags & ~IOR_TRUNC) | IOR_CREAT | IOR_RDWR));
    if (handle != NULL && file_of(handle)->fd != DRY)
        check_layout(file_of(handle)->fd, path, options_of(module_options));
    return handle;
}

static aiori_fd_t *BENCHFS_open(char *path, int iorflags, aiori_mod_opt_t *module_options)
{
    (void)module_options;
    return open_file(path, open_flags(iorflags));
}

/* mdtest -k: an empty file. */
static int BENCHFS_mknod(char *path)
{
    if (hints->dryRun)
        return 0;
    const int fd = benchfs_open(path, O_CREAT | O_EXCL | O_WRONLY, FILE_MODE);
    return checked(fd < 0 ? fd : benchfs_close(fd));
}

static void sync_file(const struct benchfs_ior_file *f)
{
    if (benchfs_fsync(f->fd) < 0)
        ERRF("BENCHFS: %s", benchfs_last_error());
}

/* Returns the bytes that were moved: fewer than length after an error or at the end of the file, about which it has warned then. */
static IOR_offset_t BENCHFS_xfer(int access, aiori_fd_t *handle, IOR_size_t *buffer, IOR_offset_t length,
                                 IOR_offset_t offset, aiori_mod_opt_t *module_options)
{
    (void)module_options;
    const struct benchfs_ior_file *f = file_of(handle);
    char *data = (char *)buffer;
    IOR_offset_t done = 0;

    if (f->fd == DRY)
        return length;
    while (done < length) { /* one call moves 2 GiB at most */
        const size_t rest = (size_t)(length - done);
        const ssize_t n = access == WRITE ? benchfs_pwrite(f->fd, data + done, rest, offset + done)
                                          : benchfs_pread(f->fd, data + done, rest, offset + done);
        if (n < 0) {
            (void)failed((int)n);
            return done;
        }
        if (n == 0) {
            WARNF("BENCHFS: the file ends at %lld, %lld bytes before what is to be read", offset + done, length - done);
            return done;
        }
        done += n;
        if (done < length && hints->singleXferAttempt) {
            WARNF("BENCHFS: one attempt moved %lld of %lld bytes", done, length);
            return done;
        }
    }
    if (access == WRITE && transfer_syncs())
        sync_file(f);
    return done;
}

static void BENCHFS_fsync(aiori_fd_t *handle, aiori_mod_opt_t *module_options)
{
    (void)module_options;
    if (file_of(handle)->fd != DRY)
        sync_file(file_of(handle));
}

static void BENCHFS_close(aiori_fd_t *handle, aiori_mod_opt_t *module_options)
{
    (void)module_options;
    struct benchfs_ior_file *f = file_of(handle);
    const int rc = f->fd == DRY ? 0 : benchfs_close(f->fd);
    free(f);
    if (rc < 0)
        ERRF("BENCHFS: %s", benchfs_last_error());
}

/* ==== Names ==== */

static void BENCHFS_remove(char *path, aiori_mod_opt_t *module_options)
{
    (void)module_options;
    if (!hints->dryRun)
        (void)checked(benchfs_unlink(path));
}

static IOR_offset_t BENCHFS_get_file_size(aiori_mod_opt_t *module_options, char *path)
{
    (void)module_options;
    struct stat st;
    if (hints->dryRun)
        return 0;
    if (benchfs_stat(path, &st) < 0) {
        ERRF("BENCHFS: %s", benchfs_last_error());
        return -1;
    }
    return st.st_size;
}

/* IOR multiplies blocks with f_bsize, and asks with the name of a file that need not be there yet: the numbers are those of the whole. */
static int BENCHFS_statfs(const char *path, ior_aiori_statfs_t *st, aiori_mod_opt_t *module_options)
{
    (void)path;
    (void)module_options;
    struct statvfs all;
    if (hints->dryRun)
        return -1;
    const int rc = benchfs_statfs("/", &all);
    if (rc < 0)
        return failed(rc);
    st->f_bsize = all.f_frsize;
    st->f_blocks = all.f_blocks;
    st->f_bfree = all.f_bfree;
    st->f_bavail = all.f_bavail;
    st->f_files = all.f_files;
    st->f_ffree = all.f_ffree;
    return 0;
}

static int BENCHFS_mkdir(const char *path, mode_t mode, aiori_mod_opt_t *module_options)
{
    (void)module_options;
    return hints->dryRun ? 0 : checked(benchfs_mkdir(path, mode));
}

static int BENCHFS_rmdir(const char *path, aiori_mod_opt_t *module_options)
{
    (void)module_options;
    return hints->dryRun ? 0 : checked(benchfs_rmdir(path));
}

static int BENCHFS_rename(const char *from, const char *to, aiori_mod_opt_t *module_options)
{
    (void)module_options;
    return hints->dryRun ? 0 : checked(benchfs_rename(from, to));
}

/* In a dry run nothing is there. */
static int not_there(void)
{
    errno = ENOENT;
    return -1;
}

static int BENCHFS_access(const char *path, int mode, aiori_mod_opt_t *module_options)
{
    (void)module_options;
    if (hints->dryRun)
        return not_there();
    const int rc = benchfs_access(path, mode);
    return rc < 0 ? failed_to_find(rc) : 0;
}

static int BENCHFS_stat(const char *path, struct stat *st, aiori_mod_opt_t *module_options)
{
    (void)module_options;
    if (hints->dryRun)
        return not_there();
    const int rc = benchfs_stat(path, st);
    return rc < 0 ? failed_to_find(rc) : 0;
}

/* mdtest -Y. */
static void BENCHFS_sync(aiori_mod_opt_t *module_options)
{
    (void)module_options;
    if (!hints->dryRun && benchfs_sync() < 0)
        ERRF("BENCHFS: %s", benchfs_last_error());
}

ior_aiori_t benchfs_aiori = {
    .name = "BENCHFS",
    .name_legacy = NULL,
    .create = BENCHFS_create,
    .mknod = BENCHFS_mknod,
    .open = BENCHFS_open,
    .xfer_hints = BENCHFS_xfer_hints,
    .xfer = BENCHFS_xfer,
    .close = BENCHFS_close,
    BENCHFS_remove, /* what follows close: IOR 4.0 calls the field delete, later ones remove */
    .get_version = BENCHFS_get_version,
    .fsync = BENCHFS_fsync,
    .get_file_size = BENCHFS_get_file_size,
    .statfs = BENCHFS_statfs,
    .mkdir = BENCHFS_mkdir,
    .rmdir = BENCHFS_rmdir,
    .access = BENCHFS_access,
    .stat = BENCHFS_stat,
    .initialize = BENCHFS_initialize,
    .finalize = BENCHFS_finalize,
    .rename = BENCHFS_rename,
    .get_options = BENCHFS_options,
    .check_params = BENCHFS_check_params,
    .sync = BENCHFS_sync,
    .enable_mdtest = true,
};
