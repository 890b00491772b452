/* real.c: libc's own functions. */
#include "preload.h"

#include <dlfcn.h>
#include <sys/syscall.h>

void *bp_own_mmap(size_t n, int prot, int flags, int fd)
{
    return (void *)REAL(syscall)(SYS_mmap, NULL, n, prot, flags, fd, 0L);
}

void bp_own_munmap(void *at, size_t n)
{
    int saved = errno;
    (void)REAL(syscall)(SYS_munmap, at, n);
    errno = saved;
}

_Atomic(void *) bp_reals[F_COUNT] BP_NEAR;

const char *const bp_names[F_COUNT] = {
#define X(name) [F_##name] = #name,
#include "functions.inc"
#undef X
};

void *bp_find_real(enum bp_function f)
{
    int saved = errno;
    void *p = dlsym(RTLD_NEXT, bp_names[f]);
    if (p == NULL) {
        static const char text[] = "libbenchfs_preload: this libc lacks ";
        struct iovec parts[] = {
            {(void *)text, sizeof text - 1}, {(void *)bp_names[f], strlen(bp_names[f])}, {(void *)"\n", 1}};
        (void)!REAL(writev)(STDERR_FILENO, parts, 3);
        _Exit(127);
    }
    atomic_store_explicit(&bp_reals[f], p, memory_order_relaxed);
    errno = saved;
    return p;
}
