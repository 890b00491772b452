/* bad_input.c: what must be refused, with which errno, and that nothing has changed afterwards. */
#include "harness.h"

static char name_of_255[256];
static char name_of_256[257];
static char path_of_4096[4097];

__attribute__((constructor)) static void make_long_names(void)
{
    memset(name_of_255, 'n', sizeof name_of_255 - 1);
    memset(name_of_256, 'n', sizeof name_of_256 - 1);
    for (size_t i = 0; i < sizeof path_of_4096 - 1; i++)
        path_of_4096[i] = i % 2 == 0 ? '/' : 'p';
}

/* Two files and a directory, and that they are all there is, as they were. */
static void make_tree(void)
{
    make_file("/calls-from", "from");
    make_file("/a", "content of a");
    OK(benchfs_mkdir("/d", 0755));
}

static void tree_is_unchanged(void)
{
    has_text("/calls-from", "from");
    has_text("/a", "content of a");
    struct benchfs_direntplus entries[16];
    int dir = GOOD(benchfs_opendir("/"));
    EQ(benchfs_readdir_many(dir, entries, 16), 5); /* with "." and ".." */
    EQ(benchfs_readdir_many(dir, entries, 16), 0);
    OK(benchfs_closedir(dir));
    struct stat st;
    OK(benchfs_stat("/a", &st));
    EQ(st.st_mode, S_IFREG | 0644);
    EQ(st.st_nlink, 1);
}

static void all_path_calls_return(const char *path, int code)
{
    for (size_t i = 0; i < path_call_count; i++)
        check_equal(__FILE__, __LINE__, path_calls[i].name, path_calls[i].run(path), code);
    tree_is_unchanged();
}

TEST(null_paths)
{
    make_tree();
    all_path_calls_return(NULL, -EFAULT);
}

TEST(empty_paths)
{
    make_tree();
    all_path_calls_return("", -ENOENT);
}

TEST(long_paths)
{
    make_tree();
    all_path_calls_return(path_of_4096, -ENAMETOOLONG);
}

TEST(long_names)
{
    make_tree();
    for (size_t i = 0; i < path_call_count; i++)
        if (strcmp(path_calls[i].name, "symlink_target") != 0) /* a target is a text: only its length counts */
            check_equal(__FILE__, __LINE__, path_calls[i].name, path_calls[i].run(name_of_256), -ENAMETOOLONG);
    tree_is_unchanged();
    make_file(name_of_255, "x");
    has_text(name_of_255, "x");
    OK(benchfs_unlink(name_of_255));
}

TEST(paths_through_files)
{
    make_tree();
    for (size_t i = 0; i < path_call_count; i++)
        if (strcmp(path_calls[i].name, "symlink_target") != 0)
            check_equal(__FILE__, __LINE__, path_calls[i].name, path_calls[i].run("/a/b"), -ENOTDIR);
    tree_is_unchanged();
}

static void all_handle_calls_return_ebadf(int handle)
{
    for (size_t i = 0; i < file_call_count; i++)
        check_equal(__FILE__, __LINE__, file_calls[i].name, file_calls[i].run(handle), -EBADF);
    for (size_t i = 0; i < stream_call_count; i++)
        check_equal(__FILE__, __LINE__, stream_calls[i].name, stream_calls[i].run(handle), -EBADF);
}

TEST(wild_handles)
{
    make_tree();
    int fd = open_file("/a");
    int wild[] = {
        -1,           0,       1,       2,  3, 255, 1023, 1 << 19, fd + 1, fd + 512, fd ^ (1 << 20), fd ^ (1 << 30),
        fd | INT_MIN, INT_MAX, INT_MIN, -99};
    for (size_t i = 0; i < sizeof wild / sizeof wild[0]; i++)
        all_handle_calls_return_ebadf(wild[i]);
    OK(benchfs_close(fd));
    tree_is_unchanged();
}

TEST(closed_handles)
{
    make_tree();
    int fd = open_file("/a");
    int dir = GOOD(benchfs_opendir("/"));
    OK(benchfs_close(fd));
    OK(benchfs_closedir(dir));
    all_handle_calls_return_ebadf(fd);
    all_handle_calls_return_ebadf(dir);
    int others[600]; /* their slots are used again */
    for (int i = 0; i < 600; i++) {
        others[i] = GOOD(benchfs_open("/a", O_RDONLY, 0));
        CHECK(others[i] != fd && others[i] != dir);
    }
    all_handle_calls_return_ebadf(fd);
    for (int i = 0; i < 600; i++)
        OK(benchfs_close(others[i]));
    tree_is_unchanged();
}

TEST(handles_of_the_other_kind)
{
    make_tree();
    int fd = open_file("/a");
    int dir = GOOD(benchfs_opendir("/"));
    for (size_t i = 0; i < file_call_count; i++)
        check_equal(__FILE__, __LINE__, file_calls[i].name, file_calls[i].run(dir), -EBADF);
    for (size_t i = 0; i < stream_call_count; i++)
        check_equal(__FILE__, __LINE__, stream_calls[i].name, stream_calls[i].run(fd), -EBADF);
    OK(benchfs_close(fd));
    OK(benchfs_closedir(dir));
    tree_is_unchanged();
}

TEST(null_buffers)
{
    make_tree();
    int fd = open_file("/a");
    int dir = GOOD(benchfs_opendir("/"));
    struct iovec iov[2] = {{NULL, 0}, {NULL, 3}};
    EQ(benchfs_read(fd, NULL, 1), -EFAULT);
    EQ(benchfs_write(fd, NULL, 1), -EFAULT);
    EQ(benchfs_pread(fd, NULL, 1, 0), -EFAULT);
    EQ(benchfs_pwrite(fd, NULL, 1, 0), -EFAULT);
    EQ(benchfs_readv(fd, NULL, 1), -EFAULT);
    EQ(benchfs_writev(fd, NULL, 1), -EFAULT);
    EQ(benchfs_readv(fd, iov, 2), -EFAULT);
    EQ(benchfs_writev(fd, iov, 2), -EFAULT);
    EQ(benchfs_preadv(fd, iov, 2, 0), -EFAULT);
    EQ(benchfs_pwritev(fd, iov, 2, 0), -EFAULT);
    EQ(benchfs_stat("/a", NULL), -EFAULT);
    EQ(benchfs_lstat("/a", NULL), -EFAULT);
    EQ(benchfs_fstat(fd, NULL), -EFAULT);
    EQ(benchfs_fstatat(BENCHFS_AT_FDCWD, "/a", NULL, 0), -EFAULT);
    EQ(benchfs_statfs("/", NULL), -EFAULT);
    EQ(benchfs_fstatfs(fd, NULL), -EFAULT);
    EQ(benchfs_readlink("/a", NULL, 1), -EFAULT);
    EQ(benchfs_readdir(dir, NULL), -EFAULT);
    EQ(benchfs_readdir_many(dir, NULL, 1), -EFAULT);
    EQ(benchfs_get_layout("/a", NULL), -EFAULT);
    EQ(benchfs_fget_layout(fd, NULL), -EFAULT);
    EQ(benchfs_set_layout("/a", NULL), -EFAULT);
    EQ(benchfs_fset_layout(fd, NULL), -EFAULT);
    EQ(benchfs_locate(fd, 0, 1, NULL, 1), -EFAULT);
    EQ(benchfs_rename(NULL, "/b"), -EFAULT);
    EQ(benchfs_rename("/a", NULL), -EFAULT);
    EQ(benchfs_symlink(NULL, "/b"), -EFAULT);
    EQ(benchfs_read(fd, NULL, 0), 0);
    EQ(benchfs_write(fd, NULL, 0), 0);
    iov[1].iov_len = 0;
    EQ(benchfs_readv(fd, iov, 2), 0);
    EQ(benchfs_writev(fd, iov, 2), 0);
    OK(benchfs_close(fd));
    OK(benchfs_closedir(dir));
    tree_is_unchanged();
}

TEST(impossible_sizes)
{
    make_tree();
    int fd = open_file("/a");
    char c = 'x';
    const size_t sizes[] = {(size_t)SSIZE_MAX + 1, SIZE_MAX, SIZE_MAX - 1, (size_t)1 << 63};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        EQ(benchfs_read(fd, &c, sizes[i]), -EINVAL);
        EQ(benchfs_write(fd, &c, sizes[i]), -EINVAL);
        EQ(benchfs_pread(fd, &c, sizes[i], 0), -EINVAL);
        EQ(benchfs_pwrite(fd, &c, sizes[i], 0), -EINVAL);
        EQ(benchfs_readlink("/a", &c, sizes[i]), -EINVAL);
        struct iovec one = {&c, sizes[i]};
        EQ(benchfs_writev(fd, &one, 1), -EINVAL);
        EQ(benchfs_preadv(fd, &one, 1, 0), -EINVAL);
    }
    EQ(benchfs_write(fd, &c, SSIZE_MAX), -EFAULT); /* no memory is that large */
    EQ(benchfs_read(fd, &c, SSIZE_MAX), -EFAULT);
    EQ(benchfs_write(fd, (void *)(UINTPTR_MAX - 10), 100), -EFAULT);
    struct iovec many[BENCHFS_IOV_MAX];
    for (int i = 0; i < BENCHFS_IOV_MAX; i++)
        many[i] = (struct iovec){&c, (size_t)1 << 55};
    EQ(benchfs_writev(fd, many, BENCHFS_IOV_MAX), -EINVAL); /* their sum is above SSIZE_MAX */
    const int counts[] = {0, -1, INT_MIN, BENCHFS_IOV_MAX + 1, INT_MAX};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        EQ(benchfs_readv(fd, many, counts[i]), -EINVAL);
        EQ(benchfs_writev(fd, many, counts[i]), -EINVAL);
        EQ(benchfs_preadv(fd, many, counts[i], 0), -EINVAL);
        EQ(benchfs_pwritev(fd, many, counts[i], 0), -EINVAL);
    }
    OK(benchfs_close(fd));
    tree_is_unchanged();
}

TEST(impossible_offsets)
{
    make_tree();
    int fd = open_file("/a");
    char c = 'x';
    struct iovec one = {&c, 1};
    struct benchfs_extent extent;
    const off_t negative[] = {-1, INT64_MIN};
    for (int i = 0; i < 2; i++) {
        EQ(benchfs_pread(fd, &c, 1, negative[i]), -EINVAL);
        EQ(benchfs_pwrite(fd, &c, 1, negative[i]), -EINVAL);
        EQ(benchfs_preadv(fd, &one, 1, negative[i]), -EINVAL);
        EQ(benchfs_pwritev(fd, &one, 1, negative[i]), -EINVAL);
        EQ(benchfs_lseek(fd, negative[i], SEEK_SET), -EINVAL);
        EQ(benchfs_truncate("/a", negative[i]), -EINVAL);
        EQ(benchfs_ftruncate(fd, negative[i]), -EINVAL);
        EQ(benchfs_fallocate(fd, 0, negative[i], 1), -EINVAL);
        EQ(benchfs_fallocate(fd, 0, 0, negative[i]), -EINVAL);
        EQ(benchfs_locate(fd, negative[i], 1, &extent, 1), -EINVAL);
        EQ(benchfs_locate(fd, 0, negative[i], &extent, 1), -EINVAL);
    }
    EQ(benchfs_fallocate(fd, 0, 0, 0), -EINVAL);
    EQ(benchfs_fallocate(fd, 0, INT64_MAX, 1), -EFBIG);
    EQ(benchfs_locate(fd, 0, 1, &extent, -1), -EINVAL);
    EQ(benchfs_pwrite(fd, &c, 1, INT64_MAX), -EFBIG);
    EQ(benchfs_pread(fd, &c, 1, INT64_MAX), 0);
    EQ(benchfs_lseek(fd, INT64_MAX, SEEK_SET), INT64_MAX);
    EQ(benchfs_write(fd, &c, 1), -EFBIG);
    EQ(benchfs_lseek(fd, 1, SEEK_CUR), -EOVERFLOW);
    EQ(benchfs_lseek(fd, INT64_MAX, SEEK_END), -EOVERFLOW);
    EQ(benchfs_lseek(fd, 0, 99), -EINVAL);
    EQ(benchfs_lseek(fd, 0, -1), -EINVAL);
    EQ(benchfs_lseek(fd, 0, SEEK_CUR), INT64_MAX); /* what failed has not moved it */
    int dir = GOOD(benchfs_opendir("/"));
    EQ(benchfs_seekdir(dir, -1), -EINVAL);
    struct benchfs_direntplus e;
    EQ(benchfs_readdir_many(dir, &e, 0), -EINVAL);
    EQ(benchfs_readdir_many(dir, &e, -1), -EINVAL);
    OK(benchfs_closedir(dir));
    OK(benchfs_close(fd));
    tree_is_unchanged();
}

TEST(unknown_flags)
{
    make_tree();
    const int unknown = 0x40000000;
    const int root = BENCHFS_AT_FDCWD;
    struct stat st;
    const struct timespec times[2] = {{1, 2}, {3, 4}};
    const struct timespec bad_times[2] = {{1, 1000000000}, {3, 4}};
    EQ(benchfs_open("/a", O_RDWR | unknown, 0), -EINVAL);
    EQ(benchfs_open("/new", O_CREAT | O_RDWR | unknown, 0600), -EINVAL);
    EQ(benchfs_open("/a", O_ACCMODE, 0), -EINVAL);
    EQ(benchfs_open("/d", O_TMPFILE | O_RDWR, 0600), -EOPNOTSUPP);
    EQ(benchfs_fstatat(root, "/a", &st, unknown), -EINVAL);
    EQ(benchfs_faccessat(root, "/a", F_OK, unknown), -EINVAL);
    EQ(benchfs_access("/a", 8), -EINVAL);
    EQ(benchfs_access("/a", -1), -EINVAL);
    EQ(benchfs_fchmodat(root, "/a", 0, unknown), -EINVAL);
    EQ(benchfs_fchownat(root, "/a", 1, 1, unknown), -EINVAL);
    EQ(benchfs_utimensat(root, "/a", times, unknown), -EINVAL);
    EQ(benchfs_utimens("/a", bad_times), -EINVAL);
    EQ(benchfs_unlinkat(root, "/a", unknown), -EINVAL);
    EQ(benchfs_linkat(root, "/a", root, "/new", unknown), -EINVAL);
    int fd = open_file("/a");
    EQ(benchfs_fallocate(fd, unknown, 0, 1), -EOPNOTSUPP);
    EQ(benchfs_futimens(fd, bad_times), -EINVAL);
    struct benchfs_layout layout = BENCHFS_LAYOUT_INIT;
    layout.size = 8;
    EQ(benchfs_fget_layout(fd, &layout), -EINVAL);
    layout = (struct benchfs_layout)BENCHFS_LAYOUT_INIT;
    layout.strategy = 77;
    EQ(benchfs_set_layout("/d", &layout), -EINVAL);
    layout.strategy = BENCHFS_LAYOUT_HASH;
    layout.chunk_bytes = 100000;
    EQ(benchfs_set_layout("/d", &layout), -EINVAL);
    layout.chunk_bytes = 1 << 15;
    EQ(benchfs_set_layout("/d", &layout), -EINVAL);
    OK(benchfs_close(fd));
    tree_is_unchanged();
}

TEST(wrong_access_mode)
{
    make_tree();
    char c = 'x';
    int fd = GOOD(benchfs_open("/a", O_RDONLY, 0));
    EQ(benchfs_write(fd, &c, 1), -EBADF);
    EQ(benchfs_pwrite(fd, &c, 1, 0), -EBADF);
    EQ(benchfs_ftruncate(fd, 0), -EINVAL);
    EQ(benchfs_fallocate(fd, 0, 0, 100), -EBADF);
    OK(benchfs_close(fd));
    fd = GOOD(benchfs_open("/a", O_WRONLY, 0));
    EQ(benchfs_read(fd, &c, 1), -EBADF);
    EQ(benchfs_pread(fd, &c, 1, 0), -EBADF);
    OK(benchfs_close(fd));
    EQ(benchfs_open("/d", O_RDWR, 0), -EISDIR);
    EQ(benchfs_open("/a", O_RDONLY | O_DIRECTORY, 0), -ENOTDIR);
    fd = GOOD(benchfs_open("/d", O_RDONLY | O_DIRECTORY, 0));
    EQ(benchfs_read(fd, &c, 1), -EISDIR);
    EQ(benchfs_write(fd, &c, 1), -EBADF);
    OK(benchfs_close(fd));
    EQ(benchfs_opendir("/a"), -ENOTDIR);
    fd = open_file("/a");
    EQ(benchfs_fdopendir(fd), -ENOTDIR);
    OK(benchfs_close(fd));
    tree_is_unchanged();
}

/* What a failed call would have filled in stays as it is. */
TEST(failures_leave_results_alone)
{
    struct stat st;
    struct statvfs sv;
    struct benchfs_layout layout = BENCHFS_LAYOUT_INIT;
    char text[8] = "unused";
    memset(&st, 0x5a, sizeof st);
    memset(&sv, 0x5a, sizeof sv);
    struct stat st_before = st;
    struct statvfs sv_before = sv;
    EQ(benchfs_stat("/none", &st), -ENOENT);
    EQ(benchfs_fstat(77, &st), -EBADF);
    EQ(benchfs_statfs("/none", &sv), -ENOENT);
    EQ(benchfs_get_layout("/none", &layout), -ENOENT);
    EQ(benchfs_readlink("/none", text, sizeof text), -ENOENT);
    CHECK(memcmp(&st, &st_before, sizeof st) == 0);
    CHECK(memcmp(&sv, &sv_before, sizeof sv) == 0);
    CHECK(layout.size == sizeof layout && layout.shards == 0);
    CHECK(strcmp(text, "unused") == 0);
}
