/*
 * syscall.c: syscall(2), by which programs reach what their libc has no function for, or had none when they were written.
 *
 * What we have a function for is served by that. Whatever else takes a path or a descriptor of ours is refused, told to the log, and counted as
 * unhandled in the report: no such call may reach a real file of that name, and who asks for support must see it.
 * Numbers that concern neither go to the kernel at once.
 */
#include "preload.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/fanotify.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <utime.h>

/* Newer than the headers of some systems; the numbers are the same on all machines. */
#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif
#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif

_Atomic uint64_t bp_unhandled[BP_SYSCALLS];

/* Arguments as a type: `A(0, int)`; P for pointers. */
#define A(i, type) ((type)a[i])
#define P(i) ((void *)a[i])
#define SERVE(number, call)     \
    case SYS_##number:          \
        *result = (long)(call); \
        return 1

/* ==== Served: each returns 1 if the number is one of its own ==== */

static int serve_data(long number, const long a[6], long *result)
{
    switch (number) {
        SERVE(read, read(A(0, int), P(1), A(2, size_t)));
        SERVE(write, write(A(0, int), P(1), A(2, size_t)));
        SERVE(pread64, pread(A(0, int), P(1), A(2, size_t), a[3]));
        SERVE(pwrite64, pwrite(A(0, int), P(1), A(2, size_t), a[3]));
        SERVE(readv, readv(A(0, int), P(1), A(2, int)));
        SERVE(writev, writev(A(0, int), P(1), A(2, int)));
        SERVE(preadv, preadv(A(0, int), P(1), A(2, int), a[3]));
        SERVE(pwritev, pwritev(A(0, int), P(1), A(2, int), a[3]));
        SERVE(preadv2, preadv2(A(0, int), P(1), A(2, int), a[3], A(5, int)));
        SERVE(pwritev2, pwritev2(A(0, int), P(1), A(2, int), a[3], A(5, int)));
        SERVE(lseek, lseek(A(0, int), a[1], A(2, int)));
        SERVE(sendfile, sendfile(A(0, int), A(1, int), P(2), A(3, size_t)));
        SERVE(copy_file_range, copy_file_range(A(0, int), P(1), A(2, int), P(3), A(4, size_t), A(5, unsigned)));
        SERVE(splice, splice(A(0, int), P(1), A(2, int), P(3), A(4, size_t), A(5, unsigned)));
        SERVE(tee, tee(A(0, int), A(1, int), A(2, size_t), A(3, unsigned)));
        SERVE(fsync, fsync(A(0, int)));
        SERVE(fdatasync, fdatasync(A(0, int)));
        SERVE(syncfs, syncfs(A(0, int)));
        SERVE(sync, (sync(), 0));
        SERVE(sync_file_range, sync_file_range(A(0, int), a[1], a[2], A(3, unsigned)));
        SERVE(truncate, truncate(P(0), a[1]));
        SERVE(ftruncate, ftruncate(A(0, int), a[1]));
        SERVE(fallocate, fallocate(A(0, int), A(1, int), a[2], a[3]));
        SERVE(readahead, readahead(A(0, int), a[1], A(2, size_t)));
        SERVE(mmap, bp_mmap(1, P(0), A(1, size_t), A(2, int), A(3, int), A(4, int), a[5]));
        SERVE(munmap, bp_munmap(1, P(0), A(1, size_t)));
        SERVE(mremap, bp_mremap(1, P(0), A(1, size_t), A(2, size_t), A(3, int), P(4)));
        SERVE(msync, msync(P(0), A(1, size_t), A(2, int)));
        SERVE(getdents64, getdents64(A(0, int), P(1), A(2, size_t)));
    case SYS_fadvise64: /* libc's function returns the error */
        errno = posix_fadvise(A(0, int), a[1], a[2], A(3, int));
        *result = errno != 0 ? -1 : 0;
        return 1;
    }
    return 0;
}

static int serve_descriptors(long number, const long a[6], long *result)
{
    switch (number) {
        SERVE(openat, openat(A(0, int), P(1), A(2, int), A(3, mode_t)));
        SERVE(close, close(A(0, int)));
        SERVE(close_range, close_range(A(0, unsigned), A(1, unsigned), A(2, int)));
        SERVE(dup, dup(A(0, int)));
        SERVE(dup3, dup3(A(0, int), A(1, int), A(2, int)));
        SERVE(fcntl, fcntl(A(0, int), A(1, int), P(2)));
        SERVE(ioctl, ioctl(A(0, int), A(1, unsigned long), P(2)));
        SERVE(flock, flock(A(0, int), A(1, int)));
        SERVE(fstat, fstat(A(0, int), P(1)));
        SERVE(fstatfs, fstatfs(A(0, int), P(1)));
        SERVE(fchmod, fchmod(A(0, int), A(1, mode_t)));
        SERVE(fchown, fchown(A(0, int), A(1, uid_t), A(2, gid_t)));
        SERVE(fchdir, fchdir(A(0, int)));
        SERVE(epoll_ctl, epoll_ctl(A(0, int), A(1, int), A(2, int), P(3)));
        SERVE(sendmsg, sendmsg(A(0, int), P(1), A(2, int)));
        SERVE(recvmsg, recvmsg(A(0, int), P(1), A(2, int)));
        SERVE(sendmmsg, sendmmsg(A(0, int), P(1), A(2, unsigned), A(3, int)));
        SERVE(recvmmsg, recvmmsg(A(0, int), P(1), A(2, unsigned), A(3, int), P(4)));
        SERVE(bind, bind(A(0, int), P(1), A(2, socklen_t)));
        SERVE(connect, connect(A(0, int), P(1), A(2, socklen_t)));
        SERVE(fgetxattr, fgetxattr(A(0, int), P(1), P(2), A(3, size_t)));
        SERVE(fsetxattr, fsetxattr(A(0, int), P(1), P(2), A(3, size_t), A(4, int)));
        SERVE(flistxattr, flistxattr(A(0, int), P(1), A(2, size_t)));
        SERVE(fremovexattr, fremovexattr(A(0, int), P(1)));
#ifdef SYS_open
        SERVE(open, open(P(0), A(1, int), A(2, mode_t)));
        SERVE(creat, creat(P(0), A(1, mode_t)));
        SERVE(dup2, dup2(A(0, int), A(1, int)));
        SERVE(poll, poll(P(0), A(1, nfds_t), A(2, int)));
        SERVE(select, select(A(0, int), P(1), P(2), P(3), P(4)));
#endif
    case SYS_ppoll:
        if (P(3) != NULL && A(4, size_t) != _NSIG / 8) {
            errno = EINVAL;
            *result = -1;
            return 1;
        }
        *result = ppoll(P(0), A(1, nfds_t), P(2), P(3));
        return 1;
    case SYS_pselect6: { /* the mask comes with its size */
        const struct {
            const sigset_t *set;
            size_t size;
        } *mask = P(5);
        *result = pselect(A(0, int), P(1), P(2), P(3), P(4), mask != NULL ? mask->set : NULL);
        return 1;
    }
    }
    return 0;
}

static int serve_names(long number, const long a[6], long *result)
{
    switch (number) {
        SERVE(mkdirat, mkdirat(A(0, int), P(1), A(2, mode_t)));
        SERVE(mknodat, mknodat(A(0, int), P(1), A(2, mode_t), A(3, dev_t)));
        SERVE(unlinkat, unlinkat(A(0, int), P(1), A(2, int)));
        SERVE(renameat2, renameat2(A(0, int), P(1), A(2, int), P(3), A(4, unsigned)));
        SERVE(linkat, linkat(A(0, int), P(1), A(2, int), P(3), A(4, int)));
        SERVE(symlinkat, symlinkat(P(0), A(1, int), P(2)));
        SERVE(readlinkat, readlinkat(A(0, int), P(1), P(2), A(3, size_t)));
        SERVE(newfstatat, fstatat(A(0, int), P(1), P(2), A(3, int)));
        SERVE(statx, statx(A(0, int), P(1), A(2, int), A(3, unsigned), P(4)));
        SERVE(statfs, statfs(P(0), P(1)));
        SERVE(faccessat, faccessat(A(0, int), P(1), A(2, int), 0));
        SERVE(faccessat2, faccessat(A(0, int), P(1), A(2, int), A(3, int)));
        SERVE(fchmodat, fchmodat(A(0, int), P(1), A(2, mode_t), 0));
        SERVE(fchmodat2, fchmodat(A(0, int), P(1), A(2, mode_t), A(3, int)));
        SERVE(fchownat, fchownat(A(0, int), P(1), A(2, uid_t), A(3, gid_t), A(4, int)));
        SERVE(utimensat, utimensat(A(0, int), P(1), P(2), A(3, int)));
        SERVE(chdir, chdir(P(0)));
        SERVE(chroot, chroot(P(0)));
        SERVE(umask, umask(A(0, mode_t)));
        SERVE(getxattr, getxattr(P(0), P(1), P(2), A(3, size_t)));
        SERVE(lgetxattr, lgetxattr(P(0), P(1), P(2), A(3, size_t)));
        SERVE(setxattr, setxattr(P(0), P(1), P(2), A(3, size_t), A(4, int)));
        SERVE(lsetxattr, lsetxattr(P(0), P(1), P(2), A(3, size_t), A(4, int)));
        SERVE(listxattr, listxattr(P(0), P(1), A(2, size_t)));
        SERVE(llistxattr, llistxattr(P(0), P(1), A(2, size_t)));
        SERVE(removexattr, removexattr(P(0), P(1)));
        SERVE(lremovexattr, lremovexattr(P(0), P(1)));
        SERVE(inotify_add_watch, inotify_add_watch(A(0, int), P(1), A(2, uint32_t)));
        SERVE(fanotify_mark, fanotify_mark(A(0, int), A(1, unsigned), A(2, uint64_t), A(3, int), P(4)));
        SERVE(name_to_handle_at, name_to_handle_at(A(0, int), P(1), P(2), P(3), A(4, int)));
#ifdef SYS_renameat
        SERVE(renameat, renameat(A(0, int), P(1), A(2, int), P(3)));
#endif
#ifdef SYS_open
        SERVE(stat, stat(P(0), P(1)));
        SERVE(lstat, lstat(P(0), P(1)));
        SERVE(access, access(P(0), A(1, int)));
        SERVE(rename, rename(P(0), P(1)));
        SERVE(mkdir, mkdir(P(0), A(1, mode_t)));
        SERVE(rmdir, rmdir(P(0)));
        SERVE(link, link(P(0), P(1)));
        SERVE(unlink, unlink(P(0)));
        SERVE(symlink, symlink(P(0), P(1)));
        SERVE(readlink, readlink(P(0), P(1), A(2, size_t)));
        SERVE(chmod, chmod(P(0), A(1, mode_t)));
        SERVE(chown, chown(P(0), A(1, uid_t), A(2, gid_t)));
        SERVE(lchown, lchown(P(0), A(1, uid_t), A(2, gid_t)));
        SERVE(mknod, mknod(P(0), A(1, mode_t), A(2, dev_t)));
        SERVE(utime, utime(P(0), P(1)));
        SERVE(utimes, utimes(P(0), P(1)));
        SERVE(futimesat, futimesat(A(0, int), P(1), P(2)));
#endif
    case SYS_getcwd: /* the kernel returns the length */
        *result = getcwd(P(0), A(1, size_t)) != NULL ? (long)strlen(P(0)) + 1 : -1;
        return 1;
    }
    return 0;
}

static int serve_processes(long number, const long a[6], long *result)
{
    switch (number) {
        SERVE(execve, execve(P(0), P(1), P(2)));
        SERVE(execveat, execveat(A(0, int), P(1), P(2), P(3), A(4, int)));
        SERVE(exit_group, (_exit(A(0, int)), 0));
#ifdef SYS_fork
        SERVE(fork, fork());
        SERVE(vfork, fork());
#endif
    case SYS_clone: /* what fork() is; any other kind shares memory or has a place of its own */
        if (a[0] != SIGCHLD || a[1] != 0)
            return 0;
        *result = fork();
        return 1;
    }
    return 0;
}

/* ==== Refused ==== */

/* Where calls that are not served take descriptors and paths: bits of arguments. A path may be relative to the descriptor before it. */
struct shape {
    short number;
    unsigned char descriptors, paths;
};

#define ARG(i) (1u << (i))

static const struct shape shapes[] = {
    {SYS_accept4, ARG(0), 0},
    {SYS_acct, 0, ARG(0)},
    {SYS_cachestat, ARG(0), 0},
    {SYS_epoll_pwait, ARG(0), 0},
    {SYS_finit_module, ARG(0), 0},
    {SYS_fsconfig, ARG(0), 0},
    {SYS_fsmount, ARG(0), 0},
    {SYS_fspick, ARG(0), ARG(1)},
    {SYS_getpeername, ARG(0), 0},
    {SYS_getsockname, ARG(0), 0},
    {SYS_getsockopt, ARG(0), 0},
    {SYS_io_uring_enter, ARG(0), 0},
    {SYS_listen, ARG(0), 0},
    {SYS_mount, 0, ARG(0) | ARG(1)},
    {SYS_move_mount, ARG(0) | ARG(2), ARG(1) | ARG(3)},
    {SYS_open_by_handle_at, ARG(0), 0},
    {SYS_open_tree, ARG(0), ARG(1)},
    {SYS_perf_event_open, ARG(3), 0},
    {SYS_pivot_root, 0, ARG(0) | ARG(1)},
    {SYS_quotactl, 0, ARG(1)},
    {SYS_recvfrom, ARG(0), 0},
    {SYS_sendto, ARG(0), 0},
    {SYS_setns, ARG(0), 0},
    {SYS_setsockopt, ARG(0), 0},
    {SYS_shutdown, ARG(0), 0},
    {SYS_signalfd4, ARG(0), 0},
    {SYS_swapoff, 0, ARG(0)},
    {SYS_swapon, 0, ARG(0)},
    {SYS_umount2, 0, ARG(0)},
    {SYS_vmsplice, ARG(0), 0},
#ifdef SYS_open
    {SYS_epoll_wait, ARG(0), 0},
    {SYS_getdents, ARG(0), 0},
    {SYS_uselib, 0, ARG(0)},
#endif
};

static long refuse(long number, int error, const char *why)
{
    if (number >= 0 && number < BP_SYSCALLS)
        atomic_fetch_add_explicit(&bp_unhandled[number], 1, memory_order_relaxed);
    bp_log("syscall %ld refused: %s (%s)", number, why, strerrorname_np(error));
    errno = error;
    return -1;
}

static int path_is_inside(int dirfd, const char *path)
{
    struct bp_where w;
    return path != NULL && bp_locate(dirfd, path, &w) != BP_OUTSIDE;
}

/* Why a call that is not served concerns us, and the errno: what an unknown call meets on a descriptor of ours anyway, or that it is not known. */
static const char *objection(long number, const long a[6], int *error)
{
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        const struct shape *s = &shapes[i];
        if (s->number != number)
            continue;
        for (int k = 0; k < 6; k++) {
            if ((s->descriptors & ARG(k)) != 0 && bp_file((int)a[k]) != NULL)
                return *error = EBADF, "a call on a descriptor of BenchFS that is not served by number";
            int dirfd = k > 0 && (s->descriptors & ARG(k - 1)) != 0 ? (int)a[k - 1] : AT_FDCWD;
            if ((s->paths & ARG(k)) != 0 && path_is_inside(dirfd, (const char *)a[k]))
                return *error = ENOSYS, "a call on a path of BenchFS that is not served by number";
        }
        return NULL;
    }
    return NULL;
}

/* openat2: struct open_how is three words. What its "resolve" forbids is for the kernel to watch over; without it, it is openat. */
static int serve_openat2(const long a[6], long *result)
{
    const uint64_t *how = P(2);
    struct bp_where w;
    if (P(1) == NULL || how == NULL || A(3, size_t) < 3 * sizeof *how || bp_locate(A(0, int), P(1), &w) == BP_OUTSIDE)
        return 0;
    if (how[2] != 0)
        *result = refuse(SYS_openat2, ENOSYS, "openat2 with rules about how names are resolved");
    else
        *result = openat(A(0, int), P(1), (int)how[0], (mode_t)how[1]);
    return 1;
}

/* Asynchronous I/O by the kernel itself, as libaio asks for: struct iocb has the descriptor in its sixth word of 32 bits. */
static int submits_ours(const long a[6])
{
    uint32_t *const *list = P(2);
    for (long i = 0; list != NULL && i < a[1]; i++)
        if (list[i] != NULL && bp_file((int)list[i][5]) != NULL)
            return 1;
    return 0;
}

/* Descriptors that a ring is to keep: what it does with them never comes by here. */
static int registers_ours(const long a[6])
{
    const int *list = P(2);
    const unsigned register_files = 2;
    for (long i = 0; A(1, unsigned) == register_files && list != NULL && i < a[3]; i++)
        if (list[i] >= 0 && bp_file(list[i]) != NULL)
            return 1;
    return 0;
}

static long dispatch(long number, const long a[6])
{
    long result;
    if (serve_data(number, a, &result) || serve_descriptors(number, a, &result) || serve_names(number, a, &result) ||
        serve_processes(number, a, &result))
        return result;
    if (number == SYS_openat2 && serve_openat2(a, &result))
        return result;
    if ((number == SYS_io_submit && submits_ours(a)) || (number == SYS_io_uring_register && registers_ours(a)))
        return refuse(number, ENOSYS, "asynchronous I/O of the kernel");
    int error = 0;
    const char *why = objection(number, a, &error);
    if (why != NULL)
        return refuse(number, error, why);
    return REAL(syscall)(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

EXPORT long syscall(long number, ...)
{
    va_list arguments;
    long a[6];
    va_start(arguments, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(arguments, long);
    va_end(arguments);
    /* Those of synchronisation are not seldom. */
    if (number == SYS_futex || number == SYS_gettid || bp_settings.prefix_len == 0)
        return REAL(syscall)(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    return dispatch(number, a);
}
