/* calls.c: calls that programs make in other ways than by libc's function of that name. */
#include "process.h"

#include <dirent.h>
#include <linux/openat2.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>

static void data_by_number(void)
{
    char buf[32] = {0};
    int fd = (int)syscall(SYS_openat, AT_FDCWD, "f", O_CREAT | O_RDWR | O_EXCL, 0640);
    CHECK(fd >= 0);
    CHECK(syscall(SYS_write, fd, "0123456789", 10L) == 10);
    CHECK(syscall(SYS_pwrite64, fd, "AB", 2L, 4L) == 2);
    CHECK(syscall(SYS_lseek, fd, 2L, SEEK_SET) == 2);
    CHECK(syscall(SYS_read, fd, buf, 4L) == 4 && strcmp(buf, "23AB") == 0);
    CHECK(syscall(SYS_pread64, fd, buf, 2L, 8L) == 2 && memcmp(buf, "89", 2) == 0);
    struct iovec parts[2] = {{buf, 1}, {buf + 1, 2}};
    CHECK(syscall(SYS_preadv, fd, parts, 2L, 0L, 0L) == 3 && memcmp(buf, "012", 3) == 0);
    CHECK(syscall(SYS_preadv2, fd, parts, 2L, 7L, 0L, 0L) == 3 && memcmp(buf, "789", 3) == 0);
    CHECK(syscall(SYS_pwritev2, fd, parts, 2L, 20L, 0L, 0L) == 3);
    CHECK(syscall(SYS_ftruncate, fd, 12L) == 0 && syscall(SYS_fsync, fd) == 0 &&
          syscall(SYS_fallocate, fd, 0L, 0L, 16L) == 0);
    CHECK(syscall(SYS_fadvise64, fd, 0L, 0L, POSIX_FADV_WILLNEED) == 0);
    CHECK(syscall(SYS_fadvise64, fd, 0L, 0L, 99L) == -1 && errno == EINVAL);
    struct stat st;
    CHECK(syscall(SYS_fstat, fd, &st) == 0 && st.st_size == 16 && (st.st_mode & 0777) == 0640);
    char *p = (char *)syscall(SYS_mmap, 0L, 4096L, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0L);
    CHECK(p != MAP_FAILED && p[0] == '0');
    p[0] = 'Z';
    CHECK(syscall(SYS_munmap, p, 4096L) == 0);
    int other = (int)syscall(SYS_dup3, fd, 77L, O_CLOEXEC);
    CHECK(other == 77 && syscall(SYS_fcntl, other, F_GETFD) == FD_CLOEXEC && syscall(SYS_close, fd) == 0);
    CHECK(syscall(SYS_pread64, other, buf, 2L, 0L) == 2 && memcmp(buf, "Z1", 2) == 0);
    CHECK(syscall(SYS_close_range, 77L, 77L, 0L) == 0 && syscall(SYS_read, other, buf, 1L) == -1 && errno == EBADF);
}

static void names_by_number(void)
{
    char text[4096], expected[4096];
    struct statx x;
    struct stat st;
    CHECK(syscall(SYS_mkdirat, AT_FDCWD, "d", 0755L) == 0 &&
          syscall(SYS_linkat, AT_FDCWD, "f", AT_FDCWD, "d/l", 0L) == 0);
    CHECK(syscall(SYS_symlinkat, "d", AT_FDCWD, "s") == 0 &&
          syscall(SYS_readlinkat, AT_FDCWD, "s", text, sizeof text) == 1);
    CHECK(syscall(SYS_statx, AT_FDCWD, "s/.", 0L, STATX_BASIC_STATS, &x) == 0 && S_ISDIR(x.stx_mode));
    CHECK(syscall(SYS_newfstatat, AT_FDCWD, "f", &st, 0L) == 0 && st.st_nlink == 2);
    CHECK(syscall(SYS_faccessat, AT_FDCWD, "f", R_OK) == 0 &&
          syscall(SYS_faccessat2, AT_FDCWD, "none", R_OK, 0L) == -1 && errno == ENOENT);
    CHECK(syscall(SYS_fchmodat, AT_FDCWD, "f", 0600L) == 0 && syscall(SYS_utimensat, AT_FDCWD, "f", NULL, 0L) == 0);
    CHECK(syscall(SYS_chdir, "d") == 0 && getcwd(expected, sizeof expected) != NULL);
    CHECK(syscall(SYS_getcwd, text, sizeof text) == (long)strlen(expected) + 1 && strcmp(text, expected) == 0);
    CHECK(syscall(SYS_getcwd, text, 2L) == -1 && errno == ERANGE);
    CHECK(syscall(SYS_chdir, "..") == 0);
    int dir = (int)syscall(SYS_openat, AT_FDCWD, "d", O_RDONLY | O_DIRECTORY);
    char entries[1024] __attribute__((aligned(8)));
    long n = syscall(SYS_getdents64, dir, entries, sizeof entries);
    int found = 0;
    for (long at = 0; at < n; at += ((struct dirent64 *)(entries + at))->d_reclen)
        found++;
    CHECK(n > 0 && found == 3);
    struct open_how how = {.flags = O_RDONLY};
    int fd = (int)syscall(SYS_openat2, AT_FDCWD, "f", &how, sizeof how);
    CHECK(fd >= 0 && read(fd, text, 1) == 1 && text[0] == 'Z');
    CHECK(syscall(SYS_unlinkat, AT_FDCWD, "s", 0L) == 0 && access("s", F_OK) == -1);
}

/* An outcome of fork by number is a process of its own. */
static void fork_by_number(void)
{
    pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0L, 0L, 0L, 0L);
    CHECK(pid >= 0);
    if (pid == 0) {
        close(make("child", "by number"));
        syscall(SYS_exit_group, 0L);
    }
    ends_well(pid);
    holds("child", "by number");
}

void by_number(void)
{
    data_by_number();
    names_by_number();
    fork_by_number();
}

/* What is not served by number is refused, on BenchFS only. */
void unhandled(void)
{
    char entries[1024];
    struct stat st;
    struct open_how how = {.flags = O_RDONLY, .resolve = RESOLVE_BENEATH};
    int fd = make("f", "text"), dir = open(".", O_RDONLY | O_DIRECTORY);
    CHECK(syscall(SYS_openat2, AT_FDCWD, "f", &how, sizeof how) == -1 && errno == ENOSYS);
    CHECK(syscall(SYS_openat2, dir, "f", &how, sizeof how) == -1 && errno == ENOSYS);
    CHECK(syscall(SYS_setns, fd, 0L) == -1 && errno == EBADF);
    CHECK(syscall(SYS_vmsplice, dir, entries, 0L, 0L) == -1 && errno == EBADF);
    CHECK(syscall(SYS_umount2, "f", 0L) == -1 && errno == ENOSYS);
    CHECK(syscall(SYS_setns, -1L, 0L) == -1 && errno != ENOSYS); /* nothing of ours */
    CHECK(syscall(SYS_open_tree, AT_FDCWD, "/etc", 0L) != -2 && fstat(fd, &st) == 0);
}

/* A shared mapping shows what the process writes to the file by other calls, also when it may only read there; as databases count on. */
void mapped_and_written(void)
{
    int fd = make("f", "0123456789"), in = open("f", O_RDONLY), appending = open("f", O_WRONLY | O_APPEND);
    char *p = mmap(NULL, 64 << 10, PROT_READ, MAP_SHARED, in, 0);
    char *rest = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 8192);
    CHECK(p != MAP_FAILED && rest != MAP_FAILED && memcmp(p, "0123456789", 10) == 0);
    CHECK(pwrite(fd, "AB", 2, 3) == 2 && memcmp(p, "012AB5", 6) == 0);
    CHECK(write(appending, "more", 4) == 4 && memcmp(p, "012AB56789more", 14) == 0);
    struct iovec parts[2] = {{(char *)"x", 1}, {(char *)"yz", 2}};
    CHECK(pwritev(fd, parts, 2, 8191) == 3 && p[8191] == 'x' && rest[0] == 'y' && rest[1] == 'z');
    CHECK(ftruncate(fd, 4) == 0 && ftruncate(fd, 16384) == 0 && p[3] == 'A' && p[4] == 0 && rest[0] == 0);
    CHECK(mprotect(p, 4096, PROT_READ | PROT_WRITE) == -1 && errno == EACCES);
    CHECK(mprotect(rest, 4096, PROT_READ | PROT_WRITE) == 0);
    rest[2] = 'W';
    char byte = 0;
    CHECK(munmap(rest, 4096) == 0 && pread(fd, &byte, 1, 8194) == 1 && byte == 'W');
    CHECK(munmap(p + 4096, 4096) == 0 && pwrite(fd, "end", 3, 12288) == 3 && memcmp(p + 12288, "end", 3) == 0 &&
          p[0] == '0');
    CHECK(munmap(p, 64 << 10) == 0);
}
