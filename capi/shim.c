/*
 * shim.c: the functions of benchfs.h. Each checks what can be checked without looking at the file system, and hands over to its
 * export bfsgo_*.
 *
 * In the child of a fork the Go runtime is dead, and any call into it may hang for ever: every function that would make one refuses first.
 */
#include "shim.h"

#include "_cgo_export.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* 1 in a child of the process that loaded the library. The Go runtime starts when the library is loaded, so that is what counts. */
static atomic_int forked;

static void in_child(void)
{
    atomic_store_explicit(&forked, 1, memory_order_relaxed);
}

__attribute__((constructor)) static void watch_fork(void)
{
    pthread_atfork(NULL, NULL, in_child);
}

static int refuse(int code, const char *text)
{
    bfs_set_static_error(text);
    return -code;
}

/* The beginning of each function that calls Go. */
#define REFUSE_IN_CHILD()                                                                             \
    do {                                                                                              \
        if (atomic_load_explicit(&forked, memory_order_relaxed))                                      \
            return refuse(ECHILD, "this process is a fork of the one that uses BenchFS: exec first"); \
        bfs_enter();                                                                                  \
    } while (0)

#define REFUSE_IF(condition, code, text)   \
    do {                                   \
        if (condition)                     \
            return refuse((code), (text)); \
    } while (0)

/* A path travels with its length. One that is too long is measured just so far that the length tells. */
#define PATH_LENGTH(path) strnlen((path), BENCHFS_PATH_MAX + 1)

#define CHECK_PATH(path) REFUSE_IF((path) == NULL, EFAULT, "path is NULL")

/* More bytes than any address space has: a length gone wrong, found before somebody walks off the buffer's end. */
#define BUFFER_MAX ((size_t)1 << 56)

/* 0, or the negative errno of a buffer that cannot be. */
static int check_buffer(const void *buf, size_t n)
{
    REFUSE_IF(n > (size_t)SSIZE_MAX, EINVAL, "length above SSIZE_MAX");
    REFUSE_IF(n > 0 && buf == NULL, EFAULT, "buffer is NULL");
    REFUSE_IF(n > BUFFER_MAX || n > UINTPTR_MAX - (uintptr_t)buf, EFAULT, "buffer is larger than any memory");
    return 0;
}

static int check_vector(const struct iovec *iov, int iovcnt)
{
    REFUSE_IF(iovcnt < 1 || iovcnt > BENCHFS_IOV_MAX, EINVAL, "iovcnt is not 1 to 1024");
    REFUSE_IF(iov == NULL, EFAULT, "iov is NULL");
    size_t total = 0;
    for (int i = 0; i < iovcnt; i++) {
        int rc = check_buffer(iov[i].iov_base, iov[i].iov_len);
        if (rc < 0)
            return rc;
        total += iov[i].iov_len; /* at most 1024 times 2^56 */
        REFUSE_IF(total > (size_t)SSIZE_MAX, EINVAL, "lengths add up to more than SSIZE_MAX");
    }
    return 0;
}

#define CHECK(check)       \
    do {                   \
        int rc_ = (check); \
        if (rc_ < 0)       \
            return rc_;    \
    } while (0)

#define CHECK_OFFSET(offset) REFUSE_IF((offset) < 0, EINVAL, "offset is negative")

/* ==== Session ==== */

/* 0 if the bytes that a newer header added after ours are all 0, that is, ask for nothing. */
static int asks_for_more(const void *s, size_t size, size_t ours)
{
    const unsigned char *bytes = s;
    for (size_t i = ours; i < size; i++)
        if (bytes[i] != 0)
            return 1;
    return 0;
}

static int check_options(const struct benchfs_options *o)
{
    REFUSE_IF(o->size < sizeof *o || o->size > 4096, EINVAL,
              "init: options.size is not sizeof(struct benchfs_options)");
    REFUSE_IF(asks_for_more(o, o->size, sizeof *o), EINVAL,
              "init: options with fields that this library does not know");
    REFUSE_IF(o->mode < BENCHFS_MODE_CONFIGURED || o->mode > BENCHFS_MODE_DISTRIBUTED, EINVAL,
              "init: unknown options.mode");
    REFUSE_IF((o->flags & ~BENCHFS_INIT_NO_ENVIRONMENT) != 0, EINVAL, "init: unknown options.flags");
    return 0;
}

int benchfs_init_version(uint32_t api_version, const struct benchfs_options *options)
{
    REFUSE_IN_CHILD();
    REFUSE_IF(api_version >> 16 != BENCHFS_API_MAJOR || api_version > BENCHFS_API_VERSION, EPROTONOSUPPORT,
              "init: the program was compiled with a benchfs.h that this library (" BFS_VERSION ") does not know");
    if (options != NULL)
        CHECK(check_options(options));
    struct bfs_init in = {.plain = options == NULL, .uid = geteuid(), .gid = getegid(), .umask = bfs_umask()};
    if (options != NULL) {
        in.config_file = options->config_file;
        in.config_text = options->config_text;
        in.mode = options->mode;
        in.no_environment = (options->flags & BENCHFS_INIT_NO_ENVIRONMENT) != 0;
    }
    char *environment = bfs_environment(&in.environment_size);
    gid_t *groups = bfs_groups(&in.group_count);
    int rc;
    if (environment == NULL || groups == NULL) {
        rc = refuse(ENOMEM, "init: out of memory");
    } else {
        if (in.no_environment)
            in.environment_size = 0;
        in.environment = environment;
        in.groups = groups;
        rc = (int)bfsgo_init(&in);
    }
    free(environment);
    free(groups);
    return rc;
}

int benchfs_finalize(void)
{
    REFUSE_IN_CHILD();
    return (int)bfsgo_finalize();
}

const char *benchfs_version(void)
{
    return BFS_VERSION;
}

int benchfs_is_distributed(void)
{
    REFUSE_IN_CHILD();
    return (int)bfsgo_is_distributed();
}

const char *benchfs_last_error(void)
{
    return bfs_error();
}

ssize_t benchfs_stats(char *buf, size_t size)
{
    REFUSE_IN_CHILD();
    CHECK(check_buffer(buf, size));
    return bfsgo_stats(buf, size);
}

/* ==== Open files ==== */

int benchfs_openat(int dirfd, const char *path, int flags, mode_t mode)
{
    REFUSE_IN_CHILD();
    CHECK_PATH(path);
    return (int)bfsgo_open(dirfd, (char *)path, PATH_LENGTH(path), flags, mode);
}

int benchfs_open(const char *path, int flags, mode_t mode)
{
    return benchfs_openat(BENCHFS_AT_FDCWD, path, flags, mode);
}

int benchfs_open_inode(uint64_t ino, int flags)
{
    REFUSE_IN_CHILD();
    return (int)bfsgo_open_inode(ino, flags);
}

int benchfs_creat(const char *path, mode_t mode)
{
    return benchfs_openat(BENCHFS_AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

int benchfs_close(int fd)
{
    REFUSE_IN_CHILD();
    return (int)bfsgo_close(fd);
}

int benchfs_dup(int fd)
{
    REFUSE_IN_CHILD();
    return (int)bfsgo_dup(fd);
}

off_t benchfs_lseek(int fd, off_t offset, int whence)
{
    REFUSE_IN_CHILD();
    return bfsgo_lseek(fd, offset, whence);
}

/* ==== Reading and writing ==== */

ssize_t benchfs_read(int fd, void *buf, size_t count)
{
    REFUSE_IN_CHILD();
    CHECK(check_buffer(buf, count));
    return bfsgo_read(fd, buf, count);
}

ssize_t benchfs_write(int fd, const void *buf, size_t count)
{
    REFUSE_IN_CHILD();
    CHECK(check_buffer(buf, count));
    return bfsgo_write(fd, (void *)buf, count);
}

ssize_t benchfs_pread(int fd, void *buf, size_t count, off_t offset)
{
    REFUSE_IN_CHILD();
    CHECK_OFFSET(offset);
    CHECK(check_buffer(buf, count));
    return bfsgo_pread(fd, buf, count, offset);
}

ssize_t benchfs_pwrite(int fd, const void *buf, size_t count, off_t offset)
{
    REFUSE_IN_CHILD();
    CHECK_OFFSET(offset);
    CHECK(check_buffer(buf, count));
    return bfsgo_pwrite(fd, (void *)buf, count, offset);
}

ssize_t benchfs_readv(int fd, const struct iovec *iov, int iovcnt)
{
    REFUSE_IN_CHILD();
    CHECK(check_vector(iov, iovcnt));
    return bfsgo_readv(fd, (void *)iov, iovcnt);
}

ssize_t benchfs_writev(int fd, const struct iovec *iov, int iovcnt)
{
    REFUSE_IN_CHILD();
    CHECK(check_vector(iov, iovcnt));
    return bfsgo_writev(fd, (void *)iov, iovcnt);
}

ssize_t benchfs_preadv(int fd, const struct iovec *iov, int iovcnt, off_t offset)
{
    REFUSE_IN_CHILD();
    CHECK_OFFSET(offset);
    CHECK(check_vector(iov, iovcnt));
    return bfsgo_preadv(fd, (void *)iov, iovcnt, offset);
}

ssize_t benchfs_pwritev(int fd, const struct iovec *iov, int iovcnt, off_t offset)
{
    REFUSE_IN_CHILD();
    CHECK_OFFSET(offset);
    CHECK(check_vector(iov, iovcnt));
    return bfsgo_pwritev(fd, (void *)iov, iovcnt, offset);
}

int benchfs_iread(int fd, void *buf, size_t count, off_t offset)
{
    REFUSE_IN_CHILD();
    CHECK(check_buffer(buf, count));
    CHECK_OFFSET(offset);
    return (int)bfsgo_iread(fd, buf, count, offset);
}

int benchfs_iwrite(int fd, const void *buf, size_t count, off_t offset)
{
    REFUSE_IN_CHILD();
    CHECK(check_buffer(buf, count));
    CHECK_OFFSET(offset);
    return (int)bfsgo_iwrite(fd, (void *)buf, count, offset);
}

int benchfs_test(int request, ssize_t *result)
{
    REFUSE_IN_CHILD();
    REFUSE_IF(result == NULL, EFAULT, "test: result is NULL");
    int64_t moved = 0;
    int done = (int)bfsgo_test(request, &moved);
    if (done == 1)
        *result = moved;
    return done;
}

ssize_t benchfs_wait(int request)
{
    REFUSE_IN_CHILD();
    return bfsgo_wait(request);
}

_Static_assert(sizeof(ssize_t) == sizeof(int64_t), "results of benchfs_waitall");

int benchfs_waitall(int count, int requests[], ssize_t results[])
{
    REFUSE_IN_CHILD();
    REFUSE_IF(count < 0, EINVAL, "waitall: count is negative");
    REFUSE_IF(count > 0 && requests == NULL, EFAULT, "waitall: requests is NULL");
    return (int)bfsgo_waitall(count, requests, (int64_t *)results);
}

int benchfs_cancel(int request)
{
    REFUSE_IN_CHILD();
    return (int)bfsgo_cancel(request);
}

void *benchfs_mem_alloc(size_t bytes)
{
    void *memory = NULL;
    if (atomic_load_explicit(&forked, memory_order_relaxed)) {
        refuse(ECHILD, "this process is a fork of the one that uses BenchFS: exec first");
        return NULL;
    }
    return bfsgo_mem_alloc(bytes, &memory) < 0 ? NULL : memory;
}

int benchfs_mem_free(void *memory)
{
    REFUSE_IN_CHILD();
    return memory == NULL ? 0 : (int)bfsgo_mem_free(memory);
}

int benchfs_fsync(int fd)
{
    REFUSE_IN_CHILD();
    return (int)bfsgo_fsync(fd, 0);
}

int benchfs_fdatasync(int fd)
{
    REFUSE_IN_CHILD();
    return (int)bfsgo_fsync(fd, 1);
}

int benchfs_sync(void)
{
    REFUSE_IN_CHILD();
    return (int)bfsgo_sync();
}

/* ==== Attributes ==== */

int benchfs_fstatat(int dirfd, const char *path, struct stat *st, int flags)
{
    REFUSE_IN_CHILD();
    CHECK_PATH(path);
    REFUSE_IF(st == NULL, EFAULT, "stat: st is NULL");
    return (int)bfsgo_stat(dirfd, (char *)path, PATH_LENGTH(path), st, flags);
}

int benchfs_stat(const char *path, struct stat *st)
{
    return benchfs_fstatat(BENCHFS_AT_FDCWD, path, st, 0);
}

int benchfs_lstat(const char *path, struct stat *st)
{
    return benchfs_fstatat(BENCHFS_AT_FDCWD, path, st, AT_SYMLINK_NOFOLLOW);
}

int benchfs_fstat(int fd, struct stat *st)
{
    REFUSE_IN_CHILD();
    REFUSE_IF(st == NULL, EFAULT, "fstat: st is NULL");
    return (int)bfsgo_fstat(fd, st);
}

int benchfs_statfs(const char *path, struct statvfs *sv)
{
    REFUSE_IN_CHILD();
    CHECK_PATH(path);
    REFUSE_IF(sv == NULL, EFAULT, "statfs: sv is NULL");
    return (int)bfsgo_statfs((char *)path, PATH_LENGTH(path), sv);
}

int benchfs_fstatfs(int fd, struct statvfs *sv)
{
    REFUSE_IN_CHILD();
    REFUSE_IF(sv == NULL, EFAULT, "fstatfs: sv is NULL");
    return (int)bfsgo_fstatfs(fd, sv);
}

int benchfs_faccessat(int dirfd, const char *path, int mode, int flags)
{
    REFUSE_IN_CHILD();
    CHECK_PATH(path);
    return (int)bfsgo_access(dirfd, (char *)path, PATH_LENGTH(path), mode, flags);
}

int benchfs_access(const char *path, int mode)
{
    return benchfs_faccessat(BENCHFS_AT_FDCWD, path, mode, 0);
}

int benchfs_fchmodat(int dirfd, const char *path, mode_t mode, int flags)
{
    REFUSE_IN_CHILD();
    CHECK_PATH(path);
    return (int)bfsgo_chmod(dirfd, (char *)path, PATH_LENGTH(path), mode, flags);
}

int benchfs_chmod(const char *path, mode_t mode)
{
    return benchfs_fchmodat(BENCHFS_AT_FDCWD, path, mode, 0);
}

int benchfs_fchmod(int fd, mode_t mode)
{
    REFUSE_IN_CHILD();
    return (int)bfsgo_fchmod(fd, mode);
}

int benchfs_fchownat(int dirfd, const char *path, uid_t uid, gid_t gid, int flags)
{
    REFUSE_IN_CHILD();
    CHECK_PATH(path);
    return (int)bfsgo_chown(dirfd, (char *)path, PATH_LENGTH(path), uid, gid, flags);
}

int benchfs_chown(const char *path, uid_t uid, gid_t gid)
{
    return benchfs_fchownat(BENCHFS_AT_FDCWD, path, uid, gid, 0);
}

int benchfs_lchown(const char *path, uid_t uid, gid_t gid)
{
    return benchfs_fchownat(BENCHFS_AT_FDCWD, path, uid, gid, AT_SYMLINK_NOFOLLOW);
}

int benchfs_fchown(int fd, uid_t uid, gid_t gid)
{
    REFUSE_IN_CHILD();
    return (int)bfsgo_fchown(fd, uid, gid);
}

int benchfs_utimensat(int dirfd, const char *path, const struct timespec times[2], int flags)
{
    REFUSE_IN_CHILD();
    CHECK_PATH(path);
    return (int)bfsgo_utimens(dirfd, (char *)path, PATH_LENGTH(path), (struct timespec *)times, flags);
}

int benchfs_utimens(const char *path, const struct timespec times[2])
{
    return benchfs_utimensat(BENCHFS_AT_FDCWD, path, times, 0);
}

int benchfs_lutimens(const char *path, const struct timespec times[2])
{
    return benchfs_utimensat(BENCHFS_AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW);
}

int benchfs_futimens(int fd, const struct timespec times[2])
{
    REFUSE_IN_CHILD();
    return (int)bfsgo_futimens(fd, (struct timespec *)times);
}

int benchfs_truncate(const char *path, off_t size)
{
    REFUSE_IN_CHILD();
    CHECK_PATH(path);
    REFUSE_IF(size < 0, EINVAL, "truncate: size is negative");
    return (int)bfsgo_truncate((char *)path, PATH_LENGTH(path), size);
}

int benchfs_ftruncate(int fd, off_t size)
{
    REFUSE_IN_CHILD();
    REFUSE_IF(size < 0, EINVAL, "ftruncate: size is negative");
    return (int)bfsgo_ftruncate(fd, size);
}

int benchfs_fallocate(int fd, int mode, off_t offset, off_t length)
{
    REFUSE_IN_CHILD();
    REFUSE_IF(offset < 0 || length <= 0, EINVAL, "fallocate: negative offset, or length not above 0");
    return (int)bfsgo_fallocate(fd, mode, offset, length);
}

/* ==== Names ==== */

int benchfs_mkdirat(int dirfd, const char *path, mode_t mode)
{
    REFUSE_IN_CHILD();
    CHECK_PATH(path);
    return (int)bfsgo_mkdir(dirfd, (char *)path, PATH_LENGTH(path), mode);
}

int benchfs_mkdir(const char *path, mode_t mode)
{
    return benchfs_mkdirat(BENCHFS_AT_FDCWD, path, mode);
}

int benchfs_unlinkat(int dirfd, const char *path, int flags)
{
    REFUSE_IN_CHILD();
    CHECK_PATH(path);
    return (int)bfsgo_unlink(dirfd, (char *)path, PATH_LENGTH(path), flags);
}

int benchfs_unlink(const char *path)
{
    return benchfs_unlinkat(BENCHFS_AT_FDCWD, path, 0);
}

int benchfs_rmdir(const char *path)
{
    return benchfs_unlinkat(BENCHFS_AT_FDCWD, path, AT_REMOVEDIR);
}

int benchfs_renameat(int olddirfd, const char *oldpath, int newdirfd, const char *newpath)
{
    REFUSE_IN_CHILD();
    CHECK_PATH(oldpath);
    CHECK_PATH(newpath);
    return (int)bfsgo_rename(olddirfd, (char *)oldpath, PATH_LENGTH(oldpath), newdirfd, (char *)newpath,
                             PATH_LENGTH(newpath));
}

int benchfs_rename(const char *oldpath, const char *newpath)
{
    return benchfs_renameat(BENCHFS_AT_FDCWD, oldpath, BENCHFS_AT_FDCWD, newpath);
}

int benchfs_linkat(int olddirfd, const char *oldpath, int newdirfd, const char *newpath, int flags)
{
    REFUSE_IN_CHILD();
    CHECK_PATH(oldpath);
    CHECK_PATH(newpath);
    return (int)bfsgo_link(olddirfd, (char *)oldpath, PATH_LENGTH(oldpath), newdirfd, (char *)newpath,
                           PATH_LENGTH(newpath), flags);
}

int benchfs_link(const char *oldpath, const char *newpath)
{
    return benchfs_linkat(BENCHFS_AT_FDCWD, oldpath, BENCHFS_AT_FDCWD, newpath, 0);
}

int benchfs_symlinkat(const char *target, int dirfd, const char *path)
{
    REFUSE_IN_CHILD();
    REFUSE_IF(target == NULL, EFAULT, "symlink: target is NULL");
    CHECK_PATH(path);
    return (int)bfsgo_symlink((char *)target, PATH_LENGTH(target), dirfd, (char *)path, PATH_LENGTH(path));
}

int benchfs_symlink(const char *target, const char *path)
{
    return benchfs_symlinkat(target, BENCHFS_AT_FDCWD, path);
}

ssize_t benchfs_readlinkat(int dirfd, const char *path, char *buf, size_t size)
{
    REFUSE_IN_CHILD();
    CHECK_PATH(path);
    CHECK(check_buffer(buf, size));
    return bfsgo_readlink(dirfd, (char *)path, PATH_LENGTH(path), buf, size);
}

ssize_t benchfs_readlink(const char *path, char *buf, size_t size)
{
    return benchfs_readlinkat(BENCHFS_AT_FDCWD, path, buf, size);
}

/* ==== Locks ==== */

static int check_lock(const struct benchfs_lock *lock)
{
    REFUSE_IF(lock == NULL, EFAULT, "lock is NULL");
    REFUSE_IF(lock->size < sizeof *lock || lock->size > 4096, EINVAL, "lock.size is not sizeof(struct benchfs_lock)");
    REFUSE_IF(asks_for_more(lock, lock->size, sizeof *lock), EINVAL,
              "lock with fields that this library does not know");
    return 0;
}

/* Go decides who gets the lock; the wait is here, where a signal ends it. */
static int wait_for_lock(int fd, struct benchfs_lock *lock)
{
    /* Not on the stack: a handler that leaves by longjmp must not have another thread write into somebody else's frame. */
    uint32_t *over = calloc(1, sizeof *over);
    REFUSE_IF(over == NULL, ENOMEM, "lock: out of memory");
    int64_t id = bfsgo_lock_begin(fd, lock, over);
    int rc = (int)id;
    if (id > 0) {
        int slept = bfs_sleep(over);
        rc = (int)bfsgo_lock_end(id, !slept);
    }
    free(over);
    return rc;
}

int benchfs_lock(int fd, int op, struct benchfs_lock *lock)
{
    REFUSE_IN_CHILD();
    CHECK(check_lock(lock));
    REFUSE_IF(op < BENCHFS_LOCK_TRY || op > BENCHFS_LOCK_LEAVE, EINVAL, "lock: unknown operation");
    if (op == BENCHFS_LOCK_TEST)
        return (int)bfsgo_lock(fd, op, lock);
    struct benchfs_lock asked = *lock;
    if (asked.pid == 0)
        asked.pid = (int)getpid();
    if (op == BENCHFS_LOCK_WAIT && asked.type != F_UNLCK)
        return wait_for_lock(fd, &asked);
    return (int)bfsgo_lock(fd, op == BENCHFS_LOCK_WAIT ? BENCHFS_LOCK_TRY : op, &asked);
}

uint64_t benchfs_session(void)
{
    uint64_t session = 0;
    if (atomic_load_explicit(&forked, memory_order_relaxed)) {
        refuse(ECHILD, "this process is a fork of the one that uses BenchFS: exec first");
        return 0;
    }
    return bfsgo_session(&session) < 0 ? 0 : session;
}

/* ==== Directory streams ==== */

int benchfs_opendir(const char *path)
{
    REFUSE_IN_CHILD();
    CHECK_PATH(path);
    return (int)bfsgo_opendir((char *)path, PATH_LENGTH(path));
}

int benchfs_fdopendir(int fd)
{
    REFUSE_IN_CHILD();
    return (int)bfsgo_fdopendir(fd);
}

int benchfs_readdir(int dir, struct benchfs_dirent *entry)
{
    REFUSE_IN_CHILD();
    REFUSE_IF(entry == NULL, EFAULT, "readdir: entry is NULL");
    return (int)bfsgo_readdir(dir, entry);
}

int benchfs_readdir_many(int dir, struct benchfs_direntplus *entries, int count)
{
    REFUSE_IN_CHILD();
    REFUSE_IF(count < 1, EINVAL, "readdir_many: count below 1");
    REFUSE_IF(entries == NULL, EFAULT, "readdir_many: entries is NULL");
    return (int)bfsgo_readdir_many(dir, entries, count);
}

off_t benchfs_telldir(int dir)
{
    REFUSE_IN_CHILD();
    return bfsgo_telldir(dir);
}

int benchfs_seekdir(int dir, off_t cookie)
{
    REFUSE_IN_CHILD();
    return (int)bfsgo_seekdir(dir, cookie);
}

int benchfs_rewinddir(int dir)
{
    return benchfs_seekdir(dir, 0);
}

int benchfs_closedir(int dir)
{
    REFUSE_IN_CHILD();
    return (int)bfsgo_closedir(dir);
}

/* ==== Placement ==== */

static int check_layout(const struct benchfs_layout *layout)
{
    REFUSE_IF(layout == NULL, EFAULT, "layout is NULL");
    REFUSE_IF(layout->size < sizeof *layout || layout->size > 4096, EINVAL,
              "layout.size is not sizeof(struct benchfs_layout)");
    return 0;
}

/* For setting: fields that this library does not know must ask for nothing. */
static int check_new_layout(const struct benchfs_layout *layout)
{
    CHECK(check_layout(layout));
    REFUSE_IF(asks_for_more(layout, layout->size, sizeof *layout), EINVAL,
              "layout with fields that this library does not know");
    return 0;
}

/* For asking: fields that this library does not know are 0. */
static int told(int rc, struct benchfs_layout *layout)
{
    if (rc == 0)
        memset((char *)layout + sizeof *layout, 0, layout->size - sizeof *layout);
    return rc;
}

int benchfs_get_layout(const char *path, struct benchfs_layout *layout)
{
    REFUSE_IN_CHILD();
    CHECK_PATH(path);
    CHECK(check_layout(layout));
    return told((int)bfsgo_get_layout((char *)path, PATH_LENGTH(path), layout), layout);
}

int benchfs_fget_layout(int fd, struct benchfs_layout *layout)
{
    REFUSE_IN_CHILD();
    CHECK(check_layout(layout));
    return told((int)bfsgo_fget_layout(fd, layout), layout);
}

int benchfs_set_layout(const char *path, const struct benchfs_layout *layout)
{
    REFUSE_IN_CHILD();
    CHECK_PATH(path);
    CHECK(check_new_layout(layout));
    return (int)bfsgo_set_layout((char *)path, PATH_LENGTH(path), (struct benchfs_layout *)layout);
}

int benchfs_fset_layout(int fd, const struct benchfs_layout *layout)
{
    REFUSE_IN_CHILD();
    CHECK(check_new_layout(layout));
    return (int)bfsgo_fset_layout(fd, (struct benchfs_layout *)layout);
}

int benchfs_locate(int fd, off_t offset, off_t length, struct benchfs_extent *extents, int max)
{
    REFUSE_IN_CHILD();
    REFUSE_IF(offset < 0 || length < 0 || max < 0, EINVAL, "locate: negative offset, length or max");
    REFUSE_IF(extents == NULL && max > 0, EFAULT, "locate: extents is NULL");
    return (int)bfsgo_locate(fd, offset, length, extents, max);
}
