#include "harness.h"

#include <stdarg.h>

static struct test *tests;
static const char *running = "";
char **test_args;

void add_test(struct test *t)
{
    t->next = tests;
    tests = t;
}

void fail(const char *file, int line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%s:%d: %s: ", file, line, running);
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
    _exit(1);
}

void check_equal(const char *file, int line, const char *what, long long got, long long want)
{
    if (got != want)
        fail(file, line, "%s is %lld, want %lld (last error: %s)", what, got, want, benchfs_last_error());
}

int check_good(const char *file, int line, const char *what, long long got)
{
    if (got < 0)
        fail(file, line, "%s is %lld (%s)", what, got, benchfs_last_error());
    return (int)got;
}

void check_text(const char *file, int line, const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail(file, line, "\"%s\" does not contain \"%s\"", text, part);
}

int open_file(const char *path)
{
    return GOOD(benchfs_open(path, O_CREAT | O_RDWR, 0644));
}

void make_file(const char *path, const char *text)
{
    int fd = GOOD(benchfs_creat(path, 0644));
    EQ(benchfs_write(fd, text, strlen(text)), (long long)strlen(text));
    OK(benchfs_close(fd));
}

void has_text(const char *path, const char *text)
{
    char got[4096] = "";
    int fd = GOOD(benchfs_open(path, O_RDONLY, 0));
    EQ(benchfs_read(fd, got, sizeof got), (long long)strlen(text));
    if (memcmp(got, text, strlen(text)) != 0)
        fail(__FILE__, __LINE__, "%s contains \"%s\", want \"%s\"", path, got, text);
    OK(benchfs_close(fd));
}

long open_handles(void)
{
    char text[65536];
    long n = benchfs_stats(text, sizeof text);
    if (n < 0 || (size_t)n >= sizeof text)
        fail(__FILE__, __LINE__, "benchfs_stats is %ld (%s)", n, benchfs_last_error());
    const char *field = strstr(text, "\"open_handles\":");
    if (field == NULL)
        fail(__FILE__, __LINE__, "no open_handles in %s", text);
    return strtol(field + strlen("\"open_handles\":"), NULL, 10);
}

static char scratch[PATH_MAX];

static void remove_scratch(void)
{
    if (scratch[0] == '\0')
        return;
    char command[PATH_MAX + 16];
    snprintf(command, sizeof command, "rm -rf '%s'", scratch);
    if (system(command) != 0)
        fprintf(stderr, "%s is left over\n", scratch);
}

const char *scratch_dir(void)
{
    const char *base = getenv("TMPDIR");
    snprintf(scratch, sizeof scratch, "%s/benchfs-abi-XXXXXX", base != NULL ? base : "/tmp");
    if (mkdtemp(scratch) == NULL)
        fail(__FILE__, __LINE__, "mkdtemp: %s", strerror(errno));
    return scratch;
}

void fill(unsigned char *buf, size_t n, unsigned seed)
{
    unsigned long long x = seed + 1;
    for (size_t i = 0; i < n; i++) {
        x = x * 6364136223846793005ULL + 1442695040888963407ULL;
        buf[i] = (unsigned char)(x >> 56);
    }
}

/* Of our own environment, only what the tests set counts. */
static void clear_environment(void)
{
    extern char **environ;
    for (char **v = environ; *v != NULL;) {
        char name[256];
        size_t n = strcspn(*v, "=");
        if (strncmp(*v, "BENCHFS_", 8) != 0 || n >= sizeof name) {
            v++;
            continue;
        }
        memcpy(name, *v, n);
        name[n] = '\0';
        unsetenv(name);
        v = environ;
    }
}

static int list(void)
{
    for (struct test *t = tests; t != NULL; t = t->next)
        if (t->name[0] != '_') /* helpers of other tests */
            puts(t->name);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: %s --list | TEST [argument]...\n", argv[0]);
        return 2;
    }
    if (strcmp(argv[1], "--list") == 0)
        return list();
    struct test *t = tests;
    while (t != NULL && strcmp(t->name, argv[1]) != 0)
        t = t->next;
    if (t == NULL) {
        fprintf(stderr, "no test %s\n", argv[1]);
        return 2;
    }
    running = t->name;
    test_args = argv + 2;
    atexit(remove_scratch);
    clear_environment();
    if (t->raw) {
        t->run();
        EQ(benchfs_finalize(), -ENOTCONN); /* it has ended its sessions */
        return 0;
    }
    OK(benchfs_init(NULL));
    t->run();
    EQ(open_handles(), 0);
    OK(benchfs_finalize());
    return 0;
}
