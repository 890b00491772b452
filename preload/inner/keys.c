/*
 * keys.c: pthread_key_create and its like for the library's namespace.
 *
 * Each libc numbers its keys from 0, and both keep the values of a thread in the same place, the thread's control block, which belongs to the
 * loader that they share: a key of the program would find a value of the library's, and the other way round. So the library's values are kept
 * here. Their destructors run at the end of the library's own threads, whose start is wrapped, and of the program's when the
 * interposer says so.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

#define EXPORT __attribute__((visibility("default")))

#define KEYS 128

/* A key's life: odd while it exists; a value counts if it was set in this one. */
static _Atomic uintptr_t lives[KEYS];
static void (*_Atomic destructors[KEYS])(void *);

static __thread struct {
    uintptr_t life;
    void *value;
} values[KEYS];

EXPORT int pthread_key_create(pthread_key_t *key, void (*destructor)(void *))
{
    for (unsigned i = 0; i < KEYS; i++) {
        uintptr_t life = atomic_load(&lives[i]);
        if (life % 2 == 0 && atomic_compare_exchange_strong(&lives[i], &life, life + 1)) {
            atomic_store(&destructors[i], destructor);
            *key = i;
            return 0;
        }
    }
    return EAGAIN;
}

EXPORT int pthread_key_delete(pthread_key_t key)
{
    uintptr_t life = key < KEYS ? atomic_load(&lives[key]) : 0;
    return life % 2 == 1 && atomic_compare_exchange_strong(&lives[key], &life, life + 1) ? 0 : EINVAL;
}

EXPORT void *pthread_getspecific(pthread_key_t key)
{
    if (key >= KEYS || values[key].value == NULL || values[key].life != atomic_load(&lives[key]))
        return NULL;
    return values[key].value;
}

EXPORT int pthread_setspecific(pthread_key_t key, const void *value)
{
    uintptr_t life = key < KEYS ? atomic_load(&lives[key]) : 0;
    if (life % 2 == 0)
        return EINVAL;
    values[key].life = life;
    values[key].value = (void *)value;
    return 0;
}

/* Runs the destructors of the calling thread's values; they may set others. */
EXPORT void benchfs_inner_thread_end(void)
{
    int found = 1;
    for (int round = 0; found && round < PTHREAD_DESTRUCTOR_ITERATIONS; round++) {
        found = 0;
        for (unsigned i = 0; i < KEYS; i++) {
            void *value = pthread_getspecific(i);
            void (*destructor)(void *) = atomic_load(&destructors[i]);
            values[i].value = NULL;
            if (value == NULL || destructor == NULL)
                continue;
            found = 1;
            destructor(value);
        }
    }
}

struct start {
    void *(*routine)(void *);
    void *argument;
};

static void ended(void *unused)
{
    (void)unused;
    benchfs_inner_thread_end();
}

static void *run(void *p)
{
    struct start s = *(struct start *)p;
    void *result;
    free(p);
    pthread_cleanup_push(ended, NULL);
    result = s.routine(s.argument);
    pthread_cleanup_pop(1);
    return result;
}

EXPORT int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*routine)(void *), void *argument)
{
    static __typeof__(&pthread_create) _Atomic found;
    __typeof__(&pthread_create) real = atomic_load(&found);
    if (real == NULL) {
        real = (__typeof__(real))dlsym(RTLD_NEXT, "pthread_create");
        if (real == NULL)
            return EAGAIN;
        atomic_store(&found, real);
    }
    struct start *s = malloc(sizeof *s);
    if (s == NULL)
        return EAGAIN;
    *s = (struct start){routine, argument};
    sigset_t all, before; /* the program's signals are not for the library's threads, UCX's among them */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = real(thread, attributes, run, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0)
        free(s);
    return rc;
}
