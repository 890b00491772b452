/*
 * exec.c: starting programs. A program that is started must find the interposer and the file system whatever environment it is given, know its
 * working directory, and may itself lie in BenchFS.
 */
#include "exec.h"

#include <paths.h>
#include <stdarg.h>
#include <sys/mman.h>

extern char **environ;

/* ==== Environment ==== */

static size_t name_length(const char *variable)
{
    return strcspn(variable, "=") + 1;
}

static char **find(char *const *list, const char *variable)
{
    size_t n = name_length(variable);
    for (char *const *v = list; v != NULL && *v != NULL; v++)
        if (strncmp(*v, variable, n) == 0)
            return (char **)v;
    return NULL;
}

/* LD_PRELOAD with us in it, and with libraries (":" before each): NULL if it is right as it is, or cannot be. The caller frees. */
static char *preload_variable(char *const *given, const char *libraries)
{
    static const char name[] = "LD_PRELOAD=";
    char **have = find(given, name), *made;
    const char *list = have != NULL ? *have + sizeof name - 1 : "";
    int there = bp_paths.self[0] == '\0' || strstr(list, bp_paths.self) != NULL ||
                strstr(list, "libbenchfs_preload.so") != NULL; /* or by another path */
    if (there && libraries[0] == '\0')
        return NULL;
    if (asprintf(&made, "%s%s%s%s%s", name, there ? "" : bp_paths.self, !there && list[0] != '\0' ? ":" : "", list,
                 libraries) < 0)
        return NULL;
    return made;
}

char *const *bp_settle(struct bp_environment *e, char *const *given, const char *libraries)
{
    static char *nothing[] = {NULL};
    struct bp_file *cwd = atomic_load(&bp_cwd);
    size_t count = 0, more = 2;
    memset(e, 0, sizeof *e);
    if (given == NULL)
        given = nothing;
    if (bp_settings.prefix_len == 0)
        return given;
    while (given[count] != NULL)
        count++;
    for (char **v = bp_saved_environment; v != NULL && *v != NULL; v++)
        more++;
    e->preload = preload_variable(given, libraries);
    if (cwd != NULL && asprintf(&e->cwd, "%s=%s", BP_CWD_VARIABLE, cwd->description->path) < 0)
        e->cwd = NULL;
    e->list = malloc((count + more + 1) * sizeof *e->list);
    if (e->list == NULL)
        return given;
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        if (!(e->preload != NULL && strncmp(given[i], "LD_PRELOAD=", 11) == 0) &&
            strncmp(given[i], BP_CWD_VARIABLE "=", sizeof BP_CWD_VARIABLE) != 0)
            e->list[n++] = given[i];
    for (char **v = bp_saved_environment; v != NULL && *v != NULL; v++)
        if (find(given, *v) == NULL)
            e->list[n++] = *v;
    if (e->preload != NULL)
        e->list[n++] = e->preload;
    if (e->cwd != NULL)
        e->list[n++] = e->cwd;
    e->list[n] = NULL;
    return e->list;
}

void bp_discard(struct bp_environment *e)
{
    int saved = errno;
    free(e->list);
    free(e->preload);
    free(e->cwd);
    errno = saved;
}

/* ==== Programs that lie in BenchFS ==== */

int bp_copy_program(int fd, off_t size, int cloexec)
{
    int memfd = memfd_create("program", cloexec ? MFD_CLOEXEC : 0);
    char *buf = malloc(1 << 20);
    off_t done = 0;
    while (memfd >= 0 && buf != NULL && done < size) {
        ssize_t n = pread(fd, buf, 1 << 20, done);
        if (n <= 0 || REAL(pwrite)(memfd, buf, (size_t)n, done) != n)
            break;
        done += n;
    }
    free(buf);
    if (memfd >= 0 && done < size) {
        REAL(close)(memfd);
        errno = EIO;
        return -1;
    }
    return memfd;
}

/* "#! interpreter argument": the arguments of the interpreter instead of the script's, which it calls as the program did. */
static int prepare_script(struct bp_program *p, const char *script, char *const *arguments)
{
    char *interpreter = p->line + 2 + strspn(p->line + 2, " \t"), *argument = NULL;
    size_t count = 0;
    interpreter[strcspn(interpreter, "\n")] = '\0';
    size_t n = strcspn(interpreter, " \t");
    if (interpreter[n] != '\0') {
        argument = interpreter + n + 1 + strspn(interpreter + n + 1, " \t");
        interpreter[n] = '\0';
        size_t end = strlen(argument);
        while (end > 0 && (argument[end - 1] == ' ' || argument[end - 1] == '\t'))
            argument[--end] = '\0';
    }
    if (interpreter[0] == '\0') {
        errno = ENOEXEC;
        return -1;
    }
    while (arguments != NULL && arguments[count] != NULL)
        count++;
    p->arguments = malloc((count + 4) * sizeof *p->arguments);
    if (p->arguments == NULL)
        return -1;
    size_t k = 0;
    p->arguments[k++] = interpreter;
    if (argument != NULL && argument[0] != '\0')
        p->arguments[k++] = argument;
    p->arguments[k++] = (char *)script;
    for (size_t i = 1; i < count; i++)
        p->arguments[k++] = arguments[i];
    p->arguments[k] = NULL;
    p->path = interpreter;
    return 0;
}

/* Takes in a program that is open as fd. */
static int prepare_open(struct bp_program *p, const char *path, int fd, char *const *arguments, int cloexec)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return -1;
    if (!S_ISREG(st.st_mode) || (st.st_mode & 0111) == 0) {
        errno = EACCES;
        return -1;
    }
    ssize_t n = pread(fd, p->line, sizeof p->line - 1, 0);
    if (n < 0)
        return -1;
    p->line[n] = '\0';
    if (n > 2 && p->line[0] == '#' && p->line[1] == '!')
        return prepare_script(p, path, arguments);
    p->memfd = bp_copy_program(fd, st.st_size, cloexec);
    if (p->memfd < 0)
        return -1;
    snprintf(p->text, sizeof p->text, "/proc/self/fd/%d", p->memfd);
    p->path = p->text;
    return 0;
}

void bp_finish_program(struct bp_program *p)
{
    int saved = errno;
    if (p->memfd >= 0)
        REAL(close)(p->memfd);
    for (size_t i = 0; i < p->count; i++)
        REAL(close)(p->memfds[i]);
    free(p->arguments);
    errno = saved;
}

/* A library that the program needs, and what that needs: a copy is left open, for the loader to find by its name. */
static void add_library(const char *path, const char *name, void *data)
{
    struct bp_program *p = data;
    struct stat st;
    char full[PATH_MAX];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int copy = fd >= 0 && fstat(fd, &st) == 0 ? bp_copy_program(fd, st.st_size, 1) : -1;
    if (fd >= 0)
        close(fd);
    if (copy >= 0 && !bp_has_soname(copy, name)) {
        bp_log("%s: the loader would not take it for %s, its soname is another", path, name);
    } else if (copy >= 0 && p->count < sizeof p->memfds / sizeof p->memfds[0]) {
        for (size_t i = 0; i < p->count; i++)
            if (bp_has_soname(p->memfds[i], name)) {
                REAL(close)(copy);
                return;
            }
        int high = bp_dup_high(copy, F_DUPFD);
        if (high >= 0) {
            p->memfds[p->count++] = high;
            size_t n = strlen(p->libraries);
            snprintf(p->libraries + n, sizeof p->libraries - n, ":" BP_LIBRARY_NAME "%d", high);
            if (bp_realpath(AT_FDCWD, path, full) != NULL) {
                *strrchr(full, '/') = '\0';
                bp_each_needed(copy, full, add_library, p);
            }
        }
    }
    if (copy >= 0)
        REAL(close)(copy);
}

/* The loader finds no library in BenchFS by itself. */
static void add_libraries(struct bp_program *p, const char *given)
{
    char origin[PATH_MAX];
    int fd = REAL(open)(p->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    snprintf(origin, sizeof origin, "%s", p->memfd >= 0 ? p->name : given);
    char *slash = strrchr(origin, '/');
    if (slash != NULL)
        *slash = '\0';
    bp_each_needed(fd, slash != NULL ? origin : ".", add_library, p);
    REAL(close)(fd);
}

static int find_program(struct bp_program *p, const char *path, char *const *arguments, int cloexec);

/* Finds out what to start for a path; 0, or -1 and errno. */
int bp_prepare(struct bp_program *p, const char *path, char *const *arguments, int cloexec)
{
    p->count = 0;
    p->libraries[0] = '\0';
    int rc = find_program(p, path, arguments, cloexec);
    if (rc == 0 && p->arguments == NULL)
        add_libraries(p, path);
    return rc;
}

static int find_program(struct bp_program *p, const char *path, char *const *arguments, int cloexec)
{
    struct bp_where w;
    p->memfd = -1;
    p->arguments = NULL;
    p->path = path;
    enum bp_side side = bp_locate_following(AT_FDCWD, path, 1, &w);
    if (LIKELY(side == BP_OUTSIDE)) {
        if (w.path == w.text) { /* through the prefix and out again */
            snprintf(p->text, sizeof p->text, "%s", w.path);
            p->path = p->text;
        }
        if (REAL(faccessat)(AT_FDCWD, p->path, F_OK, 0) == 0 || !bp_follow_in(AT_FDCWD, path, &w, 1))
            return 0;
    } else if (side == BP_NOWHERE) {
        return -1;
    }
    bp_count(F_execve);
    if (bp_realpath(AT_FDCWD, path, p->name) == NULL)
        return -1;
    if (!bp_under_prefix(p->name)) { /* a link that leads out */
        p->path = p->name;
        return 0;
    }
    if (faccessat(AT_FDCWD, p->name, X_OK, AT_EACCESS) != 0)
        return -1;
    int fd = open(p->name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    int rc = prepare_open(p, path, fd, arguments, cloexec);
    int saved = errno;
    close(fd);
    errno = saved;
    return rc;
}

/*
 * The process ends as far as the library knows: what it has to tell is told now. Not if the new program goes on with open files or locks, which
 * live as long as this session, and that as long as the process.
 */
static void leave(void)
{
    bp_share_all();
    bp_write_back_all();
    if (!atomic_load(&bp_library_ready) || atomic_load(&bp_locks_taken))
        return;
    for (int fd = 0; fd <= atomic_load(&bp_fd_high); fd++)
        if (bp_file(fd) != NULL && (REAL(fcntl)(fd, F_GETFD) & FD_CLOEXEC) == 0)
            return;
    bp_close_all();
}

/* ==== exec ==== */

EXPORT int execve(const char *path, char *const arguments[], char *const environment[])
{
    struct bp_environment e;
    struct bp_program p;
    if (bp_settings.prefix_len == 0)
        return REAL(execve)(path, arguments, environment);
    if (bp_prepare(&p, path, arguments, 1) != 0)
        return -1;
    char *const *list = bp_settle(&e, environment, p.libraries);
    if (REAL(faccessat)(AT_FDCWD, p.path, X_OK, AT_EACCESS) == 0)
        leave();
    int rc = p.arguments != NULL ? execve(p.path, p.arguments, list) : REAL(execve)(p.path, arguments, list);
    bp_discard(&e);
    bp_finish_program(&p);
    return rc;
}

EXPORT int execv(const char *path, char *const arguments[])
{
    return execve(path, arguments, environ);
}

/* A file without "#!" that cannot be executed is a script of the shell. */
static int execute_shell(const char *path, char *const arguments[], char *const environment[])
{
    size_t count = 0;
    while (arguments[count] != NULL)
        count++;
    const char **list = malloc((count + 3) * sizeof *list);
    if (list == NULL)
        return -1;
    list[0] = _PATH_BSHELL;
    list[1] = path;
    for (size_t i = 1; i <= count; i++)
        list[i + 1] = arguments[i];
    if (count == 0)
        list[2] = NULL;
    int rc = execve(_PATH_BSHELL, (char *const *)list, environment);
    free(list);
    return rc;
}

static int try_one(const char *path, char *const arguments[], char *const environment[])
{
    int rc = execve(path, arguments, environment);
    return rc != 0 && errno == ENOEXEC ? execute_shell(path, arguments, environment) : rc;
}

EXPORT int execvpe(const char *file, char *const arguments[], char *const environment[])
{
    int denied = 0;
    if (file[0] == '\0') {
        errno = ENOENT;
        return -1;
    }
    if (strchr(file, '/') != NULL)
        return try_one(file, arguments, environment);
    const char *path = getenv("PATH");
    if (path == NULL)
        path = "/bin:/usr/bin";
    for (const char *end;; path = end + 1) {
        char candidate[PATH_MAX];
        end = strchrnul(path, ':');
        int n = (int)(end - path);
        if (snprintf(candidate, sizeof candidate, "%.*s%s%s", n, path, n > 0 ? "/" : "", file) <
            (int)sizeof candidate) {
            try_one(candidate, arguments, environment);
            switch (errno) {
            case EACCES:
                denied = 1;
                break;
            case ENOENT:
            case ENOTDIR:
            case ESTALE:
            case ENODEV:
            case ETIMEDOUT:
                break;
            default:
                return -1;
            }
        }
        if (*end == '\0')
            break;
    }
    errno = denied ? EACCES : ENOENT;
    return -1;
}

EXPORT int execvp(const char *file, char *const arguments[])
{
    return execvpe(file, arguments, environ);
}

/* The arguments of execl and its like as a list, on the caller's stack. */
#define GATHER(list, first)             \
    va_list ap_;                        \
    size_t n_ = 1;                      \
    va_start(ap_, first);               \
    while (va_arg(ap_, char *) != NULL) \
        n_++;                           \
    va_end(ap_);                        \
    char *list[n_ + 1];                 \
    va_start(ap_, first);               \
    list[0] = (char *)(first);          \
    for (size_t i_ = 1; i_ <= n_; i_++) \
    list[i_] = va_arg(ap_, char *)

EXPORT int execl(const char *path, const char *first, ...)
{
    GATHER(list, first);
    va_end(ap_);
    return execve(path, list, environ);
}

EXPORT int execlp(const char *file, const char *first, ...)
{
    GATHER(list, first);
    va_end(ap_);
    return execvpe(file, list, environ);
}

EXPORT int execle(const char *path, const char *first, ...)
{
    GATHER(list, first);
    char *const *environment = va_arg(ap_, char *const *);
    va_end(ap_);
    return execve(path, list, environment);
}

EXPORT int fexecve(int fd, char *const arguments[], char *const environment[])
{
    struct bp_environment e;
    struct bp_file *f = bp_file(fd);
    if (bp_settings.prefix_len == 0)
        return REAL(fexecve)(fd, arguments, environment);
    int program = fd, rc;
    if (f != NULL) {
        struct stat st;
        if (fstat(fd, &st) != 0 || (program = bp_copy_program(fd, st.st_size, 0)) < 0)
            return -1;
    }
    leave();
    rc = REAL(fexecve)(program, arguments, bp_settle(&e, environment, ""));
    bp_discard(&e);
    if (f != NULL)
        REAL(close)(program);
    return rc;
}

EXPORT int execveat(int dirfd, const char *path, char *const arguments[], char *const environment[], int flags)
{
    struct bp_environment e;
    struct bp_where w;
    if (path[0] == '\0' && (flags & AT_EMPTY_PATH) != 0)
        return fexecve(dirfd, arguments, environment);
    if (bp_locate(dirfd, path, &w) == BP_OUTSIDE) {
        leave();
        int rc = REAL(execveat)(dirfd, path, arguments, bp_settle(&e, environment, ""), flags);
        bp_discard(&e);
        return rc;
    }
    int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | ((flags & AT_SYMLINK_NOFOLLOW) != 0 ? O_NOFOLLOW : 0));
    if (fd < 0)
        return -1;
    return fexecve(fd, arguments, environment);
}

/* libc's own starters do not pass by fork or posix_spawn. */
EXPORT int system(const char *command)
{
    bp_share_all();
    return REAL(system)(command);
}

EXPORT FILE *popen(const char *command, const char *mode)
{
    bp_share_all();
    return REAL(popen)(command, mode);
}

/* The child of vfork works in its parent's memory, where closing a file closes the parent's: it gets a memory of its own. */
EXPORT pid_t vfork(void)
{
    return fork();
}
ALIAS(vfork, __vfork);
