/* copy.c: calls that move data from one descriptor to another inside the kernel. With a file of ours at either end they go through memory. */
#include "preload.h"

#include <sys/sendfile.h>

#define STEP ((size_t)256 << 10)
/* As the kernel: one call moves at most so much. */
#define MOST ((size_t)0x7ffff000)

/* Reads at *offset or at the description's offset. */
static ssize_t take(int fd, void *buf, size_t n, const off_t *offset)
{
    return offset != NULL ? pread(fd, buf, n, *offset) : read(fd, buf, n);
}

static ssize_t give(int fd, const void *buf, size_t n, const off_t *offset)
{
    return offset != NULL ? pwrite(fd, buf, n, *offset) : write(fd, buf, n);
}

/* Moves up to n bytes; what was read and could not be written is read again by the next call. once: do not wait for more than there is. */
static ssize_t move(int from, off_t *from_at, int to, off_t *to_at, size_t n, int once)
{
    char *buf = malloc(n < STEP ? (n > 0 ? n : 1) : STEP);
    size_t done = 0;
    int error = 0;
    if (buf == NULL) {
        errno = ENOMEM;
        return -1;
    }
    n = n < MOST ? n : MOST;
    while (done < n && error == 0) {
        ssize_t got = take(from, buf, n - done < STEP ? n - done : STEP, from_at), put = 0;
        if (got <= 0) {
            error = got < 0 ? errno : 0;
            break;
        }
        while (put < got) {
            ssize_t step = give(to, buf + put, (size_t)(got - put), to_at);
            if (step <= 0) {
                error = errno;
                break;
            }
            put += step;
            if (to_at != NULL)
                *to_at += step;
        }
        done += (size_t)put;
        if (from_at != NULL)
            *from_at += put;
        else if (put < got)
            (void)lseek(from, put - got, SEEK_CUR);
        if (once)
            break;
    }
    free(buf);
    if (done == 0 && error != 0) {
        errno = error;
        return -1;
    }
    return (ssize_t)done;
}

EXPORT ssize_t sendfile(int out, int in, off_t *offset, size_t n)
{
    if (LIKELY(bp_file(in) == NULL && bp_file(out) == NULL))
        return REAL(sendfile)(out, in, offset, n);
    bp_count(F_sendfile);
    return move(in, offset, out, NULL, n, 0);
}
ALIAS(sendfile, sendfile64);

EXPORT ssize_t copy_file_range(int in, off_t *in_at, int out, off_t *out_at, size_t n, unsigned flags)
{
    if (LIKELY(bp_file(in) == NULL && bp_file(out) == NULL))
        return REAL(copy_file_range)(in, in_at, out, out_at, n, flags);
    bp_count(F_copy_file_range);
    if (flags != 0) {
        errno = EINVAL;
        return -1;
    }
    return move(in, in_at, out, out_at, n, 0);
}

EXPORT ssize_t splice(int in, off_t *in_at, int out, off_t *out_at, size_t n, unsigned flags)
{
    if (LIKELY(bp_file(in) == NULL && bp_file(out) == NULL))
        return REAL(splice)(in, in_at, out, out_at, n, flags);
    bp_count(F_splice);
    return move(in, in_at, out, out_at, n, 1);
}

EXPORT ssize_t tee(int in, int out, size_t n, unsigned flags)
{
    if (LIKELY(bp_file(in) == NULL && bp_file(out) == NULL))
        return REAL(tee)(in, out, n, flags);
    errno = EINVAL;
    return -1;
}
