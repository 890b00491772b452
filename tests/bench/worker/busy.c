/* busy.c: a program that computes on every core, beside which the others are measured. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

static pid_t computing;

static void *compute(void *argument)
{
    (void)argument;
    for (volatile double x = 1;; x = x * 1.0000001 + 1)
        ;
    return NULL;
}

/* A thread for each core that this process may use, bound to it. Does not return. */
static void compute_everywhere(void)
{
    cpu_set_t all;
    if (sched_getaffinity(0, sizeof(all), &all) != 0)
        die("no set of cores");
    for (int core = 0; core < CPU_SETSIZE; core++) {
        if (!CPU_ISSET(core, &all))
            continue;
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(core, &one);
        pthread_t thread;
        if (pthread_create(&thread, NULL, compute, NULL) != 0 || pthread_setaffinity_np(thread, sizeof(one), &one) != 0)
            die("no thread on core %d", core);
    }
    for (;;)
        pause();
}

void busy_start(void)
{
    computing = fork();
    if (computing < 0)
        die("no process");
    if (computing == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        compute_everywhere();
    }
}

void busy_stop(void)
{
    kill(computing, SIGKILL);
    waitpid(computing, NULL, 0);
}
