/*
 * Short turns on a core (Linux 6.12 and later: EEVDF's slice of a thread): whoever asks for less is let in before a program that
 * computes has used up its own turn of some milliseconds. A shard wants them while others compute on its core: it needs microseconds for
 * a request, and sleeps between them, so that this takes nothing from the others. Among pollers, who yield to each other, it
 * would get its turn too often.
 */
#define _GNU_SOURCE
#include "bfs.h"

#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BFS_SHORT_TURN_NS 100000ULL /* the shortest that Linux takes */

/* As the kernel has it; older headers do not. */
typedef struct bfs_sched_attr {
    uint32_t size, policy;
    uint64_t flags;
    int32_t  nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
} bfs_sched_attr;

void bfs_short_turns(int wanted)
{
    bfs_sched_attr attr;
    memset(&attr, 0, sizeof(attr));
    if (syscall(SYS_sched_getattr, 0, &attr, sizeof(attr), 0) != 0 || attr.policy != SCHED_OTHER)
        return;
    attr.size    = sizeof(attr);
    attr.runtime = wanted ? BFS_SHORT_TURN_NS : 0; /* 0: as everybody */
    syscall(SYS_sched_setattr, 0, &attr, 0);       /* an older kernel says no, or does not care */
}
