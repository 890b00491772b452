/* process.h: what the scenarios share. */
#ifndef PROCESS_H
#define PROCESS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
/* signals.c */
void signal_masks(void);
void cancelled(void);

#endif
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

extern const char *scenario;

#define CHECK(condition)                                                                              \
    do {                                                                                              \
        if (!(condition)) {                                                                           \
            fprintf(stderr, "%s: line %d: %s is not so (errno %s)\n", scenario, __LINE__, #condition, \
                    strerror(errno));                                                                 \
            _exit(1);                                                                                 \
        }                                                                                             \
    } while (0)

/* A new file with that text, open for both. */
int make(const char *name, const char *text);
/* The file holds that text and nothing else. */
void holds(const char *name, const char *text);
/* The child's work has ended well. */
void ends_well(pid_t pid);

/* calls.c */
void by_number(void);
void unhandled(void);
void mapped_and_written(void);

/* signals.c */
void signal_masks(void);
void cancelled(void);

#endif
