/* signals.c: the program's signals are the program's, whatever threads a library brings. */
#include "process.h"

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <time.h>

static uint64_t own_mask(void)
{
    uint64_t mask = 0;
    syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &mask, 8L);
    return mask;
}

/* The threads of this process but the caller: how many do not block a signal. */
static int takers(int signal)
{
    DIR *dir = opendir("/proc/self/task");
    struct dirent *e;
    int count = 0;
    CHECK(dir != NULL);
    while ((e = readdir(dir)) != NULL) {
        char path[300], line[200];
        snprintf(path, sizeof path, "/proc/self/task/%s/status", e->d_name);
        FILE *f = e->d_name[0] != '.' && atoi(e->d_name) != gettid() ? fopen(path, "r") : NULL;
        while (f != NULL && fgets(line, sizeof line, f) != NULL)
            if (strncmp(line, "SigBlk:", 7) == 0)
                count += (strtoull(line + 7, NULL, 16) >> (signal - 1) & 1) == 0;
        if (f != NULL)
            fclose(f);
    }
    closedir(dir);
    return count;
}

static void *use_files(void *unused)
{
    sigset_t all;
    (void)unused;
    sigfillset(&all);
    CHECK(pthread_sigmask(SIG_SETMASK, &all, NULL) == 0);
    uint64_t before = own_mask();
    close(make("by-thread", "text"));
    CHECK(own_mask() == before);
    holds("by-thread", "text");
    CHECK(own_mask() == before);
    return NULL;
}

/* A signal that the program has blocked everywhere waits for who asks, before and after files are used for the first time. */
void signal_masks(void)
{
    sigset_t all, child;
    const struct timespec second = {20, 0};
    pthread_t thread;
    int status;
    sigfillset(&all);
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    CHECK(sigprocmask(SIG_BLOCK, &all, NULL) == 0);
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    CHECK(waitpid(pid, &status, 0) == pid); /* and SIGCHLD is waiting */
    uint64_t before = own_mask();
    int fd = make("f", "text");
    CHECK(own_mask() == before);
    CHECK(sigtimedwait(&child, NULL, &second) == SIGCHLD);
    CHECK(fsync(fd) == 0 && own_mask() == before);
    CHECK(pthread_create(&thread, NULL, use_files, NULL) == 0 && pthread_join(thread, NULL) == 0);
    CHECK(takers(SIGCHLD) == 0 && takers(SIGPROF) == 0 && takers(SIGALRM) == 0 && takers(SIGTERM) == 0 &&
          takers(SIGRTMIN) == 0 && takers(SIGRTMAX) == 0);
    int signals = signalfd(-1, &child, SFD_CLOEXEC);
    struct signalfd_siginfo info;
    for (int i = 0; i < 50; i++) {
        CHECK(pwrite(fd, "more", 4, 0) == 4);
        pid = fork();
        if (pid == 0)
            _exit(0);
        CHECK(read(signals, &info, sizeof info) == sizeof info && info.ssi_signo == SIGCHLD);
        CHECK(waitpid(pid, &status, 0) == pid);
    }
}

static void *wait_for_ever(void *ready)
{
    int type;
    close(make("before-cancel", ""));
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &type);
    CHECK(write(*(int *)ready, "x", 1) == 1);
    for (;;)
        pause();
}

/* Cancelling threads works, with a library that uses the same signal. */
void cancelled(void)
{
    int pair[2];
    char byte;
    CHECK(pipe(pair) == 0);
    for (int i = 0; i < 5; i++) {
        pthread_t thread;
        void *result;
        CHECK(pthread_create(&thread, NULL, wait_for_ever, &pair[1]) == 0);
        CHECK(read(pair[0], &byte, 1) == 1 && pthread_cancel(thread) == 0);
        CHECK(pthread_join(thread, &result) == 0 && result == PTHREAD_CANCELED);
        holds("before-cancel", "");
    }
}
