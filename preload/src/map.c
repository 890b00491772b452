/*
 * map.c: mapped files.
 *
 * There is no kernel file behind a descriptor of ours, so a mapping is memory into which the file was read when it was mapped. A shared one is a
 * memory file that is mapped twice, for the program as it wants, and for us to read and write: what the process writes to the file by
 * other calls is brought into its mappings of it (LMDB reads that way what it has written). What a program writes into a shared mapping goes to
 * the file with msync, munmap, before the same process reads the file by other means, and at its end: only the bytes that
 * differ from what was read, so that two who write different places of one file do not undo each other.
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
    char *view;    /* the same memory, for us */
    char *as_read; /* the file's bytes as last seen; NULL: the program cannot write */
    size_t n;
    off_t offset;
};

static pthread_mutex_t mappings = PTHREAD_MUTEX_INITIALIZER;
static struct mapping *first; /* shared ones; guarded by mappings */
atomic_int bp_mapping_count BP_NEAR;

/* This thread holds the lock: what malloc asks of the kernel meanwhile, and an MPI library passes on to us, is no mapping of a file. */
static _Thread_local int holding;

static void lock_mappings(void)
{
    pthread_mutex_lock(&mappings);
    holding = 1;
}

static void unlock_mappings(void)
{
    holding = 0;
    pthread_mutex_unlock(&mappings);
}

static const size_t page = 4096;

static size_t round_up(size_t n)
{
    return (n + page - 1) & ~(page - 1);
}

/* Reads as much as there is of n bytes at offset; the rest stays zero. How much that is, or negative errno. */
static ssize_t fill(int h, char *at, size_t n, off_t offset)
{
    size_t done = 0;
    while (done < n) {
        ssize_t got = bp_library_calls.pread(h, at + done, n - done, offset + (off_t)done);
        if (got < 0)
            return got;
        if (got == 0)
            break;
        done += (size_t)got;
    }
    return (ssize_t)done;
}

/* Writes what differs in [from, to) of the mapping. 0 or negative errno. */
static int write_back(struct mapping *m, size_t from, size_t to)
{
    struct stat st;
    if (m->as_read == NULL)
        return 0;
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
        if (memcmp(m->view + i, m->as_read + i, n) == 0) {
            i += n;
            continue;
        }
        while (m->view[i] == m->as_read[i])
            i++;
        size_t end = i;
        while (end < to && m->view[end] != m->as_read[end])
            end++;
        memcpy(m->as_read + i, m->view + i, end - i);
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
    lock_mappings();
    for (struct mapping *m = first; m != NULL && rc == 0; m = m->next)
        if (overlap(m, at, n, &from, &to))
            rc = write_back(m, from, to);
    unlock_mappings();
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
    lock_mappings();
    for (struct mapping *m = first; m != NULL; m = m->next)
        if (m->file->description->ino == f->description->ino)
            (void)write_back(m, 0, m->n);
    unlock_mappings();
}

/* The part of a mapping from `from` to its end, or to `to`, is not needed any more. */
static void release(const struct mapping *m, size_t from, size_t to)
{
    if (to <= from)
        return;
    bp_own_munmap(m->view + from, to - from);
    if (m->as_read != NULL)
        bp_own_munmap(m->as_read + from, to - from);
}

/* [at, at+n) is not mapped any more. */
static void cut(const char *at, size_t n)
{
    size_t from, to;
    lock_mappings();
    for (struct mapping **link = &first, *m; (m = *link) != NULL;) {
        if (!overlap(m, at, n, &from, &to)) {
            link = &m->next;
            continue;
        }
        release(m, from, to);
        struct mapping *rest = to < m->n ? calloc(1, sizeof *rest) : NULL;
        if (rest != NULL) { /* a part at the end stays */
            *rest = (struct mapping){m->next,
                                     m->file,
                                     m->at + to,
                                     m->view + to,
                                     m->as_read != NULL ? m->as_read + to : NULL,
                                     m->n - to,
                                     m->offset + (off_t)to};
            bp_file_hold(m->file);
            m->next = rest;
            atomic_fetch_add(&bp_mapping_count, 1);
        }
        if (from > 0) {
            m->n = from;
            link = &m->next;
            continue;
        }
        *link = m->next;
        bp_file_drop(m->file);
        free(m);
        atomic_fetch_sub(&bp_mapping_count, 1);
    }
    unlock_mappings();
}

/* From now on the program may write: what differs from this copy is what it has written. used: bytes that may not be zero. */
static int note_as_read(struct mapping *m, size_t used)
{
    void *copy = bp_own_mmap(m->n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
    if (copy == MAP_FAILED)
        return -ENOMEM;
    m->as_read = memcpy(copy, m->view, used);
    return 0;
}

/* Takes over view, of which so many bytes are used. */
static int remember(struct bp_file *f, char *at, char *view, size_t n, size_t used, off_t offset, int writable)
{
    struct mapping *m = calloc(1, sizeof *m);
    if (m == NULL)
        return -ENOMEM;
    *m = (struct mapping){NULL, f, at, view, NULL, n, offset};
    if (writable && note_as_read(m, used) != 0) {
        free(m);
        return -ENOMEM;
    }
    bp_file_hold(f);
    lock_mappings();
    m->next = first;
    first = m;
    unlock_mappings();
    atomic_fetch_add(&bp_mapping_count, 1);
    return 0;
}

/* What was mapped for reading may be made writable later. */
static int allow_writing(const char *at, size_t n)
{
    size_t from, to;
    int rc = 0;
    lock_mappings();
    for (struct mapping *m = first; m != NULL && rc == 0; m = m->next) {
        if (m->as_read != NULL || !overlap(m, at, n, &from, &to))
            continue;
        rc = (atomic_load(&m->file->description->flags) & O_ACCMODE) == O_RDWR ? note_as_read(m, m->n) : -EACCES;
    }
    unlock_mappings();
    return rc;
}

EXPORT int mprotect(void *at, size_t n, int prot)
{
    int rc = 0;
    if (UNLIKELY(atomic_load_explicit(&bp_mapping_count, memory_order_relaxed) > 0) && (prot & PROT_WRITE) != 0)
        rc = allow_writing(at, round_up(n));
    return rc != 0 ? (int)bp_result(rc) : REAL(mprotect)(at, n, prot);
}

EXPORT int pkey_mprotect(void *at, size_t n, int prot, int key)
{
    int rc = 0;
    if (UNLIKELY(atomic_load_explicit(&bp_mapping_count, memory_order_relaxed) > 0) && (prot & PROT_WRITE) != 0)
        rc = allow_writing(at, round_up(n));
    return rc != 0 ? (int)bp_result(rc) : REAL(pkey_mprotect)(at, n, prot, key);
}

void bp_refresh_mappings(const struct bp_file *f, off_t offset, off_t n)
{
    lock_mappings();
    for (struct mapping *m = first; m != NULL; m = m->next) {
        off_t end = m->offset + (off_t)m->n, from = offset > m->offset ? offset : m->offset;
        off_t to = n > end - offset ? end : offset + n;
        if (m->file->description->ino != f->description->ino || from >= to)
            continue;
        char *at = m->view + (from - m->offset);
        int h = bp_handle(m->file); /* one for reading, whatever it was written by */
        ssize_t got = h < 0 ? h : bp_library_calls.pread(h, at, (size_t)(to - from), from);
        if (got >= 0) /* what is behind the end of the file is zero */
            memset(at + got, 0, (size_t)(to - from - got));
        if (m->as_read != NULL)
            memcpy(m->as_read + (from - m->offset), at, (size_t)(to - from));
    }
    unlock_mappings();
}

static void *failed(int error)
{
    errno = error;
    return MAP_FAILED;
}

/* A memory file with the file's bytes, mapped for the program and for us. */
static void *map_shared(struct bp_file *f, int h, void *hint, size_t n, int prot, int flags, off_t offset)
{
    int memfd = memfd_create("mapped", MFD_CLOEXEC), rc = 0;
    ssize_t used = 0;
    char *at = MAP_FAILED, *view = MAP_FAILED;
    if (memfd >= 0 && REAL(ftruncate)(memfd, (off_t)n) == 0)
        view = bp_own_mmap(n, PROT_READ | PROT_WRITE, MAP_SHARED, memfd);
    if (view == MAP_FAILED)
        rc = -errno;
    if (rc == 0 && (used = fill(h, view, n, offset)) < 0)
        rc = (int)used;
    if (rc == 0) {
        at = REAL(mmap)(hint, n, prot, (flags & ~(MAP_TYPE | MAP_SYNC | MAP_LOCKED)) | MAP_SHARED, memfd, 0);
        if (at == MAP_FAILED)
            rc = -errno;
    }
    if (rc == 0)
        rc = remember(f, at, view, n, (size_t)used, offset, (prot & PROT_WRITE) != 0);
    if (memfd >= 0)
        REAL(close)(memfd);
    if (rc == 0)
        return at;
    if (at != MAP_FAILED)
        REAL(munmap)(at, n);
    if (view != MAP_FAILED)
        bp_own_munmap(view, n);
    return failed(-rc);
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
    if (shared)
        return map_shared(f, h, hint, n, prot, flags, offset);
    char *at = REAL(mmap)(hint, n, PROT_READ | PROT_WRITE,
                          (flags & ~(MAP_TYPE | MAP_SYNC | MAP_LOCKED)) | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        return MAP_FAILED;
    ssize_t got = fill(h, at, n, offset);
    int rc = got < 0 ? (int)got : 0;
    if (rc == 0 && prot != (PROT_READ | PROT_WRITE) && REAL(mprotect)(at, n, prot) != 0)
        rc = -errno;
    if (rc != 0) {
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
    if (UNLIKELY((flags & MAP_FIXED) != 0 && atomic_load(&bp_mapping_count) > 0 && !holding)) {
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
    if (LIKELY(atomic_load_explicit(&bp_mapping_count, memory_order_relaxed) == 0) || holding)
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
    lock_mappings();
    for (struct mapping *m = first; m != NULL && rc == 0; m = m->next) {
        if (!overlap(m, at, round_up(n), &from, &to))
            continue;
        ours = 1;
        rc = write_back(m, from, to);
        int h = bp_handle(m->file);
        if (rc == 0 && (flags & MS_SYNC) != 0)
            rc = h < 0 ? h : bp_library_calls.fdatasync(h);
    }
    unlock_mappings();
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
    if (LIKELY(atomic_load_explicit(&bp_mapping_count, memory_order_relaxed) == 0) || holding)
        return kernel_mremap(by_number, at, old, size, flags, to);
    lock_mappings();
    for (struct mapping *m = first; m != NULL && file == NULL; m = m->next) {
        if (overlap(m, at, 1, &from, &end)) {
            file = m->file;
            offset = m->offset + (off_t)from;
            bp_file_hold(file);
        }
    }
    unlock_mappings();
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
