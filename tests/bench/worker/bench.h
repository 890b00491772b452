/*
 * bench.h: what the parts of the benchmark's worker share. The worker makes one measurement, prints it as one JSON line a result, and ends;
 * the runner (tests/bench) says which by arguments, and starts several at a time where a case needs them.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Most threads of a worker, and most daemons whose time it accounts for. */
#define MAX_THREADS 16
#define MAX_DAEMONS 8

struct options {
    const struct api *api;
    const char *op;
    const char *path;   /* a file; of the metadata operations a directory */
    const char *phases; /* of the metadata operations, separated by commas */
    size_t block;       /* bytes of a call */
    size_t size;        /* bytes of the file */
    /* How long passes over a file are repeated, 0: one pass. Random accesses and new files: when they end before there are count, 0: never. */
    double seconds;
    long count; /* random accesses of a thread, or files */
    int threads;
    int rank;
    int ranks;
    bool barrier; /* says "ready" and waits for a line before the timed part */
    bool direct;  /* O_DIRECT */
    bool busy;    /* beside a program that computes on every core */
    long repeats; /* new files of the same name, one after the other */
    pid_t daemons[MAX_DAEMONS];
    int daemon_count;
};

/* ==== api.c: the ways to a file ==== */

/*
 * A file system as the measurements see it. Each call ends the program if it fails or moves fewer bytes than it was asked to: a benchmark has
 * nothing to go on with then.
 */
struct api {
    const char *name;
    void (*start)(const struct options *o);
    void (*stop)(void);
    int (*open)(const char *path, int flags);
    void (*close)(int fd);
    void (*read)(int fd, void *buf, size_t len, off_t offset);
    void (*write)(int fd, const void *buf, size_t len, off_t offset);
    off_t (*size)(const char *path);
    void (*unlink)(const char *path);
    void (*mkdir)(const char *path);
    void (*rmdir)(const char *path);
    long (*list)(const char *path);  /* number of entries, the attributes of each looked at */
    unsigned long (*messages)(void); /* sent so far */
};

const struct api *api_named(const char *name);

/* ==== pattern.c: what is in the files ==== */

/* Of every pass over a file the bytes are others: pass is part of the pattern. */
void pattern_start(size_t max_block);
const void *pattern_at(off_t offset, unsigned pass);
/* The first and the last word only: cheap enough for the timed part. */
void pattern_check_ends(const void *buf, size_t len, off_t offset, unsigned pass);
void pattern_check(const void *buf, size_t len, off_t offset, unsigned pass);

/* ==== measure.c: time and resources ==== */

uint64_t now_ns(void); /* CLOCK_MONOTONIC: the same for all processes of a machine */
/* When the seconds of the options are over that begin now. */
uint64_t deadline(const struct options *o);
uint64_t ticks(void); /* the cheapest clock there is */
double ticks_cost_ns(void);

/*
 * Nothing is timed before so much time has passed: two processes that have just begun to talk to each other may share a core for some 30 ms,
 * until the kernel has parted them.
 */
#define WARM_NS 60000000

/* What a timed part took. Begin after the preparation, end right after the work. */
struct span {
    uint64_t begin_ns, end_ns;
    uint64_t begin_ticks, end_ticks;
    double cpu, daemon_cpu; /* seconds */
    unsigned long messages;
};

void span_begin(struct span *s, const struct options *o);
void span_end(struct span *s, const struct options *o);

/* A result. Fields that are 0 are not printed. */
struct result {
    const char *op;
    struct span span;
    uint64_t bytes, ops;
    uint32_t *latencies; /* ticks of each operation; sorted by report */
    size_t latency_count;
};

void report(const struct options *o, struct result *r);

/* ==== main.c ==== */

__attribute__((noreturn, format(printf, 1, 2))) void die(const char *format, ...);
void *must_alloc(size_t size); /* page-aligned, touched */
/* All workers of a case go on from here together. */
void meet(const struct options *o);

/* ==== busy.c: a program that computes ==== */

void busy_start(void); /* before the process has other threads */
void busy_stop(void);

/* ==== data.c, meta.c, message.c: the measurements; false: not one of its operations ==== */

bool data_run(const struct options *o);
bool meta_run(const struct options *o);
bool message_run(const struct options *o);

#endif
