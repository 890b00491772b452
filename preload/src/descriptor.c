/*
 * descriptor.c: an open file as a kernel descriptor.
 *
 * The program gets a duplicate of one O_PATH descriptor of an empty memfd. The kernel then does for us what is hard to imitate: numbers, dup,
 * close-on-exec. And any call that nobody has wrapped fails on it with EBADF, instead of reading or writing something that is not the file.
 *
 * What POSIX calls the open file description (offset, flags, which file) is the process's own memory until others may share it. Before a fork,
 * an exec or a message with descriptors it goes to a memfd of its own, and the program's descriptors are replaced by ones of that: whoever
 * inherits them finds the description in there. Most files never come to that, and it costs some ten system calls' time.
 */
#include "preload.h"

#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>

#define MAGIC 0x6266735f6465736bULL
#define MEMFD_NAME "benchfs"
#define BLANK_NAME "benchfs-blank"
#define MEMFD_LINK "/memfd:" MEMFD_NAME " (deleted)"
#define BLANK_LINK "/memfd:" BLANK_NAME " (deleted)"

_Atomic(struct bp_file *) bp_files[BP_FD_MAX];
atomic_int bp_fd_high BP_NEAR = -1;
atomic_int bp_active BP_NEAR;

/* What a file without a description has: for a thread that uses a descriptor which another is just closing. */
static struct bp_description nothing;

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
    void *p = bp_own_mmap(sizeof(struct bp_description), PROT_READ | PROT_WRITE, MAP_SHARED, memfd);
    return p == MAP_FAILED ? NULL : p;
}

/* A file with a description of the process's own. */
static struct bp_file *new_file(void)
{
    struct bp_file *f = take_file();
    if (f == NULL)
        return NULL;
    if (f->own == NULL && (f->own = malloc(sizeof *f->own)) == NULL) {
        give_file(f);
        return NULL;
    }
    f->memfd = 0;
    f->description = f->own;
    atomic_store(&f->handle, 0);
    atomic_store(&f->locked, 0);
    return f;
}

/* A number that no other description has: that of the session, which is random, and a count. */
static uint64_t new_id(void)
{
    static _Atomic uint64_t count;
    uint64_t id;
    if (getrandom(&id, sizeof id, GRND_NONBLOCK) == sizeof id && id != 0)
        return id;
    return (bp_session ^ (uint64_t)bp_pid << 40) + atomic_fetch_add(&count, 1) + 1;
}

static void describe(struct bp_description *d, uint64_t ino, uint32_t kind, int flags, const char *path)
{
    memset(d, 0, offsetof(struct bp_description, path));
    d->ino = ino;
    d->kind = kind;
    d->flags = flags;
    d->session = bp_session;
    strncpy(d->path, path, sizeof d->path - 1);
    d->path[sizeof d->path - 1] = '\0';
    d->magic = MAGIC;
}

uint64_t bp_description_id(struct bp_file *f)
{
    uint64_t none = 0, id = atomic_load(&f->description->id);
    if (id != 0)
        return id;
    id = new_id();
    return atomic_compare_exchange_strong(&f->description->id, &none, id) ? id : none;
}

static const int kept_flags = O_ACCMODE | O_APPEND | O_NONBLOCK | O_SYNC | O_DSYNC | O_DIRECT | O_NOATIME | O_DIRECTORY;

struct bp_file *bp_file_new(int handle, uint64_t ino, uint32_t kind, int flags, const char *path)
{
    struct bp_file *f = new_file();
    if (f == NULL)
        return NULL;
    describe(f->own, ino, kind, flags & kept_flags, path);
    if (handle >= 0)
        atomic_store(&f->handle, handle_word(handle, flags));
    return f;
}

/* Puts f behind fd, in place of what something closed behind our back. Takes over the caller's reference. */
static void place(int fd, struct bp_file *f)
{
    atomic_store(&bp_active, 1);
    int high = atomic_load(&bp_fd_high);
    while (high < fd && !atomic_compare_exchange_weak(&bp_fd_high, &high, fd))
        ;
    struct bp_file *old = atomic_exchange(&bp_files[fd], f);
    if (old != NULL)
        bp_file_drop(old);
}

/* What descriptors are duplicates of until they are shared. Children of fork inherit it. */
static atomic_int blank = -1;

static int blank_descriptor(void)
{
    int fd = atomic_load(&blank);
    if (LIKELY(fd >= 0))
        return fd;
    char link[32];
    atomic_store(&bp_active, 1);
    int memfd = memfd_create(BLANK_NAME, MFD_CLOEXEC);
    if (memfd < 0)
        return -1;
    snprintf(link, sizeof link, "/proc/self/fd/%d", memfd);
    int low = REAL(open)(link, O_PATH | O_CLOEXEC), none = -1;
    int high = low < 0 ? -1 : bp_dup_high(low, F_DUPFD_CLOEXEC);
    REAL(close)(memfd);
    if (low >= 0)
        REAL(close)(low);
    if (high >= 0 && !atomic_compare_exchange_strong(&blank, &none, high)) {
        REAL(close)(high); /* another thread was faster */
        return none;
    }
    return high;
}

int bp_is_blank(int fd)
{
    return fd >= 0 && fd == atomic_load_explicit(&blank, memory_order_relaxed);
}

int bp_descriptor(int handle, uint64_t ino, uint32_t kind, int flags, const char *path)
{
    struct bp_file *f = bp_file_new(handle, ino, kind, flags, path);
    int from = blank_descriptor(), fd = -1;
    if (f == NULL)
        errno = ENOMEM;
    else if (from >= 0)
        fd = REAL(fcntl)(from, flags & O_CLOEXEC ? F_DUPFD_CLOEXEC : F_DUPFD, 0);
    if (fd >= BP_FD_MAX) {
        REAL(close)(fd);
        fd = -1;
        errno = EMFILE;
    }
    if (fd >= 0) {
        place(fd, f);
        return fd;
    }
    int saved = errno;
    if (f != NULL)
        bp_file_drop(f); /* and closes the handle */
    else
        bp_library_calls.close(handle);
    errno = saved;
    return -1;
}

/* ==== Sharing ==== */

/* A memfd with the description in it: the O_PATH descriptor of it, and the mapping. */
static int make_shared(const struct bp_description *own, struct bp_description **mapped, uint64_t *number)
{
    char link[32];
    struct stat st;
    int shown = -1, memfd = memfd_create(MEMFD_NAME, MFD_CLOEXEC);
    *mapped = NULL;
    if (memfd < 0)
        return -1;
    snprintf(link, sizeof link, "/proc/self/fd/%d", memfd);
    if (REAL(ftruncate)(memfd, sizeof *own) == 0 && REAL(fstat)(memfd, &st) == 0 &&
        (*mapped = map_description(memfd)) != NULL) {
        memcpy(*mapped, own, sizeof *own);
        atomic_store(&(*mapped)->lock, 0);
        *number = st.st_ino;
        shown = REAL(open)(link, O_PATH | O_CLOEXEC);
        if (shown < 0)
            bp_own_munmap(*mapped, sizeof *own);
    }
    REAL(close)(memfd);
    return shown;
}

void bp_share(struct bp_file *f)
{
    struct bp_description *mapped;
    int saved = errno;
    pthread_mutex_lock(&f->mutex);
    if (f->description == f->own) {
        bp_lock(f->own); /* nobody moves the offset meanwhile */
        int shown = make_shared(f->own, &mapped, &f->memfd);
        if (shown >= 0) {
            for (int fd = 0; fd <= atomic_load(&bp_fd_high); fd++)
                if (bp_file(fd) == f)
                    REAL(dup3)(shown, fd, (REAL(fcntl)(fd, F_GETFD) & FD_CLOEXEC) != 0 ? O_CLOEXEC : 0);
            REAL(close)(shown);
            f->description = mapped;
        } else {
            bp_log("%s cannot be shared with another process: %s", f->own->path, strerror(errno));
        }
        bp_unlock(f->own);
    }
    pthread_mutex_unlock(&f->mutex);
    errno = saved;
}

void bp_share_all(void)
{
    for (int fd = 0; fd <= atomic_load(&bp_fd_high); fd++) {
        struct bp_file *f = bp_file(fd);
        if (f != NULL && f->description == f->own)
            bp_share(f);
    }
}

/* In the child of a fork: another thread of the parent may have held a lock of this process's memory. */
void bp_descriptors_after_fork(void)
{
    static const pthread_mutex_t fresh = PTHREAD_MUTEX_INITIALIZER;
    files = fresh;
    for (int fd = 0; fd <= atomic_load(&bp_fd_high); fd++) {
        struct bp_file *f = bp_file(fd);
        if (f != NULL)
            f->mutex = fresh;
    }
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
    if (f->description != f->own) {
        struct bp_description *shared = f->description;
        f->description = f->own != NULL ? f->own : &nothing;
        bp_own_munmap(shared, sizeof *shared);
    }
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

int bp_describe_link(int dirfd, const char *link, struct bp_described *out)
{
    char target[64];
    struct stat st;
    ssize_t n = REAL(readlinkat)(dirfd, link, target, sizeof target);
    if (n == sizeof BLANK_LINK - 1 && memcmp(target, BLANK_LINK, (size_t)n) == 0)
        return -EOPNOTSUPP;
    if (n != sizeof MEMFD_LINK - 1 || memcmp(target, MEMFD_LINK, (size_t)n) != 0)
        return 0;
    int memfd = REAL(openat)(dirfd, link, O_RDWR | O_CLOEXEC);
    if (memfd < 0)
        return -errno;
    struct bp_description *d = REAL(fstat)(memfd, &st) == 0 && st.st_size == sizeof *d ? map_description(memfd) : NULL;
    REAL(close)(memfd);
    if (d == NULL)
        return -EIO;
    out->ino = d->ino;
    out->kind = d->kind;
    memcpy(out->path, d->path, sizeof out->path);
    out->path[sizeof out->path - 1] = '\0';
    int rc = d->magic == MAGIC ? 1 : -EIO;
    bp_own_munmap(d, sizeof *d);
    return rc;
}

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
    struct bp_file *f = d != NULL && d->magic == MAGIC ? new_file() : NULL;
    REAL(close)(memfd);
    if (f == NULL) {
        if (d != NULL)
            bp_own_munmap(d, sizeof *d);
        return NULL;
    }
    f->memfd = st.st_ino;
    f->description = d;
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
    while ((n = REAL(syscall)(SYS_getdents64, dir, buffer, sizeof buffer)) > 0) {
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
    uint32_t me = (uint32_t)bp_pid;
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

struct bp_description *bp_lock_file(struct bp_file *f)
{
    for (;;) {
        struct bp_description *d = f->description;
        bp_lock(d);
        if (LIKELY(d == f->description))
            return d;
        bp_unlock(d); /* it has moved to shared memory just now */
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
    bp_generation++; /* no handle is valid any more, whoever holds it */
}
