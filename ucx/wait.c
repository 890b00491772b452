/* The clock, and sleeping in the kernel. */
#define _GNU_SOURCE
#include "bfs.h"

#include <linux/futex.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

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

void bfs_poll_fds(int events, int kick, int64_t timeout_ns)
{
    struct pollfd   p[2] = {{.fd = events, .events = POLLIN}, {.fd = kick, .events = POLLIN}};
    struct timespec t    = bfs_timespec(timeout_ns);
    eventfd_t       count;
    if (ppoll(p, 2, &t, NULL) > 0 && p[1].revents != 0)
        eventfd_read(kick, &count);
}

void bfs_kick(int kick)
{
    eventfd_write(kick, 1); /* it fails only when it is full of kicks */
}
