/*
 * descriptor.c: an open file as a kernel descriptor.
 *
 * Each open makes a memfd that holds the open file description, and gives the program a descriptor of it that was opened with O_PATH.
 * The kernel then does for us what is hard to imitate: numbers, dup, close-on-exec, inheriting, passing through sockets. And any call
 * that nobody has wrapped fails on it with EBADF, instead of reading or writing something that is not the file.
 */
#include "preload.h"

#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>

#define MAGIC 0x6266735f6465736bULL
#define MEMFD_NAME "benchfs"
#define MEMFD_LINK "/memfd:" MEMFD_NAME " (deleted)"

_Atomic(struct bp_file *) bp_files[BP_FD_MAX];
atomic_int bp_fd_high = -1;

static pthread_mutex_t files = PTHREAD_MUTEX_INITIALIZER;
static struct bp_file *free_files; /* guarded by files */

static struct bp_file *take_file(void)
{
    pthread_mutex_lock(&files);
    struct bp_file *f = free_files;
    if (f != NULL)
        free_files = f->next;
    pthread_mutex_unlock(&files);
    if (f == NULL) {
        f = calloc(1, sizeof *f);
        if (f == NULL)
            return NULL;
        pthread_mutex_init(&f->mutex, NULL);
    }
    atomic_store(&f->refs, 1);
    return f;
}

static void give_file(struct bp_file *f)
{
    pthread_mutex_lock(&files);
    f->next = free_files;
    free_files = f;
    pthread_mutex_unlock(&files);
}

static uint64_t handle_word(int handle, int flags)
{
    return bp_handle_tag(flags) | (uint64_t)handle;
}

static struct bp_description *map_description(int memfd)
{
    void *p = REAL(mmap)(NULL, sizeof(struct bp_description), PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
    return p == MAP_FAILED ? NULL : p;
}

static void describe(struct bp_description *d, uint64_t ino, uint32_t kind, int flags, const char *path)
{
    d->ino = ino;
    d->kind = kind;
    d->flags = flags;
    d->session = bp_session;
    if (getrandom(&d->id, sizeof d->id, GRND_NONBLOCK) != sizeof d->id)
        d->id = (uint64_t)getpid() << 32 ^ (uintptr_t)d;
    strncpy(d->path, path, sizeof d->path - 1);
    d->magic = MAGIC;
}

static struct bp_file *file_of(struct bp_description *d, int memfd)
{
    struct bp_file *f = take_file();
    struct stat st = {0};
    if (f == NULL)
        return NULL;
    if (memfd >= 0)
        REAL(fstat)(memfd, &st);
    f->description = d;
    f->memfd = st.st_ino;
    atomic_store(&f->handle, 0);
    atomic_store(&f->locked, 0);
    return f;
}

static const int kept_flags = O_ACCMODE | O_APPEND | O_NONBLOCK | O_SYNC | O_DSYNC | O_DIRECT | O_NOATIME | O_DIRECTORY;

struct bp_file *bp_file_new(int handle, uint64_t ino, uint32_t kind, int flags, const char *path)
{
    void *p =
        REAL(mmap)(NULL, sizeof(struct bp_description), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    describe(p, ino, kind, flags & kept_flags, path);
    struct bp_file *f = file_of(p, -1);
    if (f != NULL && handle >= 0)
        atomic_store(&f->handle, handle_word(handle, flags));
    return f;
}

/* Puts f behind fd, in place of what something closed behind our back. Takes over the caller's reference. */
static void place(int fd, struct bp_file *f)
{
    int high = atomic_load(&bp_fd_high);
    while (high < fd && !atomic_compare_exchange_weak(&bp_fd_high, &high, fd))
        ;
    struct bp_file *old = atomic_exchange(&bp_files[fd], f);
    if (old != NULL)
        bp_file_drop(old);
}

int bp_descriptor(int handle, uint64_t ino, uint32_t kind, int flags, const char *path)
{
    struct bp_description *d = NULL;
    int shown = -1;
    int memfd = memfd_create(MEMFD_NAME, MFD_CLOEXEC);
    if (memfd < 0)
        goto failed;
    char link[32];
    snprintf(link, sizeof link, "/proc/self/fd/%d", memfd);
    if (memfd >= BP_FD_MAX) {
        errno = EMFILE;
        goto failed;
    }
    if (REAL(ftruncate)(memfd, sizeof *d) != 0 || (d = map_description(memfd)) == NULL ||
        (shown = REAL(open)(link, O_PATH | O_CLOEXEC)) < 0)
        goto failed;
    describe(d, ino, kind, flags & kept_flags, path);
    struct bp_file *f = file_of(d, memfd);
    if (f == NULL) {
        errno = ENOMEM;
        goto failed;
    }
    atomic_store(&f->handle, handle_word(handle, flags));
    /* The memfd has the lowest number: there the program's descriptor goes. */
    if (REAL(dup3)(shown, memfd, flags & O_CLOEXEC) < 0) {
        give_file(f);
        goto failed;
    }
    REAL(close)(shown);
    place(memfd, f);
    return memfd;

failed:;
    int saved = errno;
    bp_library_calls.close(handle);
    if (d != NULL)
        REAL(munmap)(d, sizeof *d);
    if (memfd >= 0)
        REAL(close)(memfd);
    if (shown >= 0)
        REAL(close)(shown);
    errno = saved;
    return -1;
}

void bp_file_hold(struct bp_file *f)
{
    atomic_fetch_add(&f->refs, 1);
}

/* The handle, if it is of this life of the process and of a library that runs. */
static int living_handle(struct bp_file *f)
{
    uint64_t word = atomic_load(&f->handle);
    if (word >> 48 != (bp_generation & 0xffff) || (word & 1ULL << 47) == 0 || !atomic_load(&bp_library_ready))
        return -1;
    return (int)(word & BP_HANDLE_BITS);
}

void bp_file_drop(struct bp_file *f)
{
    if (atomic_fetch_sub(&f->refs, 1) != 1)
        return;
    int saved = errno;
    int handle = living_handle(f);
    atomic_store(&f->handle, 0);
    if (handle >= 0) {
        bp_unlock_description(f, handle);
        bp_library_calls.close(handle);
    }
    REAL(munmap)(f->description, sizeof *f->description);
    give_file(f);
    errno = saved;
}

void bp_attach(int fd, struct bp_file *f)
{
    bp_file_hold(f);
    place(fd, f);
}

void bp_detach(int fd)
{
    if ((unsigned)fd >= BP_FD_MAX || atomic_load(&bp_files[fd]) == NULL)
        return;
    struct bp_file *old = atomic_exchange(&bp_files[fd], NULL);
    if (old != NULL)
        bp_file_drop(old);
}

int bp_handle_slow(struct bp_file *f)
{
    const struct bp_library *lib = bp_library();
    if (lib == NULL)
        return -errno;
    pthread_mutex_lock(&f->mutex);
    int flags = atomic_load(&f->description->flags);
    uint64_t word = atomic_load(&f->handle);
    int old = living_handle(f), handle;
    if (old >= 0 && (word & ~BP_HANDLE_BITS) == bp_handle_tag(flags)) {
        handle = old; /* another thread was faster */
    } else {
        int kind = f->description->kind == S_IFDIR ? O_DIRECTORY : 0;
        struct bp_description *d = f->description;
        if (d->ino == 0) { /* a working directory that was handed on by name */
            handle = lib->open(d->path[bp_settings.prefix_len] != '\0' ? d->path + bp_settings.prefix_len : "/",
                               O_RDONLY | O_DIRECTORY, 0);
            struct stat st;
            if (handle >= 0 && lib->fstat(handle, &st) == 0)
                d->ino = st.st_ino;
        } else {
            handle = lib->open_inode(d->ino, (flags & (O_ACCMODE | O_APPEND | O_SYNC | O_DSYNC)) | kind);
        }
        if (handle >= 0) {
            atomic_store_explicit(&f->handle, handle_word(handle, flags), memory_order_release);
            if (old >= 0)
                lib->close(old);
        } else {
            bp_log("cannot open %s again: %s", f->description->path, lib->last_error());
        }
    }
    pthread_mutex_unlock(&f->mutex);
    return handle;
}

/* ==== Inherited descriptors ==== */

struct bp_file *bp_adopt(int fd)
{
    char link[32], target[64];
    if ((unsigned)fd >= BP_FD_MAX)
        return NULL;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = REAL(readlink)(link, target, sizeof target);
    if (n != sizeof MEMFD_LINK - 1 || memcmp(target, MEMFD_LINK, (size_t)n) != 0)
        return NULL;
    struct stat st;
    if (REAL(fstat)(fd, &st) != 0 || st.st_size != sizeof(struct bp_description))
        return NULL;
    for (int other = 0; other <= atomic_load(&bp_fd_high); other++) { /* a duplicate of one that is known already? */
        struct bp_file *f = bp_file(other);
        if (other != fd && f != NULL && f->memfd == st.st_ino) {
            bp_attach(fd, f);
            return f;
        }
    }
    int memfd = REAL(open)(link, O_RDWR | O_CLOEXEC);
    if (memfd < 0)
        return NULL;
    struct bp_description *d = map_description(memfd);
    struct bp_file *f = d != NULL && d->magic == MAGIC ? file_of(d, memfd) : NULL;
    REAL(close)(memfd);
    if (f == NULL) {
        if (d != NULL)
            REAL(munmap)(d, sizeof *d);
        return NULL;
    }
    d->path[sizeof d->path - 1] = '\0';
    place(fd, f);
    bp_log("descriptor %d is %s", fd, d->path);
    return f;
}

void bp_adopt_all(void)
{
    int dir = REAL(open)("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return;
    char buffer[4096] __attribute__((aligned(8)));
    long n;
    while ((n = syscall(SYS_getdents64, dir, buffer, sizeof buffer)) > 0) {
        for (long at = 0; at < n;) {
            struct dirent64 *e = (struct dirent64 *)(buffer + at);
            at += e->d_reclen;
            if (e->d_name[0] == '.')
                continue;
            int fd = atoi(e->d_name);
            if (bp_adopt(fd) != NULL && fd <= STDERR_FILENO)
                bp_standard_stream(fd);
        }
    }
    REAL(close)(dir);
}

/* ==== The offset ==== */

/* Who holds the lock and died meanwhile is noticed after so many looks. */
#define LOOKS 1000

void bp_lock(struct bp_description *d)
{
    uint32_t me = (uint32_t)getpid();
    for (unsigned tries = 1;; tries++) {
        uint32_t holder = 0;
        if (LIKELY(atomic_compare_exchange_weak_explicit(&d->lock, &holder, me, memory_order_acquire,
                                                         memory_order_relaxed)))
            return;
        if (tries % LOOKS == 0 && holder != 0 && holder != me && kill((pid_t)holder, 0) != 0 && errno == ESRCH)
            atomic_compare_exchange_strong(&d->lock, &holder, 0);
        sched_yield();
    }
}

void bp_unlock(struct bp_description *d)
{
    atomic_store_explicit(&d->lock, 0, memory_order_release);
}

void bp_close_all(void)
{
    bp_write_back_all();
    if (!atomic_load(&bp_library_ready))
        return;
    for (int fd = 0; fd <= atomic_load(&bp_fd_high); fd++) {
        struct bp_file *f = bp_file(fd);
        int handle = f != NULL ? living_handle(f) : -1;
        if (handle < 0)
            continue;
        atomic_store(&f->handle, 0);
        bp_library_calls.close(handle);
    }
    atomic_store(&bp_library_ready, 0); /* a call that comes later still, from another exit handler, joins again */
    bp_library_calls.finalize();
}
