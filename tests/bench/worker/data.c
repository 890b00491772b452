/* data.c: reading and writing, in sequence, at random and strided, by one or several threads. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

/* What a file is prepared and verified with where its blocks follow each other. */
#define PIECE ((size_t)4 << 20)

/* An operation. A file that is not prepared here is new, or there already from another process, whose pages this one has never touched. */
struct plan {
    const char *op;
    bool write;
    bool creates;  /* the timed part fills a new file, and ends with its close */
    bool prepares; /* the file is written, and touched once more, before the timed part */
    bool random;
    bool strided; /* block b belongs to rank b mod ranks */
    bool keeps;   /* the file stays */
};

static const struct plan plans[] = {
    {.op = "prepare", .write = true, .creates = true, .keeps = true},
    {.op = "new", .write = true, .creates = true},
    {.op = "over", .write = true, .prepares = true},
    {.op = "read", .prepares = true},
    {.op = "fresh-read"},
    {.op = "rand-write", .write = true, .prepares = true, .random = true},
    {.op = "rand-read", .prepares = true, .random = true},
    {.op = "strided-new", .write = true, .creates = true, .strided = true},
    {.op = "strided-over", .write = true, .prepares = true, .strided = true},
    {.op = "strided-read", .prepares = true, .strided = true},
};

/* The part of the file that one thread works on: count blocks from first, every step-th. */
struct lane {
    const struct options *o;
    const struct plan *plan;
    int fd;
    long first, step, count;
    unsigned pass; /* which pattern the blocks have */
    unsigned char *buf;
    unsigned char *rewritten; /* by block: it has pattern pass + 1; of random writes only */
    uint64_t random;
    uint64_t ops;
    uint32_t *latencies; /* of the ops, if they are random */
    pthread_barrier_t *gate;
    pthread_t thread;
};

static off_t offset_of(const struct lane *l, long i)
{
    return (off_t)(l->first + i * l->step) * (off_t)l->o->block;
}

static void write_block(struct lane *l, off_t offset, unsigned pass)
{
    l->o->api->write(l->fd, pattern_at(offset, pass), l->o->block, offset);
}

static void read_block(struct lane *l, off_t offset)
{
    l->o->api->read(l->fd, l->buf, l->o->block, offset);
}

/* Every block once, in order. */
static void sweep(struct lane *l)
{
    if (l->plan->write)
        l->pass++;
    for (long i = 0; i < l->count; i++) {
        off_t offset = offset_of(l, i);
        if (l->plan->write) {
            write_block(l, offset, l->pass);
        } else {
            read_block(l, offset);
            pattern_check_ends(l->buf, l->o->block, offset, l->pass);
        }
    }
    l->ops += (uint64_t)l->count;
}

static long draw(struct lane *l)
{
    l->random ^= l->random << 13; /* xorshift64 */
    l->random ^= l->random >> 7;
    l->random ^= l->random << 17;
    return (long)(l->random % (uint64_t)l->count);
}

/* How often random accesses look at the clock that ends them. */
#define LOOK_EVERY 64

/* As many, or as long, whichever is reached first. */
static void jump(struct lane *l, long accesses)
{
    uint64_t end = deadline(l->o);
    long k;
    for (k = 0; k < accesses && (k % LOOK_EVERY != 0 || now_ns() < end); k++) {
        long i = draw(l);
        off_t offset = offset_of(l, i);
        const void *from = pattern_at(offset, l->pass + 1);
        uint64_t begin = ticks();
        if (l->plan->write)
            l->o->api->write(l->fd, from, l->o->block, offset);
        else
            l->o->api->read(l->fd, l->buf, l->o->block, offset);
        uint64_t took = ticks() - begin;
        l->latencies[k] = took > UINT32_MAX ? UINT32_MAX : (uint32_t)took;
        if (l->plan->write)
            l->rewritten[i] = 1;
        else
            pattern_check_ends(l->buf, l->o->block, offset, l->pass);
    }
    l->ops += (uint64_t)k;
}

/* The whole lane in pieces as large as its blocks allow. */
static void in_pieces(struct lane *l, bool write)
{
    size_t unit = l->step == 1 ? PIECE : l->o->block;
    long units = l->step == 1 ? 1 : l->count;
    unsigned char *buf = must_alloc(unit);
    for (long i = 0; i < units; i++) {
        off_t at = offset_of(l, i), end = l->step == 1 ? offset_of(l, l->count) : at + (off_t)unit;
        for (size_t len; at < end; at += (off_t)len) {
            len = (size_t)(end - at) < unit ? (size_t)(end - at) : unit;
            if (write) {
                l->o->api->write(l->fd, pattern_at(at, l->pass), len, at);
            } else {
                l->o->api->read(l->fd, buf, len, at);
                pattern_check(buf, len, at, l->pass);
            }
        }
    }
    free(buf);
}

static void verify(struct lane *l)
{
    if (!l->plan->random || !l->plan->write) {
        in_pieces(l, false);
        return;
    }
    for (long i = 0; i < l->count; i++) {
        read_block(l, offset_of(l, i));
        pattern_check(l->buf, l->o->block, offset_of(l, i), l->pass + l->rewritten[i]);
    }
}

/* Prepares, and touches everything once, so that the timed part meets a steady state. */
static void warm(struct lane *l)
{
    if (!l->plan->prepares)
        return;
    in_pieces(l, true);
    if (l->plan->random)
        jump(l, l->o->count / 4 + 1);
    else
        sweep(l);
    l->ops = 0;
}

static void timed(struct lane *l)
{
    if (l->plan->random) {
        jump(l, l->o->count);
        return;
    }
    uint64_t end = now_ns() + (uint64_t)(l->o->seconds * 1e9);
    do
        sweep(l);
    while (now_ns() < end);
}

static void *in_thread(void *argument)
{
    struct lane *l = argument;
    warm(l);
    pthread_barrier_wait(l->gate);
    pthread_barrier_wait(l->gate);
    timed(l);
    return NULL;
}

static void run_threads(struct lane *lanes, struct span *span, const struct options *o)
{
    pthread_barrier_t gate;
    pthread_barrier_init(&gate, NULL, (unsigned)o->threads + 1);
    for (int t = 0; t < o->threads; t++) {
        lanes[t].gate = &gate;
        if (pthread_create(&lanes[t].thread, NULL, in_thread, &lanes[t]) != 0)
            die("no thread");
    }
    pthread_barrier_wait(&gate);
    meet(o);
    span_begin(span, o);
    pthread_barrier_wait(&gate);
    for (int t = 0; t < o->threads; t++)
        pthread_join(lanes[t].thread, NULL);
    pthread_barrier_destroy(&gate);
}

static void run_lanes(struct lane *lanes, struct span *span, const struct options *o)
{
    if (o->threads > 1) {
        run_threads(lanes, span, o);
        return;
    }
    warm(&lanes[0]);
    meet(o);
    span_begin(span, o);
    timed(&lanes[0]);
}

/* pass is the pattern of the file before the first pass over it that is made here. */
static void lanes_make(struct lane *lanes, const struct plan *p, const struct options *o, int fd, unsigned pass)
{
    long blocks = (long)(o->size / o->block);
    long each = p->strided ? blocks / o->ranks : blocks / o->threads;
    if (each < 1)
        die("the file is too small for so many threads or ranks");
    for (int t = 0; t < o->threads; t++) {
        lanes[t] = (struct lane){.o = o, .plan = p, .fd = fd, .count = each, .pass = pass};
        lanes[t].first = p->strided ? o->rank : t * each;
        lanes[t].step = p->strided ? o->ranks : 1;
        lanes[t].buf = must_alloc(o->block);
        lanes[t].random = 0x9e3779b97f4a7c15u * (uint64_t)(1 + t + o->rank * MAX_THREADS);
        if (p->random && p->write) {
            lanes[t].rewritten = must_alloc((size_t)each);
            memset(lanes[t].rewritten, 0, (size_t)each);
        }
    }
}

static void lanes_free(struct lane *lanes, const struct options *o)
{
    for (int t = 0; t < o->threads; t++) {
        free(lanes[t].buf);
        free(lanes[t].rewritten);
    }
}

static void measure(const struct plan *p, const struct options *o, unsigned pass)
{
    struct lane lanes[MAX_THREADS];
    size_t samples = p->random ? (size_t)o->threads * (size_t)o->count : 0;
    uint32_t *latencies = samples ? must_alloc(samples * sizeof(uint32_t)) : NULL;
    int fd = o->api->open(o->path, O_RDWR | (p->creates || p->prepares ? O_CREAT : 0));
    lanes_make(lanes, p, o, fd, pass);
    for (int t = 0; samples && t < o->threads; t++)
        lanes[t].latencies = latencies + (long)t * o->count;

    struct result r = {.op = p->op, .latencies = latencies};
    run_lanes(lanes, &r.span, o);
    if (p->creates)
        o->api->close(fd);
    span_end(&r.span, o);

    if (p->creates)
        fd = o->api->open(o->path, O_RDWR);
    for (int t = 0; t < o->threads; t++) {
        lanes[t].fd = fd;
        if (p->random) { /* without gaps: a lane may have done less than it was asked to */
            memmove(latencies + r.latency_count, lanes[t].latencies, lanes[t].ops * sizeof(uint32_t));
            r.latency_count += lanes[t].ops;
        }
        r.ops += lanes[t].ops;
        if (!p->keeps)
            verify(&lanes[t]);
    }
    o->api->close(fd);
    r.bytes = r.ops * o->block;
    report(o, &r);
    meet(o);
    if (!p->keeps && (o->rank == 0 || !p->strided))
        o->api->unlink(o->path);
    lanes_free(lanes, o);
    free(latencies);
}

bool data_run(const struct options *o)
{
    for (size_t i = 0; i < sizeof(plans) / sizeof(plans[0]); i++)
        if (strcmp(plans[i].op, o->op) == 0) {
            /* A file that is there already has had one pass over it. What is made again has other bytes than before. */
            unsigned pass = !plans[i].creates && !plans[i].prepares;
            for (long k = 0; k < o->repeats; k++)
                measure(&plans[i], o, pass + (unsigned)k);
            return true;
        }
    return false;
}
