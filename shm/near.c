/* Calls over a lane: PROTOCOL.md, section 2. Steps are named as there. */
#define _GNU_SOURCE
#include "near.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    NEAR_POLLS = 300,      /* polls that a wait begins with: most replies are there by then */
    NEAR_POLL_MORE = 2000, /* further ones, for as long as a wake-up would take */
    NEAR_LOST_NS =
        20000, /* a waiter that loses its core for so long while it polls has others beside it that need the core */
    NEAR_CROWD_MOST_NS = 64000000 /* the longest time for which it sleeps at once then */
};

uint32_t near_core(void)
{
    return (uint32_t)(sched_getcpu() + 1);
}

int64_t near_cpu(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t near_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void near_wake_futex(uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

int near_bell_poll(const near_bell_memory *bell, uint32_t words, uint32_t polls)
{
    for (;;) {
        for (uint32_t i = 0; i < words; i++)
            if (__atomic_load_n(&bell->bits[i], __ATOMIC_RELAXED) != 0)
                return 1;
        if (polls-- <= 1)
            return 0;
        near_relax();
    }
}

/* ---- the buffer ---- */

static int near_overlaps(const near_lane *lane, uint64_t at, uint64_t bytes, uint64_t *end)
{
    for (uint64_t busy = lane->busy; busy != 0; busy &= busy - 1) {
        const near_range *r = &lane->range[__builtin_ctzll(busy)];
        if (r->bytes != 0 && at < (uint64_t)r->at + r->bytes && r->at < at + bytes) {
            *end = (uint64_t)r->at + r->bytes;
            return 1;
        }
    }
    return 0;
}

/* Finds room for the payloads of a call: the lowest range that no call in flight has. → 0, or -1 */
static int near_reserve(const near_lane *lane, uint64_t bytes, near_range *range)
{
    uint64_t at = 0;
    while (at + bytes <= lane->buffer_bytes && near_overlaps(lane, at, bytes, &at))
        ;
    if (at + bytes > lane->buffer_bytes)
        return -1;
    range->at = (uint32_t)at;
    range->bytes = (uint32_t)bytes;
    return 0;
}

static uint64_t near_rounded(uint64_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

/* ---- a call ---- */

/* C1 and C2. → 0, or -1 when the call has to wait for another one to end. */
static int near_post(near_lane *lane, near_call *call)
{
    near_range range = {0, 0};
    uint64_t out = near_rounded(call->out_bytes), in = near_rounded(call->in_bytes);
    if (~lane->busy == 0 || (out + in > 0 && near_reserve(lane, out + in, &range) != 0))
        return -1;
    uint32_t number = (uint32_t)__builtin_ctzll(~lane->busy), core = near_core();
    if (core != lane->memory->core)
        __atomic_store_n(&lane->memory->core, core, __ATOMIC_RELAXED);
    near_slot *slot = &lane->memory->slot[number];
    slot->frame_bytes = call->frame_bytes;
    slot->out_at = range.at;
    slot->in_at = (uint32_t)(range.at + out);
    slot->in_bytes = (uint32_t)call->in_bytes;
    memcpy(slot->frame, call->frame, call->frame_bytes);
    if (call->out_bytes > 0)
        memcpy(lane->buffer + range.at, call->out, call->out_bytes);
    lane->busy |= 1ULL << number;
    lane->call[number] = call;
    lane->range[number] = range;
    uint32_t position = lane->request_at++;
    __atomic_store_n(&lane->memory->request[position % NEAR_SLOTS], near_entry(position, number), __ATOMIC_RELEASE);
    return 0;
}

/* C3 and C4. */
static void near_ring(near_lane *lane)
{
    __atomic_fetch_or(&lane->bell->bits[lane->number / 64], 1ULL << lane->number % 64, __ATOMIC_SEQ_CST); /* F1 */
    if (__atomic_load_n(&lane->bell->asleep, __ATOMIC_SEQ_CST) == 0)
        return;
    uint64_t one = 1;
    while (write(lane->wake, &one, sizeof(one)) < 0 && errno == EINTR)
        ;
}

/* Whether the next reply has been written. */
static int near_ready(const near_lane *lane, uint32_t *entry)
{
    *entry = __atomic_load_n(&lane->memory->reply[lane->reply_at % NEAR_SLOTS], __ATOMIC_ACQUIRE);
    return *entry >> 8 == near_entry(lane->reply_at, 0) >> 8;
}

/* C8: what the shard wrote is checked, and copied out. */
static void near_finish(near_lane *lane, near_call *call, uint32_t number)
{
    near_slot *slot = &lane->memory->slot[number];
    uint32_t bytes = slot->reply_bytes, received = slot->received;
    call->outcome = NEAR_BAD_REPLY;
    if (bytes > NEAR_FRAME_BYTES)
        return;
    memcpy(call->reply, slot->reply, bytes);
    call->reply_bytes = bytes;
    call->received = received;
    call->outcome = received > call->in_bytes ? NEAR_TOO_LONG : NEAR_OK;
    if (call->outcome == NEAR_OK && received > 0)
        memcpy(call->in, lane->buffer + slot->in_at, received);
}

/* Takes the replies that are there; → how many calls of this run have ended. */
static uint32_t near_collect(near_lane *lane)
{
    uint32_t ended = 0, entry;
    while (near_ready(lane, &entry)) {
        lane->reply_at++;
        uint32_t number = entry & 0xff;
        if (number >= NEAR_SLOTS || (lane->busy & 1ULL << number) == 0)
            continue; /* the shard is mad: the call that waits will time out */
        near_finish(lane, lane->call[number], number);
        lane->busy &= ~(1ULL << number);
        ended++;
    }
    return ended;
}

static int near_polls(const near_lane *lane, int polls)
{
    uint32_t entry;
    for (int i = 0; i < polls; i++) {
        if (near_ready(lane, &entry))
            return 1;
        near_relax();
    }
    return 0;
}

/*
 * C5: → 1 when a reply is there. A waiter polls for as long as a wake-up would take, unless that keeps the core from others who need it: from the shard, which
 * says what core it runs on, or from whoever made the waiter lose its core while it polled.
 */
static int near_poll(near_lane *lane)
{
    uint32_t entry, core = near_core();
    if (near_ready(lane, &entry))
        return 1;
    if (core == __atomic_load_n(&lane->bell->core, __ATOMIC_RELAXED))
        return 0;
    if (near_polls(lane, NEAR_POLLS))
        return 1;
    int64_t began = near_now();
    if (began < lane->crowded_until)
        return 0;
    int64_t cpu = near_cpu();
    int ready = near_polls(lane, NEAR_POLL_MORE);
    int64_t ended = near_now();
    if (ended - began - (near_cpu() - cpu) <= NEAR_LOST_NS) {
        lane->crowd_ns = NEAR_CROWD_NS;
        return ready;
    }
    lane->crowded_until = ended + lane->crowd_ns;
    if (lane->crowd_ns < NEAR_CROWD_MOST_NS)
        lane->crowd_ns *= 2;
    return ready;
}

/* C6 and C7. → NEAR_OK: look again */
static int near_sleep(near_lane *lane)
{
    uint32_t *waits = &lane->memory->waits, entry;
    int64_t left = lane->deadline - near_now();
    if (__atomic_load_n(&lane->stop, __ATOMIC_RELAXED))
        return NEAR_LOST;
    if (left <= 0)
        return NEAR_TIMEOUT;
    if (left > NEAR_NAP_NS)
        left = NEAR_NAP_NS;
    struct timespec nap = {.tv_sec = 0, .tv_nsec = left};
    int err = 0;
    __atomic_store_n(waits, 1, __ATOMIC_SEQ_CST); /* F2 */
    if (!near_ready(lane, &entry))
        err = syscall(SYS_futex, waits, FUTEX_WAIT, 1, &nap, NULL, 0) < 0 ? errno : 0;
    __atomic_store_n(waits, 0, __ATOMIC_RELAXED);
    return err == ETIMEDOUT && !near_door_alive(lane->door) ? NEAR_LOST : NEAR_OK;
}

/* Ends the calls of a run that have no reply. The shard may still write it: the lane is of no use any more. */
static void near_abandon(near_lane *lane, int outcome)
{
    lane->spent = 1;
    for (near_call *call = lane->first; call != NULL; call = call->next) {
        if (call->outcome < 0)
            call->outcome = outcome;
    }
}

/* Posts what fits of the calls that are left. */
static void near_post_more(near_lane *lane)
{
    near_call *before = lane->next;
    for (; lane->next != NULL && near_post(lane, lane->next) == 0; lane->next = lane->next->next)
        lane->pending++;
    if (lane->next != before)
        near_ring(lane);
}

void near_begin(near_lane *lane, near_call *first, int64_t budget_ns)
{
    int64_t now = near_now();
    lane->deadline = budget_ns > INT64_MAX - now ? INT64_MAX : now + budget_ns;
    lane->first = lane->next = first;
    lane->pending = 0;
    for (near_call *call = first; call != NULL; call = call->next) {
        call->outcome = -1;
    }
    near_post_more(lane);
}

void near_end(near_lane *lane)
{
    while (lane->pending > 0 || lane->next != NULL) {
        int outcome = lane->pending > 0 ? NEAR_OK : NEAR_TOO_LONG; /* longer than the buffer */
        while (outcome == NEAR_OK && !near_poll(lane))
            outcome = near_sleep(lane);
        if (outcome != NEAR_OK) {
            near_abandon(lane, outcome);
            return;
        }
        lane->pending -= near_collect(lane);
        if (lane->next != NULL)
            near_post_more(lane);
    }
}

void near_run(near_lane *lane, near_call *first, int64_t budget_ns)
{
    near_begin(lane, first, budget_ns);
    near_end(lane);
}

void near_stop(near_lane *lane)
{
    __atomic_store_n(&lane->stop, 1, __ATOMIC_RELAXED);
}
