/*
 * Moving to another core. Two threads that poll for each other and yield to each other on one core look to Linux like one that computes there:
 * it takes tens of milliseconds until one of them is moved to a core that has been idle all the time. Nor does it help to sleep, because who
 * wakes a thread and seems about to sleep is taken for a sign that it wants to run here. So a shard whose yields go on giving its core to
 * somebody else goes to another one while some are idle, and lets Linux place it from there on. Threads of applications are left where they are.
 */
#define _GNU_SOURCE
#include "bfs.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    BFS_CPUS = 8192 /* the most that Linux is built for */
};

/* Whether some core of the machine has nothing to do: there are no more threads that want to run than cores, and this one has two. */
static int bfs_idle_core(void)
{
    long  running = 0;
    FILE *f       = fopen("/proc/loadavg", "re");
    if (f == NULL)
        return 0;
    if (fscanf(f, "%*s %*s %*s %ld", &running) != 1)
        running = 0;
    fclose(f);
    return running > 0 && running <= sysconf(_SC_NPROCESSORS_ONLN);
}

int bfs_move_on(void)
{
    cpu_set_t    allowed[BFS_CPUS / CPU_SETSIZE], others[BFS_CPUS / CPU_SETSIZE];
    const size_t bytes = sizeof(allowed);
    int          here  = sched_getcpu();
    CPU_ZERO_S(bytes, allowed);
    if (!bfs_idle_core() || here < 0 || sched_getaffinity(0, bytes, allowed) != 0)
        return 0;
    memcpy(others, allowed, bytes);
    CPU_CLR_S(here, bytes, others);
    if (sched_setaffinity(0, bytes, others) != 0) /* only this one is allowed */
        return 0;
    sched_setaffinity(0, bytes, allowed);
    return 1;
}
