/* session.c: the life of a session, its options, its errors; fork. */
#include "harness.h"

#include <dirent.h>
#include <spawn.h>

extern char **environ;

static void all_calls_return(int code, int handle)
{
    for (size_t i = 0; i < path_call_count; i++)
        check_equal(__FILE__, __LINE__, path_calls[i].name, path_calls[i].run("/a"), code);
    for (size_t i = 0; i < file_call_count; i++)
        check_equal(__FILE__, __LINE__, file_calls[i].name, file_calls[i].run(handle), code);
    for (size_t i = 0; i < stream_call_count; i++)
        check_equal(__FILE__, __LINE__, stream_calls[i].name, stream_calls[i].run(handle), code);
    char text[16];
    EQ(benchfs_is_distributed(), code);
    EQ(benchfs_sync(), code);
    EQ(benchfs_stats(text, sizeof text), code);
    EQ(benchfs_finalize(), code);
}

RAW_TEST(calls_before_init)
{
    CHECK(strcmp(benchfs_last_error(), "") == 0);
    all_calls_return(-ENOTCONN, 1 << 20);
    CONTAINS(benchfs_last_error(), "not initialised");
    OK(benchfs_init(NULL));
    OK(benchfs_finalize());
    all_calls_return(-ENOTCONN, 1 << 20);
}

RAW_TEST(inits_nest)
{
    struct benchfs_options o = BENCHFS_OPTIONS_INIT;
    o.config_text = "[client]\nworkers = 2\n";
    OK(benchfs_init(&o));
    OK(benchfs_init(&o));
    OK(benchfs_init(NULL));
    o.config_text = "[client]\nworkers = 3\n";
    EQ(benchfs_init(&o), -EALREADY);
    int fd = open_file("/a");
    OK(benchfs_finalize());
    OK(benchfs_finalize());
    OK(benchfs_close(fd));
    OK(benchfs_finalize());
}

RAW_TEST(cycles_are_cheap_and_start_anew)
{
    struct stat st;
    for (int i = 0; i < 100; i++) {
        OK(benchfs_init(NULL));
        EQ(benchfs_stat("/a", &st), -ENOENT); /* in memory: each session has its own file system */
        make_file("/a", "x");
        OK(benchfs_finalize());
    }
}

RAW_TEST(finalize_with_open_handles)
{
    OK(benchfs_init(NULL));
    int fd = open_file("/a");
    GOOD(benchfs_dup(fd));
    int dir = GOOD(benchfs_opendir("/"));
    EQ(open_handles(), 3);
    EQ(benchfs_finalize(), 3);
    OK(benchfs_init(NULL));
    char c;
    struct benchfs_dirent e;
    EQ(benchfs_read(fd, &c, 1), -EBADF);
    EQ(benchfs_readdir(dir, &e), -EBADF);
    EQ(open_handles(), 0);
    OK(benchfs_finalize());
}

RAW_TEST(version_mismatch)
{
    EQ(benchfs_init_version(BENCHFS_API_VERSION + (1u << 16), NULL), -EPROTONOSUPPORT);
    CONTAINS(benchfs_last_error(), "benchfs.h");
    EQ(benchfs_init_version(BENCHFS_API_VERSION + 1, NULL), -EPROTONOSUPPORT);
    EQ(benchfs_init_version(UINT32_MAX, NULL), -EPROTONOSUPPORT);
    char text[32];
    snprintf(text, sizeof text, "%d.%d.", BENCHFS_API_MAJOR, BENCHFS_API_MINOR);
    CHECK(strncmp(benchfs_version(), text, strlen(text)) == 0);
}

RAW_TEST(bad_options)
{
    struct benchfs_options o = BENCHFS_OPTIONS_INIT;
    o.size = 0;
    EQ(benchfs_init(&o), -EINVAL);
    o.size = sizeof o - 1;
    EQ(benchfs_init(&o), -EINVAL);
    o.size = SIZE_MAX;
    EQ(benchfs_init(&o), -EINVAL);
    o = (struct benchfs_options)BENCHFS_OPTIONS_INIT;
    o.mode = 3;
    EQ(benchfs_init(&o), -EINVAL);
    o.mode = -1;
    EQ(benchfs_init(&o), -EINVAL);
    o = (struct benchfs_options)BENCHFS_OPTIONS_INIT;
    o.flags = 2;
    EQ(benchfs_init(&o), -EINVAL);
}

/* A program compiled with a later header: more fields. They may be there, but not be asked for. */
RAW_TEST(options_of_a_later_header)
{
    struct {
        struct benchfs_options known;
        uint64_t later;
    } o = {BENCHFS_OPTIONS_INIT, 0};
    o.known.size = sizeof o;
    OK(benchfs_init(&o.known));
    OK(benchfs_finalize());
    o.later = 1;
    EQ(benchfs_init(&o.known), -EINVAL);
}

RAW_TEST(bad_configuration)
{
    struct benchfs_options o = BENCHFS_OPTIONS_INIT;
    o.config_text = "[client]\nworkers = -1\n";
    EQ(benchfs_init(&o), -EINVAL);
    CONTAINS(benchfs_last_error(), "client.workers");
    CONTAINS(benchfs_last_error(), ":2");
    o.config_text = "[client]\nwrokers = 1\n";
    EQ(benchfs_init(&o), -EINVAL);
    CONTAINS(benchfs_last_error(), "wrokers");
    o.config_text = "this is no TOML";
    EQ(benchfs_init(&o), -EINVAL);
    o.config_text = NULL;
    o.config_file = "/does/not/exist.toml";
    EQ(benchfs_init(&o), -ENOENT);
    CONTAINS(benchfs_last_error(), "/does/not/exist.toml");
    o.config_file = "/tmp";
    CHECK(benchfs_init(&o) < 0);
    OK(benchfs_init(NULL)); /* what failed left nothing behind */
    OK(benchfs_finalize());
}

/* The environment counts as it is when benchfs_init is called, not as it was when the library was loaded. */
RAW_TEST(environment_is_read_by_init)
{
    struct benchfs_options o = BENCHFS_OPTIONS_INIT;
    CHECK(setenv("BENCHFS_CLIENT_WORKERS", "many", 1) == 0);
    EQ(benchfs_init(NULL), -EINVAL);
    CONTAINS(benchfs_last_error(), "BENCHFS_CLIENT_WORKERS");
    o.flags = BENCHFS_INIT_NO_ENVIRONMENT;
    OK(benchfs_init(&o));
    OK(benchfs_finalize());
    CHECK(unsetenv("BENCHFS_CLIENT_WORKERS") == 0);
    OK(benchfs_init(NULL));
    OK(benchfs_finalize());
}

RAW_TEST(configuration_file_from_the_environment)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/benchfs.toml", scratch_dir());
    FILE *f = fopen(path, "w");
    CHECK(f != NULL && fputs("[layout]\nstrategy = \"hash\"\n", f) >= 0 && fclose(f) == 0);
    CHECK(setenv("BENCHFS_CONFIG", path, 1) == 0);
    OK(benchfs_init(NULL));
    make_file("/a", "x");
    struct benchfs_layout layout = BENCHFS_LAYOUT_INIT;
    OK(benchfs_get_layout("/a", &layout));
    EQ(layout.strategy, BENCHFS_LAYOUT_HASH);
    OK(benchfs_finalize());
}

RAW_TEST(mode_is_never_a_by_product)
{
    struct benchfs_options o = BENCHFS_OPTIONS_INIT;
    o.mode = BENCHFS_MODE_DISTRIBUTED;
    CHECK(benchfs_init(&o) < 0); /* no daemons are configured: not a reason to be embedded */
    char text[PATH_MAX + 128];
    snprintf(text, sizeof text, "[cluster]\nregistry_dir = \"%s\"\nexpected_nodes = 2\njoin_timeout = \"200ms\"\n",
             scratch_dir());
    o.mode = BENCHFS_MODE_CONFIGURED;
    o.config_text = text;
    int rc = benchfs_init(&o); /* no daemon runs */
    CHECK(rc == -EHOSTUNREACH || rc == -ETIMEDOUT);
    CONTAINS(benchfs_last_error(), "0");
    o.mode = BENCHFS_MODE_EMBEDDED;
    OK(benchfs_init(&o));
    EQ(benchfs_is_distributed(), 0);
    OK(benchfs_finalize());
}

/* Runs a helper of this program with the given argument; returns its exit status. */
static int run_helper(const char *name, const char *argument)
{
    char *argv[] = {"/proc/self/exe", (char *)name, (char *)argument, NULL};
    pid_t pid;
    CHECK(posix_spawn(&pid, "/proc/self/exe", NULL, NULL, argv, environ) == 0);
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int init_at(const char *data_dir)
{
    char text[PATH_MAX + 128];
    snprintf(text, sizeof text, "[store]\ndata_dir = \"%s\"\ncapacity = \"64MiB\"\n", data_dir);
    struct benchfs_options o = BENCHFS_OPTIONS_INIT;
    o.config_text = text;
    return benchfs_init(&o);
}

RAW_TEST(_second_process)
{
    EQ(init_at(test_args[0]), -EBUSY);
    CONTAINS(benchfs_last_error(), test_args[0]);
}

RAW_TEST(_later_process)
{
    OK(init_at(test_args[0]));
    has_text("/d/kept", "kept");
    OK(benchfs_finalize());
}

RAW_TEST(data_dir_persists_and_belongs_to_one)
{
    const char *dir = scratch_dir();
    OK(init_at(dir));
    OK(benchfs_mkdir("/d", 0755));
    make_file("/d/kept", "kept");
    EQ(run_helper("_second_process", dir), 0);
    has_text("/d/kept", "kept");
    OK(benchfs_finalize());
    EQ(run_helper("_later_process", dir), 0);
    OK(init_at(dir));
    has_text("/d/kept", "kept");
    OK(benchfs_finalize());
}

RAW_TEST(umask_is_taken_and_left)
{
    umask(027);
    OK(benchfs_init(NULL));
    int fd = GOOD(benchfs_open("/a", O_CREAT | O_RDWR, 0666));
    struct stat st;
    OK(benchfs_fstat(fd, &st));
    EQ(st.st_mode, S_IFREG | 0640);
    EQ(st.st_uid, geteuid());
    EQ(st.st_gid, getegid());
    OK(benchfs_mkdir("/d", 0777));
    OK(benchfs_stat("/d", &st));
    EQ(st.st_mode, S_IFDIR | 0750);
    OK(benchfs_close(fd));
    OK(benchfs_finalize());
    EQ(umask(0), 027);
}

/* Nothing of the process changes: signal mask, handlers of common signals, working directory. */
RAW_TEST(host_process_is_left_alone)
{
    sigset_t before, after;
    char cwd_before[PATH_MAX], cwd_after[PATH_MAX];
    struct sigaction term;
    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &before) == 0 && getcwd(cwd_before, sizeof cwd_before) != NULL);
    OK(benchfs_init(NULL));
    make_file("/a", "x");
    OK(benchfs_finalize());
    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &after) == 0 && getcwd(cwd_after, sizeof cwd_after) != NULL);
    for (int s = 1; s < 32; s++)
        EQ(sigismember(&after, s), sigismember(&before, s));
    CHECK(strcmp(cwd_before, cwd_after) == 0);
    const int plain[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGALRM, SIGCHLD};
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
        CHECK(sigaction(plain[i], NULL, &term) == 0);
        CHECK(term.sa_handler == SIG_DFL || term.sa_handler == SIG_IGN); /* as whoever started us has it */
    }
}

/* How many of the other threads would take a signal of the process. */
static int takers(int signal)
{
    DIR *dir = opendir("/proc/self/task");
    struct dirent *e;
    int count = 0;
    CHECK(dir != NULL);
    while ((e = readdir(dir)) != NULL) {
        char path[300], line[200];
        snprintf(path, sizeof path, "/proc/self/task/%s/status", e->d_name);
        FILE *f = e->d_name[0] != '.' && atoi(e->d_name) != getpid() ? fopen(path, "r") : NULL;
        while (f != NULL && fgets(line, sizeof line, f) != NULL)
            if (strncmp(line, "SigBlk:", 7) == 0)
                count += (strtoull(line + 7, NULL, 16) >> (signal - 1) & 1) == 0;
        if (f != NULL)
            fclose(f);
    }
    closedir(dir);
    return count;
}

static void *call_with_all_blocked(void *unused)
{
    sigset_t all, after;
    struct stat st;
    sigfillset(&all);
    CHECK(pthread_sigmask(SIG_SETMASK, &all, NULL) == 0);
    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &all) == 0); /* without those that cannot be blocked */
    OK(benchfs_stat("/", &st));
    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &after) == 0);
    for (int s = 1; s <= SIGRTMAX; s++)
        EQ(sigismember(&after, s), sigismember(&all, s));
    return unused;
}

/* A program that blocks a signal in all its threads, to wait for it, gets it: the library's threads take none. */
RAW_TEST(signals_are_the_programs)
{
    pthread_t thread;
    OK(benchfs_init(NULL));
    make_file("/a", "x");
    CHECK(pthread_create(&thread, NULL, call_with_all_blocked, NULL) == 0 && pthread_join(thread, NULL) == 0);
    const int signals[] = {SIGCHLD, SIGPROF, SIGALRM, SIGTERM, SIGRTMIN, SIGRTMAX};
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
        EQ(takers(signals[i]), 0);
    OK(benchfs_finalize());
}

static void *init_and_finalize(void *unused)
{
    for (int i = 0; i < 50; i++) {
        OK(benchfs_init(NULL));
        struct stat st;
        OK(benchfs_stat("/", &st));
        GOOD(benchfs_finalize());
    }
    return unused;
}

RAW_TEST(concurrent_inits)
{
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, init_and_finalize, NULL) == 0);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

TEST(texts_of_errors)
{
    struct stat st;
    EQ(benchfs_stat("/no/such", &st), -ENOENT);
    CONTAINS(benchfs_last_error(), "stat");
    CONTAINS(benchfs_last_error(), "\"/no/such\"");
    EQ(benchfs_close(12345), -EBADF);
    CONTAINS(benchfs_last_error(), "12345");
    OK(benchfs_stat("/", &st));
    CONTAINS(benchfs_last_error(), "12345"); /* success leaves it */
    EQ(benchfs_stat(NULL, &st), -EFAULT);
    CONTAINS(benchfs_last_error(), "NULL");
    CHECK(strcmp(benchfs_strerror(-ENOENT), benchfs_strerror(ENOENT)) == 0);
    CONTAINS(benchfs_strerror(-ENOENT), "no such file");
    CONTAINS(benchfs_strerror(-ECHILD), "fork");
    CHECK(strcmp(benchfs_strerror(0), "success") == 0);
    CHECK(strcmp(benchfs_strerror(12345), "unknown error") == 0);
    CHECK(strcmp(benchfs_strerror(INT_MIN), "unknown error") == 0);
}

TEST(stats_tell_their_length)
{
    char *text = NULL;
    long need = GOOD(benchfs_stats(NULL, 0));
    text = malloc((size_t)need + 100);
    long n = GOOD(benchfs_stats(text, (size_t)need + 100));
    EQ((long)strlen(text), n);
    CHECK(text[0] == '{' && text[n - 1] == '}');
    CONTAINS(text, "\"bytes_written\"");
    memset(text, 'x', 8);
    GOOD(benchfs_stats(text, 4));
    CHECK(strlen(text) == 3 && text[4] == 'x');
    EQ(benchfs_stats(NULL, 10), -EFAULT);
    EQ(benchfs_stats(text, SIZE_MAX), -EINVAL);
    free(text);
}

/* The child of a fork: every call refuses, at once, and the parent goes on. */
TEST(fork_guard)
{
    int fd = open_file("/a");
    EQ(benchfs_write(fd, "parent", 6), 6);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        alarm(30);
        all_calls_return(-ECHILD, fd);
        EQ(benchfs_init(NULL), -ECHILD);
        CONTAINS(benchfs_last_error(), "fork");
        CHECK(strcmp(benchfs_version(), "") != 0);
        CONTAINS(benchfs_strerror(-ECHILD), "fork");
        pid_t grandchild = fork();
        if (grandchild == 0)
            _exit(benchfs_close(fd) == -ECHILD ? 0 : 1);
        int status;
        CHECK(waitpid(grandchild, &status, 0) == grandchild && status == 0);
        _exit(0);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    EQ(benchfs_pwrite(fd, "P", 1, 0), 1);
    OK(benchfs_close(fd));
    has_text("/a", "Parent");
}

/* Programs that the process starts have nothing to do with it: fork with exec, posix_spawn, system. */
TEST(starting_programs_is_fine)
{
    EQ(run_helper("calls_before_init", ""), 0);
    EQ(system("true"), 0);
    make_file("/a", "x"); /* still ours */
}
