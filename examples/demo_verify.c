/*
 * demo_verify LOCAL REMOTE: reads everything back that demo_store has stored and compares it with the source: SHA-256 of each
 * file, types, sizes, modes, times, targets of symbolic links, and that nothing else is there. Prints what it measured, how many
 * bytes each node holds, and the transports in use. Exit status 1 if anything differs.
 */
#define _GNU_SOURCE
#include "demo_common.h"

#include <benchfs.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    MAX_NODES = 4096,
    EXTENTS = 1024,
    ENTRIES = 64,
    HASH_SIZE = 32
};

struct verify {
    const char *remote;
    char *buffer;
    struct demo_count count;
    uint64_t differences;
    uint64_t entries;        /* of the source, by walking it */
    uint64_t remote_entries; /* found in the directories of BenchFS */
    uint64_t node_bytes[MAX_NODES];
    EVP_MD_CTX *hash;
};

static void differs(struct verify *v, const char *path, const char *what)
{
    v->differences++;
    fprintf(stderr, "%s: %s\n", path, what);
}

static void failed(struct verify *v, const char *path)
{
    differs(v, path, benchfs_last_error());
}

static int hash_local(struct verify *v, const char *path, unsigned char digest[HASH_SIZE])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = -1;
    if (fd < 0) {
        differs(v, path, strerror(errno));
        return -1;
    }
    EVP_DigestInit_ex(v->hash, EVP_sha256(), NULL);
    while ((n = read(fd, v->buffer, DEMO_BUFFER_SIZE)) > 0 || (n < 0 && errno == EINTR)) {
        if (n > 0) {
            EVP_DigestUpdate(v->hash, v->buffer, (size_t)n);
        }
    }
    EVP_DigestFinal_ex(v->hash, digest, NULL);
    close(fd);
    if (n < 0) {
        differs(v, path, strerror(errno));
        return -1;
    }
    return 0;
}

static int hash_remote(struct verify *v, int fd, const char *path, unsigned char digest[HASH_SIZE])
{
    ssize_t n;
    EVP_DigestInit_ex(v->hash, EVP_sha256(), NULL);
    for (;;) {
        double begin = demo_now();
        n = DEMO_CALL(&v->count, benchfs_read(fd, v->buffer, DEMO_BUFFER_SIZE));
        if (n <= 0) {
            break;
        }
        demo_moved(&v->count, (uint64_t)n, demo_now() - begin);
        EVP_DigestUpdate(v->hash, v->buffer, (size_t)n);
    }
    EVP_DigestFinal_ex(v->hash, digest, NULL);
    if (n < 0) {
        failed(v, path);
        return -1;
    }
    return 0;
}

/* Adds up which node holds how much of a file, and that all of it is held. */
static void locate(struct verify *v, int fd, const char *path, off_t size)
{
    struct benchfs_extent extents[EXTENTS];
    off_t from = 0;
    while (from < size) {
        int n = DEMO_CALL(&v->count, benchfs_locate(fd, from, size - from, extents, EXTENTS));
        if (n < 0) {
            failed(v, path);
            return;
        }
        if (n > EXTENTS) {
            n = EXTENTS;
        }
        for (int i = 0; i < n; i++) {
            if (extents[i].node < MAX_NODES) {
                v->node_bytes[extents[i].node] += (uint64_t)extents[i].length;
            }
        }
        if (n == 0 || extents[0].offset != from) {
            differs(v, path, "some of its bytes are nowhere");
            return;
        }
        from = extents[n - 1].offset + extents[n - 1].length;
    }
}

static void verify_file(struct verify *v, const char *local, const char *remote, const struct stat *st)
{
    unsigned char here[HASH_SIZE], there[HASH_SIZE];
    int fd = DEMO_CALL(&v->count, benchfs_open(remote, O_RDONLY, 0));
    v->count.files++;
    if (fd < 0) {
        failed(v, remote);
        return;
    }
    if (hash_remote(v, fd, remote, there) == 0 && hash_local(v, local, here) == 0) {
        if (memcmp(here, there, HASH_SIZE) != 0) {
            differs(v, remote, "SHA-256 differs from the source");
        }
        locate(v, fd, remote, st->st_size);
    }
    if (DEMO_CALL(&v->count, benchfs_close(fd)) < 0) {
        failed(v, remote);
    }
}

static void verify_symlink(struct verify *v, const char *local, const char *remote)
{
    char here[DEMO_PATH_SIZE], there[DEMO_PATH_SIZE];
    ssize_t n = readlink(local, here, sizeof here);
    ssize_t m = DEMO_CALL(&v->count, benchfs_readlink(remote, there, sizeof there));
    v->count.symlinks++;
    if (m < 0) {
        failed(v, remote);
    } else if (n != m || memcmp(here, there, (size_t)n) != 0) {
        differs(v, remote, "leads elsewhere than the source");
    }
}

/* Counts what is in a directory of BenchFS. */
static void count_entries(struct verify *v, const char *remote)
{
    static struct benchfs_direntplus page[ENTRIES];
    int dir = DEMO_CALL(&v->count, benchfs_opendir(remote));
    int n;
    if (dir < 0) {
        failed(v, remote);
        return;
    }
    while ((n = DEMO_CALL(&v->count, benchfs_readdir_many(dir, page, ENTRIES))) > 0) {
        for (int i = 0; i < n; i++) {
            if (strcmp(page[i].entry.name, ".") != 0 && strcmp(page[i].entry.name, "..") != 0) {
                v->remote_entries++;
            }
        }
    }
    if (n < 0) {
        failed(v, remote);
    }
    if (DEMO_CALL(&v->count, benchfs_closedir(dir)) < 0) {
        failed(v, remote);
    }
}

static int visit(void *context, const char *local, const char *relative, const struct stat *st, int after)
{
    struct verify *v = context;
    char remote[DEMO_PATH_SIZE];
    struct stat there;
    if (after) {
        return 0;
    }
    if (!S_ISDIR(st->st_mode) && !S_ISREG(st->st_mode) && !S_ISLNK(st->st_mode)) {
        v->count.skipped++;
        return 0;
    }
    if (demo_join(remote, v->remote, relative) != 0) {
        return -1;
    }
    if (*relative != '\0') {
        v->entries++;
    }
    if (DEMO_CALL(&v->count, benchfs_lstat(remote, &there)) < 0) {
        failed(v, remote);
        return 0;
    }
    if ((there.st_mode & S_IFMT) != (st->st_mode & S_IFMT)) {
        differs(v, remote, "is of another type than the source");
        return 0;
    }
    if (!S_ISLNK(st->st_mode) && there.st_mode != st->st_mode) {
        differs(v, remote, "has another mode than the source");
    }
    if (there.st_mtim.tv_sec != st->st_mtim.tv_sec || there.st_mtim.tv_nsec != st->st_mtim.tv_nsec) {
        differs(v, remote, "has another modification time than the source");
    }
    if (!S_ISDIR(st->st_mode) && there.st_size != st->st_size) {
        differs(v, remote, "has another size than the source");
    }
    if (S_ISREG(st->st_mode)) {
        verify_file(v, local, remote, st);
    } else if (S_ISLNK(st->st_mode)) {
        verify_symlink(v, local, remote);
    } else {
        v->count.directories++;
        count_entries(v, remote);
    }
    return 0;
}

static void print_nodes(const struct verify *v)
{
    uint64_t total = 0;
    for (int i = 0; i < MAX_NODES; i++) {
        total += v->node_bytes[i];
    }
    for (int i = 0; i < MAX_NODES; i++) {
        if (v->node_bytes[i] != 0) {
            printf("  node %d holds %.1f MiB (%.0f%%)\n", i, (double)v->node_bytes[i] / (1 << 20),
                   100.0 * (double)v->node_bytes[i] / (double)total);
        }
    }
}

/* Prints each value of "transport" in the statistics once. They are JSON; a real program would use a parser. */
static int print_transports(void)
{
    static const char key[] = "\"transport\":";
    char seen[1024] = "";
    ssize_t size = benchfs_stats(NULL, 0);
    char *text = size < 0 ? NULL : malloc((size_t)size + 4096);
    if (text == NULL || benchfs_stats(text, (size_t)size + 4096) < 0) {
        fprintf(stderr, "benchfs_stats: %s\n", benchfs_last_error());
        free(text);
        return -1;
    }
    for (const char *at = text; (at = strstr(at, key)) != NULL;) {
        char quoted[128];
        at += sizeof key - 1;
        if (sscanf(at, " \"%120[^\"]\"", quoted) == 1 && strstr(seen, quoted) == NULL) {
            size_t used = strlen(seen);
            snprintf(seen + used, sizeof seen - used, " %s", quoted);
        }
    }
    printf("  transport chosen by UCX:%s\n", *seen != '\0' ? seen : " none (embedded)");
    free(text);
    return 0;
}

int main(int argc, char **argv)
{
    static struct verify v;
    if (argc != 3) {
        fprintf(stderr, "usage: %s LOCAL REMOTE\n", argv[0]);
        return 2;
    }
    v.remote = argv[2];
    v.buffer = malloc(DEMO_BUFFER_SIZE);
    v.hash = EVP_MD_CTX_new();
    if (v.buffer == NULL || v.hash == NULL) {
        fprintf(stderr, "out of memory\n");
        return 1;
    }
    if (benchfs_init(NULL) < 0) {
        fprintf(stderr, "benchfs_init: %s\n", benchfs_last_error());
        return 1;
    }
    demo_begin(&v.count, "verify", demo_tree_bytes(argv[1]));
    int rc = demo_walk(argv[1], visit, &v);
    if (rc == 0 && v.entries != v.remote_entries) {
        fprintf(stderr, "%s has %llu entries, the source has %llu\n", v.remote, (unsigned long long)v.remote_entries,
                (unsigned long long)v.entries);
        v.differences++;
    }
    demo_report(&v.count, "read back");
    print_nodes(&v);
    if (print_transports() != 0) {
        rc = -1;
    }
    if (benchfs_finalize() != 0) {
        fprintf(stderr, "benchfs_finalize: %s\n", benchfs_last_error());
        rc = -1;
    }
    EVP_MD_CTX_free(v.hash);
    free(v.buffer);
    if (v.differences != 0) {
        fprintf(stderr, "%llu DIFFERENCES\n", (unsigned long long)v.differences);
        return 1;
    }
    if (rc == 0) {
        printf("  every SHA-256, type, size, mode and time is that of the source\n");
    }
    return rc != 0;
}
