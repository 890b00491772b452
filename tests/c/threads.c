/* threads.c: many threads at once. */
#include "harness.h"

#include <stdatomic.h>

enum {
    THREADS = 8
};

static void run_threads(void *(*body)(void *), int n)
{
    pthread_t threads[THREADS];
    for (int i = 0; i < n; i++)
        CHECK(pthread_create(&threads[i], NULL, body, (void *)(intptr_t)i) == 0);
    for (int i = 0; i < n; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

/* Each thread has a file of its own, and one that all write to in turn-taking records. */
enum {
    RECORD = 47008,
    ROUNDS = 40
};

static int shared_file;

static void *write_and_read(void *arg)
{
    unsigned id = (unsigned)(intptr_t)arg;
    unsigned char *out = malloc(RECORD), *in = malloc(RECORD);
    char path[32];
    snprintf(path, sizeof path, "/own.%u", id);
    int own = open_file(path);
    for (unsigned round = 0; round < ROUNDS; round++) {
        fill(out, RECORD, id * ROUNDS + round);
        EQ(benchfs_write(own, out, RECORD), RECORD);
        EQ(benchfs_pwrite(shared_file, out, RECORD, (off_t)(round * THREADS + id) * RECORD), RECORD);
    }
    for (unsigned round = 0; round < ROUNDS; round++) {
        fill(out, RECORD, id * ROUNDS + round);
        EQ(benchfs_pread(own, in, RECORD, (off_t)round * RECORD), RECORD);
        CHECK(memcmp(in, out, RECORD) == 0);
        EQ(benchfs_pread(shared_file, in, RECORD, (off_t)(round * THREADS + id) * RECORD), RECORD);
        CHECK(memcmp(in, out, RECORD) == 0);
    }
    OK(benchfs_close(own));
    free(in);
    free(out);
    return NULL;
}

TEST(threads_read_and_write)
{
    shared_file = open_file("/shared");
    run_threads(write_and_read, THREADS);
    struct stat st;
    OK(benchfs_fstat(shared_file, &st));
    EQ(st.st_size, (long long)RECORD * THREADS * ROUNDS);
    OK(benchfs_close(shared_file));
}

/* Sequential reads of one open file by several threads: each byte is read by exactly one of them. */
static atomic_int counts[1 << 16];

static void *read_in_turns(void *arg)
{
    int fd = shared_file;
    uint16_t records[3];
    long long n;
    while ((n = GOOD(benchfs_read(fd, records, sizeof records))) > 0)
        for (long long i = 0; i < n / 2; i++)
            atomic_fetch_add(&counts[records[i]], 1);
    return arg;
}

TEST(threads_share_an_offset)
{
    static uint16_t numbers[1 << 16];
    for (int i = 0; i < 1 << 16; i++)
        numbers[i] = (uint16_t)i;
    shared_file = open_file("/a");
    EQ(benchfs_pwrite(shared_file, numbers, sizeof numbers, 0), (long long)sizeof numbers);
    run_threads(read_in_turns, 4);
    for (int i = 0; i < 1 << 16; i++)
        EQ(atomic_load(&counts[i]), 1);
    OK(benchfs_close(shared_file));
}

/* Threads read a file that another one closes: each read gives the data, or EBADF once it is closed. */
static atomic_int victim;
static atomic_int stop;

static void *read_victim(void *arg)
{
    unsigned char in[4096], want[4096];
    fill(want, sizeof want, 7);
    while (!atomic_load(&stop)) {
        long long n = benchfs_pread(atomic_load(&victim), in, sizeof in, 0);
        if (n == -EBADF)
            continue;
        EQ(n, (long long)sizeof in);
        CHECK(memcmp(in, want, sizeof in) == 0);
    }
    return arg;
}

static void *close_victim(void *arg)
{
    for (int i = 0; i < 3000; i++) {
        int fresh = GOOD(benchfs_open("/a", O_RDONLY, 0));
        int old = atomic_exchange(&victim, fresh);
        OK(benchfs_close(old));
    }
    atomic_store(&stop, 1);
    return arg;
}

static void *read_or_close(void *arg)
{
    return (intptr_t)arg == 0 ? close_victim(arg) : read_victim(arg);
}

TEST(close_while_others_read)
{
    unsigned char out[4096];
    fill(out, sizeof out, 7);
    int fd = open_file("/a");
    EQ(benchfs_write(fd, out, sizeof out), (long long)sizeof out);
    atomic_store(&victim, fd);
    run_threads(read_or_close, 4);
    OK(benchfs_close(atomic_load(&victim)));
}

/* Each thread has its own error text, and it goes with the thread. */
static void *fail_by_name(void *arg)
{
    char path[32];
    snprintf(path, sizeof path, "/none.%d.", (int)(intptr_t)arg);
    struct stat st;
    CHECK(strcmp(benchfs_last_error(), "") == 0);
    for (int i = 0; i < 1000; i++) {
        EQ(benchfs_stat(path, &st), -ENOENT);
        CONTAINS(benchfs_last_error(), path);
    }
    return NULL;
}

TEST(error_texts_belong_to_threads)
{
    for (int i = 0; i < 10; i++)
        run_threads(fail_by_name, THREADS);
}

/* finalize in the middle of other threads' calls: they end well, or say that there is no session. */
static void *call_always(void *arg)
{
    char path[32];
    snprintf(path, sizeof path, "/t.%d", (int)(intptr_t)arg);
    char buf[100] = "x";
    while (!atomic_load(&stop)) {
        int fd = benchfs_open(path, O_CREAT | O_RDWR, 0600);
        if (fd == -ENOTCONN)
            continue;
        GOOD(fd);
        long long results[] = {benchfs_pwrite(fd, buf, sizeof buf, 0), benchfs_pread(fd, buf, sizeof buf, 0),
                               benchfs_close(fd)};
        for (int i = 0; i < 3; i++)
            CHECK(results[i] >= 0 || results[i] == -ENOTCONN || results[i] == -EBADF);
    }
    return NULL;
}

static void *cycle(void *arg)
{
    for (int i = 0; i < 100; i++) {
        OK(benchfs_init(NULL));
        GOOD(benchfs_finalize());
    }
    atomic_store(&stop, 1);
    return arg;
}

static void *cycle_or_call(void *arg)
{
    return (intptr_t)arg == 0 ? cycle(arg) : call_always(arg);
}

RAW_TEST(finalize_under_fire)
{
    run_threads(cycle_or_call, 4);
}

/* A short-lived thread a call: what the library keeps of a thread goes with it. */
static void *one_call(void *arg)
{
    struct stat st;
    OK(benchfs_stat("/", &st));
    return arg;
}

TEST(many_short_threads)
{
    for (int i = 0; i < 200; i++)
        run_threads(one_call, THREADS);
}

/* setuid and its like have every thread of the process change its ids, and wait for that: those of the library answer. */
static void *change_ids_or_call(void *arg)
{
    struct stat st;
    for (int i = 0; i < 300; i++) {
        if ((intptr_t)arg == 0)
            CHECK(setgid(getgid()) == 0 && setuid(getuid()) == 0);
        else
            OK(benchfs_stat("/", &st));
    }
    return arg;
}

TEST(ids_change_under_calls)
{
    alarm(60);
    run_threads(change_ids_or_call, THREADS);
    alarm(0);
}
