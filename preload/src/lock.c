/*
 * lock.c: advisory locks. BenchFS keeps them, so they hold between nodes.
 *
 * fcntl's classic locks belong to the process (owner 0); those of flock and of open file descriptions (F_OFD_*) belong to the description, by
 * its number, and live as long as the process that opened it or one that took the lock: so `flock 9` in a script works, where a child
 * takes the lock for a descriptor of the shell.
 */
#include "preload.h"

#include <sys/file.h>

atomic_int bp_locks_taken;

static int call_library(struct bp_file *f, int op, struct benchfs_lock *lock)
{
    int h = bp_handle(f);
    if (h < 0)
        return h;
    int rc = bp_library_calls.lock(h, op, lock);
    if (rc == 0 && op != BENCHFS_LOCK_TEST && lock->type != F_UNLCK) {
        atomic_store(&bp_locks_taken, 1);
        if (lock->owner == 0)
            atomic_store(&f->locked, 1);
        else
            atomic_store(&f->description->locked, 1);
    }
    return rc;
}

static struct benchfs_lock lock_of(struct bp_file *f, int kind, int by_description)
{
    struct benchfs_lock lock = BENCHFS_LOCK_INIT;
    lock.kind = kind;
    if (by_description) {
        lock.owner = bp_description_id(f);
        lock.holder = f->description->session;
    }
    return lock;
}

/* Where a range begins that is told from the offset or from the end of the file. */
static int64_t start_of(int fd, const struct bp_file *f, const struct flock *l)
{
    struct stat st;
    switch (l->l_whence) {
    case SEEK_SET:
        return l->l_start;
    case SEEK_CUR:
        return atomic_load(&f->description->offset) + l->l_start;
    case SEEK_END:
        return fstat(fd, &st) != 0 ? -1 : st.st_size + l->l_start;
    }
    return -1;
}

int bp_lock_call(int fd, struct bp_file *f, int cmd, struct flock *l)
{
    int by_description = cmd == F_OFD_GETLK || cmd == F_OFD_SETLK || cmd == F_OFD_SETLKW;
    int test = cmd == F_GETLK || cmd == F_OFD_GETLK, wait = cmd == F_SETLKW || cmd == F_OFD_SETLKW;
    struct benchfs_lock lock = lock_of(f, BENCHFS_LOCK_RANGE, by_description);
    lock.start = start_of(fd, f, l);
    lock.length = l->l_len;
    lock.type = l->l_type;
    if (lock.start < 0 || (by_description && l->l_pid != 0)) {
        errno = EINVAL;
        return -1;
    }
    int rc = call_library(f, test ? BENCHFS_LOCK_TEST : wait ? BENCHFS_LOCK_WAIT : BENCHFS_LOCK_TRY, &lock);
    if (rc == 0 && test) {
        l->l_type = (short)lock.type;
        if (lock.type != F_UNLCK) {
            l->l_whence = SEEK_SET;
            l->l_start = lock.start;
            l->l_len = lock.length;
            l->l_pid = lock.owner == 0 || !by_description ? lock.pid : -1;
        }
    }
    return (int)bp_result(rc);
}

EXPORT int flock(int fd, int operation)
{
    struct bp_file *f = bp_file(fd);
    if (LIKELY(f == NULL))
        return REAL(flock)(fd, operation);
    bp_count(F_flock);
    struct benchfs_lock lock = lock_of(f, BENCHFS_LOCK_FILE, 1);
    switch (operation & ~LOCK_NB) {
    case LOCK_SH:
        lock.type = F_RDLCK;
        break;
    case LOCK_EX:
        lock.type = F_WRLCK;
        break;
    case LOCK_UN:
        lock.type = F_UNLCK;
        break;
    default:
        errno = EINVAL;
        return -1;
    }
    int rc = call_library(f, (operation & LOCK_NB) != 0 ? BENCHFS_LOCK_TRY : BENCHFS_LOCK_WAIT, &lock);
    return (int)bp_result(rc);
}

EXPORT int lockf(int fd, int command, off_t n)
{
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_CUR, .l_len = n};
    if (LIKELY(bp_file(fd) == NULL))
        return REAL(lockf)(fd, command, n);
    bp_count(F_lockf);
    switch (command) {
    case F_ULOCK:
        l.l_type = F_UNLCK;
        return fcntl(fd, F_SETLK, &l);
    case F_LOCK:
        return fcntl(fd, F_SETLKW, &l);
    case F_TLOCK:
        return fcntl(fd, F_SETLK, &l);
    case F_TEST:
        if (fcntl(fd, F_GETLK, &l) != 0)
            return -1;
        if (l.l_type == F_UNLCK)
            return 0;
        errno = EACCES;
        return -1;
    }
    errno = EINVAL;
    return -1;
}
ALIAS(lockf, lockf64);

void bp_unlock_process(struct bp_file *f)
{
    if (LIKELY(!atomic_load_explicit(&f->locked, memory_order_relaxed)))
        return;
    int saved = errno;
    struct benchfs_lock lock = lock_of(f, BENCHFS_LOCK_RANGE, 0);
    lock.type = F_UNLCK;
    (void)call_library(f, BENCHFS_LOCK_TRY, &lock);
    atomic_store(&f->locked, 0);
    errno = saved;
}

void bp_unlock_description(struct bp_file *f, int handle)
{
    if (LIKELY(!atomic_load_explicit(&f->description->locked, memory_order_relaxed)))
        return;
    for (int kind = BENCHFS_LOCK_RANGE; kind <= BENCHFS_LOCK_FILE; kind++) {
        struct benchfs_lock lock = lock_of(f, kind, 1);
        lock.holder = 0;
        lock.type = F_UNLCK;
        (void)bp_library_calls.lock(handle, BENCHFS_LOCK_LEAVE, &lock);
    }
}
