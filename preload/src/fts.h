/* fts.h: what fts.c and fts_entry.c share: the entries of a walk. */
#ifndef BENCHFS_PRELOAD_FTS_H
#define BENCHFS_PRELOAD_FTS_H

#include "preload.h"

#include <fts.h>

/* Private bits of fts_options; the first two are libc's. */
#define NAMES_ONLY FTS_NAMEONLY
#define STOPPED FTS_STOP
#define OURS 0x40000000

/* What is private in fts_flags and fts_instr is given by fts.h: FTS_DONTCHDIR, FTS_SYMFOLLOW; FTS_NOINSTR. */

/* fts_pathlen is a short. */
#define PATH_ROOM (USHRT_MAX + 1)

static inline int has(const FTS *walk, int option)
{
    return (walk->fts_options & option) != 0;
}

static inline int is_dots(const char *name)
{
    return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

/* A new entry of that name, n bytes long; NULL: no memory. */
FTSENT *bp_fts_entry(const FTS *walk, const char *name, size_t n);
void bp_fts_free(FTSENT *list);
/* The list as the application wants it. */
FTSENT *bp_fts_sorted(const FTS *walk, FTSENT *list, size_t count);
/* fts_info of an entry, and what else stat tells of it. */
unsigned short bp_fts_look(const FTS *walk, FTSENT *e, int follow);

#endif /* BENCHFS_PRELOAD_FTS_H */
