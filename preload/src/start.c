/* start.c: the constructor, settings, the log, and the report at exit. */
#include "preload.h"

#include <dlfcn.h>
#include <link.h>
#include <stdarg.h>
#include <sys/auxv.h>

struct bp_settings bp_settings BP_NEAR = {.log_fd = -1};
struct bp_paths bp_paths;
struct bp_counter bp_counters[F_COUNT];
char **bp_saved_environment;

static const char *value_of(char **environment, const char *name)
{
    size_t n = strlen(name);
    for (char **v = environment; v != NULL && *v != NULL; v++)
        if (strncmp(*v, name, n) == 0 && (*v)[n] == '=')
            return *v + n + 1;
    return NULL;
}

/* Reports to the log with one write a line, so that lines of processes do not mix. */
void bp_log(const char *format, ...)
{
    if (LIKELY(bp_settings.log_fd < 0))
        return;
    int saved = errno;
    char line[1024];
    int n = snprintf(line, sizeof line, "benchfs_preload[%d]: ", (int)getpid());
    va_list arguments;
    va_start(arguments, format);
    n += vsnprintf(line + n, sizeof line - (size_t)n - 1, format, arguments);
    va_end(arguments);
    if (n > (int)sizeof line - 2)
        n = sizeof line - 2;
    line[n] = '\n';
    (void)!REAL(write)(bp_settings.log_fd, line, (size_t)n + 1);
    errno = saved;
}

int bp_refuse(enum bp_function f, int error, const char *why)
{
    if (UNLIKELY(bp_settings.report))
        atomic_fetch_add_explicit(&bp_counters[f].refused, 1, memory_order_relaxed);
    bp_log("%s refused: %s (%s)", bp_names[f], why, strerrorname_np(error));
    errno = error;
    return -1;
}

int bp_dup_high(int fd, int command)
{
    for (int from = 200;; from /= 2) {
        int high = REAL(fcntl)(fd, command, from);
        if (high >= 0 || from == 0 || (errno != EINVAL && errno != EMFILE))
            return high;
    }
}

/* A descriptor of our own, which the program does not close with its standard streams. */
static int own_descriptor(int fd)
{
    atomic_store(&bp_active, 1);
    return bp_dup_high(fd, F_DUPFD_CLOEXEC);
}

static void open_log(const char *where)
{
    int fd = strcmp(where, "stderr") == 0 ? REAL(dup)(STDERR_FILENO)
                                          : REAL(open)(where, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd < 0)
        return;
    bp_settings.log_fd = own_descriptor(fd);
    REAL(close)(fd);
}

/* 1 if the list of names, separated by colons or commas, holds the program's. */
static int listed(const char *list, const char *program)
{
    size_t n = strlen(program);
    while (list != NULL && *list != '\0') {
        size_t length = strcspn(list, ":,");
        if (length == n && memcmp(list, program, n) == 0)
            return 1;
        list += length + (list[length] != '\0');
    }
    return 0;
}

/* Room for the library in deep generations is asked for by a tunable (benchfs run sets it). */
static int is_kept(const char *variable)
{
    return strncmp(variable, "BENCHFS_", 8) == 0 || strncmp(variable, "GLIBC_TUNABLES=", 15) == 0;
}

/* Keeps the variables that a child must have, whatever its parent makes of its environment. */
static void save_environment(char **environment)
{
    size_t count = 0;
    for (char **v = environment; v != NULL && *v != NULL; v++)
        count += is_kept(*v);
    bp_saved_environment = calloc(count + 1, sizeof *bp_saved_environment);
    if (bp_saved_environment == NULL)
        return;
    count = 0;
    for (char **v = environment; v != NULL && *v != NULL; v++)
        if (is_kept(*v) && strncmp(*v, BP_CWD_VARIABLE "=", sizeof BP_CWD_VARIABLE) != 0)
            bp_saved_environment[count++] = strdup(*v);
}

static void settle_prefix(const char *prefix)
{
    char normal[PATH_MAX];
    if (prefix == NULL || prefix[0] == '\0')
        prefix = "/benchfs";
    if (prefix[0] != '/' || bp_normalise("/", prefix, normal) != 0 || strlen(normal) < 2 ||
        strlen(normal) >= sizeof bp_settings.prefix) {
        bp_log("BENCHFS_PREFIX=%s is not an absolute path of 2 to 255 bytes: nothing is served", prefix);
        return;
    }
    strcpy(bp_settings.prefix, normal);
    bp_settings.prefix_len = strlen(normal);
    bp_settings.leaf = strrchr(bp_settings.prefix, '/') + 1;
}

/* name in the directory where we are ourselves, if it is there. */
static int beside_us(const char *name, char path[512])
{
    const char *slash = strrchr(bp_paths.self, '/');
    int n = slash != NULL ? (int)(slash - bp_paths.self) : 0;
    if (slash == NULL || snprintf(path, 512, "%.*s/%s", n, bp_paths.self, name) >= 512)
        return 0;
    return REAL(faccessat)(AT_FDCWD, path, R_OK, 0) == 0;
}

/* Our own path, and libbenchfs.so: where BENCHFS_LIBRARY says, beside us, or by the loader's search. */
static void settle_library(const char *library)
{
    Dl_info me;
    if (dladdr((void *)bp_log, &me) != 0 && me.dli_fname != NULL && strlen(me.dli_fname) < sizeof bp_paths.self)
        strcpy(bp_paths.self, me.dli_fname);
    if (library != NULL && strlen(library) < sizeof bp_paths.library) {
        strcpy(bp_paths.library, library);
        return;
    }
    if (!beside_us("libbenchfs_inner.so", bp_paths.inner))
        strcpy(bp_paths.inner, "libbenchfs_inner.so");
    if (!beside_us("libbenchfs.so.0", bp_paths.library))
        strcpy(bp_paths.library, "libbenchfs.so.0");
}

/*
 * Libraries that lie in BenchFS were preloaded by whoever started this program, as copies (exec.c). They are loaded: their descriptors are closed, and
 * programs that are started from here are not told of them.
 */
static void forget_libraries(char **environment)
{
    char *list = (char *)value_of(environment, "LD_PRELOAD");
    static const char name[] = ":" BP_LIBRARY_NAME;
    for (char *at = list; at != NULL && (at = strstr(at, name)) != NULL;) {
        char link[32], target[64], *end;
        long fd = strtol(at + sizeof name - 1, &end, 10);
        snprintf(link, sizeof link, "/proc/self/fd/%d", (int)fd);
        ssize_t n = REAL(readlink)(link, target, sizeof target);
        if (n != sizeof "/memfd:program (deleted)" - 1 || memcmp(target, "/memfd:program (deleted)", (size_t)n) != 0) {
            at = end;
            continue;
        }
        REAL(close)((int)fd);
        memmove(at, end, strlen(end) + 1);
    }
}

/*
 * The constructor reads the environment and looks for inherited descriptors, nothing more: most programs that are started never come near the
 * prefix.
 */
__attribute__((constructor)) static void start(int argc, char **argv, char **environment)
{
    (void)argc;
    int saved = errno;
    const char *log = value_of(environment, "BENCHFS_PRELOAD_LOG");
    if (log != NULL && log[0] != '\0')
        open_log(log);
    const char *program = argv != NULL && argv[0] != NULL ? argv[0] : "";
    const char *slash = strrchr(program, '/');
    if (getauxval(AT_SECURE) != 0) {
        bp_log("%s runs with other rights than its caller's: nothing is served", program);
    } else if (listed(value_of(environment, "BENCHFS_BYPASS"), slash != NULL ? slash + 1 : program)) {
        bp_log("%s is in BENCHFS_BYPASS: nothing is served", program);
    } else {
        const char *report = value_of(environment, "BENCHFS_PRELOAD_REPORT");
        bp_settings.report = report != NULL && report[0] != '\0' && strcmp(report, "0") != 0;
        if (bp_settings.report)
            bp_settings.report_fd = bp_settings.log_fd >= 0 ? bp_settings.log_fd : own_descriptor(STDERR_FILENO);
        settle_prefix(value_of(environment, "BENCHFS_PREFIX"));
    }
    settle_library(value_of(environment, "BENCHFS_LIBRARY"));
    forget_libraries(environment);
    save_environment(environment);
    bp_library_start();
    if (bp_settings.prefix_len != 0) {
        bp_where_start(value_of(environment, BP_CWD_VARIABLE));
        bp_adopt_all();
    }
    errno = saved;
}

static void report(void)
{
    char text[16384];
    size_t n = 0;
    const char *name = program_invocation_short_name;
    n += (size_t)snprintf(text, sizeof text, "benchfs_preload: %s[%d]\n", name, (int)getpid());
    for (int f = 0; f < F_COUNT && n < sizeof text - 256; f++) {
        const struct bp_counter *c = &bp_counters[f];
        if (c->calls == 0 && c->refused == 0)
            continue;
        n += (size_t)snprintf(text + n, sizeof text - n, "  %-20s %10llu calls", bp_names[f],
                              (unsigned long long)c->calls);
        if (c->bytes != 0)
            n += (size_t)snprintf(text + n, sizeof text - n, " %14llu bytes", (unsigned long long)c->bytes);
        if (c->refused != 0)
            n += (size_t)snprintf(text + n, sizeof text - n, " %8llu refused", (unsigned long long)c->refused);
        text[n++] = '\n';
    }
    for (int i = 0; i < BP_SYSCALLS && n < sizeof text - 256; i++)
        if (bp_unhandled[i] != 0)
            n += (size_t)snprintf(text + n, sizeof text - n, "  syscall %-12d %10llu unhandled\n", i,
                                  (unsigned long long)bp_unhandled[i]);
    (void)!REAL(write)(bp_settings.report_fd, text, n);
}

static void end(void)
{
    fflush(NULL);
    bp_close_all();
    bp_library_end();
    if (bp_settings.report)
        report();
}

/* The program leaves without exit handlers: what it has open is closed all the same, as the kernel closes files. */
EXPORT void _exit(int status)
{
    bp_close_all();
    REAL(_exit)(status);
    __builtin_unreachable();
}
ALIAS(_exit, _Exit);

/* ==== The end by exit() ==== */

int __libc_start_main(int (*main)(int, char **, char **), int argc, char **argv, void (*init)(void), void (*fini)(void),
                      void (*loader_end)(void), void *stack);

static void (*end_of_loader)(void);

/* Calls the destructors of one object of the program's own namespace, as the loader does. */
static int finish_object(struct dl_phdr_info *info, size_t size, void *unused)
{
    const ElfW(Dyn) *dynamic = NULL;
    void (**array)(void) = NULL;
    void (*single)(void) = NULL;
    size_t count = 0;
    (void)size;
    (void)unused;
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_DYNAMIC)
            dynamic = (const void *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
    for (; dynamic != NULL && dynamic->d_tag != DT_NULL; dynamic++) {
        switch (dynamic->d_tag) {
        case DT_FINI_ARRAY:
            array = (void (**)(void))(info->dlpi_addr + dynamic->d_un.d_ptr);
            break;
        case DT_FINI_ARRAYSZ:
            count = dynamic->d_un.d_val / sizeof *array;
            break;
        case DT_FINI:
            single = (void (*)(void))(info->dlpi_addr + dynamic->d_un.d_ptr);
            break;
        }
    }
    for (size_t i = count; array != NULL && i > 0; i--)
        array[i - 1]();
    if (single != NULL)
        single();
    return 0;
}

/*
 * Once the library has been loaded, in this process or in one that it was forked from, the loader must not end all libraries: in a child of
 * fork, those of the parent's namespaces may hold locks of threads that are not there, and would wait for ever. The program's own libraries are ended
 * here, in the order in which they were loaded: who needs others comes before them.
 */
static void end_and_loader(void)
{
    if (bp_settings.prefix_len != 0)
        end();
    if (bp_settings.prefix_len != 0 && bp_ever_loaded)
        dl_iterate_phdr(finish_object, NULL);
    else if (end_of_loader != NULL)
        end_of_loader();
}

/*
 * What is open must be closed after the program's exit handlers and destructors, and before the loader ends all libraries, ours in its namespace
 * first of all. There is one place between them: what libc is told to call last.
 */
EXPORT int __libc_start_main(int (*main)(int, char **, char **), int argc, char **argv, void (*init)(void),
                             void (*fini)(void), void (*loader_end)(void), void *stack)
{
    end_of_loader = loader_end;
    return REAL(__libc_start_main)(main, argc, argv, init, fini, end_and_loader, stack);
}
