/*
 * where.c: paths. Inside the prefix or not, the working directory, and symbolic links between the two worlds.
 *
 * A path is inside when its text says so, from the root or from where it starts. Symbolic links are found when somebody meets them: the
 * library says EREMOTE where one leads out, and libc says ENOENT where one leads in, since there is nothing at the prefix.
 * Only then a path is taken apart here, component by component.
 */
#include "preload.h"

#define MAX_LINKS 40
/* Where the kernel believes that a process works whose directory is inside: a place where no relative path finds or makes a file. */
#define PARKING "/proc/fs"

_Atomic(struct bp_file *) bp_cwd BP_NEAR;

static atomic_int mask = -1;

mode_t bp_umask(void)
{
    int m = atomic_load_explicit(&mask, memory_order_relaxed);
    if (m < 0) {
        m = (int)REAL(umask)(0);
        REAL(umask)((mode_t)m);
        atomic_store_explicit(&mask, m, memory_order_relaxed);
    }
    return (mode_t)m;
}

EXPORT mode_t umask(mode_t m)
{
    mode_t old = REAL(umask)(m);
    atomic_store_explicit(&mask, (int)(m & 0777), memory_order_relaxed);
    return old;
}

/* ==== Text ==== */

int bp_under_prefix(const char *path)
{
    size_t n = bp_settings.prefix_len;
    return n != 0 && strncmp(path, bp_settings.prefix, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

/* The next component of *path, which goes behind it. Its length is 0 at the end. */
static const char *component(const char **path, size_t *n)
{
    const char *p = *path;
    while (*p == '/')
        p++;
    const char *start = p;
    while (*p != '/' && *p != '\0')
        p++;
    *n = (size_t)(p - start);
    *path = p;
    return start;
}

static int is_dot(const char *c, size_t n)
{
    return n == 1 && c[0] == '.';
}

static int is_dot_dot(const char *c, size_t n)
{
    return n == 2 && c[0] == '.' && c[1] == '.';
}

static size_t parent_length(const char *path, size_t n)
{
    while (n > 0 && path[n - 1] != '/')
        n--;
    return n > 0 ? n - 1 : 0;
}

int bp_normalise(const char *base, const char *path, char out[PATH_MAX])
{
    size_t n = 0;
    for (int part = path[0] == '/' ? 1 : 0; part < 2; part++) {
        const char *rest = part == 0 ? base : path, *c;
        size_t length;
        while (c = component(&rest, &length), length != 0) {
            if (is_dot(c, length))
                continue;
            if (is_dot_dot(c, length)) {
                n = parent_length(out, n);
                continue;
            }
            if (n + length + 2 > PATH_MAX)
                return -ENAMETOOLONG;
            out[n++] = '/';
            memmove(out + n, c, length);
            n += length;
        }
    }
    if (n == 0)
        out[n++] = '/';
    out[n] = '\0';
    return 0;
}

/* How far up a path goes above where it starts, at most. */
static int climbs(const char *path)
{
    int depth = 0, most = 0;
    const char *c;
    size_t n;
    while (c = component(&path, &n), n != 0) {
        if (is_dot_dot(c, n)) {
            depth--;
            most = depth < -most ? -depth : most;
        } else if (!is_dot(c, n)) {
            depth++;
        }
    }
    return most;
}

static int depth_of(const char *path)
{
    int depth = 0;
    size_t n;
    while (component(&path, &n), n != 0)
        depth++;
    return depth;
}

/* ==== Inside or outside ==== */

static enum bp_side nowhere(int error)
{
    errno = error;
    return BP_NOWHERE;
}

/* w for an absolute normal path in w->text. */
static enum bp_side side_of_text(struct bp_where *w)
{
    w->base = NULL;
    if (!bp_under_prefix(w->text)) {
        w->fd = AT_FDCWD;
        w->path = w->text;
        return BP_OUTSIDE;
    }
    w->dir = BENCHFS_AT_FDCWD;
    w->path = w->text + bp_settings.prefix_len;
    if (*w->path == '\0')
        w->path = "/";
    return BP_INSIDE;
}

static enum bp_side locate_absolute(const char *path, struct bp_where *w)
{
    if (bp_under_prefix(path)) {
        const char *rest = path + bp_settings.prefix_len;
        if (climbs(rest) == 0) {
            w->base = NULL;
            w->dir = BENCHFS_AT_FDCWD;
            w->path = *rest != '\0' ? rest : "/";
            return BP_INSIDE;
        }
    } else if (strstr(path, "//") == NULL && strstr(path, "/.") == NULL) {
        return BP_OUTSIDE;
    }
    if (bp_normalise("/", path, w->text) != 0)
        return bp_under_prefix(path) ? nowhere(ENAMETOOLONG) : BP_OUTSIDE;
    if (!bp_under_prefix(w->text) && !bp_under_prefix(path))
        return BP_OUTSIDE; /* as it was given */
    size_t n = strlen(path), m = strlen(w->text);
    if (path[n - 1] == '/' && m + 1 < sizeof w->text && w->text[m - 1] != '/') {
        w->text[m] = '/'; /* it asks for a directory */
        w->text[m + 1] = '\0';
    }
    return side_of_text(w);
}

static enum bp_side locate_in(struct bp_file *base, const char *path, struct bp_where *w)
{
    const char *from = base->description->path;
    int up = strstr(path, "..") != NULL ? climbs(path) : 0;
    if (up > 0 && up > depth_of(from + bp_settings.prefix_len)) {
        if (bp_normalise(from, path, w->text) != 0)
            return nowhere(ENAMETOOLONG);
        return side_of_text(w);
    }
    int handle = bp_handle(base);
    if (handle < 0)
        return nowhere(-handle);
    w->dir = handle;
    w->base = base;
    w->path = path;
    return BP_INSIDE;
}

/* A relative path that starts outside: it may lead to the prefix all the same. */
static enum bp_side locate_from_outside(int dirfd, const char *path, struct bp_where *w)
{
    char base[PATH_MAX];
    if (dirfd == AT_FDCWD) {
        if (REAL(getcwd)(base, sizeof base) == NULL)
            return BP_OUTSIDE;
    } else {
        char link[32];
        snprintf(link, sizeof link, "/proc/self/fd/%d", dirfd);
        ssize_t n = REAL(readlink)(link, base, sizeof base - 1);
        if (n <= 0)
            return BP_OUTSIDE;
        base[n] = '\0';
    }
    if (base[0] != '/' || bp_normalise(base, path, w->text) != 0 || !bp_under_prefix(w->text))
        return BP_OUTSIDE;
    return side_of_text(w);
}

enum bp_side bp_locate_slow(int dirfd, const char *path, struct bp_where *w)
{
    w->fd = dirfd;
    w->path = path;
    w->base = NULL;
    w->hops = 0;
    if (path[0] == '/')
        return locate_absolute(path, w);
    struct bp_file *base = dirfd == AT_FDCWD ? atomic_load(&bp_cwd) : bp_file(dirfd);
    if (base != NULL)
        return locate_in(base, path, w);
    return locate_from_outside(dirfd, path, w);
}

int bp_full_path(const struct bp_where *w, char out[PATH_MAX])
{
    const char *base = w->dir == BENCHFS_AT_FDCWD ? bp_settings.prefix : w->base->description->path;
    const char *path = w->path;
    while (w->dir == BENCHFS_AT_FDCWD && *path == '/')
        path++;
    if (snprintf(out, PATH_MAX, "%s/%s", base, path) >= PATH_MAX)
        return -ENAMETOOLONG;
    return 0;
}

/* ==== Symbolic links ==== */

/* The target of a link at an absolute path: its length, or -1 and errno (EINVAL: no link). */
static ssize_t link_target(const char *path, char *target, size_t size)
{
    if (!bp_under_prefix(path))
        return REAL(readlink)(path, target, size);
    const struct bp_library *lib = bp_library();
    if (lib == NULL)
        return -1;
    const char *rest = path + bp_settings.prefix_len;
    return bp_result(lib->readlinkat(BENCHFS_AT_FDCWD, *rest != '\0' ? rest : "/", target, size));
}

/*
 * Follows symbolic links in an absolute path, also the last component if follow is set, and leaves a path without them in out. strict: every
 * component must exist; otherwise what follows the first that does not is kept as text.
 */
static int resolve(const char *path, int follow, int strict, char out[PATH_MAX])
{
    char todo[2 * PATH_MAX], target[PATH_MAX];
    int links = 0;
    size_t n = 0, length;
    if (strlen(path) >= PATH_MAX)
        return -ENAMETOOLONG;
    strcpy(todo, path);
    const char *rest = todo, *c;
    while (c = component(&rest, &length), length != 0) {
        if (is_dot(c, length))
            continue;
        if (is_dot_dot(c, length)) {
            n = parent_length(out, n);
            continue;
        }
        if (n + length + 2 > PATH_MAX)
            return -ENAMETOOLONG;
        out[n] = '/';
        memcpy(out + n + 1, c, length);
        size_t end = n + 1 + length;
        out[end] = '\0';
        int last = rest[strspn(rest, "/")] == '\0';
        if (last && !follow && *rest == '\0') {
            n = end;
            break;
        }
        ssize_t got = link_target(out, target, sizeof target - 1);
        if (got < 0) {
            if (errno != EINVAL && strict && !(errno == ENOENT && strcmp(out, bp_settings.prefix) == 0))
                return -errno;
            n = end;
            continue;
        }
        if (++links > MAX_LINKS)
            return -ELOOP;
        char tail[PATH_MAX];
        target[got] = '\0';
        if (strlen(rest) >= sizeof tail || (size_t)got + strlen(rest) >= sizeof todo)
            return -ENAMETOOLONG;
        strcpy(tail, rest);
        strcpy(todo, target);
        strcat(todo, tail);
        rest = todo;
        if (target[0] == '/')
            n = 0;
    }
    if (n == 0)
        out[n++] = '/';
    out[n] = '\0';
    return 0;
}

int bp_follow_out(struct bp_where *w, enum bp_side *side, int follow)
{
    char full[PATH_MAX], target[PATH_MAX];
    if (++w->hops > 2 || bp_full_path(w, full) != 0 || resolve(full, follow, 0, target) != 0)
        return 0;
    strcpy(w->text, target);
    *side = side_of_text(w);
    return *side != BP_NOWHERE;
}

/* What could be the reason is looked for from the cheapest on: nearly all paths that fail are plain. */
static int may_lead_in(int dirfd, const char *path)
{
    char parent[PATH_MAX], target[8];
    if (REAL(readlinkat)(dirfd, path, target, sizeof target) > 0)
        return 1;
    size_t n = strlen(path);
    while (n > 0 && path[n - 1] == '/')
        n--;
    while (n > 0 && path[n - 1] != '/')
        n--;
    if (n == 0 || n >= sizeof parent)
        return 0;
    memcpy(parent, path, n);
    parent[n] = '\0';
    /* Programs look for many names in one directory (PATH, modules): that it is there need not be asked each time. */
    static _Thread_local char there[256];
    if (path[0] == '/' && strcmp(parent, there) == 0)
        return 0;
    if (REAL(faccessat)(dirfd, parent, F_OK, 0) != 0)
        return 1;
    if (path[0] == '/' && n < sizeof there)
        strcpy(there, parent);
    return 0;
}

int bp_follow_in(int dirfd, const char *path, struct bp_where *w, int follow)
{
    if (errno != ENOENT || bp_settings.prefix_len == 0 || path == NULL || path[0] == '\0')
        return 0;
    int saved = errno, found = 0;
    char full[PATH_MAX], base[PATH_MAX], target[PATH_MAX];
    if (!may_lead_in(dirfd, path))
        goto out;
    if (path[0] == '/') {
        if (strlen(path) >= sizeof full)
            goto out;
        strcpy(full, path);
    } else {
        char link[32] = "/proc/self/cwd";
        if (dirfd != AT_FDCWD)
            snprintf(link, sizeof link, "/proc/self/fd/%d", dirfd);
        ssize_t n = REAL(readlink)(link, base, sizeof base - 1);
        if (n <= 0)
            goto out;
        base[n] = '\0';
        if (snprintf(full, sizeof full, "%s/%s", base, path) >= (int)sizeof full)
            goto out;
    }
    if (resolve(full, follow, 0, target) == 0 && bp_under_prefix(target)) {
        strcpy(w->text, target);
        w->hops = 0;
        found = side_of_text(w) == BP_INSIDE;
    }
out:
    errno = saved;
    return found;
}

char *bp_realpath(int dirfd, const char *path, char out[PATH_MAX])
{
    struct bp_where w;
    char full[PATH_MAX];
    int rc;
    switch (bp_locate_following(dirfd, path, 1, &w)) {
    case BP_NOWHERE:
        return NULL;
    case BP_INSIDE:
        rc = bp_full_path(&w, full);
        break;
    default:
        rc = 0;
        if (w.path[0] == '/') {
            if (strlen(w.path) >= sizeof full)
                rc = -ENAMETOOLONG;
            else
                strcpy(full, w.path);
        } else {
            char base[PATH_MAX];
            if (REAL(getcwd)(base, sizeof base) == NULL)
                return NULL;
            rc = snprintf(full, sizeof full, "%s/%s", base, w.path) >= (int)sizeof full ? -ENAMETOOLONG : 0;
        }
    }
    if (rc == 0)
        rc = resolve(full, 1, 1, out);
    if (rc != 0) {
        errno = -rc;
        return NULL;
    }
    if (path[0] != '\0' && path[strlen(path) - 1] == '/') { /* "file/" is no directory */
        struct stat st;
        if (stat(path, &st) != 0)
            return NULL;
    }
    return out;
}

/* ==== The working directory ==== */

static pthread_mutex_t changing = PTHREAD_MUTEX_INITIALIZER;

static void enter(struct bp_file *f)
{
    struct bp_file *old = atomic_exchange(&bp_cwd, f);
    if (f != NULL)
        setenv(BP_CWD_VARIABLE, f->description->path, 1);
    else
        unsetenv(BP_CWD_VARIABLE);
    if (old != NULL)
        bp_file_drop(old);
}

void bp_where_start(const char *cwd)
{
    char kernel[sizeof PARKING + 1];
    if (cwd == NULL || !bp_under_prefix(cwd))
        return;
    ssize_t n = REAL(readlink)("/proc/self/cwd", kernel, sizeof kernel);
    if (n != sizeof PARKING - 1 || memcmp(kernel, PARKING, (size_t)n) != 0)
        return; /* somebody has gone elsewhere meanwhile */
    atomic_store(&bp_cwd, bp_file_new(-1, 0, S_IFDIR, O_RDONLY | O_DIRECTORY, cwd));
}

/* Goes to a directory that the library has open. */
static int go_inside(const struct bp_library *lib, int handle, const char *given)
{
    char path[PATH_MAX];
    struct stat st;
    int rc = lib->fstat(handle, &st), saved = errno;
    struct bp_file *f = NULL;
    if (rc == 0 && bp_realpath(AT_FDCWD, given, path) == NULL)
        rc = -errno;
    if (rc == 0 && REAL(chdir)(PARKING) != 0)
        rc = -errno;
    if (rc == 0 && (f = bp_file_new(handle, st.st_ino, S_IFDIR, O_RDONLY | O_DIRECTORY, path)) == NULL)
        rc = -ENOMEM;
    if (rc != 0) {
        lib->close(handle);
        return (int)bp_result(rc);
    }
    enter(f);
    errno = saved; /* as after a system call that went well */
    return 0;
}

static int went_outside(int rc)
{
    if (rc == 0 && atomic_load(&bp_cwd) != NULL)
        enter(NULL);
    return rc;
}

static int change(const char *path)
{
    struct bp_where w;
    enum bp_side side = bp_locate_following(AT_FDCWD, path, 1, &w);
    for (;;) {
        if (side == BP_NOWHERE)
            return -1;
        if (side == BP_OUTSIDE) {
            int rc = REAL(chdir)(w.path);
            if (rc == 0 || !bp_follow_in(AT_FDCWD, w.path, &w, 1))
                return went_outside(rc);
        }
        const struct bp_library *lib = bp_library();
        char full[PATH_MAX];
        if (lib == NULL)
            return -1;
        bp_count(F_chdir);
        int handle = lib->openat(w.dir, w.path, O_RDONLY | O_DIRECTORY, 0);
        if (handle == -EREMOTE && bp_follow_out(&w, &side, 1))
            continue;
        if (handle < 0)
            return (int)bp_result(handle);
        if (bp_full_path(&w, full) != 0) {
            lib->close(handle);
            return (int)bp_result(-ENAMETOOLONG);
        }
        return go_inside(lib, handle, full);
    }
}

EXPORT int chdir(const char *path)
{
    pthread_mutex_lock(&changing);
    int rc = change(path);
    pthread_mutex_unlock(&changing);
    return rc;
}

EXPORT int fchdir(int fd)
{
    struct bp_file *f = bp_file(fd);
    if (f == NULL)
        return went_outside(REAL(fchdir)(fd));
    bp_count(F_fchdir);
    int handle = bp_handle(f);
    if (handle < 0)
        return (int)bp_result(handle);
    pthread_mutex_lock(&changing);
    const struct bp_library *lib = bp_library();
    int own = lib->openat(handle, ".", O_RDONLY | O_DIRECTORY, 0);
    int rc = own < 0 ? (int)bp_result(own) : go_inside(lib, own, f->description->path);
    pthread_mutex_unlock(&changing);
    return rc;
}

EXPORT char *getcwd(char *buf, size_t size)
{
    struct bp_file *f = atomic_load(&bp_cwd);
    if (LIKELY(f == NULL))
        return REAL(getcwd)(buf, size);
    bp_count(F_getcwd);
    const char *path = f->description->path;
    size_t n = strlen(path) + 1;
    if (buf == NULL) {
        buf = malloc(size != 0 ? size : n);
        if (buf == NULL)
            return NULL;
        if (size != 0 && size < n) {
            free(buf);
            errno = ERANGE;
            return NULL;
        }
    } else if (size < n) {
        errno = size == 0 ? EINVAL : ERANGE;
        return NULL;
    }
    return memcpy(buf, path, n);
}

EXPORT char *__getcwd_chk(char *buf, size_t size, size_t room)
{
    if (size > room)
        abort();
    return getcwd(buf, size);
}

EXPORT char *get_current_dir_name(void)
{
    return atomic_load(&bp_cwd) == NULL ? REAL(get_current_dir_name)() : getcwd(NULL, 0);
}

EXPORT char *getwd(char *buf)
{
    char path[PATH_MAX];
    if (getcwd(path, sizeof path) == NULL)
        return NULL;
    return strcpy(buf, path);
}
