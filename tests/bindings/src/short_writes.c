/*
 * short_writes.c: for LD_PRELOAD. benchfs_write and benchfs_pwrite take at most 10000 bytes a call, as they do when the rest fails: what promises
 * to write all must go on.
 */
#define _GNU_SOURCE
#include <benchfs.h>
#include <dlfcn.h>

enum {
    MOST = 10000
};

static size_t less(size_t count)
{
    return count < MOST ? count : MOST;
}

ssize_t benchfs_write(int fd, const void *buf, size_t count)
{
    ssize_t (*real)(int, const void *, size_t) =
        (ssize_t(*)(int, const void *, size_t))dlsym(RTLD_NEXT, "benchfs_write");
    return real(fd, buf, less(count));
}

ssize_t benchfs_pwrite(int fd, const void *buf, size_t count, off_t offset)
{
    ssize_t (*real)(int, const void *, size_t, off_t) =
        (ssize_t(*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, "benchfs_pwrite");
    return real(fd, buf, less(count), offset);
}
