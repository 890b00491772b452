/*
 * inner.c: libbenchfs_inner.so, which the interposer loads into the library's namespace, in front of libbenchfs.so and what that is linked to.
 *
 * The program owns the low descriptors: scripts redirect 3 to 9, shells keep theirs at 10 and 255, and the kernel hands out the lowest that is
 * free. UCX opens sockets and the like whenever it meets another peer. So its calls that make descriptors come by here, and what they made
 * is moved up; which descriptors those are is told to the interposer, for programs that close all they find.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include "low.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <locale.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

/* Descriptors from here on are the library's. */
#define FLOOR 256
#define MOST 65536

/*
 * Makes a thread ready that another libc has started, the program's: this one keeps tables of character classes for each thread (ctype.h), which
 * it sets up in threads of its own only. Choosing a locale sets them up, too.
 */
EXPORT void benchfs_inner_thread(void)
{
    (void)uselocale(LC_GLOBAL_LOCALE);
}

/*
 * The environment that a namespace starts with is the program's own list, which the program changes and frees; who reads variables here, in
 * threads of its own, too, gets a copy.
 */
__attribute__((constructor)) static void own_environment(void)
{
    size_t count = 0;
    while (environ != NULL && environ[count] != NULL)
        count++;
    char **copy = calloc(count + 1, sizeof *copy);
    if (copy == NULL)
        return;
    for (size_t i = 0; i < count && (copy[i] = strdup(environ[i])) != NULL; i++)
        ;
    environ = copy;
}

/*
 * UCX is not to load its file system for diagnostics (libucs_fuse.so), unless the user chooses modules: that starts a thread and mounts something,
 * and with UCX 1.18 it ends the process when it is loaded into a namespace that is not the first. UCX asks while it is loaded, before anything
 * of ours has run, so that a variable would come too late.
 */
EXPORT char *getenv(const char *name)
{
    static char modules[] = "^fuse";
    size_t n = strlen(name);
    for (char **e = environ; e != NULL && *e != NULL; e++)
        if (strncmp(*e, name, n) == 0 && (*e)[n] == '=')
            return *e + n + 1;
    return strcmp(name, "UCX_MODULES") == 0 ? modules : NULL;
}

/* A bit a descriptor; the interposer looks at it. */
EXPORT _Atomic uint64_t benchfs_inner_descriptors[MOST / 64];

static void note(int fd, int open)
{
    if ((unsigned)fd >= MOST)
        return;
    if (open)
        atomic_fetch_or(&benchfs_inner_descriptors[fd / 64], 1ULL << (fd % 64));
    else
        atomic_fetch_and(&benchfs_inner_descriptors[fd / 64], ~(1ULL << (fd % 64)));
}

/* The interposer's lock, once it has told; while it loads us it keeps the low numbers taken. */
EXPORT bfs_low_lock *_Atomic benchfs_inner_low;

/* A call that makes descriptors, and what is done with them: nobody sees them low. */
#define WHILE_LOW(expression)                                 \
    __extension__({                                           \
        bfs_low_lock *low_ = atomic_load(&benchfs_inner_low); \
        int taken_ = low_ != NULL && bfs_low_take(low_);      \
        int result_ = (int)(expression), saved_ = errno;      \
        if (taken_)                                           \
            bfs_low_give(low_);                               \
        errno = saved_;                                       \
        result_;                                              \
    })

/* Moves a new descriptor up. Where there is no room it stays where it is. */
static int raise_descriptor(long made)
{
    int fd = (int)made;
    if (fd < 0)
        return -1;
    if (fd < FLOOR) {
        int saved = errno;
        long high = syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, FLOOR);
        if (high >= 0) {
            syscall(SYS_close, fd);
            fd = (int)high;
        }
        errno = saved;
    }
    note(fd, 1);
    return fd;
}

EXPORT int socket(int domain, int type, int protocol)
{
    return WHILE_LOW(raise_descriptor(syscall(SYS_socket, domain, type | SOCK_CLOEXEC, protocol)));
}

EXPORT int accept4(int fd, struct sockaddr *address, socklen_t *n, int flags)
{
    /* One that may wait for a caller cannot keep the program waiting. */
    long how = syscall(SYS_fcntl, fd, F_GETFL);
    if (how >= 0 && (how & O_NONBLOCK) != 0)
        return WHILE_LOW(raise_descriptor(syscall(SYS_accept4, fd, address, n, flags | SOCK_CLOEXEC)));
    return raise_descriptor(syscall(SYS_accept4, fd, address, n, flags | SOCK_CLOEXEC));
}

EXPORT int accept(int fd, struct sockaddr *address, socklen_t *n)
{
    return accept4(fd, address, n, 0);
}

static int raise_pair(long rc, int pair[2])
{
    for (int i = 0; rc == 0 && i < 2; i++)
        pair[i] = raise_descriptor(pair[i]);
    return (int)rc;
}

EXPORT int socketpair(int domain, int type, int protocol, int pair[2])
{
    return WHILE_LOW(raise_pair(syscall(SYS_socketpair, domain, type | SOCK_CLOEXEC, protocol, pair), pair));
}

EXPORT int pipe2(int pair[2], int flags)
{
    return WHILE_LOW(raise_pair(syscall(SYS_pipe2, pair, flags | O_CLOEXEC), pair));
}

EXPORT int pipe(int pair[2])
{
    return pipe2(pair, 0);
}

EXPORT int epoll_create1(int flags)
{
    return WHILE_LOW(raise_descriptor(syscall(SYS_epoll_create1, flags | O_CLOEXEC)));
}

EXPORT int epoll_create(int size)
{
    if (size <= 0) {
        errno = EINVAL;
        return -1;
    }
    return epoll_create1(0);
}

EXPORT int eventfd(unsigned count, int flags)
{
    return WHILE_LOW(raise_descriptor(syscall(SYS_eventfd2, count, flags | O_CLOEXEC)));
}

EXPORT int timerfd_create(clockid_t clock, int flags)
{
    return WHILE_LOW(raise_descriptor(syscall(SYS_timerfd_create, clock, flags | O_CLOEXEC)));
}

EXPORT int inotify_init1(int flags)
{
    return WHILE_LOW(raise_descriptor(syscall(SYS_inotify_init1, flags | O_CLOEXEC)));
}

EXPORT int memfd_create(const char *name, unsigned flags)
{
    return WHILE_LOW(raise_descriptor(syscall(SYS_memfd_create, name, flags | 1u /* MFD_CLOEXEC */)));
}

EXPORT int dup(int fd)
{
    return WHILE_LOW(raise_descriptor(syscall(SYS_dup, fd)));
}

static int open_at(int dirfd, const char *path, int flags, va_list arguments)
{
    mode_t mode = (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(arguments, mode_t) : 0;
    return WHILE_LOW(raise_descriptor(syscall(SYS_openat, dirfd, path, flags | O_CLOEXEC, mode)));
}

EXPORT int open(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    int fd = open_at(AT_FDCWD, path, flags, arguments);
    va_end(arguments);
    return fd;
}
extern int open64(const char *path, int flags, ...) EXPORT __attribute__((alias("open")));

EXPORT int openat(int dirfd, const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    int fd = open_at(dirfd, path, flags, arguments);
    va_end(arguments);
    return fd;
}
extern int openat64(int dirfd, const char *path, int flags, ...) EXPORT __attribute__((alias("openat")));

/* libc's calls open inside libc. */
EXPORT int shm_open(const char *name, int flags, mode_t mode)
{
    char path[NAME_MAX + sizeof "/dev/shm/"];
    while (*name == '/')
        name++;
    if (*name == '\0' || strchr(name, '/') != NULL ||
        snprintf(path, sizeof path, "/dev/shm/%s", name) >= (int)sizeof path) {
        errno = EINVAL;
        return -1;
    }
    return open(path, flags | O_NOFOLLOW | O_CLOEXEC, mode);
}

EXPORT int close(int fd)
{
    note(fd, 0);
    return (int)syscall(SYS_close, fd);
}
