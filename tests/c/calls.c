/* calls.c: every call of the interface, once. The functions that these tables leave out have tests of their own in session.c. */
#include "harness.h"

static char bytes[64];
static struct iovec iov[2] = {{bytes, 32}, {bytes + 32, 32}};
static struct stat st;
static struct statvfs sv;
static struct benchfs_dirent entry;
static struct benchfs_direntplus entries[2];
static struct benchfs_extent extents[2];
static const struct timespec times[2] = {{1, 2}, {3, 4}};
static struct benchfs_layout layout = BENCHFS_LAYOUT_INIT;
static struct benchfs_lock lock = BENCHFS_LOCK_INIT;

static ssize_t moved;

static long long wait_for_all(int request)
{
    int requests[2] = {BENCHFS_REQUEST_NULL, request == BENCHFS_REQUEST_NULL ? -2 : request};
    return benchfs_waitall(2, requests, NULL);
}

#define ROOT BENCHFS_AT_FDCWD

/* A call about a path: the expression uses p. */
#define PATH_CALLS(X)                                               \
    X(open, benchfs_open(p, O_RDONLY, 0))                           \
    X(openat, benchfs_openat(ROOT, p, O_RDONLY, 0))                 \
    X(open_to_make, benchfs_open(p, O_CREAT | O_RDWR, 0600))        \
    X(creat, benchfs_creat(p, 0600))                                \
    X(stat, benchfs_stat(p, &st))                                   \
    X(lstat, benchfs_lstat(p, &st))                                 \
    X(fstatat, benchfs_fstatat(ROOT, p, &st, 0))                    \
    X(statfs, benchfs_statfs(p, &sv))                               \
    X(access, benchfs_access(p, R_OK))                              \
    X(faccessat, benchfs_faccessat(ROOT, p, F_OK, 0))               \
    X(chmod, benchfs_chmod(p, 0600))                                \
    X(fchmodat, benchfs_fchmodat(ROOT, p, 0600, 0))                 \
    X(chown, benchfs_chown(p, 1, 1))                                \
    X(lchown, benchfs_lchown(p, 1, 1))                              \
    X(fchownat, benchfs_fchownat(ROOT, p, 1, 1, 0))                 \
    X(utimens, benchfs_utimens(p, times))                           \
    X(lutimens, benchfs_lutimens(p, times))                         \
    X(utimensat, benchfs_utimensat(ROOT, p, times, 0))              \
    X(truncate, benchfs_truncate(p, 10))                            \
    X(mkdir, benchfs_mkdir(p, 0700))                                \
    X(mkdirat, benchfs_mkdirat(ROOT, p, 0700))                      \
    X(rmdir, benchfs_rmdir(p))                                      \
    X(unlink, benchfs_unlink(p))                                    \
    X(unlinkat, benchfs_unlinkat(ROOT, p, 0))                       \
    X(rename_from, benchfs_rename(p, "/to"))                        \
    X(rename_to, benchfs_rename("/calls-from", p))                  \
    X(renameat_from, benchfs_renameat(ROOT, p, ROOT, "/to"))        \
    X(renameat_to, benchfs_renameat(ROOT, "/calls-from", ROOT, p))  \
    X(link_from, benchfs_link(p, "/to"))                            \
    X(link_to, benchfs_link("/calls-from", p))                      \
    X(linkat_from, benchfs_linkat(ROOT, p, ROOT, "/to", 0))         \
    X(linkat_to, benchfs_linkat(ROOT, "/calls-from", ROOT, p, 0))   \
    X(symlink, benchfs_symlink("target", p))                        \
    X(symlink_target, benchfs_symlink(p, "/to"))                    \
    X(symlinkat, benchfs_symlinkat("target", ROOT, p))              \
    X(readlink, benchfs_readlink(p, bytes, sizeof bytes))           \
    X(readlinkat, benchfs_readlinkat(ROOT, p, bytes, sizeof bytes)) \
    X(opendir, benchfs_opendir(p))                                  \
    X(get_layout, benchfs_get_layout(p, &layout))                   \
    X(set_layout, benchfs_set_layout(p, &layout))

/* A call on the handle h of a file. */
#define FILE_CALLS(X)                                            \
    X(close, benchfs_close(h))                                   \
    X(dup, benchfs_dup(h))                                       \
    X(lseek, benchfs_lseek(h, 0, SEEK_SET))                      \
    X(read, benchfs_read(h, bytes, sizeof bytes))                \
    X(read_nothing, benchfs_read(h, NULL, 0))                    \
    X(write, benchfs_write(h, bytes, sizeof bytes))              \
    X(pread, benchfs_pread(h, bytes, sizeof bytes, 0))           \
    X(pwrite, benchfs_pwrite(h, bytes, sizeof bytes, 0))         \
    X(readv, benchfs_readv(h, iov, 2))                           \
    X(writev, benchfs_writev(h, iov, 2))                         \
    X(preadv, benchfs_preadv(h, iov, 2, 0))                      \
    X(pwritev, benchfs_pwritev(h, iov, 2, 0))                    \
    X(iread, benchfs_iread(h, bytes, sizeof bytes, 0))           \
    X(iwrite, benchfs_iwrite(h, bytes, sizeof bytes, 0))         \
    X(test, benchfs_test(h, &moved))                             \
    X(wait, benchfs_wait(h))                                     \
    X(waitall, wait_for_all(h))                                  \
    X(cancel, benchfs_cancel(h))                                 \
    X(fsync, benchfs_fsync(h))                                   \
    X(fdatasync, benchfs_fdatasync(h))                           \
    X(fstat, benchfs_fstat(h, &st))                              \
    X(fstatfs, benchfs_fstatfs(h, &sv))                          \
    X(fchmod, benchfs_fchmod(h, 0600))                           \
    X(fchown, benchfs_fchown(h, 1, 1))                           \
    X(futimens, benchfs_futimens(h, times))                      \
    X(ftruncate, benchfs_ftruncate(h, 10))                       \
    X(fallocate, benchfs_fallocate(h, 0, 0, 10))                 \
    X(fdopendir, benchfs_fdopendir(h))                           \
    X(lock, benchfs_lock(h, BENCHFS_LOCK_TRY, &lock))            \
    X(fget_layout, benchfs_fget_layout(h, &layout))              \
    X(fset_layout, benchfs_fset_layout(h, &layout))              \
    X(locate, benchfs_locate(h, 0, 10, extents, 2))              \
    X(openat_in, benchfs_openat(h, "x", O_CREAT | O_RDWR, 0600)) \
    X(fstatat_in, benchfs_fstatat(h, "x", &st, 0))               \
    X(fstatat_self, benchfs_fstatat(h, "", &st, AT_EMPTY_PATH))  \
    X(faccessat_in, benchfs_faccessat(h, "x", F_OK, 0))          \
    X(fchmodat_in, benchfs_fchmodat(h, "x", 0600, 0))            \
    X(fchownat_in, benchfs_fchownat(h, "x", 1, 1, 0))            \
    X(utimensat_in, benchfs_utimensat(h, "x", times, 0))         \
    X(mkdirat_in, benchfs_mkdirat(h, "x", 0700))                 \
    X(unlinkat_in, benchfs_unlinkat(h, "x", 0))                  \
    X(renameat_in, benchfs_renameat(h, "x", h, "y"))             \
    X(linkat_in, benchfs_linkat(h, "x", h, "y", 0))              \
    X(symlinkat_in, benchfs_symlinkat("x", h, "y"))              \
    X(readlinkat_in, benchfs_readlinkat(h, "x", bytes, sizeof bytes))

/* A call on the handle h of a directory stream. */
#define STREAM_CALLS(X)                                  \
    X(readdir, benchfs_readdir(h, &entry))               \
    X(readdir_many, benchfs_readdir_many(h, entries, 2)) \
    X(telldir, benchfs_telldir(h))                       \
    X(seekdir, benchfs_seekdir(h, 0))                    \
    X(rewinddir, benchfs_rewinddir(h))                   \
    X(closedir, benchfs_closedir(h))

#define DEFINE_PATH(name, call)                 \
    static long long path_##name(const char *p) \
    {                                           \
        return (long long)(call);               \
    }
#define DEFINE_HANDLE(name, call)         \
    static long long handle_##name(int h) \
    {                                     \
        return (long long)(call);         \
    }
#define PATH_ROW(name, call) {#name, path_##name},
#define HANDLE_ROW(name, call) {#name, handle_##name},

PATH_CALLS(DEFINE_PATH)
FILE_CALLS(DEFINE_HANDLE)
STREAM_CALLS(DEFINE_HANDLE)

const struct path_call path_calls[] = {PATH_CALLS(PATH_ROW)};
const size_t path_call_count = sizeof path_calls / sizeof path_calls[0];
const struct handle_call file_calls[] = {FILE_CALLS(HANDLE_ROW)};
const size_t file_call_count = sizeof file_calls / sizeof file_calls[0];
const struct handle_call stream_calls[] = {STREAM_CALLS(HANDLE_ROW)};
const size_t stream_call_count = sizeof stream_calls / sizeof stream_calls[0];
