/*
 * dlopen.c: libraries that lie in BenchFS. The loader maps files by calls of its own, so it is given copies in memory.
 *
 * The loader knows what it has loaded by name, and a copy's name is a descriptor's, which is used again: so each copy is named in another way, and
 * which file of BenchFS it is a copy of is kept here: opened again, a library is the one that is loaded.
 */
#include "preload.h"

#include <dlfcn.h>

struct copy {
    struct copy *next;
    uint64_t ino;
    struct timespec changed;
    off_t size;
    char name[96];
};

static pthread_mutex_t copying = PTHREAD_MUTEX_INITIALIZER;
static struct copy *copies; /* guarded by copying */

/* Libraries that need libraries: no deeper than this. */
#define MOST_DEPTH 32

/* A name for a descriptor that no other was given: the same file by other slashes and dots. */
static void name_copy(int memfd, char name[96])
{
    static unsigned count; /* guarded by copying */
    size_t n = (size_t)sprintf(name, "/proc/self");
    for (unsigned i = 0, bits = count++; i < 16; i++, bits >>= 1) {
        name[n++] = '/';
        if (bits & 1)
            name[n++] = '.';
    }
    sprintf(name + n, "/fd/%d", memfd);
}

/* The copy of a file that is loaded already, opened once more; NULL if there is none. */
static void *loaded(const struct stat *st, int mode)
{
    void *object = NULL;
    pthread_mutex_lock(&copying);
    for (struct copy **link = &copies, *c; object == NULL && (c = *link) != NULL;) {
        if (c->ino != st->st_ino || c->size != st->st_size || c->changed.tv_sec != st->st_mtim.tv_sec ||
            c->changed.tv_nsec != st->st_mtim.tv_nsec) {
            link = &c->next;
            continue;
        }
        object = REAL(dlopen)(c->name, mode | RTLD_NOLOAD);
        if (object == NULL) { /* it has been closed */
            *link = c->next;
            free(c);
        }
    }
    pthread_mutex_unlock(&copying);
    return object;
}

struct needs {
    int mode, depth;
};

static void *open_copy(const char *path, int mode, int depth);

static void open_needed(const char *path, const char *name, void *data)
{
    const struct needs *n = data;
    (void)name;
    if (n->depth < MOST_DEPTH && open_copy(path, n->mode, n->depth + 1) == NULL)
        bp_log("dlopen: the needed %s: %s", path, dlerror());
}

static void *load_copy(int memfd, const char *path, const struct stat *st, int mode, int depth)
{
    char full[PATH_MAX];
    struct copy *c = malloc(sizeof *c);
    struct needs needs = {(mode & RTLD_GLOBAL) | RTLD_LAZY, depth};
    if (c == NULL)
        return NULL;
    if (bp_realpath(AT_FDCWD, path, full) != NULL) {
        *strrchr(full, '/') = '\0';
        bp_each_needed(memfd, full, open_needed, &needs);
    }
    *c = (struct copy){.ino = st->st_ino, .changed = st->st_mtim, .size = st->st_size};
    pthread_mutex_lock(&copying);
    name_copy(memfd, c->name);
    pthread_mutex_unlock(&copying);
    void *object = REAL(dlopen)(c->name, mode); /* constructors run */
    pthread_mutex_lock(&copying);
    if (object != NULL) {
        c->next = copies;
        copies = c;
    } else {
        free(c);
    }
    pthread_mutex_unlock(&copying);
    return object;
}

static void *open_copy(const char *path, int mode, int depth)
{
    struct stat st;
    void *object = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC), memfd = -1;
    if (fd >= 0 && fstat(fd, &st) == 0) {
        object = loaded(&st, mode);
        if (object == NULL && (mode & RTLD_NOLOAD) == 0)
            memfd = bp_copy_program(fd, st.st_size, 1);
    }
    if (fd >= 0)
        close(fd);
    if (memfd >= 0) {
        object = load_copy(memfd, path, &st, mode, depth);
        REAL(close)(memfd);
    } else if (object == NULL) { /* let the loader say in its words that there is nothing */
        bp_log("dlopen %s: %s", path, strerror(errno));
        object = REAL(dlopen)("/nonexistent/library/in/BenchFS", mode);
    }
    return object;
}

/* A name without a slash, along LD_LIBRARY_PATH; the loader has not found it. */
static void *open_by_search(const char *name, int mode)
{
    char path[PATH_MAX];
    for (const char *list = getenv("LD_LIBRARY_PATH"), *end; list != NULL; list = *end != '\0' ? end + 1 : NULL) {
        struct bp_where w;
        end = strchrnul(list, ':');
        if (end > list && snprintf(path, sizeof path, "%.*s/%s", (int)(end - list), list, name) < (int)sizeof path &&
            bp_locate(AT_FDCWD, path, &w) != BP_OUTSIDE && faccessat(AT_FDCWD, path, R_OK, 0) == 0)
            return open_copy(path, mode, 0);
    }
    return NULL;
}

/* libc's is reached by a jump where it can be, so that it sees who calls: it searches the caller's paths. */
EXPORT void *dlopen(const char *path, int mode)
{
    struct bp_where w;
    if (path == NULL || bp_settings.prefix_len == 0)
        return REAL(dlopen)(path, mode);
    if (strchr(path, '/') != NULL) {
        if (LIKELY(bp_locate_following(AT_FDCWD, path, 1, &w) == BP_OUTSIDE))
            return REAL(dlopen)(path, mode);
        bp_count(F_dlopen);
        return open_copy(path, mode, 0);
    }
    const char *list = getenv("LD_LIBRARY_PATH");
    if (LIKELY(list == NULL || strstr(list, bp_settings.leaf) == NULL))
        return REAL(dlopen)(path, mode);
    void *object = REAL(dlopen)(path, mode);
    if (object == NULL && (object = open_by_search(path, mode)) == NULL)
        object = REAL(dlopen)(path, mode); /* for its words */
    return object;
}
