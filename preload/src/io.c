/* io.c: reading, writing, offsets, durability, space. */
#include "preload.h"

#include <sys/uio.h>

/*
 * The frame of a call on a descriptor: libc's unless it is ours, then h is the library's handle. A descriptor that was opened for its path only
 * (O_PATH) is not one for data, nor is a directory for most.
 */
#define BP_FILE_CALL(function, fd, OUT)                                              \
    struct bp_file *f = bp_file(fd);                                                 \
    if (LIKELY(f == NULL))                                                           \
        return (OUT);                                                                \
    bp_count(F_##function);                                                          \
    int h = bp_handle(f);                                                            \
    if (UNLIKELY(h < 0))                                                             \
        return bp_result(h);                                                         \
    if (UNLIKELY(atomic_load_explicit(&bp_mapping_count, memory_order_relaxed) > 0)) \
        bp_write_back_file(f);                                                       \
    const struct bp_library *lib = &bp_library_calls

/* After n bytes were written at offset. */
static inline void written(const struct bp_file *f, off_t offset, ssize_t n)
{
    if (UNLIKELY(atomic_load_explicit(&bp_mapping_count, memory_order_relaxed) > 0) && n > 0)
        bp_refresh_mappings(f, offset, n);
}

/* ==== At a place that the caller names ==== */

BP_HOT ssize_t pread(int fd, void *buf, size_t n, off_t offset)
{
    BP_FILE_CALL(pread, fd, REAL(pread)(fd, buf, n, offset));
    return bp_count_bytes(F_pread, bp_result(lib->pread(h, buf, n, offset)));
}
ALIAS(pread, pread64);
ALIAS(pread, __pread64);

BP_HOT ssize_t pwrite(int fd, const void *buf, size_t n, off_t offset)
{
    BP_FILE_CALL(pwrite, fd, REAL(pwrite)(fd, buf, n, offset));
    ssize_t moved = lib->pwrite(h, buf, n, offset);
    written(f, offset, moved);
    return bp_count_bytes(F_pwrite, bp_result(moved));
}
ALIAS(pwrite, pwrite64);
ALIAS(pwrite, __pwrite64);

EXPORT ssize_t preadv(int fd, const struct iovec *iov, int count, off_t offset)
{
    BP_FILE_CALL(preadv, fd, REAL(preadv)(fd, iov, count, offset));
    return bp_count_bytes(F_preadv, count == 0 ? 0 : bp_result(lib->preadv(h, iov, count, offset)));
}
ALIAS(preadv, preadv64);

EXPORT ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t offset)
{
    BP_FILE_CALL(pwritev, fd, REAL(pwritev)(fd, iov, count, offset));
    ssize_t moved = count == 0 ? 0 : lib->pwritev(h, iov, count, offset);
    written(f, offset, moved);
    return bp_count_bytes(F_pwritev, bp_result(moved));
}
ALIAS(pwritev, pwritev64);

/* ==== At the offset ==== */

typedef ssize_t transfer(const struct bp_library *lib, int h, const void *what, size_t n, off_t offset);

static ssize_t read_at(const struct bp_library *lib, int h, const void *what, size_t n, off_t offset)
{
    return lib->pread(h, (void *)what, n, offset);
}

static ssize_t readv_at(const struct bp_library *lib, int h, const void *what, size_t n, off_t offset)
{
    return lib->preadv(h, what, (int)n, offset);
}

static ssize_t write_at(const struct bp_library *lib, int h, const void *what, size_t n, off_t offset)
{
    return lib->pwrite(h, what, n, offset);
}

static ssize_t writev_at(const struct bp_library *lib, int h, const void *what, size_t n, off_t offset)
{
    return lib->pwritev(h, what, (int)n, offset);
}

/* Moves data at the offset of the description and moves that on: one step for all who share it, as in POSIX. */
static ssize_t move(const struct bp_library *lib, struct bp_file *f, int h, const void *what, size_t n, transfer *step)
{
    struct bp_description *d = bp_lock_file(f);
    off_t offset = atomic_load_explicit(&d->offset, memory_order_relaxed);
    ssize_t moved = step(lib, h, what, n, offset);
    if (moved > 0)
        atomic_store_explicit(&d->offset, offset + moved, memory_order_relaxed);
    bp_unlock(d);
    if (step == write_at || step == writev_at)
        written(f, offset, moved);
    return moved;
}

/* With O_APPEND the library finds the end and writes there in one step; the offset is then behind what was written. */
static ssize_t append(const struct bp_library *lib, struct bp_file *f, int h, const void *what, size_t n, int vector)
{
    struct bp_description *d = bp_lock_file(f);
    ssize_t moved = vector ? lib->writev(h, what, (int)n) : lib->write(h, what, n);
    off_t end = moved > 0 ? lib->lseek(h, 0, SEEK_CUR) : -1;
    if (end >= 0)
        atomic_store_explicit(&d->offset, end, memory_order_relaxed);
    bp_unlock(d);
    if (end >= 0)
        written(f, end - moved, moved);
    return moved;
}

static int appends(const struct bp_file *f)
{
    return (atomic_load_explicit(&f->description->flags, memory_order_relaxed) & O_APPEND) != 0;
}

BP_HOT ssize_t read(int fd, void *buf, size_t n)
{
    BP_FILE_CALL(read, fd, REAL(read)(fd, buf, n));
    return bp_count_bytes(F_read, bp_result(move(lib, f, h, buf, n, read_at)));
}
ALIAS(read, __read);

BP_HOT ssize_t write(int fd, const void *buf, size_t n)
{
    BP_FILE_CALL(write, fd, REAL(write)(fd, buf, n));
    return bp_count_bytes(F_write,
                          bp_result(appends(f) ? append(lib, f, h, buf, n, 0) : move(lib, f, h, buf, n, write_at)));
}
ALIAS(write, __write);

EXPORT ssize_t readv(int fd, const struct iovec *iov, int count)
{
    BP_FILE_CALL(readv, fd, REAL(readv)(fd, iov, count));
    if (count == 0)
        return 0;
    return bp_count_bytes(F_readv, bp_result(move(lib, f, h, iov, (size_t)count, readv_at)));
}

EXPORT ssize_t writev(int fd, const struct iovec *iov, int count)
{
    BP_FILE_CALL(writev, fd, REAL(writev)(fd, iov, count));
    if (count == 0)
        return 0;
    size_t n = (size_t)count;
    return bp_count_bytes(F_writev,
                          bp_result(appends(f) ? append(lib, f, h, iov, n, 1) : move(lib, f, h, iov, n, writev_at)));
}

/* Offset -1: at the description's. Flags that ask for speed or for no waiting are met by doing the plain thing. */
EXPORT ssize_t preadv2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
    if (LIKELY(bp_file(fd) == NULL))
        return REAL(preadv2)(fd, iov, count, offset, flags);
    if (flags & ~(RWF_HIPRI | RWF_NOWAIT))
        return bp_refuse(F_preadv2, EOPNOTSUPP, "a flag that means nothing here");
    return offset == -1 ? readv(fd, iov, count) : preadv(fd, iov, count, offset);
}
ALIAS(preadv2, preadv64v2);

EXPORT ssize_t pwritev2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
    struct bp_file *f = bp_file(fd);
    if (LIKELY(f == NULL))
        return REAL(pwritev2)(fd, iov, count, offset, flags);
    if (flags & ~(RWF_HIPRI | RWF_NOWAIT | RWF_DSYNC | RWF_SYNC))
        return bp_refuse(F_pwritev2, EOPNOTSUPP, "a flag that means nothing here");
    ssize_t n = offset == -1 ? writev(fd, iov, count) : pwritev(fd, iov, count, offset);
    if (n > 0 && (flags & (RWF_DSYNC | RWF_SYNC)) != 0 && fdatasync(fd) != 0)
        return -1;
    return n;
}
ALIAS(pwritev2, pwritev64v2);

/* ==== Fortified forms: the room is known, the rest is the same ==== */

EXPORT ssize_t __read_chk(int fd, void *buf, size_t n, size_t room)
{
    return n > room ? abort(), -1 : read(fd, buf, n);
}

EXPORT ssize_t __pread_chk(int fd, void *buf, size_t n, off_t offset, size_t room)
{
    return n > room ? abort(), -1 : pread(fd, buf, n, offset);
}
ALIAS(__pread_chk, __pread64_chk);

/* ==== Offsets ==== */

BP_HOT off_t lseek(int fd, off_t offset, int whence)
{
    BP_FILE_CALL(lseek, fd, REAL(lseek)(fd, offset, whence));
    if (whence == SEEK_SET && offset < 0) /* directories: a cookie, 0 to begin again */
        return bp_result(-EINVAL);
    struct bp_description *d = bp_lock_file(f);
    off_t result;
    if (LIKELY(whence == SEEK_SET)) {
        result = offset;
    } else if (whence == SEEK_CUR) {
        off_t now = atomic_load_explicit(&d->offset, memory_order_relaxed);
        if (__builtin_add_overflow(now, offset, &result))
            result = -EOVERFLOW;
        else if (result < 0)
            result = -EINVAL;
    } else {
        result = lib->lseek(h, offset, whence);
    }
    if (result >= 0)
        atomic_store_explicit(&d->offset, result, memory_order_relaxed);
    bp_unlock(d);
    return bp_result(result);
}
ALIAS(lseek, lseek64);
ALIAS(lseek, __lseek);
ALIAS(lseek, llseek);

/* ==== Durability and space ==== */

EXPORT int fsync(int fd)
{
    BP_FILE_CALL(fsync, fd, REAL(fsync)(fd));
    return (int)bp_result(lib->fsync(h));
}

EXPORT int fdatasync(int fd)
{
    BP_FILE_CALL(fdatasync, fd, REAL(fdatasync)(fd));
    return (int)bp_result(lib->fdatasync(h));
}

EXPORT void sync(void)
{
    REAL(sync)();
    if (atomic_load(&bp_library_ready))
        bp_library_calls.sync();
}

EXPORT int syncfs(int fd)
{
    BP_FILE_CALL(syncfs, fd, REAL(syncfs)(fd));
    (void)h;
    return (int)bp_result(lib->sync());
}

EXPORT int sync_file_range(int fd, off_t offset, off_t n, unsigned flags)
{
    BP_FILE_CALL(sync_file_range, fd, REAL(sync_file_range)(fd, offset, n, flags));
    return (int)bp_result(lib->fdatasync(h));
}

EXPORT int ftruncate(int fd, off_t size)
{
    BP_FILE_CALL(ftruncate, fd, REAL(ftruncate)(fd, size));
    int rc = lib->ftruncate(h, size);
    if (rc == 0 && atomic_load_explicit(&bp_mapping_count, memory_order_relaxed) > 0)
        bp_refresh_mappings(f, size, INT64_MAX - size);
    return (int)bp_result(rc);
}
ALIAS(ftruncate, ftruncate64);

EXPORT int truncate(const char *path, off_t size)
{
    BP_PATH_CALL(truncate, AT_FDCWD, path, 1, REAL(truncate)(w.path, size), ({
                     int h_ = lib->openat(w.dir, w.path, O_WRONLY, 0);
                     int r__ = h_ < 0 ? h_ : lib->ftruncate(h_, size);
                     if (h_ >= 0)
                         lib->close(h_);
                     r__;
                 }));
}
ALIAS(truncate, truncate64);

/* Holes and zeros are written: they read as they should, and their space is not given back. */
static int write_zeros(const struct bp_library *lib, const struct bp_file *f, int h, off_t offset, off_t n, int grow)
{
    static const char zeros[64 << 10];
    struct stat st;
    off_t end;
    if (offset < 0 || n <= 0)
        return -EINVAL;
    if (__builtin_add_overflow(offset, n, &end))
        return -EFBIG;
    if ((atomic_load(&f->description->flags) & O_ACCMODE) == O_RDONLY)
        return -EBADF;
    int rc = lib->fstat(h, &st);
    off_t stop = rc < 0 ? offset : end < st.st_size ? end : st.st_size;
    for (off_t at = offset; rc >= 0 && at < stop;) {
        size_t step = stop - at < (off_t)sizeof zeros ? (size_t)(stop - at) : sizeof zeros;
        ssize_t moved = lib->pwrite(h, zeros, step, at);
        rc = moved < 0 ? (int)moved : 0;
        written(f, at, moved);
        at += moved;
    }
    return rc >= 0 && grow && end > st.st_size ? lib->ftruncate(h, end) : rc;
}

EXPORT int fallocate(int fd, int mode, off_t offset, off_t n)
{
    BP_FILE_CALL(fallocate, fd, REAL(fallocate)(fd, mode, offset, n));
    if (mode == (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE) || (mode & ~FALLOC_FL_KEEP_SIZE) == FALLOC_FL_ZERO_RANGE)
        return (int)bp_result(write_zeros(lib, f, h, offset, n, (mode & FALLOC_FL_KEEP_SIZE) == 0));
    return (int)bp_result(lib->fallocate(h, mode, offset, n));
}
ALIAS(fallocate, fallocate64);

/* Returns the error instead of setting errno. */
EXPORT int posix_fallocate(int fd, off_t offset, off_t n)
{
    struct bp_file *f = bp_file(fd);
    if (LIKELY(f == NULL))
        return REAL(posix_fallocate)(fd, offset, n);
    bp_count(F_posix_fallocate);
    int h = bp_handle(f);
    return -(h < 0 ? h : bp_library_calls.fallocate(h, 0, offset, n));
}
ALIAS(posix_fallocate, posix_fallocate64);

/* Advice: there is nothing to do better for knowing. */
EXPORT int posix_fadvise(int fd, off_t offset, off_t n, int advice)
{
    if (LIKELY(bp_file(fd) == NULL))
        return REAL(posix_fadvise)(fd, offset, n, advice);
    return advice < POSIX_FADV_NORMAL || advice > POSIX_FADV_NOREUSE || n < 0 ? EINVAL : 0;
}
ALIAS(posix_fadvise, posix_fadvise64);

EXPORT ssize_t readahead(int fd, off_t offset, size_t n)
{
    return LIKELY(bp_file(fd) == NULL) ? REAL(readahead)(fd, offset, n) : 0;
}
