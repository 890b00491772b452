/* api.c: BenchFS, the kernel's file systems and a plain mapping behind one interface. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <emmintrin.h>
#endif

#include <benchfs.h>

#include "bench.h"

/* ==== BenchFS ==== */

#define LIST_AT_ONCE 256

static void refused(const char *call, const char *path, long code)
{
    die("%s %s: %s (%s)", call, path, benchfs_strerror((int)code), benchfs_last_error());
}

static void bfs_start(const struct options *o)
{
    (void)o;
    int rc = benchfs_init(NULL);
    if (rc < 0)
        refused("benchfs_init", "", rc);
}

static void bfs_stop(void)
{
    int rc = benchfs_finalize();
    if (rc != 0)
        die("benchfs_finalize: %d", rc);
}

static int bfs_open(const char *path, int flags)
{
    int fd = benchfs_open(path, flags, 0600);
    if (fd < 0)
        refused("open", path, fd);
    return fd;
}

static void bfs_close(int fd)
{
    int rc = benchfs_close(fd);
    if (rc < 0)
        refused("close", "", rc);
}

static void bfs_read(int fd, void *buf, size_t len, off_t offset)
{
    ssize_t n = benchfs_pread(fd, buf, len, offset);
    if (n < 0)
        refused("pread", "", n);
    if ((size_t)n != len)
        die("pread at %lld: %zd bytes of %zu", (long long)offset, n, len);
}

static void bfs_write(int fd, const void *buf, size_t len, off_t offset)
{
    ssize_t n = benchfs_pwrite(fd, buf, len, offset);
    if (n < 0)
        refused("pwrite", "", n);
    if ((size_t)n != len)
        die("pwrite at %lld: %zd bytes of %zu", (long long)offset, n, len);
}

static off_t bfs_size(const char *path)
{
    struct stat st;
    int rc = benchfs_stat(path, &st);
    if (rc < 0)
        refused("stat", path, rc);
    return st.st_size;
}

static void bfs_unlink(const char *path)
{
    int rc = benchfs_unlink(path);
    if (rc < 0)
        refused("unlink", path, rc);
}

static void bfs_mkdir(const char *path)
{
    int rc = benchfs_mkdir(path, 0700);
    if (rc < 0 && rc != -EEXIST)
        refused("mkdir", path, rc);
}

static void bfs_rmdir(const char *path)
{
    int rc = benchfs_rmdir(path);
    if (rc < 0)
        refused("rmdir", path, rc);
}

static long bfs_list(const char *path)
{
    static struct benchfs_direntplus entries[LIST_AT_ONCE];
    int dir = benchfs_opendir(path);
    if (dir < 0)
        refused("opendir", path, dir);
    long count = 0;
    int n;
    while ((n = benchfs_readdir_many(dir, entries, LIST_AT_ONCE)) > 0)
        for (int i = 0; i < n; i++)
            count += S_ISREG(entries[i].st.st_mode);
    if (n < 0)
        refused("readdir_many", path, n);
    benchfs_closedir(dir);
    return count;
}

/* The sum of the numbers that stand behind key in a JSON text. */
static unsigned long sum_of(const char *text, const char *key)
{
    unsigned long sum = 0;
    for (const char *at = strstr(text, key); at; at = strstr(at + 1, key))
        sum += strtoul(at + strlen(key), NULL, 10);
    return sum;
}

/* Each request of a client takes a connection: one that stands, or a new one. */
static unsigned long bfs_messages(void)
{
    ssize_t len = benchfs_stats(NULL, 0);
    if (len < 0)
        refused("stats", "", len);
    size_t size = (size_t)len + 4096; /* the counters grow meanwhile */
    char *text = must_alloc(size);
    if (benchfs_stats(text, size) < 0)
        die("benchfs_stats failed");
    unsigned long sent = sum_of(text, "\"reused\":") + sum_of(text, "\"dialled\":");
    free(text);
    return sent;
}

/* ==== The kernel ==== */

static bool want_direct;

static void posix_start(const struct options *o)
{
    want_direct = o->direct;
}

static void nothing(void) {}

static void failed(const char *call, const char *path)
{
    die("%s %s: %s", call, path, strerror(errno));
}

static int posix_open(const char *path, int flags)
{
    int fd = open(path, flags | (want_direct ? O_DIRECT : 0), 0600);
    if (fd < 0)
        failed("open", path);
    return fd;
}

static void posix_close(int fd)
{
    if (close(fd) != 0)
        failed("close", "");
}

static void posix_read(int fd, void *buf, size_t len, off_t offset)
{
    ssize_t n = pread(fd, buf, len, offset);
    if (n < 0)
        failed("pread", "");
    if ((size_t)n != len)
        die("pread at %lld: %zd bytes of %zu", (long long)offset, n, len);
}

static void posix_write(int fd, const void *buf, size_t len, off_t offset)
{
    ssize_t n = pwrite(fd, buf, len, offset);
    if (n < 0)
        failed("pwrite", "");
    if ((size_t)n != len)
        die("pwrite at %lld: %zd bytes of %zu", (long long)offset, n, len);
}

static off_t posix_size(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0)
        failed("stat", path);
    return st.st_size;
}

static void posix_unlink(const char *path)
{
    if (unlink(path) != 0)
        failed("unlink", path);
}

static void posix_mkdir(const char *path)
{
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        failed("mkdir", path);
}

static void posix_rmdir(const char *path)
{
    if (rmdir(path) != 0)
        failed("rmdir", path);
}

static long posix_list(const char *path)
{
    DIR *dir = opendir(path);
    if (!dir)
        failed("opendir", path);
    long count = 0;
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        struct stat st;
        if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
            failed("fstatat", entry->d_name);
        count += S_ISREG(st.st_mode);
    }
    closedir(dir);
    return count;
}

static unsigned long no_messages(void)
{
    return 0;
}

/* ==== One file, mapped whole: what a copy costs at least ==== */

static struct {
    unsigned char *base;
    size_t size;
} mapping;

static void map_start(const struct options *o)
{
    mapping.size = o->size;
}

static int map_open(const char *path, int flags)
{
    int fd = posix_open(path, (flags & ~O_ACCMODE) | O_RDWR);
    if (ftruncate(fd, (off_t)mapping.size) != 0)
        failed("ftruncate", path);
    mapping.base = mmap(NULL, mapping.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapping.base == MAP_FAILED)
        failed("mmap", path);
    return fd;
}

static void map_close(int fd)
{
    munmap(mapping.base, mapping.size);
    posix_close(fd);
}

static void map_read(int fd, void *buf, size_t len, off_t offset)
{
    (void)fd;
    memcpy(buf, mapping.base + offset, len);
}

static void map_write(int fd, const void *buf, size_t len, off_t offset)
{
    (void)fd;
    memcpy(mapping.base + offset, buf, len);
}

/* By the processor's string instruction, which does not read what it overwrites where the processor does it well. */
static void string_copy(void *to, const void *from, size_t len)
{
#if defined(__x86_64__)
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(len) : : "memory");
#else
    memcpy(to, from, len);
#endif
}

static void string_read(int fd, void *buf, size_t len, off_t offset)
{
    (void)fd;
    string_copy(buf, mapping.base + offset, len);
}

static void string_write(int fd, const void *buf, size_t len, off_t offset)
{
    (void)fd;
    string_copy(mapping.base + offset, buf, len);
}

/*
 * Around the caches, as a copy of much data may go: the destination is not read before it is overwritten. memcpy does so from some length on,
 * which differs between C libraries and machines.
 */
static void stream_write(int fd, const void *buf, size_t len, off_t offset)
{
#if defined(__x86_64__)
    unsigned char *to = mapping.base + offset;
    const unsigned char *from = buf;
    if ((uintptr_t)to % sizeof(__m128i) == 0 && len % sizeof(__m128i) == 0) {
        for (size_t i = 0; i < len; i += sizeof(__m128i))
            _mm_stream_si128((__m128i *)(to + i), _mm_loadu_si128((const __m128i *)(from + i)));
        _mm_sfence();
        return;
    }
#endif
    map_write(fd, buf, len, offset);
}

/* ==== */

static const struct api apis[] = {
    {"benchfs", bfs_start, bfs_stop, bfs_open, bfs_close, bfs_read, bfs_write, bfs_size, bfs_unlink, bfs_mkdir,
     bfs_rmdir, bfs_list, bfs_messages},
    {"posix", posix_start, nothing, posix_open, posix_close, posix_read, posix_write, posix_size, posix_unlink,
     posix_mkdir, posix_rmdir, posix_list, no_messages},
    {"map", map_start, nothing, map_open, map_close, map_read, map_write, posix_size, posix_unlink, posix_mkdir,
     posix_rmdir, posix_list, no_messages},
    {"map-string", map_start, nothing, map_open, map_close, string_read, string_write, posix_size, posix_unlink,
     posix_mkdir, posix_rmdir, posix_list, no_messages},
    {"map-stream", map_start, nothing, map_open, map_close, map_read, stream_write, posix_size, posix_unlink,
     posix_mkdir, posix_rmdir, posix_list, no_messages},
};

const struct api *api_named(const char *name)
{
    for (size_t i = 0; i < sizeof(apis) / sizeof(apis[0]); i++)
        if (strcmp(apis[i].name, name) == 0)
            return &apis[i];
    die("no such api: %s", name);
}
