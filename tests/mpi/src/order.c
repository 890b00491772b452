/*
 * order BEGIN END: BenchFS begins before or after MPI_Init, and ends before or after MPI_Finalize. Where it outlives MPI it is used there, too;
 * messages that are large enough for rendezvous go on beside its transfers.
 */
#include "common.h"

enum {
    BYTES = 3 << 20
};

static uint64_t data[BYTES / 8], message[BYTES / 8];

static int open_file(const char *kind, int number, int flags)
{
    char path[64];
    snprintf(path, sizeof path, "/%s.%d", kind, number);
    const int fd = benchfs_open(path, flags, 0644);
    CHECK(fd >= 0);
    return fd;
}

static void write_file(const char *kind, int number, uint64_t block)
{
    const int fd = open_file(kind, number, O_CREAT | O_RDWR);
    write_block(fd, data, sizeof data, block, 0);
    read_block(fd, data, sizeof data, block, 0);
    CHECK(benchfs_close(fd) == 0);
}

static void exchange(int with_early)
{
    const int next = (rank + 1) % ranks, previous = (rank + ranks - 1) % ranks;
    MPI_Request requests[2];
    uint64_t *out = malloc(BYTES);

    CHECK(out != NULL);
    write_file("during", rank, 0x200u + (unsigned)rank);
    fill(out, BYTES, 0x300u + (unsigned)rank);
    MPI_Irecv(message, BYTES, MPI_BYTE, previous, 1, MPI_COMM_WORLD, &requests[0]);
    MPI_Isend(out, BYTES, MPI_BYTE, next, 1, MPI_COMM_WORLD, &requests[1]);
    MPI_Barrier(MPI_COMM_WORLD);
    int fd = open_file("during", next, O_RDONLY);
    read_block(fd, data, sizeof data, 0x200u + (unsigned)next, 0);
    CHECK(benchfs_close(fd) == 0);
    MPI_Wait(&requests[0], MPI_STATUS_IGNORE);
    MPI_Wait(&requests[1], MPI_STATUS_IGNORE);
    verify(message, BYTES, 0x300u + (unsigned)previous, "message");
    free(out);
    if (with_early) {
        int pid = 0, mine = (int)getpid();
        MPI_Sendrecv(&mine, 1, MPI_INT, previous, 2, &pid, 1, MPI_INT, next, 2, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        fd = open_file("early", pid, O_RDONLY);
        read_block(fd, data, sizeof data, (unsigned)pid, 0);
        CHECK(benchfs_close(fd) == 0);
    }
    MPI_Barrier(MPI_COMM_WORLD);
}

int main(int argc, char **argv)
{
    CHECK(argc == 3);
    const int begins_first = strcmp(argv[1], "before") == 0, ends_last = strcmp(argv[2], "after") == 0;
    char library[MPI_MAX_LIBRARY_VERSION_STRING];
    int n;

    if (begins_first) {
        begin_session();
        write_file("early", (int)getpid(), (unsigned)getpid());
    }
    MPI_Init(NULL, NULL);
    learn_ranks();
    MPI_Get_library_version(library, &n);
    if (!begins_first)
        begin_session();
    exchange(begins_first);
    if (ends_last) {
        MPI_Finalize();
        write_file("late", (int)getpid(), (unsigned)getpid());
        CHECK(benchfs_finalize() == 0);
    } else {
        CHECK(benchfs_finalize() == 0);
        MPI_Barrier(MPI_COMM_WORLD); /* MPI goes on */
        MPI_Finalize();
    }
    if (rank == 0)
        printf("%s begins %s and ends %s: well\n", library, argv[1], argv[2]);
    return 0;
}
