/* meta.c: operations on many files of one directory, and what open files cost. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

/* A size that the small-file cases of mdtest-like benchmarks use: one that fits no block. */
#define SMALL_BYTES 3901

/* Every so many small files are compared whole; of the others the ends are. */
#define COMPARE_EVERY 16

struct work {
    const struct options *o;
    unsigned char small[SMALL_BYTES];
    char path[4096];
    long count;          /* files */
    uint32_t *latencies; /* ticks of each operation; NULL: not taken, as reading the clock takes time */
    off_t expected;      /* size of each file */
};

static const char *path_of(struct work *w, long i)
{
    snprintf(w->path, sizeof(w->path), "%s/f%d.%07ld", w->o->path, w->o->rank, i);
    return w->path;
}

/* Where the content of file i stands in the pattern. */
static off_t content_of(long i)
{
    return (off_t)i * 4096;
}

static void create(struct work *w, long i)
{
    w->o->api->close(w->o->api->open(path_of(w, i), O_CREAT | O_WRONLY | O_EXCL));
}

static void look(struct work *w, long i)
{
    off_t size = w->o->api->size(path_of(w, i));
    if (size != w->expected)
        die("%s has %lld bytes instead of %lld", w->path, (long long)size, (long long)w->expected);
}

static void open_close(struct work *w, long i)
{
    w->o->api->close(w->o->api->open(path_of(w, i), O_RDONLY));
}

static void drop(struct work *w, long i)
{
    w->o->api->unlink(path_of(w, i));
}

static void create_small(struct work *w, long i)
{
    int fd = w->o->api->open(path_of(w, i), O_CREAT | O_WRONLY | O_EXCL);
    w->o->api->write(fd, pattern_at(content_of(i), 0), SMALL_BYTES, 0);
    w->o->api->close(fd);
}

static void read_small(struct work *w, long i)
{
    int fd = w->o->api->open(path_of(w, i), O_RDONLY);
    w->o->api->read(fd, w->small, SMALL_BYTES, 0);
    w->o->api->close(fd);
    if (i % COMPARE_EVERY == 0)
        pattern_check(w->small, SMALL_BYTES, content_of(i), 0);
    else
        pattern_check_ends(w->small, SMALL_BYTES, content_of(i), 0);
}

static const struct phase {
    const char *name;
    void (*each)(struct work *, long); /* NULL: the directory as a whole */
    off_t leaves;                      /* size of the files afterwards; -1: as before */
    bool each_timed;
} phases[] = {
    {"create", create, 0, false},
    {"create-each", create, 0, true},
    {"stat", look, -1, false},
    {"open", open_close, -1, false},
    {"list", NULL, -1, false},
    {"unlink", drop, -1, false},
    {"small-create", create_small, SMALL_BYTES, false},
    {"small-read", read_small, -1, false},
};

/* Files are made until there are enough, or the time is over; the other phases take what there is. */
static void each_file(const struct phase *p, struct work *w)
{
    bool creates = p->leaves >= 0;
    uint64_t end = creates ? deadline(w->o) : UINT64_MAX;
    long count = creates ? w->o->count : w->count, i;
    for (i = 0; i < count && (i == 0 || !creates || now_ns() < end); i++) {
        uint64_t begin = w->latencies ? ticks() : 0;
        p->each(w, i);
        if (w->latencies) {
            uint64_t took = ticks() - begin;
            w->latencies[i] = took > UINT32_MAX ? UINT32_MAX : (uint32_t)took;
        }
    }
    w->count = i;
}

static void run_phase(const struct phase *p, struct work *w)
{
    const struct options *o = w->o;
    struct result r = {.op = p->name};
    w->latencies = p->each_timed ? must_alloc((size_t)o->count * sizeof(uint32_t)) : NULL;
    meet(o);
    span_begin(&r.span, o);
    if (p->each) {
        each_file(p, w);
    } else {
        long seen = o->api->list(o->path);
        if (seen != w->count * o->ranks)
            die("%s lists %ld files of %ld", o->path, seen, w->count * o->ranks);
    }
    span_end(&r.span, o);
    r.ops = (uint64_t)w->count;
    if (p->leaves >= 0)
        w->expected = p->leaves;
    if (p->each == create_small || p->each == read_small)
        r.bytes = r.ops * SMALL_BYTES;
    r.latencies = w->latencies;
    r.latency_count = w->latencies ? r.ops : 0;
    report(o, &r);
    free(w->latencies);
}

static const struct phase *phase_named(const char *name)
{
    for (size_t i = 0; i < sizeof(phases) / sizeof(phases[0]); i++)
        if (strcmp(phases[i].name, name) == 0)
            return &phases[i];
    die("no such phase: %s", name);
}

static void warm_up(struct work *w)
{
    for (uint64_t end = now_ns() + WARM_NS; now_ns() < end;) {
        create(w, 0);
        drop(w, 0);
    }
}

static void run_phases(const struct options *o)
{
    static struct work w;
    w.o = o;
    o->api->mkdir(o->path);
    warm_up(&w);
    char *names = strdup(o->phases ? o->phases : ""), *rest = names;
    bool removed = false;
    for (char *name = strtok_r(names, ",", &rest); name; name = strtok_r(NULL, ",", &rest)) {
        run_phase(phase_named(name), &w);
        removed = strcmp(name, "unlink") == 0;
    }
    free(names);
    meet(o);
    if (removed && o->rank == 0)
        o->api->rmdir(o->path);
}

/* Memory of a process with count open files. */
static void open_files(const struct options *o)
{
    static struct work w;
    w.o = o;
    o->api->mkdir(o->path);
    int *fds = must_alloc((size_t)o->count * sizeof(int));
    struct result all = {.op = "open-files", .ops = (uint64_t)o->count};
    span_begin(&all.span, o);
    for (long i = 0; i < o->count; i++)
        fds[i] = o->api->open(path_of(&w, i), O_CREAT | O_RDWR);
    span_end(&all.span, o);
    report(o, &all);
    for (long i = 0; i < o->count; i++) {
        o->api->close(fds[i]);
        o->api->unlink(path_of(&w, i));
    }
    o->api->rmdir(o->path);
}

bool meta_run(const struct options *o)
{
    if (strcmp(o->op, "meta") == 0) {
        run_phases(o);
        return true;
    }
    if (strcmp(o->op, "open-files") == 0) {
        open_files(o);
        return true;
    }
    return false;
}
