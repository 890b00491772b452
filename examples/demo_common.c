#define _GNU_SOURCE
#include "demo_common.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

double demo_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

int demo_join(char out[DEMO_PATH_SIZE], const char *dir, const char *relative)
{
    const char *slash = *relative == '\0' || dir[strlen(dir) - 1] == '/' ? "" : "/";
    int n = snprintf(out, DEMO_PATH_SIZE, "%s%s%s", dir, slash, relative);
    if (n < 0 || n >= DEMO_PATH_SIZE) {
        fprintf(stderr, "path too long: %s/%s\n", dir, relative);
        return -1;
    }
    return 0;
}

static int walk_one(const char *top, const char *relative, demo_visit *visit, void *context);

static int walk_entries(const char *top, const char *relative, const char *path, demo_visit *visit, void *context)
{
    struct dirent **entries;
    int count = scandir(path, &entries, NULL, alphasort);
    int rc = 0;
    if (count < 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return -1;
    }
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        char below[DEMO_PATH_SIZE];
        if (rc == 0 && strcmp(name, ".") != 0 && strcmp(name, "..") != 0) {
            int n = snprintf(below, sizeof below, "%s%s%s", relative, *relative == '\0' ? "" : "/", name);
            if (n < 0 || (size_t)n >= sizeof below) {
                fprintf(stderr, "path too long: %s/%s\n", path, name);
                rc = -1;
            } else {
                rc = walk_one(top, below, visit, context);
            }
        }
        free(entries[i]);
    }
    free(entries);
    return rc;
}

static int walk_one(const char *top, const char *relative, demo_visit *visit, void *context)
{
    char path[DEMO_PATH_SIZE];
    struct stat st;
    int rc;
    if (demo_join(path, top, relative) != 0) {
        return -1;
    }
    /* The top may be a symbolic link to what is meant. */
    rc = *relative == '\0' ? stat(path, &st) : lstat(path, &st);
    if (rc != 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return -1;
    }
    rc = visit(context, path, relative, &st, 0);
    if (rc == 0 && S_ISDIR(st.st_mode)) {
        rc = walk_entries(top, relative, path, visit, context);
        if (rc == 0) {
            rc = visit(context, path, relative, &st, 1);
        }
    }
    return rc;
}

int demo_walk(const char *top, demo_visit *visit, void *context)
{
    return walk_one(top, "", visit, context);
}

static int add_bytes(void *context, const char *path, const char *relative, const struct stat *st, int after)
{
    (void)path;
    (void)relative;
    if (S_ISREG(st->st_mode) && !after) {
        *(uint64_t *)context += (uint64_t)st->st_size;
    }
    return 0;
}

uint64_t demo_tree_bytes(const char *top)
{
    uint64_t bytes = 0;
    demo_walk(top, add_bytes, &bytes);
    return bytes;
}

void demo_begin(struct demo_count *count, const char *what, uint64_t total)
{
    memset(count, 0, sizeof *count);
    count->started = demo_now();
    count->what = what;
    count->total = isatty(STDERR_FILENO) ? total : 0;
}

static void progress(struct demo_count *count)
{
    enum {
        width = 40
    };
    char bar[width + 1];
    double now = demo_now();
    if (count->total == 0 || now - count->drawn < 0.1) {
        return;
    }
    count->drawn = now;
    double part = (double)count->bytes / (double)count->total;
    int full = (int)(part * width);
    memset(bar, ' ', width);
    memset(bar, '#', (size_t)(full > width ? width : full));
    bar[width] = '\0';
    fprintf(stderr, "\r%s [%s] %3.0f%% %.0f MiB ", count->what, bar, 100 * part, (double)count->bytes / (1 << 20));
    fflush(stderr);
}

void demo_moved(struct demo_count *count, uint64_t bytes, double seconds)
{
    count->bytes += bytes;
    if (bytes >= DEMO_LARGE) {
        count->large_bytes += bytes;
        count->large_seconds += seconds;
    }
    progress(count);
}

void demo_report(struct demo_count *count, const char *did)
{
    const double mib = 1 << 20;
    double wall = demo_now() - count->started;
    if (count->total != 0) {
        fprintf(stderr, "\r\033[K");
    }
    printf("%s %llu files, %llu directories, %llu symbolic links, %.1f MiB in %.2f s\n", did,
           (unsigned long long)count->files, (unsigned long long)count->directories,
           (unsigned long long)count->symlinks, (double)count->bytes / mib, wall);
    if (count->skipped != 0) {
        printf("  left out: %llu devices, FIFOs and sockets\n", (unsigned long long)count->skipped);
    }
    if (count->seconds > 0) {
        printf("  inside BenchFS: %.2f s, %.0f MiB/s, %.0f calls/s\n", count->seconds,
               (double)count->bytes / mib / count->seconds, (double)count->calls / count->seconds);
    }
    if (count->large_seconds > 0) {
        printf("  transfers of 1 MiB and more: %.1f MiB, %.0f MiB/s\n", (double)count->large_bytes / mib,
               (double)count->large_bytes / mib / count->large_seconds);
    }
}
