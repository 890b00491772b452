/*
 * benchfs.h: the C interface of BenchFS, an ad hoc parallel file system.
 *
 * Link with -lbenchfs. The interface is stable within one soname (libbenchfs.so.0): functions, fields and
 * constants are added, never changed. This file is the manual; docs/api.md is made from it, docs/errors.md
 * says what to do about each error.
 *
 * CONVENTIONS
 *
 * Results. A call returns 0, a count, an offset or a handle (all >= 0), or a negative errno, e.g. -ENOENT.
 * The variable errno means nothing after a call. A call that fails changes nothing, in the file system or in
 * the caller's memory, unless its description says so. benchfs_strerror() gives the meaning of a code,
 * benchfs_last_error() what went wrong this time, with the path and the node.
 *
 * Handles. Open files, open directory streams and requests are non-negative ints, of three kinds. They are not kernel
 * descriptors: do not give one to close() or read(). A handle that is closed, was never given out, belongs to
 * an earlier session or is of the other kind is refused with -EBADF. A handle may be closed while another
 * thread uses it: the other call goes on to its end.
 *
 * Paths. Bytes; components are separated by '/', may be up to 255 bytes long, a path up to 4095. The library
 * has no working directory: a relative path starts at the root, in the *at calls at the directory of the
 * handle. "." and "..", several slashes and symbolic links mean what they mean in POSIX.
 *
 * Offsets are 64 bits wide, sizes go up to 2^63 - 1. One call moves at most 2^31 - 4096 bytes, as in Linux:
 * of a longer request, so many. Structures, flags and constants are those of the system's own headers.
 *
 * Semantics are those of POSIX, with these differences: reads do not advance st_atime; st_blocks is computed
 * from the size; O_SYNC and O_DSYNC make each write durable before it returns; O_DIRECT, O_NONBLOCK,
 * O_NOATIME and O_CLOEXEC are accepted and mean nothing here; devices, FIFOs, sockets and O_TMPFILE do not
 * exist. A write that has returned is seen by every read that starts later, in any process on any node
 * (unless the configuration asks for cache.mode = "close-to-open").
 *
 * Threads. Every call may be made from any number of threads at once. A call runs to its end on the thread
 * that makes it, but for the transfers of benchfs_iread and benchfs_iwrite, which threads of the library go on
 * with. No call may be made from a signal handler. A thread that is cancelled or leaves by longjmp
 * inside a call leaves the library unusable.
 *
 * Blocking. "Blocks: yes" is for as long as the servers need, at most rpc.call_timeout (see
 * docs/configuration.md), then the call fails with -ETIMEDOUT or another true reason. "Blocks: no" is memory
 * work only.
 *
 * Fork. The library's runtime does not survive fork() in the child. There, every call returns -ECHILD and
 * does nothing; benchfs_version, benchfs_strerror and benchfs_last_error go on working. The parent is not
 * affected, and the child may exec(). A child made by a bare clone() system call, around the C library, is
 * not noticed: it must not call BenchFS at all. vfork() and posix_spawn() are fine, as the child makes no
 * calls.
 *
 * Signals. The signal mask stays as it is, and the library's own threads take none of the signals that are sent to
 * the process. The library's Go runtime handles SIGSEGV, SIGBUS, SIGFPE, SIGPIPE
 * and SIGURG, which it uses itself; what is not its own it passes on to the handler that was there when the
 * library was loaded, or treats as if there were none. It adds SA_ONSTACK to the handlers that exist then; a
 * handler that the program installs later must set SA_ONSTACK itself.
 *
 * Memory. The Go runtime reserves address space: under `ulimit -v` of 1 GB or less the library cannot be
 * loaded. dlclose() returns and does not unload. One copy of the library serves all languages and libraries
 * of a process.
 *
 * The library never prints, never ends the process, and changes neither its working directory nor its umask.
 *
 * Errors of every call. Besides what its "Errors" line names, each call that needs a session (all but
 * benchfs_init, benchfs_version, benchfs_strerror and benchfs_last_error) can return these:
 *   [any]     ENOTCONN (benchfs_init has not been called, or benchfs_finalize has), ECHILD (see Fork), EIO,
 *             and where it blocks: ETIMEDOUT, EHOSTUNREACH, ECONNREFUSED, ESTALE, EPROTO, ENOMEM, ENOPKG.
 * And where the line says so:
 *   [path]    EFAULT (NULL), ENOENT (also: ""), ENOTDIR, EACCES, ELOOP, ENAMETOOLONG.
 *   [handle]  EBADF (see Handles).
 *   [buffer]  EFAULT (NULL with a length, or a length that no memory can have), EINVAL (a length above
 *             SSIZE_MAX).
 *   [vector]  EINVAL (iovcnt < 1 or > 1024, lengths that add up to more than SSIZE_MAX), EFAULT (NULL).
 */
#ifndef BENCHFS_H
#define BENCHFS_H

#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#ifdef __GNUC__
/* struct benchfs_lock and benchfs_lock() share a name, as struct stat and stat() do. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#endif
#endif

#define BENCHFS_API_MAJOR 0
#define BENCHFS_API_MINOR 1
/* What this header stands for; benchfs_init passes it on. */
#define BENCHFS_API_VERSION ((uint32_t)BENCHFS_API_MAJOR << 16 | (uint32_t)BENCHFS_API_MINOR)

#if defined(__GNUC__)
#define BENCHFS_API __attribute__((visibility("default")))
#else
#define BENCHFS_API
#endif

#ifdef __cplusplus
static_assert(sizeof(off_t) == 8, "BenchFS needs a 64-bit off_t: compile with -D_FILE_OFFSET_BITS=64");
#else
_Static_assert(sizeof(off_t) == 8, "BenchFS needs a 64-bit off_t: compile with -D_FILE_OFFSET_BITS=64");
#endif

/* As the directory handle of an *at call: a relative path starts at the root. */
#define BENCHFS_AT_FDCWD (-100)

/* Longest name and longest path, in bytes without the terminating NUL. */
#define BENCHFS_NAME_MAX 255
#define BENCHFS_PATH_MAX 4095

/* Most buffers of one vector call. */
#define BENCHFS_IOV_MAX 1024

/* In place of a request: none. */
#define BENCHFS_REQUEST_NULL (-1)

/* ==== Session ==== */

/* Where the file system is: benchfs_options.mode. */
enum benchfs_mode {
    BENCHFS_MODE_CONFIGURED = 0, /* as the configuration says; with none, embedded and in memory */
    BENCHFS_MODE_EMBEDDED = 1,   /* in this process */
    BENCHFS_MODE_DISTRIBUTED = 2 /* on the daemons that the configuration names */
};

/* benchfs_options.flags: the BENCHFS_* variables of the environment do not count. */
#define BENCHFS_INIT_NO_ENVIRONMENT 0x1u

/*
 * What benchfs_init can be told. Start from BENCHFS_OPTIONS_INIT; a field that is 0 or NULL means its
 * default. The configuration is resolved from, later ones winning: defaults, config_file, config_text,
 * environment, mode.
 */
struct benchfs_options {
    size_t size;             /* sizeof(struct benchfs_options): tells the library which fields there are */
    const char *config_file; /* TOML file; NULL: the one that BENCHFS_CONFIG names, or none */
    const char *config_text; /* TOML text, e.g. "[store]\ndata_dir = \"/tmp/x\"\n"; NULL: none */
    int32_t mode;            /* enum benchfs_mode */
    uint32_t flags;          /* BENCHFS_INIT_* */
};

#define BENCHFS_OPTIONS_INIT                              \
    {                                                     \
        sizeof(struct benchfs_options), NULL, NULL, 0, 0u \
    }

/*
 * What benchfs_init is made of. Call that one: it passes the version of the header that the program was
 * compiled with.
 *
 * Owns:       options stay the caller's; they are copied.
 * Threads:    any; a second caller waits for the first.
 * Blocks:     yes; at most cluster.join_timeout and a few calls.
 * After fork: -ECHILD.
 * Errors:     EPROTONOSUPPORT (api_version is of another major version, or newer than the library), and those
 *             of benchfs_init.
 */
BENCHFS_API int benchfs_init_version(uint32_t api_version, const struct benchfs_options *options);

/*
 * Start BenchFS in this process. options may be NULL: the environment decides (BENCHFS_CONFIG,
 * BENCHFS_<SECTION>_<KEY>), and without it the file system is embedded, in memory, and ends with
 * benchfs_finalize.
 *
 * The umask, the effective user and group and the supplementary groups of the process are taken now and hold
 * for the session.
 *
 * Inits nest, so that libraries can use BenchFS beside their host: a further benchfs_init joins the running
 * session and returns 0 if its options are NULL or the same as those of the first, and -EALREADY if they
 * differ. Each init that succeeded needs its benchfs_finalize.
 *
 * Owns:       options stay the caller's; they are copied.
 * Threads:    any; a second caller waits for the first.
 * Blocks:     yes; at most cluster.join_timeout and a few calls.
 * After fork: -ECHILD.
 * Errors:     EINVAL (bad configuration or option: benchfs_last_error names file, line and key), ENOENT,
 *             EACCES, EISDIR (the configuration file), EALREADY, EBUSY (the data directory is in use),
 *             EHOSTUNREACH, ETIMEDOUT, ECONNREFUSED (the daemons), ENOSPC, ENOMEM, EIO.
 */
static inline int benchfs_init(const struct benchfs_options *options)
{
    return benchfs_init_version(BENCHFS_API_VERSION, options);
}

/*
 * End what benchfs_init started. The last one of nested finalizes closes the handles that are still open, and
 * returns how many they were; the others return 0. Calls that other threads have in progress are waited for.
 * benchfs_init may be called again afterwards.
 *
 * Owns:       all handles of the session become invalid.
 * Threads:    any.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     [any]. The session is over whatever is returned, except with ENOTCONN and ECHILD, where there
 *             was none.
 */
BENCHFS_API int benchfs_finalize(void);

/*
 * The library's version, e.g. "0.1.0".
 *
 * Owns:       the text is static.
 * Threads:    any.
 * Blocks:     no.
 * After fork: works.
 * Errors:     none; needs no benchfs_init.
 */
BENCHFS_API const char *benchfs_version(void);

/*
 * 1 if daemons serve the file system, 0 if it is embedded in this process.
 *
 * Owns:       nothing.
 * Threads:    any.
 * Blocks:     no.
 * After fork: -ECHILD.
 * Errors:     [any].
 */
BENCHFS_API int benchfs_is_distributed(void);

/*
 * The meaning of a code that a call returned, in words. The sign does not matter; 0 is "success".
 *
 * Owns:       the text is static.
 * Threads:    any.
 * Blocks:     no.
 * After fork: works.
 * Errors:     none; needs no benchfs_init. An unknown code is "unknown error".
 */
BENCHFS_API const char *benchfs_strerror(int code);

/*
 * What went wrong in the last call of this thread that failed, in one line: the operation, the path, the
 * node, the reason. "" if none has. A call that succeeds leaves it as it is.
 *
 * Owns:       the text is the library's; it is good until the next call that this thread makes, or its end.
 * Threads:    any; each has its own text.
 * Blocks:     no.
 * After fork: works.
 * Errors:     none; needs no benchfs_init.
 */
BENCHFS_API const char *benchfs_last_error(void);

/*
 * Counters of this process as one JSON object: calls, bytes, open_handles, retries, connections and their
 * transport. At most size - 1 bytes and a NUL are stored. Returns the length of the whole text without the
 * NUL, so that a caller whose buffer was too small knows what it needs.
 *
 * Owns:       buf is the caller's. NULL with size 0 asks for the length.
 * Threads:    any.
 * Blocks:     no.
 * After fork: -ECHILD.
 * Errors:     [any] EFAULT (NULL with a size), EINVAL (size above SSIZE_MAX).
 */
BENCHFS_API ssize_t benchfs_stats(char *buf, size_t size);

/* ==== Open files ==== */

/*
 * Open a file or directory. flags are those of open(2): O_RDONLY, O_WRONLY or O_RDWR, with O_CREAT, O_EXCL,
 * O_TRUNC, O_APPEND, O_DIRECTORY, O_NOFOLLOW, O_SYNC, O_DSYNC. mode counts when a file is made; the umask is
 * taken from it. Returns a handle.
 *
 * Owns:       the handle is the caller's: benchfs_close.
 * Threads:    any.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     [any] [path] EEXIST (O_EXCL), EISDIR (a directory to be written), EINVAL (unknown flags),
 *             EOPNOTSUPP (O_TMPFILE), ENOSPC, EMFILE (more than a million handles).
 */
BENCHFS_API int benchfs_open(const char *path, int flags, mode_t mode);

/*
 * benchfs_open with the directory that a relative path starts from: a handle, or BENCHFS_AT_FDCWD.
 *
 * Owns:       the handle is the caller's: benchfs_close.
 * Threads:    any.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     those of benchfs_open, [handle] ENOTDIR (dirfd is a file).
 */
BENCHFS_API int benchfs_openat(int dirfd, const char *path, int flags, mode_t mode);

/*
 * Open a file or directory by its number, the st_ino of benchfs_fstat: what another process of the same user has open, e.g. the parent
 * of a fork, can be opened in this one, also when it has no name any more. flags are those of benchfs_open without
 * O_CREAT, O_EXCL and O_TRUNC. Permissions are not looked at: who knows the number was allowed to open the file.
 *
 * Owns:       the handle is the caller's: benchfs_close.
 * Threads:    any.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     [any] ESTALE (no such inode any more), EISDIR (a directory to be written), ENOTDIR (O_DIRECTORY), ELOOP (a
 *             symbolic link), EINVAL (flags), EMFILE.
 */
BENCHFS_API int benchfs_open_inode(uint64_t ino, int flags);

/*
 * benchfs_open with O_CREAT | O_WRONLY | O_TRUNC.
 *
 * Owns:       the handle is the caller's: benchfs_close.
 * Threads:    any.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     those of benchfs_open.
 */
BENCHFS_API int benchfs_creat(const char *path, mode_t mode);

/*
 * Close a handle. It is gone whatever is returned. With the last handle of a file that has no name any more,
 * the file goes. With any handle of a file go the locks that the process itself has on it (see benchfs_lock).
 *
 * Owns:       fd becomes invalid.
 * Threads:    any; calls that other threads have in progress on fd go on to their end.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     [any] [handle].
 */
BENCHFS_API int benchfs_close(int fd);

/*
 * Another handle of the same open file: both share offset and flags. Each is closed by itself.
 *
 * Owns:       the new handle is the caller's: benchfs_close.
 * Threads:    any.
 * Blocks:     no.
 * After fork: -ECHILD.
 * Errors:     [any] [handle] EMFILE.
 */
BENCHFS_API int benchfs_dup(int fd);

/*
 * Set the offset of the next read or write: from the start (SEEK_SET), from where it is (SEEK_CUR), from the
 * end (SEEK_END). SEEK_DATA and SEEK_HOLE take the whole file for data. Returns the new offset.
 *
 * Owns:       nothing.
 * Threads:    any; waits for a read or write in progress that uses the offset.
 * Blocks:     SEEK_END, SEEK_DATA and SEEK_HOLE.
 * After fork: -ECHILD.
 * Errors:     [any] [handle] EINVAL (unknown whence, negative result), EOVERFLOW, ENXIO (no data or hole
 *             there).
 */
BENCHFS_API off_t benchfs_lseek(int fd, off_t offset, int whence);

/* ==== Reading and writing ==== */

/*
 * Read up to count bytes at the file's offset, and advance it. Fewer bytes mean the end of the file (or 2^31
 * - 4096); 0 is at or beyond the end.
 *
 * Owns:       buf is the caller's, and must stay until the call returns. After an error its content is
 *             undefined.
 * Threads:    any; calls that use the offset of one open file follow each other.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     [any] [handle] [buffer] EBADF (not open for reading), EISDIR.
 */
BENCHFS_API ssize_t benchfs_read(int fd, void *buf, size_t count);

/*
 * Write count bytes at the file's offset (with O_APPEND: at its end, whoever else appends), and advance it.
 * Fewer bytes mean that the rest failed; the next call tells why.
 *
 * Owns:       buf is the caller's.
 * Threads:    any; calls that use the offset of one open file follow each other.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     [any] [handle] [buffer] EBADF (not open for writing), ENOSPC, EFBIG (beyond 2^63 - 1).
 */
BENCHFS_API ssize_t benchfs_write(int fd, const void *buf, size_t count);

/*
 * Read up to count bytes at offset; the file's own offset does not matter and stays. Fewer bytes mean the end
 * of the file.
 *
 * Owns:       buf is the caller's, and must stay until the call returns. After an error its content is
 *             undefined.
 * Threads:    any, in parallel on one handle too.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     [any] [handle] [buffer] EBADF (not open for reading), EISDIR, EINVAL (negative offset).
 */
BENCHFS_API ssize_t benchfs_pread(int fd, void *buf, size_t count, off_t offset);

/*
 * Write count bytes at offset (with O_APPEND at the end, as Linux does); the file's own offset stays. Fewer
 * bytes mean that the rest failed; the next call tells why.
 *
 * Owns:       buf is the caller's.
 * Threads:    any, in parallel on one handle too.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     [any] [handle] [buffer] EBADF (not open for writing), ENOSPC, EFBIG, EINVAL (negative offset).
 */
BENCHFS_API ssize_t benchfs_pwrite(int fd, const void *buf, size_t count, off_t offset);

/*
 * benchfs_read into iovcnt buffers, filled one after the other.
 *
 * Owns:       iov and its buffers are the caller's. After an error their content is undefined.
 * Threads:    any; calls that use the offset of one open file follow each other.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     [vector], and those of benchfs_read.
 */
BENCHFS_API ssize_t benchfs_readv(int fd, const struct iovec *iov, int iovcnt);

/*
 * benchfs_write out of iovcnt buffers; with O_APPEND their bytes stay together.
 *
 * Owns:       iov and its buffers are the caller's.
 * Threads:    any; calls that use the offset of one open file follow each other.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     [vector], and those of benchfs_write.
 */
BENCHFS_API ssize_t benchfs_writev(int fd, const struct iovec *iov, int iovcnt);

/*
 * benchfs_pread into iovcnt buffers, filled one after the other.
 *
 * Owns:       iov and its buffers are the caller's. After an error their content is undefined.
 * Threads:    any, in parallel on one handle too.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     [vector], and those of benchfs_pread.
 */
BENCHFS_API ssize_t benchfs_preadv(int fd, const struct iovec *iov, int iovcnt, off_t offset);

/*
 * benchfs_pwrite out of iovcnt buffers.
 *
 * Owns:       iov and its buffers are the caller's.
 * Threads:    any, in parallel on one handle too.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     [vector], and those of benchfs_pwrite.
 */
BENCHFS_API ssize_t benchfs_pwritev(int fd, const struct iovec *iov, int iovcnt, off_t offset);

/*
 * Begin a benchfs_pread and return a request, a handle that benchfs_wait, benchfs_waitall or a successful
 * benchfs_test ends. The transfer goes on beside the program, whether it looks or not. Requests that are in
 * progress together take effect in any order. The file may be closed meanwhile: the transfer goes on to its
 * end. Each request must be waited for; benchfs_finalize cancels those that are left, and waits.
 *
 * Owns:       buf is the request's until it has ended. After an error its content is undefined.
 * Threads:    any.
 * Blocks:     no; a short transfer that needs no message is done before the call returns.
 * After fork: -ECHILD.
 * Errors:     [any] [handle] [buffer] EINVAL (negative offset), EMFILE; those of the transfer come from the
 *             call that ends the request.
 */
BENCHFS_API int benchfs_iread(int fd, void *buf, size_t count, off_t offset);

/*
 * Begin a benchfs_pwrite; otherwise as benchfs_iread.
 *
 * Owns:       buf is the request's until it has ended, and must not change until then.
 * Threads:    any.
 * Blocks:     no; a short transfer that needs no message is done before the call returns.
 * After fork: -ECHILD.
 * Errors:     [any] [handle] [buffer] EINVAL (negative offset), EMFILE; those of the transfer come from the
 *             call that ends the request.
 */
BENCHFS_API int benchfs_iwrite(int fd, const void *buf, size_t count, off_t offset);

/*
 * Look whether a request has ended. 1: it has, is gone, and *result is what benchfs_pread or benchfs_pwrite
 * would have returned. 0: it has not, and *result stays.
 *
 * Owns:       result is the caller's.
 * Threads:    any; a request is ended by one call.
 * Blocks:     no.
 * After fork: -ECHILD.
 * Errors:     [any] EBADF (no such request), EFAULT (result is NULL).
 */
BENCHFS_API int benchfs_test(int request, ssize_t *result);

/*
 * Wait for a request, and return what benchfs_pread or benchfs_pwrite would have. The request is gone then. One
 * that was not begun yet runs on the calling thread.
 *
 * Owns:       nothing.
 * Threads:    any; a request is ended by one call.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     [any] EBADF (no such request), ECANCELED (see benchfs_cancel), and those of the transfer.
 */
BENCHFS_API ssize_t benchfs_wait(int request);

/*
 * Wait for count requests, for all of them also when some fail. Each becomes BENCHFS_REQUEST_NULL; elements that
 * are so already are passed over, with result 0. results (may be NULL) gets what benchfs_wait would have
 * returned for each. The first error, in the order of the list, is the call's.
 *
 * Owns:       requests and results are the caller's, count elements each.
 * Threads:    any; a request is ended by one call.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     those of benchfs_wait; EINVAL (count is negative), EFAULT (requests is NULL).
 */
BENCHFS_API int benchfs_waitall(int count, int requests[], ssize_t results[]);

/*
 * Ask a request to end early. One that was not begun yet never will be, has changed nothing, and ends with
 * -ECANCELED; one that is under way ends as it would have, or with -ECANCELED where it was about to be
 * repeated. In either case it must be waited for.
 *
 * Owns:       nothing.
 * Threads:    any.
 * Blocks:     no.
 * After fork: -ECHILD.
 * Errors:     [any] EBADF (no such request).
 */
BENCHFS_API int benchfs_cancel(int request);

/*
 * Allocate zeroed memory for transfers: its pages are there, and it stays where it is, so that the network
 * registers it once, with the first transfer. It begins on a page boundary, of 2 MiB and more on one of 2 MiB, for
 * huge pages. NULL: it could not be had, benchfs_last_error tells why.
 *
 * Owns:       the caller, until benchfs_mem_free; benchfs_finalize leaves it.
 * Threads:    any.
 * Blocks:     no.
 * After fork: -ECHILD. The result is NULL.
 * Errors:     NULL: not initialised, bytes is 0 or above 2^46, no memory.
 */
BENCHFS_API void *benchfs_mem_alloc(size_t bytes);

/*
 * Free what benchfs_mem_alloc has returned; NULL is passed over. No request may use it any more.
 *
 * Owns:       memory is gone.
 * Threads:    any.
 * Blocks:     no.
 * After fork: -ECHILD.
 * Errors:     ECHILD, EIO, EINVAL (not an address that benchfs_mem_alloc has returned).
 */
BENCHFS_API int benchfs_mem_free(void *memory);

/*
 * Make what was written to the file, and its attributes, survive power loss, where the medium of the nodes
 * can. (The end of a daemon is survived without it.)
 *
 * Owns:       nothing.
 * Threads:    any.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     [any] [handle] ENOSPC.
 */
BENCHFS_API int benchfs_fsync(int fd);

/*
 * benchfs_fsync without the time stamps.
 *
 * Owns:       nothing.
 * Threads:    any.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     [any] [handle] ENOSPC.
 */
BENCHFS_API int benchfs_fdatasync(int fd);

/*
 * benchfs_fsync for the whole file system: everything that was acknowledged before the call.
 *
 * Owns:       nothing.
 * Threads:    any.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     [any] ENOSPC.
 */
BENCHFS_API int benchfs_sync(void);

/* ==== Attributes ==== */

/*
 * The attributes of what path stands for, symbolic links followed. st_dev is the same for all files of
 * BenchFS, st_ino the identity of the file for the life of the file system, st_blksize a good size for
 * transfers; a directory's st_size is the number of its entries.
 *
 * Owns:       st is the caller's.
 * Threads:    any.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     [any] [path] EFAULT (st is NULL), EOVERFLOW.
 */
BENCHFS_API int benchfs_stat(const char *path, struct stat *st);

/*
 * benchfs_stat that does not follow a symbolic link at the end of path.
 *
 * Owns:       st is the caller's.
 * Threads:    any.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     those of benchfs_stat.
 */
BENCHFS_API int benchfs_lstat(const char *path, struct stat *st);

/*
 * The attributes of an open file.
 *
 * Owns:       st is the caller's.
 * Threads:    any.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     [any] [handle] EFAULT (st is NULL), EOVERFLOW.
 */
BENCHFS_API int benchfs_fstat(int fd, struct stat *st);

/*
 * benchfs_stat from a directory handle or BENCHFS_AT_FDCWD. flags: AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH (path
 * "" is dirfd itself, of any kind), AT_NO_AUTOMOUNT (means nothing).
 *
 * Owns:       st is the caller's.
 * Threads:    any.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     those of benchfs_stat, [handle] EINVAL (unknown flags).
 */
BENCHFS_API int benchfs_fstatat(int dirfd, const char *path, struct stat *st, int flags);

/*
 * Size and use of the whole file system, the sum of all nodes; path need only exist. Blocks are of f_frsize
 * bytes. There is no fixed number of inodes: f_ffree is always 2^32, and f_files what is in use and that.
 *
 * Owns:       sv is the caller's.
 * Threads:    any.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     [any] [path] EFAULT (sv is NULL).
 */
BENCHFS_API int benchfs_statfs(const char *path, struct statvfs *sv);

/*
 * benchfs_statfs by an open file.
 *
 * Owns:       sv is the caller's.
 * Threads:    any.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     [any] [handle] EFAULT (sv is NULL).
 */
BENCHFS_API int benchfs_fstatfs(int fd, struct statvfs *sv);

/*
 * Whether this process may read (R_OK), write (W_OK), execute or search (X_OK) what path stands for, or
 * whether it exists (F_OK).
 *
 * Owns:       nothing.
 * Threads:    any.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     [any] [path] EACCES (it may not), EINVAL (other bits in mode).
 */
BENCHFS_API int benchfs_access(const char *path, int mode);

/*
 * benchfs_access from a directory handle or BENCHFS_AT_FDCWD. flags: AT_EACCESS (means nothing: a session has
 * one identity), AT_SYMLINK_NOFOLLOW.
 *
 * Owns:       nothing.
 * Threads:    any.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     those of benchfs_access, [handle] EINVAL (unknown flags).
 */
BENCHFS_API int benchfs_faccessat(int dirfd, const char *path, int mode, int flags);

/*
 * Set the mode bits (07777; others are ignored, as in POSIX).
 *
 * Owns:       nothing.
 * Threads:    any.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     [any] [path] EPERM (not the owner).
 */
BENCHFS_API int benchfs_chmod(const char *path, mode_t mode);

/*
 * benchfs_chmod of an open file.
 *
 * Owns:       nothing.
 * Threads:    any.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     [any] [handle] EPERM (not the owner).
 */
BENCHFS_API int benchfs_fchmod(int fd, mode_t mode);

/*
 * benchfs_chmod from a directory handle or BENCHFS_AT_FDCWD. flags: AT_SYMLINK_NOFOLLOW, with which a
 * symbolic link is refused: it has no mode of its own.
 *
 * Owns:       nothing.
 * Threads:    any.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     those of benchfs_chmod, [handle] EINVAL (unknown flags), EOPNOTSUPP (a symbolic link).
 */
BENCHFS_API int benchfs_fchmodat(int dirfd, const char *path, mode_t mode, int flags);

/*
 * Set owner and group; (uid_t)-1 or (gid_t)-1 leaves one as it is. Only root gives files away; an owner may
 * choose among their groups.
 *
 * Owns:       nothing.
 * Threads:    any.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     [any] [path] EPERM.
 */
BENCHFS_API int benchfs_chown(const char *path, uid_t uid, gid_t gid);

/*
 * benchfs_chown that does not follow a symbolic link at the end of path.
 *
 * Owns:       nothing.
 * Threads:    any.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     [any] [path] EPERM.
 */
BENCHFS_API int benchfs_lchown(const char *path, uid_t uid, gid_t gid);

/*
 * benchfs_chown of an open file.
 *
 * Owns:       nothing.
 * Threads:    any.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     [any] [handle] EPERM.
 */
BENCHFS_API int benchfs_fchown(int fd, uid_t uid, gid_t gid);

/*
 * benchfs_chown from a directory handle or BENCHFS_AT_FDCWD. flags: AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH (path
 * "" is dirfd itself).
 *
 * Owns:       nothing.
 * Threads:    any.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     those of benchfs_chown, [handle] EINVAL (unknown flags).
 */
BENCHFS_API int benchfs_fchownat(int dirfd, const char *path, uid_t uid, gid_t gid, int flags);

/*
 * Set the times of access (times[0]) and modification (times[1]); NULL is now, both. tv_nsec may be UTIME_NOW
 * or UTIME_OMIT. Times outside the years 1678 to 2261 become the nearest that can be stored.
 *
 * Owns:       times is the caller's.
 * Threads:    any.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     [any] [path] EPERM (not the owner), EACCES (now: neither owner nor allowed to write), EINVAL
 *             (tv_nsec).
 */
BENCHFS_API int benchfs_utimens(const char *path, const struct timespec times[2]);

/*
 * benchfs_utimens that does not follow a symbolic link at the end of path.
 *
 * Owns:       times is the caller's.
 * Threads:    any.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     those of benchfs_utimens.
 */
BENCHFS_API int benchfs_lutimens(const char *path, const struct timespec times[2]);

/*
 * benchfs_utimens of an open file.
 *
 * Owns:       times is the caller's.
 * Threads:    any.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     [any] [handle] EPERM, EACCES, EINVAL (tv_nsec).
 */
BENCHFS_API int benchfs_futimens(int fd, const struct timespec times[2]);

/*
 * benchfs_utimens from a directory handle or BENCHFS_AT_FDCWD. flags: AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH
 * (path "" is dirfd itself).
 *
 * Owns:       times is the caller's.
 * Threads:    any.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     those of benchfs_utimens, [handle] EINVAL (unknown flags).
 */
BENCHFS_API int benchfs_utimensat(int dirfd, const char *path, const struct timespec times[2], int flags);

/*
 * Set the size of the file at path. What is cut off is gone; what is added reads as zeros.
 *
 * Owns:       nothing.
 * Threads:    any.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     [any] [path] EISDIR, EINVAL (negative).
 */
BENCHFS_API int benchfs_truncate(const char *path, off_t size);

/*
 * benchfs_truncate of a file that is open for writing.
 *
 * Owns:       nothing.
 * Threads:    any.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     [any] [handle] EINVAL (negative, or not open for writing).
 */
BENCHFS_API int benchfs_ftruncate(int fd, off_t size);

/*
 * Reserve room, so that later writes to length bytes at offset do not fail with ENOSPC. mode 0: the file
 * grows to offset + length if it is shorter; FALLOC_FL_KEEP_SIZE: it does not.
 *
 * Owns:       nothing.
 * Threads:    any.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     [any] [handle] EBADF (not open for writing), EINVAL (offset < 0, length <= 0), EFBIG, ENOSPC,
 *             EOPNOTSUPP (other modes).
 */
BENCHFS_API int benchfs_fallocate(int fd, int mode, off_t offset, off_t length);

/* ==== Names ==== */

/*
 * Make a directory; the umask is taken from mode.
 *
 * Owns:       nothing.
 * Threads:    any.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     [any] [path] EEXIST, ENOSPC.
 */
BENCHFS_API int benchfs_mkdir(const char *path, mode_t mode);

/*
 * benchfs_mkdir from a directory handle or BENCHFS_AT_FDCWD.
 *
 * Owns:       nothing.
 * Threads:    any.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     those of benchfs_mkdir, [handle].
 */
BENCHFS_API int benchfs_mkdirat(int dirfd, const char *path, mode_t mode);

/*
 * Remove an empty directory.
 *
 * Owns:       nothing.
 * Threads:    any.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     [any] [path] ENOTEMPTY, EBUSY (the root), EINVAL (path ends in "."), EPERM (sticky).
 */
BENCHFS_API int benchfs_rmdir(const char *path);

/*
 * Remove a name that is no directory. The file goes with its last name and its last handle, whoever has it
 * open.
 *
 * Owns:       nothing.
 * Threads:    any.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     [any] [path] EISDIR, EPERM (sticky).
 */
BENCHFS_API int benchfs_unlink(const char *path);

/*
 * benchfs_unlink, or with AT_REMOVEDIR benchfs_rmdir, from a directory handle or BENCHFS_AT_FDCWD.
 *
 * Owns:       nothing.
 * Threads:    any.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     those of benchfs_unlink and benchfs_rmdir, [handle] EINVAL (unknown flags).
 */
BENCHFS_API int benchfs_unlinkat(int dirfd, const char *path, int flags);

/*
 * Give a file or directory another name, in one step. What had that name is replaced: a file by a file, an
 * empty directory by a directory. Two names of one file: nothing happens.
 *
 * Owns:       nothing.
 * Threads:    any.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     [any] [path] EISDIR, ENOTDIR, ENOTEMPTY, EEXIST (what is replaced), EINVAL (into itself), EBUSY
 *             (the root, "." or ".."), EPERM (sticky), ENOSPC.
 */
BENCHFS_API int benchfs_rename(const char *oldpath, const char *newpath);

/*
 * benchfs_rename from directory handles or BENCHFS_AT_FDCWD.
 *
 * Owns:       nothing.
 * Threads:    any.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     those of benchfs_rename, [handle].
 */
BENCHFS_API int benchfs_renameat(int olddirfd, const char *oldpath, int newdirfd, const char *newpath);

/*
 * Give a file another name. A symbolic link at the end of oldpath gets the name itself, as in Linux.
 *
 * Owns:       nothing.
 * Threads:    any.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     [any] [path] EEXIST, EPERM (a directory), EMLINK, ENOSPC.
 */
BENCHFS_API int benchfs_link(const char *oldpath, const char *newpath);

/*
 * benchfs_link from directory handles or BENCHFS_AT_FDCWD. flags: AT_SYMLINK_FOLLOW.
 *
 * Owns:       nothing.
 * Threads:    any.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     those of benchfs_link, [handle] EINVAL (unknown flags).
 */
BENCHFS_API int benchfs_linkat(int olddirfd, const char *oldpath, int newdirfd, const char *newpath, int flags);

/*
 * Make a symbolic link at path; target is kept as it is. An absolute target starts at the root of this file
 * system.
 *
 * Owns:       nothing.
 * Threads:    any.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     [any] [path] EEXIST, ENOENT and ENAMETOOLONG (also of target), ENOSPC.
 */
BENCHFS_API int benchfs_symlink(const char *target, const char *path);

/*
 * benchfs_symlink from a directory handle or BENCHFS_AT_FDCWD.
 *
 * Owns:       nothing.
 * Threads:    any.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     those of benchfs_symlink, [handle].
 */
BENCHFS_API int benchfs_symlinkat(const char *target, int dirfd, const char *path);

/*
 * The target of a symbolic link: at most size bytes of it, without a NUL. Returns how many.
 *
 * Owns:       buf is the caller's.
 * Threads:    any.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     [any] [path] [buffer] EINVAL (not a symbolic link, or size 0).
 */
BENCHFS_API ssize_t benchfs_readlink(const char *path, char *buf, size_t size);

/*
 * benchfs_readlink from a directory handle or BENCHFS_AT_FDCWD.
 *
 * Owns:       buf is the caller's.
 * Threads:    any.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     those of benchfs_readlink, [handle].
 */
BENCHFS_API ssize_t benchfs_readlinkat(int dirfd, const char *path, char *buf, size_t size);

/* ==== Locks ==== */

/* What benchfs_lock is to do. */
enum benchfs_lock_op {
    BENCHFS_LOCK_TRY = 1,  /* get, change or (F_UNLCK) give up a lock, now or not at all */
    BENCHFS_LOCK_WAIT = 2, /* the same, after a wait where another owner is in the way */
    BENCHFS_LOCK_TEST = 3, /* tell what would be in the way */
    BENCHFS_LOCK_LEAVE = 4 /* no longer hold what owner has of the file; the last one who leaves gives it up */
};

/* benchfs_lock.kind: two spaces of locks that do not see each other, as those of fcntl(2) and flock(2) do not on Linux. */
enum benchfs_lock_kind {
    BENCHFS_LOCK_RANGE = 0, /* bytes, as fcntl(2) has it: a lock replaces what its owner had in its range */
    BENCHFS_LOCK_FILE = 1   /* the whole file, as flock(2) has it; start and length do not matter */
};

/* An advisory lock. Start from BENCHFS_LOCK_INIT. */
struct benchfs_lock {
    size_t size;     /* sizeof(struct benchfs_lock) */
    uint64_t owner;  /* whose it is: 0 this process, else a number that the caller chooses, unique in the cluster */
    uint64_t holder; /* another process that keeps it alive, by its benchfs_session(); 0: none. Only with an owner */
    off_t start;     /* first byte */
    off_t length;    /* bytes; 0: to the end of the file, however long it grows; below 0: those before start */
    int type;        /* F_RDLCK (others may read), F_WRLCK (nobody else) or F_UNLCK */
    int kind;        /* enum benchfs_lock_kind */
    int pid;         /* told to those who are kept out; 0: that of this process */
};

#define BENCHFS_LOCK_INIT                                                       \
    {                                                                           \
        sizeof(struct benchfs_lock), 0, 0, 0, 0, F_WRLCK, BENCHFS_LOCK_RANGE, 0 \
    }

/*
 * Lock an open file, or a part of it, against others who lock it: in any process on any node. Reads and writes do not
 * look at locks. op is one of enum benchfs_lock_op.
 *
 * Owners. Locks of different owners exclude each other, those of one owner never: a lock of owner 0 is the process's, as
 * POSIX has it, and any other number may stand for whatever the caller likes, in any number of processes. Whoever names
 * the owner may change its lock or give it up.
 *
 * Life. A lock is held by the process that took it, by each that took it again under the same owner, and by the holder
 * that was named. It ends when it is given up, or when none of these is left: a process that has ended is noticed at
 * once on the daemon's machine, after session.grace on another. Closing any handle of a file gives up the process's own
 * locks (owner 0, BENCHFS_LOCK_RANGE) on all of it, as POSIX has it, and no others.
 *
 * Waiting. BENCHFS_LOCK_WAIT waits without a limit; a signal ends the wait with -EINTR unless its handler was installed
 * with SA_RESTART, as it ends fcntl(F_SETLKW). Waits of processes for each other are found (-EDEADLK) among locks with owner
 * 0 and kind BENCHFS_LOCK_RANGE on files of one shard. Changing the type of a BENCHFS_LOCK_FILE lock gives up the old one
 * first if another is in the way, so that two readers who both want to write do not wait for each other for ever.
 *
 * A test fills in the lock that is in the way: type, start, length, owner, pid; or F_UNLCK in type, if there is none.
 *
 * Locks are kept in the memory of one daemon. They do not survive it, and there is no grace time: after its restart,
 * others may get what a process still believes to have. The next call about that owner's locks on that file then fails with
 * -ENOLCK, changes nothing, and everything is as if the owner never had any. The same goes for a process on another machine that was
 * cut off for longer than session.grace.
 *
 * Owns:       lock is the caller's; lock->size must be set.
 * Threads:    any.
 * Blocks:     yes; BENCHFS_LOCK_WAIT for as long as others hold the lock.
 * After fork: -ECHILD.
 * Errors:     [any] [handle] EAGAIN (BENCHFS_LOCK_TRY: another owner is in the way), EINTR (a signal, or the session was
 *             finalized), EDEADLK, ENOLCK (the locks were lost), EBADF (BENCHFS_LOCK_RANGE: F_RDLCK and not open for
 *             reading, F_WRLCK and not open for writing), EINVAL (a value; a holder without an owner), EOVERFLOW (the
 *             range ends beyond 2^63 - 1), EFAULT (lock is NULL).
 */
BENCHFS_API int benchfs_lock(int fd, int op, struct benchfs_lock *lock);

/*
 * The number that names this process's session as the holder of a lock. It is random, and another after the next
 * benchfs_init. 0: there is no session.
 *
 * Owns:       nothing.
 * Threads:    any.
 * Blocks:     no.
 * After fork: -ECHILD. The result is 0.
 * Errors:     0: not initialised; benchfs_last_error tells.
 */
BENCHFS_API uint64_t benchfs_session(void);

/* ==== Directory streams ==== */

/* What an entry is: the values of DT_REG, DT_DIR and DT_LNK. */
enum benchfs_kind {
    BENCHFS_KIND_DIR = 4,
    BENCHFS_KIND_FILE = 8,
    BENCHFS_KIND_SYMLINK = 10
};

/* An entry of a directory. */
struct benchfs_dirent {
    uint64_t ino;       /* st_ino of what the name stands for */
    off_t cookie;       /* benchfs_seekdir to it goes on right after this entry */
    uint32_t kind;      /* enum benchfs_kind */
    uint32_t name_size; /* bytes of name, without the NUL */
    char name[256];
};

/* An entry with the attributes of what it stands for. */
struct benchfs_direntplus {
    struct benchfs_dirent entry;
    struct stat st; /* as benchfs_lstat gives it */
};

/*
 * Open a directory for listing: "." and "..", then its entries. An entry that is there all the time is shown
 * once, whatever comes and goes meanwhile. A node that cannot answer is an error, never a shorter list.
 * Returns a handle for the calls of this section only.
 *
 * Owns:       the handle is the caller's: benchfs_closedir.
 * Threads:    any.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     [any] [path] EMFILE.
 */
BENCHFS_API int benchfs_opendir(const char *path);

/*
 * A stream of a directory that is open already. Unlike in POSIX, fd stays the caller's, who closes both.
 *
 * Owns:       the handle is the caller's: benchfs_closedir.
 * Threads:    any.
 * Blocks:     no.
 * After fork: -ECHILD.
 * Errors:     [any] [handle] ENOTDIR, EMFILE.
 */
BENCHFS_API int benchfs_fdopendir(int fd);

/*
 * The next entry. Returns 1, or 0 after the last.
 *
 * Owns:       entry is the caller's.
 * Threads:    any; calls on one stream follow each other.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     [any] [handle] EFAULT (entry is NULL).
 */
BENCHFS_API int benchfs_readdir(int dir, struct benchfs_dirent *entry);

/*
 * The next entries, at most count, with their attributes: much faster than a benchfs_lstat each. Returns how
 * many, 0 after the last. An entry that goes between the listing and the look at it is left out. After an
 * error in the middle, the entries before it are returned, and the next call returns the error.
 *
 * Owns:       entries is the caller's.
 * Threads:    any; calls on one stream follow each other.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     [any] [handle] EFAULT (entries is NULL), EINVAL (count < 1).
 */
BENCHFS_API int benchfs_readdir_many(int dir, struct benchfs_direntplus *entries, int count);

/*
 * Where the stream is: the cookie of the entry that was returned last, 0 at the start.
 *
 * Owns:       nothing.
 * Threads:    any.
 * Blocks:     no.
 * After fork: -ECHILD.
 * Errors:     [any] [handle].
 */
BENCHFS_API off_t benchfs_telldir(int dir);

/*
 * Go to where benchfs_telldir was, or right after the entry that had the cookie; 0 is the start. Cookies are
 * good in every stream of the same directory, in any process.
 *
 * Owns:       nothing.
 * Threads:    any; waits for a call in progress on the stream.
 * Blocks:     no.
 * After fork: -ECHILD.
 * Errors:     [any] [handle] EINVAL (negative).
 */
BENCHFS_API int benchfs_seekdir(int dir, off_t cookie);

/*
 * Start again, with the directory as it is then.
 *
 * Owns:       nothing.
 * Threads:    any; waits for a call in progress on the stream.
 * Blocks:     no.
 * After fork: -ECHILD.
 * Errors:     [any] [handle].
 */
BENCHFS_API int benchfs_rewinddir(int dir);

/*
 * Close a stream. It is gone whatever is returned.
 *
 * Owns:       dir becomes invalid.
 * Threads:    any; calls that other threads have in progress on dir go on to their end.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     [any] [handle].
 */
BENCHFS_API int benchfs_closedir(int dir);

/* ==== Placement ==== */

/* How the chunks of a file are spread over the nodes. */
enum benchfs_strategy {
    BENCHFS_LAYOUT_DEFAULT = 0,     /* of a directory: what the configuration says */
    BENCHFS_LAYOUT_ROUND_ROBIN = 1, /* the shards in turn, from the file's own */
    BENCHFS_LAYOUT_HASH = 2,        /* by a hash of file and chunk */
    BENCHFS_LAYOUT_LOCAL = 3        /* on the node of whoever writes a chunk first */
};

/* Placement of a file, or what new files of a directory inherit. Start from BENCHFS_LAYOUT_INIT. */
struct benchfs_layout {
    size_t size;          /* sizeof(struct benchfs_layout) */
    uint64_t chunk_bytes; /* a power of two, 64 KiB to 64 MiB; 0 when setting: the default */
    uint32_t strategy;    /* enum benchfs_strategy */
    uint32_t first_shard; /* shard of the first chunk (round robin); only told */
    uint32_t shards;      /* number of shards that it is spread over; only told */
    uint32_t epoch;       /* of the cluster map that it was made under; only told */
};

#define BENCHFS_LAYOUT_INIT                          \
    {                                                \
        sizeof(struct benchfs_layout), 0, 0, 0, 0, 0 \
    }

/* A range of a file that one shard of one node holds. */
struct benchfs_extent {
    off_t offset; /* bytes */
    off_t length; /* bytes */
    uint32_t node;
    uint32_t shard;
};

/*
 * The layout of a file, or what new files of a directory inherit.
 *
 * Owns:       layout is the caller's; layout->size must be set.
 * Threads:    any.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     [any] [path] EFAULT (layout is NULL), EINVAL (layout->size).
 */
BENCHFS_API int benchfs_get_layout(const char *path, struct benchfs_layout *layout);

/*
 * benchfs_get_layout of an open file or directory.
 *
 * Owns:       layout is the caller's; layout->size must be set.
 * Threads:    any.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     [any] [handle] EFAULT (layout is NULL), EINVAL (layout->size).
 */
BENCHFS_API int benchfs_fget_layout(int fd, struct benchfs_layout *layout);

/*
 * Set strategy and chunk size of a directory's future files, or of a file that never had a byte.
 *
 * Owns:       layout is the caller's.
 * Threads:    any.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     [any] [path] EFAULT (layout is NULL), EINVAL (a value), EPERM (not the owner), EBUSY (the file
 *             has had bytes).
 */
BENCHFS_API int benchfs_set_layout(const char *path, const struct benchfs_layout *layout);

/*
 * benchfs_set_layout of an open file or directory.
 *
 * Owns:       layout is the caller's.
 * Threads:    any.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     [any] [handle] EFAULT (layout is NULL), EINVAL (a value), EPERM (not the owner), EBUSY (the
 *             file has had bytes).
 */
BENCHFS_API int benchfs_fset_layout(int fd, const struct benchfs_layout *layout);

/*
 * Which nodes hold the length bytes at offset, in ascending order. What is beyond the end of the file is left
 * out, and so is what was never written of a file with BENCHFS_LAYOUT_LOCAL. Stores the first max extents and
 * returns how many there are, at most 65536: for more, ask again from the end of the last one.
 *
 * Owns:       extents is the caller's; NULL with max 0 asks for the number.
 * Threads:    any.
 * Blocks:     yes.
 * After fork: -ECHILD.
 * Errors:     [any] [handle] EFAULT (NULL with max), EINVAL (negative offset, length or max), EISDIR.
 */
BENCHFS_API int benchfs_locate(int fd, off_t offset, off_t length, struct benchfs_extent *extents, int max);

#ifdef __cplusplus
#ifdef __GNUC__
#pragma GCC diagnostic pop
#endif
}
#endif

#endif /* BENCHFS_H */
