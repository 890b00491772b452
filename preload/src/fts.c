/*
 * fts.c: libc's fts(3) over our calls, for walks that begin under the prefix.
 *
 * The structures are libc's and public, so fts_set() goes to libc. A mark among the private bits of fts_options tells our walks from libc's.
 * Behaviour is that of glibc, down to what fts_path shows after fts_children(); one thing is better: a directory that could be read in part only
 * ends as FTS_ERR instead of as a shorter listing.
 */
#include "fts.h"

/* What the entries of a directory are read for. */
enum purpose {
    CHILDREN, /* fts_children */
    NAMES,    /* fts_children(FTS_NAMEONLY) */
    DESCENT   /* fts_read */
};

/* ==== Going there and back ==== */

/* Makes a directory the working directory if it is still the one that e was: fd, or by path if that is -1. */
static int enter(const FTS *walk, const FTSENT *e, int fd, const char *path)
{
    struct stat st;
    int own = -1, rc = -1;
    if (has(walk, FTS_NOCHDIR))
        return 0;
    if (fd < 0 && (fd = own = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        return -1;
    if (fstat(fd, &st) == 0) {
        if (e->fts_dev == st.st_dev && e->fts_ino == st.st_ino)
            rc = fchdir(fd);
        else
            errno = ENOENT;
    }
    int saved = errno;
    if (own >= 0)
        close(own);
    errno = saved;
    return rc;
}

static int go_to(const FTS *walk, int fd)
{
    return has(walk, FTS_NOCHDIR) ? 0 : fchdir(fd);
}

/* Back from e, a directory that was entered, to where it lies. */
static int leave(FTS *walk, FTSENT *e)
{
    if ((e->fts_flags & FTS_SYMFOLLOW) != 0) {
        int rc = go_to(walk, e->fts_symfd), saved = errno;
        close(e->fts_symfd);
        errno = saved;
        if (e->fts_level != FTS_ROOTLEVEL)
            return rc;
    }
    if (e->fts_level == FTS_ROOTLEVEL)
        return go_to(walk, walk->fts_rfd);
    return (e->fts_flags & FTS_DONTCHDIR) != 0 ? 0 : enter(walk, e->fts_parent, -1, "..");
}

static void *stop(FTS *walk)
{
    walk->fts_options |= STOPPED;
    return NULL;
}

/* ==== Beginning ==== */

static void free_walk(FTS *walk)
{
    free(walk->fts_path);
    free(walk);
}

/* Loads the entry of a root, whose name may be a path. */
static void load(FTS *walk, FTSENT *e)
{
    size_t n = e->fts_pathlen = e->fts_namelen;
    memcpy(walk->fts_path, e->fts_name, n + 1);
    char *slash = strrchr(e->fts_name, '/');
    if (slash != NULL && (slash != e->fts_name || slash[1] != '\0')) {
        n = strlen(slash + 1);
        memmove(e->fts_name, slash + 1, n + 1);
        e->fts_namelen = (unsigned short)n;
    }
    e->fts_accpath = e->fts_path = walk->fts_path;
    walk->fts_dev = e->fts_dev;
}

/* The list of roots; NULL and errno. */
static FTSENT *roots(FTS *walk, FTSENT *parent, char *const *paths)
{
    FTSENT *first = NULL, **last = &first;
    size_t count = 0;
    for (; *paths != NULL; paths++, count++) {
        size_t n = strlen(*paths);
        FTSENT *e = n > 0 && n < PATH_ROOM ? bp_fts_entry(walk, *paths, n) : NULL;
        if (e == NULL) {
            bp_fts_free(first);
            errno = n == 0 ? ENOENT : n >= PATH_ROOM ? ENAMETOOLONG : ENOMEM;
            return NULL;
        }
        e->fts_level = FTS_ROOTLEVEL;
        e->fts_parent = parent;
        e->fts_accpath = e->fts_name;
        e->fts_info = bp_fts_look(walk, e, has(walk, FTS_COMFOLLOW));
        if (e->fts_info == FTS_DOT)
            e->fts_info = FTS_D; /* named by the user, it is a directory */
        if (walk->fts_compar != NULL) {
            e->fts_link = first;
            first = e;
        } else {
            *last = e;
            last = &e->fts_link;
        }
    }
    return bp_fts_sorted(walk, first, count);
}

static FTS *begin(char *const *paths, int options, int (*compare)(const FTSENT **, const FTSENT **))
{
    FTS *walk = calloc(1, sizeof *walk);
    if (walk == NULL)
        return NULL;
    walk->fts_compar = (int (*)(const void *, const void *))compare;
    walk->fts_options = options | OURS | ((options & FTS_LOGICAL) != 0 ? FTS_NOCHDIR : 0);
    walk->fts_path = calloc(1, PATH_ROOM);
    walk->fts_pathlen = PATH_ROOM;
    FTSENT *parent = walk->fts_path != NULL ? bp_fts_entry(walk, "", 0) : NULL;
    FTSENT *start = parent != NULL ? bp_fts_entry(walk, "", 0) : NULL;
    if (start == NULL) {
        free(parent);
        free_walk(walk);
        errno = ENOMEM;
        return NULL;
    }
    parent->fts_level = FTS_ROOTPARENTLEVEL;
    start->fts_parent = parent;
    start->fts_info = FTS_INIT;
    start->fts_link = roots(walk, parent, paths);
    if (start->fts_link == NULL) {
        int saved = errno;
        free(parent);
        free(start);
        free_walk(walk);
        errno = saved;
        return NULL;
    }
    walk->fts_cur = start;
    if (!has(walk, FTS_NOCHDIR) && (walk->fts_rfd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        walk->fts_options |= FTS_NOCHDIR;
    return walk;
}

/* A walk is ours if it begins under the prefix, also by a link that is given and to be followed. */
static int begins_inside(const char *path, int options)
{
    struct bp_where w;
    struct stat st;
    if (bp_locate(AT_FDCWD, path, &w) != BP_OUTSIDE)
        return 1;
    return (options & (FTS_LOGICAL | FTS_COMFOLLOW)) != 0 && REAL(fstatat)(AT_FDCWD, path, &st, 0) != 0 &&
           bp_follow_in(AT_FDCWD, path, &w, 1);
}

EXPORT FTS *fts_open(char *const *paths, int options, int (*compare)(const FTSENT **, const FTSENT **))
{
    int inside = 0;
    for (char *const *p = paths; *p != NULL && !inside; p++)
        inside = bp_settings.prefix_len != 0 && begins_inside(*p, options);
    if (LIKELY(!inside || (options & ~FTS_OPTIONMASK) != 0))
        return REAL(fts_open)(paths, options, compare);
    bp_count(F_fts_open);
    return begin(paths, options, compare);
}

/* ==== Reading a directory ==== */

/* The length of a directory's path, without a slash at its end. */
static size_t stem(const FTSENT *e)
{
    return e->fts_path[e->fts_pathlen - 1] == '/' ? e->fts_pathlen - 1u : e->fts_pathlen;
}

struct reading {
    DIR *dir;
    enum purpose purpose;
    long links;  /* directories still to be expected; 0: nothing is looked at; -1: everything is */
    int by_type; /* what readdir tells is enough for what is no directory */
    int error;   /* why the directory was not entered */
    char *end;   /* in fts_path, behind the directory's slash; NULL: names are relative to the working directory */
};

static void describe(FTS *walk, struct reading *r, FTSENT *e, unsigned char type)
{
    int known = r->by_type && type != DT_DIR && type != DT_UNKNOWN;
    if (r->error != 0) {
        e->fts_info = r->links != 0 ? FTS_NS : FTS_NSOK;
        e->fts_errno = r->links != 0 ? r->error : 0;
        e->fts_accpath = walk->fts_cur->fts_accpath;
        return;
    }
    e->fts_accpath = r->end != NULL ? e->fts_path : e->fts_name;
    if (r->links == 0 || known) {
        e->fts_info = FTS_NSOK;
        return;
    }
    if (r->end != NULL)
        memcpy(r->end, e->fts_name, e->fts_namelen + 1u);
    e->fts_info = bp_fts_look(walk, e, 0);
    if (r->links > 0 && (e->fts_info == FTS_D || e->fts_info == FTS_DC || e->fts_info == FTS_DOT))
        r->links--;
}

/* The entries, in the order in which they come. -1 and errno if there is no going on. */
static int read_entries(FTS *walk, struct reading *r, FTSENT **first, size_t *count)
{
    FTSENT *directory = walk->fts_cur, **last = first;
    size_t before = stem(directory) + 1;
    struct dirent *d;
    while (r->error == 0 && (errno = 0, d = readdir(r->dir)) != NULL) {
        size_t n = strlen(d->d_name);
        if (!has(walk, FTS_SEEDOT) && is_dots(d->d_name))
            continue;
        if (before + n >= PATH_ROOM - 1) {
            errno = ENAMETOOLONG;
            return -1;
        }
        FTSENT *e = bp_fts_entry(walk, d->d_name, n);
        if (e == NULL)
            return -1;
        e->fts_level = (short)(directory->fts_level + 1);
        e->fts_parent = directory;
        e->fts_pathlen = (unsigned short)(before + n);
        describe(walk, r, e, d->d_type);
        *last = e;
        last = &e->fts_link;
        ++*count;
    }
    if (r->error == 0 && errno != 0)
        directory->fts_errno = errno; /* the rest is not there, and is not said to be */
    return 0;
}

/* Opens the directory, and enters it if that is needed; -1 if it cannot be read. */
static int start_reading(FTS *walk, struct reading *r)
{
    FTSENT *directory = walk->fts_cur;
    r->dir = opendir(directory->fts_accpath);
    if (r->dir == NULL) {
        if (r->purpose == DESCENT) {
            directory->fts_info = FTS_DNR;
            directory->fts_errno = errno;
        }
        return -1;
    }
    r->by_type = r->purpose != NAMES && has(walk, FTS_NOSTAT) && has(walk, FTS_PHYSICAL);
    r->links = r->purpose == NAMES ? 0 : -1;
    if (r->by_type)
        r->links = (long)directory->fts_nlink - (has(walk, FTS_SEEDOT) ? 0 : 2);
    if (r->links == 0 && r->purpose != DESCENT)
        return 0;
    if (enter(walk, directory, dirfd(r->dir), NULL) != 0) {
        r->error = errno;
        if (r->links != 0 && r->purpose == DESCENT)
            directory->fts_errno = errno;
        directory->fts_flags |= FTS_DONTCHDIR;
    }
    return r->error == 0; /* 1: entered */
}

static FTSENT *read_directory(FTS *walk, enum purpose purpose)
{
    FTSENT *directory = walk->fts_cur, *first = NULL;
    struct reading r = {.purpose = purpose};
    size_t count = 0;
    int entered = start_reading(walk, &r);
    if (entered < 0)
        return NULL;
    if (has(walk, FTS_NOCHDIR)) {
        r.end = walk->fts_path + stem(directory);
        *r.end++ = '/';
    }
    int rc = read_entries(walk, &r, &first, &count), saved = errno;
    closedir(r.dir);
    if (rc != 0) {
        bp_fts_free(first);
        directory->fts_info = FTS_ERR;
        errno = saved;
        return stop(walk);
    }
    if (r.end != NULL)
        r.end[count == 0 ? -1 : 0] = '\0';
    if (entered && (purpose == CHILDREN || count == 0) &&
        (directory->fts_level == FTS_ROOTLEVEL ? go_to(walk, walk->fts_rfd)
                                               : enter(walk, directory->fts_parent, -1, "..")) != 0) {
        directory->fts_info = FTS_ERR;
        bp_fts_free(first);
        return stop(walk);
    }
    if (count == 0 && purpose == DESCENT)
        directory->fts_info = directory->fts_errno != 0 ? FTS_ERR : FTS_DP;
    return bp_fts_sorted(walk, first, count);
}

/* ==== Walking ==== */

/* The application has asked that a link be followed: the way back from where it leads is kept. */
static void follow(FTS *walk, FTSENT *e)
{
    e->fts_info = bp_fts_look(walk, e, 1);
    if (e->fts_info == FTS_D && e->fts_level == FTS_ROOTLEVEL)
        walk->fts_dev = e->fts_dev; /* the walk is on that device */
    if (e->fts_info != FTS_D || has(walk, FTS_NOCHDIR))
        return;
    e->fts_symfd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (e->fts_symfd >= 0) {
        e->fts_flags |= FTS_SYMFOLLOW;
        return;
    }
    e->fts_errno = errno;
    e->fts_info = FTS_ERR;
}

static FTSENT *name(FTS *walk, FTSENT *e)
{
    size_t n = stem(e->fts_parent);
    walk->fts_path[n] = '/';
    memmove(walk->fts_path + n + 1, e->fts_name, e->fts_namelen + 1u);
    return walk->fts_cur = e;
}

/* The first entry of a directory that was returned in pre-order, or the directory again if there is none. */
static FTSENT *descend(FTS *walk, FTSENT *directory, int instruction)
{
    if (instruction == FTS_SKIP || (has(walk, FTS_XDEV) && directory->fts_dev != walk->fts_dev)) {
        if ((directory->fts_flags & FTS_SYMFOLLOW) != 0)
            close(directory->fts_symfd);
        bp_fts_free(walk->fts_child);
        walk->fts_child = NULL;
        directory->fts_info = FTS_DP;
        return directory;
    }
    if (walk->fts_child != NULL && has(walk, NAMES_ONLY)) { /* now they are looked at */
        walk->fts_options &= ~NAMES_ONLY;
        bp_fts_free(walk->fts_child);
        walk->fts_child = NULL;
    }
    FTSENT *first = walk->fts_child;
    if (first == NULL) {
        first = read_directory(walk, DESCENT);
        if (first == NULL)
            return has(walk, STOPPED) ? NULL : directory;
    } else if (enter(walk, directory, -1, directory->fts_accpath) != 0) {
        directory->fts_errno = errno;
        directory->fts_flags |= FTS_DONTCHDIR;
        for (FTSENT *e = first; e != NULL; e = e->fts_link)
            e->fts_accpath = directory->fts_accpath;
    }
    walk->fts_child = NULL;
    return name(walk, first);
}

/* From the last entry of a directory up to the directory itself, in post-order; NULL at the end. */
static FTSENT *ascend(FTS *walk, FTSENT *last)
{
    FTSENT *directory = last->fts_parent;
    walk->fts_cur = directory;
    free(last);
    if (directory->fts_level == FTS_ROOTPARENTLEVEL) {
        free(directory);
        errno = 0;
        return walk->fts_cur = NULL;
    }
    walk->fts_path[directory->fts_pathlen] = '\0';
    if (leave(walk, directory) != 0)
        return stop(walk);
    directory->fts_info = directory->fts_errno != 0 ? FTS_ERR : FTS_DP;
    return directory;
}

/* The next entry behind one that is done with. */
static FTSENT *proceed(FTS *walk, FTSENT *e)
{
    for (FTSENT *next; (next = e->fts_link) != NULL; e = next) {
        walk->fts_cur = next;
        free(e);
        if (next->fts_level == FTS_ROOTLEVEL) {
            if (go_to(walk, walk->fts_rfd) != 0)
                return stop(walk);
            load(walk, next);
            return next;
        }
        if (next->fts_instr == FTS_SKIP)
            continue;
        if (next->fts_instr == FTS_FOLLOW) {
            follow(walk, next);
            next->fts_instr = FTS_NOINSTR;
        }
        return name(walk, next);
    }
    return ascend(walk, e);
}

EXPORT FTSENT *fts_read(FTS *walk)
{
    if (!has(walk, OURS))
        return REAL(fts_read)(walk);
    FTSENT *e = walk->fts_cur;
    if (e == NULL || has(walk, STOPPED))
        return NULL;
    int instruction = e->fts_instr;
    e->fts_instr = FTS_NOINSTR;
    if (instruction == FTS_AGAIN) {
        e->fts_info = bp_fts_look(walk, e, 0);
        return e;
    }
    if (instruction == FTS_FOLLOW && (e->fts_info == FTS_SL || e->fts_info == FTS_SLNONE)) {
        follow(walk, e);
        return e;
    }
    return e->fts_info == FTS_D ? descend(walk, e, instruction) : proceed(walk, e);
}

EXPORT FTSENT *fts_children(FTS *walk, int instruction)
{
    if (!has(walk, OURS))
        return REAL(fts_children)(walk, instruction);
    FTSENT *e = walk->fts_cur;
    if (instruction != 0 && instruction != FTS_NAMEONLY) {
        errno = EINVAL;
        return NULL;
    }
    errno = 0;
    if (has(walk, STOPPED) || e == NULL)
        return NULL;
    if (e->fts_info == FTS_INIT)
        return e->fts_link;
    if (e->fts_info != FTS_D)
        return NULL;
    bp_fts_free(walk->fts_child);
    walk->fts_child = NULL;
    enum purpose purpose = instruction == FTS_NAMEONLY ? NAMES : CHILDREN;
    if (purpose == NAMES)
        walk->fts_options |= NAMES_ONLY;
    if (e->fts_level != FTS_ROOTLEVEL || e->fts_accpath[0] == '/' || has(walk, FTS_NOCHDIR))
        return walk->fts_child = read_directory(walk, purpose);
    /* A relative root whose walk has not begun: the working directory may be any. */
    int here = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (here < 0)
        return NULL;
    walk->fts_child = read_directory(walk, purpose);
    int rc = fchdir(here);
    close(here);
    return rc == 0 ? walk->fts_child : NULL;
}

EXPORT int fts_close(FTS *walk)
{
    if (!has(walk, OURS))
        return REAL(fts_close)(walk);
    int rc = 0, error = 0;
    for (FTSENT *e = walk->fts_cur, *next; e != NULL; e = next) {
        next = e->fts_level < FTS_ROOTLEVEL ? NULL : e->fts_link != NULL ? e->fts_link : e->fts_parent;
        free(e);
    }
    bp_fts_free(walk->fts_child);
    if (!has(walk, FTS_NOCHDIR)) {
        rc = fchdir(walk->fts_rfd);
        error = errno;
        close(walk->fts_rfd);
    }
    free_walk(walk);
    if (rc != 0)
        errno = error;
    return rc;
}

/* On these machines both families have the same structures. */
#pragma GCC diagnostic ignored "-Wattribute-alias"
extern FTS64 *fts64_open(char *const *, int, int (*)(const FTSENT64 **, const FTSENT64 **)) EXPORT
    __attribute__((alias("fts_open")));
extern FTSENT64 *fts64_read(FTS64 *) EXPORT __attribute__((alias("fts_read")));
extern FTSENT64 *fts64_children(FTS64 *, int) EXPORT __attribute__((alias("fts_children")));
extern int fts64_close(FTS64 *) EXPORT __attribute__((alias("fts_close")));
