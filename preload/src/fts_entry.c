/* fts_entry.c: the entries of a walk by fts(3): what they are, and their order. */
#include "fts.h"

FTSENT *bp_fts_entry(const FTS *walk, const char *name, size_t n)
{
    size_t head = (offsetof(FTSENT, fts_name) + n + 1 + 15) & ~(size_t)15;
    FTSENT *e = calloc(1, head + (has(walk, FTS_NOSTAT) ? 0 : sizeof *e->fts_statp));
    if (e == NULL)
        return NULL;
    memcpy(e->fts_name, name, n + 1);
    e->fts_namelen = (unsigned short)n;
    e->fts_path = walk->fts_path;
    e->fts_instr = FTS_NOINSTR;
    if (!has(walk, FTS_NOSTAT))
        e->fts_statp = (struct stat *)((char *)e + head);
    return e;
}

void bp_fts_free(FTSENT *e)
{
    while (e != NULL) {
        FTSENT *next = e->fts_link;
        free(e);
        e = next;
    }
}

FTSENT *bp_fts_sorted(const FTS *walk, FTSENT *list, size_t count)
{
    FTSENT **array = walk->fts_compar != NULL && count > 1 ? malloc(count * sizeof *array) : NULL;
    if (array == NULL)
        return list;
    for (size_t i = 0; i < count; i++, list = list->fts_link)
        array[i] = list;
    qsort(array, count, sizeof *array, walk->fts_compar);
    for (size_t i = 0; i + 1 < count; i++)
        array[i]->fts_link = array[i + 1];
    array[count - 1]->fts_link = NULL;
    list = array[0];
    free(array);
    return list;
}

unsigned short bp_fts_look(const FTS *walk, FTSENT *e, int follow)
{
    struct stat own, *st = e->fts_statp != NULL ? e->fts_statp : &own;
    int through = has(walk, FTS_LOGICAL) || follow;
    if ((through ? stat(e->fts_accpath, st) : lstat(e->fts_accpath, st)) != 0) {
        int error = errno;
        if (through && lstat(e->fts_accpath, st) == 0) {
            errno = 0;
            return FTS_SLNONE;
        }
        e->fts_errno = error;
        memset(st, 0, sizeof *st);
        return FTS_NS;
    }
    if (!S_ISDIR(st->st_mode))
        return S_ISLNK(st->st_mode) ? FTS_SL : S_ISREG(st->st_mode) ? FTS_F : FTS_DEFAULT;
    e->fts_dev = st->st_dev;
    e->fts_ino = st->st_ino;
    e->fts_nlink = st->st_nlink;
    if (is_dots(e->fts_name))
        return FTS_DOT;
    for (FTSENT *up = e->fts_parent; up->fts_level >= FTS_ROOTLEVEL; up = up->fts_parent) {
        if (up->fts_ino == e->fts_ino && up->fts_dev == e->fts_dev) {
            e->fts_cycle = up;
            return FTS_DC;
        }
    }
    return FTS_D;
}
