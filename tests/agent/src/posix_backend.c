/*
 * posix_backend.c: the functions of benchfs.h that the agent uses, as calls of libc on paths under a prefix. Linked with agent.c in place of
 * libbenchfs it makes an ordinary program of it, which knows nothing of BenchFS: what the interposer is for.
 */
#include "benchfs.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PREFIX "/benchfs"

static long long result(long long rc)
{
    return rc < 0 ? -errno : rc;
}

/* An absolute path as this program's user would write it. Two of them live at a time. */
static const char *here(const char *path)
{
    static char text[2][2 * PATH_MAX];
    static int turn;
    if (path[0] != '/')
        return path;
    turn = !turn;
    snprintf(text[turn], sizeof text[turn], "%s%s", PREFIX, path);
    return text[turn];
}

int benchfs_init_version(uint32_t version, const struct benchfs_options *options)
{
    (void)version;
    (void)options;
    return 0;
}

int benchfs_finalize(void)
{
    return 0;
}

const char *benchfs_last_error(void)
{
    return strerror(errno);
}

int benchfs_openat(int dir, const char *path, int flags, mode_t mode)
{
    return (int)result(openat(dir, here(path), flags, mode));
}

int benchfs_open(const char *path, int flags, mode_t mode)
{
    return (int)result(open(here(path), flags, mode));
}

int benchfs_close(int fd)
{
    return (int)result(close(fd));
}

int benchfs_dup(int fd)
{
    return (int)result(dup(fd));
}

off_t benchfs_lseek(int fd, off_t offset, int whence)
{
    return result(lseek(fd, offset, whence));
}

ssize_t benchfs_read(int fd, void *buf, size_t n)
{
    return result(read(fd, buf, n));
}

ssize_t benchfs_write(int fd, const void *buf, size_t n)
{
    return result(write(fd, buf, n));
}

ssize_t benchfs_pread(int fd, void *buf, size_t n, off_t offset)
{
    return result(pread(fd, buf, n, offset));
}

ssize_t benchfs_pwrite(int fd, const void *buf, size_t n, off_t offset)
{
    return result(pwrite(fd, buf, n, offset));
}

ssize_t benchfs_readv(int fd, const struct iovec *iov, int n)
{
    return result(readv(fd, iov, n));
}

ssize_t benchfs_writev(int fd, const struct iovec *iov, int n)
{
    return result(writev(fd, iov, n));
}

int benchfs_fsync(int fd)
{
    return (int)result(fsync(fd));
}

int benchfs_sync(void)
{
    sync();
    return 0;
}

int benchfs_ftruncate(int fd, off_t size)
{
    return (int)result(ftruncate(fd, size));
}

int benchfs_truncate(const char *path, off_t size)
{
    return (int)result(truncate(here(path), size));
}

int benchfs_fallocate(int fd, int mode, off_t offset, off_t n)
{
    return (int)result(fallocate(fd, mode, offset, n));
}

int benchfs_stat(const char *path, struct stat *st)
{
    return (int)result(stat(here(path), st));
}

int benchfs_lstat(const char *path, struct stat *st)
{
    return (int)result(lstat(here(path), st));
}

int benchfs_fstat(int fd, struct stat *st)
{
    return (int)result(fstat(fd, st));
}

int benchfs_fstatat(int dir, const char *path, struct stat *st, int flags)
{
    return (int)result(fstatat(dir, here(path), st, flags));
}

int benchfs_statfs(const char *path, struct statvfs *v)
{
    return (int)result(statvfs(here(path), v));
}

int benchfs_access(const char *path, int mode)
{
    return (int)result(access(here(path), mode));
}

int benchfs_chmod(const char *path, mode_t mode)
{
    return (int)result(chmod(here(path), mode));
}

int benchfs_fchmod(int fd, mode_t mode)
{
    return (int)result(fchmod(fd, mode));
}

int benchfs_chown(const char *path, uid_t uid, gid_t gid)
{
    return (int)result(chown(here(path), uid, gid));
}

int benchfs_lchown(const char *path, uid_t uid, gid_t gid)
{
    return (int)result(lchown(here(path), uid, gid));
}

int benchfs_utimens(const char *path, const struct timespec times[2])
{
    return (int)result(utimensat(AT_FDCWD, here(path), times, 0));
}

int benchfs_lutimens(const char *path, const struct timespec times[2])
{
    return (int)result(utimensat(AT_FDCWD, here(path), times, AT_SYMLINK_NOFOLLOW));
}

int benchfs_mkdir(const char *path, mode_t mode)
{
    return (int)result(mkdir(here(path), mode));
}

int benchfs_mkdirat(int dir, const char *path, mode_t mode)
{
    return (int)result(mkdirat(dir, here(path), mode));
}

int benchfs_rmdir(const char *path)
{
    return (int)result(rmdir(here(path)));
}

int benchfs_unlink(const char *path)
{
    return (int)result(unlink(here(path)));
}

int benchfs_unlinkat(int dir, const char *path, int flags)
{
    return (int)result(unlinkat(dir, here(path), flags));
}

int benchfs_rename(const char *from, const char *to)
{
    return (int)result(rename(here(from), here(to)));
}

int benchfs_renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    return (int)result(renameat(from_dir, here(from), to_dir, here(to)));
}

int benchfs_link(const char *from, const char *to)
{
    return (int)result(link(here(from), here(to)));
}

int benchfs_symlink(const char *target, const char *path)
{
    return (int)result(symlink(here(target), here(path)));
}

ssize_t benchfs_readlink(const char *path, char *buf, size_t size)
{
    char text[2 * PATH_MAX];
    ssize_t n = readlink(here(path), text, sizeof text);
    if (n < 0)
        return result(n);
    size_t cut =
        n >= (ssize_t)sizeof PREFIX - 1 && memcmp(text, PREFIX, sizeof PREFIX - 1) == 0 ? sizeof PREFIX - 1 : 0;
    size_t rest = (size_t)n - cut;
    memcpy(buf, text + cut, rest < size ? rest : size);
    return (ssize_t)(rest < size ? rest : size);
}

/* ==== Directory streams ==== */

#define MOST_STREAMS 64
/* Handles of streams are told from descriptors. */
#define FIRST_STREAM 1000000

static DIR *streams[MOST_STREAMS];

static DIR *stream(int dir)
{
    int i = dir - FIRST_STREAM;
    DIR *found = i >= 0 && i < MOST_STREAMS ? streams[i] : NULL;
    if (found == NULL)
        errno = EBADF;
    return found;
}

int benchfs_opendir(const char *path)
{
    DIR *opened = opendir(here(path));
    if (opened == NULL)
        return -errno;
    for (int i = 0; i < MOST_STREAMS; i++) {
        if (streams[i] == NULL) {
            streams[i] = opened;
            return FIRST_STREAM + i;
        }
    }
    closedir(opened);
    return -EMFILE;
}

int benchfs_readdir(int dir, struct benchfs_dirent *e)
{
    DIR *d = stream(dir);
    if (d == NULL)
        return -errno;
    errno = 0;
    struct dirent *got = readdir(d);
    if (got == NULL)
        return -errno;
    e->ino = got->d_ino;
    e->cookie = telldir(d);
    e->kind = got->d_type;
    e->name_size = (uint32_t)strlen(got->d_name);
    memcpy(e->name, got->d_name, e->name_size + 1);
    return 1;
}

off_t benchfs_telldir(int dir)
{
    DIR *d = stream(dir);
    return d == NULL ? -errno : telldir(d);
}

int benchfs_seekdir(int dir, off_t cookie)
{
    DIR *d = stream(dir);
    if (d == NULL)
        return -errno;
    seekdir(d, cookie);
    return 0;
}

int benchfs_closedir(int dir)
{
    DIR *d = stream(dir);
    if (d == NULL)
        return -errno;
    streams[dir - FIRST_STREAM] = NULL;
    return (int)result(closedir(d));
}

/* ==== What libc has no call for, and the conformance cases do not use ==== */

int benchfs_iread(int fd, void *buf, size_t n, off_t offset)
{
    (void)fd, (void)buf, (void)n, (void)offset;
    return -ENOSYS;
}

int benchfs_iwrite(int fd, const void *buf, size_t n, off_t offset)
{
    (void)fd, (void)buf, (void)n, (void)offset;
    return -ENOSYS;
}

int benchfs_test(int request, ssize_t *done)
{
    (void)request, (void)done;
    return -ENOSYS;
}

ssize_t benchfs_wait(int request)
{
    (void)request;
    return -ENOSYS;
}

int benchfs_waitall(int count, int requests[], ssize_t results[])
{
    (void)count, (void)requests, (void)results;
    return -ENOSYS;
}

ssize_t benchfs_stats(char *buf, size_t size)
{
    (void)buf, (void)size;
    return -ENOSYS;
}

int benchfs_get_layout(const char *path, struct benchfs_layout *layout)
{
    (void)path, (void)layout;
    return -ENOSYS;
}

int benchfs_set_layout(const char *path, const struct benchfs_layout *layout)
{
    (void)path, (void)layout;
    return -ENOSYS;
}

int benchfs_locate(int fd, off_t offset, off_t length, struct benchfs_extent *extents, int most)
{
    (void)fd, (void)offset, (void)length, (void)extents, (void)most;
    return -ENOSYS;
}

int benchfs_lock(int fd, int op, struct benchfs_lock *lock)
{
    (void)fd, (void)op, (void)lock;
    return -ENOSYS;
}

uint64_t benchfs_session(void)
{
    return 0;
}
