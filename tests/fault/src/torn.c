/*
 * torn die|stop PATH: writes 4 KiB to PATH by message, from a buffer whose second half cannot be read, so that this process dies, or stands
 * still (SIGSTOP) until it is continued, in the middle of the copy of the message into the daemon's queue.
 */
#define _GNU_SOURCE
#include <benchfs.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    PAGE = 4096
};

static char *memory;

static void stand_still(int sig)
{
    (void)sig;
    kill(getpid(), SIGSTOP);
    mprotect(memory + PAGE, PAGE, PROT_READ); /* what follows is read again, and can be now */
}

int main(int argc, char **argv)
{
    if (argc != 3 || benchfs_init(NULL) < 0)
        return 2;
    int fd = benchfs_open(argv[2], O_CREAT | O_RDWR, 0644);
    if (fd < 0) {
        fprintf(stderr, "torn: %s\n", benchfs_last_error());
        return 2;
    }
    memory = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(memory, 't', 2 * PAGE);
    mprotect(memory + PAGE, PAGE, PROT_NONE);
    struct sigaction act = {.sa_flags = SA_ONSTACK};
    act.sa_handler = strcmp(argv[1], "stop") == 0 ? stand_still : SIG_DFL;
    sigaction(SIGSEGV, &act, NULL);
    ssize_t n = benchfs_pwrite(fd, memory + PAGE / 2, PAGE, 0);
    if (n != PAGE) {
        fprintf(stderr, "torn: %zd, %s\n", n, benchfs_last_error());
        return 1;
    }
    benchfs_close(fd);
    return benchfs_finalize() != 0;
}
