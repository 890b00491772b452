/*
 * walks.c: walks a tree by libc's fts with all options and instructions, and prints what it is told. Usage: walks DIRECTORY, which holds d,
 * a tree, and links to it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char top[4096];

static int by_name(const FTSENT **a, const FTSENT **b)
{
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

static const char *here(void)
{
    static char cwd[4096];
    if (getcwd(cwd, sizeof cwd) == NULL)
        return "?";
    return strncmp(cwd, top, strlen(top)) == 0 ? cwd + strlen(top) : cwd;
}

static void print(const char *what, const FTSENT *e, int options)
{
    printf("%s info %d level %d path %s access %s name %s errno %s in %s", what, e->fts_info, e->fts_level,
           strcmp(what, "root") == 0 ? "-" : e->fts_path, e->fts_accpath, e->fts_name,
           e->fts_errno != 0 ? strerrorname_np(e->fts_errno) : "-", here());
    if ((options & FTS_NOSTAT) == 0 && (e->fts_info == FTS_F || e->fts_info == FTS_SL))
        printf(" size %ld mode %o", (long)e->fts_statp->st_size, (unsigned)e->fts_statp->st_mode);
    if (e->fts_info == FTS_DC)
        printf(" cycle %s", e->fts_cycle->fts_name);
    printf(" number %ld parent %s\n", e->fts_number, e->fts_parent->fts_name);
}

static void children(FTS *walk, int flag, int options)
{
    errno = 0;
    FTSENT *e = fts_children(walk, flag);
    if (e == NULL)
        printf("  no children, errno %s\n", errno != 0 ? strerrorname_np(errno) : "-");
    for (; e != NULL; e = e->fts_link) {
        if (flag == FTS_NAMEONLY)
            printf("  child %s\n", e->fts_name);
        else
            print(e->fts_level == 0 ? "root" : "  child", e, options); /* roots have no path yet */
        if (flag == 0 && e->fts_level > 0 && strcmp(e->fts_name, "skipped") == 0)
            fts_set(walk, e, FTS_SKIP);
        if (flag == 0 && e->fts_level > 0 && strcmp(e->fts_name, "followed") == 0)
            fts_set(walk, e, FTS_FOLLOW);
        e->fts_number++;
    }
}

/* What is done with each entry that comes. */
static void handle(FTS *walk, FTSENT *e, int manner, int options)
{
    switch (manner) {
    case 1: /* skip a directory, follow links to others, see one again */
        if (e->fts_info == FTS_D && strcmp(e->fts_name, "skipped") == 0)
            fts_set(walk, e, FTS_SKIP);
        if (e->fts_info == FTS_SL && strcmp(e->fts_name, "cycle") != 0)
            fts_set(walk, e, FTS_FOLLOW);
        if (strcmp(e->fts_name, "one") == 0 && e->fts_number++ == 0)
            fts_set(walk, e, FTS_AGAIN);
        break;
    case 2:
        if (e->fts_info == FTS_D)
            children(walk, 0, options);
        break;
    case 3:
        if (e->fts_info == FTS_D)
            children(walk, FTS_NAMEONLY, options);
        break;
    }
}

static void walk(const char *title, char *const *roots, int options, int manner)
{
    FTSENT *e;
    printf("== %s, options %x, manner %d\n", title, options, manner);
    FTS *w = fts_open(roots, options, by_name);
    if (w == NULL) {
        printf("not opened: %s\n", strerrorname_np(errno));
        return;
    }
    if (manner == 2)
        children(w, 0, options);
    while ((e = fts_read(w)) != NULL) {
        print("-", e, options);
        handle(w, e, manner, options);
        if (manner == 4 && e->fts_level == 2)
            break;
    }
    if (manner != 4)
        printf("end: errno %s\n", errno != 0 ? strerrorname_np(errno) : "-");
    printf("closed: %d in %s\n", fts_close(w), here());
}

int main(int argc, char **argv)
{
    char absolute[4200];
    if (argc != 2 || realpath(argv[1], top) == NULL || chdir(top) != 0)
        return 2;
    snprintf(absolute, sizeof absolute, "%s/d", top);
    char *plain[] = {"d", NULL}, *several[] = {"to-d", "file", absolute, "none", "d/", "to-none", NULL},
         *dot[] = {".", NULL}, *none[] = {"", NULL};
    for (int options = 0; options < 64; options++) {
        /* One of logical and physical, and each of the others. */
        int flags = ((options & 1) != 0 ? FTS_LOGICAL : FTS_PHYSICAL) | ((options & 2) != 0 ? FTS_COMFOLLOW : 0) |
                    ((options & 4) != 0 ? FTS_NOCHDIR : 0) | ((options & 8) != 0 ? FTS_NOSTAT : 0) |
                    ((options & 16) != 0 ? FTS_SEEDOT : 0) | ((options & 32) != 0 ? FTS_XDEV : 0);
        for (int manner = 0; manner < 5; manner++) {
            walk("d", plain, flags, manner);
            if (manner == 0 ||
                (manner == 1 && (flags & FTS_XDEV) == 0)) /* libc never sets the device of a root that is followed */
                walk("several", several, flags, manner);
        }
    }
    walk("dot", dot, FTS_PHYSICAL, 0);
    walk("none", none, FTS_PHYSICAL, 0);
    walk("wrong", plain, 0x1000, 0);
    return 0;
}
