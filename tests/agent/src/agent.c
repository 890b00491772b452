/*
 * agent: a process that makes BenchFS calls for a test. It reads requests from standard input and answers on standard
 * output; agent.go is the other end. One request makes one call, on this process's only thread.
 *
 * Frame, little-endian: u32 length of the rest; then
 *   request: u8 call; then its arguments in the order in which the case below takes them: integers as i64, strings and data as
 *            u32 length and bytes.
 *   answer:  i64 result (as the call returned it: >= 0 or a negative errno); then data, if the call gives any.
 *
 * The program ends when its input does, after benchfs_finalize; its exit status is 0 only if that found nothing open.
 */
#include "benchfs.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The calls. agent.go has the same list. */
enum call {
    CALL_OPEN = 1,
    CALL_CLOSE,
    CALL_DUP,
    CALL_READ,
    CALL_WRITE,
    CALL_PREAD,
    CALL_PWRITE,
    CALL_READV,
    CALL_WRITEV,
    CALL_LSEEK,
    CALL_FSYNC,
    CALL_FTRUNCATE,
    CALL_TRUNCATE,
    CALL_FALLOCATE,
    CALL_STAT,
    CALL_LSTAT,
    CALL_FSTAT,
    CALL_ACCESS,
    CALL_CHMOD,
    CALL_FCHMOD,
    CALL_CHOWN,
    CALL_UTIMENS,
    CALL_MKDIR,
    CALL_RMDIR,
    CALL_UNLINK,
    CALL_RENAME,
    CALL_LINK,
    CALL_SYMLINK,
    CALL_READLINK,
    CALL_OPENDIR,
    CALL_READDIR,
    CALL_SEEKDIR,
    CALL_CLOSEDIR,
    CALL_OPENAT,
    CALL_MKDIRAT,
    CALL_UNLINKAT,
    CALL_RENAMEAT,
    CALL_FSTATAT,
    CALL_STATFS,
    CALL_LAST_ERROR,
    CALL_STATS,
    CALL_SYNC,
    CALL_SET_STRATEGY,
    CALL_LOCATE,
    CALL_LOCK,
    CALL_SESSION,
    CALL_HANDLE_ALARM
};

#define MOST_VECTORS 64

static unsigned char *in; /* the request */
static size_t in_size, in_at;
static unsigned char *out; /* the answer: 4 bytes of length, 8 of result, data */
static size_t out_room, out_size;

static _Noreturn void die(const char *why)
{
    fprintf(stderr, "agent: %s\n", why);
    exit(3);
}

static int read_all(void *p, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t r = read(0, (char *)p + done, n - done);
        if (r == 0 && done == 0)
            return 0;
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            die("input ends in the middle of a request");
        done += (size_t)r;
    }
    return 1;
}

static void write_all(const void *p, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t r = write(1, (const char *)p + done, n - done);
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            die("nobody takes the answer");
        done += (size_t)r;
    }
}

static const void *take(size_t n)
{
    if (n > in_size - in_at)
        die("request is too short");
    in_at += n;
    return in + in_at - n;
}

static int64_t number(void)
{
    int64_t v;
    memcpy(&v, take(sizeof v), sizeof v);
    return v;
}

static const void *bytes(size_t *n)
{
    uint32_t length;
    memcpy(&length, take(sizeof length), sizeof length);
    *n = length;
    return take(length);
}

/* A string as the C interface takes it. Two at a time are good. */
static const char *string(void)
{
    static char *kept[2];
    static int turn;
    size_t n;
    const void *p = bytes(&n);
    turn = !turn;
    kept[turn] = realloc(kept[turn], n + 1);
    if (!kept[turn])
        die("out of memory");
    memcpy(kept[turn], p, n);
    kept[turn][n] = 0;
    return kept[turn];
}

/* Room for n more bytes of data in the answer. */
static void *answer(size_t n)
{
    if (out_size + n > out_room) {
        out_room = 2 * (out_size + n);
        out = realloc(out, out_room);
        if (!out)
            die("out of memory");
    }
    out_size += n;
    return out + out_size - n;
}

static void answer_number(int64_t v)
{
    memcpy(answer(sizeof v), &v, sizeof v);
}

static int64_t answer_stat(int rc, const struct stat *st)
{
    if (rc < 0)
        return rc;
    answer_number((int64_t)st->st_ino);
    answer_number(st->st_mode);
    answer_number((int64_t)st->st_nlink);
    answer_number(st->st_uid);
    answer_number(st->st_gid);
    answer_number(st->st_size);
    answer_number(st->st_atim.tv_sec * 1000000000LL + st->st_atim.tv_nsec);
    answer_number(st->st_mtim.tv_sec * 1000000000LL + st->st_mtim.tv_nsec);
    answer_number(st->st_ctim.tv_sec * 1000000000LL + st->st_ctim.tv_nsec);
    return rc;
}

/* AGENT_TRANSFERS=nonblocking: reads and writes at an offset are requests; reads are two, in flight together. */
static int nonblocking;

static ssize_t transfer_read(int fd, unsigned char *p, size_t n, off_t off)
{
    if (!nonblocking)
        return benchfs_pread(fd, p, n, off);
    size_t half = n / 2;
    int requests[2];
    ssize_t results[2];
    for (int i = 0; i < 2; i++) {
        requests[i] =
            i == 0 ? benchfs_iread(fd, p, half, off) : benchfs_iread(fd, p + half, n - half, off + (off_t)half);
        if (requests[i] < 0) {
            if (i == 1)
                benchfs_wait(requests[0]);
            return requests[i];
        }
    }
    int rc = benchfs_waitall(2, requests, results);
    if (rc < 0)
        return rc;
    return results[0] < (ssize_t)half ? results[0] : results[0] + results[1];
}

static ssize_t transfer_write(int fd, const void *p, size_t n, off_t off)
{
    if (!nonblocking)
        return benchfs_pwrite(fd, p, n, off);
    int request = benchfs_iwrite(fd, p, n, off);
    if (request < 0)
        return request;
    ssize_t moved;
    int rc;
    while ((rc = benchfs_test(request, &moved)) == 0)
        sched_yield();
    return rc < 0 ? rc : moved;
}

/* Reads into the answer; off < 0: at the position. */
static int64_t do_read(int at_position)
{
    int fd = (int)number();
    size_t n = (size_t)number();
    off_t off = at_position ? 0 : (off_t)number();
    void *p = answer(n);
    ssize_t r = at_position ? benchfs_read(fd, p, n) : transfer_read(fd, p, n, off);
    out_size -= n - (r > 0 ? (size_t)r : 0);
    return r;
}

static int64_t do_write(int at_position)
{
    int fd = (int)number();
    size_t n;
    const void *p = bytes(&n);
    return at_position ? benchfs_write(fd, p, n) : transfer_write(fd, p, n, (off_t)number());
}

static int64_t do_readv(void)
{
    struct iovec iov[MOST_VECTORS];
    int fd = (int)number(), count = (int)number();
    size_t total = 0, at = out_size;
    if (count > MOST_VECTORS)
        die("too many vectors");
    for (int i = 0; i < count; i++)
        total += iov[i].iov_len = (size_t)number();
    unsigned char *p = answer(total);
    for (int i = 0; i < count; i++) {
        iov[i].iov_base = p;
        p += iov[i].iov_len;
    }
    ssize_t r = benchfs_readv(fd, iov, count);
    out_size = at + (r > 0 ? (size_t)r : 0);
    return r;
}

static int64_t do_writev(void)
{
    struct iovec iov[MOST_VECTORS];
    int fd = (int)number(), count = (int)number();
    if (count > MOST_VECTORS)
        die("too many vectors");
    for (int i = 0; i < count; i++)
        iov[i].iov_base = (void *)bytes(&iov[i].iov_len);
    return benchfs_writev(fd, iov, count);
}

static int64_t do_utimens(void)
{
    const char *path = string();
    struct timespec times[2];
    for (int i = 0; i < 2; i++) {
        times[i].tv_sec = number();
        times[i].tv_nsec = number();
    }
    return number() ? benchfs_utimens(path, times) : benchfs_lutimens(path, times);
}

/* The next entries of a stream, at most n: cookie after it, inode, kind, name. */
static int64_t do_readdir(void)
{
    int dir = (int)number();
    int64_t most = number(), n = 0;
    for (; n < most; n++) {
        struct benchfs_dirent e;
        int rc = benchfs_readdir(dir, &e);
        if (rc < 0)
            return rc;
        if (rc == 0)
            break;
        uint32_t length = (uint32_t)strlen(e.name);
        answer_number(benchfs_telldir(dir));
        answer_number((int64_t)e.ino);
        memcpy(answer(sizeof length), &length, sizeof length);
        memcpy(answer(length), e.name, length);
    }
    return n;
}

static int64_t do_readlink(void)
{
    const char *path = string();
    size_t room = (size_t)number();
    char *p = answer(room);
    ssize_t r = benchfs_readlink(path, p, room);
    out_size -= room - (r > 0 ? (size_t)r : 0);
    return r;
}

static int64_t do_statfs(void)
{
    struct statvfs sv;
    int rc = benchfs_statfs(string(), &sv);
    if (rc < 0)
        return rc;
    answer_number((int64_t)sv.f_blocks * (int64_t)sv.f_frsize);
    answer_number((int64_t)sv.f_bfree * (int64_t)sv.f_frsize);
    answer_number((int64_t)sv.f_namemax);
    return rc;
}

static int64_t do_stats(void)
{
    ssize_t need = benchfs_stats(NULL, 0);
    if (need < 0)
        return need;
    size_t room = (size_t)need + 4096;
    char *p = answer(room);
    ssize_t n = benchfs_stats(p, room);
    out_size -= room - (n > 0 && (size_t)n < room ? (size_t)n : 0);
    return n;
}

static int64_t do_set_strategy(void)
{
    const char *path = string();
    struct benchfs_layout layout = BENCHFS_LAYOUT_INIT;
    int rc = benchfs_get_layout(path, &layout);
    if (rc < 0)
        return rc;
    layout.strategy = (uint32_t)number();
    return benchfs_set_layout(path, &layout);
}

static int64_t do_locate(void)
{
    struct benchfs_extent extents[256];
    int fd = (int)number();
    off_t off = number(), n = number();
    int64_t count = benchfs_locate(fd, off, n, extents, 256);
    for (int64_t i = 0; i < count && i < 256; i++) {
        answer_number(extents[i].offset);
        answer_number(extents[i].length);
        answer_number(extents[i].node);
    }
    return count;
}

static int64_t do_lock(void)
{
    struct benchfs_lock lock = BENCHFS_LOCK_INIT;
    int fd = (int)number(), op = (int)number();
    lock.kind = (int)number();
    lock.type = (int)number();
    lock.owner = (uint64_t)number();
    lock.holder = (uint64_t)number();
    lock.start = number();
    lock.length = number();
    int rc = benchfs_lock(fd, op, &lock);
    answer_number(lock.type);
    answer_number((int64_t)lock.owner);
    answer_number(lock.start);
    answer_number(lock.length);
    answer_number(lock.pid);
    return rc;
}

static volatile sig_atomic_t alarms;

static void on_alarm(int signal)
{
    (void)signal;
    alarms++;
}

/* Handles SIGALRM, with or without SA_RESTART; answers how often it came so far. */
static int64_t do_handle_alarm(void)
{
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_ONSTACK | (number() ? SA_RESTART : 0)};
    return sigaction(SIGALRM, &action, NULL) == 0 ? alarms : -errno;
}

static int64_t data_call(enum call call)
{
    int fd;
    switch (call) {
    case CALL_CLOSE:
        return benchfs_close((int)number());
    case CALL_DUP:
        return benchfs_dup((int)number());
    case CALL_READ:
        return do_read(1);
    case CALL_PREAD:
        return do_read(0);
    case CALL_WRITE:
        return do_write(1);
    case CALL_PWRITE:
        return do_write(0);
    case CALL_READV:
        return do_readv();
    case CALL_WRITEV:
        return do_writev();
    case CALL_LSEEK: {
        fd = (int)number();
        off_t off = number();
        return benchfs_lseek(fd, off, (int)number());
    }
    case CALL_FSYNC:
        return benchfs_fsync((int)number());
    case CALL_FTRUNCATE:
        fd = (int)number();
        return benchfs_ftruncate(fd, number());
    case CALL_FALLOCATE: {
        fd = (int)number();
        int mode = (int)number();
        off_t off = number();
        return benchfs_fallocate(fd, mode, off, number());
    }
    case CALL_FSTAT: {
        struct stat st;
        int rc = benchfs_fstat((int)number(), &st);
        return answer_stat(rc, &st);
    }
    case CALL_FCHMOD:
        fd = (int)number();
        return benchfs_fchmod(fd, (mode_t)number());
    case CALL_READDIR:
        return do_readdir();
    case CALL_SEEKDIR:
        fd = (int)number();
        return benchfs_seekdir(fd, number());
    case CALL_CLOSEDIR:
        return benchfs_closedir((int)number());
    case CALL_STATS:
        return do_stats();
    case CALL_SYNC:
        return benchfs_sync();
    case CALL_LOCATE:
        return do_locate();
    case CALL_LOCK:
        return do_lock();
    case CALL_SESSION:
        answer_number((int64_t)benchfs_session());
        return 0;
    case CALL_HANDLE_ALARM:
        return do_handle_alarm();
    case CALL_LAST_ERROR: {
        const char *text = benchfs_last_error();
        memcpy(answer(strlen(text)), text, strlen(text));
        return 0;
    }
    default:
        die("unknown call");
    }
}

static int64_t at_call(enum call call)
{
    int fd = (int)number();
    const char *path = string();
    struct stat st;
    int rc;
    switch (call) {
    case CALL_OPENAT: {
        int flags = (int)number();
        return benchfs_openat(fd, path, flags, (mode_t)number());
    }
    case CALL_MKDIRAT:
        return benchfs_mkdirat(fd, path, (mode_t)number());
    case CALL_UNLINKAT:
        return benchfs_unlinkat(fd, path, (int)number());
    case CALL_RENAMEAT: {
        int newfd = (int)number();
        return benchfs_renameat(fd, path, newfd, string());
    }
    default:
        rc = benchfs_fstatat(fd, path, &st, (int)number());
        return answer_stat(rc, &st);
    }
}

static int64_t path_call(enum call call)
{
    if (call == CALL_UTIMENS)
        return do_utimens();
    if (call == CALL_READLINK)
        return do_readlink();
    if (call == CALL_STATFS)
        return do_statfs();
    if (call == CALL_SET_STRATEGY)
        return do_set_strategy();
    const char *path = string();
    struct stat st;
    switch (call) {
    case CALL_OPEN: {
        int flags = (int)number();
        return benchfs_open(path, flags, (mode_t)number());
    }
    case CALL_TRUNCATE:
        return benchfs_truncate(path, number());
    case CALL_STAT: {
        int rc = benchfs_stat(path, &st);
        return answer_stat(rc, &st);
    }
    case CALL_LSTAT: {
        int rc = benchfs_lstat(path, &st);
        return answer_stat(rc, &st);
    }
    case CALL_ACCESS:
        return benchfs_access(path, (int)number());
    case CALL_CHMOD:
        return benchfs_chmod(path, (mode_t)number());
    case CALL_CHOWN: {
        uid_t uid = (uid_t)number();
        gid_t gid = (gid_t)number();
        return number() ? benchfs_chown(path, uid, gid) : benchfs_lchown(path, uid, gid);
    }
    case CALL_MKDIR:
        return benchfs_mkdir(path, (mode_t)number());
    case CALL_RMDIR:
        return benchfs_rmdir(path);
    case CALL_UNLINK:
        return benchfs_unlink(path);
    case CALL_RENAME:
        return benchfs_rename(path, string());
    case CALL_LINK:
        return benchfs_link(path, string());
    case CALL_SYMLINK:
        return benchfs_symlink(path, string());
    default:
        return benchfs_opendir(path);
    }
}

static int64_t perform(enum call call)
{
    switch (call) {
    case CALL_OPENAT:
    case CALL_MKDIRAT:
    case CALL_UNLINKAT:
    case CALL_RENAMEAT:
    case CALL_FSTATAT:
        return at_call(call);
    case CALL_OPEN:
    case CALL_TRUNCATE:
    case CALL_STAT:
    case CALL_LSTAT:
    case CALL_ACCESS:
    case CALL_CHMOD:
    case CALL_CHOWN:
    case CALL_UTIMENS:
    case CALL_MKDIR:
    case CALL_RMDIR:
    case CALL_UNLINK:
    case CALL_RENAME:
    case CALL_LINK:
    case CALL_SYMLINK:
    case CALL_READLINK:
    case CALL_OPENDIR:
    case CALL_STATFS:
    case CALL_SET_STRATEGY:
        return path_call(call);
    default:
        return data_call(call);
    }
}

int main(void)
{
    const char *transfers = getenv("AGENT_TRANSFERS");
    nonblocking = transfers && strcmp(transfers, "nonblocking") == 0;
    int rc = benchfs_init(NULL);
    if (rc < 0) {
        fprintf(stderr, "agent: benchfs_init: %s\n", benchfs_last_error());
        return 2;
    }
    answer(12);
    for (uint32_t length; read_all(&length, sizeof length);) {
        in = realloc(in, length ? length : 1);
        if (!in)
            die("out of memory");
        if (length == 0 || !read_all(in, length))
            die("empty request");
        in_size = length;
        in_at = 1;
        out_size = 12;
        int64_t result = perform((enum call)in[0]);
        uint32_t size = (uint32_t)(out_size - 4);
        memcpy(out, &size, 4);
        memcpy(out + 4, &result, 8);
        write_all(out, out_size);
    }
    rc = benchfs_finalize();
    if (rc != 0)
        fprintf(stderr, "agent: benchfs_finalize: %d handles were open\n", rc);
    return rc != 0;
}
