/*
 * The client half of PROTOCOL.md, sections 1.1 and 2, and the layout of the memory that both halves share: one door a daemon, lanes
 * at its shards, calls over a lane.
 *
 * Nothing here starts a thread, allocates memory, or touches signals; what a function works on is memory of its caller. A near_door may be
 * used by several threads, a near_lane by one at a time. After fork, the child must use neither: it opens a door of its own.
 * Functions return 0 or a positive errno, where nothing else is said.
 */
#ifndef NEAR_H
#define NEAR_H

#include <stddef.h>
#include <stdint.h>

#pragma GCC visibility push(hidden)

enum {
    NEAR_SLOTS = 64,         /* calls in flight on one lane */
    NEAR_FRAME_BYTES = 1024, /* header and body of a message: rpc.HeaderBytes + rpc.MaxBody */
    NEAR_LANES = 4096,       /* lanes of one shard */
    NEAR_BUFFER_MOST = 1 << 30,
    NEAR_CROWD_NS =
        500000, /* a waiter that lost its core while it polled sleeps at once for so long; twice as long each time that it is still so */
    NEAR_NAP_NS = 20000000 /* a sleeping caller looks this often whether the daemon still lives */
};

#define NEAR_DOOR_MOST_NS 60000000000 /* the longest that a question at the door takes */

/* ---- shared memory ---- */

/* Each part begins with its cache line, so that a short message is three of them. */
typedef struct near_slot {
    /* written by the client */
    uint32_t frame_bytes;
    uint32_t out_at; /* payload of the request in the buffer; its length is in the frame */
    uint32_t in_at;  /* room for the payload of the reply */
    uint32_t in_bytes;
    uint8_t frame[NEAR_FRAME_BYTES];
    uint8_t pad[48];
    /* written by the shard */
    uint32_t reply_bytes;
    uint32_t received; /* payload of the reply at in_at */
    uint64_t reserved;
    uint8_t reply[NEAR_FRAME_BYTES];
    uint8_t reply_pad[48];
} __attribute__((aligned(64))) near_slot;

typedef struct near_lane_memory {
    uint32_t request[NEAR_SLOTS]; /* rings: (lap + 1) << 8 | slot */
    uint32_t reply[NEAR_SLOTS];
    uint32_t waits;
    uint32_t core; /* core of the thread that made the last call + 1; a hint, written by the client */
    uint8_t pad[56];
    near_slot slot[NEAR_SLOTS];
} near_lane_memory;

typedef struct near_bell_memory {
    uint32_t asleep;
    uint32_t core; /* core of the shard's thread + 1; a hint, written by the shard */
    uint8_t pad[56];
    uint64_t bits[NEAR_LANES / 64];
} near_bell_memory;

/* What entry p of a ring holds once it is written. */
static inline uint32_t near_entry(uint32_t position, uint32_t slot)
{
    return (position / NEAR_SLOTS + 1) << 8 | slot;
}

/* ---- the door ---- */

enum {
    NEAR_DOOR_MAGIC = 0x524f4f44, /* "DOOR" */
    NEAR_DOOR_VERSION = 1
};

enum {
    NEAR_ASK_JOIN = 1,   /* incarnation → nothing. The first message of a connection */
    NEAR_ASK_LANE = 2,   /* shard → number; lane, bell, wake descriptor */
    NEAR_ASK_BUFFER = 3, /* shard, number of the lane, bytes → bytes; buffer */
    NEAR_ASK_LEAVE = 4,  /* shard, number of the lane; there is no answer */
    NEAR_ASK_MEMORY = 5, /* shard, client → bytes of a segment, flags; board, records, area */
    NEAR_ASK_SEGMENT = 6 /* shard, number of the segment, flags → the segment */
};

typedef struct near_ask {
    uint32_t magic, version, what, shard, number, flags;
    uint64_t bytes, incarnation, client;
} near_ask;

enum {
    NEAR_WRITE = 1, /* of a segment: for writing as well */
    NEAR_HUGE = 2   /* segments are made of huge pages */
};

enum {
    NEAR_ANSWER_FDS = 3
};

typedef struct near_answer {
    uint32_t magic, error, number, fds;
    uint64_t bytes;
    uint32_t flags, reserved;
} near_answer;

typedef struct near_door {
    int fd;        /* the owner may move it elsewhere, and closes it */
    uint32_t lock; /* futex: one question at a time */
} near_door;

int near_door_open(near_door *door, const char *path, uint64_t incarnation, int64_t budget_ns);
int near_door_alive(const near_door *door); /* 1: the daemon has not ended the connection */
void near_door_shut(near_door *door);       /* the daemon forgets this client; its lanes are void */

/* The memory of a shard: descriptors of its board, its records, and the client's area there. The area is the client's until the process ends, or
 * it has said good-bye (PROTOCOL.md, 1.1). */
int near_door_memory(near_door *door, uint32_t shard, uint64_t client, int fds[3], uint64_t *segment_bytes,
                     uint32_t *flags, int64_t budget_ns);
int near_door_segment(near_door *door, uint32_t shard, uint32_t number, uint32_t flags, int *fd, int64_t budget_ns);

/* ---- lanes ---- */

enum {
    NEAR_OK,
    NEAR_TIMEOUT,  /* no reply by the deadline */
    NEAR_LOST,     /* the daemon is gone */
    NEAR_TOO_LONG, /* a payload is longer than the room for it */
    NEAR_BAD_REPLY
};

/* One message and its reply. The first part is the caller's to fill, the second near_run's. */
typedef struct near_call {
    struct near_call *next; /* calls of one near_run */
    const void *out;
    void *in;
    uint64_t out_bytes, in_bytes;
    uint32_t frame_bytes;

    uint32_t reply_bytes;
    uint64_t received;
    int32_t outcome;
    uint32_t reserved;
    uint8_t frame[NEAR_FRAME_BYTES];
    uint8_t reply[NEAR_FRAME_BYTES];
} near_call;

typedef struct near_range {
    uint32_t at, bytes;
} near_range;

/* This process's side of a lane. */
typedef struct near_lane {
    near_lane_memory *memory;
    near_bell_memory *bell;
    uint8_t *buffer;
    uint64_t buffer_bytes;
    near_door *door;
    uint32_t shard, number;
    int wake;
    uint32_t request_at, reply_at;
    uint64_t busy;               /* slots that the shard has, as bits */
    near_call *call[NEAR_SLOTS]; /* of a busy slot */
    near_range range[NEAR_SLOTS];
    uint32_t stop;  /* atomic; the calls of the run in progress end with NEAR_LOST */
    uint32_t spent; /* a call has ended without its reply: the lane is to be left */

    /* The run in progress. */
    near_call *first, *next; /* next: not posted yet */
    uint32_t pending;
    int64_t deadline;
    int64_t crowded_until, crowd_ns; /* others need the core of the thread that waits */
} near_lane;

/* wake: the shard's wake descriptor, if an earlier lane has brought it, or -1. */
int near_lane_open(near_lane *lane, near_door *door, uint32_t shard, int wake, int64_t budget_ns);
/* Makes room for payloads of so many bytes. No call may be in flight. */
int near_lane_buffer(near_lane *lane, uint64_t bytes, int64_t budget_ns);
void near_lane_leave(near_lane *lane); /* gives a lane up while the door stays open, and closes it; does not wait */
void near_lane_close(near_lane *lane); /* unmaps; the wake descriptor stays */
/* Runs the calls to their end, for at most so long. Afterwards nothing refers to their memory. */
void near_run(near_lane *lane, near_call *first, int64_t budget_ns);
/* The same in two parts, so that calls on several lanes run beside each other. Nothing else is done with the lane in between. */
void near_begin(near_lane *lane, near_call *first, int64_t budget_ns);
void near_end(near_lane *lane);
void near_stop(near_lane *lane); /* ends the run in progress soon; from any thread */

/* ---- both halves ---- */

int64_t near_now(void); /* CLOCK_MONOTONIC, ns */

/* The core that the calling thread runs on, + 1. */
uint32_t near_core(void);
/* How long the calling thread has run: ns. */
int64_t near_cpu(void);

/* Polls the bits of a bell up to so many times; 1: one is set. */
int near_bell_poll(const near_bell_memory *bell, uint32_t words, uint32_t polls);
void near_wake_futex(uint32_t *word);

static inline void near_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield" ::: "memory");
#endif
}

#pragma GCC visibility pop

#endif
