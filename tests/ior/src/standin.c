/* standin.c: what both programs share, and main: standin ior|mdtest OPTION... [--then OPTION...]... */
#include "standin.h"

#include <benchfs.h>

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>

enum {
    MAX_TESTS = 16
};

int rank, ranks;
MPI_Comm testComm;
FILE *out_logfile;
long warnings;

void standin_say(const char *kind, const char *format, ...)
{
    char line[4096]; /* in one piece: another rank may be ending the run */
    va_list args;
    int n = snprintf(line, sizeof line, "%s: ", kind);
    va_start(args, format);
    vsnprintf(line + n, sizeof line - (size_t)n, format, args);
    va_end(args);
    fprintf(out_logfile, "%s\n", line);
    fflush(out_logfile);
    if (strcmp(kind, "ERROR") == 0)
        MPI_Abort(MPI_COMM_WORLD, -1);
    warnings += strcmp(kind, "WARNING") == 0;
}

void *safeMalloc(uint64_t size)
{
    void *p = malloc(size);
    if (p == NULL)
        ERRF("no memory for %llu bytes", (unsigned long long)size);
    return p;
}

static long long number(const char *text)
{
    long long n;
    char unit = ' ';
    if (sscanf(text, "%lld%c", &n, &unit) < 1)
        return -1;
    switch (unit) {
    case 'k':
        return n << 10;
    case 'm':
        return n << 20;
    case 'g':
        return n << 30;
    }
    return n;
}

static bool is(const option_help *o, const char *name, size_t n)
{
    if (n == 2 && name[0] == '-' && name[1] != '-')
        return o->shortVar == name[1];
    return n > 2 && o->longVar != NULL && strlen(o->longVar) == n - 2 && strncmp(o->longVar, name + 2, n - 2) == 0;
}

static option_help *find(option_help *list, const char *name, size_t n)
{
    for (option_help *o = list; o->shortVar != 0 || o->longVar != NULL; o++) {
        if (is(o, name, n))
            return o;
    }
    return NULL;
}

static void set(const option_help *o, char *value)
{
    if (o->arg == OPTION_FLAG)
        ++*(int *)o->variable;
    else if (value == NULL)
        ERRF("no value for an option");
    else if (o->type == 'd')
        *(int *)o->variable = (int)number(value);
    else if (o->type == 'l')
        *(long long *)o->variable = number(value);
    else
        *(char **)o->variable = value;
}

aiori_mod_opt_t *parse(struct arguments a, option_help *own)
{
    static option_help *backends;
    static aiori_mod_opt_t *values;
    if (backends == NULL)
        backends = benchfs_aiori.get_options(&values, NULL);
    for (int i = 0; i < a.count; i++) {
        char *equals = strchr(a.text[i], '=');
        const size_t n = equals == NULL ? strlen(a.text[i]) : (size_t)(equals - a.text[i]);
        option_help *o = find(own, a.text[i], n);
        if (o == NULL)
            o = find(backends, a.text[i], n);
        if (o == NULL) {
            ERRF("unknown option %s", a.text[i]);
            return NULL;
        }
        char *value = equals == NULL ? NULL : equals + 1;
        if (o->arg != OPTION_FLAG && value == NULL && i + 1 < a.count)
            value = a.text[++i];
        set(o, value);
    }
    /* IOR gives the test the values that it parses the next one into: the backend has to see to it that they are others. */
    backends = benchfs_aiori.get_options(&values, values);
    return values;
}

static uint64_t word(uint64_t seed, int writer, IOR_offset_t offset)
{
    uint64_t x = (seed << 56) + ((uint64_t)writer << 44) + (uint64_t)offset + 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

void fill(uint64_t *data, size_t bytes, uint64_t seed, int writer, IOR_offset_t offset)
{
    for (size_t i = 0; i < bytes / 8; i++)
        data[i] = word(seed, writer, offset + (IOR_offset_t)i * 8);
}

long count_wrong(const uint64_t *data, size_t bytes, uint64_t seed, int writer, IOR_offset_t offset)
{
    long wrong = 0;
    for (size_t i = 0; i < bytes / 8; i++)
        wrong += data[i] != word(seed, writer, offset + (IOR_offset_t)i * 8);
    return wrong;
}

long total(long here)
{
    long sum = 0;
    MPI_Allreduce(&here, &sum, 1, MPI_LONG, MPI_SUM, MPI_COMM_WORLD);
    return sum;
}

void barrier(void)
{
    MPI_Barrier(testComm);
}

void show_file_system(const char *path, aiori_mod_opt_t *options)
{
    ior_aiori_statfs_t st;
    memset(&st, 0x5a, sizeof st); /* what the backend forgets shows */
    if (rank != 0)
        return;
    if (benchfs_aiori.statfs(path, &st, options) != 0) {
        WARNF("statfs failed");
        return;
    }
    printf("file system: %llu bytes, %llu free, %llu available, %llu inodes, %llu free\n",
           (unsigned long long)(st.f_blocks * st.f_bsize), (unsigned long long)(st.f_bfree * st.f_bsize),
           (unsigned long long)(st.f_bavail * st.f_bsize), (unsigned long long)st.f_files,
           (unsigned long long)st.f_ffree);
}

static int split(int argc, char **argv, struct arguments *tests)
{
    int n = 0;
    tests[0] = (struct arguments){0, argv};
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--then") == 0 && n + 1 < MAX_TESTS)
            tests[++n] = (struct arguments){0, argv + i + 1};
        else
            tests[n].count++;
    }
    return n + 1;
}

int main(int argc, char **argv)
{
    struct arguments tests[MAX_TESTS];
    long errors = 0;

    out_logfile = stdout;
    MPI_Init(&argc, &argv);
    testComm = MPI_COMM_WORLD;
    MPI_Comm_rank(testComm, &rank);
    MPI_Comm_size(testComm, &ranks);
    if (argc < 2)
        ERRF("standin ior|mdtest OPTION...");
    const int count = split(argc - 2, argv + 2, tests);
    if (strcmp(argv[1], "mdtest") == 0)
        errors = run_mdtest(tests[0]);
    else
        errors = run_ior(tests, count);

    const int lives = benchfs_is_distributed();
    const long warned = total(warnings);
    MPI_Finalize();
    if (rank == 0) {
        printf("%ld errors, %ld warnings\n", errors, warned);
        printf("session after finalize: %s, after MPI_Finalize: %s\n", lives >= 0 ? "lives" : "ended",
               benchfs_is_distributed() == -ENOTCONN ? "ended" : "lives");
    }
    return errors != 0;
}
