/*
 * threads THREADS ROUNDS: MPI_THREAD_MULTIPLE. Each thread writes a block, tells the thread of its number on the next rank, by a message that
 * holds another block, and verifies both what it was told of and what it was sent. One of the writes in three is a request in progress while the message
 * travels.
 */
#include "common.h"

#include <pthread.h>

enum {
    BYTES = 128 << 10,
    MAX_THREADS = 8
};

static int threads, rounds, fd;

static off_t place(int of_rank, int thread, int round)
{
    return (((off_t)round * ranks + of_rank) * threads + thread) * (off_t)BYTES;
}

static uint64_t number(int of_rank, int thread, int round)
{
    return (uint64_t)of_rank << 16 | (uint64_t)thread << 12 | (uint64_t)round;
}

static void write_one(uint64_t *data, int thread, int round, int *request)
{
    const off_t where = place(rank, thread, round);
    *request = BENCHFS_REQUEST_NULL;
    if (round % 3 != 0) {
        write_block(fd, data, BYTES, number(rank, thread, round), where);
        return;
    }
    fill(data, BYTES, number(rank, thread, round));
    *request = benchfs_iwrite(fd, data, BYTES, where);
    CHECK(*request >= 0);
}

static void *work(void *argument)
{
    const int thread = (int)(intptr_t)argument, next = (rank + 1) % ranks, previous = (rank + ranks - 1) % ranks;
    uint64_t *mine = malloc(BYTES), *out = malloc(BYTES), *in = malloc(BYTES);
    int request;

    CHECK(mine != NULL && out != NULL && in != NULL);
    for (int round = 0; round < rounds; round++) {
        write_one(mine, thread, round, &request);
        fill(out, BYTES, ~number(rank, thread, round));
        MPI_Sendrecv(out, BYTES, MPI_BYTE, next, 2 * thread, in, BYTES, MPI_BYTE, previous, 2 * thread, MPI_COMM_WORLD,
                     MPI_STATUS_IGNORE);
        verify(in, BYTES, ~number(previous, thread, round), "message");
        if (request != BENCHFS_REQUEST_NULL)
            CHECK(benchfs_wait(request) == BYTES);
        /* Now it is written. */
        int written = round, told = -1;
        MPI_Sendrecv(&written, 1, MPI_INT, next, 2 * thread + 1, &told, 1, MPI_INT, previous, 2 * thread + 1,
                     MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        CHECK(told == round);
        read_block(fd, in, BYTES, number(previous, thread, round), place(previous, thread, round));
    }
    free(mine);
    free(out);
    free(in);
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t list[MAX_THREADS];
    int provided;

    CHECK(argc == 3);
    threads = atoi(argv[1]);
    rounds = atoi(argv[2]);
    CHECK(threads <= MAX_THREADS);
    MPI_Init_thread(NULL, NULL, MPI_THREAD_MULTIPLE, &provided);
    learn_ranks();
    if (provided != MPI_THREAD_MULTIPLE)
        FAIL("this MPI gives thread level %d", provided);
    begin_session();
    fd = benchfs_open("/threads", O_CREAT | O_RDWR, 0644);
    CHECK(fd >= 0);
    for (int i = 0; i < threads; i++)
        CHECK(pthread_create(&list[i], NULL, work, (void *)(intptr_t)i) == 0);
    for (int i = 0; i < threads; i++)
        CHECK(pthread_join(list[i], NULL) == 0);
    MPI_Barrier(MPI_COMM_WORLD);
    struct stat st;
    CHECK(benchfs_fstat(fd, &st) == 0);
    CHECK(st.st_size == place(0, 0, rounds));
    CHECK(benchfs_close(fd) == 0);
    MPI_Barrier(MPI_COMM_WORLD);
    if (rank == 0) {
        CHECK(benchfs_unlink("/threads") == 0);
        printf("%d threads of %d ranks: well\n", threads, ranks);
    }
    CHECK(benchfs_finalize() == 0);
    MPI_Finalize();
    return 0;
}
