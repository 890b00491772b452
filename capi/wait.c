/* wait.c: a sleep that signals end as they end a system call, which one inside the Go runtime cannot be. */
#include "shim.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * A futex without a timeout is what fcntl(F_SETLKW) is to signals: the kernel goes on with it after a handler with SA_RESTART, and ends it with
 * EINTR after any other. Go's own signal has SA_RESTART.
 */
int bfs_sleep(uint32_t *over)
{
    while (__atomic_load_n(over, __ATOMIC_ACQUIRE) == 0)
        if (syscall(SYS_futex, over, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0) != 0 && errno == EINTR)
            return 0;
    return 1;
}

void bfs_wake(uint32_t *over)
{
    __atomic_store_n(over, 1, __ATOMIC_RELEASE);
    syscall(SYS_futex, over, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}
