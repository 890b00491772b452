/*
 * outsider.c: a program that knows nothing of BenchFS. Run with and without the interposer, it tells what that costs where BenchFS has no part;
 * and with it, what an access to BenchFS costs. Prints names and nanoseconds.
 *
 *   outsider calls FILE             libc's calls on /dev/zero, /dev/null and an existing FILE
 *   outsider start COUNT PROGRAM [ARGUMENT] [-- PROGRAM [ARGUMENT]]...
 *                                   the time from starting a program to its end, the median of COUNT; several take turns. The names are
 *                                   start, start-1, start-2, …
 *   outsider pread FILE BYTES       4 KiB at random places of FILE, which is made with so many bytes: the median
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void need(int true_, const char *what)
{
    if (!true_) {
        perror(what);
        exit(1);
    }
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, size_t n)
{
    qsort(values, n, sizeof *values, ascending);
    return values[n / 2];
}

/*
 * The cost of one turn of a loop: of many stretches of it, each shorter than the time that a process has before another gets the core, the one that a
 * tenth was faster than. What is to be seen is a difference of nanoseconds, and others are at work, too.
 */
#define STRETCHES 401
#define MEASURE(name, turns, statement)                    \
    do {                                                   \
        double took[STRETCHES];                            \
        for (size_t s_ = 0; s_ < STRETCHES; s_++) {        \
            double begin_ = now();                         \
            for (int i = 0; i < (turns); i++)              \
                statement;                                 \
            took[s_] = (now() - begin_) / (turns);         \
        }                                                  \
        qsort(took, STRETCHES, sizeof took[0], ascending); \
        printf("%s %.2f\n", name, took[STRETCHES / 10]);   \
    } while (0)

/* As MEASURE, the two calls apart: a hundred files are opened, then closed. */
static void open_and_close(const char *path)
{
    enum {
        FILES = 100
    };
    int fd[FILES];
    double opened[STRETCHES], closed[STRETCHES];
    for (size_t s = 0; s < STRETCHES; s++) {
        double begin = now();
        for (int i = 0; i < FILES; i++)
            need((fd[i] = open(path, O_RDONLY)) >= 0, path);
        double middle = now();
        for (int i = 0; i < FILES; i++)
            need(close(fd[i]) == 0, path);
        opened[s] = (middle - begin) / FILES;
        closed[s] = (now() - middle) / FILES;
    }
    qsort(opened, STRETCHES, sizeof opened[0], ascending);
    qsort(closed, STRETCHES, sizeof closed[0], ascending);
    printf("open %.2f\nclose %.2f\n", opened[STRETCHES / 10], closed[STRETCHES / 10]);
}

static void calls(const char *path)
{
    char byte = 0;
    int zero = open("/dev/zero", O_RDONLY), null = open("/dev/null", O_WRONLY);
    need(zero >= 0 && null >= 0, "/dev");
    MEASURE("read", 1000, need(read(zero, &byte, 1) == 1, "read"));
    MEASURE("write", 1000, need(write(null, &byte, 1) == 1, "write"));
    open_and_close(path);
}

/* Nanoseconds from the start to the end of a program. */
static double run(char **arguments)
{
    pid_t pid;
    int status;
    double begin = now();
    need(posix_spawn(&pid, arguments[0], NULL, NULL, arguments, environ) == 0, arguments[0]);
    need(waitpid(pid, &status, 0) == pid, arguments[0]);
    double took = now() - begin;
    if (status != 0) {
        fprintf(stderr, "%s ended with status %d\n", arguments[0], status);
        exit(1);
    }
    return took;
}

/* words are the programs and their arguments, "--" between them, NULL behind the last. */
static void start(size_t count, char **words)
{
    enum {
        MOST = 8
    };
    char **programs[MOST] = {words};
    double *took[MOST];
    size_t n = 1;
    for (char **word = words; *word != NULL; word++)
        if (strcmp(*word, "--") == 0) {
            need(n < MOST && word[1] != NULL, "too many programs, or too few");
            *word = NULL;
            programs[n++] = ++word;
        }
    for (size_t p = 0; p < n; p++)
        need((took[p] = calloc(count, sizeof *took[p])) != NULL && count > 0, "memory");
    for (size_t i = 0; i < count; i++)
        for (size_t p = 0; p < n; p++)
            took[p][i] = run(programs[p]);
    for (size_t p = 0; p < n; p++) {
        printf("start");
        if (p > 0)
            printf("-%zu", p);
        printf(" %.2f\n", median(took[p], count));
        free(took[p]);
    }
}

static void random_reads(const char *path, size_t bytes)
{
    enum {
        BLOCK = 4096,
        COUNT = 40000
    };
    static char buffer[BLOCK];
    static double took[COUNT];
    size_t blocks = bytes / BLOCK;
    uint64_t state = 88172645463325252ULL;
    int fd = open(path, O_CREAT | O_RDWR | O_TRUNC, 0600);
    need(fd >= 0 && blocks > 0, path);
    for (size_t i = 0; i < blocks; i++) {
        memset(buffer, (int)i, BLOCK);
        need(pwrite(fd, buffer, BLOCK, (off_t)(i * BLOCK)) == BLOCK, "pwrite");
    }
    for (size_t i = 0; i < COUNT; i++) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        size_t block = state % blocks;
        double begin = now();
        ssize_t n = pread(fd, buffer, BLOCK, (off_t)(block * BLOCK));
        took[i] = now() - begin;
        need(n == BLOCK && buffer[0] == (char)block && buffer[BLOCK - 1] == (char)block, "pread: not what was written");
    }
    printf("pread %.2f\n", median(took, COUNT));
    need(close(fd) == 0 && unlink(path) == 0, path);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "calls") == 0)
        calls(argv[2]);
    else if (argc >= 4 && strcmp(argv[1], "start") == 0)
        start(strtoul(argv[2], NULL, 10), argv + 3);
    else if (argc == 4 && strcmp(argv[1], "pread") == 0)
        random_reads(argv[2], strtoul(argv[3], NULL, 10));
    else
        return 2;
    return 0;
}
