/* open.c: opening and closing, duplicates, fcntl. */
#include "preload.h"

#include <dlfcn.h>
#include <gnu/libc-version.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/single_threaded.h>
#include <sys/syscall.h>

/* The mode is there when a file may be made. */
static int needs_mode(int flags)
{
    return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE;
}

/*
 * libc declares open and openat with "...", for a mode that may be there. The functions behind those names have it as a parameter: on these machines it
 * comes by the same register. Without O_CREAT nobody looks at it.
 */
#pragma GCC diagnostic ignored "-Wattribute-alias"

static int finish_open(const struct bp_library *lib, const struct bp_where *w, int handle, int flags)
{
    char path[PATH_MAX], normal[PATH_MAX];
    struct stat st;
    int rc = lib->fstat(handle, &st);
    if (rc < 0) {
        lib->close(handle);
        return (int)bp_result(rc);
    }
    if (bp_full_path(w, path) != 0 || bp_normalise("/", path, normal) != 0)
        strcpy(normal, bp_settings.prefix); /* too long to be told; it works by number */
    int kind = S_ISDIR(st.st_mode) ? S_IFDIR : S_IFREG;
    return bp_descriptor(handle, st.st_ino, (uint32_t)kind, flags | (kind == S_IFDIR ? O_DIRECTORY : 0), normal);
}

/* What an open file's path is opened with to get what O_PATH promises: names and attributes, no data. */
static int library_flags(int flags)
{
    if (flags & O_PATH)
        return O_RDONLY | (flags & (O_DIRECTORY | O_NOFOLLOW));
    /* Bits without a meaning are ignored, as the kernel ignores them: programs keep flags of their own there. */
    return flags & (O_ACCMODE | O_CREAT | O_EXCL | O_TRUNC | O_APPEND | O_SYNC | O_DSYNC | O_DIRECT | O_NOATIME |
                    O_DIRECTORY | O_NOFOLLOW);
}

static int open_inside(struct bp_where *w, int flags, mode_t mode, int *outside)
{
    const struct bp_library *lib = bp_library();
    enum bp_side side = BP_INSIDE;
    if (lib == NULL)
        return -1;
    if ((flags & O_TMPFILE) == O_TMPFILE)
        return bp_refuse(F_open, EOPNOTSUPP, "O_TMPFILE: files without a name are made by open and unlink");
    bp_count(F_open);
    for (;;) {
        int handle = lib->openat(w->dir, w->path, library_flags(flags), mode & ~bp_umask() & 07777);
        if (handle >= 0)
            return finish_open(lib, w, handle, flags);
        if (handle != -EREMOTE || !bp_follow_out(w, &side, (flags & O_NOFOLLOW) == 0 && (flags & O_EXCL) == 0))
            return (int)bp_result(handle);
        if (side == BP_OUTSIDE) {
            *outside = 1;
            return -1;
        }
    }
}

/* /dev/fd/N and its like, where N is ours: another open file description of that file. -1: failed, -2: it is none. */
static int open_named(const char *path, int flags)
{
    struct bp_file *f = (flags & O_NOFOLLOW) == 0 ? bp_named_file(path) : NULL;
    if (LIKELY(f == NULL))
        return -2;
    const struct bp_library *lib = bp_library();
    if (lib == NULL)
        return -1;
    int handle = lib->open_inode(f->description->ino, library_flags(flags & ~(O_CREAT | O_EXCL | O_TRUNC)));
    if (handle < 0)
        return (int)bp_result(handle);
    if ((flags & O_TRUNC) != 0)
        lib->ftruncate(handle, 0);
    return bp_descriptor(handle, f->description->ino, f->description->kind, flags, f->description->path);
}

/*
 * A number in a directory that is perhaps /proc/self/fd: what was opened by it may be a description of ours as the kernel sees it, instead of the
 * file. Then it is opened again by its path.
 */
static __attribute__((noinline)) int open_number(int dirfd, const char *path, int flags, int fd)
{
    char link[32], text[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = REAL(readlink)(link, text, sizeof text - 1);
    ssize_t shown = bp_show_link(dirfd, path, text, n, sizeof text - 1);
    text[shown > 0 ? shown : 0] = '\0';
    if (n < 0 || bp_file(fd) != NULL || (shown == n && strncmp(text, "/memfd:benchfs", 14) != 0))
        return fd;
    REAL(close)(fd);
    if (!bp_under_prefix(text))
        return bp_refuse(F_open, EOPNOTSUPP, "a file of another process that it has not shared with anybody");
    return open(text, flags & ~(O_CREAT | O_EXCL));
}

/* A path that is not outside by its text, or was not found there. */
static __attribute__((noinline)) int open_slow(int dirfd, const char *path, int flags, mode_t mode, int tried)
{
    struct bp_where w;
    enum bp_side side = tried ? BP_OUTSIDE : bp_locate_following(dirfd, path, (flags & O_NOFOLLOW) == 0, &w);
    int outside = 0, fd = -1;
    if (side == BP_OUTSIDE) {
        if (!tried)
            fd = REAL(openat)(w.fd, w.path, flags, mode);
        if (fd >= 0)
            bp_detach(fd);
        if (fd >= 0 || !bp_follow_in(dirfd, path, &w, (flags & O_NOFOLLOW) == 0))
            return fd;
    } else if (side == BP_NOWHERE) {
        return -1;
    }
    fd = open_inside(&w, flags, mode, &outside);
    return outside ? REAL(openat)(w.fd, w.path, flags, mode) : fd;
}

static __attribute__((noinline)) int open_checked(int dirfd, const char *path, int flags, mode_t mode)
{
    int outside = LIKELY(bp_surely_outside(dirfd, path));
    if (UNLIKELY(bp_may_be_name(path))) {
        int fd = open_named(path, flags);
        if (fd != -2)
            return fd;
        outside = 0;
    }
    if (!outside)
        return open_slow(dirfd, path, flags, mode, 0);
    int fd = REAL(openat)(dirfd, path, flags, mode);
    if (UNLIKELY(fd < 0))
        return open_slow(dirfd, path, flags, mode, 1);
    if (bp_is_active())
        bp_detach(fd); /* a number that something closed behind our back */
    return UNLIKELY(path[0] >= '0' && path[0] <= '9') ? open_number(dirfd, path, flags, fd) : fd;
}

#ifdef __x86_64__
/* 1: the openat behind us is libc's own. -1: it is another library's. 0: not known yet. */
static atomic_int libc_is_next BP_NEAR;

static __attribute__((noinline)) int open_first(int dirfd, const char *path, int flags, mode_t mode)
{
    Dl_info next, libc;
    int own = dladdr((void *)REAL(openat), &next) != 0 && dladdr((void *)gnu_get_libc_version, &libc) != 0 &&
              next.dli_fbase == libc.dli_fbase;
    atomic_store_explicit(&libc_is_next, own ? 1 : -1, memory_order_relaxed);
    return open_checked(dirfd, path, flags, mode);
}

static __attribute__((noinline)) int open_failed(int dirfd, const char *path, int flags, mode_t mode, int error)
{
    errno = error;
    return open_slow(dirfd, path, flags, mode, 1);
}

static __attribute__((noinline)) int open_detached(int fd)
{
    bp_detach(fd);
    return fd;
}

/*
 * A function between a program and libc costs more than what it does: processors predict returns badly after a system call, and there is one
 * more. So where libc would do nothing but the system call, in a process with one thread, it is made here, for paths that are outside by
 * their first two letters.
 */
static inline __attribute__((always_inline)) int open_at(int dirfd, const char *path, int flags, mode_t mode)
{
    int own = atomic_load_explicit(&libc_is_next, memory_order_relaxed);
    if (UNLIKELY(own <= 0 || !__libc_single_threaded))
        return own == 0 ? open_first(dirfd, path, flags, mode) : open_checked(dirfd, path, flags, mode);
    if (UNLIKELY(path == NULL || path[0] != '/' || path[1] == bp_settings.prefix[1] || !bp_is_plain(path) ||
                 bp_may_be_name(path)))
        return open_checked(dirfd, path, flags, mode);
    long rc = SYS_openat;
    register long mode_ __asm__("r10") = mode;
    __asm__ volatile("syscall"
                     : "+a"(rc)
                     : "D"((long)dirfd), "S"(path), "d"((long)flags), "r"(mode_)
                     : "rcx", "r11", "memory");
    if (UNLIKELY(rc < 0))
        return open_failed(dirfd, path, flags, mode, (int)-rc);
    return bp_is_active() ? open_detached((int)rc) : (int)rc;
}
#else
static inline int open_at(int dirfd, const char *path, int flags, mode_t mode)
{
    return open_checked(dirfd, path, flags, mode);
}
#endif

__attribute__((hot)) int bp_open(const char *path, int flags, mode_t mode)
{
    return open_at(AT_FDCWD, path, flags, mode);
}
extern __typeof__(open) open EXPORT __attribute__((alias("bp_open")));
extern __typeof__(open) open64 EXPORT __attribute__((alias("bp_open")));
extern __typeof__(open) __open EXPORT __attribute__((alias("bp_open")));
extern __typeof__(open) __open64 EXPORT __attribute__((alias("bp_open")));

__attribute__((hot)) int bp_openat(int dirfd, const char *path, int flags, mode_t mode)
{
    return open_at(dirfd, path, flags, mode);
}
extern __typeof__(openat) openat EXPORT __attribute__((alias("bp_openat")));
extern __typeof__(openat) openat64 EXPORT __attribute__((alias("bp_openat")));

EXPORT int creat(const char *path, mode_t mode)
{
    return open_at(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}
ALIAS(creat, creat64);

EXPORT int __open_2(const char *path, int flags)
{
    if (needs_mode(flags))
        abort(); /* as libc does: open with O_CREAT and without a mode */
    return open_at(AT_FDCWD, path, flags, 0);
}
ALIAS(__open_2, __open64_2);

EXPORT int __openat_2(int dirfd, const char *path, int flags)
{
    if (needs_mode(flags))
        abort();
    return open_at(dirfd, path, flags, 0);
}
ALIAS(__openat_2, __openat64_2);

/* ==== Names that are made up ==== */

/* Makes something under a name whose last six X before a suffix are replaced. make returns -1 and EEXIST to be asked again. */
static int make_unique(char *pattern, int suffix, int flags, int (*make)(const char *path, int flags))
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    size_t n = strlen(pattern);
    if (suffix < 0 || n < (size_t)suffix + 6 || memcmp(pattern + n - (size_t)suffix - 6, "XXXXXX", 6) != 0) {
        errno = EINVAL;
        return -1;
    }
    char *x = pattern + n - (size_t)suffix - 6;
    for (int tries = 0; tries < 1000; tries++) {
        uint64_t random;
        if (getentropy(&random, sizeof random) != 0)
            return -1;
        for (int i = 0; i < 6; i++, random /= 62)
            x[i] = letters[random % 62];
        int rc = make(pattern, flags);
        if (rc >= 0 || errno != EEXIST)
            return rc;
    }
    errno = EEXIST;
    return -1;
}

static int make_file(const char *path, int flags)
{
    return open_at(AT_FDCWD, path, (flags & ~O_ACCMODE) | O_RDWR | O_CREAT | O_EXCL, 0600);
}

static int make_directory(const char *path, int flags)
{
    (void)flags;
    return mkdir(path, 0700);
}

/* libc's own for all that is outside: its names are its own affair. */
static int is_outside(const char *path)
{
    struct bp_where w;
    return bp_locate(AT_FDCWD, path, &w) == BP_OUTSIDE;
}

EXPORT int mkostemps(char *pattern, int suffix, int flags)
{
    return is_outside(pattern) ? REAL(mkostemps)(pattern, suffix, flags)
                               : make_unique(pattern, suffix, flags, make_file);
}
ALIAS(mkostemps, mkostemps64);

EXPORT int mkstemps(char *pattern, int suffix)
{
    return mkostemps(pattern, suffix, 0);
}
ALIAS(mkstemps, mkstemps64);

EXPORT int mkostemp(char *pattern, int flags)
{
    return mkostemps(pattern, 0, flags);
}
ALIAS(mkostemp, mkostemp64);

EXPORT int mkstemp(char *pattern)
{
    return mkostemps(pattern, 0, 0);
}
ALIAS(mkstemp, mkstemp64);

EXPORT char *mkdtemp(char *pattern)
{
    if (is_outside(pattern))
        return REAL(mkdtemp)(pattern);
    return make_unique(pattern, 0, 0, make_directory) == 0 ? pattern : NULL;
}

static int absent(const char *path, int flags)
{
    struct stat st;
    (void)flags;
    if (lstat(path, &st) == 0)
        errno = EEXIST;
    else if (errno == ENOENT)
        return 0;
    return -1;
}

EXPORT char *mktemp(char *pattern)
{
    if (is_outside(pattern))
        return REAL(mktemp)(pattern);
    if (make_unique(pattern, 0, 0, absent) != 0)
        pattern[0] = '\0';
    return pattern;
}

/* ==== Closing ==== */

static __attribute__((noinline)) int close_slow(int fd)
{
    struct bp_file *f = bp_file(fd);
    if (LIKELY(f == NULL))
        return UNLIKELY(bp_is_internal(fd)) ? (errno = EBADF, -1) : BP_WHILE_NONE_IS_LOW(REAL(close)(fd));
    bp_count(F_close);
    bp_unlock_process(f);
    bp_detach(fd);
    return REAL(close)(fd);
}

BP_HOT int close(int fd)
{
    return bp_is_active() ? close_slow(fd) : REAL(close)(fd);
}
ALIAS(close, __close);

/* Closes what the program may close of a range; internal descriptors are none of its business. */
static int close_between(unsigned first, unsigned last, int flags)
{
    unsigned from = first;
    for (int i = 0; i < 65536; i++) {
        if ((unsigned)i < first || (unsigned)i > last || !bp_is_internal(i))
            continue;
        if ((unsigned)i > from && BP_WHILE_NONE_IS_LOW(REAL(close_range)(from, (unsigned)i - 1, flags)) != 0)
            return -1;
        from = (unsigned)i + 1;
    }
    return from <= last ? BP_WHILE_NONE_IS_LOW(REAL(close_range)(from, last, flags)) : 0;
}

EXPORT int close_range(unsigned first, unsigned last, int flags)
{
    const int cloexec_only = 4; /* CLOSE_RANGE_CLOEXEC */
    if (first > last) {
        errno = EINVAL;
        return -1;
    }
    if ((flags & cloexec_only) == 0)
        for (int fd = (int)first; fd >= 0 && (unsigned)fd <= last && fd <= atomic_load(&bp_fd_high); fd++)
            if (bp_file(fd) != NULL)
                close(fd);
    return close_between(first, last, flags);
}

EXPORT void closefrom(int low)
{
    (void)close_range(low < 0 ? 0 : (unsigned)low, ~0u, 0);
}

/* ==== Duplicates ==== */

/* The kernel has made `made` as a duplicate of fd. */
static int duplicated(int fd, int made)
{
    struct bp_file *f = bp_file(fd);
    if (made < 0)
        return made;
    if (f != NULL)
        bp_attach(made, f);
    else
        bp_detach(made);
    return made;
}

EXPORT int dup(int fd)
{
    return duplicated(fd, REAL(dup)(fd));
}

/* Before fd takes another meaning: what libc holds back for it belongs to the old one only if the program flushed it; it did not. */
static int duplicate_to(int fd, int to, int flags, int plain)
{
    struct bp_file *f = bp_file(fd);
    if (UNLIKELY(bp_is_internal(to) && to != fd)) {
        errno = EBUSY;
        return -1;
    }
    int made = BP_WHILE_NONE_IS_LOW(plain ? REAL(dup2)(fd, to) : REAL(dup3)(fd, to, flags));
    if (fd != to && (f != NULL || (made >= 0 && bp_file(made) != NULL)))
        made = duplicated(fd, made);
    if (made >= 0 && made <= STDERR_FILENO && f != NULL)
        bp_standard_stream(made);
    return made;
}

EXPORT int dup2(int fd, int to)
{
    return duplicate_to(fd, to, 0, 1);
}
ALIAS(dup2, __dup2);

EXPORT int dup3(int fd, int to, int flags)
{
    return duplicate_to(fd, to, flags, 0);
}

/* ==== fcntl ==== */

#define CHANGEABLE (O_APPEND | O_NONBLOCK | O_DIRECT | O_NOATIME)

static int file_control(int fd, struct bp_file *f, int cmd, void *argument)
{
    struct bp_description *d = f->description;
    bp_count(F_fcntl);
    switch (cmd) {
    case F_DUPFD:
    case F_DUPFD_CLOEXEC:
        return duplicated(fd, REAL(fcntl)(fd, cmd, argument));
    case F_GETFD:
    case F_SETFD:
        return REAL(fcntl)(fd, cmd, argument);
    case F_GETFL:
        return (atomic_load(&d->flags) & ~(d->kind == S_IFDIR ? 0 : O_DIRECTORY)) |
               0100000; /* O_LARGEFILE, as the kernel shows it */
    case F_SETFL: {
        int flags = (int)(intptr_t)argument;
        atomic_store(&d->flags, (atomic_load(&d->flags) & ~CHANGEABLE) | (flags & CHANGEABLE));
        return 0;
    }
    case F_GETLK:
    case F_SETLK:
    case F_SETLKW:
    case F_OFD_GETLK:
    case F_OFD_SETLK:
    case F_OFD_SETLKW:
        return bp_lock_call(fd, f, cmd, argument);
    case F_GETOWN:
        return 0;
    case F_SETOWN:
    case F_SETSIG:
    case F_GETSIG:
        return 0;
    case F_GETPIPE_SZ:
    case F_SETPIPE_SZ:
        errno = EBADF;
        return -1;
    }
    return bp_refuse(F_fcntl, EINVAL, "a command that files of BenchFS do not know");
}

EXPORT int fcntl(int fd, int cmd, ...)
{
    va_list arguments;
    va_start(arguments, cmd);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    struct bp_file *f = bp_file(fd);
    if (LIKELY(f == NULL)) {
        int rc = REAL(fcntl)(fd, cmd, argument);
        if ((cmd == F_DUPFD || cmd == F_DUPFD_CLOEXEC) && rc >= 0)
            bp_detach(rc);
        return rc;
    }
    return file_control(fd, f, cmd, argument);
}
ALIAS(fcntl, fcntl64);
ALIAS(fcntl, __fcntl);

EXPORT int ioctl(int fd, unsigned long request, ...)
{
    va_list arguments;
    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    struct bp_file *f = bp_file(fd);
    if (LIKELY(f == NULL))
        return REAL(ioctl)(fd, request, argument);
    bp_count(F_ioctl);
    switch (request) {
    case FIOCLEX:
        return REAL(fcntl)(fd, F_SETFD, FD_CLOEXEC);
    case FIONCLEX:
        return REAL(fcntl)(fd, F_SETFD, 0);
    case FIONBIO:
    case FIOASYNC:
        return 0;
    case FIONREAD: {
        struct stat st;
        if (fstat(fd, &st) != 0)
            return -1;
        int64_t rest = st.st_size - atomic_load(&f->description->offset);
        *(int *)argument = (int)(rest < 0 ? 0 : rest > INT_MAX ? INT_MAX : rest);
        return 0;
    }
    }
    errno = ENOTTY;
    return -1;
}

EXPORT int isatty(int fd)
{
    if (LIKELY(bp_file(fd) == NULL))
        return REAL(isatty)(fd);
    errno = ENOTTY;
    return 0;
}
