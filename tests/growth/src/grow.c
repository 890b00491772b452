/* Writers that let a file grow, and a reader that polls its size and looks at what is new below it.
 *
 *   grow write HOW FILE BLOCK COUNT FILL   HOW: pwrite, writev (at the end), append, appendv. Every byte is FILL, which is not 0
 *   grow read FILE TOTAL                   until the file has TOTAL bytes; prints "zeros Z looks L": in how many looks there were zeros
 *   grow check FILE BLOCK                  prints for each FILL how many blocks there are, "1:40 2:40"; fails at a block of several
 */
#include <benchfs.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

enum {
    LOOK = 4 << 20
};

static int failed(const char *what, long code)
{
    fprintf(stderr, "%s: %ld %s\n", what, code, benchfs_last_error());
    return 1;
}

static int write_blocks(const char *how, int fd, size_t block, long count, int fill)
{
    char *data = malloc(block);
    if (!data)
        return failed("malloc", 0);
    memset(data, fill, block);
    struct iovec parts[3] = {{data, block / 3}, {data, 0}, {data, block - block / 3}};
    for (long i = 0; i < count; i++) {
        ssize_t n;
        if (!strcmp(how, "pwrite"))
            n = benchfs_pwrite(fd, data, block, (off_t)(block * (size_t)i));
        else if (!strcmp(how, "append"))
            n = benchfs_write(fd, data, block);
        else
            n = benchfs_writev(fd, parts, 3);
        if (n != (ssize_t)block)
            return failed(how, n);
    }
    free(data);
    return 0;
}

/* Zeros in [from, to), which the size covers? 1, 0, or -1 for an error. */
static int zeros(int fd, char *buf, off_t from, off_t to)
{
    while (from < to) {
        size_t want = to - from < LOOK ? (size_t)(to - from) : LOOK;
        ssize_t n = benchfs_pread(fd, buf, want, from);
        if (n != (ssize_t)want)
            return failed("pread below the size", n), -1;
        if (memchr(buf, 0, want))
            return 1;
        from += n;
    }
    return 0;
}

static int read_growing(int fd, off_t total)
{
    char *buf = malloc(LOOK);
    long looks = 0, bad = 0;
    for (off_t seen = 0; buf && seen < total;) {
        struct stat st;
        int code = benchfs_fstat(fd, &st);
        if (code < 0)
            return failed("fstat", code);
        if (st.st_size == seen)
            continue;
        int found = zeros(fd, buf, seen, st.st_size);
        if (found < 0)
            return 1;
        bad += found;
        looks++;
        seen = st.st_size;
    }
    printf("zeros %ld looks %ld\n", bad, looks);
    free(buf);
    return 0;
}

static int check(int fd, size_t block)
{
    long of[256] = {0};
    char *buf = malloc(block);
    ssize_t n = 0;
    while (buf && (n = benchfs_read(fd, buf, block)) > 0) {
        if (n != (ssize_t)block)
            return failed("the last block is short", n);
        for (ssize_t i = 1; i < n; i++)
            if (buf[i] != buf[0])
                return failed("a block of several writers, at byte", (long)i);
        of[(unsigned char)buf[0]]++;
    }
    if (n < 0)
        return failed("read", n);
    for (int fill = 0; fill < 256; fill++)
        if (of[fill])
            printf("%d:%ld ", fill, of[fill]);
    printf("\n");
    free(buf);
    return 0;
}

int main(int argc, char **argv)
{
    int writes = argc == 7 && !strcmp(argv[1], "write"), status;
    if (!writes && argc != 4)
        return failed("usage", argc);
    const char *file = argv[writes ? 3 : 2];
    int append = writes && !strncmp(argv[2], "append", 6);
    long code = benchfs_init(NULL);
    if (code < 0)
        return failed("init", code);
    int fd = benchfs_open(file, writes ? O_WRONLY | (append ? O_APPEND : 0) : O_RDONLY, 0);
    if (fd < 0)
        return failed("open", fd);
    if (writes)
        status = write_blocks(argv[2], fd, (size_t)atol(argv[4]), atol(argv[5]), atoi(argv[6]));
    else if (!strcmp(argv[1], "read"))
        status = read_growing(fd, atol(argv[3]));
    else
        status = check(fd, (size_t)atol(argv[3]));
    benchfs_close(fd);
    benchfs_finalize();
    return status;
}
