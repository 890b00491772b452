/* common.h: what the programs of tests/mpi share. Each prints one line on rank 0 when all is well, and aborts all ranks when something is not. */
#ifndef MPI_COMMON_H
#define MPI_COMMON_H

#include <benchfs.h>
#include <mpi.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int rank, ranks;

/* Not MPI_Abort: it is also for the time before MPI_Init and after MPI_Finalize. mpirun ends the others. */
#define FAIL(...)                                              \
    do {                                                       \
        fprintf(stderr, "rank %d, line %d: ", rank, __LINE__); \
        fprintf(stderr, __VA_ARGS__);                          \
        fprintf(stderr, " (%s)\n", benchfs_last_error());      \
        fflush(stderr);                                        \
        _Exit(1);                                              \
    } while (0)

#define CHECK(condition)            \
    do {                            \
        if (!(condition))           \
            FAIL("%s", #condition); \
    } while (0)

/* The word at an index of a block that has a number. */
static inline uint64_t word(uint64_t block, size_t i)
{
    uint64_t x = (block << 32) + i + 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static inline void fill(uint64_t *data, size_t bytes, uint64_t block)
{
    for (size_t i = 0; i < bytes / 8; i++)
        data[i] = word(block, i);
}

static inline void verify(const uint64_t *data, size_t bytes, uint64_t block, const char *what)
{
    for (size_t i = 0; i < bytes / 8; i++) {
        if (data[i] != word(block, i))
            FAIL("%s: word %zu of block %llx is wrong", what, i, (unsigned long long)block);
    }
}

static inline void learn_ranks(void)
{
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
}

/* A session on daemons. */
static inline void begin_session(void)
{
    if (benchfs_init(NULL) != 0)
        FAIL("benchfs_init");
    CHECK(benchfs_is_distributed() == 1);
}

static inline void write_block(int fd, uint64_t *data, size_t bytes, uint64_t block, off_t offset)
{
    fill(data, bytes, block);
    CHECK(benchfs_pwrite(fd, data, bytes, offset) == (ssize_t)bytes);
}

static inline void read_block(int fd, uint64_t *data, size_t bytes, uint64_t block, off_t offset)
{
    memset(data, 0, bytes);
    CHECK(benchfs_pread(fd, data, bytes, offset) == (ssize_t)bytes);
    verify(data, bytes, block, "file");
}

#endif
