/*
 * What demo_store.c and demo_verify.c share: walking a local tree, a clock around BenchFS calls, a progress bar.
 */
#ifndef DEMO_COMMON_H
#define DEMO_COMMON_H

#include <stdint.h>
#include <sys/stat.h>

enum {
    DEMO_PATH_SIZE = 4096,
    DEMO_BUFFER_SIZE = 4 << 20
};

/* What was moved and how long BenchFS took for it. */
struct demo_count {
    uint64_t files, directories, symlinks, skipped;
    uint64_t bytes;
    uint64_t calls;       /* of BenchFS */
    double seconds;       /* inside these calls */
    uint64_t large_bytes; /* of transfers of at least DEMO_LARGE bytes */
    double large_seconds; /* and the time of these */
    double started;       /* wall clock */
    uint64_t total;       /* bytes to move, for the progress bar; 0 = no bar */
    const char *what;     /* its label */
    double drawn;         /* when the bar was drawn last */
};

/* Seconds on a clock that only goes forward. */
double demo_now(void);

/* Transfers of at least so many bytes show bandwidth, smaller ones the time of a call. */
enum {
    DEMO_LARGE = 1 << 20
};

/* Counts a call of BenchFS and its time; the value is the call's own. */
#define DEMO_CALL(count, call)                        \
    __extension__({                                   \
        double demo_begin_ = demo_now();              \
        __auto_type demo_result_ = (call);            \
        (count)->seconds += demo_now() - demo_begin_; \
        (count)->calls++;                             \
        demo_result_;                                 \
    })

/*
 * Called for each thing in a tree, a directory before and (with after != 0) after what is in it. relative is its path below the
 * top, "" for the top itself. A return value other than 0 ends the walk.
 */
typedef int demo_visit(void *context, const char *path, const char *relative, const struct stat *st, int after);

/* Walks a local tree in an order that does not change. Returns 0, what a visit returned, or -1 after a message. */
int demo_walk(const char *top, demo_visit *visit, void *context);

/* Bytes in the regular files of a local tree. */
uint64_t demo_tree_bytes(const char *top);

/* dir + "/" + relative; -1 after a message if that is too long. */
int demo_join(char out[DEMO_PATH_SIZE], const char *dir, const char *relative);

/* Sets up the count, with a bar if standard error is a terminal. */
void demo_begin(struct demo_count *count, const char *what, uint64_t total);

/* Counts bytes that one call has moved in so many seconds. */
void demo_moved(struct demo_count *count, uint64_t bytes, double seconds);

/* Ends the bar and prints bandwidth and calls per second. */
void demo_report(struct demo_count *count, const char *did);

#endif
