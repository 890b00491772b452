/*
 * named.c: names of descriptors: /dev/fd/N, /dev/stdin, /proc/self/fd/N, /proc/PID/fd/N, and what lies under them if N is a directory; /proc/self/cwd.
 *
 * For the kernel they lead to the memory file that stands for a description (descriptor.c). Read as a file, that is the description's bytes, or
 * nothing at all; so whoever follows such a name must come by here. The names themselves (lstat, O_NOFOLLOW, unlink) are the kernel's.
 */
#include "preload.h"

#include <ctype.h>

/* A name taken apart. */
struct name {
    int own;          /* of this process: fd is a number of ours */
    int fd;           /* -1: the working directory */
    const char *rest; /* what follows: "" or "/…" */
    char link[80];    /* the name without the rest */
};

/* Goes behind a word that *p begins with. */
static int skip(const char **p, const char *word)
{
    size_t n = strlen(word);
    if (strncmp(*p, word, n) != 0)
        return 0;
    *p += n;
    return 1;
}

/* Goes behind a number; -1 if there is none. */
static long number(const char **p)
{
    char *end;
    if (!isdigit((unsigned char)**p))
        return -1;
    long value = strtol(*p, &end, 10);
    *p = end;
    return value;
}

/* The directory of a process's descriptors: *p goes behind it. Of which process: 0 for this one, -1 for none. */
static long process_of(const char **p)
{
    long pid = 0;
    if (skip(p, "/dev/fd/"))
        return 0;
    if (!skip(p, "/proc/"))
        return -1;
    if (!skip(p, "self/") && !skip(p, "thread-self/")) {
        pid = number(p);
        if (pid < 0 || !skip(p, "/"))
            return -1;
    }
    if (skip(p, "task/") && (number(p) < 0 || !skip(p, "/")))
        return -1;
    return pid == bp_pid ? 0 : pid;
}

static int take_apart(const char *path, struct name *n)
{
    static const char *const streams[] = {"/dev/stdin", "/dev/stdout", "/dev/stderr"};
    const char *p = path;
    n->own = 1;
    n->fd = -1;
    for (int i = 0; i < 3 && n->fd < 0; i++) {
        p = path;
        if (skip(&p, streams[i]))
            n->fd = i;
    }
    if (n->fd < 0) {
        p = path;
        long pid = process_of(&p);
        if (pid < 0)
            return 0;
        n->own = pid == 0;
        if (p[-1] == '/' && n->own && skip(&p, "cwd") && (*p == '\0' || *p == '/')) {
            n->rest = p;
            return 1;
        }
        long fd = strncmp(path, "/proc/", 6) != 0 || skip(&p, "fd/") ? number(&p) : -1;
        if (fd < 0 || fd >= BP_FD_MAX)
            return 0;
        n->fd = (int)fd;
    }
    if ((*p != '\0' && *p != '/') || (size_t)(p - path) >= sizeof n->link)
        return 0;
    memcpy(n->link, path, (size_t)(p - path));
    n->link[p - path] = '\0';
    n->rest = p;
    return 1;
}

/* What the descriptor is; 1 if it is ours, 0 if not, a negative errno if it is and nobody can tell which file. */
static int look(const struct name *n, struct bp_described *d)
{
    struct bp_file *f = !n->own ? NULL : n->fd >= 0 ? bp_file(n->fd) : atomic_load(&bp_cwd);
    if (f == NULL)
        return n->own ? 0 : bp_describe_link(AT_FDCWD, n->link, d);
    d->ino = f->description->ino;
    d->kind = f->description->kind;
    strcpy(d->path, f->description->path);
    return 1;
}

struct bp_file *bp_named_file(const char *path)
{
    struct name n;
    return bp_may_be_name(path) && take_apart(path, &n) && n.own && n.fd >= 0 && n.rest[0] == '\0' ? bp_file(n.fd)
                                                                                                   : NULL;
}

static enum bp_side nowhere(int error, const char *path, const char *why)
{
    bp_log("%s: %s (%s)", path, why, strerrorname_np(error));
    errno = error;
    return BP_NOWHERE;
}

enum bp_side bp_resolve_name(const char *path, int follow, struct bp_where *w)
{
    struct name n;
    struct bp_described d;
    struct stat st;
    int rest = 0;
    if (!take_apart(path, &n) || (!follow && n.rest[strspn(n.rest, "/")] == '\0'))
        return BP_OUTSIDE;
    int found = look(&n, &d);
    if (found == 0)
        return BP_OUTSIDE;
    if (found < 0)
        return nowhere(-found, path, "a file of another process that it has not shared with anybody");
    rest = n.rest[0] != '\0';
    if (rest && d.kind != S_IFDIR) {
        errno = ENOTDIR;
        return BP_NOWHERE;
    }
    const struct bp_library *lib = bp_library();
    if (lib == NULL)
        return BP_NOWHERE;
    const char *below = d.path + bp_settings.prefix_len;
    if (d.ino != 0 && (lib->fstatat(BENCHFS_AT_FDCWD, *below != '\0' ? below : "/", &st, 0) != 0 || st.st_ino != d.ino))
        return nowhere(ENOENT, path, "the file has no longer the name that it was opened by");
    if (snprintf(w->text, sizeof w->text, "%s%s", d.path, n.rest) >= (int)sizeof w->text) {
        errno = ENAMETOOLONG;
        return BP_NOWHERE;
    }
    w->path = w->text;
    return bp_locate_slow(AT_FDCWD, w->text, w);
}

/* The text of a link of the kernel's to a description: the path of the file. n bytes of target are there; returns how many there are then. */
ssize_t bp_show_link(int dirfd, const char *path, char *target, ssize_t n, size_t room)
{
    static const char ours[] = "/memfd:benchfs"; /* of both kinds */
    struct bp_described d;
    struct bp_file *f = NULL;
    if (n < (ssize_t)sizeof ours - 1 || memcmp(target, ours, sizeof ours - 1) != 0)
        return n;
    int found = bp_describe_link(dirfd, path, &d);
    const char *last = strrchr(path, '/'), *digits = last != NULL ? last + 1 : path;
    if (found < 0) { /* not shared: this process knows its own */
        char directory[64], own[32];
        ssize_t length = -1;
        snprintf(own, sizeof own, "/proc/%d/fd", (int)bp_pid);
        if (dirfd != AT_FDCWD && last == NULL) {
            char link[32];
            snprintf(link, sizeof link, "/proc/self/fd/%d", dirfd);
            length = REAL(readlink)(link, directory, sizeof directory - 1);
        }
        if (length > 0)
            directory[length] = '\0';
        if (length > 0 && strcmp(directory, own) == 0 && isdigit((unsigned char)*digits))
            f = bp_file(atoi(digits));
        else
            f = bp_named_file(path);
    }
    const char *text = f != NULL ? f->description->path : found > 0 ? d.path : NULL;
    if (text == NULL)
        return n;
    size_t length = strlen(text);
    length = length < room ? length : room;
    memcpy(target, text, length);
    return (ssize_t)length;
}
