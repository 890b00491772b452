/* attr.c: attributes. */
#include "preload.h"

#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/xattr.h>
#include <utime.h>

/* ==== stat ==== */

static int stat_at(int dirfd, const char *path, struct stat *st, int flags)
{
    /* What the path stands for when it is empty: the descriptor itself. */
    struct bp_file *f = path != NULL && path[0] == '\0' && (flags & AT_EMPTY_PATH) != 0 ? bp_file(dirfd) : NULL;
    if (f == NULL && (flags & AT_SYMLINK_NOFOLLOW) == 0)
        f = bp_named_file(path);
    if (f != NULL) {
        bp_count(F_fstat);
        int h = bp_handle(f);
        return (int)bp_result(h < 0 ? h : bp_library_calls.fstat(h, st));
    }
    const int known = AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH;
    BP_PATH_CALL(stat, dirfd, path, (flags & AT_SYMLINK_NOFOLLOW) == 0, REAL(fstatat)(w.fd, w.path, st, flags),
                 lib->fstatat(w.dir, w.path, st, flags & known));
}

EXPORT int stat(const char *path, struct stat *st)
{
    return stat_at(AT_FDCWD, path, st, 0);
}

EXPORT int lstat(const char *path, struct stat *st)
{
    return stat_at(AT_FDCWD, path, st, AT_SYMLINK_NOFOLLOW);
}

EXPORT int fstatat(int dirfd, const char *path, struct stat *st, int flags)
{
    return stat_at(dirfd, path, st, flags);
}

EXPORT int fstat(int fd, struct stat *st)
{
    struct bp_file *f = bp_file(fd);
    if (LIKELY(f == NULL))
        return REAL(fstat)(fd, st);
    bp_count(F_fstat);
    int h = bp_handle(f);
    return (int)bp_result(h < 0 ? h : bp_library_calls.fstat(h, st));
}

#pragma GCC diagnostic ignored "-Wattribute-alias"
extern int stat64(const char *path, struct stat64 *st) EXPORT __attribute__((alias("stat")));
extern int lstat64(const char *path, struct stat64 *st) EXPORT __attribute__((alias("lstat")));
extern int fstat64(int fd, struct stat64 *st) EXPORT __attribute__((alias("fstat")));
extern int fstatat64(int dirfd, const char *path, struct stat64 *st, int flags) EXPORT
    __attribute__((alias("fstatat")));

/* What programs call that were linked against a libc before 2.33. The version is that of the structure: there is one on these machines. */
EXPORT int __xstat(int version, const char *path, struct stat *st)
{
    (void)version;
    return stat(path, st);
}

EXPORT int __lxstat(int version, const char *path, struct stat *st)
{
    (void)version;
    return lstat(path, st);
}

EXPORT int __fxstat(int version, int fd, struct stat *st)
{
    (void)version;
    return fstat(fd, st);
}

EXPORT int __fxstatat(int version, int dirfd, const char *path, struct stat *st, int flags)
{
    (void)version;
    return fstatat(dirfd, path, st, flags);
}
ALIAS(__xstat, __xstat64);
ALIAS(__lxstat, __lxstat64);
ALIAS(__fxstat, __fxstat64);
ALIAS(__fxstatat, __fxstatat64);

static struct statx_timestamp stamp(struct timespec t)
{
    return (struct statx_timestamp){.tv_sec = t.tv_sec, .tv_nsec = (uint32_t)t.tv_nsec};
}

static void widen(const struct stat *st, struct statx *x)
{
    memset(x, 0, sizeof *x);
    x->stx_mask = STATX_BASIC_STATS;
    x->stx_blksize = (uint32_t)st->st_blksize;
    x->stx_nlink = (uint32_t)st->st_nlink;
    x->stx_uid = st->st_uid;
    x->stx_gid = st->st_gid;
    x->stx_mode = (uint16_t)st->st_mode;
    x->stx_ino = st->st_ino;
    x->stx_size = (uint64_t)st->st_size;
    x->stx_blocks = (uint64_t)st->st_blocks;
    x->stx_atime = stamp(st->st_atim);
    x->stx_mtime = stamp(st->st_mtim);
    x->stx_ctime = stamp(st->st_ctim);
    x->stx_dev_major = major(st->st_dev);
    x->stx_dev_minor = minor(st->st_dev);
}

EXPORT int statx(int dirfd, const char *path, int flags, unsigned mask, struct statx *x)
{
    struct stat st;
    struct bp_where w = {.fd = dirfd, .path = path};
    int empty = path != NULL && path[0] == '\0' && (flags & AT_EMPTY_PATH) != 0;
    if (LIKELY(empty ? bp_file(dirfd) == NULL
                     : bp_named_file(path) == NULL &&
                           bp_locate_following(dirfd, path, (flags & AT_SYMLINK_NOFOLLOW) == 0, &w) == BP_OUTSIDE)) {
        int rc = REAL(statx)(w.fd, w.path, flags, mask, x);
        if (LIKELY(rc == 0) || errno != ENOENT)
            return rc;
    }
    if (stat_at(dirfd, path, &st, flags & (AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) != 0)
        return -1;
    widen(&st, x);
    return 0;
}

/* ==== Permissions ==== */

static int access_at(int dirfd, const char *path, int mode, int flags)
{
    BP_PATH_CALL(access, dirfd, path, (flags & AT_SYMLINK_NOFOLLOW) == 0, REAL(faccessat)(w.fd, w.path, mode, flags),
                 lib->faccessat(w.dir, w.path, mode, flags));
}

EXPORT int access(const char *path, int mode)
{
    return access_at(AT_FDCWD, path, mode, 0);
}

EXPORT int faccessat(int dirfd, const char *path, int mode, int flags)
{
    return access_at(dirfd, path, mode, flags);
}

EXPORT int euidaccess(const char *path, int mode)
{
    return access_at(AT_FDCWD, path, mode, AT_EACCESS);
}
ALIAS(euidaccess, eaccess);

EXPORT int chmod(const char *path, mode_t mode)
{
    BP_PATH_CALL(chmod, AT_FDCWD, path, 1, REAL(chmod)(w.path, mode), lib->fchmodat(w.dir, w.path, mode, 0));
}

EXPORT int lchmod(const char *path, mode_t mode)
{
    BP_PATH_CALL(lchmod, AT_FDCWD, path, 0, REAL(lchmod)(w.path, mode),
                 lib->fchmodat(w.dir, w.path, mode, AT_SYMLINK_NOFOLLOW));
}

EXPORT int fchmodat(int dirfd, const char *path, mode_t mode, int flags)
{
    BP_PATH_CALL(fchmodat, dirfd, path, (flags & AT_SYMLINK_NOFOLLOW) == 0, REAL(fchmodat)(w.fd, w.path, mode, flags),
                 lib->fchmodat(w.dir, w.path, mode, flags));
}

/* The frame of a call on a descriptor whose result is 0 or -1. */
#define BP_FD_CALL(function, fd, OUT, IN)                 \
    do {                                                  \
        struct bp_file *f = bp_file(fd);                  \
        if (LIKELY(f == NULL))                            \
            return (OUT);                                 \
        bp_count(F_##function);                           \
        const struct bp_library *lib = &bp_library_calls; \
        int h = bp_handle(f);                             \
        return (int)bp_result(h < 0 ? h : (IN));          \
    } while (0)

EXPORT int fchmod(int fd, mode_t mode)
{
    BP_FD_CALL(fchmod, fd, REAL(fchmod)(fd, mode), lib->fchmod(h, mode));
}

/* ==== Owners ==== */

EXPORT int chown(const char *path, uid_t uid, gid_t gid)
{
    BP_PATH_CALL(chown, AT_FDCWD, path, 1, REAL(chown)(w.path, uid, gid), lib->fchownat(w.dir, w.path, uid, gid, 0));
}

EXPORT int lchown(const char *path, uid_t uid, gid_t gid)
{
    BP_PATH_CALL(lchown, AT_FDCWD, path, 0, REAL(lchown)(w.path, uid, gid),
                 lib->fchownat(w.dir, w.path, uid, gid, AT_SYMLINK_NOFOLLOW));
}

EXPORT int fchown(int fd, uid_t uid, gid_t gid)
{
    BP_FD_CALL(fchown, fd, REAL(fchown)(fd, uid, gid), lib->fchown(h, uid, gid));
}

EXPORT int fchownat(int dirfd, const char *path, uid_t uid, gid_t gid, int flags)
{
    if (path != NULL && path[0] == '\0' && (flags & AT_EMPTY_PATH) != 0 && bp_file(dirfd) != NULL)
        return fchown(dirfd, uid, gid);
    BP_PATH_CALL(fchownat, dirfd, path, (flags & AT_SYMLINK_NOFOLLOW) == 0,
                 REAL(fchownat)(w.fd, w.path, uid, gid, flags), lib->fchownat(w.dir, w.path, uid, gid, flags));
}

/* ==== Times ==== */

EXPORT int utimensat(int dirfd, const char *path, const struct timespec times[2], int flags)
{
    if (path == NULL && bp_file(dirfd) != NULL)
        return futimens(dirfd, times);
    BP_PATH_CALL(utimensat, dirfd, path, (flags & AT_SYMLINK_NOFOLLOW) == 0,
                 REAL(utimensat)(w.fd, w.path, times, flags), lib->utimensat(w.dir, w.path, times, flags));
}

EXPORT int futimens(int fd, const struct timespec times[2])
{
    BP_FD_CALL(futimens, fd, REAL(futimens)(fd, times), lib->futimens(h, times));
}

/* Microseconds to nanoseconds; NULL stays NULL. -1 for what is no time. */
static int finer(const struct timeval tv[2], struct timespec ts[2], const struct timespec **times)
{
    *times = NULL;
    for (int i = 0; tv != NULL && i < 2; i++) {
        if (tv[i].tv_usec < 0 || tv[i].tv_usec >= 1000000) {
            errno = EINVAL;
            return -1;
        }
        ts[i] = (struct timespec){tv[i].tv_sec, tv[i].tv_usec * 1000};
        *times = ts;
    }
    return 0;
}

EXPORT int utimes(const char *path, const struct timeval tv[2])
{
    struct timespec ts[2];
    const struct timespec *times;
    return finer(tv, ts, &times) != 0 ? -1 : utimensat(AT_FDCWD, path, times, 0);
}

EXPORT int lutimes(const char *path, const struct timeval tv[2])
{
    struct timespec ts[2];
    const struct timespec *times;
    return finer(tv, ts, &times) != 0 ? -1 : utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW);
}

EXPORT int futimes(int fd, const struct timeval tv[2])
{
    struct timespec ts[2];
    const struct timespec *times;
    return finer(tv, ts, &times) != 0 ? -1 : futimens(fd, times);
}

EXPORT int futimesat(int dirfd, const char *path, const struct timeval tv[2])
{
    struct timespec ts[2];
    const struct timespec *times;
    if (path == NULL)
        return futimes(dirfd, tv);
    return finer(tv, ts, &times) != 0 ? -1 : utimensat(dirfd, path, times, 0);
}

EXPORT int utime(const char *path, const struct utimbuf *t)
{
    struct timespec ts[2];
    if (t == NULL)
        return utimensat(AT_FDCWD, path, NULL, 0);
    ts[0] = (struct timespec){t->actime, 0};
    ts[1] = (struct timespec){t->modtime, 0};
    return utimensat(AT_FDCWD, path, ts, 0);
}

/* ==== The file system ==== */

/* What statfs(2) shows as the type: the four letters of the name. */
#define BENCHFS_TYPE 0x42454e43

static int narrow(int rc, const struct statvfs *v, struct statfs *s)
{
    if (rc < 0)
        return rc;
    memset(s, 0, sizeof *s);
    s->f_type = BENCHFS_TYPE;
    s->f_bsize = (__typeof__(s->f_bsize))v->f_bsize;
    s->f_frsize = (__typeof__(s->f_frsize))v->f_frsize;
    s->f_blocks = v->f_blocks;
    s->f_bfree = v->f_bfree;
    s->f_bavail = v->f_bavail;
    s->f_files = v->f_files;
    s->f_ffree = v->f_ffree;
    s->f_namelen = (__typeof__(s->f_namelen))v->f_namemax;
    return rc;
}

/* statfs of a path: the library has it by handle for paths that start at a directory. */
static int volume_at(const struct bp_library *lib, int dir, const char *path, struct statvfs *v)
{
    struct stat st;
    int rc = lib->fstatat(dir, path, &st, 0);
    return rc < 0 ? rc : lib->statfs("/", v);
}

EXPORT int statfs(const char *path, struct statfs *s)
{
    struct statvfs v;
    BP_PATH_CALL(statfs, AT_FDCWD, path, 1, REAL(statfs)(w.path, s), narrow(volume_at(lib, w.dir, w.path, &v), &v, s));
}

ALIAS(statfs, __statfs);

EXPORT int fstatfs(int fd, struct statfs *s)
{
    struct statvfs v;
    BP_FD_CALL(fstatfs, fd, REAL(fstatfs)(fd, s), narrow(lib->fstatfs(h, &v), &v, s));
}

EXPORT int statvfs(const char *path, struct statvfs *v)
{
    BP_PATH_CALL(statvfs, AT_FDCWD, path, 1, REAL(statvfs)(w.path, v), volume_at(lib, w.dir, w.path, v));
}

EXPORT int fstatvfs(int fd, struct statvfs *v)
{
    BP_FD_CALL(fstatvfs, fd, REAL(fstatvfs)(fd, v), lib->fstatfs(h, v));
}

extern int statfs64(const char *path, struct statfs64 *s) EXPORT __attribute__((alias("statfs")));
extern int fstatfs64(int fd, struct statfs64 *s) EXPORT __attribute__((alias("fstatfs")));
extern int statvfs64(const char *path, struct statvfs64 *v) EXPORT __attribute__((alias("statvfs")));
extern int fstatvfs64(int fd, struct statvfs64 *v) EXPORT __attribute__((alias("fstatvfs")));

static long configured(int name)
{
    switch (name) {
    case _PC_NAME_MAX:
        return BENCHFS_NAME_MAX;
    case _PC_PATH_MAX:
        return PATH_MAX;
    case _PC_LINK_MAX:
        return INT_MAX;
    case _PC_PIPE_BUF:
        return PIPE_BUF;
    case _PC_CHOWN_RESTRICTED:
    case _PC_NO_TRUNC:
        return 1;
    case _PC_FILESIZEBITS:
        return 64;
    case _PC_REC_MIN_XFER_SIZE:
    case _PC_REC_XFER_ALIGN:
    case _PC_ALLOC_SIZE_MIN:
        return 4096;
    case _PC_SYMLINK_MAX:
        return BENCHFS_PATH_MAX;
    case _PC_2_SYMLINKS:
    case _PC_SYNC_IO:
        return 1;
    }
    return -1;
}

EXPORT long pathconf(const char *path, int name)
{
    BP_PATH_CALL(pathconf, AT_FDCWD, path, 1, REAL(pathconf)(w.path, name), ({
                     struct stat st_;
                     int rc__ = lib->fstatat(w.dir, w.path, &st_, 0);
                     if (rc__ == 0)
                         return configured(name);
                     rc__;
                 }));
}

EXPORT long fpathconf(int fd, int name)
{
    return LIKELY(bp_file(fd) == NULL) ? REAL(fpathconf)(fd, name) : configured(name);
}

/* ==== Extended attributes: there are none ==== */

static int no_attributes(enum bp_function f)
{
    bp_count(f);
    errno = ENOTSUP;
    return -1;
}

/* 1 if a path is ours; otherwise it is as libc shall have it. */
static int is_inside(const char **path)
{
    static _Thread_local struct bp_where w;
    if (bp_locate(AT_FDCWD, *path, &w) != BP_OUTSIDE)
        return 1;
    *path = w.path;
    return 0;
}

#define PATH_XATTR(type, name, parameters, arguments)                                      \
    EXPORT type name parameters                                                            \
    {                                                                                      \
        return LIKELY(!is_inside(&path)) ? REAL(name) arguments : no_attributes(F_##name); \
    }
#define FD_XATTR(type, name, parameters, arguments)                                          \
    EXPORT type name parameters                                                              \
    {                                                                                        \
        return LIKELY(bp_file(fd) == NULL) ? REAL(name) arguments : no_attributes(F_##name); \
    }

PATH_XATTR(ssize_t, getxattr, (const char *path, const char *n, void *v, size_t s), (path, n, v, s))
PATH_XATTR(ssize_t, lgetxattr, (const char *path, const char *n, void *v, size_t s), (path, n, v, s))
FD_XATTR(ssize_t, fgetxattr, (int fd, const char *n, void *v, size_t s), (fd, n, v, s))
PATH_XATTR(int, setxattr, (const char *path, const char *n, const void *v, size_t s, int f), (path, n, v, s, f))
PATH_XATTR(int, lsetxattr, (const char *path, const char *n, const void *v, size_t s, int f), (path, n, v, s, f))
FD_XATTR(int, fsetxattr, (int fd, const char *n, const void *v, size_t s, int f), (fd, n, v, s, f))
PATH_XATTR(int, removexattr, (const char *path, const char *n), (path, n))
PATH_XATTR(int, lremovexattr, (const char *path, const char *n), (path, n))
FD_XATTR(int, fremovexattr, (int fd, const char *n), (fd, n))
PATH_XATTR(ssize_t, listxattr, (const char *path, char *list, size_t s), (path, list, s))
PATH_XATTR(ssize_t, llistxattr, (const char *path, char *list, size_t s), (path, list, s))
FD_XATTR(ssize_t, flistxattr, (int fd, char *list, size_t s), (fd, list, s))
