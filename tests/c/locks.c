/* locks.c: advisory locks in one process, where owners stand for the others. What takes several processes is in tests/locks. */
#include "harness.h"

#include <sys/syscall.h>

static struct benchfs_lock of(uint64_t owner, int type, off_t start, off_t length)
{
    struct benchfs_lock l = BENCHFS_LOCK_INIT;
    l.owner = owner;
    l.type = type;
    l.start = start;
    l.length = length;
    return l;
}

static int try(int fd, uint64_t owner, int type, off_t start, off_t length)
{
    struct benchfs_lock l = of(owner, type, start, length);
    return benchfs_lock(fd, BENCHFS_LOCK_TRY, &l);
}

TEST(locks_ranges)
{
    int fd = open_file("/f");
    OK(try(fd, 1, F_WRLCK, 0, 100));
    OK(try(fd, 1, F_UNLCK, 40, 20)); /* two are left */
    OK(try(fd, 2, F_WRLCK, 40, 20));
    EQ(try(fd, 2, F_WRLCK, 60, -21), -EAGAIN); /* 39 to 59 */
    EQ(try(fd, 2, F_RDLCK, 60, 1), -EAGAIN);
    CONTAINS(benchfs_last_error(), "/f");
    OK(try(fd, 1, F_RDLCK, 60, 40)); /* a downgrade */
    OK(try(fd, 2, F_RDLCK, 60, 0));
    EQ(try(fd, 1, F_WRLCK, 60, 1), -EAGAIN);
    EQ(try(fd, 3, F_WRLCK, 1000000, 1), -EAGAIN); /* the end is far away */
    struct benchfs_lock l = of(3, F_WRLCK, 30, 0);
    OK(benchfs_lock(fd, BENCHFS_LOCK_TEST, &l));
    EQ(l.type, F_WRLCK);
    EQ(l.owner, 1);
    EQ(l.start, 0);
    EQ(l.length, 40);
    EQ(l.pid, getpid());
    l = of(3, F_RDLCK, 70, 0);
    OK(benchfs_lock(fd, BENCHFS_LOCK_TEST, &l));
    EQ(l.type, F_UNLCK);
    EQ(l.start, 70); /* as it was */
    OK(try(fd, 0, F_RDLCK, 100, 5));
    OK(try(fd, 2, F_UNLCK, 0, 0));
    OK(try(fd, 1, F_UNLCK, 0, 0));
    EQ(try(fd, 1, F_WRLCK, 0, 0), -EAGAIN);
    OK(benchfs_close(GOOD(benchfs_open("/f", O_RDONLY, 0)))); /* gives up the process's own */
    OK(try(fd, 1, F_WRLCK, 0, 0));
    OK(benchfs_close(fd));
    fd = open_file("/f");
    EQ(try(fd, 0, F_WRLCK, 0, 0), -EAGAIN); /* and only these */
    OK(benchfs_close(fd));
}

TEST(locks_bad_input)
{
    int fd = open_file("/f");
    struct benchfs_lock l = BENCHFS_LOCK_INIT;
    EQ(benchfs_lock(fd, BENCHFS_LOCK_TRY, NULL), -EFAULT);
    EQ(benchfs_lock(fd, 0, &l), -EINVAL);
    EQ(benchfs_lock(fd, 5, &l), -EINVAL);
    EQ(benchfs_lock(-1, BENCHFS_LOCK_TRY, &l), -EBADF);
    EQ(benchfs_lock(-1, BENCHFS_LOCK_WAIT, &l), -EBADF);
    l.size--;
    EQ(benchfs_lock(fd, BENCHFS_LOCK_TRY, &l), -EINVAL);
    EQ(try(fd, 1, 3, 0, 0), -EINVAL);
    EQ(try(fd, 1, -1, 0, 0), -EINVAL);
    EQ(try(fd, 1, F_WRLCK, -1, 0), -EINVAL);
    EQ(try(fd, 1, F_WRLCK, -1, -1), -EINVAL);
    EQ(try(fd, 1, F_WRLCK, 5, -6), -EINVAL);
    EQ(try(fd, 1, F_WRLCK, INT64_MIN, INT64_MIN), -EINVAL);
    EQ(try(fd, 1, F_WRLCK, 1, INT64_MIN), -EINVAL);
    EQ(try(fd, 1, F_WRLCK, INT64_MAX, 2), -EOVERFLOW);
    OK(try(fd, 1, F_WRLCK, INT64_MAX, 1));
    OK(try(fd, 1, F_WRLCK, 5, -5));
    l = of(1, F_WRLCK, 0, 0);
    l.kind = 2;
    EQ(benchfs_lock(fd, BENCHFS_LOCK_WAIT, &l), -EINVAL);
    l = of(1, F_UNLCK, 0, 0);
    EQ(benchfs_lock(fd, BENCHFS_LOCK_TEST, &l), -EINVAL);
    l = of(0, F_WRLCK, 0, 0);
    l.holder = benchfs_session();
    CHECK(l.holder != 0 && l.holder == benchfs_session());
    EQ(benchfs_lock(fd, BENCHFS_LOCK_TRY, &l), -EINVAL);
    OK(benchfs_close(fd));
    fd = GOOD(benchfs_open("/f", O_RDONLY, 0));
    EQ(try(fd, 1, F_WRLCK, 0, 0), -EBADF);
    l = of(1, F_WRLCK, -5, -7); /* a range that does not matter */
    l.kind = BENCHFS_LOCK_FILE;
    OK(benchfs_lock(fd, BENCHFS_LOCK_TRY, &l));
    OK(benchfs_close(fd));
}

struct waiter {
    int fd, result;
    uint64_t owner;
    pid_t thread; /* set before the call */
};

static void *wait_for_it(void *arg)
{
    struct waiter *w = arg;
    struct benchfs_lock l = of(w->owner, F_WRLCK, 0, 0);
    __atomic_store_n(&w->thread, (pid_t)syscall(SYS_gettid), __ATOMIC_RELEASE);
    w->result = benchfs_lock(w->fd, BENCHFS_LOCK_WAIT, &l);
    return NULL;
}

/*
 * Until the thread sleeps in the futex without a timeout that the wait for a lock is. It may sleep like that on its way there, in Go's
 * runtime, but not for long: the same word must be seen many times in a row.
 */
static void until_it_waits(struct waiter *w)
{
    unsigned long before = 0;
    int same = 0;
    for (int i = 0; i < 20000; i++) {
        char path[64], text[128] = "";
        pid_t thread = __atomic_load_n(&w->thread, __ATOMIC_ACQUIRE);
        snprintf(path, sizeof path, "/proc/self/task/%d/syscall", (int)thread);
        FILE *f = thread ? fopen(path, "r") : NULL;
        if (f != NULL) {
            long number = -1;
            unsigned long word, op = 0, value, timeout = 1;
            int fields = fgets(text, sizeof text, f) == NULL
                             ? 0
                             : sscanf(text, "%ld %lx %lx %lx %lx", &number, &word, &op, &value, &timeout);
            fclose(f);
            int waits = fields == 5 && number == SYS_futex && op == 128 && timeout == 0;
            same = waits && word == before ? same + 1 : 0;
            before = waits ? word : 0;
            if (same == 40)
                return;
        }
        usleep(1000);
    }
    fail(__FILE__, __LINE__, "the thread does not wait");
}

static pthread_t start(struct waiter *w)
{
    pthread_t t;
    OK(pthread_create(&t, NULL, wait_for_it, w));
    until_it_waits(w);
    return t;
}

TEST(locks_waits)
{
    int fd = open_file("/f");
    OK(try(fd, 1, F_WRLCK, 0, 0));
    struct waiter w[8];
    pthread_t t[8];
    for (int i = 0; i < 8; i++) {
        w[i] = (struct waiter){.fd = fd, .owner = 10 + (uint64_t)i, .result = 1};
        t[i] = start(&w[i]);
    }
    OK(try(fd, 1, F_UNLCK, 0, 0));
    for (int left = 8; left > 0; left--) { /* one after the other */
        struct benchfs_lock l = of(1, F_WRLCK, 0, 0);
        do
            OK(benchfs_lock(fd, BENCHFS_LOCK_TEST, &l));
        while (l.type == F_UNLCK);
        OK(pthread_join(t[l.owner - 10], NULL));
        OK(w[l.owner - 10].result);
        OK(try(fd, l.owner, F_UNLCK, 0, 0));
    }
    OK(benchfs_close(fd));
}

static void on_signal(int signal)
{
    (void)signal;
}

TEST(locks_are_interrupted)
{
    int fd = open_file("/f");
    OK(try(fd, 1, F_WRLCK, 0, 0));
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};
    OK(sigaction(SIGUSR1, &action, NULL));
    for (int i = 0; i < 20; i++) {
        struct waiter w = {.fd = fd, .owner = 2, .result = 1};
        pthread_t t = start(&w);
        OK(pthread_kill(t, SIGUSR1));
        OK(pthread_join(t, NULL));
        EQ(w.result, -EINTR);
    }
    OK(try(fd, 1, F_UNLCK, 0, 0));
    OK(try(fd, 3, F_WRLCK, 0, 0)); /* none of them has it */
    OK(benchfs_close(fd));
}

/* The end of the session ends the waits. */
RAW_TEST(locks_and_finalize)
{
    for (int round = 0; round < 3; round++) {
        OK(benchfs_init(NULL));
        int fd = open_file("/f");
        OK(try(fd, 1, F_WRLCK, 0, 0));
        struct waiter w = {.fd = fd, .owner = 2, .result = 1};
        pthread_t t = start(&w);
        EQ(benchfs_finalize(), 1);
        OK(pthread_join(t, NULL));
        EQ(w.result, -EINTR);
    }
    struct benchfs_lock l = BENCHFS_LOCK_INIT;
    EQ(benchfs_lock(0, BENCHFS_LOCK_TRY, &l), -ENOTCONN);
    EQ(benchfs_lock(0, BENCHFS_LOCK_WAIT, &l), -ENOTCONN);
    EQ(benchfs_session(), 0);
    CONTAINS(benchfs_last_error(), "not initialised");
}

TEST(locks_after_fork)
{
    pid_t child = fork();
    if (child == 0) {
        struct benchfs_lock l = BENCHFS_LOCK_INIT;
        EQ(benchfs_lock(0, BENCHFS_LOCK_WAIT, &l), -ECHILD);
        EQ(benchfs_session(), 0);
        _exit(0);
    }
    int status = 1;
    EQ(waitpid(child, &status, 0), child);
    EQ(status, 0);
}
