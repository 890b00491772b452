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
#include <stdint.h>
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

/* Looks at the first object only, which is the program: → 1 if the address lies in it, else 2. */
static int holds(struct dl_phdr_info *object, size_t bytes, void *address)
{
    (void)bytes;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &object->dlpi_phdr[i];
        if (part->p_type == PT_LOAD && (uintptr_t)address - (object->dlpi_addr + part->p_vaddr) < part->p_memsz)
            return 1;
    }
    return 2;
}

/* In a program of Go's the runtime has not started yet. */
__attribute__((constructor)) static void restore_slack(void)
{
    if (before >= 0 && dl_iterate_phdr(holds, &before) != 1)
        prctl(PR_SET_TIMERSLACK, (unsigned long)before, 0, 0, 0);
}
