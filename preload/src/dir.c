/*
 * dir.c: directory streams. Ours live in a region of their own, so that a pointer tells whose it is; libc's own never meet them.
 */
#include "preload.h"

#include <sys/mman.h>
#include <sys/syscall.h>

struct stream {
    int fd;        /* the program's, from dirfd() */
    int used;      /* guarded by streams */
    int handle;    /* the library's */
    uint32_t life; /* bp_generation of handle */
    off_t at;      /* cookie of the entry returned last */
    struct dirent entry;
};

/* Room for so many open streams; address space only until they are used. */
#define STREAMS 16384

static pthread_mutex_t streams = PTHREAD_MUTEX_INITIALIZER;
static struct stream *_Atomic region;
static int next_free; /* guarded by streams */

static int is_ours(const DIR *dir)
{
    const struct stream *first = atomic_load_explicit(&region, memory_order_acquire), *s = (const void *)dir;
    return first != NULL && s >= first && s < first + STREAMS;
}

static struct stream *new_stream(void)
{
    struct stream *found = NULL;
    pthread_mutex_lock(&streams);
    struct stream *first = atomic_load(&region);
    if (first == NULL) {
        void *p = bp_own_mmap(STREAMS * sizeof *first, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
        if (p != MAP_FAILED)
            atomic_store(&region, first = p);
    }
    for (int i = 0; first != NULL && i < STREAMS && found == NULL; i++) {
        struct stream *s = first + (next_free + i) % STREAMS;
        if (!s->used) {
            next_free = (int)(s - first) + 1;
            s->used = 1;
            found = s;
        }
    }
    pthread_mutex_unlock(&streams);
    if (found == NULL)
        errno = ENOMEM;
    return found;
}

static void free_stream(struct stream *s)
{
    pthread_mutex_lock(&streams);
    s->used = 0;
    pthread_mutex_unlock(&streams);
}

/* The library's stream; opened again in a child of fork, where the parent's is no use. */
static int stream_handle(struct stream *s)
{
    struct bp_file *f = bp_file(s->fd);
    if (s->life == bp_generation && s->handle >= 0 && atomic_load(&bp_library_ready))
        return s->handle;
    if (f == NULL)
        return -EBADF;
    int h = bp_handle(f);
    if (h < 0)
        return h;
    s->handle = bp_library_calls.fdopendir(h);
    s->life = bp_generation;
    if (s->handle >= 0 && s->at != 0)
        bp_library_calls.seekdir(s->handle, s->at);
    return s->handle;
}

EXPORT DIR *fdopendir(int fd)
{
    struct bp_file *f = bp_file(fd);
    if (LIKELY(f == NULL))
        return REAL(fdopendir)(fd);
    bp_count(F_fdopendir);
    if (f->description->kind != S_IFDIR) {
        errno = ENOTDIR;
        return NULL;
    }
    struct stream *s = new_stream();
    if (s == NULL)
        return NULL;
    *s = (struct stream){.fd = fd, .used = 1, .handle = -1, .at = atomic_load(&f->description->offset)};
    int rc = stream_handle(s);
    if (rc < 0) {
        free_stream(s);
        errno = -rc;
        return NULL;
    }
    REAL(fcntl)(fd, F_SETFD, FD_CLOEXEC);
    return (DIR *)s;
}

EXPORT DIR *opendir(const char *path)
{
    struct bp_where w;
    if (LIKELY(bp_locate_following(AT_FDCWD, path, 1, &w) == BP_OUTSIDE)) {
        DIR *real = REAL(opendir)(w.path);
        if (LIKELY(real != NULL) || !bp_follow_in(AT_FDCWD, path, &w, 1))
            return real;
    }
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    DIR *dir = fdopendir(fd);
    if (dir == NULL) { /* also: a link that led out */
        int saved = errno;
        close(fd);
        errno = saved;
    }
    return dir;
}

EXPORT struct dirent *readdir(DIR *dir)
{
    struct stream *s = (struct stream *)dir;
    if (LIKELY(!is_ours(dir)))
        return REAL(readdir)(dir);
    bp_count(F_readdir);
    struct benchfs_dirent e;
    int h = stream_handle(s);
    int rc = h < 0 ? h : bp_library_calls.readdir(h, &e);
    if (rc <= 0) {
        if (rc < 0)
            errno = -rc;
        return NULL;
    }
    s->at = e.cookie;
    s->entry.d_ino = e.ino;
    s->entry.d_off = e.cookie;
    s->entry.d_reclen = sizeof s->entry;
    s->entry.d_type = (unsigned char)e.kind;
    memcpy(s->entry.d_name, e.name, e.name_size + 1);
    return &s->entry;
}

EXPORT int readdir_r(DIR *dir, struct dirent *entry, struct dirent **result)
{
    if (LIKELY(!is_ours(dir))) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
        return REAL(readdir_r)(dir, entry, result);
#pragma GCC diagnostic pop
    }
    int saved = errno;
    errno = 0;
    struct dirent *e = readdir(dir);
    int error = errno;
    errno = saved;
    *result = NULL;
    if (e != NULL) {
        memcpy(entry, e, sizeof *e);
        *result = entry;
    }
    return error;
}

#pragma GCC diagnostic ignored "-Wattribute-alias"
extern struct dirent64 *readdir64(DIR *dir) EXPORT __attribute__((alias("readdir")));
extern int readdir64_r(DIR *dir, struct dirent64 *entry, struct dirent64 **result) EXPORT
    __attribute__((alias("readdir_r")));

EXPORT long telldir(DIR *dir)
{
    return LIKELY(!is_ours(dir)) ? REAL(telldir)(dir) : (long)((struct stream *)dir)->at;
}

EXPORT void seekdir(DIR *dir, long cookie)
{
    struct stream *s = (struct stream *)dir;
    if (LIKELY(!is_ours(dir))) {
        REAL(seekdir)(dir, cookie);
        return;
    }
    int h = stream_handle(s);
    s->at = cookie;
    if (h >= 0)
        bp_library_calls.seekdir(h, cookie);
}

EXPORT void rewinddir(DIR *dir)
{
    struct stream *s = (struct stream *)dir;
    if (LIKELY(!is_ours(dir))) {
        REAL(rewinddir)(dir);
        return;
    }
    int h = stream_handle(s);
    s->at = 0;
    if (h >= 0)
        bp_library_calls.rewinddir(h);
}

EXPORT int dirfd(DIR *dir)
{
    return LIKELY(!is_ours(dir)) ? REAL(dirfd)(dir) : ((struct stream *)dir)->fd;
}

EXPORT int closedir(DIR *dir)
{
    struct stream *s = (struct stream *)dir;
    if (LIKELY(!is_ours(dir)))
        return REAL(closedir)(dir);
    bp_count(F_closedir);
    if (s->life == bp_generation && s->handle >= 0 && atomic_load(&bp_library_ready))
        bp_library_calls.closedir(s->handle);
    int fd = s->fd;
    free_stream(s);
    return close(fd);
}

/* ==== The system call's form ==== */

EXPORT ssize_t getdents64(int fd, void *buffer, size_t size)
{
    struct bp_file *f = bp_file(fd);
    if (LIKELY(f == NULL))
        return REAL(getdents64)(fd, buffer, size);
    bp_count(F_getdents64);
    int h = bp_handle(f);
    int dir = h < 0 ? h : f->description->kind != S_IFDIR ? -ENOTDIR : bp_library_calls.fdopendir(h);
    if (dir < 0)
        return bp_result(dir);
    const struct bp_library *lib = &bp_library_calls;
    struct bp_description *d = bp_lock_file(f);
    size_t used = 0;
    int rc = 0;
    off_t at = atomic_load(&d->offset);
    lib->seekdir(dir, at);
    for (;;) {
        struct benchfs_dirent e;
        rc = lib->readdir(dir, &e);
        if (rc <= 0)
            break;
        size_t n = (offsetof(struct dirent64, d_name) + e.name_size + 1 + 7) & ~(size_t)7;
        if (used + n > size) {
            rc = used == 0 ? -EINVAL : 0;
            break;
        }
        struct dirent64 *out = (struct dirent64 *)((char *)buffer + used);
        out->d_ino = e.ino;
        out->d_off = at = e.cookie;
        out->d_reclen = (unsigned short)n;
        out->d_type = (unsigned char)e.kind;
        memcpy(out->d_name, e.name, e.name_size + 1);
        used += n;
    }
    atomic_store(&d->offset, at);
    bp_unlock(d);
    lib->closedir(dir);
    return used > 0 ? (ssize_t)used : bp_result(rc);
}
