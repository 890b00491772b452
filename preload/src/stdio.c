/*
 * stdio.c: libc's streams. They reach the kernel from inside libc, so a stream on a file of ours is one with functions of ours
 * (fopencookie(3)), which has the descriptor's number in it all the same, for fileno().
 */
#include "preload.h"

#include <stdarg.h>
#include <stdio_ext.h>

static ssize_t cookie_read(void *cookie, char *buf, size_t n)
{
    return read((int)(intptr_t)cookie, buf, n);
}

static ssize_t cookie_write(void *cookie, const char *buf, size_t n)
{
    ssize_t moved = write((int)(intptr_t)cookie, buf, n);
    return moved < 0 ? 0 : moved; /* as fopencookie(3) wants an error told; errno says which */
}

static int cookie_seek(void *cookie, off64_t *offset, int whence)
{
    off_t at = lseek((int)(intptr_t)cookie, *offset, whence);
    if (at < 0)
        return -1;
    *offset = at;
    return 0;
}

static int cookie_close(void *cookie)
{
    return close((int)(intptr_t)cookie);
}

static const cookie_io_functions_t functions = {cookie_read, cookie_write, cookie_seek, cookie_close};

/* libc's struct for such streams: behind the public part, the table of methods, what the functions get, and the functions. */
struct cookie_stream {
    FILE file;
    const void *methods;
    void *cookie;
    cookie_io_functions_t functions;
};

/* As libc has them in streams of ours; it keeps the functions' addresses in a form of its own. NULL as long as there is none. */
static const void *_Atomic methods;
static cookie_read_function_t *_Atomic reader;

static FILE *make_stream(int fd, const char *mode)
{
    FILE *stream = fopencookie((void *)(intptr_t)fd, mode, functions);
    if (stream == NULL)
        return NULL;
    stream->_fileno = fd;
    atomic_store(&reader, ((const struct cookie_stream *)stream)->functions.read);
    atomic_store(&methods, ((const struct cookie_stream *)stream)->methods);
    return stream;
}

int bp_is_own_stream(const FILE *stream)
{
    const struct cookie_stream *s = (const struct cookie_stream *)stream;
    const void *known = atomic_load_explicit(&methods, memory_order_relaxed);
    return UNLIKELY(known != NULL) && s->methods == known && s->functions.read == atomic_load(&reader);
}

/* open(2)'s flags for fopen's mode; -1 and EINVAL for none. */
static int flags_of(const char *mode)
{
    int flags;
    switch (mode[0]) {
    case 'r':
        flags = O_RDONLY;
        break;
    case 'w':
        flags = O_WRONLY | O_CREAT | O_TRUNC;
        break;
    case 'a':
        flags = O_WRONLY | O_CREAT | O_APPEND;
        break;
    default:
        errno = EINVAL;
        return -1;
    }
    for (const char *m = mode + 1; *m != '\0' && *m != ','; m++) {
        switch (*m) {
        case '+':
            flags = (flags & ~O_ACCMODE) | O_RDWR;
            break;
        case 'x':
            flags |= O_EXCL;
            break;
        case 'e':
            flags |= O_CLOEXEC;
            break;
        }
    }
    return flags;
}

/* The mode as fopencookie takes it: no "x", "e", "m" or character set. */
static void plain_mode(const char *mode, char out[4])
{
    size_t n = 0;
    out[n++] = mode[0];
    if (strchr(mode, '+') != NULL)
        out[n++] = '+';
    out[n] = '\0';
}

static FILE *stream_on(int fd, const char *mode)
{
    char plain[4];
    plain_mode(mode, plain);
    return make_stream(fd, plain);
}

EXPORT FILE *fopen(const char *path, const char *mode)
{
    struct bp_where w;
    if (LIKELY(bp_locate_following(AT_FDCWD, path, 1, &w) == BP_OUTSIDE)) {
        FILE *real = REAL(fopen)(w.path, mode);
        if (LIKELY(real != NULL) || !bp_follow_in(AT_FDCWD, path, &w, 1))
            return real;
    }
    int flags = flags_of(mode);
    int fd = flags < 0 ? -1 : open(path, flags, 0666);
    if (fd < 0)
        return NULL;
    bp_count(F_fopen);
    FILE *stream = bp_file(fd) != NULL ? stream_on(fd, mode) : REAL(fdopen)(fd, mode);
    if (stream == NULL)
        close(fd);
    else if (flags & O_APPEND)
        lseek(fd, 0, SEEK_END);
    return stream;
}
ALIAS(fopen, fopen64);

EXPORT FILE *fdopen(int fd, const char *mode)
{
    struct bp_file *f = bp_file(fd);
    if (LIKELY(f == NULL))
        return REAL(fdopen)(fd, mode);
    bp_count(F_fdopen);
    int wanted = flags_of(mode), have = atomic_load(&f->description->flags);
    if (wanted < 0)
        return NULL;
    int want = wanted & O_ACCMODE, got = have & O_ACCMODE;
    if (got != O_RDWR && want != got) {
        errno = EINVAL;
        return NULL;
    }
    if (wanted & O_APPEND)
        atomic_store(&f->description->flags, have | O_APPEND);
    return stream_on(fd, mode);
}

/* ==== Standard streams ==== */

/* What a stream of libc's has not written yet goes to the stream that takes its place. */
static void hand_over(FILE *from, FILE *to)
{
    size_t pending = __fpending(from);
    if (pending == 0)
        return;
    char *copy = malloc(pending);
    if (copy != NULL) {
        memcpy(copy, from->_IO_write_base, pending);
        __fpurge(from);
        fwrite(copy, 1, pending, to);
        free(copy);
    }
}

/*
 * printf, puts and their like use the variables stdin, stdout and stderr; from the first time that one of those descriptors is ours, the
 * variable is a stream that goes through our read and write, which see each time whose the descriptor is. It stays: what is buffered
 * belongs to the number, as with libc's.
 */
void bp_standard_stream(int fd)
{
    static FILE *replaced[3];
    FILE **variables[] = {&stdin, &stdout, &stderr};
    if (replaced[fd] != NULL)
        return;
    FILE *before = *variables[fd];
    FILE *stream = make_stream(fd, fd == STDIN_FILENO ? "r" : "w");
    if (stream == NULL)
        return;
    if (fd == STDERR_FILENO)
        setvbuf(stream, NULL, _IONBF, 0);
    else if (fd == STDOUT_FILENO)
        hand_over(before, stream);
    replaced[fd] = stream;
    *variables[fd] = stream;
    bp_exchange_cxx(fd, before, stream);
}

/* ==== freopen ==== */

/* The standard streams are variables that programs name: they must go on being the same stream. */
EXPORT FILE *freopen(const char *path, const char *mode, FILE *stream)
{
    struct bp_where w;
    int fd = fileno(stream);
    int inside = path != NULL && bp_locate_following(AT_FDCWD, path, 1, &w) != BP_OUTSIDE;
    if (LIKELY(!inside && (fd < 0 || bp_file(fd) == NULL) &&
               (fd > 2 || fd < 0 || (stream != stdin && stream != stdout && stream != stderr))))
        return REAL(freopen)(path, mode, stream);
    bp_count(F_freopen);
    int flags = flags_of(mode);
    if (flags < 0 || path == NULL) {
        if (path == NULL)
            bp_refuse(F_freopen, EBADF, "another mode for an open stream");
        return NULL;
    }
    fflush(stream);
    int made = open(path, flags, 0666);
    if (made < 0)
        return NULL;
    if (fd < 0) {
        bp_refuse(F_freopen, EBADF, "a stream without a descriptor");
        close(made);
        return NULL;
    }
    if (made != fd) {
        int rc = dup3(made, fd, flags & O_CLOEXEC); /* and so the standard stream becomes ours, if it is one */
        close(made);
        if (rc < 0)
            return NULL;
    }
    if (fd <= STDERR_FILENO)
        return fd == 0 ? stdin : fd == 1 ? stdout : stderr;
    __fpurge(stream);
    clearerr(stream);
    return stream;
}
ALIAS(freopen, freopen64);

/* ==== Formatted output to a descriptor: inside libc it would go to the kernel ==== */

EXPORT int vdprintf(int fd, const char *format, va_list arguments)
{
    char *text;
    if (LIKELY(bp_file(fd) == NULL))
        return REAL(vdprintf)(fd, format, arguments);
    int n = vasprintf(&text, format, arguments);
    for (int done = 0; n > 0 && done < n;) {
        ssize_t moved = write(fd, text + done, (size_t)(n - done));
        if (moved < 0) {
            free(text);
            return -1;
        }
        done += (int)moved;
    }
    if (n >= 0)
        free(text);
    return n;
}

EXPORT int dprintf(int fd, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int n = vdprintf(fd, format, arguments);
    va_end(arguments);
    return n;
}

EXPORT int __vdprintf_chk(int fd, int flag, const char *format, va_list arguments)
{
    (void)flag;
    return vdprintf(fd, format, arguments);
}

EXPORT int __dprintf_chk(int fd, int flag, const char *format, ...)
{
    va_list arguments;
    (void)flag;
    va_start(arguments, format);
    int n = vdprintf(fd, format, arguments);
    va_end(arguments);
    return n;
}
