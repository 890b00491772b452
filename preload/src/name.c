/* name.c: names: making, removing, renaming, links. */
#include "preload.h"

#include <stdio.h>
#include <sys/sysmacros.h>

EXPORT int mkdirat(int dirfd, const char *path, mode_t mode)
{
    BP_PATH_CALL(mkdir, dirfd, path, 0, REAL(mkdirat)(w.fd, w.path, mode),
                 lib->mkdirat(w.dir, w.path, mode & ~bp_umask() & 01777));
}

EXPORT int mkdir(const char *path, mode_t mode)
{
    return mkdirat(AT_FDCWD, path, mode);
}

EXPORT int unlinkat(int dirfd, const char *path, int flags)
{
    BP_PATH_CALL(unlinkat, dirfd, path, 0, REAL(unlinkat)(w.fd, w.path, flags), lib->unlinkat(w.dir, w.path, flags));
}

EXPORT int unlink(const char *path)
{
    return unlinkat(AT_FDCWD, path, 0);
}

EXPORT int rmdir(const char *path)
{
    return unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

EXPORT int remove(const char *path)
{
    int saved = errno;
    if (unlinkat(AT_FDCWD, path, 0) == 0)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return -1;
    errno = saved;
    return unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

/* ==== Two paths ==== */

/* Where both paths of a call are; BP_NOWHERE with EXDEV when one is inside and one is not. */
static enum bp_side locate_both(int fd1, const char *path1, struct bp_where *w1, int fd2, const char *path2,
                                struct bp_where *w2)
{
    enum bp_side one = bp_locate(fd1, path1, w1), two = bp_locate(fd2, path2, w2);
    if (one == BP_NOWHERE || two == BP_NOWHERE)
        return BP_NOWHERE;
    if (LIKELY(one == two))
        return one;
    /* The first must exist whatever else: programs look for ENOENT before they copy. */
    struct stat st;
    if (fstatat(fd1, path1, &st, AT_SYMLINK_NOFOLLOW) == 0)
        errno = EXDEV;
    return BP_NOWHERE;
}

/* Follows links that lead out of w; 1 if the call is to be tried again inside, -1 if it is nothing for us. */
static int again(ssize_t rc, struct bp_where *w1, struct bp_where *w2)
{
    enum bp_side one = BP_INSIDE, two = BP_INSIDE;
    if (rc != -EREMOTE)
        return 0;
    int moved = bp_follow_out(w1, &one, 0) | bp_follow_out(w2, &two, 0);
    if (!moved)
        return 0;
    return one == BP_INSIDE && two == BP_INSIDE ? 1 : one == two ? -1 : -2;
}

EXPORT int renameat2(int fd1, const char *from, int fd2, const char *to, unsigned flags)
{
    struct bp_where w1, w2;
    enum bp_side side = locate_both(fd1, from, &w1, fd2, to, &w2);
    if (LIKELY(side == BP_OUTSIDE))
        return flags == 0 ? REAL(renameat)(w1.fd, w1.path, w2.fd, w2.path)
                          : REAL(renameat2)(w1.fd, w1.path, w2.fd, w2.path, flags);
    const struct bp_library *lib = side == BP_INSIDE ? bp_library() : NULL;
    if (lib == NULL)
        return -1;
    bp_count(F_renameat2);
    if (flags & ~(unsigned)RENAME_NOREPLACE)
        return bp_refuse(F_renameat2, EINVAL, "only RENAME_NOREPLACE is known");
    for (;;) {
        ssize_t rc;
        if (flags == 0) {
            rc = lib->renameat(w1.dir, w1.path, w2.dir, w2.path);
        } else {
            /* A new link fails where something exists, in one step; a directory can only be looked at first. */
            struct stat st;
            rc = lib->fstatat(w1.dir, w1.path, &st, AT_SYMLINK_NOFOLLOW);
            if (rc == 0 && S_ISDIR(st.st_mode)) {
                rc = lib->fstatat(w2.dir, w2.path, &st, AT_SYMLINK_NOFOLLOW);
                rc = rc == 0 ? -EEXIST : rc == -ENOENT ? lib->renameat(w1.dir, w1.path, w2.dir, w2.path) : rc;
            } else if (rc == 0 && (rc = lib->linkat(w1.dir, w1.path, w2.dir, w2.path, 0)) == 0) {
                rc = lib->unlinkat(w1.dir, w1.path, 0);
            }
        }
        switch (again(rc, &w1, &w2)) {
        case 0:
            return (int)bp_result(rc);
        case -1:
            return REAL(renameat2)(w1.fd, w1.path, w2.fd, w2.path, flags);
        case -2:
            return (int)bp_result(-EXDEV);
        }
    }
}

EXPORT int renameat(int fd1, const char *from, int fd2, const char *to)
{
    return renameat2(fd1, from, fd2, to, 0);
}

EXPORT int rename(const char *from, const char *to)
{
    return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0);
}

EXPORT int linkat(int fd1, const char *from, int fd2, const char *to, int flags)
{
    struct bp_where w1, w2;
    struct bp_file *f = from != NULL && from[0] == '\0' && (flags & AT_EMPTY_PATH) != 0 ? bp_file(fd1) : NULL;
    if (f != NULL)
        return bp_refuse(F_linkat, EOPNOTSUPP, "a new name for a descriptor");
    enum bp_side side = locate_both(fd1, from, &w1, fd2, to, &w2);
    if (LIKELY(side == BP_OUTSIDE))
        return REAL(linkat)(w1.fd, w1.path, w2.fd, w2.path, flags);
    const struct bp_library *lib = side == BP_INSIDE ? bp_library() : NULL;
    if (lib == NULL)
        return -1;
    bp_count(F_linkat);
    for (;;) {
        ssize_t rc = lib->linkat(w1.dir, w1.path, w2.dir, w2.path, flags);
        switch (again(rc, &w1, &w2)) {
        case 0:
            return (int)bp_result(rc);
        case -1:
            return REAL(linkat)(w1.fd, w1.path, w2.fd, w2.path, flags);
        case -2:
            return (int)bp_result(-EXDEV);
        }
    }
}

EXPORT int link(const char *from, const char *to)
{
    return linkat(AT_FDCWD, from, AT_FDCWD, to, 0);
}

/* ==== Symbolic links: the target is text, whatever it says ==== */

EXPORT int symlinkat(const char *target, int dirfd, const char *path)
{
    BP_PATH_CALL(symlinkat, dirfd, path, 0, REAL(symlinkat)(target, w.fd, w.path),
                 target == NULL ? -EFAULT : lib->symlinkat(target, w.dir, w.path));
}

EXPORT int symlink(const char *target, const char *path)
{
    return symlinkat(target, AT_FDCWD, path);
}

static ssize_t copy_text(const char *text, char *buf, size_t size)
{
    size_t n = strlen(text);
    n = n < size ? n : size;
    memcpy(buf, text, n);
    return (ssize_t)n;
}

EXPORT ssize_t readlinkat(int dirfd, const char *path, char *buf, size_t size)
{
    struct bp_file *cwd = atomic_load(&bp_cwd);
    if (UNLIKELY(cwd != NULL) && path != NULL && strcmp(path, "/proc/self/cwd") == 0)
        return copy_text(cwd->description->path, buf, size);
    BP_PATH_CALL(readlinkat, dirfd, path, 0,
                 bp_show_link(w.fd, w.path, buf, REAL(readlinkat)(w.fd, w.path, buf, size), size),
                 size == 0 ? -EINVAL : lib->readlinkat(w.dir, w.path, buf, size));
}

EXPORT ssize_t readlink(const char *path, char *buf, size_t size)
{
    return readlinkat(AT_FDCWD, path, buf, size);
}

EXPORT ssize_t __readlink_chk(const char *path, char *buf, size_t size, size_t room)
{
    return size > room ? abort(), -1 : readlink(path, buf, size);
}

EXPORT ssize_t __readlinkat_chk(int dirfd, const char *path, char *buf, size_t size, size_t room)
{
    return size > room ? abort(), -1 : readlinkat(dirfd, path, buf, size);
}

/* ==== Canonical names ==== */

/* libc's own for what is outside; what it cannot find may be behind a link that leads in. */
EXPORT char *realpath(const char *path, char *resolved)
{
    struct bp_where w = {.path = path};
    char out[PATH_MAX];
    if (LIKELY(path == NULL || bp_locate_following(AT_FDCWD, path, 1, &w) == BP_OUTSIDE)) {
        char *real = REAL(realpath)(w.path, resolved);
        if (LIKELY(real != NULL) || path == NULL || !bp_follow_in(AT_FDCWD, path, &w, 1))
            return real;
    }
    bp_count(F_realpath);
    if (bp_realpath(AT_FDCWD, path, out) == NULL)
        return NULL;
    return resolved != NULL ? strcpy(resolved, out) : strdup(out);
}

EXPORT char *__realpath_chk(const char *path, char *resolved, size_t room)
{
    return room < PATH_MAX ? abort(), NULL : realpath(path, resolved);
}

EXPORT char *canonicalize_file_name(const char *path)
{
    return realpath(path, NULL);
}

/* ==== What BenchFS does not have ==== */

/* A regular file can be made this way, too. */
static int make_node(enum bp_function f, int dirfd, const char *path, mode_t mode)
{
    if ((mode & S_IFMT) != 0 && (mode & S_IFMT) != S_IFREG)
        return bp_refuse(f, EPERM, "devices, FIFOs and sockets do not exist");
    int fd = openat(dirfd, path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, mode & 07777);
    return fd < 0 ? -1 : close(fd);
}

static int is_inside(int dirfd, const char *path)
{
    struct bp_where w;
    return bp_locate(dirfd, path, &w) != BP_OUTSIDE;
}

EXPORT int mknodat(int dirfd, const char *path, mode_t mode, dev_t device)
{
    return LIKELY(!is_inside(dirfd, path)) ? REAL(mknodat)(dirfd, path, mode, device)
                                           : make_node(F_mknodat, dirfd, path, mode);
}

EXPORT int mknod(const char *path, mode_t mode, dev_t device)
{
    return mknodat(AT_FDCWD, path, mode, device);
}

EXPORT int __xmknodat(int version, int dirfd, const char *path, mode_t mode, dev_t *device)
{
    (void)version;
    return mknodat(dirfd, path, mode, *device);
}

EXPORT int __xmknod(int version, const char *path, mode_t mode, dev_t *device)
{
    (void)version;
    return mknodat(AT_FDCWD, path, mode, *device);
}

EXPORT int mkfifoat(int dirfd, const char *path, mode_t mode)
{
    return LIKELY(!is_inside(dirfd, path)) ? REAL(mkfifoat)(dirfd, path, mode)
                                           : make_node(F_mkfifoat, dirfd, path, S_IFIFO | mode);
}

EXPORT int mkfifo(const char *path, mode_t mode)
{
    return mkfifoat(AT_FDCWD, path, mode);
}

EXPORT int chroot(const char *path)
{
    if (LIKELY(!is_inside(AT_FDCWD, path)))
        return REAL(chroot)(path);
    return bp_refuse(F_chroot, EPERM, "the kernel does not know the prefix");
}
