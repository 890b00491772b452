/* names.c: names, attributes and directory streams through the C interface. */
#include "harness.h"

TEST(names)
{
    OK(benchfs_mkdir("/d", 0755));
    EQ(benchfs_mkdir("/d", 0755), -EEXIST);
    make_file("/d/a", "a");
    OK(benchfs_link("/d/a", "/d/b"));
    OK(benchfs_rename("/d/b", "/c"));
    has_text("/c", "a");
    struct stat st;
    OK(benchfs_stat("/c", &st));
    EQ(st.st_nlink, 2);
    OK(benchfs_symlink("d/a", "/l"));
    char target[16];
    EQ(benchfs_readlink("/l", target, sizeof target), 3);
    CHECK(memcmp(target, "d/a", 3) == 0);
    EQ(benchfs_readlink("/l", target, 2), 2);
    EQ(benchfs_readlink("/c", target, 2), -EINVAL);
    has_text("/l", "a");
    EQ(benchfs_rmdir("/d"), -ENOTEMPTY);
    EQ(benchfs_unlink("/d"), -EISDIR);
    EQ(benchfs_rmdir("/c"), -ENOTDIR);
    OK(benchfs_unlink("/d/a"));
    OK(benchfs_rmdir("/d"));
    EQ(benchfs_stat("/l", &st), -ENOENT);
    OK(benchfs_lstat("/l", &st));
    CHECK(S_ISLNK(st.st_mode));
}

TEST(at_calls)
{
    OK(benchfs_mkdir("/d", 0755));
    int d = GOOD(benchfs_open("/d", O_RDONLY | O_DIRECTORY, 0));
    OK(benchfs_mkdirat(d, "e", 0755));
    int e = GOOD(benchfs_openat(d, "e", O_RDONLY | O_DIRECTORY, 0));
    int fd = GOOD(benchfs_openat(e, "a", O_CREAT | O_RDWR, 0600));
    EQ(benchfs_write(fd, "text", 4), 4);
    has_text("/d/e/a", "text");
    OK(benchfs_linkat(e, "a", d, "b", 0));
    OK(benchfs_symlinkat("b", d, "l"));
    struct stat st;
    OK(benchfs_fstatat(d, "l", &st, 0));
    CHECK(S_ISREG(st.st_mode));
    OK(benchfs_fstatat(d, "l", &st, AT_SYMLINK_NOFOLLOW));
    CHECK(S_ISLNK(st.st_mode));
    OK(benchfs_fstatat(fd, "", &st, AT_EMPTY_PATH));
    EQ(st.st_size, 4);
    OK(benchfs_fstatat(BENCHFS_AT_FDCWD, "", &st, AT_EMPTY_PATH));
    CHECK(S_ISDIR(st.st_mode));
    OK(benchfs_fstat(fd, &st));
    int same = GOOD(benchfs_open_inode(st.st_ino, O_RDWR));
    EQ(benchfs_pread(same, &st, 0, 0), 0);
    OK(benchfs_close(same));
    OK(benchfs_linkat(d, "l", d, "hard", AT_SYMLINK_FOLLOW));
    OK(benchfs_fstatat(d, "hard", &st, AT_SYMLINK_NOFOLLOW));
    CHECK(S_ISREG(st.st_mode));
    char target[8];
    EQ(benchfs_readlinkat(d, "l", target, sizeof target), 1);
    OK(benchfs_fchmodat(d, "b", 0640, 0));
    EQ(benchfs_fchmodat(d, "l", 0640, AT_SYMLINK_NOFOLLOW), -EOPNOTSUPP);
    OK(benchfs_fchownat(d, "b", 12, 34, 0));
    OK(benchfs_fchownat(fd, "", (uid_t)-1, 35, AT_EMPTY_PATH));
    const struct timespec times[2] = {{100, 1}, {200, 2}};
    OK(benchfs_utimensat(d, "b", times, 0));
    OK(benchfs_faccessat(d, "b", R_OK | W_OK, AT_EACCESS));
    OK(benchfs_stat("/d/b", &st));
    EQ(st.st_mode, S_IFREG | 0640);
    EQ(st.st_uid, 12);
    EQ(st.st_gid, 35);
    EQ(st.st_mtim.tv_sec, 200);
    OK(benchfs_renameat(d, "b", e, "c"));
    has_text("/d/e/c", "text");
    OK(benchfs_unlinkat(e, "c", 0));
    OK(benchfs_unlinkat(e, "../hard", 0));
    EQ(benchfs_unlinkat(d, "e", AT_REMOVEDIR), -ENOTEMPTY);
    OK(benchfs_unlinkat(e, "a", 0));
    OK(benchfs_unlinkat(d, "e", AT_REMOVEDIR));
    EQ(benchfs_openat(e, "new", O_CREAT | O_RDWR, 0600), -ENOENT); /* a removed directory */
    EQ(benchfs_openat(fd, "new", O_CREAT | O_RDWR, 0600), -ENOTDIR);
    EQ(benchfs_fstatat(fd, "new", &st, 0), -ENOTDIR);
    OK(benchfs_fstatat(77, "/d", &st, 0)); /* an absolute path: the handle does not matter */
    EQ(benchfs_fstatat(77, "d", &st, 0), -EBADF);
    OK(benchfs_close(fd));
    OK(benchfs_close(e));
    OK(benchfs_close(d));
}

TEST(attributes)
{
    int fd = GOOD(benchfs_open("/a", O_CREAT | O_RDWR, 0600));
    EQ(benchfs_write(fd, "0123456789", 10), 10);
    struct stat st, again;
    OK(benchfs_stat("/a", &st));
    EQ(st.st_size, 10);
    EQ(st.st_mode, S_IFREG | 0600);
    EQ(st.st_nlink, 1);
    EQ(st.st_blocks, 1);
    CHECK(st.st_ino != 0 && st.st_dev != 0 && st.st_blksize >= 4096);
    CHECK(st.st_mtim.tv_sec > 1600000000 && st.st_mtim.tv_nsec < 1000000000);
    OK(benchfs_fstat(fd, &again));
    CHECK(st.st_ino == again.st_ino && st.st_dev == again.st_dev);
    OK(benchfs_chmod("/a", 04751));
    OK(benchfs_fstat(fd, &st));
    EQ(st.st_mode, S_IFREG | 04751);
    OK(benchfs_fchmod(fd, 0600));
    OK(benchfs_chown("/a", 7, (gid_t)-1));
    OK(benchfs_fchown(fd, (uid_t)-1, 8));
    OK(benchfs_symlink("a", "/l"));
    OK(benchfs_lchown("/l", 9, 9));
    OK(benchfs_stat("/l", &st));
    EQ(st.st_uid, 7);
    EQ(st.st_gid, 8);
    EQ(st.st_mode, S_IFREG | 0600);
    OK(benchfs_lstat("/l", &st));
    EQ(st.st_uid, 9);
    EQ(st.st_size, 1);
    const struct timespec times[2] = {{-5, 999999999}, {1000, 1}};
    OK(benchfs_futimens(fd, times));
    OK(benchfs_fstat(fd, &st));
    EQ(st.st_atim.tv_sec, -5);
    EQ(st.st_atim.tv_nsec, 999999999);
    const struct timespec omit[2] = {{0, UTIME_OMIT}, {0, UTIME_NOW}};
    OK(benchfs_utimens("/a", omit));
    OK(benchfs_fstat(fd, &st));
    EQ(st.st_atim.tv_sec, -5);
    CHECK(st.st_mtim.tv_sec > 1600000000);
    OK(benchfs_lutimens("/l", times));
    OK(benchfs_utimens("/a", NULL));
    OK(benchfs_fstat(fd, &st));
    CHECK(st.st_atim.tv_sec > 1600000000);
    OK(benchfs_access("/a", R_OK | W_OK));
    EQ(benchfs_access("/a", X_OK), -EACCES);
    struct statvfs sv;
    OK(benchfs_statfs("/a", &sv));
    CHECK(sv.f_frsize > 0 && sv.f_blocks > 0 && sv.f_bfree <= sv.f_blocks && sv.f_bavail <= sv.f_bfree);
    EQ(sv.f_namemax, 255);
    OK(benchfs_fstatfs(fd, &sv));
    OK(benchfs_close(fd));
}

enum {
    ENTRIES = 1000
};

static void make_entries(void)
{
    OK(benchfs_mkdir("/d", 0755));
    for (int i = 0; i < ENTRIES; i++) {
        char path[32];
        snprintf(path, sizeof path, "/d/file.%d", i);
        int fd = GOOD(benchfs_creat(path, 0600));
        if (i % 10 == 0)
            EQ(benchfs_write(fd, path, (size_t)(i % 7)), i % 7);
        OK(benchfs_close(fd));
    }
}

/* Notes that an entry has been seen; it must be one of ours, once. */
static void note(const struct benchfs_dirent *e, char *seen, int *dots)
{
    EQ(strlen(e->name), e->name_size);
    if (strcmp(e->name, ".") == 0 || strcmp(e->name, "..") == 0) {
        EQ(e->kind, BENCHFS_KIND_DIR);
        ++*dots;
        return;
    }
    EQ(e->kind, BENCHFS_KIND_FILE);
    int i;
    CHECK(sscanf(e->name, "file.%d", &i) == 1 && i >= 0 && i < ENTRIES && !seen[i]);
    CHECK(e->ino != 0 && e->cookie > 0);
    seen[i] = 1;
}

TEST(listing)
{
    make_entries();
    char seen[ENTRIES] = {0};
    int dots = 0, n = 0;
    int dir = GOOD(benchfs_opendir("/d"));
    struct benchfs_dirent e;
    off_t middle = 0;
    char after_middle[256] = "";
    while (GOOD(benchfs_readdir(dir, &e)) == 1) {
        note(&e, seen, &dots);
        EQ(benchfs_telldir(dir), e.cookie);
        if (n == 500)
            middle = e.cookie;
        if (n == 501)
            memcpy(after_middle, e.name, sizeof after_middle);
        n++;
    }
    EQ(n, ENTRIES + 2);
    EQ(dots, 2);
    EQ(benchfs_readdir(dir, &e), 0); /* the end stays the end */
    OK(benchfs_seekdir(dir, middle));
    EQ(benchfs_readdir(dir, &e), 1);
    CHECK(strcmp(e.name, after_middle) == 0);
    OK(benchfs_rewinddir(dir));
    EQ(benchfs_telldir(dir), 0);
    EQ(benchfs_readdir(dir, &e), 1);
    CHECK(strcmp(e.name, ".") == 0);
    OK(benchfs_closedir(dir));
    dir = GOOD(benchfs_opendir("/d")); /* cookies are good in other streams */
    OK(benchfs_seekdir(dir, middle));
    EQ(benchfs_readdir(dir, &e), 1);
    CHECK(strcmp(e.name, after_middle) == 0);
    OK(benchfs_closedir(dir));
}

TEST(listing_with_attributes)
{
    make_entries();
    char seen[ENTRIES] = {0};
    int dots = 0, total = 0, n;
    int fd = GOOD(benchfs_open("/d", O_RDONLY | O_DIRECTORY, 0));
    int dir = GOOD(benchfs_fdopendir(fd));
    OK(benchfs_close(fd)); /* the stream has its own hold */
    struct benchfs_direntplus entries[64];
    while ((n = GOOD(benchfs_readdir_many(dir, entries, 64))) > 0) {
        for (int i = 0; i < n; i++) {
            note(&entries[i].entry, seen, &dots);
            if (entries[i].entry.name[0] == '.') {
                CHECK(S_ISDIR(entries[i].st.st_mode));
                continue;
            }
            char path[300];
            snprintf(path, sizeof path, "/d/%s", entries[i].entry.name);
            struct stat st;
            OK(benchfs_lstat(path, &st));
            CHECK(memcmp(&st, &entries[i].st, sizeof st) == 0);
            EQ(st.st_ino, entries[i].entry.ino);
        }
        total += n;
    }
    EQ(total, ENTRIES + 2);
    EQ(dots, 2);
    OK(benchfs_closedir(dir));
}
