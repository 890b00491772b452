/* exec.h: what exec.c and spawn.c share: programs that are started. */
#ifndef BENCHFS_PRELOAD_EXEC_H
#define BENCHFS_PRELOAD_EXEC_H

#include "preload.h"

/* An environment to start a program with, in one block that the caller frees; NULL: the given one is right. */
struct bp_environment {
    char **list; /* NULL: as given */
    char *preload, *cwd;
};

/* Makes the environment for a program out of the given one; libraries: names for LD_PRELOAD, ":" before each. Discard after use. */
char *const *bp_settle(struct bp_environment *e, char *const *given, const char *libraries);
void bp_discard(struct bp_environment *e);

/* What the kernel is to start instead of a path. */
struct bp_program {
    const char *path;
    char text[PATH_MAX];
    int memfd;           /* a copy of the program, or -1 */
    char **arguments;    /* of an interpreter, or NULL */
    char line[256];      /* its first line */
    char name[PATH_MAX]; /* its canonical path */
    int memfds[64];      /* copies of libraries that it needs */
    size_t count;
    char libraries[64 * 24]; /* their names, ":" before each */
};

/* Finds out what to start for a path; 0, or -1 and errno. Finish after use. */
int bp_prepare(struct bp_program *p, const char *path, char *const *arguments, int cloexec);
void bp_finish_program(struct bp_program *p);

#endif /* BENCHFS_PRELOAD_EXEC_H */
