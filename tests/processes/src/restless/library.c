/*
 * library.c: stands for libbenchfs.so where only the number of its calls counts. Once it is joined, a thread of it opens and closes descriptors
 * without end, as UCX's does when it meets peers.
 */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define CALL(name)                   \
    EXPORT long benchfs_##name(void) \
    {                                \
        return -ENOENT;              \
    }

static void *restless(void *unused)
{
    for (;;) {
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        if (fd >= 0 && (fd < 256 || close(fd) != 0))
            _exit(99); /* somebody has taken it away */
    }
    return unused;
}

EXPORT int benchfs_init_version(uint32_t version, const void *options)
{
    pthread_t thread;
    (void)version, (void)options;
    return -pthread_create(&thread, NULL, restless, NULL);
}

EXPORT const char *benchfs_last_error(void)
{
    return "none";
}

/* clang-format off */
CALL(finalize) CALL(session)
CALL(open) CALL(openat) CALL(open_inode) CALL(close) CALL(lseek) CALL(read) CALL(write) CALL(pread) CALL(pwrite)
CALL(readv) CALL(writev) CALL(preadv) CALL(pwritev) CALL(fsync) CALL(fdatasync) CALL(sync) CALL(lock)
CALL(fstat) CALL(fstatat) CALL(fstatfs) CALL(statfs) CALL(faccessat) CALL(fchmod) CALL(fchmodat) CALL(fchown)
CALL(fchownat) CALL(futimens) CALL(utimensat) CALL(truncate) CALL(ftruncate) CALL(fallocate)
CALL(mkdirat) CALL(unlinkat) CALL(renameat) CALL(linkat) CALL(symlinkat) CALL(readlinkat)
CALL(opendir) CALL(fdopendir) CALL(readdir) CALL(readdir_many) CALL(telldir) CALL(seekdir) CALL(rewinddir)
CALL(closedir)

    /* clang-format on */
