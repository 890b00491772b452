/*
 * tree.c: functions of libc that walk directories by themselves. Inside libc they call each other without passing by here, so for paths of
 * ours they are done again, over our opendir and stat.
 */
#include "preload.h"

#include <ftw.h>
#include <glob.h>

static int is_inside(int dirfd, const char *path)
{
    struct bp_where w;
    return bp_locate_following(dirfd, path, 1, &w) != BP_OUTSIDE;
}

/* ==== scandir ==== */

typedef int filter_function(const struct dirent *);
typedef int compare_function(const struct dirent **, const struct dirent **);

EXPORT int scandirat(int dirfd, const char *path, struct dirent ***list, filter_function *filter,
                     compare_function *compare)
{
    if (LIKELY(!is_inside(dirfd, path)))
        return REAL(scandirat)(dirfd, path, list, filter, compare);
    int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (dir == NULL) {
        if (fd >= 0)
            close(fd);
        return -1;
    }
    struct dirent **all = NULL, *e;
    size_t count = 0, room = 0;
    int error = 0;
    while (errno = 0, (e = readdir(dir)) != NULL) {
        if (filter != NULL && !filter(e))
            continue;
        if (count == room) {
            room = room != 0 ? 2 * room : 16;
            struct dirent **more = realloc(all, room * sizeof *all);
            if (more == NULL) {
                error = ENOMEM;
                break;
            }
            all = more;
        }
        size_t n = offsetof(struct dirent, d_name) + strlen(e->d_name) + 1;
        if ((all[count] = malloc(n)) == NULL) {
            error = ENOMEM;
            break;
        }
        memcpy(all[count++], e, n);
    }
    if (error == 0)
        error = errno;
    closedir(dir);
    if (error != 0) {
        while (count > 0)
            free(all[--count]);
        free(all);
        errno = error;
        return -1;
    }
    if (compare != NULL && count > 1)
        qsort(all, count, sizeof *all, (int (*)(const void *, const void *))compare);
    *list = all != NULL ? all : malloc(1);
    return (int)count;
}

EXPORT int scandir(const char *path, struct dirent ***list, filter_function *filter, compare_function *compare)
{
    return LIKELY(!is_inside(AT_FDCWD, path)) ? REAL(scandir)(path, list, filter, compare)
                                              : scandirat(AT_FDCWD, path, list, filter, compare);
}

#pragma GCC diagnostic ignored "-Wattribute-alias"
extern int scandirat64(int, const char *, struct dirent64 ***, int (*)(const struct dirent64 *),
                       int (*)(const struct dirent64 **, const struct dirent64 **)) EXPORT
    __attribute__((alias("scandirat")));
extern int scandir64(const char *, struct dirent64 ***, int (*)(const struct dirent64 *),
                     int (*)(const struct dirent64 **, const struct dirent64 **)) EXPORT
    __attribute__((alias("scandir")));

/* ==== glob: libc lets the caller bring the functions ==== */

static void *glob_opendir(const char *path)
{
    return opendir(path);
}

static void glob_closedir(void *dir)
{
    closedir(dir);
}

EXPORT int glob(const char *pattern, int flags, int (*error)(const char *, int), glob_t *g)
{
    if (bp_settings.prefix_len == 0 || (flags & GLOB_ALTDIRFUNC) != 0 ||
        (atomic_load(&bp_cwd) == NULL && strstr(pattern, bp_settings.leaf) == NULL))
        return REAL(glob)(pattern, flags, error, g);
    bp_count(F_glob);
    g->gl_opendir = glob_opendir;
    g->gl_closedir = glob_closedir;
    g->gl_readdir = (struct dirent * (*)(void *)) readdir;
    g->gl_stat = stat;
    g->gl_lstat = lstat;
    int rc = REAL(glob)(pattern, flags | GLOB_ALTDIRFUNC, error, g);
    g->gl_flags &= ~GLOB_ALTDIRFUNC;
    return rc;
}
extern int glob64(const char *, int, int (*)(const char *, int), glob64_t *) EXPORT __attribute__((alias("glob")));

/* ==== ftw, nftw ==== */

struct walk {
    int (*call)(const char *, const struct stat *, int, struct FTW *); /* nftw's, or NULL */
    int (*plain)(const char *, const struct stat *, int);              /* ftw's */
    int flags;
    dev_t device;
    char path[PATH_MAX];
};

static int tell(struct walk *k, const struct stat *st, int type, int base, int level)
{
    if (k->plain != NULL)
        return k->plain(k->path, st, type == FTW_DP ? FTW_D : type == FTW_SL || type == FTW_SLN ? FTW_F : type);
    struct FTW at = {.base = base, .level = level};
    return k->call(k->path, st, type, &at);
}

static int walk_into(struct walk *k, size_t n, int base, int level);

static int walk_entries(struct walk *k, DIR *dir, size_t n, int level)
{
    struct dirent *e;
    int rc = 0;
    while (rc == 0 && (errno = 0, e = readdir(dir)) != NULL) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        size_t length = strlen(e->d_name), slash = n > 0 && k->path[n - 1] == '/' ? 0 : 1;
        if (n + slash + length + 1 > sizeof k->path) {
            errno = ENAMETOOLONG;
            return -1;
        }
        k->path[n] = '/';
        memcpy(k->path + n + slash, e->d_name, length + 1);
        rc = walk_into(k, n + slash + length, (int)(n + slash), level);
        if (rc == FTW_SKIP_SIBLINGS && (k->flags & FTW_ACTIONRETVAL) != 0)
            return 0;
        if (rc == FTW_SKIP_SUBTREE && (k->flags & FTW_ACTIONRETVAL) != 0)
            rc = 0;
    }
    return rc != 0 || errno == 0 ? rc : -1;
}

static int walk_directory(struct walk *k, const struct stat *st, size_t n, int base, int level)
{
    DIR *dir = opendir(k->path);
    int rc = 0;
    if (dir == NULL)
        return tell(k, st, FTW_DNR, base, level);
    if ((k->flags & FTW_DEPTH) == 0)
        rc = tell(k, st, FTW_D, base, level);
    if (rc == 0)
        rc = walk_entries(k, dir, n, level + 1);
    closedir(dir);
    k->path[n] = '\0';
    if (rc == 0 && (k->flags & FTW_DEPTH) != 0)
        rc = tell(k, st, FTW_DP, base, level);
    return rc;
}

static int walk_into(struct walk *k, size_t n, int base, int level)
{
    struct stat st;
    int physical = (k->flags & FTW_PHYS) != 0, type = FTW_F;
    if ((physical ? lstat(k->path, &st) : stat(k->path, &st)) != 0) {
        if (physical || lstat(k->path, &st) != 0) {
            memset(&st, 0, sizeof st);
            if (level == 0)
                return -1;
            return tell(k, &st, FTW_NS, base, level);
        }
        type = FTW_SLN;
    }
    if (level == 0)
        k->device = st.st_dev;
    if ((k->flags & FTW_MOUNT) != 0 && st.st_dev != k->device)
        return 0;
    if (S_ISDIR(st.st_mode))
        return walk_directory(k, &st, n, base, level);
    if (type == FTW_F && S_ISLNK(st.st_mode))
        type = FTW_SL;
    return tell(k, &st, type, base, level);
}

static int walk(struct walk *k, const char *path)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    if (n == 0 || n >= sizeof k->path) {
        errno = n == 0 ? ENOENT : ENAMETOOLONG;
        return -1;
    }
    memcpy(k->path, path, n);
    k->path[n] = '\0';
    const char *slash = strrchr(k->path, '/');
    return walk_into(k, n, slash != NULL && slash[1] != '\0' ? (int)(slash + 1 - k->path) : 0, 0);
}

EXPORT int nftw(const char *path, __nftw_func_t call, int most, int flags)
{
    if (LIKELY(!is_inside(AT_FDCWD, path)))
        return REAL(nftw)(path, call, most, flags);
    bp_count(F_nftw);
    if (flags & FTW_CHDIR)
        return bp_refuse(F_nftw, EINVAL, "FTW_CHDIR");
    struct walk k = {.call = call, .flags = flags};
    return walk(&k, path);
}

EXPORT int ftw(const char *path, __ftw_func_t call, int most)
{
    if (LIKELY(!is_inside(AT_FDCWD, path)))
        return REAL(ftw)(path, call, most);
    bp_count(F_ftw);
    struct walk k = {.plain = call};
    return walk(&k, path);
}

extern int nftw64(const char *, __nftw64_func_t, int, int) EXPORT __attribute__((alias("nftw")));
extern int ftw64(const char *, __ftw64_func_t, int) EXPORT __attribute__((alias("ftw")));
