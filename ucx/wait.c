/* Waiting without wasting cores, and knowing whether a process on this host is dead. */
#define _GNU_SOURCE
#include "bfs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

void bfs_waiter_init(bfs_waiter *waiter, uint32_t spin_polls, uint32_t yield_polls)
{
    memset(waiter, 0, sizeof(*waiter));
    waiter->spin_max = waiter->spin_now = spin_polls;
    waiter->yield_max                   = yield_polls;
    waiter->move_at                     = BFS_MOVE_FIRST;
}

/*
 * Where somebody computes, a yield costs his whole turn, milliseconds. A client polls for as long as an answer may take, in its own
 * turn, and sleeps then; a shard sleeps soon, and has itself woken at once (slice.c). Now and then a yield tells whether it is still so.
 *
 * Many that poll look like somebody who computes, and would be right about each other for ever: the shard does not come to answer while they
 * poll. So a client whose polls were in vain polls half as long the next time, and one wait in sixteen it tries them all.
 */
static int bfs_waiter_beside_work(bfs_waiter *waiter, uint32_t idle)
{
    if (idle == 0) {
        if (!waiter->in_vain)
            waiter->work_spin = waiter->spin_max;
        waiter->in_vain = 0;
    }
    uint32_t spin = waiter->spin_max;
    if (waiter->prompt)
        spin = spin < BFS_SPIN_PROMPT ? spin : BFS_SPIN_PROMPT;
    else if (waiter->beside_work % BFS_WORK_TRY != 0)
        spin = spin < waiter->work_spin ? spin : waiter->work_spin;
    if (idle < spin)
        return BFS_SPIN;
    if (idle == spin) {
        waiter->in_vain = 1;
        if (waiter->work_spin > BFS_SPIN_WORK)
            waiter->work_spin /= 2;
        if (--waiter->beside_work == 0) {
            waiter->turns_lost = BFS_TURNS_LOST - 2 * BFS_TURN_LOST; /* two more are enough to go on like this */
            if (waiter->prompt)
                bfs_short_turns(0);
        }
    }
    return BFS_SLEEP;
}

int bfs_waiter_next(bfs_waiter *waiter)
{
    uint32_t idle = waiter->idle++;
    if (waiter->beside_work > 0)
        return bfs_waiter_beside_work(waiter, idle);
    if (idle < waiter->spin_now)
        return BFS_SPIN;
    return idle - waiter->spin_now < waiter->yield_max ? BFS_YIELD : BFS_SLEEP;
}

/* The yield gave the core to somebody else. A shard does not stay where that is always so. */
static void bfs_core_shared(bfs_waiter *waiter)
{
    if (++waiter->shared < waiter->move_at || !waiter->prompt)
        return;
    int      moved = bfs_move_on();
    uint32_t most  = moved ? BFS_MOVE_LAST : BFS_MOVE_CHECK;
    waiter->moves += (uint64_t)moved;
    waiter->shared = 0;
    if (waiter->move_at < most)
        waiter->move_at *= 2;
}

/*
 * What a yield costs tells whether somebody else wants this core. Where most yields are dear, there are more pollers than
 * cores, and spinning only keeps the others from answering: the polls before the first yield become few. A pair of
 * processes alone on its cores, where a yield now and then meets a passer-by, keeps its latency.
 */
int64_t bfs_yield(bfs_waiter *waiter)
{
    int64_t before = bfs_now();
    sched_yield();
    int64_t after = bfs_now(), took = after - before;
    waiter->yields++;
    if (took > BFS_YIELD_WORK_NS)
        waiter->turns_lost += BFS_TURN_LOST;
    else if (waiter->turns_lost > 0)
        waiter->turns_lost--;
    if (waiter->turns_lost >= BFS_TURNS_LOST) {
        waiter->turns_lost  = 0;
        waiter->beside_work = BFS_WORK_WAITS;
        waiter->work_spin   = waiter->spin_max;
        if (waiter->prompt)
            bfs_short_turns(1);
    }
    if (took > BFS_YIELD_DEAR_NS) {
        uint32_t more = took > BFS_YIELD_WORK_NS ? BFS_CROWD_MOST / 2 : 2;
        waiter->crowd = waiter->crowd + more < BFS_CROWD_MOST ? waiter->crowd + more : BFS_CROWD_MOST;
        bfs_core_shared(waiter);
    } else {
        waiter->crowd -= waiter->crowd > 0;
        waiter->shared  = 0;
        waiter->move_at = BFS_MOVE_FIRST;
    }
    uint32_t least   = waiter->spin_max < BFS_SPIN_MIN ? waiter->spin_max : BFS_SPIN_MIN;
    waiter->spin_now = waiter->crowd < BFS_CROWD_MOST / 2 ? waiter->spin_max : least;
    return after;
}

int64_t bfs_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static struct timespec bfs_timespec(int64_t ns)
{
    if (ns < 0)
        ns = 0;
    return (struct timespec){.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
}

void bfs_futex_wait(uint32_t *word, uint32_t expected, int64_t timeout_ns)
{
    struct timespec t = bfs_timespec(timeout_ns);
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, &t, NULL, 0);
}

void bfs_futex_wake(uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

int bfs_poll_fds(int fd, int other, int64_t timeout_ns)
{
    struct pollfd   p[2] = {{.fd = fd, .events = POLLIN}, {.fd = other, .events = POLLIN}};
    struct timespec t    = bfs_timespec(timeout_ns);
    return ppoll(p, 2, timeout_ns < 0 ? NULL : &t, NULL) > 0;
}

int bfs_poll_fd(int fd, int64_t timeout_ns)
{
    return bfs_poll_fds(fd, -1, timeout_ns);
}

/* Reads a small file of /proc; → bytes read, 0 on any failure. EINTR is Go's preemption signal. */
static size_t bfs_read_file(const char *path, char *buffer, size_t size)
{
    int fd;
    do
        fd = open(path, O_RDONLY | O_CLOEXEC);
    while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return 0;
    ssize_t got;
    do
        got = read(fd, buffer, size - 1);
    while (got < 0 && errno == EINTR);
    close(fd);
    if (got < 0)
        got = 0;
    buffer[got] = 0;
    return (size_t)got;
}

/* State letter and start time (clock ticks since boot) of a process: fields 3 and 22 of /proc/PID/stat. */
static int bfs_proc_stat(uint32_t pid, char *state, uint64_t *start)
{
    char path[32], text[1024];
    snprintf(path, sizeof(path), "/proc/%u/stat", pid);
    errno = 0;
    if (bfs_read_file(path, text, sizeof(text)) == 0)
        return errno == ENOENT || errno == ESRCH ? 0 : -1;
    char *p = strrchr(text, ')'); /* the name may contain anything */
    if (p == NULL || p[1] != ' ')
        return -1;
    p += 2;
    *state = *p;
    for (int field = 3; field < 22; field++) {
        p = strchr(p, ' ');
        if (p == NULL)
            return -1;
        p++;
    }
    *start = strtoull(p, NULL, 10);
    return 1;
}

static void bfs_boot_id(uint8_t boot[16])
{
    char     text[64];
    unsigned nibbles = 0;
    memset(boot, 0, 16);
    bfs_read_file("/proc/sys/kernel/random/boot_id", text, sizeof(text));
    for (const char *p = text; *p != 0 && nibbles < 32; p++) {
        int digit = *p >= '0' && *p <= '9' ? *p - '0' : *p >= 'a' && *p <= 'f' ? *p - 'a' + 10 : -1;
        if (digit < 0)
            continue;
        boot[nibbles / 2] |= (uint8_t)(digit << (nibbles % 2 ? 0 : 4));
        nibbles++;
    }
}

void bfs_identity_self(bfs_identity *id)
{
    char        state;
    struct stat st;
    memset(id, 0, sizeof(*id));
    id->magic = BFS_IDENTITY_MAGIC;
    id->pid   = (uint32_t)getpid();
    bfs_proc_stat(id->pid, &state, &id->pid_start);
    if (stat("/proc/self/ns/pid", &st) == 0)
        id->pid_namespace = st.st_ino;
    bfs_boot_id(id->boot);
}

int bfs_identity_visible(const bfs_identity *id)
{
    bfs_identity self;
    bfs_identity_self(&self);
    return id->pid != 0 && id->pid_start != 0 && self.pid_namespace != 0 && id->pid_namespace == self.pid_namespace &&
           memcmp(id->boot, self.boot, sizeof(self.boot)) == 0;
}

int bfs_identity_dead(const bfs_identity *id)
{
    char     state;
    uint64_t start;
    int      known = bfs_proc_stat(id->pid, &state, &start);
    if (known < 0)
        return 0;
    return known == 0 || state == 'Z' || state == 'X' || start != id->pid_start;
}
