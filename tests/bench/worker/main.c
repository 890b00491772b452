/* main.c: arguments, and what happens before and after the measurement. */
#define _GNU_SOURCE
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <signal.h>

#include "bench.h"

void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("worker: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    _Exit(1);
}

void *must_alloc(size_t size)
{
    void *p = NULL;
    if (posix_memalign(&p, 4096, size) != 0)
        die("no memory for %zu bytes", size);
    memset(p, 1, size);
    return p;
}

void meet(const struct options *o)
{
    if (!o->barrier)
        return;
    puts("ready");
    fflush(stdout);
    if (getchar() == EOF)
        die("the runner is gone");
}

static void usage(void)
{
    fputs(
        "usage: worker --api=benchfs|posix|map|map-string|map-stream --op=OP --path=PATH [options]\n"
        "  data:     --op=prepare|new|over|read|fresh-read|rand-read|rand-write|strided-new|strided-over|strided-read\n"
        "            --block=BYTES --size=BYTES [--seconds=S] [--count=ACCESSES] [--threads=N] [--repeats=N]\n"
        "  metadata: --op=meta --phases=create,create-each,stat,open,list,unlink,small-create,small-read "
        "--count=FILES\n"
        "            --op=open-files --count=FILES\n"
        "  message:  --op=message --block=BYTES --size=BYTES --count=MESSAGES [--seconds=S]\n"
        "  all:      [--rank=R --ranks=N --barrier] [--direct] [--busy] [--daemon=PID]...\n",
        stderr);
    exit(2);
}

static unsigned long long number(const char *text)
{
    char *end;
    unsigned long long n = strtoull(text, &end, 10);
    if (end == text || *end != '\0')
        die("not a number: %s", text);
    return n;
}

enum {
    API = 1,
    OP,
    PATH,
    PHASES,
    BLOCK,
    SIZE,
    SECONDS,
    COUNT,
    THREADS,
    RANK,
    RANKS,
    BARRIER,
    DIRECT,
    BUSY,
    REPEATS,
    DAEMON
};

static const struct option long_options[] = {
    {"api", required_argument, NULL, API},
    {"op", required_argument, NULL, OP},
    {"path", required_argument, NULL, PATH},
    {"phases", required_argument, NULL, PHASES},
    {"block", required_argument, NULL, BLOCK},
    {"size", required_argument, NULL, SIZE},
    {"seconds", required_argument, NULL, SECONDS},
    {"count", required_argument, NULL, COUNT},
    {"threads", required_argument, NULL, THREADS},
    {"rank", required_argument, NULL, RANK},
    {"ranks", required_argument, NULL, RANKS},
    {"barrier", no_argument, NULL, BARRIER},
    {"direct", no_argument, NULL, DIRECT},
    {"busy", no_argument, NULL, BUSY},
    {"repeats", required_argument, NULL, REPEATS},
    {"daemon", required_argument, NULL, DAEMON},
    {NULL, 0, NULL, 0},
};

static void set(struct options *o, int which, const char *value)
{
    switch (which) {
    case API:
        o->api = api_named(value);
        break;
    case OP:
        o->op = value;
        break;
    case PATH:
        o->path = value;
        break;
    case PHASES:
        o->phases = value;
        break;
    case BLOCK:
        o->block = (size_t)number(value);
        break;
    case SIZE:
        o->size = (size_t)number(value);
        break;
    case SECONDS:
        o->seconds = strtod(value, NULL);
        break;
    case COUNT:
        o->count = (long)number(value);
        break;
    case THREADS:
        o->threads = (int)number(value);
        break;
    case RANK:
        o->rank = (int)number(value);
        break;
    case RANKS:
        o->ranks = (int)number(value);
        break;
    case BARRIER:
        o->barrier = true;
        break;
    case DIRECT:
        o->direct = true;
        break;
    case BUSY:
        o->busy = true;
        break;
    case REPEATS:
        o->repeats = (long)number(value);
        break;
    case DAEMON:
        if (o->daemon_count == MAX_DAEMONS)
            die("more than %d daemons", MAX_DAEMONS);
        o->daemons[o->daemon_count++] = (pid_t)number(value);
        break;
    default:
        usage();
    }
}

int main(int argc, char **argv)
{
    /* A worker does not outlive its runner. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct options o = {.block = 4096, .size = 4096, .count = 1, .threads = 1, .ranks = 1, .repeats = 1};
    int which;
    while ((which = getopt_long(argc, argv, "", long_options, NULL)) != -1)
        set(&o, which, optarg);
    if (!o.api || !o.op || !o.path || optind != argc)
        usage();
    if (o.threads < 1 || o.threads > MAX_THREADS || o.ranks < 1 || o.block < 1 || o.size < o.block)
        die("arguments out of range");
    pattern_start(o.block > 4u << 20 ? o.block : 4u << 20);
    if (o.busy)
        busy_start();
    o.api->start(&o);
    if (!data_run(&o) && !meta_run(&o) && !message_run(&o))
        die("no such operation: %s", o.op);
    o.api->stop();
    if (o.busy)
        busy_stop();
    return 0;
}
