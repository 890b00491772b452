/*
 * A file system inside this process: no daemon, no network, no configuration. The same program runs on daemons under
 * `benchfs run -n 2 -- ./embedded`, without a change.
 */
#include <benchfs.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    BLOCK = 1 << 20,
    BLOCKS = 64
};

/* Ends the program if a call has failed. */
static ssize_t check(ssize_t result, const char *call)
{
    if (result < 0) {
        fprintf(stderr, "%s: %s\n", call, benchfs_last_error());
        exit(1);
    }
    return result;
}

#define CHECK(call) check((call), #call)

static void list(const char *path)
{
    struct benchfs_dirent entry;
    int dir = (int)CHECK(benchfs_opendir(path));
    printf("  %s:", path);
    while (CHECK(benchfs_readdir(dir, &entry)) > 0) {
        printf(" %s", entry.name);
    }
    printf("\n");
    CHECK(benchfs_closedir(dir));
}

int main(void)
{
    static char block[BLOCK], back[BLOCK];
    struct stat st;

    CHECK(benchfs_init(NULL));
    printf("BenchFS %s, %s\n", benchfs_version(),
           CHECK(benchfs_is_distributed()) ? "on daemons" : "embedded in this process");

    CHECK(benchfs_mkdir("/results", 0755));
    int fd = (int)CHECK(benchfs_open("/results/field.dat", O_CREAT | O_EXCL | O_RDWR, 0644));
    for (int i = 0; i < BLOCKS; i++) {
        memset(block, 'a' + i % 26, sizeof block);
        if (CHECK(benchfs_pwrite(fd, block, sizeof block, (off_t)i * BLOCK)) != BLOCK) {
            fprintf(stderr, "short write\n");
            return 1;
        }
    }
    for (int i = BLOCKS - 1; i >= 0; i--) {
        memset(block, 'a' + i % 26, sizeof block);
        if (CHECK(benchfs_pread(fd, back, sizeof back, (off_t)i * BLOCK)) != BLOCK ||
            memcmp(block, back, sizeof block) != 0) {
            fprintf(stderr, "block %d is not what was written\n", i);
            return 1;
        }
    }
    CHECK(benchfs_close(fd));
    CHECK(benchfs_symlink("field.dat", "/results/latest"));
    CHECK(benchfs_rename("/results", "/run-1"));
    CHECK(benchfs_stat("/run-1/latest", &st));
    printf("  wrote and read back %d MiB; /run-1/latest has %lld bytes\n", BLOCKS, (long long)st.st_size);
    list("/run-1");
    printf("  opening what is not there: %s\n", benchfs_strerror(benchfs_open("/nothing", O_RDONLY, 0)));
    CHECK(benchfs_finalize());
    return 0;
}
