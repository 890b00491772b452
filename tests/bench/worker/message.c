/*
 * message.c: what a message inside a machine costs at least. Two processes share two words and a payload. The requester writes the number of a
 * block into the first word; the responder copies that block out of memory of its own into the payload, and writes the same into the second
 * word; the requester copies the payload out. Both poll, and give up the core when that takes long.
 */
#define _GNU_SOURCE
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "bench.h"

/* Polls before the first yield, some 4 µs: more than 4 KiB take, and little where others want the core. */
#define POLLS 100

/* The last word of the requester. */
#define END UINT64_MAX

/* Apart, as processors fetch lines of 64 bytes in pairs. */
struct exchange {
    _Alignas(128) _Atomic uint64_t request; /* block and turn; written by the requester */
    _Alignas(128) _Atomic uint64_t reply;   /* written by the responder */
    _Alignas(4096) unsigned char payload[]; /* written by the responder before its reply */
};

struct requester {
    const struct options *o;
    struct exchange *shared;
    pid_t responder;
    long blocks;
    uint64_t turn;
    uint64_t random;
    unsigned char *buf;
};

static void relax(void)
{
#if defined(__x86_64__)
    _mm_pause();
#endif
}

/* Waits until word is no longer old. */
static uint64_t await_change(const _Atomic uint64_t *word, uint64_t old)
{
    uint64_t now;
    for (long polls = 0; (now = atomic_load_explicit(word, memory_order_acquire)) == old; polls++) {
        if (polls < POLLS)
            relax();
        else
            sched_yield();
    }
    return now;
}

static uint64_t word_of(long block, uint64_t turn)
{
    return (uint64_t)block << 16 | (turn & 0xffff);
}

static void respond(struct exchange *shared, const struct options *o)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    unsigned char *memory = must_alloc(o->size);
    for (size_t at = 0; at + o->block <= o->size; at += o->block)
        memcpy(memory + at, pattern_at((off_t)at, 0), o->block);
    uint64_t word = 0;
    atomic_store_explicit(&shared->reply, word_of(0, 1), memory_order_release); /* ready: see requester_start */
    while ((word = await_change(&shared->request, word)) != END) {
        memcpy(shared->payload, memory + (word >> 16) * o->block, o->block);
        atomic_store_explicit(&shared->reply, word, memory_order_release);
    }
    _exit(0);
}

static void requester_start(struct requester *r, const struct options *o)
{
    *r = (struct requester){.o = o, .blocks = (long)(o->size / o->block), .turn = 1, .random = 0x9e3779b97f4a7c15u};
    r->buf = must_alloc(o->block);
    r->shared = mmap(NULL, sizeof(struct exchange) + o->block, PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (r->shared == MAP_FAILED)
        die("no shared memory");
    r->responder = fork();
    if (r->responder < 0)
        die("no process");
    if (r->responder == 0)
        respond(r->shared, o);
    await_change(&r->shared->reply, 0);
}

static void requester_stop(struct requester *r)
{
    atomic_store_explicit(&r->shared->request, END, memory_order_release);
    int status;
    if (waitpid(r->responder, &status, 0) != r->responder || status != 0)
        die("the responder ended with status %d", status);
    munmap(r->shared, sizeof(struct exchange) + r->o->block);
    free(r->buf);
}

static void fetch(struct requester *r, long block)
{
    uint64_t old = atomic_load_explicit(&r->shared->reply, memory_order_relaxed);
    atomic_store_explicit(&r->shared->request, word_of(block, ++r->turn), memory_order_release);
    await_change(&r->shared->reply, old);
    memcpy(r->buf, r->shared->payload, r->o->block);
}

static long draw_block(struct requester *r)
{
    r->random ^= r->random << 13; /* xorshift64 */
    r->random ^= r->random >> 7;
    r->random ^= r->random << 17;
    return (long)(r->random % (uint64_t)r->blocks);
}

/* Fetches blocks at random until there are count, or the time is over. latencies: NULL, or where the ticks of each go. */
static long fetch_many(struct requester *r, long count, uint64_t end, uint32_t *latencies)
{
    long k;
    for (k = 0; k < count && now_ns() < end; k++) {
        long block = draw_block(r);
        uint64_t begin = ticks();
        fetch(r, block);
        uint64_t took = ticks() - begin;
        if (latencies)
            latencies[k] = took > UINT32_MAX ? UINT32_MAX : (uint32_t)took;
        pattern_check_ends(r->buf, r->o->block, (off_t)block * (off_t)r->o->block, 0);
    }
    return k;
}

static void verify_all(struct requester *r)
{
    for (long block = 0; block < r->blocks; block++) {
        fetch(r, block);
        pattern_check(r->buf, r->o->block, (off_t)block * (off_t)r->o->block, 0);
    }
}

bool message_run(const struct options *o)
{
    if (strcmp(o->op, "message") != 0)
        return false;
    struct requester r;
    struct result result = {.op = o->op};
    result.latencies = must_alloc((size_t)o->count * sizeof(uint32_t));
    requester_start(&r, o);
    fetch_many(&r, LONG_MAX, now_ns() + WARM_NS, NULL);
    span_begin(&result.span, o);
    result.ops = (uint64_t)fetch_many(&r, o->count, deadline(o), result.latencies);
    span_end(&result.span, o);
    verify_all(&r);
    requester_stop(&r);
    result.bytes = result.ops * o->block;
    result.latency_count = result.ops;
    report(o, &result);
    free(result.latencies);
    return true;
}
