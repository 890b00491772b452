/* process.c: what a session is to know of the process that starts it. The process is looked at and left as it is. */
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

/* Of libbenchfs_inner.so, which stands in front of libc where the interposer has loaded this library. */
extern uint64_t benchfs_inner_descriptors[] __attribute__((weak));

int bfs_descriptors_are_watched(void)
{
    return benchfs_inner_descriptors != NULL;
}

int bfs_keep_descriptor(int fd)
{
    int kept = dup(fd); /* that library's: high, and close-on-exec */
    if (kept < 0)
        return fd;
    close(fd);
    return kept;
}

int bfs_close_descriptor(int fd)
{
    return close(fd) == 0 ? 0 : errno;
}

static const char prefix[] = "BENCHFS_";

char *bfs_environment(size_t *size)
{
    size_t total = 0;
    for (char **v = environ; v != NULL && *v != NULL; v++)
        if (strncmp(*v, prefix, sizeof prefix - 1) == 0)
            total += strlen(*v) + 1;
    char *all = malloc(total + 1);
    if (all == NULL)
        return NULL;
    size_t used = 0;
    for (char **v = environ; v != NULL && *v != NULL; v++) {
        if (strncmp(*v, prefix, sizeof prefix - 1) != 0)
            continue;
        size_t n = strlen(*v) + 1;
        if (n > total - used) /* another thread changes the environment */
            break;
        memcpy(all + used, *v, n);
        used += n;
    }
    *size = used;
    return all;
}

/* Reads the beginning of a file as text; 0 if it cannot be read. */
static int read_text(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t n;
    do
        n = read(fd, text, size - 1);
    while (n < 0 && errno == EINTR);
    close(fd);
    if (n <= 0)
        return 0;
    text[n] = '\0';
    return 1;
}

uint32_t bfs_umask(void)
{
    /* umask(2) can only be read by changing it, which other threads would see. Linux has it in the second line of this file (proc(5)). */
    const uint32_t fallback = 022;
    const char field[] = "\nUmask:";
    char text[1024];
    int saved = errno;
    int known = read_text("/proc/self/status", text, sizeof text);
    errno = saved;
    const char *line = known ? strstr(text, field) : NULL;
    if (line == NULL)
        return fallback;
    char *end;
    unsigned long mask = strtoul(line + sizeof field - 1, &end, 8);
    return *end == '\n' && mask <= 0777 ? (uint32_t)mask : fallback;
}

gid_t *bfs_groups(int32_t *count)
{
    int n = getgroups(0, NULL);
    *count = n > 0 ? n : 0;
    gid_t *groups = malloc((size_t)(*count + 1) * sizeof *groups);
    if (groups == NULL)
        return NULL;
    if (n > 0 && (n = getgroups(n, groups)) < 0)
        n = 0; /* they have grown this moment: go without */
    *count = n > 0 ? n : 0;
    return groups;
}
