/* files.c: open files through the C interface. What the file system does in each case is the business of tests/posix. */
#include "harness.h"

TEST(dup_shares_offset_and_flags)
{
    int fd = open_file("/a");
    int other = GOOD(benchfs_dup(fd));
    CHECK(fd != other);
    EQ(benchfs_write(fd, "abcdef", 6), 6);
    EQ(benchfs_lseek(other, 0, SEEK_CUR), 6);
    EQ(benchfs_lseek(other, 2, SEEK_SET), 2);
    char buf[8];
    EQ(benchfs_read(fd, buf, 2), 2);
    CHECK(memcmp(buf, "cd", 2) == 0);
    OK(benchfs_close(fd));
    EQ(benchfs_read(fd, buf, 1), -EBADF);
    EQ(benchfs_read(other, buf, 8), 2);
    CHECK(memcmp(buf, "ef", 2) == 0);
    int separate = GOOD(benchfs_open("/a", O_RDONLY, 0));
    EQ(benchfs_lseek(separate, 0, SEEK_CUR), 0);
    OK(benchfs_close(other));
    OK(benchfs_close(separate));
}

TEST(seek)
{
    int fd = open_file("/a");
    EQ(benchfs_write(fd, "0123456789", 10), 10);
    EQ(benchfs_lseek(fd, -3, SEEK_END), 7);
    EQ(benchfs_lseek(fd, -2, SEEK_CUR), 5);
    EQ(benchfs_lseek(fd, -6, SEEK_CUR), -EINVAL);
    EQ(benchfs_lseek(fd, 20, SEEK_SET), 20);
    char c;
    EQ(benchfs_read(fd, &c, 1), 0);
    EQ(benchfs_lseek(fd, 4, SEEK_DATA), 4);
    EQ(benchfs_lseek(fd, 4, SEEK_HOLE), 10);
    EQ(benchfs_lseek(fd, 10, SEEK_DATA), -ENXIO);
    OK(benchfs_close(fd));
}

TEST(append)
{
    make_file("/a", "start ");
    int fd = GOOD(benchfs_open("/a", O_WRONLY | O_APPEND, 0));
    int other = GOOD(benchfs_open("/a", O_WRONLY | O_APPEND, 0));
    EQ(benchfs_write(fd, "one ", 4), 4);
    EQ(benchfs_write(other, "two ", 4), 4);
    EQ(benchfs_pwrite(fd, "three", 5, 0), 5); /* as on Linux */
    OK(benchfs_close(fd));
    OK(benchfs_close(other));
    has_text("/a", "start one two three");
}

TEST(vectors)
{
    int fd = open_file("/a");
    struct iovec out[3] = {{"hello ", 6}, {NULL, 0}, {"world", 5}};
    EQ(benchfs_writev(fd, out, 3), 11);
    EQ(benchfs_pwritev(fd, out, 3, 11), 11);
    char a[4], b[30];
    struct iovec in[2] = {{a, sizeof a}, {b, sizeof b}};
    EQ(benchfs_preadv(fd, in, 2, 0), 22);
    CHECK(memcmp(a, "hell", 4) == 0 && memcmp(b, "o worldhello world", 18) == 0);
    EQ(benchfs_lseek(fd, 6, SEEK_SET), 6);
    EQ(benchfs_readv(fd, in, 2), 16);
    CHECK(memcmp(a, "worl", 4) == 0 && memcmp(b, "dhello world", 12) == 0);
    char bytes[BENCHFS_IOV_MAX];
    struct iovec many[BENCHFS_IOV_MAX];
    fill((unsigned char *)bytes, sizeof bytes, 1);
    for (int i = 0; i < BENCHFS_IOV_MAX; i++)
        many[i] = (struct iovec){&bytes[i], 1};
    EQ(benchfs_pwritev(fd, many, BENCHFS_IOV_MAX, 100), BENCHFS_IOV_MAX);
    char got[BENCHFS_IOV_MAX];
    EQ(benchfs_pread(fd, got, sizeof got, 100), BENCHFS_IOV_MAX);
    CHECK(memcmp(got, bytes, sizeof got) == 0);
    OK(benchfs_close(fd));
}

/* More than one chunk, odd sizes, a hole that reads as zeros. */
TEST(large_transfers)
{
    const size_t n = 9 * 1024 * 1024 + 7;
    unsigned char *out = malloc(n), *in = malloc(n + 100);
    fill(out, n, 2);
    int fd = open_file("/a");
    EQ(benchfs_pwrite(fd, out, n, 1000001), (long long)n);
    EQ(benchfs_pread(fd, in, n + 100, 1000001), (long long)n);
    CHECK(memcmp(in, out, n) == 0);
    memset(in, 1, 1000001);
    EQ(benchfs_pread(fd, in, 1000001, 0), 1000001);
    for (size_t i = 0; i < 1000001; i++)
        CHECK(in[i] == 0);
    struct stat st;
    OK(benchfs_fstat(fd, &st));
    EQ(st.st_size, (long long)(n + 1000001));
    OK(benchfs_close(fd));
    free(in);
    free(out);
}

TEST(open_flags)
{
    make_file("/a", "old");
    EQ(benchfs_open("/a", O_CREAT | O_EXCL | O_RDWR, 0600), -EEXIST);
    int fd = GOOD(benchfs_open("/a", O_RDWR | O_TRUNC | O_CLOEXEC | O_SYNC, 0));
    struct stat st;
    OK(benchfs_fstat(fd, &st));
    EQ(st.st_size, 0);
    EQ(benchfs_write(fd, "new", 3), 3);
    OK(benchfs_fsync(fd));
    OK(benchfs_fdatasync(fd));
    OK(benchfs_sync());
    OK(benchfs_close(fd));
    OK(benchfs_symlink("a", "/l"));
    EQ(benchfs_open("/l", O_RDONLY | O_NOFOLLOW, 0), -ELOOP);
    fd = GOOD(benchfs_open("/l", O_RDONLY, 0));
    OK(benchfs_close(fd));
    fd = GOOD(benchfs_openat(BENCHFS_AT_FDCWD, "relative", O_CREAT | O_EXCL | O_WRONLY, 0600));
    OK(benchfs_close(fd));
    OK(benchfs_access("/relative", F_OK));
}

TEST(truncate_and_allocate)
{
    make_file("/a", "0123456789");
    OK(benchfs_truncate("/a", 4));
    has_text("/a", "0123");
    int fd = open_file("/a");
    OK(benchfs_ftruncate(fd, 8));
    char buf[16];
    EQ(benchfs_read(fd, buf, sizeof buf), 8);
    CHECK(memcmp(buf, "0123\0\0\0\0", 8) == 0);
    OK(benchfs_fallocate(fd, 0, 0, 100000));
    struct stat st;
    OK(benchfs_fstat(fd, &st));
    EQ(st.st_size, 100000);
    OK(benchfs_fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 200000));
    OK(benchfs_fstat(fd, &st));
    EQ(st.st_size, 100000);
    OK(benchfs_close(fd));
    OK(benchfs_mkdir("/d", 0755));
    EQ(benchfs_truncate("/d", 0), -EISDIR);
}

TEST(unlinked_but_open)
{
    int fd = open_file("/a");
    EQ(benchfs_write(fd, "still here", 10), 10);
    OK(benchfs_unlink("/a"));
    EQ(benchfs_open("/a", O_RDONLY, 0), -ENOENT);
    int other = GOOD(benchfs_dup(fd));
    OK(benchfs_close(fd)); /* not the last handle */
    char buf[16];
    EQ(benchfs_pread(other, buf, sizeof buf, 0), 10);
    struct stat st;
    OK(benchfs_fstat(other, &st));
    EQ(st.st_nlink, 0);
    OK(benchfs_close(other));
}

TEST(layouts_and_places)
{
    struct benchfs_layout layout = BENCHFS_LAYOUT_INIT;
    OK(benchfs_mkdir("/d", 0755));
    layout.strategy = BENCHFS_LAYOUT_HASH;
    layout.chunk_bytes = 65536;
    OK(benchfs_set_layout("/d", &layout));
    int fd = open_file("/d/a");
    layout = (struct benchfs_layout)BENCHFS_LAYOUT_INIT;
    OK(benchfs_fget_layout(fd, &layout));
    EQ(layout.strategy, BENCHFS_LAYOUT_HASH);
    EQ(layout.chunk_bytes, 65536);
    EQ(layout.shards, 1);
    layout.strategy = BENCHFS_LAYOUT_ROUND_ROBIN;
    layout.chunk_bytes = 1 << 20;
    OK(benchfs_fset_layout(fd, &layout)); /* still empty */
    char buf[3000];
    memset(buf, 'x', sizeof buf);
    EQ(benchfs_pwrite(fd, buf, sizeof buf, 5000), (long long)sizeof buf);
    EQ(benchfs_fset_layout(fd, &layout), -EBUSY);
    struct benchfs_extent extents[4];
    EQ(benchfs_locate(fd, 0, 1 << 20, extents, 4), 1);
    EQ(extents[0].offset, 0);
    EQ(extents[0].length, 8000);
    EQ(extents[0].node, 0);
    EQ(extents[0].shard, 0);
    EQ(benchfs_locate(fd, 100, 50, extents, 4), 1);
    EQ(extents[0].offset, 100);
    EQ(extents[0].length, 50);
    EQ(benchfs_locate(fd, 0, 1 << 20, NULL, 0), 1);
    EQ(benchfs_locate(fd, 8000, 100, extents, 4), 0);
    OK(benchfs_close(fd));
}
