/*
 * library.c: libbenchfs.so in a namespace of its own (dlmopen(3)).
 *
 * There it has its own libc, whose calls do not come to us, and its own UCX, which does not meet the one that an MPI library brings. A child
 * of fork has the memory of its parent's library, but not the threads: the child loads another copy, into another namespace, when it first
 * needs it. The loader has room for 15, so many generations deep may one program fork and use files.
 */
#include "preload.h"

#include <dlfcn.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

struct bp_library bp_library_calls;
_Atomic int bp_library_ready;
uint32_t bp_generation = 1;
pid_t bp_pid;
int bp_ever_loaded;
uint64_t bp_session;

static pthread_mutex_t loading = PTHREAD_MUTEX_INITIALIZER;
static int loaded;                /* bp_library_calls is of this generation; guarded by loading */
static int ended;                 /* exit handlers have run; guarded by loading */
static int failure;               /* why the last attempt failed; guarded by loading */
static struct timespec failed_at; /* when; guarded by loading */

/* After a failure, calls fail with the same reason for so long before somebody tries again. */
#define RETRY_SECONDS 2

/* The descriptors that the library has opened: a bitmap, because programs ask by number. */
#define INTERNAL_FDS 65536
static _Atomic uint64_t internal[INTERNAL_FDS / 64];

/* Those that it has opened since, as libbenchfs_inner.so counts them; NULL without it. */
static _Atomic uint64_t *_Atomic opened_since;

bfs_low_lock bp_low;
atomic_int bp_low_used BP_NEAR;

_Thread_local uint32_t bp_thread_generation;
static void (*_Atomic prepare)(void);    /* benchfs_inner_thread */
static void (*_Atomic take_leave)(void); /* benchfs_inner_thread_end */

/* Its destructor tells the library that a thread of the program ends. */
static pthread_key_t thread_end;
static int thread_end_made;

static void end_thread(void *generation)
{
    void (*f)(void) = atomic_load_explicit(&take_leave, memory_order_acquire);
    if (f != NULL && (uint32_t)(uintptr_t)generation == bp_generation)
        f();
    bp_thread_generation = 0; /* another destructor may use files still */
}

void bp_prepare_thread(void)
{
    if (thread_end_made)
        pthread_setspecific(thread_end, (void *)(uintptr_t)bp_generation);
    void (*f)(void) = atomic_load_explicit(&prepare, memory_order_acquire);
    if (f != NULL)
        f();
    bp_thread_generation = bp_generation;
}

static uint64_t internal_bits(int i)
{
    _Atomic uint64_t *since = atomic_load_explicit(&opened_since, memory_order_acquire);
    uint64_t bits = atomic_load_explicit(&internal[i], memory_order_relaxed);
    return since == NULL ? bits : bits | atomic_load_explicit(&since[i], memory_order_relaxed);
}

int bp_is_internal(int fd)
{
    if ((unsigned)fd >= INTERNAL_FDS)
        return 0;
    if (UNLIKELY(bp_is_blank(fd) || fd == bp_settings.log_fd || (bp_settings.report && fd == bp_settings.report_fd)))
        return 1;
    return (internal_bits(fd / 64) >> (fd % 64) & 1) != 0;
}

void bp_each_internal(void (*f)(int fd))
{
    for (int i = 0; i < INTERNAL_FDS / 64; i++)
        for (uint64_t bits = internal_bits(i); bits != 0; bits &= bits - 1)
            f(i * 64 + __builtin_ctzll(bits));
}

/* A set of descriptors: those that are open now. */
struct fd_set_ {
    uint64_t bits[INTERNAL_FDS / 64];
};

static void open_descriptors(struct fd_set_ *set)
{
    memset(set, 0, sizeof *set);
    int dir = REAL(open)("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return;
    char buffer[4096] __attribute__((aligned(8)));
    long n;
    while ((n = REAL(syscall)(SYS_getdents64, dir, buffer, sizeof buffer)) > 0) {
        for (long at = 0; at < n;) {
            struct dirent64 *e = (struct dirent64 *)(buffer + at);
            at += e->d_reclen;
            int fd = atoi(e->d_name);
            if (e->d_name[0] != '.' && fd != dir && fd < INTERNAL_FDS)
                set->bits[fd / 64] |= 1ULL << (fd % 64);
        }
    }
    REAL(close)(dir);
}

/*
 * The library opens descriptors when it starts, and the kernel gives it the lowest. Those belong to the program: scripts count on 0 to 9,
 * shells on 10 and 255, and others close whatever is above 2. So everything low is taken while the library starts, with descriptors of a file
 * that nobody else has: other threads of the program may put theirs in the place of one meanwhile.
 */
#define LOW_FDS 256

struct filling {
    int limit;
    ino_t file;
    uint64_t taken[LOW_FDS / 64];
};

static void fill_low(struct filling *f)
{
    struct stat st;
    long most = sysconf(_SC_OPEN_MAX);
    memset(f, 0, sizeof *f);
    int limit = most < 4 * LOW_FDS ? (int)(most / 4) : LOW_FDS;
    int source = memfd_create("benchfs-low", MFD_CLOEXEC);
    if (source < 0 || REAL(fstat)(source, &st) != 0)
        return;
    f->limit = limit;
    f->file = st.st_ino;
    int fd = source;
    for (; fd >= 0 && fd < limit; fd = REAL(fcntl)(source, F_DUPFD_CLOEXEC, 0))
        f->taken[fd / 64] |= 1ULL << (fd % 64);
    if (fd >= 0) /* the first that is not low; the source, too, if nothing low was free */
        REAL(close)(fd);
}

static void release_low(const struct filling *f)
{
    struct stat st;
    for (int fd = 0; fd < f->limit; fd++)
        if ((f->taken[fd / 64] >> (fd % 64) & 1) != 0)
            (void)BP_WHILE_NONE_IS_LOW(REAL(fstat)(fd, &st) == 0 && st.st_ino == f->file ? REAL(close)(fd) : 0);
}

/* Go's runtime makes these by calls of its own. Anything else that the library has opened is known by now; what is not, is another thread's. */
static int is_of_runtime(int fd)
{
    char link[32], target[32];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = REAL(readlink)(link, target, sizeof target - 1);
    target[n > 0 ? n : 0] = '\0';
    return strcmp(target, "anon_inode:[eventpoll]") == 0 || strcmp(target, "anon_inode:[eventfd]") == 0;
}

static void remember_internal(const struct fd_set_ *before)
{
    struct fd_set_ *after = malloc(sizeof *after);
    if (after == NULL)
        return;
    open_descriptors(after);
    for (int i = 0; i < INTERNAL_FDS / 64; i++) {
        for (uint64_t fresh = after->bits[i] & ~before->bits[i]; fresh != 0; fresh &= fresh - 1) {
            int fd = i * 64 + __builtin_ctzll(fresh);
            int known = (internal_bits(i) >> (fd % 64) & 1) != 0;
            if (!known && atomic_load(&opened_since) != NULL && !is_of_runtime(fd))
                continue;
            atomic_fetch_or(&internal[i], 1ULL << (fd % 64));
            REAL(fcntl)(fd, F_SETFD, FD_CLOEXEC);
        }
    }
    free(after);
}

/*
 * libbenchfs_inner.so, which brings libbenchfs.so with it and stands in front of it; when the user has named another library, that alone.
 */
static void *load_object(void)
{
    void *object = NULL;
    if (bp_paths.inner[0] != '\0')
        object = dlmopen(LM_ID_NEWLM, bp_paths.inner, RTLD_NOW | RTLD_LOCAL);
    if (object != NULL) {
        atomic_store(&opened_since, (_Atomic uint64_t *)dlsym(object, "benchfs_inner_descriptors"));
        bfs_low_lock *_Atomic *low = dlsym(object, "benchfs_inner_low");
        if (low != NULL)
            atomic_store(low, &bp_low);
        atomic_store(&prepare, (void (*)(void))dlsym(object, "benchfs_inner_thread"));
        atomic_store(&take_leave, (void (*)(void))dlsym(object, "benchfs_inner_thread_end"));
        bp_prepare_thread();
        return object;
    }
    const char *why = bp_paths.inner[0] != '\0' ? dlerror() : NULL;
    if (why != NULL)
        bp_log("cannot load %s: %s", bp_paths.inner, why);
    return dlmopen(LM_ID_NEWLM, bp_paths.library, RTLD_NOW | RTLD_LOCAL);
}

static void *nothing(void *unused)
{
    return unused;
}

/*
 * libc leaves out its locks, malloc's too, until the program starts a thread. The library's threads are started by another libc and use this
 * one's malloc all the same, by way of the loader, for their thread-local variables: so libc is shown a thread.
 */
static int show_thread(void)
{
    pthread_t thread;
    int rc = pthread_create(&thread, NULL, nothing, NULL);
    return rc != 0 ? -rc : -pthread_join(thread, NULL);
}

static int load(void)
{
    bp_ever_loaded = 1;
    int rc = show_thread();
    if (rc != 0)
        return rc;
    void *object = load_object();
    if (object == NULL) {
        const char *why = dlerror();
        int full = why != NULL && (strstr(why, "no more namespaces") != NULL || strstr(why, "static TLS") != NULL);
        bp_log("cannot load %s: %s%s", bp_paths.library, why != NULL ? why : "?",
               full ? " (programs that fork within forks and use files: 7 times, with GLIBC_TUNABLES=glibc.rtld.nns=16 "
                      "14 times)"
                    : "");
        return full ? -EAGAIN : -ELIBACC;
    }
#define X(name)                                                                           \
    bp_library_calls.name = (__typeof__(&benchfs_##name))dlsym(object, "benchfs_" #name); \
    if (bp_library_calls.name == NULL) {                                                  \
        bp_log("%s has no benchfs_" #name ": it is another version", bp_paths.library);   \
        return -ELIBBAD;                                                                  \
    }
    BP_LIBRARY_CALLS(X)
#undef X
    loaded = 1;
    return 0;
}

/* Handlers of the program wait while the loader works. */
static int load_quietly(void)
{
    sigset_t all, old;
    sigfillset(&all);
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGBUS);
    pthread_sigmask(SIG_BLOCK, &all, &old);
    int rc = load();
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return rc;
}

static int join(void)
{
    char text[512];
    /* The program's umask may change: it is applied here, call by call. */
    snprintf(text, sizeof text, "[client]\numask = \"000\"\nprefix = \"%s\"\n", bp_settings.prefix);
    struct benchfs_options options = BENCHFS_OPTIONS_INIT;
    options.config_text = text;
    options.mode = BENCHFS_MODE_DISTRIBUTED; /* a file system of this process alone is never what was meant */
    int rc = bp_library_calls.init_version(BENCHFS_API_VERSION, &options);
    if (rc < 0)
        bp_log("cannot join the file system: %s", bp_library_calls.last_error());
    else
        bp_session = bp_library_calls.session();
    return rc;
}

static int load_and_join(void)
{
    struct fd_set_ *before = malloc(sizeof *before);
    if (before == NULL)
        return -ENOMEM;
    atomic_store(&bp_active, 1);
    atomic_store(&bp_low_used, 1);
    open_descriptors(before);
    struct filling low;
    fill_low(&low);
    int rc = loaded ? 0 : load_quietly();
    if (rc == 0)
        rc = join();
    release_low(&low);
    remember_internal(before);
    free(before);
    return rc;
}

int bp_load(void)
{
    if (bp_settings.prefix_len == 0)
        return -ENOSYS;
    int saved = errno;
    pthread_mutex_lock(&loading);
    int rc = 0;
    if (!atomic_load_explicit(&bp_library_ready, memory_order_relaxed)) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (ended) {
            rc = -ESHUTDOWN;
        } else if (failure != 0 && now.tv_sec - failed_at.tv_sec < RETRY_SECONDS) {
            rc = failure;
        } else {
            rc = failure = load_and_join();
            clock_gettime(CLOCK_MONOTONIC, &failed_at);
            if (rc == 0)
                atomic_store_explicit(&bp_library_ready, 1, memory_order_release);
        }
    }
    pthread_mutex_unlock(&loading);
    errno = saved;
    return rc;
}

void bp_library_end(void)
{
    pthread_mutex_lock(&loading);
    ended = 1;
    pthread_mutex_unlock(&loading);
}

static void before_fork(void)
{
    bp_share_all();
    pthread_mutex_lock(&loading);
}

static void after_fork(void)
{
    pthread_mutex_unlock(&loading);
}

static void close_internal(int fd)
{
    REAL(close)(fd);
}

static void in_child(void)
{
    bp_pid = getpid();
    atomic_store(&bp_low, 0); /* a thread that is not here may hold it */
    atomic_store(&bp_low_used, 0);
    pthread_mutex_unlock(&loading);
    bp_descriptors_after_fork();
    if (!atomic_load_explicit(&bp_library_ready, memory_order_relaxed) && !loaded)
        return;
    atomic_store_explicit(&bp_library_ready, 0, memory_order_relaxed);
    loaded = failure = 0;
    bp_generation++;
    bp_each_internal(close_internal);
    for (int i = 0; i < INTERNAL_FDS / 64; i++)
        atomic_store_explicit(&internal[i], 0, memory_order_relaxed);
    atomic_store(&opened_since, NULL);
    atomic_store(&prepare, NULL);
    atomic_store(&take_leave, NULL);
}

void bp_library_start(void)
{
    bp_pid = getpid();
    thread_end_made = pthread_key_create(&thread_end, end_thread) == 0;
    pthread_atfork(before_fork, after_fork, in_child);
}
