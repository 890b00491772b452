/*
 * low.h: the lock on low descriptors, for both sides: the interposer (../src) and libbenchfs_inner.so.
 *
 * The kernel gives a new descriptor the lowest number, and the library then moves it up. As long as it is low, the program must not make that
 * number its own (dup2) or close it unseen: the library would go on with the program's file, and close it. So whoever does either holds this.
 * Nobody holds it while waiting for anything.
 *
 * It is a word, not a mutex: a signal's handler may come between, on the thread that holds it, and goes on without.
 */
#ifndef BENCHFS_LOW_H
#define BENCHFS_LOW_H

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>

typedef _Atomic uintptr_t bfs_low_lock; /* who holds it: a thread's number, the same in all namespaces; 0: nobody */

/* 1 if it was taken, and must be given back; 0 if the calling thread has it. */
static inline int bfs_low_take(bfs_low_lock *lock)
{
    uintptr_t me = (uintptr_t)pthread_self();
    for (;;) {
        uintptr_t holder = 0;
        if (atomic_compare_exchange_strong_explicit(lock, &holder, me, memory_order_acquire, memory_order_relaxed))
            return 1;
        if (holder == me)
            return 0;
        sched_yield();
    }
}

static inline void bfs_low_give(bfs_low_lock *lock)
{
    atomic_store_explicit(lock, 0, memory_order_release);
}

#endif
