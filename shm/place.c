#include "place.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#define LOAD(p) __atomic_load_n((p), __ATOMIC_RELAXED)
#define LOAD_ACQUIRE(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)

/* swapped_in replaces a word that is 0. It is one side of Dekker's pattern: no later load passes it [F6, F11]. */
static int swapped_in(uint64_t *word, uint64_t value)
{
    uint64_t none = 0;
    if (!__atomic_compare_exchange_n(word, &none, value, 0, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
        return 0;
#if !defined(__x86_64__) /* there the locked instruction is the fence */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
    return 1;
}

/* swapped_out makes a word 0, after all that was stored and before all that is loaded [F7, F12]. */
static void swapped_out(uint64_t *word)
{
    __atomic_exchange_n(word, 0, __ATOMIC_SEQ_CST);
#if !defined(__x86_64__)
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

/* first_choice is which of n announcements a thread looks at first: threads have their stacks at different places. */
static uint32_t first_choice(uint32_t n)
{
    uint32_t hash = (uint32_t)((uintptr_t)__builtin_frame_address(0) >> 12) * 0x9e3779b1u;
    return (uint32_t)((uint64_t)hash * n >> 32);
}

/* announce is U1: the announcement that it took, or NULL. */
static uint64_t *announce(struct bfs_area *area, uint64_t run)
{
    for (;;) {
        uint64_t used = LOAD(&area->used);
        if (used > BFS_ANNOUNCEMENTS)
            used = BFS_ANNOUNCEMENTS;
        uint32_t i = first_choice((uint32_t)used);
        for (uint64_t tried = 0; tried < used; tried++) {
            uint64_t *word = &area->announced[i].run;
            if (LOAD(word) == 0 && swapped_in(word, run))
                return word;
            if (++i == used)
                i = 0;
        }
        if (used == BFS_ANNOUNCEMENTS)
            return NULL;
        /* A thread that finds another's increment uses that: what counts is that used covers every announcement in use. */
        __atomic_compare_exchange_n(&area->used, &used, used + 1, 0, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
    }
}

/* leave is U4 after a read. */
static void leave(uint64_t *announcement)
{
    __atomic_store_n(announcement, 0, __ATOMIC_RELEASE);
}

int bfs_valid(struct bfs_view *view)
{
    return LOAD_ACQUIRE(&view->board->incarnation) == LOAD(&view->incarnation);
}

void bfs_revoke(struct bfs_view *view)
{
    __atomic_store_n(&view->incarnation, BFS_REVOKED, __ATOMIC_SEQ_CST);
}

/* present is U2 and the look of U5: the present bytes of a place, or BFS_VOID. */
static int64_t present(struct bfs_view *view, const struct bfs_place *place)
{
    if (place->slot >= BFS_SLOTS)
        return BFS_VOID;
    uint64_t word = LOAD_ACQUIRE(&view->board->slot[place->slot]);
    /* Then the incarnation: that it is still the old one says that the old daemon wrote the word. */
    return word >> 32 == place->sequence && bfs_valid(view) ? (int64_t)(uint32_t)word : BFS_VOID;
}

/*
 * Copying. The C library's memcpy uses the processor's string instruction from some kilobytes on, which is the best for data that goes far away, and
 * ten times slower than vector moves where the destination begins a little behind the source, as addresses in a page go
 * (https://sourceware.org/bugzilla/show_bug.cgi?id=30994): an application's buffer comes as malloc gives it. So the choice is made here. Hot bytes to a
 * buffer at 16 behind a page, two-core EPYC: 4 KiB 1 420 -> 76 ns, 16 KiB 5 450 -> 240 ns; at a page 53 -> 42 and 182 -> 175 ns.
 */
enum {
    STRING_OUT = 16 << 10, /* from so many bytes on the string instruction is the better one: out of a segment, */
    STRING_IN = 4 << 10,   /* and into one */
};

#if defined(__x86_64__)
enum {
    STRING_IS_FAST = 1,
    VECTORS = 2,
    KNOWN = 4
};

/* processor is what it can: STRING_IS_FAST (ERMS), VECTORS (AVX). */
static int processor(void)
{
    static int found; /* 0, or with KNOWN; every thread finds the same */
    int can = LOAD(&found);
    if (can == 0) {
        unsigned a, b = 0, c, d;
        can = KNOWN;
        if (__get_cpuid_count(7, 0, &a, &b, &c, &d) && (b >> 9 & 1))
            can |= STRING_IS_FAST;
        if (__builtin_cpu_supports("avx"))
            can |= VECTORS;
        __atomic_store_n(&found, can, __ATOMIC_RELAXED);
    }
    return can;
}

/* aliases: see above. Less than a cache line behind is what counts. */
static int aliases(const void *to, const void *from)
{
    uintptr_t behind = ((uintptr_t)to - (uintptr_t)from) % 4096;
    return 0 < behind && behind < 64;
}

/* copy_vectors copies as many whole 128 bytes as there are, and returns how many bytes that were. */
__attribute__((target("avx"))) static uint32_t copy_vectors(uint8_t *to, const uint8_t *from, uint32_t n)
{
    uint32_t done = 0;
    for (; n - done >= 128; done += 128) {
        __m256i v0 = _mm256_loadu_si256((const __m256i_u *)(from + done));
        __m256i v1 = _mm256_loadu_si256((const __m256i_u *)(from + done + 32));
        __m256i v2 = _mm256_loadu_si256((const __m256i_u *)(from + done + 64));
        __m256i v3 = _mm256_loadu_si256((const __m256i_u *)(from + done + 96));
        _mm256_storeu_si256((__m256i_u *)(to + done), v0);
        _mm256_storeu_si256((__m256i_u *)(to + done + 32), v1);
        _mm256_storeu_si256((__m256i_u *)(to + done + 64), v2);
        _mm256_storeu_si256((__m256i_u *)(to + done + 96), v3);
    }
    return done;
}
#endif

static void copy(uint8_t *to, const uint8_t *from, uint32_t n, uint32_t string_from)
{
    uint32_t done = 0;
#if defined(__x86_64__)
    int can = processor();
    if (n >= string_from && (can & STRING_IS_FAST) && !aliases(to, from)) {
        size_t left = n;
        __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(left) : : "memory");
        return;
    }
    if (can & VECTORS)
        done = copy_vectors(to, from, n);
#else
    (void)string_from;
#endif
    memcpy(to + done, from + done, n - done);
}

/* read_file reads n bytes of a segment file; 0: it could not. */
static int read_file(int fd, uint8_t *to, size_t n, uint64_t at)
{
    while (n > 0) {
        ssize_t got = pread(fd, to, n, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return 0;
        to += got, at += (uint64_t)got, n -= (size_t)got;
    }
    return 1;
}

static int write_file(int fd, const uint8_t *from, size_t n, uint64_t at)
{
    while (n > 0) {
        ssize_t put = pwrite(fd, from, n, (off_t)at);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return 0;
        from += put, at += (uint64_t)put, n -= (size_t)put;
    }
    return 1;
}

/* put copies into a place. */
static int put(const struct bfs_place *place, uint8_t *memory, int fd, const uint8_t *from, uint32_t n, uint32_t off)
{
    if (memory == NULL)
        return write_file(fd, from, n, place->offset + off);
    copy(memory + place->offset + off, from, n, STRING_IN);
    return 1;
}

int64_t bfs_read(struct bfs_view *view, const struct bfs_place *place, const uint8_t *memory, int fd, uint8_t *to,
                 uint32_t n, uint32_t off)
{
    uint64_t *announcement = announce(view->area, place->run);
    if (announcement == NULL)
        return BFS_BUSY;
    int64_t have = present(view, place);
    if (have < 0 || have > place->bytes) {
        leave(announcement);
        return BFS_VOID;
    }
    uint32_t got = have > off ? (uint32_t)have - off : 0;
    if (got > n)
        got = n;
    int done = 1;
    if (memory != NULL)
        copy(to, memory + place->offset + off, got, STRING_OUT);
    else
        done = read_file(fd, to, got, place->offset + off);
    leave(announcement);
    return done ? (int64_t)got : BFS_FAILED;
}

int64_t bfs_overwrite(struct bfs_view *view, const struct bfs_place *place, uint8_t *memory, int fd,
                      const uint8_t *from, uint32_t n, uint32_t off)
{
    uint64_t *announcement = announce(view->area, place->run);
    if (announcement == NULL)
        return BFS_BUSY;
    int64_t have = present(view, place);
    if (have < 0 || have > place->bytes || (uint64_t)off + n > (uint64_t)have) {
        leave(announcement);
        return have < 0 ? BFS_VOID : BFS_ABSENT;
    }
    int done = put(place, memory, fd, from, n, off);
    swapped_out(announcement); /* U4 [F7] */
    if (!done)
        return BFS_FAILED;
    return present(view, place) < 0 ? BFS_VOID : (int64_t)n; /* U5 */
}

int64_t bfs_fill(struct bfs_view *view, const struct bfs_place *place, uint8_t *memory, int fd, const uint8_t *from,
                 uint32_t n, uint32_t off)
{
    if ((uint64_t)off + n > place->bytes)
        return BFS_ABSENT;
    uint64_t *announcement = announce(view->area, place->run);
    if (announcement == NULL)
        return BFS_BUSY;
    int64_t result = BFS_VOID;
    if (present(view, place) >= 0)
        result = put(place, memory, fd, from, n, off) ? (int64_t)n : BFS_FAILED;
    swapped_out(announcement);
    return result;
}

int bfs_shows(struct bfs_view *view, uint64_t number, uint64_t first)
{
    const struct bfs_record *r = &view->records->record[number % BFS_RECORDS];
    return LOAD(&r->head) >> 32 == (uint32_t)LOAD(&view->incarnation) && LOAD(&r->word[0]) == first;
}

int bfs_record(struct bfs_view *view, uint64_t number, uint64_t words[BFS_RECORD_WORDS])
{
    const struct bfs_record *r = &view->records->record[number % BFS_RECORDS];
    uint32_t tag = (uint32_t)LOAD(&view->incarnation);
    for (int tries = 0; tries < 1000; tries++) {
        uint64_t before = LOAD_ACQUIRE(&r->head); /* V1 */
        if (before >> 32 != tag)
            return 0;
        if ((before & 1) == 0) {
            for (int i = 0; i < BFS_RECORD_WORDS; i++) /* V2 */
                words[i] = LOAD(&r->word[i]);
            __atomic_thread_fence(__ATOMIC_ACQUIRE); /* V3 */
            if (LOAD(&r->head) == before)
                return bfs_valid(view);
        }
        if (tries > 100) /* the shard has lost its core in the middle of a change */
            sched_yield();
    }
    return 0;
}

int bfs_name_version(struct bfs_view *view, uint64_t hash, uint64_t *version)
{
    *version = LOAD_ACQUIRE(&view->records->name[hash % BFS_NAMES]);
    return bfs_valid(view);
}

uint64_t *bfs_pin(struct bfs_view *view, uint64_t fact)
{
    uint64_t *line = view->area->pin[fact % BFS_PIN_LINES];
    for (int i = 0; i < BFS_LINE_PINS; i++)
        if (LOAD(&line[i]) == 0 && swapped_in(&line[i], fact)) /* P1 [F11] */
            return &line[i];
    return NULL;
}

void bfs_unpin(uint64_t *pin)
{
    swapped_out(pin); /* P3 [F12] */
}
