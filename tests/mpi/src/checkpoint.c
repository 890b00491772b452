/*
 * checkpoint n-1|n-n RECORDS STEPS: checkpoints of all ranks, in one file, record by record in turn, or in a file a rank, which is written under
 * another name and renamed when it is complete. Each is verified by a rank that has not written it; the later steps overwrite the earlier ones, and
 * the sizes are exact after close and barrier.
 */
#include "common.h"

#include <errno.h>

enum {
    RECORD = 47008 /* bytes: not a multiple of a page, so that records of two ranks share pages and chunks */
};

static uint64_t data[RECORD / 8];
static int records, steps;

static uint64_t number(int step, int of_rank, int record)
{
    return (uint64_t)step << 28 | (uint64_t)of_rank << 16 | (uint64_t)record;
}

/* The rank whose part this one verifies in a step: never its own, if there are others. */
static int other(int step)
{
    return ranks == 1 ? 0 : (rank + 1 + step % (ranks - 1)) % ranks;
}

static void check_size(const char *path, off_t want)
{
    struct stat st;
    CHECK(benchfs_stat(path, &st) == 0);
    if (st.st_size != want)
        FAIL("%s has %lld bytes, not %lld", path, (long long)st.st_size, (long long)want);
}

static void into_one(int step)
{
    const off_t size = (off_t)records * ranks * RECORD;
    int fd = benchfs_open("/checkpoint", O_CREAT | O_WRONLY, 0644);
    CHECK(fd >= 0);
    for (int i = 0; i < records; i++)
        write_block(fd, data, RECORD, number(step, rank, i), ((off_t)i * ranks + rank) * (off_t)RECORD);
    if (step % 2 == 0)
        CHECK(benchfs_fsync(fd) == 0);
    CHECK(benchfs_close(fd) == 0);
    MPI_Barrier(MPI_COMM_WORLD);
    check_size("/checkpoint", size);
    fd = benchfs_open("/checkpoint", O_RDONLY, 0);
    CHECK(fd >= 0);
    for (int i = 0; i < records; i++)
        read_block(fd, data, RECORD, number(step, other(step), i), ((off_t)i * ranks + other(step)) * (off_t)RECORD);
    CHECK(benchfs_pread(fd, data, RECORD, size) == 0);
    CHECK(benchfs_close(fd) == 0);
    MPI_Barrier(MPI_COMM_WORLD);
}

static void one_each(int step)
{
    char path[64], complete[64];
    snprintf(path, sizeof path, "/checkpoints/rank.%d.new", rank);
    snprintf(complete, sizeof complete, "/checkpoints/rank.%d", rank);
    const int made = benchfs_mkdir("/checkpoints", 0755);
    CHECK(made == 0 || made == -EEXIST);
    int fd = benchfs_open(path, O_CREAT | O_EXCL | O_WRONLY, 0644);
    CHECK(fd >= 0);
    for (int i = 0; i < records; i++) {
        fill(data, RECORD, number(step, rank, i));
        CHECK(benchfs_write(fd, data, RECORD) == RECORD);
    }
    CHECK(benchfs_fsync(fd) == 0);
    CHECK(benchfs_close(fd) == 0);
    CHECK(benchfs_rename(path, complete) == 0);
    MPI_Barrier(MPI_COMM_WORLD);

    snprintf(complete, sizeof complete, "/checkpoints/rank.%d", other(step));
    check_size(complete, (off_t)records * RECORD);
    fd = benchfs_open(complete, O_RDONLY, 0);
    CHECK(fd >= 0);
    for (int i = 0; i < records; i++)
        read_block(fd, data, RECORD, number(step, other(step), i), (off_t)i * RECORD);
    CHECK(benchfs_close(fd) == 0);
    int found = 0;
    struct benchfs_dirent entry;
    const int dir = benchfs_opendir("/checkpoints");
    CHECK(dir >= 0);
    while (benchfs_readdir(dir, &entry) == 1)
        found += entry.kind == BENCHFS_KIND_FILE;
    CHECK(benchfs_closedir(dir) == 0);
    CHECK(found == ranks);
    MPI_Barrier(MPI_COMM_WORLD);
}

static void clean(int single)
{
    char path[64];
    if (single) {
        CHECK(rank != 0 || benchfs_unlink("/checkpoint") == 0);
        return;
    }
    snprintf(path, sizeof path, "/checkpoints/rank.%d", rank);
    CHECK(benchfs_unlink(path) == 0);
    MPI_Barrier(MPI_COMM_WORLD);
    CHECK(rank != 0 || benchfs_rmdir("/checkpoints") == 0);
}

int main(int argc, char **argv)
{
    CHECK(argc == 4);
    const int single = strcmp(argv[1], "n-1") == 0;
    records = atoi(argv[2]);
    steps = atoi(argv[3]);
    MPI_Init(NULL, NULL);
    learn_ranks();
    begin_session();
    for (int step = 1; step <= steps; step++) {
        if (single)
            into_one(step);
        else
            one_each(step);
    }
    clean(single);
    CHECK(benchfs_finalize() == 0);
    MPI_Finalize();
    if (rank == 0)
        printf("%d checkpoints %s of %d ranks: well\n", steps, argv[1], ranks);
    return 0;
}
