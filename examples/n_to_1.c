/*
 * n_to_1 [BLOCKS]: each MPI rank writes its blocks into one file, in turn with the others, and then reads those of the next rank. What a write
 * has returned for is seen by every rank: the barrier is all that it takes. Ranks find the daemons through their environment.
 */
#include <benchfs.h>
#include <mpi.h>

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    WORDS = 47008 / 8 /* a block, of the size that makes file systems with locks slow */
};

static ssize_t check(ssize_t result, const char *what)
{
    if (result < 0) {
        fprintf(stderr, "%s: %s\n", what, benchfs_last_error());
        MPI_Abort(MPI_COMM_WORLD, 1);
    }
    return result;
}

/* The word that stands at an index of a rank's block. */
static uint64_t word(int rank, long block, int i)
{
    return ((uint64_t)rank << 48 | (uint64_t)block << 24 | (uint64_t)i) * 0x9e3779b97f4a7c15u;
}

int main(int argc, char **argv)
{
    static uint64_t data[WORDS];
    int rank, ranks;
    long blocks = argc > 1 ? atol(argv[1]) : 64, wrong = 0, all_wrong = 0;

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    check(benchfs_init(NULL), "init");
    if (ranks > 1 && check(benchfs_is_distributed(), "is_distributed") == 0) {
        fprintf(stderr, "each rank has a file system of its own: start daemons, e.g. benchfs run -n 2 -- mpirun …\n");
        MPI_Abort(MPI_COMM_WORLD, 1);
    }

    int fd = (int)check(benchfs_open("/n_to_1", O_CREAT | O_RDWR, 0644), "open"); /* no rank has to be the first */
    double begin = MPI_Wtime();
    for (long b = 0; b < blocks; b++) {
        for (int i = 0; i < WORDS; i++) {
            data[i] = word(rank, b, i);
        }
        if (check(benchfs_pwrite(fd, data, sizeof data, (off_t)(b * ranks + rank) * (off_t)sizeof data), "pwrite") !=
            (ssize_t)sizeof data) {
            fprintf(stderr, "short write\n");
            MPI_Abort(MPI_COMM_WORLD, 1);
        }
    }
    MPI_Barrier(MPI_COMM_WORLD);
    double written = MPI_Wtime();

    const int next = (rank + 1) % ranks;
    for (long b = 0; b < blocks; b++) {
        ssize_t n =
            check(benchfs_pread(fd, data, sizeof data, (off_t)(b * ranks + next) * (off_t)sizeof data), "pread");
        for (int i = 0; i < WORDS; i++) {
            wrong += n != (ssize_t)sizeof data || data[i] != word(next, b, i);
        }
    }
    MPI_Reduce(&wrong, &all_wrong, 1, MPI_LONG, MPI_SUM, 0, MPI_COMM_WORLD);
    check(benchfs_close(fd), "close");
    if (rank == 0) {
        double mib = (double)blocks * ranks * (double)sizeof data / (1 << 20);
        printf("%d ranks wrote and read %.1f MiB, %ld words wrong\n", ranks, mib, all_wrong);
        fprintf(stderr, "write %.0f MiB/s, read and compare %.0f MiB/s\n", mib / (written - begin),
                mib / (MPI_Wtime() - written));
        check(benchfs_unlink("/n_to_1"), "unlink");
    }
    MPI_Barrier(MPI_COMM_WORLD);
    check(benchfs_finalize(), "finalize");
    MPI_Finalize();
    return rank == 0 && all_wrong != 0;
}
