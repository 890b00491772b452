/*
 * demo_store LOCAL REMOTE: stores a local tree in BenchFS: directories, files, symbolic links, modes and times.
 */
#define _GNU_SOURCE
#include "demo_common.h"

#include <benchfs.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct store {
    const char *remote;
    char *buffer;
    struct demo_count count;
};

static int failed(const char *path)
{
    fprintf(stderr, "%s: %s\n", path, benchfs_last_error());
    return -1;
}

/* All of a buffer: a short write is not an error, the next one tells why. */
static int write_all(struct store *s, int fd, const char *data, size_t size)
{
    while (size > 0) {
        double begin = demo_now();
        ssize_t n = DEMO_CALL(&s->count, benchfs_write(fd, data, size));
        if (n < 0) {
            return (int)n;
        }
        demo_moved(&s->count, (uint64_t)n, demo_now() - begin);
        data += n;
        size -= (size_t)n;
    }
    return 0;
}

static int store_file(struct store *s, const char *local, const char *remote, const struct stat *st)
{
    const struct timespec times[2] = {st->st_atim, st->st_mtim};
    int in = open(local, O_RDONLY | O_CLOEXEC);
    if (in < 0) {
        fprintf(stderr, "%s: %s\n", local, strerror(errno));
        return -1;
    }
    int rc = 0;
    int fd = DEMO_CALL(&s->count, benchfs_open(remote, O_CREAT | O_EXCL | O_WRONLY, 0600));
    if (fd < 0) {
        close(in);
        return failed(remote);
    }
    for (;;) {
        ssize_t n = read(in, s->buffer, DEMO_BUFFER_SIZE);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            fprintf(stderr, "%s: %s\n", local, strerror(errno));
            rc = -1;
        }
        if (n <= 0) {
            break;
        }
        if (write_all(s, fd, s->buffer, (size_t)n) < 0) {
            rc = failed(remote);
            break;
        }
    }
    close(in);
    if (rc == 0 && (DEMO_CALL(&s->count, benchfs_fchmod(fd, st->st_mode & 07777)) < 0 ||
                    DEMO_CALL(&s->count, benchfs_futimens(fd, times)) < 0)) {
        rc = failed(remote);
    }
    if (DEMO_CALL(&s->count, benchfs_close(fd)) < 0 && rc == 0) {
        rc = failed(remote);
    }
    s->count.files++;
    return rc;
}

static int store_symlink(struct store *s, const char *local, const char *remote, const struct stat *st)
{
    const struct timespec times[2] = {st->st_atim, st->st_mtim};
    char target[DEMO_PATH_SIZE];
    ssize_t n = readlink(local, target, sizeof target - 1);
    if (n < 0) {
        fprintf(stderr, "%s: %s\n", local, strerror(errno));
        return -1;
    }
    target[n] = '\0';
    s->count.symlinks++;
    if (DEMO_CALL(&s->count, benchfs_symlink(target, remote)) < 0 ||
        DEMO_CALL(&s->count, benchfs_lutimens(remote, times)) < 0) {
        return failed(remote);
    }
    return 0;
}

static int store_directory(struct store *s, const char *remote, const struct stat *st, int after)
{
    const struct timespec times[2] = {st->st_atim, st->st_mtim};
    if (!after) {
        s->count.directories++;
        return DEMO_CALL(&s->count, benchfs_mkdir(remote, 0700)) < 0 ? failed(remote) : 0;
    }
    /* Mode and times when it is full: filling changes them. */
    if (DEMO_CALL(&s->count, benchfs_chmod(remote, st->st_mode & 07777)) < 0 ||
        DEMO_CALL(&s->count, benchfs_utimens(remote, times)) < 0) {
        return failed(remote);
    }
    return 0;
}

static int visit(void *context, const char *local, const char *relative, const struct stat *st, int after)
{
    struct store *s = context;
    char remote[DEMO_PATH_SIZE];
    if (demo_join(remote, s->remote, relative) != 0) {
        return -1;
    }
    if (S_ISDIR(st->st_mode)) {
        return store_directory(s, remote, st, after);
    }
    if (S_ISREG(st->st_mode)) {
        return store_file(s, local, remote, st);
    }
    if (S_ISLNK(st->st_mode)) {
        return store_symlink(s, local, remote, st);
    }
    s->count.skipped++;
    return 0;
}

int main(int argc, char **argv)
{
    struct store s = {0};
    if (argc != 3) {
        fprintf(stderr, "usage: %s LOCAL REMOTE\n", argv[0]);
        return 2;
    }
    s.remote = argv[2];
    s.buffer = malloc(DEMO_BUFFER_SIZE);
    if (s.buffer == NULL) {
        perror("malloc");
        return 1;
    }
    if (benchfs_init(NULL) < 0) {
        fprintf(stderr, "benchfs_init: %s\n", benchfs_last_error());
        return 1;
    }
    demo_begin(&s.count, "store", demo_tree_bytes(argv[1]));
    int rc = demo_walk(argv[1], visit, &s);
    if (rc == 0) {
        demo_report(&s.count, "stored");
    }
    int open_handles = benchfs_finalize();
    if (open_handles != 0) {
        fprintf(stderr, "benchfs_finalize: %d\n", open_handles);
        rc = -1;
    }
    free(s.buffer);
    return rc != 0;
}
