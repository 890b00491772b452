/*
 * How often the Go runtime's monitor looks around.
 *
 * The monitor (sysmon) sleeps for 20 µs at a time for as long as it finds something to do, and it always does here: a shard, or a C
 * thread that calls into Go again and again, never yields, which looks to it like a goroutine that hangs. It then takes the processor (P) away
 * whenever it finds the thread in C, wakes another thread for that P, and the next return to Go has to get one anew: thousands of wake-ups a
 * second, each at the cost of whoever polls on that core.
 *
 * A thread's timer slack says how late its sleeps may end, and threads inherit it. So it is raised before the runtime starts its first
 * thread, the parent of all others. In a library that happens in a constructor, and the loading thread gets its own back afterwards.
 */
#define _GNU_SOURCE
#include <link.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/auxv.h>
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

/* Whether an address lies in the program, and not in a library, whatever name space of the loader that is in. */
static int in_program(const void *address)
{
    const ElfW(Phdr) *parts = (const void *)getauxval(AT_PHDR);
    unsigned long count     = parts == NULL ? 0 : getauxval(AT_PHNUM);
    uintptr_t     base      = 0;
    for (unsigned long i = 0; i < count; i++) {
        if (parts[i].p_type == PT_PHDR)
            base = (uintptr_t)parts - parts[i].p_vaddr;
    }
    for (unsigned long i = 0; i < count; i++) {
        if (parts[i].p_type == PT_LOAD && (uintptr_t)address - (base + parts[i].p_vaddr) < parts[i].p_memsz)
            return 1;
    }
    return 0;
}

/* In a program of Go's the runtime has not started yet. */
__attribute__((constructor)) static void restore_slack(void)
{
    if (before >= 0 && !in_program(&before))
        prctl(PR_SET_TIMERSLACK, (unsigned long)before, 0, 0, 0);
}
