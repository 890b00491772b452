/*
 * process.c: what processes do to open files: fork, exec, pass descriptors on, close them all. An ordinary program, run with the interposer;
 * `process SCENARIO DIRECTORY` exits with 0 if all was as it should be. DIRECTORY is fresh, under the prefix or on a local disk: the oracle.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "process.h"

const char *scenario;

int make(const char *name, const char *text)
{
    int fd = open(name, O_CREAT | O_RDWR | O_TRUNC | O_CLOEXEC, 0644);
    CHECK(fd >= 0);
    CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    return fd;
}

void holds(const char *name, const char *text)
{
    char buf[4096];
    int fd = open(name, O_RDONLY);
    CHECK(fd >= 0);
    ssize_t n = read(fd, buf, sizeof buf - 1);
    CHECK(n >= 0);
    buf[n] = '\0';
    if (strcmp(buf, text) != 0)
        fprintf(stderr, "%s: %s holds \"%s\"\n", scenario, name, buf);
    CHECK(strcmp(buf, text) == 0);
    close(fd);
}

void ends_well(pid_t pid)
{
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* Three generations, each of which reads and writes what the first has opened, and files of its own. */
static void generation(int depth, int shared)
{
    char name[32], line[32];
    snprintf(name, sizeof name, "own-%d", depth);
    snprintf(line, sizeof line, "%d\n", depth);
    close(make(name, line));
    CHECK(write(shared, line, strlen(line)) == (ssize_t)strlen(line));
    if (depth < 3) {
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0) {
            generation(depth + 1, shared);
            exit(0);
        }
        ends_well(pid);
    }
    holds(name, line);
}

static void fork_depth(void)
{
    int fd = open("shared", O_CREAT | O_RDWR, 0644);
    CHECK(fd >= 0);
    generation(0, fd);
    holds("shared", "0\n1\n2\n3\n"); /* one offset for all */
    CHECK(lseek(fd, 0, SEEK_CUR) == 8);
    holds("own-3", "3\n");
}

/* A child that closes and redirects after vfork must not do so to its parent. */
static void vfork_child(void)
{
    int fd = make("f", "parent");
    pid_t pid = vfork();
    CHECK(pid >= 0);
    if (pid == 0) {
        close(fd);
        execl("/bin/true", "true", NULL);
        _exit(127);
    }
    ends_well(pid);
    CHECK(pwrite(fd, "P", 1, 0) == 1);
    holds("f", "Parent");
}

static void spawn(void)
{
    posix_spawn_file_actions_t actions;
    char *arguments[] = {"sh", "-c", "cat; echo end", NULL};
    pid_t pid;
    close(make("in", "input\n"));
    CHECK(posix_spawn_file_actions_init(&actions) == 0);
    CHECK(posix_spawn_file_actions_addopen(&actions, 0, "in", O_RDONLY, 0) == 0);
    CHECK(posix_spawn_file_actions_addopen(&actions, 1, "out", O_CREAT | O_WRONLY, 0644) == 0);
    CHECK(posix_spawnp(&pid, "sh", &actions, NULL, arguments, NULL) == 0); /* no environment at all */
    ends_well(pid);
    CHECK(posix_spawn_file_actions_destroy(&actions) == 0);
    holds("out", "input\nend\n");
}

/* A program is started with nothing in its environment, and works in this directory all the same. */
static void stripped(void)
{
    char *arguments[] = {"sh", "-c", "echo text > f && cat f > g && /usr/bin/env -i /bin/cat g >> f", NULL},
         *nothing[] = {NULL};
    pid_t pid = fork();
    if (pid == 0) {
        execve("/bin/sh", arguments, nothing);
        _exit(127);
    }
    ends_well(pid);
    holds("f", "text\ntext\n");
}

static void inherited(void)
{
    int fd = open("log", O_CREAT | O_RDWR, 0644), secret = make("secret", "x");
    CHECK(write(fd, "one\n", 4) == 4);
    char command[200];
    snprintf(command, sizeof command, "echo two >&%d; test ! -e /proc/self/fd/%d && echo closed >&%d", fd, secret, fd);
    CHECK(system(command) == 0);
    CHECK(write(fd, "three\n", 6) == 6);
    holds("log", "one\ntwo\nclosed\nthree\n");
}

/* What has no name any more goes on in a program that inherits it. */
static void unlinked(void)
{
    int fd = make("f", "text\n");
    CHECK(unlink("f") == 0);
    CHECK(lseek(fd, 0, SEEK_SET) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        CHECK(dup2(fd, 0) == 0);
        int out = open("out", O_CREAT | O_WRONLY, 0644);
        CHECK(dup2(out, 1) == 1);
        execlp("cat", "cat", NULL);
        _exit(127);
    }
    ends_well(pid);
    holds("out", "text\n");
}

static void pipes(void)
{
    char line[16];
    close(make("f", "b\na\n"));
    FILE *p = popen("sort f", "r");
    CHECK(p != NULL && fgets(line, sizeof line, p) != NULL && strcmp(line, "a\n") == 0);
    CHECK(fgets(line, sizeof line, p) != NULL && pclose(p) == 0);
    p = popen("cat > g", "w");
    CHECK(p != NULL && fputs("through a pipe\n", p) >= 0 && pclose(p) == 0);
    holds("g", "through a pipe\n");
}

/* libc's own stdout, redirected while the program runs, and back. */
static void standard_streams(void)
{
    fflush(stdout);
    int saved = dup(1), out = open("out", O_CREAT | O_WRONLY, 0644);
    CHECK(dup2(out, 1) == 1 && close(out) == 0);
    printf("to the file\n");
    puts("again");
    fflush(stdout);
    CHECK(dup2(saved, 1) == 1);
    printf("%s", "");
    fflush(stdout);
    holds("out", "to the file\nagain\n");
    CHECK(freopen("out", "r", stdin) != NULL);
    char line[32];
    CHECK(fgets(line, sizeof line, stdin) != NULL && strcmp(line, "to the file\n") == 0);
    CHECK(getchar() == 'a');
}

static void streams(void)
{
    char line[64];
    FILE *f = fopen("f", "w+");
    CHECK(f != NULL && fileno(f) >= 0);
    struct stat st;
    CHECK(fprintf(f, "%s %d\n", "line", 1) == 7 && fflush(f) == 0 && fstat(fileno(f), &st) == 0 && st.st_size == 7);
    CHECK(fseek(f, 0, SEEK_SET) == 0 && fgets(line, sizeof line, f) != NULL && strcmp(line, "line 1\n") == 0);
    CHECK(fgets(line, sizeof line, f) == NULL && feof(f) && !ferror(f));
    CHECK(fclose(f) == 0);
    f = fopen("f", "a");
    CHECK(f != NULL && ftell(f) == 7 && fputs("two\n", f) >= 0 && fclose(f) == 0);
    CHECK(fopen("f", "wx") == NULL && errno == EEXIST);
    f = fdopen(open("f", O_RDONLY), "r");
    CHECK(f != NULL && getc(f) == 'l' && ungetc('L', f) == 'L' && getc(f) == 'L' && fclose(f) == 0);
    CHECK(dprintf(open("g", O_CREAT | O_WRONLY, 0644), "%d", 42) == 2);
    holds("f", "line 1\ntwo\n");
    holds("g", "42");
}

static void close_all(void)
{
    int fd = make("f", "x");
    close_range(3, ~0u, 0);
    CHECK(write(fd, "y", 1) == -1 && errno == EBADF);
    close(make("g", "still here"));
    for (int i = 3; i < 1024; i++)
        close(i);
    holds("g", "still here");
    closefrom(3);
    holds("g", "still here");
}

/* Scripts count on the low descriptors. */
static void low_descriptors(void)
{
    close_range(3, ~0u, 0);
    int fd = make("f", "x");
    CHECK(fd == 3);
    for (int i = 4; i < 10; i++)
        CHECK(fcntl(i, F_GETFD) == -1 && dup2(fd, i) == i);
    CHECK(fcntl(255, F_GETFD) == -1 && dup2(fd, 255) == 255);
    CHECK(write(9, "9", 1) == 1 && write(255, "!", 1) == 1);
    holds("f", "x9!");
}

static void passed_on(void)
{
    int pair[2], fd = make("f", "text");
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    char byte = 'x', control[CMSG_SPACE(sizeof fd)] = {0};
    struct iovec iov = {&byte, 1};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET, c->cmsg_type = SCM_RIGHTS, c->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(c), &fd, sizeof fd);
    pid_t pid = fork();
    if (pid == 0) {
        close(fd);
        CHECK(recvmsg(pair[1], &m, 0) == 1);
        memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof fd);
        CHECK(write(fd, " more", 5) == 5);
        _exit(0);
    }
    CHECK(sendmsg(pair[0], &m, 0) == 1);
    ends_well(pid);
    holds("f", "text more");
}

/* Increments under a lock, by so many processes: none may be lost. */
static void counter(int (*take)(int fd), int (*give)(int fd))
{
    enum {
        PROCESSES = 4,
        ROUNDS = 25
    };
    close(make("counter", "0"));
    for (int i = 0; i < PROCESSES; i++) {
        if (fork() != 0)
            continue;
        int fd = open("counter", O_RDWR);
        for (int k = 0; k < ROUNDS; k++) {
            char text[16] = {0};
            CHECK(take(fd) == 0);
            CHECK(pread(fd, text, sizeof text - 1, 0) > 0);
            int n = snprintf(text, sizeof text, "%d", atoi(text) + 1);
            CHECK(pwrite(fd, text, (size_t)n, 0) == n);
            CHECK(give(fd) == 0);
        }
        _exit(0);
    }
    for (int i = 0; i < PROCESSES; i++) {
        int status;
        CHECK(wait(&status) > 0 && status == 0);
    }
    holds("counter", "100");
}

static int posix_take(int fd)
{
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    return fcntl(fd, F_SETLKW, &l);
}

static int posix_give(int fd)
{
    struct flock l = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
    return fcntl(fd, F_SETLK, &l);
}

static int flock_take(int fd)
{
    return flock(fd, LOCK_EX);
}

static int flock_give(int fd)
{
    return flock(fd, LOCK_UN);
}

static int lockf_take(int fd)
{
    return lseek(fd, 0, SEEK_SET) != 0 || lockf(fd, F_LOCK, 0);
}

static int lockf_give(int fd)
{
    return lockf(fd, F_ULOCK, 0);
}

static void locks(void)
{
    counter(posix_take, posix_give);
    counter(flock_take, flock_give);
    counter(lockf_take, lockf_give);
    int a = open("counter", O_RDWR), b = open("counter", O_RDWR);
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 10};
    CHECK(fcntl(a, F_OFD_SETLK, &l) == 0);
    CHECK(fcntl(b, F_OFD_SETLK, &l) == -1 && errno == EAGAIN);
    CHECK(fcntl(b, F_OFD_GETLK, &l) == 0 && l.l_type == F_WRLCK && l.l_len == 10 && l.l_pid == -1);
    close(a);
    l.l_type = F_WRLCK, l.l_pid = 0;
    CHECK(fcntl(b, F_OFD_SETLK, &l) == 0);
    CHECK(flock(b, LOCK_EX | LOCK_NB) == 0); /* another space */
    CHECK(flock(open("counter", O_RDONLY), LOCK_SH | LOCK_NB) == -1 && errno == EWOULDBLOCK);
    /* A shell's `flock 9`: the lock outlives the child that took it. */
    int c = dup(b);
    CHECK(flock(b, LOCK_UN) == 0);
    pid_t pid = fork();
    if (pid == 0)
        _exit(flock(c, LOCK_EX) != 0);
    ends_well(pid);
    CHECK(flock(open("counter", O_RDONLY), LOCK_SH | LOCK_NB) == -1 && errno == EWOULDBLOCK);
}

static void mapped(void)
{
    int fd = make("f", "0123456789");
    CHECK(ftruncate(fd, 10000) == 0);
    char *p = mmap(NULL, 10000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(p != MAP_FAILED && memcmp(p, "0123456789", 10) == 0 && p[9999] == 0);
    p[0] = 'A', p[8192] = 'Z';
    CHECK(pwrite(fd, "later", 5, 4) == 5); /* what others write stays */
    CHECK(msync(p, 10000, MS_SYNC) == 0);
    char byte[11] = {0};
    CHECK(pread(fd, byte, 10, 0) == 10 && strcmp(byte, "A123later9") == 0 && pread(fd, byte, 1, 8192) == 1 &&
          byte[0] == 'Z');
    p[1] = 'B';
    CHECK(pread(fd, byte, 2, 0) == 2 && byte[1] == 'B'); /* seen by this process's reads */
    pid_t pid = fork();
    if (pid == 0) {
        p[2] = 'C';
        exit(0);
    }
    ends_well(pid);
    CHECK(p[2] == 'C');
    p[3] = 'D';
    CHECK(munmap(p, 10000) == 0);
    CHECK(pread(fd, byte, 4, 0) == 4 && memcmp(byte, "ABCD", 4) == 0);
    p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    CHECK(p != MAP_FAILED);
    p[0] = 'x';
    CHECK(munmap(p, 4096) == 0 && pread(fd, byte, 1, 0) == 1 && byte[0] == 'A');
    int in = open("f", O_RDONLY);
    CHECK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, in, 0) == MAP_FAILED && errno == EACCES);
    p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, in, 8192);
    CHECK(p != MAP_FAILED && p[0] == 'Z' && munmap(p, 4096) == 0);
}

static void copies(void)
{
    int in = make("in", "some bytes"), out = make("out", ""), pair[2];
    off_t at = 5;
    CHECK(sendfile(out, in, &at, 100) == 5 && at == 10);
    holds("out", "bytes");
    CHECK(lseek(in, 0, SEEK_SET) == 0 && copy_file_range(in, NULL, out, NULL, 4, 0) == 4);
    holds("out", "bytessome");
    CHECK(pipe(pair) == 0 && lseek(in, 0, SEEK_SET) == 0);
    CHECK(splice(in, NULL, pair[1], NULL, 10, 0) == 10 && splice(pair[0], NULL, out, NULL, 10, 0) == 10);
    holds("out", "bytessomesome bytes");
    int real = memfd_create("real", 0);
    CHECK(sendfile(real, in, &(off_t){0}, 4) == 4 && sendfile(out, real, &(off_t){0}, 4) == 4);
    holds("out", "bytessomesome bytessome");
}

static void waiting(void)
{
    int fd = make("f", "x"), pair[2];
    CHECK(pipe(pair) == 0);
    struct pollfd fds[2] = {{fd, POLLIN | POLLOUT, 0}, {pair[0], POLLIN, 0}};
    CHECK(poll(fds, 2, -1) == 1 && fds[0].revents == (POLLIN | POLLOUT) && fds[1].revents == 0);
    fd_set in, out;
    FD_ZERO(&in);
    FD_ZERO(&out);
    FD_SET(fd, &in);
    FD_SET(pair[0], &in);
    FD_SET(pair[1], &out);
    CHECK(select(pair[1] + 1, &in, &out, NULL, NULL) == 2 && FD_ISSET(fd, &in) && !FD_ISSET(pair[0], &in));
    struct epoll_event event = {.events = EPOLLIN};
    CHECK(epoll_ctl(epoll_create1(0), EPOLL_CTL_ADD, fd, &event) == -1 && errno == EPERM);
    CHECK(!isatty(fd) && errno == ENOTTY);
}

static int seen;

static int count_entry(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)path, (void)st, (void)type, (void)at;
    seen++;
    return 0;
}

static void trees(void)
{
    CHECK(mkdir("d", 0755) == 0 && mkdir("d/e", 0755) == 0);
    close(make("d/a.c", "")), close(make("d/b.c", "")), close(make("d/e/c.h", ""));
    CHECK(symlink("a.c", "d/l") == 0);
    CHECK(nftw("d", count_entry, 10, FTW_PHYS) == 0 && seen == 6);
    struct dirent **list;
    CHECK(scandir("d", &list, NULL, alphasort) == 6 && strcmp(list[2]->d_name, "a.c") == 0);
    glob_t g;
    CHECK(glob("d/*.c", 0, NULL, &g) == 0 && g.gl_pathc == 2 && strcmp(g.gl_pathv[1], "d/b.c") == 0);
    globfree(&g);
    DIR *dir = opendir("d");
    struct dirent *e;
    long places[8];
    char names[8][NAME_MAX + 1];
    int n = 0;
    CHECK(dir != NULL && dirfd(dir) >= 0);
    while (places[n] = telldir(dir), (e = readdir(dir)) != NULL)
        strcpy(names[n++], e->d_name);
    CHECK(n == 6);
    for (int i = n - 1; i >= 0; i--) {
        seekdir(dir, places[i]);
        e = readdir(dir);
        CHECK(e != NULL && strcmp(e->d_name, names[i]) == 0);
    }
    pid_t pid = fork(); /* a stream goes on in a child */
    if (pid == 0) {
        rewinddir(dir);
        n = 0;
        while (readdir(dir) != NULL)
            n++;
        _exit(n != 6);
    }
    ends_well(pid);
    CHECK(closedir(dir) == 0);
}

static void working_directory(void)
{
    char where[4096], real[4096], start[4096];
    CHECK(getcwd(start, sizeof start) != NULL);
    CHECK(mkdir("d", 0755) == 0 && mkdir("d/e", 0755) == 0 && symlink("d/e", "l") == 0);
    CHECK(chdir("l") == 0 && getcwd(where, sizeof where) != NULL);
    CHECK(strlen(where) == strlen(start) + 4 && strcmp(where + strlen(start), "/d/e") == 0);
    close(make("f", "here"));
    holds("../e/f", "here");
    CHECK(realpath("../../l/f", real) != NULL && strncmp(real, where, strlen(where)) == 0);
    CHECK(chdir("..") == 0);
    holds("e/f", "here");
    int fd = open("e", O_RDONLY | O_DIRECTORY);
    CHECK(fchdir(fd) == 0 && system("test $(cat f) = here") == 0);
    CHECK(chdir("/") == 0 && getcwd(where, sizeof where) != NULL && strcmp(where, "/") == 0);
    CHECK(open("f", O_RDONLY) == -1 && errno == ENOENT);
    holds("/proc/self/cwd/../proc/self/comm", "process\n");
    int up = openat(fd, "f", O_RDONLY);
    CHECK(up >= 0 && faccessat(fd, "f", R_OK, 0) == 0);
    char link[64], name[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", up);
    ssize_t n = readlink(link, name, sizeof name - 1);
    CHECK(n > 0);
    name[n] = '\0';
    holds(name, "here");
    int again = open(link, O_RDONLY);
    char four[4];
    CHECK(again >= 0 && read(again, four, 4) == 4 && memcmp(four, "here", 4) == 0);
}

static void outside(void)
{
    char real[] = "/tmp/benchfs-outside-XXXXXX", path[4096], start[4096];
    CHECK(mkdtemp(real) != NULL && getcwd(start, sizeof start) != NULL);
    snprintf(path, sizeof path, "%s/f", real);
    close(make(path, "outside"));
    CHECK(symlink(path, "out") == 0);
    holds("out", "outside"); /* a link out */
    close(make("in", "inside"));
    char in[4200];
    snprintf(in, sizeof in, "%s/in", start);
    snprintf(path, sizeof path, "%s/link", real);
    CHECK(symlink(in, path) == 0);
    holds(path, "inside"); /* a link in */
    struct stat a, b;
    CHECK(stat(path, &a) == 0 && stat("in", &b) == 0 && a.st_ino == b.st_ino && a.st_dev == b.st_dev);
    CHECK(lstat(path, &a) == 0 && S_ISLNK(a.st_mode));
    snprintf(path, sizeof path, "%s/moved", real);
    int rc = rename("in", path);
    CHECK(strncmp(start, "/tmp", 4) == 0 || (rc == -1 && errno == EXDEV));
    CHECK(rename("nothing", path) == -1 && errno == ENOENT);
    snprintf(path, sizeof path, "rm -r %s", real);
    CHECK(system(path) == 0);
}

/* A program and a library that lie there. */
static void stored_programs(void)
{
    int in = open("/bin/cat", O_RDONLY), out = open("prog", O_CREAT | O_WRONLY, 0755);
    struct stat st;
    CHECK(fstat(in, &st) == 0 && sendfile(out, in, NULL, (size_t)st.st_size) == st.st_size);
    close(in), close(out);
    close(make("text", "by a stored program\n"));
    close(make("script", "#!/bin/sh\necho script $1\n"));
    CHECK(chmod("script", 0755) == 0);
    CHECK(system("./prog text > out && ./script x >> out && PATH=$PWD:$PATH && prog text >> out") == 0);
    holds("out", "by a stored program\nscript x\nby a stored program\n");
    char *arguments[] = {"./script", "spawned", NULL};
    pid_t pid;
    CHECK(chmod("text", 0644) == 0 && posix_spawn(&pid, "./script", NULL, NULL, arguments, NULL) == 0);
    ends_well(pid);
    CHECK(execl("./text", "text", NULL) == -1 && errno == EACCES);
    CHECK(execl("./none", "none", NULL) == -1 && errno == ENOENT);
    CHECK(system("printf 'int answer(void) { return 42; }' > a.c && cc -shared -fPIC -o liba.so a.c") == 0);
    char path[4096], directory[3000];
    snprintf(path, sizeof path, "%s/liba.so", getcwd(directory, sizeof directory));
    void *library = dlopen(path, RTLD_NOW);
    CHECK(library != NULL);
    int (*answer)(void) = (int (*)(void))dlsym(library, "answer");
    CHECK(answer != NULL && answer() == 42);
}

static void *write_lines(void *number)
{
    char name[32], line[64];
    snprintf(name, sizeof name, "t%d", (int)(intptr_t)number);
    int own = open(name, O_CREAT | O_WRONLY, 0644), shared = open("shared", O_WRONLY | O_APPEND);
    CHECK(own >= 0 && shared >= 0);
    for (int i = 0; i < 50; i++) {
        int n = snprintf(line, sizeof line, "%s %d\n", name, i);
        CHECK(write(own, line, (size_t)n) == n && write(shared, line, (size_t)n) == n);
    }
    close(own), close(shared);
    return NULL;
}

static void threads(void)
{
    pthread_t thread[4];
    close(make("shared", ""));
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&thread[i], NULL, write_lines, (void *)(intptr_t)i) == 0);
    pid_t pid = fork(); /* while they run */
    if (pid == 0) {
        close(make("child", "of threads"));
        exit(0);
    }
    for (int i = 0; i < 4; i++)
        CHECK(pthread_join(thread[i], NULL) == 0);
    ends_well(pid);
    holds("child", "of threads");
    CHECK(system("test $(cat t0 t1 t2 t3 | sort | md5sum | cut -c1-32) = $(sort shared | md5sum | cut -c1-32)") == 0);
}

static volatile sig_atomic_t alarms;

static void on_alarm(int signal)
{
    (void)signal;
    alarms++;
}

static void signals(void)
{
    struct sigaction act = {.sa_handler = on_alarm};
    struct itimerval every = {{0, 1000}, {0, 1000}}, never = {0};
    char block[4096], back[4096];
    CHECK(sigaction(SIGALRM, &act, NULL) == 0);
    int fd = make("f", "");
    CHECK(setitimer(ITIMER_REAL, &every, NULL) == 0);
    for (int i = 0; i < 200 || (alarms < 5 && i < 1000000); i++) {
        memset(block, i, sizeof block);
        CHECK(pwrite(fd, block, sizeof block, 4096L * (i % 64)) == sizeof block);
        CHECK(pread(fd, back, sizeof back, 4096L * (i % 64)) == sizeof back && memcmp(block, back, sizeof back) == 0);
    }
    CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
}

/* Written by a process that leaves by exit, by _exit, by return, with streams open. */
static void endings(void)
{
    for (int way = 0; way < 2; way++) {
        pid_t pid = fork();
        if (pid == 0) {
            FILE *f = fopen(way == 0 ? "by-exit" : "by-_exit", "w");
            CHECK(f != NULL && fputs("text", f) >= 0);
            if (way == 0)
                exit(0);
            CHECK(fflush(f) == 0);
            _exit(0);
        }
        ends_well(pid);
    }
    holds("by-exit", "text");
    holds("by-_exit", "text");
    CHECK(system("sh -c 'echo shell' > out; printf 'x%.0s' 1 2 3 >> out") == 0);
    holds("out", "shell\nxxx");
}

static const struct {
    const char *name;
    void (*run)(void);
    int unlisted; /* it says nothing on a local disk */
} scenarios[] = {
    {"fork-depth", fork_depth, 0},
    {"vfork", vfork_child, 0},
    {"spawn", spawn, 0},
    {"stripped", stripped, 0},
    {"inherited", inherited, 0},
    {"unlinked", unlinked, 0},
    {"pipes", pipes, 0},
    {"standard-streams", standard_streams, 0},
    {"streams", streams, 0},
    {"close-all", close_all, 0},
    {"low-descriptors", low_descriptors, 0},
    {"passed-on", passed_on, 0},
    {"locks", locks, 0},
    {"mapped", mapped, 0},
    {"copies", copies, 0},
    {"waiting", waiting, 0},
    {"trees", trees, 0},
    {"working-directory", working_directory, 0},
    {"outside", outside, 0},
    {"stored-programs", stored_programs, 0},
    {"threads", threads, 0},
    {"signals", signals, 0},
    {"endings", endings, 0},
    {"by-number", by_number, 0},
    {"signal-masks", signal_masks, 0},
    {"cancelled", cancelled, 0},
    {"mapped-and-written", mapped_and_written, 0},
    {"unhandled", unhandled, 1},
};

int main(int argc, char **argv)
{
    const size_t count = sizeof scenarios / sizeof scenarios[0];
    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        for (size_t i = 0; i < count; i++)
            if (!scenarios[i].unlisted)
                puts(scenarios[i].name);
        return 0;
    }
    if (argc != 3)
        return 2;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(argv[1], scenarios[i].name) != 0)
            continue;
        scenario = argv[1];
        CHECK(mkdir(argv[2], 0755) == 0 && chdir(argv[2]) == 0);
        scenarios[i].run();
        return 0;
    }
    return 2;
}
