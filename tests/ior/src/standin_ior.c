/* standin_ior.c: IOR. */
#include "standin.h"

#include <sys/stat.h>
#include <unistd.h>

struct test {
    aiori_mod_opt_t *options;
    aiori_xfer_hint_t hints;
    char *api, *name;
    char path[PATH_MAX];
    long long block, transfer;
    int write, write_check, read, read_check;
    int per_rank, reorder, keep, existing, random, fsync, fsync_per_write, dry, segments, repetitions, unique, seed;
    int single;
    int shift; /* this rank is in the place of the one so many further */
    uint64_t *data;
};

static ior_aiori_t *const backend = &benchfs_aiori;

static void read_options(struct arguments a, struct test *t)
{
    *t = (struct test){.name = "testFile", .block = 1 << 20, .transfer = 256 << 10, .segments = 1, .repetitions = 1};
    option_help own[] = {
        {'a', NULL, "BENCHFS", OPTION_OPTIONAL_ARGUMENT, 's', &t->api},
        {'w', NULL, "write", OPTION_FLAG, 'd', &t->write},
        {'W', NULL, "check after writing", OPTION_FLAG, 'd', &t->write_check},
        {'r', NULL, "read", OPTION_FLAG, 'd', &t->read},
        {'R', NULL, "check what is read", OPTION_FLAG, 'd', &t->read_check},
        {'F', NULL, "a file a rank", OPTION_FLAG, 'd', &t->per_rank},
        {'C', NULL, "ranks read what others wrote", OPTION_FLAG, 'd', &t->reorder},
        {'k', NULL, "keep the files", OPTION_FLAG, 'd', &t->keep},
        {'E', NULL, "use the existing file", OPTION_FLAG, 'd', &t->existing},
        {'z', NULL, "random offsets", OPTION_FLAG, 'd', &t->random},
        {'e', NULL, "fsync after all writes", OPTION_FLAG, 'd', &t->fsync},
        {'Y', NULL, "fsync after each write", OPTION_FLAG, 'd', &t->fsync_per_write},
        {'u', NULL, "a directory a rank", OPTION_FLAG, 'd', &t->unique},
        {'G', NULL, "seed of the data", OPTION_OPTIONAL_ARGUMENT, 'd', &t->seed},
        {'b', NULL, "bytes of a block", OPTION_OPTIONAL_ARGUMENT, 'l', &t->block},
        {'t', NULL, "bytes of a transfer", OPTION_OPTIONAL_ARGUMENT, 'l', &t->transfer},
        {'s', NULL, "segments", OPTION_OPTIONAL_ARGUMENT, 'd', &t->segments},
        {'i', NULL, "repetitions", OPTION_OPTIONAL_ARGUMENT, 'd', &t->repetitions},
        {'o', NULL, "name of the file", OPTION_OPTIONAL_ARGUMENT, 's', &t->name},
        {0, "dryRun", "no I/O", OPTION_FLAG, 'd', &t->dry},
        {0, "singleXferAttempt", "one call a transfer", OPTION_FLAG, 'd', &t->single},
        LAST_OPTION,
    };
    t->options = parse(a, own);
    if (backend->get_version()[0] == '\0')
        ERRF("no version");
}

/* What IOR tells backends of the test; the structure stays where it is. */
static void tell(struct test *t)
{
    t->hints = (aiori_xfer_hint_t){
        .dryRun = t->dry,
        .filePerProc = t->per_rank,
        .numTasks = ranks,
        .numNodes = 1,
        .randomOffset = t->random,
        .fsyncPerWrite = t->fsync_per_write,
        .segmentCount = t->segments,
        .blockSize = t->block,
        .transferSize = t->transfer,
        .expectedAggFileSize = t->block * t->segments * ranks,
        .singleXferAttempt = t->single,
    };
    backend->xfer_hints(&t->hints);
}

static int pretended(const struct test *t)
{
    return (rank + t->shift) % ranks;
}

static void set_path(struct test *t)
{
    const char *slash = strrchr(t->name, '/');
    const int n = slash == NULL ? 0 : (int)(slash - t->name);
    if (t->unique) {
        snprintf(t->path, sizeof t->path, "%.*s/%d", n, t->name, pretended(t));
        if (backend->access(t->path, F_OK, t->options) != 0) {
            if (backend->mkdir(t->path, S_IRWXU, t->options) < 0)
                ERRF("cannot create directory %s", t->path);
        } else if (backend->access(t->path, R_OK, t->options) != 0 || backend->access(t->path, W_OK, t->options) != 0 ||
                   backend->access(t->path, X_OK, t->options) != 0) {
            ERRF("permissions of %s", t->path);
        }
        snprintf(t->path, sizeof t->path, "%.*s/%d/%s.%08d", n, t->name, pretended(t), t->name + n + 1, pretended(t));
    } else if (t->per_rank) {
        snprintf(t->path, sizeof t->path, "%s.%08d", t->name, pretended(t));
    } else {
        snprintf(t->path, sizeof t->path, "%s", t->name);
    }
}

static void remove_file(struct test *t)
{
    if ((t->per_rank || rank == 0) && backend->access(t->path, F_OK, t->options) == 0)
        backend->STANDIN_REMOVE(t->path, t->options);
}

/* One transfer; returns the wrong words. */
static long transfer(struct test *t, aiori_fd_t *fd, int access, IOR_offset_t offset)
{
    const int who = pretended(t);
    if (access == WRITE)
        fill(t->data, (size_t)t->transfer, (uint64_t)t->seed, who, offset);
    else
        memset(t->data, 0xee, (size_t)t->transfer);
    const IOR_offset_t moved = backend->xfer(access, fd, (IOR_size_t *)t->data, t->transfer, offset, t->options);
    if (moved != t->transfer)
        ERRF("moved %lld of %lld bytes at %lld", moved, t->transfer, offset);
    if (access == WRITE && t->fsync_per_write)
        backend->fsync(fd, t->options);
    return access == READCHECK || access == WRITECHECK
               ? count_wrong(t->data, (size_t)t->transfer, (uint64_t)t->seed, who, offset)
               : 0;
}

static long transfers(struct test *t, aiori_fd_t *fd, int access)
{
    const long long count = t->block / t->transfer;
    long wrong = 0;
    for (int segment = 0; segment < t->segments; segment++) {
        for (long long i = 0; i < count; i++) {
            const long long j = t->random ? (i * 7919 + 13) % count : i; /* each once: 7919 is a prime */
            IOR_offset_t offset = j * t->transfer;
            offset += t->per_rank ? segment * t->block : ((long long)segment * ranks + pretended(t)) * t->block;
            wrong += transfer(t, fd, access, offset);
        }
    }
    if (access == WRITE && t->fsync)
        backend->fsync(fd, t->options);
    return wrong;
}

static void check_size(struct test *t)
{
    const IOR_offset_t want = t->block * t->segments * (t->per_rank ? 1 : ranks);
    const IOR_offset_t size = backend->get_file_size(t->options, t->path);
    if (size != want && !t->dry)
        WARNF("%s has %lld bytes, not %lld", t->path, size, want);
}

static void write_phase(struct test *t)
{
    set_path(t);
    if (!t->existing)
        remove_file(t);
    barrier();
    aiori_fd_t *fd = backend->create(t->path, IOR_WRONLY | IOR_CREAT | IOR_TRUNC, t->options);
    if (fd == NULL)
        ERRF("cannot create %s", t->path);
    transfers(t, fd, WRITE);
    backend->close(fd, t->options);
    barrier();
    check_size(t);
}

static long read_phase(struct test *t, int access, int shift)
{
    t->shift = t->reorder ? shift : 0;
    set_path(t);
    barrier();
    aiori_fd_t *fd = backend->open(t->path, IOR_RDONLY, t->options);
    if (fd == NULL)
        ERRF("cannot open %s", t->path);
    const long wrong = transfers(t, fd, access);
    backend->close(fd, t->options);
    t->shift = 0;
    return wrong;
}

static long repetition(struct test *t)
{
    long wrong = 0;
    if (t->write)
        write_phase(t);
    if (t->write_check)
        wrong += read_phase(t, WRITECHECK, 2);
    if (t->read || t->read_check) {
        wrong += read_phase(t, t->read_check ? READCHECK : READ, 1);
        check_size(t);
    }
    if (!t->keep) {
        barrier();
        set_path(t);
        remove_file(t);
        barrier();
    }
    return wrong;
}

static long run_test(struct test *t)
{
    struct stat st;
    long wrong = 0;
    double begin = MPI_Wtime();
    backend->initialize(t->options);
    if (rank == 0)
        printf("initialize: %.6f s\n", MPI_Wtime() - begin);
    tell(t);
    show_file_system(t->name, t->options);
    set_path(t);
    if (t->write && (t->per_rank || rank == 0) && backend->stat(t->path, &st, t->options) == 0)
        INFOF("%s is there already, %lld bytes", t->path, (long long)st.st_size);
    t->data = safeMalloc((uint64_t)t->transfer);
    for (int i = 0; i < t->repetitions; i++)
        wrong += repetition(t);
    free(t->data);
    begin = MPI_Wtime();
    backend->finalize(t->options);
    if (rank == 0)
        printf("finalize: %.6f s\n", MPI_Wtime() - begin);
    barrier();
    return total(wrong);
}

long run_ior(struct arguments *tests, int count)
{
    struct test *all = safeMalloc((uint64_t)count * sizeof *all);
    long wrong = 0;
    for (int i = 0; i < count; i++) { /* IOR looks at all tests before it begins with the first */
        read_options(tests[i], &all[i]);
        tell(&all[i]);
        if (backend->check_params(all[i].options) != 0)
            ERRF("the backend does not take these parameters");
    }
    for (int i = 0; i < count; i++)
        wrong += run_test(&all[i]);
    free(all);
    return wrong;
}
