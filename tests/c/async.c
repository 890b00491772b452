/* async.c: requests, and registered memory. */
#include "harness.h"

#include <stdint.h>

enum {
    PIECE = 300 * 1000, /* longer than what is done at once */
    PIECES = 24
};

TEST(requests_in_flight)
{
    static unsigned char out[PIECES][PIECE], in[PIECES][PIECE];
    int requests[PIECES];
    ssize_t results[PIECES];
    int fd = open_file("/many");
    for (int i = 0; i < PIECES; i++) {
        fill(out[i], PIECE, (unsigned)i);
        requests[i] = GOOD(benchfs_iwrite(fd, out[i], PIECE, (off_t)i * PIECE));
    }
    OK(benchfs_waitall(PIECES, requests, results));
    for (int i = 0; i < PIECES; i++) {
        EQ(results[i], PIECE);
        EQ(requests[i], BENCHFS_REQUEST_NULL);
        requests[i] = GOOD(benchfs_iread(fd, in[i], PIECE, (off_t)i * PIECE));
    }
    for (int left = PIECES; left > 0;) {
        for (int i = 0; i < PIECES; i++) {
            ssize_t n = -1;
            if (requests[i] == BENCHFS_REQUEST_NULL || GOOD(benchfs_test(requests[i], &n)) == 0)
                continue;
            EQ(n, PIECE);
            CHECK(memcmp(in[i], out[i], PIECE) == 0);
            EQ(benchfs_wait(requests[i]), -EBADF);
            requests[i] = BENCHFS_REQUEST_NULL;
            left--;
        }
    }
    OK(benchfs_close(fd));
}

TEST(requests_small)
{
    unsigned char out[100], in[200];
    int fd = open_file("/small");
    fill(out, sizeof out, 1);
    EQ(benchfs_wait(GOOD(benchfs_iwrite(fd, out, sizeof out, 50))), sizeof out);
    int request = GOOD(benchfs_iread(fd, in, sizeof in, 0));
    ssize_t n = -1;
    while (GOOD(benchfs_test(request, &n)) == 0) {
    }
    EQ(n, 150); /* the end of the file */
    for (int i = 0; i < 50; i++)
        EQ(in[i], 0);
    CHECK(memcmp(in + 50, out, sizeof out) == 0);
    EQ(benchfs_wait(GOOD(benchfs_iread(fd, in, sizeof in, 150))), 0);
    EQ(benchfs_wait(GOOD(benchfs_iread(fd, NULL, 0, 0))), 0);
    OK(benchfs_close(fd));
}

/* With O_APPEND the bytes go to the end, as with benchfs_pwrite. */
TEST(requests_append)
{
    int fd = GOOD(benchfs_open("/log", O_CREAT | O_WRONLY | O_APPEND, 0600));
    int requests[8];
    for (int i = 0; i < 8; i++)
        requests[i] = GOOD(benchfs_iwrite(fd, "0123456789", 10, 0));
    OK(benchfs_waitall(8, requests, NULL));
    struct stat st;
    OK(benchfs_fstat(fd, &st));
    EQ(st.st_size, 80);
    OK(benchfs_close(fd));
}

TEST(requests_that_fail)
{
    static unsigned char buf[PIECE];
    int fd = GOOD(benchfs_open("/w", O_CREAT | O_WRONLY, 0600));
    int requests[4];
    ssize_t results[4];
    requests[0] = BENCHFS_REQUEST_NULL;
    requests[1] = GOOD(benchfs_iwrite(fd, buf, PIECE, 0));
    requests[2] = GOOD(benchfs_iread(fd, buf, PIECE, 0)); /* not open for reading */
    requests[3] = INT_MAX;                                /* no request */
    EQ(benchfs_waitall(4, requests, results), -EBADF);
    CONTAINS(benchfs_last_error(), "/w");
    EQ(results[0], 0);
    EQ(results[1], PIECE);
    EQ(results[2], -EBADF);
    EQ(results[3], -EBADF);
    for (int i = 0; i < 4; i++)
        EQ(requests[i], BENCHFS_REQUEST_NULL);
    ssize_t n;
    EQ(benchfs_iread(fd, buf, PIECE, -1), -EINVAL);
    EQ(benchfs_iread(fd, NULL, PIECE, 0), -EFAULT);
    EQ(benchfs_iread(INT_MAX, buf, PIECE, 0), -EBADF);
    EQ(benchfs_test(fd, &n), -EBADF); /* a file is no request */
    EQ(benchfs_cancel(fd), -EBADF);
    int request = GOOD(benchfs_iwrite(fd, buf, 1, 0));
    EQ(benchfs_test(request, NULL), -EFAULT);
    EQ(benchfs_read(request, buf, 1), -EBADF); /* and a request no file */
    EQ(benchfs_wait(request), 1);
    EQ(benchfs_waitall(-1, requests, NULL), -EINVAL);
    EQ(benchfs_waitall(1, NULL, NULL), -EFAULT);
    OK(benchfs_waitall(0, NULL, NULL));
    OK(benchfs_close(fd));
}

/* What is cancelled before it has begun changes nothing; what has begun is whole. Each must be waited for. */
TEST(requests_are_cancelled)
{
    static unsigned char old[PIECE], new[PIECE], in[PIECE];
    int requests[PIECES];
    ssize_t results[PIECES];
    int fd = open_file("/cancelled");
    fill(old, PIECE, 1);
    fill(new, PIECE, 2);
    for (int i = 0; i < PIECES; i++)
        EQ(benchfs_pwrite(fd, old, PIECE, (off_t)i * PIECE), PIECE);
    for (int i = 0; i < PIECES; i++)
        requests[i] = GOOD(benchfs_iwrite(fd, new, PIECE, (off_t)i * PIECE));
    for (int i = PIECES - 1; i >= 0; i--)
        OK(benchfs_cancel(requests[i]));
    benchfs_waitall(PIECES, requests, results);
    for (int i = 0; i < PIECES; i++) {
        EQ(benchfs_pread(fd, in, PIECE, (off_t)i * PIECE), PIECE);
        CHECK(results[i] == PIECE || results[i] == -ECANCELED);
        CHECK(memcmp(in, results[i] == PIECE ? new : old, PIECE) == 0);
    }
    OK(benchfs_close(fd));
}

/* A file that is closed under its requests lives until they have ended. */
TEST(requests_outlive_the_handle)
{
    static unsigned char out[PIECE], in[PIECE];
    fill(out, PIECE, 3);
    for (int round = 0; round < 20; round++) {
        int fd = open_file("/closed");
        int request = GOOD(benchfs_iwrite(fd, out, PIECE, 0));
        OK(benchfs_close(fd));
        EQ(benchfs_wait(request), PIECE);
        fd = open_file("/closed");
        EQ(benchfs_pread(fd, in, PIECE, 0), PIECE);
        CHECK(memcmp(in, out, PIECE) == 0);
        OK(benchfs_close(fd));
        OK(benchfs_unlink("/closed"));
    }
}

RAW_TEST(finalize_with_requests)
{
    static unsigned char buf[PIECES][PIECE];
    OK(benchfs_init(NULL));
    int fd = open_file("/left");
    for (int i = 0; i < PIECES; i++)
        GOOD(benchfs_iwrite(fd, buf[i], PIECE, (off_t)i * PIECE));
    EQ(benchfs_finalize(), PIECES + 1);
    memset(buf, 1, sizeof buf); /* nobody uses it any more */
    EQ(benchfs_wait(1), -ENOTCONN);
}

TEST(registered_memory)
{
    static unsigned char copy[3 << 20];
    unsigned char *buf = benchfs_mem_alloc(sizeof copy);
    CHECK(buf != NULL && (uintptr_t)buf % (2 << 20) == 0);
    for (size_t i = 0; i < sizeof copy; i++)
        EQ(buf[i], 0);
    fill(buf, sizeof copy, 9);
    memcpy(copy, buf, sizeof copy);
    int fd = open_file("/registered");
    EQ(benchfs_pwrite(fd, buf, sizeof copy, 0), sizeof copy);
    memset(buf, 0, sizeof copy);
    EQ(benchfs_pread(fd, buf, sizeof copy, 0), sizeof copy);
    CHECK(memcmp(buf, copy, sizeof copy) == 0);
    OK(benchfs_close(fd));
    OK(benchfs_mem_free(buf));
    EQ(benchfs_mem_free(buf), -EINVAL);
    EQ(benchfs_mem_free(copy), -EINVAL);
    OK(benchfs_mem_free(NULL));
    CHECK(benchfs_mem_alloc(0) == NULL && benchfs_mem_alloc(SIZE_MAX) == NULL);
    unsigned char *small = benchfs_mem_alloc(1);
    CHECK(small != NULL && (uintptr_t)small % 4096 == 0);
    OK(benchfs_mem_free(small));
}

/* The memory is the program's beyond the session. */
RAW_TEST(registered_memory_outlives_the_session)
{
    CHECK(benchfs_mem_alloc(4096) == NULL);
    OK(benchfs_init(NULL));
    char *buf = benchfs_mem_alloc(4096);
    CHECK(buf != NULL);
    OK(benchfs_finalize());
    memset(buf, 1, 4096);
    OK(benchfs_mem_free(buf));
}
