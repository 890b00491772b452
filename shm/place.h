/*
 * The client half of places, records and pins: PROTOCOL.md, sections 3 to 5, whose step names (U1, V1, P1, …) the comments
 * use. It only touches the memory that it is given and the caller's buffers: no allocation, no threads, no signals, no state
 * of its own. Any thread may call any function at any time while the view and its mappings exist.
 *
 * Shared words are plain integers that are accessed by the compiler's __atomic built-ins only.
 */
#ifndef BENCHFS_SHM_PLACE_H
#define BENCHFS_SHM_PLACE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    BFS_SLOTS = 1 << 18,     /* of a board: chunks of a shard that have a place at one time */
    BFS_ANNOUNCEMENTS = 128, /* of an area: threads of a client that use places of a shard at one time */
    BFS_PIN_LINES = 128,     /* of an area; a line has BFS_LINE_PINS pins */
    BFS_LINE_PINS = 8,
    BFS_RECORDS = 1 << 16,
    BFS_RECORD_WORDS = 15,
    BFS_NAMES = 4096, /* versions of names */
};

#define BFS_BOARD_MAGIC 0x326472616f424642 /* "BFBoard2" */

/* File "board" of a shard's directory. Written by the shard; clients map it read-only. */
struct bfs_board {
    uint64_t magic;
    uint64_t unused_0[7];
    uint64_t incarnation; /* of the daemon in charge; 0: none */
    uint64_t unused_1[503];
    uint64_t slot[BFS_SLOTS]; /* sequence number above, present bytes below (32 bits each) */
};

/* File "records". Written by the shard; clients map it read-only. */
struct bfs_record {
    uint64_t head; /* tag of the incarnation above, count below; the count is odd while the words change */
    uint64_t word[BFS_RECORD_WORDS];
};

struct bfs_records {
    struct bfs_record record[BFS_RECORDS];
    uint64_t name[BFS_NAMES];
};

/* A file of directory "clients", one a client. The daemon writes the owner before the client sees the file; the client the rest. */
struct bfs_area {
    uint64_t pid;   /* of the owner; 0: the file is not complete */
    uint64_t start; /* its start time, as in /proc/PID/stat */
    uint64_t unused_0[6];
    uint64_t used; /* announcements that were ever in use; grows only */
    uint64_t unused_1[7];
    struct {
        uint64_t run; /* bfs_run: the pages about to be touched; 0: none */
        uint64_t unused[7];
    } announced[BFS_ANNOUNCEMENTS];
    uint64_t
        pin[BFS_PIN_LINES]
           [BFS_LINE_PINS]; /* fact that is held; 0: free. A fact stands in the line of its number modulo the lines */
};

/* What a client has mapped of one shard. */
struct bfs_view {
    const struct bfs_board *board;
    const struct bfs_records *records;
    struct bfs_area *area;
    uint64_t incarnation; /* that told the places; or BFS_REVOKED. Changed by bfs_revoke only */
};

/* No incarnation: those are random, and 0 is a board without a daemon. */
#define BFS_REVOKED UINT64_MAX

/* A place as the shard told it. It never changes; whether it holds, the board tells. */
struct bfs_place {
    uint64_t run;    /* bfs_run of its pages */
    uint64_t offset; /* of the chunk's first byte in the segment */
    uint32_t slot, sequence;
    uint32_t bytes; /* capacity */
};

/* The announcement of 2^order pages from a page on; pages are numbered through all segments. */
static inline uint64_t bfs_run(uint32_t page, uint8_t order)
{
    return ((uint64_t)page + 1) << 8 | order;
}

enum bfs_used {
    BFS_VOID = -1,   /* the place does not hold: ask the shard */
    BFS_ABSENT = -2, /* it holds, and not all of the range is there */
    BFS_BUSY = -3,   /* all announcements are in use */
    BFS_FAILED = -4, /* a system call on the segment file failed */
};

/*
 * The uses. memory is where the segment is mapped; without a mapping (NULL), fd is its file. All return bytes moved, or an
 * enum bfs_used, after which the caller asks the shard by message; a range of a write may have changed all the same.
 */

/* bfs_read copies what is present of [off, off + n) of the chunk to a buffer. */
int64_t bfs_read(struct bfs_view *view, const struct bfs_place *place, const uint8_t *memory, int fd, uint8_t *to,
                 uint32_t n, uint32_t off);

/* bfs_overwrite copies over bytes that are present. Success means that the bytes are in the chunk, wherever that moves. */
int64_t bfs_overwrite(struct bfs_view *view, const struct bfs_place *place, uint8_t *memory, int fd,
                      const uint8_t *from, uint32_t n, uint32_t off);

/* bfs_fill copies into room for which a write was begun by message. Whether the bytes count, the end of that write tells. */
int64_t bfs_fill(struct bfs_view *view, const struct bfs_place *place, uint8_t *memory, int fd, const uint8_t *from,
                 uint32_t n, uint32_t off);

/* bfs_valid: the daemon that told the places is in charge. bfs_revoke: it is known not to be. */
int bfs_valid(struct bfs_view *view);
void bfs_revoke(struct bfs_view *view);

/* bfs_shows is a hint whether the record with that number shows a fact (its first word). */
int bfs_shows(struct bfs_view *view, uint64_t number, uint64_t first);

/* bfs_record reads the record with that number in one state; 0: it shows nothing. words[0] tells which fact it is of. */
int bfs_record(struct bfs_view *view, uint64_t number, uint64_t words[BFS_RECORD_WORDS]);

/* bfs_name_version is the version of a name now; 0: nothing that was told counts any more. */
int bfs_name_version(struct bfs_view *view, uint64_t hash, uint64_t *version);

/* bfs_pin holds on to a fact (not 0); it counts if the fact's record shows it afterwards. NULL: there is no room. */
uint64_t *bfs_pin(struct bfs_view *view, uint64_t fact);

/* bfs_unpin lets go. The fact's record is to be looked at afterwards (P3). */
void bfs_unpin(uint64_t *pin);

#ifdef __cplusplus
}
#endif

#endif
