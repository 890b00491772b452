/*
 * harness.h: one process per test. A test is a function that ends the process with a message when something is wrong.
 *
 * TEST(name) { ... }      runs in an embedded session that the harness starts; it must close all its handles.
 * RAW_TEST(name) { ... }  starts its sessions itself, and ends them.
 *
 * The program's arguments: --list, or the name of a test and what the test wants.
 */
#ifndef HARNESS_H
#define HARNESS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <benchfs.h>

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct test {
    const char *name;
    void (*run)(void);
    int raw;
    struct test *next;
};

void add_test(struct test *t);

#define DEFINE_TEST(test_name, is_raw)                                                   \
    static void test_##test_name(void);                                                  \
    static struct test entry_##test_name = {#test_name, test_##test_name, is_raw, NULL}; \
    __attribute__((constructor)) static void add_##test_name(void)                       \
    {                                                                                    \
        add_test(&entry_##test_name);                                                    \
    }                                                                                    \
    static void test_##test_name(void)

#define TEST(name) DEFINE_TEST(name, 0)
#define RAW_TEST(name) DEFINE_TEST(name, 1)

/* The test's own arguments, after its name. */
extern char **test_args;

/* Ends the test with a message; works in any thread and in a child. */
__attribute__((noreturn, format(printf, 3, 4))) void fail(const char *file, int line, const char *format, ...);

void check_equal(const char *file, int line, const char *what, long long got, long long want);
int check_good(const char *file, int line, const char *what, long long got);
void check_text(const char *file, int line, const char *text, const char *part);

#define CHECK(condition)                                        \
    do {                                                        \
        if (!(condition))                                       \
            fail(__FILE__, __LINE__, "not so: %s", #condition); \
    } while (0)
/* got == want, with the error text if got is an error. */
#define EQ(got, want) check_equal(__FILE__, __LINE__, #got, (got), (want))
#define OK(call) EQ(call, 0)
/* got >= 0; returns it, as an int. */
#define GOOD(call) check_good(__FILE__, __LINE__, #call, (call))
/* text contains part. */
#define CONTAINS(text, part) check_text(__FILE__, __LINE__, (text), (part))

/* Makes or opens a file to read and write. */
int open_file(const char *path);
/* A file with this text; no handle is left. */
void make_file(const char *path, const char *text);
/* The file at path has exactly this text. */
void has_text(const char *path, const char *text);
/* benchfs_stats' open_handles. */
long open_handles(void);
/* A new directory on the local disk, for the test alone. */
const char *scratch_dir(void);
/* Fills buf with bytes that depend on seed and position. */
void fill(unsigned char *buf, size_t n, unsigned seed);

/*
 * Every call of the interface, once, with harmless arguments: for tests of what all of them share (calls.c).
 * A path call gets its path, a file or stream call its handle; the others get nothing.
 */
struct path_call {
    const char *name;
    long long (*run)(const char *path);
};
struct handle_call {
    const char *name;
    long long (*run)(int handle);
};
extern const struct path_call path_calls[];
extern const size_t path_call_count;
extern const struct handle_call file_calls[];
extern const size_t file_call_count;
extern const struct handle_call stream_calls[];
extern const size_t stream_call_count;

#endif
