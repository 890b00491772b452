/*
 * threads.c: the library's threads leave the host's signals alone, and the host's threads keep their masks.
 *
 * Go's runtime blocks in its threads what the thread blocked that loaded it, and then unblocks what it holds for its own: SIGCHLD, SIGPROF,
 * SIGSTKFLT and the first signals of real time among them. The kernel gives a signal of the process to any thread that does not block it: a host
 * that waits for SIGCHLD with signalfd or sigwait, blocked in all its threads, would never see it, and handlers of the host would run
 * on a thread that is none of its own.
 *
 * The runtime's mask is set by a system call of its own, out of reach; but a signal that waits for the thread is delivered in that very call.
 * So each thread that this library starts begins with everything blocked and with one signal waiting, whose handler blocks again what Go
 * must not have. The signal is 32, which the C library keeps for pthread_cancel: a host cannot use it. Where the host does cancel threads, the C
 * library's handler is called for all threads but these.
 *
 * A thread of the host becomes one of the runtime's with its first call, which changes its mask for good. So that call does nothing, is made
 * with the same signal waiting, and the mask is set back after it.
 *
 * New threads come by here because the linker is told so (-Wl,--wrap=pthread_create).
 */
#include "shim.h"

#include "_cgo_export.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define CANCEL 32
/* By which the C library has every thread change its ids in setuid and its like: it waits for all of them. Go lets it in. */
#define SETXID 33

/* As the kernel has it: the C library refuses to tell about this signal. */
struct kernel_action {
    void *handler;
    unsigned long flags;
    void (*restorer)(void);
    uint64_t mask;
};

#ifdef __x86_64__
#define RESTORER 0x04000000UL
/* These bytes: debuggers and unwinders know the frame of a signal by them. */
void bfs_signal_return(void);
__asm__(".text\n.globl bfs_signal_return\n.hidden bfs_signal_return\n.type bfs_signal_return, @function\n"
        "nop\nbfs_signal_return: movq $15, %rax\nsyscall\n.size bfs_signal_return, .-bfs_signal_return\n");
#endif

/* Weak: a build that is no library has not been linked so, and calls none of this. */
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*routine)(void *), void *argument)
    __attribute__((weak));
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*routine)(void *),
                          void *argument);

/* Looked at by a handler of signals: in static storage. For a thread of the host, 1 during its first call. */
static __thread int is_ours __attribute__((tls_model("initial-exec")));
__thread int bfs_thread_is_ready __attribute__((tls_model("initial-exec")));

/* The handler of before, of the C library or none. */
static _Atomic(void *) others;

/* A signal's bit in the kernel's set. */
static uint64_t bit(int signal)
{
    return 1ULL << (signal - 1);
}

/* What Go's threads are left with as the runtime had it: faults of their own, and what the runtime uses to interrupt them. */
static uint64_t of_go(void)
{
    return bit(SIGILL) | bit(SIGTRAP) | bit(SIGBUS) | bit(SIGFPE) | bit(SIGSEGV) | bit(SIGURG) | bit(SETXID);
}

static void handle(int signal, siginfo_t *info, void *context)
{
    if (is_ours) {
        uint64_t mask;
        ucontext_t *c = context;
        memcpy(&mask, &c->uc_sigmask, sizeof mask);
        mask |= ~of_go();
        memcpy(&c->uc_sigmask, &mask, sizeof mask); /* in force when the handler returns */
        return;
    }
    void (*other)(int, siginfo_t *, void *) = (void (*)(int, siginfo_t *, void *))atomic_load(&others);
    if (other != NULL)
        other(signal, info, context);
}

/* Puts the handler in place, in front of what the C library has put there meanwhile. */
static void install(void)
{
    struct kernel_action now, mine = {.handler = (void *)handle, .flags = SA_SIGINFO, .mask = ~0ULL};
#ifdef RESTORER
    mine.flags |= RESTORER;
    mine.restorer = bfs_signal_return;
#endif
    if (syscall(SYS_rt_sigaction, CANCEL, NULL, &now, sizeof now.mask) != 0 || now.handler == (void *)handle)
        return;
    int none = now.handler == (void *)SIG_DFL || now.handler == (void *)SIG_IGN;
    atomic_store(&others, none ? NULL : now.handler);
    (void)syscall(SYS_rt_sigaction, CANCEL, &mine, NULL, sizeof mine.mask);
}

struct start {
    void *(*routine)(void *);
    void *argument;
};

/* The kernel's own form, which also knows the signals that the C library keeps. */
static uint64_t set_mask(int how, uint64_t mask)
{
    uint64_t before = 0;
    (void)syscall(SYS_rt_sigprocmask, how, &mask, &before, sizeof mask);
    return before;
}

/* Blocks everything and leaves the signal waiting; the mask of before. */
static uint64_t arm(void)
{
    uint64_t before = set_mask(SIG_BLOCK, ~bit(SETXID));
    /* Not as pthread_cancel sends it: the C library's handler must not take it for that. */
    siginfo_t info;
    memset(&info, 0, sizeof info);
    info.si_signo = CANCEL;
    info.si_code = SI_QUEUE;
    info.si_pid = getpid();
    info.si_uid = getuid();
    is_ours = 1;
    (void)syscall(SYS_rt_tgsigqueueinfo, info.si_pid, (pid_t)syscall(SYS_gettid), CANCEL, &info);
    return before;
}

void bfs_ready_thread(void)
{
    int saved = errno;
    bfs_thread_is_ready = 1;
    if (!is_ours) {
        install();
        uint64_t before = arm();
        bfsgo_nothing();
        set_mask(SIG_SETMASK, before & ~bit(CANCEL)); /* if Go did not, now it is delivered */
        set_mask(SIG_SETMASK, before);
        is_ours = 0;
    }
    errno = saved;
}

static void *run(void *p)
{
    struct start s = *(struct start *)p;
    free(p);
    (void)arm();
    return s.routine(s.argument);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*routine)(void *), void *argument)
{
    struct start *s = malloc(sizeof *s);
    if (s == NULL)
        return EAGAIN;
    *s = (struct start){routine, argument};
    int saved = errno;
    install();
    errno = saved;
    int rc = __real_pthread_create(thread, attributes, run, s);
    if (rc != 0)
        free(s);
    return rc;
}
