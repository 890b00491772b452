/*
 * preload.h: what the files of the interposer share.
 *
 * libbenchfs_preload.so stands before libc (LD_PRELOAD) and serves the calls of unmodified programs that concern paths under one
 * prefix, or descriptors opened there; all others go to libc untouched. It is C only and links nothing but libc: the library
 * (a Go runtime, UCX and their threads) is loaded into a namespace of its own when the first path under the prefix is used.
 *
 *   ../functions.txt which functions of libc are served, passed on or refused: the list that everything else is checked against
 *   real.c          libc's own functions
 *   start.c         the constructor, settings, the log, the report at exit
 *   library.c       libbenchfs.so in its namespace: loading, joining, what fork means for it
 *   descriptor.c    open files as kernel descriptors
 *   where.c         paths: inside the prefix or not; the working directory
 *   open.c io.c attr.c name.c dir.c tree.c fts.c named.c stdio.c wide.c cxx.c map.c lock.c wait.c copy.c exec.c spawn.c needed.c dlopen.c other.c
 *                   the calls, by topic
 *   syscall.c       the same by number
 *
 * # Rules
 *
 * A function of this library never calls a function of functions.txt by its plain name, which would be our own: REAL(name) is libc's.
 * Locks, in this order: the library's (library.c), the working directory's (where.c), a file's (descriptor.c), a description's (in
 * shared memory). None is held while the program's code runs.
 */
#ifndef BENCHFS_PRELOAD_H
#define BENCHFS_PRELOAD_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif

#include "../inner/low.h"

#include <benchfs.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
/* Another name of a function of this file. Types of the LFS64 family differ in name only on 64-bit systems. */
#define ALIAS(of, name) extern __typeof__(of) name EXPORT __attribute__((alias(#of)))
#define ALIAS64(of, name) _Pragma("GCC diagnostic ignored \"-Wattribute-alias\"") ALIAS(of, name)

/*
 * What is looked at in each call lies together, and so do the functions that are called most: after a system call, on many machines, each page that
 * is touched costs a walk through the page tables.
 */
#define BP_NEAR __attribute__((section("bp_near")))
#define BP_HOT EXPORT __attribute__((hot))

/* ==== real.c ==== */

enum bp_function {
#define X(name) F_##name,
#include "functions.inc"
#undef X
    F_COUNT
};

extern _Atomic(void *) bp_reals[F_COUNT];
extern const char *const bp_names[F_COUNT];

/* Finds libc's function; ends the process with a message if there is none, which cannot happen with a libc that we are built for. */
void *bp_find_real(enum bp_function f) __attribute__((cold));

static inline void *bp_real(enum bp_function f)
{
    void *p = atomic_load_explicit(&bp_reals[f], memory_order_relaxed);
    return LIKELY(p != NULL) ? p : bp_find_real(f);
}

#define REAL(name) ((__typeof__(&name))bp_real(F_##name))

/*
 * Memory of our own is mapped by number: MPI libraries write jumps to themselves over mmap and munmap, ours or libc's, and from there ask by number
 * (syscall(2)), which would come back to us in the middle of what we do.
 */
void *bp_own_mmap(size_t n, int prot, int flags, int fd);
void bp_own_munmap(void *at, size_t n);

/* Duplicates a descriptor (F_DUPFD or F_DUPFD_CLOEXEC) above the numbers that programs count on; below them where the program's limit leaves no others. */
int bp_dup_high(int fd, int command);

/* ==== start.c ==== */

/* What the environment says; fixed once the constructor has run. */
struct bp_settings {
    size_t prefix_len;
    const char *leaf; /* last component of prefix */
    int report;       /* BENCHFS_PRELOAD_REPORT */
    int report_fd;    /* where the report goes */
    int log_fd;       /* -1: no log */
    char prefix[256]; /* absolute, normal, without a slash at its end; "" when the interposer does nothing */
};
extern struct bp_settings bp_settings;

/* Paths of our own. */
struct bp_paths {
    char library[512]; /* libbenchfs.so */
    char inner[512];   /* libbenchfs_inner.so; "": none */
    char self[512];    /* this object, for LD_PRELOAD */
};
extern struct bp_paths bp_paths;

/* The BENCHFS_* variables that the process started with, for programs that are started with another environment. NULL at its end. */
extern char **bp_saved_environment;

void bp_log(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Counters of the report. */
struct bp_counter {
    _Atomic uint64_t calls, bytes, refused;
};
extern struct bp_counter bp_counters[F_COUNT];

static inline void bp_count(enum bp_function f)
{
    if (UNLIKELY(bp_settings.report))
        atomic_fetch_add_explicit(&bp_counters[f].calls, 1, memory_order_relaxed);
}

static inline ssize_t bp_count_bytes(enum bp_function f, ssize_t n)
{
    if (UNLIKELY(bp_settings.report) && n > 0)
        atomic_fetch_add_explicit(&bp_counters[f].bytes, (uint64_t)n, memory_order_relaxed);
    return n;
}

/* Sets errno, tells the log and the report, returns -1. */
int bp_refuse(enum bp_function f, int error, const char *why);

/* A result of the library as libc gives it: -1 and errno. */
static inline ssize_t bp_result(ssize_t rc)
{
    if (UNLIKELY(rc < 0)) {
        errno = (int)-rc;
        return -1;
    }
    return rc;
}

/* ==== library.c ==== */

/* clang-format off */
#define BP_LIBRARY_CALLS(X) \
    X(init_version) X(finalize) X(last_error) X(session) \
    X(open) X(openat) X(open_inode) X(close) X(lseek) X(read) X(write) X(pread) X(pwrite) X(readv) X(writev) X(preadv) X(pwritev) \
    X(fsync) X(fdatasync) X(sync) X(lock) \
    X(fstat) X(fstatat) X(fstatfs) X(statfs) X(faccessat) X(fchmod) X(fchmodat) X(fchown) X(fchownat) X(futimens) X(utimensat) \
    X(truncate) X(ftruncate) X(fallocate) \
    X(mkdirat) X(unlinkat) X(renameat) X(linkat) X(symlinkat) X(readlinkat) \
    X(opendir) X(fdopendir) X(readdir) X(readdir_many) X(telldir) X(seekdir) X(rewinddir) X(closedir)
/* clang-format on */

struct bp_library {
#define X(name) __typeof__(&benchfs_##name) name;
    BP_LIBRARY_CALLS(X)
#undef X
};

extern struct bp_library bp_library_calls;
extern _Atomic int bp_library_ready;
/* Which life of the process this is: a child of a fork is another one, in which the library must be loaded again. */
extern uint32_t bp_generation;
extern pid_t bp_pid; /* getpid() */
/* The library was loaded here, or where this process was forked from. */
extern int bp_ever_loaded;
/* This process's session, by which others name it. */
extern uint64_t bp_session;

/* In which life this thread was made ready for the library; another libc has started it. */
extern _Thread_local uint32_t bp_thread_generation;
void bp_prepare_thread(void);

/* Loads the library and joins the file system, unless that is done. 0 or a negative errno. */
int bp_load(void);

/* The library's calls, or NULL and errno. */
static inline const struct bp_library *bp_library(void)
{
    if (UNLIKELY(!atomic_load_explicit(&bp_library_ready, memory_order_acquire))) {
        int rc = bp_load();
        if (rc < 0) {
            errno = -rc;
            return NULL;
        }
    }
    if (UNLIKELY(bp_thread_generation != bp_generation))
        bp_prepare_thread();
    return &bp_library_calls;
}

/* The lock on low descriptors, and whether there may be any of the library's. */
extern bfs_low_lock bp_low;
extern atomic_int bp_low_used;

/* Around a call of the kernel that puts a descriptor in the place of another, or closes one that may not be there. */
#define BP_WHILE_NONE_IS_LOW(expression)                                                                               \
    __extension__({                                                                                                    \
        int taken_ = UNLIKELY(atomic_load_explicit(&bp_low_used, memory_order_relaxed) != 0) && bfs_low_take(&bp_low); \
        int result_ = (expression);                                                                                    \
        if (taken_)                                                                                                    \
            bfs_low_give(&bp_low);                                                                                     \
        result_;                                                                                                       \
    })

/*
 * Whether a descriptor may be of interest at all: there are files of ours, or descriptors that are not the program's. In most processes it stays 0.
 */
extern atomic_int bp_active;

static inline int bp_is_active(void)
{
    return UNLIKELY(atomic_load_explicit(&bp_active, memory_order_relaxed) != 0);
}

void bp_library_start(void); /* by the constructor */
void bp_library_end(void);   /* no loading any more */
/* 1 for a descriptor that the library has opened for itself. */
int bp_is_internal(int fd);
/* Runs f for each of them (they may be gone meanwhile). */
void bp_each_internal(void (*f)(int fd));

/* ==== descriptor.c ==== */

/*
 * An open file description: what POSIX says all descriptors of one open() share, over dup, fork and exec. See descriptor.c for where it lives.
 */
struct bp_description {
    uint64_t magic;
    uint64_t ino;
    uint64_t id;             /* random: owner of flock and OFD locks */
    uint64_t session;        /* of who opened it */
    _Atomic int64_t offset;  /* changed under lock only */
    _Atomic int flags;       /* as fcntl(F_GETFL) tells, with O_DIRECTORY for directories */
    _Atomic uint32_t lock;   /* pid of who moves the offset */
    _Atomic uint32_t locked; /* flock or OFD locks may be held */
    uint32_t kind;           /* S_IFREG or S_IFDIR */
    char path[PATH_MAX];     /* under the prefix, as it was opened, normal */
};

/* An open file in this process: a description and the library's handle for it. Never freed, used again. */
struct bp_file {
    struct bp_description *_Atomic description; /* own, or in shared memory */
    struct bp_description *own;
    _Atomic uint64_t handle; /* generation, O_APPEND or not, handle; 0: none */
    _Atomic int refs;        /* descriptors, mappings, and the working directory */
    _Atomic int locked;      /* the process may have locks of its own on it */
    pthread_mutex_t mutex;   /* guards the opening of handle */
    uint64_t memfd;          /* inode of the memfd: tells descriptions apart */
    struct bp_file *next;    /* in the list of free ones */
};

#define BP_FD_MAX (1 << 20)
extern _Atomic(struct bp_file *) bp_files[BP_FD_MAX];
/* No descriptor above this one has ever been ours. */
extern atomic_int bp_fd_high;

/* The file behind a descriptor, or NULL if it is not ours. */
static inline struct bp_file *bp_file(int fd)
{
    if (UNLIKELY((unsigned)fd >= BP_FD_MAX))
        return NULL;
    return atomic_load_explicit(&bp_files[fd], memory_order_acquire);
}

/* The library's handle of a file; opens it again in a child of fork or after exec. Negative errno if that fails. */
int bp_handle_slow(struct bp_file *f);

/* What bp_file.handle holds besides the handle's 31 bits: this life of the process, "set", and whether it was opened with O_APPEND. */
#define BP_HANDLE_BITS ((uint64_t)0x7fffffff)

static inline uint64_t bp_handle_tag(int flags)
{
    return (uint64_t)bp_generation << 48 | 1ULL << 47 | (flags & O_APPEND ? 1ULL << 46 : 0);
}

static inline int bp_handle(struct bp_file *f)
{
    uint64_t have = atomic_load_explicit(&f->handle, memory_order_acquire);
    int flags = atomic_load_explicit(&f->description->flags, memory_order_relaxed);
    if (LIKELY((have & ~BP_HANDLE_BITS) == bp_handle_tag(flags) && bp_thread_generation == bp_generation &&
               atomic_load_explicit(&bp_library_ready, memory_order_relaxed)))
        return (int)(have & BP_HANDLE_BITS);
    return bp_handle_slow(f);
}

/* A file that is open in the library as handle; path is under the prefix. NULL: no memory. */
struct bp_file *bp_file_new(int handle, uint64_t ino, uint32_t kind, int flags, const char *path);
void bp_file_hold(struct bp_file *f);
/* Gives up one reference; closes with the last. */
void bp_file_drop(struct bp_file *f);
/* Gives a handle a kernel descriptor, the lowest that is free. -1 and errno; the handle is closed then. */
int bp_descriptor(int handle, uint64_t ino, uint32_t kind, int flags, const char *path);
/* fd now refers to what f is (a duplicate that the kernel has made). */
void bp_attach(int fd, struct bp_file *f);
/* fd refers to nothing of ours any more; drops its file. */
void bp_detach(int fd);
struct bp_described;
/* What a link of the kernel's leads to: 1 if it is a description, 0 if not, negative errno if it is one that was never shared. */
int bp_describe_link(int dirfd, const char *link, struct bp_described *d);
/* Looks for descriptors that were inherited. */
void bp_adopt_all(void);
/* Takes in fd if it is one of ours that came some other way (a socket). */
struct bp_file *bp_adopt(int fd);
/* Puts a description where other processes find it. */
void bp_share(struct bp_file *f);
/* Those of all descriptors: before a fork and its like. */
void bp_share_all(void);
void bp_descriptors_after_fork(void);
/* 1 for the descriptor that others are duplicates of. */
int bp_is_blank(int fd);
/* The number of a description, for locks. */
uint64_t bp_description_id(struct bp_file *f);
/* Exclusive use of the description's offset, among all processes that share it. */
struct bp_description *bp_lock_file(struct bp_file *f);
void bp_lock(struct bp_description *d);
void bp_unlock(struct bp_description *d);
/* Closes what is open in the library, so that nothing is left untold. The process goes on to end. */
void bp_close_all(void);

/* ==== where.c ==== */

enum bp_side {
    BP_OUTSIDE, /* libc's: fd and path of bp_where */
    BP_INSIDE,  /* ours: dir and path */
    BP_NOWHERE  /* errno is set */
};

struct bp_where {
    int fd;               /* outside */
    int dir;              /* inside: handle where path starts, or BENCHFS_AT_FDCWD */
    const char *path;     /* as given, or in text */
    struct bp_file *base; /* whose handle dir is, or NULL */
    int hops;             /* times that a link led out */
    char text[PATH_MAX];
};

/* Where a path leads that a program gives with dirfd. */
enum bp_side bp_locate_slow(int dirfd, const char *path, struct bp_where *w);

extern _Atomic(struct bp_file *) bp_cwd; /* NULL: the working directory is outside */

/* 1 if an absolute path has no "//" and no "/." anywhere: then its text says where it leads. 0: it may have, or it takes longer to tell. */
static inline int bp_is_plain(const char *path)
{
#ifdef __SSE2__
    const __m128i slash = _mm_set1_epi8('/'), dot = _mm_set1_epi8('.'), end = _mm_setzero_si128();
    for (const char *p = path; ((uintptr_t)p & 4095) < 4096 - 17; p += 16) { /* not beyond the page */
        __m128i here = _mm_loadu_si128((const __m128i *)p), next = _mm_loadu_si128((const __m128i *)(p + 1));
        __m128i odd = _mm_and_si128(_mm_cmpeq_epi8(here, slash),
                                    _mm_or_si128(_mm_cmpeq_epi8(next, slash), _mm_cmpeq_epi8(next, dot)));
        unsigned ends = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(here, end)),
                 found = (unsigned)_mm_movemask_epi8(odd);
        if ((found & ((ends & -ends) - 1)) != 0) /* before the end */
            return 0;
        if (ends != 0)
            return 1;
    }
#else
    (void)path;
#endif
    return 0;
}

/* 1 if a path is outside by its text; 0: a closer look is needed. */
static inline int bp_surely_outside(int dirfd, const char *path)
{
    if (path == NULL || bp_settings.prefix_len == 0)
        return 1;
    if (path[0] == '/') {
        if (LIKELY(
                (path[1] != bp_settings.prefix[1] || strncmp(path, bp_settings.prefix, bp_settings.prefix_len) != 0) &&
                bp_is_plain(path)))
            return 1;
    } else if (dirfd == AT_FDCWD ? atomic_load_explicit(&bp_cwd, memory_order_relaxed) != NULL
                                 : bp_file(dirfd) != NULL) {
        return 0;
    }
    return strstr(path, bp_settings.leaf) == NULL;
}

static inline enum bp_side bp_locate(int dirfd, const char *path, struct bp_where *w)
{
    w->fd = dirfd;
    w->path = path;
    w->hops = 0;
    return LIKELY(bp_surely_outside(dirfd, path)) ? BP_OUTSIDE : bp_locate_slow(dirfd, path, w);
}

/* ==== exec.c ==== */

/* A copy of an open file of ours in memory, or -1 and errno. */
int bp_copy_program(int fd, off_t size, int cloexec);
/* How libraries are named to the loader of a program that is started; their descriptor follows. */
#define BP_LIBRARY_NAME "/proc/self/fd/"

/* ==== needed.c ==== */

void bp_each_needed(int fd, const char *origin, void (*found)(const char *path, const char *name, void *data),
                    void *data);
/* 1 if the object (the kernel's fd) says that this is its name. */
int bp_has_soname(int fd, const char *name);

/* ==== named.c ==== */

/* What a name of a descriptor tells of it. */
struct bp_described {
    uint64_t ino;
    uint32_t kind;
    char path[PATH_MAX];
};

/* 0 for nearly all paths: it is not one of those that may name a descriptor. */
static inline int bp_may_be_name(const char *path)
{
    return path != NULL && path[0] == '/' &&
           UNLIKELY((path[1] == 'p' && path[2] == 'r' && path[3] == 'o') ||
                    (path[1] == 'd' && path[2] == 'e' && path[3] == 'v')) &&
           bp_settings.prefix_len != 0;
}

/* Where a name of a descriptor leads: inside if it is ours. follow: also when nothing comes behind the name. */
enum bp_side bp_resolve_name(const char *path, int follow, struct bp_where *w);
/* The file that a path names as a descriptor of this process, or NULL. */
struct bp_file *bp_named_file(const char *path);
/* Puts the path of a file in place of what the kernel says of its descriptor. */
ssize_t bp_show_link(int dirfd, const char *path, char *target, ssize_t n, size_t room);

/* bp_locate, and names of descriptors are followed. */
static inline enum bp_side bp_locate_following(int dirfd, const char *path, int follow, struct bp_where *w)
{
    enum bp_side side = bp_locate(dirfd, path, w);
    if (side == BP_OUTSIDE && UNLIKELY(bp_may_be_name(path)))
        side = bp_resolve_name(path, follow, w);
    return side;
}

/*
 * After the library said EREMOTE: a symbolic link led out. Finds where to. follow: also when the last component is the link.
 * Returns 1 and w is outside (or inside again, by another path), 0 if it stays an error.
 */
int bp_follow_out(struct bp_where *w, enum bp_side *side, int follow);
/* After libc said ENOENT, ELOOP or ENOTDIR: does a symbolic link outside lead into the prefix? Then w is inside. errno stays. */
int bp_follow_in(int dirfd, const char *path, struct bp_where *w, int follow);

/* The absolute normal path that the program would write for w (inside). 0 or negative errno. */
int bp_full_path(const struct bp_where *w, char out[PATH_MAX]);
/* Makes an absolute path normal: no "//", ".", "..". */
int bp_normalise(const char *base, const char *path, char out[PATH_MAX]);
/* The canonical path: symbolic links followed, inside and outside. */
char *bp_realpath(int dirfd, const char *path, char out[PATH_MAX]);
/* 1 if an absolute normal path is the prefix or under it. */
int bp_under_prefix(const char *path);
void bp_where_start(const char *cwd);
/* Environment variable in which a program that is started learns its working directory. */
#define BP_CWD_VARIABLE "BENCHFS_PRELOAD_CWD"
mode_t bp_umask(void);

/*
 * The frame of a call with one path. IN is an expression of the library with w.dir and w.path (and lib), OUT libc's, with w.fd and w.path;
 * `follow` says what links mean.
 */
#define BP_PATH_CALL(function, dirfd, path, follow, OUT, IN)                      \
    do {                                                                          \
        struct bp_where w;                                                        \
        enum bp_side side_ = bp_locate_following((dirfd), (path), (follow), &w);  \
        if (LIKELY(side_ == BP_OUTSIDE)) {                                        \
            __typeof__(OUT) r_ = (OUT);                                           \
            if (LIKELY(r_ != -1) || !bp_follow_in((dirfd), (path), &w, (follow))) \
                return r_;                                                        \
            side_ = BP_INSIDE;                                                    \
        }                                                                         \
        const struct bp_library *lib = side_ == BP_INSIDE ? bp_library() : NULL;  \
        if (lib == NULL)                                                          \
            return -1;                                                            \
        bp_count(F_##function);                                                   \
        for (;;) {                                                                \
            ssize_t rc_ = (IN);                                                   \
            if (LIKELY(rc_ != -EREMOTE) || !bp_follow_out(&w, &side_, (follow)))  \
                return (__typeof__(OUT))bp_result(rc_);                           \
            if (side_ == BP_OUTSIDE)                                              \
                return (OUT);                                                     \
        }                                                                         \
    } while (0)

/* ==== stdio.c ==== */

/* Descriptor fd (0, 1 or 2) may be ours from now on: libc's stream for it must go through our calls. */
void bp_standard_stream(int fd);

/* 1 for a stream that goes through our calls. */
int bp_is_own_stream(const FILE *stream);

/* ==== cxx.c ==== */

/* The standard stream of descriptor fd is another one now, for C++, too. */
void bp_exchange_cxx(int fd, FILE *before, FILE *now);

/* ==== map.c ==== */

/* Writes back what was written to shared mappings. */
void bp_write_back_all(void);
/* The same for one file, before it is read by other means. */
void bp_write_back_file(const struct bp_file *f);
extern atomic_int bp_mapping_count;
/* Brings what was written to n bytes of a file at offset, or cut from it, into the mappings of it. */
void bp_refresh_mappings(const struct bp_file *f, off_t offset, off_t n);
void *bp_mmap(int by_number, void *hint, size_t length, int prot, int flags, int fd, off_t offset);
int bp_munmap(int by_number, void *at, size_t n);
void *bp_mremap(int by_number, void *at, size_t old, size_t size, int flags, void *to);

/* ==== syscall.c ==== */

/* Calls by number that met a path or a descriptor of ours and are not served; numbers are below this. */
#define BP_SYSCALLS 512
extern _Atomic uint64_t bp_unhandled[BP_SYSCALLS];

/* ==== lock.c ==== */

int bp_lock_call(int fd, struct bp_file *f, int cmd, struct flock *l);
/* The process closes a descriptor of the file: its POSIX locks on it go. */
void bp_unlock_process(struct bp_file *f);
/* The process has closed the last descriptor of a description. */
void bp_unlock_description(struct bp_file *f, int handle);
/* 1 once the process has taken any. */
extern atomic_int bp_locks_taken;

#endif /* BENCHFS_PRELOAD_H */
