/* measure.c: clocks, processor time, memory, and the JSON line of a result. */
#define _GNU_SOURCE
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

#include "bench.h"

uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t deadline(const struct options *o)
{
    return o->seconds > 0 ? now_ns() + (uint64_t)(o->seconds * 1e9) : UINT64_MAX;
}

/* Calibrated against now_ns by the span that it is used in. */
uint64_t ticks(void)
{
#if defined(__x86_64__)
    return __rdtsc();
#else
    return now_ns();
#endif
}

/* What reading the clock adds to a latency; it is reported, not subtracted. */
double ticks_cost_ns(void)
{
    enum {
        READS = 20000
    };
    volatile uint64_t sink = 0;
    uint64_t begin = now_ns();
    for (int i = 0; i < READS; i++)
        sink = ticks();
    (void)sink;
    return (double)(now_ns() - begin) / READS;
}

static double own_cpu(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/* Nanosecond counts of all threads; /proc/PID/stat counts in ticks of 10 ms. */
static double process_cpu(pid_t pid)
{
    char path[400];
    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    DIR *dir = opendir(path);
    if (!dir)
        die("%s: no such process", path);
    double total = 0;
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "/proc/%d/task/%s/schedstat", (int)pid, entry->d_name);
        FILE *f = fopen(path, "r");
        unsigned long long ns;
        if (f && fscanf(f, "%llu", &ns) == 1)
            total += (double)ns / 1e9;
        if (f)
            fclose(f);
    }
    closedir(dir);
    return total;
}

static double daemons_cpu(const struct options *o)
{
    double total = 0;
    for (int i = 0; i < o->daemon_count; i++)
        total += process_cpu(o->daemons[i]);
    return total;
}

/* A line of /proc/self/status, in KiB. */
static long status_kib(const char *key)
{
    FILE *f = fopen("/proc/self/status", "r");
    if (!f)
        die("no /proc/self/status");
    char line[256];
    long kib = 0;
    while (fgets(line, sizeof(line), f))
        if (strncmp(line, key, strlen(key)) == 0)
            kib = strtol(line + strlen(key), NULL, 10);
    fclose(f);
    return kib;
}

void span_begin(struct span *s, const struct options *o)
{
    s->daemon_cpu = -daemons_cpu(o);
    s->messages = o->api->messages();
    s->cpu = -own_cpu();
    s->begin_ns = now_ns();
    s->begin_ticks = ticks();
}

void span_end(struct span *s, const struct options *o)
{
    s->end_ticks = ticks();
    s->end_ns = now_ns();
    s->cpu += own_cpu();
    s->messages = o->api->messages() - s->messages;
    s->daemon_cpu += daemons_cpu(o);
}

static int ascending(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void print_latencies(struct result *r)
{
    const struct span *s = &r->span;
    double ns_per_tick = (double)(s->end_ns - s->begin_ns) / (double)(s->end_ticks - s->begin_ticks);
    qsort(r->latencies, r->latency_count, sizeof(r->latencies[0]), ascending);
    double sum = 0;
    for (size_t i = 0; i < r->latency_count; i++)
        sum += r->latencies[i];
    static const struct {
        const char *name;
        double part;
    } ranks[] = {{"p50_ns", 0.5}, {"p99_ns", 0.99}, {"p999_ns", 0.999}};
    for (size_t i = 0; i < sizeof(ranks) / sizeof(ranks[0]); i++) {
        size_t at = (size_t)(ranks[i].part * (double)(r->latency_count - 1));
        printf(",\"%s\":%.1f", ranks[i].name, r->latencies[at] * ns_per_tick);
    }
    printf(",\"mean_ns\":%.1f,\"clock_ns\":%.1f", sum / (double)r->latency_count * ns_per_tick, ticks_cost_ns());
}

void report(const struct options *o, struct result *r)
{
    const struct span *s = &r->span;
    printf("{\"op\":\"%s\",\"api\":\"%s\",\"bytes\":%llu,\"ops\":%llu", r->op, o->api->name,
           (unsigned long long)r->bytes, (unsigned long long)r->ops);
    printf(",\"begin_ns\":%llu,\"end_ns\":%llu", (unsigned long long)s->begin_ns, (unsigned long long)s->end_ns);
    printf(",\"cpu_s\":%.6f,\"daemon_cpu_s\":%.6f,\"messages\":%lu", s->cpu, s->daemon_cpu, s->messages);
    if (r->latency_count > 0)
        print_latencies(r);
    printf(",\"rss_kib\":%ld,\"rss_anon_kib\":%ld}\n", status_kib("VmRSS:"), status_kib("RssAnon:"));
    fflush(stdout);
}
