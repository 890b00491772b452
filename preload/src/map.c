/*
 * map.c: mapped files.
 *
 * There is no kernel file behind a descriptor of ours, so a mapping is memory into which the file was read when it was mapped. What a program
 * writes into a shared mapping goes to the file with msync, munmap, before the same process reads the file by other means, and at
 * its end: only the bytes that differ from what was read, so that two who write different places of one file do not undo each other.
 * Children of fork share the memory. Processes that are not related see each other's writes only after msync and a new mapping:
 * databases whose processes talk through shared mappings (WAL mode) must not be used that way from several processes.
 */
#include "preload.h"

#include <sys/mman.h>
#include <sys/syscall.h>

struct mapping {
    struct mapping *next;
    struct bp_file *file;
    char *at;
    char *as_read; /* the file's bytes as last seen */
    size_t n;
    off_t offset;
};

static pthread_mutex_t mappings = PTHREAD_MUTEX_INITIALIZER;
static struct mapping *first; /* shared and writable ones; guarded by mappings */
atomic_int bp_mapping_count BP_NEAR;

static const size_t page = 4096;

static size_t round_up(size_t n)
{
    return (n + page - 1) & ~(page - 1);
}

/* Reads as much as there is of n bytes at offset; the rest stays zero. 0 or negative errno. */
static int fill(int h, char *at, size_t n, off_t offset)
{
    size_t done = 0;
    while (done < n) {
        ssize_t got = bp_library_calls.pread(h, at + done, n - done, offset + (off_t)done);
        if (got < 0)
            return (int)got;
        if (got == 0)
            break;
        done += (size_t)got;
    }
    return 0;
}

/* Writes what differs in [from, to) of the mapping. 0 or negative errno. */
static int write_back(struct mapping *m, size_t from, size_t to)
{
    struct stat st;
    int h = bp_handle(m->file);
    int rc = h < 0 ? h : bp_library_calls.fstat(h, &st);
    if (rc < 0)
        return rc;
    off_t room = st.st_size - m->offset; /* what is mapped behind the end of the file is nobody's */
    if (room < 0)
        room = 0;
    if ((off_t)to > room)
        to = (size_t)room;
    for (size_t i = from; i < to;) {
        size_t n = to - i < page ? to - i : page;
        if (memcmp(m->at + i, m->as_read + i, n) == 0) {
            i += n;
            continue;
        }
        while (m->at[i] == m->as_read[i])
            i++;
        size_t end = i;
        while (end < to && m->at[end] != m->as_read[end])
            end++;
        memcpy(m->as_read + i, m->at + i, end - i);
        ssize_t moved = bp_library_calls.pwrite(h, m->as_read + i, end - i, m->offset + (off_t)i);
        if (moved < 0)
            return (int)moved;
        i = end;
    }
    return 0;
}

/* The part of a mapping that [at, at+n) covers: 0 if none. */
static int overlap(const struct mapping *m, const char *at, size_t n, size_t *from, size_t *to)
{
    const char *low = at > m->at ? at : m->at, *high = at + n < m->at + m->n ? at + n : m->at + m->n;
    if (low >= high)
        return 0;
    *from = (size_t)(low - m->at);
    *to = (size_t)(high - m->at);
    return 1;
}

static int write_back_range(const char *at, size_t n)
{
    int rc = 0;
    size_t from, to;
    pthread_mutex_lock(&mappings);
    for (struct mapping *m = first; m != NULL && rc == 0; m = m->next)
        if (overlap(m, at, n, &from, &to))
            rc = write_back(m, from, to);
    pthread_mutex_unlock(&mappings);
    return rc;
}

void bp_write_back_all(void)
{
    if (atomic_load(&bp_mapping_count) > 0)
        (void)write_back_range(NULL, SIZE_MAX);
}

void bp_write_back_file(const struct bp_file *f)
{
    if (LIKELY(atomic_load_explicit(&bp_mapping_count, memory_order_relaxed) == 0))
        return;
    pthread_mutex_lock(&mappings);
    for (struct mapping *m = first; m != NULL; m = m->next)
        if (m->file->description->ino == f->description->ino)
            (void)write_back(m, 0, m->n);
    pthread_mutex_unlock(&mappings);
}

static void forget(struct mapping *m)
{
    REAL(munmap)(m->as_read, m->n);
    bp_file_drop(m->file);
    free(m);
    atomic_fetch_sub(&bp_mapping_count, 1);
}

/* [at, at+n) is not mapped any more. */
static void cut(const char *at, size_t n)
{
    size_t from, to;
    pthread_mutex_lock(&mappings);
    for (struct mapping **link = &first, *m; (m = *link) != NULL;) {
        if (!overlap(m, at, n, &from, &to)) {
            link = &m->next;
            continue;
        }
        if (to < m->n) { /* a part at the end stays */
            struct mapping *rest = calloc(1, sizeof *rest);
            void *copy = REAL(mmap)(NULL, m->n - to, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            if (rest != NULL && copy != MAP_FAILED) {
                *rest = (struct mapping){m->next, m->file, m->at + to, copy, m->n - to, m->offset + (off_t)to};
                memcpy(copy, m->as_read + to, rest->n);
                bp_file_hold(m->file);
                m->next = rest;
                atomic_fetch_add(&bp_mapping_count, 1);
            }
        }
        if (from > 0) {
            REAL(munmap)(m->as_read + from, m->n - from);
            m->n = from;
            link = &m->next;
            continue;
        }
        *link = m->next;
        forget(m);
    }
    pthread_mutex_unlock(&mappings);
}

static int remember(struct bp_file *f, char *at, size_t n, off_t offset)
{
    struct mapping *m = calloc(1, sizeof *m);
    void *copy = REAL(mmap)(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m == NULL || copy == MAP_FAILED) {
        free(m);
        return -ENOMEM;
    }
    memcpy(copy, at, n);
    bp_file_hold(f);
    *m = (struct mapping){NULL, f, at, copy, n, offset};
    pthread_mutex_lock(&mappings);
    m->next = first;
    first = m;
    pthread_mutex_unlock(&mappings);
    atomic_fetch_add(&bp_mapping_count, 1);
    return 0;
}

static void *failed(int error)
{
    errno = error;
    return MAP_FAILED;
}

static void *map_file(struct bp_file *f, void *hint, size_t length, int prot, int flags, off_t offset)
{
    int access = atomic_load(&f->description->flags) & O_ACCMODE, type = flags & MAP_TYPE;
    int shared = type == MAP_SHARED || type == MAP_SHARED_VALIDATE;
    size_t n = round_up(length);
    if (f->description->kind != S_IFREG)
        return failed(ENODEV);
    if (access == O_WRONLY || (shared && (prot & PROT_WRITE) != 0 && access != O_RDWR))
        return failed(EACCES);
    if (length == 0 || n < length || offset < 0 || (offset & (off_t)(page - 1)) != 0)
        return failed(EINVAL);
    int h = bp_handle(f);
    if (h < 0)
        return failed(-h);
    bp_write_back_file(f);
    if (flags & MAP_FIXED)
        (void)bp_munmap(1, hint, n);
    char *at = REAL(mmap)(
        hint, n, PROT_READ | PROT_WRITE,
        (flags & ~(MAP_TYPE | MAP_SYNC | MAP_LOCKED)) | (shared ? MAP_SHARED : MAP_PRIVATE) | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        return MAP_FAILED;
    int rc = fill(h, at, n, offset);
    if (rc == 0 && shared && access == O_RDWR)
        rc = remember(f, at, n, offset);
    if (rc == 0 && prot != (PROT_READ | PROT_WRITE) && mprotect(at, n, prot) != 0)
        rc = -errno;
    if (rc != 0) {
        cut(at, n);
        REAL(munmap)(at, n);
        return failed(-rc);
    }
    return at;
}

/*
 * A program's UCX writes a jump to itself over the first bytes of the function that it finds under the name mmap, ours or libc's, and then asks by
 * number (syscall(2)). So what is asked by number must not come by the exported names, nor by libc's: by_number says so.
 */
static void *kernel_mmap(int by_number, void *hint, size_t n, int prot, int flags, int fd, off_t offset)
{
    return by_number ? (void *)REAL(syscall)(SYS_mmap, hint, n, prot, flags, fd, offset)
                     : REAL(mmap)(hint, n, prot, flags, fd, offset);
}

static int kernel_munmap(int by_number, void *at, size_t n)
{
    return by_number ? (int)REAL(syscall)(SYS_munmap, at, n) : REAL(munmap)(at, n);
}

void *bp_mmap(int by_number, void *hint, size_t length, int prot, int flags, int fd, off_t offset)
{
    struct bp_file *f = (flags & MAP_ANONYMOUS) != 0 ? NULL : bp_file(fd);
    if (UNLIKELY(f != NULL)) {
        bp_count(F_mmap);
        return map_file(f, hint, length, prot, flags, offset);
    }
    if (UNLIKELY((flags & MAP_FIXED) != 0 && atomic_load(&bp_mapping_count) > 0)) {
        (void)write_back_range(hint, length);
        cut(hint, length);
    }
    return kernel_mmap(by_number, hint, length, prot, flags, fd, offset);
}

EXPORT void *mmap(void *hint, size_t length, int prot, int flags, int fd, off_t offset)
{
    return bp_mmap(0, hint, length, prot, flags, fd, offset);
}
ALIAS(mmap, mmap64);

int bp_munmap(int by_number, void *at, size_t n)
{
    if (LIKELY(atomic_load_explicit(&bp_mapping_count, memory_order_relaxed) == 0))
        return kernel_munmap(by_number, at, n);
    int rc = write_back_range(at, round_up(n));
    if (rc != 0)
        bp_log("munmap: what was written to the mapping is lost: %s", strerror(-rc));
    rc = kernel_munmap(by_number, at, n);
    if (rc == 0)
        cut(at, round_up(n));
    return rc;
}

EXPORT int munmap(void *at, size_t n)
{
    return bp_munmap(0, at, n);
}

EXPORT int msync(void *at, size_t n, int flags)
{
    size_t from, to;
    int ours = 0, rc = 0;
    if (LIKELY(atomic_load_explicit(&bp_mapping_count, memory_order_relaxed) == 0))
        return REAL(msync)(at, n, flags);
    pthread_mutex_lock(&mappings);
    for (struct mapping *m = first; m != NULL && rc == 0; m = m->next) {
        if (!overlap(m, at, round_up(n), &from, &to))
            continue;
        ours = 1;
        rc = write_back(m, from, to);
        int h = bp_handle(m->file);
        if (rc == 0 && (flags & MS_SYNC) != 0)
            rc = h < 0 ? h : bp_library_calls.fdatasync(h);
    }
    pthread_mutex_unlock(&mappings);
    return ours ? (int)bp_result(rc) : REAL(msync)(at, n, flags);
}

static void *kernel_mremap(int by_number, void *at, size_t old, size_t size, int flags, void *to)
{
    return by_number ? (void *)REAL(syscall)(SYS_mremap, at, old, size, flags, to)
                     : REAL(mremap)(at, old, size, flags, to);
}

void *bp_mremap(int by_number, void *at, size_t old, size_t size, int flags, void *to)
{
    struct bp_file *file = NULL;
    off_t offset = 0;
    size_t from, end;
    if (LIKELY(atomic_load_explicit(&bp_mapping_count, memory_order_relaxed) == 0))
        return kernel_mremap(by_number, at, old, size, flags, to);
    pthread_mutex_lock(&mappings);
    for (struct mapping *m = first; m != NULL && file == NULL; m = m->next) {
        if (overlap(m, at, 1, &from, &end)) {
            file = m->file;
            offset = m->offset + (off_t)from;
            bp_file_hold(file);
        }
    }
    pthread_mutex_unlock(&mappings);
    if (file == NULL)
        return kernel_mremap(by_number, at, old, size, flags, to);
    void *result = at;
    if (round_up(size) <= round_up(old)) {
        if (round_up(size) < round_up(old))
            (void)bp_munmap(by_number, (char *)at + round_up(size), round_up(old) - round_up(size));
    } else if ((flags & MREMAP_MAYMOVE) == 0) {
        result = failed(ENOMEM);
    } else {
        (void)write_back_range(at, old);
        result = map_file(file, (flags & MREMAP_FIXED) != 0 ? to : NULL, size, PROT_READ | PROT_WRITE,
                          MAP_SHARED | ((flags & MREMAP_FIXED) != 0 ? MAP_FIXED : 0), offset);
        if (result != MAP_FAILED)
            (void)bp_munmap(by_number, at, old);
    }
    bp_file_drop(file);
    return result;
}

EXPORT void *mremap(void *at, size_t old, size_t size, int flags, ...)
{
    __builtin_va_list arguments;
    __builtin_va_start(arguments, flags);
    void *to = __builtin_va_arg(arguments, void *);
    __builtin_va_end(arguments);
    return bp_mremap(0, at, old, size, flags, to);
}
