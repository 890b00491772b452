/*
 * How often the Go runtime's monitor looks around.
 *
 * The monitor (sysmon) sleeps for 20 µs at a time for as long as it finds something to do, and it always does here: a goroutine of a C
 * thread that calls into Go again and again never yields, which looks to it like one that hangs. It then takes the processor (P) away
 * whenever it finds the thread in C, wakes another thread for that P, and the next return to Go has to get one anew: thousands of wake-ups a
 * second, each at the cost of whoever polls on that core.
 *
 * A thread's timer slack says how late its sleeps may end, and threads inherit it. So it is raised around the runtime's constructor, in
 * which the runtime starts its first thread, the parent of all others. The loading thread gets its own back.
 */
#define _GNU_SOURCE
#include <sys/prctl.h>

#define RUNTIME_SLACK_NS 2000000UL

static int before = -1;

/* Go's constructor has no priority, so it comes after this one, and, as the linker gets Go's object first, before the other. */
__attribute__((constructor(102))) static void raise_slack(void)
{
    before = prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0);
    if (before >= 0)
        prctl(PR_SET_TIMERSLACK, RUNTIME_SLACK_NS, 0, 0, 0);
}

__attribute__((constructor)) static void restore_slack(void)
{
    if (before >= 0)
        prctl(PR_SET_TIMERSLACK, (unsigned long)before, 0, 0, 0);
}
